"""What transformers' CLIPTokenizer reads in many texts, and the web UI's prompt parser in many prompts.

    python tokenizer.py ../data/tokenizer [--webui FOLDER]

Writes tokens.json (texts and their ids by several tokenizers), codepoints.json (a digest for every 1024 code
points, each alone and between others) and, with --webui (a checkout of AUTOMATIC1111/stable-diffusion-webui),
prompts.json.
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
import types
import unicodedata
from pathlib import Path

from transformers import CLIPTokenizer

ROOT = Path(__file__).resolve().parents[2]
MINI = ROOT / "models" / "mini"
BLOCK = 1024

TEXTS = """
a photo of a cat
A Photo Of A CAT
  leading and   inner    blanks, and trailing ones
it's don't I'LL we've THEY'RE I'm he'd 'stop 's's ''s o'clock rock'n'roll 'T 'rex
don\u2019t \u2018quoted\u2019 \u201cmore\u201d
1234567890 3.14 1,000,000 2nd 4k 16:9 7\u00bd \u00b2\u00b3 \u2167 \u0663\u0664 \u0e53 \uff11\uff12
!!! ?! ... --- ___ *** ### @@@ $$$ %%% ^^^ &&& ((( ))) [[[ ]]] {{{ }}} ||| \\\\\\ /// ~~~ ```
!a! !!a!! a!b !"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~
<|startoftext|> <|endoftext|>
<|startoftext|>a<|endoftext|>b
a<|startoftext|>b <|STARTOFTEXT|> <|StartOfText|>
<|ENDOFTEXT|>x<|EndOfText|> !<|ENDOFTEXT|> <|<|ENDOFTEXT|>|>
<|startoftext <|endoftext| startoftext|> |> <| <||>
</w> a</w>b photo</w>
caf\u00e9 cafe\u0301 na\u00efve na\u0131ve \u00e5ngstr\u00f6m \u212bngstr\u00f6m \u017f\u0323\u0307 \u1e69 s\u0307\u0323
\u0130stanbul I\u0307 \u0131 \u1e9e STRASSE Stra\u00dfe \ufb01 \ufb03 \u01c4 \u01c5 \u01c6
\u0391\u03a3 \u03a3\u0391\u03a3 \u03c3\u03c2 \u1f88 \u1fbc \u0345\u0391
\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440! \u0401\u0436 \u0439 \u0438\u0306 \u0407
\u4e00\u53ea\u732b \u65e5\u672c\u8a9e\u30c6\u30b9\u30c8 \u304c \u304b\u3099 \u30d1 \u30cf\u309a \uff76\uff9e \uf900 \ufa10
\ud55c\uad6d\uc5b4 \u1112\u1161\u11ab\u1100\u116e\u11a8 \uac00\u11a8 \uac01\u11a8 \u1100\u1161\u11a7
\u0633\u0644\u0627\u0645 \u0622 \u0627\u0653 \u05e9\u05dc\u05d5\u05dd \ufb2a \u05e9\u05c1 \u0939\u093f\u0928\u094d\u0926\u0940 \u0958 \u0e44\u0e17\u0e22 \u0e33
\U0001f600 \U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea \u2764\ufe0f \U0001f44d\U0001f3fd
\U0001d400\U0001d7d8 \U00010400 \U00010428 \U0001f130 \U00020000 \U0002f800 \U0001d15e \U000110ab \U00011938
a\u00a0b\u1680c\u2000d\u2028e\u2029f\u202fg\u205fh\u3000i\u0085j\u180ek\u200bl\ufeffm\u2060n
tab\tnew\nline\r\nform\x0cfeed\x0bvertical\x1cfile\x1dgroup\x1erecord\x1funit\x00nul\x07bell\x7fdel
\u0301start a\u0301\u0323\u0308 a\u0323\u0301 \u0344 \u0340\u0341\u0343 q\u0307\u0323 \u0f73 \u0f71\u0f72
masterpiece, best quality, 8k uhd, dslr, soft lighting, high quality, film grain, Fujifilm XT3
EXT. PARIS STREET - NIGHT. Rain. A woman in a red coat (30s) runs; lightning FLASHES!
http://example.com/a?b=c&d=e#f user@example.com C:\\dir\\file.txt #hashtag @name
supercalifragilisticexpialidocious pneumonoultramicroscopicsilicovolcanoconiosis qwrtpsdfg
\ufffd \ufffe \uffff \U0010ffff \ue000 \U000f0000
zebra zeBra aZebra zebra2 zebra! _zebra the zebra  the  x the the Photo photo photography <x> <X> <Y>  <y> <new><NEW>
""".strip("\n").split("\n")


def added(content, **how):
    return dict(content=content, lstrip=False, rstrip=False, normalized=True, single_word=False, special=False) | how


START, END = "<|startoftext|>", "<|endoftext|>"
SDXL = {"49406": added(START, special=True), "49407": added(END, special=True, normalized=False)}
OLD = {k: dict(added(v), __type="AddedToken") for k, v in dict(bos_token=START, eos_token=END, unk_token=END).items()}

# Ways in which folders say which tokens are special. "vocabulary": whose vocab.json and merges.txt.
TOKENIZERS = [
    dict(name="sdxl_1", vocabulary="clip", files={"tokenizer_config.json": {"added_tokens_decoder": SDXL}}),
    dict(name="sdxl_2", vocabulary="clip", files={"tokenizer_config.json": {
        "added_tokens_decoder": {"0": added("!", special=True, normalized=False)} | SDXL, "pad_token": "!"}}),
    dict(name="mini", vocabulary="mini", folder="tokenizer", files={}),
    dict(name="mini_2", vocabulary="mini", folder="tokenizer_2", files={}),
    dict(name="bare", vocabulary="mini", files={}),
    dict(name="map", vocabulary="mini", files={"special_tokens_map.json": {
        "bos_token": added(START), "eos_token": added(END), "unk_token": added(END), "pad_token": "!"}}),
    dict(name="old", vocabulary="mini", files={"tokenizer_config.json": OLD | {"pad_token": END, "errors": "replace"}}),
    dict(name="added", vocabulary="mini", files={
        "tokenizer_config.json": {"pad_token": "!"}, "added_tokens.json": {"<new>": 1536, "Photo": 1537, "!": 0}}),
    dict(name="extra", vocabulary="mini", files={"tokenizer_config.json": {
        "additional_special_tokens": ["<x>", dict(added("<Y>", lstrip=True), __type="AddedToken")],
        "cls_token": "<cls>", "mask_token": None}}),
    dict(name="strip", vocabulary="mini", files={"tokenizer_config.json": {"bos_token": START, "added_tokens_decoder": {
        "2000": added("zeBra", single_word=True), "1535": added(END, special=True, normalized=False),
        "1600": added(" the ", lstrip=True, rstrip=True), "1601": added("t", single_word=True, normalized=False)}}}),
    dict(name="one_file", vocabulary="mini", one_file=True, files={
        "tokenizer_config.json": {"pad_token": "!", "model_max_length": 77}}),
]


def texts():
    """The list above, and random texts of pieces that meet in odd ways."""
    found = list(TEXTS) + ["", " ", "\n", "a", "!", " !", "'", "e" * 300, "ab " * 120, "\u0301" * 40, "\u0323\u0301" * 20]
    codes = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    marks = [c for c in codes if unicodedata.combining(c)]
    parts = sorted({x for c in codes for x in unicodedata.normalize("NFD", c)} - set(map(chr, range(128))) - set(marks))
    parts = [c for c in parts if unicodedata.category(c)[0] != "C" and (ord(c) < 0x3400 or ord(c) > 0xA000)]
    upper = [c for c in codes if c.lower() != c]
    blank = [c for c in codes if c.isspace()] + ["\u200b"]
    hangul = [chr(c) for c in range(0x1100, 0x1200)] + [chr(0xAC00 + 7 * i) for i in range(200)]
    plain = [chr(c) for c in range(32, 127)]
    words = [START, END, START.upper(), "<|EndOfText|>", "'s", "'LL", "!", "zebra", " the ", "<x>", "<Y>", "<new>", "Photo"]
    pools = [marks, parts, upper, blank, hangul, plain, plain, words, words, codes]
    r = random.Random(1)
    for _ in range(400):
        some = r.sample(pools, r.choice((1, 2, 3, 4)))
        found.append("".join(r.choice(r.choice(some)) for _ in range(r.choice((2, 4, 8, 16)))))
    return found


def write_clip(folder):
    """CLIP's vocabulary as vocab.json and merges.txt, from the merges that kadr ships."""
    own = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    letters = [chr(b) for b in own] + [chr(256 + i) for i in range(256 - len(own))]
    merges = (ROOT / "data" / "clip" / "merges.txt").read_text(encoding="utf-8")
    made = [line.replace(" ", "") for line in merges.splitlines()[1:]]
    vocabulary = letters + [c + "</w>" for c in letters] + made + [START, END]
    assert len(set(vocabulary)) == 49408
    (folder / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(vocabulary)}))
    (folder / "merges.txt").write_text(merges, encoding="utf-8")


