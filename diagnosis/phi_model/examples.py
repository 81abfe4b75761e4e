"""What the detector learns from, what sets its threshold and what it is measured on: three parts of the annotated notes."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pyarrow.parquet as pq

from diagnosis.errors import UserError
from diagnosis.notes import read_notes
from diagnosis.phi.score import Gold
from diagnosis.phi.spans import Span
from diagnosis.phi_model.carriers import sentence

PARTS = {"train": 0.5, "validation": 0.25, "test": 0.25}  # shares of the patients
EXCERPT = 12  # lines of a note: enough clinical prose to stand around the invented sentences
INSERTED = (6, 16)  # invented sentences that an excerpt is given
ALONE = (1, 6)  # sentences of a text that is made of nothing else
ALONE_SHARE = 1 / 3  # of such texts, beside each part's notes

Text = tuple[str, list[Span]]


def deal(notes: Path, gold: Path, seed: int, most: int) -> dict[str, str]:
    """The part of each chosen note, by note_id: patients are dealt by hash, and a part keeps `most` notes at most.

    Only notes with gold spans take part: of the others nobody knows what they hold. Raises UserError where a part is empty.
    """
    Gold(gold)  # raises where the file will not do
    annotated = set(pq.read_table(gold, columns=["note_id"])["note_id"].to_pylist())
    if not annotated:
        raise UserError(
            f"{gold} is empty: this corpus comes without known identifiers, so there is nothing to train a detector on; set "
            "finetune_detector.enabled to false"
        )
    ranked = {part: [] for part in PARTS}
    for batch in read_notes(notes, ["note_id", "patient_id"]):
        for note in batch:
            if note["note_id"] in annotated:
                owner = note["patient_id"] or f"note {note['note_id']}"
                ranked[_part(_number(seed, "part", owner))].append(
                    (_number(seed, "note", note["note_id"]), note["note_id"])
                )
    if empty := [part for part, found in ranked.items() if not found]:
        raise UserError(
            f"{gold}: too few patients' notes have gold spans, none is left for {' and '.join(empty)}: annotate more, or set "
            "finetune_detector.enabled to false"
        )
    return {note_id: part for part, found in ranked.items() for _, note_id in sorted(found)[:most]}


def read_parts(notes: Path, gold: Path, dealt: dict[str, str]) -> dict[str, list[tuple[str, list]]]:
    """The dealt notes by part: the text of each with its gold (span, origin). Raises UserError where gold and notes differ."""
    known, parts = Gold(gold), {part: [] for part in PARTS}
    for batch in read_notes(notes, ["note_id", "text"]):
        for note in batch:
            marks = known.of(note["note_id"], note["text"])
            if part := dealt.get(note["note_id"]):
                parts[part].append((note["text"], marks))
    known.finish()
    return parts


def invented(part: str, notes: list[tuple[str, list]], seed: int, learn_gold: bool) -> Iterator[Text]:
    """Texts with known spans: excerpts of the notes with invented sentences strewn in, and texts of such sentences alone.

    Lines that hold an identifier are left out, so that neither the corpus' ways of announcing one nor its names are learned. With
    `learn_gold` they are learned: the notes stand there whole.
    """
    rng = Random(f"{seed} {part}")
    for text, marks in notes:
        pieces = list(_lines(text, [span for span, _ in marks], learn_gold))
        if not learn_gold:
            first = rng.randint(0, max(0, len(pieces) - EXCERPT))
            pieces = pieces[first : first + EXCERPT]
        for _ in range(rng.randint(*INSERTED)):
            pieces.insert(rng.randint(0, len(pieces)), sentence(part, rng))
        yield joined(pieces, ["\n" if rng.random() < 0.7 else " " for _ in pieces])
    for _ in range(round(ALONE_SHARE * len(notes))):
        pieces = [sentence(part, rng) for _ in range(rng.randint(*ALONE))]
        yield joined(pieces, [rng.choice("\n ") for _ in pieces])


def joined(pieces: list[Text], separators: list[str]) -> Text:
    """The pieces as one text, each followed by its separator."""
    text, spans, length = [], [], 0
    for (piece, own), separator in zip(pieces, separators, strict=True):
        spans += [Span(length + span.start, length + span.end, span.kind) for span in own]
        text += [piece, separator]
        length += len(piece) + len(separator)
    return "".join(text), spans


def _lines(text: str, spans: list[Span], with_identifiers: bool) -> Iterator[Text]:
    start = 0
    for line in text.split("\n"):
        end = start + len(line)
        own = [
            Span(max(span.start, start) - start, min(span.end, end) - start, span.kind)
            for span in spans
            if span.start < end and span.end > start
        ]
        if with_identifiers or not own:
            yield line, own
        start = end + 1


def _number(*parts) -> float:
    """A number from 0 to 1 that depends on the parts alone."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8]) / 2**64


def _part(number: float) -> str:
    for part, share in PARTS.items():
        if number < share:
            return part
        number -= share
    return part
