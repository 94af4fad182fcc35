"""Makes tests/data/sample/trajectories.safetensors: diffusers' schedulers over whole runs of a
closed-form model on 64 numbers.

    python tests/reference/samplers.py

Named sampler/schedule/spacing/prediction/steps/strength: the latents after each evaluation [E, 64];
times/NAME: its timesteps [E]. The k-th noise that a sampler asks for is torch.randn(64) with seed
100 + k.
"""
from pathlib import Path

import torch
from diffusers import (DDIMScheduler, DPMSolverMultistepScheduler, EulerAncestralDiscreteScheduler,
                       EulerDiscreteScheduler, HeunDiscreteScheduler, LCMScheduler, TCDScheduler,
                       UniPCMultistepScheduler)
from safetensors.torch import save_file

OUT = Path(__file__).resolve().parents[1] / "data" / "sample" / "trajectories.safetensors"
COUNT = 64

SAMPLERS = {
    "euler": (EulerDiscreteScheduler, {}),
    "euler_a": (EulerAncestralDiscreteScheduler, {}),
    "dpmpp_2m": (DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver++"}),
    "dpmpp_2m_sde": (DPMSolverMultistepScheduler, {"algorithm_type": "sde-dpmsolver++"}),
    "unipc": (UniPCMultistepScheduler, {}),
    "heun": (HeunDiscreteScheduler, {}),
    "ddim": (DDIMScheduler, {"clip_sample": False}),
    "lcm": (LCMScheduler, {}),
    "tcd": (TCDScheduler, {}),
}
NOISY = ("euler_a", "dpmpp_2m_sde", "lcm", "tcd")
DISTILLED = ("lcm", "tcd")
SHAPED = ("euler", "dpmpp_2m", "dpmpp_2m_sde", "unipc", "heun")


def model(x, t):
    """The test computes the same."""
    i = torch.arange(COUNT, dtype=torch.float32)
    return 0.6 * x + 0.4 * torch.sin(0.01 * t.float() + 0.37 * i)


def trajectory(sampler, schedule, spacing, prediction, steps, strength, noise, clean):
    cls, own = SAMPLERS[sampler]
    config = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
              "prediction_type": prediction, "timestep_spacing": spacing, "steps_offset": 1}
    if schedule != "normal":
        config[f"use_{schedule}_sigmas"] = True
    scheduler = cls(**config, **own)
    scheduler.set_timesteps(steps)
    begin = (steps - min(int(steps * strength), steps)) * scheduler.order
    times = scheduler.timesteps[begin:]
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(begin)
    if strength < 1:
        x = scheduler.add_noise(clean[None], noise[None], times[:1])
    else:
        x = noise[None] * scheduler.init_noise_sigma
    latents = []
    for k, t in enumerate(times):
        out = model(scheduler.scale_model_input(x, t), t)
        extra = {"generator": torch.Generator().manual_seed(100 + k)} if sampler in NOISY else {}
        x = scheduler.step(out, t, x, **extra).prev_sample
        latents.append(x[0])
    return torch.stack(latents), times.float()


def cases():
    for sampler in SAMPLERS:
        spacings = ("leading",) if sampler in DISTILLED else ("leading", "trailing", "linspace")
        for spacing in spacings:
            for steps in (1, 2, 4, 5, 12, 20):
                yield sampler, "normal", spacing, "epsilon", steps, 1.0
        yield sampler, "normal", "leading", "v_prediction", 5, 1.0
        yield sampler, "normal", spacings[-1], "epsilon", 8, 0.6
        if sampler in SHAPED:
            for schedule in ("karras", "exponential"):
                for steps in (2, 5, 12):
                    yield sampler, schedule, "leading", "epsilon", steps, 1.0


def main():
    noise = torch.randn(COUNT, generator=torch.Generator().manual_seed(1))
    clean = torch.randn(COUNT, generator=torch.Generator().manual_seed(2)) * 0.8
    tensors = {"noise": noise, "clean": clean}
    for case in cases():
        name = "/".join(str(part) for part in case)
        tensors[name], tensors[f"times/{name}"] = trajectory(*case, noise, clean)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, OUT)
    OUT.chmod(0o644)


if __name__ == "__main__":
    main()
