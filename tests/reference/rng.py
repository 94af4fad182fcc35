"""Makes tests/data/rng/normals.safetensors: what torch's CPU generator gives.

    python tests/reference/rng.py

Named seed/index/count: the (index + 1)-th of successive torch.randn(count) calls of one generator.
Long ones are kept by their first and last 48 numbers, where sizes not divisible by 16 differ.
"""
from pathlib import Path

import torch
from safetensors.torch import save_file

OUT = Path(__file__).resolve().parents[1] / "data" / "rng" / "normals.safetensors"
SEEDS = (0, 1, 42, 2**32 - 1, 2**32 + 5, 2**63 + 11)
COUNTS = (1, 2, 7, 15, 16, 17, 31, 32, 33, 100, 625, 16385)
EDGE = 48


def main():
    torch.set_num_threads(1)
    tensors = {}
    for seed in SEEDS:
        for count in COUNTS:
            generator = torch.Generator().manual_seed(seed)
            for index in range(4):
                numbers = torch.randn(count, generator=generator)
                kept = numbers if count <= 2 * EDGE else torch.cat([numbers[:EDGE], numbers[-EDGE:]])
                if index in (0, 3):
                    tensors[f"{seed}/{index}/{count}"] = kept
    OUT.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, OUT)
    OUT.chmod(0o644)


if __name__ == "__main__":
    main()
