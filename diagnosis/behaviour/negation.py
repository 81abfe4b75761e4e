"""A finding that is there becomes denied, and a denied one there: directional tests (Ribeiro et al. 2020, CheckList).

What a finding speaks for is counted in the train notes; the edits are checked by the rules that read assertions
(diagnosis/text/context.py), so that an edit which would deny more than it should is not made.
"""

import re
from collections.abc import Iterable
from random import Random
from typing import NamedTuple

import numpy as np

from diagnosis.augment.phrases import spliced
from diagnosis.augment.protected import LATERALITY, POLARITY
from diagnosis.text.concepts import Concepts
from diagnosis.text.context import Scope, assertions, scopes

LOWEST_Z = 3.0  # of the log odds ratio, for a finding to speak for a diagnosis: one in 700 by chance alone


class Mention(NamedTuple):
    """Where a finding stands, its concept, and the kinds of assertion other than "there, now, in the patient"."""

    start: int
    end: int
    concept: str
    kinds: frozenset[str]


class Flip(NamedTuple):
    """A changed text, and the concepts whose assertion changed in it."""

    text: str
    concepts: frozenset[str]


def mentions(text: str, concepts: Concepts) -> list[Mention]:
    """In order, but for those before a colon: of "Cough: none" what is said of it stands behind."""
    found = [mention for mention in concepts.find(text) if text[mention[1] : mention[1] + 1] != ":"]
    kinds = assertions(text, [(start, end) for start, end, _ in found], headings=True)
    return [Mention(*mention, kind) for mention, kind in zip(found, kinds, strict=True)]


class Support:
    """Which diagnoses each finding speaks for, counted in train notes.

    A finding speaks for a class where notes of the class affirm it oftener than others: the log odds ratio of the 2 x 2 table, half a
    note added to each cell (Haldane 1956), is at least LOWEST_Z standard errors (Woolf 1955) above 0.
    """

    def __init__(self, classes: list[str], concepts: Concepts):
        self._classes, self._concepts = classes, concepts
        self._notes, self._of_class = 0, np.zeros(len(classes))
        self._affirmed: dict[str, np.ndarray] = {}  # by class, and all notes last

    def add(self, text: str, labels: Iterable[str]) -> None:
        own = np.array([label in labels for label in self._classes], dtype=float)
        self._notes += 1
        self._of_class += own
        for concept in {m.concept for m in mentions(text, self._concepts) if not m.kinds}:
            self._affirmed.setdefault(concept, np.zeros(len(own) + 1))
            self._affirmed[concept] += np.append(own, 1)

    def by_concept(self) -> dict[str, frozenset[int]]:
        """The numbers of the classes (columns) by concept; concepts that speak for none, or for all, are not in it."""
        result = {}
        for concept, counts in self._affirmed.items():
            with_class, total = counts[:-1], counts[-1]
            cells = np.array(
                [
                    with_class,
                    self._of_class - with_class,
                    total - with_class,
                    self._notes - self._of_class - total + with_class,
                ]
            )
            cells += 0.5
            z = np.log(cells[0] * cells[3] / cells[1] / cells[2]) / np.sqrt((1 / cells).sum(axis=0))
            if 0 < (z >= LOWEST_Z).sum() < len(self._classes):
                result[concept] = frozenset(np.flatnonzero(z >= LOWEST_Z).tolist())
        return result


# ---------------------------------------------------------------- there -> denied

ARTICLES = frozenset("a an the some any".split())
DEGREES = frozenset(f"{LATERALITY} {POLARITY}".split())
BEFORE = re.compile(r"(?:(?<=\s)|(?<=^)|(?<=[(:]))([^\W\d_]+) $")
JOINT = re.compile(r",? (?:and|or) |, (?=\w)")
POSITIVE = re.compile(r"\b(positive) for $", re.IGNORECASE)
ENDS = re.compile(r"[.;:\n]")


def deny(text: str, concepts: Concepts, known: Iterable[str], rng: Random) -> Flip | None:
    """One of the `known` findings that are there, wherever it is told of, with "no" before it, and "but" where the list goes on."""
    found = mentions(text, concepts)
    there = sorted({m.concept for m in found if not m.kinds} & set(known))
    for concept in rng.sample(there, len(there)):
        changes = [_denied(text, m) for m in found if m.concept == concept and not m.kinds]
        changes = [change for of_mention in changes for change in of_mention]
        if any(one[1] > other[0] for one, other in zip(changes, changes[1:], strict=False)):
            continue
        flip = _checked(text, spliced(text, changes), concepts, found)
        if flip and flip.concepts == {concept}:
            return flip
    return None


