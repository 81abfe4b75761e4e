"""Net benefit, intervals by class, ranking and hierarchical scores, label noise, the clinician's baselines: by hand and against others."""

import json
import time
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import ROOT
from scipy.stats import binomtest
from scored import CLASSES, random_shard
from sklearn import metrics as sk
from test_evaluate import FAST, evaluated, tables, write, write_calibrated
from test_scores import shard_of

from diagnosis.files import write_json
from diagnosis.scores import evidence
from diagnosis.scores.clinician import named, previous, shares
from diagnosis.scores.decision_plot import draw_curves
from diagnosis.scores.label_noise import answers, confident, label_noise, losses, suspected
from diagnosis.scores.metrics import BY_CLASS, METRICS, Scorer
from diagnosis.scores.net_benefit import decision_curves, net_benefits
from diagnosis.scores.ranking import ancestors, hierarchical, ranking
from diagnosis.scores.shards import Shard
from diagnosis.text.label_mentions import Mentions


def reference(name: str) -> list[dict]:
    """Values of another library; the file says by which code they were made, and with which release."""
    return json.loads((ROOT / f"tests/reference/{name}.json").read_text())["cases"]


def ranged(low: float, high: float, weight: float = 1.0):
    return SimpleNamespace(low=low, high=high, weight=weight)


# ---- net benefit


@pytest.mark.parametrize("number", range(3))
def test_net_benefit_is_that_of_dcurves(number):
    case = reference("dcurves")[number]
    truth, probability = np.array(case["outcome"], bool), np.array(case["probability"])
    found = net_benefits(truth, probability, np.array(case["thresholds"]))
    assert np.abs(found.model[:, 0] - case["net_benefit"]["p"]).max() < 1e-10
    assert np.abs(found.treat_all[:, 0] - case["net_benefit"]["all"]).max() < 1e-10
    assert set(case["net_benefit"]["none"]) == {0.0}
    assert found.prevalence[0] == pytest.approx(truth.mean())


def test_net_benefit_by_hand_weighted_and_by_group():
    truth, probability = np.array([1, 0, 1, 0, 0], bool), np.array([0.8, 0.5, 0.2, 0.2, 0.05])
    found = net_benefits(truth, probability, np.array([0.1, 0.2, 0.5, 0.9]))
    # at 0.2 acted on are four (the two at 0.2 among them), two of them right; at 0.5 two, one right; at 0.9 none
    assert found.model[:, 0] == pytest.approx([2 / 5 - 2 / 5 / 9, 2 / 5 - 2 / 5 / 4, 1 / 5 - 1 / 5, 0])
    assert found.treat_all[:, 0] == pytest.approx(
        [2 / 5 - 3 / 5 / 9, 2 / 5 - 3 / 5 / 4, 2 / 5 - 3 / 5, 2 / 5 - 9 * 3 / 5]
    )
    rows = np.array([0, 1, 2])
    group = net_benefits(truth[rows], probability[rows], found.thresholds)
    as_weights = net_benefits(truth, probability, found.thresholds, np.array([[1.0, 1, 1, 0, 0], [2.0, 2, 2, 0, 0]]).T)
    assert as_weights.model == pytest.approx(np.repeat(group.model, 2, axis=1))
    # trapezoids by hand, as a share of the prevalence 0.4
    curve = found.model[:, 0]
    area = 0.1 * (curve[0] + curve[1]) / 2 + 0.3 * (curve[1] + curve[2]) / 2 + 0.4 * (curve[2] + curve[3]) / 2
    assert found.standardised()[0] == pytest.approx(area / 0.8 / 0.4)
    assert found.standardised("gain")[0] < found.standardised()[0]


