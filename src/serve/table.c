/* table.c: every address that is answered: which route a request means, and what openapi.c tells of
 * it. A route that is not here is not there. */
#include "serve/routes.h"

#include "base/utf8.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SDAPI(method, path, body, fn, about, ...)                                                  \
    { method, "/sdapi/v1/" path, body, 0, fn, about, __VA_ARGS__ }

static const struct route table[] = {
    {"GET", "/", BODY_NONE, ROUTE_OPEN, page_file, "The page.", .gives = "text/html"},
    {"GET", "/kadr.css", BODY_NONE, ROUTE_OPEN, page_file, "Its style.", .gives = "text/css"},
    {"GET", "/js/~.js", BODY_NONE, ROUTE_OPEN, page_file, "A part of its program.",
     .gives = "text/javascript"},
    {"GET", "/api/v1/health", BODY_NONE, ROUTE_OPEN, route_get_health, "Whether it is there.",
     .gives = "Health"},
    {"GET", "/api/v1/openapi.json", BODY_NONE, 0, openapi_get, "This description.", .gives = "Any"},
    {"GET", "/api/v1/metrics", BODY_NONE, 0, route_get_metrics, "Counts in Prometheus' form.",
     .gives = "text/plain"},
    {"GET", "/api/v1/models", BODY_NONE, ROUTE_SLOW, models_list,
     "Models, the one that is drawn with unless told otherwise, and what each needs.",
     .gives = "Models"},
    {"POST", "/api/v1/models/choose", BODY_JSON, 0, models_put,
     "Which model is drawn with from now on.", .takes = "ChooseModel", .gives = "Chosen"},
    {"GET", "/api/v1/doctor", BODY_NONE, ROUTE_SLOW, models_doctor,
     "What this machine can do; measured once.", .gives = "Any"},
    {"GET", "/api/v1/pulls", BODY_NONE, 0, pulls_list, "Downloads of models.", .gives = "Pulls"},
    {"POST", "/api/v1/pulls", BODY_JSON, 0, pulls_post, "Downloads a model from a hub.",
     .takes = "NewPull", .gives = "Pull", .code = 201},
    {"POST", "/api/v1/pulls/*/cancel", BODY_JSON, 0, pulls_cancel, "Ends a download.",
     .takes = "Nothing", .gives = "Pull"},
    {"GET", "/api/v1/events", BODY_NONE, 0, route_get_events,
     "Server-sent events job, progress, picture, alive; Last-Event-ID has the last 256 told again.",
     .gives = "text/event-stream"},
    {"GET", "/api/v1/jobs", BODY_NONE, 0, route_get_jobs,
     "Jobs, those that wait in their order first, then the newest.", .query = "limit",
     .gives = "Jobs"},
    {"POST", "/api/v1/jobs", BODY_JSON, 0, route_post_job, "Draw: puts a job into the queue.",
     .takes = "Request", .gives = "Job", .code = 201},
    {"GET", "/api/v1/jobs/*", BODY_NONE, 0, route_get_job, "One job with its pictures.",
     .gives = "Job"},
    {"GET", "/api/v1/jobs/*/preview", BODY_NONE, 0, route_get_preview, "What is emerging.",
     .gives = "image/png"},
    {"POST", "/api/v1/jobs/*/cancel", BODY_JSON, 0, route_cancel_job,
     "Cancels a job that waits or is being drawn; one that has ended stays as it is.",
     .takes = "Nothing", .gives = "Job"},
    {"POST", "/api/v1/jobs/*/move", BODY_JSON, 0, route_move_job,
     "Puts a waiting job before another one.", .takes = "Move", .gives = "Job"},
    {"GET", "/api/v1/workers", BODY_NONE, 0, route_get_workers,
     "Who draws from a store that machines share, and was seen within the last minute.",
     .gives = "Workers"},
    {"POST", "/api/v1/plan", BODY_JSON, ROUTE_SLOW, route_post_plan,
     "What a job would take of memory and time.", .takes = "Request", .gives = "Plan"},
    {"GET", "/api/v1/boards", BODY_NONE, 0, boards_list, "Boards, changed last first.",
     .gives = "Boards"},
    {"POST", "/api/v1/boards", BODY_LARGE, 0, boards_post,
     "A new board, of a script or another board.", .takes = "NewBoard", .gives = "Board",
     .code = 201},
    {"GET", "/api/v1/boards/*", BODY_NONE, 0, boards_get, "A board with what is drawn of it.",
     .gives = "Board"},
    {"PATCH", "/api/v1/boards/*", BODY_JSON, 0, boards_patch,
     "Changes fields of a board; null takes one away.", .takes = "BoardFields", .gives = "Changed"},
    {"DELETE", "/api/v1/boards/*", BODY_NONE, 0, boards_delete, "Puts a board away.",
     .gives = "Changed"},
    {"POST", "/api/v1/boards/*/script", BODY_LARGE, 0, boards_script, "Another script for a board.",
     .takes = "Script", .gives = "Changed"},
    {"POST", "/api/v1/boards/*/renumber", BODY_JSON, 0, boards_renumber,
     "Numbers panels 1, 2, ...; seeds stay.", .takes = "Nothing", .gives = "Changed"},
    {"POST", "/api/v1/boards/*/plan", BODY_JSON, ROUTE_SLOW, boards_plan,
     "Which panels would be drawn, and what that takes.", .takes = "Draw", .gives = "BoardPlan"},
    {"POST", "/api/v1/boards/*/draw", BODY_JSON, ROUTE_SLOW, boards_draw,
     "A job for each panel whose content no picture has.", .takes = "Draw", .gives = "Ordered",
     .code = 201},
    {"GET", "/api/v1/boards/*/export", BODY_NONE, ROUTE_SLOW, boards_export,
     "A board as PDF, film, subtitles or what editors open.",
     .query = "format layout paper captions",
     .gives = "application/pdf image/png image/webp video/mp4 application/x-subrip text/plain "
              "application/xml application/json text/html application/x-tar"},
    {"POST", "/api/v1/boards/*/panels", BODY_JSON, 0, panels_post, "A new panel.",
     .takes = "NewPanel", .gives = "Changed", .code = 201},
    {"GET", "/api/v1/boards/*/panels/~", BODY_NONE, 0, panels_get, "A panel, by its uid.",
     .gives = "Changed"},
    {"PATCH", "/api/v1/boards/*/panels/~", BODY_JSON, 0, panels_patch,
     "Changes fields of a panel; null takes one away.", .takes = "PanelFields", .gives = "Changed"},
    {"DELETE", "/api/v1/boards/*/panels/~", BODY_NONE, 0, panels_delete,
     "Takes a panel out of the board.", .gives = "Changed"},
    {"POST", "/api/v1/boards/*/panels/~/move", BODY_JSON, 0, panels_move,
     "Puts a panel before another one.", .takes = "Place", .gives = "Changed"},
    {"POST", "/api/v1/boards/*/panels/~/pick", BODY_JSON, 0, panels_pick,
     "Which of its pictures counts.", .takes = "Pick", .gives = "Changed"},
    {"POST", "/api/v1/boards/*/panels/~/revise", BODY_JSON, ROUTE_SLOW, panels_revise,
     "Another version of a panel.", .takes = "Revise", .gives = "Ordered", .code = 201},
    {"GET", "/api/v1/casts", BODY_NONE, 0, casts_list, "Characters.", .gives = "Casts"},
    {"POST", "/api/v1/casts", BODY_JSON, 0, casts_post, "A job that makes a character of pictures.",
     .takes = "NewCast", .gives = "Job", .code = 201},
    {"GET", "/api/v1/casts/~/thumbnail", BODY_NONE, 0, casts_thumbnail,
     "A small picture of a character.", .gives = "image/png"},
    {"DELETE", "/api/v1/casts/~", BODY_NONE, 0, casts_delete, "Deletes a character.",
     .gives = "Deleted"},
    {"GET", "/api/v1/pictures", BODY_NONE, 0, route_get_pictures, "The gallery, newest first.",
     .query = "search before limit", .gives = "Pictures"},
    {"GET", "/api/v1/pictures/*", BODY_NONE, 0, route_get_picture,
     "A picture, with its settings inside.", .gives = "image/png"},
    {"DELETE", "/api/v1/pictures/*", BODY_NONE, 0, route_delete_picture, "Deletes a picture.",
     .gives = "Deleted"},
    {"POST", "/api/v1/inspect", BODY_PICTURE, 0, route_inspect, "The settings inside a picture.",
     .gives = "Settings"},
    {"POST", "/api/v1/uploads", BODY_PICTURE, 0, route_post_upload, "A picture to begin from.",
     .gives = "Upload", .code = 201},
    {"POST", "/v1/images/generations", BODY_JSON, 0, openai_generate,
     "Draw, as OpenAI's images API.", .takes = "Any", .gives = "Any"},
    {"POST", "/v1/images/edits", BODY_FORM, 0, openai_edit,
     "Draw from a picture, as OpenAI's images API.", .gives = "Any"},
    {"GET", "/v1/models", BODY_NONE, 0, openai_models, "Models, as OpenAI's API.", .gives = "Any"},

    SDAPI("POST", "txt2img", BODY_LARGE, a1111_txt2img, "Draw, as AUTOMATIC1111's API.",
          .takes = "Any", .gives = "Any"),
    SDAPI("POST", "img2img", BODY_LARGE, a1111_img2img,
          "Draw from a picture, as AUTOMATIC1111's API.", .takes = "Any", .gives = "Any"),
    SDAPI("GET", "progress", BODY_NONE, a1111_progress, "How far the drawing is.",
          .query = "skip_current_image", .gives = "Any"),
    SDAPI("POST", "interrupt", BODY_NONE, a1111_interrupt, "Ends the client's drawing.",
          .gives = "Any"),
    SDAPI("POST", "skip", BODY_NONE, a1111_skip,
          "Leaves the picture at work out, goes on with the next.", .gives = "Any"),
    SDAPI("GET", "options", BODY_NONE, a1111_get_options, "Options.", .gives = "Any"),
    SDAPI("POST", "options", BODY_JSON, a1111_set_options, "Sets options.", .takes = "Any",
          .gives = "Any"),
    SDAPI("GET", "cmd-flags", BODY_NONE, a1111_flags, "How the program was started.",
          .gives = "Any"),
    SDAPI("GET", "memory", BODY_NONE, a1111_memory, "Memory.", .gives = "Any"),
    SDAPI("POST", "png-info", BODY_LARGE, a1111_png_info, "The settings inside a picture.",
          .takes = "PngInfo", .gives = "Any"),
    SDAPI("GET", "samplers", BODY_NONE, a1111_samplers, "Samplers.", .gives = "AnyList"),
    SDAPI("GET", "schedulers", BODY_NONE, a1111_schedulers, "Schedulers.", .gives = "AnyList"),
    SDAPI("GET", "sd-models", BODY_NONE, a1111_models, "Models.", .gives = "AnyList"),
    SDAPI("GET", "loras", BODY_NONE, a1111_loras, "LoRAs.", .gives = "AnyList"),
    SDAPI("GET", "upscalers", BODY_NONE, a1111_upscalers, "Upscalers.", .gives = "AnyList"),
    SDAPI("GET", "scripts", BODY_NONE, a1111_scripts, "Scripts.", .gives = "Any"),
    SDAPI("GET", "script-info", BODY_NONE, a1111_empty_list, "Scripts.", .gives = "AnyList"),
    SDAPI("GET", "extensions", BODY_NONE, a1111_empty_list, "Extensions.", .gives = "AnyList"),
    SDAPI("GET", "sd-vae", BODY_NONE, a1111_empty_list, "VAEs.", .gives = "AnyList"),
    SDAPI("GET", "hypernetworks", BODY_NONE, a1111_empty_list, "Hypernetworks.",
          .gives = "AnyList"),
    SDAPI("GET", "face-restorers", BODY_NONE, a1111_empty_list, "Face restorers.",
          .gives = "AnyList"),
    SDAPI("GET", "realesrgan-models", BODY_NONE, a1111_empty_list, "Upscalers.",
          .gives = "AnyList"),
    SDAPI("GET", "latent-upscale-modes", BODY_NONE, a1111_empty_list, "Upscalers.",
          .gives = "AnyList"),
    SDAPI("GET", "prompt-styles", BODY_NONE, a1111_empty_list, "Styles.", .gives = "AnyList"),
    SDAPI("GET", "embeddings", BODY_NONE, a1111_embeddings, "Embeddings.", .gives = "Any"),
    SDAPI("POST", "refresh-checkpoints", BODY_NONE, a1111_done,
          "Nothing: models are always looked for.", .gives = "Any"),
    SDAPI("POST", "refresh-loras", BODY_NONE, a1111_done, "The same.", .gives = "Any"),
    SDAPI("POST", "refresh-vae", BODY_NONE, a1111_done, "The same.", .gives = "Any"),
    SDAPI("POST", "unload-checkpoint", BODY_NONE, a1111_done, "Nothing: plans decide.",
          .gives = "Any"),
    SDAPI("POST", "reload-checkpoint", BODY_NONE, a1111_done, "The same.", .gives = "Any"),
};

