"""The judge: a small network that reads every attribute off a picture.

    python judge.py train DATA --out runs/judge        and reports its accuracy on fresh held-out renders, clean and
                                                       degraded, and that for accessories by shot; --from goes on
                                                       from an earlier one
    python judge.py read runs/judge PICTURE...         says what it sees

It is trained on renders that are blurred, halved, noised and shifted in light, because what it will judge has gone
through a VAE, and whose lines tremble and are smeared in places, because it was drawn by a model. With --vae THROUGH of them go through that VAE itself, with noise on
their latents. For each field it looks at a few places of its choice (maps of weights over the picture), so that a
character is read alike wherever it stands. Of two characters it names the left one first. One look a field is not enough: it rests on the head, learns hats and
glasses, and stays blind to what is worn on the body.
"""

import argparse
import json
import math
import random
import sys
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image
from torch import nn
from torch.nn import functional as F

from common import Data, Trainer, arguments, as_pictures, as_tensor, autocast, start
from scenes.frame import render
from scenes.world import FIELDS, IDENTITY, NAMES, from_index, sample, to_index

CHANNELS = ((24, 2), (48, 2), (48, 1), (96, 2), (96, 1), (128, 2), (128, 1))  # outputs and strides
THROUGH, LATENT_NOISE = 0.15, 0.5  # of a batch goes through the VAE; the most noise there, of latents with deviation 1
LOOKS = 4  # places that each field looks at
WEIGHT = {"kind": 2.0, "col": 2.0, "acc": 4.0, "acol": 2.0}  # the character's fields are the hard ones


