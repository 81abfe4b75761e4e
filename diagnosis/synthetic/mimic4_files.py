"""The invented hospital as MIMIC-IV's files, official columns in their order, and the truth beside them."""

import csv
import gzip
import io
from contextlib import ExitStack, contextmanager
from datetime import datetime, time, timedelta
from pathlib import Path

from diagnosis.corpora.invented import marker
from diagnosis.synthetic.cohort import Patient, Stay
from diagnosis.synthetic.disease_model import CODES, CONDITIONS

COLUMNS = {
    "hosp/patients": "subject_id gender anchor_age anchor_year anchor_year_group dod",
    "hosp/admissions": "subject_id hadm_id admittime dischtime deathtime admission_type admit_provider_id admission_location "
    "discharge_location insurance language marital_status race edregtime edouttime hospital_expire_flag",
    "hosp/diagnoses_icd": "subject_id hadm_id seq_num icd_code icd_version",
    "hosp/d_icd_diagnoses": "icd_code icd_version long_title",
    "note/discharge": "note_id subject_id hadm_id note_type note_seq charttime storetime text",
    "truth/phi_spans": "note_id start end kind origin",
    "truth/findings": "note_id start end finding assertion",
    "truth/notes": "note_id subject_id hadm_id condition recorded label_noise poorer answered exact_copy_of same_person_as "
    "copied_from copied_start copied_end",
}
SECONDARY = (
    ("I10", "Essential (primary) hypertension"),
    ("E785", "Hyperlipidemia, unspecified"),
    ("K219", "Gastro-esophageal reflux disease without esophagitis"),
    ("Z87891", "Personal history of nicotine dependence"),
)  # codes of further diagnoses, which stand in no visible text
README = """# Truth of the embedded corpus

Every person and every note here is invented: drawn by `diagnosis/synthetic`, and free for any use (CC0-1.0).

- phi_spans.csv.gz: identifiers, characters start to end (exclusive) of the note as in note/discharge; kind, and the Faker locale of a name.
- findings.csv.gz: findings with their assertion: present, negated, historical, family.
- notes.csv.gz: true condition, recorded code, and what was planted: label noise, a poorer note, a stated answer, an exact copy, a person
  registered twice (near-duplicate), text copied forward from the stay `copied_from` (with its characters in this note).
"""


class Tables:
    """Writes rows by table name."""

    def __init__(self, writers: dict):
        self._writers = writers

    def write(self, table: str, *values) -> None:
        self._writers[table].writerow(values)


@contextmanager
def open_tables(folder: Path):
    """Yield Tables that write .csv.gz below `folder`; in the end they are marked as invented.

    No time or name goes into the gzip headers: same rows, same bytes.
    """
    with ExitStack() as stack:
        writers = {}
        for name, columns in COLUMNS.items():
            path = folder / f"{name}.csv.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            raw = stack.enter_context(open(path, "wb"))
            packed = stack.enter_context(gzip.GzipFile("", "wb", compresslevel=6, fileobj=raw, mtime=0))
            text = stack.enter_context(io.TextIOWrapper(packed, "utf-8", newline=""))
            writers[name] = csv.writer(text, lineterminator="\n")
            writers[name].writerow(columns.split())
        tables = Tables(writers)
        for code, title in sorted([(c.code, c.title) for c in CONDITIONS] + list(SECONDARY)):
            tables.write("hosp/d_icd_diagnoses", code, 10, title)
        yield tables
    (folder / "truth" / "README.md").write_text(f"{marker(folder / 'note' / 'discharge.csv.gz')}\n\n{README}", "utf-8")


def write_patient(tables: Tables, patient: Patient, poorer: bool) -> None:
    """A patient's rows in every table. An age over 89 is 91 in the table, as MIMIC-IV has it."""
    group = 2008 + (patient.year - 2008) // 3 * 3
    age = 91 if patient.age > 89 else patient.age
    sex = "F" if patient.person.woman else "M"
    tables.write("hosp/patients", patient.patient_id, sex, age, patient.year, f"{group} - {group + 2}", "")
    for number, stay in enumerate(patient.stays, 1):
        _write_stay(tables, patient, stay, number, poorer)


def _write_stay(tables: Tables, patient: Patient, stay: Stay, number: int, poorer: bool) -> None:
    subject, hadm, at = patient.patient_id, stay.admission_id, stay.admission
    admitted = datetime.combine(at.admitted, time(hadm % 24, hadm % 60))
    discharged = datetime.combine(at.discharged, time(11 + hadm % 7, hadm % 50))
    tables.write(
        "hosp/admissions", subject, hadm, admitted, discharged, "", "EW EMER.", f"P{hadm % 10_000:04}", "EMERGENCY ROOM", "HOME",
        patient.insurance, patient.person.language, "", patient.person.race, admitted, admitted + timedelta(hours=5), 0,
    )  # fmt: skip
    tables.write("hosp/diagnoses_icd", subject, hadm, 1, CODES[stay.recorded], 10)
    for place, (code, _) in enumerate(SECONDARY[: hadm % (len(SECONDARY) + 1)], 2):
        tables.write("hosp/diagnoses_icd", subject, hadm, place, code, 10)
    written = discharged + timedelta(hours=20)
    original = f"{subject}-DS-{2 * number}"
    for note_id in [original, f"{subject}-DS-{2 * number + 1}"][: 1 + stay.note_twice]:
        sequence, note = note_id.rsplit("-", 1)[1], stay.note
        tables.write("note/discharge", note_id, subject, hadm, "DS", sequence, discharged, written, note.text)
        for mark in note.identifiers:
            tables.write("truth/phi_spans", note_id, *mark)
        for mark in note.findings:
            tables.write("truth/findings", note_id, *mark)
        copied = stay.note.copied or ("", "")
        tables.write(
            "truth/notes", note_id, subject, hadm, CODES[at.condition], CODES[stay.recorded], int(at.condition != stay.recorded),
            int(poorer), int(note.answered), original if note_id != original else "", patient.same_person_as or "",
            stay.copied_from or "", *copied,
        )  # fmt: skip
