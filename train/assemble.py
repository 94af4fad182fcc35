"""Everything into one diffusers folder in f16, with the adapter beside it.

    python assemble.py --text runs/text --unet runs/unet/unet --vae runs/vae --out model
                       [--vision runs/unet/vision --adapter runs/unet/ip-adapter-plus_kadr.safetensors]
                       [--lora runs/lcm/lcm.safetensors]
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPVisionModelWithProjection

from dataset import REFERENCE

INDEX = {
    "_class_name": "StableDiffusionXLPipeline", "_diffusers_version": "0.19.0.dev0",
    "force_zeros_for_empty_prompt": True, "add_watermarker": None,
    "scheduler": ["diffusers", "EulerDiscreteScheduler"], "text_encoder": ["transformers", "CLIPTextModel"],
    "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"], "tokenizer": ["transformers", "CLIPTokenizer"],
    "tokenizer_2": ["transformers", "CLIPTokenizer"], "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}  # fmt: skip
PREPROCESSOR = {
    "crop_size": REFERENCE, "do_center_crop": True, "do_convert_rgb": True, "do_normalize": True, "do_resize": True,
    "feature_extractor_type": "CLIPFeatureExtractor", "image_processor_type": "CLIPImageProcessor",
    "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711],
    "resample": 3, "size": REFERENCE,
}  # fmt: skip


def edit(path, **changes):
    """Changes a JSON file; None removes a name."""
    config = json.loads(path.read_text())
    for name, value in changes.items():
        config.pop(name, None)
        if value is not None:
            config[name] = value
    path.write_text(json.dumps(config, indent=2) + "\n")


def write(path, value):
    path.write_text(json.dumps(value, indent=2) + "\n")


def encoder(kind, source, target):
    """f16 on disk, f32 for whoever asks for no dtype, as diffusers does for the other parts."""
    kind.from_pretrained(source).half().save_pretrained(target)
    edit(target / "config.json", torch_dtype=None, dtype="float32")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("text", "unet", "vae", "out"):
        parser.add_argument("--" + name, type=Path, required=True)
    for name in ("vision", "adapter", "lora"):
        parser.add_argument("--" + name, type=Path)
    args = parser.parse_args()
    out = args.out
    out.mkdir(parents=True, exist_ok=True)
    encoder(CLIPTextModel, args.text / "text_encoder", out / "text_encoder")
    encoder(CLIPTextModelWithProjection, args.text / "text_encoder_2", out / "text_encoder_2")
    UNet2DConditionModel.from_pretrained(args.unet).half().save_pretrained(out / "unet")
    AutoencoderKL.from_pretrained(args.vae).half().save_pretrained(out / "vae")
    for name in ("unet", "vae"):
        edit(out / name / "config.json", _name_or_path=None)
    for name in ("tokenizer", "tokenizer_2"):
        shutil.copytree(args.text / name, out / name, dirs_exist_ok=True)
    EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", num_train_timesteps=1000,
        prediction_type="epsilon", timestep_spacing="trailing", steps_offset=1, interpolation_type="linear",
        use_karras_sigmas=False,
    ).save_pretrained(out / "scheduler")  # fmt: skip
    write(out / "model_index.json", INDEX)
    if args.vision:
        folder = out / "ip_adapter" / "image_encoder"
        encoder(CLIPVisionModelWithProjection, args.vision, folder)
        write(folder / "preprocessor_config.json", PREPROCESSOR)
    if args.adapter:
        shutil.copy(args.adapter, out / "ip_adapter" / "ip-adapter-plus_kadr.safetensors")
    if args.lora:
        (out / "lora").mkdir(exist_ok=True)
        shutil.copy(args.lora, out / "lora" / "lcm.safetensors")
    StableDiffusionXLPipeline.from_pretrained(out, torch_dtype=torch.float32)  # loads, or says why not
    sizes = {str(path.relative_to(out)): path.stat().st_size for path in sorted(out.rglob("*.safetensors"))}
    print(json.dumps({**sizes, "together": sum(sizes.values())}, indent=1))


if __name__ == "__main__":
    main()
