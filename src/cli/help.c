/* help.c: help and the manual page, made from the table of commands and the list of options. */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

#define COLUMNS 80
#define INDENT 30 /* where the help of an option begins */

/* ---- Help ------------------------------------------------------------------------------------ */
/* Words of `text` from column `at` on, wrapped; further lines begin at `indent`. */
static void put_wrapped(struct buf *to, const char *text, int at, int indent) {
    bool space = false; /* between the last word and the next */
    while (*text) {
        int n = (int)strcspn(text, " \n");
        if (space && at + 1 + n > COLUMNS) {
            buf_printf(to, "\n%*s", indent, "");
            at = indent;
        } else if (space) {
            buf_putc(to, ' ');
            at++;
        }
        buf_add(to, text, (size_t)n);
        at += n;
        text += n;
        space = *text != 0;
        if (*text) text++;
    }
    buf_putc(to, '\n');
}

/* What stands for the value: "PIXELS", "a|b". */
static const char *value_name(const kadr_option *o) {
    return o->choices ? o->choices : o->value;
}

static void put_option(struct buf *to, const kadr_option *o) {
    char flag[64];
    int n = o->letter ? snprintf(flag, sizeof flag, "  -%c, --%s", o->letter, o->name)
                      : snprintf(flag, sizeof flag, "      --%s", o->name);
    if (value_name(o)) n += snprintf(flag + n, sizeof flag - (size_t)n, " %s", value_name(o));
    buf_puts(to, flag);
    if (n > INDENT - 2) {
        buf_putc(to, '\n');
        n = 0;
    }
    buf_printf(to, "%*s", INDENT - n, "");
    struct buf text;
    buf_init(&text, to->mem);
    buf_puts(&text, o->help);
    if (o->fallback && o->type != KADR_BOOL) buf_printf(&text, " (default: %s)", o->fallback);
    if (o->type == KADR_LIST) buf_puts(&text, "; may be given several times");
    put_wrapped(to, buf_ok(&text) ? text.data : o->help, INDENT, INDENT);
    buf_free(&text);
}

/* Options with any of the bits `use`, under their headings. `heading` and `option` print them. */
static void put_groups(struct buf *to, unsigned use,
                       void (*heading)(struct buf *to, const char *group),
                       void (*option)(struct buf *to, const kadr_option *o)) {
    const char *group = "";
    for (int id = 0; id < OPTIONS; id++) {
        const kadr_option *o = request_option_at(id);
        if (!(o->use & use)) continue;
        if (strcmp(group, o->group)) heading(to, o->group);
        group = o->group;
        option(to, o);
    }
}

static void put_heading(struct buf *to, const char *group) {
    buf_printf(to, "\n%s:\n", group);
}

void help_program(struct buf *to) {
    size_t count;
    const struct command *commands = cli_commands(&count);
    buf_printf(to,
               "kadr %s: draw storyboards with Stable Diffusion XL on a CPU, inside a stated\n"
               "amount of memory.\n\n"
               "Usage: kadr COMMAND [ARGUMENTS] [OPTIONS]\n\nCommands:\n",
               kadr_version());
    for (size_t i = 0; i < count; i++) {
        int n = (int)strlen(commands[i].name);
        buf_printf(to, "  %s%*s", commands[i].name, 14 - n, "");
        put_wrapped(to, commands[i].summary, 16, 16);
    }
    buf_puts(to, "\n`kadr COMMAND --help` tells more about each, `kadr man | man -l -` everything."
                 "\n\nA first picture:\n"
                 "  kadr generate \"a red fox in the snow\" -o fox.png\n");
}

static void put_usage(struct buf *to, const struct command *command) {
    buf_printf(to, "kadr %s", command->name);
    if (*command->arguments) buf_printf(to, " %s", command->arguments);
    if (command->use) buf_puts(to, " [OPTIONS]");
}

