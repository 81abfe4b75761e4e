"""Missing values by hand and beside scikit-learn: what fills them comes from the train shard, and is no patient's group."""

import dataclasses
import json
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from scored import prediction_rows, random_shard, write_predictions, write_shard
from sklearn.impute import KNNImputer

from diagnosis.fairness.groups import read_groups
from diagnosis.files import read_json
from diagnosis.missing import BANDS, COLUMNS, centre, nearest
from diagnosis.notes import IMPUTED, SCHEMA, note_writer
from diagnosis.splits import SHARDS

CLEAN = Path("data/clean.parquet")
METADATA = {"task": "single_label", "text_pair": False, "official_split": False, "corpus": "table",
            "data_use": {"corpus": "table", "licence": "CC0", "public": True}}  # fmt: skip
OFFICIAL = {"official": True, "min_notes_per_class": 1}


def facts(**stated) -> tuple:
    return tuple(stated.get(column) for column in COLUMNS)


# ---------------------------------------------------------------- one value for all


@pytest.mark.parametrize(
    ("policy", "values", "expected"),
    [
        ("mode", [("b", 2), ("a", 1), ("a", 1), (None, 9)], "a"),  # as often as b, and before it by name
        ("mode", [("b", 3), ("a", 2), (None, 9)], "b"),
        ("median", [("0-17", 2), ("18-44", 1), ("90+", 1), (None, 9)], "18-44"),  # 0 0 1 5: 0.5, the older of 0 and 1
        ("median", [("0-17", 3), ("18-44", 1), ("90+", 1)], "0-17"),
        ("mean", [("0-17", 2), ("18-44", 1), ("90+", 1), (None, 9)], "45-64"),  # 6 / 4 = 1.5
        ("mean", [("45-64", 3), ("65-74", 1)], "45-64"),  # 2.25
    ],
)
def test_centres_by_hand(policy, values, expected):
    assert centre(policy, values) == expected


# ---------------------------------------------------------------- the nearest


TRAIN = Counter({
    facts(sex="F", age_band="18-44", race="Asian", service="MED"): 2,
    facts(sex="F", age_band="75-89", race="White", service="MED"): 1,
    facts(sex="M", age_band="75-89", race="White", service="SURG"): 3,
    facts(sex="M", race="Black"): 3,
    facts(sex="M", age_band="90+", service="SURG"): 9,  # states no race: no one to ask
})  # fmt: skip


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        # Distances to the four: 1st (0 + 0.2 + 0) / 3, 2nd (0 + 0.4 + 0) / 3, 3rd (1 + 0.4 + 1) / 3, 4th 1.
        (facts(sex="F", age_band="45-64", service="MED"), "Asian"),
        # 1st (0 + 0.6 + 0) / 3, 2nd (0 + 0.2 + 0) / 3.
        (facts(sex="F", age_band="65-74", service="MED"), "White"),
        # Only sex is shared: 3rd and 4th at 0 with three notes each, the first by name.
        (facts(sex="M"), "Black"),
        # 3rd at 0 by age and service; the 4th shares nothing with it.
        (facts(age_band="75-89", service="SURG"), "White"),
        # A service that no train note has: 1st (0 + 1) / 2, 2nd the same, 3rd and 4th 1, 1: of 2 Asian and 1 White.
        (facts(sex="F", service="ENT"), "Asian"),
        (facts(), "White"),  # all may vote: White 4, Black 3, Asian 2
        (facts(insurance="Medicaid"), "White"),  # the same: nobody states an insurance
    ],
)
def test_nearest_by_hand(own, expected):
    assert nearest(COLUMNS.index("race"), TRAIN)(own) == expected


def test_nearest_age_band():
    train = Counter(
        {facts(sex="F", age_band="90+"): 2, facts(sex="F", age_band="0-17"): 1, facts(sex="M", age_band="0-17"): 5}
    )
    fill = nearest(COLUMNS.index("age_band"), train)
    assert [fill(facts(sex=sex)) for sex in ("F", "M", None)] == ["90+", "0-17", "0-17"]


