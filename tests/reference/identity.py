"""IP-Adapter by diffusers: what the identity lock must compute.

    python identity.py

Writes data/golden/identity/: the reference pictures; ip-adapter_KIND.safetensors and encoder_{g,h}/ for tiny-a, random, one of
every published kind scaled down; and CASE.safetensors: what the image encoder, the projection and one pass of the
UNet give. Cases of models/mini use the adapter that comes with it. pictures/MODEL/ holds whole pictures, as pipeline.py has them,
and pictures/MODEL/casts.json what their casts are made of.
"""

import argparse
import logging
import math
from pathlib import Path

import numpy as np
import torch
from diffusers.image_processor import IPAdapterMaskProcessor
from PIL import Image, ImageDraw
from transformers import CLIPImageProcessorPil, CLIPVisionConfig, CLIPVisionModelWithProjection

from common import DATA, MINI, load, save, save_json
import pipeline as whole
from models import draw_parameter, randomize
from stages import unet_inputs

# Widths stand in for bigG's 1664 -> 1280 and H's 1280 -> 1024.
ENCODERS = {
    "g": dict(hidden_size=48, intermediate_size=80, num_hidden_layers=3, num_attention_heads=4, image_size=20, patch_size=4,
              projection_dim=36, hidden_act="gelu"),
    "h": dict(hidden_size=40, intermediate_size=64, num_hidden_layers=4, num_attention_heads=2, image_size=28, patch_size=7,
              projection_dim=30, hidden_act="quick_gelu"),
}
# Kind, encoder, tokens; plus: width, heads, depth of the resampler (diffusers knows only 4).
ADAPTERS = {
    "classic_g": ("classic", "g", 4),
    "classic_h": ("classic", "h", 4),
    "plus_h": ("plus", "h", 16, 24, 2, 4),
    "plus_face_h": ("plus", "h", 16, 20, 1, 4),
}
# Case: model, adapters, pictures of each, scales of each, whether masked.
CASES = {
    "classic_g": ("tiny-a", ["classic_g"], [["wide"]], [0.7]),
    "classic_h": ("tiny-a", ["classic_h"], [["high"]], [1.0]),
    "plus_h": ("tiny-a", ["plus_h"], [["wide"]], [0.6]),
    "plus_face_h": ("tiny-a", ["plus_face_h"], [["high"]], [0.9]),
    "several": ("tiny-a", ["plus_h"], [["wide", "high"]], [0.8]),
    "mini": ("mini", ["mini"], [["wide"]], [1.0]),
    "mini_two": ("mini", ["mini", "mini"], [["wide"], ["high"]], [0.5, 0.9]),
    "mini_masked": ("mini", ["mini", "mini"], [["wide"], ["high"]], [0.8, 1.0], [(0, 0, 0.5, 1), (0.5, 0.1, 1, 0.9)]),
    "mini_blocks": ("mini", ["mini"], [["high"]], [{"down": {"block_2": [0.0, 1.0]}, "up": {"block_0": [0.3, 1.0, 0.0]}}]),
}
SIZE = (16, 24)

# Casts by name: adapter and pictures. Whole pictures: kadr's options, and the casts for diffusers: name, scale, box, share
# of the steps.
CASTS = {
    "mini": {"anna": ("mini", ["wide"]), "bo": ("mini", ["high"]), "both": ("mini", ["wide", "high"])},
    "tiny-a": {"gina": ("classic_g", ["high"]), "paul": ("plus_h", ["wide"])},
}
LEFT, PART = (0, 0, 0.5, 1), (0.5, 0.125, 1, 0.875)
BLOCKS = {"down": {"block_2": [0.0, 1.0]}, "up": {"block_0": [0.3, 1.0, 0.0]}}
PICTURES = {
    "mini": {
        "one": ({"prompt": whole.FOX, "cast": ["anna:0.8"]}, [("anna", 0.8)]),
        "references": ({"prompt": whole.GIRL, "cast": ["both:0.7"]}, [("both", 0.7)]),
        "two": ({"prompt": whole.FOX, "cast": ["anna:0.5", "bo:0.9"]}, [("anna", 0.5), ("bo", 0.9)]),
        "regions": ({"prompt": whole.ROBOT, "cast": ["anna:0.8@left", "bo:1@0.5,0.125,1,0.875"]},
                    [("anna", 0.8, LEFT), ("bo", 1.0, PART)]),
        "blocks": ({"prompt": whole.GIRL, "cast": ['anna:1 blocks={"down": {"block_2": [0, 1]}, "up": {"block_0": [0.3, 1, 0]}}']},
                   [("anna", BLOCKS)]),
        "steps": ({"prompt": whole.FOX, "cast": ["bo:1 steps=0-0.5"]}, [("bo", 1.0, None, 0.5)]),
        "no_guidance": ({"prompt": whole.ROBOT, "guidance": 1, "cast": ["bo"]}, [("bo", 1.0)]),
        "init": ({"prompt": whole.FOX, "cast": ["anna:0.6"], "init": "init.png", "strength": 0.6}, [("anna", 0.6)]),
    },
    "tiny-a": {
        "classic": ({"prompt": whole.FOX, "cast": ["gina:0.8"]}, [("gina", 0.8)]),
        "plus": ({"prompt": whole.GIRL, "sampler": "dpmpp_2m", "cast": ["paul:0.6@left"]}, [("paul", 0.6, LEFT)]),
    },
}