def open_tokenizer(spec, folder):
    if "folder" in spec:
        return CLIPTokenizer.from_pretrained(MINI / spec["folder"])
    folder = folder / spec["name"]
    folder.mkdir()
    if spec["vocabulary"] == "clip":
        write_clip(folder)
    else:
        for name in ("vocab.json", "merges.txt"):
            shutil.copyfile(MINI / "tokenizer" / name, folder / name)
    for name, content in spec["files"].items():
        (folder / name).write_text(json.dumps(content))
    t = CLIPTokenizer.from_pretrained(folder)
    if spec.get("one_file"):  # as transformers 5 writes it
        t.save_pretrained(folder)
        spec["files"] = {"tokenizer_config.json": json.loads((folder / "tokenizer_config.json").read_text()),
                         "tokenizer.json": json.loads((folder / "tokenizer.json").read_text())}
        model = spec["files"]["tokenizer.json"]["model"]
        model["vocab"], model["merges"] = "mini", "mini"  # the test puts them in
        for name in ("vocab.json", "merges.txt"):
            (folder / name).unlink()
        t = CLIPTokenizer.from_pretrained(folder)
    return t


def ids_of(t, text):
    t.backend_tokenizer.no_truncation()  # a call that truncates leaves that behind
    t.backend_tokenizer.no_padding()
    return t.backend_tokenizer.encode(text, add_special_tokens=False).ids


