"""A whole frame: attributes and a seed give a picture, always the same.

The world is 128 units high at every size; the width follows the picture's aspect, and the camera's zoom grows
with it so that the background has no bare margin.
"""

import random
from dataclasses import dataclass

import cairo
import numpy as np

from .figure import draw_figure
from .places import HEIGHT, WIDTH, draw_background, draw_prop
from .world import companion, has_companion

ZOOM = {"close": 1.45, "medium": 1.12, "wide": 1.0}
# Scale and ground line of the figure. A close-up is cut at the hips and keeps what is worn on the head; a wide shot's
# head is 40 pixels wide at 192 x 128: at 33, an 8x latent could not hold a face.
FIGURE = {"close": (1.4, 166), "medium": (0.98, 121), "wide": (0.76, 112)}
PROP = {"medium": 1.0, "wide": 0.8}
PLACE_ON_STAGE = {"left": 0.27, "centre": 0.5, "right": 0.73}
CLOSE_TO_CENTRE = 0.7  # a close-up's figure keeps its arms in the picture
NOBODY = (0.0, 0.0, 0.0, 0.0)


@dataclass
class Frame:
    picture: np.ndarray  # uint8 [height, width, 3]
    boxes: tuple  # of each of two figures with its accessories: left, top, right, bottom as parts of the picture


def weather_over(context, a, rng, width):
    """The light of the hour over everything, then rain or snow in front."""
    if a["time"] == "night" and a["place"] != "space":
        context.set_source_rgba(0.08, 0.1, 0.4, 0.16)
        context.paint()
    if a["time"] == "sunset":
        context.set_source_rgba(1, 0.45, 0.15, 0.1)
        context.paint()
    if a["weather"] == "rain":
        context.set_source_rgba(0.4, 0.5, 0.65, 0.16)
        context.paint()
        context.set_line_width(1.7)
        context.set_line_cap(cairo.LINE_CAP_ROUND)
        for _ in range(32):
            x, y = rng.uniform(-5, width + 10), rng.uniform(-10, HEIGHT)
            context.move_to(x, y)
            context.line_to(x - 4, y + 12)
        context.set_source_rgba(0.85, 0.93, 1, 0.75)
        context.stroke()
    elif a["weather"] == "snow":
        for _ in range(34):
            context.new_sub_path()
            context.arc(rng.uniform(0, width), rng.uniform(0, HEIGHT), rng.uniform(1.6, 2.5), 0, 7)
        context.set_source_rgb(1, 1, 1)
        context.fill()


def place_figure(context, a, rng, width, reference):
    """The figure of `a` on its side of the scene; gives back its box."""
    scale, y = FIGURE[a["shot"]]
    scale *= rng.uniform(0.96, 1.04)
    y += rng.uniform(-1.5, 1.5)
    part = PLACE_ON_STAGE[a["side"]]
    if a["shot"] == "close":
        part = 0.5 + (part - 0.5) * CLOSE_TO_CENTRE
    x = part * width + rng.uniform(-5, 5)
    if reference:
        x = width / 2 + rng.uniform(-6, 6)
    flip = {"left": False, "right": True, "centre": rng.random() < 0.5}[a["side"]]
    if a["prop"] != "none" and a["shot"] != "close":
        free = {"left": 136 / 192, "right": 56 / 192, "centre": rng.choice([34 / 192, 158 / 192])}[a["side"]]
        draw_prop(context, a, free * width + rng.uniform(-6, 6), y - 3, PROP[a["shot"]])
    draw_figure(context, a, rng, x, y, scale, flip)
    return (x - 42 * scale, y - 108 * scale, x + 42 * scale, y + 2 * scale)


def draw_scene(context, a, rng, width, reference):
    """The scene in world units; gives back the figures' boxes."""
    zoom = ZOOM[a["shot"]] * max(1.0, width / WIDTH)
    context.save()
    context.translate(width / 2, 78)
    context.scale(zoom, zoom)
    context.translate(-WIDTH / 2, -74 if a["shot"] == "close" else -78)
    draw_background(context, a, rng)
    context.restore()
    second = place_figure(context, companion(a), rng, width, False) if has_companion(a) else None
    first = place_figure(context, a, rng, width, reference)
    weather_over(context, a, rng, width)
    return first, second


def render(a, seed, width=WIDTH, height=HEIGHT, reference=False):
    """The frame of attributes `a`. reference: a square of the given height about the figure, for the identity lock."""
    scene = HEIGHT * width / height
    shown = HEIGHT if reference else scene
    surface = cairo.ImageSurface(cairo.FORMAT_RGB24, height if reference else width, height)
    context = cairo.Context(surface)
    context.scale(height / HEIGHT, height / HEIGHT)
    left = (scene - shown) / 2
    context.translate(-left, 0)
    boxes = draw_scene(context, a, random.Random(seed), scene, reference)
    surface.flush()
    pixels = np.ndarray(
        (surface.get_height(), surface.get_width(), 4), np.uint8, surface.get_data(),
        strides=(surface.get_stride(), 4, 1),
    )  # fmt: skip

    def part(box):
        x0, y0, x1, y1 = box
        sides = ((x0 - left) / shown, y0 / HEIGHT, (x1 - left) / shown, y1 / HEIGHT)
        return tuple(min(1.0, max(0.0, v)) for v in sides)

    return Frame(pixels[:, :, 2::-1].copy(), tuple(part(box) if box else NOBODY for box in boxes))
