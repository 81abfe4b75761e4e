"""Stage audit_data: numbers by hand and by other libraries, planted selection and drift found, small counts untold."""

import json
import random
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from conftest import ROOT, default_params, merged, run_in, write_params
from matplotlib.image import imread
from scipy.stats import binomtest, chi2_contingency
from toy import WORDS, write_table

from diagnosis.audit.intervals import (
    association,
    design_effect,
    difference,
    effective,
    quantile,
    total_variation,
    wilson,
)
from diagnosis.audit.measures import by_group, compared_labels, described, flow, missing_values
from diagnosis.audit.notes import null_counts, read_shards
from diagnosis.audit.tokens import count_tokens, model_window, open_tokenizer
from diagnosis.errors import run
from diagnosis.files import sha256
from diagnosis.notes import IMPUTED, note_writer, read_metadata

SHARDS = ("train", "validation", "calibration", "test")
METRICS = Path("metrics/audit_data.json")
CANARY = "zanzibarweed"


def note(number: int, **values) -> dict:
    return {
        "note_id": f"n{number}", "patient_id": f"p{number}", "source": "toy", "text": f"chest pain {number}", "labels": ["cardiac"],
        "duplicate_cluster": f"n{number}", "sex": "FM"[number % 2], "period": "2014 - 2016",
    } | values  # fmt: skip


def lay(folder: Path, model: Path, notes: list[dict], *, kept=lambda row: True, **metadata) -> None:
    """What the stage reads: the notes before and after, those that are `kept` dealt to shards by turns."""
    meta = {
        "classes": sorted({label for row in notes for label in row["labels"]}),
        "task": "single_label",
        "text_pair": False,
    }
    meta |= metadata
    for name in ("notes", "deidentified", "clean"):
        write_table(folder / f"data/{name}.parquet", notes, meta)
    left = [row for row in notes if kept(row)]
    for place, name in enumerate(SHARDS):
        write_table(folder / f"data/split/{name}.parquet", left[place::4], meta)
    (folder / "metrics").mkdir(exist_ok=True)
    (folder / "metrics/ingest.json").write_text(json.dumps({"notes_read": len(notes) + 3, "skipped": {"no_text": 1}}))
    shutil.copytree(model, folder / "models/base", dirs_exist_ok=True)


def audit(folder: Path, max_tokens: int = 64, **changes) -> tuple[int, str]:
    """Run the stage; (exit code, its one-line error)."""
    params = default_params()
    write_params(
        folder,
        {
            "audit_data": merged(params["audit_data"], changes),
            "finetune": params["finetune"] | {"max_tokens": max_tokens},
        },
    )
    from stages.audit_data import main

    try:
        run(main)
    except SystemExit as end:
        return 1, end.code
    return 0, ""


def metrics() -> dict:
    return json.loads(METRICS.read_text())


# ---------------------------------------------------------------- lengths, as finetune will have them


@pytest.mark.parametrize("pair", [False, True])
def test_tokens_are_those_that_finetune_counts(tmp_path, tiny_model, pair):
    from transformers import AutoTokenizer

    from diagnosis.training.dataset import read_dataset, truncation

    draw = random.Random(0)
    vocabulary = [*"pain chest fever cough denies reports".split(), "Zürich", "120/80", "no."]
    notes = [note(n, text=" ".join(draw.choices(vocabulary, k=draw.randint(1, 60))), text_pair="does it hurt?" if pair else None)
             for n in range(200)]  # fmt: skip
    meta = {"classes": ["cardiac", "lung"], "task": "single_label", "text_pair": pair}
    write_table(tmp_path / "train.parquet", notes, meta)
    table = read_shards({"train": tmp_path / "train.parquet"}, open_tokenizer(tiny_model), ["sex"])
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    dataset = read_dataset(tmp_path / "train.parquet", tokenizer, meta, max_tokens=40, weighted=False)
    assert table["tokens"].tolist() == list(dataset.data.column("whole_length").to_pylist())
    theirs, ours = (
        truncation(dataset, meta["classes"], 11),
        described(table, meta["classes"], {"beyond": 40}, 11)["beyond"],
    )
    assert theirs["notes"] > 20
    assert (ours["notes"], round(ours["share"], 6), round(ours["tokens_share"], 6)) == (
        theirs["notes"], theirs["share"], theirs["tokens_beyond_share"],
    )  # fmt: skip
    words = [len(row["text"].split()) + (3 if pair else 0) for row in notes]
    assert table["words"].tolist() == words


