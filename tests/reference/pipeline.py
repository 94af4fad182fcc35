"""Whole pictures by diffusers' pipelines: what `kadr generate` must draw with the same settings.

    python pipeline.py [--only NAME]

Writes golden/MODEL/pictures/: cases.json, and for each case CASE.safetensors and CASE_N.png. Options have kadr's names.
"""

import argparse
import itertools
from pathlib import Path

import diffusers
import numpy as np
import torch
from diffusers.guiders import ClassifierFreeGuidance
from PIL import Image, ImageDraw
from safetensors.torch import load_file

import adapters
from common import DATA, folders, load, save, save_json
from samplers import SAMPLERS

# What a schedule of kadr changes in a scheduler's configuration.
SCHEDULES = {
    "model": {},
    "leading": {"timestep_spacing": "leading"},
    "trailing": {"timestep_spacing": "trailing"},
    "linspace": {"timestep_spacing": "linspace"},
    "karras": {"use_karras_sigmas": True},
    "exponential": {"use_exponential_sigmas": True},
}

FOX = "wide shot of a red fox running on the beach at sunset, storyboard frame"
ROBOT = "close-up of a blue robot on a ship deck during the day"
GIRL = "a girl in a green dress jumping on a grassy hill on a sunny day"
BAD = "night, rain, dark"
INIT = {"init": "init.png", "strength": 0.6}

MINI_CASES = {
    "plain": {"prompt": FOX},
    "plain_trailing": {"prompt": ROBOT, "schedule": "trailing", "seed": 8},
    "plain_linspace": {"prompt": GIRL, "schedule": "linspace", "seed": 4294967303},
    "negative": {"prompt": GIRL, "negative": BAD, "seed": 1},
    "empty_text": {"prompt": ROBOT, "empty": "text", "seed": 2},
    "no_guidance": {"prompt": FOX, "guidance": 1},
    "guidance_rescale": {"prompt": GIRL, "guidance": 7.5, "guidance-rescale": 0.7},
    "guidance_interval": {"prompt": FOX, "guidance-interval": "0.2,0.7", "seed": 3},
    "guidance_interval_init": {"prompt": ROBOT, "guidance-interval": "0,0.5", "sampler": "dpmpp_2m"} | INIT,
    "step_cache": {"prompt": GIRL, "step-cache": 2, "seed": 4},
    "step_cache_interval": {"prompt": FOX, "step-cache": 3, "guidance-interval": "0.34,0.9", "sampler": "ddim"},
    "clip_skip": {"prompt": ROBOT, "negative": BAD, "clip-skip": 1},
    "told_sizes": {"prompt": FOX, "original-width": 768, "original-height": 512, "target-width": 384, "target-height": 256,
                   "crop-top": 16, "crop-left": 40},
    "odd_size": {"prompt": GIRL, "width": 200, "height": 104},
    "count": {"prompt": FOX, "count": 2, "seed": 20},
    "euler_a": {"prompt": ROBOT, "sampler": "euler_a"},
    "dpmpp_2m": {"prompt": FOX, "sampler": "dpmpp_2m"},
    "dpmpp_2m_karras": {"prompt": GIRL, "sampler": "dpmpp_2m", "schedule": "karras"},
    "dpmpp_2m_sde": {"prompt": ROBOT, "sampler": "dpmpp_2m_sde", "schedule": "exponential"},
    "heun": {"prompt": FOX, "sampler": "heun", "steps": 8},
    "unipc": {"prompt": GIRL, "sampler": "unipc"},
    "ddim": {"prompt": ROBOT, "sampler": "ddim"},
    "lcm": {"prompt": FOX, "sampler": "lcm", "steps": 4, "guidance": 1},
    "tcd": {"prompt": GIRL, "sampler": "tcd", "steps": 4, "guidance": 1, "eta": 0.3},
    "init": {"prompt": FOX} | INIT,
    "init_latents": {"prompt": FOX, "init": "start.safetensors", "strength": 0.6},
    "init_euler_a": {"prompt": ROBOT, "sampler": "euler_a"} | INIT,
    "init_dpmpp_2m": {"prompt": GIRL, "sampler": "dpmpp_2m"} | INIT,
    "inpaint": {"prompt": FOX, "init": "init.png", "mask": "mask.png", "strength": 0.75},
    "inpaint_whole": {"prompt": ROBOT, "init": "init.png", "mask": "mask.png", "strength": 1, "sampler": "euler_a"},
    "lora_kohya": {"prompt": FOX, "lora": ["kohya.safetensors:0.8"]},
    "lora_both": {"prompt": GIRL, "lora": ["kohya.safetensors:-0.3", "peft.safetensors:0.35"]},
}
TINY_CASES = {
    "tiny-a": {"plain": {"prompt": FOX}, "negative": {"prompt": GIRL, "negative": BAD, "sampler": "dpmpp_2m"},
               "lora_peft": {"prompt": ROBOT, "lora": ["peft.safetensors:0.7"]}},
    "tiny-b": {"plain": {"prompt": FOX}, "step_cache": {"prompt": FOX, "step-cache": 2}, "heun": {"prompt": GIRL, "sampler": "heun", "steps": 5},
               "ddim": {"prompt": ROBOT, "sampler": "ddim"}, "dpmpp_2m": {"prompt": GIRL, "sampler": "dpmpp_2m"},
               "unipc": {"prompt": FOX, "sampler": "unipc"}, "lcm": {"prompt": FOX, "sampler": "lcm", "steps": 4},
               "init": {"prompt": FOX} | INIT, "lora_kohya": {"prompt": ROBOT, "lora": ["kohya.safetensors:1"]}},
    "tiny-c": {"plain": {"prompt": FOX}, "euler_a": {"prompt": GIRL, "negative": BAD, "sampler": "euler_a"},
               "inpaint": {"prompt": ROBOT, "init": "init.png", "mask": "mask.png", "strength": 0.8}},
    "micro": {"plain": {"prompt": "fox", "steps": 2}},
}
DEFAULTS = {"mini": {"width": 192, "height": 128, "steps": 12, "guidance": 4, "sampler": "euler", "seed": 7}}
TINY_DEFAULTS = {"width": 72, "height": 56, "steps": 6, "guidance": 3, "sampler": "euler", "seed": 7}
# Whose decoded picture is also kept in floats, before clamping and rounding.
IN_FLOATS = {("mini", "plain"), ("tiny-a", "plain"), ("tiny-b", "plain"), ("tiny-c", "plain"), ("micro", "plain")}


