"""Symptom2Disease: 1,200 first-person symptom descriptions, 24 diseases."""

from collections.abc import Iterator
from pathlib import Path

from diagnosis.corpora.corpus import Corpus, Tally
from diagnosis.corpora.sources import csv_records, file_or_in_folder


def open_symptom2disease(path: Path) -> Corpus:
    """`path` is the CSV, in any of its variants, or a folder with Symptom2Disease.csv. Its index column is not unique."""
    file = file_or_in_folder(path, "symptom2disease")
    return Corpus(
        rows=lambda tally: _rows(file, tally),
        # Without a licence nobody was given the right to pass anything on.
        data_use={
            "corpus": "symptom2disease",
            "licence": "unstated (published on Kaggle)",
            "public": True,
            "allowed_targets": ["local"],
        },
    )


def _rows(file: Path, tally: Tally) -> Iterator[dict]:
    spelling: dict[str, str] = {}  # a label keeps the form it first came in, whatever its case later
    for record, row in csv_records(file, ["label", "text"]):
        label = row["label"].strip()
        if not row["text"].strip():
            tally.skipped["no_text"] += 1
        elif not label:
            tally.skipped["no_label"] += 1
        else:
            yield {
                "note_id": f"symptom2disease-{record}",
                "source": "symptom2disease",
                "text": row["text"],
                "labels": [spelling.setdefault(label.lower(), label)],
            }
