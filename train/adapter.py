"""The identity lock's part of the UNet: IP-Adapter plus, for up to two reference pictures, each where its mask says.

    result = attention(text) + sum over references of mask * attention(reference), before the output projection

unet.py trains it together with the UNet; `export` writes it by the names of h94/IP-Adapter.
"""

import torch
from diffusers.models.embeddings import IPAdapterPlusImageProjection
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F

TOKENS = 16
NAMES_OF_RESAMPLER = (
    (".ln0.", ".0.norm1."), (".ln1.", ".0.norm2."), (".attn.to_q.", ".0.to_q."), (".attn.to_out.0.", ".0.to_out."),
    (".ff.0.", ".1.0."), (".ff.1.net.0.proj.", ".1.1."), (".ff.1.net.2.", ".1.3."),
)  # fmt: skip


def new_resampler(width):
    return IPAdapterPlusImageProjection(
        embed_dims=128, output_dims=width, hidden_dims=96, depth=4, dim_head=64, heads=2, num_queries=TOKENS
    )


def split(x, heads):
    return x.unflatten(-1, (heads, -1)).transpose(-3, -2)


class Attention:
    """An attention without a lock."""

    def __call__(
        self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, temb=None, image=None, masks=None
    ):
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        q, k, v = (split(x, attn.heads) for x in (attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context)))
        return attn.to_out[0](F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class LockedAttention(nn.Module):
    """A cross-attention; of a batch the first rows have references, as many as `image` has.

    image: [rows, references, TOKENS, width]; masks: [rows, references, h, w] of the latents' size.
    """

    def __init__(self, attn):
        super().__init__()
        self.to_k_ip = nn.Linear(attn.to_k.in_features, attn.to_k.out_features, bias=False)
        self.to_v_ip = nn.Linear(attn.to_k.in_features, attn.to_k.out_features, bias=False)
        with torch.no_grad():  # begun from the text's own
            self.to_k_ip.weight.copy_(attn.to_k.weight)
            self.to_v_ip.weight.copy_(attn.to_v.weight * 0.1)

    def __call__(
        self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, temb=None, image=None, masks=None
    ):
        text = encoder_hidden_states
        q, k, v = (split(x, attn.heads) for x in (attn.to_q(hidden_states), attn.to_k(text), attn.to_v(text)))
        out = F.scaled_dot_product_attention(q, k, v)
        if image is not None:
            rows, height, width = len(image), *masks.shape[2:]
            factor = round((height * width / hidden_states.shape[1]) ** 0.5)
            where = F.avg_pool2d(masks, factor).flatten(2).to(out.dtype)
            locked = out[:rows]
            for n in range(image.shape[1]):
                k, v = (split(to(image[:, n]), attn.heads) for to in (self.to_k_ip, self.to_v_ip))
                locked = locked + where[:, None, n, :, None] * F.scaled_dot_product_attention(q[:rows], k, v)
            out = torch.cat([locked, out[rows:]])
        return attn.to_out[0](out.transpose(1, 2).flatten(2))


def attach(unet):
    """Gives the UNet's cross-attentions their second keys and values."""
    unet.set_attn_processor({
        name: Attention() if name.endswith("attn1.processor")
        else LockedAttention(unet.get_submodule(name.removesuffix(".processor")))
        for name in unet.attn_processors
    })  # fmt: skip


def locks(unet):
    return [p for p in unet.attn_processors.values() if isinstance(p, LockedAttention)]


def published(name):
    for ours, theirs in NAMES_OF_RESAMPLER:
        name = name.replace(ours, theirs)
    return "image_proj." + name


def export(unet, resampler, path):
    """The adapter by h94/IP-Adapter's names, f16."""
    state, own = {}, resampler.state_dict()
    for name, weight in own.items():
        if ".attn.to_k." in name:
            both = torch.cat([weight, own[name.replace("to_k", "to_v")]])
            state["image_proj." + name.replace("attn.to_k", "0.to_kv")] = both
        elif ".attn.to_v." not in name:
            state[published(name)] = weight
    for n, lock in enumerate(locks(unet)):
        for which in ("k", "v"):
            state[f"ip_adapter.{2 * n + 1}.to_{which}_ip.weight"] = getattr(lock, f"to_{which}_ip").weight
    save_file({name: weight.detach().half().cpu().contiguous() for name, weight in state.items()}, path)


def load(unet, resampler, path):
    """What `export` wrote."""
    state, own = load_file(path), resampler.state_dict()
    for name in own:
        if ".attn.to_k." in name or ".attn.to_v." in name:
            both = state["image_proj." + name.replace("attn.to_k", "0.to_kv").replace("attn.to_v", "0.to_kv")]
            own[name] = both.chunk(2)[0 if "to_k" in name else 1].float()
        else:
            own[name] = state[published(name)].float()
    resampler.load_state_dict(own)
    for n, lock in enumerate(locks(unet)):
        for which in ("k", "v"):
            getattr(lock, f"to_{which}_ip").weight.data.copy_(state[f"ip_adapter.{2 * n + 1}.to_{which}_ip.weight"])


def export_unet(unet, folder):
    """The UNet without what `attach` added."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {n: w.cpu().contiguous() for n, w in unet.state_dict().items() if "_ip." not in n}
    save_file(state, folder / "diffusion_pytorch_model.safetensors")
    unet.save_config(folder)
