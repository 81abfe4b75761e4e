"""The invented hospital as MIMIC-III's files (upper-case headers, ICD-9 codes), official columns in their order."""

from datetime import datetime, time, timedelta

from diagnosis.synthetic.cohort import Patient, Stay
from diagnosis.synthetic.disease_model import CONDITIONS
from diagnosis.synthetic.tables import SECONDARY, Tables, write_marks, write_truth

COLUMNS = {
    "PATIENTS": "ROW_ID SUBJECT_ID GENDER DOB DOD DOD_HOSP DOD_SSN EXPIRE_FLAG",
    "ADMISSIONS": "ROW_ID SUBJECT_ID HADM_ID ADMITTIME DISCHTIME DEATHTIME ADMISSION_TYPE ADMISSION_LOCATION DISCHARGE_LOCATION "
    "INSURANCE LANGUAGE RELIGION MARITAL_STATUS ETHNICITY EDREGTIME EDOUTTIME DIAGNOSIS HOSPITAL_EXPIRE_FLAG "
    "HAS_CHARTEVENTS_DATA",
    "DIAGNOSES_ICD": "ROW_ID SUBJECT_ID HADM_ID SEQ_NUM ICD9_CODE",
    "D_ICD_DIAGNOSES": "ROW_ID ICD9_CODE SHORT_TITLE LONG_TITLE",
    "NOTEEVENTS": "ROW_ID SUBJECT_ID HADM_ID CHARTDATE CHARTTIME STORETIME CATEGORY DESCRIPTION CGID ISERROR TEXT",
}
NOTES = ("NOTEEVENTS",)
LANGUAGES = {"English": "ENGL", "Spanish": "SPAN", "Chinese": "CANT", "Vietnamese": "VIET", "Portuguese": "PTUN"}


def write_titles(tables: Tables) -> None:
    titles = sorted([(c.code_9, c.title_9) for c in CONDITIONS] + [(nine, title) for _, nine, _, title in SECONDARY])
    for row, (code, title) in enumerate(titles, 1):
        tables.write("D_ICD_DIAGNOSES", row, code, title[:24], title)


def write_patient(tables: Tables, patient: Patient, poorer: bool) -> None:
    """A patient's rows in every table. Who is over 89 was born 300 years before the first stay, as MIMIC-III has it.

    Row ids are the subject's or the stay's id, and so unique without a counter: a stay's notes get ten a stay.
    """
    born = datetime.combine(patient.person.born, time())
    if patient.age > 89:
        first = patient.stays[0].admission.admitted
        born = datetime.combine(first, time()) - timedelta(days=300 * 365)
    sex = "F" if patient.person.woman else "M"
    tables.write("PATIENTS", patient.patient_id, patient.patient_id, sex, born, "", "", "", 0)
    for stay in patient.stays:
        _write_stay(tables, patient, stay, poorer)


def _write_stay(tables: Tables, patient: Patient, stay: Stay, poorer: bool) -> None:
    subject, hadm, at = patient.patient_id, stay.admission_id, stay.admission
    admitted = datetime.combine(at.admitted, time(hadm % 24, hadm % 60))
    discharged = datetime.combine(at.discharged, time(11 + hadm % 7, hadm % 50))
    tables.write(
        "ADMISSIONS", hadm, subject, hadm, admitted, discharged, "", "EMERGENCY", "EMERGENCY ROOM ADMIT", "HOME",
        patient.insurance, LANGUAGES[patient.person.language], "", "", patient.person.race, admitted,
        admitted + timedelta(hours=5), CONDITIONS[at.condition].title_9.upper(), 0, 1,
    )  # fmt: skip
    own = [stay.recorded] + ([] if at.second is None else [at.second])
    codes = [CONDITIONS[code].code_9 for code in own]
    codes += [nine for _, nine, *_ in SECONDARY[: hadm % (len(SECONDARY) + 1)]]
    for place, code in enumerate(codes, 1):
        tables.write("DIAGNOSES_ICD", 10 * hadm + place, subject, hadm, place, code)
    row = original = 10 * hadm
    for row in (original, original + 1)[: 1 + stay.note_twice]:
        tables.write(
            "NOTEEVENTS",
            row,
            subject,
            hadm,
            at.discharged,
            "",
            "",
            "Discharge summary",
            "Report",
            "",
            "",
            stay.note.text,
        )
        write_marks(tables, row, stay.note)
        write_truth(tables, row, original, patient, stay, poorer)
    if stay.report:
        examined, row = admitted + timedelta(days=1), original + 2
        description = stay.report.text.partition("\n")[0].removeprefix("EXAMINATION:").strip()
        tables.write(
            "NOTEEVENTS",
            row,
            subject,
            hadm,
            examined.date(),
            examined,
            "",
            "Radiology",
            description,
            "",
            "",
            stay.report.text,
        )
        write_marks(tables, row, stay.report)
