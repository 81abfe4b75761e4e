"""Scores: values by hand, equality with scikit-learn plain and weighted, intervals, curves."""

from collections import Counter

import numpy as np
import pytest
from scored import CLASSES, prediction_rows, random_shard, write_predictions
from sklearn import metrics as sk

from diagnosis.errors import UserError
from diagnosis.scores.bootstrap import interval, interval_of, patient_weights
from diagnosis.scores.curves import POINTS, confusion, precision_recall, reliability, roc
from diagnosis.scores.metrics import METRICS, Scorer, at_threshold
from diagnosis.scores.shards import Predictions, Shard, check_same_notes, patient_numbers


def shard_of(truth, probabilities, *, single=True, patients=None, unknown=None) -> Shard:
    notes = len(truth)
    return Shard(
        np.array([f"n{row}" for row in range(notes)], dtype=object),
        np.arange(notes) if patients is None else np.array(patients),
        np.array(truth, bool),
        np.array(probabilities, float),
        np.zeros(notes, bool) if unknown is None else np.array(unknown),
        single,
    )


def plain(shard: Shard) -> dict[str, float]:
    scorer = Scorer(shard)
    return {name: value[0] for name, value in scorer.headline(scorer.ones).items()}


# Four notes, classes a and b and c. Decided: a, a, b, c. True: a, b, b, a.
HAND = shard_of(
    [[1, 0, 0], [0, 1, 0], [0, 1, 0], [1, 0, 0]],
    [[0.8, 0.1, 0.1], [0.5, 0.4, 0.1], [0.2, 0.7, 0.1], [0.3, 0.1, 0.6]],
)


def test_by_hand():
    scores = plain(HAND)
    assert set(scores) == set(METRICS)
    assert scores["accuracy"] == 2 / 4
    # a: 1 of 2 found, 2 decided; b: 1 of 2 found, 1 decided; c: none, 1 decided
    assert scores["sensitivity"] == pytest.approx((1 / 2 + 1 / 2) / 2)  # c has no note: left out
    assert scores["ppv"] == pytest.approx((1 / 2 + 1 / 1 + 0 / 1) / 3)
    assert scores["specificity"] == pytest.approx((1 / 2 + 2 / 2 + 3 / 4) / 3)
    assert scores["npv"] == pytest.approx((1 / 2 + 2 / 3 + 3 / 3) / 3)
    assert scores["macro_f1"] == pytest.approx((2 / 4 + 2 / 3 + 0 / 1) / 3)
    assert scores["weighted_f1"] == pytest.approx((2 * 2 / 4 + 2 * 2 / 3) / 4)
    assert scores["micro_f1"] == pytest.approx(2 * 2 / 8)
    # a: 0.8 beats 0.5 and 0.2, 0.3 beats 0.2: 3 of 4; b: 0.4 and 0.7 beat 0.1 twice: 4 of 4
    assert scores["macro_auroc"] == pytest.approx((3 / 4 + 4 / 4) / 2)
    # a: found at ranks 1 and 3; b: at 1 and 2
    assert scores["macro_auprc"] == pytest.approx(((1 + 2 / 3) / 2 + 1) / 2)
    squares = [0.04 + 0.01 + 0.01, 0.25 + 0.36 + 0.01, 0.04 + 0.09 + 0.01, 0.49 + 0.01 + 0.36]
    assert scores["brier"] == pytest.approx(sum(squares) / 4)
    # bins of 1/15: 0.8, 0.5, 0.7, 0.6 lie apart, right, wrong, right, wrong
    assert scores["ece"] == pytest.approx((0.2 + 0.5 + 0.3 + 0.6) / 4)
    assert Scorer(HAND).undefined() == {
        "macro_f1": 0, "sensitivity": 1, "specificity": 0, "ppv": 0, "npv": 0, "macro_auroc": 1, "macro_auprc": 1,
    }  # fmt: skip


