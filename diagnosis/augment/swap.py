"""Two neighbouring words change places (random swap of Wei and Zou 2019, kept to neighbours)."""

import random

from diagnosis.augment.phrases import spliced
from diagnosis.augment.protected import FREE, find


def apply(text: str, labels: frozenset[str], budget: int, rng: random.Random) -> tuple[str, int]:
    """Swap up to `budget` pairs of FREE words with one blank between: never over punctuation, a line or a sentence."""
    words = find(text, labels)
    pairs = [
        i
        for i, (one, other) in enumerate(zip(words, words[1:], strict=False))
        if one.state == other.state == FREE
        and one.sentence == other.sentence
        and text[one.end : other.start] == " "
        and text[one.start : one.end] != text[other.start : other.end]
    ]
    rng.shuffle(pairs)
    chosen: set[int] = set()
    for pair in pairs:
        if len(chosen) < budget and not {pair - 1, pair + 1} & chosen:
            chosen.add(pair)
    neighbours = [(words[i], words[i + 1]) for i in sorted(chosen)]
    swapped = (
        (one.start, other.end, f"{text[other.start : other.end]} {text[one.start : one.end]}")
        for one, other in neighbours
    )
    return spliced(text, swapped), len(chosen)
