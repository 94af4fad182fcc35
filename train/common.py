"""What every training command shares: arguments, data, and a loop that can be killed and started again.

A run is fixed by its seed and its number of steps. Random numbers are drawn anew for every step from (seed, step,
process), so a run that was interrupted goes on as if it had not been. With --minutes the schedule follows the clock
instead, and two runs are alike but not the same. Several processes (torchrun, one thread each on a CPU) average
their gradients; all see the same weights and different pictures.
"""

import argparse
import copy
import functools
import gc
import json
import math
import os
import random
import time
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch.nn import functional as F

RANK, WORLD = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
CHECKPOINT_SECONDS = 180
WARM = 3  # steps of a kind before its graph is captured


def arguments(description, steps, batch):
    """The options that every training command has."""
    parser = argparse.ArgumentParser(description=description.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the result and of its checkpoint")
    parser.add_argument("--steps", type=int, default=steps, help=f"length of the schedule (default {steps})")
    parser.add_argument("--minutes", type=float, help="length of the schedule in time instead of steps")
    parser.add_argument("--batch", type=int, default=batch, help=f"pictures a step, all processes (default {batch})")
    parser.add_argument("--rate", type=float, help="peak learning rate, instead of the command's own")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--bf16", action="store_true", help="autocast; only where the processor has bf16 products")
    parser.add_argument("--until", type=float, metavar="SECONDS", help="end then (since 1970): --minutes from that")
    parser.add_argument("--wait", action="store_true", help="for what is read and still being made by other commands")
    parser.add_argument("--no-graphs", action="store_true", help="start every kernel from the host, on a GPU too")
    parser.add_argument("--compile", action="store_true", help="torch.compile; wrong gradients were seen on CPUs")
    return parser


def start(args):
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    if WORLD > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if args.device == "cuda" else "gloo")
    if args.device == "cuda":
        torch.cuda.set_device(RANK % torch.cuda.device_count())
        torch.cuda.set_stream(torch.cuda.Stream())  # all on one: a capture may not touch the default stream
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    args.local = args.batch // WORLD  # this process's share of a batch
    args.out.mkdir(parents=True, exist_ok=True)


def autocast(args):
    return torch.autocast(args.device, torch.bfloat16, enabled=args.bf16)


class Norm(torch.nn.GroupNorm):
    """A group norm that autocast leaves in bf16: it sums in f32 inside, and reads and writes half as much."""

    def forward(self, x):
        with torch.autocast(x.device.type, enabled=False):
            return F.group_norm(x, self.num_groups, self.weight.to(x.dtype), self.bias.to(x.dtype), self.eps)


def halve_norms(module):
    for part in module.modules():
        if type(part) is torch.nn.GroupNorm:
            part.__class__ = Norm


@functools.cache
def constant(values, device):
    """A tensor of these numbers, made once: a copy from the host would end the capture of a CUDA graph."""
    return torch.tensor(values, device=device)


def made(path, wait=True):
    """The path, once another command has made it."""
    while wait and not path.exists():
        time.sleep(0.2)
    return path


def compiled(args, module):
    """What to call in the place of `module`."""
    return torch.compile(module, dynamic=False) if args.compile else module


class Data:
    """The folder that dataset.py wrote (and latents.py added to); arrays are mapped, not read."""

    def __init__(self, folder, wait=False, growing=False):
        """growing: what is read may still be rendered; otherwise all frames are there, or waited for."""
        self.folder = Path(folder)
        self.config = json.loads(made(self.folder / "config.json", wait).read_text())
        self.width, self.height = self.config["width"], self.config["height"]
        if not growing and self.until(len(self) if wait else 0) < len(self):
            raise SystemExit(f"{folder}: is not whole")

    def ready(self):
        """How many frames are there, from the first on."""
        try:
            return int((self.folder / "progress").read_text())
        except FileNotFoundError:
            return len(self)

    def until(self, count):
        """Waits for so many frames; gives back how many are there."""
        while (ready := self.ready()) < count:
            time.sleep(0.2)
        return ready

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        array = np.load(self.folder / f"{name}.npy", mmap_mode="r")
        setattr(self, name, array)
        return array

    def __len__(self):
        return self.config["frames"]

    def on(self, device, name, kind=None):
        """A whole array as a tensor of that device."""
        x = torch.from_numpy(np.asarray(getattr(self, name)).astype(kind) if kind else np.array(getattr(self, name)))
        return x.to(device)


