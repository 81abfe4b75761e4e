"""The fairness audit: groups and counts, small ones hidden, gaps found and not invented, the plot, and what users break."""

import json

import numpy as np
import pytest
from fairlearn.metrics import MetricFrame, count
from scored import CLASSES, prediction_rows, random_shard, write_predictions, write_shard
from sklearn.metrics import accuracy_score, recall_score

from diagnosis.disclosure import rounded, tellable
from diagnosis.fairness.compare import COMPARED, METRICS, ONE_VS_REST, Group, compare, frame, score
from diagnosis.fairness.groups import groupings
from diagnosis.files import sha256

FAST = {"bootstrap_samples": 60, "groups": ["sex", "race"]}


def audited(folder) -> dict:
    return json.loads((folder / "metrics/audit_fairness.json").read_text())


def write(folder, groups, *, notes=120, shards=("validation", "test"), single=True, spoil=None):
    """Predictions and the split shards with a group column dict a note, made by `groups(row)`.

    Notes where `spoil(group values)` lose most of their right answers."""
    rows, after = [], []
    for number, name in enumerate(shards):
        shard = random_shard(notes, single=single, seed=number)
        values = [groups(row) for row in range(notes)]
        rng = np.random.default_rng(number)
        for row in range(notes):
            if spoil and spoil(values[row]) and rng.random() < 0.7:
                shard.probabilities[row] = np.roll(shard.probabilities[row], 1)
        made = prediction_rows(shard, name, "model")
        write_shard(folder / f"data/split/{name}.parquet", made, values)
        rows += made
        after += prediction_rows(shard, name, "calibrated")
    write_predictions(folder / "data/predictions.parquet", rows, single=single)
    write_predictions(folder / "data/calibrated.parquet", after, single=single)


def halves(row):
    return {"sex": "F" if row % 2 else "M", "race": "White" if row % 3 else "Black"}


# ---- counts that may be told


def test_small_counts_are_hidden_and_so_is_what_gives_them_away():
    assert tellable({("F",): 40, ("M",): 30}, 11) == {("F",), ("M",)}
    assert tellable({("F",): 40, ("M",): 5}, 11) == set(), "45 - 40 would tell"
    assert tellable({("a",): 40, ("b",): 5, ("c",): 30}, 11) == {("a",)}
    assert tellable({("a",): 40, ("b",): 5, ("c",): 7}, 11) == {("a",)}, "together they are 12"
    assert tellable({("a",): 40, ("b",): 30, (None,): 3}, 11) == {("a",)}, "missing values are a count too"


def test_no_hidden_cell_of_a_pair_follows_from_its_margins():
    cells = {(a, b): n for (a, b), n in zip(
        [("F", "x"), ("F", "y"), ("F", "z"), ("M", "x"), ("M", "y"), ("M", "z")], [50, 4, 60, 70, 30, 80], strict=True
    )}  # fmt: skip
    shown = tellable(cells, 11)
    for place in range(2):
        for value in {cell[place] for cell in cells}:
            hidden = [n for cell, n in cells.items() if cell[place] == value and cell not in shown]
            assert not hidden or sum(hidden) >= 11
    assert ("F", "y") not in shown and shown


def test_groupings_and_rounding():
    assert groupings(["a", "b", "c"], True) == [("a",), ("b",), ("c",), ("a", "b"), ("a", "c"), ("b", "c")]
    assert groupings(["a", "b"], False) == [("a",), ("b",)]
    assert rounded({"a": [1 / 3, 2, "x", None]}) == {"a": [0.3333, 2, "x", None]}


# ---- scores by group


