"""A model of SDXL's full shape with random f16 weights (6.9 GB), and what diffusers computes with it in f32.

    python fullshape.py model FOLDER      makes the model, a diffusers folder; a few minutes
    python fullshape.py golden FOLDER OUT   writes text, unet_a (64x64 latents), unet_b and vae as stages.py does

The second needs about 14 GB of memory for the UNet; the parts are loaded one after the other.
"""

import argparse
import shutil
from pathlib import Path
from types import SimpleNamespace

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from common import MINI, ROOT, save, save_json
from models import draw_parameter
from stages import generators, text, unet_golden, vae_golden

VOCABULARY = 49408
SIZES = {"a": (64, 64), "b": (13, 22)}
VAE_SIZE = (64, 64)

UNET = dict(
    sample_size=128, in_channels=4, out_channels=4, block_out_channels=(320, 640, 1280), layers_per_block=2,
    down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), transformer_layers_per_block=[1, 2, 10],
    attention_head_dim=[5, 10, 20], cross_attention_dim=2048, use_linear_projection=True,
    addition_embed_type="text_time", addition_time_embed_dim=256, projection_class_embeddings_input_dim=2816)
VAE = dict(latent_channels=4, block_out_channels=(128, 256, 512, 512), layers_per_block=2, sample_size=1024,
           down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4, scaling_factor=0.13025)
TEXT = dict(vocab_size=VOCABULARY, bos_token_id=VOCABULARY - 2, eos_token_id=VOCABULARY - 1)
TEXT_1 = dict(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12,
              hidden_act="quick_gelu", projection_dim=768, pad_token_id=VOCABULARY - 1)
TEXT_2 = dict(hidden_size=1280, intermediate_size=5120, num_hidden_layers=32, num_attention_heads=20, hidden_act="gelu",
              projection_dim=1280, pad_token_id=0)

PARTS = {
    "text_encoder": (lambda: CLIPTextModel(CLIPTextConfig(**TEXT, **TEXT_1)), "model"),
    "text_encoder_2": (lambda: CLIPTextModelWithProjection(CLIPTextConfig(**TEXT, **TEXT_2)), "model"),
    "unet": (lambda: UNet2DConditionModel(**UNET), "diffusion_pytorch_model"),
    "vae": (lambda: AutoencoderKL(**VAE), "diffusion_pytorch_model"),
}


def make_part(folder, name, seed):
    """Never more than the f16 weights of one part and one tensor in f32 in memory."""
    build, file = PARTS[name]
    with torch.device("meta"):
        module = build()
    generator = torch.Generator().manual_seed(seed)
    tensors = {n: draw_parameter(n, p.shape, generator).half() for n, p in module.named_parameters()}
    out = folder / name
    out.mkdir(parents=True, exist_ok=True)
    if hasattr(module, "save_config"):
        module.save_config(out)
    else:
        module.config.architectures = [type(module).__name__]
        module.config.save_pretrained(out)
    save_file(tensors, out / f"{file}.safetensors", metadata={"format": "pt"})
    print(name, round(sum(p.numel() for p in tensors.values()) / 1e6), "M parameters", flush=True)


def make_tokenizers(folder):
    """CLIP's vocabulary from data/clip: 256 bytes, the same at the end of a word, the merges, two marks."""
    merges = (ROOT / "data" / "clip" / "merges.txt").read_text(encoding="utf-8").splitlines()[1:]
    letters = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in letters]
    signs = [chr(b) for b in letters] + [chr(256 + i) for i in range(len(others))]
    vocabulary = signs + [s + "</w>" for s in signs] + [m.replace(" ", "") for m in merges]
    vocabulary += ["<|startoftext|>", "<|endoftext|>"]
    assert len(vocabulary) == VOCABULARY
    marks = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    for name, padding in (("tokenizer", "<|endoftext|>"), ("tokenizer_2", "!")):
        out = folder / name
        out.mkdir(parents=True, exist_ok=True)
        save_json({token: i for i, token in enumerate(vocabulary)}, out / "vocab.json")
        (out / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n", encoding="utf-8")
        save_json(marks | {"pad_token": padding, "tokenizer_class": "CLIPTokenizer", "model_max_length": 77},
                  out / "tokenizer_config.json")


def make(folder):
    for i, name in enumerate(PARTS):
        make_part(folder, name, 100 + i)
    make_tokenizers(folder)
    shutil.copytree(MINI / "scheduler", folder / "scheduler", dirs_exist_ok=True)
    shutil.copy(MINI / "model_index.json", folder)


def part(folder, name):
    """In f32, one part at a time."""
    kind = {"text_encoder": CLIPTextModel, "text_encoder_2": CLIPTextModelWithProjection, "unet": UNet2DConditionModel,
            "vae": AutoencoderKL}[name]
    return kind.from_pretrained(folder / name, torch_dtype=torch.float32).eval()


@torch.no_grad()
def golden(folder, out):
    generator = generators()
    tokenizers = {name: CLIPTokenizer.from_pretrained(folder / name) for name in ("tokenizer", "tokenizer_2")}
    encoders = {name: part(folder, name) for name in ("text_encoder", "text_encoder_2")}
    save(text(SimpleNamespace(**tokenizers, **encoders)), out / "text.safetensors")
    del encoders
    vae_golden(SimpleNamespace(vae=part(folder, "vae")), out, *VAE_SIZE, generator["vae"])
    pipe = SimpleNamespace(unet=part(folder, "unet"))
    for tag, (h, w) in SIZES.items():
        unet_golden(pipe, out, tag, h, w, generator["unet_" + tag])
        print("unet", h, w, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, dest="command")
    commands.add_parser("model").add_argument("folder", type=Path)
    with_out = commands.add_parser("golden")
    with_out.add_argument("folder", type=Path)
    with_out.add_argument("out", type=Path)
    with_out.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    if given.command == "model":
        make(given.folder)
    else:
        torch.set_num_threads(given.threads)
        golden(given.folder, given.out)
