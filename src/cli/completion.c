/* completion.c: what shells complete, made from the table of commands and the list of options. */
#include "cli/cli.h"

#include <string.h>

static void put_choices(struct buf *to, const char *choices) {
    for (; *choices; choices++) buf_putc(to, *choices == '|' ? ' ' : *choices);
}

static bool wants_path(const kadr_option *o) {
    return o->type == KADR_FILE || o->type == KADR_LIST;
}

/* ---- bash ------------------------------------------------------------------------------------ */
/* "--width|-W" */
static void put_pattern(struct buf *to, const kadr_option *o) {
    buf_printf(to, "--%s", o->name);
    if (o->letter) buf_printf(to, "|-%c", o->letter);
}

static void put_bash(struct buf *to) {
    size_t count;
    const struct command *commands = cli_commands(&count);
    buf_puts(to, "# kadr: completion for bash\n"
                 "_kadr() {\n"
                 "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}\n"
                 "    COMPREPLY=()\n"
                 "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
                 "        COMPREPLY=($(compgen -W \"");
    for (size_t i = 0; i < count; i++) buf_printf(to, "%s ", commands[i].name);
    buf_puts(to, "\" -- \"$word\"))\n        return\n    fi\n    case $before in\n");
    for (int id = 0; id < OPTIONS; id++) {
        const kadr_option *o = request_option_at(id);
        if (o->type == KADR_BOOL || wants_path(o)) continue;
        buf_puts(to, "    ");
        put_pattern(to, o);
        buf_puts(to, ")\n        ");
        if (o->choices) {
            buf_puts(to, "COMPREPLY=($(compgen -W \"");
            put_choices(to, o->choices);
            buf_puts(to, "\" -- \"$word\"))");
        } else buf_puts(to, ":");
        buf_puts(to, "\n        return ;;\n");
    }
    buf_puts(to, "    esac\n    local flags\n    case ${COMP_WORDS[1]} in\n");
    for (size_t i = 0; i < count; i++) {
        buf_printf(to, "    %s) flags=\"--help", commands[i].name);
        for (int id = 0; id < OPTIONS; id++)
            if (request_option_at(id)->use & commands[i].use)
                buf_printf(to, " --%s", request_option_at(id)->name);
        buf_puts(to, "\" ;;\n");
    }
    buf_puts(to, "    esac\n"
                 "    case $word in\n"
                 "    -*) COMPREPLY=($(compgen -W \"$flags\" -- \"$word\")) ;;\n"
                 "    *) compopt -o filenames 2>/dev/null\n"
                 "       COMPREPLY=($(compgen -f -- \"$word\")) ;;\n"
                 "    esac\n"
                 "}\n"
                 "complete -F _kadr kadr\n");
}

/* ---- zsh ------------------------------------------------------------------------------------- */
/* Text inside _arguments' brackets. */
static void put_zsh_text(struct buf *to, const char *text) {
    for (; *text; text++) {
        if (strchr("[]:\\", *text)) buf_putc(to, '\\');
        if (*text == '\'') buf_puts(to, "'\\''");
        else buf_putc(to, *text);
    }
}

static void put_zsh_option(struct buf *to, const kadr_option *o) {
    for (int letter = o->letter ? 1 : 0; letter >= 0; letter--) {
        const char *many = o->type == KADR_LIST ? "*" : "";
        if (letter) buf_printf(to, "            '%s-%c[", many, o->letter);
        else buf_printf(to, "            '%s--%s[", many, o->name);
        put_zsh_text(to, o->help);
        buf_putc(to, ']');
        if (o->type != KADR_BOOL) {
            buf_putc(to, ':');
            put_zsh_text(to, o->value);
            buf_putc(to, ':');
            if (wants_path(o)) buf_puts(to, "_files");
            if (o->choices) {
                buf_putc(to, '(');
                put_choices(to, o->choices);
                buf_putc(to, ')');
            }
        }
        buf_puts(to, "' \\\n");
    }
}

