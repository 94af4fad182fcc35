/* result.c: the files that a drawing leaves, and the report at its end. */
#include "cli/cli.h"

#include "base/file.h"
#include "base/sys.h"
#include "image/image.h"
#include "image/term.h"
#include <string.h>
#include <unistd.h>

static json_t *parse_or_null(const char *text) {
    json_t *json = NULL;
    if (!text || json_parse(text, strlen(text), "report", KADR_EOTHER, &json, NULL) != KADR_OK)
        return json_null();
    return json;
}

/* "out.png" -> "out.kadr.json" */
static char *sidecar_path(struct arena *a, const char *path) {
    const char *extension = file_extension(path);
    size_t n = strlen(path);
    if (*extension) n -= strlen(extension) + 1;
    return arena_printf(a, "%.*s.kadr.json", (int)n, path);
}

static kadr_status write_sidecar(struct cli *cli, const json_t *report, const char *path,
                                 kadr_error *err) {
    struct buf text;
    kadr_status status;
    const char *sidecar = sidecar_path(&cli->arena, path);
    buf_init(&text, cli->mem);
    cli_dump_json(&text, report);
    if (!sidecar || !buf_ok(&text)) status = err_nomem(err, "the report of a picture", text.size);
    else status = file_write_atomic(cli->mem, sidecar, text.data, text.size, err);
    buf_free(&text);
    return status;
}

/* The path is the command's result: one line on standard output, unless all of it is JSON. */
static kadr_status tell_path(struct cli *cli, const char *path, kadr_error *err) {
    console_clear(&cli->console);
    if (cli->rq->json) return KADR_OK;
    const char *line = arena_printf(&cli->arena, "%s\n", path);
    return line ? cli_print(line, err) : err_nomem(err, "a path", strlen(path));
}

kadr_status result_write(struct cli *cli, const kadr_picture *picture, const char *path,
                         json_t *list, kadr_error *err) {
    kadr_status status = kadr_picture_write(picture, path, err);
    if (status != KADR_OK) return status;
    json_t *report = json_pack("{s:s, s:I, s:i, s:i, s:o, s:o}", "picture", path, "seed",
                               (json_int_t)picture->seed, "width", picture->width, "height",
                               picture->height, "settings", parse_or_null(picture->settings),
                               "report", parse_or_null(picture->report));
    if (!report || json_array_append(list, report))
        status = err_nomem(err, "the report of a picture", 0);
    else status = write_sidecar(cli, report, path, err);
    json_decref(report);
    if (status != KADR_OK) return status;
    result_show(cli, picture->rgb, picture->width, picture->height);
    return tell_path(cli, path, err);
}

void result_show(struct cli *cli, const uint8_t *rgb, int width, int height) {
    const struct image im = {width, height, 3, (uint8_t *)rgb};
    if (cli->console.quiet || cli->rq->json || !isatty(STDOUT_FILENO)) return;
    console_clear(&cli->console);
    term_show(&im, cli->mem, STDOUT_FILENO, NULL);
}

kadr_status result_finish(struct cli *cli, json_t *result, double seconds, kadr_error *err) {
    size_t count = json_array_size(json_object_get(result, "pictures"));
    uint64_t peak = sys_memory_peak();
    if (cli->rq->json) {
        if (json_object_set_new(result, "seconds", json_real(seconds)) ||
            json_object_set_new(result, "peak_bytes", json_integer((json_int_t)peak)))
            return err_nomem(err, "the report", 0);
        return cli_print_json(cli, result, err);
    }
    struct buf text;
    buf_init(&text, cli->mem);
    buf_printf(&text, "%zu picture%s in ", count, count == 1 ? "" : "s");
    cli_print_seconds(&text, seconds);
    if (count > 1) {
        buf_puts(&text, ", ");
        cli_print_seconds(&text, seconds / (double)count);
        buf_puts(&text, " each");
    }
    if (peak) {
        buf_puts(&text, ", peak memory ");
        cli_print_size(&text, (double)peak);
    }
    if (buf_ok(&text)) console_say(&cli->console, "%s", text.data);
    buf_free(&text);
    return KADR_OK;
}
