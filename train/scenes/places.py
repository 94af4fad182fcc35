"""Backgrounds, sky and props, in a world 192 wide and 128 high (frame.py scales it to the picture).

Each place is a function of a Stage; PLACES and PROPS name them. Every colour of the outdoors goes through the
time of day's tone, so that night is night everywhere.
"""

import math

import cairo

from .pen import INK, Pen, dark, light, mix
from .world import INDOOR

WIDTH, HEIGHT = 192, 128
LEFT, SPAN = -30, WIDTH + 60  # fills reach beyond the frame: the camera zooms and shifts
HORIZON = 82
SKY = {
    "day": [(0, (0.36, 0.68, 0.96)), (1, (0.86, 0.95, 1))],
    "sunset": [(0, (0.43, 0.27, 0.58)), (0.55, (0.96, 0.48, 0.36)), (1, (1, 0.83, 0.47))],
    "night": [(0, (0.03, 0.04, 0.15)), (1, (0.16, 0.22, 0.45))],
}
LAMPLIGHT = (1, 0.88, 0.45)
TRUNK = (0.45, 0.3, 0.2)
WHITE = (1, 1, 1)


def tone(colour, time):
    if time == "sunset":
        return mix(mix(colour, (1, 0.5, 0.25), 0.22), (0.3, 0.05, 0.2), 0.08)
    if time == "night":
        return mix(tuple(v * 0.6 for v in colour), (0.1, 0.14, 0.4), 0.4)
    return colour


class Stage:
    """What a place is drawn with: the pen, the frame's attributes and its random numbers."""

    def __init__(self, context, a, rng):
        self.c, self.rng, self.pen = context, rng, Pen(context, 1.4)
        self.place, self.time, self.weather = a["place"], a["time"], a["weather"]
        self.snowy = self.weather == "snow"

    def tone(self, colour):
        return tone(colour, self.time)

    def fill(self, y, height, top, bottom):
        """A toned gradient over the whole width."""
        self.pen.gradient(LEFT, y, SPAN, height, [(0, self.tone(top)), (1, self.tone(bottom))])

    def ground(self, colour, y=HORIZON):
        self.fill(y, 160 - y, colour, dark(colour, 0.25))

    def somewhere(self):
        return self.rng.uniform(0, WIDTH)


def sky(stage, weather, horizon=HORIZON):
    pen, rng, time = stage.pen, stage.rng, stage.time
    stops = SKY[time]
    if weather != "clear":
        grey = (0.15, 0.17, 0.25) if time == "night" else (0.62, 0.66, 0.72)
        stops = [(offset, mix(colour, grey, 0.6)) for offset, colour in stops]
    pen.gradient(LEFT, -30, SPAN, horizon + 31, stops)
    if weather == "clear":
        x, y = rng.uniform(15, WIDTH - 15), rng.uniform(12, 30)
        if time == "day":
            pen.ellipse(x, y, 10, 10, (1, 0.93, 0.5), False)
        elif time == "sunset":
            pen.ellipse(x, horizon - 14, 15, 15, (1, 0.93, 0.62), False)
        else:
            for _ in range(16):
                pen.ellipse(stage.somewhere(), rng.uniform(0, horizon - 15), 1.2, 1.2, (1, 1, 0.9), False)
            pen.ellipse(x, y, 9, 9, (0.97, 0.96, 0.82), False)
            pen.ellipse(x + 4, y - 2, 7.5, 7.5, SKY["night"][0][1], False)
        if time == "night":
            return
    clouds(stage, weather)


def clouds(stage, weather):
    colour = {"day": WHITE, "sunset": (1, 0.74, 0.6), "night": (0.3, 0.33, 0.45)}[stage.time]
    if weather != "clear" and stage.time != "night":
        colour = mix(colour, (0.72, 0.74, 0.78), 0.6)
    for _ in range(2):
        x, y = stage.somewhere(), stage.rng.uniform(12, 42)
        for dx, radius in ((-11, 6), (0, 9), (11, 6)):
            stage.pen.ellipse(x + dx, y - (radius - 6) * 0.4, radius * 1.3, radius * 0.8, colour, False)


