"""The noise that SDXL's UNets are trained against, the batches, and the loss.

Epsilon prediction on SDXL's scaled-linear schedule, weighted by min-SNR; times are stratified over the batch. The noise
has an offset: SDXL's schedule leaves some of the picture in its noisiest latents, so that without one a network reads the
brightness of a picture off the mean of its noise, and draws evenings for nights from noise that has no such mean. The
loss about a figure counts more, and most about its head: a figure fills a seventh of a wide shot, but kind, colour and
accessory are all in it.
"""

import functools
from dataclasses import dataclass

import torch
from diffusers import UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from common import constant, made

TIMES = 1000
ALPHAS = torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, TIMES) ** 2, 0)
alphas_on = functools.cache(ALPHAS.to)
SNR_CAP = 5.0
OFFSET = 0.1  # deviation of the noise's mean, by channel
HIGH_POWER, HIGH_CAP = 0.4, 5.0  # at high noise: see noised and diffusion_loss
FIGURE_WEIGHT, HEAD_WEIGHT = 2.0, 4.0
HEAD = 0.55  # of a figure's height, from above, is its head and what it wears there
ZEROED, EMPTY = 0.06, 0.04  # captions dropped for guidance: as zeros (SDXL's way), as the empty text
SAME_SIZE = 0.85  # of the batches' rows tell their own size as the original's; the others tell any
SIZES = ((64, 96), (96, 144), (256, 384), (512, 768), (832, 1216))


def new_unet(sample_size):
    return UNet2DConditionModel(
        sample_size=sample_size, in_channels=4, out_channels=4, block_out_channels=(64, 96, 96), layers_per_block=2,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 1, 1), attention_head_dim=(2, 3, 3), cross_attention_dim=224,
        use_linear_projection=True, addition_embed_type="text_time", addition_time_embed_dim=32,
        projection_class_embeddings_input_dim=128 + 6 * 32, norm_num_groups=16,
    )  # fmt: skip


class Text:
    """The frozen encoders: tokens of the first tokenizer to hidden states side by side and the pooled output."""

    def __init__(self, folder, device):
        self.encoders = [
            CLIPTextModel.from_pretrained(f"{folder}/text_encoder").float().to(device).eval(),
            CLIPTextModelWithProjection.from_pretrained(f"{folder}/text_encoder_2").float().to(device).eval(),
        ]
        self.tokenizer = CLIPTokenizer.from_pretrained(f"{folder}/tokenizer")
        self.device = device

    def tokens(self, texts):
        out = self.tokenizer(texts, padding="max_length", max_length=77, truncation=True, return_tensors="pt")
        return out.input_ids.to(self.device)

    @torch.no_grad()
    def __call__(self, ids):
        a = self.encoders[0](ids, output_hidden_states=True)
        b = self.encoders[1](second_tokens(ids, self.tokenizer.eos_token_id), output_hidden_states=True)
        return torch.cat([a.hidden_states[-2], b.hidden_states[-2]], -1), b.text_embeds


def second_tokens(ids, end):
    """The second tokenizer differs in what it pads with: 0 instead of the end."""
    padding = (ids == end).int().cumsum(1) > 1
    return ids.masked_fill(padding, 0)


@dataclass
class Batch:
    """Latents with their encoded captions, size conditions and figure weights."""

    rows: torch.Tensor  # which frames
    latents: torch.Tensor
    told: torch.Tensor  # 0 where the caption was dropped as zeros
    states: torch.Tensor
    pooled: torch.Tensor
    sizes: torch.Tensor
    weight: torch.Tensor