def test_a_perfect_model_gains_all_and_an_absent_class_nothing():
    truth = np.array([1, 0, 0, 1], bool)
    perfect = net_benefits(truth, truth.astype(float), np.linspace(0.1, 0.5, 5))
    assert perfect.standardised()[0] == pytest.approx(1) and np.allclose(perfect.model, 0.5)
    absent = net_benefits(np.zeros(4, bool), np.full(4, 0.3), np.linspace(0.1, 0.5, 5))
    assert np.isnan(absent.standardised()[0]) and (absent.model[:2] < 0).all()
    assert np.isnan(net_benefits(truth[:0], truth[:0].astype(float), np.array([0.1, 0.2])).model).all()


def test_decision_curves_weigh_declared_classes_and_name_the_others():
    shard = random_shard(200, patients=120)
    shard.truth[:, 3] = False
    declared = {
        "anaemia": ranged(0.1, 0.4, 3),
        "gout": ranged(0.05, 0.2),
        "sepsis": ranged(0.1, 0.2, 9),
        "scurvy": ranged(0.1, 0.2),
    }
    found, curves = decision_curves(shard, CLASSES, declared, 200, 7)
    assert (found["undeclared"], found["not_classes"], found["without_a_note"]) == (["asthma"], ["scurvy"], ["sepsis"])
    one, two = (found["by_class"][name]["model"]["value"] for name in ("anaemia", "gout"))
    assert found["model"]["value"] == pytest.approx((3 * one + two) / 4) and found["classes"] == 2
    absent = found["by_class"]["sepsis"]["model"]
    assert np.isnan(absent["value"]) and (absent["low"], absent["high"]) == (None, None)
    for part in ("model", "treat_all", "gain"):
        assert found[part]["low"] < found[part]["value"] < found[part]["high"]
    for curve in curves.values():
        assert (curve["low"] <= curve["model"] + 1e-9).mean() > 0.9 and (
            curve["high"] >= curve["model"] - 1e-9
        ).mean() > 0.9
    nothing, none = decision_curves(shard, CLASSES, {}, 50, 7)
    assert none == {} and nothing["undeclared"] == CLASSES and np.isnan(nothing["model"]["value"])


@pytest.mark.parametrize("count", [0, 1, 4])
def test_the_plot_is_the_same_bytes_twice(tmp_path, count):
    shard = random_shard(80)
    _, curves = decision_curves(shard, CLASSES, {name: ranged(0.1, 0.4) for name in CLASSES[:count]}, 40, 7)
    for name in ("a.png", "b.png"):
        draw_curves(tmp_path / name, curves, 4 - count, "test")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


# ---- what stands beside intervals


def test_exact_intervals_where_each_patient_has_one_note():
    shard = random_shard(60)
    scorer = Scorer(shard)
    found = evidence.exact(shard, scorer, CLASSES)
    expected = binomtest(int(shard.correct.sum()), 60).proportion_ci(method="exact")
    assert found["accuracy"] == pytest.approx({"low": expected.low, "high": expected.high})
    truth, decided = shard.truth[:, 2], shard.decided[:, 2]
    hits = {
        "sensitivity": (truth & decided, truth), "specificity": (~truth & ~decided, ~truth),
        "ppv": (truth & decided, decided), "npv": (~truth & ~decided, ~decided),
    }  # fmt: skip
    for name, (above, below) in hits.items():
        expected = binomtest(int(above.sum()), int(below.sum())).proportion_ci(method="exact")
        assert found["by_class"]["gout"][name] == pytest.approx({"low": expected.low, "high": expected.high})
    several = random_shard(60, patients=40)
    found = evidence.exact(several, Scorer(several), CLASSES)
    assert found["accuracy"] is None and found["by_class"] is None
    _, notes = np.unique(several.patients, return_counts=True)
    assert found["patients_with_several_notes"] == (notes > 1).sum() > 0


@pytest.mark.parametrize(("hits", "of"), [(0, 5), (5, 5), (1, 1)])
def test_clopper_pearson_at_the_ends(hits, of):
    expected = binomtest(hits, of).proportion_ci(method="exact")
    assert evidence.clopper_pearson(hits, of) == pytest.approx({"low": expected.low, "high": expected.high})
    assert evidence.clopper_pearson(0, 0) == {"low": None, "high": None}


