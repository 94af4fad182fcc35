"""Whether a final picture keeps its draft's composition: kadr draws boards, the judge reads side and shot.

    python composition.py --kadr ../build/kadr --judge runs/judge --out runs/composition [--prompts 50] [--strength 0.6]

Each prompt (of characters kept out of training) is a panel: drawn as a draft of half the size, finished from the draft's
latents, and drawn twice in full with two seeds. Structural similarity is that of the brightness in windows of 8x8
pixels; a draft is first made as large as its final picture. Writes the boards and result.json.
"""

import argparse
import json
import random
import subprocess
from pathlib import Path

import numpy as np
from PIL import Image

import judge as judging
from evaluate import interval
from scenes.captions import full_prompt
from scenes.world import NAMES, sample

SEED = 5000
WINDOW = 8


def pictures(folder, which, size):
    """Of each panel the version that `which` picks, as RGB of that size."""
    out = []
    for panel in json.loads((folder / "board.json").read_text())["boards"]:
        picture = Image.open(folder / which(panel["versions"])["url"]).convert("RGB")
        out.append(np.asarray(picture.resize(size, Image.LANCZOS)))
    return np.stack(out)


def similarity(a, b):
    """Mean SSIM (Wang et al. 2004) of two lists of pictures."""
    def windows(x):
        grey = x.astype(float) @ [0.299, 0.587, 0.114]
        n, h, w = grey.shape
        return grey.reshape(n, h // WINDOW, WINDOW, w // WINDOW, WINDOW).transpose(0, 1, 3, 2, 4).reshape(-1, WINDOW * WINDOW)
    a, b = windows(a), windows(b)
    ma, mb = a.mean(1), b.mean(1)
    cov = ((a - ma[:, None]) * (b - mb[:, None])).mean(1)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    return float(((2 * ma * mb + c1) * (2 * cov + c2) / ((ma**2 + mb**2 + c1) * (a.var(1) + b.var(1) + c2))).mean())


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kadr", default="kadr")
    parser.add_argument("--judge", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--prompts", type=int, default=50)
    parser.add_argument("--strength", default="0.6")
    parser.add_argument("--size", default="384x256")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    rng = random.Random(7)
    panels = [{"number": str(i + 1), "prompt": full_prompt(sample(rng, held=True, pair=False))} for i in range(args.prompts)]
    board = args.out / "story.json"
    board.write_text(json.dumps({"kadr_board": 1, "boards": panels}, indent=1))
    size = tuple(map(int, args.size.split("x")))

    def draw(folder, *options):
        subprocess.run([args.kadr, "board", "draw", board, "-o", folder, "-W", str(size[0]), "-H", str(size[1]), "-q", *options],
                       check=True, stdout=subprocess.DEVNULL)

    draw(args.out / "drafted", "--draft", "--seed", str(SEED))
    draw(args.out / "drafted", "--final", "--seed", str(SEED), "--strength", args.strength)
    for name, seed in (("one", SEED), ("two", SEED + 1000)):
        draw(args.out / name, "--seed", str(seed))
    newest = lambda versions: versions[-1]
    drafts, finals = pictures(args.out / "drafted", lambda v: v[0], size), pictures(args.out / "drafted", newest, size)
    one, two = pictures(args.out / "one", newest, size), pictures(args.out / "two", newest, size)
    judge = judging.load(args.judge)
    seen = {name: judging.read(judge, x) for name, x in (("drafts", drafts), ("finals", finals), ("one", one), ("two", two))}
    result = {"prompts": args.prompts, "strength": float(args.strength), "size": args.size,
              "similarity": {"draft and final": round(similarity(drafts, finals), 3), "two seeds": round(similarity(one, two), 3)}}
    for name in ("side", "shot"):
        k = NAMES.index(name)
        part = float((seen["drafts"][:, k] == seen["finals"][:, k]).mean())
        result[name] = {"unchanged": round(part, 3), "within": interval(part, args.prompts),
                        "two seeds": round(float((seen["one"][:, k] == seen["two"][:, k]).mean()), 3)}
    (args.out / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
