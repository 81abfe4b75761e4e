"""Any table of notes with a column mapping: how users bring their own."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, StrictBool

from diagnosis.corpora import demographics
from diagnosis.corpora.corpus import ANNOTATIONS, Corpus, Tally
from diagnosis.corpora.sources import (
    Unique,
    as_text,
    csv_records,
    json_lines_records,
    json_records,
    parquet_records,
)
from diagnosis.errors import UserError
from diagnosis.files import require
from diagnosis.params import Params

SPLITS = ("train", "validation", "calibration", "test")
MISSING = frozenset(["", "nan", "NaN", "null", "NULL", "None", "<NA>"])  # how pandas writes no value into text
IDS = ("patient_id", "encounter_id")
GROUPS = ("note_type", "service", "site", "period", "language", "insurance")  # as written; their names stand in metrics
LONGEST_GROUP = 60  # characters: longer ones are notes, not names of groups
WHOLE_DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}")


def _known(encoding: str) -> str:
    try:
        "a".encode(encoding)  # unlike codecs.lookup, refuses base64 and the like
        return encoding
    except LookupError:
        raise ValueError("no encoding of that name; utf-8, latin-1 and cp1252 are the usual ones") from None


Column = Annotated[str, Field(min_length=1)]
Columns = Annotated[list[Column], Field(min_length=1), BeforeValidator(lambda c: [c] if isinstance(c, str) else c)]


class TableParams(Params):
    """Column names by what they hold; null where the table has none. Text and labels may lie in several columns."""

    text: Columns
    text_pair: Column | None
    labels: Columns
    label_separator: Column | None
    note_id: Column | None
    patient_id: Column | None
    encounter_id: Column | None
    note_type: Column | None
    service: Column | None
    site: Column | None
    period: Column | None
    split: Column | None
    sex: Column | None
    age: Column | None
    race: Column | None
    language: Column | None
    insurance: Column | None
    encoding: Annotated[str, AfterValidator(_known)]
    licence: str
    public: StrictBool

    def columns(self) -> dict[str, str | list[str]]:
        """Column name by field, of the fields that are mapped; of text and labels a list."""
        settings = ("label_separator", "encoding", "licence", "public")
        return {field: name for field, name in self if name is not None and field not in settings}


def open_table(path: Path, params: TableParams) -> Corpus:
    """CSV, TSV, JSON Lines, JSON (an array of objects) or Parquet, by extension, each also with .gz; or a folder with one such
    file and annotations.csv.

    A note has several labels where `label_separator` or several columns of them are given, or the column holds lists.
    Its text columns are joined by line ends, those without text left out.
    """
    for field, names in (("text", params.text), ("text_pair", [params.text_pair])):
        if both := [name for name in names if name in params.labels]:
            raise UserError(
                f"params.yaml: ingest.table.{field} and ingest.table.labels are both {both[0]!r}: a note that is its own "
                "label teaches nothing, name two columns"
            )
    require(path, "check ingest.path")
    annotations = path / ANNOTATIONS
    if path.is_dir():
        path = _only_table(path)
    # The first label that is there decides: no need to read the whole file for it.
    stated = (value for _, row in _records(path, params) for value in row["labels"] if value is not None)
    multi_label = params.label_separator is not None or len(params.labels) > 1 or isinstance(next(stated, None), list)
    return Corpus(
        rows=lambda tally: _rows(path, params, multi_label, tally),
        data_use={"corpus": "table", "licence": params.licence, "public": params.public},
        multi_label=multi_label,
        text_pair=params.text_pair is not None,
        official_split=params.split is not None,
        annotations=(annotations, "kind") if annotations.exists() else None,
    )


def _only_table(folder: Path) -> Path:
    """The one file of a folder beside its annotations."""
    files = sorted(each for each in folder.iterdir() if each.is_file() and each.name not in (ANNOTATIONS, ".gitignore"))
    if len(files) != 1:
        raise UserError(
            f"{folder} is a folder with {len(files)} files: let ingest.path be your table, or a folder with it and {ANNOTATIONS} alone"
        )
    return files[0]


def _records(path: Path, params: TableParams) -> Iterator[tuple[int, dict]]:
    """Yield (number from 1, {field: value}) of the mapped columns, whatever the file's type."""
    columns = params.columns()
    names = {name for mapped in columns.values() for name in ([mapped] if isinstance(mapped, str) else mapped)}
    kind = path.name.lower().removesuffix(".gz").rpartition(".")[2]
    if kind in ("csv", "tsv"):
        records = csv_records(path, names, delimiter="\t" if kind == "tsv" else ",", encoding=params.encoding)
    elif kind in ("jsonl", "ndjson"):
        records = json_lines_records(path, params.encoding)
    elif kind == "json":
        records = json_records(path, params.encoding)
    elif kind == "parquet":
        records = parquet_records(path, names)
    else:
        raise UserError(
            f"{path}: its type is not known: name it .csv, .tsv, .jsonl, .json or .parquet, or that with .gz"
        )
    record, absent = 0, names  # JSON objects may leave out what is null, but not in every record
    for record, row in records:
        absent = absent - row.keys() if absent else absent
        yield (
            record,
            {
                field: row.get(name) if isinstance(name, str) else [row.get(each) for each in name]
                for field, name in columns.items()
            },
        )
    if record and absent and kind in ("jsonl", "ndjson", "json"):
        raise UserError(f"{path} has no field '{min(absent)}' in any record: check the mapping in params.yaml")


