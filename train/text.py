"""Tokenizer (CLIP's byte-level BPE) and both text encoders, taught to read captions.

    python text.py --out runs/text

Every attribute that a caption says must be readable from the penultimate hidden states of both encoders, at the end
token and at a random later place, and from the second one's pooled output: the classifiers that demand it are thrown
away afterwards, and the UNet finds every attribute in what it attends to.
"""

import collections
import json
import random

import torch
from torch import nn
from torch.nn import functional as F
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from common import Trainer, arguments, autocast, start
from diffusion import second_tokens
from scenes.captions import OTHER_WORDS, PEOPLE, caption
from scenes.world import FIELDS, NAMES, sample

VOCABULARY = 1536
START, END = "<|startoftext|>", "<|endoftext|>"


def byte_letters():
    """CLIP's printable letter for each byte, in its order."""
    plain = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    rest = [b for b in range(256) if b not in plain]
    return [chr(b) for b in plain] + [chr(256 + k) for k in range(len(rest))]


def count_words():
    rng = random.Random(7)
    counts = collections.Counter({word: 30 for word in (*OTHER_WORDS, *PEOPLE)})
    for _ in range(30000):
        text = caption(sample(rng), rng)[0].lower()
        for mark in ",-:":
            text = text.replace(mark, f" {mark} ")
        counts.update(text.split())
    return counts


def learn_merges(counts, vocabulary):
    """Byte pair encoding: joins the most frequent pair until the vocabulary is full."""
    words = {word: [*word[:-1], word[-1] + "</w>"] for word in counts if word.isascii()}
    merges = []
    while len(vocabulary) + 2 < VOCABULARY:
        pairs = collections.Counter()
        for word, parts in words.items():
            for pair in zip(parts, parts[1:]):
                pairs[pair] += counts[word]
        if not pairs or (best := pairs.most_common(1)[0])[1] < 2:
            break
        (left, right), _ = best
        merges.append((left, right))
        vocabulary.append(left + right)
        for parts in words.values():
            i = 0
            while i < len(parts) - 1:
                if (parts[i], parts[i + 1]) == (left, right):
                    parts[i : i + 2] = [left + right]
                i += 1
    return merges


def write_tokenizer(folder, vocabulary, merges, pad):
    folder.mkdir(parents=True, exist_ok=True)

    def token(text, normalized=True):
        return {"content": text, "lstrip": False, "normalized": normalized, "rstrip": False, "single_word": False}

    start_id, end_id = len(vocabulary) - 2, len(vocabulary) - 1
    special = {str(start_id): {**token(START), "special": True}, str(end_id): {**token(END, False), "special": True}}
    if pad == "!":
        special = {"0": {**token("!"), "special": True}, **special}
    config = {
        "add_prefix_space": False, "bos_token": START, "eos_token": END, "unk_token": END, "pad_token": pad,
        "model_max_length": 77, "do_lower_case": True, "errors": "replace", "tokenizer_class": "CLIPTokenizer",
        "clean_up_tokenization_spaces": True, "added_tokens_decoder": special,
    }  # fmt: skip
    names = {"bos_token": token(START), "eos_token": token(END), "unk_token": token(END), "pad_token": pad}
    ids = {text: i for i, text in enumerate(vocabulary)}
    (folder / "vocab.json").write_text(json.dumps(ids, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1))
    (folder / "special_tokens_map.json").write_text(json.dumps(names, indent=1))


def make_tokenizers(out):
    if (out / "tokenizer_2" / "merges.txt").exists():
        return
    letters = byte_letters()
    vocabulary = letters + [letter + "</w>" for letter in letters]
    merges = learn_merges(count_words(), vocabulary)
    vocabulary += [START, END]
    write_tokenizer(out / "tokenizer", vocabulary, merges, END)
    write_tokenizer(out / "tokenizer_2", vocabulary, merges, "!")  # SDXL's second pads with id 0


