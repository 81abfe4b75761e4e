"""Stage ingest: real files and what the data's README says of them, joins by hand, and what users really break."""

import csv
import gzip
import io
import json
import math
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import SHARED_DATA, needs_shared_data

from diagnosis.corpora.invented import marker
from diagnosis.notes import SCHEMA, read_metadata

NOTES, GOLD, METRICS = Path("data/notes.parquet"), Path("data/gold_spans.parquet"), Path("metrics/ingest.json")
CANARY = "zanzibarweed"


def rows() -> list[dict]:
    return pq.read_table(NOTES).to_pylist()


def by_id() -> dict[str, dict]:
    return {row["note_id"]: row for row in rows()}


def metrics() -> dict:
    return json.loads(METRICS.read_text())


def write_csv(path: Path, header: str, records: list, delimiter: str = ",") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, delimiter=delimiter)
        writer.writerow(header.split())
        writer.writerows(records)
    return path


# ---------------------------------------------------------------- a tiny corpus of each kind: ten notes, two classes

DRAW = random.Random(5)
WORDS = [f"{CANARY}{number}" for number in range(500)]
TEXTS = [" ".join(DRAW.choices(WORDS, k=60)) + f'\nline two, "{number}"' for number in range(10)]
ADMISSIONS4 = "subject_id hadm_id admittime race language insurance deathtime"
ADMISSIONS3 = "ROW_ID SUBJECT_ID HADM_ID ADMITTIME INSURANCE LANGUAGE ETHNICITY DIAGNOSIS"
NOTES3 = "ROW_ID SUBJECT_ID HADM_ID CHARTDATE CATEGORY DESCRIPTION ISERROR TEXT"


def mimic4(path: Path, texts: list) -> Path:
    n = range(len(texts))
    write_csv(path / "hosp/patients.csv", "subject_id gender anchor_age anchor_year anchor_year_group",
              [[i, "FM"[i % 2], 40 + i, 2150, "2014 - 2016"] for i in n])  # fmt: skip
    write_csv(
        path / "hosp/admissions.csv",
        ADMISSIONS4,
        [[i, 100 + i, "2151-03-01 10:00:00", "WHITE", "ENGLISH", "Other", ""] for i in n],
    )
    write_csv(path / "hosp/diagnoses_icd.csv", "subject_id hadm_id seq_num icd_code icd_version",
              [[i, 100 + i, 1, ["I214", "J189"][i % 2], 10] for i in n])  # fmt: skip
    return write_csv(path / "note/discharge.csv", "note_id subject_id hadm_id note_type text",
                     [[f"{i}-DS-1", i, 100 + i, "DS", text] for i, text in enumerate(texts)])  # fmt: skip


def mimic3(path: Path, texts: list) -> Path:
    n = range(len(texts))
    write_csv(path / "PATIENTS.csv", "ROW_ID SUBJECT_ID GENDER DOB", [[i, i, "F", "2100-05-05 00:00:00"] for i in n])
    write_csv(
        path / "ADMISSIONS.csv",
        ADMISSIONS3,
        [[i, i, 100 + i, "2151-03-01 10:00:00", "Private", "ENGL", "WHITE", "SEPSIS"] for i in n],
    )
    write_csv(path / "DIAGNOSES_ICD.csv", "ROW_ID SUBJECT_ID HADM_ID SEQ_NUM ICD9_CODE",
              [[i, i, 100 + i, 1, ["41401", "486"][i % 2]] for i in n])  # fmt: skip
    return write_csv(path / "NOTEEVENTS.csv", NOTES3,
                     [[i, i, 100 + i, "", "Discharge summary", "Report", "", text] for i, text in enumerate(texts)])  # fmt: skip


def mtsamples(path: Path, texts: list) -> Path:
    return write_csv(path / "mtsamples.csv", "index description medical_specialty sample_name transcription keywords",
                     [[i, "planted", [" Urology", "Neurology"][i % 2], "planted", text, "planted"] for i, text in enumerate(texts)])  # fmt: skip


def medical_abstracts(path: Path, texts: list) -> Path:
    write_csv(
        path / "medical_tc_labels.csv", "condition_label condition_name", [["1", "neoplasms"], ["2", "digestive"]]
    )
    write_csv(
        path / "medical_tc_test.csv", "condition_label medical_abstract", [["1", "a test text"], ["2", "another one"]]
    )
    return write_csv(
        path / "medical_tc_train.csv",
        "condition_label medical_abstract",
        [[1 + i % 2, text] for i, text in enumerate(texts)],
    )


def symptom2disease(path: Path, texts: list) -> Path:
    return write_csv(
        path / "Symptom2Disease.csv",
        "index label text",
        [[0, ["Acne", "allergy"][i % 2], text] for i, text in enumerate(texts)],
    )


def table(path: Path, texts: list) -> Path:
    return write_csv(
        path / "mine.csv", "id diagnosis note", [[f"00{i}", ["007", "7"][i % 2], text] for i, text in enumerate(texts)]
    )


MAPPING = {"text": "note", "labels": "diagnosis", "note_id": "id"}
TEXT_COLUMN = {"mimic4": "text", "mimic3": "TEXT", "mtsamples": "transcription", "medical_abstracts": "medical_abstract",
               "symptom2disease": "text", "table": "note"}  # fmt: skip
LABEL_COLUMN = {"mimic4": "icd_code", "mimic3": "ICD9_CODE", "mtsamples": "medical_specialty",
                "medical_abstracts": "condition_label", "symptom2disease": "label", "table": "diagnosis"}  # fmt: skip
MAKE = {f.__name__: f for f in (mimic4, mimic3, mtsamples, medical_abstracts, symptom2disease, table)}
READERS = pytest.mark.parametrize("corpus", MAKE)


def made(corpus: str, texts: list) -> tuple[dict, Path]:
    """Write the tiny corpus; the params that read it, and the file with its notes."""
    notes = MAKE[corpus](Path("raw"), texts)
    changes = {"corpus": corpus, "path": str(notes) if corpus == "table" else "raw"}
    return changes | ({"table": MAPPING} if corpus == "table" else {}), notes


def assert_refused(result: tuple[int, str], *parts: str) -> None:
    code, line = result
    assert code == 1 and line.startswith("error: ") and "\n" not in line and CANARY not in line
    assert "unexpected" not in line
    for part in parts:
        assert part in line, line
    assert not list(Path().glob("data/*")) and not list(Path().rglob("*.partial")) and not METRICS.exists()


