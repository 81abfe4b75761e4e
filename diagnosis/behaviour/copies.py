"""Which notes are looked at, and their perturbed copies."""

import hashlib
import heapq
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import NamedTuple

from tqdm import tqdm

from diagnosis.behaviour.negation import DIRECTIONS, flipped
from diagnosis.behaviour.perturbations import perturbations
from diagnosis.notes import read_notes
from diagnosis.text.concepts import Concepts

COLUMNS = ["note_id", "patient_id", "text", "text_pair", "labels"]


class Copies(NamedTuple):
    """Perturbed copies: of which notes (by row), their texts, the classes whose probability should move (none: none should), and how
    many notes were looked at to find them."""

    rows: list[int]
    texts: list[str]
    expected: list[list[int]]
    looked_at: int


def first_notes(path: Path, count: int, seed: int) -> list[dict]:
    """`count` notes of a table, those whose id and the seed have the lowest SHA-256, in that order; the others are not kept."""

    def place(note: dict) -> bytes:
        return hashlib.sha256(f"{seed}\0{note['note_id']}".encode()).digest()

    return heapq.nsmallest(count, (note for batch in read_notes(path, COLUMNS) for note in batch), key=place)


def randomness(seed: int, probe: str, note: dict) -> Random:
    """Random numbers that hang on the note and the probe alone, not on what else is looked at."""
    return Random(f"{seed}\0{probe}\0{note['note_id']}")


def copies(notes: list[dict], perturb: Callable[[dict], tuple[str, list[int]] | None], most: int) -> Copies:
    """The copies of the first `most` notes of which `perturb` makes one (None: it does not apply)."""
    found, looked_at = [], 0
    for row, note in enumerate(notes):
        if len(found) == most:
            break
        looked_at += 1
        if made := perturb(note):
            found.append((row, *made))
    return (
        Copies(*(list(column) for column in zip(*found, strict=True)), looked_at)
        if found
        else Copies([], [], [], looked_at)
    )


def all_copies(
    notes: list[dict],
    concepts: Concepts,
    known: dict,
    classes: list[str],
    *,
    seed: int,
    most: int,
    typo_share: float,
    exempt: dict,
) -> dict[str, Copies]:
    """By name: the control and the invariance tests, then the two of negation. `exempt`: by test, classes whose notes it leaves out."""

    def invariant(name: str, perturb, note: dict):
        if set(exempt.get(name, ())) & set(note["labels"]):
            return None
        new = perturb(note["text"], randomness(seed, name, note), note["patient_id"] or note["note_id"])
        return None if new is None else (new, [])

    def directional(name: str, note: dict):
        return flipped(name, note["text"], concepts, known, len(classes), randomness(seed, name, note))

    makers = {name: partial(invariant, name, perturb) for name, perturb in perturbations(typo_share).items()}
    makers |= {name: partial(directional, name) for name in DIRECTIONS}
    return {
        name: copies(notes, make, most) for name, make in tqdm(makers.items(), desc="probe: copies", unit=" probes")
    }


def shuffled(note: dict, rng: Random) -> str:
    """The words of a note in another order: what a bag of words sees stays, what is told of whom is gone."""
    words = note["text"].split()
    return " ".join(rng.sample(words, len(words)))