def test_intervals_by_class_count_what_they_rest_on():
    shard = random_shard(90, patients=50)
    shard.truth[:, 3] = False
    scorer = Scorer(shard)
    found = evidence.by_class(shard, scorer, CLASSES, 300, 7)
    plain = scorer.by_class(scorer.ones)
    for k, label in enumerate(CLASSES[:3]):
        assert found[label]["positive_patients"] == len(np.unique(shard.patients[shard.truth[:, k]]))
        for name in BY_CLASS:
            assert found[label][name]["low"] <= plain[name][k, 0] <= found[label][name]["high"]
            assert found[label][name]["undefined_resamples"] == 0
    assert found["sepsis"]["sensitivity"] == {"low": None, "high": None, "undefined_resamples": 300}
    assert found["sepsis"]["positive_patients"] == 0 and found["sepsis"]["specificity"]["low"] is not None
    draws = {name: np.zeros(300) for name in METRICS} | {"macro_auroc": np.full(300, np.nan)}
    behind = evidence.resamples(shard, scorer, draws)
    assert (behind["samples"], behind["undefined"]["macro_auroc"], behind["undefined"]["accuracy"]) == (300, 300, 0)
    fewest = min(found[label]["positive_patients"] for label in CLASSES[:3])
    assert behind["positive_patients"]["sensitivity"] == fewest, "the class without a note is not in the mean"
    assert behind["positive_patients"]["accuracy"] == 50


def test_two_thousand_resamples_of_10_000_notes_and_20_classes():
    """In seconds here, with room for a busy machine; benchmarks/intervals.py has the figures."""
    shard = random_shard(10_000, classes=20, single=False, patients=6_000)
    start = time.perf_counter()
    classes = [str(k) for k in range(20)]
    scorer = Scorer(shard)
    found = evidence.by_class(shard, scorer, classes, 400, 7)  # a fifth of them
    assert len(found) == 20 and time.perf_counter() - start < 20


# ---- ranking, micro, hierarchical


def test_at_k_by_hand():
    shard = shard_of(
        [[1, 0, 1], [0, 1, 0], [0, 0, 0]], [[0.9, 0.5, 0.1], [0.2, 0.2, 0.1], [0.1, 0.1, 0.1]], single=False
    )
    found = {name: value["value"] for name, value in ranking(shard, 20, 7).items()}
    assert found["precision_at_1"] == pytest.approx(1 / 3)  # of two equals the first: the second note's is wrong
    assert found["recall_at_1"] == pytest.approx((1 / 2 + 0) / 2)  # the note without a label has no recall
    assert "precision_at_3" not in found, "three of three classes say nothing"
    assert found["micro_sensitivity"] == pytest.approx(1 / 3) and found["micro_ppv"] == pytest.approx(1 / 2)


def test_one_label_recall_at_k_is_top_k_accuracy():
    shard = random_shard(120, classes=6)
    found = ranking(shard, 50, 7)
    assert set(found) == {f"{name}_at_{k}" for name in ("precision", "recall") for k in (1, 3, 5)}
    for k in (1, 3, 5):
        expected = sk.top_k_accuracy_score(shard.truth.argmax(axis=1), shard.probabilities, k=k, labels=range(6))
        assert found[f"recall_at_{k}"]["value"] == pytest.approx(expected)
        assert found[f"precision_at_{k}"]["value"] == pytest.approx(expected / k)


