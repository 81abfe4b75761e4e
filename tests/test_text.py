"""Cleaning by hand: one form without another meaning, sections found and cut, and twice is once."""

import csv
import gzip
import random
import time
import unicodedata

import pytest
from conftest import SHARED_DATA, needs_shared_data

from diagnosis.text.normalise import (
    MARK,
    STOP_WORDS,
    normalise,
    without_numbers,
    without_punctuation,
    without_stop_words,
)
from diagnosis.text.sections import ADMISSION, HEADINGS, LATER, cut, sections
from diagnosis.text.units import standardise

MIMIC = """
Name:  ___                     Unit No:   ___

Admission Date:  ___              Discharge Date:   ___

Date of Birth:  ___             Sex:   F

Service: MEDICINE

Allergies:
Penicillins

Attending: ___.

Chief Complaint:
chest pain

Major Surgical or Invasive Procedure:
Cardiac catheterization

History of Present Illness:
67F with HTN presents with chest pain. Denies fever, cough. Her past
medical history: significant for HTN.

Past Medical History:
HTN, DM2

Social History:
___
Family History:
Father with MI

Physical Exam:
ADMISSION PHYSICAL EXAM:
VS: T 98.6 BP 120/80 P 80
Gen: NAD
DISCHARGE PHYSICAL EXAM:
Vitals: stable
Gen: walking

Pertinent Results:
ADMISSION LABS:
WBC-7.1 Mg-2.1
DISCHARGE LABS:
WBC-6.0

Brief Hospital Course:
Ruled in for NSTEMI. Labs: troponin 2.1
Physical exam: unremarkable
# Hypertension: home meds.

Medications on Admission:
1. Lisinopril 5 mg

Discharge Medications:
1. Aspirin

Discharge Disposition:
Home

Discharge Diagnosis:
NSTEMI

Discharge Condition:
Mental Status: Clear.

Discharge Instructions:
You had a heart attack.

Followup Instructions:
___
"""


def names(text: str) -> list[str]:
    return [section.name for section in sections(text)]


def at_admission(text: str) -> str:
    return cut(normalise(text), "admission", [])[0]


# ---------------------------------------------------------------- one form


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("cafe\u0301", "café"),
        ("BSA 1.8 m², ½ tablet, 10⁹/L, ﬁne", "BSA 1.8 m², ½ tablet, 10⁹/L, ﬁne"),  # NFKC would say m2, 1⁄2, 109/L
        ("a\x00b\x07c\ufeffd\u200be\u00adf", "abcdef"),
        ("a\r\nb\rc\u2028d\x0ce", "a\nb\nc\nd\ne"),
        ("a\t \u00a0b  \n  c\n\n\n\n\nd \n", "a b\nc\n\nd"),
        ("can’t “walk” 3–5 days −2…", 'can\'t "walk" 3-5 days -2...'),
        ("no fever, cough; BP 120/80, 2.5 mg", "no fever, cough; BP 120/80, 2.5 mg"),
        ("", ""),
        (" \n\t ", ""),
    ],
)
def test_normalise(before, after):
    assert normalise(before) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("seen at [**Hospital1 18**] on [**2101-10-20**] by Dr. [**Last Name (un) 123**]", "seen at ___ on ___ by Dr. ___"),
        ("Dr. [**First Name8 (NamePattern2)\n **] called", "Dr. ___ called"),
        ("Mr. **NAME[BBB AAA] on **DATE[Sep 27 2007] at **INSTITUTION for **ID-NUM", "Mr. ___ on ___ at ___ for ___"),
        ("a **AGE[in 60s]-year-old and [**Age over 90 **] years", "a 60s-year-old and over 90 years"),
        ("Dr. XXXX, SSN XX-XX-XXXX, xxxxx, ________ and ___ ___", "Dr. ___, SSN ___, ___, ___ and ___"),
        ("at *** o'clock, ***** was applied", "at ___ o'clock, ___ was applied"),
        ("karyotype 47,XXX; **Important**: 2**3; [x] done", "karyotype 47,XXX; **Important**: 2**3; [x] done"),
        ("[NAME] on [DATE]", "___ on ___"),
        ("**PLAN:** rest **NAME** **HPI** _x_", "**PLAN:** rest **NAME** **HPI** _x_"),  # Markdown
    ],
)  # fmt: skip
def test_marks(before, after):
    assert normalise(before) == after and MARK == "___"


