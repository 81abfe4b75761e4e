"""Two neighbouring words change places (random swap of Wei and Zou 2019, kept to neighbours)."""

import random

from diagnosis.augment.phrases import spliced
from diagnosis.augment.protected import FREE, columns


def apply(text: str, labels: frozenset[str], budget: int, rng: random.Random) -> tuple[str, int]:
    """Swap up to `budget` pairs of FREE words with one blank between: never over punctuation, a line or a sentence."""
    spans, _, states = columns(text, labels)
    pairs = [i for i, pair in enumerate(zip(states, states[1:], strict=False)) if pair == (FREE, FREE)]
    chosen: set[int] = set()
    swapped = []
    for i in rng.sample(pairs, len(pairs)):
        (start, end), (other_start, other_end) = spans[i], spans[i + 1]
        one, other = text[start:end], text[other_start:other_end]
        if one != other and text[end:other_start] == " " and not {i - 1, i + 1} & chosen:
            chosen.add(i)
            swapped.append((start, other_end, f"{other} {one}"))
            if len(chosen) == budget:
                break
    return spliced(text, sorted(swapped)), len(swapped)