def test_a_vocabulary_alone_is_a_tokenizer_too(tmp_path, tiny_model):
    (tmp_path / "vocab.txt").write_bytes((tiny_model / "vocab.txt").read_bytes())
    shutil.copy(tiny_model / "config.json", tmp_path)
    texts = ["Chest pain, 120/80.", "fever"]
    assert count_tokens(open_tokenizer(tmp_path), texts, None) == count_tokens(open_tokenizer(tiny_model), texts, None)


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_the_models_window_is_the_one_that_finetune_finds(tmp_path, family):
    from transformers import BertConfig, BertForSequenceClassification, RobertaConfig, RobertaForSequenceClassification

    from diagnosis.training.model import longest_input

    make, kind = (
        (BertConfig, BertForSequenceClassification)
        if family == "bert"
        else (RobertaConfig, RobertaForSequenceClassification)
    )
    config = make(vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, max_position_embeddings=66)  # fmt: skip
    kind(config).save_pretrained(tmp_path)
    assert model_window(tmp_path) == longest_input(kind(config)) == (66 if family == "bert" else 64)


# ---------------------------------------------------------------- intervals, by other hands


@pytest.mark.parametrize(("k", "n"), [(0, 11), (11, 11), (3, 40), (56, 70), (999, 1000)])
def test_wilson_is_scipys(k, n):
    theirs = binomtest(k, n).proportion_ci(method="wilson")
    assert wilson(k / n, n, quantile()) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


@pytest.mark.parametrize(
    ("a", "n", "b", "m", "low", "high"),
    [(56, 70, 48, 80, 0.0524, 0.3339), (9, 10, 3, 10, 0.1705, 0.8090), (10, 10, 0, 10, 0.6075, 1.0), (0, 10, 0, 20, -0.1611, 0.2775)],
)  # fmt: skip
def test_differences_are_newcombes(a, n, b, m, low, high):
    """His table II, method 10."""
    assert difference(a / n, n, b / m, m, quantile()) == pytest.approx((low, high), abs=5e-5)


def test_association_is_scipys_and_a_patients_repeats_count_once():
    counts = np.array([[30, 10, 5], [12, 25, 9], [0, 0, 0]])
    theirs = chi2_contingency(counts[:2], correction=False)
    found = association(counts, 1.0)
    assert found["p_value"] == pytest.approx(theirs.pvalue)
    assert found["cramers_v"] == pytest.approx((theirs.statistic / 91) ** 0.5)
    assert association(3 * counts, 3.0)["p_value"] == pytest.approx(theirs.pvalue), "each note three times"
    assert association(counts[:1], 1.0) == {"cramers_v": None, "p_value": None}


def test_few_patients_with_most_of_the_notes_are_few_patients():
    """Labels and losses by patient, many notes of few of them, no difference: as often found as 0.05 says, not always."""
    rng, by_labels, by_flow = np.random.default_rng(1), 0, 0
    for _ in range(200):
        sizes = np.minimum(1 + rng.pareto(1.2, 600).astype(int), 60)
        group, label, kept = (
            rng.integers(0, 3, 600),
            rng.choice(5, 600, p=[0.4, 0.2, 0.2, 0.1, 0.1]),
            rng.random(600) < 0.7,
        )
        counts = np.zeros((3, 5))
        np.add.at(counts, (group, label), sizes)
        by_labels += association(counts, design_effect(sizes))["p_value"] < 0.05
        of = {name: sizes[group == place] for place, name in enumerate("ABC")}
        notes = {
            "ingest": Counter({name: int(own.sum()) for name, own in of.items()}),
            "split": Counter({name: int(sizes[(group == place) & kept].sum()) for place, name in enumerate("ABC")}),
        }
        by_flow += any(each["verdict"].endswith("_kept") for each in flow(notes, of, 3, 11).values())
    assert by_labels <= 18 and by_flow <= 18  # 200 at 0.05: the 99th percentile of chance
    assert design_effect(np.array([3, 3, 3])) == 3 and effective(np.array([1, 2, 3])) == pytest.approx(36 / 14)