static void put_zsh(struct buf *to) {
    size_t count;
    const struct command *commands = cli_commands(&count);
    buf_puts(to, "#compdef kadr\n"
                 "# kadr: completion for zsh\n"
                 "_kadr() {\n"
                 "    if (( CURRENT == 2 )); then\n"
                 "        local -a commands=(\n");
    for (size_t i = 0; i < count; i++) {
        buf_printf(to, "            '%s:", commands[i].name);
        put_zsh_text(to, commands[i].summary);
        buf_puts(to, "'\n");
    }
    buf_puts(to, "        )\n"
                 "        _describe command commands\n"
                 "        return\n"
                 "    fi\n"
                 "    local command=$words[2]\n"
                 "    shift words\n"
                 "    (( CURRENT-- ))\n"
                 "    case $command in\n");
    for (size_t i = 0; i < count; i++) {
        buf_printf(to, "    %s)\n        _arguments \\\n", commands[i].name);
        for (int id = 0; id < OPTIONS; id++)
            if (request_option_at(id)->use & commands[i].use)
                put_zsh_option(to, request_option_at(id));
        buf_puts(to, "            '--help[tell what the command does]' \\\n"
                     "            '*:argument:_files' ;;\n");
    }
    buf_puts(to, "    esac\n}\n_kadr \"$@\"\n");
}

/* ---- fish ------------------------------------------------------------------------------------ */
static void put_quoted(struct buf *to, const char *text) {
    buf_putc(to, '\'');
    for (; *text; text++) {
        if (*text == '\'' || *text == '\\') buf_putc(to, '\\');
        buf_putc(to, *text);
    }
    buf_putc(to, '\'');
}

static void put_fish(struct buf *to) {
    size_t count;
    const struct command *commands = cli_commands(&count);
    buf_puts(to, "# kadr: completion for fish\n");
    for (size_t i = 0; i < count; i++) {
        buf_printf(to, "complete -c kadr -n __fish_use_subcommand -f -a %s -d ", commands[i].name);
        put_quoted(to, commands[i].summary);
        buf_putc(to, '\n');
    }
    for (int id = 0; id < OPTIONS; id++) {
        const kadr_option *o = request_option_at(id);
        buf_puts(to, "complete -c kadr -n '__fish_seen_subcommand_from");
        for (size_t i = 0; i < count; i++)
            if (commands[i].use & o->use) buf_printf(to, " %s", commands[i].name);
        buf_printf(to, "' -l %s", o->name);
        if (o->letter) buf_printf(to, " -s %c", o->letter);
        if (o->type != KADR_BOOL) buf_puts(to, wants_path(o) ? " -r -F" : " -x");
        if (o->choices) {
            buf_puts(to, " -a '");
            put_choices(to, o->choices);
            buf_puts(to, "'");
        }
        buf_puts(to, " -d ");
        put_quoted(to, o->help);
        buf_putc(to, '\n');
    }
}

/* ---- The command ----------------------------------------------------------------------------- */
static kadr_status put_completion(const char *shell, struct buf *to, kadr_error *err) {
    static const struct {
        const char *name;
        void (*put)(struct buf *to);
    } shells[] = {{"bash", put_bash}, {"zsh", put_zsh}, {"fish", put_fish}};
    for (size_t i = 0; i < sizeof shells / sizeof *shells; i++)
        if (!strcmp(shells[i].name, shell)) {
            shells[i].put(to);
            return KADR_OK;
        }
    return err_set(err, KADR_EUSAGE, "expected bash, zsh or fish, got \"%.100s\"", shell);
}

kadr_status command_completion(struct cli *cli, kadr_error *err) {
    struct buf text;
    buf_init(&text, cli->mem);
    kadr_status status = put_completion(cli->word[0], &text, err);
    if (status == KADR_OK) return cli_print_buf(&text, err);
    buf_free(&text);
    return status;
}