def start_pictures(folder, width, height):
    """What `init` and `mask` name: drawn here, with soft edges in the mask, which is cut at one half."""
    y, x = np.mgrid[0:height, 0:width]
    ground = np.stack([90 + 120 * x / width, 200 - 110 * y / height, 230 - 150 * x / width], -1)
    init = Image.fromarray(ground.astype(np.uint8))
    pen = ImageDraw.Draw(init)
    pen.ellipse([width * 0.4, height * 0.3, width * 0.75, height * 0.95], fill=(214, 96, 40), outline=(24, 20, 36), width=2)
    pen.rectangle([0, height * 0.8, width * 0.3, height], fill=(240, 220, 150))
    distance = np.hypot((x - width * 0.55) / width * 2.4, (y - height * 0.55) / height * 2.0)
    mask = np.clip((1.1 - distance) * 400, 0, 255)
    folder.mkdir(parents=True, exist_ok=True)
    init.save(folder / "init.png")
    Image.fromarray(mask.astype(np.uint8)).save(folder / "mask.png")
    latents = torch.randn(1, 4, height // 16, width // 16, generator=torch.Generator().manual_seed(11))
    save({"latents": latents}, folder / "start.safetensors")


def pipeline(pipe, options):
    """The pipeline of diffusers that an option set asks for, with its scheduler."""
    scheduler, settings = SAMPLERS[options["sampler"]]
    settings = settings | SCHEDULES[options.get("schedule", "model")]
    pipe.scheduler = scheduler.from_config(pipe.scheduler.config, **settings)
    kind = "Inpaint" if "mask" in options else "Img2Img" if "init" in options else ""
    out = getattr(diffusers, f"StableDiffusionXL{kind}Pipeline")(**pipe.components)
    out.set_progress_bar_config(disable=True)
    # Prepared pictures have their channels last in memory, where torch's group norm on a CPU loses two digits.
    prepare = out.image_processor.preprocess
    out.image_processor.preprocess = lambda *image, **how: prepare(*image, **how).contiguous()
    return out


def start_of(options, folder):
    """A picture, or latents in the picture's size."""
    if not options["init"].endswith(".safetensors"):
        return Image.open(folder / options["init"]).convert("RGB")
    latents = load_file(folder / options["init"])["latents"]
    return torch.nn.functional.interpolate(latents, (options["height"] // 8, options["width"] // 8), mode="bicubic")


def arguments_of(options, folder):
    """kadr's options as diffusers names them."""
    width, height, count = options["width"], options["height"], options.get("count", 1)
    out = {
        "prompt": options["prompt"],
        "negative_prompt": options.get("negative", "" if options.get("empty") == "text" else None),
        "num_inference_steps": options["steps"],
        "guidance_scale": options["guidance"],
        "guidance_rescale": options.get("guidance-rescale", 0.0),
        "clip_skip": options.get("clip-skip"),
        "original_size": (options.get("original-height", height), options.get("original-width", width)),
        "target_size": (options.get("target-height", height), options.get("target-width", width)),
        "crops_coords_top_left": (options.get("crop-top", 0), options.get("crop-left", 0)),
        "num_images_per_prompt": count,
        # Picture n takes seed + n.
        "generator": [torch.Generator().manual_seed(options["seed"] + i) for i in range(count)],
    }
    if "eta" in options:
        out["eta"] = options["eta"]
    if "init" in options:
        out |= {"image": start_of(options, folder), "strength": float(options["strength"])}
    if "mask" in options:
        out["mask_image"] = Image.open(folder / options["mask"]).convert("L")
    if "mask" in options or "init" not in options:
        out |= {"width": width, "height": height}
    return out


def spare(pipe, options):
    """Has the UNet leave out what kadr's options leave out; samplers of one evaluation a step.

    Without the unconditional branch u = c, and guidance, u + g (c - u), is c. When, diffusers' guider says. What the
    second level from above gives on the way up is taken from `kept` in all calls but each `every`th, and but those of
    more samples than it is of.
    """
    every, kept = options.get("step-cache", 1), None
    start, stop = map(float, options.get("guidance-interval", "0,1").split(","))
    steps = int(options["steps"] * options.get("strength", 1))
    guider = ClassifierFreeGuidance(options["guidance"], start=start, stop=stop)
    whole, calls, call = pipe.unet.forward, itertools.count(), 0

    def keep(module, inputs, out):
        nonlocal kept
        if call % every == 0 or len(kept) < len(out):
            kept = out
        return kept[-len(out):]

    def forward(sample, timestep, encoder_hidden_states, added_cond_kwargs, **rest):
        nonlocal call
        call = next(calls)
        guider.set_state(call, steps, timestep)
        if guider._is_cfg_enabled():
            return whole(sample, timestep, encoder_hidden_states, added_cond_kwargs=added_cond_kwargs, **rest)
        conditional = slice(len(sample) // 2, None)
        (out,) = whole(sample[conditional], timestep, encoder_hidden_states[conditional],
                       added_cond_kwargs={k: v[conditional] for k, v in added_cond_kwargs.items()}, **rest)
        return (torch.cat([out, out]),)

    pipe.unet.forward = forward
    pipe.unet.up_blocks[-2].register_forward_hook(keep)


@torch.no_grad()
def draw(model, case, options, folder):
    """Latents before the VAE, and the decoded picture."""
    pipe = load(model)
    adapters.apply(pipe, folder, options.get("lora", []))
    if {"guidance-interval", "step-cache"} & options.keys():
        spare(pipe, options)
    latents = pipeline(pipe, options)(output_type="latent", **arguments_of(options, folder)).images
    return latents, pipe.vae.decode(latents / pipe.vae.config.scaling_factor).sample.permute(0, 2, 3, 1)


def write(folder, case, latents, picture, floats):
    save({"latents": latents} | ({"picture": picture} if floats else {}), folder / f"{case}.safetensors")
    pixels = ((picture / 2 + 0.5).clamp(0, 1).numpy() * 255).round().astype(np.uint8)
    for i, p in enumerate(pixels):
        Image.fromarray(p).save(folder / f"{case}_{i}.png", optimize=True)


def main(data, only):
    for name, model in folders(data):
        folder = data / "golden" / name / "pictures"
        defaults = DEFAULTS.get(name, TINY_DEFAULTS)
        cases = {k: defaults | v for k, v in (MINI_CASES if name == "mini" else TINY_CASES[name]).items()}
        used = {file.split(":")[0] for options in cases.values() for file in options.get("lora", [])}
        if any("init" in options for options in cases.values()):
            start_pictures(folder, defaults["width"], defaults["height"])
        if "kohya.safetensors" in used:
            adapters.make_kohya(model, folder / "kohya.safetensors", 5)
        if "peft.safetensors" in used:
            adapters.make_peft(model, folder / "peft.safetensors", 6)
        for case, options in cases.items():
            if only in (None, case, f"{name}/{case}"):
                write(folder, case, *draw(model, case, options, folder), (name, case) in IN_FLOATS)
        save_json(cases, folder / "cases.json")
        print(name, len(cases), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--only", help="CASE or MODEL/CASE")
    given = parser.parse_args()
    main(given.data, given.only)
