"""Another form of the same negation: "he denies fever" and "he reports no fever", "without" and "with no".

Pairs of a finding and its negation are not made: a note that now denies what it stated may have another label, and nobody knows
which. What is made are pairs that mean the same, so that a model learns that the form of a negation does not matter. Each pair
opens the same scope, and the guard checks that it does.
"""

import random
import re

from diagnosis.augment import phrases

GROUPS = [
    ("without", "with no"),
    ("without any", "with no"),
    ("no evidence of", "no sign of"),
    ("no evidence of", "no signs of"),
    ("denies any", "denies"),
    ("denied any", "denied"),
    ("denies", "reports no"),
    ("denied", "reported no"),
    ("has no", "does not have any"),
    ("had no", "did not have any"),
    ("have no", "do not have any"),
    ("there is no", "there is not any"),
    ("there was no", "there was not any"),
    ("negative for", "neg for"),
    ("w/o", "without"),
]
OTHERS: dict[str, list[str]] = {}
for _one, _other in GROUPS:
    OTHERS.setdefault(_one, []).append(_other)
    OTHERS.setdefault(_other, []).append(_one)

# "Denies that", "denies having" and "denies the pain" take another construction; "has no known" would lose its sense with "any".
_NEXT = r"(?= (?!(?:that|to|the|his|her|this|these|having|being|use|using|\w+ing|known|one|longer|more|other|idea|further|difficulty|incident|complications?|change)\b)[a-z])"
PATTERN = re.compile(
    phrases.boundaries("|".join(re.escape(form) for form in sorted(OTHERS, key=lambda form: (-len(form), form))))
    + _NEXT,
    re.IGNORECASE,
)


def apply(text: str, labels: frozenset[str], budget: int, rng: random.Random) -> tuple[str, int]:
    return phrases.replace(text, phrases.matches(PATTERN, text), _other_form, labels, budget, rng)


def _other_form(form: str, rng: random.Random) -> str:
    return rng.choice(OTHERS[form.lower()])
