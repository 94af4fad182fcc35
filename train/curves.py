"""A picture of a run's losses: python curves.py runs/unet/log.jsonl --out unet.png [--fields loss]"""

import argparse
import json
from pathlib import Path

import cairo

WIDTH, HEIGHT, MARGIN = 640, 320, 48
INKS = [(0.15, 0.35, 0.75), (0.8, 0.3, 0.2), (0.2, 0.55, 0.3), (0.5, 0.3, 0.65), (0.75, 0.55, 0.1)]


def axes(context, steps, top):
    context.set_source_rgb(1, 1, 1)
    context.paint()
    context.set_source_rgb(0.3, 0.3, 0.3)
    context.set_line_width(1)
    context.move_to(MARGIN, MARGIN / 2)
    context.line_to(MARGIN, HEIGHT - MARGIN)
    context.line_to(WIDTH - MARGIN / 2, HEIGHT - MARGIN)
    context.stroke()
    context.set_font_size(12)
    for part in (0, 0.5, 1):
        context.move_to(4, HEIGHT - MARGIN - part * (HEIGHT - 1.5 * MARGIN) + 4)
        context.show_text(f"{top * part:.3g}")
        context.move_to(MARGIN + part * (WIDTH - 2 * MARGIN), HEIGHT - MARGIN + 18)
        context.show_text(f"{round(steps * part)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("log", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--fields", nargs="+", default=["loss"])
    args = parser.parse_args()
    lines = [json.loads(line) for line in args.log.read_text().splitlines()]
    surface = cairo.ImageSurface(cairo.FORMAT_RGB24, WIDTH, HEIGHT)
    context = cairo.Context(surface)
    steps = lines[-1]["step"]
    values = sorted(line[name] for line in lines for name in args.fields if name in line)
    top = 1.1 * values[int(0.98 * (len(values) - 1))]  # the first steps would flatten the rest
    axes(context, steps, top)
    for name, ink in zip(args.fields, INKS):
        context.set_source_rgb(*ink)
        context.new_path()
        for line in lines:
            if name in line:
                x = MARGIN + line["step"] / steps * (WIDTH - 1.5 * MARGIN)
                y = HEIGHT - MARGIN - min(1, line[name] / top) * (HEIGHT - 1.5 * MARGIN)
                context.line_to(x, y)
        context.stroke()
        context.move_to(WIDTH - 110, MARGIN / 2 + 16 * (1 + args.fields.index(name)))
        context.show_text(name)
    surface.write_to_png(str(args.out))


if __name__ == "__main__":
    main()
