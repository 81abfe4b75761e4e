"""The patients' own names, ids and addresses, as the hospital's tables have them: to be looked for in the notes directly."""

from collections import defaultdict
from pathlib import Path

from diagnosis.corpora.sources import csv_records
from diagnosis.errors import UserError
from diagnosis.files import require
from diagnosis.phi.detector import Known
from diagnosis.phi.names import PARTICLES, SUFFIXES
from diagnosis.phi.spans import KINDS


def read_known_fields(path: Path) -> dict[str, Known]:
    """What is known of each patient_id: a CSV with a row a value, and the columns patient_id, value and kind (one of KINDS).

    Names are looked for word by word, whatever their case; other values as they are written. Raises UserError where a row lacks
    something, or its kind is none.
    """
    require(path, "deidentify.known_fields names no file")
    known = defaultdict(Known)
    for record, row in csv_records(path, ["patient_id", "value", "kind"]):
        patient, value, kind = (row[column].strip() for column in ("patient_id", "value", "kind"))
        if not patient or not value:
            raise UserError(f"{path}, record {record}: no patient_id or no value: fill it in or remove the row")
        if kind not in KINDS:
            raise UserError(f"{path}, record {record}: an unknown kind: the kinds are {', '.join(KINDS)}")
        if kind == "NAME":
            words = (word.strip(",.").lower() for word in value.split() for word in (word, *word.split("-")))
            known[patient].names.update(w for w in words if len(w) > 1 and w not in PARTICLES and w not in SUFFIXES)
        else:
            known[patient].strings[value] = kind
    return known
