"""Describe the notes before training: classes, lengths, duplicates, groups of patients, who was dropped, drift by period."""

from collections import Counter
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field

from diagnosis.audit.measures import by_group, compared_labels, described, flow, missing_values, patient_notes
from diagnosis.audit.notes import null_counts, read_rows, read_shards
from diagnosis.audit.plots import plot_classes, plot_flow, plot_lengths
from diagnosis.audit.tokens import model_window, open_tokenizer
from diagnosis.disclosure import rounded
from diagnosis.errors import UserError, run
from diagnosis.files import read_json, write_json
from diagnosis.notes import open_notes, read_metadata
from diagnosis.params import Params

INGEST = Path("metrics/ingest.json")
NOTES = Path("data/notes.parquet")
DEIDENTIFIED = Path("data/deidentified.parquet")
CLEAN = Path("data/clean.parquet")
SPLIT = Path("data/split")
BASE = Path("models/base")
METRICS = Path("metrics/audit_data.json")
PLOTS = Path("plots/audit_data")
SHARDS = ("train", "validation", "calibration", "test")


class AuditDataParams(Params):
    groups: list[Literal["sex", "age_band", "race", "language", "insurance", "site"]] = Field(min_length=1)
    min_count: int = Field(ge=2)


class Window(Params):
    """What the audit needs of another stage's section."""

    model_config = ConfigDict(extra="ignore")

    max_tokens: int = Field(ge=8)


def main():
    params = AuditDataParams.load("audit_data")
    if twice := [name for name, count in Counter(params.groups).items() if count > 1]:
        raise UserError(f"params.yaml: audit_data.groups names {twice[0]} twice: name it once")
    longest = model_window(BASE)
    window = min(Window.load("finetune").max_tokens, longest or 2**31)
    windows = {"beyond_window": window, "beyond_model": longest}
    paths = {name: SPLIT / f"{name}.parquet" for name in SHARDS}
    columns, source = [*params.groups, "period"], read_json(INGEST)
    if "notes_read" not in source:
        raise UserError(f"{INGEST} does not say how many notes were read: run `dvc repro ingest`")
    left = {"read": source["notes_read"]}

    # ---- the notes of the four shards, as numbers and groups
    table = read_shards(paths, open_tokenizer(BASE), columns)
    if not len(table):
        raise UserError(f"{SPLIT}: no shard holds a note: see in metrics/split.json what was left out")
    classes = read_metadata(paths["train"]).get("classes", [])
    labels = compared_labels(table)
    shards = {
        name: described(part, classes, windows, params.min_count)
        for name, part in {**{name: table[table["shard"] == name] for name in SHARDS}, "all": table}.items()
    }

    # ---- groups, and periods by the same measures
    groups = {column: by_group(table, column, labels, window, params.min_count) for column in columns}
    hidden = {column for column, of in groups.items() if of.get("stated_share", 1) is None}

    # ---- who was dropped on the way; ids differ before and after deidentify, so notes are counted, not followed
    counts = {column: {} for column in params.groups}
    for stage, path in {"ingest": NOTES, "deidentify": DEIDENTIFIED, "clean": CLEAN, "split": None}.items():
        rows = table if path is None else read_rows(path, params.groups)
        left[stage] = len(rows)
        for column in params.groups:
            counts[column][stage] = by_value(rows, column)
        if stage == "ingest":
            sizes = {column: patient_notes(rows, column) for column in params.groups if rows[column].notna().any()}
    comparisons = sum(
        value is not None and len(own) >= params.min_count for of in sizes.values() for value, own in of.items()
    )
    flows = {column: flow(counts[column], of, comparisons, params.min_count) for column, of in sizes.items()}
    verdicts = Counter(of["verdict"] for column in flows.values() for of in column.values())

    PLOTS.mkdir(parents=True, exist_ok=True)
    plot_classes(PLOTS / "classes.png", shards["all"], params.min_count)
    plot_lengths(PLOTS / "lengths.png", table, window, longest)
    plot_flow(PLOTS / "flow.png", left, flows, params.min_count)
    write_json(METRICS, rounded({
        "source": {name: source.get(name) for name in ("notes_read", "skipped", "conflicts", "label_ceiling", "label_ceiling_written")},
        "shards": shards,
        "missing": {
            name: missing_values(null_counts(path), open_notes(path).metadata.num_rows, hidden, params.min_count)
            for name, path in {"ingest": NOTES, **paths}.items()
        },
        "groups": {column: groups[column] for column in params.groups},
        "periods": groups["period"],
        "flow": {"notes": left, "groups": flows, "verdicts": verdicts},
    }))  # fmt: skip


def by_value(table, column: str) -> Counter:
    """Notes by value of a column; those without one under None."""
    counts = Counter(dict(table[column].value_counts()))
    counts[None] = int(table[column].isna().sum())
    return counts


if __name__ == "__main__":
    run(main)
