"""The memory promise with a model of SDXL's size: each setting is drawn in a memory cgroup of exactly its SIZE, without
swap (as root; else beside the measured peak alone), and P - max(10 %, 16 MiB) <= measured <= P <= SIZE holds. One test a
setting, as each takes a minute; half an hour for all:

    KADR_FULL_MODEL=model.kadr KADR_FULL_FOLDER=model KADR=build/kadr KADR_TEST_DATA=tests/data \\
        python3 tests/e2e/memory_full.py [-k "512x512 least"]

KADR_FULL_MODEL is a packed model in bf16 (one in int8 refuses the settings with a LoRA), KADR_FULL_FOLDER the same as
diffusers' folder; random numbers do.
"""

import json
import os
import random
import struct
import sys
import tempfile
import unittest

from memory import MIB, PICTURES, Promise

PACKED = os.environ.get("KADR_FULL_MODEL")
FOLDER = os.environ.get("KADR_FULL_FOLDER")
PICTURE = ["--init", str(PICTURES / "init.png"), "--steps", "2", "--strength", "0.5"]
MASK = ["--mask", str(PICTURES / "mask.png")]
IN_TURN = ["--guidance-interval", "0.5,1", "--steps", "2"]
LEAST = None  # what the plan says is enough

# Name, width, height, MiB, options of its own.
SETTINGS = [
    ("512x512 least", 512, 512, LEAST, []),
    ("512x512", 512, 512, 1024, []),
    ("512x512 all in memory", 512, 512, 8192, []),
    ("512x512 without guidance", 512, 512, 300, ["--guidance", "1"]),
    ("512x512 two pictures, least", 512, 512, LEAST, ["--count", "2"]),
    ("512x512 img2img, least", 512, 512, LEAST, PICTURE),
    ("512x512 inpaint", 512, 512, 400, PICTURE + MASK),
    ("512x512 step cache", 512, 512, 700, ["--steps", "2", "--step-cache", "2"]),
    ("512x512 branches in turn", 512, 512, 1536, IN_TURN),
    ("512x512 identity, least", 512, 512, LEAST, ["--cast", "fox:0.6@left"]),
    ("512x512 identity off, least", 512, 512, LEAST, ["--cast", "fox:0.6@left", "--identity-lock", "off"]),
    ("512x512 lora, least", 512, 512, LEAST, ["--lora", "LORA:0.5"]),
    ("512x512 folder bf16, least", 512, 512, LEAST, ["-m", FOLDER, "--precision", "bf16"]),
    ("512x512 folder int8", 512, 512, 500, ["-m", FOLDER, "--precision", "int8"]),
    ("512x512 folder f32", 512, 512, 2048, ["-m", FOLDER, "--precision", "f32"]),
    ("768x768 least", 768, 768, LEAST, []),
    ("768x768", 768, 768, 1024, []),
    ("768x768 identity", 768, 768, 600, ["--cast", "fox:0.6@left"]),
    ("768x512", 768, 512, 2048, []),
    ("1024x576 least", 1024, 576, LEAST, []),
    ("832x1216", 832, 1216, 200, []),
    ("1024x1024 least", 1024, 1024, LEAST, []),
    ("1024x1024", 1024, 1024, 512, []),
    ("512x512 lora and identity", 512, 512, 300, ["--lora", "LORA:0.5", "--cast", "fox:0.6@right"]),
]

# SDXL's transformers: their place, depth and width.
TRANSFORMERS = [(f"down_blocks.1.attentions.{i}", 2, 640) for i in range(2)]
TRANSFORMERS += [(f"down_blocks.2.attentions.{i}", 10, 1280) for i in range(2)]
TRANSFORMERS += [("mid_block.attentions.0", 10, 1280)]
TRANSFORMERS += [(f"up_blocks.0.attentions.{i}", 10, 1280) for i in range(3)]
TRANSFORMERS += [(f"up_blocks.1.attentions.{i}", 2, 640) for i in range(3)]
TOKENS = 16
RANK = 8


def write_safetensors(path, shapes, metadata):
    """Small random f16 numbers."""
    head, at = {"__metadata__": metadata} if metadata else {}, 0
    for name, shape in shapes.items():
        size = 2 * shape[0] * shape[1]
        head[name] = {"dtype": "F16", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    some = b"".join(struct.pack("<e", random.Random(1).uniform(-0.02, 0.02)) for _ in range(4096))
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for _ in range(at // len(some)):
            f.write(some)
        f.write(some[:at % len(some)])


def cast_shapes():
    return {f"unet.{place}.transformer_blocks.{i}.attn2.{part}": [TOKENS, width]
            for place, depth, width in TRANSFORMERS for i in range(depth) for part in ("k", "v", "uncond_k", "uncond_v")}


def lora_shapes():
    shapes = {}
    for place, depth, width in TRANSFORMERS:
        for i in range(depth):
            for layer in ("attn1.to_q", "attn1.to_v", "attn2.to_out.0"):
                name = f"unet.{place}.transformer_blocks.{i}.{layer}"
                shapes[f"{name}.lora_A.weight"] = [RANK, width]
                shapes[f"{name}.lora_B.weight"] = [width, RANK]
    return shapes


@unittest.skipUnless(PACKED, "KADR_FULL_MODEL names no model of SDXL's size")
class Full(Promise):
    steps = "1"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        write_safetensors(cls.casts / "fox.cast", cast_shapes(), {"format": "kadr cast", "version": "1"})
        write_safetensors(cls.casts / "lora.safetensors", lora_shapes(), None)

    def look(self, what, width, height, mib, extra):
        options = ["-W", str(width), "-H", str(height), *extra]
        if "-m" not in extra:
            options += ["-m", PACKED]
        options = [str(o).replace("LORA", str(self.casts / "lora.safetensors")) for o in options]
        with tempfile.TemporaryDirectory(prefix="kadr-memory-") as folder:
            if mib is LEAST:
                report, mib = self.draw(folder, options, 32 * MIB)
                self.assertIsNone(report)
            report, _ = self.draw(folder, options, mib * MIB)
        self.assertIsNotNone(report, f"refused, the least is {_} MiB")
        sizes = [mib, report["planned_peak_bytes"] / MIB, report["measured_peak_bytes"] / MIB, self.held / MIB]
        print(f"{what:32} " + "".join(f"{size:10.1f}" for size in sizes), file=sys.stderr, flush=True)
        self.check(what, report)


for setting in SETTINGS:
    if FOLDER or "-m" not in setting[4]:
        setattr(Full, "test_" + setting[0].replace(", ", "_").replace(" ", "_"), lambda self, s=setting: self.look(*s))

if __name__ == "__main__":
    print(f"{'setting':32} {'SIZE MiB':>10}{'planned':>10}{'measured':>10}{'held':>10}", file=sys.stderr)
    unittest.main()