def as_tensor(pictures, device="cpu"):
    """uint8 [n, h, w, 3], array or tensor, to [-1, 1], channels first in memory order of convolutions."""
    x = pictures if torch.is_tensor(pictures) else torch.from_numpy(np.ascontiguousarray(pictures))
    x = x.to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
    return x.contiguous(memory_format=torch.channels_last)


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

    On one GPU `take` replays steps as CUDA graphs: at these sizes the host takes longer to start the kernels than the GPU
    to run them.
    """

    def __init__(self, args, modules, groups, averaged, save, floor=0.02, warmup=100, decay=0.998, betas=(0.9, 0.99)):
        self.args, self.modules, self.save_result = args, modules, save
        self.average = {name: copy.deepcopy(modules[name]).requires_grad_(False) for name in averaged}
        self.graphed = args.device == "cuda" and WORLD == 1 and not args.no_graphs
        self.graphs, self.warm = {}, {}
        groups = [{**group, "peak": group["lr"], "lr": self._rate(group["lr"])} for group in groups]
        self.optimizer = torch.optim.AdamW(groups, betas=betas, fused=True, capturable=self.graphed)
        self.parameters = [p for group in groups for p in group["params"]]
        self.floor, self.warmup, self.decay = floor, warmup, decay
        self.step, self.seconds, self.sums = 0, 0.0, {}
        self.path = args.out / "checkpoint.pt"
        if self.path.exists():
            self._resume()

    def _rate(self, value):
        return torch.tensor(value, device=self.args.device) if self.graphed else value

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
        before, minutes = self.seconds, self.args.minutes
        if self.args.until:
            minutes = (before + self.args.until - time.time()) / 60
        whole = None if minutes is None else max(minutes * 60, 1e-9)
        while (done := self.seconds / whole if whole else self.step / self.args.steps) < 1:
            shape = self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * done))
            for group in self.optimizer.param_groups:
                rate = group["peak"] * min(1, (self.step + 1) / self.warmup) * shape
                if self.graphed:
                    group["lr"].fill_(rate)
                else:
                    group["lr"] = rate
            yield done, Dice(self.args.seed, self.step)
            self.seconds = before + time.monotonic() - began
            if time.monotonic() - saved > CHECKPOINT_SECONDS:
                self.checkpoint()
                saved = time.monotonic()
        self.checkpoint()
        (self.args.out / "done").touch()

    def update(self, loss, **figures):
        """One step down the loss; figures are for the log."""
        told = self._down(loss, figures)
        self.optimizer.zero_grad()
        self._note(told)

    def take(self, step, *kind):
        """One step down: step(*kind) gives the loss and a dictionary of figures. Steps of one kind have the same shapes; what
        is in a step may not look at values: no Python numbers out of tensors, no tensors out of Python numbers that change."""
        if not self.graphed:
            loss, figures = step(*kind)
            self.update(loss, **figures)
            return
        if kind not in self.graphs and self.warm.get(kind, 0) < WARM:
            self.warm[kind] = self.warm.get(kind, 0) + 1
            told = self._down(*step(*kind))
            self.optimizer.zero_grad()
        else:
            if kind not in self.graphs:
                self._capture(step, kind)
            graph, told = self.graphs[kind]
            graph.replay()
        self._note(told)

    def _capture(self, step, kind):
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        gc.collect()
        gc.disable()  # what ends in a capture becomes part of it
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            told = self._down(*step(*kind))
        gc.enable()
        self.optimizer.zero_grad()
        self.graphs[kind] = graph, told

    def _down(self, loss, figures):
        loss.backward()
        if WORLD > 1:
            self._average_gradients()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        return {
            name: value.detach() if torch.is_tensor(value) else value
            for name, value in {"loss": loss, **figures}.items()
        }

    def _note(self, told):
        """Counts a step, moves the averages; what is told is averaged over fifty steps into the log."""
        self.step += 1
        keep = min(self.decay, (self.step + 1) / (self.step + 10))
        for name, module in self.average.items():
            torch._foreach_lerp_(list(module.parameters()), list(self.modules[name].parameters()), 1 - keep)
        for name, value in told.items():
            total, count = self.sums.get(name, (0.0, 0))
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
        line |= {name: round(float(total) / count, 5) for name, (total, count) in self.sums.items()}
        self.sums = {}
        with open(self.args.out / "log.jsonl", "a") as log:
            log.write(json.dumps(line) + "\n")
        print(line, flush=True)
