/* print.c: results on standard output. */
#include "cli/cli.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

kadr_status cli_print(const char *text, kadr_error *err) {
    if (fputs(text, stdout) == EOF || fflush(stdout))
        return err_errno(err, "writing to", "standard output");
    return KADR_OK;
}

kadr_status cli_print_buf(struct buf *text, kadr_error *err) {
    kadr_status status =
        buf_ok(text) ? cli_print(text->data, err) : err_nomem(err, "text to print", text->size);
    buf_free(text);
    return status;
}

static int add_to_buf(const char *bytes, size_t size, void *user) {
    buf_add(user, bytes, size);
    return 0;
}

void cli_dump_json(struct buf *to, const json_t *json) {
    json_dump_callback(json, add_to_buf, to, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
    buf_putc(to, '\n');
}

kadr_status cli_print_json(struct cli *cli, const json_t *json, kadr_error *err) {
    struct buf text;
    buf_init(&text, cli->mem);
    cli_dump_json(&text, json);
    return cli_print_buf(&text, err);
}

void cli_print_size(struct buf *to, double bytes) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t i = 0;
    for (; bytes >= 1024 && i + 1 < sizeof units / sizeof *units; i++) bytes /= 1024;
    buf_printf(to, bytes < 10 && i ? "%.1f %s" : "%.0f %s", bytes, units[i]);
}

void cli_print_seconds(struct buf *to, double seconds) {
    if (seconds < 60) buf_printf(to, "%.3g s", seconds);
    else buf_printf(to, "%.0f min %02.0f s", floor(seconds / 60), floor(fmod(seconds, 60)));
}

static void describe_scalar(struct buf *to, const json_t *json) {
    if (json_is_string(json)) buf_puts(to, json_string_value(json));
    else if (json_is_integer(json))
        buf_printf(to, "%" JSON_INTEGER_FORMAT, json_integer_value(json));
    else if (json_is_real(json)) buf_printf(to, "%.6g", json_real_value(json));
    else buf_puts(to, json_is_true(json) ? "yes" : json_is_false(json) ? "no" : "none");
}

/* Whether an array is short enough for one line: scalars only. */
static bool is_flat(const json_t *array) {
    for (size_t i = 0; i < json_array_size(array); i++) {
        const json_t *item = json_array_get(array, i);
        if (json_is_object(item) || json_is_array(item)) return false;
    }
    return true;
}

static void describe_flat(struct buf *to, const json_t *array) {
    for (size_t i = 0; i < json_array_size(array); i++) {
        if (i) buf_puts(to, json_is_string(json_array_get(array, i)) ? ", " : " ");
        describe_scalar(to, json_array_get(array, i));
    }
}

void cli_describe(struct buf *to, const json_t *json, int indent) {
    const char *key;
    json_t *value;
    if (json_is_object(json)) {
        size_t widest = 0;
        json_object_foreach((json_t *)json, key, value) if (strlen(key) > widest &&
                                                            strlen(key) <= 24) widest = strlen(key);
        json_object_foreach((json_t *)json, key, value) {
            bool flat = json_is_array(value) ? is_flat(value) : !json_is_object(value);
            buf_printf(to, "%*s%s", indent, "", key);
            if (flat) {
                int pad = (int)widest - (int)strlen(key);
                buf_printf(to, "%*s", (pad > 0 ? pad : 0) + 2, "");
                if (json_is_array(value)) describe_flat(to, value);
                else describe_scalar(to, value);
                buf_putc(to, '\n');
            } else {
                buf_putc(to, '\n');
                cli_describe(to, value, indent + 2);
            }
        }
    } else if (json_is_array(json) && !is_flat(json)) {
        for (size_t i = 0; i < json_array_size(json); i++) {
            buf_printf(to, "%*s%zu\n", indent, "", i + 1);
            cli_describe(to, json_array_get(json, i), indent + 2);
        }
    } else {
        buf_printf(to, "%*s", indent, "");
        if (json_is_array(json)) describe_flat(to, json);
        else describe_scalar(to, json);
        buf_putc(to, '\n');
    }
}

double cli_number(const json_t *object, const char *key) {
    return json_number_value(json_object_get(object, key));
}

const char *cli_text(const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}
