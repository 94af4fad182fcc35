/* weights_hostile.c: broken models and models made to do harm. Each must be refused with
 * KADR_EMODEL and a message that names the file, the place in it and what was expected; nothing may
 * hang, leak or be read outside of the model. */
#include "fixture.h"

#include <time.h>

#define UNET "model/unet/diffusion_pytorch_model.safetensors"
#define INDEX "model/unet/diffusion_pytorch_model.safetensors.index.json"
#define ONE(name, dtype, shape, offsets)                                                           \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static double slowest;
static const char *slowest_what = "";
static int refused;

/* A folder whose unet is to be broken. */
static const char *make_folder(struct fixture *f) {
    nftw(arena_printf(&f->arena, "%s/model", f->folder), fixture_remove, 16, FTW_DEPTH | FTW_PHYS);
    fixture_text(f, "model/model_index.json",
                 "{\"unet\":[\"diffusers\",\"UNet2DConditionModel\"]}");
    fixture_text(f, "model/unet/config.json", "{}");
    return arena_printf(&f->arena, "%s/model", f->folder);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Opening must fail and the message hold all of `expect` (up to three, NULL-terminated). */
static void must_refuse(struct fixture *f, const char *what, const char *path,
                        const char *const expect[3]) {
    struct weights *w = NULL;
    kadr_error err = {0};
    struct mem_stats before, after;
    mem_get_stats(f->mem, &before);
    double start = now();
    kadr_status st = weights_open(f->mem, NULL, path, &w, &err);
    double took = now() - start;
    mem_get_stats(f->mem, &after);
    if (took > slowest) {
        slowest = took;
        slowest_what = what;
    }
    refused++;
    if (st != KADR_EMODEL || err.status != KADR_EMODEL)
        fail_msg("%s: status %d: %s", what, st, err.message);
    for (int i = 0; i < 3 && expect[i]; i++)
        if (!strstr(err.message, expect[i]))
            fail_msg("%s: \"%s\" does not hold \"%s\"", what, err.message, expect[i]);
    assert_int_equal(before.now, after.now);
    assert_null(w);
}

/* ---- Headers ---- */

static void test_headers(void **state) {
    static const struct {
        const char *what, *header;
        size_t data;
        const char *expect[3];
    } cases[] = {
        {"no object", "[]", 0, {UNET, "no JSON object"}},
        {"a number", "7", 0, {UNET, "no JSON object"}},
        {"no JSON", "{conv_in}", 0, {UNET, "1"}},
        {"cut JSON", "{\"a\":{\"dtype\":", 0, {UNET, "1"}},
        {"garbage behind", "{}x", 0, {UNET, "1"}},
        {"a name twice",
         "{" ONE("a", "F32", "[1]", "[0,4]") "," ONE("a", "F32", "[1]", "[4,8]") "}",
         8,
         {UNET, "uplicate"}},
        {"a key twice",
         "{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[0,4]}}",
         4,
         {UNET, "uplicate"}},
        {"name not UTF-8", "{" ONE("a\xC3\x28", "F32", "[1]", "[0,4]") "}", 4, {UNET, "1"}},
        {"name with NUL", "{" ONE("a\\u0000b", "F32", "[1]", "[0,4]") "}", 4, {UNET, "1"}},
        {"lone surrogate", "{" ONE("\\ud800", "F32", "[1]", "[0,4]") "}", 4, {UNET, "1"}},
        {"a tensor that is a list", "{\"a\":[]}", 0, {UNET, "tensor a", "object with dtype"}},
        {"a tensor that is null", "{\"a\":null}", 0, {UNET, "tensor a", "object with dtype"}},
        {"no dtype",
         "{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}",
         4,
         {UNET, "tensor a", "dtype"}},
        {"unknown dtype",
         "{" ONE("a", "F31", "[1]", "[0,4]") "}",
         4,
         {UNET, "tensor a", "\"F31\""}},
        {"dtype a number",
         "{\"a\":{\"dtype\":32,\"shape\":[1],\"data_offsets\":[0,4]}}",
         4,
         {UNET, "tensor a", "dtype"}},
        {"wrong dtype",
         "{" ONE("a", "I32", "[1]", "[0,4]") "}",
         4,
         {UNET, "tensor a", "dtype I32; expected"}},
        {"booleans",
         "{" ONE("a", "BOOL", "[4]", "[0,4]") "}",
         4,
         {UNET, "tensor a", "dtype BOOL; expected"}},
        {"no shape",
         "{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}",
         4,
         {UNET, "tensor a", "shape"}},
        {"shape a number", "{" ONE("a", "F32", "1", "[0,4]") "}", 4, {UNET, "tensor a", "shape"}},
        {"negative dimension",
         "{" ONE("a", "F32", "[-1]", "[0,4]") "}",
         4,
         {UNET, "tensor a", "shape[0]"}},
        {"two negative dimensions",
         "{" ONE("a", "F32", "[-1,-1]", "[0,4]") "}",
         4,
         {UNET, "tensor a", "shape[0]"}},
        {"fraction as dimension",
         "{" ONE("a", "F32", "[1.0]", "[0,4]") "}",
         4,
         {UNET, "tensor a", "shape[0]"}},
        {"text as dimension",
         "{" ONE("a", "F32", "[1,\"1\"]", "[0,4]") "}",
         4,
         {UNET, "tensor a", "shape[1]"}},
        {"dimension beyond 64 bits",
         "{" ONE("a", "F32", "[99999999999999999999]", "[0,4]") "}",
         4,
         {UNET, "tensor a", "shape[0]"}},
        {"huge rank",
         "{" ONE("a", "F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]") "}",
         4,
         {UNET, "tensor a", "9 dimensions"}},
        {"product that wraps to 4",
         "{" ONE("a", "F32", "[4611686018427387905,4]", "[0,16]") "}",
         16,
         {UNET, "tensor a", "too large"}},
        {"product that wraps to 0",
         "{" ONE("a", "F32", "[4294967296,4294967296]", "[0,0]") "}",
         0,
         {UNET, "tensor a", "too large"}},
        {"bits that wrap",
         "{" ONE("a", "F64", "[288230376151711744]", "[0,0]") "}",
         0,
         {UNET, "tensor a", "too large"}},
        {"shape larger than its data",
         "{" ONE("a", "F32", "[2]", "[0,4]") "}",
         4,
         {UNET, "tensor a", "expected 8"}},
        {"shape smaller than its data",
         "{" ONE("a", "F32", "[1]", "[0,8]") "}",
         8,
         {UNET, "tensor a", "expected 4"}},
        {"half a byte",
         "{" ONE("a", "F4", "[3]", "[0,2]") "}",
         2,
         {UNET, "tensor a", "expected 2"}},
        {"no offsets",
         "{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}",
         4,
         {UNET, "tensor a", "data_offsets"}},
        {"one offset",
         "{" ONE("a", "F32", "[1]", "[0]") "}",
         4,
         {UNET, "tensor a", "data_offsets"}},
        {"three offsets",
         "{" ONE("a", "F32", "[1]", "[0,4,8]") "}",
         4,
         {UNET, "tensor a", "data_offsets"}},
        {"negative offset",
         "{" ONE("a", "F32", "[1]", "[-4,0]") "}",
         4,
         {UNET, "tensor a", "data_offsets"}},
        {"end before begin",
         "{" ONE("a", "F32", "[1]", "[4,0]") "}",
         4,
         {UNET, "tensor a", "data_offsets"}},
        {"offsets of text",
         "{" ONE("a", "F32", "[1]", "[\"0\",\"4\"]") "}",
         4,
         {UNET, "tensor a", "data_offsets"}},
        {"outside of the file",
         "{" ONE("a", "F32", "[2]", "[0,8]") "}",
         4,
         {UNET, "tensor a", "cut short"}},
        {"far outside",
         "{" ONE("a", "F32", "[1]", "[9223372036854775800,9223372036854775804]") "}",
         4,
         {UNET, "tensor a", "cut short"}},
        {"overlap",
         "{" ONE("a", "F32", "[2]", "[0,8]") "," ONE("b", "F32", "[2]", "[4,12]") "}",
         12,
         {UNET, "tensor b", "overlaps a"}},
        {"the same bytes twice",
         "{" ONE("a", "F32", "[1]", "[0,4]") "," ONE("b", "F32", "[1]", "[0,4]") "}",
         4,
         {UNET, "tensor b", "overlaps a"}},
        {"a hole",
         "{" ONE("a", "F32", "[1]", "[0,4]") "," ONE("b", "F32", "[1]", "[8,12]") "}",
         12,
         {UNET, "tensor b", "hole after a"}},
        {"a hole at the start",
         "{" ONE("a", "F32", "[1]", "[4,8]") "}",
         8,
         {UNET, "tensor a", "hole after the header"}},
        {"bytes behind the last", "{" ONE("a", "F32", "[1]", "[0,4]") "}", 8, {UNET, "end at 4"}},
        {"data without tensors", "{}", 4, {UNET, "end at 0"}},
        {"metadata a list", "{\"__metadata__\":[]}", 0, {UNET, "__metadata__"}},
        {"metadata of numbers", "{\"__metadata__\":{\"a\":1}}", 0, {UNET, "__metadata__"}},
    };
    struct fixture *f = *state;
    const char *model = make_folder(f);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fixture_header(f, UNET, cases[i].header, cases[i].data);
        must_refuse(f, cases[i].what, model, cases[i].expect);
    }
}