def write_tokens(tokenizers, out):
    all_texts = texts()
    result = dict(texts=all_texts, tokenizers=[])
    for spec, t in tokenizers:
        ids = [ids_of(t, x) for x in all_texts]
        entry = dict(spec, bos=t.bos_token_id, eos=t.eos_token_id, pad=t.pad_token_id, size=len(t), ids=ids)
        if spec["name"] in ("sdxl_1", "mini_2"):
            entry["decoded"] = [t.backend_tokenizer.decode(x, skip_special_tokens=False) for x in ids]
        result["tokenizers"].append(entry)
    (out / "tokens.json").write_text(json.dumps(result, separators=(",", ":")) + "\n")


def write_codepoints(t, out):
    """FNV-1a over ids; the code points of a block stand in lines of their own, in three settings."""
    settings = ["{}", "a{}b", "e\u0323{}\u0301"]
    digests = []
    for start in range(0, 0x110000, BLOCK):
        block = [chr(c) for c in range(start, start + BLOCK) if not 0xD800 <= c < 0xE000]
        h = 0xCBF29CE484222325
        for setting in settings:
            for i in ids_of(t, "\n".join(setting.format(c) for c in block)):
                h = (h ^ i) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
        digests.append(f"{h:016x}")
    result = dict(block=BLOCK, settings=settings, digests=digests)
    (out / "codepoints.json").write_text(json.dumps(result, separators=(",", ":")) + "\n")


PROMPTS = [
    "", " ", "a cat", "an (important) word", "(unbalanced", "unbalanced)", "[less", "less]", "\\(literal\\]", "\\\\ \\x \\",
    "(unnecessary)(parens)", "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).", "((word))", "[[word]]", "([a]b)", "[(a)b]",
    "(word:1.2)", "(word: 1.2 )", "(word:-0.5)", "(word:+.5)", "(word:2.)", "(word:1.2", "word:1.2)", "[word:1.2]", "(a:b:1.5)",
    "(a:1.5:b)", "(:1.5)", "(a:)", "()", "[]", "(())", "\\(a:1.2)", "(a\\):1.2)", "(a, (b:1.1), c:0.9)", "(a:1e3)", "(\u043a\u043e\u0442:1.4)",
    "a BREAK b", "aBREAKb", "BREAK", "BREAK BREAK", "a\nBREAK\nb", "a BREAKs b", "\u00e9BREAK", "_BREAK", "a,BREAK,b", "a break b",
    "easynegative", "a easy day", "easynegative, (easynegative:1.4) easy", "big neg, big neg, big neg", "EasyNegative",
    "a cat!!! <|endoftext|", "a [cat:dog:0.5] AND <lora:x:1>", "(x:0)", "((a:1.1):1.1)", "(((((((((deep)))))))))",
    ", ".join(f"word number {i}" for i in range(30)), " ".join(["dog"] * 75), " ".join(["dog"] * 76), " ".join(["dog"] * 151),
    " ".join(["dog"] * 55) + ", " + " ".join(["cat"] * 30), " ".join(["dog"] * 54) + ", " + " ".join(["cat"] * 30),
    " ".join(["dog"] * 74) + ", cat", " ".join(["dog"] * 75) + ", cat", " ".join(["dog"] * 70) + ", (cat " + " ".join(["fox"] * 20) + ":1.3)",
    " ".join(["dog"] * 73) + " easynegative", "!" * 80, "(" + ", ".join(["a red fox in the snow"] * 20) + ":1.2) BREAK [end]",
]
EMBEDDINGS = [("easynegative", 3, (50000, 60000)), ("easy", 2, (50010, 60010)), ("big neg", 70, (50100, 60100))]


