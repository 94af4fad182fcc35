"""Makes tests/data/image: pictures in many forms with the pixels that Pillow reads from them, resized
pictures, and what diffusers' VaeImageProcessor makes of pictures and masks.

    python tests/reference/image.py tests/data/image
"""
import io
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import torch
from diffusers.image_processor import VaeImageProcessor
from PIL import Image, PngImagePlugin

OUT = Path(sys.argv[1])
WIDTH, HEIGHT = 37, 23


def pattern(channels: int, seed: int) -> np.ndarray:
    """Smooth colours, hard edges and noise: what resampling filters differ on."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float64)
    planes = [127 + 120 * np.sin(x / (3 + c) + y / (5 - c) + c) for c in range(channels)]
    im = np.stack(planes, -1) + rng.normal(0, 12, (HEIGHT, WIDTH, channels))
    im[5:12, 8:20] = rng.integers(0, 256, channels)
    im[15:18, 25:] = [255, 0, 255, 0][:channels]
    return np.clip(im, 0, 255).astype(np.uint8)


def keep(name: str, data: bytes, pixels: np.ndarray) -> None:
    (OUT / name).write_bytes(data)
    (OUT / (name + ".raw")).write_bytes(pixels.astype(np.uint8).tobytes())


def saved(im: Image.Image, form: str, **options) -> bytes:
    stream = io.BytesIO()
    im.save(stream, form, **options)
    return stream.getvalue()


def pillow_pixels(data: bytes, mode: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert(mode))


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png16(samples: np.ndarray, colour: int) -> bytes:
    """A 16-bit PNG, which Pillow does not write in colour."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, colour, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows))
            + chunk(b"IEND", b""))


def png_interlaced(rgb: np.ndarray) -> bytes:
    """An Adam7 PNG, which Pillow reads but does not write."""
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    rows = b"".join(b"\0" + row.tobytes() for x, y, dx, dy in passes for row in rgb[y::dy, x::dx])
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 1)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows))
            + chunk(b"IEND", b""))


def pngs() -> None:
    rgb, rgba = pattern(3, 1), pattern(4, 2)
    colour, alpha = Image.fromarray(rgb), Image.fromarray(rgba)
    for name, im in {
        "rgb": colour, "rgba": alpha, "grey": colour.convert("L"), "grey_alpha": alpha.convert("LA"),
        "palette": colour.quantize(32), "bits": colour.convert("1"),
    }.items():
        data = saved(im, "PNG")
        mode = "RGBA" if "A" in im.mode else "RGB"
        keep(name + ".png", data, pillow_pixels(data, mode))
    data = saved(colour.quantize(16), "PNG", transparency=bytes(range(0, 256, 16)))
    keep("palette_alpha.png", data, pillow_pixels(data, "RGBA"))
    data = saved(colour.quantize(3), "PNG", bits=2)
    keep("palette_2bit.png", data, pillow_pixels(data, "RGB"))
    data = png_interlaced(rgb)
    keep("interlaced.png", data, pillow_pixels(data, "RGB"))
    wide = np.random.default_rng(3).integers(0, 65536, (HEIGHT, WIDTH, 3))
    data = png16(wide, 2)
    keep("rgb16.png", data, pillow_pixels(data, "RGB"))
    texts = PngImagePlugin.PngInfo()
    texts.add_text("parameters", "a caf\u00e9\nSteps: 1, Sampler: Euler, Seed: 2")
    texts.add_text("Title", "\u043b\u0438\u0441\u0430 \U0001f98a")
    texts.add_text("Comment", "packed " * 40, zip=True)
    texts.add_itxt("kadr", '{"prompt":"x"}', zip=True)
    keep("texts.png", saved(colour, "PNG", pnginfo=texts), rgb)


