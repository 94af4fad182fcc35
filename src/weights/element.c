/* element.c: stored numbers of any float type as the types that others know. Scalar: speed matters
 * where backends unpack f16 and bf16 themselves; here pass only LoRA factors, f64 and 8-bit floats.
 */
#include "weights/set.h"

#include <string.h>

#define CHUNK 16384 /* bytes on the stack */

bool element_presented(enum safetensors_dtype stored, enum dtype *out) {
    switch (stored) {
    case SAFETENSORS_F32:
    case SAFETENSORS_F64: *out = DTYPE_F32; return true;
    case SAFETENSORS_BF16: *out = DTYPE_BF16; return true;
    case SAFETENSORS_F16:
    case SAFETENSORS_F8_E4M3:
    case SAFETENSORS_F8_E5M2: *out = DTYPE_F16; return true;
    default: return false;
    }
}

static float from_bits(uint32_t u) {
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static uint32_t to_bits(float f) {
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

/* By selection and without branches, so that loops over it become vector code; no f32 subnormals on
 * the way, so that it is right where those are flushed to zero. */
static float from_f16(uint16_t h) {
    const uint32_t bias = 112u << 23; /* 127 - 15 */
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, body = h & 0x7FFFu;
    uint32_t normal = (body << 13) + bias;
    uint32_t small = to_bits(from_bits(normal + (1u << 23)) - from_bits(bias + (1u << 23)));
    uint32_t u = body >= 0x7C00 ? normal + bias : body < 0x400 ? small : normal;
    return from_bits(u | sign);
}

/* E4M3 has no infinities and one NaN; every value is exact in f16. */
static uint16_t f16_from_e4m3(uint8_t b) {
    uint16_t sign = (uint16_t)((b & 0x80) << 8);
    unsigned e = b >> 3 & 15, m = b & 7;
    if (e == 15 && m == 7) return sign | 0x7E00;
    if (e == 0) { /* m * 2^-9: normal in f16 */
        if (!m) return sign;
        e = 1;
        while (!(m & 8)) m <<= 1, e--;
        /* e may have gone below 1; the bias of 15 instead of 7 has room for that */
        return (uint16_t)(sign | (e + 8) << 10 | (m & 7) << 7);
    }
    return (uint16_t)(sign | (e + 8) << 10 | m << 7);
}

static void to_f32(enum safetensors_dtype from, const unsigned char *in, float *out, size_t count) {
    uint16_t h;
    double d;
    switch (from) {
    case SAFETENSORS_F32: memcpy(out, in, count * sizeof *out); return;
    case SAFETENSORS_F64:
        for (size_t i = 0; i < count; i++) memcpy(&d, in + 8 * i, 8), out[i] = (float)d;
        return;
    case SAFETENSORS_BF16:
        for (size_t i = 0; i < count; i++)
            memcpy(&h, in + 2 * i, 2), out[i] = from_bits((uint32_t)h << 16);
        return;
    case SAFETENSORS_F16:
        for (size_t i = 0; i < count; i++) memcpy(&h, in + 2 * i, 2), out[i] = from_f16(h);
        return;
    case SAFETENSORS_F8_E5M2:
        for (size_t i = 0; i < count; i++) out[i] = from_f16((uint16_t)(in[i] << 8));
        return;
    default: /* F8_E4M3: element_presented knows no other */
        for (size_t i = 0; i < count; i++) out[i] = from_f16(f16_from_e4m3(in[i]));
    }
}

void element_convert(enum safetensors_dtype from, const void *in, enum dtype to, void *out,
                     size_t count) {
    if (to == DTYPE_F32) {
        to_f32(from, in, out, count);
        return;
    }
    const uint8_t *b = in;
    uint16_t *h = out;
    for (size_t i = 0; i < count; i++)
        h[i] = (uint16_t)(from == SAFETENSORS_F8_E4M3 ? f16_from_e4m3(b[i]) : b[i] << 8);
}

kadr_status safetensors_read_f32(const struct safetensors *file, const struct safetensors_tensor *t,
                                 uint64_t at, size_t count, float *to, kadr_error *err) {
    unsigned char chunk[CHUNK];
    size_t size = (size_t)safetensors_dtype_bits(t->dtype) / 8, most = CHUNK / size;
    for (size_t done = 0; done < count;) {
        size_t n = count - done < most ? count - done : most;
        kadr_status st =
            file_read_at(&file->file, t->begin + (at + done) * size, chunk, n * size, err);
        if (st) return st;
        to_f32(t->dtype, chunk, to + done, n);
        done += n;
    }
    return KADR_OK;
}

static uint16_t f16_of(float value) {
    uint32_t bits, all;
    memcpy(&bits, &value, sizeof bits);
    uint32_t sign = bits >> 16 & 0x8000, size = bits & 0x7fffffff;
    if (size > 0x7f800000) all = 0x7e00;
    else if (size >= 0x47800000) all = 0x7c00; /* 65536 and more */
    else if (size < 0x38800000) {              /* below 2^-14: the spacing of 0.5f is f16's there */
        float half = from_bits(size) + 0.5f;
        memcpy(&all, &half, sizeof all);
        all -= 0x3f000000;
    } else all = (size + 0xfff + (size >> 13 & 1) - 0x38000000) >> 13;
    return (uint16_t)(sign | all);
}

static uint16_t bf16_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if ((bits & 0x7fffffff) > 0x7f800000) return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

void weights_convert(const float *from, size_t count, enum dtype dtype, void *to) {
    uint16_t *narrow = to;
    if (dtype == DTYPE_F32) memcpy(to, from, count * sizeof *from);
    else if (dtype == DTYPE_F16)
        for (size_t i = 0; i < count; i++) narrow[i] = f16_of(from[i]);
    else
        for (size_t i = 0; i < count; i++) narrow[i] = bf16_of(from[i]);
}