void help_command(const struct command *command, struct buf *to) {
    buf_puts(to, "Usage: ");
    put_usage(to, command);
    buf_puts(to, "\n\n");
    put_wrapped(to, command->about, 0, 0);
    put_groups(to, command->use, put_heading, put_option);
    if (command->use & KADR_FOR_GENERATE)
        buf_puts(to, "\nWhat is not given comes from KADR_* variables, ./kadr.ini, the user's\n"
                     "kadr.ini, the preset and the model: `kadr config show`.\n");
}

/* ---- Manual ---------------------------------------------------------------------------------- */
/* Text that roff shows as it is. */
static void put_roff(struct buf *to, const char *text) {
    bool start = true;
    for (; *text; text++) {
        if (start && (*text == '.' || *text == '\'')) buf_puts(to, "\\&");
        start = *text == '\n';
        if (*text == '\\') buf_puts(to, "\\e");
        else if (*text == '-') buf_puts(to, "\\-");
        else if (*text == '`') buf_puts(to, "\\(ga");
        else buf_putc(to, *text);
    }
}

static void put_roff_line(struct buf *to, const char *before, const char *text) {
    buf_puts(to, before);
    put_roff(to, text);
    buf_putc(to, '\n');
}

static void put_roff_heading(struct buf *to, const char *group) {
    put_roff_line(to, ".SS ", group);
}

static void put_roff_commands_of(struct buf *to, const kadr_option *o) {
    size_t count;
    const struct command *commands = cli_commands(&count);
    bool any = false;
    for (size_t i = 0; i < count; i++)
        if ((commands[i].use & o->use) && strcmp(commands[i].name, "config")) {
            buf_puts(to, any ? ", " : "For: ");
            buf_puts(to, commands[i].name);
            any = true;
        }
    if (any) buf_puts(to, ".\n");
}

static void put_roff_option(struct buf *to, const kadr_option *o) {
    buf_puts(to, ".TP\n");
    if (o->letter) buf_printf(to, ".BR \\-%c \", \" ", o->letter);
    else buf_puts(to, ".BR ");
    put_roff(to, "--");
    put_roff(to, o->name);
    if (value_name(o)) {
        buf_puts(to, " \" ");
        put_roff(to, value_name(o));
        buf_putc(to, '"');
    }
    buf_putc(to, '\n');
    put_roff(to, o->help);
    buf_puts(to, ".\n");
    if (o->type == KADR_INT || o->type == KADR_REAL)
        buf_printf(to, "From %.0f to %.0f.\n", o->low, o->high);
    if (o->fallback && o->type != KADR_BOOL) {
        buf_puts(to, "Default: ");
        put_roff(to, o->fallback);
        buf_puts(to, ".\n");
    }
    if (o->type == KADR_LIST) buf_puts(to, "May be given several times.\n");
    put_roff_commands_of(to, o);
}

static void put_roff_commands(struct buf *to) {
    size_t count;
    const struct command *commands = cli_commands(&count);
    buf_puts(to, ".SH COMMANDS\n");
    for (size_t i = 0; i < count; i++) {
        struct buf usage;
        buf_init(&usage, to->mem);
        put_usage(&usage, &commands[i]);
        buf_puts(to, ".TP\n.B \"");
        put_roff(to, usage.data);
        buf_puts(to, "\"\n");
        put_roff(to, commands[i].about);
        buf_putc(to, '\n');
        buf_free(&usage);
    }
}

static void put_roff_presets(struct buf *to) {
    size_t count;
    const struct request_preset *presets = request_presets(&count);
    buf_puts(to, ".SH PRESETS\n");
    for (size_t i = 0; i < count; i++) {
        buf_puts(to, ".TP\n");
        put_roff_line(to, ".B ", presets[i].name);
        for (size_t k = 0; presets[i].value[k].value; k++) {
            if (k) buf_puts(to, ", ");
            put_roff(to, request_option_at(presets[i].value[k].id)->name);
            buf_putc(to, ' ');
            put_roff(to, presets[i].value[k].value);
        }
        buf_putc(to, '\n');
    }
}

