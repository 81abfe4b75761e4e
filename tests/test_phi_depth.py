"""De-identification in depth: profiles, known fields, replacement, rare kinds, the review sheet, the benchmark's own parts."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from conftest import ROOT, SHARED_DATA, needs_shared_data
from hypothesis import given, settings
from hypothesis import strategies as st
from test_deidentify import METRICS, note, nothing_written, read, write
from test_phi import KEY, found

from benchmarks.phi import interval, measures, meddocan, over_redaction, research
from benchmarks.phi_notes import ORIGINS, SETS, Note, draw_notes
from diagnosis.errors import UserError
from diagnosis.phi.detector import detect, everywhere, find
from diagnosis.phi.identifiers import npi_valid
from diagnosis.phi.known_fields import read_known_fields
from diagnosis.phi.spans import Span
from diagnosis.phi.surrogates import RARE_ZIPS, Masks, Surrogates, values
from diagnosis.synthetic.identities import DOCTOR_ORIGINS, RACES

TEXT = (
    "Mr. Quibblethorpe, 94 years old, seen on 2123-04-05 in Wrenfield, MA 02115. Back since 3/20, first seen June 1951."
)


# Kinds ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("AGE", "The patient is a centenarian.", "centenarian"),
        ("AGE", "She was born in 1925 and came on 3/4/2019.", "in 1925"),
        ("AGE", "Her mother died at age 94. She is 93 years of age.", "93"),
        ("DATE", "from 04-Mar-2018 to Nov 8, 2018", "Nov 8, 2018"),
        ("LICENCE", "billed under 1234567893 today", "1234567893"),
        ("LICENCE", "Provider NPI: 1234567893 Copies to the ward", "1234567893"),
        ("PLACE", "She works at Home Depot as a cashier", "Home Depot"),
        ("PLACE", "employed by Hatherley & Sons since", "Hatherley & Sons"),
        ("PLACE", "arrived by ambulance from Iron Mountain.", "Iron Mountain"),
        ("PLACE", "Born and raised in Reading.", "Reading"),
        ("PLACE", "lives at Storgatan 12 now", "Storgatan 12"),
        ("PLACE", "lives at 33 avenue de Provence now", "33 avenue de Provence"),
        ("PLAN", "Insurance ID: W3023 88747.", "W3023 88747"),
        ("VEHICLE", "He drove in, plate VCN-6943.", "VCN-6943"),
        ("OTHER_ID", "The biopsy (S18-43059) was read", "S18-43059"),
        ("NAME", "PATIENT: NEVALAINEN, AINO\nMurphy sign", "AINO"),
        ("NAME", "Sophie Evers, M.D.\nclinic", "Sophie Evers"),
        ("NAME", "Electronically signed: Eve Annus April 27 16:20", "Eve Annus"),
        ("NAME", "seen by Dr. van 't Wel today", "van 't Wel"),
        ("NAME", "Her brother, Ulug‘bek, called", "Ulug‘bek"),
        ("NAME", "Ms. kuhar states", "kuhar"),
    ],
)  # fmt: skip
def test_kinds(kind, text, expected):
    assert expected in found(text, kind)


@pytest.mark.parametrize(
    "text",
    [
        "She was born in 1960 and came on 3/4/2019.",
        "Apgar scores 8 and 9. May resume a regular diet.",
        "seen with Dr. X, NP\nLewy body dementia cannot be excluded",
        "Mother Hispanic, father with Parkinson disease. Murphy sign absent in both.",
        "plaster of Paris cast, plate 3.5 mm, suite of tests, group 2 pulmonary hypertension",
        "The pump ran from 02:40 to 03:10.",
    ],
)
def test_no_kind(text):
    assert found(text.replace("on 3/4/2019", "")) == []


def test_npi_against_the_published_example():
    assert npi_valid("1234567893") and not npi_valid("1234567890") and not npi_valid("3234567893")


# Profiles -------------------------------------------------------------------------------------------------------------


def test_safe_harbor_keeps_the_year_and_three_digits_of_a_zip():
    replaced = Masks("safe_harbor").replace(TEXT, find(TEXT), "p")
    assert replaced == (
        "Mr. [NAME], [AGE] years old, seen on 2123 in [PLACE], MA 021. Back since [DATE], first seen [DATE]."
    )  # 1951 is over 89 years before 2123
    assert "2123" in Surrogates(KEY, 365, "safe_harbor").replace(TEXT, find(TEXT), "p")


@pytest.mark.parametrize("start", sorted(RARE_ZIPS))
def test_a_zip_where_few_live_is_000(start):
    text = f"Wrenfield, VT {start}12"
    assert Masks("safe_harbor").replace(text, find(text), "p").endswith("VT 000")


def test_there_are_seventeen_rare_zips():
    assert len(RARE_ZIPS) == 17


def test_a_limited_dataset_keeps_dates_ages_and_zips_and_nothing_else():
    replaced = Masks("limited_dataset", blank=True).replace(TEXT, find(TEXT), "p")
    assert replaced == TEXT.replace("Quibblethorpe", "___").replace("Wrenfield", "___")


def test_an_age_told_otherwise_becomes_90_plus():
    text = "A centenarian, born in 1915. Seen 3/4/2019."
    assert Surrogates(KEY, 5).replace(text, find(text), "p").startswith("A 90+-year-old, born 90+ years ago. ")


@pytest.mark.parametrize("profile", ["safe_harbor", "shifted", "limited_dataset"])
def test_the_metrics_state_profile_and_evidence(stage, profile):
    write([note(1, TEXT)])
    assert stage("deidentify", {"profile": profile}) == (0, "")
    metrics = json.loads(METRICS.read_text())
    assert metrics["profile"] == profile and metrics["replace"] == "surrogate"
    assert metrics["evidence"]["dates"] == 3 and metrics["evidence"]["ages_over_89"] == 1
    assert metrics["evidence"]["offset_days"] == (365 if profile == "shifted" else None)
    assert ("expert" in metrics["evidence"]["basis"]) == (profile == "shifted")
    (row,) = read().values()
    assert ("2123-04-05" in row["text"]) == (profile == "limited_dataset") and "Quibblethorpe" not in row["text"]


# Known fields ---------------------------------------------------------------------------------------------------------


def fields(*rows):
    Path("known.csv").write_text("patient_id,value,kind\n" + "".join(f"{row}\n" for row in rows), "utf-8")


def test_known_fields_are_found_where_no_rule_could(stage):
    hidden = "zebulon brought his papers, ref kx17 and tarn cottage."
    write([note(1, hidden), note(2, hidden, "8")])
    fields("7,Zebulon Quibble,NAME", "7,kx17,OTHER_ID", "7,tarn cottage,PLACE", "99,nobody,NAME")
    assert stage("deidentify", {"known_fields": "known.csv", "replace": "mask"}) == (0, "")
    first, second = (row["text"] for row in pq.read_table("data/deidentified.parquet").to_pylist())
    assert first == "[NAME] brought his papers, ref [OTHER_ID] and [PLACE]." and second == hidden
    metrics = json.loads(METRICS.read_text())
    assert metrics["patients_with_known_fields"] == 2 and metrics["patients"] == 2


@pytest.mark.parametrize(
    ("rows", "piece"),
    [(["7,Ada,SHOE"], "record 1: an unknown kind"), (["7,Ada,NAME", ",Ada,NAME"], "record 2: no patient_id"), (["7,,NAME"], "no value")],
)  # fmt: skip
def test_wrong_known_fields_are_one_line(stage, rows, piece):
    write([note(1, TEXT)])
    fields(*rows)
    code, line = stage("deidentify", {"known_fields": "known.csv"})
    assert code == 1 and piece in line and "Ada" not in line and nothing_written()


def test_missing_known_fields(folder):
    with pytest.raises(UserError, match="known_fields names no file"):
        read_known_fields(Path("nowhere.csv"))


# Replacement ----------------------------------------------------------------------------------------------------------

POLISH = "Nowak Kowalski Lewandowski Kamiński Zieliński Szymański Woźniak Dąbrowski Kozłowski Jankowski Mazur Krawczyk".split()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(POLISH), min_size=2, unique=True), st.integers(), st.lists(st.integers(10**6, 10**7 - 1), max_size=4, unique=True))  # fmt: skip
def test_a_surrogate_is_no_real_value_of_its_note(names, patient, numbers):
    text = " ".join([*(f"Seen by Dr. {name}." for name in names), *(f"MRN {number}." for number in numbers)])
    spans = find(text)
    replaced = Surrogates(KEY, 365).replace(text, spans, f"p{patient}")
    real = values(text[span.start : span.end] for span in spans)
    assert {name.lower() for name in names} <= real
    told = re.findall(r"Dr\. ([^\s.]+)\.|MRN (\d+)\.", replaced)
    assert len(told) == len(names) + len(numbers)
    assert not real & {(name or number).lower() for name, number in told}


def test_where_every_name_of_a_list_is_real_one_is_made_up():
    from faker.providers.person.pl_PL import Provider as polish

    surrogates = Surrogates(KEY, 365)
    new = surrogates.replace("Nowak", [Span(0, 5, "NAME")], "p", polish.last_names)
    assert new.isalpha() and new not in polish.last_names and new[0].isupper()


@settings(max_examples=150, deadline=None)
@given(st.text(st.sampled_from("AZaz09 .,:-/@'\n[]*_Éß王"), max_size=80))
def test_any_text_is_replaced_in_every_way(text):
    spans, known = detect(text)
    spans = everywhere(text, spans, known)
    for profile in ("safe_harbor", "shifted", "limited_dataset"):
        for replacement in (Surrogates(KEY, 5, profile), Masks(profile), Masks(profile, blank=True)):
            assert isinstance(replacement.replace(text, spans, "p"), str)


# The review sheet -----------------------------------------------------------------------------------------------------


def review(*arguments):
    command = [sys.executable, "-m", "tools.review_sample", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT), "PATH": ""})


def test_the_review_sheet_and_its_bound(stage):
    write([note(number, f"{TEXT} {number}") for number in range(30)])
    assert stage("deidentify")[0] == 0
    assert review("--notes", "20").stdout.startswith("20 notes in data/review/sheet.csv")
    assert "may hold answers" in review().stderr
    with open("data/review/sheet.csv", newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert len({row["note_id"] for row in rows}) == 20 and all("Quibblethorpe" not in row["text"] for row in rows)
    assert "neither 0 nor 1" in review("--answers").stderr
    with open("data/review/sheet.csv", "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(row | {"leaks": int(place == 3)} for place, row in enumerate(rows))
    # 1 of 20: the upper bound p solves (1-p)^20 + 20 p (1-p)^19 = 0.05
    assert "1 of 20 notes leak; with 95 % confidence at most 21.61%" in review("--answers").stdout


def test_no_leak_in_n_notes_is_the_rule_of_three():
    from tools.review_sample import upper_bound

    assert upper_bound(0, 300) == pytest.approx(1 - 0.05 ** (1 / 300))
    assert upper_bound(5, 5) == 1.0


# The benchmark's own parts --------------------------------------------------------------------------------------------


def test_benchmark_notes_share_no_origin_with_the_corpus_or_each_other():
    corpus = {origin for _, _, origins in RACES for origin in origins} | set(DOCTOR_ORIGINS)
    every = [origin for origins in ORIGINS.values() for origin in origins]
    assert not corpus & set(every) and len(every) == len(set(every)) and set(ORIGINS) == set(SETS)


@pytest.mark.parametrize("templates", SETS)
def test_benchmark_notes_state_their_identifiers(templates):
    notes = list(draw_notes(templates, 60, 3))
    assert notes == list(draw_notes(templates, 60, 3))
    for one in notes:
        spans = [span for span, _ in one.gold]
        assert len(spans) > 7 and all(a.end <= b.start for a, b in zip(spans, spans[1:], strict=False))
        assert all(one.text[s.start : s.end].strip() == one.text[s.start : s.end] != "" for s in spans)
        assert "{" not in one.text and "}" not in one.text


def test_measures_by_hand():
    one = Note("a", "Ada Lovelace in Utah, MRN 12", [(Span(0, 12, "NAME"), "en_GB"), (Span(16, 20, ""), None), (Span(26, 28, "MRN"), None)])  # fmt: skip
    result = measures([one], [[Span(0, 3, "X"), Span(13, 20, "X"), Span(26, 28, "MRN")]])  # Ada, in, Utah (neutral), 12
    assert (result["recall"], result["precision"], result["words"]) == (2 / 3, 2 / 3, 3)
    assert result["misses"] == ["a NAME 1"] and result["clean"]["value"] == 0
    assert interval(0, 10)["high"] == pytest.approx(1 - 0.025 ** (1 / 10))


@needs_shared_data
def test_real_gold_is_read_whole():
    halves = [list(research(half)) for half in ("developed on", "held out")]
    assert sum(map(len, halves)) == 1500 and not {n.id.split("-")[0] for n in halves[0]} & {
        n.id.split("-")[0] for n in halves[1]
    }
    spanish = list(meddocan())
    assert len(spanish) == 250 and sum(len(n.gold) for n in spanish) == 5801
    assert sum(span.kind == "NAME" for n in spanish for span, _ in n.gold) == 503 + 497


@needs_shared_data
def test_clinical_terms_of_real_sentences_stay():
    lines = (SHARED_DATA / "negex" / "Annotations-1-120.txt").read_text("latin-1").splitlines()[1:]
    result = over_redaction(sorted({line.split("\t")[2] for line in lines}))
    assert result["clinical_tokens"] > 1000 and result["share"] <= 0.003


def test_without_presidio_the_benchmark_says_so():
    command = [sys.executable, "-m", "benchmarks.phi", "--presidio", "/nowhere/python"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.startswith("error: presidio's Python") and done.stderr.count("\n") == 1
