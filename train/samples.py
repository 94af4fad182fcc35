"""A sheet of pictures by a model in training, with the loop of diffusers' Euler sampler: for looking, not for measuring.

    python samples.py runs/text runs/unet/unet runs/vae --out sheet.png [--count 24] [--size 384x256]
"""

import argparse
import random

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from PIL import Image

from common import as_pictures, autocast
from diffusion import ALPHAS, TIMES, Text
from scenes.captions import full_prompt
from scenes.world import sample

COLUMNS = 6


@torch.no_grad()
def draw(unet, text, texts, height, width, steps=20, guidance=4.0):
    device, count = text.device, len(texts)
    states, pooled = text(text.tokens(texts))
    states, pooled = torch.cat([states * 0, states]), torch.cat([pooled * 0, pooled])
    sizes = torch.tensor([height, width, 0, 0, height, width], device=device).float().expand(2 * count, 6)
    times = torch.arange(steps).flip(0) * (TIMES // steps) + 1
    sigmas = torch.cat([((1 - ALPHAS) / ALPHAS).sqrt()[times], torch.zeros(1)])
    generator = torch.Generator().manual_seed(1)
    z = torch.randn(count, 4, height // 8, width // 8, generator=generator).to(device) * (sigmas[0] ** 2 + 1).sqrt()
    for k, t in enumerate(times):
        x = (z / (sigmas[k] ** 2 + 1).sqrt()).repeat(2, 1, 1, 1)
        conditions = {"text_embeds": pooled, "time_ids": sizes}
        out = unet(x, t.to(device).expand(2 * count), states, added_cond_kwargs=conditions).sample.float()
        without, told = out.chunk(2)
        z = z + (without + guidance * (told - without)) * (sigmas[k + 1] - sigmas[k])
    return z


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("text", "unet", "vae"):
        parser.add_argument(name)
    parser.add_argument("--out", required=True)
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--size", default="384x256")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--bf16", action="store_true")
    args = parser.parse_args()
    width, height = map(int, args.size.split("x"))
    text = Text(args.text, args.device)
    unet = UNet2DConditionModel.from_pretrained(args.unet).float().to(args.device).eval()
    vae = AutoencoderKL.from_pretrained(args.vae).float().to(args.device).eval()
    rng = random.Random(5)
    wanted = [sample(rng, held=True, pair=i % 4 == 3) for i in range(args.count)]
    with autocast(args):
        z = draw(unet, text, [full_prompt(a) for a in wanted], height, width)
        pictures = as_pictures(torch.cat([vae.decode(part / vae.config.scaling_factor).sample for part in z.split(8)]))
    rows = [np.concatenate(pictures[at : at + COLUMNS], 1) for at in range(0, len(pictures), COLUMNS)]
    Image.fromarray(np.concatenate([row for row in rows if row.shape == rows[0].shape], 0)).save(args.out)
    for a in wanted:
        print(full_prompt(a))


if __name__ == "__main__":
    main()