def pictures(folder):
    """Two reference pictures: one wide, one high and with alpha."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (width, height), ground in (("wide", (150, 97), (200, 220, 240)), ("high", (83, 120), (240, 230, 190))):
        y, x = np.mgrid[0:height, 0:width]
        field = np.stack([ground[0] - 40 * y / height, ground[1] - 60 * x / width, ground[2] + 0 * x], -1)
        im = Image.fromarray(field.astype(np.uint8))
        pen = ImageDraw.Draw(im)
        pen.ellipse([width * 0.3, height * 0.2, width * 0.7, height * 0.95], fill=(214, 96, 40), outline=(24, 20, 36), width=3)
        pen.polygon([(width * 0.35, height * 0.3), (width * 0.4, height * 0.05), (width * 0.5, height * 0.25)], fill=(60, 90, 180))
        if name == "high":
            im.putalpha(Image.fromarray((255 - 90 * x / width).astype(np.uint8)))
        im.save(folder / f"{name}.png", optimize=True)


def encoder(name, generator):
    return randomize(CLIPVisionModelWithProjection(CLIPVisionConfig(**ENCODERS[name])), generator)


def image_projection(spec, cross, generator):
    kind, enc, tokens = spec[:3]
    config = ENCODERS[enc]
    if kind == "classic":
        shapes = {"proj.weight": (tokens * cross, config["projection_dim"]), "proj.bias": (tokens * cross,),
                  "norm.weight": (cross,), "norm.bias": (cross,)}
    else:
        width, heads, depth = spec[3:]
        shapes = {"latents": (1, tokens, width), "proj_in.weight": (width, config["hidden_size"]), "proj_in.bias": (width,),
                  "proj_out.weight": (cross, width), "proj_out.bias": (cross,), "norm_out.weight": (cross,),
                  "norm_out.bias": (cross,)}
        for i in range(depth):
            at = f"layers.{i}."
            for norm in ("0.norm1", "0.norm2", "1.0"):
                shapes |= {at + norm + ".weight": (width,), at + norm + ".bias": (width,)}
            shapes |= {at + "0.to_q.weight": (heads * 64, width), at + "0.to_kv.weight": (heads * 128, width),
                       at + "0.to_out.weight": (width, heads * 64), at + "1.1.weight": (width * 4, width),
                       at + "1.3.weight": (width, width * 4)}
    return {"image_proj." + k: draw_parameter("image_proj." + k, s, generator) for k, s in shapes.items()}


def attention_weights(unet, generator):
    out = {}
    for i, name in enumerate(unet.attn_processors):
        if name.endswith("attn2.processor"):
            layer = unet.get_submodule(name.removesuffix(".processor"))
            for part in ("k", "v"):
                key = f"ip_adapter.{i}.to_{part}_ip.weight"
                out[key] = draw_parameter(key, (layer.inner_dim, unet.config.cross_attention_dim), generator)
    return out


def make(folder):
    """The adapters and encoders of tiny-a, in f16 as they are published."""
    unet = load(DATA / "models" / "tiny-a").unet
    for i, name in enumerate(ENCODERS):
        encoder(name, torch.Generator().manual_seed(40 + i)).half().save_pretrained(folder / f"encoder_{name}")
        (folder / f"encoder_{name}" / "model.safetensors").chmod(0o644)
    for i, (name, spec) in enumerate(ADAPTERS.items()):
        generator = torch.Generator().manual_seed(50 + i)
        tensors = image_projection(spec, unet.config.cross_attention_dim, generator) | attention_weights(unet, generator)
        save({k: v.half() for k, v in tensors.items()}, folder / f"ip-adapter_{name}.safetensors")


def pipeline(folder, model, names):
    """A pipeline with those adapters; all of them with one encoder, as diffusers wants it."""
    pipe = load(MINI if model == "mini" else DATA / "models" / model)
    parts = MINI / "ip_adapter" / "image_encoder" if names[0] == "mini" else folder / f"encoder_{ADAPTERS[names[0]][1]}"
    image_encoder = CLIPVisionModelWithProjection.from_pretrained(parts, torch_dtype=torch.float32)
    side = image_encoder.config.image_size
    pipe.register_modules(image_encoder=image_encoder,
                          feature_extractor=CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size=side))
    where = MINI / "ip_adapter" if names[0] == "mini" else folder
    files = ["ip-adapter-plus_kadr.safetensors" if n == "mini" else f"ip-adapter_{n}.safetensors" for n in names]
    pipe.load_ip_adapter([str(where)] * len(files), subfolder=[""] * len(files), weight_name=files, image_encoder_folder=None)
    pipe.unet.float()
    return pipe


def masks(boxes, height, width):
    """Regions as white rectangles, prepared as diffusers' guide does; None: no region."""
    processor, out = IPAdapterMaskProcessor(), []
    for box in boxes:
        if box is None:
            out.append(None)
            continue
        im = Image.new("L", (width, height))
        x0, y0, x1, y1 = (round(v * s) for v, s in zip(box, (width, height, width, height)))
        im.paste(255, (x0, y0, x1, y1))
        out.append(processor.preprocess([im], height=height, width=width).reshape(1, 1, height, width))
    return out


