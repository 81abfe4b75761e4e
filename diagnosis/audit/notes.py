"""What the audit knows of each note: numbers and groups, no text."""

from array import array
from pathlib import Path

import numpy as np
import pandas as pd
from tokenizers import Tokenizer
from tqdm import tqdm

from diagnosis.audit.tokens import count_tokens
from diagnosis.corpora.near_duplicates import fingerprint, words
from diagnosis.notes import IMPUTED, SCHEMA, open_notes, read_frame, read_notes, read_stated

TEXTS = ("text", "text_pair")
NEVER_NULL = [field.name for field in SCHEMA if not field.nullable]


def read_rows(path: Path, columns: list[str]) -> pd.DataFrame:
    """A row a note: `columns`, and `patient`, which for a note without one is the note itself."""
    table = read_frame(path, sorted({"note_id", "patient_id", *columns}))
    patient = table["patient_id"].fillna("note " + table["note_id"])
    columns = table[columns].astype("category")
    return columns.assign(patient=pd.factorize(patient)[0])


def read_shards(paths: dict[str, Path], tokenizer: Tokenizer, columns: list[str]) -> pd.DataFrame:
    """A row a note of all shards, in their order: `shard`, `patient`, `cluster` and `text` (numbers that equal ones share),
    `labels` (tuples), `words`, `tokens`, and `columns`, without imputed values. The texts pass in batches and are not kept."""
    tables, fingerprints, known = [], [], {}
    for shard, path in paths.items():
        table = read_stated(path, ["note_id", "patient_id", "duplicate_cluster", "labels", *columns])
        lengths, tokens = array("i"), array("i")
        total = open_notes(path).metadata.num_rows
        with tqdm(total=total, unit=" notes", desc=f"audit_data: {shard}") as bar:
            for batch in read_notes(path, list(TEXTS)):
                texts, pairs = ([note[column] for note in batch] for column in TEXTS)
                pairs = None if None in pairs else pairs
                both = texts if pairs is None else [f"{a} {b}" for a, b in zip(texts, pairs, strict=True)]
                lengths.extend(len(text.split()) for text in both)
                tokens.extend(count_tokens(tokenizer, texts, pairs))
                fingerprints += [fingerprint(words(note["text"], note["text_pair"])) for note in batch]
                bar.update(len(batch))
        own = pd.DataFrame({
            "shard": shard,
            "patient": table["patient_id"].fillna("note " + table["note_id"]),
            "cluster": table["duplicate_cluster"].fillna("note " + table["note_id"]),
            "labels": [known.setdefault(tuple(row), tuple(row)) for row in table["labels"]],
            "words": np.array(lengths, dtype=np.int32),
            "tokens": np.array(tokens, dtype=np.int32),
        })  # fmt: skip
        tables.append(pd.concat([own, table[columns]], axis=1))
    whole = pd.concat(tables, ignore_index=True)
    for column in ("patient", "cluster"):
        whole[column] = pd.factorize(whole[column])[0]
    whole["text"] = pd.factorize(np.array(fingerprints, dtype=object))[0]
    return whole.astype(dict.fromkeys(["shard", *columns], "category"))


def null_counts(path: Path) -> dict[str, int]:
    """How many notes have no value or an imputed one, by each column that may be without; read a batch at a time."""
    table = open_notes(path)
    columns = [name for name in SCHEMA.names if name not in NEVER_NULL]
    more = [name for name in (IMPUTED.name,) if name in table.schema_arrow.names]
    counts = dict.fromkeys(columns, 0)
    for batch in table.iter_batches(columns=columns + more):
        for name in columns:
            counts[name] += batch.column(name).null_count
        for name in (imputed for column in more for note in batch.column(column).to_pylist() for imputed in note):
            counts[name] += 1
    return counts
