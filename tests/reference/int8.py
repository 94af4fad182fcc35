"""How far the UNet in int8 is from f32: PyTorch with layers that quantise as kadr's scheme says. Run stages.py first.

    python int8.py                          writes golden/int8.json: the bars for kadr's int8
    python int8.py --kinds FOLDER           prints the error that each kind of layer brings alone, with FOLDER's UNet

Weights: [-127, 127] by each output channel's largest magnitude. Inputs: linear layers (stored as 1x1 convolutions or
not) by each row's; with --kinds other convolutions by each sample's. Products of the integers are exact here too; values
between layers are bf16 (f32 with --kinds). Which way single numbers are rounded is chance, and in tiny models it shows: a bar is
the largest error of PASSES passes, all but the first with latents that are disturbed by a thousandth. Convolutions and the
embeddings of time and labels are left alone.
"""

import argparse
from pathlib import Path
from types import SimpleNamespace

import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file

from common import DATA, folders, load, relative, save_json
from stages import SIZES, unet, unet_inputs

PASSES = 25
STAY = ("conv", "conv1", "conv2", "conv_shortcut", "conv_in", "conv_out", "time_embedding", "add_embedding", "time_emb_proj")


def quantised(x, dims):
    """x as it is after a round trip through int8, one scale for all that `dims` runs over."""
    x = x.float()
    scale = x.abs().amax(dims, keepdim=True) / 127
    return torch.where(scale > 0, torch.round(x / scale).clamp(-127, 127) * scale, x)


def quantise_linear(module, x):
    bias = None if module.bias is None else module.bias.float()
    return torch.nn.functional.linear(quantised(x, (-1,)), module.as_int8(), bias).to(x.dtype)


def quantise_conv(module, x):
    bias = None if module.bias is None else module.bias.float()
    dims = (1,) if module.kernel_size == (1, 1) else (1, 2, 3)
    return module._conv_forward(quantised(x, dims), module.as_int8(), bias).to(x.dtype)


def kind_of(name):
    """A layer's kind, as reports name it."""
    for end, kind in (("conv_shortcut", "shortcuts (1x1, stay)"), ("conv1", "resnet convolutions (stay)"),
                      ("conv2", "resnet convolutions (stay)"), ("samplers.0.conv", "down- and upsamplers (stay)"),
                      ("proj_in", "proj_in, proj_out"), ("proj_out", "proj_in, proj_out"),
                      ("ff.net.0.proj", "ff, first (GEGLU)"), ("ff.net.2", "ff, second"), ("attn2.to_k", "to_k, to_v of the prompt"),
                      ("attn2.to_v", "to_k, to_v of the prompt"),
                      ("to_out.0", "to_out"), ("to_q", "to_q, to_k, to_v"), ("to_k", "to_q, to_k, to_v"),
                      ("to_v", "to_q, to_k, to_v"), ("conv_in", "conv_in (stays)"), ("conv_out", "conv_out (stays)"),
                      ("time_emb_proj", "time_emb_proj (stays)")):
        if name.endswith(end):
            return kind
    return "time and label embeddings (stay)"


def quantise(model, exact, pick):
    """Layers for which pick(name) holds; weights are those of `exact`, quantised when they are used: at full shape there
    is no room for two."""
    sources = dict(exact.named_modules())
    for name, module in model.named_modules():
        conv = isinstance(module, torch.nn.Conv2d)
        if not (conv or isinstance(module, torch.nn.Linear)) or not pick(name):
            continue
        weight = sources[name].weight
        module.as_int8 = lambda weight=weight: quantised(weight, tuple(range(1, weight.dim())))
        module.forward = (quantise_conv if conv else quantise_linear).__get__(module)
    return model


def stays(name):
    return any(part in STAY for part in name.split("."))


def stage_errors(folder, golden):
    exact, pipe, out = load(folder), load(folder, torch.bfloat16), {}
    quantise(pipe.unet, exact.unet, lambda name: not stays(name))
    for tag in SIZES:
        x, generator = load_file(golden / f"unet_{tag}.safetensors"), torch.Generator().manual_seed(5)
        latents, errors = x["latents"], []
        for i in range(PASSES):
            if i:
                x["latents"] = latents * (1 + 1e-3 * torch.randn(latents.shape, generator=generator))
            errors.append(relative(unet(pipe, x), unet(exact, x) if i else x["output"]))
        out[f"unet_{tag}.output"] = {key: max(e[key] for e in errors) for key in errors[0]}
    return out


def restore(model):
    for module in model.modules():
        module.__dict__.pop("forward", None)


def kind_errors(folder):
    model = UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=torch.float32)
    pipe = SimpleNamespace(unet=model)
    x = unet_inputs(pipe, *SIZES["a"], torch.Generator().manual_seed(11))
    want = unet(pipe, x)
    layers = [n for n, m in model.named_modules() if isinstance(m, (torch.nn.Linear, torch.nn.Conv2d))]
    picks = {kind: lambda name, kind=kind: kind_of(name) == kind for kind in sorted({kind_of(n) for n in layers})}
    for kind, pick in (picks | {"all that are in int8": lambda name: not stays(name)}).items():
        quantise(model, model, pick)
        yield kind, relative(unet(pipe, x), want)["l2"]
        restore(model)


@torch.no_grad()
def main(data, kinds):
    if kinds is not None:
        for kind, error in kind_errors(kinds):
            print(f"{kind:36} {error:.2e}", flush=True)
        return
    stages = {name: stage_errors(folder, data / "golden" / name) for name, folder in folders(data)}
    print(*(f"{m} {s} {e}" for m, x in stages.items() for s, e in x.items()), sep="\n")
    save_json({"stages": stages}, data / "golden" / "int8.json")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--kinds", type=Path, metavar="FOLDER")
    given = parser.parse_args()
    main(given.data, given.kinds)
