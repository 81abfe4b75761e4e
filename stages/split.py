"""Deal the notes to train, validation, calibration and test: no patient and no near-duplicate in two of them."""

from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from pydantic import Field, field_validator
from tqdm import tqdm

from diagnosis.errors import UserError, run
from diagnosis.files import write_json
from diagnosis.missing import MissingValues, check_policies
from diagnosis.notes import note_writer, open_notes, read_metadata, read_notes
from diagnosis.params import Params
from diagnosis.splits import (
    SHARDS,
    by_period,
    check_filled,
    check_notes,
    check_official,
    connected,
    crossings,
    official,
    restricted,
    stratified,
    vocabulary,
)  # fmt: skip

CLEAN = Path("data/clean.parquet")
SPLIT = Path("data/split")
METRICS = Path("metrics/split.json")


class SplitParams(Params):
    seed: int
    official: bool
    train_share: float = Field(gt=0, le=1)
    validation_share: float = Field(gt=0, lt=1)
    calibration_share: float = Field(ge=0, lt=1)
    test_share: float = Field(ge=0, lt=1)
    top_k: int | None = Field(ge=2)
    min_notes_per_class: int = Field(ge=1)
    test_periods: list[str]
    missing: dict

    @field_validator("missing")
    @classmethod
    def known(cls, policies: dict) -> dict:
        return check_policies(policies)

    def shares(self) -> dict[str, float]:
        shares = {name: getattr(self, f"{name}_share") for name in SHARDS}
        if abs(sum(shares.values()) - 1) > 1e-6:
            raise UserError(f"params.yaml: split: the four shares sum to {sum(shares.values()):g}: make them sum to 1")
        if self.official and self.test_periods:
            raise UserError(
                "params.yaml: split.official and split.test_periods both say which notes are test: keep one"
            )
        if shares["test"] == 0 and not (self.official or self.test_periods):
            raise UserError("params.yaml: split.test_share is 0: only an official test set can stand in for it")
        return shares


def main():
    params = SplitParams.load("split")
    shares, metadata = params.shares(), read_metadata(CLEAN)
    if metadata.get("task") == "unlabelled":
        raise UserError(
            f"{CLEAN} is text without labels: it serves domain-adaptive pre-training, not classification; to classify, set "
            "ingest.corpus to one with labels (docs/data.md; PubMed has them where MeSH lies beside it)"
        )
    columns = ["note_id", "patient_id", "duplicate_cluster", "labels", "split", "period"]
    ids = open_notes(CLEAN).read(columns).to_pydict()
    note_ids, patients, clusters, labels = ids["note_id"], ids["patient_id"], ids["duplicate_cluster"], ids["labels"]
    single = metadata.get("task") == "single_label"
    check_notes(note_ids, labels, single)

    # ---- every note's shard
    crossing, by_time = {}, {}
    if params.official:
        check_official(ids["split"])
        shard, crossing = official(ids["split"], patients, clusters, labels, note_ids, shares, params.seed)
    elif params.test_periods:
        given = by_period(ids["period"], params.test_periods, metadata.get("corpus"))
        shard, crossing_time = official(given, patients, clusters, labels, note_ids, shares, params.seed)
        by_time = {"crosses_test_periods": crossing_time, "no_period": given.count(None)}
    else:
        shard = stratified(connected(patients, clusters), labels, note_ids, shares, params.seed)

    # ---- notes leave that lack a value which they must state; a source's own test notes are never touched
    untouched = ("test",) if params.official else ()
    missing = MissingValues(CLEAN, params.missing)
    shard, dropped = missing.drop(shard, untouched)

    # ---- the classes, by the train shard alone; a source's own test notes keep whatever label they have
    train_labels = [row for row, name in zip(labels, shard, strict=True) if name == "train"]
    classes = vocabulary(train_labels, params.min_notes_per_class, params.top_k)
    if len(classes) < 2:
        raise UserError(
            f"{CLEAN}: of the classes, {len(classes)} have at least {params.min_notes_per_class} notes in the train shard, and "
            "two are needed: lower split.min_notes_per_class or bring notes of more classes"
        )
    shard, labels, rare, removed = restricted(shard, labels, classes, single, untouched)
    check_filled(shard, shares)
    missing.fit(shard)

    # ---- the four files, in the order of the notes, and what is in them
    with ExitStack() as stack:
        writers = {
            name: stack.enter_context(
                note_writer(SPLIT / f"{name}.parquet", metadata | {"classes": classes}, missing.fields)
            )
            for name in SHARDS
        }
        row = 0
        for batch in tqdm(read_notes(CLEAN), desc="split", unit=" batches"):
            for note in batch:
                if shard[row] is not None:
                    writers[shard[row]].write([note | missing.filled(row) | {"labels": labels[row]}])
                row += 1
    write_json(METRICS, {
        **measures(),
        "classes": len(classes),
        "left_out": {"rare_class": rare, "crosses_official_split": crossing, **by_time, **dropped},
        "labels_removed": removed,
        **missing.measures(),
    })  # fmt: skip


def measures() -> dict:
    """What the written files hold."""
    shards, pairs = {}, {}
    for name in SHARDS:
        ids = open_notes(SPLIT / f"{name}.parquet").read(["patient_id", "duplicate_cluster", "labels"]).to_pydict()
        patients, clusters, labels = ids["patient_id"], ids["duplicate_cluster"], ids["labels"]
        pairs[name] = list(zip(patients, clusters, strict=True))
        shards[name] = {
            "notes": len(labels),
            "notes_without_patient": patients.count(None),
            "patients": len(set(patients) - {None}),
            "clusters": len(set(clusters) - {None}),
            "classes": dict(Counter(label for row in labels for label in row)),
        }
    return {"shards": shards, "crossings": crossings(pairs)}


if __name__ == "__main__":
    run(main)