@READERS
def test_each_reader_keeps_the_text_and_fills_the_table(stage, corpus):
    changes, _ = made(corpus, TEXTS)
    assert stage("ingest", changes) == (0, "")
    kept = [row for row in rows() if row["split"] != "test"]
    assert [row["text"] for row in kept] == TEXTS
    assert len({row["note_id"] for row in rows()}) == len(rows())
    assert pq.read_schema(NOTES).remove_metadata() == SCHEMA
    assert pq.read_table(GOLD).num_rows == 0
    expected = {
        "mimic4": ["I21", "J18"],
        "mimic3": ["414", "486"],
        "mtsamples": ["Urology", "Neurology"],
        "medical_abstracts": ["neoplasms", "digestive"],
        "symptom2disease": ["Acne", "allergy"],
        "table": ["007", "7"],
    }[corpus]
    assert [row["labels"] for row in kept] == [[expected[i % 2]] for i in range(10)]
    meta, numbers = read_metadata(NOTES), metrics()
    assert (meta["task"], meta["text_pair"], meta["official_split"]) == (
        "single_label",
        False,
        corpus == "medical_abstracts",
    )
    assert meta["data_use"]["corpus"] == corpus == meta["corpus"]
    assert meta["data_use"]["public"] is (corpus not in ("mimic3", "mimic4", "table"))
    assert numbers["notes"] == len(rows()) and numbers["skipped"] == {}
    assert CANARY not in METRICS.read_text() and "planted" not in NOTES.read_bytes().decode("latin-1")


@READERS
def test_the_same_bytes_twice(stage, corpus):
    changes, _ = made(corpus, TEXTS)
    stage("ingest", changes)
    first = NOTES.read_bytes(), GOLD.read_bytes(), METRICS.read_bytes()
    stage("ingest", changes)
    assert first == (NOTES.read_bytes(), GOLD.read_bytes(), METRICS.read_bytes())


# ---------------------------------------------------------------- what users break, on every reader


def edit(file: Path, old: bytes, new: bytes) -> None:
    content = file.read_bytes()
    assert old in content
    file.write_bytes(content.replace(old, new, 1))


