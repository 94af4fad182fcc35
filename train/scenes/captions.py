"""Sentences that tell a frame, as people put it: synonyms, any order, parts left unsaid, words without meaning.

`caption` also gives what the sentence says, field by field, which is what teaches the text encoders.
"""

from .world import COMPANION, FIELDS, IDENTITY, NAMES, companion, has_companion

SYNONYMS = {
    "kind": {
        "fox": ["fox"], "bear": ["bear", "teddy bear"], "cat": ["cat", "kitten"], "rabbit": ["rabbit", "bunny"],
        "robot": ["robot", "android"], "girl": ["girl", "little girl", "young girl", "woman"],
        "boy": ["boy", "little boy", "young boy", "man"], "astronaut": ["astronaut", "spaceman", "cosmonaut"],
        "knight": ["knight", "armored knight"], "wizard": ["wizard", "sorcerer", "old wizard", "magician"],
    },
    "action": {
        "standing": ["standing", "stands", "posing"], "walking": ["walking", "walks", "strolling"],
        "running": ["running", "runs", "racing", "rushing"], "sitting": ["sitting", "sits", "resting", "sitting down"],
        "waving": ["waving", "waves", "waving hello", "greeting"],
        "jumping": ["jumping", "jumps", "leaping", "jumping for joy"],
    },
    "place": {
        "forest": ["in a forest", "in the woods", "among trees"],
        "beach": ["on the beach", "at the seaside", "on a sandy beach", "by the sea"],
        "city": ["in a city street", "in the city", "downtown", "on a street"],
        "room": ["in a room", "in a living room", "at home", "indoors"],
        "hill": ["on a hill", "on a grassy hill", "in a meadow", "on green hills"],
        "desert": ["in the desert", "on sand dunes", "among cactuses"],
        "snow": ["in a snow field", "in snowy mountains", "on a snowy plain", "in the snowy mountains"],
        "space": ["in space", "on the moon", "in outer space"],
        "castle": ["in front of a castle", "near a castle", "at the castle"],
        "school": ["at school", "in a classroom", "in front of a blackboard"],
        "ship": ["on a ship deck", "on a ship", "aboard a ship"],
        "cave": ["in a cave", "inside a dark cave", "in a cavern"],
    },
    "time": {
        "day": ["during the day", "at noon", "in daylight", "on a sunny day", "day"],
        "sunset": ["at sunset", "at dusk", "in the evening light", "sunset"],
        "night": ["at night", "in the moonlight", "late at night", "night"],
    },
    "weather": {
        "clear": ["clear sky", "clear weather"], "rain": ["in the rain", "rainy", "raining", "rainy weather"],
        "snow": ["snowing", "falling snow", "snowfall", "while it snows"],
    },
    "shot": {
        "close": ["close-up", "close up", "close-up shot", "close shot", "portrait"],
        "medium": ["medium shot", "mid shot", "full shot"],
        "wide": ["wide shot", "long shot", "wide angle shot", "establishing shot"],
    },
    "side": {
        "left": ["on the left", "on the left side", "at left"],
        "centre": ["in the centre", "in the center", "in the middle", "centered"],
        "right": ["on the right", "on the right side", "at right"],
    },
    "prop": {
        "ball": ["with a ball", "next to a ball", "a ball nearby"],
        "lamp": ["next to a street lamp", "by a lamp", "near a lantern"],
        "tree": ["next to a tree", "by a tree", "beside a big tree"],
        "house": ["next to a house", "near a small house", "beside a house"],
        "dog": ["with a dog", "next to a dog", "with a puppy"],
        "boat": ["next to a boat", "beside a sailboat", "near a small boat"],
    },
}  # fmt: skip
CLOTHES = {"girl": "dress", "boy": "shirt", "wizard": "robe", "astronaut": "suit", "knight": "tunic"}
MOODS = (
    "cute small big happy beautiful lovely funny brave friendly little sad angry nice cool dramatic cinematic lonely "
    "tired excited old strange quick slow quiet"
).split()
STYLES = [
    "storyboard frame", "cartoon", "comic panel", "ink drawing", "storyboard", "flat colours", "animation still",
    "high quality", "detailed", "masterpiece", "movie scene", "illustration",
]  # fmt: skip
CHATTER = (
    "the very of and then his her there again today together while looks away towards big with some like as if only "
    "good scene frame picture image panel shows we see it is story"
).split()
# Words of other people's prompts. They tell nothing here, and must not cut a word into letters or spoil a picture.
OTHER_WORDS = (
    "through tree sky moon sun cloud water river mountain garden bridge road car train window door table chair bed "
    "book hat coat shirt dress boots flying swimming sleeping eating dancing looking holding riding playing morning "
    "evening winter summer black brown grey golden silver dark bright warm cold light shadow smile camera angle view "
    "background foreground people friend king queen princess dragon monster bird horse fish mouse lion tiger wolf "
    "photo portrait painting oil watercolor lighthouse sailor letter reads market pier home way story walks through "
    "looks thinks talks finds opens closes runs stops turns falls stairs kitchen office shop old house under over"
).split()
PEOPLE = (
    "anna bo mira max leo nina sam tom kate ivan olga peter lily oscar emma felix rosa hugo zoe finn ada ben mia ted"
).split()
LETTERS = "abcdefghijklmnoprstuvwy"
UNRELATED = 0.03  # of the captions tell nothing of their frame


