"""Two models on the same notes: verdicts, tests against other libraries, and where the tool finds predictions."""

import json
from dataclasses import replace

import numpy as np
import pytest
from conftest import default_params, merged, run_in, write_params
from scipy.stats import beta
from scored import CLASSES, prediction_rows, random_shard, write_predictions
from sklearn.metrics import roc_auc_score
from statsmodels.stats.contingency_tables import mcnemar
from test_repro import ENV

from diagnosis.errors import UserError
from diagnosis.scores.compare import (
    Difference,
    check_comparable,
    delong_by_class,
    delong_test,
    differences,
    judge,
    mcnemar_test,
)
from diagnosis.scores.metrics import METRICS, Scorer
from tools.compare import main

MARGINS = default_params()["compare"]["margins"]["model"]


def better(shard, by: float):
    """The same notes with probabilities moved to the truth (or, below 0, to a flat guess) by a share."""
    target = shard.truth / shard.truth.sum(axis=1, keepdims=True) if by > 0 else np.full(shard.truth.shape, 0.25)
    return replace(shard, probabilities=(1 - abs(by)) * shard.probabilities + abs(by) * target)


def gains(metric, centre, spread, margin, samples=4000):
    rng = np.random.default_rng(0)
    return Difference(metric, 0.5, 0.5 + centre, centre + spread * rng.normal(size=samples), margin)


# ---- verdicts


@pytest.mark.parametrize(
    "metric, centre, spread, verdict",
    [
        ("accuracy", 0.10, 0.01, "better"),
        ("accuracy", 0.00, 0.01, "non_inferior"),
        ("accuracy", -0.03, 0.005, "non_inferior"),  # worse for sure, and by less than the margin for sure
        ("accuracy", -0.20, 0.01, "inferior"),
        ("accuracy", 0.02, 0.10, "undecidable"),
        ("accuracy", -0.05, 0.01, "undecidable"),  # at the margin
        ("brier", -0.10, 0.01, "better"),  # less is better
        ("brier", 0.20, 0.01, "inferior"),
        ("ece", -0.10, 0.01, "better"),
    ],
)
def test_a_verdict_by_where_the_difference_lies(metric, centre, spread, verdict):
    (row,) = judge([gains(metric, centre, spread, 0.05)], 0.05)
    assert row["verdict"] == verdict
    assert row["difference"]["value"] == pytest.approx(centre)


def test_p_values_by_hand():
    draws = np.array([-0.3, -0.1, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])  # margin 0.2
    (row,) = judge([Difference("accuracy", 0.5, 0.8, draws, 0.2)], 0.05)
    # one-sided: g <= 0 (1 + 2) / 10, g <= -0.2 (1 + 1) / 10, g >= -0.2 (1 + 8) / 10; Holm: 3 * 0.2, 2 * 0.3, 0.9
    assert row["p_holm"] == pytest.approx({"non_inferior": 0.6, "better": 0.6, "inferior": 0.9})


def test_many_comparisons_need_clearer_differences():
    alone = gains("accuracy", 0.021, 0.01, 0.05)
    noise = [gains("accuracy", 0.0, 0.1, 0.05) for _ in range(20)]
    assert judge([alone], 0.05)[0]["verdict"] == "better"
    assert judge([alone, *noise], 0.05)[0]["verdict"] == "non_inferior"


def test_no_verdict_says_more_than_its_own_interval():
    rng = np.random.default_rng(1)
    for _ in range(20):
        family = [gains("accuracy", rng.normal(0, 0.04), rng.uniform(0.002, 0.04), 0.03, 800) for _ in range(3)]
        for row in judge(family, 0.05):
            low, high = row["difference"]["low"], row["difference"]["high"]
            assert {"better": low > 0, "non_inferior": low > -0.03, "inferior": high < -0.03}.get(row["verdict"], True)


