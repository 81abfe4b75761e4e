"""The marker that says that notes are invented: the SHA-256 of their file, so that no other notes pass for public ones."""

from itertools import takewhile
from pathlib import Path

from diagnosis.files import sha256

OPENING = "Notes invented by the stage synthesize, SHA-256 of their file: "


def marker(notes: Path) -> str:
    """One of the first lines, for each file of notes, of the truth/README.md beside them."""
    return f"{OPENING}{sha256(notes)}"


def is_marked(readme: Path, notes: Path) -> bool:
    """Whether `readme` begins with markers, and that of the file `notes` as it is now is one of them."""
    if not readme.is_file():
        return False
    lines = (line.strip() for line in readme.read_bytes().split(b"\n"))
    return marker(notes).encode() in takewhile(lambda line: line.startswith(OPENING.encode()), lines)