def test_micro_scores_are_scikit_learns():
    shard = random_shard(150, single=False, patients=90)
    found = ranking(shard, 50, 7)
    truth, decided = shard.truth.astype(int), shard.decided.astype(int)
    assert found["micro_sensitivity"]["value"] == pytest.approx(sk.recall_score(truth, decided, average="micro"))
    assert found["micro_ppv"]["value"] == pytest.approx(sk.precision_score(truth, decided, average="micro"))
    assert found["micro_auroc"]["value"] == pytest.approx(sk.roc_auc_score(truth, shard.probabilities, average="micro"))
    assert found["micro_auprc"]["value"] == pytest.approx(
        sk.average_precision_score(truth, shard.probabilities, average="micro")
    )
    assert all(of["low"] <= of["value"] <= of["high"] for of in found.values())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("I50", {"I50", "I00-I99 circulatory"}),
        ("I5021", {"I50", "I502", "I5021", "I00-I99 circulatory"}),
        ("4280", {"428", "4280", "I00-I99 circulatory"}),
        ("ICD-9 V450", {"ICD-9 V45", "ICD-9 V450", "Z00-Z99 factors influencing health"}),
        ("ICD-9 E8120", {"ICD-9 E812", "ICD-9 E8120", "V00-Y99 external causes"}),
        ("gout", set()),
        ("CCS 122", set()),
        ("I00-I99 circulatory", set()),
    ],
)
def test_ancestors(name, expected):
    assert ancestors(name) == expected


def test_hierarchical_by_hand():
    classes = ["I5021", "I5022", "J189"]
    shard = shard_of(np.eye(3), [[0.2, 0.7, 0.1], [0.1, 0.8, 0.1], [0.6, 0.2, 0.2]])
    # a note's class and ancestors are four (J189: three, J18, J189, chapter); I5022 for I5021 shares I50, I502 and the chapter
    found = hierarchical(shard, classes, 20, 7)
    assert found["precision"]["value"] == pytest.approx((3 + 4 + 0) / (4 + 4 + 4))
    assert found["recall"]["value"] == pytest.approx((3 + 4 + 0) / (4 + 4 + 3))
    assert found["f1"]["value"] == pytest.approx(2 * 7 / (12 + 11)) and found["nodes"] == 8
    assert hierarchical(shard, CLASSES[:3], 20, 7) is None
    assert hierarchical(shard, ["I50", "I51", "gout"], 20, 7) is None


# ---- label noise


@pytest.mark.parametrize("number", range(2))
def test_the_confident_joint_is_cleanlabs(number):
    case = reference("cleanlab")[number]
    given, probabilities = np.array(case["given"]), np.array(case["probabilities"])
    found, k = confident(given, probabilities), probabilities.shape[1]
    sure = found >= 0
    assert sk.confusion_matrix(given[sure], found[sure], labels=range(k)).tolist() == case["counts"]
    assert np.flatnonzero(sure & (found != given)).tolist() == case["suspected"]
    shard = shard_of(given[:, None] == np.arange(k), probabilities)
    counts = np.array(case["counts"])
    share = 1 - np.diag(counts) / counts.sum(axis=1)
    noise = label_noise(shard, [str(c) for c in range(k)], 100, 7)
    assert noise["noise"]["value"] == pytest.approx((share * np.bincount(given)).sum() / len(given))
    assert list(noise["by_class"].values()) == pytest.approx(share.tolist())
    assert noise["suspected"] == len(case["suspected"])


def test_confident_by_hand():
    given = np.array([0, 0, 0, 1, 1])
    p = np.array([0.9, 0.6, 0.1, 0.2, 0.7])
    # class 0: the mean of 0.9, 0.6, 0.1 is 0.533; class 1: of 0.8 and 0.3, 0.55
    assert confident(given, np.column_stack([p, 1 - p])).tolist() == [0, 0, 1, 1, 0]
    assert confident(given, np.column_stack([p, 1 - p, 0 * p])).tolist() == [0, 0, 1, 1, 0]  # no note is labelled 2


