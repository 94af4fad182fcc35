"""The image encoder of the identity lock: a CLIP vision tower that learns to name characters.

    python vision.py DATA --out runs/vision

Classifiers on the penultimate patch states (what IP-Adapter plus uses) and on the projection (what the plain adapter
uses) teach it kind, colour, accessory and the accessory's colour, and are thrown away; unet.py goes on training it.
"""

import torch
from torch import nn
from torch.nn import functional as F
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from common import Data, Trainer, arguments, autocast, compiled, constant, start
from dataset import REFERENCE
from scenes.world import FIELDS, IDENTITY, NAMES

MEAN, DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
SHIFT = REFERENCE // 12  # at most, in pixels
COLUMNS = [NAMES.index(name) for name in IDENTITY]
ACCESSORY = IDENTITY.index("acc")


def pixels(references):
    """uint8 [n, side, side, 3] as CLIP's normalised pixels, all shifted and mirrored alike, by chance."""
    x = references.permute(0, 3, 1, 2).float() / 255
    x = F.pad(x, (SHIFT,) * 4, mode="replicate")
    along = torch.arange(REFERENCE, device=x.device)
    dx, dy = torch.randint(0, 2 * SHIFT + 1, (2, 1), device=x.device)
    mirrored = torch.rand(1, device=x.device) < 0.5
    x = x[:, :, along + dy][:, :, :, torch.where(mirrored, along.flip(0), along) + dx]
    mean, deviation = (constant(v, x.device)[None, :, None, None] for v in (MEAN, DEVIATION))
    return (x - mean) / deviation


def new_vision():
    vision = CLIPVisionModelWithProjection(CLIPVisionConfig(
        hidden_size=128, intermediate_size=384, num_hidden_layers=4, num_attention_heads=4, image_size=REFERENCE,
        patch_size=8, projection_dim=128, hidden_act="gelu"))  # fmt: skip
    for name, p in vision.named_parameters():
        if p.dim() == 2 and "embedding" not in name:
            nn.init.normal_(p, std=p.shape[1] ** -0.5 * (0.5 if "fc2" in name or "out_proj" in name else 1))
        elif "patch_embedding" in name:
            nn.init.normal_(p, std=0.08)
        elif "embedding" in name:
            nn.init.normal_(p, std=0.3)
    return vision


class Reader(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.vision = new_vision()
        self.readers = nn.ModuleList(nn.Linear(128, sum(classes)) for _ in range(2))

    def forward(self, x):
        out = self.vision(x, output_hidden_states=True)
        return [self.readers[0](out.hidden_states[-2][:, 1:].mean(1)), self.readers[1](out.image_embeds)]


def main():
    parser = arguments(__doc__, steps=1500, batch=64)
    parser.add_argument("data")
    args = parser.parse_args()
    start(args)
    data = Data(args.data, args.wait)
    references, attributes = data.on(args.device, "references"), data.on(args.device, "attributes", "int64")
    classes = [len(FIELDS[name]) for name in IDENTITY]
    reader = Reader(classes).to(args.device)
    trainer = Trainer(
        args, {"reader": reader}, [{"params": list(reader.parameters()), "lr": args.rate or 1.5e-3, "weight_decay": 1e-2}],
        [], lambda _: reader.vision.save_pretrained(args.out), floor=0.03, betas=(0.9, 0.98),
    )  # fmt: skip
    read = compiled(args, reader)

    def step():
        rows = torch.randint(len(references), (args.local,), device=args.device)
        y = attributes[rows][:, COLUMNS]
        with autocast(args):
            said = read(pixels(references[rows, 0]))
        loss, hits = 0, {}
        worn = y[:, ACCESSORY] > 0  # the colour of an accessory that is not there cannot be read
        for out in said:
            for k, (name, part) in enumerate(zip(IDENTITY, out.float().split(classes, 1))):
                counts = worn.float() if name == "acol" else torch.ones_like(worn, dtype=torch.float32)
                loss = loss + (F.cross_entropy(part, y[:, k], reduction="none") * counts).sum() / counts.sum()
                hits[name] = ((part.argmax(1) == y[:, k]) * counts).sum() / counts.sum()
        return loss, hits

    for _ in trainer.steps():
        trainer.take(step)


if __name__ == "__main__":
    main()