def test_undefined_is_said_and_is_in_no_family():
    nothing = Difference("macro_auroc", np.nan, np.nan, np.full(500, np.nan), 0.05)
    sure = gains("accuracy", 0.1, 0.01, 0.05)
    rows = judge([nothing, sure], 0.05)
    assert [row["verdict"] for row in rows] == ["undefined", "better"]
    assert rows[0]["p_holm"] == {"better": None, "non_inferior": None, "inferior": None}
    assert rows[1] == judge([sure], 0.05)[0]
    assert judge([nothing], 0.05)[0]["verdict"] == "undefined"


# ---- the bootstrap


@pytest.mark.parametrize("single", [True, False])
def test_values_are_those_of_evaluate(single):
    old = random_shard(200, single=single, patients=120, seed=3)
    new = better(old, 0.3) if single else replace(old, probabilities=np.clip(old.probabilities + 0.2 * old.truth, 0, 1))
    headline, by_class = differences(old, new, dict.fromkeys(METRICS, 0.02), {"auroc": 0.1, "npv": 0.1}, 300, 5)
    for shard, side in ((old, "old"), (new, "new")):
        scorer = Scorer(shard)
        for metric, value in scorer.headline(scorer.ones).items():
            assert getattr(headline[metric], side) == pytest.approx(value[0])
        for k in range(4):
            assert getattr(by_class["auroc"][k], side) == pytest.approx(scorer.by_class(scorer.ones)["auroc"][k, 0])
    for each in headline.values():
        assert each.draws.shape == (300,) and each.defined
        assert abs(each.draws.mean() - (each.new - each.old)) < 0.03
    again, _ = differences(old, new, dict.fromkeys(METRICS, 0.02), {"auroc": 0.1, "npv": 0.1}, 300, 5)
    assert all(np.array_equal(again[key].draws, headline[key].draws) for key in headline)


@pytest.mark.parametrize("only_old, only_new", [(0, 1), (1, 4), (3, 12), (9, 9)])
def test_of_independent_notes_p_is_mcnemars_mid_p(only_old, only_new):
    old, new = discordant(80, only_old, only_new)
    headline, _ = differences(old, new, {"accuracy": 0.02}, {}, 40_000, 7)
    share = (headline["accuracy"].draws <= 0).mean()
    assert share == pytest.approx(beta.cdf(0.5, only_new + 1, only_old + 1), abs=0.008)


def discordant(notes: int, only_old: int, only_new: int):
    """Two models of independent notes, right in the same notes but for so many."""
    label = np.arange(notes) % 2
    truth = label[:, None] == np.arange(2)
    right = np.full((2, notes), True)
    right[1, :only_old], right[0, only_old : only_old + only_new] = False, False
    sides = [np.where(truth == ok[:, None], 0.8, 0.2) for ok in right]
    shard = random_shard(notes, classes=2)
    return [replace(shard, truth=truth, probabilities=side) for side in sides]


def test_one_patient_makes_no_verdict():
    """Weights are never 0: without the made-up patients every draw would lie above 0."""
    old, new = discordant(80, 0, 1)
    headline, by_class = differences(old, new, {"accuracy": 0.001}, {"sensitivity": 0.001}, 2000, 7)
    rows = judge([headline["accuracy"], *by_class["sensitivity"]], 0.05)
    assert [row["verdict"] for row in rows] == ["undecidable"] * 3


def test_models_that_no_note_tells_apart_are_not_equivalent_by_that():
    shard = random_shard(12, classes=2, seed=1)
    shard = replace(shard, probabilities=np.where(shard.truth, 0.9, 0.1))
    headline, by_class = differences(shard, shard, {"accuracy": 0.05}, {"auroc": 0.05}, 500, 1)
    rows = judge([headline["accuracy"], *by_class["auroc"]], 0.05)
    assert {row["verdict"] for row in rows} == {"undecidable"}


