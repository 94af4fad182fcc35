/* main.c: the program: finds the command, reads its flags, runs it, and says what went wrong. The
 * exit status is the kadr_status. */
#include "cli/cli.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#define DRAWS (KADR_FOR_GENERATE | KADR_FOR_PLAN | KADR_FOR_BOARD)

static const struct command command_table[] = {
    {"generate", "PROMPT", 0, 1, KADR_FOR_GENERATE, "draw pictures of a prompt",
     "Draws the prompt and writes a PNG that holds all settings, so that `kadr generate --from "
     "FILE` draws the same picture again. Without -o the picture is called kadr-SEED.png and no "
     "file is overwritten; several pictures are numbered. Beside each picture, NAME.kadr.json "
     "tells the time and the memory that drawing it took.",
     command_generate},
    {"board", "[draw|export|init|revise|pick] FILE", 1, -1, KADR_FOR_BOARD,
     "draw a storyboard of a script",
     "draw FILE (`kadr board FILE` is the same): draws the panels of a plain text of one paragraph "
     "a "
     "panel, of Fountain, of a .storyboarder file or of a board as kadr writes it. Pictures are in "
     "the "
     "folder of -o (without it: one named after the file) as panel-001.png and so on, each as soon "
     "as "
     "it is drawn, with sheet.png, the contact sheet, and board.json. Only panels that changed are "
     "drawn again, as panel-001-v2.png; nothing is deleted. Panel n takes seed + n - 1 unless it "
     "says "
     "another. Where neither you nor the model say a size, panels are 16:9.\n"
     "init FILE: writes the board of a script, to be edited (-o, or NAME.json). "
     "revise FOLDER PANEL: draws one panel again, from its picture with --strength, within --mask, "
     "with another --prompt or --seed. pick FOLDER PANEL v2: which version counts.\n"
     "export FOLDER: the board as files for others, into the folder or that of -o: those that "
     "flags "
     "name, or all.",
     command_board},
    {"cast", "add NAME PICTURE...|list|show NAME|check NAME PICTURE...|remove NAME|export NAME", 1,
     -1, KADR_FOR_CAST, "keep characters that stay the same",
     "add: makes a cast of a character out of reference pictures; `kadr generate --cast NAME` then "
     "draws it. It needs an IP-Adapter (--adapter) and its CLIP image encoder; the model that "
     "comes "
     "with kadr has both. list: those there are. show: what one was made of. check: how near "
     "pictures "
     "come to it, as the image encoder sees them; below the cast's threshold they have drifted. "
     "remove: deletes it. "
     "export: copies its file to -o, or with a name that ends in .png its small picture.",
     command_cast},
    {"tokens", "TEXT", 1, 1, KADR_FOR_TOKENS, "show how a model reads a text",
     "Shows the tokens of both text encoders without start and end marks, their weights, where "
     "the chunks of 77 end, and what a limit of 77 tokens would have cut.",
     command_tokens},
    {"inspect", "MODEL|PICTURE", 1, 1, KADR_FOR_INSPECT, "show what is in a model or a picture",
     "Of a model: its kind, components, tensors, sizes and number formats. Of a picture: the "
     "settings it was drawn with.",
     command_inspect},
    {"plan", "[PROMPT]", 0, 1, KADR_FOR_PLAN, "tell the memory that a drawing would take",
     "Plans the whole drawing without computing anything: its stages, what each takes, and "
     "whether it fits.",
     command_plan},
    {"bench", "[PROMPT]", 0, 1, KADR_FOR_BENCH, "measure how fast this machine draws",
     "Draws one picture and then six, writes nothing, and tells the seconds of each, a step's, and "
     "the peak memory beside the planned one. --step times steps of the UNet alone.",
     command_bench},
    {"doctor", "", 0, 0, KADR_FOR_DOCTOR, "tell what this machine can do",
     "Measures the machine (arithmetic, disk, memory) and tells which preset suits it, what each "
     "would take here in memory and time, and what machines of other sizes get.",
     command_doctor},
    {"pack", "MODEL", 1, 1, KADR_FOR_PACK, "make one fast file of a model",
     "Writes the whole model as MODEL.kadr, in the form in which it is computed with: it starts "
     "without conversion and is read straight into place, so that little memory is nearly as fast "
     "as much. -m takes such a file like any model.",
     command_pack},
    {"verify", "FILE", 1, 1, KADR_FOR_PACK, "check a packed model",
     "Reads a file that `kadr pack` wrote and compares the checksum of every tensor.",
     command_verify},
    {"serve", "", 0, 0, KADR_FOR_SERVE, "draw for a web page and for other programs",
     "Listens at http://127.0.0.1:7870/ with a page to draw from, kadr's own API and the one of "
     "OpenAI's image clients, and draws what was asked for, one after the other. The queue and the "
     "pictures are in the folder of --store and survive whatever ends the program. Ctrl-C ends "
     "it.",
     command_serve},
    {"work", "", 0, 0, KADR_FOR_WORK, "draw for a server on another machine",
     "Draws what waits in the store that a `kadr serve` with the same --store fills, a PostgreSQL "
     "database: any number of machines may. It takes what fits its --memory and the models that "
     "it has, and keeps nothing: pictures go into the database, or into the folder --pictures "
     "that all share. Ctrl-C ends it; what it was drawing goes back into the queue, as it does "
     "half a minute after a machine was lost.",
     command_work},
    {"pull", "OWNER/NAME[@REVISION]", 1, 1, KADR_FOR_PULL, "download a model",
     "Downloads what kadr needs of a model from huggingface.co, or the hub that HF_ENDPOINT names, "
     "into the cache that all Hugging Face tools share, and prints where it is; -m OWNER/NAME then "
     "draws with it. Of weights it takes the fp16 variant where there is one, and never a pickle. "
     "What was broken off goes on where it ended. For models that ask for consent: HF_TOKEN.",
     command_pull},
    {"models", "", 0, 0, KADR_FOR_MODELS, "list the models that are here",
     "Lists what -m finds by name: the model that comes with kadr, the model folder "
     "($XDG_DATA_HOME/kadr/models) and the Hugging Face cache, with the size of each on disk, the "
     "picture that it draws unless told otherwise, the least memory in which that works and what "
     "it takes with everything in memory. What is no model of SDXL's kind is only counted; --json "
     "tells why.",
     command_models},
    {"config", "[show|path|check]", 0, 1, DRAWS, "show or check the configuration",
     "show: every value and where it came from, for the flags that are given. path: the files "
     "that are read. check: says what is wrong with files, environment and flags before anything "
     "is drawn.",
     command_config},
    {"completion", "bash|zsh|fish", 1, 1, 0, "print a completion script for a shell",
     "Prints what lets the shell complete commands and options. bash: source <(kadr completion "
     "bash); zsh: save it as _kadr in a folder of $fpath; fish: save it as "
     "~/.config/fish/completions/kadr.fish.",
     command_completion},
    {"man", "", 0, 0, 0, "print the manual page",
     "Prints the manual page in roff: kadr man | man -l -", command_man},
    {"help", "[COMMAND]", 0, 1, 0, "tell what a command does", "The same as kadr COMMAND --help.",
     command_help},
    {"version", "", 0, 0, 0, "tell the version", "Prints name and version.", command_version},
};
#define COMMANDS (sizeof command_table / sizeof *command_table)