const struct route *route_at(size_t index) {
    return index < sizeof table / sizeof *table ? &table[index] : NULL;
}

static bool is_utf8(const char *text, size_t size) {
    const char *end = text + size;
    while (text < end)
        if (utf8_next(&text, end) == UTF8_BROKEN) return false;
    return true;
}

/* As many bytes of `path` as a name has: letters of any kind, digits, - and _. */
static size_t name_length(const char *path) {
    size_t n = 0;
    for (const unsigned char *p = (const unsigned char *)path;
         p[n] >= 0x80 || (p[n] >= '0' && p[n] <= '9') || (p[n] >= 'A' && p[n] <= 'Z') ||
         (p[n] >= 'a' && p[n] <= 'z') || p[n] == '-' || p[n] == '_';)
        n++;
    return n && n < ROUTE_NAME && is_utf8(path, n) ? n : 0;
}

/* Whether `path` is that of a route; "*" stands for up to 18 digits, "~" for a name. */
static bool matches(const char *pattern, const char *path, struct route_place *in) {
    for (; *pattern; pattern++) {
        if (*pattern != '*' && *pattern != '~') {
            if (*path++ != *pattern) return false;
            continue;
        }
        size_t n = *pattern == '*' ? strspn(path, "0123456789") : name_length(path);
        if (!n || (*pattern == '*' && n > 18)) return false;
        if (*pattern == '*') in->number = (int64_t)strtoll(path, NULL, 10);
        else snprintf(in->name, sizeof in->name, "%.*s", (int)n, path);
        path += n;
    }
    return !*path;
}

const struct route *route_find(const char *method, const char *path, struct route_place *in,
                               bool *other) {
    const struct route *r;
    for (size_t i = 0; (r = route_at(i)); i++) {
        if (!matches(r->path, path, in)) continue;
        if (!strcmp(r->method, method)) return r;
        *other = true;
    }
    return NULL;
}

void route_methods(const char *path, char *to, size_t size) {
    const struct route *r;
    struct route_place in;
    size_t n = 0;
    *to = 0;
    for (size_t i = 0; (r = route_at(i)); i++)
        if (matches(r->path, path, &in) && n < size)
            n += (size_t)snprintf(to + n, size - n, "%s%s", n ? ", " : "", r->method);
}

size_t route_body_most(const struct route *r, size_t most) {
    bool small = r->body == BODY_NONE || r->body == BODY_JSON;
    return small && most > SERVE_BODY_SMALL ? SERVE_BODY_SMALL : most;
}