def test_nearest_equals_knn_imputer_where_one_note_is_nearest():
    """Columns of two values, gaps in them too: Gower's distance then orders notes as scikit-learn's nan_euclidean does."""
    draw = random.Random(4)
    place = COLUMNS.index("sex")
    compared = 0
    for _ in range(60):
        rows = [tuple(draw.choice([0.0, 1.0, np.nan]) for _ in COLUMNS) for _ in range(12)]
        rows = [row[:place] + (draw.choice([0.0, 1.0]),) + row[place + 1 :] for row in rows]
        own = tuple(draw.choice([0.0, 1.0, np.nan]) for _ in COLUMNS)
        own = own[:place] + (np.nan,) + own[place + 1 :]
        table = np.array(rows)
        both = ~np.isnan(table) & ~np.isnan(own)
        with np.errstate(invalid="ignore"):
            distance = np.nansum(np.abs(table - own) * both, axis=1) / both.sum(axis=1)
        if (np.isclose(distance, np.nanmin(distance))).sum() > 1:
            continue  # KNNImputer then takes whichever comes first
        compared += 1
        expected = KNNImputer(n_neighbors=1, keep_empty_features=True).fit(table).transform([own])[0][place]
        stated = [tuple(None if np.isnan(v) else str(v) for v in row) for row in (*rows, own)]
        as_bands = [row[:5] + (row[5] and {"0.0": BANDS[0], "1.0": BANDS[-1]}[row[5]],) + row[6:] for row in stated]
        assert nearest(place, Counter(as_bands[:-1]))(as_bands[-1]) == str(expected)
    assert compared > 20


# ---------------------------------------------------------------- the stage


def note(number: int, split: str, **stated) -> dict:
    return {"note_id": f"n{number:03}", "patient_id": f"p{number}", "source": "table", "text": f"note {number}", "split": split,
            "labels": ["ab"[number % 2]], **stated}  # fmt: skip


def small() -> list[dict]:
    """Train F F M and two without a sex; every shard has one note that states nothing; calibration is dealt from no one."""
    rows = [
        note(0, "train", sex="F", age_band="18-44", race="Asian"), note(1, "train", sex="F", age_band="45-64", race="White"),
        note(2, "train", sex="M", age_band="90+", race="White"), note(3, "train", age_band="45-64", race="Asian"), note(4, "train"),
        note(5, "validation", sex="M", age_band="90+"), note(6, "validation"),
        note(7, "calibration", race="White"), note(8, "calibration"),
        note(9, "test", age_band="18-44"), note(10, "test", sex="M", race="Black"), note(11, "test"),
    ]  # fmt: skip
    return rows


def write(rows: list[dict]) -> None:
    with note_writer(CLEAN, METADATA) as writer:
        writer.write(rows)


def shards() -> dict[str, dict]:
    """By note_id: its shard, and its row."""
    return {
        row["note_id"]: row | {"shard": name}
        for name in SHARDS
        for row in pq.read_table(f"data/split/{name}.parquet").to_pylist()
    }


def run(stage, rows: list[dict], missing: dict, **changes) -> tuple[dict, dict]:
    write(rows)
    assert stage("split", OFFICIAL | changes | {"missing": missing}) == (0, "")
    return shards(), read_json(Path("metrics/split.json"))


def test_without_policies_nothing_changes(stage):
    found, metrics = run(stage, small(), {})
    assert pq.read_schema("data/split/test.parquet").remove_metadata() == SCHEMA
    assert "missing" not in metrics and "missing_value" not in metrics["left_out"]
    assert [{k: v for k, v in found[row["note_id"]].items() if row.get(k) is not None} for row in small()] == small()


@pytest.mark.parametrize(
    ("policy", "value", "given"),
    [
        ("mode", "F", "F"),
        ({"constant": "not stated"}, "not stated", "not stated"),
        ("keep", None, None),
        ("nearest", None, None),
    ],
)
def test_one_column_in_every_shard(stage, policy, value, given):
    found, metrics = run(stage, small(), {"sex": policy})
    own = ["n003", "n004", "n006", "n007", "n008", "n009", "n011"]
    if policy == "nearest":
        # n003 is nearest to n000 (a band off of five, the race the same); n007 is White, as one F and one M; n009 is of n000's age.
        assert [found[n]["sex"] for n in own] == ["F", "F", "F", "F", "F", "F", "F"]
    else:
        assert [found[n]["sex"] for n in own] == [given] * 7
    assert [row["imputed"] for row in found.values()] == [
        ["sex"] if n in own and policy != "keep" else [] for n in found
    ]
    assert all(found[row["note_id"]]["sex"] == row["sex"] for row in small() if "sex" in row)
    name = "constant" if isinstance(policy, dict) else policy
    assert metrics["missing"] == {
        "sex": {"policy": name, "value": value, "notes": {"train": 2, "validation": 1, "calibration": 2, "test": 2}}
    }
    assert (
        metrics["left_out"]["missing_value"] == {}
        and pq.read_schema("data/split/test.parquet").field("imputed") == IMPUTED
    )


