"""Renders the training set: frames, identity references of the same characters, attributes and figure boxes.

    python dataset.py DATA --frames 40000 [--width 192 --height 128] [--jobs 2]

Frame i depends on the seed and i alone. Writes frames.npy, references.npy (squares of REFERENCE),
attributes.npy, boxes.npy and config.json.
"""

import argparse
import json
import random
from multiprocessing import Pool
from pathlib import Path

import numpy as np

from scenes.frame import render
from scenes.world import NAMES, sample, sample_reference, to_index

REFERENCE = 64  # side of a reference picture, as the image encoder sees it


def shrink(picture, side):
    """A square picture at `side`, by averaging whole blocks."""
    k = picture.shape[0] // side
    return picture[: k * side, : k * side].reshape(side, k, side, k, 3).mean((1, 3)).astype(np.uint8)


def make(job):
    folder, seed, begin, end, width, height = job
    files = {n: np.load(folder / f"{n}.npy", mmap_mode="r+") for n in ("frames", "references", "attributes", "boxes")}
    for i in range(begin, end):
        rng = random.Random(seed * 1_000_003 + i)
        a = sample(rng)
        frame = render(a, rng.getrandbits(40), width, height)
        side = max(REFERENCE, height // REFERENCE * REFERENCE)
        reference = render(sample_reference(a, rng), rng.getrandbits(40), side * 3 // 2, side, reference=True)
        files["frames"][i], files["boxes"][i] = frame.picture, frame.box
        files["references"][i] = shrink(reference.picture, REFERENCE)
        files["attributes"][i] = to_index(a)
    return end - begin


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--frames", type=int, default=40000)
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--height", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    if args.width % 8 or args.height % 8:
        parser.error("width and height must be divisible by 8")
    args.data.mkdir(parents=True, exist_ok=True)
    shapes = {
        "frames": ((args.height, args.width, 3), np.uint8), "references": ((REFERENCE, REFERENCE, 3), np.uint8),
        "attributes": ((len(NAMES),), np.int64), "boxes": ((4,), np.float32),
    }  # fmt: skip
    for name, (shape, kind) in shapes.items():
        np.lib.format.open_memmap(args.data / f"{name}.npy", "w+", kind, (args.frames, *shape))
    config = {"frames": args.frames, "width": args.width, "height": args.height, "seed": args.seed}
    (args.data / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    chunk = 500
    jobs = [
        (args.data, args.seed, at, min(at + chunk, args.frames), args.width, args.height)
        for at in range(0, args.frames, chunk)
    ]
    done = 0
    with Pool(args.jobs) as pool:
        for count in pool.imap_unordered(make, jobs):
            done += count
            print(f"\r{done} of {args.frames}", end="", flush=True)
    print()


if __name__ == "__main__":
    main()
