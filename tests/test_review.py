"""Review sheets: which cases, what the sheet shows, what filled ones say, by hand and against other libraries."""

import csv
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from conftest import default_params, merged, write_params
from scored import CLASSES, prediction_rows, random_shard, write_predictions, write_shard
from sklearn.metrics import accuracy_score, cohen_kappa_score, f1_score
from statsmodels.stats.inter_rater import fleiss_kappa

from diagnosis.errors import UserError
from diagnosis.review.agreement import agreement, cohen, corrected, fleiss, majority, reviewed, severity, share
from diagnosis.review.cases import STRATA, ReviewParams, choose, strata
from diagnosis.review.sheet import COLUMNS, Answers, read_sheet, write_sheet
from tools.review import main

NUMBERS = {"error": 6, "disagreement": 5, "low_confidence": 4, "random": 7, "seed": 3, "bootstrap_samples": 60}
PARAMS = ReviewParams(**NUMBERS)


def answers(diagnosis, severity=None, agree=None, answered=None) -> Answers:
    diagnosis = np.asarray(diagnosis, bool)
    blank = np.full(len(diagnosis), -1)
    return Answers(
        diagnosis,
        np.ones(len(diagnosis), bool) if answered is None else np.asarray(answered, bool),
        blank if severity is None else np.asarray(severity),
        blank if agree is None else np.asarray(agree),
    )


def one_hot(*classes) -> np.ndarray:
    return np.array(classes)[:, None] == np.arange(4)


# ---- the cases


@pytest.mark.parametrize("single", [True, False])
def test_every_note_is_in_one_stratum_and_cases_are_so_many(single):
    model, baseline = (random_shard(200, single=single, seed=seed) for seed in (1, 2))
    baseline = replace(baseline, truth=model.truth)
    of_note, chosen = choose(model, baseline, PARAMS)
    assert set(of_note) == set(STRATA)
    assert ((of_note == "error") == ~model.correct).all()
    differ = (model.decided != baseline.decided).any(axis=1)
    assert (
        (differ[of_note == "disagreement"]).all() and not differ[np.isin(of_note, ["low_confidence", "random"])].any()
    )
    sure = model.probabilities.max(axis=1) if single else np.abs(model.probabilities - 0.5).min(axis=1)
    assert sure[of_note == "low_confidence"].max() <= sure[of_note == "random"].min()
    assert {name: int((of_note[chosen] == name).sum()) for name in STRATA} == {name: NUMBERS[name] for name in STRATA}
    again = choose(model, baseline, PARAMS)
    other = choose(model, baseline, ReviewParams(**NUMBERS | {"seed": 4}))
    assert (again[1] == chosen).all() and (other[1] != chosen).any() and (other[0] == of_note).all()


def test_a_stratum_of_few_notes_gives_all_it_has():
    model = random_shard(30, seed=1)
    of_note, chosen = choose(model, model, ReviewParams(**NUMBERS | {"error": 1000, "random": 1000}))
    assert not (of_note == "disagreement").any() and chosen.all()
    assert (strata(model, model, 1000)[model.correct] == "low_confidence").all()


# ---- the sheet


@pytest.fixture
def notes(folder):
    """(model's shard, its notes' table)."""
    shard = random_shard(40, seed=1)
    rows = prediction_rows(shard, "test", "model")
    write_shard(
        folder / "test.parquet",
        rows,
        [{"text": f'note {i}, "quoted"\nsecond line é', "text_pair": "pair" if i else None} for i in range(40)],
    )
    return replace(shard, note_ids=np.array([row["note_id"] for row in rows], object)), folder / "test.parquet"


def rows_of(path) -> list[dict]:
    with open(path, encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream))


