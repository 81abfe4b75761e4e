"""Text that stands in another note of the same patient: copied forward, not written anew.

Notes carry no date that may be compared, so which of two came first is not known: the passage counts in both. Sentences and lines
are compared by their runs of five words (shingles; Broder 1997, On the Resemblance and Containment of Documents).
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from diagnosis.text.sections import sections

SHINGLE = 5  # words
SAMPLE = 2_000  # patients whose sentences say what is template: enough to see one in fifty, few enough to hold
PIECE = re.compile(
    r"[^\n.;:!?]+(?:[.;:!?]+(?!\s)[^\n.;:!?]+)*"
)  # a sentence or the part of it up to a colon, within a line
WORD = re.compile(r"[^\W_]+")


class Piece(NamedTuple):
    """A sentence or line: its characters in the note, its words, and its form with names and numbers left out."""

    start: int
    end: int
    words: tuple[str, ...]
    form: str

    @property
    def runs(self) -> list[tuple[str, ...]]:
        return [self.words[at : at + SHINGLE] for at in range(max(1, len(self.words) - SHINGLE + 1))]


def pieces(text: str, min_words: int) -> list[Piece]:
    """The sentences and lines of a note from `min_words` words on. Identifiers (name, dates of the stay) are no text to copy."""
    aside = [(section.start, section.end) for section in sections(text) if section.name == "identifiers"]
    found = []
    for match in PIECE.finditer(text):
        written = WORD.findall(match[0])
        if len(written) >= min_words and not any(start <= match.start() < end for start, end in aside):
            form = " ".join("#" if word[0].isupper() or word[0].isdigit() else word for word in written)
            found.append(Piece(*match.span(), tuple(map(str.lower, written)), form))
    return found


def templates(patients: Iterable[list[dict]], *, min_words: int, share: float) -> set[str]:
    """The forms that stand in the notes of at least `share` of the first `SAMPLE` patients, and of three: filled-in
    templates and common phrases, which a patient's notes share without any copying."""
    counts, seen = Counter(), 0
    for notes in patients:
        counts.update({piece.form for note in notes for piece in pieces(note["text"], min_words)})
        seen += 1
        if seen == SAMPLE:
            break
    return {form for form, count in counts.items() if count >= max(3, share * seen)}


def by_patient(notes: Iterable[dict], sizes: Counter) -> Iterator[list[dict]]:
    """Yield each patient's notes together as soon as the last of them has come; `sizes`: how many each patient has.

    Held are the notes of patients of whom some are still to come: few where a corpus is sorted by patient. A note
    without a patient comes alone.
    """
    waiting = defaultdict(list)
    for note in notes:
        patient = note["patient_id"]
        if patient is None or sizes[patient] == 1:
            yield [note]
            continue
        waiting[patient].append(note)
        if len(waiting[patient]) == sizes[patient]:
            yield waiting.pop(patient)


def copied(texts: list[str], template: set[str], min_words: int) -> list[list[Piece]]:
    """For each note of a patient the pieces that are no template and of which every run stands in another of the notes."""
    if len(texts) == 1:
        return [[]]
    of_note = [pieces(text, min_words) for text in texts]
    where = defaultdict(set)
    for number, found in enumerate(of_note):
        for piece in found:
            for run in piece.runs:
                where[run].add(number)
    result = []
    for number, found in enumerate(of_note):
        shared = []
        for piece in found:
            others = set.intersection(*(where[run] for run in piece.runs)) - {number}
            if others and piece.form not in template:
                shared.append(piece)
        result.append(shared)
    return result


def without(text: str, gone: list[Piece]) -> str:
    """The note without the pieces."""
    starts, ends = [0, *(piece.end for piece in gone)], [*(piece.start for piece in gone), len(text)]
    return "".join(text[start:end] for start, end in zip(starts, ends, strict=True))