class Reader(nn.Module):
    """Both encoders and the classifiers that teach them."""

    def __init__(self, size):
        super().__init__()
        shared = {
            "vocab_size": size, "max_position_embeddings": 77, "bos_token_id": size - 2, "eos_token_id": size - 1,
            "num_hidden_layers": 3, "num_attention_heads": 4, "attention_dropout": 0.0,
        }  # fmt: skip
        self.first = CLIPTextModel(CLIPTextConfig(
            hidden_size=96, intermediate_size=288, hidden_act="quick_gelu", projection_dim=96, pad_token_id=size - 1,
            **shared))  # fmt: skip
        self.second = CLIPTextModelWithProjection(CLIPTextConfig(
            hidden_size=128, intermediate_size=384, hidden_act="gelu", projection_dim=128, pad_token_id=0,
            **shared))  # fmt: skip
        self.classes = [len(values) + 1 for values in FIELDS.values()]
        self.read_first, self.read_second, self.read_pooled = (
            nn.Linear(width, sum(self.classes)) for width in (96, 128, 128)
        )
        for name, p in self.named_parameters():
            if "token_embedding" in name or "position_embedding" in name:
                nn.init.normal_(p, std=0.3 if "token" in name else 0.1)
            elif p.dim() == 2:
                nn.init.normal_(p, std=p.shape[1] ** -0.5 * (0.5 if "fc2" in name or "out_proj" in name else 1))

    def forward(self, ids1, ids2, end_id, places):
        """What five readers say, and how far the states are from unit size."""
        rows = torch.arange(len(ids1), device=ids1.device)
        end = (ids1 == end_id).int().argmax(1)
        length = ids1.shape[1]
        later = (end + (places * (length - end)).long()).clamp(max=length - 1)
        a = self.first(ids1, output_hidden_states=True).hidden_states[-2]
        second = self.second(ids2, output_hidden_states=True)
        b = second.hidden_states[-2]
        said = [
            self.read_first(a[rows, end]), self.read_first(a[rows, later]), self.read_second(b[rows, end]),
            self.read_second(b[rows, later]), self.read_pooled(second.text_embeds),
        ]  # fmt: skip
        size = sum((v.pow(2).mean(-1).sqrt() - 1).pow(2).mean() for v in (a, b, second.text_embeds))
        return said, size


def batch(count, rng):
    pairs = [caption(sample(rng, rng.random() < 0.1, rng.random() < 0.35), rng, identity=rng.random() < 0.8)
             for _ in range(count)]  # fmt: skip
    texts = [
        text.upper() if rng.random() < 0.02 else text.capitalize() if rng.random() < 0.3 else text for text, _ in pairs
    ]
    return texts, torch.tensor([spec for _, spec in pairs])


def hits(said, spec, classes):
    return torch.stack([(part.argmax(1) == spec[:, k]).float().mean() for k, part in enumerate(said.split(classes, 1))])


def main():
    parser = arguments(__doc__, steps=2000, batch=96)
    parser.add_argument("--tokenizers", action="store_true", help="only these: rendering needs no more")
    args = parser.parse_args()
    start(args)
    make_tokenizers(args.out)
    if args.tokenizers:
        return
    tokenizer = CLIPTokenizer.from_pretrained(args.out / "tokenizer")
    end_id = tokenizer.eos_token_id
    net = Reader(len(tokenizer)).to(args.device)

    def ids(texts, length):
        out = tokenizer(texts, padding="max_length", max_length=length, truncation=True, return_tensors="pt").input_ids
        out = out.to(args.device)
        return out, second_tokens(out, end_id)

    def save(_):
        net.first.save_pretrained(args.out / "text_encoder")
        net.second.save_pretrained(args.out / "text_encoder_2")

    trainer = Trainer(
        args, {"net": net}, [{"params": list(net.parameters()), "lr": args.rate or 2e-3, "weight_decay": 1e-3}], [],
        save, betas=(0.9, 0.98),
    )  # fmt: skip
    for _, dice in trainer.steps():
        texts, spec = batch(args.local, dice.python)
        spec = spec.to(args.device)
        with autocast(args):
            length = 48 if dice.python.random() < 0.7 else 77
            said, size = net(*ids(texts, length), end_id, torch.rand(len(texts), device=args.device))
        loss = sum(
            F.cross_entropy(part.float(), spec[:, k], label_smoothing=0.02) / len(said)
            for reader in said for k, part in enumerate(reader.split(net.classes, 1))
        )  # fmt: skip
        trainer.update(loss + 1e-2 * size, pooled=hits(said[4], spec, net.classes).mean())
    rng = random.Random(99)
    pairs = [caption(sample(rng, True), rng) for _ in range(1024)]
    with torch.no_grad():
        said, _ = net(*ids([text for text, _ in pairs], 77), end_id, torch.zeros(len(pairs), device=args.device))
    read = hits(said[4], torch.tensor([spec for _, spec in pairs], device=args.device), net.classes)
    read = dict(zip(NAMES, (round(float(v), 4) for v in read)))
    (args.out / "read.json").write_text(json.dumps(read, indent=1) + "\n")
    print("held-out combinations, pooled:", read)


if __name__ == "__main__":
    main()