def fill(path, rows, columns=COLUMNS):
    with open(path, "w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_the_sheet_has_the_text_and_nothing_of_the_model(notes, folder):
    shard, table = notes
    write_sheet(folder / "sheet.csv", table, shard.note_ids[:10], CLASSES, 3)
    rows = rows_of(folder / "sheet.csv")
    assert tuple(rows[0]) == COLUMNS and len(rows) == 10
    assert {row["note_id"] for row in rows} == set(shard.note_ids[:10])
    assert [row["note_id"] for row in rows] != list(shard.note_ids[:10]), "the order says nothing"
    first = next(row for row in rows if row["note_id"] == shard.note_ids[1])
    assert first["text"] == 'note 1, "quoted"\nsecond line é\npair'
    assert first["recorded"] == CLASSES[shard.truth[1].argmax()]
    assert all(row[name] == "" for row in rows for name in ("diagnosis", "severity", "agree", "comment"))
    before = (folder / "sheet.csv").read_bytes()
    write_sheet(folder / "sheet.csv", table, shard.note_ids[:10], CLASSES, 3)
    assert (folder / "sheet.csv").read_bytes() == before
    with pytest.raises(UserError, match="lacks 1 of 1 notes"):
        write_sheet(folder / "other.csv", table, np.array(["gone"]), CLASSES, 3)
    assert not (folder / "other.csv").exists()


def test_a_filled_sheet_is_read_in_the_order_of_the_cases(notes, folder):
    shard, table = notes
    ids = shard.note_ids[:4]
    write_sheet(folder / "sheet.csv", table, ids, CLASSES, 3)
    given = {
        ids[0]: ("Gout", "2", "YES"),
        ids[1]: (" asthma ", "", "no"),
        ids[2]: ("", "1", ""),
        ids[3]: ("sepsis", "0", "1"),
    }
    rows = [
        dict(row) | dict(zip(("diagnosis", "severity", "agree"), given[row["note_id"]], strict=True))
        for row in rows_of(folder / "sheet.csv")
    ]
    read = read_sheet(fill(folder / "anna.csv", rows), ids, CLASSES, True)
    assert read.diagnosis.tolist() == [*one_hot(2, 1).tolist(), [False] * 4, *one_hot(3).tolist()]
    assert read.answered.tolist() == [True, True, False, True]
    assert read.severity.tolist() == [2, -1, 1, 0] and read.agree.tolist() == [1, 0, -1, 1]
    fewer = read_sheet(fill(folder / "anna.csv", rows[1:]), ids, CLASSES, True)
    assert fewer.answered.sum() <= read.answered.sum(), "a row left out is unanswered"
    for row, answer in zip(rows, ("gout; Asthma", "none", "sepsis", ""), strict=True):
        row["diagnosis"] = answer
    several = read_sheet(fill(folder / "anna.csv", rows), ids, CLASSES, False)
    order = [list(ids).index(row["note_id"]) for row in rows]
    assert several.diagnosis[order].sum(axis=1).tolist() == [2, 0, 1, 0] and several.answered[order].tolist() == [
        1,
        1,
        1,
        0,
    ]


ROW = {"note_id": "a", "text": "secret words", "diagnosis": "gout", "severity": "1", "recorded": "gout", "agree": "yes"}


@pytest.mark.parametrize(
    "rows, columns, message",
    [
        pytest.param([ROW], ("note_id", "text", "severity", "agree"), "has no column 'diagnosis'", id="missing column"),
        pytest.param([ROW | {"note_id": "zz"}], COLUMNS, "record 1: its note_id is none of the 2 cases", id="unknown id"),
        pytest.param([ROW, ROW], COLUMNS, "record 2: its note_id came before", id="duplicate"),
        pytest.param([ROW | {"note_id": ""}], COLUMNS, "record 1: no note_id", id="no id"),
        pytest.param([ROW | {"diagnosis": "secret"}], COLUMNS, "record 1: diagnosis has what is no class: write one of: anaemia", id="class"),
        pytest.param([ROW | {"diagnosis": "gout; asthma"}], COLUMNS, "record 1: diagnosis has what is no class", id="two"),
        pytest.param([ROW | {"severity": "bad"}], COLUMNS, "record 1: severity is not 0 to 3", id="severity"),
        pytest.param([ROW | {"agree": "secret"}], COLUMNS, "record 1: agree is neither yes nor no", id="agree"),
        pytest.param([], COLUMNS, "has no row under its header", id="no row"),
        pytest.param([ROW | {"diagnosis": ""}], COLUMNS, "no diagnosis is filled in", id="nothing filled in"),
    ],
)  # fmt: skip
def test_a_bad_sheet_is_one_line_with_file_and_row(folder, rows, columns, message):
    fill(folder / "anna.csv", rows, columns)
    with pytest.raises(UserError, match=message) as raised:
        read_sheet(folder / "anna.csv", np.array(["a", "b"]), CLASSES, True)
    assert "anna.csv" in str(raised.value) and "secret" not in str(raised.value)


def test_sheets_that_are_no_sheets(folder):
    with pytest.raises(UserError, match="nobody.csv does not exist"):
        read_sheet(folder / "nobody.csv", np.array(["a"]), CLASSES, True)
    (folder / "empty.csv").touch()
    with pytest.raises(UserError, match="empty.csv is empty"):
        read_sheet(folder / "empty.csv", np.array(["a"]), CLASSES, True)
    (folder / "ben.csv").write_text(";".join(COLUMNS) + "\na;t;gout;1;gout;yes;\n")
    with pytest.raises(UserError, match="separated by ';'"):
        read_sheet(folder / "ben.csv", np.array(["a"]), CLASSES, True)


# ---- agreement


def test_kappas_by_hand_and_by_the_libraries():
    # Cohen: 20 yes/yes, 5 yes/no, 10 no/yes, 15 no/no: observed 0.7, by chance 0.5, kappa 0.4
    one = np.repeat([1, 1, 0, 0], [20, 5, 10, 15])
    other = np.repeat([1, 0, 1, 0], [20, 5, 10, 15])
    assert cohen(one, other) == pytest.approx(0.4) == pytest.approx(cohen_kappa_score(one, other))
    # Fleiss: three raters, four cases; agreement in a case 1, 1, 1/3, 1/3; shares of the answers 7/12 and 5/12
    answers_of = np.array([[0, 0, 0], [1, 1, 1], [0, 0, 1], [0, 0, 1]])
    observed, by_chance = (1 + 1 + 1 / 3 + 1 / 3) / 4, (7 / 12) ** 2 + (5 / 12) ** 2
    assert fleiss(answers_of) == pytest.approx((observed - by_chance) / (1 - by_chance))
    assert fleiss(answers_of) == pytest.approx(fleiss_kappa(np.array([[3, 0], [0, 3], [2, 1], [2, 1]])))
    assert math.isnan(cohen(np.zeros(5), np.zeros(5))) and math.isnan(fleiss(np.zeros((5, 3), int)))


def test_agreement_is_of_cases_that_both_answered():
    cases = random_shard(60, patients=40, seed=5)
    rng = np.random.default_rng(1)

    def reviewer(noise):
        wrong = rng.random(60) < noise
        return answers(
            np.where(wrong[:, None], one_hot(*rng.integers(0, 4, 60)), cases.truth), answered=rng.random(60) < 0.9
        )

    reviewers = {"anna": reviewer(0.1), "ben": reviewer(0.3), "cleo": reviewer(0.2)}
    result = agreement(cases, reviewers, 80, 1)
    both = reviewers["anna"].answered & reviewers["ben"].answered
    codes = [reviewers[who].diagnosis[both].argmax(axis=1) for who in ("anna", "ben")]
    found = result["cohen"]["anna / ben"]
    assert found["n"] == both.sum() and found["value"] == pytest.approx(cohen_kappa_score(*codes))
    assert found["low"] < found["value"] < found["high"] and found["undefined_resamples"] == 0
    rows = reviewers["cleo"].answered
    model = cohen_kappa_score(cases.decided[rows].argmax(axis=1), reviewers["cleo"].diagnosis[rows].argmax(axis=1))
    assert result["cohen_model"]["cleo"]["value"] == pytest.approx(model)
    assert result["fleiss"]["n"] == np.all([each.answered for each in reviewers.values()], axis=0).sum()
    assert agreement(cases, {"anna": reviewers["anna"]}, 20, 1)["fleiss"] is None
    assert result == agreement(cases, reviewers, 80, 1)


def test_agreement_on_one_answer_is_undefined_and_counted():
    cases = random_shard(12, seed=1)
    same = answers(one_hot(*[2] * 12))
    found = agreement(cases, {"anna": same, "ben": same}, 30, 1)
    assert found["cohen"]["anna / ben"] == {
        "n": 12,
        "value": None,
        "low": None,
        "high": None,
        "undefined_resamples": 30,
    }
    never = answers(one_hot(*[2] * 12), answered=np.zeros(12))
    assert agreement(cases, {"anna": same, "ben": never}, 30, 1)["fleiss"]["n"] == 0


# ---- the right diagnosis


def test_majority_the_accepted_record_or_nothing():
    cases = replace(random_shard(5), truth=one_hot(0, 0, 0, 0, 0), unknown=np.zeros(5, bool))
    given = [
        answers(one_hot(1, 1, 1, 0, 3), agree=[0, 1, 0, 1, -1], answered=[1, 1, 1, 1, 0]),
        answers(one_hot(1, 2, 2, 0, 3), agree=[0, 1, 0, 1, -1], answered=[1, 1, 1, 1, 0]),
        answers(one_hot(2, 3, 3, 1, 3), agree=[1, 0, 1, 1, -1], answered=[1, 1, 1, 1, 0]),
    ]
    diagnosis, found = majority(given)
    assert found.tolist() == [True, False, False, True, False]
    right, found, accepted = corrected(cases, given)
    assert right.truth.argmax(axis=1)[[0, 1, 3]].tolist() == [1, 0, 0]
    assert accepted.tolist() == [False, True, False, False, False], "case 2: most refuse the record; 4: nobody answered"


def test_a_record_outside_the_classes_is_corrected_by_a_majority():
    cases = replace(random_shard(2), truth=np.zeros((2, 4), bool), unknown=np.array([True, True]))
    right, found, accepted = corrected(cases, [answers(one_hot(1, 2), agree=[0, 1], answered=[1, 0])])
    assert (
        right.unknown.tolist() == [False, True]
        and found.tolist() == [True, False]
        and accepted.tolist() == [False, True]
    )


# ---- scores of the whole shard


def test_where_everything_is_read_the_estimates_are_the_plain_scores():
    """All notes are cases and one reviewer is right: the corrected scores are scikit-learn's on the reviewer's diagnoses."""
    shard = random_shard(120, patients=80, seed=6)
    rng = np.random.default_rng(2)
    truth = np.where(rng.random(120)[:, None] < 0.15, one_hot(*rng.integers(0, 4, 120)), shard.truth)
    of_note = strata(shard, random_shard(120, patients=80, seed=7), 10)
    result = reviewed(shard, of_note, np.ones(120, bool), {"anna": answers(truth)}, 60, 1)
    true, decided, recorded = (each.argmax(axis=1) for each in (truth, shard.decided, shard.truth))
    model = result["corrected"]["model"]
    assert model["accuracy"]["value"] == pytest.approx(accuracy_score(true, decided))
    assert model["macro_f1"]["value"] == pytest.approx(f1_score(true, decided, average="macro"))
    assert result["corrected"]["record_accuracy"]["value"] == pytest.approx(accuracy_score(true, recorded))
    assert result["corrected"]["record_wrong"] == (true != recorded).sum()
    assert result["recorded"]["accuracy"] == pytest.approx(accuracy_score(recorded, decided))
    for row in model.values():
        assert row["low"] <= row["high"]
    found = result["against_clinicians"]["anna"]
    assert set(found) == {"recorded"}, "nobody else says what is right"
    assert found["recorded"]["accuracy"]["clinician"]["value"] == pytest.approx(accuracy_score(recorded, true))
    assert found["recorded"]["accuracy"]["difference"]["value"] == pytest.approx(
        (decided == recorded).mean() - (true == recorded).mean()
    )


def test_strata_count_by_their_size_not_by_how_many_were_read():
    """Half of the cases are errors, a tenth of the notes: the estimated accuracy is nine tenths."""
    truth = one_hot(*[0] * 100)
    probabilities = np.where(np.arange(100)[:, None] < 10, one_hot(*[1] * 100), truth).astype(float)
    shard = replace(random_shard(100), truth=truth, probabilities=probabilities)
    of_note = np.where(np.arange(100) < 10, "error", "random").astype(object)
    chosen = np.isin(np.arange(100), [0, 1, 2, 3, 4, 50, 51, 52, 53, 54])
    result = reviewed(shard, of_note, chosen, {"anna": answers(one_hot(*[0] * 10))}, 400, 1)
    found = result["corrected"]["model"]["accuracy"]
    assert found["value"] == pytest.approx(0.9)
    assert 0.6 < found["low"] < 0.9 < found["high"] < 1
    assert result["corrected"]["record_accuracy"]["value"] == 1 and result["corrected"]["record_accuracy"]["low"] < 0.95
    assert [result["cases"][name]["notes"] for name in STRATA] == [10, 0, 0, 90]


def test_a_stratum_of_which_nothing_is_decided_leaves_the_shard_without_an_estimate():
    shard = random_shard(100)
    of_note = np.where(np.arange(100) < 10, "error", "random").astype(object)
    chosen = np.isin(np.arange(100), [0, 1, 50, 51])
    own = answers(shard.truth[chosen])
    own.answered[2:] = False  # the two random cases
    own.agree[2:] = -1
    result = reviewed(shard, of_note, chosen, {"anna": own}, 40, 1)
    assert result["corrected"]["strata_without_decided"] == ["random"] and "model" not in result["corrected"]
    assert result["severity"] is None and result["against_clinicians"]["anna"]["recorded"] is None


def test_a_share_by_hand():
    of_case, weight = np.array(["error", "error", "random"], object), np.ones((3, 501)) * [[5], [5], [90]]
    values = share(np.array([True, False, False]), of_case, weight, np.random.default_rng(1))
    assert values[0] == pytest.approx(0.05)
    assert values[1:].min() > 0.0 and values[1:].max() < 1


def test_severity_is_the_median_of_those_who_rate_it():
    wrong = np.array([True, True, True, True, False])
    rated = np.array([[0, 1, 3], [2, -1, -1], [1, 2, -1], [-1, -1, -1], [3, 3, 3]])
    found = severity(wrong, rated, np.array(["error"] * 5, object), np.ones((5, 21)), np.random.default_rng(1))
    assert {name: row["cases"] for name, row in found.items()} == {"0": 0, "1": 1, "2": 2, "3": 0, "unrated": 1}
    assert found["2"]["share"]["value"] == pytest.approx(0.4)


def test_a_reviewer_is_judged_by_the_others_alone():
    shard = random_shard(90, seed=8)
    good, odd = answers(shard.truth), answers(~shard.truth & (np.cumsum(~shard.truth, axis=1) == 1))
    result = reviewed(shard, strata(shard, shard, 5), np.ones(90, bool), {"anna": good, "ben": good, "odd": odd}, 40, 1)
    found = result["against_clinicians"]
    assert found["odd"]["others"]["accuracy"]["clinician"]["value"] == 0
    assert found["odd"]["others"]["accuracy"]["model"]["value"] == pytest.approx(shard.correct.mean())
    assert found["anna"]["others"] is None, "ben and odd never agree"
    assert found["odd"]["others"]["accuracy"]["difference"]["low"] > 0


# ---- the tool


@pytest.fixture
def review(folder, capsys, monkeypatch):
    """Run the tool here: (exit code or its one-line error, what it printed)."""
    from diagnosis.errors import run

    def call(*arguments):
        write_params(folder, {"review": merged(default_params()["review"], NUMBERS)})
        monkeypatch.setattr("sys.argv", ["review", *arguments])
        try:
            run(main)
        except SystemExit as end:
            return end.code, capsys.readouterr().out
        return 0, capsys.readouterr().out

    return call


def outputs(folder, *, single=True, names=("validation", "test")):
    """What predict, baseline and split leave; returns the last shard's rows of the model."""
    model, baseline = [], []
    for number, name in enumerate(names):
        shards = [random_shard(150, single=single, patients=100, seed=seed) for seed in (number, number + 10)]
        shards[1] = replace(shards[1], truth=shards[0].truth, patients=shards[0].patients)
        model += (rows := prediction_rows(shards[0], name, "model"))
        baseline += prediction_rows(shards[1], name, "tfidf_logreg")
        write_shard(folder / f"data/split/{name}.parquet", rows, [{"text": f"canary {name}"}] * 150)
    write_predictions(folder / "data/predictions.parquet", model, single=single)
    write_predictions(folder / "data/baseline.parquet", baseline, single=single)
    return rows


@pytest.mark.parametrize("single", [True, False])
def test_a_sheet_is_made_filled_and_read(review, folder, single):
    outputs(folder, single=single)
    code, shown = review("make")
    assert code == 0 and shown.startswith(
        "22 test notes in data/review/cases.csv (6 error, 5 disagreement, 4 low_confidence, 7 "
    )
    assert "canary" not in shown and "already" in review("make")[0]
    rows = rows_of(folder / "data/review/cases.csv")
    assert all(row["text"] == "canary test" for row in rows)
    for who, shift in (("anna", 0), ("ben", 3)):
        filled = [
            row
            | {
                "diagnosis": row["recorded"] if number % 7 >= shift else "gout",
                "severity": str(number % 4),
                "agree": "yes",
            }
            for number, row in enumerate(rows)
        ]
        fill(folder / f"{who}.csv", filled)
    code, shown = review("read", "anna.csv", "ben.csv", "--json", "review.json")
    assert code == 0, code
    result = json.loads((folder / "review.json").read_text())
    assert result["shard"] == "test" and result["answered"] == {"anna": 22, "ben": 22}
    assert "### Review of 22 test notes by 2 reviewers" in shown and "| anna / ben | 22 |" in shown
    assert "canary" not in shown + json.dumps(result)
    assert result["agreement"]["cohen_recorded"]["anna"]["value"] == 1
    assert result["against_clinicians"]["anna"]["recorded"]["accuracy"]["clinician"]["value"] == 1
    before = (folder / "review.json").read_bytes()
    review("read", "anna.csv", "ben.csv", "--json", "review.json")
    assert (folder / "review.json").read_bytes() == before


def test_where_test_is_withheld_cases_are_of_validation(review, folder):
    outputs(folder, names=("validation",))
    assert review("make")[1].startswith("22 validation notes")


def test_mistakes_are_one_line(review, folder):
    outputs(folder)
    assert review("make")[0] == 0
    (folder / "other").mkdir()
    rows = [row | {"diagnosis": row["recorded"]} for row in rows_of(folder / "data/review/cases.csv")]
    fill(folder / "anna.csv", rows)
    fill(folder / "other" / "anna.csv", rows)
    assert review("read", "anna.csv", "other/anna.csv")[0].startswith("error: two sheets have one file name")
    assert "nobody.csv does not exist" in review("read", "nobody.csv")[0]
    model = prediction_rows(random_shard(150, patients=100, seed=99), "test", "model")
    write_predictions(folder / "data/predictions.parquet", model)
    write_predictions(folder / "data/baseline.parquet", [row | {"model": "tfidf_logreg"} for row in model])
    assert "its note_id is none of the" in review("read", "anna.csv")[0], "cases of other predictions"