class Batches:
    """The data set on the device. Rows from the first on may take captions that hide who it is: `locked` of a batch.

    On a GPU all captions are encoded once; on a CPU, where there is no room for that, those of each batch.
    """

    def __init__(self, data, text, device, wait=False):
        self.text, self.device = text, device
        self.ways, self.hidden_ways = data.captions.shape[1], data.hidden.shape[1]
        self.hidden_at = len(data) * self.ways
        self.empty_at = self.hidden_at + len(data) * self.hidden_ways
        self.encoded = self._encode(data) if device == "cuda" else None
        data.until(len(data))
        captions, hidden = data.on(device, "captions", "int64"), data.on(device, "hidden", "int64")
        self.tokens = torch.cat([captions.flatten(0, 1), hidden.flatten(0, 1), text.tokens([""])])
        self.boxes = data.on(device, "boxes")
        made(data.folder / "small.npy", wait)
        self.latents, self.small = data.on(device, "latents"), data.on(device, "small")

    def _encode(self, data, part=500):
        """What the encoders say to all captions, in the order of `tokens`; of a set that grows as soon as its frames are there."""
        empty = self.text(self.text.tokens([""]))
        said = [torch.empty(self.empty_at + 1, *x.shape[1:], dtype=torch.half, device=self.device) for x in empty]
        for x, of_empty in zip(said, empty):
            x[-1:] = of_empty
        for at in range(0, len(data), part):
            end = min(at + part, len(data))
            data.until(end)
            for name, first, ways in (("captions", 0, self.ways), ("hidden", self.hidden_at, self.hidden_ways)):
                ids = torch.from_numpy(getattr(data, name)[at:end].astype("int64")).to(self.device).flatten(0, 1)
                for x, part_said in zip(said, self.text(ids)):
                    x[first + at * ways : first + end * ways] = part_said
        return said

    def _said(self, which):
        if self.encoded:
            return [x[which].float() for x in self.encoded]
        return self.text(self.tokens[which])

    def draw(self, count, small=False, locked=0, told=0.2):
        """`told` of the locked rows say all the same who it is."""
        device = self.device
        source = self.small if small else self.latents
        rows = torch.randint(len(source), (count,), device=device)
        which = rows * self.ways + torch.randint(self.ways, (count,), device=device)
        hidden = self.hidden_at + rows * self.hidden_ways + torch.randint(self.hidden_ways, (count,), device=device)
        hide = (torch.arange(count, device=device) < locked) & (torch.rand(count, device=device) >= told)
        which = torch.where(hide, hidden, which)
        chance = torch.rand(count, device=device)
        which = torch.where(chance < ZEROED + EMPTY, self.empty_at, which)
        told = (chance >= ZEROED).float()
        states, pooled = self._said(which)
        latents = source[rows].float()
        own = constant(tuple(8 * n for n in latents.shape[2:]), device)
        other = constant(SIZES, device)[torch.randint(len(SIZES), (count,), device=device)]
        original = torch.where(torch.rand(count, 1, device=device) < SAME_SIZE, own, other)
        sizes = torch.cat([original, torch.zeros_like(original), own.expand(count, 2)], 1).float()
        weight = figure_weight(self.boxes[rows], *latents.shape[2:])
        return Batch(rows, latents, told, states * told[:, None, None], pooled * told[:, None], sizes, weight)


def inside(boxes, height, width):
    """1 at the latent places that a box [.., 4] touches: [.., height, width]."""
    left, top, right, bottom = (boxes[..., k, None] for k in range(4))
    y, x = (torch.arange(n, device=boxes.device) for n in (height, width))
    rows = (y + 1 > top * height) & (y < bottom * height)
    columns = (x + 1 > left * width) & (x < right * width)
    return (rows[..., :, None] & columns[..., None, :]).float()


def figure_weight(boxes, height, width):
    """Per latent place HEAD_WEIGHT, FIGURE_WEIGHT, or 1 outside of figures, with mean 1 over each picture."""
    heads = boxes.clone()
    heads[..., 3] = boxes[..., 1] + HEAD * (boxes[..., 3] - boxes[..., 1])
    figure, head = (inside(b, height, width).amax(1, keepdim=True) for b in (boxes, heads))
    weight = torch.maximum(1 + (FIGURE_WEIGHT - 1) * figure, 1 + (HEAD_WEIGHT - 1) * head)
    return weight / weight.mean((2, 3), keepdim=True)


def noise_like(z):
    return torch.randn_like(z) + OFFSET * torch.randn(*z.shape[:2], 1, 1, device=z.device)


def noised(z, high=0.0):
    """Stratified times (of a share `high` mostly late ones), noise, and the latents with that noise."""
    count = len(z)
    strata = (torch.arange(count, device=z.device) + torch.rand(count, device=z.device)) / count
    power = 1 - (1 - HIGH_POWER) * (torch.rand(count, device=z.device) < high).float()
    t = (strata**power * TIMES).long().clamp(max=TIMES - 1)[torch.rand(count, device=z.device).argsort()]
    alpha = alphas_on(z.device)[t][:, None, None, None]
    noise = noise_like(z)
    return t, noise, alpha.sqrt() * z + (1 - alpha).sqrt() * noise


def diffusion_loss(guess, noise, t, weight, high=0.0):
    """high (not 0): more about noisy latents, where what a picture is of shows in the least of the noise's error."""
    alpha = alphas_on(t.device)[t]
    snr = alpha / (1 - alpha)
    error = ((guess.float() - noise).pow(2) * weight).mean((1, 2, 3))
    scale = snr.clamp(max=SNR_CAP) / snr
    if high:
        scale = scale * snr.rsqrt().clamp(1, HIGH_CAP)
    return (scale * error).mean()