def test_several_columns_are_filled_from_what_was_stated(stage):
    found, metrics = run(stage, small(), {"sex": "mode", "age_band": "median", "race": "nearest"})
    # Bands 1, 2, 5, 2: the median is 2. n005 (M, 90+) is n002's double. n009 is of n000's age. n011 states nothing: Asian and White
    # twice each. n007's own race stays.
    assert metrics["missing"]["age_band"]["value"] == "45-64"
    assert [found[n]["race"] for n in ("n005", "n009", "n011", "n007")] == ["White", "Asian", "Asian", "White"]
    assert found["n011"]["imputed"] == ["age_band", "race", "sex"] and found["n005"]["imputed"] == ["race"]
    assert found["n010"]["imputed"] == ["age_band"] and found["n000"]["imputed"] == []


def test_drop_by_hand(stage):
    rows = [
        *small(),
        *[note(n, "train", sex="F", race="Asian") for n in (20, 21)],
        note(22, "validation", sex="F", race="White"),
    ]
    rows += [note(23, "calibration", sex="M", race="White")]
    found, metrics = run(stage, rows, {"sex": "drop", "race": "drop", "age_band": "mean"})
    # Test notes stay whatever they lack, in the official test set.
    assert sorted(found) == ["n000", "n001", "n002", "n009", "n010", "n011", "n020", "n021", "n022", "n023"]
    assert metrics["left_out"]["missing_value"] == {"train": 2, "validation": 2, "calibration": 2}
    assert metrics["missing"]["sex"]["notes"] == {"train": 2, "validation": 1, "calibration": 2, "test": 2}
    assert metrics["missing"]["race"]["notes"] == {"train": 1, "validation": 2, "calibration": 1, "test": 2}
    assert found["n011"]["sex"] is None and found["n011"]["imputed"] == ["age_band"]
    # Fitted on the train notes that are left, bands 1, 2, 5: 8 / 3, so 65-74.
    assert metrics["missing"]["age_band"] == {
        "policy": "mean",
        "value": "65-74",
        "notes": {"train": 2, "validation": 1, "calibration": 1, "test": 2},
    }
    assert metrics["shards"]["train"]["notes"] == 5


def test_drop_where_the_split_is_ours_leaves_no_shard_out(stage):
    draw = random.Random(2)
    rows = [note(n, "train", sex=draw.choice(["F", "M", None])) for n in range(300)]
    write(rows)
    assert stage("split", {"missing": {"sex": "drop"}}) == (0, "")
    found, metrics = shards(), read_json(Path("metrics/split.json"))
    assert sorted(found) == [row["note_id"] for row in rows if row["sex"]]
    left = metrics["left_out"]["missing_value"]
    assert sum(left.values()) == 300 - len(found) and min(left[name] for name in SHARDS) > 0


def big(seed: int) -> list[dict]:
    draw = random.Random(seed)
    values = {
        "sex": "FM",
        "race": ["White", "Black", "Asian"],
        "age_band": BANDS,
        "service": ["MED", "SURG", "ENT"],
        "language": ["en", "es"],
    }
    return [
        note(n, "test" if n % 4 == 0 else "train", **{c: draw.choice([*v, None]) for c, v in values.items()})
        for n in range(400)
    ]


EVERY = {
    "sex": "mode",
    "race": "nearest",
    "age_band": "mean",
    "language": {"constant": "unknown"},
    "service": "nearest",
}


def test_nothing_is_learnt_from_other_shards(stage):
    rows = big(1)
    before, _ = run(stage, rows, EVERY)
    shares = Counter(row["shard"] for row in before.values())
    assert min(shares[name] for name in SHARDS) > 20
    changed = [
        row
        if before[row["note_id"]]["shard"] == "train"
        else row | {"sex": "M", "race": "Other", "age_band": "90+", "service": None}
        for row in rows
    ]
    after, _ = run(stage, changed, EVERY)
    train = [name for name, row in before.items() if row["shard"] == "train"]
    assert [after[name] for name in train] == [before[name] for name in train]
    assert sum(bool(before[name]["imputed"]) for name in train) > 50
    # And the other way: what the train notes state decides what the test notes get.
    changed = [row | {"sex": row["sex"] and "X"} if before[row["note_id"]]["shard"] == "train" else row for row in rows]
    after, _ = run(stage, changed, EVERY)
    lacking = [row["note_id"] for row in rows if row["sex"] is None and before[row["note_id"]]["shard"] == "test"]
    assert {after[name]["sex"] for name in lacking} == {"X"} and lacking


def test_rows_in_another_order_and_twice(stage):
    rows = big(3)
    first, _ = run(stage, rows, EVERY)
    content = [Path(f"data/split/{name}.parquet").read_bytes() for name in SHARDS]
    run(stage, rows, EVERY)
    assert [Path(f"data/split/{name}.parquet").read_bytes() for name in SHARDS] == content
    random.Random(0).shuffle(rows)
    assert run(stage, rows, EVERY)[0] == first


