"""Calibration, operating points, conformal sets and answers: values by hand, equality with scikit-learn, scipy and mapie, the stage."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit, softmax
from scipy.stats import binomtest
from scored import CLASSES, prediction_rows, random_shard, write_card, write_predictions, write_shard
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator

from diagnosis.calibration import conformal, methods, thresholds
from diagnosis.calibration.answers import answers, confidence, limit, risk_coverage
from diagnosis.calibration.report import before_and_after, brier_parts, report, sets
from diagnosis.files import read_json, sha256
from diagnosis.scores.metrics import BINS, Scorer
from diagnosis.scores.proportions import proportions
from diagnosis.scores.shards import Predictions, Shard


class Fixed(ClassifierMixin, BaseEstimator):
    """A fitted classifier whose decision values are what it is given."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def decision_function(self, X):
        return X

    def predict(self, X):
        return self.classes_[X.argmax(axis=1)]


def noisy_logits(notes=400, classes=4, seed=0):
    """Logits of a model three times too sure, and its truth."""
    rng = np.random.default_rng(seed)
    logits = 1.2 * rng.normal(size=(notes, classes))
    label = np.array([rng.choice(classes, p=row) for row in softmax(logits, axis=1)])
    return 3 * logits, label[:, None] == np.arange(classes)


def fitted(method, logits, truth, *, single=True, min_class_count=2, patients=None):
    classes = [f"c{k}" for k in range(truth.shape[1])]
    patients = np.arange(len(truth)) if patients is None else patients
    task = "single_label" if single else "multi_label"
    return methods.fit(method, logits, truth, patients, classes=classes, task=task, min_class_count=min_class_count)


def sklearns(method, X, label):
    model = CalibratedClassifierCV(FrozenEstimator(Fixed().fit(X, label)), method=method, ensemble=False)
    return model.fit(X, label).predict_proba


# ---- probabilities


def test_temperature_is_scikit_learns_and_mends_what_is_too_sure():
    logits, truth = noisy_logits(2000)
    card = fitted("temperature", logits, truth)
    assert card["temperature"] == pytest.approx(3, rel=0.1)
    new = noisy_logits(50, seed=1)[0]
    assert methods.apply(card, new) == pytest.approx(sklearns("temperature", logits, truth.argmax(1))(new), abs=1e-4)


@pytest.mark.parametrize("method, theirs", [("platt", "sigmoid"), ("isotonic", "isotonic")])
def test_one_against_the_rest_is_scikit_learns(method, theirs):
    logits, truth = noisy_logits()
    card, new = fitted(method, logits, truth), noisy_logits(300, seed=1)[0]
    assert {part["method"] for part in card["by_class"].values()} == {method}
    scores, new_scores = (methods.log_odds(softmax(each, axis=1)) for each in (logits, new))
    expected = sklearns(theirs, scores, truth.argmax(1))(new_scores)
    found = methods.apply(card, new)
    some = ~np.isclose(expected, 0.25).all(axis=1)  # where isotonic says 0 of all, scikit-learn says the same of each
    assert some.mean() > 0.9 and found[some] == pytest.approx(expected[some], abs=1e-4)
    assert found.sum(axis=1) == pytest.approx(1)


@pytest.mark.parametrize("method", ["temperature", "platt", "isotonic"])
def test_several_labels_are_calibrated_each_by_itself(method):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(900, 2))
    truth = rng.random((900, 2)) < expit(logits)
    card = fitted(method, logits * [2, 5], truth, single=False)
    found = methods.apply(card, logits * [2, 5])
    assert np.abs(found - expit(logits)).mean() < 0.06
    if method == "temperature":
        assert [card["by_class"][c]["temperature"] for c in ("c0", "c1")] == pytest.approx([2, 5], rel=0.2)
    if method == "platt":
        theirs = sklearns("sigmoid", np.column_stack([2 * logits[:, 0]]), truth[:, 0])(2 * logits[:, :1])[:, 1]
        assert found[:, 0] == pytest.approx(theirs, abs=1e-4)