def pine(pen, x, y, s, colour, snowy=False):
    pen.rectangle(x - 2.5 * s, y - 8 * s, 5 * s, 9 * s, dark(TRUNK), True, 0.6)
    for k in range(3):
        base, half = y - 6 * s - k * 12 * s, (17 - 4 * k) * s
        pen.polygon([(x - half, base), (x, base - 20 * s), (x + half, base)], colour, True, 0.6)
        if snowy:
            cap = [(x - half * 0.5, base - 10 * s), (x, base - 20 * s), (x + half * 0.5, base - 10 * s)]
            pen.polygon(cap, (0.97, 0.98, 1), False)


def tree(pen, x, y, s, colour, trunk):
    stem = [(x - 3.5 * s, y), (x - 2.5 * s, y - 28 * s), (x + 2.5 * s, y - 28 * s), (x + 4 * s, y)]
    pen.polygon(stem, trunk, True, 0.6)
    pen.ellipse(x - 9 * s, y - 34 * s, 11 * s, 10 * s, colour, True, 0.6)
    pen.ellipse(x + 9 * s, y - 34 * s, 11 * s, 10 * s, colour, True, 0.6)
    pen.ellipse(x, y - 42 * s, 13 * s, 12 * s, colour, True, 0.6)
    pen.ellipse(x, y - 35 * s, 10 * s, 7 * s, colour, False)
    pen.ellipse(x - 4 * s, y - 45 * s, 5 * s, 4 * s, light(colour, 0.25), False)


def forest(stage):
    rng, tone = stage.rng, stage.tone
    for k in range(9):
        stage.pen.ellipse(k * 25 - 8 + rng.uniform(-5, 5), 58, 20, 26, tone((0.16, 0.42, 0.28)), False)
    stage.ground((0.38, 0.6, 0.27))
    for k, x in enumerate([-2, 28, 60, 128, 160, 194]):
        x += rng.uniform(-7, 7)
        if k % 2:
            tree(stage.pen, x, 88 + rng.uniform(-2, 5), 1.25, tone((0.2, 0.55, 0.25)), tone(TRUNK))
        else:
            pine(stage.pen, x, 90 + rng.uniform(-3, 3), 1.2, tone((0.14, 0.45, 0.3)), stage.snowy)


def beach(stage):
    pen, tone = stage.pen, stage.tone
    stage.fill(62, 30, (0.1, 0.5, 0.75), (0.3, 0.78, 0.85))
    stage.ground((0.96, 0.86, 0.6), 88)
    pen.outline((-30, 88), *((x + 8, 84, x + 16, 92, x + 24, 88) for x in range(-30, 230, 24)), close=False)
    pen.stroke(tone(WHITE), 3)
    x = stage.rng.choice([14, 178]) + stage.rng.uniform(-5, 5)
    top = x + (6 if x < 96 else -6)
    pen.polygon([(x - 4, 98), (top - 3, 48), (top + 3, 48), (x + 4, 98)], tone((0.6, 0.42, 0.25)), True, 0.7)
    for angle in (-2.9, -2.2, -1.2, -0.4, 0.3):
        stage.c.save()
        stage.c.translate(top, 46)
        stage.c.rotate(angle)
        pen.ellipse(13, 0, 14, 4, tone((0.2, 0.6, 0.3)), True, 0.6)
        stage.c.restore()


