#!/usr/bin/env python3
"""Writes src/model/unicode_tables.c: the Unicode properties that CLIP's tokenizer depends on.

The reference tokenizer (the Python package `tokenizers`) draws on three libraries, each with its own
Unicode version: one for \\s, \\p{L} and \\p{N}, one for normalization, one for lower case. So the tables are
asked from that package, code point by code point; `unicodedata` only proposes candidates (pairs that may
compose, combining classes), which the package confirms or denies.

    tools/make_unicode.py > src/model/unicode_tables.c

Needs tokenizers (the version in tests/reference/requirements.txt). Not needed to build kadr.
"""

import unicodedata

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, normalizers
from tokenizers.models import WordLevel

CODES = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
EVERYTHING = "".join(map(chr, CODES))
BLOCK = 128
nfd = normalizers.NFD().normalize_str
nfc = normalizers.NFC().normalize_str
lower = normalizers.Lowercase().normalize_str


def matching(pattern):
    """Code points that a regular expression of the tokenizer's engine matches."""
    rest = normalizers.Replace(Regex(pattern), "").normalize_str(EVERYTHING)
    return set(CODES) - set(map(ord, rest))


def touching(**how):
    """Code points that, put before an added token, take part in its match or spoil it."""
    t = Tokenizer(WordLevel({"u": 0}, unk_token="u"))
    t.add_tokens([AddedToken("<q>", normalized=False, **how)])
    q = t.token_to_id("<q>")
    got = t.encode_batch([chr(c) + "<q>" for c in CODES])
    return {c for c, e in zip(CODES, got) if e.ids != [0, q]}


def combining_classes():
    """Canonical combining classes as the package knows them: it may know fewer marks."""
    plain = {c for c in CODES if nfd(chr(c)) == chr(c)}
    found = {}
    for c in plain:
        if not (k := unicodedata.combining(chr(c))):
            continue
        # A mark moves before a mark of a higher class, or lets one of a lower class pass.
        before, after = "a" + chr(c) + "\u0334", "a\u0345" + chr(c)
        if c == 0x345 or nfd(before) != before or nfd(after) != after:
            found[c] = k
    one_of = {k: c for c, k in found.items()}
    for c, k in found.items():
        for other, mark in one_of.items():
            want = chr(c) + chr(mark) if k < other else chr(mark) + chr(c)
            assert nfd("a" + chr(mark) + chr(c)) == "a" + want, hex(c)
    for c in CODES:  # marks that decompose behave as what they decompose to
        if c not in plain and (k := unicodedata.combining(chr(c))):
            found[c] = k
    return found


def decompositions():
    """{code point: (first, second or 0)}, one level, without Hangul syllables."""
    found = {}
    for c in CODES:
        text = unicodedata.decomposition(chr(c))
        if text and not text.startswith("<") and nfd(chr(c)) != chr(c):
            pair = [int(x, 16) for x in text.split()]
            found[c] = (pair[0], pair[1] if len(pair) > 1 else 0)

    def whole(c):
        if c not in found:
            return chr(c)
        return "".join(whole(x) for x in found[c] if x)

    for c in CODES:
        if not 0xAC00 <= c < 0xD7A4:
            assert nfd(chr(c)) == whole(c), hex(c)
    return found


def lower_deltas():
    deltas = {}
    for c in CODES:
        text = lower(chr(c))
        if len(text) > 1:
            assert (c, text) == (0x130, "i\u0307")  # unicode_lower knows this one
        deltas[c] = ord(text[0]) - c
    return deltas


def array(kind, name, values, form="{}"):
    print(f"\nconst {kind} {name}[{len(values)}] = {{")
    line = "   "
    for v in values:
        text = " " + form.format(*v if isinstance(v, tuple) else (v,)) + ","
        if len(line + text) > 100:
            print(line)
            line = "   "
        line += text
    print(line + "\n};")


def main():
    space, letter, number = matching(r"\s"), matching(r"\p{L}"), matching(r"\p{N}")
    word = touching(single_word=True)
    assert touching(lstrip=True) == space
    classes, deltas, pairs = combining_classes(), lower_deltas(), decompositions()
    composed = sorted((a, b, c) for c, (a, b) in pairs.items() if b and nfc(chr(a) + chr(b)) == chr(c))
    records, index = {(0, 0, 0): 0}, []
    for c in range(0x110000):
        flags = (c in space) | (c in letter) << 1 | (c in number) << 2 | (c in word) << 3 | (c in pairs) << 4
        index.append(records.setdefault((flags, classes.get(c, 0), deltas.get(c, 0)), len(records)))
    assert len(records) <= 0x10000
    blocks, first = {}, []
    for start in range(0, 0x110000, BLOCK):
        block = tuple(index[start : start + BLOCK])
        first.append(blocks.setdefault(block, len(blocks)))

    print("/* unicode_tables.c: made by tools/make_unicode.py; do not edit. The properties are those of the")
    print(f" * Python package tokenizers {tokenizers.__version__}. */")
    print("/* clang-format off */")
    print('#include "model/unicode_tables.h"')
    array("struct unicode_record", "unicode_records", list(records), "{{{}, {}, {}}}")
    array("uint16_t", "unicode_blocks", first)
    array("uint16_t", "unicode_index", [r for block in blocks for r in block])
    decomposed = sorted((c, a, b) for c, (a, b) in pairs.items())
    array("struct unicode_decomposition", "unicode_decompositions", decomposed, "{{0x{:X}, 0x{:X}, 0x{:X}}}")
    array("uint16_t", "unicode_compositions", [decomposed.index((c, a, b)) for a, b, c in composed])
    print(f"\nconst size_t unicode_decomposition_count = {len(pairs)};")
    print(f"const size_t unicode_composition_count = {len(composed)};")


if __name__ == "__main__":
    main()
