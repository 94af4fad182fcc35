"""Renders the training set: frames, references of the same characters, attributes, figure boxes and captions.

    python dataset.py DATA --text runs/text --frames 96000 [--width 384 --height 256] [--jobs 2]

Frame i depends on the seed and i alone. Writes frames.npy, references.npy (squares of REFERENCE, one for each of two
characters), attributes.npy, boxes.npy, captions.npy (CAPTIONS ways to tell it all, as the tokens of --text's tokenizer),
hidden.npy (HIDDEN ways that do not tell who it is) and config.json. While it goes on, the file progress holds how many frames,
from the first on, are there.
"""

import argparse
import json
import random
from multiprocessing import Pool
from pathlib import Path

import numpy as np
from transformers import CLIPTokenizer

from scenes.captions import caption
from scenes.frame import render
from scenes.world import NAMES, companion, has_companion, sample, sample_reference, to_index

REFERENCE = 96  # side of a reference picture, as the image encoder sees it
CAPTIONS, HIDDEN = 4, 2
LENGTH = 77
CHUNK = 250


def shrink(picture, side):
    """A square picture at `side`, by averaging whole blocks."""
    k = picture.shape[0] // side
    return picture[: k * side, : k * side].reshape(side, k, side, k, 3).mean((1, 3)).astype(np.uint8)


def reference(a, rng):
    side = 2 * REFERENCE
    return shrink(render(sample_reference(a, rng), rng.getrandbits(40), side * 3 // 2, side, True).picture, REFERENCE)


def make(job):
    args, begin, end = job
    folder = args.data
    names = ("frames", "references", "attributes", "boxes", "captions", "hidden")
    files = {n: np.load(folder / f"{n}.npy", mmap_mode="r+") for n in names}
    tokenizer = CLIPTokenizer.from_pretrained(args.text / "tokenizer")

    def tokens(texts):
        return tokenizer(texts, padding="max_length", max_length=LENGTH, truncation=True).input_ids

    for i in range(begin, end):
        rng = random.Random(args.seed * 1_000_003 + i)
        a = sample(rng)
        frame = render(a, rng.getrandbits(40), args.width, args.height)
        files["frames"][i], files["boxes"][i], files["attributes"][i] = frame.picture, frame.boxes, to_index(a)
        files["references"][i, 0] = reference(a, rng)
        if has_companion(a):
            files["references"][i, 1] = reference(companion(a), rng)
        files["captions"][i] = tokens([caption(a, rng)[0] for _ in range(CAPTIONS)])
        files["hidden"][i] = tokens([caption(a, rng, identity=False)[0] for _ in range(HIDDEN)])
    return end - begin


def tell(path, text):
    """Writes a file that others may be reading."""
    new = path.with_suffix(".new")
    new.write_text(f"{text}\n")
    new.rename(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=40000)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--height", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    if args.width % 32 or args.height % 32:
        parser.error("width and height must be divisible by 32")
    args.data.mkdir(parents=True, exist_ok=True)
    shapes = {
        "frames": ((args.height, args.width, 3), np.uint8), "references": ((2, REFERENCE, REFERENCE, 3), np.uint8),
        "attributes": ((len(NAMES),), np.uint8), "boxes": ((2, 4), np.float32),
        "captions": ((CAPTIONS, LENGTH), np.uint16), "hidden": ((HIDDEN, LENGTH), np.uint16),
    }  # fmt: skip
    for name, (shape, kind) in shapes.items():
        np.lib.format.open_memmap(args.data / f"{name}.npy", "w+", kind, (args.frames, *shape))
    config = {"frames": args.frames, "width": args.width, "height": args.height, "seed": args.seed}
    tell(args.data / "progress", 0)
    tell(args.data / "config.json", json.dumps(config, indent=1))
    jobs = [(args, at, min(at + CHUNK, args.frames)) for at in range(0, args.frames, CHUNK)]
    done = 0
    with Pool(args.jobs) as pool:
        for count in pool.imap(make, jobs):
            done += count
            tell(args.data / "progress", done)
            if done % 4000 < CHUNK:
                print(f"{done} of {args.frames} frames", flush=True)
    (args.data / "progress").unlink()


if __name__ == "__main__":
    main()
