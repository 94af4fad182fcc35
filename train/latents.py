"""Latents of the rendered frames at full and half size, once; the VAE's scaling factor (their deviation becomes 1) and look.

    python latents.py DATA runs/vae

Writes DATA/latents.npy and DATA/small.npy (f16, scaled) and prints how well unseen frames come back. --keep leaves the VAE's
own scaling factor: for a UNet that goes on from one that knows these latents.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch.nn import functional as F

from common import Data, as_tensor, made

BATCH, CHUNK = 64, 1024  # encoded, and brought to the device, at a time
CHECKED = 256  # frames whose way there and back is measured


def psnr(vae, x):
    back = torch.cat([vae.decode(vae.encode(part).latent_dist.mean).sample for part in x.split(16)]).clamp(-1, 1)
    return float(-10 * torch.log10((back.float() - x).pow(2).mean((1, 2, 3)) / 4).mean())


def look(latents, x):
    """The linear map from a latent place (and 1) to its mean colour, row by row: kadr's previews are drawn with it."""
    given = torch.cat([latents, torch.ones_like(latents[:, :1])], 1).permute(0, 2, 3, 1).flatten(0, 2)
    colours = F.avg_pool2d(x, 8).permute(0, 2, 3, 1).flatten(0, 2)
    return [round(v, 4) for v in torch.linalg.lstsq(given, colours).solution.flatten().tolist()]


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data")
    parser.add_argument("vae", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--wait", action="store_true", help="for frames and VAE that are still being made")
    parser.add_argument("--keep", action="store_true", help="the scaling factor that the VAE has")
    parser.add_argument("--half", action="store_true", help="encode in f16: twice as fast on a GPU")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    data = Data(args.data, args.wait, growing=args.wait)
    data.until(min(CHECKED, len(data)))
    made(args.vae / "done", args.wait)
    vae = AutoencoderKL.from_pretrained(args.vae).to(args.device, memory_format=torch.channels_last).eval()
    checked = as_tensor(data.frames[: min(CHECKED, len(data))], args.device)
    print(f"PSNR {psnr(vae, checked):.2f} dB, of half the size {psnr(vae, F.avg_pool2d(checked, 2)):.2f} dB", flush=True)
    vae = vae.half() if args.half else vae
    parts = {"latents": [], "small": []}
    for at in range(0, len(data), CHUNK):
        data.until(min(at + CHUNK, len(data)))
        for frames in torch.from_numpy(data.frames[at : at + CHUNK].copy()).to(args.device).split(BATCH):
            x = as_tensor(frames, args.device)
            for name, seen in (("latents", x), ("small", F.avg_pool2d(x, 2))):
                parts[name].append(vae.encode(seen.to(vae.dtype)).latent_dist.mean.float())
    latents = {name: torch.cat(x) for name, x in parts.items()}
    scale = vae.config.scaling_factor
    if not args.keep:
        scale = round(float(1 / latents["latents"].std()), 5)
        found = {"scaling_factor": scale, "latent_rgb": look(latents["latents"][:CHECKED] * scale, checked)}
        path = args.vae / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | found, indent=2) + "\n")
    for name, x in latents.items():
        np.save(data.folder / f"{name}.new.npy", (x * scale).half().cpu().numpy())
        (data.folder / f"{name}.new.npy").rename(data.folder / f"{name}.npy")
    print("scaling factor", scale)


if __name__ == "__main__":
    main()
