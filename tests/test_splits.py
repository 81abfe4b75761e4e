"""Shards by hand and over random corpora: whole groups, shares, classes, official splits, rare classes, bad input."""

import random
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diagnosis.files import read_json, sha256
from diagnosis.notes import note_writer, read_metadata
from diagnosis.splits import SHARDS, connected, crossings, official, restricted, stratified, vocabulary

SHARES = {"train": 0.6, "validation": 0.13, "calibration": 0.09, "test": 0.18}
METADATA = {"task": "single_label", "text_pair": False, "official_split": False, "corpus": "table",
            "data_use": {"corpus": "table", "licence": "CC0", "public": True}}  # fmt: skip


def corpus(seed: int, notes: int = 1200, multi: bool = False) -> list[dict]:
    """Notes of patients and clusters drawn at random, ten classes of very unequal size."""
    draw = random.Random(seed)
    classes, weights = [f"c{n}" for n in range(10)], [2**-n for n in range(10)]
    rows = []
    for number in range(notes):
        labels = (
            sorted(set(draw.choices(classes, weights, k=draw.randint(0, 3))))
            if multi
            else draw.choices(classes, weights)
        )
        rows.append({
            "note_id": f"n{number:05d}",
            "patient_id": f"p{draw.randrange(notes * 2 // 3)}" if draw.random() < 0.9 else None,
            "duplicate_cluster": f"d{draw.randrange(notes // 10)}" if draw.random() < 0.1 else None,
            "source": "table", "text": f"note {number}", "labels": labels,
        })  # fmt: skip
    return rows


def deal(rows: list[dict], seed: int = 7, shares: dict = SHARES) -> list[str]:
    groups = connected([r["patient_id"] for r in rows], [r["duplicate_cluster"] for r in rows])
    return stratified(groups, [r["labels"] for r in rows], [r["note_id"] for r in rows], shares, seed)


def write(rows: list[dict], **metadata) -> None:
    with note_writer(Path("data/clean.parquet"), METADATA | metadata) as writer:
        writer.write(rows)


def shards() -> dict[str, list[dict]]:
    return {name: pq.read_table(f"data/split/{name}.parquet").to_pylist() for name in SHARDS}


def nothing_left(folder: Path) -> bool:
    return not [p for p in folder.rglob("*") if p.is_file() and p.name not in ("params.yaml", "clean.parquet")]


# ---------------------------------------------------------------- groups


def test_groups_join_by_patient_and_by_cluster_and_through_others():
    patients = ["a", "b", "b", None, None, "c"]
    clusters = [None, "x", None, "x", None, None]
    assert connected(patients, clusters) == [0, 1, 1, 1, 4, 5]  # 3 joins 1 by cluster x, 2 joins 1 by patient b


def test_null_patients_and_clusters_join_nothing():
    assert connected([None] * 4, [None] * 4) == [0, 1, 2, 3]


def test_a_chain_of_a_hundred_thousand_notes_is_one_group():
    n = 100_000
    patients = [f"p{i // 2}" for i in range(n)]
    clusters = [f"d{(i + 1) // 2}" for i in range(n)]
    assert set(connected(patients, clusters)) == {0}


# ---------------------------------------------------------------- stratification


def test_by_hand_ten_notes_of_two_classes():
    labels = [["a"]] * 6 + [["b"]] * 4
    ids = [f"n{i}" for i in range(10)]
    dealt = stratified(
        list(range(10)), labels, ids, {"train": 0.5, "validation": 0.25, "calibration": 0.0, "test": 0.25}, 1
    )
    # b, the rarer, is dealt first: 2, 1, 1 exactly; a wants 3, 1.5, 1.5: 3 and then one each, the last to either.
    assert Counter(s for s, row in zip(dealt, labels, strict=True) if row == ["b"]) == {
        "train": 2,
        "validation": 1,
        "test": 1,
    }
    a = Counter(s for s, row in zip(dealt, labels, strict=True) if row == ["a"])
    assert a["train"] == 3 and {a["validation"], a["test"]} == {1, 2} and a["calibration"] == 0


