"""FHIR R4: the notes of DocumentReference and DiagnosticReport, with the Conditions of their encounter or patient as labels.

The small resources are held by id; notes pass one at a time. What states the answer never becomes text: Conditions, a
resource's narrative (`text`), DocumentReference.description, DiagnosticReport.conclusion and conclusionCode.
"""

import base64
import re
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from sys import intern
from typing import NamedTuple

from diagnosis.corpora import demographics, icd
from diagnosis.corpora.corpus import Corpus, Tally
from diagnosis.corpora.sources import Unique, as_text, json_lines_records, json_object
from diagnosis.corpora.xml_records import RAISED
from diagnosis.errors import UserError
from diagnosis.files import require

NOTES = ("DocumentReference", "DiagnosticReport")
ICD = {
    "http://hl7.org/fhir/sid/icd-10-cm": "10",
    "urn:oid:2.16.840.1.113883.6.90": "10",
    "http://hl7.org/fhir/sid/icd-10": "10",
    "http://hl7.org/fhir/sid/icd-9-cm": "9",
    "urn:oid:2.16.840.1.113883.6.103": "9",
}
"""Version by code system; where a Condition has several codings the first of these counts, then SNOMED CT, then any."""
SNOMED = "http://snomed.info/sct"
US_CORE = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-"
TEXT_TYPES = ("text/plain", "text/html", "application/xhtml+xml")  # in the order of choice
GOES_ON = (None, "active", "recurrence", "relapse")  # clinical states in which a condition of no encounter is still one
FINAL_USES = (
    None,
    "DD",
    "billing",
)  # of Encounter.diagnosis: what it turned out to be, no admission diagnosis or complaint
STATES = (
    "unconfirmed",
    "provisional",
    "differential",
    "refuted",
    "entered-in-error",
)  # verification states of no label


class Place(NamedTuple):
    """Where a resource stands, and what its Bundle calls others: ids by the ends of their `fullUrl`."""

    file: Path
    record: int
    ids: dict[str, str]


class Patient(NamedTuple):
    sex: str | None
    born: str | None
    race: str | None
    language: str | None


class Records(NamedTuple):
    """What the resources beside the notes say."""

    patients: dict[str, Patient]
    labels: dict[str, list[str]]  # by encounter
    labels_of_patients: dict[str, list[str]]  # of Conditions that name no encounter
    flaws: Counter  # Conditions left out, by reason


def open_fhir(path: Path, level: str, diagnoses: str, unlabelled: bool = False) -> Corpus:
    """`path` is a Bundle or a resource (.json), a bulk export's file (.ndjson), each also with .gz, or a folder of them.

    A note has the labels of its encounter's Conditions, else of its patient's that name no encounter. `level` own
    takes a Condition's name, the others its ICD code. `diagnoses` primary takes the one that its Encounter ranks first.
    `unlabelled` also yields the notes without a label. Raises UserError where a resource is of another FHIR version.
    """
    files = _files(path)
    records = _records(files, level, diagnoses)
    return Corpus(
        rows=lambda tally: _rows(files, records, diagnoses, unlabelled, tally),
        data_use={"corpus": "fhir", "licence": "of whoever exported it", "public": False},
        multi_label=diagnoses == "all",
    )


# ---------------------------------------------------------------- resources out of files


def _files(path: Path) -> list[Path]:
    require(path, "check ingest.path")
    wanted = (".json", ".ndjson", ".json.gz", ".ndjson.gz")
    files = sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]
    if found := [file for file in files if file.name.lower().endswith(wanted)]:
        return found
    raise UserError(f"{path} {'has' if path.is_dir() else 'is'} no .json or .ndjson file: check ingest.path")


