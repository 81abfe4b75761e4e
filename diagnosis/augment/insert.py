"""Words of the note come in again elsewhere in it (after random insertion of Wei and Zou 2019, who insert a word's synonyms)."""

import random

from diagnosis.augment.phrases import spliced
from diagnosis.augment.protected import FREE, find


def apply(text: str, labels: frozenset[str], budget: int, rng: random.Random) -> tuple[str, int]:
    """Repeat up to `budget` FREE words, each before another FREE word that has a FREE word of its sentence and a blank before it.

    The note's own words: nothing is said that it does not say.
    """
    words = find(text, labels)
    free = [text[word.start : word.end] for word in words if word.state == FREE]
    places = [
        other.start
        for one, other in zip(words, words[1:], strict=False)
        if one.state == other.state == FREE and one.sentence == other.sentence and text[one.end : other.start] == " "
    ]
    chosen = sorted(rng.sample(places, min(budget, len(places))))
    return spliced(text, ((at, at, f"{rng.choice(free)} ") for at in chosen)), len(chosen)
