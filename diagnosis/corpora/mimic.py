"""MIMIC-III and MIMIC-IV: notes with the ICD diagnoses of their admission, streamed from the official CSV files.

The small tables are held by admission; the notes pass one at a time. Only the columns that are named here are read. What
states the answer is not among them: ADMISSIONS.diagnosis, DRG and billing tables. Code titles serve to measure, never as text.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import date
from functools import cache
from pathlib import Path
from sys import intern
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, StrictBool

from diagnosis.corpora import demographics, icd
from diagnosis.corpora.corpus import ANNOTATIONS, Corpus, Tally
from diagnosis.corpora.coverage import Coverage
from diagnosis.corpora.invented import is_marked
from diagnosis.corpora.several import PerAdmission, one_an_admission
from diagnosis.corpora.sources import Unique, Where, csv_blocks, csv_records, find, find_required, unquoted
from diagnosis.corpora.vocabularies import Class, Family, vocabulary
from diagnosis.errors import UserError
from diagnosis.params import Params

TERMS = {
    "licence": "PhysioNet Credentialed Health Data License 1.5.0",
    "public": False,
    "legal_basis": "de-identified by HIPAA Safe Harbor, 45 CFR 164.514(b)(2); consent waived by the review board",
    "region": "US",
}
INVENTED = {"corpus": "synthetic", "licence": "CC0-1.0 (invented)", "public": True}


KINDS3 = (
    "discharge radiology nursing nursing/other physician ecg echo respiratory nutrition general consult pharmacy"
).split() + ["rehab services", "social work", "case management"]
KINDS4 = ["discharge", "radiology"]
ADDENDA4 = ("AD", "AR")  # note_type of an addendum to a discharge summary, to a radiology report


class MimicParams(Params):
    notes: Annotated[list[Literal[*KINDS3]], Field(min_length=1)]
    per_admission: PerAdmission
    addenda: StrictBool
    drop_codes: list[Family]


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


class Diagnoses(NamedTuple):
    """What diagnoses_icd says: classes and codes ("9 41401") by encounter, and the class of each code."""

    labels: dict[str, list[str]]
    codes: dict[str, list[str]]
    classes: dict[str, str]
    marks: Counter  # what became of rows (`diagnoses`) and of distinct codes (`codes`) on the way to a class
    flaws: Counter  # rows left out, by reason


class Hospital(NamedTuple):
    """What the tables beside the notes say, by encounter."""

    source: str
    admissions: dict[str, Admission]
    diagnoses: Diagnoses
    services: dict[str, str]


def open_mimic4(path: Path, level: str, diagnoses: str, params: MimicParams) -> Corpus:
    """MIMIC-IV: hosp/{patients,admissions,diagnoses_icd} and note/{discharge,radiology} below `path`, or all in `path` itself.

    Where truth/phi_spans.csv.gz is there too, its spans are the gold; annotations.csv, or the invented notes' truth/findings.csv.gz,
    are the annotations. The notes are public only where truth/README.md has
    the marker that `synthesize` gave this very file of notes.
    """
    if other := [kind for kind in params.notes if kind not in KINDS4]:
        raise UserError(f"params.yaml: ingest.mimic.notes has {other[0]}: MIMIC-IV's notes are {' and '.join(KINDS4)}")
    notes = [find_required(path, kind, ("note",)) for kind in dict.fromkeys(params.notes)]
    tables = {name: find_required(path, name, ("hosp",)) for name in ("patients", "admissions", "diagnoses_icd")}
    data_use, spans = _origin(path, notes, "mimic4", params)
    admissions = _admissions(tables["admissions"], "race", _patients4(tables["patients"]))
    class_of = vocabulary(level, params.drop_codes, path)
    coded = _diagnoses(tables["diagnoses_icd"], "icd_code", "icd_version", class_of, diagnoses, admissions)
    titles = _titles(find(path, "d_icd_diagnoses", ("hosp",)), "icd_code", "icd_version")
    hospital = Hospital(data_use["corpus"], admissions, coded, _services(find(path, "services", ("hosp",))))
    return Corpus(
        rows=lambda tally: _rows(_notes4(notes, hospital, params, tally), params, tally),
        data_use=data_use,
        multi_label=diagnoses == "all",
        titles=_titles_of_classes(titles, class_of),
        **spans,
        coverage=Coverage(coded.labels, coded.codes, coded.classes, titles),
    )


def open_mimic3(path: Path, level: str, diagnoses: str, params: MimicParams) -> Corpus:
    """MIMIC-III: PATIENTS, ADMISSIONS, DIAGNOSES_ICD and NOTEEVENTS in `path`; gold and public as for MIMIC-IV."""
    notes = find_required(path, "noteevents")
    tables = {name: find_required(path, name) for name in ("patients", "admissions", "diagnoses_icd")}
    admissions = _admissions(tables["admissions"], "ethnicity", _patients3(tables["patients"]))
    class_of = vocabulary(level, params.drop_codes, path)
    coded = _diagnoses(tables["diagnoses_icd"], "icd9_code", None, class_of, diagnoses, admissions)
    titles = _titles(find(path, "d_icd_diagnoses"), "icd9_code", None)
    data_use, spans = _origin(path, [notes], "mimic3", params)
    hospital = Hospital(data_use["corpus"], admissions, coded, _services(find(path, "services")))
    return Corpus(
        rows=lambda tally: _rows(_notes3(notes, hospital, params, tally), params, tally),
        data_use=data_use,
        multi_label=diagnoses == "all",
        titles=_titles_of_classes(titles, class_of),
        **spans,
        coverage=Coverage(coded.labels, coded.codes, coded.classes, titles),
    )


def _origin(path: Path, notes: list[Path], corpus: str, params: MimicParams) -> tuple[dict, dict]:
    """The data-use terms, which are those of invented notes where truth/README.md says so, and the corpus' `gold` and
    `annotations`; none where notes are joined, for their characters are then others.
    """
    invented = all(is_marked(path / "truth" / "README.md", file) for file in notes)
    terms = INVENTED if invented else {"corpus": corpus} | TERMS
    gold, findings, own = path / "truth" / "phi_spans.csv.gz", path / "truth" / "findings.csv.gz", path / ANNOTATIONS
    if params.per_admission == "concatenate":
        return terms, {}
    annotations = (own, "kind") if own.exists() else (findings, "assertion") if findings.exists() else None
    return terms, {"gold": gold if gold.exists() else None, "annotations": annotations}


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


def _diagnoses(
    path: Path,
    code_column: str,
    version_column: str | None,
    class_of: Callable[[str, str], Class | None],
    diagnoses: str,
    admissions: dict[str, Admission],
) -> Diagnoses:
    """Classes by encounter, sorted and unique, empty where no code has one.

    A second primary diagnosis is left out, but no reason to stop: MIMIC-IV's own primary key allows for it.
    """
    labels: dict[str, list[str]] = {}
    codes: dict[str, list[str]] = {}
    classes: dict[str, Class | None] = {}  # by version and code
    written: dict[tuple, str] = {}  # the same, by the cells: one string each, whatever the rows
    rows, used, flaws = Counter(), Counter(), Counter()
    primary: dict[str, str] = {}
    columns = ["subject_id", "hadm_id", "seq_num", code_column] + ([version_column] if version_column else [])
    for before, place, found in csv_blocks(path, columns):
        subject_at, hadm_at, seq_at, code_at = (place[column] for column in columns[:4])
        version_at = place[version_column] if version_column else -1
        for record, cells in enumerate(found, before + 1):
            as_written = cells[code_at], cells[version_at]
            whole = written.get(as_written)
            if whole is None:
                whole = written[as_written] = (
                    _code(path, record, *as_written) if version_column else _code(path, record, cells[code_at], "9")
                )
                if whole:
                    classes[whole] = class_of(*reversed(whole.split()))
            if not whole:
                continue
            rows[whole] += 1
            its_class, encounter = classes[whole], _id(cells[hadm_at])
            admission = admissions.get(encounter)
            if its_class is None:
                flaws["malformed_codes"] += 1
            elif admission and admission.patient_id != _id(cells[subject_at]):
                flaws["diagnosis_of_another_patient"] += 1
            elif admission and (diagnoses == "all" or _id(cells[seq_at]) == "1"):
                if diagnoses == "primary" and primary.setdefault(encounter, whole) != whole:
                    flaws["second_primary_diagnosis"] += 1
                    continue
                used[whole] += 1
                of_encounter = labels.setdefault(encounter, [])
                if its_class.name and whole not in codes.setdefault(encounter, []):
                    codes[encounter].append(whole)
                    if its_class.name not in of_encounter:
                        of_encounter.append(its_class.name)
    zeros = icd.LostZeros()
    for whole, times in rows.items():
        version, code = whole.split()
        zeros.see(code, version, times)
    if zeros.found():
        raise UserError(
            f"{path}: its ICD-9 codes lost their leading zeros (0389 became 389), as a spreadsheet or a numeric column does: "
            "take the original file and read codes as text"
        )
    for of_encounter in labels.values():
        of_encounter.sort()
    marks = Counter(diagnoses=used.total(), codes=len(used))
    for whole, count in used.items():
        for mark in classes[whole].marks:
            marks[f"diagnoses_{mark}"] += count
            marks[f"codes_{mark}"] += 1
    named = {whole: classes[whole].name for whole in used if classes[whole].name}
    return Diagnoses(labels, codes, named, marks, flaws)


def _code(path: Path, record: int, code: str, version: str) -> str:
    """ "9 41401" of the cells of a code and its version; empty where there is no code."""
    code, version = unquoted(code).strip().upper(), _id(version)
    if "\0" in code:
        raise UserError(f"{path}, record {record}: a NUL byte: the file is damaged or in UTF-16")
    if code and version not in icd.FORM:
        raise UserError(f"{path}, record {record}: icd_version is neither 9 nor 10: take the original file")
    if "." in code:
        raise UserError(f"{path}, record {record}: a code with a dot, MIMIC's have none: take the original file")
    return intern(f"{version} {code}") if code else ""


def _titles(path: Path | None, code_column: str, version_column: str | None) -> dict[str, str]:
    """The official long title of each code that d_icd_diagnoses has."""
    columns = [code_column, "long_title"] + ([version_column] if version_column else [])
    titles = {}
    for record, row in csv_records(path, columns) if path else ():
        whole = _code(path, record, row[code_column], row[version_column] if version_column else "9")
        titles[whole] = row["long_title"]
    return titles


def _titles_of_classes(titles: dict[str, str], class_of: Callable[[str, str], Class | None]) -> dict[str, list[str]]:
    """The titles of the codes of each class, sorted."""
    found = defaultdict(set)
    for whole, title in titles.items():
        version, code = whole.split(" ", 1)
        its_class = class_of(code, version)
        if its_class and its_class.name and title.strip():
            found[its_class.name].add(title.strip())
    return {name: sorted(own) for name, own in found.items()}


def _services(path: Path | None) -> dict[str, str]:
    """The service that admitted the patient, by encounter: a later one would tell what was found."""
    first: dict[str, tuple[str, str]] = {}
    for _, row in csv_records(path, ["hadm_id", "transfertime", "curr_service"]) if path else ():
        encounter, entry = _id(row["hadm_id"]), (row["transfertime"], intern(row["curr_service"].strip()))
        first[encounter] = min(first.get(encounter, entry), entry)
    return {encounter: service for encounter, (_, service) in first.items()}


# ---------------------------------------------------------------- the notes


def _rows(notes: Iterator[tuple[str, bool, dict]], params: MimicParams, tally: Tally) -> Iterator[dict]:
    """The notes' rows, or one an admission. A note comes with its time as text to sort by and whether it is an addendum."""
    if not params.addenda:
        notes = _without_addenda(notes, tally)
    if params.per_admission == "keep":
        return (row for _, _, row in notes)
    return one_an_admission(notes, params.per_admission, tally.skipped)


