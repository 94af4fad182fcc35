/* machine.c: see machine.h. The file is JSON; one of another processor or number of threads is as
 * good as none.
 */
#include "draw/machine.h"
#include "base/file.h"
#include "base/json.h"
#include "base/sys.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Guesses for a processor that was never measured. */
#define GUESS_FLOPS_A_THREAD 5e10
#define GUESS_BYTES 8e9
#define GUESS_READ 1e9

#define SLICE 0.03     /* seconds that one measurement takes at least */
#define SLICE_MOST 0.3 /* and where the machine is busy with other things, for so many runs: */
#define RUNS 8
#define LEARN 0.5  /* weight of the newest drawing */
#define JUDGE 0.25 /* the same for how far a prediction was off */
#define JUDGED_MOST 1000
#define SHORT 0.25      /* seconds: what is shorter teaches nothing */
#define READ_LEAST 64e6 /* bytes, likewise */
#define FILE_MOST 16384

static int slot_of(enum dtype dtype) {
    return dtype == DTYPE_F32 ? MACHINE_F32 : dtype == DTYPE_I8 ? MACHINE_I8 : MACHINE_BF16;
}

/* ---- Measuring */

enum probe { PROBE_PRODUCT, PROBE_CONV, PROBE_ATTENTION, PROBE_ROWS, PROBES };

static void describe(struct graph *g, enum probe probe, enum machine_scale scale) {
    bool small = scale == MACHINE_SMALL;
    const int64_t width = small ? 64 : 1280, channels = small ? 64 : 320;
    const int64_t side = small ? 16 : 32, heads = small ? 2 : 5;
    const int64_t rows[3] = {1, 256, width}, picture[4] = {1, side, side, channels};
    const int64_t tokens[3] = {1, side * side, heads * (small ? 32 : 64)};
    switch (probe) {
    case PROBE_PRODUCT:
        graph_linear(g, graph_input(g, "x", g->dtype, 3, rows), "linear", width, true, EPI_NONE);
        break;
    case PROBE_CONV:
        graph_conv(g, graph_input(g, "x", g->dtype, 4, picture), NO_TENSOR, "conv",
                   (struct conv_shape){
                       .out = channels, .kernel = 3, .stride = 1, .pad_before = 1, .pad_after = 1},
                   true, EPI_NONE);
        break;
    case PROBE_ATTENTION: {
        const tensor_id q = graph_input(g, "q", g->dtype, 3, tokens);
        const tensor_id k = graph_input(g, "k", g->dtype, 3, tokens);
        const tensor_id v = graph_input(g, "v", g->dtype, 3, tokens);
        const struct attention_inputs in = {q, k, v, NO_TENSOR, NO_TENSOR, NO_TENSOR, NO_TENSOR};
        graph_attention(g, "attention", in, (int)heads, 0.125f, false);
        break;
    }
    default: graph_layer_norm(g, graph_input(g, "x", g->dtype, 3, rows), "norm", 1e-5f);
    }
}

/* Everything that a probe's one operation touches, in one map of zeros. */
struct bench {
    void *tensor[8];
    const void *weight[4];
    void *workspace;
    char *map;
    size_t bytes;
};

static bool bench_open(struct bench *b, const struct machine_tools *tools, const struct graph *g) {
    size_t at[13], used = 0;
    int n = 0;
    for (int i = 0; i < g->tensor_count; i++, n++) {
        at[n] = used;
        used += (tensor_bytes(&g->tensors[i]) + 4095) & ~(size_t)4095;
    }
    for (int i = 0; i < g->weight_count; i++, n++) {
        at[n] = used;
        used += (tools->backend->weight_size(tools->state, g, i) + 4095) & ~(size_t)4095;
    }
    size_t workspace = 1;
    for (int i = 0; i < g->op_count; i++) {
        size_t own = tools->backend->workspace(tools->state, g, &g->ops[i], NULL);
        if (own > workspace) workspace = own;
    }
    b->bytes = used + workspace;
    b->map = mem_map(tools->mem, b->bytes);
    if (!b->map) return false;
    n = 0;
    for (int i = 0; i < g->tensor_count; i++) b->tensor[i] = b->map + at[n++];
    for (int i = 0; i < g->weight_count; i++) b->weight[i] = b->map + at[n++];
    b->workspace = b->map + used;
    return true;
}