def test_by_group_equals_fairlearn_with_scikit_learn():
    shard = random_shard(400, patients=300)
    labels = np.where(np.arange(400) % 3 == 0, "A", "B").astype(object)
    groups = {name: score(shard.at(np.flatnonzero(labels == name)), 300, 60, 7, 1) for name in ("A", "B")}
    ours = frame(shard, labels, groups)
    expected = MetricFrame(
        metrics={
            "accuracy": accuracy_score,
            "sensitivity": lambda true, decided: recall_score(true, decided, average="macro"),
            "n": count,
        },
        y_true=shard.truth.argmax(1),
        y_pred=shard.decided.argmax(1),
        sensitive_features=labels,
    )
    for metric in ("accuracy", "sensitivity"):
        assert ours.by_group[metric].to_dict() == pytest.approx(expected.by_group[metric].to_dict())
        assert ours.difference()[metric] == pytest.approx(expected.difference()[metric])
        assert ours.ratio()[metric] == pytest.approx(expected.ratio()[metric])
        widest = compare(groups, metric, 0.1)["widest"]
        assert widest["difference"]["value"] == pytest.approx(expected.difference()[metric])
        assert widest["ratio"]["value"] == pytest.approx(expected.ratio()[metric])


def test_eleven_of_eleven_is_not_certainty():
    shard = random_shard(11)
    shard.probabilities[:] = shard.truth
    group = score(shard, 11, 2000, 7, 1)
    low, high = np.quantile(group.draws["accuracy"][0], [0.025, 0.975])
    # Jeffreys' interval for 11 of 11: Beta(11.5, 0.5)
    assert low == pytest.approx(0.80, abs=0.03) and high > 0.99


def test_a_class_with_few_patients_is_in_no_macro_average():
    shard = random_shard(200)
    shard.truth[:, 3] = False
    shard.truth[:2] = [False, False, False, True]
    shard.truth[2:, 0] |= ~shard.truth[2:].any(axis=1)
    group = score(shard, 200, 20, 7, 5)
    assert list(group.enough["sensitivity"]) == [True, True, True, False] and group.enough["specificity"].all()


def groups_with(**means) -> dict[str, Group]:
    rng = np.random.default_rng(0)
    return {
        name: Group(
            {"accuracy": np.array([mean])},
            {"accuracy": rng.normal(mean, error, (1, 4000))},
            {"accuracy": np.array([True])},
        )
        for name, (mean, error) in means.items()
    }


def test_the_interval_of_two_groups_by_hand_and_wider_for_more():
    two = compare(groups_with(a=(0.9, 0.03), b=(0.8, 0.04)), "accuracy", 0.1)
    found = two["widest"]["difference"]  # standard error 0.05; 1.96 of them
    assert [found["low"], found["high"]] == pytest.approx([0.1 - 0.098, 0.1 + 0.098], abs=0.006)
    assert two["widest"]["highest"] == "a" and two["pairs"] == 1
    five = compare(
        groups_with(a=(0.9, 0.03), b=(0.8, 0.04), c=(0.85, 0.03), d=(0.86, 0.03), e=(0.84, 0.03)), "accuracy", 0.1
    )
    assert five["pairs"] == 10 and five["verdict"] == "cannot_conclude"
    assert five["widest"]["difference"]["low"] < found["low"], "the widest of ten pairs has to differ by more"


def test_a_small_group_does_not_hide_a_clear_gap():
    result = compare(groups_with(a=(0.9, 0.02), b=(0.7, 0.02), tiny=(0.6, 0.12)), "accuracy", 0.1)
    assert (
        result["widest"]["lowest"] == "tiny" and result["clearest"]["lowest"] == "b" and result["verdict"] == "unfair"
    )


def test_no_two_groups_no_conclusion():
    assert compare(groups_with(a=(0.9, 0.02)), "accuracy", 0.1) == {
        "pairs": 0, "verdict": "cannot_conclude", "margin": 0.1, "largest": None, "widest": None, "clearest": None,
    }  # fmt: skip


# ---- the stage