def reference(folder, name):
    return Image.open(folder / f"{name}.png")


def prepare(folder, case):
    """The pipeline of a case with its pictures and scales."""
    model, names, refs, scales = CASES[case][:4]
    pipe = pipeline(folder, model, names)
    pipe.set_ip_adapter_scale(scales if len(scales) > 1 else scales[0])
    return pipe, [[reference(folder, r) for r in rs] for rs in refs]


@torch.no_grad()
def write(folder, case):
    pipe, refs = prepare(folder, case)
    pixels = pipe.feature_extractor(refs[0], return_tensors="pt").pixel_values
    got = pipe.image_encoder(pixels, output_hidden_states=True)
    out = {"pixels": pixels.permute(0, 2, 3, 1), "hidden": got.hidden_states[-2], "embeds": got.image_embeds}
    embeds = pipe.prepare_ip_adapter_image_embeds(refs, None, "cpu", 1, True)
    tokens = pipe.unet.encoder_hid_proj(embeds)
    # [negative and positive, pictures, tokens, cross]
    out |= {f"tokens{i}": t for i, t in enumerate(tokens)}
    h, w = SIZE
    x = unet_inputs(pipe, h, w, torch.Generator().manual_seed(60))
    x |= {"prompt_embeds": x["prompt_embeds"][:, :9], "lengths": torch.full((2,), 9, dtype=torch.int32)}
    boxes = CASES[case][4] if len(CASES[case]) > 4 else None
    extra = {"ip_adapter_masks": masks(boxes, h * 8, w * 8)} if boxes else None
    sample = pipe.unet(x["latents"], x["timestep"][:, 0], encoder_hidden_states=x["prompt_embeds"],
                       cross_attention_kwargs=extra,
                       added_cond_kwargs={"text_embeds": x["text_embeds"], "time_ids": x["time_ids"],
                                          "image_embeds": embeds}).sample
    save(x | out | {"output": sample}, folder / f"{case}.safetensors")


def stop_after(share, steps):
    """The strength falls to 0 behind that share of the steps."""
    def callback(pipe, step, _timestep, kwargs):
        if step + 1 >= share * steps:
            pipe.set_ip_adapter_scale(0.0)
        return kwargs
    return callback