def _without_addenda(notes: Iterator[tuple[str, bool, dict]], tally: Tally) -> Iterator[tuple[str, bool, dict]]:
    for time, addendum, row in notes:
        if addendum:
            tally.skipped["addendum"] += 1
        else:
            yield time, addendum, row


def _notes4(
    files: list[Path], hospital: Hospital, params: MimicParams, tally: Tally
) -> Iterator[tuple[str, bool, dict]]:
    _count_codes(hospital, tally)
    seen: set[str] = set()
    for path in files:
        ids = Unique(path, "note_id", seen)
        optional = ["note_type", "charttime", "note_seq"]
        for record, row in csv_records(path, ["note_id", "subject_id", "hadm_id", "text"], optional):
            note_id, note_type = ids.check(row["note_id"].strip(), record), row["note_type"].strip()
            if joined := _joined(row, hospital, tally):
                time = f"{row['charttime'].strip()} {row['note_seq'].strip():0>6}"
                yield time, note_type in ADDENDA4, {"note_id": note_id, "note_type": note_type or None} | joined


def _notes3(path: Path, hospital: Hospital, params: MimicParams, tally: Tally) -> Iterator[tuple[str, bool, dict]]:
    _count_codes(hospital, tally)
    ids = Unique(path, "row_id")
    columns = ["row_id", "subject_id", "hadm_id", "category", "text"]
    optional = ["description", "iserror", "chartdate", "charttime"]

    @cache
    def wanted(category: str) -> bool:
        return unquoted(category).strip().lower().removesuffix(" summary") in params.notes

    where = Where("category", wanted, tally.skipped, "other_category")
    for record, row in csv_records(path, columns, optional, where=where):
        if row["iserror"].strip().removesuffix(".0") == "1":
            tally.skipped["marked_as_error"] += 1
        else:
            note_id, description = ids.check(_id(row["row_id"]), record), row["description"].strip()
            note_type = " - ".join(filter(None, (row["category"].strip(), description)))
            if joined := _joined(row, hospital, tally):
                time = f"{row['chartdate'].strip()[:10]} {row['charttime'].strip()}"
                addendum = description.lower().startswith("addendum")
                yield time, addendum, {"note_id": note_id, "note_type": note_type} | joined