/* ---- Files that are no safetensors at all ---- */

static void test_bytes(void **state) {
    static const struct {
        const char *what, *bytes;
        size_t size;
        const char *expect[3];
    } cases[] = {
        {"empty", "", 0, {UNET, "0 bytes"}},
        {"one byte", "x", 1, {UNET, "1 bytes"}},
        {"seven bytes", "\7\0\0\0\0\0\0", 7, {UNET, "7 bytes"}},
        {"no header", "\0\0\0\0\0\0\0\0", 8, {UNET, "no JSON object"}},
        {"length one too long", "\3\0\0\0\0\0\0\0{}", 10, {UNET, "would be 3 bytes"}},
        {"length of 2^63", "\0\0\0\0\0\0\0\x80{}", 10, {UNET, "would be"}},
        {"length of 2^64-1", "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF{}", 10, {UNET, "would be"}},
        {"length of 2^64-8", "\xF8\xFF\xFF\xFF\xFF\xFF\xFF\xFF{}", 10, {UNET, "would be"}},
        {"header with NUL", "\4\0\0\0\0\0\0\0{\0\0}", 12, {UNET, "1"}},
        {"zip, as torch.save writes",
         "PK\3\4\24\0\10\10archive/data.pkl",
         24,
         {UNET, "pickle", "safetensors"}},
        {"pickle", "\x80\2}q\1(X\6\0\0\0weight", 18, {UNET, "pickle", "safetensors"}},
        {"GGUF", "GGUF\3\0\0\0\0\0\0\0", 12, {UNET, "GGUF"}},
        {"a pointer of Git LFS",
         "version https://git-lfs.github.com/spec/v1\n",
         43,
         {UNET, "would be"}},
        {"a web page", "<!DOCTYPE html><html></html>", 28, {UNET, "would be"}},
    };
    struct fixture *f = *state;
    const char *model = make_folder(f);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fixture_write(f, UNET, cases[i].bytes, cases[i].size);
        must_refuse(f, cases[i].what, model, cases[i].expect);
    }
}