def city(stage):
    pen, rng, tone, day = stage.pen, stage.rng, stage.tone, stage.time == "day"
    walls = [(0.75, 0.45, 0.38), (0.6, 0.64, 0.72), (0.82, 0.72, 0.55), (0.5, 0.55, 0.68)]
    lit, unlit = (0.75, 0.88, 0.96) if day else LAMPLIGHT, tone((0.2, 0.2, 0.3))
    x = -12 + rng.uniform(-8, 0)
    while x < WIDTH + 8:
        w, h = rng.uniform(26, 38), rng.uniform(38, 76)
        pen.rectangle(x, HORIZON + 6 - h, w, h, tone(rng.choice(walls)), True, 0.7)
        for wy in range(int(HORIZON - h + 13), HORIZON - 4, 13):
            for wx in (x + 5, x + w - 12):
                pen.rectangle(wx, wy, 7, 7, lit if day or rng.random() < 0.7 else unlit, False)
        x += w
    stage.fill(88, 10, (0.78, 0.76, 0.74), (0.7, 0.68, 0.68))
    stage.ground((0.36, 0.37, 0.42), 97)
    for x in range(-20, 200, 34):
        pen.polygon([(x, 110), (x + 18, 110), (x + 15, 114), (x - 3, 114)], tone((0.95, 0.9, 0.7)), False)


def indoors(stage, wall):
    """Wall and floor boards."""
    stage.fill(-30, 130, wall, dark(wall, 0.1))
    stage.fill(92, 70, (0.72, 0.48, 0.3), (0.55, 0.35, 0.22))
    stage.pen.line([(-30, 92), (WIDTH + 30, 92)], 2.5, stage.tone((0.5, 0.33, 0.22)))
    for x in range(-60, 260, 40):
        stage.pen.line([(96 + (x - 96) * 0.8, 93), (96 + (x - 96) * 1.4, 140)], 1, stage.tone((0.5, 0.32, 0.2)))


def room(stage):
    pen, tone, c = stage.pen, stage.tone, stage.c
    indoors(stage, (0.95, 0.82, 0.62))
    x = stage.rng.choice([10, 70, 128])
    c.save()
    c.rectangle(x, 16, 50, 42)
    c.clip()
    sky(stage, "clear", 60)
    c.restore()
    frame = tone((0.98, 0.96, 0.9))
    c.rectangle(x, 16, 50, 42)
    pen.stroke(frame, 4)
    pen.line([(x + 25, 16), (x + 25, 58)], 2.5, frame)
    pen.line([(x, 37), (x + 50, 37)], 2.5, frame)
    x = (x + 80) % 170
    pen.rectangle(x, 24, 22, 26, tone((0.6, 0.38, 0.22)), True, 0.7)
    pen.rectangle(x + 4, 28, 14, 18, tone((0.5, 0.75, 0.7)), False)
    pen.rounded(x - 16, 70, 56, 26, 7, tone((0.35, 0.5, 0.65)))
    pen.rounded(x - 20, 80, 64, 19, 6, tone((0.42, 0.58, 0.73)))


def school(stage):
    pen, tone = stage.pen, stage.tone
    indoors(stage, (0.84, 0.9, 0.84))
    pen.rectangle(36, 14, 120, 48, tone((0.62, 0.42, 0.25)), True, 0.8)
    pen.rectangle(41, 19, 110, 38, tone((0.15, 0.38, 0.3)), False)
    for k in range(3):
        pen.line([(50, 27 + 10 * k), (stage.rng.uniform(80, 135), 27 + 10 * k)], 1.8, tone((0.9, 0.95, 0.9)))
    for x in (8, 150):
        pen.rectangle(x, 80, 36, 6, tone((0.85, 0.62, 0.35)), True, 0.7)
        pen.rectangle(x + 3, 86, 4, 16, tone((0.4, 0.4, 0.45)), False)
        pen.rectangle(x + 29, 86, 4, 16, tone((0.4, 0.4, 0.45)), False)


def hill(stage):
    pen, rng, tone = stage.pen, stage.rng, stage.tone
    shift = rng.uniform(-30, 30)
    pen.ellipse(40 + shift, 104, 90, 40, tone((0.45, 0.72, 0.4)), True, 0.6)
    pen.ellipse(160 + shift, 108, 100, 46, tone((0.38, 0.66, 0.35)), True, 0.6)
    pen.ellipse(96, 152, 190, 62, tone((0.5, 0.78, 0.32)), True, 0.6)
    for _ in range(12):
        x, y = stage.somewhere(), rng.uniform(98, 126)
        pen.ellipse(x, y, 2, 2, tone(rng.choice([(1, 0.9, 0.3), (1, 0.5, 0.6), WHITE])), False)