def test_total_variation_and_what_chance_gives():
    value, _ = total_variation(np.array([10, 30]), np.array([60, 20]), 1.0)
    assert value == pytest.approx(0.5)
    rng = np.random.default_rng(0)
    shares = np.array([0.5, 0.3, 0.15, 0.05])
    draws = [total_variation(*(rng.multinomial(n, shares).astype(float) for n in (200, 900)), 1.0) for _ in range(400)]
    assert np.mean([value for value, _ in draws]) == pytest.approx(np.mean([chance for _, chance in draws]), rel=0.05)


# ---------------------------------------------------------------- a shard


def frame(rows: list[dict]) -> pd.DataFrame:
    whole = {
        "shard": "train",
        "words": 5,
        "tokens": 9,
        "text": None,
        "cluster": None,
        "patient": None,
        "labels": ("a",),
        "sex": "F",
    }
    table = pd.DataFrame([whole | {"patient": n, "cluster": n, "text": n} | row for n, row in enumerate(rows)])
    return table.astype({"sex": "category"})


def test_a_shard_by_hand():
    rows = [{"labels": ("a",), "words": 10, "tokens": 20}] * 12 + [{"labels": ("b",), "words": 30, "tokens": 60}] * 4
    rows = [dict(row) for row in rows] + [{"labels": (), "tokens": 100, "words": 50}]
    rows[1] |= {"text": 0, "cluster": 0, "patient": 0}  # note 0 again, same label
    rows[12] |= {"text": 2, "cluster": 2}  # note 2's text under another label
    rows[13] |= {"cluster": 2}
    found = described(frame(rows), ["a", "b", "c"], {"beyond": 50, "none": None}, 11)
    assert (found["notes"], found["patients"]) == (17, 16)
    assert (found["classes"], found["classes_not_shown"], found["classes_without_notes"]) == ({"a": 12}, 1, 1)
    assert (found["imbalance_ratio"], found["imbalance_ratio_is_lower_bound"]) == (12 / 11, True)
    assert (found["labels_per_note"], found["notes_without_label"]) == (16 / 17, 1)
    assert found["words"] == {"mean": (120 + 120 + 50) / 17, "p5": 10, "median": 10, "p95": 50, "max": 50}
    assert found["beyond"] == {
        "tokens": 50,
        "notes": 5,
        "share": 5 / 17,
        "tokens_share": (4 * 10 + 50) / (240 + 240 + 100),
    }
    assert found["none"] is None
    assert found["duplicates"] == {"clusters": 2, "notes_share": 5 / 17, "largest_cluster": 3}
    assert found["label_conflicts"] == {
        "texts": {"count": 1, "notes_share": 2 / 17},
        "clusters": {"count": 1, "notes_share": 3 / 17},
    }
    assert found["label_ceiling"] == 16 / 17
    assert described(frame(rows)[:0], ["a"], {}, 11) == {"notes": 0}


def test_missing_values_tell_no_small_group():
    counts = {"sex": 0, "race": 30, "site": 100, "service": 4}
    assert missing_values(counts, 100, {"race"}, 11) == {
        "race": {"notes": None, "share": 0.3}, "site": {"notes": 100, "share": 1.0}, "service": {"notes": "<11", "share": None},
    }  # fmt: skip


def test_null_counts(tmp_path):
    write_table(tmp_path / "t.parquet", [note(n, race="White" if n else None) for n in range(5)], {})
    found = null_counts(tmp_path / "t.parquet")
    assert (found["race"], found["sex"], found["text_pair"]) == (1, 0, 5) and not {"note_id", "text", "labels"} & set(
        found
    )


