"""The prediction table: one row a note, shard and model; what predict and baseline write and every score reads."""

import json
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
        pa.field("shard", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("labels", pa.list_(pa.string()), nullable=False),
        pa.field("logits", pa.list_(pa.float32())),
        pa.field("probabilities", pa.list_(pa.float32()), nullable=False),
    ]
)


@contextmanager
def prediction_writer(path: Path, *, classes: list[str], task: str, data_use: dict):
    """Yield a function that writes a list of row dicts; the file appears only when the block ends well."""
    metadata = {
        "classes": json.dumps(classes),
        "data_use": json.dumps(data_use, sort_keys=True),
        "task": json.dumps(task),
    }
    schema = SCHEMA.with_metadata(metadata)
    with written_aside(path) as partial, pq.ParquetWriter(partial, schema, compression="zstd") as parquet:
        yield lambda rows: parquet.write_batch(pa.RecordBatch.from_pylist(rows, schema=schema))


def read_predictions(path: Path):
    """Return (DataFrame with SCHEMA's columns, metadata dict with `classes`, `task`, `data_use`).

    Raises UserError where the file is missing or no prediction table.
    """
    require(path)
    try:
        table = pq.read_table(path)
        metadata = {key: json.loads(table.schema.metadata[key.encode()]) for key in ("classes", "task", "data_use")}
        return table.select(SCHEMA.names).to_pandas(), metadata
    except (pa.ArrowException, OSError, KeyError, TypeError):
        raise UserError(f"{path} is no prediction table: remove it and run `dvc repro`") from None
