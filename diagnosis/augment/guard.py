"""What a note says of each finding, so that a version that says another thing is not written.

A finding is a word of the list in findings.py, and any word that stands in a scope of ConText (denied, past, a relative's, feared).
What may stand for each other (synonyms, short and long forms, surface forms) counts as the same.
"""

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable

from diagnosis.augment import abbreviations, surface, synonyms
from diagnosis.augment.findings import FINDINGS
from diagnosis.text.context import KINDS, UNMARKED, WORD, note_scopes
from diagnosis.text.units import UNITS, standardise

_UNITS = "|".join(sorted(map(re.escape, UNITS), key=len, reverse=True))
VALUE = re.compile(rf"\d+(?:[.,/:-]\d+)*(?: ?(?:{_UNITS})(?![\w/]))?")

Statements = dict[str, frozenset[frozenset[str]]]
"""By finding: the sets of ConText kinds with which it stands in the note; the empty set where it is affirmed."""


class Guard:
    """Compares versions with their note. `more` bring further terms to one form (of an ontology, of reviewed swaps)."""

    def __init__(self, more: Iterable[Callable[[str], str]] = ()):
        self._canonical = [surface.canonical, abbreviations.canonical, *more, synonyms.canonical]

    def read(self, text: str) -> tuple[Statements, Counter]:
        """What is said of each finding, and the values with their units."""
        values = Counter(match[0].replace(" ", "") for match in VALUE.finditer(standardise(text)))
        for canonical in self._canonical:
            text = canonical(text)
        return statements(text), values

    def same(self, before: tuple[Statements, Counter], after: tuple[Statements, Counter], may_lose: bool) -> bool:
        """Whether a version says what its note says; with `may_lose` findings and values may be gone, but none may be new or
        said of another person, time or certainty."""
        if not may_lose:
            return before == after
        return after[1] <= before[1] and all(before[0].get(word) == kinds for word, kinds in after[0].items())


def statements(text: str) -> Statements:
    scopes = note_scopes(text)
    merged = {kind: _merged([(scope.start, scope.end) for scope in scopes if scope.kind == kind]) for kind in KINDS}
    found: dict[str, set[frozenset[str]]] = {}
    for match in WORD.finditer(text):
        word = match[0].lower()
        kinds = frozenset(kind for kind, spans in merged.items() if _within(spans, match.start()))
        if word in FINDINGS or (kinds and word not in UNMARKED and not word[0].isdigit()):
            found.setdefault(word, set()).add(kinds)
    return {word: frozenset(sets) for word, sets in found.items()}


def _merged(spans: list[tuple[int, int]]) -> tuple[list[int], list[int]]:
    """The starts and ends of the stretches that the spans cover, in order, apart from each other."""
    starts: list[int] = []
    ends: list[int] = []
    for start, end in sorted(spans):
        if ends and start <= ends[-1]:
            ends[-1] = max(ends[-1], end)
        elif start < end:
            starts.append(start)
            ends.append(end)
    return starts, ends


def _within(spans: tuple[list[int], list[int]], at: int) -> bool:
    starts, ends = spans
    nearest = bisect_right(starts, at) - 1
    return nearest >= 0 and at < ends[nearest]
