"""The autoencoder: SDXL's kind, eight times smaller, four latent channels.

    python vae.py DATA --out runs/vae                          encoder and decoder together
    python vae.py DATA --out runs/decoder --decoder runs/vae   then the decoder alone, on latents with a little noise

The first half of the joint run knows only L1 and L2: a KL weight above 1e-5, or a loss on gradients from the start,
keeps the pictures blurred for good. Crops make the steps cheap; the end is on whole frames, because the middle
attention and the norms see the whole picture when it draws. The decoder's own run leaves the latents as they are, so
that a UNet trained on them stays valid; noise on the latents teaches it to draw clean ink from what a UNet gives.
"""

import numpy as np
import torch
from diffusers import AutoencoderKL

from common import Data, Trainer, arguments, as_tensor, autocast, start

CHANNELS = (16, 32, 64, 96)
CROP = 64
NOISE = 0.12  # of the scaled latents' deviation, at most


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


def corner(data, i, side, rng, near):
    """A corner, divisible by 8, for a square crop of frame i; near: about the figure's head and breast."""
    if near:
        left, top, right, bottom = data.boxes[i]
        x = ((left + right) / 2 + rng.uniform(-0.35, 0.35) * (right - left)) * data.width
        y = (top + (bottom - top) * rng.uniform(0.15, 0.8)) * data.height
        x, y = (round((v - side / 2) / 8) * 8 for v in (x, y))
    else:
        x, y = rng.integers(data.width // 8 + 1) * 8, rng.integers(data.height // 8 + 1) * 8
    return int(np.clip(x, 0, data.width - side)), int(np.clip(y, 0, data.height - side))


def views(data, count, rng, frames, near, whole):
    """What a batch is cut from: (frame, x, y, width, height), square crops or, for the same work, whole frames."""
    if whole:
        count = max(1, count * CROP * CROP // (data.width * data.height))
        return [(i, 0, 0, data.width, data.height) for i in rng.integers(frames, size=count)]
    return [(i, *corner(data, i, CROP, rng, rng.random() < near), CROP, CROP) for i in rng.integers(frames, size=count)]


def pictures(data, places, device):
    return as_tensor(np.stack([data.frames[i][y : y + h, x : x + w] for i, x, y, w, h in places]), device)


def latents(data, places, device):
    cut = [data.latents[i][:, y // 8 : (y + h) // 8, x // 8 : (x + w) // 8] for i, x, y, w, h in places]
    return torch.from_numpy(np.stack(cut)).float().to(device)


def losses(y, x):
    """L1, L2, and L1 of the gradients, which is what keeps ink crisp."""
    d = y.float() - x
    edges = (d[..., 1:] - d[..., :-1]).abs().mean() + (d[:, :, 1:] - d[:, :, :-1]).abs().mean()
    return d.abs().mean(), d.pow(2).mean(), edges


def train_joint(args, data, vae, save):
    groups = [{"params": list(vae.parameters()), "lr": args.rate or 2e-3, "weight_decay": 1e-3}]
    trainer = Trainer(args, {"vae": vae}, groups, ["vae"], save, floor=0.03)
    for done, dice in trainer.steps():
        x = pictures(data, views(data, args.local, dice.numpy, len(data), 0.4, done > 0.7), args.device)
        if dice.python.random() < 0.5:
            x = x.flip(3)
        with autocast(args):
            posterior = vae.encode(x).latent_dist
            y = vae.decode(posterior.sample()).sample
        mean, logvar = posterior.mean.float(), posterior.logvar.float()
        l1, l2, edges = losses(y, x)
        kl = 0.5 * (mean.pow(2) + logvar.exp() - 1 - logvar).mean()
        loss = l1 + 2 * l2 + 0.5 * max(0.0, done - 0.5) * edges + 1e-5 * kl
        trainer.update(loss, l1=l1, l2=l2, edges=edges, kl=kl)


def train_decoder(args, data, vae, save):
    for frozen in (vae.encoder, vae.quant_conv):
        frozen.requires_grad_(False)
    learned = [*vae.decoder.parameters(), *vae.post_quant_conv.parameters()]
    scale = vae.config.scaling_factor
    groups = [{"params": learned, "lr": args.rate or 1e-3, "weight_decay": 1e-3}]
    trainer = Trainer(args, {"vae": vae}, groups, ["vae"], save)
    for done, dice in trainer.steps():
        whole = dice.python.random() < (0.25 if done < 0.6 else 0.8)
        places = views(data, args.local, dice.numpy, len(data.latents), 0.6, whole)
        x, z = pictures(data, places, args.device), latents(data, places, args.device)
        z = z + torch.randn_like(z) * torch.rand(len(z), 1, 1, 1, device=z.device) * NOISE
        with autocast(args):
            y = vae.decode((z / scale).contiguous(memory_format=torch.channels_last)).sample
        l1, l2, edges = losses(y, x)
        trainer.update(l1 + l2 + 0.4 * edges, l1=l1, l2=l2, edges=edges)


def main():
    parser = arguments(__doc__, steps=12000, batch=12)
    parser.add_argument("data")
    parser.add_argument("--decoder", metavar="VAE", help="go on with this VAE's decoder alone")
    args = parser.parse_args()
    start(args)
    data = Data(args.data)
    vae = AutoencoderKL.from_pretrained(args.decoder) if args.decoder else new_vae(data.width)
    vae.to(args.device, memory_format=torch.channels_last)
    (train_decoder if args.decoder else train_joint)(
        args, data, vae, lambda trainer: trainer.average["vae"].save_pretrained(args.out)
    )


if __name__ == "__main__":
    main()
