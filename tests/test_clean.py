"""The stage clean: what it cuts, counts and drops; the same bytes twice; what users break."""

import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diagnosis.files import read_json, sha256
from diagnosis.notes import note_writer, read_metadata

METADATA = {"task": "single_label", "text_pair": False, "official_split": False, "corpus": "table",
            "data_use": {"corpus": "table", "licence": "CC0", "public": True}}  # fmt: skip
CLEAN, METRICS = Path("data/clean.parquet"), Path("metrics/clean.json")


def write(texts: list, **columns) -> None:
    with note_writer(Path("data/deidentified.parquet"), METADATA) as writer:
        writer.write(
            {
                "note_id": f"n{i}",
                "source": "t",
                "text": text,
                "labels": ["ab"[i % 2]],
                **{k: v[i] for k, v in columns.items()},
            }
            for i, text in enumerate(texts)
        )


def texts() -> list[str]:
    return pq.read_table(CLEAN).column("text").to_pylist()


def test_text_is_cut_and_counted_by_class(stage):
    # Each note is 20 characters of history; those of class a have a diagnosis of 20 more: half of them are cut.
    write(["HISTORY: He coughs.\nDIAGNOSIS: Flu AB.\n", "HISTORY: He coughs."] * 12)
    assert stage("clean") == (0, "")
    assert texts() == ["HISTORY: He coughs."] * 24
    metrics = read_json(METRICS)
    assert metrics["notes"] == {"read": 24, "written": 24, "dropped": {"empty": 0}, "without_sections": 0}
    assert metrics["by_class"]["a"] == {"notes": 12, "cut_share": pytest.approx(18 / 38, abs=1e-6), "emptied": 0}
    assert metrics["by_class"]["b"] == {"notes": 12, "cut_share": 0.0, "emptied": 0}
    assert metrics["cut_share"] == pytest.approx(18 / 57, abs=1e-6)
    assert metrics["cut_share_by_section"] == {"diagnosis": pytest.approx(18 / 57, abs=1e-6)}
    metadata = read_metadata(CLEAN)
    assert metadata.pop("preprocessing")["clean"]["visible_at"] == "admission"
    assert metadata == METADATA


def test_emptied_notes_are_dropped_and_small_counts_hidden(stage):
    write(["PLAN: rest"] * 1 + ["Coughs."] * 25 + ["  \n\x00 "])
    assert stage("clean") == (0, "")
    assert texts() == ["Coughs."] * 25
    metrics = read_json(METRICS)
    assert metrics["notes"] == {"read": 27, "written": 25, "dropped": {"empty": 2}, "without_sections": 26}
    assert metrics["by_class"]["a"]["emptied"] is None  # two of fourteen
    assert stage("clean", {"min_count": 14}) == (0, "")
    assert list(read_json(METRICS)["by_class"]) == ["a"] and read_json(METRICS)["classes_not_shown"] == 1


def test_other_columns_order_and_pairs_stay(stage):
    pairs = ["Is  it\tflu?", None, "DIAGNOSIS: which?"]
    write(["Has 5mg", "b", "c"], text_pair=pairs, sex=["F", None, "M"], duplicate_cluster=["x", None, None])
    stage("clean")
    rows = pq.read_table(CLEAN).to_pylist()
    assert [r["text"] for r in rows] == ["Has 5 mg", "b", "c"]
    assert [r["text_pair"] for r in rows] == ["Is it flu?", None, "DIAGNOSIS: which?"]  # a question has no sections
    assert [(r["note_id"], r["sex"], r["duplicate_cluster"], r["labels"]) for r in rows] == [
        ("n0", "F", "x", ["a"]), ("n1", None, None, ["b"]), ("n2", "M", None, ["a"])]  # fmt: skip


NOTE = "Chief Complaint: The cough, no fever. B/P 120/80, took 2.5mg.\nDischarge Diagnosis: Flu\nImpression: Flu"


