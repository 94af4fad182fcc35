"""The character: its body in a pose, its head, and the accessory that it wears or carries.

Drawn in units of its own: the feet stand at the origin, y grows downward, a head's centre is at y = -70 and ears
end at about -115. Order is from back to front, as on a cartoonist's cel.
"""

import math

import cairo

from .pen import INK, PAINT, Pen, dark, light

ANIMALS = ("fox", "bear", "cat", "rabbit")
SKIN = (0.98, 0.8, 0.66)
BROWN_HAIR = (0.42, 0.24, 0.14)
STEEL = (0.66, 0.7, 0.76)
TIN = (0.62, 0.66, 0.72)
CREAM = (0.98, 0.95, 0.85)
JEANS = (0.25, 0.28, 0.45)
WHITE = (1, 1, 1)
EAR_PINK = (0.98, 0.7, 0.75)
BOTH = (-1, 1)

LEGS = {
    "standing": [[(-7, -20), (-7, -2)], [(7, -20), (7, -2)]],
    "waving": [[(-7, -20), (-8, -2)], [(7, -20), (8, -2)]],
    "walking": [[(-5, -20), (-9, -11), (-14, -3)], [(5, -20), (11, -12), (11, -2)]],
    "running": [[(-5, -20), (-13, -12), (-26, -14)], [(5, -20), (18, -17), (19, -4)]],
    "sitting": [[(-7, -22), (-4, -18), (14, -17)], [(7, -20), (12, -18), (27, -17)]],
    "jumping": [[(-7, -20), (-17, -14), (-13, -3)], [(7, -20), (17, -14), (13, -3)]],
}
ARMS = {
    "standing": [[(-14, -41), (-20, -25)], [(14, -41), (20, -25)]],
    "waving": [[(-14, -41), (-21, -26)], [(14, -41), (27, -48), (33, -68)]],
    "walking": [[(-14, -41), (-22, -29)], [(14, -41), (22, -30)]],
    "running": [[(-14, -41), (-25, -36), (-27, -25)], [(14, -41), (22, -32), (31, -40)]],
    "sitting": [[(-14, -41), (-21, -23)], [(14, -41), (21, -26)]],
    "jumping": [[(-14, -41), (-30, -62)], [(14, -41), (30, -62)]],
}
LIMB = {"robot": TIN, "knight": STEEL, "girl": SKIN}
LEG = {"girl": (0.98, 0.9, 0.85), "boy": JEANS, "wizard": (0.35, 0.25, 0.2)}
SHOE = {
    "girl": (0.5, 0.2, 0.2), "boy": (0.75, 0.25, 0.2), "wizard": (0.3, 0.2, 0.15), "robot": (0.4, 0.43, 0.5),
    "knight": (0.45, 0.48, 0.55), "astronaut": (0.85, 0.85, 0.9),
}  # fmt: skip
GLOVE = (0.93, 0.93, 0.96)
HAND = {"robot": GLOVE, "knight": GLOVE, "astronaut": GLOVE, "boy": SKIN, "wizard": SKIN}