def truncated(file: Path) -> None:
    zipped = gzip.compress(file.read_bytes(), mtime=0)
    file.unlink()
    file.with_name(file.name + ".gz").write_bytes(zipped[: len(zipped) * 2 // 3])


DAMAGES = {
    "missing_file": (lambda file, column: file.unlink(), []),
    "missing_column": (lambda file, column: edit(file, column.encode(), b"other"), ["no column", "text"]),
    "empty_file": (lambda file, column: file.write_bytes(b""), ["is empty"]),
    "wrong_encoding": (lambda file, column: edit(file, b"line two", "Müdigkeit".encode("latin-1")), ["not utf-8", "convert"]),
    "truncated_gzip": (lambda file, column: truncated(file), ["cut-off gzip", "copy it again"]),
    "no_gzip": (lambda file, column: file.rename(file.with_name(file.name + ".gz")), ["no gzip file"]),
    "nul_bytes": (lambda file, column: edit(file, b"line two", b"line\0two"), ["record 1", "NUL byte"]),
    "utf_16": (lambda file, column: file.write_bytes(file.read_text().encode("utf-16")), ["not utf-8"]),
    "cut_in_a_note": (lambda file, column: file.write_bytes(file.read_bytes()[: -len(TEXTS[-1]) // 2]), ["record 10", "not valid CSV"]),
}  # fmt: skip


@READERS
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_notes_file(stage, corpus, damage):
    changes, notes = made(corpus, TEXTS)
    harm, parts = DAMAGES[damage]
    harm(notes, TEXT_COLUMN[corpus])
    if corpus == "table" and "gzip" in damage:
        changes["path"] += ".gz"
    parts = [TEXT_COLUMN[corpus].lower() if part == "text" else part for part in parts]
    assert_refused(stage("ingest", changes), *parts)


@READERS
@pytest.mark.parametrize("cells", [["one"], ["many"] * 12])
def test_ragged_row(stage, corpus, cells):
    changes, notes = made(corpus, TEXTS)
    with open(notes, "a") as stream:
        stream.write(",".join(cells) + "\n")
    assert_refused(stage("ingest", changes), notes.name, "record 11", f"{len(cells)} cells")


@READERS
def test_missing_folder(stage, corpus):
    changes, _ = made(corpus, TEXTS)
    assert_refused(stage("ingest", changes | {"path": "nowhere"}), "nowhere does not exist", "check ingest.path")


@READERS
def test_header_only(stage, corpus):
    changes, notes = made(corpus, TEXTS)
    notes.write_text(notes.read_text().splitlines()[0] + "\n")
    if corpus == "medical_abstracts":  # its test file still has notes; split says that none is train
        assert stage("ingest", changes)[0] == 0
    else:
        assert_refused(stage("ingest", changes), "no note is left")


@READERS
def test_all_one_class(stage, corpus):
    changes, _ = made(corpus, TEXTS[:1])
    if corpus == "medical_abstracts":
        write_csv(Path("raw/medical_tc_test.csv"), "condition_label medical_abstract", [["1", "a test text"]])
    assert_refused(stage("ingest", changes), "all notes have the same class")


@READERS
def test_unknown_label_column(stage, corpus):
    changes, notes = made(corpus, TEXTS)
    file = {"mimic4": Path("raw/hosp/diagnoses_icd.csv"), "mimic3": Path("raw/DIAGNOSES_ICD.csv")}.get(corpus, notes)
    edit(file, LABEL_COLUMN[corpus].encode(), b"other")
    assert_refused(stage("ingest", changes), f"no column '{LABEL_COLUMN[corpus].lower()}'", file.name)


@READERS
def test_null_text_is_skipped_and_counted(stage, corpus):
    changes, _ = made(corpus, [*TEXTS, "", " \n\t"])
    assert stage("ingest", changes)[0] == 0
    assert metrics()["skipped"] == {"no_text": 2}
    assert [row["text"] for row in rows() if row["split"] != "test"] == TEXTS


@READERS
def test_a_5_mb_note(stage, corpus):
    long = "long day " * 600_000
    changes, _ = made(corpus, [*TEXTS, long])
    assert stage("ingest", changes)[0] == 0
    assert max(len(row["text"]) for row in rows()) == len(long) > 5_000_000


@pytest.mark.parametrize("corpus", ["mimic4", "mimic3", "table"])
@pytest.mark.parametrize("second", ["same", "none"])
def test_duplicate_and_missing_ids(stage, corpus, second):
    changes, notes = made(corpus, TEXTS)
    old, new = {"mimic4": ("\n1-DS-1,", "\n0-DS-1,"), "mimic3": ("\n1,1,", "\n0,1,"), "table": ("\n001,", "\n000,")}[
        corpus
    ]
    if second == "none":
        new = "\n," if corpus != "mimic3" else "\n,1,"
    edit(notes, old.encode(), new.encode())
    assert_refused(stage("ingest", changes), "record 2", "came before" if second == "same" else "no ")


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"corpus": "mimic5"}, ["ingest.corpus", "'mimic5'"]),
        ({"near_duplicate_jaccard": 1.1}, ["ingest.near_duplicate_jaccard", "less than or equal to 1"]),
        ({"near_duplicate_jaccard": 0.1}, ["ingest.near_duplicate_jaccard"]),
        ({"conflicts": "majority"}, ["ingest.conflicts"]),
        ({"labels": "own"}, ["ingest.labels is own", "chapter, category or code"]),
        ({"lables": "code"}, ["ingest.lables is no known param"]),
        ({"conflicts": "specific"}, ["specific", "use set, drop or first"]),
        ({"table": {"encoding": "klingon"}}, ["ingest.table.encoding", "utf-8"]),
        ({"table": {"encoding": "base64"}}, ["ingest.table.encoding"]),
        ({"table": {"text": None}}, ["ingest.table.text"]),
        ({"table": {"txt": "a"}}, ["ingest.table.txt is no known param"]),
        ({"min_count": 0}, ["ingest.min_count"]),
        ({"seed": -1}, ["ingest.seed", "greater than or equal to 0"]),
        ({"seed": 2**32}, ["ingest.seed", "less than 4294967296"]),
    ],
)
def test_params(stage, changes, parts):
    own, _ = made("mimic4", TEXTS)
    assert_refused(stage("ingest", own | changes), *parts)


# ---------------------------------------------------------------- MIMIC: joins by hand


def test_mimic4_skips_by_reason_and_small_tables(stage):
    changes, notes = made("mimic4", TEXTS)
    with open(notes, "a", newline="") as stream:
        csv.writer(stream).writerows([
            ["a", 1, "", "DS", "no admission"], ["b", 1, 999, "DS", "unknown"], ["c", 2, 101, "DS", "of another"],
            ["d", 1, 101, "DS", " "], ["e", 50, 150, "DS", "no diagnosis"], ["f", 1, "101.0", "AD", "by pandas"],
        ])  # fmt: skip
    with open("raw/hosp/patients.csv", "a") as stream:
        stream.write("50,F,,,\n")
    with open("raw/hosp/admissions.csv", "a") as stream:
        stream.write("50,150,2151-03-01 10:00:00,?,?,Other,\n")
    with open("raw/hosp/diagnoses_icd.csv", "a") as stream:
        stream.write("1,101,2,E119,10\n1,101,3,J189,10\n50,150,1,?!,10\n50,150,2,,10\n")
    write_csv(Path("raw/hosp/services.csv"), "subject_id hadm_id transfertime prev_service curr_service",
              [[1, 101, "2151-03-04 00:00:00", "MED", "CMED"], [1, 101, "2151-03-01 11:00:00", "", "MED"]])  # fmt: skip
    assert stage("ingest", changes | {"diagnoses": "all"})[0] == 0
    assert metrics()["skipped"] == {"no_admission": 1, "unknown_admission": 1, "admission_of_another_patient": 1,
                                    "no_text": 1, "no_diagnosis": 1, "malformed_codes": 1}  # fmt: skip
    found = by_id()
    assert found["f"]["labels"] == ["E11", "J18"] and found["f"]["note_type"] == "AD" and found["f"]["service"] == "MED"
    assert found["0-DS-1"]["service"] is None and read_metadata(NOTES)["task"] == "multi_label"
    assert found["4-DS-1"]["age_band"] == "45-64" and found["3-DS-1"]["age_band"] == "18-44"  # 40 + i, a year later
    assert found["4-DS-1"] | {"text": ""} == {
        "note_id": "4-DS-1", "patient_id": "4", "encounter_id": "104", "source": "mimic4", "note_type": "DS", "service": None,
        "site": None, "period": "2014 - 2016", "split": None, "duplicate_cluster": "4-DS-1", "text": "", "text_pair": None,
        "labels": ["I21"], "sex": "F", "age_band": "45-64", "race": "White", "language": "ENGLISH", "insurance": "Other",
    }  # fmt: skip


@pytest.mark.parametrize("flat", [False, True])
def test_mimic4_files_in_any_case_and_place(stage, flat):
    changes, _ = made("mimic4", TEXTS)
    stage("ingest", changes)
    expected = NOTES.read_bytes()
    for file in sorted(Path("raw").rglob("*.csv")):
        header, rest = file.read_bytes().split(b"\n", 1)
        target = (Path("raw") if flat else file.parent) / (file.stem.upper() + ".CSV.GZ" if flat else file.name + ".gz")
        target.write_bytes(gzip.compress((header.upper() if flat else header) + b"\n" + rest, mtime=0))
        file.unlink()
    assert stage("ingest", changes)[0] == 0
    assert NOTES.read_bytes() == expected


def test_mimic3_takes_discharge_summaries_that_are_no_errors(stage):
    changes, notes = made("mimic3", TEXTS)
    with open(notes, "a", newline="") as stream:
        csv.writer(stream).writerows([
            [90, 1, 101, "", "Radiology", "Report", "", "other"], [91, 1, 101, "", "Discharge summary", "Report", "1", "error"],
            [92, 1, 101, "", "Discharge summary", "Addendum", "", "addendum"], [90, 1, 101, "", "ECG", "Report", "", "other"],
        ])  # fmt: skip
    assert stage("ingest", changes)[0] == 0
    assert metrics()["skipped"] == {"other_category": 2, "marked_as_error": 1}
    assert by_id()["92"]["note_type"] == "Discharge summary - Addendum" and len(rows()) == 11
    assert by_id()["0"]["age_band"] == "45-64"  # born 2100-05-05, admitted 2151-03-01: 50
    assert "SEPSIS" not in str(rows())


def test_primary_needs_seq_num_1(stage):
    changes, _ = made("mimic4", TEXTS)
    edit(Path("raw/hosp/diagnoses_icd.csv"), b"0,100,1,", b"0,100,2,")
    assert stage("ingest", changes)[0] == 0
    assert metrics()["skipped"] == {"no_diagnosis": 1}
    edit(Path("raw/hosp/diagnoses_icd.csv"), b"0,100,2,", b"0,100,1.0,")
    assert stage("ingest", changes)[0] == 0 and metrics()["skipped"] == {}


@pytest.mark.parametrize(
    ("file", "old", "new", "parts"),
    [
        ("hosp/patients.csv", b"40,2150", b"forty,2150", ["patients.csv, record 1", "anchor_age"]),
        ("hosp/patients.csv", b"\n0,F", b"\n77,F", ["admissions.csv, record 1", "not among the patients"]),
        ("hosp/admissions.csv", b"2151-03-01", b"01/03/2151", ["admissions.csv, record 1", "admittime"]),
        ("hosp/diagnoses_icd.csv", b"I214,10", b"I21.4,10", ["record 1", "dot"]),
        ("hosp/diagnoses_icd.csv", b"I214,10", b"I214,11", ["record 1", "icd_version"]),
        ("hosp/diagnoses_icd.csv", b"I214,10", b"88,9", ["lost their leading zeros"]),
    ],
)
def test_mimic4_broken_tables(stage, file, old, new, parts):
    changes, _ = made("mimic4", TEXTS)
    edit(Path("raw") / file, old, new)
    assert_refused(stage("ingest", changes), *parts)


TABLES = {"mimic4": ("hosp/patients.csv", "hosp/admissions.csv", "hosp/diagnoses_icd.csv"),
          "mimic3": ("PATIENTS.csv", "ADMISSIONS.csv", "DIAGNOSES_ICD.csv")}  # fmt: skip


@pytest.mark.parametrize("corpus", TABLES)
@pytest.mark.parametrize(("table", "column"), [(0, "subject_id"), (1, "hadm_id")])
def test_mimic_ids_of_side_tables_are_unique(stage, corpus, table, column):
    """Concatenated exports: which of two rows is right, nobody knows."""
    changes, _ = made(corpus, TEXTS)
    file = Path("raw", TABLES[corpus][table])
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines, lines[3]]) + "\n")
    assert_refused(stage("ingest", changes), f"{file.name}, record 11", f"its {column} came before")
    cells = lines[3].split(",")
    cells[lines[0].lower().split(",").index(column)] = ""
    file.write_text("\n".join([*lines[:3], ",".join(cells)]) + "\n")
    assert_refused(stage("ingest", changes), f"{file.name}, record 3", column)


