"""How well a cast keeps its character: kadr makes casts and draws them in new scenes, the judge reads.

    python identity.py --kadr ../build/kadr --judge runs/judge --out runs/identity [--model ../models/mini]
                       [--characters 12] [--scenes 5] [--pairs] [--no-side] [-- --steps 20 ...]

The characters' (kind, colour, accessory) were kept out of training, their references are renders of another scene. The
prompts say only "the character". --pairs: two of them at a time, "two friends", each with its region. --no-side: the prompts do not say where
the character is, which is when it comes twice most. Every scene is drawn with the lock and without it, with the same seed. Options after
-- go to `kadr generate`. Writes casts, pictures, scenes.json, sheet.png and result.json.
"""

import argparse
import json
import random
import subprocess
from pathlib import Path

import numpy as np
from PIL import Image

import judge as judging
from evaluate import interval, sheet
from scenes.captions import full_prompt
from scenes.frame import render
from scenes.world import IDENTITY, NAMES, sample, sample_reference, to_index

SEED = 3000


def run(args, *words):
    subprocess.run([args.kadr, *map(str, words)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def characters(args, rng):
    """Attributes of each character; its cast is made where it is not there yet."""
    out = []
    for i in range(args.characters):
        a = sample(rng, held=True, pair=False)
        reference = render(sample_reference(a, rng), SEED + i, reference=True).picture
        path = args.out / "references" / f"c{i:02}.png"
        Image.fromarray(reference).save(path)
        if not (args.out / "casts" / f"c{i:02}.cast").exists():
            run(args, "cast", "add", f"c{i:02}", path, "--cast-folder", args.out / "casts", *args.at)
        out.append(a)
    return out


def scene_of(rng, a, b):
    """A new scene with character a, and b on the other side where there is one."""
    scene = {**sample(rng, pair=b is not None), **{name: a[name] for name in IDENTITY}, "weather": "clear"}
    if b:
        scene |= {name + "2": b[name] for name in IDENTITY}
    return scene


def kept(seen, asked):
    """Parts of the pictures where each attribute is the character's; an accessory's colour where it has one."""
    out = {}
    for name in IDENTITY:
        k, rows = NAMES.index(name), judging.counted(asked, name)
        part = float((seen[rows, k] == asked[rows, k]).mean())
        out[name] = {"kept": round(part, 3), "within": interval(part, int(rows.sum()))}
    def together(names):
        columns = [NAMES.index(name) for name in names]
        part = float((seen[:, columns] == asked[:, columns]).all(1).mean())
        return {"kept": round(part, 3), "within": interval(part, len(asked))}

    out["kind and colour"] = together(["kind", "col"])
    out["kind, colour and accessory"] = together(["kind", "col", "acc"])
    second = NAMES.index("kind2")
    if not asked[:, second].any():
        out["twice"] = int((seen[:, second] > 0).sum())
    else:
        out["kind and colour of both"] = together(["kind", "col", "kind2", "col2"])
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kadr", default="kadr")
    parser.add_argument("--model")
    parser.add_argument("--judge", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--characters", type=int, default=12)
    parser.add_argument("--scenes", type=int, default=5)
    parser.add_argument("--pairs", action="store_true", help="two characters at a time")
    parser.add_argument("--no-side", action="store_true", help="prompts do not say on which side")
    parser.add_argument("options", nargs="*", help="for kadr generate, after --")
    args = parser.parse_args()
    args.at = ["-m", args.model] if args.model else []
    for name in ("references", "casts", "on", "off"):
        (args.out / name).mkdir(parents=True, exist_ok=True)
    rng = random.Random(99)
    who = characters(args, rng)
    scenes, paths = [], {"on": [], "off": []}
    for i, a in enumerate(who):
        other = (i + 1) % len(who)
        for j in range(args.scenes):
            scene = scene_of(rng, a, who[other] if args.pairs else None)
            regions = {"left": "right", "right": "left"}
            casts = [f"c{i:02}@{scene['side']}", f"c{other:02}@{regions[scene['side']]}"] if args.pairs else [f"c{i:02}"]
            prompt = full_prompt(scene, "two friends" if args.pairs else "the character", not args.no_side)
            scenes.append({"casts": casts, "prompt": prompt, "asked": to_index(scene)})
            flags = [word for cast in casts for word in ("--cast", cast)]
            for lock in ("on", "off"):
                path = args.out / lock / f"{i:02}_{j}.png"
                paths[lock].append(path)
                if not path.exists():
                    run(args, "generate", prompt, "--seed", SEED + i * 100 + j, "-o", path, "--quiet", *flags,
                        "--cast-folder", args.out / "casts", "--identity-lock", lock, *args.at, *args.options)
            print(f"\r{len(scenes)} of {len(who) * args.scenes}", end="", flush=True)
    (args.out / "scenes.json").write_text(json.dumps(scenes, indent=1) + "\n")
    judge, asked = judging.load(args.judge), judging.left_first(np.array([s["asked"] for s in scenes]))
    result = {"pictures": len(scenes)}
    for lock in paths:
        drawn = np.stack([np.asarray(Image.open(p).convert("RGB")) for p in paths[lock]])
        seen = judging.read(judge, drawn)
        np.save(args.out / f"{lock}.npy", seen)
        place = float((seen[:, NAMES.index("place")] == asked[:, NAMES.index("place")]).mean())
        result[lock] = kept(seen, asked) | {"place": round(place, 3)}
        sheet(paths[lock]).save(args.out / f"sheet-{lock}.png")
    (args.out / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    print("\n" + json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
