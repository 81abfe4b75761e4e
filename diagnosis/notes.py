"""The note table: one Parquet row a note, the same columns from ingest to evaluation, read and written in batches."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from diagnosis.errors import UserError
from diagnosis.files import require, written_aside

SCHEMA = pa.schema(
    [
        pa.field("note_id", pa.string(), nullable=False),
        pa.field("patient_id", pa.string()),
        pa.field("encounter_id", pa.string()),
        pa.field("source", pa.string(), nullable=False),
        pa.field("note_type", pa.string()),
        pa.field("service", pa.string()),
        pa.field("site", pa.string()),
        pa.field("period", pa.string()),
        pa.field("split", pa.string()),
        pa.field("duplicate_cluster", pa.string()),
        pa.field("text", pa.string(), nullable=False),
        pa.field("text_pair", pa.string()),
        pa.field("labels", pa.list_(pa.string()), nullable=False),
        pa.field("sex", pa.string()),
        pa.field("age_band", pa.string()),
        pa.field("race", pa.string()),
        pa.field("language", pa.string()),
        pa.field("insurance", pa.string()),
    ]
)
IMPUTED = pa.field("imputed", pa.list_(pa.string()))
"""In split shards where `split.missing` fills values in: the columns of a note whose value is not the source's."""
BATCH_ROWS = 2_000  # a batch of long notes (10 kB each) is 20 MB: memory stays bounded whatever the file's size


class NoteWriter:
    """Collects rows and writes them in batches of fixed size, so that the bytes depend on the rows alone."""

    def __init__(self, writer: pq.ParquetWriter, schema: pa.Schema):
        self._writer, self._schema, self._rows = writer, schema, []

    def write(self, rows: Iterable[dict]) -> None:
        """Add rows (dicts with the schema's columns; absent ones become null)."""
        for row in rows:
            self._rows.append(row)
            if len(self._rows) == BATCH_ROWS:
                self.flush()

    def flush(self) -> None:
        if self._rows:
            self._writer.write_batch(pa.RecordBatch.from_pylist(self._rows, schema=self._schema))
            self._rows = []


@contextmanager
def note_writer(path: Path, metadata: dict, extra: Iterable[pa.Field] = ()):
    """Yield a NoteWriter for `path`; the file appears only when the block ends well.

    `metadata` (JSON values by name) goes into the schema metadata: `data_use`, `task`, `classes` and the like.
    `extra` are columns beyond the note table's own.
    """
    fields = [*SCHEMA, *extra]
    schema = pa.schema(fields, metadata={name: json.dumps(metadata[name], sort_keys=True) for name in sorted(metadata)})
    with written_aside(path) as partial, pq.ParquetWriter(partial, schema, compression="zstd") as parquet:
        writer = NoteWriter(parquet, schema)
        yield writer
        writer.flush()


def open_notes(path: Path) -> pq.ParquetFile:
    """Open a note table; every reader comes through here.

    Raises UserError where the file is missing or no Parquet, lacks a column of the table, has one of another type, or has no
    value where every note must have one.
    """
    require(path)
    try:
        table = pq.ParquetFile(path)
    except (pa.ArrowException, OSError):
        raise UserError(f"{path} is not a readable Parquet file: remove it and run `dvc repro`") from None
    missing = [name for name in SCHEMA.names if name not in table.schema_arrow.names]
    if missing:
        raise UserError(f"{path} lacks the columns {', '.join(missing)} of a note table: run `dvc repro`")
    for field in SCHEMA:
        found = table.schema_arrow.field(field.name)
        if found.type != field.type:
            raise UserError(f"{path}: column {field.name} is {found.type}, not {field.type}: run `dvc repro`")
        # What note_writer wrote cannot hold nulls and says so: only a table rewritten by other means is searched.
        if found.nullable and not field.nullable and has_nulls(table, field.name):
            raise UserError(f"{path}: a note has no {field.name}: run `dvc repro`")
    return table


def has_nulls(table: pq.ParquetFile, column: str) -> bool:
    return any(batch.column(0).null_count for batch in table.iter_batches(batch_size=BATCH_ROWS, columns=[column]))


def read_metadata(path: Path) -> dict:
    """The table's metadata as Python values."""
    raw = open_notes(path).schema_arrow.metadata or {}
    return {
        name.decode(): json.loads(value) for name, value in raw.items() if not name.startswith((b"ARROW", b"pandas"))
    }


def read_notes(path: Path, columns: list[str] | None = None) -> Iterator[list[dict]]:
    """Yield the rows as lists of dicts, a batch at a time; `columns` keeps only those."""
    for batch in open_notes(path).iter_batches(batch_size=BATCH_ROWS, columns=columns):
        yield batch.to_pylist()


def read_frame(path: Path, columns: list[str] | None = None):
    """The whole table (or the named columns) as a pandas DataFrame: for columns without text, or train-sized data."""
    return open_notes(path).read(columns=columns).to_pandas()


def read_stated(path: Path, columns: list[str]):
    """The named columns as `read_frame` has them, None where the value is imputed: a guess makes nobody a member of a group."""
    more = [IMPUTED.name] if IMPUTED.name in open_notes(path).schema_arrow.names else []
    table = read_frame(path, [*columns, *more])
    if more:
        guessed = table.pop(IMPUTED.name)
        for column in sorted({name for names in guessed for name in names} & set(columns)):
            table.loc[[column in names for names in guessed], column] = None
    return table