const struct command *cli_commands(size_t *count) {
    *count = COMMANDS;
    return command_table;
}

const struct command *cli_command(const char *name) {
    for (size_t i = 0; i < COMMANDS; i++)
        if (!strcmp(command_table[i].name, name)) return &command_table[i];
    return NULL;
}

static kadr_status find_command(struct cli *cli, const char *name, kadr_error *err) {
    const char *words[COMMANDS];
    cli->command = cli_command(name);
    if (cli->command) return KADR_OK;
    for (size_t i = 0; i < COMMANDS; i++) words[i] = command_table[i].name;
    const char *near = request_nearest(name, words, COMMANDS);
    return err_set(err, KADR_EUSAGE, "unknown command \"%.100s\"%s%s%s", name,
                   near ? ", did you mean \"" : "", near ? near : "",
                   near ? "\"?" : "; `kadr help` lists them");
}

static kadr_status check_words(const struct cli *cli, kadr_error *err) {
    const struct command *c = cli->command;
    if (cli->words < c->least)
        return err_set(err, KADR_EUSAGE, "expected %s after `kadr %s`", c->arguments, c->name);
    if (c->most >= 0 && cli->words > c->most)
        return err_set(err, KADR_EUSAGE, "unexpected argument \"%.100s\"%s", cli->word[c->most],
                       c->use & KADR_FOR_GENERATE ? "; a prompt of several words needs quotes"
                                                  : "");
    return KADR_OK;
}

static kadr_status show_help(struct cli *cli, const struct command *command, kadr_error *err) {
    struct buf text;
    buf_init(&text, cli->mem);
    if (command) help_command(command, &text);
    else help_program(&text);
    return cli_print_buf(&text, err);
}

static kadr_status run(struct cli *cli, int argc, char **argv, kadr_error *err) {
    const char *first = argc > 1 ? argv[1] : NULL;
    if (!first) {
        show_help(cli, NULL, err);
        return err_set(err, KADR_EUSAGE, "expected a command");
    }
    if (!strcmp(first, "--help") || !strcmp(first, "-h")) return show_help(cli, NULL, err);
    if (!strcmp(first, "--version")) first = "version";
    kadr_status status = find_command(cli, first, err);
    if (status == KADR_OK) status = cli_read_flags(cli, argc - 2, argv + 2, err);
    if (status == KADR_OK && cli->help) return show_help(cli, cli->command, err);
    if (status == KADR_OK) status = check_words(cli, err);
    return status == KADR_OK ? cli->command->run(cli, err) : status;
}

int main(int argc, char **argv) {
    kadr_error err = {0};
    struct cli cli = {.program = argv[0]};
    kadr_status status = KADR_EMEMORY;
    signal(SIGPIPE, SIG_IGN); /* a reader that went away is a failed write */
    console_open(&cli.console);
    cli.mem = mem_open(0);
    cli.rq = kadr_request_new();
    if (cli.mem) arena_init(&cli.arena, cli.mem);
    if (cli.mem && cli.rq) status = run(&cli, argc, argv, &err);
    else err_nomem(&err, "the program", 0);
    if (status != KADR_OK) {
        console_log(&cli.console, KADR_LOG_ERROR, err.message);
        if (status == KADR_EUSAGE && cli.command)
            console_say(&cli.console, "      `kadr %s --help` tells what it takes",
                        cli.command->name);
    }
    kadr_close(cli.ctx);
    kadr_request_free(cli.rq);
    if (cli.mem) {
        arena_free(&cli.arena);
        mem_close(cli.mem);
    }
    return (int)status;
}
