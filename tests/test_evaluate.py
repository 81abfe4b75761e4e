"""The stage evaluate: its keys, its numbers against the scores', paired differences, and what users break."""

import json

import numpy as np
import pytest
from conftest import ROOT, run_in
from scored import CLASSES, prediction_rows, random_shard, write_card, write_predictions
from sklearn.metrics import f1_score

from diagnosis.files import sha256
from diagnosis.scores.metrics import METRICS

PLOTS = ("confusion", "precision_recall", "reliability", "risk_coverage", "roc")
FAST = {"bootstrap_samples": 60}


def tables(shards=("validation", "calibration", "test"), *, notes=60, single=True):
    """Rows of predictions and of baselines for the same notes; tfidf_logreg is as good, on other draws; majority is flat; keywords say
    nothing, the previous admission something of every third note."""
    model, baseline = [], []
    for number, name in enumerate(shards):
        shard = random_shard(notes, single=single, patients=notes * 2 // 3, seed=number)
        model += prediction_rows(shard, name, "model")
        rng, prior = np.random.default_rng(number), np.tile([0.4, 0.3, 0.2, 0.1], (notes, 1))
        third = (np.arange(notes) % 3 == 0)[:, None]
        for other, scores in (
            ("majority", prior),
            ("keywords", prior),
            ("previous_admission", np.where(third, prior / 2 + [0, 0, 0, 0.5], prior)),
            ("tfidf_logreg", 0.7 * shard.truth + 0.3 * rng.dirichlet(np.ones(4), notes)),
        ):
            if other == "tfidf_logreg" and single:
                scores = scores / scores.sum(axis=1, keepdims=True)
            baseline += [
                {**row, "model": other, "probabilities": score.astype(np.float32)}
                for row, score in zip(prediction_rows(shard, name, other), scores, strict=True)
            ]
    return model, baseline


def write(folder, model, baseline, single=True):
    write_predictions(folder / "data/predictions.parquet", model, single=single)
    write_predictions(folder / "data/baseline.parquet", baseline, single=single)
    write_calibrated(folder, model, single)


def write_calibrated(folder, model, single=True):
    rows = [{**row, "model": "calibrated"} for row in model]
    write_predictions(folder / "data/calibrated.parquet", rows, single=single)
    write_card(folder, single=single)


def evaluated(folder) -> dict:
    return json.loads((folder / "metrics/evaluate.json").read_text())


@pytest.mark.parametrize("single", [True, False])
def test_keys_of_the_contract(stage, folder, single):
    write(folder, *tables(single=single), single=single)
    assert stage("evaluate", FAST) == (0, "")
    result = evaluated(folder)
    assert set(result) == {"validation", "test"}, "the calibration shard is not looked at"
    for shard in result.values():
        assert (shard["n"], shard["n_patients"], shard["unknown_label_notes"]) == (60, 40, 0)
        for metric in METRICS:
            value, interval = shard["model"][metric], shard["interval"]["model"][metric]
            assert interval["low"] < interval["high"]
            if metric != "ece":
                assert interval["low"] <= value <= interval["high"]
            for other in ("majority", "tfidf_logreg", "previous_admission"):
                difference = shard["difference"][other][metric]
                theirs = shard["baseline"][other][metric]
                if theirs is None:
                    assert difference == {"value": None, "low": None, "high": None}
                else:
                    assert difference["value"] == pytest.approx(value - theirs)
                    assert difference["low"] <= difference["high"]
        for found in shard["model"]["by_class"].values():
            assert set(found) == {"n", "n_patients", "sensitivity", "specificity", "ppv", "npv", "auroc", "auprc", "f1"}
        at = shard["model"]["at_threshold"]
        assert at["threshold"] == 0.5 and at["target_prevalence"] is None
        assert set(at["by_class"]) == set(CLASSES) and {"sensitivity", "specificity", "ppv", "npv"} <= set(at)
        assert shard["baseline"]["majority"]["macro_auroc"] == 0.5
    assert {path.stem for path in (folder / "plots/evaluate").iterdir()} == {*PLOTS, "decision_curves"}


def test_numbers_are_those_of_the_tables(stage, folder):
    model, baseline = tables()
    write(folder, model, baseline)
    assert stage("evaluate", FAST) == (0, "")
    test = evaluated(folder)["test"]
    rows = [row for row in model if row["shard"] == "test"]
    true = [row["labels"][0] for row in rows]
    decided = [CLASSES[np.argmax(row["probabilities"])] for row in rows]
    assert test["model"]["accuracy"] == pytest.approx(np.mean([t == d for t, d in zip(true, decided, strict=True)]))
    assert test["model"]["macro_f1"] == pytest.approx(f1_score(true, decided, average="macro"))
    assert test["model"]["by_class"]["gout"]["n"] == true.count("gout")


def test_a_model_that_equals_its_baseline_differs_by_nothing(stage, folder):
    model, baseline = tables()
    twin = [{**row, "model": "tfidf_logreg"} for row in model]
    write(folder, model, [row for row in baseline if row["model"] != "tfidf_logreg"] + twin)
    assert stage("evaluate", FAST) == (0, "")
    assert all(
        difference == {"value": 0, "low": 0, "high": 0}
        for difference in evaluated(folder)["test"]["difference"]["tfidf_logreg"].values()
    )


def test_withheld_test_is_absent_and_the_curves_are_of_validation(stage, folder):
    model, baseline = tables()
    write(folder, [row for row in model if row["shard"] != "test"], baseline)
    assert stage("evaluate", FAST) == (0, "")
    assert set(evaluated(folder)) == {"validation"}
    for plot in PLOTS:
        lines = (folder / f"plots/evaluate/{plot}.csv").read_text().splitlines()
        assert len(lines) > 4 and all(line.startswith("validation,") for line in lines[1:])


def test_official_test_labels_outside_the_classes_are_wrong_and_counted(stage, folder):
    model, baseline = tables()
    for row in model[-60:-50] + [row for row in baseline if row["note_id"] in {r["note_id"] for r in model[-60:-50]}]:
        row["labels"] = ["scurvy"]
    write(folder, model, baseline)
    assert stage("evaluate", FAST) == (0, "")
    test = evaluated(folder)["test"]
    assert test["unknown_label_notes"] == 10 and test["model"]["accuracy"] <= 50 / 60
    assert sum(found["n"] for found in test["model"]["by_class"].values()) == 50
    assert "(other)" in (folder / "plots/evaluate/confusion.csv").read_text()


def test_one_class_only_is_null_and_counted(stage, folder):
    model, baseline = tables()
    for row in model + baseline:
        row["labels"] = ["gout"]
    write(folder, model, baseline)
    assert stage("evaluate", FAST) == (0, "")
    test = evaluated(folder)["test"]
    assert test["model"]["macro_auroc"] is None and test["interval"]["model"]["macro_auroc"] == {
        "low": None,
        "high": None,
    }
    assert test["difference"]["majority"]["macro_auroc"] == {"value": None, "low": None, "high": None}
    assert test["undefined"]["model"]["macro_auroc"] == 4 and test["undefined"]["model"]["sensitivity"] == 3
    assert test["model"]["by_class"]["sepsis"]["sensitivity"] is None


def test_target_prevalence_moves_ppv_and_npv_alone(stage, folder):
    write(folder, *tables())
    found = []
    for prevalence in (None, 0.02):
        assert stage("evaluate", {**FAST, "target_prevalence": prevalence, "threshold": 0.3}) == (0, "")
        found.append(evaluated(folder)["test"]["model"]["at_threshold"])
    assert found[0]["sensitivity"] == found[1]["sensitivity"] and found[0]["specificity"] == found[1]["specificity"]
    assert found[1]["ppv"] < found[0]["ppv"] and found[1]["npv"] > found[0]["npv"]
    one = found[1]["by_class"]["gout"]
    sensitivity, specificity = one["sensitivity"], one["specificity"]
    assert one["ppv"] == pytest.approx(sensitivity * 0.02 / (sensitivity * 0.02 + (1 - specificity) * 0.98))


def test_same_bytes_whatever_the_order_of_rows_and_no_id_in_them(stage, folder):
    model, baseline = tables()
    hashes = set()
    for order in (1, -1):
        write(folder, model[::order], baseline[::order])
        assert stage("evaluate", FAST) == (0, "")
        files = [folder / "metrics/evaluate.json", *sorted((folder / "plots/evaluate").iterdir())]
        hashes.add(tuple(sha256(path) for path in [*files, folder / "data/note_losses.parquet"]))
        assert not [path for path in files if b"n000" in path.read_bytes() or b"test-p" in path.read_bytes()]
    assert len(hashes) == 1


def test_plots_render_in_dvc(stage, folder):
    """DVC finds the data, the template and the columns of each plot, and fills them in."""
    import shutil

    write(folder, *tables())
    assert stage("evaluate", FAST) == (0, "")
    shutil.copy(ROOT / "dvc.yaml", folder)
    shutil.copy(ROOT / "params.yaml", folder)
    shutil.copytree(ROOT / ".dvc/plots", folder / ".dvc/plots")
    (folder / ".dvc/config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
    paths = [f"plots/evaluate/{plot}.csv" for plot in PLOTS]
    done = run_in(folder, "dvc", "plots", "show", "--json", *paths)
    shown = json.loads(done.stdout)
    shown = shown.get("data", shown)
    assert set(shown) == set(paths)
    for plot in shown.values():
        content = plot[0]["content"]
        content = json.loads(content) if isinstance(content, str) else content
        assert len(content["data"]["values"]) > 4 and "DVC_METRIC" not in json.dumps(content)
        assert "one-vs-rest" in content["title"]["text"] or "test" in content["title"]["text"]


def drop_first(rows):
    return rows[1:]


@pytest.mark.parametrize(
    "change, params, says",
    [
        (lambda m, b: (None, b), {}, "predictions.parquet does not exist"),
        (lambda m, b: (m, None), {}, "baseline.parquet does not exist"),
        (lambda m, b: ([], b), {}, "holds no prediction"),
        (lambda m, b: (m, drop_first(b)), {}, "1 notes are in one table and not in the other"),
        (lambda m, b: (drop_first(m), b), {}, "1 notes are in one table and not in the other"),
        (lambda m, b: (m, [r for r in b if r["model"] != "majority"]), {}, "model majority: no note"),
        (lambda m, b: ([r for r in m if r["shard"] != "validation"], b), {}, "shard validation, model model: no note"),
        (lambda m, b: ([{**m[0], "labels": ["scurvy"]}, *m[1:]], b), {}, "1 notes have other labels"),
        (lambda m, b: ([{**m[0], "probabilities": [np.nan] * 4}, *m[1:]], b), {}, "not numbers from 0 to 1"),
        (lambda m, b: ([{**m[0], "probabilities": [0.1] * 4}, *m[1:]], b), {}, "do not sum to 1"),
        (lambda m, b: (m, b), {"threshold": 1.5}, "evaluate.threshold is 1.5"),
        (lambda m, b: (m, b), {"bootstrap_samples": 0}, "evaluate.bootstrap_samples is 0"),
        (lambda m, b: (m, b), {"target_prevalence": 0}, "evaluate.target_prevalence is 0"),
        (lambda m, b: (m, [r for r in b if r["model"] != "keywords"]), {}, "model keywords: no note"),
        (lambda m, b: (m, b), {"net_benefit": {"gout": {"low": 0.3, "high": 0.1, "weight": 1}}}, "low is not under high"),
        (lambda m, b: (m, b), {"net_benefit": {"gout": {"low": 0.1, "high": 1, "weight": 1}}}, "net_benefit.gout.high is 1"),
        (lambda m, b: (m, b), {"net_benefit": {"gout": {"low": 0.1, "high": 0.2, "weight": 0}}}, "net_benefit.gout.weight is 0"),
        (lambda m, b: (m, b), {"net_benefit": {"gout": {"low": 0.1, "high": 0.2}}}, "net_benefit.gout.weight is missing"),
        (lambda m, b: (m, b), {"min_count": 11}, "evaluate.min_count is no known param"),
    ],
)  # fmt: skip
def test_bad_input_ends_with_one_line(stage, folder, change, params, says):
    write_calibrated(folder, tables()[0])
    for name, rows in zip(("predictions", "baseline"), change(*tables()), strict=True):
        if rows is not None:
            write_predictions(folder / f"data/{name}.parquet", rows)
    code, line = stage("evaluate", FAST | params)
    assert code == 1 and says in line and "\n" not in line
    assert not (folder / "metrics").exists() and not (folder / "plots").exists()
    assert not (folder / "data/note_losses.parquet").exists()


def test_tables_of_other_classes_and_files_that_are_no_tables(stage, folder):
    model, baseline = tables()
    write(folder, model, baseline)
    write_predictions(folder / "data/baseline.parquet", baseline, classes=["w", "x", "y", "z"])
    code, line = stage("evaluate", FAST)
    assert code == 1 and "state different classes or tasks" in line
    for content in (b"", b"PAR1 not a table", (folder / "data/predictions.parquet").read_bytes()[:300]):
        (folder / "data/predictions.parquet").write_bytes(content)
        code, line = stage("evaluate", FAST)
        assert code == 1 and "is no prediction table" in line and "\n" not in line