def test_patients_of_many_notes_count_once():
    """Ten notes of one patient that only the new model has right are one patient's, not ten."""
    old, new = discordant(60, 0, 10)
    alone = differences(old, new, {"accuracy": 0.02}, {}, 4000, 1)[0]["accuracy"]
    patients = np.append(np.zeros(10, int), np.arange(1, 51))
    one = [replace(side, patients=patients) for side in (old, new)]
    together = differences(*one, {"accuracy": 0.02}, {}, 4000, 1)[0]["accuracy"]
    assert judge([alone], 0.05)[0]["verdict"] == "better"
    assert judge([together], 0.05)[0]["verdict"] == "undecidable"


# ---- McNemar and DeLong


@pytest.mark.parametrize("only_old, only_new", [(0, 0), (3, 9), (20, 41)])
def test_mcnemar_is_statsmodels(only_old, only_new):
    result = mcnemar_test(*discordant(100, only_old, only_new))
    table = [[50, only_old], [only_new, 50 - only_old - only_new]]
    assert (result["only_old"], result["only_new"]) == (only_old, only_new)
    assert result["p"] == pytest.approx(mcnemar(table, exact=True).pvalue)


POSITIVE = np.array([1, 0, 1, 1, 0, 0, 1, 0, 1, 0, 0, 1, 0, 0, 1, 0, 1, 0, 0, 0], bool)
ONE = np.array([90, 10, 80, 35, 40, 40, 70, 20, 60, 65, 30, 55, 15, 50, 45, 25, 95, 5, 60, 35]) / 100
OTHER = np.array([70, 20, 60, 55, 50, 30, 40, 45, 90, 35, 65, 30, 25, 60, 50, 10, 80, 40, 35, 15]) / 100


def test_delong_is_procs():
    """R 4.2.2, pROC 1.18.0: roc.test(roc(y, one), roc(y, other), method = "delong", paired = TRUE), with their sign."""
    result = delong_test(POSITIVE, ONE, OTHER)
    assert result["difference"] == pytest.approx(0.8125 - 0.8750)
    assert result["z"] == pytest.approx(-0.527713002169, abs=1e-11)
    assert result["p"] == pytest.approx(0.597698547442, abs=1e-11)


def test_delongs_variance_is_the_jackknifes():
    """Of AUROC, linear in what each note adds, leaving out one positive or one negative at a time gives the same variance."""
    rng = np.random.default_rng(2)
    positive = rng.random(90) < 0.3
    scores = (positive[:, None] + rng.normal(size=(90, 2))).round(1)

    def difference(rows):
        return roc_auc_score(positive[rows], scores[rows, 1]) - roc_auc_score(positive[rows], scores[rows, 0])

    variance = 0
    for side in (positive, ~positive):
        left_out = [difference(np.arange(90) != row) for row in np.flatnonzero(side)]
        variance += (len(left_out) - 1) * np.var(left_out)
    result = delong_test(positive, *scores.T)
    assert result["difference"] == pytest.approx(difference(np.arange(90)))
    assert result["standard_error"] == pytest.approx(np.sqrt(variance), rel=1e-10)


def test_delong_says_nothing_where_there_is_nothing():
    assert delong_test(POSITIVE, ONE, ONE**2)["p"] is None, "the same ranking"
    assert delong_test(np.arange(20) < 1, ONE, OTHER)["difference"] is None
    assert delong_test(np.ones(20, bool), ONE, OTHER)["difference"] is None


def test_delong_by_class_is_adjusted_over_the_classes():
    old = random_shard(150, seed=4)
    new = better(old, 0.1)
    result = delong_by_class(old, new, [0, 2, 3])
    raw = sorted(each["p"] for each in result.values())
    adjusted = sorted(each["p_holm"] for each in result.values())
    assert set(result) == {0, 2, 3} and adjusted[0] == pytest.approx(min(1, 3 * raw[0]))


# ---- the same notes


