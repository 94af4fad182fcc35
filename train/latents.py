"""Latents of the rendered frames, once, and the VAE's scaling factor (their deviation becomes 1).

    python latents.py DATA VAE [--frames 16384] [--keep-scale]

Writes DATA/latents.npy (f16, scaled). --keep-scale: for a VAE whose UNet exists already.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL

from common import Data, as_tensor

BATCH = 32


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data")
    parser.add_argument("vae", type=Path)
    parser.add_argument("--frames", type=int, help="how many (default: all)")
    parser.add_argument("--keep-scale", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    data = Data(args.data)
    count = min(args.frames or len(data), len(data))
    vae = AutoencoderKL.from_pretrained(args.vae).to(args.device, memory_format=torch.channels_last).eval()
    latents = np.empty((count, 4, data.height // 8, data.width // 8), np.float32)
    with torch.no_grad():
        for at in range(0, count, BATCH):
            x = as_tensor(data.frames[at : min(at + BATCH, count)], args.device)
            latents[at : at + len(x)] = vae.encode(x).latent_dist.mean.cpu().numpy()
            print(f"\r{at + len(x)} of {count}", end="", flush=True)
    print()
    path = args.vae / "config.json"
    config = json.loads(path.read_text())
    if not args.keep_scale:
        config["scaling_factor"] = round(float(1 / latents.std()), 5)
        path.write_text(json.dumps(config, indent=2) + "\n")
    np.save(data.folder / "latents.npy", (latents * config["scaling_factor"]).astype(np.float16))
    print("scaling factor", config["scaling_factor"])


if __name__ == "__main__":
    main()
