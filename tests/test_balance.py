"""Repeats, weights and priors against hand values, imbalanced-learn and scikit-learn; what rebalance refuses."""

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.utils.class_weight import compute_class_weight

from diagnosis.balance import class_weights, repeats, shares
from diagnosis.files import read_json, sha256
from diagnosis.notes import note_writer, read_metadata

METADATA = {"task": "single_label", "text_pair": False, "official_split": False, "corpus": "toy", "classes": ["a", "b", "c"],
            "data_use": {"corpus": "toy", "licence": "CC0", "public": True}}  # fmt: skip
FIELDS = [pa.field("augmented_from", pa.string()), pa.field("operators", pa.list_(pa.string()))]
AUGMENTED, BALANCED = Path("data/augmented.parquet"), Path("data/balanced.parquet")


def note(name: str, labels, augmented_from: str | None = None) -> dict:
    operators = ["swap"] if augmented_from else None
    return {"note_id": name, "source": "toy", "text": f"text of {name}", "labels": list(labels),
            "augmented_from": augmented_from, "operators": operators}  # fmt: skip


def write(rows: list[dict], fields=FIELDS, **metadata) -> None:
    with note_writer(AUGMENTED, METADATA | metadata, fields) as writer:
        writer.write(rows)


def ten() -> list[dict]:
    """6 a, 3 b and 1 c, and two versions of c: 6, 3, 3."""
    rows = [note(f"n{i}", label) for i, label in enumerate("aaabaabbac")]
    return [*rows, note("n9-a1", "c", "n9"), note("n9-a2", "c", "n9")]


def result() -> list[dict]:
    return pq.read_table(BALANCED).to_pylist()


def nothing_left(folder: Path) -> bool:
    return not [p for p in folder.rglob("*") if p.is_file() and p.name not in ("params.yaml", "augmented.parquet")]


# ---------------------------------------------------------------- by hand


def test_class_weights_by_hand_and_by_scikit_learn():
    assert class_weights([6, 3, 3]).tolist() == pytest.approx([12 / 18, 12 / 9, 12 / 9])
    targets = np.repeat([0, 1, 2], [5, 70, 25])
    ours = class_weights(np.bincount(targets))
    assert ours == pytest.approx(compute_class_weight("balanced", classes=np.arange(3), y=targets))
    assert ours[targets].mean() == pytest.approx(1)
    assert shares(np.bincount(targets) * ours) == pytest.approx([1 / 3] * 3)


def test_repeats():
    targets = np.array([0] * 6 + [1] * 3 + [2])
    assert repeats(targets, "none", 7).tolist() == repeats(targets, "class_weight", 7).tolist() == [1] * 10
    over = repeats(targets, "oversample", 7)
    assert over.min() == 1 and np.bincount(targets, over).tolist() == [6, 6, 6] and over[9] == 6
    under = repeats(targets, "undersample", 7)
    assert under.max() == 1 and np.bincount(targets, under).tolist() == [1, 1, 1]
    assert (repeats(targets, "oversample", 7) == over).all()
    many = np.repeat([0, 1], [500, 50])
    assert (repeats(many, "oversample", 7) != repeats(many, "oversample", 8)).any()


# ---------------------------------------------------------------- the stage


def test_none_passes_through_with_weight_one_and_both_priors(stage):
    write(ten())
    assert stage("rebalance") == (0, "")
    assert result() == [row | {"weight": 1.0} for row in pq.read_table(AUGMENTED).to_pylist()]
    metadata = read_metadata(BALANCED)
    assert metadata["train_prior"] == pytest.approx([0.6, 0.3, 0.1])  # plain notes alone
    assert metadata["balanced_prior"] == pytest.approx([6 / 12, 3 / 12, 3 / 12])  # what the loss sees
    assert {name: metadata[name] for name in METADATA} == METADATA


def test_class_weight_is_from_the_augmented_counts_and_uniform(stage):
    write(ten())
    assert stage("rebalance", {"method": "class_weight"}) == (0, "")
    weights = {row["labels"][0]: row["weight"] for row in result()}
    assert weights == pytest.approx({"a": 12 / 18, "b": 12 / 9, "c": 12 / 9})
    metadata = read_metadata(BALANCED)
    assert metadata["balanced_prior"] == pytest.approx([1 / 3] * 3)
    assert metadata["train_prior"] == pytest.approx([0.6, 0.3, 0.1])
    assert read_json(Path("metrics/rebalance.json"))["weights"] == pytest.approx(weights)