def _denied(text: str, mention: Mention) -> list[tuple[int, int, str]]:
    start = mention.start
    while (before := BEFORE.search(text, max(0, start - 30), start)) and _belongs(before[1]):
        start = before.start(1)
    first, end = text[start : mention.start], mention.end
    # "A mild cough" is "no mild cough"; "Cough" that opens a line is "No cough", and "SOB" stays as it is.
    kept = " ".join(word for word in first.split() if word.lower() not in ARTICLES)
    word = f"{kept} " if kept else ""
    written = word + text[mention.start : end]
    capital = text[start].isupper() and not (len(written) > 1 and written[1].isupper())
    opens = capital or not text[:start].rstrip(" ") or text[:start].rstrip(" ")[-1] in ".\n:"
    written = written[0].lower() + written[1:] if capital else written
    stop = ENDS.search(text, end)
    joint = JOINT.search(text, end, stop.start() if stop else len(text))
    if not joint and (positive := POSITIVE.search(text, max(0, start - 14), start)):
        return [(*positive.span(1), "Negative" if positive[1].istitle() else "negative")]
    changes = [(start, end, ("No " if opens and text != text.lower() else "no ") + written)]
    return [*changes, (*joint.span(), " but ")] if joint else changes


def _belongs(word: str) -> bool:
    """Whether a word before a finding is said of it: "mild", "left", or a short form as in "LE edema"."""
    return word.lower() in DEGREES | ARTICLES or (word.isupper() and 2 <= len(word) <= 3)


# ---------------------------------------------------------------- denied -> there

AFFIRMED = {
    "denies": "reports", "denied": "reported", "deny": "report", "denying": "reporting", "no": "has", "without": "with",
    "w/o": "with", "negative for": "positive for", "neg for": "positive for", "no evidence of": "evidence of",
    "no sign of": "signs of", "no signs of": "signs of", "is denied": "is reported", "are denied": "are reported",
    "was denied": "was reported", "were denied": "were reported", "none": "yes", "was not seen": "was seen", "not seen": "seen",
    "absent": "present", "is absent": "is present", "was absent": "was present", "are absent": "are present",
}  # fmt: skip
HAS = re.compile(r"\b(?:has|had|have|having|with|reports?|reported|is|was|are|were|shows?|showed) $", re.IGNORECASE)
LAST_OR = re.compile(r" or (?!.* or )", re.DOTALL)


def affirm(text: str, concepts: Concepts, known: Iterable[str], rng: Random) -> Flip | None:
    """One negation turned round, with at least one of the `known` findings in its scope: "denies" to "reports"."""
    found = mentions(text, concepts)
    denied = [m for m in found if m.kinds == {"negated"} and m.concept in set(known)]
    candidates = [
        scope
        for scope in scopes(text)
        if scope.kind == "negated"
        and any(scope.start < m.end and m.start < scope.end for m in denied)
        and text[slice(*scope.phrase)].lower() in AFFIRMED
    ]
    for scope in rng.sample(candidates, len(candidates)):
        if flip := _checked(text, _affirmed(text, scope), concepts, found):
            return flip
    return None


def _affirmed(text: str, scope: Scope) -> str:
    start, end = scope.phrase
    old = text[start:end]
    new = AFFIRMED[old.lower()]
    if new == "has" and HAS.search(text, max(0, start - 12), start):
        new, end = "", end + 1  # "has no fever"
    new = new[:1].upper() + new[1:] if old[0].isupper() else new
    changes = [(start, end, new)]
    if joint := LAST_OR.search(text, scope.start, scope.end):
        changes.append((*joint.span(), " and "))
    return spliced(text, sorted(changes))


def _checked(text: str, new: str, concepts: Concepts, found: list[Mention]) -> Flip | None:
    """The flip, unless it moved a finding, or changed more of an assertion than whether it is denied.

    Every mention of a concept that is flipped has to be flipped: no note shall say both.
    """
    after = mentions(new, concepts)
    if [m.concept for m in after] != [m.concept for m in found]:
        return None
    pairs = list(zip(found, after, strict=True))
    if any(one.kinds ^ other.kinds not in (frozenset(), {"negated"}) for one, other in pairs):
        return None
    flipped = frozenset(one.concept for one, other in pairs if one.kinds != other.kinds)
    now = {m.concept: m.kinds for m in after if m.concept in flipped}
    if any(m.concept in flipped and bool(m.kinds) != bool(now[m.concept]) for m in after if m.kinds <= {"negated"}):
        return None
    return Flip(new, flipped) if flipped else None


DIRECTIONS = {"denied": -1, "affirmed": 1}
"""The two tests, and whether the probability of what the finding speaks for should fall or rise."""


def flipped(name: str, text: str, concepts: Concepts, known: dict[str, frozenset[int]], classes: int, rng: Random):
    """(changed text, classes whose probability should move) of one of DIRECTIONS; None where none of the `known` findings can
    be flipped, or those that are speak for all classes."""
    flip = (deny if name == "denied" else affirm)(text, concepts, known, rng)
    if flip is None:
        return None
    expected = sorted(set().union(*(known.get(concept, ()) for concept in flip.concepts)))
    return (flip.text, expected) if 0 < len(expected) < classes else None
