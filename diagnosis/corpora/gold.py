"""Spans of characters that come with a corpus: known identifiers, which a de-identifier has to find, and annotations."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from diagnosis.corpora.sources import csv_records
from diagnosis.errors import UserError
from diagnosis.files import written_aside

SCHEMA = pa.schema(
    [
        pa.field("note_id", pa.string(), nullable=False),
        pa.field("start", pa.int64(), nullable=False),
        pa.field("end", pa.int64(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("origin", pa.string()),
    ]
)
BATCH_ROWS = 50_000


def read_spans(path: Path, lengths: dict[str, int], kind: str = "kind") -> Iterator[dict]:
    """The spans of the notes in `lengths` (characters by note_id), end exclusive; others are of notes left out.

    `kind` is the name of the column that says what a span is.

    Raises UserError where a span does not lie within its note.
    """
    for record, row in csv_records(path, ["note_id", "start", "end", kind], ["origin"]):
        length = lengths.get(row["note_id"].strip())
        if length is None:
            continue
        start, end = row["start"].strip(), row["end"].strip()
        if not (start.isdecimal() and end.isdecimal() and int(start) < int(end) <= length and row[kind].strip()):
            raise UserError(f"{path}, record {record}: no span within its note: mend start, end or {kind}")
        yield {
            "note_id": row["note_id"].strip(),
            "start": int(start),
            "end": int(end),
            "kind": row[kind].strip(),
            "origin": row["origin"].strip() or None,
        }


def write_spans(path: Path, spans: Iterable[dict]) -> int:
    """Write the spans as Parquet, a batch at a time; returns how many."""
    count, batch = 0, []
    with written_aside(path) as partial, pq.ParquetWriter(partial, SCHEMA, compression="zstd") as writer:
        for span in spans:
            batch.append(span)
            count += 1
            if len(batch) == BATCH_ROWS:
                writer.write_batch(pa.RecordBatch.from_pylist(batch, schema=SCHEMA))
                batch = []
        writer.write_batch(pa.RecordBatch.from_pylist(batch, schema=SCHEMA))
    return count