def _count_codes(hospital: Hospital, tally: Tally) -> None:
    tally.skipped.update(hospital.diagnoses.flaws)
    tally.codes.update(hospital.diagnoses.marks)


def _joined(row: dict[str, str], hospital: Hospital, tally: Tally) -> dict | None:
    """A note's text with its admission and labels; None, counted by reason, where one of them is not there."""
    encounter = _id(row["hadm_id"])
    admission, labels = hospital.admissions.get(encounter), hospital.diagnoses.labels.get(encounter)
    reason = (
        "no_text" if not row["text"] or row["text"].isspace()
        else "no_admission" if not encounter
        else "unknown_admission" if admission is None
        else "admission_of_another_patient" if admission.patient_id != _id(row["subject_id"])
        else "no_diagnosis" if labels is None
        else "no_class" if not labels
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
        "sex": _group(demographics.sex, admission.patient.sex, tally),
        "age_band": admission.age_band,
        "race": _group(demographics.race, admission.race, tally),
        "language": _stated(admission.language),
        "insurance": _stated(admission.insurance),
    }


_stated = cache(demographics.stated)


@cache
def _placed(group: Callable, value: str) -> tuple[str | None, Counter]:
    return group(value, counts := Counter()), counts


def _group(group: Callable, value: str, tally: Tally) -> str | None:
    """As `group` says, from memory: few strings stand for millions of notes."""
    its_group, counts = _placed(group, value)
    if counts:
        tally.groups.update(counts)
    return its_group


def _id(value: str) -> str:
    """An id without the ".0" that a column of numbers with gaps gets when somebody cuts a file to size with pandas."""
    return value if value.isdecimal() else unquoted(value).strip().removesuffix(".0")


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
