"""Stretches of text that identify somebody."""

from bisect import bisect_left, bisect_right
from itertools import accumulate
from typing import NamedTuple

KINDS = (
    "NAME PLACE DATE AGE PHONE FAX EMAIL SSN MRN PLAN ACCOUNT LICENCE VEHICLE DEVICE URL IP BIOMETRIC PHOTO OTHER_ID"
).split()
"""HIPAA Safe Harbor's 18 identifiers (45 CFR 164.514(b)(2)); ages over 89 stand apart from dates."""


class Span(NamedTuple):
    """Characters `start` to `end` (exclusive) of a note."""

    start: int
    end: int
    kind: str


def joined(text: str, spans: list[Span], pieces: list[str]) -> str:
    """The text with each span replaced by its piece. Spans are in order and do not overlap."""
    result, place = [], 0
    for span, piece in zip(spans, pieces, strict=True):
        result += [text[place : span.start], piece]
        place = span.end
    return "".join(result) + text[place:]


def moved(annotations: list[Span], spans: list[Span], pieces: list[str]) -> list[Span]:
    """Where annotations of a text lie once its spans are replaced; those that a span touches are left out."""
    starts, ends = [span.start for span in spans], [span.end for span in spans]
    growth = list(
        accumulate((len(piece) - span.end + span.start for span, piece in zip(spans, pieces, strict=True)), initial=0)
    )
    result = []
    for start, end, kind in annotations:
        before = bisect_right(ends, start)  # spans that end before it
        if before == bisect_left(starts, end):
            result.append(Span(start + growth[before], end + growth[before], kind))
    return result


class Spans:
    """Spans that do not overlap: what was added first stays."""

    def __init__(self, length: int):
        self._taken = bytearray(length)
        self._spans: list[Span] = []

    def free(self, start: int, end: int) -> bool:
        return not any(self._taken[start:end])

    def add(self, start: int, end: int, kind: str) -> bool:
        """Add a span unless a part of it is taken; says whether it was added."""
        if start >= end or not self.free(start, end):
            return False
        self._taken[start:end] = b"\1" * (end - start)
        self._spans.append(Span(start, end, kind))
        return True

    def protect(self, start: int, end: int) -> None:
        """Keep characters out of every later span."""
        self._taken[start:end] = b"\1" * (end - start)

    def sorted(self) -> list[Span]:
        return sorted(self._spans)
