/* letters.c: upper and lower case of the alphabets that screenplays are written in, whatever the
 * locale: Latin with its accents, Greek, Cyrillic. Not all of Unicode: a name in capitals of
 * another alphabet is marked with @ in Fountain. */
#include "board/script.h"

/* Blocks in which small letters follow their capitals one by one: capitals are even, or odd. */
static bool in_pairs(uint32_t c, uint32_t *first) {
    bool odd_capitals =
        (c >= 0x139 && c <= 0x148) || (c >= 0x179 && c <= 0x17E) || (c >= 0x4C1 && c <= 0x4CE);
    bool even_capitals = (c >= 0x100 && c <= 0x137 && c != 0x130 && c != 0x131) ||
                         (c >= 0x14A && c <= 0x177) || (c >= 0x1E00 && c <= 0x1E95) ||
                         (c >= 0x1EA0 && c <= 0x1EFF) || (c >= 0x460 && c <= 0x481) ||
                         (c >= 0x48A && c <= 0x4BF) || (c >= 0x4D0 && c <= 0x52F);
    *first = odd_capitals;
    return odd_capitals || even_capitals;
}

/* How far the small letter lies behind its capital; 0: `c` is no capital. */
static uint32_t distance(uint32_t c) {
    uint32_t odd;
    if (in_pairs(c, &odd)) return (c & 1) == odd;
    if (c >= 'A' && c <= 'Z') return 32;
    if (c >= 0xC0 && c <= 0xDE && c != 0xD7) return 32;
    if (c >= 0x391 && c <= 0x3AB && c != 0x3A2) return 32;
    if (c >= 0x410 && c <= 0x42F) return 32;
    if (c >= 0x400 && c <= 0x40F) return 80;
    return 0;
}

bool letter_is_upper(uint32_t c) {
    return distance(c) || c == 0x130 || c == 0x178 || c == 0x4C0;
}

bool letter_is_lower(uint32_t c) {
    uint32_t odd;
    if (in_pairs(c, &odd)) return (c & 1) != odd;
    return (c >= 'a' && c <= 'z') || (c >= 0xDF && c <= 0xFF && c != 0xF7) || c == 0x131 ||
           (c >= 0x3AC && c <= 0x3CE) || (c >= 0x430 && c <= 0x45F);
}

uint32_t letter_to_lower(uint32_t c) {
    return c + distance(c);
}