class Judge(nn.Module):
    def __init__(self, width, height):
        super().__init__()
        layers, inputs = [], 3
        for outputs, stride in CHANNELS:
            layers += [nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
            inputs = outputs
        self.trunk = nn.Sequential(*layers)
        self.position = nn.Parameter(torch.zeros(1, inputs, -(-height // 16), -(-width // 16)))
        self.where = nn.Conv2d(inputs, len(NAMES) * LOOKS, 1)
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear((LOOKS + 1) * inputs, 96), nn.ReLU(), nn.Linear(96, len(values)))
            for values in FIELDS.values()
        )

    def forward(self, x):
        features = self.trunk(x) + self.position
        weights = self.where(features).flatten(2).softmax(2)
        features = features.flatten(2)
        looked = (weights @ features.transpose(1, 2)).unflatten(1, (len(NAMES), LOOKS)).flatten(2)
        mean = features.mean(2)
        return [head(torch.cat([looked[:, k], mean], 1)) for k, head in enumerate(self.heads)]


def load(folder):
    config = json.loads((Path(folder) / "config.json").read_text())
    judge = Judge(config["width"], config["height"])
    judge.load_state_dict(torch.load(Path(folder) / "judge.pt"))
    return judge.eval()


@torch.no_grad()
def read(judge, pictures, batch=64):
    """Index vectors of what is seen, for uint8 pictures [n, h, w, 3]."""
    seen = [
        torch.stack([part.argmax(1) for part in judge(as_tensor(pictures[at : at + batch]))], 1)
        for at in range(0, len(pictures), batch)
    ]
    return torch.cat(seen).numpy()


def counted(asked, name):
    """Rows in which a field means something: the colour of an accessory that is there, the looks of a second who is."""
    column = {n: asked[:, NAMES.index(n)] for n in ("acc", "kind2", "acc2")}
    worn = {"acol": column["acc"] > 0, "acol2": (column["acc2"] > 0) & (column["kind2"] > 0)}
    if name in ("col2", "acc2"):
        return column["kind2"] > 0
    return worn.get(name, column["acc"] >= 0)


def left_first(attributes):
    """Attributes as the judge names them: two characters from left to right."""
    out = attributes.clone() if torch.is_tensor(attributes) else attributes.copy()
    side = NAMES.index("side")
    swapped = (out[:, NAMES.index("kind2")] > 0) & (out[:, side] == FIELDS["side"].index("right"))
    for name in IDENTITY:
        first, second = NAMES.index(name), NAMES.index(name + "2")
        other = 1 if name == "kind" else 0  # "none" is the first kind of a second character
        a, b = out[swapped, first], out[swapped, second]
        out[swapped, first], out[swapped, second] = b - other, a + other
    out[swapped, side] = FIELDS["side"].index("left")
    return out


def accuracy(seen, asked):
    """Per field the part read right, of the rows where it counts."""
    out = {}
    for k, name in enumerate(NAMES):
        rows = counted(asked, name)
        out[name] = round(float((seen[rows, k] == asked[rows, k]).mean()), 3) if rows.any() else None
    return out


def by_shot(seen, asked, name="acc"):
    """Accuracy of one field in close-ups, medium and wide shots."""
    shot, k = asked[:, NAMES.index("shot")], NAMES.index(name)
    return {value: round(float((seen[shot == i, k] == asked[shot == i, k]).mean()), 3) for i, value in enumerate(FIELDS["shot"])}


def smooth(x, channels, cells):
    """Noise in so many cells across, as large as the pictures."""
    noise = torch.randn(len(x), channels, max(2, cells * x.shape[2] // x.shape[3]), cells, device=x.device)
    return F.interpolate(noise, x.shape[2:], mode="bicubic")


def tremble(x, cells, pixels):
    """Every place moved by about so many pixels, near ones alike."""
    h, w = x.shape[2:]
    grid = F.affine_grid(torch.eye(2, 3, device=x.device).expand(len(x), 2, 3), x.shape, align_corners=False)
    moved = smooth(x, 2, cells).permute(0, 2, 3, 1) * torch.tensor([2 / w, 2 / h], device=x.device) * pixels
    return F.grid_sample(x, grid + moved, padding_mode="border", align_corners=False)


def smear(x, above):
    """Blurred where a noise is above that."""
    return torch.where(smooth(x, 1, 12) > above, F.avg_pool2d(x, 7, 1, 3), x)


def degrade(x, rng):
    """What a model, a VAE, a resize or another screen does to a picture; x in [-1, 1]."""
    if rng.random() < 0.6:
        x = tremble(x, rng.choice((8, 16, 32)), rng.uniform(0, 2.5))
    if rng.random() < 0.4:
        x = smear(x, rng.uniform(0.3, 1.5))
    kind = rng.random()
    if kind < 0.35:
        x = F.interpolate(F.avg_pool2d(x, 2), scale_factor=2, mode="bilinear")
    elif kind < 0.6:
        part = rng.uniform(0.3, 0.9)
        x = x * (1 - part) + F.avg_pool2d(x, 3, 1, 1) * part
    if rng.random() < 0.3:
        x = x * rng.uniform(0.85, 1.1) + rng.uniform(-0.08, 0.08)
    return x + torch.randn_like(x) * rng.uniform(0, 0.1)


@torch.no_grad()
def through(vae, x):
    """What comes back of pictures whose latents are a little wrong."""
    z = vae.encode(x.to(vae.dtype)).latent_dist.mean
    noise = torch.randn_like(z) * torch.rand(len(z), 1, 1, 1, device=z.device).square() * LATENT_NOISE
    return vae.decode(z + noise.to(z.dtype) / vae.config.scaling_factor).sample.float().clamp(-1, 1)


def loss_of(said, asked):
    loss, figures = 0, {}
    for k, (name, part) in enumerate(zip(NAMES, said)):
        rows = counted(asked, name).float()
        each = F.cross_entropy(part.float(), asked[:, k], label_smoothing=0.02, reduction="none")
        loss = loss + WEIGHT.get(name.removesuffix("2"), 1.0) * (each * rows).sum() / rows.sum().clamp(min=1)
        figures[name] = ((part.argmax(1) == asked[:, k]) * rows).sum() / rows.sum().clamp(min=1)
    return loss, figures


def report(judge, config, count=1500):
    """Its own accuracy on renders that it never saw, of combinations that it never saw."""
    rng = random.Random(77)
    wanted = [sample(rng, held=True) for _ in range(count)]
    pictures = np.stack([render(a, rng.getrandbits(40), config["width"], config["height"]).picture for a in wanted])
    asked = left_first(np.array([to_index(a) for a in wanted]))
    torch.manual_seed(77)
    worse = np.concatenate([as_pictures(degrade(part, rng)) for part in as_tensor(pictures).split(50)])
    out = {}
    for name, x in (("clean", pictures), ("degraded", worse)):
        seen = read(judge, x)
        out |= {name: accuracy(seen, asked), f"accessories, {name}": by_shot(seen, asked)}
    return out


def train(argv):
    parser = arguments(__doc__, steps=4000, batch=48)
    parser.add_argument("data")
    parser.add_argument("--from", dest="begin", metavar="JUDGE", help="go on from this one")
    parser.add_argument("--frames", type=int, help="use the first of the set")
    parser.add_argument("--vae", type=Path, help="send pictures through it")
    args = parser.parse_args(argv)
    start(args)
    data = Data(args.data, args.wait, growing=args.wait)
    count, have = min(args.frames or len(data), len(data)), 0
    frames = torch.empty((count, *data.frames.shape[1:]), dtype=torch.uint8, device=args.device)
    attributes = torch.empty((count, len(NAMES)), dtype=torch.int64, device=args.device)
    vae = None
    if args.vae:
        kind = torch.bfloat16 if args.bf16 else torch.float32
        vae = AutoencoderKL.from_pretrained(args.vae).to(args.device, kind, memory_format=torch.channels_last).eval()
    judge = load(args.begin).train() if args.begin else Judge(data.width, data.height)
    judge = judge.to(args.device, memory_format=torch.channels_last)

    def save(_):
        torch.save({name: w.cpu() for name, w in judge.state_dict().items()}, args.out / "judge.pt")
        (args.out / "config.json").write_text(json.dumps({"width": data.width, "height": data.height}) + "\n")

    groups = [{"params": list(judge.parameters()), "lr": args.rate or 3e-3, "weight_decay": 1e-2}]
    trainer = Trainer(args, {"judge": judge}, groups, [], save, warmup=50, betas=(0.9, 0.999))
    for _, dice in trainer.steps():
        if have < count and trainer.step % 10 == 0:
            now = min(data.until(1), count)
            frames[have:now] = torch.from_numpy(data.frames[have:now].copy()).to(args.device)
            attributes[have:now] = left_first(torch.from_numpy(data.attributes[have:now].astype("int64"))).to(args.device)
            have = now
        rows = torch.randint(have, (args.local,), device=args.device)
        x = as_tensor(frames[rows], args.device)
        if vae:
            few = math.ceil(args.local * THROUGH)
            x = torch.cat([through(vae, x[:few]), x[few:]])
        x = degrade(x, dice.python)
        with autocast(args):
            said = judge(x.contiguous(memory_format=torch.channels_last))
        loss, hits = loss_of(said, attributes[rows])
        trainer.update(loss, **hits)
    own = report(load(args.out), data.config)
    (args.out / "accuracy.json").write_text(json.dumps(own, indent=1) + "\n")
    print(json.dumps(own, indent=1))


def look(argv):
    parser = argparse.ArgumentParser(description="Says what the judge sees in pictures.")
    parser.add_argument("judge")
    parser.add_argument("pictures", nargs="+")
    args = parser.parse_args(argv)
    judge = load(args.judge)
    for path in args.pictures:
        seen = read(judge, np.asarray(Image.open(path).convert("RGB"))[None])[0]
        print(path, from_index(seen))


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in ("train", "read"):
        sys.exit(__doc__)
    (train if sys.argv[1] == "train" else look)(sys.argv[2:])
