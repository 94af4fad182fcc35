/* unicode_tables.h: the generated tables behind unicode.h. A code point's record is
 *     unicode_records[unicode_index[unicode_blocks[c / UNICODE_BLOCK] * UNICODE_BLOCK + c %
 * UNICODE_BLOCK]]
 */
#ifndef KADR_MODEL_UNICODE_TABLES_H
#define KADR_MODEL_UNICODE_TABLES_H

#include <stddef.h>
#include <stdint.h>

#define UNICODE_BLOCK 128u

struct unicode_record {
    uint8_t flags;    /* enum unicode_flag */
    uint8_t ccc;      /* canonical combining class */
    int32_t to_lower; /* added to the code point gives its lower case */
};

struct unicode_decomposition {
    uint32_t from, first, second; /* second 0: one code point */
};

extern const struct unicode_record unicode_records[];
extern const uint16_t unicode_blocks[];
extern const uint16_t unicode_index[];
extern const struct unicode_decomposition unicode_decompositions[]; /* by `from` */
extern const size_t unicode_decomposition_count;
/* Those that also compose, as indexes into unicode_decompositions, by `first`, then `second`. */
extern const uint16_t unicode_compositions[];
extern const size_t unicode_composition_count;

#endif
