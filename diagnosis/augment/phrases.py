"""Replacing whole phrases of a text by other forms of the same, drawn at random."""

import random
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable

from diagnosis.augment.protected import FIXED, columns

BEGINNING = re.compile(r"(?:\A|[.!?])\s*")  # a word that stands at its end begins a sentence


def boundaries(pattern: str) -> str:
    """The pattern as whole words: no letter, digit, hyphen, slash or mark beside it."""
    return rf"(?<![\w/-])(?:{pattern})(?![\w/-])"


def replace(
    text: str,
    spans: Iterable[tuple[int, int]],
    other_form: Callable[[str, random.Random], str],
    labels: frozenset[str],
    budget: int,
    rng: random.Random,
) -> tuple[str, int]:
    """Replace up to `budget` of the spans, none with a FIXED word, none whose new form has a word of a label.

    Spans are in order, none over another. Returns the text and how many phrases were replaced. The text's case is followed.
    """
    words, _, states = columns(text, labels)
    fixed = [word for word, state in zip(words, states, strict=True) if state == FIXED]
    ends = [end for _, end in fixed]

    def is_fixed(start: int, end: int) -> bool:
        following = bisect_right(ends, start)  # the first fixed word that ends after the start
        return following < len(fixed) and fixed[following][0] < end

    spans = [span for span in spans if not is_fixed(*span)]
    lower, changes = text == text.lower(), []
    beginnings = set() if lower else {match.end() for match in BEGINNING.finditer(text)}
    for start, end in sorted(rng.sample(spans, min(budget, len(spans))), reverse=True):  # the order of the draws
        new = in_case_of(other_form(text[start:end], rng), text[start:end], lower)
        if start in beginnings:
            new = new[0].upper() + new[1:]
        if not labels.intersection(re.findall(r"[^\W\d_]+", new.lower())):
            changes.append((start, end, new))
    return spliced(text, reversed(changes)), len(changes)


def matches(pattern: re.Pattern, text: str) -> list[tuple[int, int]]:
    return [match.span() for match in pattern.finditer(text)]


def spliced(text: str, changes: Iterable[tuple[int, int, str]]) -> str:
    """The text with each (start, end, new) put in; changes in order, none over another. Linear: a note may be 5 MB."""
    pieces, done = [], 0
    for start, end, new in changes:
        pieces += [text[done:start], new]
        done = end
    return "".join(pieces) + text[done:]


def in_case_of(new: str, old: str, lower: bool) -> str:
    if lower:
        return new.lower()
    if new.isupper():
        return new
    if old.isupper() and " " in old:
        return new.upper()
    return new[0].upper() + new[1:] if old[0].isupper() and not old.isupper() else new
