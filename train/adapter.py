"""The identity lock: IP-Adapter plus and its image encoder, trained together with the UNet.

    python adapter.py DATA runs/text runs/unet runs/vision --out runs/lock

Of five batches two carry a reference picture of the same character with a caption that hides colour, accessory and
mostly the kind; the other three are plain and leave the adapter out, exactly as scale 0 does, so that the model
without the lock loses nothing. Writes unet/, vision/ and ip-adapter-plus_kadr.safetensors (names of h94/IP-Adapter).
"""

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor2_0, IPAdapterAttnProcessor2_0
from diffusers.models.embeddings import IPAdapterPlusImageProjection, MultiIPAdapterImageProjection
from safetensors.torch import load_file, save_file
from transformers import CLIPVisionModelWithProjection

from common import Data, Trainer, arguments, autocast, start
from diffusion import Batch, Text, diffusion_loss
from vision import pixels

TOKENS = 8
LOCKED = (0, 2)  # of every five steps
TOLD = 0.2  # of the locked batches say all the same who it is
WITHOUT = 0.03  # of the locked pictures get an empty reference
NAMES_OF_RESAMPLER = (
    (".ln0.", ".0.norm1."), (".ln1.", ".0.norm2."), (".attn.to_q.", ".0.to_q."), (".attn.to_out.0.", ".0.to_out."),
    (".ff.0.", ".1.0."), (".ff.1.net.0.proj.", ".1.1."), (".ff.1.net.2.", ".1.3."),
)  # fmt: skip


def attach(unet):
    """The resampler and the second keys and values of every cross attention, begun from the text's own."""
    width = unet.config.cross_attention_dim
    resampler = IPAdapterPlusImageProjection(
        embed_dims=128, output_dims=width, hidden_dims=128, depth=4, dim_head=64, heads=2, num_queries=TOKENS
    )
    processors = {}
    for name in unet.attn_processors:
        if name.endswith("attn1.processor"):
            processors[name] = AttnProcessor2_0()
            continue
        attention = unet.get_submodule(name.removesuffix(".processor"))
        processor = IPAdapterAttnProcessor2_0(attention.to_k.weight.shape[0], width, num_tokens=(TOKENS,), scale=1.0)
        with torch.no_grad():
            processor.to_k_ip[0].weight.copy_(attention.to_k.weight)
            processor.to_v_ip[0].weight.copy_(attention.to_v.weight * 0.1)
        processors[name] = processor
    unet.set_attn_processor(processors)
    unet.encoder_hid_proj = MultiIPAdapterImageProjection([resampler])
    unet.config.encoder_hid_dim_type = "ip_image_proj"


def adapters(unet):
    return [p for p in unet.attn_processors.values() if isinstance(p, IPAdapterAttnProcessor2_0)]


def load(unet, path):
    """Weights of an earlier run, by the names that `export` gives."""
    state = load_file(path)
    resampler = unet.encoder_hid_proj.image_projection_layers[0]
    own = resampler.state_dict()
    for name in own:
        if ".attn.to_k." in name or ".attn.to_v." in name:
            both = state["image_proj." + name.replace("attn.to_k", "0.to_kv").replace("attn.to_v", "0.to_kv")]
            own[name] = both.chunk(2)[0 if "to_k" in name else 1].float()
        else:
            own[name] = state["image_proj." + published(name)].float()
    resampler.load_state_dict(own)
    for n, processor in enumerate(adapters(unet)):
        processor.to_k_ip[0].weight.data.copy_(state[f"ip_adapter.{2 * n + 1}.to_k_ip.weight"])
        processor.to_v_ip[0].weight.data.copy_(state[f"ip_adapter.{2 * n + 1}.to_v_ip.weight"])


def published(name):
    for ours, theirs in NAMES_OF_RESAMPLER:
        name = name.replace(ours, theirs)
    return name


def export(unet, path):
    """The adapter by h94/IP-Adapter's names, f16."""
    state = {}
    own = unet.encoder_hid_proj.image_projection_layers[0].state_dict()
    for name, weight in own.items():
        if ".attn.to_k." in name:
            both = torch.cat([weight, own[name.replace("to_k", "to_v")]])
            state["image_proj." + name.replace("attn.to_k", "0.to_kv")] = both
        elif ".attn.to_v." not in name:
            state["image_proj." + published(name)] = weight
    for n, processor in enumerate(adapters(unet)):
        state[f"ip_adapter.{2 * n + 1}.to_k_ip.weight"] = processor.to_k_ip[0].weight
        state[f"ip_adapter.{2 * n + 1}.to_v_ip.weight"] = processor.to_v_ip[0].weight
    save_file({name: weight.detach().half().cpu().contiguous() for name, weight in state.items()}, path)


def export_unet(unet, folder):
    """The UNet without what `attach` added."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {n: w.contiguous() for n, w in unet.state_dict().items() if "_ip." not in n and "encoder_hid_proj" not in n}
    save_file(state, folder / "diffusion_pytorch_model.safetensors")
    kind = unet.config.encoder_hid_dim_type
    unet.config.encoder_hid_dim_type = None
    unet.save_config(folder)
    unet.config.encoder_hid_dim_type = kind


def lock_batch(data, text, vision, batch, dice):
    """Image tokens of the batch's references; an empty picture where there is none, and for empty captions."""
    references = pixels(np.stack([data.references[i] for i in batch.rows]), dice.python).to(text.device)
    shown = batch.told * (torch.rand(len(batch.told)) > WITHOUT).float().to(text.device)
    return vision(references * shown[:, None, None, None], output_hidden_states=True).hidden_states[-2][:, None]


def main():
    parser = arguments(__doc__, steps=2000, batch=32)
    for name in ("data", "text", "unet", "vision"):
        parser.add_argument(name)
    parser.add_argument("--adapter", help="go on from this adapter's weights")
    args = parser.parse_args()
    start(args)
    data, text = Data(args.data), Text(args.text, args.device)
    unet = UNet2DConditionModel.from_pretrained(args.unet).float()
    own = {name for name, _ in unet.named_parameters()}
    attach(unet)
    if args.adapter:
        load(unet, args.adapter)
    vision = CLIPVisionModelWithProjection.from_pretrained(args.vision).float()
    unet.to(args.device), vision.to(args.device)
    old = [p for name, p in unet.named_parameters() if name in own]
    new = [p for name, p in unet.named_parameters() if name not in own]

    def save(trainer):
        averaged = trainer.average["unet"]
        export(averaged, args.out / "ip-adapter-plus_kadr.safetensors")
        export_unet(averaged, args.out / "unet")
        trainer.average["vision"].save_pretrained(args.out / "vision")

    rate = args.rate or 3e-4
    groups = [
        {"params": old, "lr": rate}, {"params": new, "lr": rate * 3}, {"params": list(vision.parameters()), "lr": rate},
    ]  # fmt: skip
    trainer = Trainer(args, {"unet": unet, "vision": vision}, groups, ["unet", "vision"], save, decay=0.997)
    nothing = torch.zeros(args.local, 1, 65, 128, device=args.device)
    for _, dice in trainer.steps():
        locked = trainer.step % 5 in LOCKED
        for processor in adapters(unet):
            processor.scale = [1.0 if locked else 0.0]
        batch = Batch(data, text, args.local, dice, identity=not locked or dice.python.random() < TOLD)
        image = lock_batch(data, text, vision, batch, dice) if locked else nothing
        loss = diffusion_loss(unet, batch, autocast(args), image_embeds=[image])
        trainer.update(loss, **{"locked" if locked else "plain": loss})


if __name__ == "__main__":
    main()
