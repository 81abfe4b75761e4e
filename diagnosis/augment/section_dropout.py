"""Sections are left out, whole: notes of other authors and hospitals lack one or another."""

import random
from bisect import bisect_left

from diagnosis.augment.protected import find
from diagnosis.augment.section_shuffle import joined
from diagnosis.text.sections import sections


def apply(text: str, labels: frozenset[str], budget: int, rng: random.Random) -> tuple[str, int]:
    """Leave out sections, drawn at random, of up to `budget` words together; never what stands before the first heading.

    With them goes what they state; nothing comes in or changes. One with a word of a label stays: it may be why the note has it.
    """
    found = sections(text)
    words = find(text, labels)
    starts = [word.start for word in words]
    gone: set[int] = set()
    for at in rng.sample(range(len(found)), len(found)):
        own = words[bisect_left(starts, found[at].start) : bisect_left(starts, found[at].end)]
        named = any(text[word.start : word.end].lower() in labels for word in own)
        if found[at].name != "opening" and len(own) <= budget and not named and len(gone) < len(found) - 1:
            budget -= len(own)
            gone.add(at)
    if not gone:
        return text, 0
    return joined(text, [section for at, section in enumerate(found) if at not in gone]), len(gone)
