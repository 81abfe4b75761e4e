"""Words are left out (random deletion of Wei and Zou 2019)."""

import random

from diagnosis.augment.phrases import spliced
from diagnosis.augment.protected import FREE, find


def apply(text: str, labels: frozenset[str], budget: int, rng: random.Random) -> tuple[str, int]:
    """Leave out up to `budget` FREE words, each with the blank before it; the first word of a line stays."""
    words = [word for word in find(text, labels) if word.state == FREE and text[word.start - 1 : word.start] == " "]
    chosen = sorted(rng.sample(words, min(budget, len(words))))
    return spliced(text, ((word.start - 1, word.end, "") for word in chosen)), len(chosen)