def _rows(path: Path, params: TableParams, multi_label: bool, tally: Tally) -> Iterator[dict]:
    ids = Unique(path, "note_id")
    for record, values in _records(path, params):
        labels = _labels(path, record, values.pop("labels"), params.label_separator, multi_label)
        parts = [as_text(path, record, part) or "" for part in values["text"]]
        values["text"] = "\n".join(part for part in parts if part.strip())
        row = {field: as_text(path, record, value) for field, value in values.items()}
        if (row.get("patient_id") or "").strip() in MISSING:
            row["patient_id"] = None  # or all of them would be one patient
        if not all((row[field] or "").strip() for field in ("text", "text_pair") if field in row):
            tally.skipped["no_text"] += 1
        elif not labels and not multi_label:
            tally.skipped["no_label"] += 1
        else:
            groups = {
                "sex": demographics.sex(row.get("sex"), tally.groups),
                "age_band": demographics.age_band_of_text(row.get("age"), tally.groups),
                "race": demographics.race(row["race"], tally.groups) if "race" in row else None,
            }
            note_id = ids.check((row["note_id"] or "").strip(), record) if "note_id" in row else f"note-{record}"
            split = _split(path, record, row["split"]) if "split" in row else None
            yield {
                "note_id": note_id,
                "source": "table",
                "split": split,
                "text": row["text"],
                "text_pair": row.get("text_pair"),
                "labels": labels,
                **{field: demographics.stated(row.get(field)) for field in IDS},
                **{field: _group(path, record, field, row.get(field)) for field in GROUPS},
                **groups,
            }


def _group(path: Path, record: int, field: str, value: str | None) -> str | None:
    """The name of a group as written; raises UserError for what identifies and would stand in the metrics: a date, a text."""
    name = demographics.stated(value)
    if name and (len(name) > LONGEST_GROUP or WHOLE_DATE.search(name)):
        raise UserError(
            f"{path}, record {record}: {field} is a whole date or longer than {LONGEST_GROUP} characters, and names of groups stand in "
            f"the metrics: map ingest.table.{field} to a coarser column (a year, a ward), or null"
        )
    return name


def _labels(path: Path, record: int, cells: list, separator: str | None, multi_label: bool) -> list[str]:
    """The labels in a record's cells, sorted and unique; a cell that is `MISSING` has none."""
    parts = []
    for value in cells:
        if multi_label and isinstance(value, list):
            parts += [as_text(path, record, part) or "" for part in value]
        else:
            text = as_text(path, record, value) or ""
            parts += text.split(separator) if separator else [text]
    return sorted({part.strip() for part in parts} - MISSING)


def _split(path: Path, record: int, value: str | None) -> str:
    name = (value or "").strip().lower()
    if name not in SPLITS:
        raise UserError(
            f"{path}, record {record}: its split is none of {', '.join(SPLITS)}: mend it or map no split column"
        )
    return name