@pytest.mark.parametrize("single", [True, False])
def test_groups_counts_and_keys(stage, folder, single):
    write(folder, halves, single=single)
    assert stage("audit_fairness", FAST) == (0, "")
    result = audited(folder)
    assert set(result) == {"validation", "test"}
    test = result["test"]
    assert set(test["groupings"]) == {"sex", "race"} and [pair["columns"] for pair in test["pairs"]] == [
        ["sex", "race"]
    ]
    assert {name: found["n"] for name, found in test["groupings"]["race"]["by_group"].items()} == {
        "Black": 40,
        "White": 80,
    }
    assert test["groupings"]["sex"]["missing"] == 0 and test["groupings"]["sex"]["undecidable"] == []
    for found in [*test["groupings"].values(), *test["pairs"]]:
        assert set(found["compared"]) == set(COMPARED)
        for group in found["by_group"].values():
            for metric in METRICS:
                assert group[metric]["low"] <= group[metric]["value"] <= group[metric]["high"]
        for metric, each in found["compared"].items():
            if each["verdict"] == "unfair":
                assert each["largest"]["low"] > 0 or metric in ONE_VS_REST, "two decimals"
            elif each["verdict"] == "fair_within_margin":
                assert each["largest"]["high"] <= each["margin"] + 0.005
    assert sum(test["verdicts"].values()) == 3 * len(COMPARED)


def test_a_planted_gap_is_found_and_named(stage, folder):
    write(folder, halves, notes=300, spoil=lambda group: group["race"] == "Black")
    assert stage("audit_fairness", {**FAST, "bootstrap_samples": 300}) == (0, "")
    race = audited(folder)["test"]["groupings"]["race"]["compared"]
    for metric in ("accuracy", "sensitivity"):
        assert race[metric]["verdict"] == "unfair" and race[metric]["widest"]["lowest"] == "Black"
    assert audited(folder)["test"]["groupings"]["sex"]["compared"]["sensitivity"]["verdict"] == "cannot_conclude"


def test_a_small_group_is_undecidable_and_its_count_nowhere(stage, folder):
    def groups(row):
        return {"sex": "F" if row % 2 else "M", "race": "Asian" if row < 7 else "Black" if row < 50 else "White"}

    write(folder, groups)
    assert stage("audit_fairness", FAST) == (0, "")
    race = audited(folder)["test"]["groupings"]["race"]
    assert race["by_group"]["Asian"] == {"n_patients": "<11", "verdict": "undecidable"}
    assert race["undecidable"] == ["Asian"]
    assert race["by_group"]["Black"]["n_patients"] == ">=11" and race["by_group"]["Black"]["n"] is None, (
        "120 - 70 - 43 = 7"
    )
    assert race["by_group"]["White"]["n"] == 70
    value = race["by_group"]["Black"]["accuracy"]["value"]
    assert value == round(value, 2), "more decimals would give the denominator away"
    assert race["compared"]["accuracy"]["pairs"] == 1


def test_many_notes_of_few_patients_are_a_small_group(stage, folder):
    write(folder, halves)
    shard = random_shard(120, patients=8)
    for model, file in (("model", "predictions"), ("calibrated", "calibrated")):
        rows = [row for name in ("validation", "test") for row in prediction_rows(shard, name, model)]
        write_predictions(folder / f"data/{file}.parquet", rows)
    for name in ("validation", "test"):
        write_shard(
            folder / f"data/split/{name}.parquet",
            prediction_rows(shard, name, "model"),
            [halves(r) for r in range(120)],
        )
    assert stage("audit_fairness", FAST) == (0, "")
    assert audited(folder)["test"]["groupings"]["sex"]["undecidable"] == ["F", "M"]


def test_missing_values_are_counted_and_not_guessed(stage, folder):
    write(
        folder,
        lambda row: {"sex": "F" if row % 2 else "M", "race": None if row < 30 else "White" if row % 2 else "Black"},
    )
    assert stage("audit_fairness", FAST) == (0, "")
    race = audited(folder)["test"]["groupings"]["race"]
    assert race["missing"] == 30 and set(race["by_group"]) == {"Black", "White"}


def test_no_groups_ends_well(stage, folder, capsys):
    write(folder, lambda row: {})
    assert stage("audit_fairness", FAST) == (0, "")
    assert "no groups" in capsys.readouterr().out
    assert audited(folder)["test"]["status"] == "no groups" and "groupings" not in audited(folder)["test"]
    assert (folder / "plots/audit_fairness.png").read_bytes().startswith(b"\x89PNG")


