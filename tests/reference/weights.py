"""Reference data for src/weights: checkpoints in the original (single file) layout.

A tiny SDXL is built with diffusers and transformers, its state dicts are renamed to the original
layout, and diffusers' own conversion must give them back: so the names here are right because
diffusers says so. What is written is small: the names and shapes of the checkpoint, a CRC-32 of each
converted tensor and the configurations. The numbers themselves follow a formula (`numbers`) that the
test in C repeats.

    python weights.py ../data/weights
"""

import json
import sys
import zlib
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders import single_file_utils as sf
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection


def fnv(name):
    h = 0xCBF29CE484222325
    for b in name.encode():
        h = (h ^ b) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return h


def hashes(name, count):
    """A 64-bit number for each element (splitmix64 of the name's hash and the index)."""
    with np.errstate(over="ignore"):
        x = np.uint64(fnv(name)) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ x >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ x >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
        return x ^ x >> np.uint64(31)


def numbers(name, shape):
    """f16: sign and 10 bits below one in units of 1/1024, exact in every float type but bf16."""
    h = hashes(name, int(np.prod(shape, dtype=np.int64)))
    v = ((h >> np.uint64(40) & np.uint64(0x7FF)).astype(np.int32) - 1024) / 1024
    return v.astype(np.float16).reshape(shape)


# ---- diffusers -> original names ----

RESNET = {"norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
          "conv2": "out_layers.3", "conv_shortcut": "skip_connection"}
UNET_FIXED = {"conv_in": "input_blocks.0.0", "time_embedding.linear_1": "time_embed.0",
              "time_embedding.linear_2": "time_embed.2", "add_embedding.linear_1": "label_emb.0.0",
              "add_embedding.linear_2": "label_emb.0.2", "conv_norm_out": "out.0", "conv_out": "out.2"}


def resnet_tail(tail):
    part, rest = tail.split(".", 1)
    return f"{RESNET[part]}.{rest}"


def unet_name(key, layers, levels):
    module, leaf = key.rsplit(".", 1)
    if module in UNET_FIXED:
        return f"{UNET_FIXED[module]}.{leaf}"
    part = key.split(".")
    if part[0] == "mid_block":
        if part[1] == "attentions":
            return "middle_block.1." + ".".join(part[3:])
        return f"middle_block.{2 * int(part[2])}." + resnet_tail(".".join(part[3:]))
    level, kind, index, tail = int(part[1]), part[2], int(part[3]), ".".join(part[4:])
    if part[0] == "down_blocks":
        if kind == "downsamplers":
            return f"input_blocks.{(level + 1) * (layers + 1)}.0.op.{tail.removeprefix('conv.')}"
        block = 1 + level * (layers + 1) + index
        return f"input_blocks.{block}.0.{resnet_tail(tail)}" if kind == "resnets" else f"input_blocks.{block}.1.{tail}"
    if kind == "upsamplers":
        attention = levels[len(levels) - 1 - level]
        return f"output_blocks.{level * (layers + 1) + layers}.{2 if attention else 1}.{tail}"
    block = level * (layers + 1) + index
    return f"output_blocks.{block}.0.{resnet_tail(tail)}" if kind == "resnets" else f"output_blocks.{block}.1.{tail}"


def vae_name(key, levels):
    for new, old in {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}.items():
        key = key.replace(f"mid_block.attentions.0.{new}.", f"mid.attn_1.{old}.")
    key = key.replace("mid_block.resnets.0.", "mid.block_1.").replace("mid_block.resnets.1.", "mid.block_2.")
    key = key.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")
    part = key.split(".")
    if part[1] == "down_blocks":
        head = f"encoder.down.{part[2]}."
    elif part[1] == "up_blocks":
        head = f"decoder.up.{levels - 1 - int(part[2])}."
    else:
        return key
    if part[3] == "resnets":
        return head + f"block.{part[4]}." + ".".join(part[5:])
    return head + {"downsamplers": "downsample", "upsamplers": "upsample"}[part[3]] + "." + ".".join(part[5:])