def test_lost_line_ends():
    before = "CHIEF COMPLAINT: , Pain, fever.,ALLERGIES:,None.,PHYSICAL EXAMINATION,VITAL SIGNS: BP 120/80.,PLAN,1. Rest.,2. Ice, heat.,"
    assert normalise(before) == (
        "CHIEF COMPLAINT:\nPain, fever.\nALLERGIES:\nNone.\nPHYSICAL EXAMINATION\nVITAL SIGNS: BP 120/80.\nPLAN\n1. Rest.\n2. Ice, heat."
    )


@pytest.mark.parametrize("text", ["WBC 12,000, Na 140,K 4, e.g., this", "fever,cough and chills"])
def test_commas_of_other_texts_stay(text):
    assert normalise(text) == text


# ---------------------------------------------------------------- units, vitals, dates


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("5mg, 2.5 mg, 20 milligrams, 500mgs", "5 mg, 2.5 mg, 20 mg, 500 mg"),
        ("100 µg, 50ug, 25 micrograms", "100 mcg, 50 mcg, 25 mcg"),
        ("300 cc, 10ml", "300 mL, 10 mL"),
        ("70kg, 154 lbs, 20-pound", "70 kg, 154 lb, 20 lb"),
        ("Hgb 9.1 g/dl, glucose 99mg/dl, K 4.1 mmol/l", "Hgb 9.1 g/dL, glucose 99 mg/dL, K 4.1 mmol/L"),
        ("K 4.0 Mg 2.1, stage 3 MM, 2 cc: Dr. A, 5 cm²", "K 4.0 Mg 2.1, stage 3 MM, 2 cc: Dr. A, 5 cm²"),
        ("B/P: 120 / 80, BP120/80 mm Hg, blood pressure of 120/80", "BP 120/80 mmHg, BP 120/80 mmHg, BP 120/80 mmHg"),
        ("BP 16/11 kPa, strength 5/5, 120/80", "BP 16/11 kPa, strength 5/5, 120/80"),
        ("pulse is 80 beats per minute, HR: 80. Pulse 2+", "HR 80, HR 80. Pulse 2+"),
        ("respirations 18/min, RR=18", "RR 18, RR 18"),
        ("Temp 98.6 F, T: 37.2 C, temperature of 101", "temperature 98.6 F, temperature 37.2 C, temperature 101"),
        ("T 98.6, T2 weighted, T 2.5 score, temp 12.0", "temperature 98.6, T2 weighted, T 2.5 score, temp 12.0"),
        ("SpO2: 98% RA, O2 sat 95% on 2L NC, oxygen saturation was 97% on room air", "O2 sat 98% on room air, O2 sat 95% on 2L NC, O2 sat 97% on room air"),
        ("transferrin saturation 15%, RA pressure 5, seropositive RA", "transferrin saturation 15%, RA pressure 5, seropositive RA"),
        ("March 5, 2019; 5 Mar 2019; 2019/3/5; 12/25/2019; 25/12/2019; 5/5/2019", "2019-03-05; 2019-03-05; 2019-03-05; 2019-12-25; 2019-12-25; 2019-05-05"),
        ("03/05/2019, 3/5/19, Feb 30, 2019, March 2019, May 5, 1/2/3", "03/05/2019, 3/5/19, Feb 30, 2019, March 2019, May 5, 1/2/3"),
    ],
)  # fmt: skip
def test_standardise(before, after):
    assert standardise(before) == after
    assert standardise(after) == after


# ---------------------------------------------------------------- reductions

NOTE = "The patient has no fever, cough; denies pain, can't walk. BP 120/80, 2.5 mg B12, EF 55%, pulses 2+, C5-C6, HIV+, <5."


def test_without_numbers():
    assert without_numbers(NOTE) == (
        "The patient has no fever, cough; denies pain, can't walk. BP , mg B12, EF , pulses +, C5-C6, HIV+, < ."
    )


def test_without_punctuation():
    assert without_punctuation(NOTE) == (
        "The patient has no fever cough denies pain can't walk BP 120/80 2.5 mg B12 EF 55% pulses 2+ C5-C6 HIV+ <5"
    )


def test_without_stop_words():
    assert without_stop_words(NOTE) == NOTE.replace("The ", "").replace("has ", "")
    kept = "no not nor without denies never cannot none neither but except or before after left right her his AS IT US DO A I"
    assert without_stop_words(kept) == kept
    assert not STOP_WORDS & set(kept.lower().split())


# ---------------------------------------------------------------- sections


