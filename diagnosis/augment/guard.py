"""What a note says of each finding, so that a version that says another thing is not written.

A finding is a word of the list in findings.py, and any word that stands in a scope of ConText (denied, past, a relative's, feared).
What may stand for each other (synonyms, short and long forms, surface forms) counts as the same.
"""

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable
from functools import cached_property

from diagnosis.augment import abbreviations, surface, synonyms
from diagnosis.augment.findings import FINDINGS
from diagnosis.text.context import UNMARKED, WORD, Scope, note_scopes
from diagnosis.text.units import UNITS, standardise

_UNITS = "|".join(sorted(map(re.escape, UNITS), key=len, reverse=True))
VALUE = re.compile(rf"\d+(?:[.,/:-]\d+)*(?: ?(?:{_UNITS})(?![\w/]))?")
NO_FINDINGS = UNMARKED | {
    "evidence",
    "sign",
    "signs",
    "a",
    "any",
    "i",
    "he",
    "she",
    "his",
    "her",
    "be",
    "as",
    "at",
    "in",
    "on",
}

Statements = dict[str, frozenset[frozenset[str]]]
"""By finding: the sets of ConText kinds with which it stands in the note; the empty set where it is affirmed."""


class Said:
    """What a text says of each finding, and its values with their units: as it stands, and in one form where that is asked for."""

    def __init__(self, text: str, one_form: Callable[[str], str]):
        self._text, self._one_form = text, one_form

    @cached_property
    def as_written(self) -> tuple[Statements, Counter]:
        return statements(self._text), values(self._text)

    @cached_property
    def in_one_form(self) -> tuple[Statements, Counter]:
        return statements(self._one_form(self._text)), values(standardise(self._text))


class Guard:
    """Compares versions with their note. `more` bring further terms to one form (of an ontology, of reviewed swaps)."""

    def __init__(self, more: Iterable[Callable[[str], str]] = ()):
        self._canonical = [surface.canonical, abbreviations.canonical, *more, synonyms.canonical]

    def read(self, text: str) -> Said:
        return Said(text, self._one_form)

    def _one_form(self, text: str) -> str:
        for canonical in self._canonical:
            text = canonical(text)
        return text

    def same(self, before: Said, after: Said, may_lose: bool) -> bool:
        """Whether a version says what its note says, as it stands or in one form; with `may_lose` findings and values may be
        gone, but none may be new or said of another person, time or certainty."""
        if before.as_written == after.as_written:
            return True
        if not may_lose:
            return before.in_one_form == after.in_one_form
        (said, had), (says, has) = before.in_one_form, after.in_one_form
        return has <= had and all(said.get(word) == kinds for word, kinds in says.items())


def values(text: str) -> Counter:
    return Counter(match[0].replace(" ", "") for match in VALUE.finditer(text))


def statements(text: str) -> Statements:
    words = [(match.start(), match[0].lower()) for match in WORD.finditer(text)]
    starts = [start for start, _ in words]
    kinds: dict[int, set[str]] = {}  # by the number of a word
    for kind, start, end in _merged(note_scopes(text)):
        for number in range(bisect_left(starts, start), bisect_left(starts, end)):
            kinds.setdefault(number, set()).add(kind)
    found: dict[str, set[frozenset[str]]] = {}
    for number, (_, word) in enumerate(words):
        if word in FINDINGS or (number in kinds and word not in NO_FINDINGS and not word[0].isdigit()):
            found.setdefault(word, set()).add(frozenset(kinds.get(number, ())))
    return {word: frozenset(sets) for word, sets in found.items()}


def _merged(scopes: list[Scope]) -> list[tuple[str, int, int]]:
    """(kind, start, end) of the stretches that the scopes of each kind cover, apart from each other: no word is met twice."""
    result: list[tuple[str, int, int]] = []
    for kind, start, end in sorted((scope.kind, scope.start, scope.end) for scope in scopes):
        if result and result[-1][0] == kind and start <= result[-1][2]:
            result[-1] = kind, result[-1][1], max(end, result[-1][2])
        else:
            result.append((kind, start, end))
    return result
