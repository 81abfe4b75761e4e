"""The sections stand in another order: authors differ in it, and a model that reads the first tokens only sees others."""

import random
from collections.abc import Iterable

from diagnosis.text.sections import Section, sections


def apply(text: str, labels: frozenset[str], budget: int, rng: random.Random) -> tuple[str, int]:
    """Deal the sections anew, but for what stands before the first heading; no word changes, so `budget` does not bind.

    Returns how many stand elsewhere than before. Where a section would be read as another in its new place, nothing changes.
    """
    found = sections(text)
    first = [section for section in found if section.name == "opening"][:1]
    rest = found[len(first) :]
    dealt = rng.sample(rest, len(rest))
    moved = sum(one != other for one, other in zip(rest, dealt, strict=True))
    new = joined(text, [*first, *dealt])
    names = sorted(section.name for section in found)
    if not moved or sorted(section.name for section in sections(new)) != names:
        return text, 0
    return new, moved


def joined(text: str, parts: Iterable[Section]) -> str:
    """The sections, each from a line of its own."""
    pieces = (text[section.start : section.end].strip(" \n").rstrip(" ,\n") for section in parts)
    return "\n".join(filter(None, pieces))
