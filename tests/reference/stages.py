"""What diffusers and transformers compute, network by network, for every model of models.py and models/mini.

    python stages.py ../data

Writes golden/MODEL/{text,unet_a,unet_b,vae}.safetensors; tests/golden reads them. All in f32 on f32
copies of the weights, whatever the dtype in which the model is stored.
"""

import sys
from pathlib import Path

import torch
from diffusers import StableDiffusionXLPipeline
from safetensors.torch import save_file

MINI = Path(__file__).resolve().parents[2] / "models" / "mini"
PROMPTS = ["a red fox with a hat walks in the snowy forest at night, wide shot", "blurry, dark"]
# An even size and one that is odd at every level, both with token counts that fill no tile.
SIZES = {"a": (16, 24), "b": (13, 22)}


def text(pipe):
    out = {}
    for i, (tokenizer, encoder) in enumerate(((pipe.tokenizer, pipe.text_encoder), (pipe.tokenizer_2, pipe.text_encoder_2))):
        tail = "2" if i else ""
        ids = tokenizer(PROMPTS, padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
        got = encoder(ids, output_hidden_states=True)
        out["ids" + tail] = ids.int()
        out["hidden" + tail] = got.hidden_states[-2].contiguous()
        if i:
            eos = [int((row == encoder.config.eos_token_id).nonzero()[0]) for row in ids]
            out["eos2"] = torch.tensor(eos, dtype=torch.int32)
            out["pooled"] = got[0].contiguous()
    return out


def unet(pipe, h, w, generator):
    config = pipe.unet.config
    prompt = torch.randn(2, 77, config.cross_attention_dim, generator=generator)
    pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
    embeds = torch.randn(2, pooled, generator=generator)
    latents = torch.randn(2, config.in_channels, h, w, generator=generator)
    time_ids = torch.tensor([[h * 8.0, w * 8.0, 0, 0, h * 8.0, w * 8.0], [h * 16.0, w * 8.0, 3, 5, h * 8.0, w * 8.0]])
    timestep = torch.tensor([601.0, 33.0])
    got = pipe.unet(latents, timestep, encoder_hidden_states=prompt,
                    added_cond_kwargs={"text_embeds": embeds, "time_ids": time_ids}).sample
    return {"latents": latents, "timestep": timestep[:, None].contiguous(), "prompt_embeds": prompt, "text_embeds": embeds,
            "time_ids": time_ids, "lengths": torch.full((2,), 77, dtype=torch.int32), "output": got.contiguous()}


def vae(pipe, generator):
    latents = torch.randn(1, 4, 6, 9, generator=generator)
    picture = pipe.vae.decode(latents).sample
    clamped = torch.rand(1, 3, 48, 72, generator=generator) * 2 - 1
    moments = pipe.vae.encode(clamped).latent_dist.parameters
    return {"latents": latents, "picture": picture.permute(0, 2, 3, 1).contiguous(),
            "clamped": clamped.permute(0, 2, 3, 1).contiguous(), "moments": moments.contiguous()}


@torch.no_grad()
def main(data):
    for folder in [MINI, *sorted((data / "models").iterdir())]:
        pipe = StableDiffusionXLPipeline.from_pretrained(folder, torch_dtype=torch.float32)
        out = data / "golden" / folder.name
        out.mkdir(parents=True, exist_ok=True)
        generator = torch.Generator().manual_seed(11)
        save_file(text(pipe), out / "text.safetensors")
        for tag, (h, w) in SIZES.items():
            save_file(unet(pipe, h, w, generator), out / f"unet_{tag}.safetensors")
        save_file(vae(pipe, generator), out / "vae.safetensors")
        print(folder.name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