def jpegs() -> None:
    colour = Image.fromarray(pattern(3, 4))
    for name, im, options in [
        ("colour", colour, dict(quality=90, subsampling=2)),
        ("full", colour, dict(quality=90, subsampling=0)),
        ("progressive", colour, dict(quality=80, progressive=True)),
        ("grey", colour.convert("L"), dict(quality=90)),
        ("cmyk", Image.fromarray(pattern(4, 5), "CMYK"), dict(quality=90)),
    ]:
        data = saved(im, "JPEG", **options)
        keep(name + ".jpg", data, pillow_pixels(data, "RGB"))
    for way in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = way
        data = saved(colour, "JPEG", quality=90, subsampling=0, exif=exif)
        turned = Image.open(io.BytesIO(data)).convert("RGB")
        moves = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
                 4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
                 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_90}
        if way in moves:
            turned = turned.transpose(moves[way])
        keep(f"way{way}.jpg", data, np.asarray(turned))


def webps() -> None:
    rgb, rgba = pattern(3, 6), pattern(4, 7)
    for name, im, options in [
        ("lossless", Image.fromarray(rgb), dict(lossless=True)),
        ("lossy", Image.fromarray(rgb), dict(quality=85)),
        ("alpha", Image.fromarray(rgba), dict(lossless=True, exact=True)),
        ("moving", Image.fromarray(rgba), dict(lossless=True, exact=True, save_all=True,
                                               append_images=[Image.fromarray(pattern(4, 8))])),
    ]:
        data = saved(im, "WEBP", **options)
        keep(name + ".webp", data, pillow_pixels(data, "RGBA" if im.mode == "RGBA" else "RGB"))


FILTERS = ["nearest", "box", "bilinear", "bicubic", "lanczos"]
SIZES = [(16, 16), (74, 46), (100, 9), (5, 60), (37, 10), (13, 23), (1, 1), (37, 23), (30, 9), (31, 9), (36, 20)]


def scaled() -> None:
    """One line a case in scale.txt, all pixels one after the other in scale.raw."""
    lines, raw = [], b""
    for source in ("rgb", "rgba"):
        im = Image.open(OUT / (source + ".png"))
        for f, name in enumerate(FILTERS):
            resample = getattr(Image.Resampling, name.upper())
            for size in SIZES:
                lines.append(f"{source}.png {f} {size[0]} {size[1]}")
                raw += im.resize(size, resample).tobytes()
    (OUT / "scale.txt").write_text("\n".join(lines) + "\n")
    (OUT / "scale.raw").write_bytes(raw)


def processed() -> None:
    """What diffusers feeds to its networks and makes of what they give."""
    vae = VaeImageProcessor(vae_scale_factor=8)
    mask = VaeImageProcessor(vae_scale_factor=8, do_normalize=False, do_binarize=True, do_convert_grayscale=True)
    im = Image.open(OUT / "rgb.png")
    init = vae.preprocess(im, height=16, width=24)[0].permute(1, 2, 0).contiguous()
    (OUT / "init.f32").write_bytes(init.numpy().tobytes())
    whole = mask.preprocess(im, height=48, width=64)
    (OUT / "mask.f32").write_bytes(whole[0, 0].contiguous().numpy().tobytes())
    small = torch.nn.functional.interpolate(whole, size=(6, 8))
    (OUT / "mask_latents.f32").write_bytes(small[0, 0].contiguous().numpy().tobytes())
    odd = torch.nn.functional.interpolate(whole, size=(5, 9))
    (OUT / "mask_odd.f32").write_bytes(odd[0, 0].contiguous().numpy().tobytes())
    # Every half between two steps of 8 bits, and what lies outside of them.
    steps = torch.arange(-40, 2 * 255 + 40, dtype=torch.float32) / 2 / 255 * 2 - 1
    given = torch.cat([steps, torch.randn(2000, generator=torch.manual_seed(9)), torch.tensor([-9.0, 9.0])])
    given = torch.cat([given, torch.zeros(-len(given) % 3)])
    out = vae.postprocess(given.reshape(1, 1, -1, 3).permute(0, 3, 1, 2), output_type="pil")[0]
    (OUT / "decoded.f32").write_bytes(given.numpy().tobytes())
    (OUT / "decoded.raw").write_bytes(out.tobytes())


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    pngs()
    jpegs()
    webps()
    scaled()
    processed()
