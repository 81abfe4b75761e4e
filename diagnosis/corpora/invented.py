"""The marker that says that notes are invented: the SHA-256 of their file, so that no other notes pass for public ones."""

from pathlib import Path

from diagnosis.files import sha256


def marker(notes: Path) -> str:
    """A line of the truth/README.md beside invented notes, one for each of their files."""
    return f"Notes invented by the stage synthesize, SHA-256 of their file: {sha256(notes)}"


def is_marked(readme: Path, notes: Path) -> bool:
    """Whether `readme` has the marker of the file `notes` as it is now."""
    return readme.is_file() and marker(notes).encode() in map(bytes.strip, readme.read_bytes().split(b"\n"))