/* Headers too large to be written down here. */
static void test_large(void **state) {
    struct fixture *f = *state;
    const char *model = make_folder(f), *path = fixture_path(f, UNET);
    static const char length[8] = {1, (char)0xE1, (char)0xF5, 5}; /* 100,000,001 */
    fixture_write(f, UNET, length, 8);
    assert_int_equal(truncate(path, 200000000), 0); /* a hole, no blocks */
    must_refuse(f, "header over the limit", model,
                (const char *const[3]){UNET, "100000001 bytes", "at most 100000000"});
    static const int depths[] = {101, 5000, 200000};
    for (size_t i = 0; i < sizeof depths / sizeof *depths; i++) {
        struct buf b;
        buf_init(&b, f->mem);
        buf_puts(&b, "{\"a\":");
        for (int k = 0; k < depths[i]; k++) buf_putc(&b, '[');
        for (int k = 0; k < depths[i]; k++) buf_putc(&b, ']');
        buf_putc(&b, '}');
        fixture_header(f, UNET, b.data, 0);
        buf_free(&b);
        must_refuse(f, "deep JSON", model, (const char *const[3]){UNET, NULL});
    }
}

/* Every way to cut a good file is noticed. */
static void test_truncated(void **state) {
    struct fixture *f = *state;
    const char *model = make_folder(f);
    const char *path = fixture_header(
        f, UNET, "{" ONE("a", "F16", "[2,3]", "[0,12]") "," ONE("b", "F32", "[1]", "[12,16]") "}",
        16);
    struct weights *w = fixture_weights(f, model);
    assert_int_equal(weights_count(w), 2);
    weights_close(w);
    struct stat s;
    assert_int_equal(stat(path, &s), 0);
    for (off_t size = s.st_size - 1; size >= 0; size--) {
        assert_int_equal(truncate(path, size), 0);
        must_refuse(f, "truncated", model, (const char *const[3]){UNET, NULL});
    }
}

