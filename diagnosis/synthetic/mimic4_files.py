"""The invented hospital as MIMIC-IV's files, official columns in their order."""

from datetime import datetime, time, timedelta

from diagnosis.synthetic.cohort import Patient, Stay
from diagnosis.synthetic.disease_model import CODES, CONDITIONS
from diagnosis.synthetic.tables import SECONDARY, Tables, write_marks, write_truth

COLUMNS = {
    "hosp/patients": "subject_id gender anchor_age anchor_year anchor_year_group dod",
    "hosp/admissions": "subject_id hadm_id admittime dischtime deathtime admission_type admit_provider_id admission_location "
    "discharge_location insurance language marital_status race edregtime edouttime hospital_expire_flag",
    "hosp/diagnoses_icd": "subject_id hadm_id seq_num icd_code icd_version",
    "hosp/d_icd_diagnoses": "icd_code icd_version long_title",
    "note/discharge": "note_id subject_id hadm_id note_type note_seq charttime storetime text",
}
RADIOLOGY = {"note/radiology": COLUMNS["note/discharge"]}  # where there are reports
NOTES = ("note/discharge", "note/radiology")


def write_titles(tables: Tables) -> None:
    for code, title in sorted(
        [(c.code, c.title) for c in CONDITIONS] + [(ten, title) for ten, _, title, _ in SECONDARY]
    ):
        tables.write("hosp/d_icd_diagnoses", code, 10, title)


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
    own = [stay.recorded] + ([] if at.second is None else [at.second])
    codes = [CODES[code] for code in own] + [code for code, *_ in SECONDARY[: hadm % (len(SECONDARY) + 1)]]
    for place, code in enumerate(codes, 1):
        tables.write("hosp/diagnoses_icd", subject, hadm, place, code, 10)
    written = discharged + timedelta(hours=20)
    original = f"{subject}-DS-{2 * number}"
    for note_id in [original, f"{subject}-DS-{2 * number + 1}"][: 1 + stay.note_twice]:
        sequence = note_id.rsplit("-", 1)[1]
        tables.write("note/discharge", note_id, subject, hadm, "DS", sequence, discharged, written, stay.note.text)
        write_marks(tables, note_id, stay.note)
        write_truth(tables, note_id, original, patient, stay, poorer)
    if stay.report:
        report_id, examined = f"{subject}-RR-{number}", admitted + timedelta(days=1)
        tables.write(
            "note/radiology",
            report_id,
            subject,
            hadm,
            "RR",
            number,
            examined,
            examined + timedelta(hours=2),
            stay.report.text,
        )
        write_marks(tables, report_id, stay.report)