@pytest.mark.parametrize("single", [True, False])
def test_noise_bounds_the_ceiling_and_losses_are_cross_entropy(single):
    shard = random_shard(200, single=single, patients=120)
    found = label_noise(shard, CLASSES, 200, 7)
    assert found["answers"] == 200 * (1 if single else 4)
    assert 0 <= found["noise"]["low"] <= found["noise"]["value"] <= found["noise"]["high"] <= 1
    assert found["ceiling_accuracy"]["value"] == pytest.approx(1 - found["noise"]["value"])
    assert found["ceiling_accuracy"]["low"] == pytest.approx(1 - found["noise"]["high"])
    given, sure = answers(shard)
    assert found["suspected"] == suspected(given, sure).sum()
    p = shard.probabilities.clip(1e-12, 1)
    if single:
        assert losses(shard).mean() == pytest.approx(sk.log_loss(shard.truth.argmax(axis=1), p, labels=range(4)))
    else:
        q = (1 - shard.probabilities).clip(1e-12, 1)
        assert losses(shard) == pytest.approx(-np.where(shard.truth, np.log(p), np.log(q)).sum(axis=1))


def test_a_label_outside_the_classes_has_no_loss_and_is_not_judged():
    shard = shard_of([[0, 0], [1, 0]], [[0.5, 0.5], [0.9, 0.1]], unknown=[True, False])
    assert np.isnan(losses(shard)[0]) and losses(shard)[1] == pytest.approx(-np.log(0.9))
    assert label_noise(shard, ["a", "b"], 20, 7)["answers"] == 1
    nothing = Shard(shard.note_ids, shard.patients, np.zeros((2, 2), bool), shard.probabilities, np.ones(2, bool), True)
    found = label_noise(nothing, ["a", "b"], 20, 7)
    assert found["answers"] == 0 and np.isnan(found["noise"]["value"]) and found["by_class"] == {"a": None, "b": None}


# ---- the clinician's baselines


def test_named_counts_what_is_meant_and_shares_add_the_prior():
    mentions = Mentions({"mi": ["Myocardial infarction, unspecified"], "pn": ["Pneumonia, unspecified organism"]})
    texts = ["Myocardial infarction. No pneumonia.", "Pneumonia, then myocardial infarction, pneumonia.", "Cough."]
    counts = named(mentions, texts, ["mi", "pn"])
    assert counts.tolist() == [[1, 0], [1, 2], [0, 0]]
    prior = np.array([0.3, 0.7])
    assert shares(counts, prior, True) == pytest.approx(np.array([[1.3 / 2, 0.7 / 2], [1.3 / 4, 2.7 / 4], [0.3, 0.7]]))
    assert shares(counts, prior, False) == pytest.approx(np.array([[1.3 / 2, 0.7], [1.3 / 2, 2.7 / 3], [0.3, 0.7]]))


def test_previous_is_the_encounter_before_in_the_order_of_rows():
    patients = ["p", "q", "p", "p", None, "q", "p", "r"]
    encounters = ["1", "1", "1", "2", "3", None, "3", "9"]
    labels = [["a"], ["b"], ["a"], ["c"], ["d"], ["e"], ["a"], ["b"]]
    assert previous(patients, encounters, labels) == [None, None, None, ["a"], None, None, ["c"], None]


# ---- the stage


@pytest.mark.parametrize("single", [True, False])
def test_the_stage_writes_them_beside_the_old_keys(stage, folder, single, capsys):
    write(folder, *tables(single=single), single=single)
    declared = {"gout": {"low": 0.1, "high": 0.4, "weight": 1}, "scurvy": {"low": 0.1, "high": 0.4, "weight": 1}}
    assert stage("evaluate", FAST | {"net_benefit": declared}) == (0, "")
    assert "names what is no class of these notes" in capsys.readouterr().out
    for shard in evaluated(folder).values():
        assert set(shard["net_benefit"]["by_class"]) == {"gout"} and "scurvy" in shard["net_benefit"]["not_classes"]
        assert shard["net_benefit"]["undeclared"] == ["anaemia", "asthma", "sepsis"]
        assert shard["net_benefit"]["model"]["value"] == shard["net_benefit"]["by_class"]["gout"]["model"]["value"]
        assert set(shard["interval"]["by_class"]) == set(CLASSES) and shard["hierarchical"] is None
        assert shard["resamples"]["samples"] == 60 and shard["exact"]["patients_with_several_notes"] > 0
        assert shard["baseline"]["keywords"] is None and shard["difference"]["keywords"] is None
        assert shard["baseline_says"].keys() == {"previous_admission"}
        assert shard["baseline_says"]["previous_admission"]["share"] == pytest.approx(1 / 3)
        assert shard["ranking"]["recall_at_1"]["value"] is not None
        assert ("micro_auroc" in shard["ranking"]) is not single
    table = pq.read_table(folder / "data/note_losses.parquet").to_pandas()
    assert table.groupby("shard").size().to_dict() == {"validation": 60, "test": 60}
    for _, part in table.groupby("shard"):
        assert part["rank"].tolist() == list(range(1, 61)) and part["loss"].is_monotonic_decreasing