def desert(stage):
    pen, rng, tone = stage.pen, stage.rng, stage.tone
    x = rng.uniform(-20, 20)
    pen.polygon([(20 + x, 84), (52 + x, 44), (84 + x, 84)], tone((0.88, 0.62, 0.36)), True, 0.6)
    pen.polygon([(52 + x, 44), (84 + x, 84), (60 + x, 84)], tone((0.72, 0.48, 0.3)), False)
    stage.ground((0.95, 0.74, 0.42))
    pen.ellipse(150, 112, 90, 22, tone((0.9, 0.66, 0.36)), False)
    green = tone((0.25, 0.6, 0.35))
    for x in (rng.uniform(8, 30), rng.uniform(160, 184)):
        pen.line([(x, 98), (x, 62)], 8, green, True)
        pen.line([(x, 82), (x + 12, 82), (x + 12, 70)], 5, green, True)
        pen.line([(x, 88), (x - 11, 88), (x - 11, 76)], 5, green, True)
        pen.line([(x, 96), (x, 62)], 7, green)


def snow(stage):
    pen, rng, tone = stage.pen, stage.rng, stage.tone
    for x, h in ((20, 46), (80, 56), (150, 50)):
        x += rng.uniform(-10, 10)
        pen.polygon([(x - 48, 84), (x, 84 - h), (x + 48, 84)], tone((0.6, 0.7, 0.85)), True, 0.6)
        side, notch = 84 - h * 0.7, 84 - h * 0.62
        cap = [(x - 14, side), (x, 84 - h), (x + 14, side), (x + 4, notch), (x - 4, side)]
        pen.polygon(cap, tone(WHITE), False)
    stage.fill(HORIZON, 78, (0.97, 0.98, 1), (0.78, 0.86, 0.96))
    for x in (rng.uniform(0, 22), rng.uniform(36, 60), rng.uniform(165, 190)):
        pine(pen, x, 94, 0.9, tone((0.2, 0.48, 0.4)), True)


def space(stage):
    pen, rng = stage.pen, stage.rng
    pen.gradient(LEFT, -30, SPAN, 160, [(0, (0.02, 0.02, 0.09)), (1, (0.16, 0.08, 0.28))])
    for _ in range(26):
        pen.ellipse(stage.somewhere(), rng.uniform(0, 84), 1.2, 1.2, WHITE, False)
    x, y = rng.choice([34, 96, 158]), rng.uniform(22, 36)
    pen.ellipse(x, y, 17, 17, (0.9, 0.55, 0.3), True, 0.7)
    pen.ellipse(x - 3, y - 5, 11, 7, (0.97, 0.7, 0.42), False)
    stage.c.save()
    stage.c.translate(x, y)
    stage.c.rotate(-0.35)
    stage.c.scale(28, 6)
    stage.c.arc(0, 0, 1, -0.3, math.pi + 0.3)
    stage.c.restore()
    pen.stroke((0.97, 0.88, 0.65), 2.5)
    pen.ellipse(96, 150, 190, 68, (0.6, 0.6, 0.66), True, 0.7)
    for _ in range(5):
        x, y = stage.somewhere(), rng.uniform(96, 124)
        pen.ellipse(x, y, 11, 4, (0.46, 0.46, 0.53), False)
        pen.ellipse(x + 1, y + 1, 9, 2.8, (0.52, 0.52, 0.59), False)


