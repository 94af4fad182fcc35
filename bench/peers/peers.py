#!/usr/bin/env python3
"""kadr beside PyTorch (diffusers) and OpenVINO: UNet steps with CFG and the VAE's decode, in bf16, same model, same shapes.

    python peers.py convert MODEL FOLDER              writes the UNet for OpenVINO into FOLDER, once; takes minutes
    python peers.py measure RESULTS ENGINE [...]      one piece of a run: one engine, a few steps; appends to RESULTS
    python peers.py table RESULTS                     medians and ratios of all pieces as a table in Markdown

MODEL is a diffusers folder; tests/reference/fullshape.py makes one of SDXL's shape with random weights. Engines are kadr,
torch, openvino (steps), kadr-vae and torch-vae (decode), peak (what the machine can do at most). Each piece is a process
of its own, because two engines do not fit into the memory of an ordinary machine; call them in turns, a few rounds, on a
machine that has nothing else to do:

    for round in 1 2 3; do for e in peak kadr openvino torch; do python peers.py measure r.json $e ...; done; done

requirements.txt names the packages. A step of PyTorch and OpenVINO is the UNet alone, on a batch of both branches.
"""

import argparse
import json
import os
import pathlib
import resource
import statistics
import subprocess
import time

CHANNELS, TOKENS, WIDTH, POOLED = 4, 77, 2048, 1280
TFLOP = {512: 3.18, 768: 7.28, 1024: 13.52}  # of a step with both branches, as diffusers computes it
TFLOP_VAE = {768: 5.75}


def inputs(torch, size, dtype):
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(shape, generator=generator).to(dtype)

    side = size // 8
    return (normal(2, CHANNELS, side, side), torch.tensor(500.0), normal(2, TOKENS, WIDTH), normal(2, POOLED),
            torch.tensor([[size, size, 0, 0, size, size]] * 2).to(dtype))


def unet_of(torch, model, dtype):
    from diffusers import UNet2DConditionModel

    class Unet(torch.nn.Module):
        """The UNet with plain arguments."""

        def __init__(self):
            super().__init__()
            self.unet = UNet2DConditionModel.from_pretrained(pathlib.Path(model) / "unet", torch_dtype=dtype).eval()

        def forward(self, sample, timestep, hidden, pooled, time_ids):
            added = {"text_embeds": pooled, "time_ids": time_ids}
            return self.unet(sample, timestep, hidden, added_cond_kwargs=added, return_dict=False)[0]

    return Unet()


def timed(steps, run):
    run()
    seconds = []
    for _ in range(steps):
        start = time.monotonic()
        run()
        seconds.append(time.monotonic() - start)
    return seconds


# ---- Engines: each gives the seconds of `steps` evaluations after a first one


def torch_steps(o):
    import torch
    torch.set_num_threads(o.threads)
    unet, example = unet_of(torch, o.model, torch.bfloat16), inputs(torch, o.size, torch.bfloat16)
    with torch.inference_mode():
        return timed(o.steps, lambda: unet(*example))


def openvino_steps(o):
    import openvino
    import torch
    core = openvino.Core()
    model = core.read_model(pathlib.Path(o.openvino) / "unet.xml")
    example = [x.numpy() for x in inputs(torch, o.size, torch.float32)]
    model.reshape({i: list(x.shape) for i, x in enumerate(example)})
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "bf16", "INFERENCE_NUM_THREADS": o.threads,
                                                 "PERFORMANCE_HINT": "LATENCY"})
    del model
    request = compiled.create_infer_request()
    return timed(o.steps, lambda: request.infer(example))


def kadr_steps(o):
    out = subprocess.run([o.kadr, "bench", "--step", "-m", o.packed or o.model, "-W", str(o.size), "-H", str(o.size),
                          "--precision", "bf16", "--steps", str(o.steps), "-t", str(o.threads), "--json"],
                         check=True, capture_output=True, text=True).stdout
    return json.loads(out)["steps"]


def kadr_vae(o):
    seconds = []
    for i in range(o.steps):
        out = subprocess.run([o.kadr, "generate", "a fox", "-m", o.packed or o.model, "-W", str(o.size), "-H", str(o.size),
                              "--steps", "1", "--precision", "bf16", "-t", str(o.threads), "--json", "-o", f"{o.results}.png"],
                             check=True, capture_output=True, text=True).stdout
        seconds.append(json.loads(out)["pictures"][0]["report"]["seconds_decode"])
    return seconds


def torch_vae(o):
    import torch
    from diffusers import AutoencoderKL
    torch.set_num_threads(o.threads)
    vae = AutoencoderKL.from_pretrained(pathlib.Path(o.model) / "vae", torch_dtype=torch.bfloat16).eval()
    latents = inputs(torch, o.size, torch.bfloat16)[0][:1]
    with torch.inference_mode():
        return timed(o.steps, lambda: vae.decode(latents))


