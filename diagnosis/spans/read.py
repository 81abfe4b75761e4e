"""The annotated notes of each shard, as de-identified: cleaning would move their characters."""

from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq

from diagnosis.errors import UserError
from diagnosis.notes import read_notes
from diagnosis.phi.score import Gold
from diagnosis.phi.spans import Span

SHARDS = ("train", "validation", "test")


class Annotated(NamedTuple):
    """A note with its annotations, in order of their start."""

    patient: str
    text: str
    spans: list[Span]


def read_annotated(notes: Path, annotations: Path, split: Path) -> dict[str, list[Annotated]]:
    """The notes that have annotations, by shard of the split; raises UserError where a shard has none.

    A note without any may hold what nobody marked, and takes no part.
    """
    gold = Gold(annotations, kinds=None)
    if not gold:
        raise UserError(
            f"{annotations} is empty: the corpus comes without annotations (docs/spans.md says how to bring them); set "
            "finetune_spans.enabled to false"
        )
    shard_of = {}
    for shard in SHARDS:
        ids = pq.read_table(split / f"{shard}.parquet", columns=["note_id"])["note_id"].to_pylist()
        shard_of |= dict.fromkeys(ids, shard)
    found = defaultdict(list)
    for batch in read_notes(notes, ["note_id", "patient_id", "text"]):
        for note in batch:
            spans = [span for span, _ in gold.of(note["note_id"], note["text"])]
            if spans and (shard := shard_of.get(note["note_id"])):
                patient = note["patient_id"] or f"note {note['note_id']}"
                found[shard].append(Annotated(patient, note["text"], spans))
    gold.finish()
    if empty := [shard for shard in SHARDS if not found[shard]]:
        raise UserError(f"{annotations}: no note of {' and '.join(empty)} has annotations: annotate more notes")
    return dict(found)