def load_webui(folder):
    """The web UI's own code, with the parts of it that are not about text left empty."""
    sys.path.insert(0, str(folder))
    import modules
    for name in ("devices", "sd_hijack", "sd_emphasis", "shared"):
        sys.modules[f"modules.{name}"] = types.ModuleType(name)
        setattr(modules, name, sys.modules[f"modules.{name}"])
    sys.modules["modules.shared"].opts = types.SimpleNamespace(emphasis="Original", comma_padding_backtrack=20)
    from modules import prompt_parser, sd_hijack_clip
    return prompt_parser, sd_hijack_clip


class Embeddings:
    """Finds names of embeddings among tokens; the longest first."""

    def __init__(self, t, encoder):
        self.known = [(ids_of(t, name), types.SimpleNamespace(vectors=n, first=first[encoder]))
                      for name, n, first in EMBEDDINGS]
        self.known.sort(key=lambda x: -len(x[0]))

    def find_embedding_at_position(self, tokens, at):
        for ids, e in self.known:
            if tokens[at:at + len(ids)] == ids:
                return e, len(ids)
        return None, None


def webui_chunks(clip, t, encoder, text):
    """[[ids], [weights]] for each chunk, up to the last token that is not padding."""
    hijack = types.SimpleNamespace(embedding_db=Embeddings(t, encoder))
    w = clip.FrozenCLIPEmbedderWithCustomWordsBase(None, hijack)
    w.tokenize = lambda pieces: [ids_of(t, x) for x in pieces]
    w.id_start, w.id_end = t.bos_token_id, t.eos_token_id
    w.comma_token = t.get_vocab()[",</w>"]
    found = []
    for c in w.tokenize_line(text)[0]:
        ids = list(c.tokens)
        for offset, e in c.fixes:
            ids[offset + 1:offset + 1 + e.vectors] = range(e.first, e.first + e.vectors)
        used = ids.index(w.id_end)
        found.append([ids[1:used], c.multipliers[1:used]])
    return found


def write_prompts(tokenizers, webui, out):
    parser, clip = load_webui(webui)
    result = []
    for text in PROMPTS:
        plain = [ids_of(t, text) for t in tokenizers]
        result.append(dict(
            text=text, pieces=parser.parse_prompt_attention(text),
            chunks=[webui_chunks(clip, t, i, text) for i, t in enumerate(tokenizers)],
            plain=[t(text, padding="max_length", max_length=77, truncation=True).input_ids for t in tokenizers],
            cut=[t.backend_tokenizer.decode(x[75:], skip_special_tokens=False) for t, x in zip(tokenizers, plain)]))
    embeddings = [dict(name=n, vectors=v, first=f) for n, v, f in EMBEDDINGS]
    (out / "prompts.json").write_text(json.dumps(dict(embeddings=embeddings, prompts=result), separators=(",", ":")) + "\n")


def main():
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("out", type=Path)
    args.add_argument("--webui", type=Path)
    args = args.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        tokenizers = [(spec, open_tokenizer(spec, Path(folder))) for spec in TOKENIZERS]
        write_tokens(tokenizers, args.out)
        write_codepoints(tokenizers[0][1], args.out)
        if args.webui:
            write_prompts([tokenizers[0][1], tokenizers[1][1]], args.webui, args.out)


if __name__ == "__main__":
    main()