def test_few_patients_take_the_pooled_temperature_and_the_reason_is_told():
    logits, truth = noisy_logits()
    patients = np.arange(len(truth))
    patients[truth[:, 1]] = 0  # one patient has every note of c1
    card = fitted("platt", logits, truth, patients=patients, min_class_count=5)
    assert card["by_class"]["c1"] == {"method": "pooled", "reason": "1 patients with it, fewer than 5"}
    assert card["by_class"]["c0"]["method"] == "platt"
    few = fitted("temperature", logits[:4], truth[:4], min_class_count=5)
    assert few["temperature"] == 1 and few["reason"].startswith("4 patients, fewer than 5")
    assert fitted("isotonic", logits[:0], truth[:0])["temperature"] == 1


def test_a_shard_that_says_no_temperature_leaves_the_probabilities():
    truth = np.eye(3, dtype=bool)[np.arange(60) % 3]
    right = fitted("temperature", 4.0 * truth, truth)
    wrong = fitted("temperature", -4.0 * truth, truth)
    for card in (right, wrong):
        assert card["temperature"] == 1 and "no temperature" in card["reason"]
    falling = fitted("platt", -4.0 * truth, truth)
    assert {part["method"] for part in falling["by_class"].values()} == {"pooled"}
    assert "do not rise" in falling["by_class"]["c0"]["reason"]
    only = fitted("isotonic", np.random.default_rng(0).normal(size=(60, 3)), np.tile([True, False, False], (60, 1)))
    assert {part["method"] for part in only["by_class"].values()} == {"pooled"}, "one class alone teaches no curve"


def test_none_changes_nothing_and_a_card_survives_json():
    logits, truth = noisy_logits()
    assert methods.apply(fitted("none", logits, truth), logits) == pytest.approx(softmax(logits, axis=1), abs=1e-7)
    for method in methods.METHODS:
        card = fitted(method, logits, truth)
        found = methods.apply(json.loads(json.dumps(card)), logits)
        assert (found == methods.apply(card, logits)).all() and (found.astype(np.float32) == found).all()
        assert softmax(methods.to_logits(found, True), axis=1) == pytest.approx(found, abs=1e-6)


def test_logits_that_are_none_are_refused():
    card = fitted("none", *noisy_logits())
    for wrong in (np.zeros((2, 3)), np.full((2, 4), np.nan), np.zeros(4)):
        with pytest.raises(ValueError, match="must be finite"):
            methods.apply(card, wrong)


# ---- proportions