/* ---- Not files ---- */

static void test_not_files(void **state) {
    struct fixture *f = *state;
    const char *model = make_folder(f), *path = fixture_path(f, UNET);
    alarm(20); /* a FIFO that is waited for ends the test */
    assert_int_equal(mkdir(path, 0777), 0);
    must_refuse(f, "a folder", model, (const char *const[3]){UNET, NULL});
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(mkfifo(path, 0666), 0);
    must_refuse(f, "a FIFO", model, (const char *const[3]){UNET, "regular file", NULL});
    static const char *const links[] = {"diffusion_pytorch_model.safetensors", "nowhere",
                                        "/dev/zero", ".", "/proc/self/mem"};
    for (size_t i = 0; i < sizeof links / sizeof *links; i++) {
        assert_int_equal(remove(path), 0);
        assert_int_equal(symlink(links[i], path), 0);
        must_refuse(f, links[i], model, (const char *const[3]){UNET, NULL});
    }
    const char *config = fixture_path(f, "model/unet/config.json");
    assert_int_equal(remove(config), 0);
    assert_int_equal(mkfifo(config, 0666), 0);
    must_refuse(f, "a FIFO as configuration", model,
                (const char *const[3]){"config.json", "regular file", NULL});
    alarm(0);
}

/* ---- Folders ---- */