@pytest.mark.parametrize("corpus", TABLES)
def test_mimic_diagnoses_that_contradict(stage, corpus):
    changes, _ = made(corpus, TEXTS)
    file, other = Path("raw", TABLES[corpus][2]), "E119" if corpus == "mimic4" else "25000"
    rows_of = {
        "0,100,1": None,  # another code in first place again: left out
        "1,101,1": file.read_text()
        .splitlines()[2]
        .split(",")[-2 if corpus == "mimic4" else -1],  # the same code: no matter
        "9,102,2": None,  # admission 102 is of patient 2
        "3,999,1": None,  # an admission that is not there is no note's
    }
    with open(file, "a") as stream:
        for ids, code in rows_of.items():
            row = f"{ids},{code or other}"
            stream.write(f"{row},10\n" if corpus == "mimic4" else f"50,{row}\n")
    assert stage("ingest", changes)[0] == 0
    assert metrics()["skipped"] == {"second_primary_diagnosis": 1, "diagnosis_of_another_patient": 1}
    assert len(rows()) == 10 and metrics()["classes"] == 2
    assert stage("ingest", changes | {"diagnoses": "all"})[0] == 0
    assert metrics()["skipped"] == {"diagnosis_of_another_patient": 1}
    found = {row["encounter_id"]: row["labels"] for row in rows()}
    assert len(found["100"]) == 2 and {len(labels) for encounter, labels in found.items() if encounter != "100"} == {1}


@pytest.mark.parametrize("name", ["hosp/patients", "hosp/admissions", "hosp/diagnoses_icd", "note/discharge"])
def test_mimic4_missing_table(stage, name):
    changes, _ = made("mimic4", TEXTS)
    Path("raw", f"{name}.csv").unlink()
    assert_refused(stage("ingest", changes), f"raw has no {name}.csv or {name}.csv.gz")


def test_mimic4_path_is_a_file(stage):
    changes, notes = made("mimic4", TEXTS)
    assert_refused(stage("ingest", changes | {"path": str(notes)}), "must be the corpus' folder")


def test_sidecar_becomes_gold_and_only_its_marker_makes_notes_public(stage):
    changes, notes = made("mimic4", TEXTS)
    with open(notes, "a", newline="") as stream:  # merged away, and its spans with it
        csv.writer(stream).writerow(["0-DS-2", 0, 100, "DS", TEXTS[0]])
    spans = "note_id,start,end,kind,origin\n0-DS-1,0,12,NAME,de_DE\n0-DS-1,20,22,DATE,\n0-DS-2,0,3,NAME,\n"
    Path("raw/truth").mkdir()
    Path("raw/truth/phi_spans.csv.gz").write_bytes(gzip.compress(spans.encode(), mtime=0))
    assert stage("ingest", changes)[0] == 0
    assert read_metadata(NOTES)["data_use"]["public"] is False
    for text in (
        "This corpus is invented.",
        "",
        f"See below.\n{marker(notes)}\n",
        marker(Path("raw/hosp/patients.csv")),
    ):
        Path("raw/truth/README.md").write_text(text)
        assert stage("ingest", changes)[0] == 0
        assert read_metadata(NOTES)["data_use"]["public"] is False and {row["source"] for row in rows()} == {"mimic4"}
    Path("raw/truth/README.md").write_text(f"{marker(notes)}\n\n# Truth\n")
    assert stage("ingest", changes)[0] == 0
    assert pq.read_table(GOLD).to_pylist() == [
        {"note_id": "0-DS-1", "start": 0, "end": 12, "kind": "NAME", "origin": "de_DE"},
        {"note_id": "0-DS-1", "start": 20, "end": 22, "kind": "DATE", "origin": None},
    ]
    stated = {"corpus": "synthetic", "licence": "CC0-1.0 (invented)", "public": True}
    assert stated.items() <= read_metadata(NOTES)["data_use"].items()
    assert {row["source"] for row in rows()} == {"synthetic"} and metrics()["conflicts"]["rows_merged"] == 1


def test_only_the_notes_that_synthesize_wrote_are_public(stage):
    assert stage("synthesize", {"patients": 50, "notes": 60, "bayes_draws": 1000}) == (0, "")
    changes = {"path": "data/raw/synthetic"}
    assert stage("ingest", changes) == (0, "") and read_metadata(NOTES)["data_use"]["public"] is True
    notes = Path("data/raw/synthetic/note/discharge.csv.gz")
    written = gzip.decompress(notes.read_bytes())
    # A real file under the name that is read first, the invented one still beside it.
    notes.with_name("discharge.csv").write_bytes(written)
    assert stage("ingest", changes) == (0, "") and read_metadata(NOTES)["data_use"]["public"] is False
    notes.with_name("discharge.csv").unlink()
    notes.write_bytes(gzip.compress(written.replace(b"\n", b"\n ", 1), mtime=0))
    assert stage("ingest", changes) == (0, "") and read_metadata(NOTES)["data_use"]["public"] is False


