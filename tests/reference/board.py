"""Makes tests/data/board/*.elements: what another parser of Fountain (screenplain) finds in the scripts
beside them, one element a line.

    python tests/reference/board.py tests/data/board
"""
import sys
from pathlib import Path

from screenplain.parsers import fountain
from screenplain.types import Action, Dialog, DualDialog, Section, Slug, Transition


def plain(text) -> str:
    return "".join(segment.text for segment in text.segments).strip()


def speech(dialog: Dialog, dual: bool):
    name = plain(dialog.character)
    yield f"C {name}{' ^' if dual else ''}"
    for bracket, text in dialog.blocks:
        yield ("P " if bracket else "D ") + plain(text)


def elements(script):
    for paragraph in script:
        if isinstance(paragraph, Slug):
            number = plain(paragraph.scene_number) if paragraph.scene_number else ""
            yield f"H {plain(paragraph.line)}{' #' + number if number else ''}"
        elif isinstance(paragraph, Action):
            for line in paragraph.lines:
                yield "A " + plain(line)
        elif isinstance(paragraph, Transition):
            yield "T " + plain(paragraph.line)
        elif isinstance(paragraph, Section):
            yield "S " + plain(paragraph.text)
        elif isinstance(paragraph, Dialog):
            yield from speech(paragraph, False)
        elif isinstance(paragraph, DualDialog):
            yield from speech(paragraph.left, False)
            yield from speech(paragraph.right, True)


for source in sorted(Path(sys.argv[1]).glob("*.fountain")):
    with source.open(encoding="utf-8") as stream:
        script = fountain.parse(stream)
    source.with_suffix(".elements").write_text("".join(line + "\n" for line in elements(script)), encoding="utf-8")
