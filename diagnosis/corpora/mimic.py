"""MIMIC-III and MIMIC-IV: discharge notes with the ICD diagnoses of their admission, streamed from the official CSV files.

The small tables are held by admission; the notes pass one at a time. Only the columns that are named here are read. What
states the answer is not among them: ADMISSIONS.diagnosis, code titles, DRG and billing tables.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from sys import intern
from typing import NamedTuple

from diagnosis.corpora import demographics, icd
from diagnosis.corpora.corpus import Corpus, Tally
from diagnosis.corpora.invented import is_marked
from diagnosis.corpora.sources import Unique, csv_records, find, find_required
from diagnosis.errors import UserError

TERMS = {
    "licence": "PhysioNet Credentialed Health Data License 1.5.0",
    "public": False,
    "legal_basis": "de-identified by HIPAA Safe Harbor, 45 CFR 164.514(b)(2); consent waived by the review board",
    "region": "US",
}
INVENTED = {"corpus": "synthetic", "licence": "CC0-1.0 (invented)", "public": True}


class Patient(NamedTuple):
    sex: str
    born: date | None  # MIMIC-IV: 1 January of the year that makes anchor_age true
    period: str | None


class Admission(NamedTuple):
    patient_id: str
    patient: Patient
    age_band: str | None
    race: str
    language: str
    insurance: str


class Hospital(NamedTuple):
    """What the tables beside the notes say, by encounter."""

    source: str
    admissions: dict[str, Admission]
    labels: dict[str, list[str]]
    services: dict[str, str]
    flaws: Counter  # rows of diagnoses_icd left out, by reason


def open_mimic4(path: Path, level: icd.Level, diagnoses: str) -> Corpus:
    """MIMIC-IV: hosp/{patients,admissions,diagnoses_icd} and note/discharge below `path`, or all in `path` itself.

    Where truth/phi_spans.csv.gz is there too, its spans are the gold. The notes are public only where truth/README.md has
    the marker that `synthesize` gave this very file of notes.
    """
    notes = find_required(path, "discharge", ("note",))
    tables = {name: find_required(path, name, ("hosp",)) for name in ("patients", "admissions", "diagnoses_icd")}
    data_use, gold = _origin(path, notes, "mimic4")
    admissions = _admissions(tables["admissions"], "race", _patients4(tables["patients"]))
    labels, flaws = _labels(tables["diagnoses_icd"], "icd_code", "icd_version", level, diagnoses, admissions)
    services = _services(find(path, "services", ("hosp",)))
    hospital = Hospital(data_use["corpus"], admissions, labels, services, flaws)
    return Corpus(
        rows=lambda tally: _notes4(notes, hospital, tally),
        data_use=data_use,
        multi_label=diagnoses == "all",
        gold=gold,
    )


def open_mimic3(path: Path, level: icd.Level, diagnoses: str) -> Corpus:
    """MIMIC-III: PATIENTS, ADMISSIONS, DIAGNOSES_ICD and NOTEEVENTS in `path`; gold and public as for MIMIC-IV."""
    notes = find_required(path, "noteevents")
    tables = {name: find_required(path, name) for name in ("patients", "admissions", "diagnoses_icd")}
    admissions = _admissions(tables["admissions"], "ethnicity", _patients3(tables["patients"]))
    labels, flaws = _labels(tables["diagnoses_icd"], "icd9_code", None, level, diagnoses, admissions)
    data_use, gold = _origin(path, notes, "mimic3")
    hospital = Hospital(data_use["corpus"], admissions, labels, _services(find(path, "services")), flaws)
    return Corpus(
        rows=lambda tally: _notes3(notes, hospital, tally),
        data_use=data_use,
        multi_label=diagnoses == "all",
        gold=gold,
    )


def _origin(path: Path, notes: Path, corpus: str) -> tuple[dict, Path | None]:
    """The data-use terms, which are those of invented notes where truth/README.md says so, and the gold spans if any."""
    gold = path / "truth" / "phi_spans.csv.gz"
    invented = is_marked(path / "truth" / "README.md", notes)
    terms = INVENTED if invented else {"corpus": corpus} | TERMS
    return terms, gold if gold.exists() else None


# ---------------------------------------------------------------- the tables beside the notes


def _patients4(path: Path) -> dict[str, Patient]:
    patients, ids = {}, Unique(path, "subject_id")
    columns = ["subject_id", "gender", "anchor_age", "anchor_year", "anchor_year_group"]
    for record, row in csv_records(path, columns):
        age, year = _number(path, record, row, "anchor_age"), _number(path, record, row, "anchor_year")
        born = None if age is None or not 0 < (year or 0) - age < 9999 else date(year - age, 1, 1)
        patients[ids.check(_id(row["subject_id"]), record)] = Patient(
            intern(row["gender"].strip()), born, intern(row["anchor_year_group"].strip()) or None
        )
    return patients


def _patients3(path: Path) -> dict[str, Patient]:
    patients, ids = {}, Unique(path, "subject_id")
    for record, row in csv_records(path, ["subject_id", "gender", "dob"]):
        patient_id, born = ids.check(_id(row["subject_id"]), record), _date(path, record, row, "dob")
        patients[patient_id] = Patient(intern(row["gender"].strip()), born, None)
    return patients


def _admissions(path: Path, race_column: str, patients: dict[str, Patient]) -> dict[str, Admission]:
    admissions, ids = {}, Unique(path, "hadm_id")
    columns = ["subject_id", "hadm_id", "admittime", race_column, "language", "insurance"]
    for record, row in csv_records(path, columns):
        patient_id, admitted = _id(row["subject_id"]), _date(path, record, row, "admittime")
        patient = patients.get(patient_id)
        if patient is None:
            raise UserError(
                f"{path}, record {record}: its subject_id is not among the patients: take files of one release"
            )
        admissions[ids.check(_id(row["hadm_id"]), record)] = Admission(
            patient_id,
            patient,
            demographics.age_band(_age(patient.born, admitted)),
            *(intern(row[column].strip()) for column in (race_column, "language", "insurance")),
        )
    return admissions


def _age(born: date | None, admitted: date | None) -> int | None:
    """Completed years. MIMIC-III moves the birth of patients over 89 to give an age near 300."""
    if born is None or admitted is None:
        return None
    return admitted.year - born.year - ((admitted.month, admitted.day) < (born.month, born.day))


def _labels(
    path: Path,
    code_column: str,
    version_column: str | None,
    level: icd.Level,
    diagnoses: str,
    admissions: dict[str, Admission],
) -> tuple[dict[str, list[str]], Counter]:
    """Class labels by encounter, sorted and unique, and how many rows of the table were left out, by reason.

    A second primary diagnosis is left out, but no reason to stop: MIMIC-IV's own primary key allows for it.
    """
    labels: dict[str, list[str]] = {}
    names: dict[str, str | None] = {}  # by version and code; one string each, whatever the rows
    primary: dict[str, str] = {}
    zeros, flaws = icd.LostZeros(), Counter()
    columns = ["subject_id", "hadm_id", "seq_num", code_column] + ([version_column] if version_column else [])
    for record, row in csv_records(path, columns):
        code = row[code_column].strip().upper()
        version = row[version_column].strip().removesuffix(".0") if version_column else "9"
        if not code:
            continue
        if version not in icd.FORM:
            raise UserError(f"{path}, record {record}: {version_column} is neither 9 nor 10: take the original file")
        if "." in code:
            raise UserError(f"{path}, record {record}: a code with a dot, MIMIC's have none: take the original file")
        zeros.see(code, version)
        whole = intern(f"{version} {code}")
        if whole not in names:
            name = icd.label(code, version, level)
            names[whole] = name and intern(name)
        name, encounter = names[whole], _id(row["hadm_id"])
        admission = admissions.get(encounter)
        if name is None:
            flaws["malformed_codes"] += 1
        elif admission and admission.patient_id != _id(row["subject_id"]):
            flaws["diagnosis_of_another_patient"] += 1
        elif admission and (diagnoses == "all" or row["seq_num"].strip().removesuffix(".0") == "1"):
            if diagnoses == "primary" and primary.setdefault(encounter, whole) != whole:
                flaws["second_primary_diagnosis"] += 1
            elif name not in labels.setdefault(encounter, []):
                labels[encounter].append(name)
    if zeros.found():
        raise UserError(
            f"{path}: its ICD-9 codes lost their leading zeros (0389 became 389), as a spreadsheet or a numeric column does: "
            "take the original file and read codes as text"
        )
    for of_encounter in labels.values():
        of_encounter.sort()
    return labels, flaws


def _services(path: Path | None) -> dict[str, str]:
    """The service that admitted the patient, by encounter: a later one would tell what was found."""
    first: dict[str, tuple[str, str]] = {}
    for _, row in csv_records(path, ["hadm_id", "transfertime", "curr_service"]) if path else ():
        encounter, entry = _id(row["hadm_id"]), (row["transfertime"], intern(row["curr_service"].strip()))
        first[encounter] = min(first.get(encounter, entry), entry)
    return {encounter: service for encounter, (_, service) in first.items()}


# ---------------------------------------------------------------- the notes


def _notes4(path: Path, hospital: Hospital, tally: Tally) -> Iterator[dict]:
    ids = Unique(path, "note_id")
    tally.skipped.update(hospital.flaws)
    for record, row in csv_records(path, ["note_id", "subject_id", "hadm_id", "text"], ["note_type"]):
        note_id = ids.check(row["note_id"].strip(), record)
        if joined := _joined(row, hospital, tally):
            yield {"note_id": note_id, "note_type": row["note_type"].strip() or None} | joined


def _notes3(path: Path, hospital: Hospital, tally: Tally) -> Iterator[dict]:
    ids = Unique(path, "row_id")
    tally.skipped.update(hospital.flaws)
    columns = ["row_id", "subject_id", "hadm_id", "category", "text"]
    for record, row in csv_records(path, columns, ["description", "iserror"]):
        if row["category"].strip().lower() != "discharge summary":
            tally.skipped["other_category"] += 1
        elif row["iserror"].strip().removesuffix(".0") == "1":
            tally.skipped["marked_as_error"] += 1
        else:
            note_id = ids.check(_id(row["row_id"]), record)
            note_type = " - ".join(filter(None, (row["category"].strip(), row["description"].strip())))
            if joined := _joined(row, hospital, tally):
                yield {"note_id": note_id, "note_type": note_type} | joined


def _joined(row: dict[str, str], hospital: Hospital, tally: Tally) -> dict | None:
    """A note's text with its admission and labels; None, counted by reason, where one of them is not there."""
    encounter = _id(row["hadm_id"])
    admission, labels = hospital.admissions.get(encounter), hospital.labels.get(encounter)
    reason = (
        "no_text" if not row["text"].strip()
        else "no_admission" if not encounter
        else "unknown_admission" if admission is None
        else "admission_of_another_patient" if admission.patient_id != _id(row["subject_id"])
        else "no_diagnosis" if not labels
        else None
    )  # fmt: skip
    if reason:
        tally.skipped[reason] += 1
        return None
    return {
        "patient_id": admission.patient_id,
        "encounter_id": encounter,
        "source": hospital.source,
        "service": hospital.services.get(encounter) or None,
        "period": admission.patient.period,
        "text": row["text"],
        "labels": labels,
        "sex": demographics.sex(admission.patient.sex, tally.groups),
        "age_band": admission.age_band,
        "race": demographics.race(admission.race, tally.groups),
        "language": demographics.stated(admission.language),
        "insurance": demographics.stated(admission.insurance),
    }


def _id(value: str) -> str:
    """An id without the ".0" that a column of numbers with gaps gets when somebody cuts a file to size with pandas."""
    return value.strip().removesuffix(".0")


def _number(path: Path, record: int, row: dict[str, str], column: str) -> int | None:
    value = row[column].strip().removesuffix(".0")
    if not value:
        return None
    if not value.isdecimal():
        raise UserError(f"{path}, record {record}: {column} is not a whole number: take the original file")
    return int(value)


def _date(path: Path, record: int, row: dict[str, str], column: str) -> date | None:
    value = row[column].strip()
    try:
        return date.fromisoformat(value[:10]) if value else None
    except ValueError:
        raise UserError(
            f"{path}, record {record}: {column} is no date like 2150-01-31: take the original file"
        ) from None
