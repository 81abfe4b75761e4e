"""The baselines: what they are by definition, the same bytes twice, and what users break."""

import json
from collections import Counter

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from toy import CLASSES, metadata, rows, write_table

from diagnosis.files import sha256, write_json
from diagnosis.scores.predictions import read_predictions

SHARDS = ("train", "validation", "calibration", "test")
MODELS = ("majority", "tfidf_logreg", "keywords", "previous_admission")
TITLES = {"cardiac": "Myocardial infarction, unspecified", "lung": "Pneumonia, unspecified organism"}


def write_split(folder, *, notes=90, changes=None, meta=None, **kind):
    """Four shards; `changes` replaces the rows of some."""
    tables = {name: list(rows(notes if name == "train" else 12, seed=seed, **kind)) for seed, name in enumerate(SHARDS)}
    tables |= changes or {}
    write_json(folder / "data/titles.json", {label: [TITLES.get(label, label)] for label in CLASSES})
    task = "multi_label" if kind.get("multi_label") else "single_label"
    for name, table in tables.items():
        write_table(folder / "data/split" / f"{name}.parquet", table, metadata(task=task, **(meta or {}).get(name, {})))
    return tables


def probabilities(table, model, shard):
    found = table[(table["model"] == model) & (table["shard"] == shard)]
    return np.stack(found["probabilities"].to_list())


def test_single_label_equals_scikit_learn_and_the_priors(stage, folder):
    notes = write_split(folder)
    notes["train"] = notes["train"][:50]  # unequal classes
    write_table(folder / "data/split/train.parquet", notes["train"], metadata())
    assert stage("baseline") == (0, "")
    table, meta = read_predictions(folder / "data/baseline.parquet")
    assert meta["classes"] == CLASSES and meta["task"] == "single_label" and meta["data_use"]["public"] is True
    assert Counter(zip(table["shard"], table["model"], strict=True)) == {
        (shard, model): 12 for shard in SHARDS[1:] for model in MODELS
    }
    assert probabilities(table, "majority", "test") == pytest.approx(np.tile([17 / 50, 17 / 50, 16 / 50], (12, 1)))

    tfidf = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    vectors = tfidf.fit_transform(note["text"] for note in notes["train"])
    regression = LogisticRegression(C=10, class_weight="balanced", max_iter=2000)
    regression.fit(vectors, [note["labels"][0] for note in notes["train"]])
    expected = regression.predict_proba(tfidf.transform(note["text"] for note in notes["test"]))
    assert probabilities(table, "tfidf_logreg", "test") == pytest.approx(expected, abs=1e-3)
    found = table[(table["model"] == "tfidf_logreg") & (table["shard"] == "test")]
    assert list(found["note_id"]) == [note["note_id"] for note in notes["test"]]
    assert [list(labels) for labels in found["labels"]] == [note["labels"] for note in notes["test"]]


def test_multi_label_is_one_vs_rest_with_priors_by_label(stage, folder):
    notes = write_split(folder, multi_label=True)
    assert stage("baseline") == (0, "")
    table, _ = read_predictions(folder / "data/baseline.parquet")
    present = np.array([[label in note["labels"] for label in CLASSES] for note in notes["train"]])
    assert probabilities(table, "majority", "validation") == pytest.approx(np.tile(present.mean(0), (12, 1)))
    tfidf = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    regressions = OneVsRestClassifier(LogisticRegression(C=10, class_weight="balanced", max_iter=2000))
    regressions.fit(tfidf.fit_transform(note["text"] for note in notes["train"]), present)
    expected = regressions.predict_proba(tfidf.transform(note["text"] for note in notes["validation"]))
    assert probabilities(table, "tfidf_logreg", "validation") == pytest.approx(expected, abs=1e-3)


def test_the_second_text_is_read(stage, folder):
    write_split(folder, pair=True)  # the words of the class are in text_pair alone
    assert stage("baseline") == (0, "")
    table, _ = read_predictions(folder / "data/baseline.parquet")
    found = table[table["model"] == "tfidf_logreg"]
    right = [
        CLASSES[np.argmax(p)] == labels[0] for p, labels in zip(found["probabilities"], found["labels"], strict=True)
    ]
    assert np.mean(right) > 0.9