# ---------------------------------------------------------------- groups


def test_a_group_by_hand():
    rows = [{"sex": "F", "labels": ("a",), "words": 10}] * 30 + [
        {"sex": "F", "labels": ("b",), "words": 20, "tokens": 99}
    ] * 20
    rows += [{"sex": "M", "labels": ("a",), "words": 40}] * 12 + [{"sex": "M", "labels": ("b",), "words": 40}] * 38
    rows += [{"sex": None, "labels": ("b",)}] * 25
    table = frame(rows)
    found = by_group(table, "sex", compared_labels(table), 50, 11)
    assert found["by_group"]["F"] == {
        "notes": 50, "patients": 50, "share": 0.4, "words": {"median": 10, "p95": 20}, "beyond_window_share": 0.4,
        "total_variation": pytest.approx(0.36), "total_variation_by_chance": pytest.approx(0.0788, abs=5e-5),
        "label_rates": [{"label": "b", "rate": 0.4}, {"label": "a", "rate": 0.6}],
    }  # fmt: skip
    assert found["stated_share"] == 0.8 and found["undecidable"] == []
    assert found["labels_differ"]["p_value"] == pytest.approx(
        chi2_contingency([[30, 20], [12, 38]], correction=False).pvalue
    )
    assert by_group(frame([{"sex": None}] * 20), "sex", ["a"], 50, 11) == {"status": "no values"}


def test_no_small_count_is_told_nor_follows():
    """Every group-label count that is not told is hidden together with others, so that the known totals do not give it."""
    rng = np.random.default_rng(3)
    rows = [{"sex": "ABCD"[int(rng.choice(4, p=[0.7, 0.2, 0.07, 0.03]))], "labels": (str(rng.choice(list("vwxyz"), p=[0.4, 0.3, 0.2, 0.07, 0.03])),),
             "tokens": int(rng.integers(10, 60))} for _ in range(400)]  # fmt: skip
    table = frame(rows)
    true = Counter((row["sex"], row["labels"][0]) for row in rows)
    found = by_group(table, "sex", compared_labels(table), 55, 11)
    told = {}
    for group, of in found["by_group"].items():
        if of.get("notes") is None:
            assert not of.get("label_rates")
            continue
        told |= {(group, each["label"]): round(each["rate"] * of["notes"]) for each in of["label_rates"]}
        assert of["beyond_window_share"] is None or round(of["beyond_window_share"] * of["notes"]) not in range(1, 11)
    assert told and all(true[cell] == count >= 11 for cell, count in told.items())
    hidden = {cell: count for cell, count in true.items() if cell not in told}
    assert any(count < 11 for count in hidden.values())
    for place in (0, 1):
        for value in {cell[place] for cell in hidden}:
            line = [count for cell, count in hidden.items() if cell[place] == value]
            whole = sum(count for cell, count in true.items() if cell[place] == value)
            assert sum(line) >= 11 or whole < 11, "a total less what is told would give it"


def test_the_share_beyond_the_window_tells_no_small_count():
    """5 of B are beyond: of all others there is none, so neither B's share nor theirs may stand beside the total of the shards."""
    rows = [{"sex": "ABC"[n % 3], "tokens": 99 if n % 3 == 1 and n < 15 else 9} for n in range(150)]
    found = by_group(frame(rows), "sex", ["a"], 50, 11)["by_group"]
    assert [found[value]["beyond_window_share"] for value in "ABC"] == [None, None, None]
    rows = [{"sex": "AB"[n % 2], "tokens": 9 if n in (0, 2, 4) else 99} for n in range(100)]
    found = by_group(frame(rows), "sex", ["a"], 50, 11)["by_group"]
    assert [found[value]["beyond_window_share"] for value in "AB"] == [None, None], "47 of 50 is 3 that are not"


