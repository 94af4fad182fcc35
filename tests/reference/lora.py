"""Reference data for src/weights: LoRA files merged by diffusers and PEFT.

A tiny SDXL (numbers by the formula of weights.py) gets LoRA files in every key style that kadr reads;
diffusers loads and fuses them. Written are the names and shapes of model and files and a few elements
of each merged tensor; the test in C makes the files again from the formula.

    python lora.py ../data/weights
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from diffusers.training_utils import _collate_lora_metadata
from peft import LoraConfig, get_peft_model_state_dict
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from weights import hashes, numbers, text_state, unet_name

LAYERS = 1
ATTENTION = [False, True]
SAMPLES = 24


def tensor(name, shape):
    """Alphas are one value for each network: diffusers 0.42 loses those of attention layers when they differ."""
    if name.endswith(".alpha"):
        name = "_".join(name.split("_")[:2])
    return torch.from_numpy(numbers(name, shape)).float()


def build():
    unet = UNet2DConditionModel(
        block_out_channels=[32, 64], layers_per_block=LAYERS, down_block_types=["DownBlock2D", "CrossAttnDownBlock2D"],
        up_block_types=["CrossAttnUpBlock2D", "UpBlock2D"], transformer_layers_per_block=[1, 2],
        attention_head_dim=[1, 2], cross_attention_dim=80, use_linear_projection=True, norm_num_groups=8,
        addition_embed_type="text_time", addition_time_embed_dim=8, projection_class_embeddings_input_dim=48 + 48)
    text = []
    for i, width in enumerate((32, 48)):
        config = CLIPTextConfig(vocab_size=40, hidden_size=width, intermediate_size=2 * width, num_hidden_layers=2,
                                num_attention_heads=2, projection_dim=width)
        text.append((CLIPTextModelWithProjection if i else CLIPTextModel)(config))
    models = {"unet": unet, "text_encoder": text[0], "text_encoder_2": text[1]}
    for component, model in models.items():
        state = model.state_dict()
        model.load_state_dict({k: tensor(canonical(component, k), list(v.shape)) for k, v in state.items()
                               if not k.endswith("position_ids")}, strict=False)
    vae = AutoencoderKL(block_out_channels=[32], down_block_types=["DownEncoderBlock2D"], up_block_types=["UpDecoderBlock2D"])
    return StableDiffusionXLPipeline(vae=vae, text_encoder=text[0], text_encoder_2=text[1], tokenizer=None,
                                     tokenizer_2=None, unet=unet, scheduler=EulerDiscreteScheduler()), models


def canonical(component, key):
    bare = component != "unet" and key.startswith(("embeddings.", "encoder.", "final_layer_norm."))
    return f"{component}." + ("text_model." if bare else "") + key


def base_shapes(models):
    shapes = {}
    for component, model in models.items():
        state = model.state_dict() if component == "unet" else text_state(model)
        shapes |= {canonical(component, k): list(v.shape) for k, v in state.items()}
    return shapes


# ---- Files in the styles that go round ----


def low_rank(shape, rank):
    """Shapes of down and up for a weight of that shape."""
    if len(shape) == 2:
        return [rank, shape[1]], [shape[0], rank]
    return [rank] + shape[1:], [shape[0], rank, 1, 1]


def kohya(shapes, layers, original):
    """{key: shape}; names of the original layout for the UNet when `original`."""
    out = {}
    for i, layer in enumerate(layers):
        component, name = layer.split(".", 1)
        rank = 2 + i % 7
        down, up = low_rank(shapes[layer + ".weight"], rank)
        if component == "unet" and original:
            name = unet_name(name + ".weight", LAYERS, ATTENTION).removesuffix(".weight")
        prefix = {"unet": "lora_unet_", "text_encoder": "lora_te1_", "text_encoder_2": "lora_te2_"}[component]
        key = prefix + name.replace(".", "_")
        out |= {key + ".lora_down.weight": down, key + ".lora_up.weight": up, key + ".alpha": []}
    return out


def old_diffusers(shapes, layers):
    """The first forms, without alpha: attention processors, lora_linear_layer."""
    out = {}
    for layer in layers:
        if ".attn" in layer:
            head, tail = layer.rsplit(".attn", 1)
            number, part = tail.split(".", 1)
            key = f"{head}.attn{number}.processor.{part.removesuffix('.0')}_lora"
        elif layer.startswith("text_encoder."):
            part = {"q_proj": "to_q", "k_proj": "to_k", "v_proj": "to_v", "out_proj": "to_out"}[layer.rsplit(".", 1)[1]]
            key = f"{layer.rsplit('.', 1)[0]}.{part}_lora"
        else:
            key = f"{layer}.lora_linear_layer"
        down, up = low_rank(shapes[layer + ".weight"], 4)
        out |= {key + ".down.weight": down, key + ".up.weight": up}
    return out


def write(path, shapes, metadata=None):
    save_file({k: tensor(k, s) if s else tensor(k, [1]).reshape([]) for k, s in shapes.items()}, path, metadata or {"format": "pt"})


def pick(shapes):
    """Layers of every kind: linear, 1x1 and 3x3 convolutions, both text encoders."""
    return [k.removesuffix(".weight") for k, s in shapes.items()
            if k.endswith(".weight") and len(s) >= 2 and ".norm" not in k and "layer_norm" not in k
            and "_embedding" not in k and k != "text_encoder_2.text_projection.weight"]


def samples(name, value):
    """A few elements, at places that the formula gives."""
    flat = value.detach().double().numpy().reshape(-1)
    places = [int(h % np.uint64(flat.size)) for h in hashes(name, SAMPLES)]
    return [float(flat[p]) for p in places]


def merged(models, before):
    out = {}
    for component, model in models.items():
        state = model.state_dict() if component == "unet" else text_state(model)
        for k, v in state.items():
            name = canonical(component, k.replace(".base_layer.", "."))
            if ".lora_" in name or torch.equal(v, before[name]):
                continue
            out[name] = samples(name, v)
    return out


def fused(folder, files, strengths):
    pipe, models = build()
    before = {canonical(c, k): v.clone() for c, m in models.items()
              for k, v in (m.state_dict() if c == "unet" else text_state(m)).items()}
    # One after the other: loading a second adapter beside the first loses the first's text encoder weights in
    # transformers 5.23.
    for file, strength in zip(files, strengths):
        pipe.load_lora_weights(str(folder / file))
        pipe.fuse_lora(components=["unet", "text_encoder", "text_encoder_2"], lora_scale=strength)
        pipe.unload_lora_weights()
    return merged(models, before)


def peft_file(folder, file):
    """Saved by diffusers itself, with ranks and alphas by pattern in the metadata. Gives shapes and metadata."""
    pipe, _ = build()
    pipe.unet.add_adapter(LoraConfig(r=4, lora_alpha=6, target_modules=["to_q", "to_out.0", "conv1", "ff.net.0.proj"],
                                     rank_pattern={"conv1": 3}, alpha_pattern={"attn2.to_q": 2, "conv1": 5}), "default")
    pipe.text_encoder.add_adapter(LoraConfig(r=2, lora_alpha=1, target_modules=["q_proj", "fc1"]), "default")
    pipe.text_encoder_2.add_adapter(LoraConfig(r=3, lora_alpha=4, use_rslora=True, target_modules=["v_proj"]), "default")
    modules = {"unet": pipe.unet, "text_encoder": pipe.text_encoder, "text_encoder_2": pipe.text_encoder_2}
    pipe.save_lora_weights(
        folder, unet_lora_layers=get_peft_model_state_dict(pipe.unet),
        text_encoder_lora_layers=get_peft_model_state_dict(pipe.text_encoder),
        text_encoder_2_lora_layers=get_peft_model_state_dict(pipe.text_encoder_2), weight_name=file,
        **_collate_lora_metadata(modules))
    with safe_open(folder / file, "pt") as f:
        shapes = {k: list(f.get_slice(k).get_shape()) for k in f.keys()}
        metadata = f.metadata()
    write(folder / file, shapes, metadata)
    return shapes, metadata


def main(out):
    torch.manual_seed(0)
    _, models = build()
    shapes = base_shapes(models)
    layers = pick(shapes)
    attention = [k for k in layers if ".attn" in k or ".self_attn." in k]
    files = {
        "kohya": (kohya(shapes, layers, False), None),
        "original": (kohya(shapes, layers, True), None),
        "processors": (old_diffusers(shapes, attention), None),
    }
    with tempfile.TemporaryDirectory() as tmp:
        tmp = Path(tmp)
        files["peft"] = peft_file(tmp, "peft.safetensors")
        for name, (keys, metadata) in files.items():
            if name != "peft":
                write(tmp / f"{name}.safetensors", keys)
        cases = [(["kohya"], [0.75]), (["original"], [1.0]), (["processors"], [-0.5]), (["peft"], [0.8]),
                 (["kohya", "peft"], [0.5, 1.25])]
        results = []
        for used, strengths in cases:
            values = fused(tmp, [f"{n}.safetensors" for n in used], strengths)
            results.append({"files": used, "strengths": strengths, "merged": values})
            print(used, len(values))
    data = {"model": shapes, "samples": SAMPLES, "cases": results,
            "files": {n: {"tensors": k, "metadata": m} for n, (k, m) in files.items()}}
    Path(out, "lora.json").write_text(json.dumps(data, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