def test_same_bytes_and_no_note_text(stage, folder):
    write_split(folder)
    hashes = set()
    for _ in range(2):
        assert stage("baseline") == (0, "")
        hashes.add(sha256(folder / "data/baseline.parquet"))
    assert len(hashes) == 1
    assert "text" not in pq.read_schema(folder / "data/baseline.parquet").names


def test_an_empty_calibration_shard_and_labels_no_one_has(stage, folder):
    """A shard without notes has no rows; a class without train notes gets probability 0, or with several labels its prior, 0."""
    several = list(rows(60, multi_label=True))
    for note in several:
        note["labels"] = [label for label in note["labels"] if label != "neuro"]
    for changes, kind in (
        ({"train": [n for n in rows(60) if n["labels"] != ["neuro"]], "calibration": []}, {}),
        ({"train": several, "calibration": []}, {"multi_label": True}),
    ):
        write_split(folder, changes=changes, **kind)
        assert stage("baseline") == (0, "")
        table, _ = read_predictions(folder / "data/baseline.parquet")
        assert set(table["shard"]) == {"validation", "test"}
        assert (probabilities(table, "tfidf_logreg", "test")[:, CLASSES.index("neuro")] == 0).all()


def truncate(path):
    path.write_bytes(path.read_bytes()[:200])


def without_text(path):
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["text"]), path)


@pytest.mark.parametrize(
    "breaks, params, says",
    [
        (lambda split: (split / "train.parquet").unlink(), {}, "train.parquet does not exist"),
        (lambda split: (split / "test.parquet").unlink(), {}, "test.parquet does not exist"),
        (lambda split: truncate(split / "train.parquet"), {}, "not a readable Parquet file"),
        (lambda split: without_text(split / "train.parquet"), {}, "lacks the columns text"),
        (lambda split: write_table(split / "train.parquet", [], metadata()), {}, "fewer than two classes"),
        (
            lambda split: write_table(split / "train.parquet", [n for n in rows(30) if n["labels"] == ["lung"]], metadata()),
            {},
            "fewer than two classes",
        ),
        (
            lambda split: write_table(split / "train.parquet", rows(30, multi_label=True), metadata()),
            {},
            "15 notes have not one label",
        ),
        (lambda split: write_table(split / "test.parquet", rows(9), metadata(classes=["a", "b"])), {}, "states other classes"),
        (lambda split: write_table(split / "train.parquet", rows(9), {"task": "single_label"}), {}, "states no classes"),
        (lambda split: (split.parent / "titles.json").unlink(), {}, "titles.json does not exist"),
        (lambda split: (split.parent / "titles.json").write_text("{"), {}, "titles.json is not valid JSON"),
        (lambda split: None, {"min_df": 5000}, "no word occurs in 5000 train notes"),
        (lambda split: None, {"C": 0}, "params.yaml: baseline.C is 0"),
        (lambda split: None, {"ngrams": "two"}, "params.yaml: baseline.ngrams is 'two'"),
        (lambda split: None, {"seed": 7}, "baseline.seed is no known param"),
    ],
)  # fmt: skip
def test_bad_input_ends_with_one_line(stage, folder, breaks, params, says):
    write_split(folder)
    breaks(folder / "data/split")
    code, line = stage("baseline", params)
    assert code == 1 and says in line and "\n" not in line
    assert not [path.name for path in (folder / "data").glob("*baseline*")], "nothing is left, not even half"
    assert not [path.name for path in (folder / "data").glob(".*")]


def test_max_terms_keeps_the_most_frequent(stage, folder):
    write_split(folder)
    assert stage("baseline", {"max_terms": 1}) == (0, "")
    table, _ = read_predictions(folder / "data/baseline.parquet")
    assert len(np.unique(probabilities(table, "tfidf_logreg", "test").round(6), axis=0)) <= 2
    assert json.dumps(sorted(set(table["model"]))) == json.dumps(sorted(MODELS))
