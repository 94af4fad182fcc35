/* value.c: option values read from text and written as text, whatever the locale.
 *
 * Reals keep 15 significant digits: then digits and power of ten are both exact doubles, so that
 * one multiplication or division rounds correctly, and %.15g gives back what was read. */
#include "request/value.h"

#include "base/utf8.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define DIGITS 15
#define POWERS 22 /* 10^22 is the largest power of ten that is a double */

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* Reads decimal digits with an optional point; gives them as digits * 10^power. */
static const char *scan_decimal(const char *s, uint64_t *digits, int *power) {
    uint64_t value = 0;
    int kept = 0, scale = 0;
    bool any = false, point = false, round_up = false, cut = false;
    for (;; s++) {
        if (*s == '.' && !point) {
            point = true;
            continue;
        }
        if (!is_digit(*s)) break;
        any = true;
        if (kept == DIGITS) {
            if (!cut) round_up = *s >= '5';
            cut = true;
            if (!point && ++scale > POWERS) return NULL;
            continue;
        }
        value = value * 10 + (uint64_t)(*s - '0');
        if (value) kept++;
        if (point && --scale < -4 * POWERS) return NULL;
    }
    if (!any) return NULL;
    *digits = value + round_up;
    *power = scale;
    return s;
}

bool request_parse_real(const char *text, double *out) {
    const char *s = text;
    bool minus = *s == '-';
    if (*s == '-' || *s == '+') s++;
    uint64_t digits;
    int power, exponent = 0;
    s = scan_decimal(s, &digits, &power);
    if (!s) return false;
    if (*s == 'e' || *s == 'E') {
        s++;
        bool less = *s == '-';
        if (*s == '-' || *s == '+') s++;
        if (!is_digit(*s)) return false;
        for (; is_digit(*s); s++)
            if ((exponent = exponent * 10 + (*s - '0')) > 100) return false;
        if (less) exponent = -exponent;
    }
    if (*s) return false;
    for (; digits && digits % 10 == 0; digits /= 10) power++;
    power += exponent;
    if (digits == 0) power = 0;
    if (power < -POWERS || power > POWERS) return false;
    double ten = 1;
    for (int i = 0; i < (power < 0 ? -power : power); i++) ten *= 10;
    double value = power < 0 ? (double)digits / ten : (double)digits * ten;
    *out = minus ? -value : value;
    return true;
}

static bool parse_int(const char *s, int64_t *out) {
    bool minus = *s == '-';
    if (*s == '-' || *s == '+') s++;
    if (!is_digit(*s)) return false;
    int64_t value = 0;
    for (; is_digit(*s); s++)
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, *s - '0', &value))
            return false;
    *out = minus ? -value : value;
    return !*s;
}

bool request_parse_bytes(const char *text, uint64_t *out) {
    static const char units[] = "kmgt";
    char number[32];
    size_t n = strspn(text, "0123456789.");
    if (n == 0 || n >= sizeof number) return false;
    memcpy(number, text, n);
    number[n] = 0;
    double value;
    if (!request_parse_real(number, &value)) return false;

    const char *unit = text + n;
    while (*unit == ' ') unit++;
    int shift = 0;
    for (int i = 0; units[i] && *unit; i++)
        if ((*unit | 0x20) == units[i]) shift = 10 * (i + 1);
    if (shift) unit++;
    if (*unit && strcasecmp(unit, "b") && (!shift || strcasecmp(unit, "ib"))) return false;
    value *= (double)((uint64_t)1 << shift);
    if (value >= 0x1p63) return false;
    *out = (uint64_t)value;
    return true;
}

/* Two numbers with a mark between them; *second stays where there is no mark. */
static bool parse_pair(const char *text, char mark, double *first, double *second) {
    char part[32];
    const char *at = strchr(text, mark);
    size_t n = at ? (size_t)(at - text) : strlen(text);
    if (n == 0 || n >= sizeof part) return false;
    memcpy(part, text, n);
    part[n] = 0;
    return request_parse_real(part, first) && (!at || request_parse_real(at + 1, second));
}

bool request_parse_interval(const char *text, double *from, double *to) {
    *to = -1;
    return parse_pair(text, ',', from, to) && 0 <= *from && *from <= *to && *to <= 1;
}

bool request_parse_aspect(const char *text, double *out) {
    double width, height = 1;
    if (!parse_pair(text, ':', &width, &height)) return false;
    if (!(width > 0) || !(height > 0) || width > 16 * height || height > 16 * width) return false;
    *out = width / height;
    return true;
}

size_t request_weighted(const char *entry, double *weight) {
    const char *colon = strrchr(entry, ':');
    *weight = 1;
    return colon && request_parse_real(colon + 1, weight) ? (size_t)(colon - entry) : strlen(entry);
}