@pytest.mark.parametrize("span", ["0,5000,NAME", "7,7,NAME", "x,7,NAME", "-1,7,NAME", "1,7,"])
def test_a_span_outside_its_note(stage, span):
    changes, _ = made("mimic4", TEXTS)
    Path("raw/truth").mkdir()
    Path("raw/truth/phi_spans.csv.gz").write_bytes(
        gzip.compress(f"note_id,start,end,kind\n0-DS-1,{span}\n".encode(), mtime=0)
    )
    assert_refused(stage("ingest", changes), "phi_spans.csv.gz, record 1", "no span within its note")


DEMO = SHARED_DATA / "mimic_demo"


def demo_notes(path: Path, corpus: str) -> None:
    """The demo's tables and a note for each admission of them."""
    path.mkdir()
    if corpus == "mimic4":
        for name in ("patients", "admissions", "diagnoses_icd", "services"):
            (path / f"{name}.csv").write_bytes((DEMO / corpus / f"{name}.csv").read_bytes())
        source, header = (
            (DEMO / corpus / "admissions.csv").read_text(),
            "note_id subject_id hadm_id note_type note_seq charttime storetime text",
        )
    else:
        for file in (DEMO / corpus).glob("*.csv.gz"):
            (path / file.name).write_bytes(file.read_bytes())
        source = gzip.decompress((DEMO / corpus / "ADMISSIONS.csv.gz").read_bytes()).decode()
        header = "row_id subject_id hadm_id chartdate charttime storetime category description cgid iserror text"
    written = []
    for number, row in enumerate(csv.DictReader(io.StringIO(source))):
        text = f"Seen on day {number}. " + " ".join(random.Random(number).choices(WORDS, k=50))
        first = [
            f"{row['subject_id']}-DS-{number}" if corpus == "mimic4" else number,
            row["subject_id"],
            row["hadm_id"],
        ]
        middle = (
            ["DS", 1, row["dischtime"], ""]
            if corpus == "mimic4"
            else [row["dischtime"][:10], "", "", "Discharge summary", "Report", "", ""]
        )
        written.append([*first, *middle, text])
    write_csv(path / ("discharge.csv" if corpus == "mimic4" else "NOTEEVENTS.csv"), header, written)


@needs_shared_data
def test_mimic4_demo_joins(stage):
    demo_notes(Path("raw"), "mimic4")
    changes = {"path": "raw", "labels": "code"}
    assert stage("ingest", changes)[0] == 0
    found = {row["encounter_id"]: row for row in rows()}
    assert len(found) == 275 and metrics()["patients"] == 100 and metrics()["skipped"] == {}
    # By hand from the tables. The second: anchor 80 in 2155, admitted in 2160.
    columns = ["patient_id", "labels", "sex", "age_band", "race", "language", "insurance", "period", "service"]
    assert [found["24181354"][c] for c in columns[:-1]] == [
        "10004235", ["03842"], "M", "45-64", "Black", "ENGLISH", "Medicaid", "2014 - 2016"
    ]  # fmt: skip
    assert [found["22595853"][c] for c in columns] == [
        "10000032", ["5723"], "F", "45-64", "White", "ENGLISH", "Other", "2014 - 2016", "MED"
    ]  # fmt: skip
    assert found["26549334"]["age_band"] == "75-89" and found["26549334"]["patient_id"] == "10002428"
    assert {row["age_band"] for row in rows() if row["patient_id"] in ("10020640", "10012853", "10018845")} == {"90+"}
    assert stage("ingest", changes | {"diagnoses": "all"})[0] == 0
    first = next(row for row in rows() if row["encounter_id"] == "22595853")
    assert first["labels"] == ["07070", "29680", "30981", "496", "5715", "5723", "78959", "ICD-9 V1582"]


@needs_shared_data
def test_mimic3_demo_joins(stage):
    demo_notes(Path("raw"), "mimic3")
    assert stage("ingest", {"corpus": "mimic3", "path": "raw", "labels": "chapter"})[0] == 0
    found = {row["encounter_id"]: row for row in rows()}
    assert len(found) == 129 and metrics()["patients"] == 100 and metrics()["skipped"] == {}
    columns = ["patient_id", "labels", "sex", "age_band", "race", "language", "insurance", "period"]
    assert [found["142345"][c] for c in columns] == [  # born 2094-03-05, admitted 2164-10-23; 995.91
        "10006", ["S00-T88 injury and poisoning"], "F", "65-74", "Black", None, "Medicare", None
    ]  # fmt: skip
    assert [found["103770"][c] for c in columns] == [  # born "1895", admitted 2195: over 89; 431
        "10026", ["I00-I99 circulatory"], "F", "90+", "White", None, "Medicare", None
    ]  # fmt: skip
    assert found["198503"]["race"] == "Asian" and found["198503"]["language"] == "MAND"
    assert len({row["patient_id"] for row in rows() if row["age_band"] == "90+"}) == 8


@needs_shared_data
@pytest.mark.parametrize("corpus", ["mimic4", "mimic3"])
def test_demo_codes_that_lost_their_zeros(stage, corpus):
    demo_notes(Path("raw"), corpus)
    if corpus == "mimic4":
        Path("raw/diagnoses_icd.csv").write_bytes((DEMO / "mimic4/diagnoses_icd_zeros_lost.csv").read_bytes())
    else:
        file = Path("raw/DIAGNOSES_ICD.csv.gz")
        records = list(csv.reader(io.StringIO(gzip.decompress(file.read_bytes()).decode())))
        file.unlink()
        lost = [[*row[:-1], row[-1].lstrip("0")] for row in records[1:]]
        write_csv(Path("raw/DIAGNOSES_ICD.csv"), " ".join(records[0]), lost)
    assert_refused(
        stage("ingest", {"corpus": corpus, "path": "raw"}),
        "DIAGNOSES" if corpus == "mimic3" else "diagnoses",
        "lost their leading zeros",
    )


# ---------------------------------------------------------------- public corpora, against the data's README


