"""What every training command shares: arguments, data, and a loop that can be killed and started again.

A run is fixed by its seed and its number of steps. Random numbers are drawn anew for every step from (seed, step,
process), so a run that was interrupted goes on as if it had not been. Several processes (torchrun, one thread each
on a CPU) average their gradients; all see the same weights and different pictures.
"""

import argparse
import copy
import json
import math
import os
import random
import time
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

RANK, WORLD = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
CHECKPOINT_SECONDS = 600


def arguments(description, steps, batch):
    """The options that every training command has."""
    parser = argparse.ArgumentParser(description=description.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the result and of its checkpoint")
    parser.add_argument("--steps", type=int, default=steps, help=f"length of the schedule (default {steps})")
    parser.add_argument("--batch", type=int, default=batch, help=f"pictures a step, all processes (default {batch})")
    parser.add_argument("--rate", type=float, help="peak learning rate, instead of the command's own")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--bf16", action="store_true", help="autocast; only where the processor has bf16 products")
    return parser


def start(args):
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    if WORLD > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if args.device == "cuda" else "gloo")
    if args.device == "cuda":
        torch.cuda.set_device(RANK % torch.cuda.device_count())
    args.local = args.batch // WORLD  # this process's share of a batch
    args.out.mkdir(parents=True, exist_ok=True)


def autocast(args):
    return torch.autocast(args.device, torch.bfloat16, enabled=args.bf16)


class Data:
    """The folder that dataset.py wrote (and latents.py added to); arrays are mapped, not read."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.config = json.loads((self.folder / "config.json").read_text())
        self.width, self.height = self.config["width"], self.config["height"]

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        array = np.load(self.folder / f"{name}.npy", mmap_mode="r")
        setattr(self, name, array)
        return array

    def __len__(self):
        return self.config["frames"]


def as_tensor(pictures, device="cpu"):
    """uint8 [n, h, w, 3] to [-1, 1], channels first in memory order of the processor's convolutions."""
    x = torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1
    return x.to(device).contiguous(memory_format=torch.channels_last)


def as_pictures(x):
    return ((x.float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()


class Dice:
    """The random numbers of one step, for Python, numpy and torch."""

    def __init__(self, seed, step):
        mixed = (seed * 1_000_003 + step) * 131 + RANK
        self.python, self.numpy = random.Random(mixed), np.random.default_rng(mixed)
        torch.manual_seed(mixed)


class Trainer:
    """AdamW over named modules with warm-up, cosine decay, clipping, moving averages, log and checkpoint.

    modules: name -> module, saved in the checkpoint. groups: optimiser groups, each with its own peak rate in
    "lr". For each of averaged (names) a moving average of the weights is kept in `average[name]`: that is what to
    ship. save: called with the trainer at every checkpoint and at the end.
    """

    def __init__(self, args, modules, groups, averaged, save, floor=0.02, warmup=100, decay=0.998, betas=(0.9, 0.99)):
        self.args, self.modules, self.save_result = args, modules, save
        self.average = {name: copy.deepcopy(modules[name]).requires_grad_(False) for name in averaged}
        groups = [{**group, "peak": group["lr"]} for group in groups]
        self.optimizer = torch.optim.AdamW(groups, betas=betas, fused=args.device == "cpu")
        self.parameters = [p for group in groups for p in group["params"]]
        self.floor, self.warmup, self.decay = floor, warmup, decay
        self.step, self.seconds, self.sums = 0, 0.0, {}
        self.path = args.out / "checkpoint.pt"
        if self.path.exists():
            self._resume()

    def _resume(self):
        state = torch.load(self.path, map_location=self.args.device)
        for name, module in self.modules.items():
            module.load_state_dict(state["modules"][name])
        for name, module in self.average.items():
            module.load_state_dict(state["average"][name])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds = state["step"], state["seconds"]

    def checkpoint(self):
        if RANK:
            return
        state = {
            "modules": {name: m.state_dict() for name, m in self.modules.items()},
            "average": {name: m.state_dict() for name, m in self.average.items()},
            "optimizer": self.optimizer.state_dict(), "step": self.step, "seconds": self.seconds,
        }  # fmt: skip
        torch.save(state, self.path.with_suffix(".new"))
        os.replace(self.path.with_suffix(".new"), self.path)
        self.save_result(self)

    def steps(self):
        """Yields (part of the schedule done, the step's dice); the body calls `update` once."""
        saved = began = time.monotonic()
        before = self.seconds
        while self.step < self.args.steps:
            done = self.step / self.args.steps
            shape = self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * done))
            for group in self.optimizer.param_groups:
                group["lr"] = group["peak"] * min(1, (self.step + 1) / self.warmup) * shape
            yield done, Dice(self.args.seed, self.step)
            self.seconds = before + time.monotonic() - began
            if time.monotonic() - saved > CHECKPOINT_SECONDS:
                self.checkpoint()
                saved = time.monotonic()
        self.checkpoint()

    def update(self, loss, **figures):
        """One step down the loss; the figures are averaged over fifty steps into the log."""
        loss.backward()
        if WORLD > 1:
            self._average_gradients()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1
        keep = min(self.decay, (self.step + 1) / (self.step + 10))
        for name, module in self.average.items():
            torch._foreach_lerp_(list(module.parameters()), list(self.modules[name].parameters()), 1 - keep)
        for name, value in {"loss": loss, **figures}.items():
            total, count = self.sums.get(name, (0.0, 0))
            value = value.item() if torch.is_tensor(value) else value
            self.sums[name] = (total + value, count + 1)
        if self.step % 50 == 0 and RANK == 0:
            self._log()

    def _average_gradients(self):
        grads = [p.grad for p in self.parameters if p.grad is not None]
        flat = torch.cat([g.reshape(-1) for g in grads])
        dist.all_reduce(flat)
        flat /= WORLD
        for g, part in zip(grads, flat.split([g.numel() for g in grads])):
            g.copy_(part.view_as(g))

    def _log(self):
        line = {"step": self.step, "seconds": round(self.seconds), "samples": self.step * self.args.batch}
        line |= {name: round(total / count, 5) for name, (total, count) in self.sums.items()}
        self.sums = {}
        with open(self.args.out / "log.jsonl", "a") as log:
            log.write(json.dumps(line) + "\n")
        print(line, flush=True)
