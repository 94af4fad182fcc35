"""What the scripts of this folder share: where things lie, models in f32, files in a fixed form."""

import json
import logging
import warnings
from pathlib import Path

import torch
from diffusers import StableDiffusionXLPipeline
from diffusers.utils import logging as diffusers_logging
from safetensors.torch import save_file
from transformers.utils import logging as transformers_logging

ROOT = Path(__file__).resolve().parents[2]
MINI = ROOT / "models" / "mini"
DATA = ROOT / "tests" / "data"

# One thread: sums are then always taken in the same order, and the scripts disturb nobody.
torch.set_num_threads(1)
warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)
diffusers_logging.disable_progress_bar()
transformers_logging.disable_progress_bar()


def folders(data):
    """Every model that has goldens: name and folder."""
    return [("mini", MINI)] + [(f.name, f) for f in sorted((data / "models").iterdir())]


def load(folder, dtype=torch.float32):
    """A pipeline whose parts all compute in `dtype`, whatever they are stored in."""
    pipe = StableDiffusionXLPipeline.from_pretrained(folder, torch_dtype=dtype)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def save(tensors, path):
    """Written for everybody to read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous() for k, v in tensors.items()}, path)
    path.chmod(0o644)


def save_json(value, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1) + "\n")


def relative(got, want):
    """Error of `got` as vectors (L2) and at its worst, against the size of `want`."""
    difference = (got.double() - want.double()).abs()
    return {"l2": float(difference.norm() / want.double().norm()),
            "max": float(difference.max() / want.double().abs().max())}
