"""How far PyTorch in bf16 is from PyTorch in f32: the bar for kadr's bf16. Run stages.py first.

    python bf16.py

Writes golden/bf16.json. "stages": for each model and each output of stages.py the relative error, as vectors (l2) and at
its worst (max). "pictures": 50 prompts on models/mini with the PSNR of the 8-bit picture in bf16 against f32's.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from common import DATA, MINI, folders, load, relative, save_json
from stages import SIZES, text, unet, vae

SETTINGS = {"width": 192, "height": 128, "steps": 20, "guidance": 4, "sampler": "euler"}
FIRST_SEED = 500

# 50 prompts in the words that models/mini knows: every kind five times, with everything else going round.
KINDS = ["fox", "bear", "cat", "rabbit", "robot", "girl", "boy", "astronaut", "knight", "wizard"]
COLOURS = ["red", "orange", "yellow", "green", "blue", "purple", "pink", "white"]
ACTIONS = ["standing", "walking", "running", "sitting", "waving", "jumping"]
PLACES = ["in a forest", "on the beach", "in a city street", "in a living room", "on a grassy hill", "in the desert",
          "in a snow field", "on the moon", "in front of a castle", "in a classroom", "on a ship deck", "in a cave"]
TIMES = ["during the day", "at sunset", "at night"]
SHOTS = ["wide shot", "medium shot", "close-up"]


def prompts():
    return [f"{SHOTS[i % 3]} of one {COLOURS[i * 3 % 8]} {KINDS[i % 10]} {ACTIONS[(i + i // 10) % 6]} {PLACES[i * 7 % 12]} "
            f"{TIMES[(i // 2) % 3]}, storyboard frame" for i in range(50)]


def stage_errors(folder, golden):
    pipe = load(folder, torch.bfloat16)
    want = load_file(golden / "text.safetensors")
    got = text(pipe)
    out = {name: relative(got[name], want[name]) for name in ("hidden", "hidden2", "pooled")}
    for tag in SIZES:
        x = load_file(golden / f"unet_{tag}.safetensors")
        out[f"unet_{tag}.output"] = relative(unet(pipe, x), x["output"])
    x = load_file(golden / "vae.safetensors")
    got = vae(pipe, x)
    out["vae.picture"] = relative(got["picture"], x["picture"])
    out["vae.moments"] = relative(got["moments"], x["moments"])
    return out


def draw(pipe, prompt, seed):
    return np.asarray(pipe(prompt, width=SETTINGS["width"], height=SETTINGS["height"],
                           num_inference_steps=SETTINGS["steps"], guidance_scale=SETTINGS["guidance"],
                           generator=torch.Generator().manual_seed(seed)).images[0], dtype=np.float64)


def psnr(a, b):
    return float(10 * np.log10(255 ** 2 / max(((a - b) ** 2).mean(), 1e-9)))


class Convolution(torch.nn.Conv2d):
    """PyTorch's own in bf16 sums in f32 and rounds once, and so does this; on a processor that does not multiply bf16
    it is twenty times faster. Against PyTorch's own, single numbers round the other way where sums end near a half."""

    def forward(self, x):
        bias = None if self.bias is None else self.bias.float()
        return self._conv_forward(x.float(), self.weight.float(), bias).to(x.dtype)


def with_fast_convolutions(pipe):
    for module in (*pipe.unet.modules(), *pipe.vae.modules()):
        if type(module) is torch.nn.Conv2d:
            module.__class__ = Convolution
    return pipe


def picture_errors(own):
    exact, rough, out = load(MINI), load(MINI, torch.bfloat16), []
    if not own:
        rough = with_fast_convolutions(rough)
    for i, prompt in enumerate(prompts()):
        seed = FIRST_SEED + i
        out.append({"prompt": prompt, "seed": seed, "psnr": psnr(draw(rough, prompt, seed), draw(exact, prompt, seed))})
        print(i, round(out[-1]["psnr"], 2), prompt, flush=True)
    return out


@torch.no_grad()
def main(data, own):
    stages = {name: stage_errors(folder, data / "golden" / name) for name, folder in folders(data)}
    print(*(f"{m} {s} {e}" for m, x in stages.items() for s, e in x.items()), sep="\n", flush=True)
    pictures = picture_errors(own)
    save_json({"stages": stages, "settings": SETTINGS, "median_psnr": float(np.median([p["psnr"] for p in pictures])),
               "pictures": pictures}, data / "golden" / "bf16.json")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--own-convolutions", action="store_true", help="PyTorch's for pictures too: an hour or more")
    given = parser.parse_args()
    main(given.data, given.own_convolutions)