def _resources(files: list[Path], kinds: tuple[str, ...]) -> Iterator[tuple[Place, str, dict]]:
    """Yield (place, id, resource) of the resources of these kinds; the id is "" where there is none."""
    for file in files:
        lines = ".ndjson" in file.name.lower()
        for record, value in json_lines_records(file) if lines else [(1, json_object(file))]:
            kind = value.get("resourceType")
            if not isinstance(kind, str):
                raise UserError(f"{file}, record {record}: no resourceType: it is no FHIR resource, take it out")
            entries = [{"resource": value}]
            if kind == "Bundle":
                entries = [entry for entry in _list(value, "entry") if isinstance(_at(entry, "resource"), dict)]
            ids = {}
            for entry in entries if kind == "Bundle" else ():
                url, own = _at(entry, "fullUrl"), _at(entry, "resource", "id")
                if isinstance(url, str) and isinstance(own, str):
                    ids[_end(url)] = own
            for number, entry in enumerate(entries, start=1 if kind == "Bundle" else record):
                place, resource = Place(file, number, ids), entry["resource"]
                if resource.get("resourceType") in kinds:
                    if version := _other_version(resource):
                        raise UserError(f"{file}, record {number}: FHIR {version}, R4 is read: export it as R4")
                    own = _text(place, resource, "id") or _end(_text(place, entry, "fullUrl") or "")
                    yield place, own, resource


def _other_version(resource: dict) -> str | None:
    """Which version a resource is of, and by what, if it cannot be R4."""
    kind, context = resource["resourceType"], resource.get("context")
    if kind == "Patient" and any(isinstance(_at(name, "family"), list) for name in _list(resource, "name")):
        return "DSTU2 (Patient.name.family is a list)"
    if kind == "Condition" and "patient" in resource:
        return "DSTU2 (Condition.patient)"
    if kind == "Condition" and isinstance(resource.get("verificationStatus", resource.get("clinicalStatus")), str):
        return "STU3 or older (Condition.verificationStatus or clinicalStatus is a code)"
    if kind in ("Condition", "DiagnosticReport") and context is not None:
        return f"STU3 ({kind}.context)"
    if kind == "Encounter" and isinstance(resource.get("class"), str):
        return "DSTU2 (Encounter.class is a code)"
    if kind == "Encounter" and isinstance(resource.get("class"), list):
        return "R5 (Encounter.class is a list)"
    if kind == "DocumentReference" and ("indexed" in resource or isinstance(_at(context, "encounter"), dict)):
        return "STU3 or older (DocumentReference.indexed, or its context.encounter is no list)"
    if kind == "DocumentReference" and isinstance(context, list):
        return "R5 (DocumentReference.context is a list)"
    return None


def _at(value, *keys: str):
    """The value below these names; of a list its first item; None where the way ends."""
    for key in keys:
        if isinstance(value, list):
            value = value[0] if value else None
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _list(value, *keys: str) -> list:
    found = _at(value, *keys)
    return found if isinstance(found, list) else []


def _text(place: Place, value, *keys: str) -> str | None:
    """As `_at`, without blanks around it; raises UserError for what cannot be text."""
    text = as_text(place.file, place.record, _at(value, *keys))
    return (text or "").strip() or None


def _end(reference: str) -> str:
    """The id in `Patient/1`, `urn:uuid:1`, `https://server/Patient/1/_history/2`; a search (`Patient?a=b`) stays whole."""
    if "?" in reference:
        return reference
    end = reference.partition("/_history/")[0].rpartition("/")[2]
    return end.rpartition(":")[2] if end.startswith("urn:") else end


def _reference(place: Place, kind: str, value, *keys: str) -> str | None:
    """The id that a reference to a resource of this kind names; None for none, another kind, or one inside its resource."""
    reference = _text(place, value, *keys, "reference")
    if reference is None or reference.startswith("#"):
        return None
    kinds = reference.partition("?")[0].partition("/_history/")[0].split("/")[:-1]
    if kinds and kinds[-1] != kind:
        return None
    return intern(place.ids.get(_end(reference), _end(reference)))


def _concept(place: Place, value, *keys: str) -> str | None:
    """What a CodeableConcept is called: its first coding's display, else its text, else the code."""
    return (
        _text(place, value, *keys, "coding", "display")
        or _text(place, value, *keys, "text")
        or _text(place, value, *keys, "coding", "code")
    )


