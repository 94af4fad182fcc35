"""Tiny SDXL models of different shapes with random weights, as diffusers folders.

    python models.py

No size of theirs is SDXL's own, so that nothing in the engine can take one for granted. Weights are
drawn so that activations keep a healthy size through the network. Their tokenizers are not made anew: another
vocabulary would change everything that is compared.
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from common import DATA, MINI

MODELS = {
    # Odd head widths, three levels of different depth, f32.
    "tiny-a": dict(
        seed=1, dtype=torch.float32,
        text=[dict(width=24, layers=3, heads=2, inner=56, act="quick_gelu"),
              dict(width=40, layers=4, heads=4, inner=88, act="gelu", projection=36)],
        unet=dict(block_out_channels=(12, 18, 24), layers_per_block=2, norm_num_groups=6,
                  down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
                  up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
                  transformer_layers_per_block=[1, 2, 3], attention_head_dim=[2, 3, 2],
                  use_linear_projection=True, addition_time_embed_dim=10),
        vae=dict(block_out_channels=(6, 12, 18, 18), layers_per_block=2, norm_num_groups=6),
        scheduler=dict(prediction_type="epsilon")),
    # Two levels, one layer, 1x1 convolutions as projections, v-prediction, f16, sharded, old key style.
    "tiny-b": dict(
        seed=2, dtype=torch.float16, shards=3, old_keys=True,
        text=[dict(width=32, layers=2, heads=4, inner=64, act="quick_gelu"),
              dict(width=32, layers=3, heads=1, inner=96, act="quick_gelu", projection=20)],
        unet=dict(block_out_channels=(16, 40), layers_per_block=1, norm_num_groups=8,
                  down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
                  up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
                  transformer_layers_per_block=2, attention_head_dim=8,
                  use_linear_projection=False, addition_time_embed_dim=12),
        vae=dict(block_out_channels=(8, 16, 16, 24), layers_per_block=1, norm_num_groups=4),
        # With DDIM's settings that SDXL's own configuration holds.
        scheduler=dict(prediction_type="v_prediction", clip_sample=False, set_alpha_to_one=False)),
    # Attention on every level, bf16 weights, a VAE without quantisation convolutions.
    "tiny-c": dict(
        seed=3, dtype=torch.bfloat16,
        text=[dict(width=16, layers=2, heads=2, inner=32, act="quick_gelu"),
              dict(width=20, layers=2, heads=2, inner=44, act="gelu", projection=16)],
        unet=dict(block_out_channels=(8, 12, 20, 24), layers_per_block=[1, 2, 1, 1], norm_num_groups=4,
                  down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
                  up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
                  transformer_layers_per_block=[1, 1, 2, 1], attention_head_dim=[1, 2, 4, 3],
                  use_linear_projection=True, addition_time_embed_dim=8),
        vae=dict(block_out_channels=(8, 8, 16, 16), layers_per_block=1, norm_num_groups=2,
                 use_quant_conv=False, use_post_quant_conv=False),
        scheduler=dict(prediction_type="epsilon", timestep_spacing="trailing")),
    # As small as can be: every allocation of a whole run is made to fail.
    "micro": dict(
        seed=4, dtype=torch.float32,
        text=[dict(width=4, layers=2, heads=1, inner=8, act="quick_gelu"),
              dict(width=4, layers=2, heads=1, inner=8, act="gelu", projection=4)],
        unet=dict(block_out_channels=(4, 8), layers_per_block=1, norm_num_groups=2,
                  down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
                  up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
                  transformer_layers_per_block=1, attention_head_dim=2,
                  use_linear_projection=True, addition_time_embed_dim=4),
        vae=dict(block_out_channels=(4, 4, 4, 4), layers_per_block=1, norm_num_groups=2),
        scheduler=dict(prediction_type="epsilon")),
}


def draw_parameter(name, shape, generator):
    """Matrices keep the variance of what goes through; vectors are near their neutral values."""
    noise = torch.randn(shape, generator=generator)
    if noise.ndim >= 2 and "embedding" not in name.split(".")[-2]:
        return noise / noise[0].numel() ** 0.5
    if noise.ndim >= 2:
        return noise * 0.5
    return 1 + 0.2 * noise if name.endswith("weight") else 0.1 * noise


def randomize(module, generator):
    for name, p in module.named_parameters():
        p.data = draw_parameter(name, p.shape, generator)
    return module.eval()


def text_encoder(spec, vocabulary):
    config = CLIPTextConfig(
        vocab_size=vocabulary, hidden_size=spec["width"], intermediate_size=spec["inner"],
        num_hidden_layers=spec["layers"], num_attention_heads=spec["heads"], hidden_act=spec["act"],
        projection_dim=spec.get("projection", spec["width"]), max_position_embeddings=77,
        bos_token_id=vocabulary - 2, eos_token_id=vocabulary - 1, pad_token_id=vocabulary - 1)
    return (CLIPTextModelWithProjection if "projection" in spec else CLIPTextModel)(config)


def shard(folder, count):
    """diffusion_pytorch_model.safetensors -> an index and `count` files."""
    whole = folder / "diffusion_pytorch_model.safetensors"
    tensors = load_file(whole)
    names, weight_map = sorted(tensors), {}
    for i in range(count):
        part = {n: tensors[n] for n in names[i::count]}
        file = f"diffusion_pytorch_model-{i + 1:05}-of-{count:05}.safetensors"
        save_file(part, folder / file, metadata={"format": "pt"})
        weight_map.update({n: file for n in part})
    size = sum(t.numel() * t.element_size() for t in tensors.values())
    (folder / "diffusion_pytorch_model.safetensors.index.json").write_text(
        json.dumps({"metadata": {"total_size": size}, "weight_map": weight_map}, indent=1))
    whole.unlink()


def use_old_keys(file):
    """transformers 4 wrote every key of a text encoder with text_model. in front."""
    tensors = load_file(file)
    named = {n if n.startswith(("text_model.", "text_projection")) else "text_model." + n: t for n, t in tensors.items()}
    save_file(named, file, metadata={"format": "pt"})


def make(name, spec, root):
    folder = root / name
    for part in ("text_encoder", "text_encoder_2", "unet", "vae", "scheduler"):
        shutil.rmtree(folder / part, ignore_errors=True)
    generator = torch.Generator().manual_seed(spec["seed"])
    vocabulary = len(json.loads((folder / "tokenizer" / "vocab.json").read_text()))
    encoders = [randomize(text_encoder(s, vocabulary), generator) for s in spec["text"]]
    cross = sum(s["width"] for s in spec["text"])
    time_ids = 6 * spec["unet"]["addition_time_embed_dim"]
    unet = UNet2DConditionModel(
        sample_size=16, in_channels=4, out_channels=4, cross_attention_dim=cross, addition_embed_type="text_time",
        projection_class_embeddings_input_dim=spec["text"][1]["projection"] + time_ids, **spec["unet"])
    levels = len(spec["vae"]["block_out_channels"])
    vae = AutoencoderKL(latent_channels=4, down_block_types=("DownEncoderBlock2D",) * levels,
                        up_block_types=("UpDecoderBlock2D",) * levels, scaling_factor=0.2, **spec["vae"])
    for part, module in (("text_encoder", encoders[0]), ("text_encoder_2", encoders[1]),
                         ("unet", randomize(unet, generator)), ("vae", randomize(vae, generator))):
        module.to(spec["dtype"]).save_pretrained(folder / part)
    if spec.get("shards"):
        shard(folder / "unet", spec["shards"])
    if spec.get("old_keys"):
        for part in ("text_encoder", "text_encoder_2"):
            use_old_keys(folder / part / "model.safetensors")
    scheduler = json.loads((MINI / "scheduler" / "scheduler_config.json").read_text())
    scheduler |= {"timestep_spacing": "leading"} | spec["scheduler"]
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler, indent=1))
    shutil.copy(MINI / "model_index.json", folder)
    for file in folder.rglob("*.safetensors"):
        file.chmod(0o644)
    print(name, sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) // 1024, "KB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    given = parser.parse_args()
    for name, spec in MODELS.items():
        make(name, spec, given.data / "models")