def openclip_name(key):
    """None where the original layout fuses query, key and value."""
    key = key.removeprefix("text_model.")
    table = {"embeddings.token_embedding.weight": "token_embedding.weight",
             "embeddings.position_embedding.weight": "positional_embedding", "text_projection.weight": "text_projection"}
    if key in table:
        return table[key]
    if key.startswith("final_layer_norm."):
        return key.replace("final_layer_norm", "ln_final")
    if ".self_attn." in key and ".out_proj." not in key:
        return None
    for new, old in {"encoder.layers": "transformer.resblocks", "layer_norm": "ln_", "self_attn": "attn",
                     "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}.items():
        key = key.replace(new, old)
    return key


# ---- Tiny models ----


def build(shape):
    torch.manual_seed(0)
    levels = len(shape["channels"])
    unet = UNet2DConditionModel(
        block_out_channels=shape["channels"], layers_per_block=shape["layers"],
        down_block_types=["CrossAttnDownBlock2D" if a else "DownBlock2D" for a in shape["attention"]],
        up_block_types=["CrossAttnUpBlock2D" if a else "UpBlock2D" for a in reversed(shape["attention"])],
        transformer_layers_per_block=shape["depth"], attention_head_dim=[c // 64 for c in shape["channels"]],
        cross_attention_dim=sum(shape["text"]), use_linear_projection=True, addition_embed_type="text_time",
        addition_time_embed_dim=8, projection_class_embeddings_input_dim=shape["projection"] + 48)
    vae_levels = len(shape["vae"])
    vae = AutoencoderKL(block_out_channels=shape["vae"], layers_per_block=shape["vae_layers"], latent_channels=4,
                        down_block_types=["DownEncoderBlock2D"] * vae_levels,
                        up_block_types=["UpDecoderBlock2D"] * vae_levels, scaling_factor=0.13025)
    text = []
    for i, width in enumerate(shape["text"]):
        config = CLIPTextConfig(vocab_size=40, hidden_size=width, intermediate_size=2 * width, num_hidden_layers=2,
                                num_attention_heads=width // 64, max_position_embeddings=77,
                                projection_dim=shape["projection"] if i else width,
                                hidden_act="gelu" if i else "quick_gelu", bos_token_id=38, eos_token_id=39,
                                pad_token_id=0 if i else 39)
        text.append((CLIPTextModelWithProjection if i else CLIPTextModel)(config))
    return unet, vae, text, levels


def text_state(model):
    """With the text_model. prefix, whatever this transformers writes."""
    state = {}
    for k, v in model.state_dict().items():
        if k.endswith("position_ids"):
            continue
        bare = k.startswith(("embeddings.", "encoder.", "final_layer_norm."))
        state["text_model." + k if bare else k] = v
    return state


def original_shapes(shape, unet, vae, text, levels):
    shapes = {}
    for k, v in unet.state_dict().items():
        shapes["model.diffusion_model." + unet_name(k, shape["layers"], shape["attention"])] = list(v.shape)
    for k, v in vae.state_dict().items():
        s = list(v.shape)
        one = ".attentions." in k and len(s) == 2
        shapes["first_stage_model." + vae_name(k, len(shape["vae"]))] = s + [1, 1] if one else s
    for k, v in text_state(text[0]).items():
        shapes["conditioner.embedders.0.transformer." + k] = list(v.shape)
    width = shape["text"][1]
    for k, v in text_state(text[1]).items():
        name = openclip_name(k)
        s = list(v.shape)
        if name is None:
            layer = k.split(".")[3]
            leaf = k.rsplit(".", 1)[1]
            name = f"transformer.resblocks.{layer}.attn.in_proj_{leaf}"
            s = [3 * width] + s[1:]
        shapes["conditioner.embedders.1.model." + name] = s[::-1] if name == "text_projection" else s
    return shapes


def convert(checkpoint, unet, vae, text):
    """What diffusers makes of it, under kadr's names."""
    out = {}
    pieces = {
        "unet": (sf.convert_ldm_unet_checkpoint(dict(checkpoint), unet.config), unet.state_dict()),
        "vae": (sf.convert_ldm_vae_checkpoint(dict(checkpoint), vae.config), vae.state_dict()),
        "text_encoder": (sf.convert_ldm_clip_checkpoint(dict(checkpoint)), text_state(text[0])),
        "text_encoder_2": (sf.convert_open_clip_checkpoint(text[1], dict(checkpoint), prefix="conditioner.embedders.1.model."),
                           text_state(text[1])),
    }
    for component, (converted, state) in pieces.items():
        converted = {("text_model." + k if component.startswith("text") and k.startswith(("embeddings.", "encoder.", "final_layer_norm.")) else k): v
                     for k, v in converted.items() if "position_ids" not in k}
        assert set(converted) == set(state), set(converted) ^ set(state)
        for k, v in converted.items():
            assert v.numel() == state[k].numel(), k
            out[f"{component}.{k}"] = v.contiguous()
    return out


def configs(unet, vae, text):
    """The keys that shapes can tell, in the one form that kadr writes."""
    u = {k: unet.config[k] for k in (
        "addition_embed_type", "addition_time_embed_dim", "attention_head_dim", "block_out_channels",
        "cross_attention_dim", "down_block_types", "up_block_types", "in_channels", "out_channels", "norm_num_groups",
        "projection_class_embeddings_input_dim", "transformer_layers_per_block", "use_linear_projection")}
    u["layers_per_block"] = [unet.config.layers_per_block] * len(unet.config.block_out_channels)
    v = {k: vae.config[k] for k in (
        "block_out_channels", "latent_channels", "in_channels", "out_channels", "layers_per_block", "norm_num_groups",
        "scaling_factor", "use_quant_conv", "use_post_quant_conv", "mid_block_add_attention", "act_fn")}
    t = [{k: getattr(m.config, k) for k in (
        "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
        "max_position_embeddings", "projection_dim", "hidden_act", "eos_token_id", "pad_token_id")} for m in text]
    return {"unet": u, "vae": v, "text_encoder": t[0], "text_encoder_2": t[1]}


SHAPES = {
    # SDXL's pattern: three levels, the first without attention, deeper ones with more blocks.
    "sdxl": dict(channels=[64, 64, 128], attention=[False, True, True], depth=[1, 2, 3], layers=2, text=[64, 128],
                 projection=128, vae=[32, 32, 64], vae_layers=2),
    # Another block layout: two levels, one layer, attention everywhere, projection of another width.
    "small": dict(channels=[64, 128], attention=[True, True], depth=[2, 1], layers=1, text=[64, 64], projection=96,
                  vae=[32, 64], vae_layers=1),
}


def main(folder):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, shape in SHAPES.items():
        unet, vae, text, levels = build(shape)
        shapes = original_shapes(shape, unet, vae, text, levels)
        checkpoint = {k: torch.from_numpy(numbers(k, s)) for k, s in shapes.items()}
        converted = convert(checkpoint, unet, vae, text)
        data = {
            "original": shapes,
            "converted": {k: [list(v.shape), zlib.crc32(v.numpy().tobytes())] for k, v in sorted(converted.items())},
            "config": configs(unet, vae, text),
        }
        (folder / f"single_{name}.json").write_text(json.dumps(data, separators=(",", ":")) + "\n")
        print(name, len(shapes), len(converted), sum(v.numel() for v in checkpoint.values()))


if __name__ == "__main__":
    main(sys.argv[1])