# ---------------------------------------------------------------- patients and their conditions


def _records(files: list[Path], level: str, diagnoses: str) -> Records:
    patients: dict[str, Patient] = {}
    names: dict[tuple, str] = {}  # a code keeps the name it first came with
    conditions: dict[str, str] = {}  # label by the Condition's id
    linked: dict[str, list[str]] = {}  # ids of Conditions by encounter, as its diagnosis list has them
    labels: dict[str, list[str]] = {}
    labels_of_patients: dict[str, list[str]] = {}
    flaws, ranked = Counter(), False
    for place, own, resource in _resources(files, ("Patient", "Condition", "Encounter")):
        if resource["resourceType"] == "Patient":
            patient = _patient(place, resource)
            if own and patients.setdefault(own, patient) != patient:
                raise UserError(
                    f"{place.file}, record {place.record}: this Patient's id came before with another birth date, gender, race or "
                    "language: export each patient once"
                )
        elif resource["resourceType"] == "Encounter":
            ranked |= any(_at(entry, "rank") == 1 for entry in _list(resource, "diagnosis"))
            for entry in _list(resource, "diagnosis"):
                use = _text(place, entry, "use", "coding", "code")
                condition = _reference(place, "Condition", entry, "condition")
                first = _at(entry, "rank") == 1 and use in FINAL_USES
                if condition and (diagnoses == "all" or first):
                    linked.setdefault(own, []).append(condition)
        else:
            label, reason = _label(place, resource, level, names)
            encounter = _reference(place, "Encounter", resource, "encounter")
            clinical = _text(place, resource, "clinicalStatus", "coding", "code")
            if label is None:
                flaws[reason] += 1
                continue
            conditions[own] = label
            patient = _reference(place, "Patient", resource, "subject")
            if diagnoses == "all" and encounter:
                labels.setdefault(encounter, []).append(label)
            elif diagnoses == "all" and patient and clinical in GOES_ON:
                labels_of_patients.setdefault(patient, []).append(label)
            elif diagnoses == "all":
                flaws["condition_no_longer_active" if patient else "condition_of_nobody"] += 1
    if diagnoses == "primary" and conditions and not ranked:
        raise UserError(
            f"{files[0].parent}: no Encounter says which of its diagnoses is the first (diagnosis.rank is 1): set "
            "ingest.diagnoses to all"
        )
    for encounter, members in linked.items():
        found = [conditions[condition] for condition in members if condition in conditions]
        if diagnoses == "primary" and len(set(found)) > 1:
            flaws["second_primary_diagnosis"] += len(set(found)) - 1
            found = found[:1]
        labels.setdefault(encounter, []).extend(found)
    for held in (labels, labels_of_patients):
        for key, found in held.items():
            held[key] = sorted(set(found))
    return Records(patients, labels, labels_of_patients, flaws)


def _patient(place: Place, resource: dict) -> Patient:
    spoken = _list(resource, "communication")
    spoken = next((entry for entry in spoken if _at(entry, "preferred") is True), spoken[0] if spoken else None)
    language = _text(place, spoken, "language", "coding", "code") or _text(place, spoken, "language", "text")
    return Patient(
        _text(place, resource, "gender"), _text(place, resource, "birthDate"), _race(place, resource), language
    )


def _race(place: Place, resource: dict) -> str | None:
    """US Core's race, and before it the ethnicity where that is Hispanic or Latino, which is one of our groups."""
    found = {}
    for extension in _list(resource, "extension"):
        url = _text(place, extension, "url") or ""
        for part in _list(extension, "extension") if url.startswith(US_CORE) else ():
            code = _text(place, part, "valueCoding", "code")
            if _text(place, part, "url") == "ombCategory":
                unknown = code in ("UNK", "ASKU")
                name = "unknown" if unknown else _text(place, part, "valueCoding", "display")
                found.setdefault(url.removeprefix(US_CORE), []).append((code, name))
            elif _text(place, part, "url") == "text":
                found.setdefault(url.removeprefix(US_CORE) + " text", _text(place, part, "valueString"))
    if any(code == "2135-2" for code, _ in found.get("ethnicity", [])):
        return "hispanic or latino"
    races = found.get("race", [])
    return "multiracial" if len(races) > 1 else (races[0][1] if races else None) or found.get("race text")