@torch.no_grad()
def draw(folder, model, options, cast):
    """As pipeline.draw, with casts."""
    made = [CASTS[model][c[0]] for c in cast]
    pipe = pipeline(folder, model, [adapter for adapter, _ in made])
    pipe.set_ip_adapter_scale([c[1] for c in cast] if len(cast) > 1 else cast[0][1])
    arguments = whole.arguments_of(options, folder / "pictures" / model)
    arguments["ip_adapter_image"] = [[reference(folder, r) for r in refs] for _, refs in made]
    boxes = [c[2] if len(c) > 2 else None for c in cast]
    if any(boxes):
        arguments["cross_attention_kwargs"] = {"ip_adapter_masks": masks(boxes, options["height"], options["width"])}
    if len(cast[0]) > 3:
        arguments["callback_on_step_end"] = stop_after(cast[0][3], options["steps"])
    latents = whole.pipeline(pipe, options)(output_type="latent", **arguments).images
    return latents, pipe.vae.decode(latents / pipe.vae.config.scaling_factor).sample.permute(0, 2, 3, 1)


def write_pictures(folder, model):
    out = folder / "pictures" / model
    defaults = whole.DEFAULTS.get(model, whole.TINY_DEFAULTS)
    whole.start_pictures(out, defaults["width"], defaults["height"])
    (out / "mask.png").unlink()
    cases = {name: defaults | options for name, (options, _) in PICTURES[model].items()}
    for name, (_, cast) in PICTURES[model].items():
        whole.write(out, name, *draw(folder, model, cases[name], cast), False)
        print(model, name, flush=True)
    save_json(cases, out / "cases.json")
    save_json({name: {"pictures": refs} if adapter == "mini" else
               {"pictures": refs, "adapter": f"ip-adapter_{adapter}.safetensors",
                "image-encoder": f"encoder_{ADAPTERS[adapter][1]}"} for name, (adapter, refs) in CASTS[model].items()},
              out / "casts.json")


def windows(im):
    """Squares of three sizes all over the picture, overlapping by half or more."""
    less = min(im.size)
    for side in (int(less * share) for share in (1, 0.75, 0.5)):
        across, down = im.width - side, im.height - side
        columns, rows = math.ceil(across / (side * 0.5)), math.ceil(down / (side * 0.5))
        for j in range(rows + 1):
            for i in range(columns + 1):
                x, y = across * i // columns if columns else 0, down * j // rows if rows else 0
                yield im.crop((x, y, x + side, y + side))


def cells(states):
    """Patch states [pictures, patches, width], a square of patches, as sums over at most 8x8 parts of the square."""
    across = math.isqrt(states.shape[1])
    count = min(8, across)
    at = [n * across // count for n in range(count + 1)]
    square = states.unflatten(1, (across, across))
    return torch.stack([square[:, at[j]:at[j + 1], at[i]:at[i + 1]].sum((1, 2)) for j in range(count) for i in range(count)], 1)


@torch.no_grad()
def likeness(folder, cast, files):
    """How much of a reference is found in a window: each cell's largest cosine to one of the window's, in their states
    before the last layer, on the mean; of windows and references the largest."""
    pipe = pipeline(folder, "mini", [CASTS["mini"][cast][0]])

    def see(pictures):
        pixels = pipe.feature_extractor(pictures, return_tensors="pt").pixel_values
        states = pipe.image_encoder(pixels, output_hidden_states=True).hidden_states[-2][:, 1:]
        return torch.nn.functional.normalize(cells(states), dim=2)

    references = see([reference(folder, r) for r in CASTS["mini"][cast][1]]).half().float()  # as the file holds them
    return [float(torch.einsum("wpc,rqc->wrqp", see(list(windows(Image.open(folder / f)))), references).amax(3).mean(2).max())
            for f in files]


def write_likeness(folder):
    files = ["pictures/mini/one_0.png", "pictures/mini/blocks_0.png", "high.png"]
    save_json({cast: {"pictures": files, "likeness": likeness(folder, cast, files)} for cast in ("anna", "both")},
              folder / "likeness.json")


def main(data):
    logging.disable(logging.WARNING)
    folder = data / "golden" / "identity"
    pictures(folder)
    make(folder)
    for case in CASES:
        write(folder, case)
        print(case, flush=True)
    for model in PICTURES:
        write_pictures(folder, model)
    write_likeness(folder)
    save_json({case: {"model": spec[0], "adapters": spec[1], "pictures": spec[2], "scales": spec[3],
                      "regions": spec[4] if len(spec) > 4 else None} for case, spec in CASES.items()},
              folder / "cases.json")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    main(parser.parse_args().data)