def choose_said(a, rng, keep, identity):
    """Which fields the sentence names. identity=False hides who it is: for training with a reference picture."""
    said = {name: rng.random() < keep for name in NAMES}
    said["weather"] &= a["weather"] != "clear" or rng.random() < 0.25
    said["prop"] &= a["prop"] != "none"
    said["side"] &= rng.random() < (0.9 if has_companion(a) else 0.6 if identity else 0.4)
    said["time"] &= a["time"] != "day" or rng.random() < 0.6
    for end in ("", "2"):
        said["kind" + end] = rng.random() < (0.95 if identity else 0.4)
        said["acc" + end] &= a["acc" + end] != "none" and identity
        said["acol" + end] = said["acc" + end] and rng.random() < 0.93
        said["col" + end] &= identity
    if not has_companion(a):
        said |= dict.fromkeys(COMPANION, False)
    return said


def unnamed(rng):
    """Somebody whose looks the sentence does not tell."""
    if rng.random() < 0.5:
        return rng.choice(["the same character", "the hero", "our hero", "the character", "the character"])
    return rng.choice(PEOPLE).capitalize() if rng.random() < 0.8 else letters(rng).capitalize()


def character_words(a, rng, said, identity):
    """The character with its colour and accessory."""
    if not identity and not said["kind"]:
        return unnamed(rng)
    kind = rng.choice(SYNONYMS["kind"][a["kind"]]) if said["kind"] else rng.choice(["character", "hero", "figure"])
    if rng.random() < 0.12:
        kind = rng.choice(MOODS) + " " + kind
    colour = a["col"] if said["col"] else ""
    cloth = CLOTHES.get(a["kind"], "") if said["kind"] else ""
    if colour and cloth and ((a["kind"] in ("girl", "boy") and rng.random() < 0.9) or rng.random() < 0.5):
        worn = [f" in a {colour} {cloth}", f" wearing a {colour} {cloth}", f" in {colour}", f" with a {colour} {cloth}"]
        words = "a " + kind + rng.choice(worn)
    else:
        words = rng.choice(["a ", "a ", "the ", ""]) + (colour + " " if colour else "") + kind
    if said["acc"]:
        carried = a["acc"] in ("balloon", "backpack")
        verb = rng.choice(["with ", "carrying ", "holding "] if carried else ["with ", "with ", "wearing "])
        joined = " and " if any(w in words for w in (" in ", " wearing ", " with ")) else " "
        colour = a["acol"] + " " if said["acol"] else ""
        words += joined + verb + ("" if a["acc"] == "glasses" else "a ") + colour + a["acc"]
    return words


def pair_words(a, rng, said, identity):
    """Both characters, each with its side where sides are said."""
    b, of_b = companion(a), {name: said[name + "2"] for name in IDENTITY}
    if not identity and not said["kind"] and not of_b["kind"] and rng.random() < 0.4:
        return rng.choice(["two friends", "two characters", "the two friends", "both heroes", "the two of them"])
    first, second = (character_words(x, rng, which, identity) for x, which in ((a, said), (b, of_b)))
    if not said["side"]:
        return f"{first} and {second}"
    left, right = SYNONYMS["side"]["left"], SYNONYMS["side"]["right"]
    k = rng.randrange(len(left))
    sides = {"left": left[k], "right": right[k]}
    return f"{first} {sides[a['side']]} and {second} {sides[b['side']]}"


