"""Replacing whole phrases of a text by other forms of the same, drawn at random."""

import random
import re
from collections.abc import Callable

from diagnosis.augment.protected import FIXED, find


def boundaries(pattern: str) -> str:
    """The pattern as whole words: no letter, digit, hyphen, slash or mark beside it."""
    return rf"(?<![\w/-])(?:{pattern})(?![\w/-])"


def replace(
    text: str,
    pattern: re.Pattern,
    other_form: Callable[[str, random.Random], str],
    labels: frozenset[str],
    budget: int,
    rng: random.Random,
) -> tuple[str, int]:
    """Replace up to `budget` matches, none with a FIXED word, none whose new form has a word of a label.

    Returns the text and how many phrases were replaced. The text's case is followed.
    """
    fixed = [word for word in find(text, labels) if word.state == FIXED]
    spans = [
        match.span()
        for match in pattern.finditer(text)
        if not any(word.start < match.end() and match.start() < word.end for word in fixed)
    ]
    lower, changed = text == text.lower(), 0
    for start, end in sorted(rng.sample(spans, min(budget, len(spans))), reverse=True):
        new = in_case_of(other_form(text[start:end], rng), text[start:end], lower)
        if not lower and text[:start].rstrip()[-1:] in ("", ".", "!", "?"):
            new = new[0].upper() + new[1:]
        if not labels.intersection(re.findall(r"[^\W\d_]+", new.lower())):
            text, changed = text[:start] + new + text[end:], changed + 1
    return text, changed


def in_case_of(new: str, old: str, lower: bool) -> str:
    if lower:
        return new.lower()
    if new.isupper():
        return new
    if old.isupper() and " " in old:
        return new.upper()
    return new[0].upper() + new[1:] if old[0].isupper() and not old.isupper() else new