def sklearn_scores(shard: Shard, weights: np.ndarray) -> dict[str, float]:
    """The same by scikit-learn; weights by note. Specificity and npv are sensitivity and ppv of the opposite."""
    truth, decided, score = shard.truth.astype(int), shard.decided.astype(int), shard.probabilities
    how = {"sample_weight": weights, "zero_division": np.nan}
    opposite = {"average": "macro", "sample_weight": weights, "zero_division": np.nan}
    result = {
        "accuracy": sk.accuracy_score(truth, decided, sample_weight=weights),
        "macro_f1": sk.f1_score(truth, decided, average="macro", **how),
        "weighted_f1": sk.f1_score(truth, decided, average="weighted", **how),
        "micro_f1": sk.f1_score(truth, decided, average="micro", **how),
        "sensitivity": sk.recall_score(truth, decided, average="macro", **how),
        "ppv": sk.precision_score(truth, decided, average="macro", **how),
        "specificity": sk.recall_score(1 - truth, 1 - decided, **opposite),
        "npv": sk.precision_score(1 - truth, 1 - decided, **opposite),
        "macro_auroc": sk.roc_auc_score(truth, score, average="macro", sample_weight=weights),
        "macro_auprc": sk.average_precision_score(truth, score, average="macro", sample_weight=weights),
    }
    if shard.single:
        result["brier"] = sk.brier_score_loss(
            truth.argmax(1), score / score.sum(1, keepdims=True), labels=range(truth.shape[1]), sample_weight=weights, scale_by_half=False
        )  # fmt: skip
    return result