/* Seconds of the quickest of several runs; 0: memory was refused. Of int8 are products alone. */
static double measure(const struct machine_tools *tools, enum dtype dtype, enum machine_scale scale,
                      enum probe probe, double *flops, double *bytes) {
    struct graph g;
    struct bench b = {0};
    double best = 0;
    graph_init(&g, tools->mem, "probe", dtype == DTYPE_I8 ? DTYPE_BF16 : dtype);
    graph_products(&g, dtype);
    describe(&g, probe, scale);
    if (!graph_failed(&g) && bench_open(&b, tools, &g)) {
        *flops = op_flops(&g, &g.ops[g.op_count - 1]);
        *bytes = 0;
        for (int i = 0; i < g.tensor_count; i++) *bytes += (double)tensor_bytes(&g.tensors[i]);
        double from = sys_seconds(), now = from;
        for (int run = 0; now - from < SLICE || (run < RUNS && now - from < SLICE_MOST); run++) {
            double start = now;
            for (int i = 0; i < g.op_count; i++)
                tools->backend->run(tools->state, &g, &g.ops[i], NULL, b.tensor, b.weight,
                                    b.workspace);
            now = sys_seconds();
            if (best == 0 || now - start < best) best = now - start;
        }
        mem_unmap(tools->mem, b.map, b.bytes);
    }
    graph_free(&g);
    return best;
}

static void measure_speed(struct machine_speed *s, const struct machine_tools *tools,
                          enum dtype dtype, enum machine_scale scale) {
    const enum dtype values = dtype == DTYPE_I8 ? DTYPE_BF16 : dtype;
    double rate[PROBES], flops, bytes, seconds;
    for (int i = 0; i < PROBES; i++) {
        seconds = measure(tools, values, scale, (enum probe)i, &flops, &bytes);
        if (seconds <= 0) return;
        rate[i] = (i == PROBE_ROWS ? bytes : flops) / seconds;
    }
    s->rates.product = s->rates.product_i8 = rate[PROBE_PRODUCT];
    s->rates.conv = rate[PROBE_CONV];
    s->rates.attention = rate[PROBE_ATTENTION];
    s->rates.bytes = rate[PROBE_ROWS];
    s->measured = true;
    if (dtype != DTYPE_I8) return;
    seconds = measure(tools, dtype, scale, PROBE_PRODUCT, &flops, &bytes);
    s->measured = seconds > 0;
    if (s->measured) s->rates.product_i8 = flops / seconds;
}

/* ---- Remembering */

static const char *const speed_keys[MACHINE_DTYPES][MACHINE_SCALES] = {
    {"f32", "f32 small"}, {"bf16", "bf16 small"}, {"int8", "int8 small"}};
static const char *const work_keys[MACHINE_WORKS] = {"encode", "denoise", "decode"};

static bool take(const json_t *o, const char *key, double *out) {
    double v = json_number_value(json_object_get(o, key));
    if (!(v > 1e-3 && v < 1e18)) return false;
    *out = v;
    return true;
}

static void guess(struct machine *m, const struct machine_tools *tools) {
    const int threads = tools->threads;
    memset(m, 0, sizeof *m);
    sys_processor_name(m->processor, sizeof m->processor);
    snprintf(m->multiplier, sizeof m->multiplier, "%s", tools->backend->multiplier(tools->state));
    m->threads = threads;
    m->read[0] = m->read[1] = GUESS_READ;
    for (int i = 0; i < MACHINE_DTYPES * MACHINE_SCALES; i++) {
        struct machine_speed *s = &m->speed[0][0] + i;
        s->rates.product = s->rates.attention = GUESS_FLOPS_A_THREAD * threads;
        s->rates.product_i8 = s->rates.conv = s->rates.product;
        s->rates.bytes = GUESS_BYTES;
        for (int w = 0; w < MACHINE_WORKS; w++) s->slower[w] = 1;
    }
}

