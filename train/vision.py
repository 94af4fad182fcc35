"""The image encoder of the identity lock: a CLIP vision tower that learns to name characters.

    python vision.py DATA --out runs/vision

It reads 64 x 64 references. Classifiers on the penultimate patch states (what IP-Adapter plus uses) and on the
projection (what the plain adapter uses) teach it kind, colour, accessory and the accessory's colour, and are thrown
away; adapter.py goes on training it.
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from common import Data, Trainer, arguments, autocast, start
from scenes.world import FIELDS, IDENTITY, NAMES

MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073])[None, :, None, None]
DEVIATION = torch.tensor([0.26862954, 0.26130258, 0.27577711])[None, :, None, None]
COLUMNS = [NAMES.index(name) for name in IDENTITY]
ACCESSORY = IDENTITY.index("acc")


def pixels(references, rng):
    """uint8 [n, 64, 64, 3] as CLIP's normalised pixels, all shifted a little and mirrored half of the time."""
    x = torch.from_numpy(np.ascontiguousarray(references)).permute(0, 3, 1, 2).float() / 255
    dx, dy = rng.randint(-5, 5), rng.randint(-4, 4)
    x = F.pad(x, (5, 5, 4, 4), mode="replicate")[:, :, 4 + dy : 68 + dy, 5 + dx : 69 + dx]
    if rng.random() < 0.5:
        x = x.flip(3)
    return (x - MEAN) / DEVIATION


def new_vision():
    vision = CLIPVisionModelWithProjection(CLIPVisionConfig(
        hidden_size=128, intermediate_size=384, num_hidden_layers=4, num_attention_heads=4, image_size=64,
        patch_size=8, projection_dim=128, hidden_act="gelu"))  # fmt: skip
    for name, p in vision.named_parameters():
        if p.dim() == 2 and "embedding" not in name:
            nn.init.normal_(p, std=p.shape[1] ** -0.5 * (0.5 if "fc2" in name or "out_proj" in name else 1))
        elif "patch_embedding" in name:
            nn.init.normal_(p, std=0.08)
        elif "embedding" in name:
            nn.init.normal_(p, std=0.3)
    return vision


def main():
    parser = arguments(__doc__, steps=1500, batch=64)
    parser.add_argument("data")
    args = parser.parse_args()
    start(args)
    data = Data(args.data)
    classes = [len(FIELDS[name]) for name in IDENTITY]
    vision, readers = new_vision(), nn.ModuleList(nn.Linear(128, sum(classes)) for _ in range(2))
    vision.to(args.device), readers.to(args.device)
    learned = [*vision.parameters(), *readers.parameters()]
    trainer = Trainer(
        args, {"vision": vision, "readers": readers},
        [{"params": learned, "lr": args.rate or 1.5e-3, "weight_decay": 1e-2}], [],
        lambda _: vision.save_pretrained(args.out), floor=0.03, betas=(0.9, 0.98),
    )  # fmt: skip
    for _, dice in trainer.steps():
        rows = dice.numpy.integers(len(data), size=args.local)
        x = pixels(np.stack([data.references[i] for i in rows]), dice.python).to(args.device)
        y = torch.from_numpy(data.attributes[rows][:, COLUMNS]).to(args.device)
        with autocast(args):
            out = vision(x, output_hidden_states=True)
            said = [readers[0](out.hidden_states[-2][:, 1:].mean(1)), readers[1](out.image_embeds)]
        loss, read = 0, {}
        for reader in said:
            for k, (name, part) in enumerate(zip(IDENTITY, reader.float().split(classes, 1))):
                # the colour of an accessory that is not there cannot be read
                told = y[:, ACCESSORY] > 0 if name == "acol" else torch.ones(len(y), dtype=bool, device=y.device)
                loss = loss + F.cross_entropy(part[told], y[told, k])
                read[name] = (part[told].argmax(1) == y[told, k]).float().mean()
        trainer.update(loss, **read)


if __name__ == "__main__":
    main()