def _label(place: Place, resource: dict, level: str, names: dict[tuple, str]) -> tuple[str | None, str]:
    """The class of a Condition at a level; None and the reason where it is none."""
    state = _text(place, resource, "verificationStatus", "coding", "code")
    if state not in (None, "confirmed"):
        return None, f"condition_{state.replace('-', '_') if state in STATES else 'in_another_state'}"
    codings = [(_text(place, coding, "system"), coding) for coding in _list(resource, "code", "coding")]
    order = {system: number for number, system in enumerate([*ICD, SNOMED])}
    codings = sorted(codings, key=lambda pair: order.get(pair[0], len(order)))
    system, coding = next(((s, c) for s, c in codings if _text(place, c, "code")), (None, None))
    code = _text(place, coding, "code")
    if level != "own":
        if system not in ICD:
            return None, "condition_without_icd_code"
        label = icd.label(code.replace(".", "").upper(), ICD[system], level)
        return label and intern(label), "malformed_codes"
    label = _text(place, coding, "display") or _text(place, resource, "code", "text") or code
    return label and intern(names.setdefault((system, code) if code else (label,), label)), "condition_without_code"


# ---------------------------------------------------------------- the notes


def _rows(files: list[Path], records: Records, diagnoses: str, unlabelled: bool, tally: Tally) -> Iterator[dict]:
    unique = {kind: Unique(files[0].parent, f"{kind}.id") for kind in NOTES}
    nameless = Counter()
    tally.skipped.update(records.flaws)
    for place, own, resource in _resources(files, NOTES):
        kind, report = resource["resourceType"], resource["resourceType"] == "DiagnosticReport"
        state = _text(place, resource, "status")
        if state in ("entered-in-error", "superseded", "cancelled") or resource.get("docStatus") == "entered-in-error":
            tally.skipped["withdrawn_note"] += 1
            continue
        text, reason = _note_text(place, _list(resource, "presentedForm" if report else "content"))
        if text is None:
            tally.skipped[reason] += 1
            continue
        patient_id = _reference(place, "Patient", resource, "subject")
        encounter = _reference(place, "Encounter", resource, *([] if report else ["context"]), "encounter")
        labels = records.labels.get(encounter) or (
            records.labels_of_patients.get(patient_id, []) if diagnoses == "all" else []
        )
        if not labels and not unlabelled:
            tally.skipped["no_diagnosis"] += 1
            continue
        nameless[kind] += not own
        patient = records.patients.get(patient_id)
        if patient is None:
            tally.groups["patient_not_in_export"] += 1
        yield {
            "note_id": f"{kind}/{unique[kind].check(own or f'nameless-{nameless[kind]}', place.record)}",
            "patient_id": patient_id,
            "encounter_id": encounter,
            "source": "fhir",
            "note_type": _concept(place, resource, "code" if report else "type"),
            "text": text,
            "labels": labels,
            "sex": demographics.sex(patient.sex, tally.groups) if patient else None,
            "age_band": demographics.age_band(_age(patient.born, _date(place, resource))) if patient else None,
            "race": demographics.race(patient.race, tally.groups) if patient else None,
            "language": demographics.stated(patient.language) if patient else None,
        }