def test_an_imputed_value_is_a_missing_one(folder, tiny_model):
    """Values that split fills in make nobody a member of a group: else a group grows on its way, and keeps more than it had."""
    notes = [note(n, race=["White", "Black", None][n % 3]) for n in range(300)]
    lay(folder, tiny_model, notes, kept=lambda row: int(row["note_id"][1:]) % 10)
    assert audit(folder) == (0, "")
    expected = metrics()
    for name in SHARDS:
        path = Path(f"data/split/{name}.parquet")
        rows = [row | {"imputed": [] if row["race"] else ["race"]} for row in pq.read_table(path).to_pylist()]
        with note_writer(path, read_metadata(path), [IMPUTED]) as writer:
            writer.write(row | {"race": row["race"] or "White"} for row in rows)
    assert audit(folder) == (0, "")
    assert metrics() == expected and expected["missing"]["train"]["race"]["notes"]


def test_drift_between_periods_is_found_and_none_is_not_invented(folder, tiny_model):
    draw = random.Random(1)
    notes = [note(n, period=period, labels=[draw.choices(["cardiac", "lung"], [share, 1 - share])[0]], race=draw.choice(["Black", "White"]))
             for n, (period, share) in enumerate([("2008 - 2010", 0.7), ("2011 - 2013", 0.4)] * 200)]  # fmt: skip
    lay(folder, tiny_model, notes)
    assert audit(folder) == (0, "")
    found = metrics()
    assert found["periods"]["labels_differ"]["p_value"] < 1e-4
    early = found["periods"]["by_group"]["2008 - 2010"]
    assert early["total_variation"] > 3 * early["total_variation_by_chance"]
    assert found["groups"]["race"]["labels_differ"]["p_value"] > 0.01


# ---------------------------------------------------------------- who is dropped


def test_a_flow_by_hand():
    counts = {"ingest": Counter(F=100, M=60), "clean": Counter(F=80, M=60), "split": Counter(F=60, M=40)}
    for of in counts.values():
        of[None] = 0
    found = flow(counts, {"F": np.full(50, 2), "M": np.ones(60)}, comparisons=2, min_count=11)
    low, high = wilson(0.6, 50, quantile())
    assert found["F"]["kept"] == {"value": 0.6, "low": low, "high": high}
    assert found["F"]["notes"] == {"ingest": 100, "clean": 80, "split": 60}
    low, high = difference(0.6, 50, 40 / 60, 60, quantile(2))
    assert found["F"]["difference"] == {"value": pytest.approx(-1 / 15), "low": low, "high": high}
    assert found["F"]["verdict"] == found["M"]["verdict"] == "cannot_conclude"


def test_planted_selection_is_found(folder, tiny_model):
    """Every fifth note of one group is lost, and every twentieth of the others."""
    draw, lost = random.Random(2), set()
    notes = [note(n, insurance=["Medicaid", "Medicare", "Private"][n % 3], sex=draw.choice("FM")) for n in range(1200)]
    for place, row in enumerate(notes):
        if place // 3 % (5 if row["insurance"] == "Medicaid" else 20) == 0:
            lost.add(row["note_id"])
    lay(folder, tiny_model, notes, kept=lambda row: row["note_id"] not in lost)
    assert audit(folder) == (0, "")
    found = metrics()["flow"]
    assert found["notes"] == {
        "read": 1203,
        "ingest": 1200,
        "deidentify": 1200,
        "clean": 1200,
        "split": 1200 - len(lost),
    }
    verdicts = {group: of["verdict"] for group, of in found["groups"]["insurance"].items()}
    assert verdicts["Medicaid"] == "under_kept" and "under_kept" not in (verdicts["Medicare"], verdicts["Private"])
    assert {of["verdict"] for of in found["groups"]["sex"].values()} == {"cannot_conclude"}


def test_chance_alone_seldom_looks_like_selection():
    """200 flows of 5 groups that all lose a tenth: at most one in twenty has a verdict, within what chance allows."""
    rng, flagged = np.random.default_rng(4), 0
    for _ in range(200):
        sizes = dict(zip("ABCDE", rng.integers(40, 400, 5).tolist(), strict=True))
        counts = {"ingest": Counter(sizes), "split": Counter({g: int(rng.binomial(n, 0.9)) for g, n in sizes.items()})}
        flagged += any(
            of["verdict"].endswith("_kept")
            for of in flow(counts, {g: np.ones(n) for g, n in sizes.items()}, 5, 11).values()
        )
    assert flagged <= 18  # 200 at 0.05: the 99th percentile of chance