def test_a_column_without_values_and_a_column_of_one_group(stage, folder):
    write(folder, lambda row: {"sex": "F"})
    assert stage("audit_fairness", FAST) == (0, "")
    test = audited(folder)["test"]
    assert test["no_values"] == ["race"] and test["pairs"] == []
    assert test["groupings"]["sex"]["compared"]["accuracy"]["verdict"] == "cannot_conclude"


def test_a_group_of_one_and_a_shard_of_one_class(stage, folder):
    write(folder, lambda row: {"sex": "F" if row else "X", "race": "White" if row % 2 else "Black"})
    for model, file in (("model", "predictions"), ("calibrated", "calibrated")):
        rows = [
            {**row, "labels": [CLASSES[0]]}
            for number, name in enumerate(("validation", "test"))
            for row in prediction_rows(random_shard(120, seed=number), name, model)
        ]
        write_predictions(folder / f"data/{file}.parquet", rows)
    assert stage("audit_fairness", FAST) == (0, "")
    assert audited(folder)["test"]["groupings"]["sex"]["by_group"]["X"]["verdict"] == "undecidable"


def test_withheld_test_is_not_audited(stage, folder):
    write(folder, halves, shards=("validation",))
    assert stage("audit_fairness", FAST) == (0, "")
    assert set(audited(folder)) == {"validation"}


def test_same_bytes_and_no_ids(stage, folder):
    write(folder, halves)
    hashes = set()
    for _ in range(2):
        assert stage("audit_fairness", FAST) == (0, "")
        files = [folder / "metrics/audit_fairness.json", folder / "plots/audit_fairness.png"]
        hashes.add(tuple(sha256(path) for path in files))
    assert len(hashes) == 1
    assert "n000" not in files[0].read_text() and b"Software" not in files[1].read_bytes()


def other_notes(data):
    rows = [{**row, "note_id": f"{row['note_id']}{'x' * (row['note_id'] == 'test-n00000')}"}
            for number, name in enumerate(("validation", "test"))
            for row in prediction_rows(random_shard(120, seed=number), name, "calibrated")]  # fmt: skip
    write_predictions(data / "calibrated.parquet", rows)


@pytest.mark.parametrize(
    "breaks, params, says",
    [
        (lambda data: (data / "predictions.parquet").unlink(), {}, "predictions.parquet does not exist"),
        (lambda data: (data / "split/test.parquet").unlink(), {}, "test.parquet does not exist"),
        (lambda data: (data / "split/test.parquet").write_bytes(b"PAR1"), {}, "not a readable Parquet file"),
        (lambda data: write_shard(data / "split/test.parquet", [], []), {}, "120 notes are in the shard or in the predictions only"),
        (lambda data: None, {"groups": ["sex", "sex"]}, "names sex twice"),
        (lambda data: None, {"groups": ["gender"]}, "audit_fairness.groups.0 is 'gender'"),
        (lambda data: None, {"groups": []}, "audit_fairness.groups is []"),
        (lambda data: None, {"min_count": 0}, "audit_fairness.min_count is 0"),
        (lambda data: None, {"margin": 0.1}, "audit_fairness.margin is no known param"),
        (lambda data: None, {"margins": {"accuracy": 0}}, "audit_fairness.margins.accuracy is 0"),
        (lambda data: None, {"margins": {"npv": 0.1}}, "audit_fairness.margins.npv is no known param"),
        (lambda data: None, {"scan_depth": 9}, "audit_fairness.scan_depth is 9"),
        (lambda data: (data / "calibrated.parquet").unlink(), {}, "calibrated.parquet does not exist"),
        (other_notes, {}, "2 notes are in one table and not in the other"),
    ],
)  # fmt: skip
def test_bad_input_ends_with_one_line(stage, folder, breaks, params, says):
    write(folder, halves)
    breaks(folder / "data")
    code, line = stage("audit_fairness", FAST | params)
    assert code == 1 and says in line and "\n" not in line
    assert not (folder / "metrics").exists() and not (folder / "plots").exists()
