"""The noise that SDXL's UNets are trained against, the encoded captions, and the loss.

Epsilon prediction on SDXL's scaled-linear schedule, weighted by min-SNR; times are stratified over the batch. The
loss about the figure counts more: it fills a seventh of a wide shot, but kind, colour and accessory are all in it.
"""

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from scenes.captions import caption
from scenes.world import from_index

TIMES = 1000
ALPHAS = torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, TIMES) ** 2, 0)
SNR_CAP = 5.0
FIGURE_WEIGHT = 2.5
ZEROED, EMPTY = 0.06, 0.04  # captions dropped for guidance: as zeros (SDXL's way), as the empty text


def new_unet(sample_size):
    return UNet2DConditionModel(
        sample_size=sample_size, in_channels=4, out_channels=4, block_out_channels=(64, 96, 112), layers_per_block=2,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 1, 1), attention_head_dim=(2, 3, 4), cross_attention_dim=224,
        use_linear_projection=True, addition_embed_type="text_time", addition_time_embed_dim=32,
        projection_class_embeddings_input_dim=128 + 6 * 32, norm_num_groups=16,
    )  # fmt: skip


class Text:
    """The frozen encoders: texts to hidden states side by side and the pooled output."""

    def __init__(self, folder, device):
        self.device = device
        self.encoders = [
            CLIPTextModel.from_pretrained(f"{folder}/text_encoder").float().to(device).eval(),
            CLIPTextModelWithProjection.from_pretrained(f"{folder}/text_encoder_2").float().to(device).eval(),
        ]
        self.tokenizers = [CLIPTokenizer.from_pretrained(f"{folder}/{n}") for n in ("tokenizer", "tokenizer_2")]

    @torch.no_grad()
    def __call__(self, texts):
        states = []
        for tokenizer, encoder in zip(self.tokenizers, self.encoders):
            ids = tokenizer(texts, padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
            out = encoder(ids.to(self.device), output_hidden_states=True)
            states.append(out.hidden_states[-2])
        return torch.cat(states, -1), out.text_embeds


def other_size(rng):
    """An imagined original of another size, so that the condition means nothing: all are drawn alike."""
    return [rng.choice([64, 96, 256, 512, 832]), rng.choice([96, 144, 384, 768, 1216])]


class Batch:
    """Latents with their encoded captions, size conditions and figure masks."""

    def __init__(self, data, text, count, dice, identity=True):
        rng = dice.python
        self.rows = dice.numpy.integers(len(data.latents), size=count)
        device = text.device
        self.latents = torch.from_numpy(np.stack([data.latents[i] for i in self.rows])).float().to(device)
        chance = [rng.random() for _ in self.rows]
        captions = [caption(from_index(data.attributes[i]), rng, identity=identity)[0] for i in self.rows]
        empty = ["" if u < ZEROED + EMPTY else c for u, c in zip(chance, captions)]
        states, pooled = text(empty)
        self.told = torch.tensor([float(u >= ZEROED) for u in chance], device=device)
        self.states, self.pooled = states * self.told[:, None, None], pooled * self.told[:, None]
        original = [[data.height, data.width] if rng.random() < 0.85 else other_size(rng) for _ in self.rows]
        sizes = [[*size, 0, 0, data.height, data.width] for size in original]
        self.sizes = torch.tensor(sizes, dtype=torch.float32, device=device)
        self.weight = torch.from_numpy(figure_weight(data, self.rows)).to(device)


def figure_weight(data, rows):
    """Per latent place: FIGURE_WEIGHT in the figure's box, 1 outside, with mean 1 over each picture."""
    _, h, w = data.latents.shape[1:]
    weight = np.ones((len(rows), 1, h, w), np.float32)
    for out, (left, top, right, bottom) in zip(weight, (data.boxes[i] for i in rows)):
        out[0, int(top * h) : int(np.ceil(bottom * h)), int(left * w) : int(np.ceil(right * w))] = FIGURE_WEIGHT
        out /= out.mean()
    return weight


def diffusion_loss(unet, batch, context, **conditions):
    """The weighted loss of one batch; conditions go to the UNet beside text and sizes."""
    z = batch.latents
    count = len(z)
    strata = (torch.arange(count) + torch.rand(count)) / count * TIMES
    t = strata.long().clamp(max=TIMES - 1)[torch.randperm(count)].to(z.device)
    alpha = ALPHAS.to(z.device)[t]
    noise = torch.randn_like(z)
    a = alpha[:, None, None, None]
    with context:
        guess = unet(
            a.sqrt() * z + (1 - a).sqrt() * noise, t, batch.states,
            added_cond_kwargs={"text_embeds": batch.pooled, "time_ids": batch.sizes, **conditions},
        ).sample  # fmt: skip
    snr = alpha / (1 - alpha)
    error = ((guess.float() - noise).pow(2) * batch.weight).mean((1, 2, 3))
    return (snr.clamp(max=SNR_CAP) / snr * error).mean()
