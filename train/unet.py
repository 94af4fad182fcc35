"""The UNet on the latents, together with the identity lock; text encoders frozen.

    python unet.py DATA runs/text runs/vision --out runs/unet
    OMP_NUM_THREADS=1 torchrun --nproc-per-node 2 unet.py ...      one process a core: faster than two threads

It begins on latents of half the size, where a step costs a quarter and most of what a word means is learned, and goes
on at full size with now and then a batch of the small ones, so that drafts of half the size stay good. LOCKED of every
batch have reference pictures of their characters and captions that hide colour, accessory and mostly the kind; the
others leave the adapter out, exactly as scale 0 does, so that the model without the lock loses nothing.

Writes unet/, vision/ and ip-adapter-plus_kadr.safetensors. --from goes on from such a folder. --high puts a share of the samples
at high noise, where place, light and weather are settled, which the loss otherwise hardly sees.
"""

from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from torch import nn
from transformers import CLIPVisionModelWithProjection

import adapter
from common import Data, Trainer, arguments, autocast, compiled, constant, halve_norms, made, start
from diffusion import Batches, Text, diffusion_loss, inside, new_unet, noised
from vision import pixels

LOCKED = 0.3  # of a batch
SMALL_FIRST = 0.35  # of the run is at half the size
SMALL_LATER = 8  # after that one batch in so many
WITHOUT = 0.03  # of the locked pictures get an empty reference
MASKED = 0.3  # of the single references have a mask about their figure; two references always have
MARGIN = (0.03, 0.25)  # of such a mask around the figure, in parts of the picture


class Drawing(nn.Module):
    """The UNet with its lock and the resampler."""

    def __init__(self, unet, resampler):
        super().__init__()
        self.unet, self.resampler = unet, resampler

    def forward(self, noisy, t, states, pooled, sizes, seen, masks):
        """seen: patch states of references [rows, 2, patches, width]; masks: [rows, 2, h, w]; of the batch's first rows."""
        image = self.resampler(seen.flatten(0, 1)).unflatten(0, seen.shape[:2])
        return self.unet(
            noisy, t, states, added_cond_kwargs={"text_embeds": pooled, "time_ids": sizes},
            cross_attention_kwargs={"image": image, "masks": masks},
        ).sample  # fmt: skip


def region(boxes, height, width):
    """For each figure a mask: all of the picture or, MASKED of them, its box with a margin."""
    low, high = MARGIN
    margin = low + (high - low) * torch.rand(*boxes.shape, device=boxes.device)
    about = inside(boxes + margin * constant((-1, -1, 1, 1), boxes.device), height, width)
    return torch.where(torch.rand(len(boxes), 1, 1, device=boxes.device) < MASKED, about, torch.ones_like(about))


def halves(boxes, height, width):
    """Masks of two characters: each its side, the border somewhere about the middle."""
    border = 0.5 + 0.12 * (torch.rand(len(boxes), 1, device=boxes.device) - 0.5)
    x = (torch.arange(width, device=boxes.device) + 0.5) / width
    on_left = (x[None] < border).float()[:, None].expand(-1, height, -1)
    first_left = (boxes[:, 0, 0] < boxes[:, 1, 0])[:, None, None]
    first = torch.where(first_left, on_left, 1 - on_left)
    return torch.stack([first, 1 - first], 1)


def lock_inputs(batch, references, boxes, rows):
    """References and masks of a batch's first rows; an empty picture where there is none, and for empty captions."""
    who, height, width = batch.rows[:rows], *batch.latents.shape[2:]
    pair = boxes[who, 1, 2] > 0
    masks = halves(boxes[who], height, width)
    single = torch.stack([region(boxes[who, 0], height, width), torch.zeros_like(masks[:, 0])], 1)
    masks = torch.where(pair[:, None, None, None], masks, single)
    shown = batch.told[:rows] * (torch.rand(rows, device=boxes.device) > WITHOUT)
    x = pixels(references[who].flatten(0, 1)).unflatten(0, (rows, 2))
    return x * shown[:, None, None, None, None], masks


def main():
    parser = arguments(__doc__, steps=12000, batch=256)
    for name in ("data", "text", "vision"):
        parser.add_argument(name)
    parser.add_argument("--from", dest="begin", type=Path, metavar="FOLDER")
    parser.add_argument("--small-first", type=float, default=SMALL_FIRST)
    parser.add_argument("--high", type=float, default=0.0, metavar="SHARE", help="of the samples are mostly at high noise")
    parser.add_argument("--keep-vision", action="store_true", help="leave the image encoder as it is")
    args = parser.parse_args()
    start(args)
    made(Path(args.text) / "done", args.wait), made(Path(args.vision) / "done", args.wait)
    data = Data(args.data, args.wait, growing=args.wait)
    batches = Batches(data, Text(args.text, args.device), args.device, args.wait)
    references = data.on(args.device, "references")
    unet = UNet2DConditionModel.from_pretrained(args.begin / "unet") if args.begin else new_unet(data.width // 8)
    resampler = adapter.new_resampler(unet.config.cross_attention_dim)
    vision = CLIPVisionModelWithProjection.from_pretrained(args.begin / "vision" if args.begin else args.vision)
    adapter.attach(unet)
    if args.begin:
        adapter.load(unet, resampler, args.begin / "ip-adapter-plus_kadr.safetensors")
    drawing = Drawing(unet.float(), resampler).to(args.device)
    vision = vision.float().to(args.device).requires_grad_(not args.keep_vision)
    unet.to(memory_format=torch.channels_last)
    halve_norms(unet)
    way = compiled(args, drawing)

    def step(small):
        count = args.local * 2 if small else args.local
        rows = int(count * LOCKED)
        batch = batches.draw(count, small, rows)
        pictures, masks = lock_inputs(batch, references, batches.boxes, rows)
        t, noise, noisy = noised(batch.latents, args.high)
        with autocast(args), torch.set_grad_enabled(not args.keep_vision):
            seen = vision(pictures.flatten(0, 1), output_hidden_states=True).hidden_states[-2].unflatten(0, (rows, 2))
        with autocast(args):
            guess = way(noisy.contiguous(memory_format=torch.channels_last), t, batch.states, batch.pooled, batch.sizes,
                        seen, masks)  # fmt: skip
        loss = diffusion_loss(guess, noise, t, batch.weight, args.high)
        return loss, {"small" if small else "full": loss}

    def save(trainer):
        averaged = trainer.average["drawing"]
        adapter.export(averaged.unet, averaged.resampler, args.out / "ip-adapter-plus_kadr.safetensors")
        adapter.export_unet(averaged.unet, args.out / "unet")
        trainer.average["vision"].save_pretrained(args.out / "vision")

    rate = args.rate or 1e-3
    groups = [{"params": list(drawing.parameters()), "lr": rate, "weight_decay": 1e-2}]
    if not args.keep_vision:
        groups.append({"params": list(vision.parameters()), "lr": rate * 0.3, "weight_decay": 1e-2})
    modules = {"drawing": drawing, "vision": vision}
    trainer = Trainer(args, modules, groups, list(modules), save, warmup=200, decay=0.999)
    for done, _ in trainer.steps():
        trainer.take(step, done < args.small_first or trainer.step % SMALL_LATER == 0)


if __name__ == "__main__":
    main()