def test_what_differs_is_counted():
    one = random_shard(40, patients=30)
    rows = np.arange(40)
    for other, message in (
        (
            replace(one, note_ids=np.append(one.note_ids[:37], ["x", "y", "z"])),
            "3 notes are only in A, 3 only in B, 37 in",
        ),
        (replace(one, truth=np.where((rows < 2)[:, None], ~one.truth, one.truth)), "2 of 40 notes have other labels"),
        (replace(one, patients=np.where(rows == 39, 99, one.patients)), "other patients in A than in B"),
    ):
        with pytest.raises(UserError, match=message):
            check_comparable(one, other, "shard test")


# ---- the tool


FAST = {"bootstrap_samples": 400}


@pytest.fixture
def compare(folder, capsys, monkeypatch):
    """Run the tool here: (exit code or its one-line error, what it printed)."""
    from diagnosis.errors import run

    def call(*arguments, **changes):
        write_params(folder, {"compare": merged(default_params()["compare"], FAST | changes)})
        monkeypatch.setattr("sys.argv", ["compare", *arguments])
        try:
            run(main)
        except SystemExit as end:
            return end.code, capsys.readouterr().out
        return 0, capsys.readouterr().out

    return call


def checkout(folder, shard, *, calibrated=None, single=True, names=("validation", "test"), classes=CLASSES):
    """A folder as `dvc repro` leaves it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dvc.yaml").touch()
    for model, given in (("model", shard), ("calibrated", calibrated)):
        if given is not None:
            path = folder / "data" / ("predictions.parquet" if model == "model" else "calibrated.parquet")
            rows = [row for name in names for row in prediction_rows(given, name, model, classes)]
            write_predictions(path, rows, single=single, classes=classes)


def test_folders_with_calibrated_predictions(compare, folder):
    shard = random_shard(240, seed=1)
    checkout(folder / "old", shard, calibrated=shard)
    checkout(folder / "new", better(shard, 0.5), calibrated=better(shard, 0.6))
    code, shown = compare("old", "new", "--json", "out.json")
    result = json.loads((folder / "out.json").read_text())
    assert code == 0 and shown.startswith("### new (B) against old (A): 240 test notes of 240 patients\n")
    assert set(result["headline"]["model"]) == set(MARGINS) and set(result["headline"]["calibrated"]) == {
        "brier",
        "ece",
    }
    assert result["headline"]["calibrated"]["brier"]["verdict"] == "better"
    assert result["tested"]["headline"] == 3 * 6 and result["tested"]["classes"] == 3 * 2 * 4
    assert result["independent"] and result["mcnemar"]["p"] < 0.01
    assert "McNemar (exact)" in shown and "p of DeLong (Holm)" in shown
    assert "**24 hypotheses (classes) need 480 draws before any verdict is possible**" in shown  # 400 are drawn here
    assert "hypotheses (headline) need" not in shown
    before = (folder / "out.json").read_bytes()
    compare("old", "new", "--json", "out.json")
    assert (folder / "out.json").read_bytes() == before


@pytest.mark.parametrize("single", [True, False])
def test_several_notes_a_patient_have_no_mcnemar_or_delong(compare, folder, single):
    shard = random_shard(200, patients=120, single=single, seed=2)
    checkout(folder / "old", shard, single=single)
    checkout(folder / "new", replace(shard, probabilities=shard.probabilities[:, ::-1]), single=single)
    code, shown = compare("old", "new", "--json", "out.json")
    result = json.loads((folder / "out.json").read_text())
    assert code == 0 and result["mcnemar"] is None and not result["independent"]
    assert result["headline"]["model"]["macro_auroc"]["verdict"] == "inferior"
    assert "are left out: they need independent notes" in shown and "Not both have data/calibrated.parquet" in shown
    assert "delong" not in next(iter(result["classes"].values()))


def test_where_one_side_withholds_test_it_is_validation(compare, folder):
    shard = random_shard(60, seed=1)
    checkout(folder / "old", shard)
    checkout(folder / "new", better(shard, 0.2), names=("validation",))
    assert compare("old", "new")[1].startswith("### new (B) against old (A): 60 validation notes")


def test_the_same_model_has_no_table(compare, folder):
    checkout(folder / "old", random_shard(60))
    assert compare("old", "old")[1].endswith("\n\nBoth give every note the same probabilities.\n")


def test_rare_classes_are_counted_and_not_judged(compare, folder):
    shard = random_shard(90, seed=1)
    rare = shard.truth[:, 3]
    truth = np.where(rare[:, None], np.arange(4) == 0, shard.truth)
    truth[:5] = np.arange(4) == 3
    shard = replace(shard, truth=truth)
    checkout(folder / "old", shard)
    checkout(folder / "new", better(shard, 0.2))
    _, shown = compare("old", "new")
    assert "Classes of fewer than 11 patients, left out: 1." in shown and "| sepsis |" not in shown


def test_what_cannot_be_compared_is_one_line(compare, folder):
    shard = random_shard(60, seed=1)
    checkout(folder / "old", shard)
    checkout(folder / "fewer", replace(shard, note_ids=shard.note_ids + "x"))
    assert "60 notes are only in A, 60 only in B, 0 in both" in compare("old", "fewer")[0]
    checkout(folder / "others", shard, classes=["anaemia", "asthma", "gout", "scurvy"])
    assert "(1 classes only in A, 1 only in B)" in compare("old", "others")[0]
    (folder / "empty").mkdir()
    (folder / "empty" / "dvc.yaml").touch()
    code, _ = compare("old", "empty")
    assert code.startswith("error: empty has no data/predictions.parquet") and "dvc pull" in code
    bad = replace(shard, probabilities=np.where(shard.truth, np.nan, shard.probabilities))
    checkout(folder / "bad", bad)
    assert compare("old", "bad")[0].startswith("error: bad/data/predictions.parquet: shard test, model model:")
    assert "compare.margins.model" in compare("old", "old", margins={"model": {"accuracy": 0}})[0]
    assert "compare.margins.model" in compare("old", "old", margins={"model": {"speed": 0.1}})[0]


def test_revisions_come_from_the_cache_or_a_remote(compare, folder):
    """A real repository: two commits of one stage; then without its cache, with a remote and without."""
    shard = random_shard(200, seed=1)
    run_in(folder, "git", "init", "-q", "-b", "main")
    run_in(folder, "dvc", "init", "-q")
    (folder / ".gitignore").write_text("/data\n/source\n/out.json\n/remote\n")
    stage = "stages: {predict: {cmd: mkdir -p data && cp source data/predictions.parquet, deps: [source], outs: [{data/predictions.parquet: {push: false}}]}}"
    for each in (shard, better(shard, 0.5)):
        (folder / "dvc.yaml").write_text(stage)
        write_predictions(folder / "source", prediction_rows(each, "test", "model"))
        run_in(folder, "dvc", "repro", "-q")
        run_in(folder, "git", "add", "-A")
        run_in(folder, "git", "commit", "-q", "-m", "model", env=ENV)
    code, shown = compare("HEAD~1", "HEAD")
    assert code == 0 and shown.startswith("### HEAD (B) against HEAD~1 (A): 200 test notes")
    assert "| better |" in shown
    assert "the same probabilities" in compare()[1], "the working tree is that of the last commit"
    assert compare("nowhere")[0].startswith("error: nowhere is neither a git revision nor a folder")

    (folder / ".dvc" / "cache").rename(folder / "remote")
    code, _ = compare("HEAD~1", "HEAD")
    assert "of HEAD~1 is neither in DVC's cache nor in a remote" in code
    assert "`git checkout HEAD~1`, then `dvc pull data/predictions.parquet`" in code
    run_in(folder, "dvc", "remote", "add", "-d", "there", str(folder / "remote"))
    assert compare("HEAD~1", "HEAD") == (0, shown), "commits older than the remote's configuration too"

    run_in(folder, "git", "rm", "-q", "--cached", "dvc.lock")
    run_in(folder, "git", "commit", "-q", "-m", "no lock", env=ENV)
    assert compare("HEAD")[0].startswith("error: HEAD has no dvc.lock")
