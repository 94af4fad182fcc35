"""A few-step LoRA: four steps without guidance in place of twenty with it.

    python distill.py DATA runs/text runs/unet/unet --out runs/lcm

Latent consistency distillation as in LCM-LoRA. The teacher (the UNet without the LoRA) takes one guided DDIM step
from a noisy latent; the student must say the same clean latent before and after that step. OFTEN are steps near those of a
drawing. The first is taken from noise alone: SDXL's noisiest latents tell something of the picture, above all its light, and a
student that reads it there misses it when it draws. --from goes on from such a file. Draw with --lora FILE --sampler lcm --steps 4 --guidance 1.
"""

from pathlib import Path

import torch
from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel
from diffusers.utils import convert_state_dict_to_diffusers
from peft import LoraConfig, get_peft_model_state_dict
from safetensors.torch import load_file

from common import Data, Trainer, arguments, autocast, constant, halve_norms, made, start
from diffusion import TIMES, Batches, Text, alphas_on, noise_like

RANK = 4
TARGETS = [
    "to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2", "conv1", "conv2",
    "conv_shortcut", "downsamplers.0.conv", "upsamplers.0.conv", "time_emb_proj",
]  # fmt: skip
GRID = 20  # DDIM steps of the teacher's path
GUIDANCE = 4.0
SCALING, DEVIATION = 10.0, 0.5  # of the boundary condition, as in the paper
HUBER = 0.001
OFTEN, DRAWN = 0.6, (19, 15, 14, 9, 4)  # a share of the steps; numbers of the grid


def column(v):
    return v[:, None, None, None]


def clean(noisy, guess, alpha):
    return (noisy - column(1 - alpha).sqrt() * guess) / column(alpha).sqrt()


def consistent(noisy, guess, t, alpha):
    """The consistency function: the guessed clean latent, tied to the latent itself as t goes to 0."""
    s = SCALING * t.float()
    skip, out = DEVIATION**2 / (s**2 + DEVIATION**2), s / (s**2 + DEVIATION**2).sqrt()
    return column(skip) * noisy + column(out) * clean(noisy, guess, alpha)


def predict(unet, noisy, t, states, pooled, sizes, context):
    with context:
        conditions = {"text_embeds": pooled, "time_ids": sizes}
        return unet(noisy, t, states, added_cond_kwargs=conditions).sample.float()


@torch.no_grad()
def teacher_step(unet, noisy, t, alpha, alpha_next, batch, context):
    """One guided DDIM step without the LoRA; without words is zeros, as SDXL does it."""
    unet.disable_adapters()
    both = predict(
        unet, torch.cat([noisy, noisy]), torch.cat([t, t]), torch.cat([batch.states, batch.states * 0]),
        torch.cat([batch.pooled, batch.pooled * 0]), torch.cat([batch.sizes, batch.sizes]), context,
    )  # fmt: skip
    unet.enable_adapters()
    told, untold = both.chunk(2)
    guess = untold + GUIDANCE * (told - untold)
    z = clean(noisy, guess, alpha)
    return column(alpha_next).sqrt() * z + column(1 - alpha_next).sqrt() * guess


def load(unet, path):
    """What `save` wrote. diffusers' own loading leaves out the attentions, by these names."""
    own = dict(unet.named_parameters())
    for name, weight in load_file(path).items():
        for theirs, ours in ((".lora.down.", ".lora_A."), (".lora.up.", ".lora_B."), (".lora_A.", ".lora_A.default."), (".lora_B.", ".lora_B.default.")):
            name = name.replace(theirs, ours)
        own[name.removeprefix("unet.")].data = weight.float()


def main():
    parser = arguments(__doc__, steps=1500, batch=16)
    for name in ("data", "text", "unet"):
        parser.add_argument(name)
    parser.add_argument("--from", dest="begin", type=Path, metavar="FILE")
    args = parser.parse_args()
    start(args)
    made(Path(args.text) / "done", args.wait)
    batches = Batches(Data(args.data, args.wait, growing=args.wait), Text(args.text, args.device), args.device, args.wait)
    made(Path(args.unet).parent / "done", args.wait)
    unet = UNet2DConditionModel.from_pretrained(args.unet).float().requires_grad_(False)
    unet.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=TARGETS, init_lora_weights="gaussian"))
    if args.begin:
        load(unet, args.begin)
    for name, weight in unet.named_parameters():
        weight.data = weight.data.float()
        weight.requires_grad_("lora_" in name)
    unet.to(args.device, memory_format=torch.channels_last)
    halve_norms(unet)
    learned = [p for p in unet.parameters() if p.requires_grad]

    def save(trainer):
        state = convert_state_dict_to_diffusers(get_peft_model_state_dict(trainer.average["unet"]))
        state = {name: weight.half().contiguous() for name, weight in state.items()}
        StableDiffusionXLPipeline.save_lora_weights(
            args.out, unet_lora_layers=state, weight_name="lcm.safetensors", safe_serialization=True
        )

    groups = [{"params": learned, "lr": args.rate or 5e-4, "weight_decay": 0.0}]
    trainer = Trainer(args, {"unet": unet}, groups, ["unet"], save, decay=0.99)
    alphas = alphas_on(args.device)
    stride = TIMES // GRID

    def step():
        context = autocast(args)
        batch = batches.draw(args.local)
        often = constant(DRAWN, args.device)[torch.randint(len(DRAWN), (args.local,), device=args.device)]
        n = torch.randint(1, GRID, (args.local,), device=args.device)
        n = torch.where(torch.rand(args.local, device=args.device) < OFTEN, often, n)
        t, t_next = n * stride + stride - 1, n * stride - 1
        alpha, alpha_next = alphas[t], alphas[t_next]
        noisy = column(alpha).sqrt() * batch.latents + column(1 - alpha).sqrt() * noise_like(batch.latents)
        noisy = torch.where(column(n) == GRID - 1, torch.randn_like(noisy), noisy)  # a drawing begins with noise alone
        nearer = teacher_step(unet, noisy, t, alpha, alpha_next, batch, context)
        said = [batch.states, batch.pooled, batch.sizes, context]
        with torch.no_grad():
            target = consistent(nearer, predict(unet, nearer, t_next, *said), t_next, alpha_next)
        student = consistent(noisy, predict(unet, noisy, t, *said), t, alpha)
        return ((student - target).pow(2) + HUBER**2).sqrt().mean() - HUBER, {}

    for _ in trainer.steps():
        trainer.take(step)


if __name__ == "__main__":
    main()
