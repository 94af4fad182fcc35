"""What diffusers and transformers compute, network by network, for models/mini and every model of models.py.

    python stages.py            writes golden/MODEL/{text,unet_a,unet_b,vae}.safetensors and golden/MODEL/embeds/
    python stages.py --inside DIR   also writes what flows between the UNet's blocks, to look for a fault

All in f32 on f32 copies of the weights, whatever the dtype in which a model is stored.
"""

import argparse
from pathlib import Path

import torch

from common import DATA, folders, load, save, save_json

PROMPTS = ["a red fox with a hat walks in the snowy forest at night, wide shot", "blurry, dark"]
# An even size and one that is odd at every level, both with token counts that fill no tile.
SIZES = {"a": (16, 24), "b": (13, 22)}

# Whole prompts as `kadr generate --save-embeds` writes them: the options of each, by kadr's names.
EMBEDS = {
    "plain": {"prompt": PROMPTS[0]},
    "negative": {"prompt": "close-up of a blue robot", "negative": PROMPTS[1]},
    "empty": {"prompt": "two bears", "empty": "text"},
    "clip_skip_1": {"prompt": "a cat on a ship deck at sunset", "clip-skip": 1},
    "clip_skip_2": {"prompt": "a cat on a ship deck at sunset", "negative": PROMPTS[1], "clip-skip": 2},
    # Fills the 75 places between start and end exactly.
    "long": {"prompt": " ".join(["fox", "bear", "cat", "rabbit", "robot"] * 15)},
}


def tokens(pipe, prompts):
    """Ids of both encoders."""
    return [tokenizer(prompts, padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
            for tokenizer in (pipe.tokenizer, pipe.tokenizer_2)]


def text(pipe):
    out = {}
    for i, (ids, encoder) in enumerate(zip(tokens(pipe, PROMPTS), (pipe.text_encoder, pipe.text_encoder_2))):
        tail = "2" if i else ""
        got = encoder(ids, output_hidden_states=True)
        out["ids" + tail] = ids.int()
        out["hidden" + tail] = got.hidden_states[-2]
        if i:
            eos = [int((row == encoder.config.eos_token_id).nonzero()[0]) for row in ids]
            out["eos2"] = torch.tensor(eos, dtype=torch.int32)
            out["pooled"] = got[0]
    return out


def unet_inputs(pipe, h, w, generator):
    config = pipe.unet.config
    pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
    return {
        "prompt_embeds": torch.randn(2, 77, config.cross_attention_dim, generator=generator),
        "text_embeds": torch.randn(2, pooled, generator=generator),
        "latents": torch.randn(2, config.in_channels, h, w, generator=generator),
        "time_ids": torch.tensor([[h * 8.0, w * 8.0, 0, 0, h * 8.0, w * 8.0], [h * 16.0, w * 8.0, 3, 5, h * 8.0, w * 8.0]]),
        "timestep": torch.tensor([[601.0], [33.0]]),
        "lengths": torch.full((2,), 77, dtype=torch.int32),
    }


def unet(pipe, x):
    dtype = pipe.unet.dtype
    return pipe.unet(x["latents"].to(dtype), x["timestep"][:, 0], encoder_hidden_states=x["prompt_embeds"].to(dtype),
                     added_cond_kwargs={"text_embeds": x["text_embeds"].to(dtype),
                                        "time_ids": x["time_ids"].to(dtype)}).sample


def vae_inputs(h, w, generator):
    return {"latents": torch.randn(1, 4, h, w, generator=generator),
            "clamped": torch.rand(1, h * 8, w * 8, 3, generator=generator) * 2 - 1}


def vae(pipe, x):
    """Pictures have channels last in files."""
    dtype = pipe.vae.dtype
    clamped = x["clamped"].permute(0, 3, 1, 2)
    return {"picture": pipe.vae.decode(x["latents"].to(dtype)).sample.permute(0, 2, 3, 1),
            "moments": pipe.vae.encode(clamped.to(dtype)).latent_dist.parameters}


def embeds(pipe, options):
    """A prompt's embeddings, those of the other side of guidance, and the ids of the prompt."""
    negative = options.get("negative", "" if options.get("empty") == "text" else None)
    skip = options.get("clip-skip", 0)
    names = ("prompt_embeds", "negative_prompt_embeds", "pooled", "negative_pooled")
    got = pipe.encode_prompt(options["prompt"], negative_prompt=negative, clip_skip=skip or None,
                             do_classifier_free_guidance=True)
    ids, ids2 = tokens(pipe, options["prompt"])
    return dict(zip(names, got)) | {"ids": ids.int(), "ids2": ids2.int()}


def watch(module, into):
    """Keeps what every block of the UNet puts out."""
    parts = {"conv_in": module.conv_in, "mid": module.mid_block, "conv_norm_out": module.conv_norm_out}
    parts |= {f"down_{i}": b for i, b in enumerate(module.down_blocks)}
    parts |= {f"up_{i}": b for i, b in enumerate(module.up_blocks)}

    def keep(name):
        def hook(_module, _inputs, output):
            into[name] = output[0] if isinstance(output, tuple) else output
        return hook

    return [part.register_forward_hook(keep(name)) for name, part in parts.items()]


def generators():
    """Each stage has its own, so that a change in one leaves the inputs of the others as they are."""
    return {stage: torch.Generator().manual_seed(11 + i) for i, stage in enumerate(("unet_a", "unet_b", "vae"))}


def unet_golden(pipe, out, tag, h, w, generator, inside=None):
    x, flow = unet_inputs(pipe, h, w, generator), {}
    hooks = watch(pipe.unet, flow) if inside else []
    save(x | {"output": unet(pipe, x)}, out / f"unet_{tag}.safetensors")
    for hook in hooks:
        hook.remove()
    if inside:
        save(flow, inside / f"unet_{tag}.safetensors")


def vae_golden(pipe, out, h, w, generator):
    x = vae_inputs(h, w, generator)
    save(x | vae(pipe, x), out / "vae.safetensors")


def embeds_golden(pipe, out):
    layers = min(e.config.num_hidden_layers for e in (pipe.text_encoder, pipe.text_encoder_2))
    cases = {k: v for k, v in EMBEDS.items() if v.get("clip-skip", 0) < layers}
    for case, options in cases.items():
        save(embeds(pipe, options), out / "embeds" / f"{case}.safetensors")
    save_json(cases, out / "embeds" / "cases.json")


@torch.no_grad()
def main(data, inside):
    for name, folder in folders(data):
        pipe, out, generator = load(folder), data / "golden" / name, generators()
        save(text(pipe), out / "text.safetensors")
        embeds_golden(pipe, out)
        for tag, (h, w) in SIZES.items():
            unet_golden(pipe, out, tag, h, w, generator["unet_" + tag], inside and inside / name)
        vae_golden(pipe, out, 6, 9, generator["vae"])
        print(name)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", type=Path, default=DATA)
    arguments.add_argument("--inside", type=Path, help="folder for the flow between the UNet's blocks")
    given = arguments.parse_args()
    main(given.data, given.inside)
