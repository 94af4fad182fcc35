"""The UNet on the latents, text encoders frozen.

    python unet.py DATA runs/text --out runs/unet [--from UNET]
    OMP_NUM_THREADS=1 torchrun --nproc-per-node 2 unet.py ...      one process a core: faster than two threads

--from goes on from the weights of an earlier run.
"""

from diffusers import UNet2DConditionModel

from common import Data, Trainer, arguments, autocast, start
from diffusion import Batch, Text, diffusion_loss, new_unet


def main():
    parser = arguments(__doc__, steps=10000, batch=32)
    parser.add_argument("data")
    parser.add_argument("text")
    parser.add_argument("--from", dest="begin", metavar="UNET")
    args = parser.parse_args()
    start(args)
    data, text = Data(args.data), Text(args.text, args.device)
    unet = UNet2DConditionModel.from_pretrained(args.begin) if args.begin else new_unet(data.width // 8)
    unet.to(args.device)
    trainer = Trainer(
        args, {"unet": unet}, [{"params": list(unet.parameters()), "lr": args.rate or 1e-3, "weight_decay": 1e-2}],
        ["unet"], lambda t: t.average["unet"].save_pretrained(args.out), warmup=150,
    )  # fmt: skip
    for _, dice in trainer.steps():
        trainer.update(diffusion_loss(unet, Batch(data, text, args.local, dice), autocast(args)))


if __name__ == "__main__":
    main()