@pytest.mark.parametrize("multi", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_whole_groups_and_shares_over_random_corpora(seed, multi):
    rows = corpus(seed, multi=multi)
    dealt = deal(rows, seed)
    pairs = {
        name: [(r["patient_id"], r["duplicate_cluster"]) for r, s in zip(rows, dealt, strict=True) if s == name]
        for name in SHARDS
    }
    assert crossings(pairs) == {"patients": 0, "clusters": 0}
    counts = Counter(dealt)
    for name, share in SHARES.items():
        assert counts[name] / len(rows) == pytest.approx(share, abs=0.03)
    by_class = Counter((label, s) for r, s in zip(rows, dealt, strict=True) for label in r["labels"])
    totals = Counter(label for r in rows for label in r["labels"])
    for label, total in totals.items():
        if total >= 50:
            for name, share in SHARES.items():
                assert by_class[label, name] / total == pytest.approx(share, abs=0.06), (label, name)


@pytest.mark.parametrize("multi", [False, True])
def test_rows_in_another_order_get_the_same_shards(multi):
    rows = corpus(3, multi=multi)
    before = dict(zip([r["note_id"] for r in rows], deal(rows), strict=True))
    random.Random(0).shuffle(rows)
    assert dict(zip([r["note_id"] for r in rows], deal(rows), strict=True)) == before


def test_another_seed_gives_other_shards():
    rows = corpus(1)
    assert deal(rows, 1) != deal(rows, 2)


def test_a_class_with_fewer_groups_than_shards_goes_to_train_first():
    labels = [["common"]] * 40 + [["rare"]]
    dealt = stratified(list(range(41)), labels, [f"n{i}" for i in range(41)], SHARES, 7)
    assert dealt[40] == "train"


def test_one_patient_with_most_notes_does_not_crash():
    rows = [{"note_id": f"n{i}", "patient_id": "p" if i < 90 else f"q{i}", "duplicate_cluster": None, "labels": ["ab"[i % 2]]} for i in range(100)]  # fmt: skip
    dealt = deal(rows)
    assert len(set(dealt[:90])) == 1 and len(dealt) == 100


# ---------------------------------------------------------------- official splits


def test_official_by_hand():
    given = ["train", "train", "train", "test", "validation", "validation", "train", "test"]
    patients = ["a", "b", None, "b", "c", "e", "c", None]
    clusters = [None, None, "x", "x", None, "x", None, None]
    #            stays; patient b in test; cluster x in test; -; stays; cluster x in test; patient c in validation; -
    shard, left = official(given, patients, clusters, [["a"]] * 8, list("12345678"), {**SHARES, "calibration": 0.0}, 7)
    assert shard == ["train", None, None, "test", "validation", None, None, "test"]
    assert left == {"train": 3, "validation": 1, "calibration": 0}


def test_official_train_is_dealt_over_the_shards_that_the_source_lacks():
    rows = corpus(2)
    given = ["test" if i % 4 == 0 else "train" for i in range(len(rows))]
    columns = [[r[key] for r in rows] for key in ("patient_id", "duplicate_cluster", "labels", "note_id")]
    shard, _ = official(given, *columns, SHARES, 7)
    assert all(s == "test" for s, g in zip(shard, given, strict=True) if g == "test")
    counts = Counter(s for s, g in zip(shard, given, strict=True) if g == "train" and s)
    assert counts["test"] == 0
    for name in SHARDS[:3]:
        assert counts[name] / counts.total() == pytest.approx(SHARES[name] / 0.82, abs=0.03)
    pairs = {
        name: [(r["patient_id"], r["duplicate_cluster"]) for r, s in zip(rows, shard, strict=True) if s == name]
        for name in SHARDS
    }
    assert crossings(pairs) == {"patients": 0, "clusters": 0}


def test_crossings_are_counted():
    pairs = {"train": [("a", "x"), (None, None)], "validation": [("b", None)], "calibration": [], "test": [("a", "y"), ("b", "x"), (None, None)]}  # fmt: skip
    assert crossings(pairs) == {"patients": 2, "clusters": 1}


# ---------------------------------------------------------------- classes


def test_vocabulary_by_frequency_and_top_k():
    train = [["b"]] * 5 + [["a"]] * 5 + [["c"]] * 3 + [["d"]]
    assert vocabulary(train, 2, None) == ["a", "b", "c"]
    assert vocabulary(train, 1, 1) == ["a"]  # a tie goes by name
    assert vocabulary([["a", "a"], ["b"]], 2, None) == []  # notes are counted, not mentions


def test_rare_classes_by_hand():
    shard, labels = ["train", "test", "test", None], [["a"], ["z"], ["a"], ["z"]]
    assert restricted(shard, labels, ["a"], True, ())[0] == ["train", None, "test", None]
    assert restricted(shard, labels, ["a"], True, ())[2] == {"train": 0, "validation": 0, "calibration": 0, "test": 1}
    assert restricted(shard, labels, ["a"], True, ("test",))[0] == shard
    _, kept, rare, removed = restricted(["train", "test"], [["a", "z"], ["z"]], ["a"], False, ())
    assert kept == [["a"], []] and removed == 2 and not any(rare.values())


# ---------------------------------------------------------------- the stage


def test_stage_writes_four_shards_in_the_order_of_the_notes(stage):
    rows = corpus(4)
    write(rows)
    assert stage("split") == (0, "")
    written, metrics = shards(), read_json(Path("metrics/split.json"))
    kept = sorted(r["note_id"] for notes in written.values() for r in notes)
    left = metrics["left_out"]["rare_class"]
    assert len(kept) == len(set(kept)) == len(rows) - sum(left.values()) and sum(left.values()) > 0
    for name, notes in written.items():
        assert [r["note_id"] for r in notes] == sorted(r["note_id"] for r in notes)
        figures = metrics["shards"][name]
        assert figures["notes"] == len(notes)
        assert figures["patients"] == len({r["patient_id"] for r in notes} - {None})
        assert figures["clusters"] == len({r["duplicate_cluster"] for r in notes} - {None})
        assert figures["classes"] == Counter(label for r in notes for label in r["labels"])
        metadata = read_metadata(Path(f"data/split/{name}.parquet"))
        assert metadata == METADATA | {"classes": sorted(metrics["shards"]["train"]["classes"])}
    assert metrics["crossings"] == {"patients": 0, "clusters": 0}
    assert min(metrics["shards"]["train"]["classes"].values()) >= 10
    assert {r["text"] for notes in written.values() for r in notes} <= {r["text"] for r in rows}


def test_stage_twice_gives_the_same_bytes(stage):
    write(corpus(5))
    stage("split")
    before = [sha256(Path("data/split")), sha256(Path("metrics/split.json"))]
    stage("split")
    assert [sha256(Path("data/split")), sha256(Path("metrics/split.json"))] == before


def test_stage_multi_label_keeps_every_note(stage):
    rows = corpus(6, multi=True)
    write(rows, task="multi_label")
    assert stage("split", {"top_k": 4}) == (0, "")
    written, metrics = shards(), read_json(Path("metrics/split.json"))
    assert sum(map(len, written.values())) == len(rows) and metrics["classes"] == 4
    labels = {label for notes in written.values() for r in notes for label in r["labels"]}
    assert len(labels) == 4
    before = sum(len(r["labels"]) for r in rows)
    assert metrics["labels_removed"] == before - sum(len(r["labels"]) for notes in written.values() for r in notes) > 0


def test_stage_official_test_keeps_its_rare_labels(stage):
    rows = corpus(7, 400)
    for number, row in enumerate(rows):
        row["split"] = "test" if number % 5 == 0 else "train"
    rows[0]["labels"] = ["seen nowhere else"]
    write(rows)
    assert stage("split", {"official": True, "train_share": 0.85, "validation_share": 0.1, "calibration_share": 0.05, "test_share": 0.0}) == (0, "")  # fmt: skip
    written, metrics = shards(), read_json(Path("metrics/split.json"))
    assert [r["note_id"] for r in written["test"]] == [r["note_id"] for r in rows[::5]]
    assert written["test"][0]["labels"] == ["seen nowhere else"]
    assert metrics["left_out"]["rare_class"]["test"] == 0
    assert metrics["left_out"]["crosses_official_split"]["train"] > 0
    assert metrics["crossings"] == {"patients": 0, "clusters": 0}


def test_stage_calibration_may_be_empty(stage):
    write(corpus(8, 300))
    assert stage(
        "split", {"train_share": 0.7, "validation_share": 0.1, "calibration_share": 0.0, "test_share": 0.2}
    ) == (0, "")
    assert shards()["calibration"] == []


# ---------------------------------------------------------------- what users break


def fails(stage, folder, changes, *words):
    code, line = stage("split", changes)
    assert code == 1 and line.startswith("error: ") and "\n" not in line and "unexpected" not in line
    for word in words:
        assert word in line, line
    assert nothing_left(folder)


def small(count: int = 60) -> list[dict]:
    return [{"note_id": f"n{i}", "patient_id": f"p{i}", "source": "t", "text": f"SECRET {i}", "labels": ["ab"[i % 2]]} for i in range(count)]  # fmt: skip


def test_missing_file(stage, folder):
    fails(stage, folder, {}, "data/clean.parquet does not exist")


def test_not_parquet(stage, folder):
    Path("data").mkdir()
    Path("data/clean.parquet").write_bytes(b"note_id,text\n1,SECRET\n")
    fails(stage, folder, {}, "not a readable Parquet file")


def test_missing_column(stage, folder):
    Path("data").mkdir()
    pq.write_table(pa.table({"note_id": ["1"], "text": ["SECRET"]}), "data/clean.parquet")
    fails(stage, folder, {}, "lacks the columns", "labels")


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], ["no notes"]),
        ([r | {"labels": ["a"]} for r in small()], ["same label", "ingest.labels"]),
        ([r | {"note_id": "n"} for r in small(4)], ["3 note_ids"]),
        ([r | {"labels": []} for r in small(4)], ["4 notes", "exactly one label"]),
        ([r | {"patient_id": "p"} for r in small()], ["no note is left for the", "split.", "60 notes"]),
        (small(2), ["min_notes_per_class"]),
    ],
)
def test_notes_that_cannot_be_split(stage, folder, rows, words):
    write(rows)
    fails(stage, folder, {}, *words)


