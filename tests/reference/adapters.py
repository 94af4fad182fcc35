"""Small random LoRA files for the whole-picture goldens: strong enough to change a picture plainly.

kohya: the names that most files carry, with alpha, ranks that differ, linear layers and convolutions.
peft: saved by diffusers itself, with its ranks and alphas in the metadata.
"""

import torch
from diffusers.training_utils import _collate_lora_metadata
from peft import LoraConfig, get_peft_model_state_dict

from common import load, save
from lora import base_shapes, kohya, pick

PARTS = ("unet", "text_encoder", "text_encoder_2")
TEXT_TARGETS = {"text_encoder": ["q_proj", "out_proj", "fc1"], "text_encoder_2": ["v_proj", "fc2"]}
UNET_TARGETS = ["to_q", "to_v", "to_out.0", "ff.net.2", "proj_in", "conv2", "time_emb_proj"]
STRENGTH = 0.4  # of the change against the weight it changes, about


def values(key, shape, generator):
    noise = torch.randn(shape or [1], generator=generator)
    if not shape:
        return torch.tensor(float(2 + len(key.split("_")[1]) % 3))  # one alpha for each network
    if "lora_up" in key or "lora_B" in key:
        return noise * STRENGTH / shape[1] ** 0.5
    return noise / noise[0].numel() ** 0.5


def make_kohya(folder, path, seed):
    """Every third layer, so that the file stays small. No attention of the text encoders: of those diffusers 0.42.1
    with transformers 5.23 drops kohya's (reported as unexpected keys); the PEFT file has them."""
    pipe = load(folder)
    shapes = base_shapes({part: getattr(pipe, part) for part in PARTS})
    layers = [layer for layer in pick(shapes)[::3] if not (layer.startswith("text") and "self_attn" in layer)]
    generator = torch.Generator().manual_seed(seed)
    save({k: values(k, s, generator).half() for k, s in kohya(shapes, layers, False).items()}, path)


def make_peft(folder, path, seed):
    pipe = load(folder)
    modules = {part: getattr(pipe, part) for part in PARTS}
    modules["unet"].add_adapter(LoraConfig(r=2, lora_alpha=3, target_modules=UNET_TARGETS, rank_pattern={"conv2": 1},
                                           alpha_pattern={"conv2": 2}), "default")
    for i, (part, targets) in enumerate(TEXT_TARGETS.items()):
        modules[part].add_adapter(LoraConfig(r=2 + i, lora_alpha=2, target_modules=targets), "default")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in modules.values():
            for name, p in module.named_parameters():
                if ".lora_" in name:
                    p.copy_(values(name, list(p.shape), generator))
                    p.data = p.data.half()
    layers = {f"{part}_lora_layers": get_peft_model_state_dict(module) for part, module in modules.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    pipe.save_lora_weights(path.parent, weight_name=path.name, **layers, **_collate_lora_metadata(modules))
    path.chmod(0o644)


def apply(pipe, folder, entries):
    """`entries` are kadr's: FILE:WEIGHT. Each is merged before the next is loaded: beside another one, a second
    adapter's text encoder layers get lost in transformers 5.23."""
    for entry in entries:
        file, weight = entry.rsplit(":", 1)
        pipe.load_lora_weights(folder, weight_name=file)
        pipe.fuse_lora(components=list(PARTS), lora_scale=float(weight))
        pipe.unload_lora_weights()
