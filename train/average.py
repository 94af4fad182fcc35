"""The mean of weights: of a UNet with its lock before and after the end of its training, say.

    python average.py runs/unet runs/high --out runs/mean

Weights that began as the same and were trained apart lie in one valley, and what is between them is often better than
either. All come from unet.py; the image encoder, which is the same in all, is copied.
"""

import argparse
import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file

UNET, ADAPTER = "unet/diffusion_pytorch_model.safetensors", "ip-adapter-plus_kadr.safetensors"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    for part in ("unet", "vision"):
        shutil.copytree(args.folders[-1] / part, args.out / part, dirs_exist_ok=True)
    for name in (UNET, ADAPTER):
        all_of = [load_file(folder / name) for folder in args.folders]
        # Trained weights are kept in f32, what ships in f16; the UNet's are rounded when they are put together.
        kept = {key: w.dtype for key, w in all_of[-1].items()}
        mean = {key: sum(one[key].float() for one in all_of) / len(all_of) for key in kept}
        save_file({key: w.to(kept[key]).contiguous() for key, w in mean.items()}, args.out / name)


if __name__ == "__main__":
    main()