class Figure:
    """One character: the pen to draw with, its attributes and its colours."""

    def __init__(self, context, a, rng, ink):
        self.pen = Pen(context, ink)
        self.c = context
        self.kind, self.action, self.acc = a["kind"], a["action"], a["acc"]
        self.main = tuple(min(1, max(0, v + rng.uniform(-0.03, 0.03))) for v in PAINT[a["col"]])
        self.shade = dark(self.main)
        self.trim = PAINT[a["acol"]]
        self.white_trim = a["acol"] == "white"
        self.animal = self.kind in ANIMALS
        self.limb = LIMB.get(self.kind, self.main)
        self.arms, self.legs = ARMS[self.action], LEGS[self.action]
        self.close = a["shot"] == "close"  # has no room above the hat, and below only for what is worn at the neck
        self.drop = (8 if self.close else 15) if self.action == "sitting" else 0
        self.lift = (5 if self.close else 16) if self.action == "jumping" else 0

    def draw(self):
        self.pen.shadow(17 if self.lift else 24, 5, 0.33)
        self.c.translate(0, self.drop - self.lift)
        if self.action == "running":
            self.c.rotate(0.16)
        self.behind()
        self.tail()
        self.pen.line(self.arms[0], 8, self.limb, True)
        for leg in self.legs:
            self.pen.line(leg, 9, LEG.get(self.kind, self.limb), True)
            x, y = leg[-1]
            self.pen.ellipse(x + 2, y, 7, 4.5, SHOE.get(self.kind, self.shade))
        self.body()
        if self.acc == "backpack":
            self.pen.line([(-9, -46), (-11, -24)], 3.5, self.trim, True)
            self.pen.line([(9, -46), (11, -24)], 3.5, self.trim, True)
        self.pen.line(self.arms[1], 8, self.limb, True)
        self.hands()
        self.ears()
        self.head()
        self.fur_and_hair()
        if self.kind not in ("robot", "knight"):
            self.face()
        self.in_front()

    def behind(self):
        """What hangs behind the body: cape, backpack, balloon. A close-up is cut at the hips: there it must show at the shoulders."""
        if self.acc == "cape" and self.close:
            self.pen.outline(
                (-11, -49), (-24, -47, -36, -36, -43, -4), (39, -4), (34, -36, 24, -47, 11, -49), colour=self.trim,
            )  # fmt: skip
        elif self.acc == "cape":
            flare = 22 if self.action in ("running", "walking", "jumping") else 8
            self.pen.outline(
                (-13, -46), (-20, -30, -24 - flare, -20, -22 - flare, -4 - self.drop * 0.7),
                (14 - flare * 0.3, -3 - self.drop * 0.7), (18, -20, 17, -36, 13, -46), colour=self.trim,
            )  # fmt: skip
        elif self.acc == "backpack" and self.close:
            self.pen.rounded(-33, -53, 66, 46, 10, self.trim)
            self.pen.rounded(-33, -36, 66, 8, 3, dark(self.trim))
        elif self.acc == "backpack":
            self.pen.rounded(-25, -48, 50, 30, 8, self.trim)
            self.pen.rounded(-25, -34, 50, 8, 3, dark(self.trim))
        elif self.acc == "balloon":
            x, y = self.arms[0][-1]
            self.pen.outline((x, y), (x - 6, y - 20, -36, -50, -36, -66), close=False)
            self.pen.stroke(INK, self.pen.width * 0.8)
            self.pen.ellipse(-37, -82, 14, 17, self.trim)
            self.pen.ellipse(-42, -89, 3.5, 5, light(self.trim, 0.7), False)

    def tail(self):
        """Tails, and the hair that hangs behind."""
        pen = self.pen
        if self.kind == "fox":
            pen.outline((-8, -22), (-28, -12, -44, -28, -36, -50), (-28, -40, -22, -38, -8, -30), colour=self.main)
            pen.outline(
                (-40, -38), (-42, -44, -38, -48, -36, -50), (-33, -46, -31, -43, -29, -41), colour=(0.98, 0.97, 0.93)
            )
        elif self.kind == "cat":
            pen.outline((-8, -22), (-34, -14, -22, -40, -36, -46), close=False)
            self.c.set_line_cap(cairo.LINE_CAP_ROUND)
            pen.stroke(INK, 6 + 2 * pen.width, preserve=True)
            pen.stroke(self.main, 6)
        elif self.kind == "rabbit":
            pen.ellipse(-17, -22, 6, 6, WHITE)
        elif self.kind == "girl":
            pen.ellipse(-27, -58, 8, 15, BROWN_HAIR)
            pen.ellipse(27, -58, 8, 15, BROWN_HAIR)

    def body(self):
        pen = self.pen
        if self.kind in ("girl", "wizard"):
            hem = -16 if self.action == "sitting" else -14 if self.kind == "girl" else -8
            pen.outline(
                (-11, -46), (-13, -34, -16, -26, -20, hem), (20, hem), (16, -26, 13, -34, 11, -46), colour=self.main
            )
            pen.polygon([(8, -44), (11, -44), (19, hem + 1), (9, hem + 1)], self.shade, False)
            if self.kind == "wizard":
                pen.rectangle(-15, -27, 30, 4, (0.95, 0.8, 0.3), True, 0.7)
            return
        if self.kind == "robot":
            pen.rounded(-16, -47, 32, 31, 4, self.main)
            pen.rounded(-9, -41, 18, 13, 2, (0.2, 0.25, 0.35))
            pen.ellipse(-4, -35, 2.6, 2.6, (0.3, 0.95, 0.5), False)
            pen.ellipse(4, -35, 2.6, 2.6, (1, 0.8, 0.2), False)
            return
        pen.outline(
            (-12, -47), (-16, -36, -18, -26, -14, -17), (-8, -13, 8, -13, 14, -17), (18, -26, 16, -36, 12, -47),
            colour=self.main,
        )  # fmt: skip
        if self.animal:
            pen.ellipse(1, -27, 9.5, 11, (0.98, 0.95, 0.9), False)
        elif self.kind == "astronaut":
            pen.rounded(-9, -39, 18, 12, 2, (0.92, 0.93, 0.96))
            pen.rectangle(-6, -36, 4, 5, (0.9, 0.2, 0.2), False)
            pen.rectangle(0, -36, 6, 3, (0.2, 0.6, 0.9), False)
        elif self.kind == "knight":
            pen.rectangle(-2.2, -42, 4.4, 24, CREAM, False)
            pen.rectangle(-9, -35, 18, 4.4, CREAM, False)
        elif self.kind == "boy":
            pen.polygon([(-14, -21), (14, -21), (14, -17), (0, -13), (-14, -17)], JEANS)

    def hands(self):
        for arm in self.arms:
            self.pen.ellipse(*arm[-1], 5, 5, HAND.get(self.kind, self.limb))
        if self.action == "waving":
            for k in (0, 1):
                self.c.new_sub_path()
                self.c.arc(33, -70, 9 + 4 * k, -1.1, -0.1)
                self.pen.stroke(INK, self.pen.width * 0.8)

    def ears(self):
        pen = self.pen
        for side in BOTH:
            if self.kind == "rabbit":
                self.c.save()
                self.c.translate(side * 11, -88)
                self.c.rotate(side * 0.14)
                pen.ellipse(0, -10, 7, 20, self.main)
                pen.ellipse(0, -9, 3.4, 14, EAR_PINK, False)
                self.c.restore()
            elif self.kind == "bear":
                pen.ellipse(side * 20, -89, 9, 9, self.main)
                pen.ellipse(side * 20, -89, 4.5, 4.5, self.shade, False)
            elif self.kind in ("fox", "cat"):
                fox = self.kind == "fox"
                tip, x, inside = (14, 23, (0.25, 0.15, 0.18)) if fox else (8, 24, EAR_PINK)
                pen.polygon([(side * 26, -76), (side * x, -94 - tip * 0.9), (side * 6, -92)], self.main)
                pen.polygon([(side * 22, -80), (side * 21.5, -94 - tip * 0.45), (side * 11, -90)], inside, False)

    def head(self):
        pen = self.pen
        if self.kind == "robot":
            pen.line([(0, -92), (0, -102)], 2, (0.4, 0.43, 0.5), True)
            pen.ellipse(0, -104, 4, 4, (0.95, 0.3, 0.25))
            pen.rounded(-26, -93, 52, 44, 8, self.main)
            for x in (-30, 26):
                pen.rectangle(x, -78, 4, 12, TIN)
            pen.rounded(-20, -84, 40, 20, 5, (0.12, 0.16, 0.25))
            for side in BOTH:
                pen.ellipse(side * 9 + 1, -75, 5, 6, (0.45, 0.95, 1), False)
            pen.rectangle(-10, -59, 20, 4, (0.2, 0.22, 0.3), False)
        elif self.kind == "astronaut":
            pen.ellipse(0, -70, 29, 27, self.main)
            pen.ellipse(2, -69, 22, 19, (0.13, 0.2, 0.38))
            pen.ellipse(2, -67, 16, 14, SKIN, False)
            pen.line([(-12, -80), (-6, -84)], 3, (0.7, 0.85, 1))
        elif self.kind == "knight":
            pen.outline((2, -94), (-10, -114, -34, -108, -32, -84), (-26, -92, -16, -94, -4, -90), colour=self.main)
            pen.ellipse(0, -70, 26, 25, (0.72, 0.76, 0.82))
            pen.ellipse(9, -72, 12, 17, (0.8, 0.84, 0.9), False)
            pen.rounded(-18, -79, 38, 13, 4, (0.12, 0.12, 0.2))
            for side in BOTH:
                pen.ellipse(side * 8 + 2, -72.5, 3.2, 4, (1, 1, 0.95), False)
            for x in (-6, 1, 8):
                pen.line([(x, -60), (x, -54)], 1.6, INK)
        else:
            pen.ellipse(0, -70, 27 if self.animal else 25, 24, self.main if self.animal else SKIN)

    def fur_and_hair(self):
        """What lies on the head: cheeks, muzzle, stripes, hair, beard and the wizard's own hat."""
        draw = getattr(self, "_" + self.kind, None)
        if draw:
            draw()

    def _fox(self):
        for side in BOTH:
            up, down = (side * 16, -66, side * 8, -64, 2, -60), (side * 4, -50, side * 18, -50, side * 26, -68)
            self.pen.outline((side * 26, -68), up, down, colour=(0.99, 0.97, 0.94), ink=False, close=False)
        self.pen.ellipse_path(0, -70, 27, 24)
        self.pen.stroke(INK, self.pen.width)

    def _bear(self):
        self.pen.ellipse(2, -61, 11, 9, light(self.main, 0.55), True, 0.7)

    def _rabbit(self):
        self.pen.ellipse(2, -60, 10, 7.5, WHITE, False)
        self.pen.rectangle(-0.6, -56, 5, 5, WHITE, True, 0.7)

    def _cat(self):
        for x in (-8, 0, 8):
            self.pen.line([(x, -93), (x * 0.9, -86)], 2.6, self.shade)
        for side in BOTH:
            for k in (0, 4):
                self.pen.line([(side * 16, -62 + k), (side * 31, -64 + 2 * k)], 1.0, INK)

    def _girl(self):
        self.pen.outline(
            (-25, -64), (-30, -100, 30, -100, 25, -64), (20, -78, 6, -84, -2, -85), (-12, -83, -20, -76, -25, -64),
            colour=BROWN_HAIR, close=False,
        )  # fmt: skip
        for side in BOTH:
            self.pen.ellipse(side * 26, -71, 4, 4, self.main)

    def _boy(self):
        tufts = [
            (-26, -72), (-27, -88), (-18, -86), (-16, -99), (-4, -92), (6, -101), (12, -92), (24, -94), (22, -84),
            (27, -74), (17, -80), (8, -84), (-8, -81), (-18, -80),
        ]  # fmt: skip
        self.pen.polygon(tufts, (0.2, 0.14, 0.12))

    def _wizard(self):
        self.pen.outline(
            (-20, -64), (-24, -40, -8, -28, 2, -24), (12, -30, 24, -40, 22, -64), (12, -54, -10, -54, -20, -64),
            colour=(0.97, 0.97, 0.97), close=False,
        )  # fmt: skip
        if self.acc in ("top hat", "crown"):
            return  # the accessory takes the hat's place
        star = [
            (-2, -108), (1, -101), (8, -101), (3, -97), (5, -90), (-1, -94), (-7, -90), (-5, -97), (-10, -101),
            (-4, -101),
        ]  # fmt: skip
        self.pen.polygon([(-21, -86), (-3, -124), (8, -128), (21, -86)], self.main)
        self.pen.ellipse(0, -86, 32, 6, self.main)
        self.pen.polygon(star, (0.98, 0.88, 0.35), False)

    def face(self):
        pen = self.pen
        eyes = -73 if self.kind == "wizard" else -72
        for side in BOTH:
            pen.ellipse(side * 9.5 + 2, eyes, 3.6, 4.8, INK, False)
            pen.ellipse(side * 9.5 + 3.2, eyes - 1.8, 1.3, 1.5, WHITE, False)
        if self.animal:
            pen.ellipse(2, -64.5, 3.8, 2.8, (0.9, 0.45, 0.5) if self.kind == "rabbit" else INK, False)
        if self.kind in ("girl", "boy", "astronaut"):
            for side in BOTH:
                pen.ellipse(side * 15 + 2, -65, 4, 2.6, (0.98, 0.62, 0.55), False)
        if self.kind == "wizard":
            pen.ellipse(2, -64, 4.5, 3.5, (0.96, 0.68, 0.55), True, 0.7)
        elif self.kind != "rabbit":
            self.c.set_line_cap(cairo.LINE_CAP_ROUND)
            self.c.new_sub_path()
            self.c.arc(2, -62 if self.animal else -63, 6, 0.35, math.pi - 0.35)
            pen.stroke(INK, pen.width)

    def in_front(self):
        """Accessories over body and head."""
        draw = getattr(self, "_wear_" + self.acc.replace(" ", "_"), None)
        if draw:
            draw()

    def _wear_scarf(self):
        streaming = [(-14, -50), (-42, -52), (-42, -42), (-14, -42)]
        hanging = [(-20, -46), (-30, -30), (-22, -22), (-12, -40)]
        self.pen.polygon(streaming if self.action == "running" else hanging, dark(self.trim))
        self.pen.rounded(-20, -52, 40, 11, 5, self.trim)
        for x in (-9, 3):
            self.pen.line([(x, -50), (x + 1, -43)], 2, (0.6, 0.65, 0.75) if self.white_trim else light(self.trim, 0.75))

    def _wear_bow_tie(self):
        self.pen.polygon([(1, -45), (-13, -53), (-13, -37)], self.trim)
        self.pen.polygon([(1, -45), (15, -53), (15, -37)], self.trim)
        self.pen.ellipse(1, -45, 3.6, 3.6, dark(self.trim))

    def _wear_cape(self):
        self.pen.rounded(-17, -50, 34, 7, 3, self.trim)
        self.pen.ellipse(0, -46, 3.4, 3.4, (0.98, 0.85, 0.3))

    def _wear_glasses(self):
        for side in BOTH:
            self.c.new_sub_path()
            self.c.arc(side * 10.5 + 2, -72, 9.2, 0, 2 * math.pi)
            self.pen.stroke(INK, 4 + 1.5 * self.pen.width, preserve=True)
            self.pen.stroke(self.trim, 4)
        self.pen.line([(-28, -74), (-18, -73)], 3, self.trim)
        self.pen.line([(22, -73), (28, -74)], 3, self.trim)

    def _wear_top_hat(self):
        self.pen.polygon([(-16, -90), (-18, -116), (18, -116), (16, -90)], self.trim)
        self.pen.rectangle(-16.6, -99, 33, 6, dark(self.trim, 0.6), False)
        self.pen.ellipse(0, -90, 27, 5, self.trim)

    def _wear_crown(self):
        points = [(-19, -88), (-23, -108), (-11, -99), (0, -113), (11, -99), (23, -108), (19, -88)]
        self.pen.polygon(points, self.trim)
        self.pen.rectangle(-18, -93, 36, 4, light(self.trim, 0.5), False)
        for x in (-11, 0, 11):
            self.pen.ellipse(x, -95, 2.2, 2.2, WHITE, False)


def draw_figure(context, a, rng, x, y, scale, flip):
    """The character of `a` with its feet at (x, y)."""
    context.save()
    context.translate(x, y)
    context.scale(-scale if flip else scale, scale)
    Figure(context, a, rng, (1.9 if scale > 1.3 else 1.6) / scale).draw()
    context.restore()
    if a["action"] == "running":  # speed lines behind
        back = 1 if flip else -1
        for k in range(3):
            at = y - (18 + 20 * k) * scale
            length = 48 + 5 * (k % 2)
            Pen(context, 1).line([(x + back * 34 * scale, at), (x + back * length * scale, at)], 1.5, (1, 1, 1))
