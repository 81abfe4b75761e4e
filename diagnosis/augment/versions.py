"""New versions of a note, drawn from a hash of its id: the same whatever the order, number or batch of the notes."""

import hashlib
import random
from collections.abc import Mapping

from diagnosis.augment.operators import Operator
from diagnosis.augment.protected import FREE, columns


def version(
    text: str,
    operators: Mapping[str, Operator],
    rate: float,
    max_changes: int | None,
    labels: frozenset[str],
    key: tuple,
) -> tuple[str, dict[str, int]]:
    """The text after each operator in turn, and what each changed (phrases, pairs, words, sentences or sections), without the idle ones.

    An operator may change `rate` of the FREE words that the original has, at least one, `max_changes` at most. `key` alone
    decides the draws.
    """
    digest = hashlib.sha256(":".join(map(str, key)).encode()).digest()
    rng = random.Random(int.from_bytes(digest[:8], "big"))
    budget = max(1, round(rate * columns(text, labels)[2].count(FREE)))
    budget = min(budget, max_changes or budget)
    changes = {}
    for name, operator in operators.items():
        text, changed = operator(text, labels, budget, rng)
        if changed:
            changes[name] = changed
    return text, changes