static void test_folders(void **state) {
    struct fixture *f = *state;
    const char *model = make_folder(f);
    fixture_header(f, UNET, "{}", 0);
    static const struct {
        const char *what, *file, *text, *expect[3];
    } cases[] = {
        {"index not JSON", "model/model_index.json", "{", {"model_index.json"}},
        {"index a list", "model/model_index.json", "[]", {"model_index.json", "object"}},
        {"index empty", "model/model_index.json", "", {"model_index.json"}},
        {"named part missing",
         "model/model_index.json",
         "{\"vae\":[\"a\",\"b\"]}",
         {"model/vae", "no such folder"}},
        {"configuration not JSON", "model/unet/config.json", "{,}", {"unet/config.json", "1"}},
        {"configuration a list", "model/unet/config.json", "[1]", {"unet/config.json", "object"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fixture_text(f, cases[i].file, cases[i].text);
        must_refuse(f, cases[i].what, model, cases[i].expect);
        make_folder(f);
        fixture_header(f, UNET, "{}", 0);
    }
    char *large = arena_alloc(&f->arena, (size_t)2 << 20);
    memset(large, ' ', (size_t)2 << 20);
    fixture_write(f, "model/unet/config.json", large, (size_t)2 << 20);
    must_refuse(f, "large configuration", model,
                (const char *const[3]){"unet/config.json", "at most"});
    remove(fixture_path(f, "model/unet/config.json"));
    must_refuse(f, "no configuration", model, (const char *const[3]){"unet/config.json"});
    make_folder(f);
    must_refuse(f, "no weights", model,
                (const char *const[3]){"model/unet", "no weights", "expected"});
    fixture_text(f, "model/unet/diffusion_pytorch_model.bin", "x");
    must_refuse(f, "pickle", model,
                (const char *const[3]){"diffusion_pytorch_model.bin", "pickle", "safetensors"});
    remove(fixture_path(f, "model/model_index.json"));
    must_refuse(f, "no index", model, (const char *const[3]){"model", "model_index.json"});
    must_refuse(f, "nothing", "/nowhere/at/all", (const char *const[3]){"/nowhere/at/all"});
    must_refuse(f, "a checkpoint that is a pickle", fixture_text(f, "sdxl.ckpt", "x"),
                (const char *const[3]){"sdxl.ckpt", "pickle", "safetensors"});
}

static void test_shards(void **state) {
    struct fixture *f = *state;
    const char *model = make_folder(f);
    fixture_header(f, "model/unet/a.safetensors", "{" ONE("a", "F32", "[1]", "[0,4]") "}", 4);
    fixture_header(f, "model/outside.safetensors", "{" ONE("a", "F32", "[1]", "[0,4]") "}", 4);
    fixture_text(f, "model/unet/cut.safetensors", "x");
    assert_int_equal(mkdir(fixture_path(f, "model/unet/dir.safetensors"), 0777), 0);
    assert_int_equal(symlink("loop.safetensors", fixture_path(f, "model/unet/loop.safetensors")),
                     0);
    fixture_text(f, INDEX, "{\"weight_map\":{\"a\":\"a.safetensors\"}}");
    struct weights *w = fixture_weights(f, model);
    assert_int_equal(weights_count(w), 1);
    weights_close(w);
    static const struct {
        const char *what, *text, *expect[3];
    } cases[] = {
        {"no JSON", "x", {INDEX}},
        {"a list", "[]", {INDEX, "weight_map"}},
        {"no map", "{}", {INDEX, "weight_map"}},
        {"map a list", "{\"weight_map\":[]}", {INDEX, "weight_map"}},
        {"map empty", "{\"weight_map\":{}}", {INDEX, "weight_map"}},
        {"a number for a file",
         "{\"weight_map\":{\"a\":1}}",
         {INDEX, "tensor a", "expected the name"}},
        {"no name", "{\"weight_map\":{\"a\":\"\"}}", {INDEX, "tensor a", "expected the name"}},
        {"a map in the map",
         "{\"weight_map\":{\"a\":{\"a\":\"a.safetensors\"}}}",
         {INDEX, "tensor a", "expected the name"}},
        {"outside",
         "{\"weight_map\":{\"a\":\"../outside.safetensors\"}}",
         {INDEX, "tensor a", "same folder"}},
        {"outside by a way around",
         "{\"weight_map\":{\"a\":\"x/../../outside.safetensors\"}}",
         {INDEX, "tensor a", "same folder"}},
        {"absolute",
         "{\"weight_map\":{\"a\":\"/etc/passwd\"}}",
         {INDEX, "tensor a", "same folder"}},
        {"the folder itself",
         "{\"weight_map\":{\"a\":\"..\"}}",
         {INDEX, "tensor a", "expected the name"}},
        {"itself",
         "{\"weight_map\":{\"a\":\"diffusion_pytorch_model.safetensors.index.json\"}}",
         {INDEX, "tensor a", "expected the name"}},
        {"a pickle",
         "{\"weight_map\":{\"a\":\"a.bin\"}}",
         {INDEX, "tensor a", "expected the name"}},
        {"a loop", "{\"weight_map\":{\"a\":\"loop.safetensors\"}}", {"unet/loop.safetensors"}},
        {"missing file", "{\"weight_map\":{\"a\":\"b.safetensors\"}}", {"unet/b.safetensors"}},
        {"broken file",
         "{\"weight_map\":{\"a\":\"cut.safetensors\"}}",
         {"unet/cut.safetensors", "1 bytes"}},
        {"a folder", "{\"weight_map\":{\"a\":\"dir.safetensors\"}}", {"unet/dir.safetensors"}},
        {"tensor not there",
         "{\"weight_map\":{\"b\":\"a.safetensors\"}}",
         {"unet/a.safetensors", "no tensor b"}},
        {"a tensor twice",
         "{\"weight_map\":{\"a\":\"a.safetensors\",\"a\":\"a.safetensors\"}}",
         {INDEX, "uplicate"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fixture_text(f, INDEX, cases[i].text);
        must_refuse(f, cases[i].what, model, cases[i].expect);
    }
    struct buf b;
    buf_init(&b, f->mem);
    buf_puts(&b, "{\"weight_map\":{");
    for (int i = 0; i < 257; i++) {
        fixture_header(f, arena_printf(&f->arena, "model/unet/%d.safetensors", i),
                       arena_printf(&f->arena, "{" ONE("%d", "F32", "[1]", "[0,4]") "}", i), 4);
        buf_printf(&b, "%s\"%d\":\"%d.safetensors\"", i ? "," : "", i, i);
    }
    buf_puts(&b, "}}");
    fixture_text(f, INDEX, b.data);
    buf_free(&b);
    must_refuse(f, "too many files", model,
                (const char *const[3]){"unet", "more than 256 files", NULL});
}

/* ---- Single files ---- */

/* The names and shapes of a good checkpoint, each time with one tensor less, more or changed. */
static void test_single(void **state) {
    static const struct {
        const char *what, *drop, *add, *shape, *expect[3];
    } cases[] = {
        {"no input",
         "model.diffusion_model.input_blocks.0.0.weight",
         NULL,
         NULL,
         {"no tensor unet.conv_in.weight"}},
        {"no pooled embedding",
         "model.diffusion_model.label_emb.0.0.weight",
         NULL,
         NULL,
         {"no tensor unet.add_embedding.linear_1.weight"}},
        {"no levels",
         "model.diffusion_model.input_blocks.1.0.in_layers.0.weight",
         NULL,
         NULL,
         {"model.safetensors"}},
        {"no mlp",
         "conditioner.embedders.0.transformer.text_model.encoder.layers.0.mlp.fc1.weight",
         NULL,
         NULL,
         {"no tensor text_encoder.text_model.encoder.layers.0.mlp.fc1.weight"}},
        {"a part of another network",
         NULL,
         "model.diffusion_model.joint_blocks.0.x",
         "[1]",
         {"model.diffusion_model.joint_blocks.0.x", "SDXL UNet"}},
        {"SD 1", NULL, "cond_stage_model.transformer.x", "[1]", {"Stable Diffusion 1"}},
        {"a refiner", NULL, "conditioner.embedders.0.model.x", "[1]", {"refiner"}},
        {"scaled 8-bit floats", NULL, "scaled_fp8", "[0]", {"tensor scaled_fp8", "8-bit"}},
        {"EDM", NULL, "edm_mean", "[4]", {"tensor edm_mean", "EDM"}},
        {"a tensor in two forms",
         NULL,
         "conditioner.embedders.1.model.text_projection.weight",
         "[96,64]",
         {"text_projection.weight", "both text_encoder_2.text_projection.weight"}},
        {"fused rows not of three",
         NULL,
         "conditioner.embedders.1.model.transformer.resblocks.7.attn.in_proj_weight",
         "[4,4]",
         {"resblocks.7.attn.in_proj_weight", "multiple of 3"}},
        {"fused scalar",
         NULL,
         "conditioner.embedders.1.model.transformer.resblocks.7.attn.in_proj_bias",
         "[]",
         {"resblocks.7.attn.in_proj_bias", "multiple of 3"}},
        {"fused of no layer",
         NULL,
         "conditioner.embedders.1.model.transformer.x.attn.in_proj_bias",
         "[3]",
         {"transformer.x.attn.in_proj_bias", "resblocks"}},
        {"input a scalar",
         "model.diffusion_model.input_blocks.0.0.weight",
         "model.diffusion_model.input_blocks.0.0.weight",
         "[]",
         {"input_blocks.0.0.weight", "at least 2 dimensions"}},
        {"input of no width",
         "model.diffusion_model.input_blocks.0.0.weight",
         "model.diffusion_model.input_blocks.0.0.weight",
         "[0,0]",
         {"input_blocks.0.0.weight", "[0, 0]"}},
        {"heads that do not divide",
         "model.diffusion_model.input_blocks.1.0.in_layers.2.weight",
         "model.diffusion_model.input_blocks.1.0.in_layers.2.weight",
         "[63,64,3,3]",
         {"down_blocks.0.resnets.0.conv1.weight", "multiple of 64"}},
        {"odd embedding",
         "model.diffusion_model.label_emb.0.0.weight",
         "model.diffusion_model.label_emb.0.0.weight",
         "[4,97]",
         {"97 wide"}},
        {"vae of no levels",
         "first_stage_model.decoder.up.1.block.0.conv1.weight",
         NULL,
         NULL,
         {"levels"}},
    };
    struct fixture *f = *state;
    json_t *json = fixture_data(f, "single_small.json");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *shapes = json_copy(json_object_get(json, "original"));
        if (cases[i].drop) json_object_del(shapes, cases[i].drop);
        if (cases[i].add)
            json_object_set_new(shapes, cases[i].add, json_loads(cases[i].shape, 0, NULL));
        const char *path = fixture_model(f, "model.safetensors", shapes, NULL);
        json_decref(shapes);
        must_refuse(f, cases[i].what, path, cases[i].expect);
    }
    json_decref(json);
    static const struct {
        const char *what, *header, *expect[3];
    } kinds[] = {
        {"a LoRA",
         "{" ONE("lora_unet_x.lora_up.weight", "F32", "[1]", "[0,4]") "}",
         {"x.safetensors", "a LoRA file", "expected an SDXL"}},
        {"a VAE",
         "{" ONE("decoder.conv_in.weight", "F32", "[1]", "[0,4]") "}",
         {"x.safetensors", "a VAE alone", "expected an SDXL"}},
        {"a UNet",
         "{" ONE("down_blocks.0.x", "F32", "[1]", "[0,4]") "}",
         {"x.safetensors", "UNet alone", "expected an SDXL"}},
        {"something else",
         "{" ONE("lm_head.weight", "F32", "[1]", "[0,4]") "}",
         {"x.safetensors", "expected an SDXL"}},
        {"wrong dtype",
         "{" ONE("model.diffusion_model.out.2.weight", "I32", "[1]", "[0,4]") "}",
         {"model.diffusion_model.out.2.weight", "dtype I32"}},
        {"layout without end",
         "{" ONE("model.diffusion_model.input_blocks.1.0.in_layers.0.weight", "F32", "[1]",
                 "[0,4]") "}",
         {"no tensor unet.conv_in.weight"}},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        must_refuse(f, kinds[i].what, fixture_header(f, "x.safetensors", kinds[i].header, 4),
                    kinds[i].expect);
}

/* ---- After opening ---- */

static void test_expect(void **state) {
    struct fixture *f = *state;
    const char *model = make_folder(f);
    const char *path = fixture_header(
        f, UNET,
        "{" ONE("a", "F32", "[2,3,1,1]", "[0,24]") "," ONE("b", "F32", "[]", "[24,28]") "}", 28);
    struct weights *w = fixture_weights(f, model);
    const struct weights_tensor *t = NULL;
    kadr_error err = {0};
    float data[6];
    assert_int_equal(weights_expect(w, "unet.a", 2, (const int64_t[]){2, 3}, &t, &err), KADR_OK);
    assert_ptr_equal(t, weights_find(w, "unet.a"));
    assert_int_equal(weights_expect(w, "unet.b", 1, (const int64_t[]){1}, &t, &err), KADR_OK);
    assert_int_equal(weights_read(w, t, 0, 1, data, &err), KADR_OK);
    assert_int_equal(weights_expect(w, "unet.a", 2, (const int64_t[]){3, 2}, &t, &err),
                     KADR_EMODEL);
    assert_non_null(strstr(err.message, UNET));
    assert_non_null(strstr(err.message, "tensor a"));
    assert_non_null(strstr(err.message, "[2, 3, 1, 1]; expected [3, 2]"));
    assert_int_equal(weights_expect(w, "unet.c", 1, (const int64_t[]){5}, &t, &err), KADR_EMODEL);
    assert_non_null(strstr(err.message, "no tensor unet.c; expected one of shape [5]"));
    t = weights_find(w, "unet.a");
    assert_int_not_equal(weights_read(w, t, 1, 2, data, &err), KADR_OK);
    assert_int_not_equal(weights_read(w, t, -1, 1, data, &err), KADR_OK);
    assert_int_not_equal(weights_read(w, t, INT64_MAX, INT64_MAX, data, &err), KADR_OK);
    /* Cut while it is open. */
    assert_int_equal(truncate(path, 100), 0);
    assert_int_equal(weights_read(w, t, 0, 2, data, &err), KADR_EIO);
    assert_non_null(strstr(err.message, "unet.a"));
    assert_non_null(strstr(err.message, UNET));
    weights_close(w);
}

/* Each allocation of an opening fails once: the right error and nothing lost. */
static void test_no_memory(void **state) {
    struct fixture *f = *state;
    const char *model = make_folder(f);
    fixture_header(f, UNET, "{" ONE("a", "F32", "[2]", "[0,8]") "}", 8);
    for (uint64_t nth = 1; nth < 1000; nth++) {
        struct mem *m = mem_open(0);
        struct weights *w = NULL;
        kadr_error err = {0};
        mem_fail_at(m, nth);
        kadr_status st = weights_open(m, NULL, model, &w, &err);
        struct mem_stats stats;
        mem_get_stats(m, &stats);
        weights_close(w);
        assert_int_equal(mem_close(m), 0);
        if (!st) {
            assert_true(stats.calls < nth);
            assert_true(nth > 10);
            return;
        }
        if (st != KADR_EMEMORY || !err.message[0])
            fail_msg("allocation %d: status %d: %s", (int)nth, st, err.message);
    }
    fail_msg("never opened");
}

static void test_count(void **state) {
    (void)state;
    print_message("%d models refused, the slowest in %.1f ms (%s)\n", refused, slowest * 1e3,
                  slowest_what);
    assert_true(refused >= 60);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_headers, fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(test_bytes, fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(test_large, fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(test_truncated, fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(test_not_files, fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(test_folders, fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(test_shards, fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(test_single, fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(test_expect, fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(test_no_memory, fixture_open, fixture_close),
        cmocka_unit_test(test_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
