"""How often the model draws what is asked: kadr draws, the judge reads.

    python evaluate.py --kadr ../build/kadr --judge runs/judge --out runs/evaluation [--model ../models/mini]
                       [--prompts 500] [--pairs] [--render] [-- --steps 4 --guidance 1 --lora ...]

The prompts' (kind, colour, accessory) were kept out of training; prompt i is drawn with seed 1000 + i, so two models
or two settings are compared on the same prompts and noise. Pictures that are there already are not drawn again.
--pairs: every prompt is about two characters, one on each side. --render judges true renders of the same frames instead: the ceiling that the judge itself sets. Options after -- go
to `kadr generate`. Writes pictures, sheet.png, prompts.txt and result.json.
"""

import argparse
import json
import math
import random
import subprocess
import time
from pathlib import Path

import numpy as np
from PIL import Image

import judge as judging
from scenes.captions import full_prompt
from scenes.frame import render
from scenes.world import NAMES, sample, to_index

SIX = ("kind", "col", "acc", "place", "time", "shot")
SEED = 1000
SHEET = 48  # pictures on the sheet


def interval(part, count):
    """Half of a 95 % interval of a part measured on so many pictures."""
    return round(1.96 * math.sqrt(max(part * (1 - part), 1e-9) / count), 3)


def summary(seen, asked):
    """Accuracy of every field, of the six that count together, and of kind, colour and accessory together."""
    right = seen == asked
    six = right[:, [NAMES.index(name) for name in SIX]].all(1)
    who, other = (right[:, [NAMES.index(name + end) for name in ("kind", "col", "acc")]].all(1) for end in ("", "2"))
    out = judging.accuracy(seen, asked)
    out.pop("prop")  # the prompts do not name it
    out |= {"all six": round(float(six.mean()), 3), "identity": round(float(who.mean()), 3)}
    if (pairs := asked[:, NAMES.index("kind2")] > 0).any():
        out["both identities"] = round(float((who & other)[pairs].mean()), 3)
    out["within"] = {name: interval(value, len(asked)) for name, value in out.items() if value is not None}
    return out


def draw(args, i, a, path):
    """One picture by kadr; gives back the seconds that it took."""
    command = [args.kadr, "generate", full_prompt(a), "--seed", str(SEED + i), "-o", str(path), "--quiet"]
    command += ["-m", args.model] if args.model else []
    began = time.monotonic()
    subprocess.run([*command, *args.options], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def sheet(paths, columns=6):
    """A contact sheet of the first pictures."""
    pictures = [Image.open(path).convert("RGB") for path in paths[:SHEET]]
    w, h = pictures[0].size
    out = Image.new("RGB", (columns * w, -(-len(pictures) // columns) * h))
    for k, picture in enumerate(pictures):
        out.paste(picture, (k % columns * w, k // columns * h))
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kadr", default="kadr")
    parser.add_argument("--model")
    parser.add_argument("--judge", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--prompts", type=int, default=500)
    parser.add_argument("--pairs", action="store_true", help="two characters a prompt")
    parser.add_argument("--render", action="store_true", help="judge renders of the same frames")
    parser.add_argument("options", nargs="*", help="for kadr generate, after --")
    args = parser.parse_args()
    pictures = args.out / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    judge = judging.load(args.judge)
    size = json.loads((args.judge / "config.json").read_text())
    rng = random.Random(4242)
    wanted = [sample(rng, held=True, pair=args.pairs) for _ in range(args.prompts)]
    (args.out / "prompts.txt").write_text("".join(f"{i:04} {full_prompt(a)}\n" for i, a in enumerate(wanted)))
    paths, seconds = [pictures / f"{i:04}.png" for i in range(len(wanted))], []
    for i, (a, path) in enumerate(zip(wanted, paths)):
        if path.exists():
            continue
        if args.render:
            Image.fromarray(render(a, SEED + i, size["width"], size["height"]).picture).save(path)
        else:
            seconds.append(draw(args, i, a, path))
            print(f"\r{i + 1} of {len(wanted)}", end="", flush=True)
    drawn = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in paths])
    asked = judging.left_first(np.array([to_index(a) for a in wanted]))
    result = {"pictures": len(paths), **summary(judging.read(judge, drawn), asked)}
    if seconds:
        result["seconds a picture, median"] = round(float(np.median(seconds)), 2)
    own = args.judge / "accuracy.json"
    if own.exists():
        result["the judge itself"] = json.loads(own.read_text())
    (args.out / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    sheet(paths).save(args.out / "sheet.png")
    print("\n" + json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
