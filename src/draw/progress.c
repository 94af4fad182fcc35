/* progress.c: see progress.h. */
#include "draw/progress.h"

#include <string.h>

void progress_measure(struct progress *p, double seconds) {
    p->per_evaluation = p->measured ? 0.7 * p->per_evaluation + 0.3 * seconds : seconds;
    p->measured = true;
}

kadr_status progress_tell(struct progress *p, const char *stage, int evaluation, int step,
                          int steps, const struct preview *preview, kadr_error *err) {
    int ended = p->ctx->interrupted;
    if (p->observer && p->observer->progress && !ended) {
        size_t group = p->group ? p->group : 1;
        size_t groups = (p->pictures - p->picture + group - 1) / group;
        double ahead = (double)groups * p->evaluations - evaluation;
        kadr_progress out = {.stage = stage,
                             .picture = p->picture,
                             .pictures = p->pictures,
                             .together = strcmp(stage, "decode") ? group : 1,
                             .step = step,
                             .steps = steps,
                             .seconds_per_step =
                                 steps > 0 ? p->per_evaluation * p->evaluations / steps : 0,
                             .seconds_left = p->per_evaluation * (ahead > 0 ? ahead : 0) +
                                             p->outside * (double)(p->pictures - p->picture)};
        struct run_stats stats;
        kadr_operations operations[OP_KINDS];
        if (p->run) {
            run_get_stats(p->run, &stats);
            for (int k = 0; k < OP_KINDS; k++)
                operations[k] = (kadr_operations){op_name((enum op_kind)k), stats.kinds[k].seconds,
                                                  stats.kinds[k].flops, stats.kinds[k].count};
            out.operations = operations;
            out.operation_kinds = OP_KINDS;
            out.bytes_read = stats.bytes_read;
            out.seconds_reading = stats.seconds_reading;
        }
        if (preview) {
            out.preview = preview->rgb;
            out.preview_width = preview->width;
            out.preview_height = preview->height;
        }
        ended = p->observer->progress(p->observer->user, &out);
    }
    return ended ? err_set(err, KADR_EINTERRUPTED, "interrupted") : KADR_OK;
}