@pytest.mark.parametrize(
    ("changes", "after"),
    [
        ({}, "Chief Complaint: The cough, no fever. BP 120/80 mmHg, took 2.5 mg."),
        ({"standardise": False}, "Chief Complaint: The cough, no fever. B/P 120/80, took 2.5mg."),
        ({"visible_at": "all", "standardise": False}, NOTE),
        ({"visible_at": "all", "cut_sections": ["complaint", "impression"]}, "Discharge Diagnosis: Flu"),
        ({"lowercase": True}, "chief complaint: the cough, no fever. bp 120/80 mmhg, took 2.5 mg."),
        ({"remove_numbers": True}, "Chief Complaint: The cough, no fever. BP mmHg, took mg."),
        ({"remove_punctuation": True}, "Chief Complaint The cough no fever BP 120/80 mmHg took 2.5 mg"),
        ({"remove_stop_words": True}, "Chief Complaint: cough, no fever. BP 120/80 mmHg, took 2.5 mg."),
        (
            {"remove_stop_words": True, "remove_numbers": True, "remove_punctuation": True, "lowercase": True},
            "chief complaint cough no fever bp mmhg took mg",
        ),
    ],
)
def test_each_option(stage, changes, after):
    write([NOTE, NOTE])
    assert stage("clean", changes) == (0, "")
    assert texts() == [after] * 2
    Path("data/clean.parquet").rename("data/deidentified.parquet")
    assert stage("clean", changes) == (0, "")
    assert texts() == [after] * 2  # twice is once


def test_twice_the_same_bytes(stage):
    write([NOTE, "b", "c"] * 50)
    stage("clean")
    before = sha256(CLEAN), sha256(METRICS)
    stage("clean")
    assert (sha256(CLEAN), sha256(METRICS)) == before


def test_a_note_of_five_megabytes(stage):
    write([(NOTE + "\n") * 50_000, "He coughs."])
    start = time.monotonic()
    assert stage("clean") == (0, "")
    assert time.monotonic() - start < 30
    assert "Discharge" not in texts()[0] and texts()[0].count("cough") == 50_000


def test_many_classes_leave_a_small_file(stage):
    labels = [[f"c{i // 12}"] for i in range(1800)]
    write(["He coughs."] * 1800, labels=labels)
    stage("clean")
    metrics = read_json(METRICS)
    assert len(metrics["by_class"]) == 100 and metrics["classes_not_shown"] == 50


# ---------------------------------------------------------------- what users break


def fails(stage, folder, changes, *words):
    code, line = stage("clean", changes)
    assert code == 1 and line.startswith("error: ") and "\n" not in line and "unexpected" not in line
    for word in words:
        assert word in line, line
    left = [p for p in folder.rglob("*") if p.is_file() and p.name not in ("params.yaml", "deidentified.parquet")]
    assert not left


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"visible_at": "discharge"}, ["clean.visible_at", "'admission' or 'all'"]),
        (
            {"cut_sections": ["diagnosis", "diagnoses"]},
            ["clean.cut_sections", "diagnoses", "discharge_results", "impression"],
        ),
        ({"cut_sections": "diagnosis"}, ["clean.cut_sections", "list"]),
        ({"min_count": 0}, ["clean.min_count"]),
        ({"lower_case": True}, ["clean.lower_case is no known param"]),
    ],
)
def test_wrong_params(stage, folder, changes, words):
    write([NOTE])
    fails(stage, folder, changes, *words)


def test_missing_file(stage, folder):
    fails(stage, folder, {}, "data/deidentified.parquet does not exist")


def test_truncated_file(stage, folder):
    write([NOTE] * 100)
    path = Path("data/deidentified.parquet")
    path.write_bytes(path.read_bytes()[:-50])
    fails(stage, folder, {}, "not a readable Parquet file")


def test_missing_column(stage, folder):
    Path("data").mkdir()
    pq.write_table(pa.table({"note_id": ["1"], "body": ["SECRET"]}), "data/deidentified.parquet")
    fails(stage, folder, {}, "lacks the columns", "text")


def test_no_notes_at_all(stage, folder):
    write([])
    fails(stage, folder, {}, "no notes")


def test_no_text_left(stage, folder):
    write(["DIAGNOSIS: SECRET"] * 3)
    fails(stage, folder, {}, "of 3 notes none keeps any text", "clean.visible_at")
