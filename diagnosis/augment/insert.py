"""Words of the note come in again elsewhere in it (after random insertion of Wei and Zou 2019, who insert a word's synonyms)."""

import random

from diagnosis.augment.phrases import spliced
from diagnosis.augment.protected import FREE, columns


def apply(text: str, labels: frozenset[str], budget: int, rng: random.Random) -> tuple[str, int]:
    """Repeat up to `budget` FREE words, each before another FREE word that has a FREE word of its sentence and a blank before it.

    The note's own words: nothing is said that it does not say.
    """
    spans, _, states = columns(text, labels)
    free = [span for span, state in zip(spans, states, strict=True) if state == FREE]
    pairs = zip(spans, spans[1:], zip(states, states[1:], strict=False), strict=False)
    places = [other[0] for one, other, pair in pairs if pair == (FREE, FREE) and text[one[1] : other[0]] == " "]
    chosen = sorted(rng.sample(places, min(budget, len(places))))
    again = [text[start:end] for start, end in rng.choices(free, k=len(chosen))] if chosen else []
    return spliced(text, ((at, at, f"{word} ") for at, word in zip(chosen, again, strict=True))), len(chosen)