def castle(stage):
    pen, tone = stage.pen, stage.tone
    shift = stage.rng.choice([-44, 0, 44]) + stage.rng.uniform(-6, 6)
    stone, gate = tone((0.66, 0.64, 0.7)), tone((0.4, 0.27, 0.2))
    window = tone((0.2, 0.18, 0.3)) if stage.time == "day" else (1, 0.85, 0.4)
    stage.ground((0.42, 0.66, 0.34))
    pen.rectangle(52 + shift, 42, 88, 46, stone, True, 0.8)
    for k in range(6):
        pen.rectangle(52 + shift + k * 15.5, 36, 9, 8, stone, True, 0.6)
    for x in (40 + shift, 130 + shift):
        pen.rectangle(x, 26, 22, 62, tone((0.72, 0.7, 0.76)), True, 0.8)
        pen.polygon([(x - 4, 27), (x + 11, 2), (x + 26, 27)], tone((0.8, 0.3, 0.3)), True, 0.8)
        pen.rectangle(x + 8, 40, 6, 10, window, False)
    pen.ellipse(96 + shift, 74, 12, 14, gate, True, 0.7)
    pen.rectangle(84 + shift, 74, 24, 14, gate, False)
    pen.polygon([(84 + shift, 88), (108 + shift, 88), (130, 130), (62, 130)], tone((0.85, 0.76, 0.58)), False)


def ship(stage):
    pen, rng, tone = stage.pen, stage.rng, stage.tone
    stage.fill(58, 40, (0.12, 0.42, 0.7), (0.2, 0.6, 0.8))
    for _ in range(6):
        x, y = stage.somewhere(), rng.uniform(62, 78)
        pen.line([(x, y), (x + 10, y)], 1.3, tone((0.85, 0.95, 1)))
    stage.ground((0.72, 0.5, 0.3), 92)
    for x in range(-80, 290, 26):
        pen.line([(96 + (x - 96) * 0.75, 93), (96 + (x - 96) * 1.5, 140)], 1.2, tone(TRUNK))
    pen.rectangle(-20, 74, WIDTH + 40, 4, tone((0.55, 0.35, 0.2)), True, 0.6)
    for x in range(0, WIDTH + 10, 16):
        pen.rectangle(x, 78, 4, 15, tone((0.62, 0.4, 0.23)), True, 0.5)
    x = rng.choice([24, 96, 168])
    pen.rectangle(x - 3, -20, 6, 116, tone((0.5, 0.33, 0.2)), True, 0.7)
    sail, pennant = tone((0.97, 0.94, 0.86)), tone((0.9, 0.4, 0.35))
    pen.outline((x + 4, 2), (x + 44, 12, x + 44, 40, x + 4, 56), colour=sail, width=0.8)
    pen.outline((x - 4, 6), (x - 30, 18, x - 30, 38, x - 4, 52), colour=pennant, width=0.8)


def cave(stage):
    pen, rng, c = stage.pen, stage.rng, stage.c
    pen.gradient(LEFT, -30, SPAN, 190, [(0, (0.2, 0.15, 0.24)), (1, (0.36, 0.27, 0.34))])
    x = rng.choice([46, 96, 146])
    c.save()
    pen.ellipse_path(x, 54, 40, 40, 0, 7)
    c.clip()
    sky(stage, "clear", 100)
    c.restore()
    pen.ellipse_path(x, 54, 40, 40, 0, 7)
    pen.stroke((0.13, 0.09, 0.16), 6)
    pen.gradient(LEFT, 84, SPAN, 60, [(0, (0.45, 0.36, 0.42)), (1, (0.3, 0.22, 0.3))])
    for k in range(8):
        x, h = k * 27 + rng.uniform(-8, 8), rng.uniform(14, 34)
        pen.polygon([(x - 9, -12), (x, h), (x + 9, -12)], (0.28, 0.2, 0.3), True, 0.7)
    for _ in range(3):
        x = rng.uniform(4, WIDTH - 4)
        crystal = [(x - 6, 98), (x - 2, 80), (x + 3, 78), (x + 6, 98)]
        pen.polygon(crystal, rng.choice([(0.3, 0.85, 0.9), (0.75, 0.45, 0.95)]), True, 0.7)


PLACES = {
    "forest": forest, "beach": beach, "city": city, "room": room, "hill": hill, "desert": desert, "snow": snow,
    "space": space, "castle": castle, "school": school, "ship": ship, "cave": cave,
}  # fmt: skip