@pytest.mark.parametrize("single", [True, False])
@pytest.mark.parametrize("notes, classes", [(40, 3), (300, 12)])
def test_equal_to_scikit_learn_plain_and_weighted(single, notes, classes):
    shard = random_shard(notes, classes=classes, single=single, patients=notes // 2)
    scorer = Scorer(shard)
    weights = np.column_stack([scorer.ones, np.random.default_rng(1).exponential(size=(len(scorer.ones), 2))])
    scores = scorer.headline(weights)
    for column in range(weights.shape[1]):
        for name, value in sklearn_scores(shard, weights[shard.patients, column]).items():
            assert scores[name][column] == pytest.approx(value, abs=1e-10), name


def test_ties_count_half_in_auroc_and_as_one_step_in_auprc():
    truth, score = [1, 0, 1, 0, 0], [0.5, 0.5, 0.5, 0.2, 0.5]
    shard = shard_of(np.column_stack([truth, np.logical_not(truth)]), np.column_stack([score, 1 - np.array(score)]))
    scorer = Scorer(shard)
    assert scorer.by_class(scorer.ones)["auroc"][0, 0] == pytest.approx(sk.roc_auc_score(truth, score)) == 2 / 3
    assert scorer.by_class(scorer.ones)["auprc"][0, 0] == sk.average_precision_score(truth, score) == 1 / 2


def test_ece_of_several_labels_is_the_mean_of_the_labels():
    shard = random_shard(500, single=False)
    expected = []
    for truth, score in zip(shard.truth.T, shard.probabilities.T, strict=True):
        gap = 0
        for low in range(15):
            inside = (score > low / 15) & (score <= (low + 1) / 15) | ((score == 0) & (low == 0))
            gap += abs((score[inside] - truth[inside]).sum())
        expected.append(gap / len(score))
    assert plain(shard)["ece"] == pytest.approx(np.mean(expected))


def test_a_label_outside_the_classes_is_wrong_and_negative():
    shard = shard_of([[1, 0], [0, 0]], [[0.9, 0.1], [0.8, 0.2]], unknown=[False, True])
    scores = plain(shard)
    assert scores["accuracy"] == 0.5
    assert scores["specificity"] == pytest.approx((0 / 1 + 2 / 2) / 2)
    assert scores["brier"] == pytest.approx((0.02 + 0.68) / 2)
    several = shard_of([[1, 0], [0, 0]], [[0.9, 0.1], [0.1, 0.1]], single=False, unknown=[False, True])
    assert plain(several)["accuracy"] == 0.5, "nothing was decided, and the note's one label cannot be"


def test_one_class_only_leaves_metrics_undefined_not_wrong():
    shard = shard_of([[1, 0], [1, 0]], [[0.9, 0.1], [0.8, 0.2]])
    scores = plain(shard)
    assert np.isnan(scores["macro_auroc"])
    assert (scores["accuracy"], scores["sensitivity"], scores["macro_auprc"], scores["macro_f1"]) == (1, 1, 1, 1)
    assert Scorer(shard).undefined()["macro_auroc"] == 2


def test_threshold_and_bayes_rule_by_hand():
    # class 0 from 0.4 on: decided 1 1 1 0, true 1 1 0 0 -> sensitivity 1, specificity 1/2
    shard = shard_of([[1, 0], [1, 0], [0, 1], [0, 1]], [[0.9, 0.1], [0.6, 0.4], [0.5, 0.5], [0.2, 0.8]])
    observed = at_threshold(shard, 0.4, None)["by_class"]
    assert [observed[name][0] for name in ("sensitivity", "specificity", "ppv", "npv")] == pytest.approx(
        [1, 1 / 2, 2 / 3, 1]
    )
    rare = at_threshold(shard, 0.4, 0.1)["by_class"]
    assert rare["ppv"][0] == pytest.approx(1 * 0.1 / (1 * 0.1 + 0.5 * 0.9))
    assert rare["npv"][0] == 1
    never = at_threshold(shard, 0.95, None)
    assert np.isnan(never["macro"]["ppv"]) and never["undefined"]["ppv"] == 2


# ---- intervals


def test_weights_are_the_same_each_time_and_one_a_patient():
    first, again = (np.hstack(list(patient_weights(7, 300, 3))) for _ in range(2))
    assert first.shape == (7, 300) and (first > 0).all() and (first == again).all()
    assert (np.hstack(list(patient_weights(7, 300, 4))) != first).any()


def test_bayesian_bootstrap_of_a_proportion_is_beta():
    """With one note a patient, the weighted share of r right ones of n is Beta(r, n - r) (Rubin 1981)."""
    from scipy.stats import beta

    truth = np.arange(50) < 30
    shard = shard_of(np.column_stack([truth, ~truth]), np.tile([0.9, 0.1], (50, 1)))
    draws = np.concatenate([Scorer(shard).headline(weights)["accuracy"] for weights in patient_weights(50, 20_000, 1)])
    found = interval(draws)
    assert [found["low"], found["high"]] == pytest.approx(beta(30, 20).ppf([0.025, 0.975]), abs=0.01)


def test_notes_of_one_patient_widen_the_interval():
    truth = np.arange(200) % 2 == 0
    score = np.where(np.arange(200) % 40 < 30, truth, ~truth)  # ten patients' worth of runs
    widths = []
    for patients in (np.arange(200), np.arange(200) // 10):
        shard = shard_of(np.column_stack([truth, ~truth]), np.column_stack([score, ~score]), patients=patients)
        draws = np.concatenate(
            [Scorer(shard).headline(w)["accuracy"] for w in patient_weights(patients.max() + 1, 1000, 1)]
        )
        widths.append(np.subtract(*interval(draws).values()))
    assert abs(widths[1]) > 2 * abs(widths[0])


def test_undefined_has_no_interval_and_the_ece_is_reflected():
    assert interval(np.array([0.1, np.nan])) == {"low": None, "high": None}
    draws = np.linspace(0.10, 0.20, 101)
    assert interval(draws) == {"low": pytest.approx(0.1025), "high": pytest.approx(0.1975)}
    assert interval_of("accuracy", 0.1, draws) == interval(draws)
    assert interval_of("ece", 0.11, draws, 0) == {"low": pytest.approx(0.0225), "high": pytest.approx(0.1175)}
    assert interval_of("ece", 0.05, draws, 0)["low"] == 0


# ---- curves


@pytest.mark.parametrize("single", [True, False])
def test_curves_are_short_and_keep_their_area(single):
    shard = random_shard(3000, single=single)
    scores = Scorer(shard).by_class(np.ones((3000, 1)))
    for rows, x, y, area in (
        (list(roc(shard, CLASSES)), "fpr", "tpr", "auroc"),
        (list(precision_recall(shard, CLASSES)), "recall", "precision", "auprc"),
    ):
        assert max(Counter(row["class"] for row in rows).values()) <= POINTS
        assert list(dict.fromkeys(row["class"] for row in rows)) == ["macro", *CLASSES]
        for name, expected in zip(["macro", *CLASSES], [scores[area].mean(), *scores[area][:, 0]], strict=True):
            curve = np.array([[row[x], row[y]] for row in rows if row["class"] == name])
            assert np.trapezoid(curve[:, 1], curve[:, 0]) == pytest.approx(expected, abs=0.02), (name, area)


def test_curves_leave_out_classes_without_notes():
    assert {row["class"] for row in roc(HAND, ["a", "b", "c"])} == {"macro", "a", "b"}
    nothing = shard_of([[1, 0]], [[0.9, 0.1]])
    assert list(roc(nothing, ["a", "b"])) == []


def test_confusion_counts_by_hand():
    pairs = Counter((row["actual"], row["predicted"]) for row in confusion(HAND, ["a", "b", "c"]))
    assert pairs == {("a", "a"): 1, ("a", "c"): 1, ("b", "a"): 1, ("b", "b"): 1}
    several = shard_of([[1, 1], [0, 0]], [[0.9, 0.2], [0.1, 0.6]], single=False)
    assert list(confusion(several, ["a", "b"])) == [
        {"actual": "(absent)", "predicted": "b"},
        {"actual": "a", "predicted": "a"},
        {"actual": "b", "predicted": "(missed)"},
    ]
    other = shard_of([[0, 0]], [[0.9, 0.1]], unknown=[True])
    assert list(confusion(other, ["a", "b"])) == [{"actual": "(other)", "predicted": "a"}]


def test_reliability_by_hand():
    rows = list(reliability({"model": HAND}))[2:]
    assert [(row["probability"], row["observed"], row["n"]) for row in rows] == [
        (0.5, 0.0, 1),
        (0.6, 0.0, 1),
        (0.7, 1.0, 1),
        (0.8, 1.0, 1),
    ]


# ---- tables


def test_the_order_of_rows_does_not_matter(tmp_path):
    rows = prediction_rows(random_shard(30, patients=20), "test", "model")
    write_predictions(tmp_path / "a.parquet", rows)
    write_predictions(tmp_path / "b.parquet", rows[::-1])
    one, other = (Predictions(tmp_path / name).shard("test", "model") for name in ("a.parquet", "b.parquet"))
    assert (one.note_ids == other.note_ids).all() and plain(one) == plain(other)
    check_same_notes(one, other, "here")


def test_notes_without_patient_are_patients_of_their_own():
    import pandas as pd

    numbers = patient_numbers(pd.Series(["b", None, "a", None, "b"], dtype="str"))
    assert numbers[0] == numbers[4] and len(set(numbers)) == 4 and numbers.max() == 3


def broken(rows, change):
    rows = [dict(row) for row in rows]
    change(rows)
    return rows


@pytest.mark.parametrize(
    "change, says",
    [
        (lambda rows: rows[1].update(probabilities=[np.nan, 0.5, 0.5, 0]), "1 notes have probabilities that are not numbers"),
        (lambda rows: rows[1].update(probabilities=[1.5, -0.5, 0, 0]), "1 notes have probabilities that are not numbers"),
        (lambda rows: rows[1].update(probabilities=[0.5, 0.1, 0, 0]), "1 notes have probabilities that do not sum to 1"),
        (lambda rows: rows[1].update(probabilities=[0.5, 0.5]), "not one probability for each of 4 classes"),
        (lambda rows: rows[1].update(note_id=rows[0]["note_id"]), "1 note_ids occur twice"),
        (lambda rows: rows[1].update(labels=["gout", "asthma"]), "have not one label"),
        (lambda rows: rows[1].update(labels=[]), "have not one label"),
        (lambda rows: [row.update(shard="train") for row in rows], "no note"),
        (lambda rows: rows.clear(), "holds no prediction"),
    ],
)  # fmt: skip
def test_broken_tables_end_with_one_line(tmp_path, change, says):
    rows = broken(prediction_rows(random_shard(8), "test", "model"), change)
    write_predictions(tmp_path / "p.parquet", rows)
    with pytest.raises(UserError, match=says):
        Predictions(tmp_path / "p.parquet").shard("test", "model")


def test_two_tables_that_differ_are_refused(tmp_path):
    shard = random_shard(8)
    with pytest.raises(UserError, match="2 notes are in one table"):
        check_same_notes(shard, random_shard(10), "here")
    with pytest.raises(UserError, match="other labels"):
        check_same_notes(shard, random_shard(8, seed=1), "here")
    with pytest.raises(UserError, match="other patients"):
        check_same_notes(shard, random_shard(8, patients=4), "here")
