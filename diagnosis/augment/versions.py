"""New versions of a note, drawn from a hash of its id: the same whatever the order, number or batch of the notes."""

import hashlib
import random
from collections.abc import Sequence

from diagnosis.augment import abbreviations, delete, swap, synonyms
from diagnosis.augment.protected import FREE, find

OPERATORS = {
    "synonym": synonyms.apply,
    "abbreviation": abbreviations.apply,
    "swap": swap.apply,
    "delete": delete.apply,
}


def version(
    text: str, operators: Sequence[str], rate: float, labels: frozenset[str], key: tuple
) -> tuple[str, dict[str, int]]:
    """The text after each operator in turn, and what each changed (phrases, pairs or words), without the idle ones.

    An operator may change `rate` of the FREE words that the original has, at least one. `key` alone decides the draws.
    """
    digest = hashlib.sha256(":".join(map(str, key)).encode()).digest()
    rng = random.Random(int.from_bytes(digest[:8], "big"))
    budget = max(1, round(rate * sum(word.state == FREE for word in find(text, labels))))
    changes = {}
    for name in operators:
        text, changed = OPERATORS[name](text, labels, budget, rng)
        if changed:
            changes[name] = changed
    return text, changes