def test_intervals_are_exact_where_a_patient_has_one_note():
    hits, of = np.zeros((30, 2), bool), np.ones((30, 2), bool)
    hits[:12, 0], hits[:, 1] = True, True
    some, whole = proportions(hits, of, np.arange(30), 50, 0)
    for each, found in ((some, 12), (whole, 30)):
        theirs = binomtest(found, 30).proportion_ci(method="exact")
        assert each.ends() == pytest.approx((theirs.low, theirs.high)) and each.value == found / 30
    pairs, all_found = proportions(hits, of, np.arange(30) // 2, 2000, 0)
    assert 0.15 < pairs.ends()[0] < 0.25 and 0.55 < pairs.ends()[1] < 0.7
    assert all_found.ends() == pytest.approx((binomtest(15, 15).proportion_ci(method="exact").low, 1))
    assert proportions(hits, np.zeros((30, 2), bool), np.arange(30), 50, 0)[0].described() == {
        "value": None,
        "low": None,
        "high": None,
    }


# ---- operating points

AIM = {"min_class_count": 2, "min_sensitivity": 0.8, "threshold_probability": 0.25}
COSTS = {"false_negative": 4, "false_positive": 1, "true_positive": 0.5, "true_negative": 0.1}


def chosen(probabilities, truth, aim, patients=None, **changes):
    patients = np.arange(len(truth)) if patients is None else patients
    return thresholds.choose(probabilities, truth, patients, aim=aim, costs=COSTS, **(AIM | changes))


def test_thresholds_are_the_best_of_all():
    rng = np.random.default_rng(0)
    truth = rng.random(200) < 0.3
    probabilities = (0.6 * rng.random(200) + 0.4 * truth * rng.random(200)).round(2)
    gains = {
        "f1": lambda tp, fp, fn, tn: 2 * tp / (2 * tp + fp + fn),
        "net_benefit": lambda tp, fp, fn, tn: tp / 200 - fp / 200 * 0.25 / 0.75,
        "cost": lambda tp, fp, fn, tn: -(4 * fn + fp + 0.5 * tp + 0.1 * tn),
    }
    for aim, gain in gains.items():
        table = {}
        for at in sorted(set(probabilities)):
            yes = probabilities >= at
            table[at] = gain((yes & truth).sum(), (yes & ~truth).sum(), (~yes & truth).sum(), (~yes & ~truth).sum())
        best = max(table.values())
        assert chosen(probabilities, truth, aim)["threshold"] == max(a for a, g in table.items() if g >= best - 1e-12)


def test_lower_bound_of_sensitivity_by_hand():
    """With 30 patients the 95 % interval of 28 found begins at 0.779, of 29 at 0.828: one may be missed."""
    truth = np.arange(100) < 30
    probabilities = np.where(truth, 0.5 + np.arange(100) / 100, 0.3)
    assert chosen(probabilities, truth, "sensitivity") == {"threshold": 0.51, "reason": None}
    doubled = [np.tile(each, 2) for each in (probabilities, truth, np.arange(100))]
    assert chosen(doubled[0], doubled[1], "sensitivity", doubled[2])["threshold"] == 0.51, "copies are no new patients"
    doubled[0][100] = 0.02  # another note of the first patient, who may be missed anyway
    assert chosen(doubled[0], doubled[1], "sensitivity", doubled[2])["threshold"] == 0.51


def test_aims_that_cannot_be_met_say_so():
    truth = np.arange(100) < 16
    good = np.where(truth, 0.9, 0.1)
    assert chosen(good, truth, "sensitivity") == {
        "threshold": None,
        "reason": "16 patients with it: the lower bound needs 17, all found",
    }
    blind = np.where(np.arange(100) < 30, 0.1, 0.9)
    assert "clears next to nobody" in chosen(blind, np.arange(100) < 30, "sensitivity")["reason"]
    everyone = np.ones(40, bool)
    assert chosen(np.full(40, 0.9), everyone, "sensitivity")["threshold"] is None
    for aim in ("f1", "net_benefit", "cost"):
        assert chosen(good, truth, aim, min_class_count=17)["reason"] == "16 patients with it, fewer than 17"
        assert chosen(np.full(40, 0.9), everyone, aim)["reason"] == "0 patients without it, fewer than 2"
    assert "never deciding" in chosen(1 - good, truth, "net_benefit", threshold_probability=0.9)["reason"]
    assert chosen(good[:0], truth[:0], "sensitivity")["reason"].startswith("0 patients")


def shard_of(probabilities, truth, patients=None):
    notes = len(truth)
    patients = np.arange(notes) if patients is None else patients
    truth = np.asarray(truth, bool)
    return Shard(np.arange(notes).astype(str), patients, truth, np.asarray(probabilities, float), ~truth.any(1), True)


def test_operating_points_by_hand():
    """8 of 10 found, 5 of 40 falsely: LR+ 0.8 / 0.125 = 6.4, LR- 0.2 / 0.875; at prevalence 0.1 PPV = 0.08 / (0.08 + 0.1125)."""
    truth = np.arange(50) < 10
    yes = (np.arange(50) < 8) | (np.arange(50) >= 45)
    p = np.where(yes, 0.7, 0.2)
    shard = shard_of(np.column_stack([p, 1 - p]), np.column_stack([truth, ~truth]))
    points = {"a": {"threshold": 0.7, "reason": None}, "b": {"threshold": None, "reason": "why"}}
    seen = thresholds.described(shard, ["a", "b"], points, None, 200, 0)
    assert seen["b"] == {"threshold": None, "reason": "why"}
    values = {name: part["value"] for name, part in seen["a"].items() if isinstance(part, dict)}
    assert values == pytest.approx(
        {"sensitivity": 0.8, "specificity": 0.875, "ppv": 8 / 13, "npv": 35 / 37, "lr_positive": 6.4, "lr_negative": 0.2 / 0.875}
    )  # fmt: skip
    assert (seen["a"]["n"], seen["a"]["n_patients"]) == (10, 10)
    at = thresholds.described(shard, ["a", "b"], points, 0.1, 200, 0)["a"]
    assert at["ppv"]["value"] == pytest.approx(0.08 / (0.08 + 0.1125))
    assert at["npv"]["value"] == pytest.approx(0.875 * 0.9 / (0.875 * 0.9 + 0.2 * 0.1))
    for name, part in at.items():
        if isinstance(part, dict):
            assert part["low"] < part["value"] < part["high"], name


def test_ratios_that_are_no_numbers_are_null():
    truth = np.arange(50) < 10
    p = np.where(truth, 0.9, 0.1)
    shard = shard_of(np.column_stack([p, 1 - p]), np.column_stack([truth, ~truth]))
    points = {"a": {"threshold": 0.5, "reason": None}, "b": {"threshold": 0.5, "reason": None}}
    seen = thresholds.described(shard, ["a", "b"], points, 0.1, 50, 0)["a"]
    assert (
        seen["lr_positive"]["value"] is None and seen["lr_positive"]["low"] > 1 and seen["lr_positive"]["high"] is None
    )
    assert seen["sensitivity"]["high"] == 1 and 0.6 < seen["sensitivity"]["low"] < 0.8
    none = shard_of(np.column_stack([p, 1 - p]), np.column_stack([truth & False, ~truth | True]))
    assert thresholds.described(none, ["a", "b"], points, 0.1, 50, 0)["a"]["lr_positive"]["value"] is None


# ---- conformal sets


def mapies(probabilities, label, new, coverage):
    from mapie.classification import SplitConformalClassifier

    class Given(Fixed):
        def predict_proba(self, X):
            return np.asarray(X)

    model = Given().fit(probabilities, np.arange(probabilities.shape[1]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        split = SplitConformalClassifier(model, confidence_level=coverage, conformity_score="lac", prefit=True)
        return split.conformalize(probabilities, label).predict_set(new)[1][:, :, 0]


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
def test_sets_are_mapies_over_all_and_in_each_class(coverage):
    logits, truth = noisy_logits(300)
    probabilities, new = softmax(logits / 3, axis=1), softmax(noisy_logits(200, seed=1)[0] / 3, axis=1)
    label, classes = truth.argmax(axis=1), ["a", "b", "c", "d"]
    fit = conformal.fit(probabilities, truth, np.arange(300), classes, coverage, np.array(["F", "M"] * 150, object), 11)
    assert (conformal.sets(fit, new, classes, "marginal") == mapies(probabilities, label, new, coverage)).all()
    for k, name in enumerate(classes):
        alone = mapies(probabilities[label == k], label[label == k], new, coverage)
        assert (conformal.sets(fit, new, classes, "class")[:, k] == alone[:, k]).all(), name
    women = mapies(probabilities[::2], label[::2], new, coverage)
    assert (conformal.sets(fit, new, classes, "group", ["F"] * 200) == women).all()


def test_threshold_by_hand_and_where_notes_are_too_few():
    assert conformal.threshold(np.arange(1, 20) / 20, 0.9) == 1 / 20 + 1 / 20  # the 18th highest of 19
    assert conformal.threshold(np.arange(1, 10) / 10, 0.9) == 0.1 and conformal.enough(9, 0.9)
    assert conformal.threshold(np.arange(1, 9) / 10, 0.9) == 0 and not conformal.enough(8, 0.9)
    assert conformal.threshold(np.zeros(0), 0.9) == 0, "then every class is in every set"


def test_rare_classes_and_small_groups_go_together():
    logits, truth = noisy_logits(120)
    truth[:] = np.eye(4, dtype=bool)[np.where(np.arange(120) < 100, np.arange(120) % 2, 2 + np.arange(120) % 2)]
    truth[110:] = False  # labels outside the classes do not count
    groups = np.array(["F"] * 70 + ["M"] * 30 + ["X"] * 20, object)
    fit = conformal.fit(softmax(logits, axis=1), truth, np.arange(120), ["a", "b", "c", "d"], 0.9, groups, 11)
    assert set(fit["class"]) == {"a", "b", "(other)"} and set(fit["group"]) == {"F", "M", "(other)"} and fit["n"] == 110
    rare = softmax(logits, axis=1)[100:110][truth[100:110]]
    assert fit["class"]["(other)"] == conformal.threshold(rare, 0.9)


def test_coverage_holds_on_average():
    """500 shards of 60 notes: the mean coverage of new notes is what was aimed at, over all and in each class."""
    held, by_class = [], []
    for seed in range(500):
        logits, truth = noisy_logits(120, 2, seed)
        p = softmax(logits, axis=1)
        fit = conformal.fit(p[:60], truth[:60], np.arange(60), ["a", "b"], 0.8, None, 11)
        inside = conformal.sets(fit, p[60:], ["a", "b"], "marginal")
        held.append((inside & truth[60:]).any(axis=1).mean())
        inside = conformal.sets(fit, p[60:], ["a", "b"], "class")[truth[60:, 1], 1]
        by_class.append(inside.mean())
    assert 0.79 < np.mean(held) < 0.83 and 0.79 < np.mean(by_class) < 0.85


# ---- answers

CARD = {
    "task": "single_label",
    "classes": ["a", "b", "c"],
    "conformal": {"coverage": 0.9, "n": 9, "marginal": 0.3, "class": {"a": 0.3, "(other)": 0.45}},
    "sets": "class",
    "deferral": {"budget": 0.1, "limit": 0.6},
}


def test_answers_and_their_reasons():
    given = answers(CARD, np.array([[0.8, 0.1, 0.1], [0.5, 0.5, 0], [0.25, 0.35, 0.4], [0.55, 0.3, 0.15]]))
    assert [each["answer"] for each in given] == [["a"], None, None, None]
    assert [each["reason"] for each in given] == [None, "several_fit", "none_fits", "low_confidence"]
    assert [each["set"] for each in given] == [["a"], ["a", "b"], [], ["a"]]
    several = CARD | {"task": "multi_label", "conformal": {"status": "not offered"}, "deferral": {"limit": 0.6}}
    given = answers(several, np.array([[0.8, 0.1, 0.7], [0.9, 0.45, 0], [0.1, 0.1, 0.1]]))
    assert [each["answer"] for each in given] == [["a", "c"], None, []] and given[1]["reason"] == "low_confidence"
    assert answers(CARD | {"deferral": {"limit": None}}, np.full((1, 3), 1 / 3))[0]["answer"] == ["a"]


def test_the_budget_is_kept_on_the_shard_it_is_fitted_on():
    sure = np.array([0.3, 0.4, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.9, 1.0])
    assert [limit(sure, b) for b in (0, 0.1, 0.2, 0.3)] == [None, 0.4, 0.4, 0.5]
    assert all((sure < limit(sure, b)).mean() <= b for b in np.arange(0.05, 1, 0.05)) and limit(sure[:0], 0.1) is None
    assert confidence(np.array([[0.9, 0.55], [0.2, 0.1]]), single=False) == pytest.approx([0.55, 0.8])


def test_risk_and_coverage_by_hand():
    coverage, risk, area = risk_coverage(np.array([0.9, 0.5, 0.7, 0.7]), np.array([False, True, True, False]))
    assert coverage == pytest.approx([0.25, 0.75, 1]) and risk == pytest.approx([0, 1 / 3, 0.5])
    assert area == pytest.approx((0 + 1 / 3 + 1 / 3 + 0.5) / 4)


# ---- the report


def test_brier_parts_add_up_and_by_hand():
    shard = random_shard(300)
    parts = brier_parts(shard)
    brier = Scorer(shard).headline(np.ones((300, 1)))["brier"][0]
    assert parts["reliability"] - parts["resolution"] + parts["uncertainty"] + parts["within_bins"] == pytest.approx(
        brier
    )
    p = np.repeat([0.2, 0.6], 10)
    truth = np.isin(np.arange(20), [0, 1, 2, 10, 11, 12, 13, 14])  # 3 of 10 where 0.2 is said, 5 of 10 where 0.6 is
    parts = brier_parts(shard_of(np.column_stack([p, 1 - p]), np.column_stack([truth, ~truth])))
    assert parts == pytest.approx({"reliability": 0.02, "resolution": 0.02, "uncertainty": 0.48, "within_bins": 0})


def test_before_and_after_has_classwise_ece_and_paired_changes():
    logits, truth = noisy_logits(600)
    sharp, mended = shard_of(softmax(logits, axis=1), truth), shard_of(softmax(logits / 3, axis=1), truth)
    found = before_and_after(sharp, mended, 200, 0)
    for name in ("ece", "classwise_ece", "brier"):
        assert found["change"][name]["high"] < 0, "three times too sure is found out"
        assert found["change"][name]["value"] == found["calibrated"][name]["value"] - found["model"][name]["value"]
    place = np.minimum(np.ceil(sharp.probabilities * BINS) - 1, BINS - 1).clip(0)
    gaps = sharp.probabilities - truth
    by_hand = np.mean([sum(abs(gaps[place[:, k] == b, k].sum()) for b in range(BINS)) / 600 for k in range(4)])
    assert found["model"]["classwise_ece"]["value"] == pytest.approx(by_hand)


def test_small_groups_are_not_shown():
    shard = random_shard(80)
    card = {
        "task": "single_label", "classes": CLASSES, "group": "sex", "sets": "class", "min_count": 11,
        "conformal": {"coverage": 0.9, "n": 9, "marginal": 0.2, "class": {"(other)": 0.2}, "group": {"(other)": 0.1}},
    }  # fmt: skip
    groups = np.array(["F"] * 40 + ["M"] * 30 + ["X"] * 7 + [None] * 3, object)
    found = sets(shard, card, groups, 50, 0)
    assert set(found["group"]["by_group"]) == set(found["class"]["by_group"]) == {"F", "M"}
    assert found["group"]["size"]["value"] > found["marginal"]["size"]["value"]
    assert set(found["marginal"]["by_class"]) == set(CLASSES)


# ---- the stage


def predicted(
    folder, *, single=True, notes=120, shards=("validation", "calibration", "test"), change=lambda rows: rows
):
    rows = []
    for number, name in enumerate(shards):
        shard = random_shard(notes, single=single, patients=notes * 2 // 3, seed=number)
        rows += prediction_rows(shard, name, "model")
    rows = change(rows)
    write_predictions(folder / "data/predictions.parquet", rows, single=single)
    return rows


ALONE = {"group": None}


@pytest.mark.parametrize("single", [True, False])
@pytest.mark.parametrize("method", ["none", "temperature", "platt", "isotonic"])
def test_the_stage_writes_every_shard_and_a_card_that_does_the_same(stage, folder, method, single):
    predicted(folder, single=single)
    assert stage("calibrate", ALONE | {"method": method}) == (0, "")
    card, source = read_json(folder / "models/calibration.json"), Predictions(folder / "data/predictions.parquet")
    made = Predictions(folder / "data/calibrated.parquet")
    assert made.classes == CLASSES and made.data_use == source.data_use and made.task == card["task"]
    for name in ("validation", "calibration", "test"):
        shard = made.shard(name, "calibrated")
        assert (shard.probabilities == methods.apply(card, source.logits(name, "model"))).all()
        assert (shard.note_ids == source.shard(name, "model").note_ids).all()
        assert len(answers(card, shard.probabilities)) == 120
        found = report({"model": source.shard(name, "model"), "calibrated": shard}, card, None, 0.1, 50, 0)
        assert set(found) == {"calibration", "operating_points", "conformal", "selective"}
        assert (found["conformal"].keys() == {"status"}) == (not single)
    told = read_json(folder / "metrics/calibrate.json")
    assert (told["n"], told["n_patients"], told["method"]) == (120, 80, method)
    assert "scores" not in json.dumps(told["by_class"])


def test_nothing_but_the_calibration_shard_is_fitted_on_and_the_order_of_rows_is_nothing(stage, folder):
    rows = predicted(folder)
    assert stage("calibrate", ALONE) == (0, "")
    files = ["models/calibration.json", "metrics/calibrate.json", "data/calibrated.parquet"]
    before = [sha256(folder / file) for file in files]
    predicted(folder, change=lambda rows: rows[::-1])
    assert stage("calibrate", ALONE) == (0, "")
    assert before == [sha256(folder / file) for file in files]
    other = [
        row if row["shard"] == "calibration" else {**row, "labels": ["gout"], "logits": row["logits"][::-1]}
        for row in rows
    ]
    write_predictions(folder / "data/predictions.parquet", other)
    assert stage("calibrate", ALONE) == (0, "")
    assert before[:2] == [sha256(folder / file) for file in files[:2]]


def test_withheld_test_and_an_empty_calibration_shard(stage, folder, capsys):
    predicted(folder, shards=("validation", "calibration"))
    assert stage("calibrate", ALONE) == (0, "")
    made = Predictions(folder / "data/calibrated.parquet")
    assert made.has("validation") and not made.has("test")
    capsys.readouterr()
    predicted(folder, shards=("validation", "test"))
    assert stage("calibrate") == (0, "")
    card = read_json(folder / "models/calibration.json")
    assert "the calibration shard is empty" in capsys.readouterr().out
    assert card["temperature"] == 1 and card["deferral"]["limit"] is None and card["conformal"]["marginal"] == 0
    assert answers(card, np.full((1, 4), 0.25))[0]["set"] == CLASSES


def test_one_class_only_says_what_cannot_be_had(stage, folder, capsys):
    predicted(folder, change=lambda rows: [{**row, "labels": ["gout"]} for row in rows])
    assert stage("calibrate", ALONE | {"method": "isotonic"}) == (0, "")
    lines = capsys.readouterr().out
    assert "the pooled temperature instead: anaemia, asthma, gout, sepsis" in lines
    assert "cannot be met, so no threshold: anaemia, asthma, gout, sepsis" in lines
    assert "one for all these: anaemia, asthma, sepsis" in lines


def test_groups_come_from_the_calibration_shard_and_stay_out_of_git(stage, folder):
    rows = [row for row in predicted(folder) if row["shard"] == "calibration"]
    values = [{"sex": ("F", "M", None)[n % 3] if n > 5 else "X"} for n in range(len(rows))]
    write_shard(folder / "data/split/calibration.parquet", rows, values)
    assert stage("calibrate") == (0, "")
    assert set(read_json(folder / "models/calibration.json")["conformal"]["group"]) == {"F", "M", "(other)"}
    assert "group" not in read_json(folder / "metrics/calibrate.json")["conformal"]


@pytest.mark.parametrize(
    "change, params, says",
    [
        (lambda rows: [{**rows[0], "logits": None}, *rows[1:]], {}, None),
        (lambda rows: [*rows[:130], {**rows[130], "logits": None}, *rows[131:]], {}, "1 notes have not one logit"),
        (lambda rows: [*rows[:130], {**rows[130], "logits": [np.nan] * 4}, *rows[131:]], {}, "logits that are not finite"),
        (lambda rows: [*rows[:130], {**rows[130], "logits": [1.0]}, *rows[131:]], {}, "1 notes have not one logit"),
        (lambda rows: [*rows[:130], {**rows[130], "probabilities": [0.1] * 4}, *rows[131:]], {}, "do not sum to 1"),
        (lambda rows: [*rows, rows[130]], {}, "1 note_ids occur twice"),
        (lambda rows: [], {}, "holds no prediction"),
        (lambda rows: rows, {"group": "sex"}, "calibration.parquet does not exist"),
        (lambda rows: rows, {"method": "beta"}, "calibrate.method is 'beta'"),
        (lambda rows: rows, {"coverage": 1}, "calibrate.coverage is 1"),
        (lambda rows: rows, {"defer": -0.1}, "calibrate.defer is -0.1"),
        (lambda rows: rows, {"costs": {"false_negative": -1}}, "calibrate.costs.false_negative is -1"),
        (lambda rows: rows, {"aim": "youden"}, "calibrate.aim is 'youden'"),
    ],
)  # fmt: skip
def test_bad_input_ends_with_one_line(stage, folder, change, params, says):
    predicted(folder, change=change)
    code, line = stage("calibrate", ALONE | params)
    assert code == 1 and (says or "1 notes have not one logit") in line and "\n" not in line
    assert not (folder / "metrics").exists() and not (folder / "models").exists()
    assert not (folder / "data/calibrated.parquet").exists()


def test_notes_of_other_ids_than_the_groups_are_one_line(stage, folder):
    rows = [row for row in predicted(folder) if row["shard"] == "calibration"]
    write_shard(folder / "data/split/calibration.parquet", rows[1:], [{"sex": "F"}] * (len(rows) - 1))
    code, line = stage("calibrate")
    assert code == 1 and "1 notes are in the shard or in the predictions only" in line


# ---- evaluate


def evaluated(stage, folder, calibrate=ALONE, **params):
    from test_evaluate import tables

    _, baseline = tables(notes=120)
    write_predictions(folder / "data/baseline.parquet", baseline)
    assert stage("calibrate", calibrate) == (0, "")
    return stage("evaluate", {"bootstrap_samples": 40} | params)


def test_evaluate_reports_what_calibration_gives(stage, folder):
    rows = predicted(folder)
    for name in ("validation", "calibration", "test"):
        own = [row for row in rows if row["shard"] == name]
        write_shard(folder / f"data/split/{name}.parquet", own, [{"sex": "FM"[n % 2]} for n in range(len(own))])
    assert evaluated(stage, folder, {"aim": "f1"}, target_prevalence=0.05) == (0, "")
    made = read_json(folder / "metrics/evaluate.json")
    for shard in (made["validation"], made["test"]):
        assert shard["calibrated"]["accuracy"] == shard["model"]["accuracy"], "a temperature moves no decision"
        assert shard["calibrated"]["ece"] == shard["calibration"]["calibrated"]["ece"]["value"]
        assert shard["interval"]["calibrated"]["brier"]["low"] < shard["calibrated"]["brier"]
        assert set(shard["operating_points"]["by_class"]) == set(CLASSES)
        assert shard["operating_points"]["target_prevalence"] == 0.05
        assert set(shard["conformal"]["group"]["by_group"]) == {"F", "M"}
        assert shard["conformal"]["marginal"]["coverage"]["low"] > 0.7
        assert sum(shard["selective"]["reasons"].values()) == shard["selective"]["deferred"]["n"]
    lines = (folder / "plots/evaluate/risk_coverage.csv").read_text().splitlines()
    assert lines[0] == "shard,model,coverage,risk"
    assert {line.split(",")[1] for line in lines[1:]} == {"model", "calibrated", "tfidf_logreg"}
    assert ",calibrated," in (folder / "plots/evaluate/reliability.csv").read_text()


@pytest.mark.parametrize(
    "break_it, says",
    [
        (lambda folder: (folder / "models/calibration.json").unlink(), "calibration.json does not exist"),
        (lambda folder: (folder / "models/calibration.json").write_text("{"), "is not valid JSON"),
        (lambda folder: write_card(folder, classes=["w", "x", "y", "z"]), "state different classes or tasks"),
        (lambda folder: write_card(folder, group="sex"), "validation.parquet does not exist"),
        (lambda folder: (folder / "data/calibrated.parquet").unlink(), "calibrated.parquet does not exist"),
        (lambda folder: write_predictions(folder / "data/calibrated.parquet", []), "holds no prediction"),
    ],
)
def test_evaluate_without_what_calibrate_wrote_ends_with_one_line(stage, folder, break_it, says):
    predicted(folder)
    assert evaluated(stage, folder) == (0, "")
    for file in (folder / "metrics/evaluate.json", *(folder / "plots/evaluate").iterdir()):
        file.unlink()
    break_it(folder)
    code, line = stage("evaluate", {"bootstrap_samples": 40})
    assert code == 1 and says in line and "\n" not in line
    assert not (folder / "metrics/evaluate.json").exists()


def test_no_torch_is_loaded():
    text = "".join(path.read_text() for path in Path(methods.__file__).parent.glob("*.py"))
    assert "torch" not in text