def _note_text(place: Place, forms: list) -> tuple[str | None, str]:
    """The text of a resource's attachments, which are one document in several formats; None and the reason for none."""
    found = {}
    for form in forms:
        attachment = _at(form, "attachment") or form
        kind, _, parameters = (_text(place, attachment, "contentType") or "").lower().partition(";")
        kind = kind.strip()
        if kind not in TEXT_TYPES:
            found["attachment_of_another_type"] = None
        elif data := _text(place, attachment, "data"):
            found.setdefault(kind, (data, parameters))
        else:
            found["attachment_by_url" if _at(attachment, "url") else "attachment_without_data"] = None
    for kind in TEXT_TYPES:
        if kind in found:
            text = _decoded(place, *found[kind])
            text = text if kind == "text/plain" else _text_of_html(place, text)
            return (text, "") if text.strip() else (None, "no_text")
    return None, min(found, default="no_attachment")


def _decoded(place: Place, data: str, parameters: str) -> str:
    charset = re.search(r"charset\s*=\s*\"?([\w.:-]+)", parameters)
    encoding = charset[1] if charset else "utf-8"
    where = f"{place.file}, record {place.record}: its attachment"
    try:
        content = base64.b64decode("".join(data.split()), validate=True)
    except ValueError:
        raise UserError(f"{where} is no base64: export it again") from None
    try:
        text = content.decode("utf-8-sig" if encoding in ("utf-8", "utf8") else encoding)
    except (LookupError, ValueError):
        raise UserError(f"{where} is not in the charset that it states, or in utf-8: export it again") from None
    return as_text(place.file, place.record, text)


class _Html(HTMLParser):
    """Collects text; blocks and rows end lines, cells are apart."""

    HIDDEN = ("head", "style", "script", "template")
    INLINE = frozenset(
        "a abbr b big cite code dfn em font i ins kbd label mark q s samp small span strong sub sup tt u var".split()
    )

    def __init__(self):
        super().__init__()
        self.parts, self._hidden, self._raised = [], 0, False

    def handle_starttag(self, tag, attributes):
        # </head> may be left out, <body> ends it
        self._hidden = 0 if tag == "body" else self._hidden + (tag in self.HIDDEN)
        self._raised = tag == "sup"
        if tag not in self.INLINE:
            self.parts.append(" \t " if tag in ("td", "th") else "\n")

    def handle_endtag(self, tag):
        self._hidden -= tag in self.HIDDEN and self._hidden > 0
        if tag not in (*self.INLINE, "td", "th"):
            self.parts.append("\n")

    def handle_data(self, data):
        if not self._hidden:
            if self._raised and self.parts and self.parts[-1][-1:].isdigit() and RAISED.fullmatch(data):
                self.parts.append("^")  # 10<sup>9</sup> is not 109
            self.parts.append(re.sub(r"\s+", " ", data))
        self._raised = False


def _text_of_html(place: Place, html: str) -> str:
    """The text that HTML shows: a line a block, no line without text."""
    parser = _Html()
    try:
        parser.feed(html)
        parser.close()
    except AssertionError:  # how the parser says that a declaration is none
        raise UserError(f"{place.file}, record {place.record}: its attachment is no HTML: export it again") from None
    lines = (
        re.sub(r"[^\S\t]*\t\s*", "\t", re.sub(r"[^\S\t]+", " ", line)).strip()
        for line in "".join(parser.parts).split("\n")
    )
    return "\n".join(line for line in lines if line)


def _date(place: Place, resource: dict) -> str | None:
    """When the note's care began, else when it was written."""
    for keys in (
        ("context", "period", "start"),
        ("date",),
        ("effectiveDateTime",),
        ("effectivePeriod", "start"),
        ("issued",),
    ):
        if date := _text(place, resource, *keys):
            return date
    return None


def _age(born: str | None, then: str | None) -> int | None:
    """Completed years between two FHIR dates, which may be a year or a year and month only."""
    dates = [re.match(r"(\d{4})(?:-(\d\d))?(?:-(\d\d))?(?!\d)", date or "") for date in (born, then)]
    if not all(dates):
        return None
    (year, *early), (later, *late) = ([int(part) for part in date.groups() if part] for date in dates)
    known = min(len(early), len(late))
    return later - year - (late[:known] < early[:known])