def draw_background(context, a, rng):
    stage = Stage(context, a, rng)
    if stage.place not in INDOOR:
        sky(stage, stage.weather)
    PLACES[stage.place](stage)
    if stage.snowy and stage.place not in INDOOR and stage.place != "snow":  # snow lies on the ground
        context.set_source_rgba(1, 1, 1, 0.3 if stage.time == "night" else 0.55)
        context.rectangle(LEFT, 90, SPAN, 80)
        context.fill()


def prop_ball(pen, tone, time):
    pen.ellipse(0, -13, 13, 13, tone((0.93, 0.25, 0.2)))
    pen.ellipse(0, -13, 5, 12.4, tone((0.98, 0.95, 0.9)), True, 0.7)


def prop_lamp(pen, tone, time):
    iron = (0.2, 0.22, 0.28)
    glow = cairo.RadialGradient(0, -64, 3, 0, -64, 30)
    glow.add_color_stop_rgba(0, 1, 0.9, 0.5, 0.3 if time == "day" else 0.75)
    glow.add_color_stop_rgba(1, 1, 0.9, 0.5, 0)
    pen.c.set_source(glow)
    pen.c.arc(0, -64, 30, 0, 7)
    pen.c.fill()
    pen.rectangle(-2, -56, 4, 56, iron)
    pen.rectangle(-7, -4, 14, 4, iron)
    pen.polygon([(-6, -56), (-9, -72), (9, -72), (6, -56)], (1, 0.9, 0.5))
    pen.polygon([(-11, -72), (0, -80), (11, -72)], iron)


def prop_tree(pen, tone, time):
    tree(pen, 0, 0, 1.55, tone((0.3, 0.66, 0.28)), tone((0.5, 0.33, 0.2)))


def prop_house(pen, tone, time):
    window = (0.6, 0.82, 0.95) if time == "day" else LAMPLIGHT
    pen.rectangle(-24, -34, 48, 34, tone((0.96, 0.88, 0.72)))
    pen.polygon([(-30, -33), (0, -58), (30, -33)], tone((0.8, 0.32, 0.25)))
    pen.rectangle(-6, -20, 12, 20, tone((0.5, 0.32, 0.2)))
    for x in (10, -19):
        pen.rectangle(x, -27, 9, 9, window)


def prop_dog(pen, tone, time):
    coat = tone((0.72, 0.48, 0.26))
    pen.line([(-14, -16), (-22, -27)], 4, coat, True)
    for x in (-11, 9):
        pen.line([(x, -10), (x, -2)], 5, coat, True)
    pen.ellipse(-1, -15, 16, 9, coat)
    pen.ellipse(13, -27, 11, 10, coat)
    pen.ellipse(6, -27, 4, 8, tone((0.45, 0.28, 0.16)))
    pen.ellipse(20, -24, 5, 4, light(coat, 0.6))
    pen.ellipse(23, -26, 2, 2, INK, False)
    pen.ellipse(15, -30, 1.9, 2.2, INK, False)


def prop_boat(pen, tone, time):
    pen.polygon([(-28, -14), (28, -14), (19, 0), (-19, 0)], tone((0.7, 0.3, 0.22)))
    pen.rectangle(-2, -54, 3, 40, tone(TRUNK))
    pen.polygon([(3, -52), (3, -18), (24, -18)], tone((0.98, 0.97, 0.92)))
    pen.polygon([(-4, -48), (-4, -18), (-20, -18)], tone((0.95, 0.85, 0.5)))


PROPS = {
    "ball": prop_ball, "lamp": prop_lamp, "tree": prop_tree, "house": prop_house, "dog": prop_dog, "boat": prop_boat,
}  # fmt: skip


def draw_prop(context, a, x, y, scale):
    """The prop of `a`, standing at (x, y); toned half as much as the place, so that it stays readable."""
    context.save()
    context.translate(x, y)
    context.scale(scale, scale)
    pen = Pen(context, 1.6 / scale)
    pen.shadow(18, 4, 0.3)
    PROPS[a["prop"]](pen, lambda colour: mix(colour, tone(colour, a["time"]), 0.5), a["time"])
    context.restore()