def test_the_next_stages_take_the_filled_values(stage):
    found, _ = run(stage, big(1), EVERY)
    assert stage("augment") == (0, "") and stage("rebalance") == (0, "")
    balanced = pq.read_table("data/balanced.parquet").to_pylist()
    assert [row["race"] for row in balanced] == [row["race"] for row in found.values() if row["shard"] == "train"]
    assert None not in {row["race"] for row in balanced}


@pytest.mark.parametrize(
    ("missing", "line"),
    [
        ({"colour": "mode"}, "no descriptive column is called colour: there are note_type, service, "),
        ({"sex": "modus"}, "sex has no policy of keep, drop, mode, mean, median, nearest or {constant: text}"),
        ({"sex": None}, "sex has no policy of"),
        ({"sex": {"constant": " "}}, "sex has no policy of"),
        ({"sex": {"constant": "F", "more": "M"}}, "sex has no policy of"),
        ({"race": "mean"}, "race has no mean: only age_band is in order"),
        ({"age_band": {"constant": "old"}}, "age_band is none of 0-17, 18-44"),
        ([], "params.yaml: split.missing is []: input should be a valid dictionary"),
        ({"insurance": "mode"}, "split.missing.insurance is mode, but no train note states its insurance: keep it, or give a constant"),
        ({"insurance": "nearest"}, "split.missing.insurance is nearest, but no train note"),
        ({"insurance": "drop"}, "no class"),
    ],
)  # fmt: skip
def test_policies_that_do_not_do(stage, missing, line):
    write(small())
    code, error = stage("split", OFFICIAL | {"missing": missing})
    assert code == 1 and "\n" not in error and "unexpected" not in error
    assert (line if line != "no class" else "of the classes, 0 have at least") in error
    assert not Path("data/split").exists() or not list(Path("data/split").iterdir())
    assert not Path("metrics/split.json").exists()


# ---------------------------------------------------------------- an imputed group is nobody's


def with_imputed(path: Path, imputed: list[list[str]]) -> None:
    rows = pq.read_table(path).to_pylist()
    metadata = {
        name.decode(): json.loads(value)
        for name, value in pq.read_schema(path).metadata.items()
        if name != b"ARROW:schema"
    }
    with note_writer(path, metadata, [IMPUTED]) as writer:
        writer.write(row | {"imputed": own} for row, own in zip(rows, imputed, strict=True))


def test_the_fairness_audit_takes_imputed_for_missing(stage, folder):
    shard = random_shard(200, seed=1)
    groups = [{"sex": "FM"[n % 2], "race": ["White", "Black"][n % 3 == 0]} for n in range(200)]
    guessed = [["sex"] if n < 40 else ["race", "service"] if n < 60 else [] for n in range(200)]
    nulled = [
        {**own, **{column: None for column in columns if column in own}}
        for own, columns in zip(groups, guessed, strict=True)
    ]
    found = []
    for given, imputed in ((nulled, None), (groups, guessed)):
        rows = [row for name in ("validation", "test") for row in prediction_rows(shard, name, "model")]
        write_predictions(folder / "data/predictions.parquet", rows)
        write_predictions(folder / "data/calibrated.parquet", [row | {"model": "calibrated"} for row in rows])
        for name in ("validation", "test"):
            path = folder / f"data/split/{name}.parquet"
            write_shard(path, [row for row in rows if row["shard"] == name], given)
            if imputed:
                with_imputed(path, imputed)
        assert stage("audit_fairness", {"groups": ["sex", "race"], "bootstrap_samples": 20}) == (0, "")
        found.append(read_json(folder / "metrics/audit_fairness.json"))
    assert found[0] == found[1]
    assert (
        found[1]["test"]["groupings"]["sex"]["missing"] == 40 and found[1]["test"]["groupings"]["race"]["missing"] == 20
    )


def test_read_groups_leaves_out_what_was_imputed(folder):
    shard = random_shard(3, seed=1)
    rows = prediction_rows(shard, "test", "model")
    path = folder / "data/split/test.parquet"
    write_shard(path, rows, [{"sex": "F", "race": "White"}, {"sex": "M"}, {"sex": "F", "race": "Black"}])
    with_imputed(path, [["race"], [], ["sex"]])
    shard = dataclasses.replace(shard, note_ids=np.array([row["note_id"] for row in rows], dtype=object))
    table = read_groups(path, shard, ["sex", "race"])
    assert table.values.tolist() == [["F", None], ["M", None], [None, "Black"]]
