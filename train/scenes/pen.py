"""Colours and inked shapes: the only place that knows cairo's calls for filling and stroking.

Shapes are filled, then outlined in INK with the pen's width unless ink=False.
"""

import math

import cairo

INK = (0.09, 0.08, 0.14)
PAINT = {
    "red": (0.86, 0.17, 0.17), "orange": (0.95, 0.52, 0.13), "yellow": (0.97, 0.82, 0.2), "green": (0.25, 0.68, 0.3),
    "blue": (0.2, 0.45, 0.9), "purple": (0.55, 0.27, 0.75), "pink": (0.97, 0.55, 0.72), "white": (0.95, 0.95, 0.95),
}  # fmt: skip


def mix(a, b, t):
    return tuple(x + (y - x) * t for x, y in zip(a, b))


def dark(colour, t=0.22):
    return mix(colour, (0.1, 0.05, 0.2), t)


def light(colour, t=0.35):
    return mix(colour, (1, 1, 1), t)


class Pen:
    """A cairo context and the width of its ink."""

    def __init__(self, context, width):
        self.c, self.width = context, width

    def finish(self, colour, ink=True, width=1.0):
        """Fills the current path, and inks it."""
        self.c.set_source_rgb(*colour)
        if not ink:
            self.c.fill()
            return
        self.c.fill_preserve()
        self.stroke(INK, self.width * width)

    def stroke(self, colour, width, preserve=False):
        self.c.set_source_rgb(*colour)
        self.c.set_line_width(width)
        if preserve:
            self.c.stroke_preserve()
        else:
            self.c.stroke()

    def ellipse_path(self, x, y, rx, ry, start=0.0, end=2 * math.pi):
        self.c.save()
        self.c.translate(x, y)
        self.c.scale(rx, ry)
        self.c.new_sub_path()
        self.c.arc(0, 0, 1, start, end)
        self.c.restore()

    def ellipse(self, x, y, rx, ry, colour, ink=True, width=1.0):
        self.ellipse_path(x, y, rx, ry)
        self.finish(colour, ink, width)

    def shadow(self, rx, ry, alpha):
        """A soft dark ellipse on the ground at the origin."""
        self.c.set_source_rgba(0.05, 0.03, 0.12, alpha)
        self.ellipse_path(0, 0, rx, ry, 0, 7)
        self.c.fill()

    def polygon(self, points, colour, ink=True, width=1.0):
        self.c.move_to(*points[0])
        for point in points[1:]:
            self.c.line_to(*point)
        self.c.close_path()
        self.finish(colour, ink, width)

    def rectangle(self, x, y, w, h, colour, ink=True, width=1.0):
        self.c.rectangle(x, y, w, h)
        self.finish(colour, ink, width)

    def rounded(self, x, y, w, h, radius, colour, ink=True):
        corners = (
            (x + w - radius, y + radius), (x + w - radius, y + h - radius), (x + radius, y + h - radius),
            (x + radius, y + radius),
        )  # fmt: skip
        self.c.new_sub_path()
        for k, (cx, cy) in enumerate(corners):
            self.c.arc(cx, cy, radius, (k - 1) * math.pi / 2, k * math.pi / 2)
        self.c.close_path()
        self.finish(colour, ink)

    def outline(self, start, *segments, colour=None, ink=True, width=1.0, close=True):
        """A closed outline of curves (three points, flat) and lines (one point); without colour only the path."""
        self.c.move_to(*start)
        for segment in segments:
            if len(segment) == 6:
                self.c.curve_to(*segment)
            else:
                self.c.line_to(*segment)
        if close:
            self.c.close_path()
        if colour:
            self.finish(colour, ink, width)

    def line(self, points, width, colour, outline=False):
        """A round-ended line; with an outline it is inked on both sides, as limbs are."""
        self.c.set_line_cap(cairo.LINE_CAP_ROUND)
        self.c.set_line_join(cairo.LINE_JOIN_ROUND)
        self.c.move_to(*points[0])
        for point in points[1:]:
            self.c.line_to(*point)
        if outline:
            self.stroke(INK, width + 2 * self.width, preserve=True)
        self.stroke(colour, width)

    def gradient(self, x, y, w, h, stops):
        pattern = cairo.LinearGradient(0, y, 0, y + h)
        for offset, colour in stops:
            pattern.add_color_stop_rgb(offset, *colour)
        self.c.set_source(pattern)
        self.c.rectangle(x, y, w, h)
        self.c.fill()