@pytest.mark.parametrize(
    ("dropped", "told"),
    [
        ({"F": 0, "M": 0}, {"F", "M"}),
        ({"F": 0, "M": 20}, {"F", "M"}),
        ({"F": 0, "M": 4}, set()),  # the total says 4
        ({"F": 30, "M": 4}, set()),  # 34 less 30
        ({"F": 9, "M": 9}, set()),
        ({"F": 30, "M": 40}, {"F", "M"}),
    ],
)
def test_a_small_loss_is_not_told_nor_follows(dropped, told):
    start = Counter(F=300, M=200)
    counts = {"ingest": start, "split": Counter({group: start[group] - lost for group, lost in dropped.items()})}
    found = flow(counts, {"F": np.ones(300), "M": np.ones(200)}, 2, 11)
    assert {group for group, of in found.items() if "kept" in of} == told
    assert all(set(of) == {"verdict"} for of in found.values() if "kept" not in of)
    assert flow(counts, {"F": np.full(5, 60), "M": np.ones(200)}, 2, 11)["F"] == {
        "patients": "<11",
        "verdict": "undecidable",
    }


def test_the_loss_of_one_stage_does_not_follow_from_its_total():
    """Black alone loses 3 notes in clean: what the others lost there, nothing, may not be told beside the stage's total."""
    start = Counter(Asian=300, Black=200, White=400)
    counts = {
        "ingest": start,
        "clean": start - Counter(Black=3),
        "split": start - Counter(Asian=40, Black=33, White=50),
    }
    found = flow(counts, {group: np.ones(n) for group, n in start.items()}, 3, 11)
    assert not [group for group, of in found.items() if "notes" in of]


# ---------------------------------------------------------------- the stage


def test_the_whole_stage_tells_numbers_and_no_words(folder, tiny_model, capsys):
    draw = random.Random(5)
    notes = [
        note(
            n,
            text=f"{CANARY} {draw.choice(WORDS['lung'])} {n}",
            labels=[draw.choice(["cardiac", "lung"])],
            race="White",
        )
        for n in range(80)
    ]
    notes[0]["patient_id"] = notes[1]["patient_id"] = None
    notes[2]["race"] = "Black"
    lay(folder, tiny_model, notes)
    assert audit(folder, max_tokens=12) == (0, "")
    first = {path: sha256(folder / path) for path in written(folder)}
    assert set(first) == {
        "metrics/audit_data.json",
        "plots/audit_data/classes.png",
        "plots/audit_data/flow.png",
        "plots/audit_data/lengths.png",
    }
    for path in first:
        assert CANARY.encode() not in (folder / path).read_bytes()
    assert CANARY not in "".join(capsys.readouterr())
    found = metrics()
    assert (
        found["source"]["notes_read"] == 83
        and found["shards"]["all"]["notes"] == 80
        and found["shards"]["all"]["patients"] == 80
    )
    assert (
        found["shards"]["all"]["beyond_window"]["tokens"] == 12
        and found["shards"]["all"]["beyond_model"]["tokens"] == 128
    )
    assert found["shards"]["train"]["notes"] == 20 and found["missing"]["ingest"]["patient_id"] == {
        "notes": "<11",
        "share": None,
    }
    assert found["groups"]["race"]["undecidable"] == ["Black"] and found["groups"]["site"] == {"status": "no values"}
    assert found["groups"]["race"]["by_group"]["White"]["notes"] is None, "80 less 79 would tell of one"
    assert audit(folder, max_tokens=12) == (0, "")
    assert {path: sha256(folder / path) for path in written(folder)} == first


def written(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for name in ("metrics/audit_data.json", "plots") for path in
            ([folder / name] if (folder / name).is_file() else sorted((folder / name).rglob("*.png")))]  # fmt: skip


