"""Makes tests/data/sample/trajectories.safetensors: diffusers' schedulers over whole runs of a
closed-form model on 64 numbers.

    python tests/reference/samplers.py

Named sampler/schedule/spacing/prediction/steps/strength, where needed followed by a slash and JSON
with further settings of the scheduler: the latents after each evaluation [E, 64];
times/NAME: its timesteps [E]. The k-th noise that a sampler asks for is torch.randn(64) with seed
100 + k.
"""
import json
from pathlib import Path

import numpy as np
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


def set_sgm_uniform(scheduler, steps):
    """A1111's and ComfyUI's, which no scheduler of diffusers makes by itself: the first n of n + 1
    even times, the logarithm of sigma interpolated between whole ones."""
    table = ((1 - scheduler.alphas_cumprod) / scheduler.alphas_cumprod) ** 0.5
    times = np.linspace(999, 0, steps + 1)[:-1]
    sigmas = np.exp(np.interp(times, np.arange(1000), np.log(table.numpy().astype(np.float64))))
    repeats = scheduler.order  # Heun lists each level but the first for both of its evaluations
    sigmas = np.concatenate([sigmas[:1], np.repeat(sigmas[1:], repeats), [0.0]])
    times = np.concatenate([times[:1], np.repeat(times[1:], repeats)])
    scheduler.sigmas = torch.from_numpy(sigmas.astype(np.float32))
    scheduler.timesteps = torch.from_numpy(times.astype(np.float32))


def trajectory(sampler, schedule, spacing, prediction, steps, strength, settings, noise, clean):
    cls, own = SAMPLERS[sampler]
    config = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
              "prediction_type": prediction, "timestep_spacing": spacing, "steps_offset": 1}
    if schedule in ("karras", "exponential", "beta"):
        config[f"use_{schedule}_sigmas"] = True
    eta = {k: v for k, v in settings.items() if k == "eta"}
    config |= {k: v for k, v in settings.items() if k != "eta"}
    scheduler = cls(**config, **own)
    scheduler.set_timesteps(steps)
    initial = scheduler.init_noise_sigma
    if schedule == "sgm_uniform":
        set_sgm_uniform(scheduler, steps)
        initial = scheduler.sigmas.max() if sampler in ("euler", "heun") else initial
    begin = (steps - min(int(steps * strength), steps)) * scheduler.order
    times = scheduler.timesteps[begin:]
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(begin)
    if strength < 1:
        x = scheduler.add_noise(clean[None], noise[None], times[:1])
    else:
        x = noise[None] * initial
    latents = []
    for k, t in enumerate(times):
        out = model(scheduler.scale_model_input(x, t), t)
        extra = {"generator": torch.Generator().manual_seed(100 + k)} if sampler in NOISY or eta else {}
        x = scheduler.step(out, t, x, **extra, **eta).prev_sample
        latents.append(x[0])
    return torch.stack(latents), times.float()


def settings_cases():
    """What the plain cases leave out; each list of samplers names those that have the setting."""
    def each(samplers, steps, schedule="normal", spacing="leading", prediction="epsilon",
             strength=1.0, **settings):
        for sampler in samplers.split():
            yield sampler, schedule, spacing, prediction, steps, strength, settings

    sigma, table = "euler dpmpp_2m dpmpp_2m_sde unipc heun", "ddim lcm tcd"
    for steps in (1, 5, 12):
        yield from each(sigma, steps, "beta")
        yield from each("euler dpmpp_2m unipc heun", steps, "sgm_uniform")
    yield from each(sigma, 1, "exponential")
    yield from each(sigma, 5, "karras", "trailing")
    yield from each("euler dpmpp_2m unipc", 5, "model", use_karras_sigmas=True)
    yield from each(f"{sigma} {table}", 4, prediction="sample")
    pure = {"prediction": "v_prediction", "rescale_betas_zero_snr": True}
    yield from each("euler euler_a dpmpp_2m dpmpp_2m_sde unipc ddim", 5, spacing="trailing", **pure)
    yield from each("lcm tcd", 4, **pure)
    for betas in ("linear", "squaredcos_cap_v2"):
        yield from each(f"{sigma} {table}", 5, beta_schedule=betas)
    yield from each("dpmpp_2m unipc", 5, "karras", beta_schedule="squaredcos_cap_v2")
    for steps in (5, 20):
        for schedule in ("normal", "karras"):
            yield from each("euler dpmpp_2m dpmpp_2m_sde unipc", steps, schedule,
                            final_sigmas_type="sigma_min")
    yield from each("euler euler_a dpmpp_2m ddim heun", 5, steps_offset=0)
    yield from each("euler dpmpp_2m heun", 12, "karras", strength=0.35)
    yield from each("ddim euler_a dpmpp_2m_sde lcm tcd", 12, strength=0.75)
    for eta in (0.0, 0.5, 1.0):
        yield from each("ddim tcd", 5, eta=eta)
    yield from each("ddim", 12, set_alpha_to_one=False)
    yield from each("ddim", 12, spacing="trailing", set_alpha_to_one=False, eta=0.7)


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
    for *case, settings in [(*case, {}) for case in cases()] + list(settings_cases()):
        name = "/".join([str(part) for part in case] + ([json.dumps(settings)] if settings else []))
        assert name not in tensors, name
        tensors[name], tensors[f"times/{name}"] = trajectory(*case, settings, noise, clean)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, OUT)
    OUT.chmod(0o644)


if __name__ == "__main__":
    main()