def order(rng, who, action, place, rest):
    """One of three ways to put the parts into a sentence."""
    if rng.random() < 0.25:
        return ", ".join([who] + action + place + rest)
    if place and rng.random() < 0.15:
        return ", ".join([place[0] + " " + " ".join(rest[:1])] + [" ".join([who] + action)] + rest[1:])
    verb = [("is " if rng.random() < 0.15 else "") + action[0]] if action else []
    return " ".join([who] + verb + place) + "".join((", " if rng.random() < 0.4 else " ") + part for part in rest)


def letters(rng):
    return "".join(rng.choices(LETTERS, k=rng.randint(2, 7)))


def chatter(text, rng):
    """One or two words that mean nothing here, so that unknown words do no harm."""
    words = text.split(" ")
    for _ in range(rng.choice([1, 1, 2])):
        at, chance = rng.randrange(len(words) + 1), rng.random()
        words.insert(at, rng.choice(CHATTER) if chance < 0.4 else rng.choice(OTHER_WORDS) if chance < 0.7 else letters(rng))
    return " ".join(words)


def unrelated(rng):
    """A text about something else altogether: any scene will do for it."""
    def word():
        chance = rng.random()
        return letters(rng) if chance < 0.2 else rng.choice(OTHER_WORDS if chance < 0.8 else CHATTER)

    return " ".join(word() for _ in range(rng.randint(1, 12)))


def caption(a, rng, keep=0.8, identity=True):
    """A sentence, and per field the index of what it says, len(values) where it says nothing."""
    if rng.random() < UNRELATED:
        return unrelated(rng), [len(FIELDS[name]) for name in NAMES]
    said = choose_said(a, rng, keep, identity)

    def phrase(name):
        return rng.choice(SYNONYMS[name][a[name]])

    pair = has_companion(a)
    who = (pair_words if pair else character_words)(a, rng, said, identity)
    action = [phrase("action")] if said["action"] else []
    place = [phrase("place")] if said["place"] else []
    rest = [phrase(name) for name in ("time", "weather", "side", "prop") if said[name] and not (pair and name == "side")]
    if rng.random() < 0.35:
        rng.shuffle(rest)
    text = order(rng, who, action, place, rest)
    if said["shot"]:
        shot = phrase("shot")
        text = rng.choice([f"{shot} of {text}"] * 4 + [f"{shot}, {text}", f"{text}, {shot}", f"{shot}: {text}"])
    if rng.random() < 0.45:
        text += ", " + ", ".join(rng.sample(STYLES, rng.choice([1, 1, 2])))
    if rng.random() < 0.15:
        text = chatter(text, rng)
    said["kind2"] |= not pair  # that nobody else is there is said by not saying it
    spec = [FIELDS[name].index(a[name]) if said[name] else len(FIELDS[name]) for name in NAMES]
    return text, spec


def worded(a):
    """A character with all that it is."""
    cloth = CLOTHES.get(a["kind"])
    who = f"{a['kind']} in a {a['col']} {cloth}" if cloth else f"{a['col']} {a['kind']}"
    if a["acc"] != "none":
        art = "" if a["acc"] == "glasses" else "a "
        who += f"{' and' if cloth else ''} with {art}{a['acol']} {a['acc']}"
    return who


def full_prompt(a, who=None, side=True):
    """The plainest sentence that says everything the judge reads: what evaluations ask for. who: in its words."""
    shot = {"close": "close-up", "medium": "medium shot", "wide": "wide shot"}[a["shot"]]
    action, place, time, weather, at = (
        SYNONYMS[name][a[name]][0] for name in ("action", "place", "time", "weather", "side")
    )
    if a["weather"] != "clear":
        time += f" {weather}"
    if has_companion(a):
        b = companion(a)
        sides = SYNONYMS["side"]
        who = who or f"the {worded(a)} {sides[a['side']][0]} and the {worded(b)} {sides[b['side']][0]}"
        return f"{shot} of {who} {action} {place} {time}, storyboard frame"
    return f"{shot} of {who or 'the ' + worded(a)} {action} {place} {time}{', ' + at if side else ''}, storyboard frame"