def test_mimic_discharge_note_at_admission():
    kept = at_admission(MIMIC)
    for gone in "Unit No;Discharge Date;Attending;catheterization;walking;WBC-6.0;NSTEMI;troponin;unremarkable;home meds;Aspirin;Home;Clear;attack".split(";"):  # fmt: skip
        assert gone not in kept, gone
    for stays in "Sex: F;MEDICINE;Penicillins;chest pain;Denies fever, cough;significant for HTN;DM2;Father with MI;BP 120/80;Gen: NAD;WBC-7.1;Lisinopril".split(";"):  # fmt: skip
        assert stays in kept, stays
    assert cut(normalise(MIMIC), "all", []) == (normalise(MIMIC), {})


def test_sections_cover_the_note_in_order():
    text = normalise("Seen today.\n" + MIMIC)
    found = sections(text)
    assert found[0].name == "opening" and found[0].start == 0 and found[-1].end == len(text)
    assert all(one.end == other.start for one, other in zip(found, found[1:], strict=False))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("HISTORY OF PRESENT ILLNESS:\nPain.\nIMPRESSION:\nFlu.", ["present_illness", "impression"]),
        ("Stable on day 3. Discharge Diagnosis: flu", ["opening", "diagnosis"]),  # in the middle of a line
        ("he did well Discharge Diagnosis: flu", ["opening", "diagnosis"]),
        ("he had no history of present illness: none given", []),
        ("No History of Present Illness: none given", []),
        ("see below, plan: rest", []),  # prose
        ("Hemorrhage, wound.Plan: rest", ["opening", "plan"]),
        ("known past\nmedical history: DM", []),  # a wrapped line
        ("Well.\nmedical history: DM", ["opening", "past_history"]),
        ("PAST MEDICAL HISTORY\nDM\nAssessment and Plan\nRest", ["past_history", "assessment"]),
        ("Brief Hospital Course (by system):\nfine", ["hospital_course"]),
        ("PREOPERATIVE DIAGNOSIS (ES): Tear", ["diagnosis"]),
        ("Post-operative Diagnosis : Tear", ["diagnosis"]),
        ("1. **Assessment & Plan:** rest", ["opening", "assessment"]),
        ("## Chief Complaint:\npain", ["opening", "complaint"]),
        ("PRIMARY DISCHARGE DIAGNOSES:\nflu", ["diagnosis"]),
        ("REFERRING DIAGNOSIS:\nflu", ["diagnosis"]),
        ("Discharge diagnosis\nflu", ["diagnosis"]),
        ("HPI: cough.\nEncounter Diagnosis\nflu", ["present_illness", "diagnosis"]),
        ("Admitting Dx: flu", ["diagnosis"]),
        ("Active Hospital Problems:\nflu", ["diagnosis"]),
        ("Presenting problem: cough", ["complaint"]),
        ("HISTORY: He had a known\nMedical problem\nof long standing.", ["history"]),  # a wrapped line
        ("at 10:30 BP 120/80: fine, ratio 1:2", []),
        ("HEENT: clear\nLUNGS: clear", []),  # organ systems are no sections
        ("Patient: Mr. A. Seen for fever", []),
        (":::: :\n:", []),
    ],
)
def test_headings(text, expected):
    assert names(text) == expected


def test_unknown_headings_inherit_and_sub_headings_of_the_course_stay_in_it():
    text = "Brief Hospital Course:\nHe had flu.\nCardiac Rhythm:\nAF\nLabs:\nInfluenza A\nAllergies:\nnone\nFeet:\nwarm"
    assert cut(text, "admission", []) == ("Allergies:\nnone\nFeet:\nwarm", {"hospital_course": 54, "results": 18})


def test_identifiers_end_with_their_line():
    text = "Attending: ___\nThis man has a cough.\nDate of Birth: ___\nHis legs are warm."
    assert at_admission(text) == "This man has a cough.\nHis legs are warm."
    assert at_admission("Date: ___ This man has " + "a cough " * 30).startswith("Date:")  # a line of prose


def test_headings_behind_an_identifier_on_its_line():
    text = "Admission Date: 2150-01-02 Discharge Date: 2150-01-09\nDate of Birth: 1950-02-03 Sex: F\nService: MEDICINE"
    assert at_admission(text) == "Sex: F\nService: MEDICINE"


def test_a_long_sentence_that_ends_in_diagnosis_is_prose():
    text = "He was told by many of the physicians whom he had seen in the past year that his Main Diagnosis: none. Fine"
    assert names(text) == []


def test_more_sections_cut():
    text = "TITLE: Hip repair\nSUBJECTIVE: pain\nDISCHARGE DIAGNOSIS: fracture\nPLAN: rest"
    assert cut(text, "all", ["diagnosis", "title"]) == ("SUBJECTIVE: pain\nPLAN: rest", {"title": 18, "diagnosis": 30})
    assert cut(text, "admission", ["present_illness"])[0] == ""