def test_the_pictures_have_something_on_them(folder, tiny_model):
    lay(folder, tiny_model, [note(n, labels=[f"class {n % 3}"]) for n in range(90)])
    assert audit(folder, max_tokens=8) == (0, "")
    for name in ("classes", "lengths", "flow"):
        pixels = imread(folder / f"plots/audit_data/{name}.png")[..., :3]
        assert 0.02 < (pixels.min(axis=2) < 0.5).mean() < 0.6, name


def test_multi_label_pairs_and_no_groups(folder, tiny_model):
    notes = [note(n, sex=None, period=None, labels=["a", "b"][: n % 3], text_pair="why?") for n in range(60)]
    lay(folder, tiny_model, notes, text_pair=True, task="multi_label")
    assert audit(folder) == (0, "")
    found = metrics()
    assert (found["shards"]["all"]["labels_per_note"], found["shards"]["all"]["notes_without_label"]) == (1.0, 20)
    assert found["flow"]["groups"] == {} and found["periods"] == {"status": "no values"}


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (lambda f: (f / "metrics/ingest.json").unlink(), "metrics/ingest.json does not exist"),
        (lambda f: (f / "data/split/test.parquet").unlink(), "data/split/test.parquet does not exist"),
        (lambda f: (f / "data/clean.parquet").write_text("x"), "data/clean.parquet is not a readable Parquet file"),
        (lambda f: (f / "models/base/tokenizer.json").write_text("{}"), "models/base has no tokenizer that can be read"),
        (lambda f: [write_table(f / f"data/split/{name}.parquet", [], {}) for name in SHARDS], "data/split: no shard holds a note"),
        (lambda f: (f / "metrics/ingest.json").write_text("{}"), "metrics/ingest.json does not say how many notes were read"),
    ],
    ids=["ingest", "shard", "clean", "tokenizer", "empty", "unread"],
)  # fmt: skip
def test_what_is_not_there(folder, tiny_model, spoil, line):
    lay(folder, tiny_model, [note(n, labels=["ab"[n % 2]]) for n in range(40)])
    spoil(folder)
    code, error = audit(folder)
    assert code == 1 and line in error and "\n" not in error and not METRICS.exists()


def test_wrong_params(folder, tiny_model):
    lay(folder, tiny_model, [note(n) for n in range(12)])
    assert audit(folder, groups=["sex", "sex"]) == (
        1,
        "error: params.yaml: audit_data.groups names sex twice: name it once",
    )
    assert "audit_data.min_count is 1" in audit(folder, min_count=1)[1]
    assert "finetune.max_tokens is 4" in audit(folder, max_tokens=4)[1]


def test_the_poorer_group_of_the_invented_hospital_is_seen(folder):
    """synthesize leaves 0.7 of the findings of Medicaid's notes unsaid: their notes are the shorter ones. And no other
    column's groups differ in length like that."""
    if not all((ROOT / path).exists() for path in ("data/split/test.parquet", "models/base", "metrics/ingest.json")):
        pytest.skip("no run of the pipeline in this repository: `make repro`")
    (folder / "metrics").mkdir()
    shutil.copy(ROOT / "metrics/ingest.json", folder / "metrics")
    for name in ("data", "models"):
        (folder / name).symlink_to(ROOT / name)
    assert audit(folder, max_tokens=256) == (0, "")
    found = metrics()

    def medians(column):
        return {
            name: of["words"]["median"] for name, of in found["groups"][column]["by_group"].items() if "words" in of
        }

    insurance = medians("insurance")
    assert insurance["Medicaid"] < 0.85 * min(insurance["Medicare"], insurance["Private"])
    assert min(medians("sex").values()) > 0.95 * max(medians("sex").values())
    assert found["periods"]["labels_differ"]["p_value"] > 0.01, "no drift is planted"


def test_no_torch_is_imported():
    code = "import sys, stages.audit_data; print({'torch', 'transformers', 'datasketch'} & set(sys.modules))"
    done = run_in(ROOT, "python", "-c", code)
    assert "torch" not in done.stdout and "transformers" not in done.stdout
