"""Invented notes for the admissions of the MIMIC demo tables, which come without notes.

They let the real readers join real tables end to end. Each names the findings of its primary diagnosis' ICD chapter with a
chance of 0.7 and another chapter's otherwise, so a score on them says that the pipeline runs, and nothing about medicine.
"""

import csv
import gzip
import random
from pathlib import Path

FINDINGS = {
    "infection": ["fever", "chills", "positive culture", "low blood pressure"],
    "neoplasm": ["weight loss", "a mass on imaging", "night sweats"],
    "circulatory": ["chest pain", "palpitations", "leg swelling", "dyspnea on exertion"],
    "respiratory": ["cough", "wheezing", "shortness of breath", "low oxygen"],
    "digestive": ["abdominal pain", "nausea and vomiting", "melena"],
    "injury": ["a fall", "wrist pain after trauma", "a laceration"],
    "other": ["confusion", "weakness", "dizziness", "back pain"],
}


def chapter(code: str, version: str) -> str:
    """A coarse chapter of an ICD-9 or ICD-10 code."""
    if version == "10":
        by_letter = {"A": "infection", "B": "infection", "C": "neoplasm", "D": "neoplasm", "I": "circulatory"}
        by_letter |= {"J": "respiratory", "K": "digestive", "S": "injury", "T": "injury"}
        return by_letter.get(code[0], "other")
    if not code[:3].isdigit():
        return "other"
    ends = [(139, "infection"), (239, "neoplasm"), (389, "other"), (459, "circulatory"), (519, "respiratory")]
    ends += [(579, "digestive"), (799, "other"), (999, "injury")]
    return next(name for end, name in ends if int(code[:3]) <= end)


def note(primary: str, draw: random.Random) -> str:
    """One discharge note in MIMIC's form."""
    said = primary if draw.random() < 0.7 else draw.choice(sorted(FINDINGS))
    first, second = draw.sample(FINDINGS[said], 2)
    denied = draw.choice(FINDINGS[draw.choice(sorted(set(FINDINGS) - {said}))])
    days, pulse = draw.randint(1, 14), draw.randint(58, 125)
    return (
        f"Name:  ___                Unit No:   ___\n\nSex:   ___\nService: MEDICINE\n\nChief Complaint:\n{first}\n\n"
        f"History of Present Illness:\nPresents with {first} and {second} for {days} days. Denies {denied}.\n\n"
        f"Physical Exam:\nHR {pulse}, BP {draw.randint(90, 170)}/{draw.randint(50, 95)}\n\n"
        f"Brief Hospital Course:\nTreated for a {said} problem.\n\nDischarge Diagnosis:\n{said}\n"
    )


def write_mimic4(source: Path, target: Path) -> None:
    """Lay the demo's hosp tables and a note/discharge.csv.gz with invented notes under `target`."""
    (target / "hosp").mkdir(parents=True)
    (target / "note").mkdir()
    for name in ("patients", "admissions", "diagnoses_icd"):
        (target / "hosp" / f"{name}.csv").write_bytes((source / f"{name}.csv").read_bytes())
    with open(source / "diagnoses_icd.csv", newline="") as stream:
        primary = {r["hadm_id"]: chapter(r["icd_code"].strip(), r["icd_version"]) for r in csv.DictReader(stream) if r["seq_num"] == "1"}  # fmt: skip
    draw = random.Random(4)
    with (
        open(source / "admissions.csv", newline="") as stream,
        gzip.open(target / "note" / "discharge.csv.gz", "wt", newline="") as out,
    ):
        writer = csv.writer(out)
        writer.writerow("note_id subject_id hadm_id note_type note_seq charttime storetime text".split())
        for number, row in enumerate(csv.DictReader(stream), 1):
            if row["hadm_id"] in primary:
                text = note(primary[row["hadm_id"]], draw)
                note_id = f"{row['subject_id']}-DS-{number}"
                writer.writerow([note_id, row["subject_id"], row["hadm_id"], "DS", number, row["dischtime"], "", text])


def write_mimic3(source: Path, target: Path) -> None:
    """Lay the demo's tables and a NOTEEVENTS.csv.gz with invented notes under `target`."""
    target.mkdir(parents=True)
    for name in ("PATIENTS", "ADMISSIONS", "DIAGNOSES_ICD"):
        (target / f"{name}.csv.gz").write_bytes((source / f"{name}.csv.gz").read_bytes())
    with gzip.open(source / "DIAGNOSES_ICD.csv.gz", "rt", newline="") as stream:
        primary = {
            r["hadm_id"]: chapter(r["icd9_code"].strip(), "9") for r in csv.DictReader(stream) if r["seq_num"] == "1"
        }
    draw = random.Random(3)
    with (
        gzip.open(source / "ADMISSIONS.csv.gz", "rt", newline="") as stream,
        gzip.open(target / "NOTEEVENTS.csv.gz", "wt", newline="") as out,
    ):
        writer = csv.writer(out)
        columns = "row_id subject_id hadm_id chartdate charttime storetime category description cgid iserror text"
        writer.writerow(columns.split())
        for number, row in enumerate(csv.DictReader(stream), 1):
            if row["hadm_id"] in primary:
                text = note(primary[row["hadm_id"]], draw)
                day = row["dischtime"][:10]
                writer.writerow([number, row["subject_id"], row["hadm_id"], day, "", "", "Discharge summary", "Report", "", "", text])  # fmt: skip