@needs_shared_data
@pytest.mark.parametrize(
    ("conflicts", "notes", "classes"),
    [("set", 2355, 40), ("first", 2355, 39), ("drop", 208, 29), ("specific", 1740, 31)],
)
def test_mtsamples(stage, conflicts, notes, classes):
    assert (
        stage("ingest", {"corpus": "mtsamples", "path": str(SHARED_DATA / "mtsamples"), "conflicts": conflicts})[0] == 0
    )
    numbers = metrics()
    assert (numbers["notes_read"], numbers["skipped"]) == (4966, {"no_text": 33})
    # 2,357 distinct texts, 2,355 by words; two texts that differ in punctuation alone have one label each.
    assert (numbers["conflicts"]["distinct_texts"], numbers["conflicts"]["texts_under_several_labels"]) == (2355, 2147)
    assert math.isclose(numbers["label_ceiling"]["all"], 0.475, abs_tol=5e-4)
    assert (numbers["notes"], numbers["classes"]) == (notes, classes)
    if conflicts in ("set", "first"):
        assert numbers["near_duplicates"] == {"clusters": 5, "notes": 10, "largest_cluster": 2}
    if conflicts == "specific":
        assert numbers["conflicts"]["rows_of_document_types"] == 4966 - 2408
        assert numbers["conflicts"]["texts_still_under_several_labels"] == 327
    assert read_metadata(NOTES)["task"] == ("multi_label" if conflicts == "set" else "single_label")
    if conflicts == "set":
        assert max(len(row["labels"]) for row in rows()) == 5


@needs_shared_data
def test_mtsamples_raw_and_trimmed_agree(stage):
    folder = SHARED_DATA / "mtsamples"
    assert stage("ingest", {"corpus": "mtsamples", "path": str(folder / "mtsamples_raw_head_297.csv")})[0] == 0
    raw = by_id()
    whole = gzip.decompress((folder / "mtsamples.csv.gz").read_bytes()).decode()
    records = list(csv.DictReader(io.StringIO(whole)))[:297]
    assert len(raw) == 281
    for note_id, row in raw.items():
        record = records[int(note_id.removeprefix("mtsamples-")) - 1]
        assert (row["text"], row["labels"]) == (record["transcription"], [record["medical_specialty"]])


@needs_shared_data
@pytest.mark.parametrize("conflicts", ["first", "drop"])
def test_medical_abstracts(stage, conflicts):
    changes = {"corpus": "medical_abstracts", "path": str(SHARED_DATA / "medical_abstracts"), "conflicts": conflicts}
    assert stage("ingest", changes)[0] == 0
    numbers, split = metrics(), [row["split"] for row in rows()]
    assert (split.count("train"), split.count("test")) == (3115, 2888)  # the test side is whole, whatever the policy
    assert numbers["skipped"] == {"in_official_test": 797}
    assert numbers["label_ceiling"]["train"] == 1 and math.isclose(
        numbers["label_ceiling"]["test"], 0.959, abs_tol=5e-4
    )
    test = [row["labels"][0] for row in rows() if row["split"] == "test"]
    assert test.count("neoplasms") == 633 and test.count("general pathological conditions") == 961
    train = [row["labels"][0] for row in rows() if row["split"] == "train"]
    assert train.count("neoplasms") == 829 and train.count("digestive system diseases") == 275


@needs_shared_data
def test_symptom2disease_variants_agree(stage):
    found = []
    for name in ("Symptom2Disease.csv", "Symptom2Disease_crlf_named_index.csv"):
        path = SHARED_DATA / "symptom2disease" / name
        assert stage("ingest", {"corpus": "symptom2disease", "path": str(path)})[0] == 0
        found.append(NOTES.read_bytes())
        assert metrics()["conflicts"]["rows_merged"] == 47 and metrics()["classes"] == 24
    assert found[0] == found[1]


def test_symptom2disease_unites_the_case_of_labels(stage):
    write_csv(
        Path("raw/Symptom2Disease.csv"),
        "i label text",
        [[0, "Acne ", "a b"], [0, "acne", "c d"], [0, "allergy", "e"], [0, "", "f"]],
    )
    assert stage("ingest", {"corpus": "symptom2disease", "path": "raw"})[0] == 0
    assert [row["labels"] for row in rows()] == [["Acne"], ["Acne"], ["allergy"]] and metrics()["skipped"] == {
        "no_label": 1
    }


def test_medical_abstracts_with_an_unknown_label(stage):
    changes, notes = made("medical_abstracts", TEXTS)
    edit(notes, b"\n1,", b"\n9,")
    assert_refused(stage("ingest", changes), "medical_tc_train.csv, record 1", "condition_label")


def test_medical_abstracts_without_a_train_file(stage):
    changes, notes = made("medical_abstracts", TEXTS)
    notes.unlink()
    assert_refused(stage("ingest", changes), "neither medical_tc_train.csv nor ohsumed_5class.csv")


# ---------------------------------------------------------------- table

OWN = [
    {"id": "007", "note": "first note,\nof two lines", "other": "a question", "dx": "b;a ; b;", "who": "01", "age": "> 89", "sex": "Female",
     "race": "black", "set": "Train", "place": "north"},
    {"id": "7", "note": "second\ttabbed", "other": "more", "dx": "010", "who": None, "age": "12.5", "sex": None, "race": "Martian",
     "set": "test", "place": "south"},
    {"id": "8", "note": "third", "other": "thing", "dx": None, "who": "01", "age": "x", "sex": "m", "race": None, "set": "test", "place": None},
]  # fmt: skip
FULL = {"text": "note", "text_pair": "other", "labels": "dx", "label_separator": ";", "note_id": "id", "patient_id": "who",
        "age": "age", "sex": "sex", "race": "race", "split": "set", "site": "place", "licence": "mine", "public": True}  # fmt: skip


def write_own(file: Path, records: list[dict]) -> None:
    kind = file.name.removesuffix(".gz").rpartition(".")[2]
    if kind in ("csv", "tsv"):
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, records[0].keys(), delimiter="\t" if kind == "tsv" else ",")
        writer.writeheader()
        writer.writerows(records)
        content = text.getvalue().encode()
    elif kind == "parquet":
        stream = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(records), stream)
        content = stream.getvalue()
    else:
        content = (json.dumps(records) if kind == "json" else "\n".join(map(json.dumps, records)) + "\n\n").encode()
    file.write_bytes(gzip.compress(content, mtime=0) if file.name.endswith(".gz") else content)


KINDS = pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "json", "parquet"])


