"""The stage deidentify: what it writes, how it is scored, what users break, and that a kill leaves nothing half-written."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import ROOT, default_params
from ruamel.yaml import YAML

from diagnosis.corpora.gold import write_spans
from diagnosis.notes import SCHEMA, note_writer, read_metadata
from diagnosis.phi.keys import Key

NOTES, GOLD = Path("data/notes.parquet"), Path("data/gold_spans.parquet")
OUTPUT, METRICS = Path("data/deidentified.parquet"), Path("metrics/deidentify.json")
OWN_KEY = "0123456789abcdef" * 4
PUBLIC = {"corpus": "synthetic", "licence": "CC0-1.0", "public": True}
RESTRICTED = {"corpus": "mimic4", "licence": "PhysioNet Credentialed Health Data License 1.5.0", "public": False}


def note(number: int, text: str, patient: str | None = "7", **more) -> dict:
    return {"note_id": f"n{number}", "patient_id": patient, "source": "test", "text": text, "labels": ["flu"], **more}


def write(rows, gold=(), data_use=PUBLIC):
    metadata = {
        "corpus": "test",
        "task": "single_label",
        "text_pair": False,
        "data_use": data_use,
        "official_split": False,
    }
    with note_writer(NOTES, metadata) as writer:
        writer.write(rows)
    columns = {
        "note_id": pa.string(),
        "start": pa.int64(),
        "end": pa.int64(),
        "kind": pa.string(),
        "origin": pa.string(),
    }
    values = list(zip(*gold, strict=True)) or [[]] * 5
    pq.write_table(pa.table({n: pa.array(list(v), t) for (n, t), v in zip(columns.items(), values, strict=True)}), GOLD)
    write_spans(Path("data/annotations.parquet"), ())
    Path("keys").mkdir(exist_ok=True)
    for name in ("public.key", "no_known_fields.csv"):
        shutil.copy(ROOT / "keys" / name, f"keys/{name}")


def span(number: int, text: str, piece: str, kind: str, origin: str | None = None):
    return f"n{number}", text.index(piece), text.index(piece) + len(piece), kind, origin


def read() -> dict[str, dict]:
    rows = pq.read_table(OUTPUT).to_pylist()
    return {row["note_id"]: row for row in rows}


def nothing_written():
    return not OUTPUT.exists() and not METRICS.exists() and not list(Path().rglob("*.partial"))


FIRST = "Name: Quibblethorpe, Ada. Seen by Dr. Hatherley on 2123-04-05. MRN: 4482913. BP 120/80."
SECOND = "Quibblethorpe is better since 2123-04-12. Hatherley agrees. Old chart 4482913."


def test_what_is_written(stage):
    write([note(1, FIRST, encounter_id="e1", duplicate_cluster="c1", sex="F"), note(2, SECOND, text_pair="Mr. Quibblethorpe?"),
           note(3, "Dr. Hatherley called.", None)])  # fmt: skip
    assert stage("deidentify") == (0, "")
    assert pq.read_schema(OUTPUT).names == SCHEMA.names
    assert read_metadata(OUTPUT)["data_use"] == PUBLIC
    key = Key((ROOT / "keys" / "public.key").read_text().strip())
    rows = read()
    first, second, third = (rows[key.rekey("note_id", f"n{number}")] for number in (1, 2, 3))
    assert first["patient_id"] == second["patient_id"] == key.rekey("patient_id", "7")
    assert first["encounter_id"] == key.rekey("encounter_id", "e1")
    assert first["duplicate_cluster"] == key.rekey("duplicate_cluster", "c1")
    assert (first["sex"], first["labels"], second["encounter_id"], third["patient_id"]) == ("F", ["flu"], None, None)
    for text in (first["text"], second["text"], second["text_pair"], third["text"]):
        for piece in ("Quibblethorpe", "Hatherley", "Ada", "4482913", "2123-04"):
            assert piece not in text
    assert "BP 120/80." in first["text"]
    name = first["text"].removeprefix("Name: ").split(",")[0]
    assert second["text"].startswith(f"{name} is better since ") and second["text_pair"] == f"Mr. {name}?"
    metrics = json.loads(METRICS.read_text())
    assert (
        metrics["notes"] == 3
        and metrics["patients"] == 2
        and metrics["found"]["DATE"] == 2
        and metrics["found"]["MRN"] == 2
    )
    assert metrics["key_fingerprint"] == key.fingerprint and metrics["profile"] == "shifted"
    assert all(metrics[name] is None for name in ("recall", "precision", "notes_clean", "by_kind", "by_origin"))


def test_the_order_of_rows_does_not_matter(stage):
    rows = [note(number, [FIRST, SECOND][number % 2], str(number // 2)) for number in range(12)]
    write(rows)
    assert stage("deidentify")[0] == 0
    forth = read()
    write(rows[::-1])
    assert stage("deidentify")[0] == 0
    assert read() == forth


def test_intervals_between_a_patients_dates_stay(stage):
    from datetime import date

    write([note(1, "On 2123-04-05."), note(2, "On 2123-04-12.")])
    assert stage("deidentify")[0] == 0
    first, second = (date.fromisoformat(row["text"][3:13]) for row in pq.read_table(OUTPUT).to_pylist())
    assert (second - first).days == 7 and 0 < abs((first - date(2123, 4, 5)).days) <= 365


def test_masks_instead_of_surrogates(stage):
    write([note(1, FIRST)])
    assert stage("deidentify", {"replace": "mask"})[0] == 0
    (row,) = read().values()
    assert row["text"] == "Name: [NAME], [NAME]. Seen by Dr. [NAME] on [DATE]. MRN: [MRN]. BP 120/80."


def test_scores_against_gold_by_hand(stage):
    hidden = "flu, as zebulon said"  # a name that nothing shows to be one
    gold = [span(1, FIRST, "Quibblethorpe", "NAME", "en_GB"), span(1, FIRST, "Ada", "NAME", "en_GB"), span(1, FIRST, "Hatherley", "NAME", "en_US"),
            span(1, FIRST, "2123-04-05", "DATE"), span(1, FIRST, "4482913", "MRN"), span(2, hidden, "zebulon", "NAME", "he_IL")]  # fmt: skip
    write([note(1, FIRST), note(2, hidden, "8"), note(3, "Dr. Plum.", "9")], gold)
    assert stage("deidentify")[0] == 0
    metrics = json.loads(METRICS.read_text())
    assert metrics["recall"] == pytest.approx(
        7 / 8
    )  # words: three names, three parts of a date, a number; one name missed
    assert metrics["precision"] == pytest.approx(7 / 8)  # Plum is not in the gold
    assert metrics["notes_clean"] == 0.5
    assert metrics["by_kind"] == {"NAME": 0.75, "DATE": 1.0, "MRN": 1.0}
    assert metrics["by_origin"] == {"en_GB": 1.0, "en_US": 1.0, "he_IL": 0.0}


def test_another_key_gives_other_ids_and_surrogates(stage):
    write([note(1, FIRST)], data_use=RESTRICTED)
    Path("own.key").write_text(OWN_KEY + "\n")
    assert stage("deidentify", {"key_file": "own.key"}) == (0, "")
    (row,) = read().values()
    assert row["note_id"] == Key(OWN_KEY).rekey("note_id", "n1")
    Path("own.key").write_text(OWN_KEY[::-1])
    assert stage("deidentify", {"key_file": "own.key"}) == (0, "")
    (other,) = read().values()
    assert other["text"] != row["text"] and other["note_id"] != row["note_id"]


def test_a_long_note_takes_seconds(stage):
    piece = FIRST + " Follow up. " + "a" * 500 + "@" + "9 " * 100 + "Aa " * 100 + "\n"
    prose = "The patient was comfortable and in no acute distress, lungs clear, abdomen soft and not tender. " * 40
    write([note(1, (piece + prose) * (5_000_000 // len(piece + prose)))])
    start = time.monotonic()
    assert stage("deidentify")[0] == 0
    assert time.monotonic() - start < 40
    (row,) = read().values()
    assert "Quibblethorpe" not in row["text"]


# What users break -----------------------------------------------------------------------------------------------------


def fails(stage, *pieces, changes=None):
    code, line = stage("deidentify", changes)
    assert code == 1
    assert line.startswith("error: ") and "\n" not in line
    assert all(piece in line for piece in pieces), line
    assert "Quibblethorpe" not in line and nothing_written()


def test_missing_notes(stage):
    fails(stage, "data/notes.parquet does not exist")


def test_notes_that_are_no_parquet(stage):
    write([note(1, FIRST)])
    NOTES.write_bytes(NOTES.read_bytes()[:300])
    fails(stage, "data/notes.parquet is not a readable Parquet file")


def test_notes_that_lack_a_column(stage):
    write([note(1, FIRST)])
    pq.write_table(pq.read_table(NOTES).drop_columns(["text", "sex"]), NOTES)
    fails(stage, "lacks the columns text, sex")


def test_missing_gold(stage):
    write([note(1, FIRST)])
    GOLD.unlink()
    fails(stage, "data/gold_spans.parquet does not exist")


def test_gold_that_is_no_parquet(stage):
    write([note(1, FIRST)])
    GOLD.write_text("note_id,start,end\n")
    fails(stage, "data/gold_spans.parquet is not a readable Parquet file")


def test_gold_that_lacks_a_column(stage):
    write([note(1, FIRST)])
    pq.write_table(pa.table({"note_id": ["n1"]}), GOLD)
    fails(stage, "lacks the columns start, end, kind, origin")


@pytest.mark.parametrize(
    ("row", "piece"),
    [
        (("n1", 5, 9_999, "NAME", None), "outside its text"),
        (("n9", 0, 3, "NAME", None), "belong to no note"),
        (("n1", 0, 3, "SHOE_SIZE", None), "unknown kinds"),
        ((None, 0, 3, "NAME", None), "without a note_id"),
        (("n1", None, 3, "NAME", None), "without a start"),
    ],
)
def test_gold_that_does_not_fit(stage, row, piece):
    write([note(1, FIRST)], [row])
    fails(stage, "data/gold_spans.parquet", piece)


def test_missing_key(stage):
    write([note(1, FIRST)])
    fails(stage, "nowhere.key does not exist", "keys/README.md", changes={"key_file": "nowhere.key"})


@pytest.mark.parametrize("content", ["", "\n\n", "too short"])
def test_short_key(stage, content):
    write([note(1, FIRST)])
    Path("own.key").write_text(content)
    fails(stage, "at least 32", "keys/README.md", changes={"key_file": "own.key"})


def test_key_that_is_a_folder(stage):
    write([note(1, FIRST)])
    fails(stage, "not a readable text file", changes={"key_file": "keys"})


@pytest.mark.parametrize("data_use", [RESTRICTED, {}, {"corpus": "mine", "public": "yes"}])
def test_public_key_on_notes_that_are_not_public(stage, data_use):
    write([note(1, FIRST)], data_use=data_use)
    fails(stage, "public key", "keys/README.md")


@pytest.mark.parametrize(
    ("changes", "piece"),
    [
        ({"replace": "delete"}, "deidentify.replace"),
        ({"max_date_shift_days": 0}, "deidentify.max_date_shift_days"),
        ({"max_date_shift_days": 10**6}, "deidentify.max_date_shift_days"),
        ({"max_date_shift_days": "many"}, "deidentify.max_date_shift_days"),
        ({"key_file": None}, "deidentify.key_file"),
        ({"min_score": 0.5}, "deidentify.min_score is no known param"),
    ],
)
def test_wrong_params(stage, changes, piece):
    write([note(1, FIRST)])
    fails(stage, piece, changes=changes)


def test_null_text_is_refused_and_null_text_pair_passes(stage):
    write([note(1, FIRST)])
    table = pq.read_table(NOTES)
    fields = [field.with_nullable(True) for field in table.schema]
    columns = [pa.nulls(1, pa.string()) if field.name == "text" else table[field.name] for field in fields]
    pq.write_table(pa.table(columns, schema=pa.schema(fields, table.schema.metadata)), NOTES)
    fails(stage, "has no text")


def test_no_notes_at_all(stage):
    write([])
    fails(stage, "has no notes")


# Kill -9 --------------------------------------------------------------------------------------------------------------


def test_a_kill_leaves_nothing_half_written_and_a_rerun_gives_the_same_bytes(folder):
    write([note(number, f"{FIRST} {SECOND} " * 6 + str(number), str(number // 3)) for number in range(900)])
    with open("params.yaml", "w") as stream:
        YAML().dump({"deidentify": default_params()["deidentify"]}, stream)
    command = [sys.executable, "-m", "stages.deidentify"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    partial = OUTPUT.with_name(f".{OUTPUT.name}.partial")
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not partial.exists():
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert partial.exists() and not OUTPUT.exists() and not METRICS.exists()

    digests = []
    for _ in range(2):
        subprocess.run(command, env=environment, check=True, capture_output=True)
        digests.append([hashlib.sha256(path.read_bytes()).hexdigest() for path in (OUTPUT, METRICS)])
        assert not partial.exists()
        shutil.rmtree("metrics")
        OUTPUT.unlink()
    assert digests[0] == digests[1]
