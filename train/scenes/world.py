"""The attributes of a frame and the combinations that training never sees.

A frame is a dict with one value for every name in FIELDS. Index vectors (`to_index`) are what the
data sets keep. The order of the fields and of their values is part of every trained judge and
encoder: append, never insert.
"""

FIELDS = {
    "kind": ["fox", "bear", "cat", "rabbit", "robot", "girl", "boy", "astronaut", "knight", "wizard"],
    "col": ["red", "orange", "yellow", "green", "blue", "purple", "pink", "white"],
    "acc": ["none", "scarf", "top hat", "backpack", "glasses", "cape", "crown", "bow tie", "balloon"],
    "acol": ["red", "yellow", "green", "blue", "purple", "white"],
    "action": ["standing", "walking", "running", "sitting", "waving", "jumping"],
    "place": ["forest", "beach", "city", "room", "hill", "desert", "snow", "space", "castle", "school", "ship", "cave"],
    "time": ["day", "sunset", "night"],
    "weather": ["clear", "rain", "snow"],
    "shot": ["close", "medium", "wide"],
    "side": ["left", "centre", "right"],
    "prop": ["none", "ball", "lamp", "tree", "house", "dog", "boat"],
}
IDENTITY = ["kind", "col", "acc", "acol"]
COMPANION = [name + "2" for name in IDENTITY]  # of a second character; "none" is a kind of it
FIELDS |= {name + "2": ["none"] * (name == "kind") + FIELDS[name] for name in IDENTITY}
NAMES = list(FIELDS)
INDOOR = {"room", "school", "cave", "space"}
PAIRS = 0.22  # of the frames show two characters, one on each side


def held_out(a):
    """Whether this (kind, colour, accessory) is kept out of training: about one in nine is."""
    kind, colour, accessory = (FIELDS[f].index(a[f]) for f in ("kind", "col", "acc"))
    return (kind * 7 + colour * 5 + accessory * 3) % 9 == 4


def sample_character(rng, held):
    while True:
        who = {name: rng.choice(FIELDS[name]) for name in IDENTITY}
        while who["acol"] == who["col"]:
            who["acol"] = rng.choice(FIELDS["acol"])
        if held_out(who) == held:
            return who


def sample(rng, held=False, pair=None):
    """A frame that makes sense: no rain in a room, no house in space.

    held: only characters kept out of training. pair: whether there are two characters; by chance where not said.
    """
    a = {name: rng.choice(values) for name, values in FIELDS.items()}
    a |= sample_character(rng, held)
    a["time"] = rng.choice(["day"] * 5 + ["sunset"] * 3 + ["night"] * 3)
    if a["place"] in INDOOR or rng.random() < 0.4:
        a["weather"] = "clear"
    if a["place"] == "space":
        a["time"] = "night"
    if a["shot"] == "close" or rng.random() < 0.4:
        a["prop"] = "none"
    if a["place"] == "space" and a["prop"] in ("tree", "house", "boat"):
        a["prop"] = "none"
    if rng.random() < PAIRS if pair is None else pair:
        a |= {name + "2": value for name, value in sample_character(rng, held).items()}
        a |= {"shot": rng.choice(["medium", "wide"]), "side": rng.choice(["left", "right"]), "prop": "none"}
    else:
        a |= {name: FIELDS[name][0] for name in COMPANION}
    return a


def has_companion(a):
    return a["kind2"] != "none"


def companion(a):
    """The second character as a frame of its own: on the other side, doing the same."""
    return {**a, **{name: a[name + "2"] for name in IDENTITY}, "side": {"left": "right", "right": "left"}[a["side"]]}


def alone(a):
    """The frame with its first character only."""
    return {**a, **{name: FIELDS[name][0] for name in COMPANION}}


def sample_reference(a, rng):
    """Another frame of the same character, fit to be an identity reference."""
    b = {**sample(rng, pair=False), **{name: a[name] for name in IDENTITY}}
    b["shot"] = rng.choice(["medium", "medium", "close"])
    b["prop"] = "none"
    b["action"] = rng.choice(["standing", "walking", "waving", "running"])
    if b["acc"] in ("backpack", "balloon", "cape"):
        b["shot"] = "medium"  # a close-up would cut them off
    b["weather"] = "clear" if rng.random() < 0.7 else b["weather"]
    return b


def to_index(a):
    return [FIELDS[name].index(a[name]) for name in NAMES]


def from_index(row):
    return {name: FIELDS[name][int(i)] for name, i in zip(NAMES, row)}
