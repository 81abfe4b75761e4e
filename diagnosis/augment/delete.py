"""Words are left out (random deletion of Wei and Zou 2019)."""

import random

from diagnosis.augment.phrases import spliced
from diagnosis.augment.protected import FREE, columns


def apply(text: str, labels: frozenset[str], budget: int, rng: random.Random) -> tuple[str, int]:
    """Leave out up to `budget` FREE words, each with the blank before it; the first word of a line stays."""
    spans, _, states = columns(text, labels)
    words = [span for span, state in zip(spans, states, strict=True) if state == FREE and text[span[0] - 1] == " "]
    chosen = sorted(rng.sample(words, min(budget, len(words))))
    return spliced(text, ((start - 1, end, "") for start, end in chosen)), len(chosen)