static void load(struct machine *m, const struct machine_tools *tools) {
    json_t *all = NULL;
    guess(m, tools);
    m->known = true;
    if (!tools->path || json_read(tools->mem, tools->path, FILE_MOST, KADR_EIO, &all, NULL)) return;
    const char *processor = json_string_value(json_object_get(all, "processor"));
    const char *multiplier = json_string_value(json_object_get(all, "multiplier"));
    bool same = processor && strcmp(processor, m->processor) == 0 &&
                strcmp(multiplier ? multiplier : "kadr", m->multiplier) == 0 &&
                json_integer_value(json_object_get(all, "threads")) == m->threads;
    if (same) {
        take(all, "read_packed", &m->read[0]);
        take(all, "read_converted", &m->read[1]);
        json_int_t judged = json_integer_value(json_object_get(all, "predictions"));
        if (judged > 0 && judged <= JUDGED_MOST && take(all, "prediction_error", &m->error))
            m->judged = (int)judged;
    }
    for (int i = 0; same && i < MACHINE_DTYPES * MACHINE_SCALES; i++) {
        const json_t *o = json_object_get(all, (&speed_keys[0][0])[i]);
        struct machine_speed *to = &m->speed[0][0] + i, s = *to;
        s.measured =
            take(o, "product_flops", &s.rates.product) && take(o, "conv_flops", &s.rates.conv) &&
            take(o, "product_i8_ops", &s.rates.product_i8) &&
            take(o, "attention_flops", &s.rates.attention) && take(o, "row_bytes", &s.rates.bytes);
        for (int w = 0; w < MACHINE_WORKS; w++) take(o, work_keys[w], &s.slower[w]);
        if (s.measured) *to = s;
    }
    json_decref(all);
}

/* The one that the file lies in. */
static void make_folder(const struct machine_tools *tools) {
    struct arena a;
    arena_init(&a, tools->mem);
    char *folder = arena_strdup(&a, tools->path);
    if (folder) folder[file_name(folder) - folder] = 0;
    if (folder && *folder) file_make_folders(folder, NULL);
    arena_free(&a);
}

void machine_save(struct machine *m, const struct machine_tools *tools) {
    if (!m->changed || !tools->path) return;
    json_t *all =
        json_pack("{s:s,s:s,s:i,s:f,s:f,s:f,s:i}", "processor", m->processor, "multiplier",
                  m->multiplier, "threads", m->threads, "read_packed", m->read[0], "read_converted",
                  m->read[1], "prediction_error", fmax(m->error, 0.001), "predictions", m->judged);
    for (int i = 0; all && i < MACHINE_DTYPES * MACHINE_SCALES; i++) {
        const struct machine_speed *s = &m->speed[0][0] + i;
        if (!s->measured) continue;
        json_t *o = json_pack("{s:f,s:f,s:f,s:f,s:f}", "product_flops", s->rates.product,
                              "conv_flops", s->rates.conv, "product_i8_ops", s->rates.product_i8,
                              "attention_flops", s->rates.attention, "row_bytes", s->rates.bytes);
        for (int w = 0; w < MACHINE_WORKS; w++)
            json_object_set_new(o, work_keys[w], json_real(s->slower[w]));
        json_object_set_new(all, (&speed_keys[0][0])[i], o);
    }
    struct buf b;
    buf_init(&b, tools->mem);
    make_folder(tools);
    if (json_put(&b, all, JSON_INDENT(1)) &&
        file_write_atomic(tools->mem, tools->path, b.data, b.size, NULL) == KADR_OK)
        m->changed = false;
    buf_free(&b);
    json_decref(all);
}

/* ---- Use */

const struct machine_speed *machine_speed(struct machine *m, const struct machine_tools *tools,
                                          enum dtype dtype, enum machine_scale scale,
                                          bool measure_it) {
    if (!m->known) load(m, tools);
    const struct machine_speed *s = &m->speed[slot_of(dtype)][scale];
    if (measure_it && !s->measured) machine_measure(m, tools, dtype, scale);
    return s;
}

struct plan_rates machine_rates(const struct machine_speed *s, enum machine_work work,
                                double disk) {
    struct plan_rates r = s->rates;
    double *const rates[] = {&r.product, &r.conv, &r.product_i8, &r.attention, &r.bytes};
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) *rates[i] /= s->slower[work];
    r.disk = disk;
    return r;
}