def peak(o):
    """Not seconds but GFLOP/s."""
    program = pathlib.Path(o.kadr).parent / "tests/kernels/kernelcheck"
    return [json.loads(subprocess.run([program, "--peak"], check=True, capture_output=True, text=True).stdout)["bf16_gflop_per_second"]]


ENGINES = {"kadr": kadr_steps, "torch": torch_steps, "openvino": openvino_steps, "kadr-vae": kadr_vae, "torch-vae": torch_vae,
           "peak": peak}
NAMES = {"kadr": "kadr bf16", "torch": "PyTorch {torch} bf16 (diffusers {diffusers})", "openvino": "OpenVINO {openvino} bf16",
         "kadr-vae": "kadr bf16", "torch-vae": "PyTorch {torch} bf16"}


# ---- How quiet the machine was


def own_seconds():
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def busy_seconds():
    """Processor time that anybody took."""
    user, nice, system, _, _, irq, softirq = map(int, pathlib.Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


# ---- Commands


def convert(o):
    import openvino
    import torch
    from openvino.frontend.pytorch.patch_model import __make_16bit_traceable as make_traceable
    unet = unet_of(torch, o.model, torch.float16)
    make_traceable(unet)
    with torch.inference_mode():
        model = openvino.convert_model(unet, example_input=inputs(torch, 64, torch.float32))
    del unet
    pathlib.Path(o.folder).mkdir(parents=True, exist_ok=True)
    openvino.save_model(model, pathlib.Path(o.folder) / "unet.xml")


def measure(o):
    start, own, busy = time.monotonic(), own_seconds(), busy_seconds()
    seconds = ENGINES[o.engine](o)
    others = 1 - (own_seconds() - own) / max(busy_seconds() - busy, 1e-9)
    path = pathlib.Path(o.results)
    pieces = json.loads(path.read_text()) if path.exists() else []
    pieces.append({"engine": o.engine, "size": o.size, "threads": o.threads, "seconds": seconds, "others": others})
    path.write_text(json.dumps(pieces, indent=1))
    print(o.engine, [round(s, 3) for s in seconds], f"(in all {time.monotonic() - start:.0f} s, {others:.0%} of the processor for others)",
          flush=True)


def table(o):
    versions = dict(line.split("==") for line in (pathlib.Path(__file__).parent / "requirements.txt").read_text().split())
    pieces = json.loads(pathlib.Path(o.results).read_text())
    runs = {}
    for p in pieces:
        runs.setdefault((p["size"], p["engine"]), []).extend(p["seconds"])
    best = max(sum((r for (_, e), r in runs.items() if e == "peak"), []), default=0)
    for title, engines, work in (("one UNet step with CFG", ("kadr", "openvino", "torch"), TFLOP),
                                 ("VAE decode", ("kadr-vae", "torch-vae"), TFLOP_VAE)):
        for size in sorted({s for s, e in runs if e in engines}):
            print(f"\n| {title}, {size}x{size} | runs | median | best | kadr is | of the peak |\n|---|---|---|---|---|---|")
            own = statistics.median(runs.get((size, engines[0]), [0]))
            for e in engines:
                if (size, e) not in runs:
                    continue
                median = statistics.median(runs[size, e])
                share = f"{work[size] * 1e5 / median / best:.1f} %" if size in work and best else ""
                ratio = f"{median / own:.2f}x as fast" if e != engines[0] and own else ""
                name = NAMES[e].format(**versions)
                print(f"| {name} | {len(runs[size, e])} | {median:.2f} s | {min(runs[size, e]):.2f} s | {ratio} | {share} |")
    print(f"\nThe machine's peak in bf16, measured in turn with them: {best:.0f} GFLOP/s on {pieces[0]['threads']} threads. Other programs took "
          f"{max(p['others'] for p in pieces if p['engine'] != 'peak'):.0%} of the processor at most.")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    c = commands.add_parser("convert")
    c.add_argument("model")
    c.add_argument("folder")
    c.set_defaults(run=convert)
    m = commands.add_parser("measure")
    m.add_argument("results")
    m.add_argument("engine", choices=ENGINES)
    m.add_argument("--model")
    m.add_argument("--packed", help="the same model as kadr packed it")
    m.add_argument("--openvino", help="what convert made")
    m.add_argument("--kadr", default="build/kadr")
    m.add_argument("--size", type=int, default=768)
    m.add_argument("--steps", type=int, default=3)
    m.add_argument("--threads", type=int, default=2)
    m.set_defaults(run=measure)
    t = commands.add_parser("table")
    t.add_argument("results")
    t.set_defaults(run=table)
    o = parser.parse_args()
    o.run(o)


if __name__ == "__main__":
    main()