def test_rare_classes_leave_fewer_than_two(stage, folder):
    write(small())
    fails(stage, folder, {"min_notes_per_class": 25}, "0 have at least 25 notes", "min_notes_per_class")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train_share": 0.9}, ["sum to 1.3"]),
        ({"train_share": 1.5}, ["split.train_share", "1.5", "less than or equal to 1"]),
        ({"train_share": 0.78, "test_share": 0.0}, ["split.test_share is 0"]),
        ({"min_notes_per_class": 0}, ["split.min_notes_per_class"]),
        ({"top_k": 1}, ["split.top_k"]),
        ({"test_size": 0.2}, ["split.test_size is no known param"]),
    ],
)
def test_params_out_of_bounds(stage, folder, changes, words):
    write(small())
    fails(stage, folder, changes, *words)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([None], ["60 of 60 notes", "split.official"]),
        (["train", "Jane SECRET"], ["30 of 60 notes"]),
        (["train"], ["no note's split is test"]),
        (["test"], ["no note's split is train"]),
    ],
)
def test_official_without_a_usable_column(stage, folder, values, words):
    write([r | {"split": values[i % len(values)]} for i, r in enumerate(small())])
    fails(stage, folder, {"official": True}, *words)
    assert "SECRET" not in stage("split", {"official": True})[1]