def test_net_benefit_is_of_the_calibrated_probabilities(stage, folder):
    model, baseline = tables()
    found = []
    for power in (1, 3):
        write(folder, model, baseline)
        other = [{**r, "probabilities": (p := r["probabilities"].astype(float) ** power) / p.sum()} for r in model]
        write_calibrated(folder, other)
        assert stage("evaluate", FAST | {"net_benefit": {"gout": {"low": 0.2, "high": 0.6, "weight": 1}}}) == (0, "")
        found.append(evaluated(folder)["test"])
    assert found[0]["net_benefit"]["model"] != found[1]["net_benefit"]["model"]
    assert found[0]["model"] == found[1]["model"] and found[0]["label_noise"] == found[1]["label_noise"]


@pytest.mark.parametrize(
    ("breaks", "says"),
    [
        (lambda rows: None, "calibrated.parquet does not exist"),
        (lambda rows: rows[1:], "1 notes are in one table and not in the other"),
        (lambda rows: [{**rows[0], "labels": ["scurvy"]}, *rows[1:]], "1 notes have other labels"),
        (lambda rows: [{**rows[0], "probabilities": [np.nan] * 4}, *rows[1:]], "not numbers from 0 to 1"),
        (lambda rows: [{**rows[0], "probabilities": [0.1] * 4}, *rows[1:]], "do not sum to 1"),
    ],
    ids=["absent", "fewer", "other-labels", "nan", "sum"],
)
def test_bad_calibrated_probabilities_are_one_line(stage, folder, breaks, says):
    model, baseline = tables()
    write(folder, model, baseline)
    (folder / "data/calibrated.parquet").unlink()
    if (rows := breaks(model)) is not None:
        write_calibrated(folder, rows)
    code, line = stage("evaluate", FAST)
    assert code == 1 and says in line and "\n" not in line
    assert not (folder / "metrics").exists() and not (folder / "plots").exists()


def test_the_baseline_stage_names_and_remembers(stage, folder):
    from test_baseline import write_split
    from toy import CLASSES as TOY
    from toy import metadata, rows, write_table

    from diagnosis.scores.predictions import read_predictions

    write_split(folder)
    notes = [note | {"patient_id": f"p{n // 2}", "encounter_id": f"e{n}"} for n, note in enumerate(rows(12, seed=3))]
    notes[0]["text"] += " pneumonia"
    write_table(folder / "data/split/test.parquet", notes, metadata())
    write_json(folder / "data/titles.json", {"lung": ["Pneumonia, unspecified organism"]})
    assert stage("baseline") == (0, "")
    table, _ = read_predictions(folder / "data/baseline.parquet")
    of = {
        model: np.stack(table[(table["model"] == model) & (table["shard"] == "test")]["probabilities"].to_list())
        for model in ("majority", "keywords", "previous_admission")
    }
    prior = of["majority"][0]
    expected = (np.arange(3) == TOY.index("lung")) / 2 + prior / 2
    assert of["keywords"][0] == pytest.approx(expected) and (of["keywords"][1:] == of["majority"][1:]).all()
    for n in range(12):
        last = np.array([label in notes[n - 1]["labels"] for label in TOY])
        assert of["previous_admission"][n] == pytest.approx(prior if n % 2 == 0 else last / 2 + prior / 2)