static void put_roff_status(struct buf *to) {
    buf_puts(to, ".SH EXIT STATUS\n");
#define X(name, value, text) buf_printf(to, ".TP\n.B %d\n%s\n", value, text);
    KADR_STATUS_MAP(X)
#undef X
}

void help_manual(struct buf *to) {
    buf_printf(to,
               ".TH KADR 1 \"\" \"kadr %s\" \"User Commands\"\n"
               ".SH NAME\nkadr \\- draw storyboards with Stable Diffusion XL on a CPU\n"
               ".SH SYNOPSIS\n.B kadr\n.I COMMAND\n[\\fIARGUMENTS\\fR] [\\fIOPTIONS\\fR]\n"
               ".SH DESCRIPTION\n"
               "Draws pictures and storyboards with models of the Stable Diffusion XL family, "
               "inside a\nstated amount of memory and without a graphics card.\n"
               "A small model comes with the program and is used where no other is named.\n",
               kadr_version());
    put_roff_commands(to);
    buf_puts(to, ".SH OPTIONS\n"
                 "A value follows its flag after a space or after =; a yes-or-no flag is taken "
                 "back by\n.BR \\-\\-no\\-NAME .\nEverything behind\n.B \\-\\-\nis an argument.\n");
    put_groups(to, ~0u, put_roff_heading, put_roff_option);
    put_roff_presets(to);
    buf_puts(
        to,
        ".SH CONFIGURATION\n"
        "A value is taken from the first of these places that has it: the command line, the "
        "picture\nof \\-\\-from, the environment, ./kadr.ini, the user's kadr.ini, the preset "
        "that was named, the\nmodel's own defaults, the preset balanced, the fallback given "
        "above.\n.PP\nkadr.ini has lines of the form NAME = VALUE with the names of the long "
        "options. Lines before\nany section count for every command, those below [generate], "
        "[board], [plan], [tokens] or\n[inspect] for that one. A value goes on in the next "
        "line when that is indented; a line that\nbegins with ; or # is a comment.\n"
        ".SH ENVIRONMENT\n.TP\n.B KADR_NAME\nThe option of that name, in capitals and with _ for "
        "\\-: KADR_CLIP_SKIP. Entries of a list\nstand in lines.\n"
        ".TP\n.B KADR_CPU\nWhich kernels may be used: a list of c, avx2, avx512 and so on.\n"
        ".TP\n.B KADR_BLAS\nThe library that multiplies matrices of f32 in place of kadr: a name "
        "or "
        "path of one with the\nC interface of BLAS, such as libopenblas.so.0; none: none. On "
        "macOS it is Accelerate, elsewhere\nnone.\n"
        ".TP\n.B NO_COLOR\nNo colours.\n"
        ".SH FILES\n.TP\n.I $XDG_CONFIG_HOME/kadr/kadr.ini\nThe user's configuration "
        "(~/.config/kadr/kadr.ini).\n.TP\n.I ./kadr.ini\nThe configuration of a project.\n"
        ".TP\n.I NAME.kadr.json\nBeside each picture: what drawing it took.\n");
    put_roff_status(to);
}

/* ---- Commands -------------------------------------------------------------------------------- */
kadr_status command_help(struct cli *cli, kadr_error *err) {
    struct buf text;
    buf_init(&text, cli->mem);
    if (cli->words == 0) help_program(&text);
    else {
        const struct command *command = cli_command(cli->word[0]);
        if (!command) return err_set(err, KADR_EUSAGE, "unknown command \"%.100s\"", cli->word[0]);
        help_command(command, &text);
    }
    return cli_print_buf(&text, err);
}

kadr_status command_man(struct cli *cli, kadr_error *err) {
    struct buf text;
    buf_init(&text, cli->mem);
    help_manual(&text);
    return cli_print_buf(&text, err);
}

kadr_status command_version(struct cli *cli, kadr_error *err) {
    struct buf text;
    buf_init(&text, cli->mem);
    buf_printf(&text, "kadr %s\n", kadr_version());
    return cli_print_buf(&text, err);
}