def test_oversample_repeats_whole_rows_under_new_ids(stage):
    write(ten())
    assert stage("rebalance", {"method": "oversample"}) == (0, "")
    rows, given = result(), {row["note_id"]: row for row in ten()}
    assert Counter(row["labels"][0] for row in rows) == {"a": 6, "b": 6, "c": 6}
    assert len({row["note_id"] for row in rows}) == 18 and {row["weight"] for row in rows} == {1.0}
    for row in rows:
        base, _, repeat = row["note_id"].partition("-r")
        assert row["text"] == given[base]["text"] and row["labels"] == given[base]["labels"]
        assert row["augmented_from"] == (
            (given[base]["augmented_from"] or base) if repeat else given[base]["augmented_from"]
        )
    order = list(given)
    positions = [order.index(row["note_id"].partition("-r")[0]) for row in rows]
    assert positions == sorted(positions)
    assert read_metadata(BALANCED)["balanced_prior"] == pytest.approx([1 / 3] * 3)
    metrics = read_json(Path("metrics/rebalance.json"))
    assert metrics["notes"] == {"read": 12, "written": 18, "dropped": 0, "repeated": 6}
    assert metrics["classes"] == {"before": {"a": 6, "b": 3, "c": 3}, "after": {"a": 6, "b": 6, "c": 6}}


def test_undersample_keeps_the_order_and_drops_to_the_smallest(stage):
    write(ten())
    assert stage("rebalance", {"method": "undersample"}) == (0, "")
    names = [row["note_id"] for row in result()]
    assert Counter(row["labels"][0] for row in result()) == {"a": 3, "b": 3, "c": 3}
    assert names == [row["note_id"] for row in ten() if row["note_id"] in names]
    assert read_metadata(BALANCED)["train_prior"] == pytest.approx([0.6, 0.3, 0.1])


@pytest.mark.parametrize("method", ["none", "oversample", "undersample", "class_weight"])
def test_same_input_same_bytes(stage, method):
    write(ten())
    stage("rebalance", {"method": method})
    first = sha256(BALANCED), sha256(Path("metrics/rebalance.json"))
    stage("rebalance", {"method": method})
    assert (sha256(BALANCED), sha256(Path("metrics/rebalance.json"))) == first


def test_multi_label_passes_through_and_refuses_methods_for_rows(stage, folder):
    write([note("n0", "ab"), note("n1", ""), note("n2", "c")], task="multi_label")
    for method in ("oversample", "undersample", "class_sampler", "smote", "borderline_smote"):
        code, line = stage("rebalance", {"method": method})
        assert code == 1 and f"rebalance.method is '{method}'" in line and "set it to none" in line
        assert nothing_left(folder)
    assert stage("rebalance") == (0, "")
    assert [row["weight"] for row in result()] == [1.0] * 3
    assert read_metadata(BALANCED)["train_prior"] is None and read_metadata(BALANCED)["balanced_prior"] is None


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda: None, "data/augmented.parquet does not exist"),
        (lambda: (Path("data").mkdir(), AUGMENTED.write_bytes(b"PAR1 no")), "not a readable Parquet file"),
        (lambda: write(ten()[:9]), "the classes c have no note"),
        (lambda: write([]), "the classes a, b, c have no note"),
        (lambda: write([*ten(), note("x", "z")]), "1 notes have a label that is not among its classes"),
        (lambda: write([*ten(), note("x", "ab")]), "1 notes do not have exactly one label"),
        (lambda: write(ten(), classes=[]), "states no classes"),
        (lambda: write([{k: v for k, v in row.items() if k not in ("augmented_from", "operators")} for row in ten()], []),
         "lacks the column augmented_from"),
    ],
    ids=["missing", "parquet", "class", "empty", "label", "two", "classes", "column"],
)  # fmt: skip
def test_bad_input_is_one_line(stage, folder, spoil, words):
    spoil()
    code, line = stage("rebalance", {"method": "oversample"})
    assert code == 1 and words in line and line.startswith("error: ") and "\n" not in line
    assert nothing_left(folder)


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"method": "adasyn"}, "rebalance.method is 'adasyn': it must be none, one of oversample"), ({"seed": -1}, "rebalance.seed"), ({"ratio": 1}, "no known param")],
)  # fmt: skip
def test_bad_params_are_one_line(stage, folder, changes, words):
    code, line = stage("rebalance", changes)
    assert code == 1 and words in line and "\n" not in line and nothing_left(folder)