def test_no_heading_no_cut():
    assert cut("He coughs.", "admission", ["diagnosis"]) == ("He coughs.", None)


def test_every_heading_has_one_name():
    headings = [h.strip() for part in (ADMISSION, LATER) for listed in part.values() for h in listed.split(";")]
    assert len(headings) == len(set(headings))
    assert not set(ADMISSION) & set(LATER) and len(HEADINGS) > 600


# ---------------------------------------------------------------- twice is once, and fast


def cleaned(text: str, visible_at: str = "admission") -> str:
    return standardise(cut(normalise(text), visible_at, [])[0])


PIECES = (
    "Discharge Diagnosis:|DISCHARGE DIAGNOSIS|,PLAN:,|.,HISTORY:, |Labs:| Allergies : |\n|\n\n|\r\n|  |,| ,|.|:| - |___|[**Name 1**]|XXXX|**"
    "|BP: 120 / 80|T 98.6F|5mg|cc|Mg 2.1|March 5, 2019|12/25/2019|no fever|the|’|e\u0301|½|m²|\ufeff|(ES)|Name: |past|A|1.|2. |%|120/80|O2 sat 98%RA|/"
).split("|")


def test_twice_is_once_on_made_up_texts():
    draw = random.Random(0)
    for _ in range(8000):
        text = "".join(draw.choice(PIECES) + draw.choice(["", " ", "\n", " x "]) for _ in range(draw.randint(1, 25)))
        once = cleaned(text)
        assert cleaned(once) == once, repr(text)
        assert unicodedata.is_normalized("NFC", once)
        for reduce in (without_numbers, without_punctuation, without_stop_words):
            assert reduce(reduce(once)) == reduce(once), repr(text)


def test_twice_is_once_on_the_discharge_note():
    assert cleaned(cleaned(MIMIC)) == cleaned(MIMIC)


@pytest.mark.parametrize(
    "piece",
    ["word ", ":", "Plan: a. ", "[**", "**A", "_", "X", " ", "\n", ", ", "A,", "1/", "BP ", "12/25/", "*", "Discharge Diagnosis: ", "T", "\u0301", "ABC "],
)  # fmt: skip
def test_five_megabytes_of_anything_take_seconds(piece):
    start = time.monotonic()
    cleaned(piece * (1_000_000 // len(piece)))  # the time grows with the length: five of these are under 10 s
    assert time.monotonic() - start < 4


# ---------------------------------------------------------------- real notes


@pytest.fixture(scope="module")
def mtsamples() -> list[str]:
    csv.field_size_limit(10**7)
    with gzip.open(SHARED_DATA / "mtsamples" / "mtsamples.csv.gz", "rt", encoding="utf-8", newline="") as stream:
        return list(dict.fromkeys(row["transcription"] for row in csv.DictReader(stream) if row["transcription"]))


@needs_shared_data
def test_mtsamples_sections_are_found(mtsamples):
    notes = [normalise(text) for text in mtsamples]
    assert sum(bool(sections(note)) for note in notes) / len(notes) > 0.95
    answers = ["diagnosis", "impression", "assessment", "title"]
    for note in notes:
        visible, _ = cut(note, "all", answers)
        assert not [s for s in sections(visible) if s.name in answers]


@needs_shared_data
def test_mtsamples_twice_is_once(mtsamples):
    for text in mtsamples[::5]:
        for visible_at in ("admission", "all"):
            once = cleaned(text, visible_at)
            assert cleaned(once, visible_at) == once


@needs_shared_data
def test_negex_marks_are_reduced():
    lines = (SHARED_DATA / "negex" / "Annotations-1-120.txt").read_text("utf-8").splitlines()
    marked = [line for line in lines if "**" in line]
    assert len(marked) > 200
    assert not [line for line in map(normalise, marked) if "**" in line]


@needs_shared_data
def test_abstracts_and_symptom_sentences_pass_whole():
    for path, column in (
        ("medical_abstracts/medical_tc_test.csv", "medical_abstract"),
        ("symptom2disease/Symptom2Disease.csv", "text"),
    ):
        with open(SHARED_DATA / path, encoding="utf-8", newline="") as stream:
            texts = [normalise(row[column]) for row in csv.DictReader(stream)]
        changed = sum(cut(text, "admission", [])[0] != text for text in texts)
        assert changed / len(texts) < 0.001, path