static bool parse_truth(const char *s, bool *out) {
    static const struct {
        const char *word;
        bool truth;
    } words[] = {{"true", true},   {"yes", true}, {"on", true},   {"1", true},
                 {"false", false}, {"no", false}, {"off", false}, {"0", false}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!strcasecmp(s, words[i].word)) {
            *out = words[i].truth;
            return true;
        }
    return false;
}

static bool is_choice(const char *choices, const char *s) {
    size_t n = strlen(s);
    for (const char *c = choices; n && !strchr(s, '|'); c++) {
        if (!strncmp(c, s, n) && (c[n] == '|' || !c[n])) return true;
        if (!(c = strchr(c, '|'))) return false;
    }
    return false;
}

static bool is_utf8(const char *s) {
    const char *end = s + strlen(s);
    while (s < end)
        if (utf8_next(&s, end) == UTF8_BROKEN) return false;
    return true;
}

/* A limit as a person writes it. */
static void print_limit(char *to, size_t size, const kadr_option *o, double limit) {
    if (o->type == KADR_BYTES) snprintf(to, size, "%.0fM", limit / 1048576);
    else snprintf(to, size, "%.0f", limit);
}

static kadr_status refuse(const kadr_option *o, const char *got, const char *what,
                          kadr_error *err) {
    return err_set(err, KADR_EUSAGE, "%s: expected %s, got \"%.100s\"", o->name, what, got);
}

static kadr_status refuse_number(const kadr_option *o, const char *got, const char *kind,
                                 kadr_error *err) {
    char low[32], high[32], what[128];
    print_limit(low, sizeof low, o, o->low);
    print_limit(high, sizeof high, o, o->high);
    snprintf(what, sizeof what, "%s from %s to %s", kind, low, high);
    return refuse(o, got, what, err);
}

static kadr_status parse_text(const kadr_option *o, const char *text, struct value *out,
                              kadr_error *err) {
    double ratio, to;
    if (!is_utf8(text)) return refuse(o, text, "text in UTF-8", err);
    if ((o->type == KADR_FILE || o->type == KADR_LIST) && !*text)
        return refuse(o, text, "a path", err);
    if (o == request_option_at(OPTION_aspect) && !request_parse_aspect(text, &ratio))
        return refuse(o, text, "a shape such as 16:9, between 1:16 and 16:1", err);
    if (o == request_option_at(OPTION_guidance_interval) &&
        !request_parse_interval(text, &ratio, &to))
        return refuse(o, text, "two shares of the steps such as 0.2,0.8, from 0 to 1", err);
    if (o == request_option_at(OPTION_lora) && request_weighted(text, &ratio) == 0)
        return refuse(o, text, "FILE:WEIGHT", err);
    out->text = text;
    return KADR_OK;
}

kadr_status value_parse(const kadr_option *o, const char *text, struct value *out,
                        kadr_error *err) {
    switch (o->type) {
    case KADR_TEXT:
    case KADR_FILE:
    case KADR_LIST: return parse_text(o, text, out, err);
    case KADR_CHOICE:
        if (!is_choice(o->choices, text))
            return err_set(err, KADR_EUSAGE, "%s: expected one of %s, got \"%.100s\"", o->name,
                           o->choices, text);
        out->text = text;
        return KADR_OK;
    case KADR_INT:
        if (!parse_int(text, &out->integer) || (double)out->integer < o->low ||
            (double)out->integer > o->high)
            return refuse_number(o, text, "a whole number", err);
        return KADR_OK;
    case KADR_REAL:
        if (!request_parse_real(text, &out->real) || out->real < o->low || out->real > o->high)
            return refuse_number(o, text, "a number", err);
        return KADR_OK;
    case KADR_BYTES:
        if (!request_parse_bytes(text, &out->bytes) || (double)out->bytes < o->low ||
            (double)out->bytes > o->high)
            return refuse_number(o, text, "a size such as 6G or 900M,", err);
        return KADR_OK;
    case KADR_BOOL:
        if (!parse_truth(text, &out->truth)) return refuse(o, text, "true or false", err);
        return KADR_OK;
    }
    return err_set(err, KADR_EOTHER, "%s: unknown type of option", o->name);
}

void value_print_real(struct buf *b, double real) {
    char text[40];
    snprintf(text, sizeof text, "%.15g", real);
    /* Another locale's point is whatever is none of these. */
    for (char *c = text; *c; c++)
        if (!is_digit(*c) && !strchr("+-e", *c)) *c = '.';
    buf_puts(b, text);
}

void value_print_bytes(struct buf *b, uint64_t bytes) {
    static const char units[] = "TGMK";
    for (int i = 0, shift = 40; shift; i++, shift -= 10)
        if (bytes && bytes % ((uint64_t)1 << shift) == 0) {
            buf_printf(b, "%" PRIu64 "%c", bytes >> shift, units[i]);
            return;
        }
    buf_printf(b, "%" PRIu64, bytes);
}
