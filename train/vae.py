"""The autoencoder: SDXL's kind, eight times smaller, four latent channels.

    python vae.py DATA --out runs/vae

Most of the run is on crops of a quarter of a frame's area, half of them about a figure's head, and on whole frames of
half the size; the end is on whole frames, because the middle attention and the norms see the whole picture when it
draws. Gradients count from a third of the run on: from the start, or with a KL weight above 1e-5, they keep the
pictures blurred for good. Noise on the latents, a share of their own deviation, teaches the decoder to draw clean ink
from what a UNet gives, and the encoder to give latents that bear it.
"""

import torch
from diffusers import AutoencoderKL
from torch.nn import functional as F

from common import Data, Trainer, arguments, as_tensor, autocast, compiled, halve_norms, start

CHANNELS = (32, 64, 64, 96)
NOISE = 0.12  # of the latents' deviation, at most
HALVED = 0.2  # of the pictures are whole frames of half the size
NEAR = 0.5  # of the crops are about a figure


def new_vae(width):
    vae = AutoencoderKL(
        in_channels=3, out_channels=3, latent_channels=4, block_out_channels=CHANNELS, layers_per_block=1,
        norm_num_groups=8, sample_size=width, down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
    )  # fmt: skip
    with torch.no_grad():  # begins with almost no noise: otherwise the posterior collapses
        vae.quant_conv.bias[4:] = -7.0
        vae.quant_conv.weight[4:] *= 0.05
    return vae


def crops(frames, boxes, rows, width, height):
    """Of each row a crop at a multiple of 8, NEAR of them about the head and breast of a figure; uint8 [n, h, w, 3]."""
    device, count = frames.device, len(rows)
    full_h, full_w = frames.shape[1:3]
    figure = torch.where(boxes[rows, 1, 2] > 0, torch.randint(2, (count,), device=device), 0)
    left, top, right, bottom = boxes[rows, figure].unbind(1)
    u = torch.rand(4, count, device=device)
    near_x = ((left + right) / 2 + (u[0] - 0.5) * 0.7 * (right - left)) * full_w - width / 2
    near_y = (top + (bottom - top) * (0.15 + 0.65 * u[1])) * full_h - height / 2
    near = u[2] < NEAR
    x = torch.where(near, near_x, u[3] * (full_w - width + 8) - 4)
    y = torch.where(near, near_y, u[1] * (full_h - height + 8) - 4)
    x = ((x / 8).round() * 8).long().clamp(0, full_w - width)
    y = ((y / 8).round() * 8).long().clamp(0, full_h - height)
    ys, xs = (at[:, None] + torch.arange(size, device=device) for at, size in ((y, height), (x, width)))
    return frames[rows[:, None, None], ys[:, :, None], xs[:, None, :]]


def batch(frames, boxes, count, whole):
    """Pictures in [-1, 1]: whole frames, a quarter as many as are asked for; or crops and halved frames."""
    _, height, width, _ = frames.shape
    rows = torch.randint(len(frames), (count // 4 if whole else count,), device=frames.device)
    if whole:
        x = as_tensor(frames[rows], frames.device)
    else:
        halved = int(count * HALVED)
        small = F.avg_pool2d(as_tensor(frames[rows[:halved]], frames.device), 2)
        cut = as_tensor(crops(frames, boxes, rows[halved:], width // 2, height // 2), frames.device)
        x = torch.cat([small, cut])
    x = torch.where(torch.rand(len(x), 1, 1, 1, device=x.device) < 0.5, x.flip(3), x)
    return x.contiguous(memory_format=torch.channels_last)


class Round(torch.nn.Module):
    """There and back, with noise on the way."""

    def __init__(self, vae):
        super().__init__()
        self.vae = vae

    def forward(self, x, noise):
        posterior = self.vae.encode(x).latent_dist
        z = posterior.sample()
        noisy = torch.rand(len(z), 1, 1, 1, device=z.device, dtype=z.dtype) * noise.to(z.dtype) * z.detach().std()
        return posterior.mean, posterior.logvar, self.vae.decode(z + noisy * torch.randn_like(z)).sample


def losses(y, x):
    """L1, L2, and L1 of the gradients, which is what keeps ink crisp."""
    d = y.float() - x
    edges = (d[..., 1:] - d[..., :-1]).abs().mean() + (d[:, :, 1:] - d[:, :, :-1]).abs().mean()
    return d.abs().mean(), d.pow(2).mean(), edges


def main():
    parser = arguments(__doc__, steps=12000, batch=64)
    parser.add_argument("data")
    parser.add_argument("--from", dest="begin", metavar="VAE", help="go on from these weights")
    parser.add_argument("--crops", type=float, default=0.75, help="the part of the run before whole frames begin")
    args = parser.parse_args()
    start(args)
    data = Data(args.data, args.wait)
    frames, boxes = data.on(args.device, "frames"), data.on(args.device, "boxes")
    vae = AutoencoderKL.from_pretrained(args.begin) if args.begin else new_vae(data.width)
    vae.to(args.device, memory_format=torch.channels_last)
    halve_norms(vae)
    way = compiled(args, Round(vae))
    groups = [{"params": list(vae.parameters()), "lr": args.rate or 2e-3, "weight_decay": 1e-3}]
    trainer = Trainer(
        args, {"vae": vae}, groups, ["vae"], lambda t: t.average["vae"].save_pretrained(args.out), floor=0.02
    )  # fmt: skip
    noise, sharp = torch.zeros((), device=args.device), torch.zeros((), device=args.device)

    def step(whole):
        x = batch(frames, boxes, args.local, whole)
        with autocast(args):
            mean, logvar, y = way(x, noise)
        mean, logvar = mean.float(), logvar.float()
        l1, l2, edges = losses(y, x)
        kl = 0.5 * (mean.pow(2) + logvar.exp() - 1 - logvar).mean()
        return l1 + 2 * l2 + sharp * edges + 1e-5 * kl, {"l1": l1, "l2": l2, "edges": edges, "kl": kl}

    for done, _ in trainer.steps():
        noise.fill_(NOISE * min(1.0, 3 * done))
        sharp.fill_(0.5 if args.begin else 0.5 * min(1.0, max(0.0, 3 * done - 1)))
        trainer.take(step, done >= args.crops)


if __name__ == "__main__":
    main()
