/* flags.c: the command line, read by the list of options: --width 512, --width=512, -W 512, -W512,
 * --json, --no-json, -- (what follows are arguments). */
#include "cli/cli.h"

#include <string.h>

struct arguments {
    char **next;
    int left;
};

static kadr_status unknown(const struct cli *cli, const char *flag, const char *name,
                           kadr_error *err) {
    const struct command *command = cli->command;
    if (request_option(name) >= 0)
        return err_set(err, KADR_EUSAGE, "%s does not belong to `kadr %s`", flag, command->name);
    const char *near = request_nearest_option(name, command->use);
    return err_set(err, KADR_EUSAGE, "unknown option %.100s%s%s%s", flag,
                   near ? ", did you mean --" : "", near ? near : "", near ? "?" : "");
}

/* A truth needs no value; everything else takes what stands behind it. */
static kadr_status set(struct cli *cli, const kadr_option *o, const char *value,
                       struct arguments *rest, kadr_error *err) {
    if (!value && o->type == KADR_BOOL) value = "true";
    if (!value) {
        if (!rest->left)
            return err_set(err, KADR_EUSAGE, "--%s: expected %s after it", o->name,
                           o->value ? o->value : "a value");
        value = *rest->next++;
        rest->left--;
    }
    kadr_status status = kadr_request_set(cli->rq, o->name, value, err);
    if (status != KADR_OK && err) {
        /* "width: expected" -> "--width: expected" */
        size_t n = strlen(err->message);
        if (n + 3 <= sizeof err->message && !strncmp(err->message, o->name, strlen(o->name))) {
            memmove(err->message + 2, err->message, n + 1);
            memcpy(err->message, "--", 2);
        }
    }
    return status;
}

static const kadr_option *find_long(const struct cli *cli, const char *name, size_t size) {
    for (int id = 0; id < OPTIONS; id++) {
        const kadr_option *o = request_option_at(id);
        if ((o->use & cli->command->use) && strlen(o->name) == size && !memcmp(o->name, name, size))
            return o;
    }
    return NULL;
}

static const kadr_option *find_letter(const struct cli *cli, char letter) {
    for (int id = 0; id < OPTIONS; id++) {
        const kadr_option *o = request_option_at(id);
        if ((o->use & cli->command->use) && o->letter == letter) return o;
    }
    return NULL;
}

static kadr_status read_long(struct cli *cli, char *flag, struct arguments *rest, kadr_error *err) {
    char *name = flag + 2, *value = strchr(name, '=');
    if (value) *value++ = 0;
    if (!strcmp(name, "help") && !value) {
        cli->help = true;
        return KADR_OK;
    }
    const kadr_option *o = find_long(cli, name, strlen(name));
    if (o) return set(cli, o, value, rest, err);
    if (!strncmp(name, "no-", 3) && !value) {
        o = find_long(cli, name + 3, strlen(name + 3));
        if (o && o->type == KADR_BOOL) return set(cli, o, "false", rest, err);
    }
    return unknown(cli, flag, name, err);
}

kadr_status cli_read_flags(struct cli *cli, int argc, char **argv, kadr_error *err) {
    struct arguments rest = {argv, argc};
    bool flags = true;
    cli->word = arena_array(&cli->arena, (size_t)argc + 1, sizeof *cli->word);
    if (!cli->word) return err_nomem(err, "the command line", (size_t)argc);
    while (rest.left) {
        char *flag = *rest.next++;
        kadr_status status = KADR_OK;
        rest.left--;
        if (!flags || flag[0] != '-' || !flag[1]) cli->word[cli->words++] = flag;
        else if (!strcmp(flag, "--")) flags = false;
        else if (flag[1] == '-') status = read_long(cli, flag, &rest, err);
        else if (!strcmp(flag, "-h")) cli->help = true;
        else {
            const kadr_option *o = find_letter(cli, flag[1]);
            const char letter[2] = {flag[1], 0};
            if (!o) status = unknown(cli, flag, letter, err);
            else if (o->type == KADR_BOOL && flag[2])
                status = err_set(err, KADR_EUSAGE, "-%s takes no value, got \"%.100s\"", letter,
                                 flag + 2);
            else status = set(cli, o, flag[2] ? flag + 2 : NULL, &rest, err);
        }
        if (status != KADR_OK) return status;
    }
    return KADR_OK;
}