@KINDS
@pytest.mark.parametrize("gz", ["", ".gz"])
def test_table_of_every_type(stage, kind, gz):
    file = Path(f"own.{kind}{gz}")
    write_own(file, OWN)
    assert stage("ingest", {"corpus": "table", "path": str(file), "table": FULL}) == (0, "")
    first, second, third = rows()
    assert (first["text"], first["text_pair"], first["labels"]) == (OWN[0]["note"], "a question", ["a", "b"])
    assert (first["note_id"], first["patient_id"], first["split"], first["site"]) == ("007", "01", "train", "north")
    assert (first["age_band"], first["sex"], first["race"]) == ("90+", "F", "Black")
    assert (second["note_id"], second["labels"], second["patient_id"], second["age_band"]) == (
        "7",
        ["010"],
        None,
        "0-17",
    )
    assert (third["labels"], third["sex"], third["age_band"], third["site"]) == ([], "M", None, None)  # no diagnosis
    assert metrics()["groups"] == {"race_unmapped": 1, "race_unknown": 1, "age_unmapped": 1}
    meta = read_metadata(NOTES)
    assert (meta["task"], meta["text_pair"], meta["official_split"]) == ("multi_label", True, True)
    assert {"corpus": "table", "licence": "mine", "public": True}.items() <= meta["data_use"].items()


@pytest.mark.parametrize("kind", ["jsonl", "json", "parquet"])
def test_label_lists_and_numbers(stage, kind):
    records = [{"id": 1, "text": "one", "label": [7, 8]}, {"id": 2, "text": "two", "label": []}, {"id": 3, "text": "three", "label": None},
               {"id": 4, "text": None, "label": [7]}]  # fmt: skip
    write_own(Path(f"own.{kind}"), records)
    assert stage("ingest", {"corpus": "table", "path": f"own.{kind}", "table": {"note_id": "id"}}) == (0, "")
    assert [(row["note_id"], row["labels"]) for row in rows()] == [("1", ["7", "8"]), ("2", []), ("3", [])]
    assert read_metadata(NOTES)["task"] == "multi_label" and metrics()["skipped"] == {"no_text": 1}


def test_ids_are_made_where_there_are_none_and_null_labels_are_skipped(stage):
    write_csv(Path("own.csv"), "text label", [["a", "x"], ["b", " "], ["c", "y"]])
    assert stage("ingest", {"corpus": "table", "path": "own.csv"})[0] == 0
    assert [row["note_id"] for row in rows()] == ["note-1", "note-3"] and metrics()["skipped"] == {"no_label": 1}


def test_what_pandas_writes_for_nothing_is_no_label(stage):
    nothing = ["", "nan", "NaN", "null", "NULL", "None", "<NA>", " nan "]
    records = [
        ["a", "x", "p"],
        ["b", "nano", "p"],
        ["c", "none", "q"],
        *([f"t{i}", cell, "q"] for i, cell in enumerate(nothing)),
    ]
    write_csv(Path("own.csv"), "text label who", records)
    assert stage("ingest", {"corpus": "table", "path": "own.csv"})[0] == 0
    assert metrics()["skipped"] == {"no_label": 8} and [row["labels"] for row in rows()] == [["x"], ["nano"], ["none"]]
    changes = {"corpus": "table", "path": "own.csv", "table": {"label_separator": ";", "patient_id": "who"}}
    write_csv(Path("own.csv"), "text label who", [["a", "x;nan", "nan"], ["b", "y", " "], ["c", "None", "p"]])
    assert stage("ingest", changes)[0] == 0
    assert [(row["labels"], row["patient_id"]) for row in rows()] == [(["x"], None), (["y"], None), ([], "p")]
    write_own(Path("own.jsonl"), [{"text": "a", "label": ["x", "nan", None]}, {"text": "b", "label": ["y"]}])
    assert stage("ingest", {"corpus": "table", "path": "own.jsonl"})[0] == 0
    assert [row["labels"] for row in rows()] == [["x"], ["y"]]


def test_labels_that_differ_in_case_alone_are_counted(stage):
    labels = ["Flu", "flu", "FLU", "Flu", "cold", "Strauß", "STRAUSS", "fl u"]
    write_csv(Path("own.csv"), "text label", [[f"text {i}", label] for i, label in enumerate(labels)])
    assert stage("ingest", {"corpus": "table", "path": "own.csv"})[0] == 0
    assert metrics()["labels_differing_in_case"] == 5 and metrics()["classes"] == 7
    write_csv(Path("own.csv"), "text label", [["a", "Flu"], ["b", "cold"], ["c", "Flu"]])
    assert stage("ingest", {"corpus": "table", "path": "own.csv"})[0] == 0
    assert metrics()["labels_differing_in_case"] == 0


@pytest.mark.parametrize("field", ["text", "text_pair"])
def test_a_column_is_not_text_and_label(stage, field):
    write_csv(Path("own.csv"), "text label", [[TEXTS[0], "x"], [TEXTS[1], "y"]])
    table = {"text": "text", "labels": "text"} if field == "text" else {"text_pair": "label"}
    parts = [f"ingest.table.{field} and ingest.table.labels are both", "name two columns"]
    assert_refused(stage("ingest", {"corpus": "table", "path": "own.csv", "table": table}), *parts)


def test_an_encoding_of_its_own(stage):
    Path("own.csv").write_bytes("text,label\nMüdigkeit,x\nFieber,y\n".encode("cp1252"))
    assert_refused(stage("ingest", {"corpus": "table", "path": "own.csv"}), "own.csv is not utf-8")
    assert stage("ingest", {"corpus": "table", "path": "own.csv", "table": {"encoding": "cp1252"}})[0] == 0
    assert rows()[0]["text"] == "Müdigkeit"


def test_official_rows_stay_as_they_are(stage):
    records = [
        ["same text", "a", "train"],
        ["same text", "b", "train"],
        ["same text", "a", "test"],
        ["same text", "b", "test"],
    ]
    write_csv(Path("own.csv"), "text label split", [*records, ["another", "a", "train"]])
    changes = {"corpus": "table", "path": "own.csv", "table": {"split": "split"}}
    assert stage("ingest", changes | {"conflicts": "drop"})[0] == 0
    assert [(row["split"], row["labels"]) for row in rows()] == [("test", ["a"]), ("test", ["b"]), ("train", ["a"])]
    assert metrics()["label_ceiling"] == {"all": 3 / 5, "train": 2 / 3, "test": 1 / 2}
    assert stage("ingest", changes | {"conflicts": "set"})[0] == 0
    assert rows()[0]["labels"] == ["a", "b"] and len({row["duplicate_cluster"] for row in rows()[:3]}) == 1


def test_near_duplicates_in_the_stage(stage):
    near = TEXTS[0].rsplit(" ", 1)[0] + " changed"
    changes, _ = made("table", [*TEXTS, near, "no fever", "No fever!"])
    assert stage("ingest", changes)[0] == 0
    found = by_id()
    assert found["0010"]["duplicate_cluster"] == found["000"]["duplicate_cluster"] == "000"
    assert found["0011"]["duplicate_cluster"] == "0011" and "0012" not in found  # equal by words: merged
    assert metrics()["near_duplicates"] == {"clusters": 1, "notes": 2, "largest_cluster": 2}
    assert stage("ingest", changes | {"near_duplicate_jaccard": 1.0})[0] == 0
    assert metrics()["near_duplicates"]["clusters"] == 0