/* Corrections are of the rates that they were made with. */
static bool is_corrected(const struct machine_speed *s) {
    bool some = false;
    for (int i = 0; i < MACHINE_WORKS; i++) some = some || s->slower[i] < 1 || s->slower[i] > 1;
    return s->measured && some;
}

double machine_measure(struct machine *m, const struct machine_tools *tools, enum dtype dtype,
                       enum machine_scale scale) {
    if (!m->known) load(m, tools);
    struct machine_speed *s = &m->speed[slot_of(dtype)][scale], now = *s;
    measure_speed(&now, tools, dtype, scale);
    if (!is_corrected(s)) {
        *s = now;
        m->changed = m->changed || s->measured;
    }
    return now.rates.product;
}

#define DISK_BLOCK ((size_t)4 << 20)
#define DISK_BLOCKS 16

/* Seconds in which a new file is read past the page cache; 0: it cannot be. */
static double time_disk(struct mem *m, const char *path, void *block) {
    struct file_writer w;
    struct file f = {.fd = -1, .direct = -1};
    double seconds = 0;
    if (file_writer_begin(&w, m, path, NULL)) return 0;
    bool ok = true;
    memset(block, 0x5A, DISK_BLOCK);
    for (int i = 0; i < DISK_BLOCKS && ok; i++) ok = !file_writer_add(&w, block, DISK_BLOCK, NULL);
    if (ok) ok = !file_writer_commit(&w, NULL);
    else file_writer_abort(&w);
    if (ok && !file_open(&f, m, path, KADR_EIO, NULL)) {
        file_open_direct(&f);
        double from = sys_seconds();
        for (int i = 0; i < DISK_BLOCKS && ok; i++)
            ok = !file_read_direct(&f, i * DISK_BLOCK, block, DISK_BLOCK, NULL);
        if (ok && f.direct >= 0) seconds = sys_seconds() - from;
        file_close(&f);
    }
    remove(path);
    return seconds;
}

double machine_measure_disk(struct machine *m, const struct machine_tools *tools) {
    if (!m->known) load(m, tools);
    if (!tools->path) return 0;
    struct buf path;
    buf_init(&path, tools->mem);
    buf_printf(&path, "%s.disk", tools->path);
    make_folder(tools);
    void *block = mem_map(tools->mem, DISK_BLOCK);
    double seconds = block && buf_ok(&path) ? time_disk(tools->mem, path.data, block) : 0;
    if (block) mem_unmap(tools->mem, block, DISK_BLOCK);
    buf_free(&path);
    if (seconds <= 0) return 0;
    double rate = (double)DISK_BLOCK * DISK_BLOCKS / seconds;
    for (int i = 0; i < 2; i++)
        if (m->read[i] == GUESS_READ) m->read[i] = rate;
    m->changed = true;
    return rate;
}

/* The newest counts half; all of it where `guess` is all that is known. */
static void blend(double *old, double guess, double now, double low, double high) {
    if (!(now > low)) now = low;
    if (now > high) now = high;
    *old = *old == guess ? now : (1 - LEARN) * *old + LEARN * now;
}

void machine_learn(struct machine *m, enum dtype dtype, enum machine_scale scale,
                   enum machine_work work, double predicted, double seconds, double waited) {
    if (!m->known || seconds < SHORT || predicted <= 0) return;
    blend(&m->speed[slot_of(dtype)][scale].slower[work], 1, (seconds - waited) / predicted, 0.05,
          20);
    m->changed = true;
}

void machine_judge(struct machine *m, double predicted, double seconds) {
    if (!m->known || seconds < SHORT || predicted <= 0) return;
    double error = predicted > seconds ? predicted / seconds - 1 : 1 - predicted / seconds;
    if (error > 10) error = 10;
    m->error = m->judged ? (1 - LEARN) * m->error + LEARN * error : error;
    if (m->judged < JUDGED_MOST) m->judged++;
    m->changed = true;
}

void machine_learn_reading(struct machine *m, bool packed, double bytes, double seconds) {
    if (!m->known || bytes < READ_LEAST || seconds <= 0) return;
    blend(&m->read[packed ? 0 : 1], GUESS_READ, bytes / seconds, 1e6, 1e12);
    m->changed = true;
}
