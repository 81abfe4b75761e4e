"""MTSamples: transcriptions by medical specialty, https://mtsamples.com, as the widely copied CSV."""

from collections.abc import Iterator
from pathlib import Path

from diagnosis.corpora.corpus import Corpus, Tally
from diagnosis.corpora.sources import csv_records, file_or_in_folder

# Columns that are never read: `keywords` starts with the specialty's name, `description` and `sample_name` sum up the answer.
COLUMNS = ["transcription", "medical_specialty"]

DOCUMENT_TYPES = frozenset({
    "Consult - History and Phy.", "Discharge Summary", "Emergency Room Reports", "General Medicine", "Letters",
    "Office Notes", "Radiology", "SOAP / Chart / Progress Notes", "Surgery",
})  # fmt: skip
"""The classes that say what sort of document a text is; the same text usually stands under a specialty as well."""


def open_mtsamples(path: Path) -> Corpus:
    """`path` is the CSV (or .csv.gz), as published or trimmed, or a folder with mtsamples.csv(.gz)."""
    file = file_or_in_folder(path, "mtsamples")
    return Corpus(
        rows=lambda tally: _rows(file, tally),
        data_use={"corpus": "mtsamples", "licence": "CC0-1.0", "public": True},
        document_types=DOCUMENT_TYPES,
    )


def _rows(file: Path, tally: Tally) -> Iterator[dict]:
    for record, row in csv_records(file, COLUMNS):
        label = row["medical_specialty"].strip()  # the published file has " Surgery"
        if not row["transcription"].strip():
            tally.skipped["no_text"] += 1
        elif not label:
            tally.skipped["no_label"] += 1
        else:
            yield {
                "note_id": f"mtsamples-{record}",
                "source": "mtsamples",
                "text": row["transcription"],
                "labels": [label],
            }
