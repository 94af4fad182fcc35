/* routes.h: what the table of routes (table.c) names from other files. */
#ifndef KADR_SERVE_ROUTES_H
#define KADR_SERVE_ROUTES_H

#include "serve/inside.h"

/* ---- page.c: the page */
route_fn page_file;

/* ---- routes.c: kadr's own API */
route_fn route_get_health, route_get_metrics, route_get_events;
route_fn route_get_workers, route_get_jobs, route_post_job, route_get_job, route_get_preview,
    route_cancel_job, route_move_job, route_post_plan;
route_fn route_get_pictures, route_get_picture, route_delete_picture, route_inspect,
    route_post_upload;

/* ---- boards.c, board_draw.c, board_export.c */
route_fn boards_list, boards_post, boards_get, boards_patch, boards_delete, boards_script,
    boards_renumber, boards_plan, boards_draw, boards_export, panels_get, panels_post, panels_patch,
    panels_delete, panels_move, panels_pick, panels_revise;

/* ---- casts.c, models.c */
route_fn casts_list, casts_post, casts_thumbnail, casts_delete, models_list, models_put,
    models_doctor, pulls_list, pulls_post, pulls_cancel;
/* Names of models, the default first. */
json_t *routes_models(const struct serve *s);

/* ---- openai.c: as OpenAI's images API */
route_fn openai_generate, openai_edit, openai_models;

/* ---- a1111.c, a1111_state.c: as AUTOMATIC1111's API */
route_fn a1111_txt2img, a1111_img2img, a1111_progress, a1111_interrupt, a1111_skip, a1111_png_info;
route_fn a1111_get_options, a1111_set_options, a1111_flags, a1111_memory;
route_fn a1111_samplers, a1111_schedulers, a1111_models, a1111_loras, a1111_upscalers,
    a1111_scripts, a1111_embeddings, a1111_empty_list, a1111_done;

/* ---- openapi.c */
route_fn openapi_get;

#endif