@pytest.mark.parametrize("jaccard", [0.8, 1.0])
def test_patients_who_share_a_text_share_a_shard(stage, jaccard):
    """60 patients of 3 notes, 20 notes filed under a second patient too: every patient and every text is in one shard."""
    draw = random.Random(3)
    filed = [(f"p{number // 3}", " ".join(draw.choices(WORDS, k=60))) for number in range(180)]
    filed += [(f"p{number + 30}", text) for number, (_, text) in enumerate(filed[:60:3])]  # p0's first note to p30, ...
    filed += [("p5", filed[15][1].upper())]  # and one twice under its own patient
    records = [[f"n{i:03}", patient, "ab"[i % 2], text] for i, (patient, text) in enumerate(filed)]
    write_csv(Path("own.csv"), "id who label text", records)
    mapping = {"note_id": "id", "patient_id": "who"}
    assert stage(
        "ingest", {"corpus": "table", "path": "own.csv", "table": mapping, "near_duplicate_jaccard": jaccard}
    ) == (0, "")
    numbers = metrics()
    assert numbers["notes"] == 200 and numbers["patients"] == 60
    assert (numbers["conflicts"]["rows_merged"], numbers["conflicts"]["texts_of_several_patients"]) == (1, 20)
    assert numbers["near_duplicates"] == {"clusters": 20, "notes": 40, "largest_cluster": 2}
    assert numbers["label_ceiling_written"] == {"all": 1} and numbers["label_ceiling"]["all"] < 1
    NOTES.rename("data/clean.parquet")
    assert stage("split") == (0, "")
    assert json.loads(Path("metrics/split.json").read_text())["crossings"] == {"patients": 0, "clusters": 0}
    where = {}
    for shard in Path("data/split").glob("*.parquet"):
        for row in pq.read_table(shard).to_pylist():
            where.setdefault(row["patient_id"], set()).add(shard.stem)
            where.setdefault(row["text"], set()).add(shard.stem)
    assert len({shard for shards in where.values() for shard in shards}) == 4
    assert [(who, text) for who, text in filed[:200] if len(where[who] | where[text]) > 1] == []


def test_small_classes_are_not_named(stage):
    write_csv(
        Path("own.csv"),
        "text label",
        [[f"text {i}", "common"] for i in range(11)] + [[f"other {i}", "rare"] for i in range(10)],
    )
    assert stage("ingest", {"corpus": "table", "path": "own.csv"})[0] == 0
    assert metrics()["labels"] == {"common": 11} and metrics()["labels_under_min_count"] == {"classes": 1, "notes": 10}


@pytest.mark.parametrize(
    ("name", "content", "mapping", "parts"),
    [
        ("own.xlsx", b"PK", {}, ["its type is not known", ".parquet"]),
        ("own.csv", b"text,label\na,b\n", {"labels": "dx"}, ["no column 'dx'", "mapping"]),
        ("own.csv", b"text,label\na,b\n", {"label_separator": ""}, ["ingest.table.label_separator"]),
        ("own.csv", b"text,label,set\na,b,dev\n", {"split": "set"}, ["record 1", "split is none of train, validation"]),
        ("own.csv", b"text,label,set\na,b,\n", {"split": "set"}, ["record 1", "split"]),
        ("own.tsv", b"text|label\na|b\n", {}, ["separated by '|'"]),
        ("own.csv", b"text;label\na;b\n", {}, ["separated by ';'", "commas"]),
        ("own.csv", b"text,label\na,b\n", {"public": "false"}, ["ingest.table.public is 'false'"]),
        ("own.jsonl", b'{"text": "a", "label": "b"}\n{"text": "zanzibarweed\n', {}, ["record 2", "not valid JSON"]),
        ("own.jsonl", b'["a"]\n', {}, ["record 1", "not a JSON object"]),
        ("own.jsonl", b'{"text": "a"}\n{"text": "b"}\n', {}, ["no field 'label' in any record"]),
        ("own.jsonl", b'{"text": "a", "label": {"x": 1}}\n', {}, ["record 1", "a list or an object"]),
        ("own.jsonl", b'{"text": "a", "label": "x"}\n{"text": "b", "label": ["y"]}\n', {}, ["record 2", "a list or an object"]),
        ("own.jsonl", b'{"text": "\\ud800", "label": "x"}\n', {}, ["record 1", "surrogate"]),
        ("own.jsonl", b'{"text": "a\\u0000", "label": "x"}\n', {}, ["record 1", "NUL"]),
        ("own.jsonl", "{'text': 'Müde'}".encode("latin-1"), {}, ["not utf-8"]),
        ("own.jsonl", b"", {}, ["own.jsonl is empty"]),
        ("own.json", b"", {}, ["own.json is empty"]),
        ("own.json", b'{"text": "a"}', {}, ["not a JSON array"]),
        ("own.json", b'[{"text": "a"', {}, ["not valid JSON"]),
        ("own.json", b"[]", {}, ["no note is left"]),
        ("own.parquet", b"PAR1zanzibarweed", {}, ["own.parquet is not readable"]),
        ("own.parquet", b"", {}, ["own.parquet is empty"]),
        ("own.parquet.gz", b"PAR1", {}, ["no gzip file"]),
        ("own.jsonl.gz", gzip.compress(b'{"text": "a", "label": "b"}\n' * 9, mtime=0)[:-9], {}, ["cut-off gzip"]),
    ],
)  # fmt: skip
def test_broken_tables(stage, name, content, mapping, parts):
    Path(name).write_bytes(content)
    assert_refused(stage("ingest", {"corpus": "table", "path": name, "table": mapping}), *parts)


def test_parquet_without_the_column(stage):
    write_own(Path("own.parquet"), OWN)
    assert_refused(stage("ingest", {"corpus": "table", "path": "own.parquet"}), "own.parquet has no column")


def test_a_folder_is_no_table(stage):
    Path("own.csv").mkdir()
    assert_refused(stage("ingest", {"corpus": "table", "path": "own.csv"}), "own.csv is a folder")


def test_a_failure_leaves_the_earlier_output(stage):
    """What an earlier run left is not damaged by a later one that fails."""
    changes, notes = made("table", TEXTS)
    stage("ingest", changes)
    before = NOTES.read_bytes()
    truncated(notes)
    code, line = stage("ingest", changes | {"path": f"{notes}.gz"})
    assert code == 1 and "cut-off" in line and NOTES.read_bytes() == before and not list(Path().rglob("*.partial"))
