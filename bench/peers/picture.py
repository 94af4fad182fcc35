#!/usr/bin/env python3
"""A whole picture, from the start of a process to the PNG: kadr beside diffusers.

    python picture.py measure RESULTS ENGINE --model MODEL [--steps 4] [--size 768] [--kadr KADR] [-- OPTION ...]
    python picture.py table RESULTS         best of each engine, and what a run of --more steps would take

ENGINE is kadr or diffusers; MODEL a diffusers folder (kadr: also a packed file). Both draw the same words with Euler, guidance
6.5, two threads and bf16, as the preset balanced does. The model's files are put out of the page cache before, so that each
run reads them from the disk. Options behind -- go to kadr. Runs of two numbers of steps tell what a step takes and what all
else takes.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

PROMPT, GUIDANCE, THREADS = "a red fox runs through a forest at night", 6.5, 2


def evict(model):
    """Out of the page cache: what is not, is read for nothing by the first run only."""
    path = pathlib.Path(model)
    for file in [path] if path.is_file() else [f for f in path.rglob("*") if f.is_file()]:
        fd = os.open(file, os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)


def by_diffusers(args):
    import torch
    from diffusers import StableDiffusionXLPipeline

    torch.set_num_threads(THREADS)
    pipe = StableDiffusionXLPipeline.from_pretrained(args.model, torch_dtype=torch.bfloat16)
    pipe.set_progress_bar_config(disable=True)
    picture = pipe(PROMPT, height=args.size, width=args.size, num_inference_steps=args.steps, guidance_scale=GUIDANCE,
                   generator=torch.Generator().manual_seed(1)).images[0]
    picture.save(args.out)


def command(args, out):
    size, steps = str(args.size), str(args.steps)
    if args.engine == "kadr":
        return [args.kadr, "generate", PROMPT, "-m", args.model, "-W", size, "-H", size, "--steps", steps, "--guidance",
                str(GUIDANCE), "--threads", str(THREADS), "--seed", "1", "-q", "-o", out, *args.options]
    return [sys.executable, __file__, "draw", "diffusers", "--model", args.model, "--size", size, "--steps", steps,
            "--out", out]


def measure(args):
    evict(args.model)
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "out.png")
        began = time.monotonic()
        subprocess.run(command(args, out), check=True, stdout=subprocess.DEVNULL)
        seconds = time.monotonic() - began
        if not os.path.exists(out):
            sys.exit("no picture")
        told = pathlib.Path(folder) / "out.kadr.json"  # kadr's own account: encode, denoise, decode
        report = json.loads(told.read_text())["report"] if told.exists() else {}
    result = {"engine": " ".join([args.engine, *args.options]), "size": args.size, "steps": args.steps, "seconds": seconds}
    result |= {k: v for k, v in report.items() if k.startswith("seconds_")}
    print(json.dumps(result))
    with open(args.results, "a") as file:
        file.write(json.dumps(result) + "\n")


def table(args):
    runs = [json.loads(line) for line in open(args.results)]
    print(f"| engine | size | steps: seconds | a step | all else | {args.more} steps |\n|---|---|---|---|---|---|")
    for engine, size in dict.fromkeys((r["engine"], r["size"]) for r in runs):
        best = {}
        for r in runs:
            if (r["engine"], r["size"]) == (engine, size):
                best[r["steps"]] = min(r["seconds"], best.get(r["steps"], 1e9))
        told = ", ".join(f"{n}: {s:.1f}" for n, s in sorted(best.items()))
        few, many = min(best), max(best)
        step = (best[many] - best[few]) / (many - few) if many > few else 0
        rest = best[few] - few * step
        far = f"{step:.1f} s | {rest:.1f} s | {rest + args.more * step:.0f} s" if step else " | | "
        print(f"| {engine} | {size} | {told} | {far} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("measure", "draw"):
        p = commands.add_parser(name)
        if name == "measure":
            p.add_argument("results")
        p.add_argument("engine", choices=["kadr", "diffusers"])
        p.add_argument("--model", required=True)
        p.add_argument("--size", type=int, default=768)
        p.add_argument("--steps", type=int, default=4)
        p.add_argument("--kadr", default="build/kadr")
        p.add_argument("--out")
    p = commands.add_parser("table")
    p.add_argument("results")
    p.add_argument("--more", type=int, default=12)
    given = sys.argv[1:]
    cut = given.index("--") if "--" in given else len(given)
    args = parser.parse_args(given[:cut])
    args.options = given[cut + 1:]
    {"measure": measure, "draw": by_diffusers, "table": table}[args.command](args)


if __name__ == "__main__":
    main()
