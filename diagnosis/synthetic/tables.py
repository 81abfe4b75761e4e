"""The files of the invented hospital: gzipped CSV, rows as they come, with the truth beside the official tables."""

import csv
import gzip
import io
from contextlib import ExitStack, contextmanager
from pathlib import Path

from diagnosis.corpora.invented import marker
from diagnosis.synthetic.cohort import Patient, Stay
from diagnosis.synthetic.disease_model import CODES
from diagnosis.synthetic.note_text import Note

TRUTH = {
    "truth/phi_spans": "note_id start end kind origin",
    "truth/findings": "note_id start end finding assertion",
    "truth/notes": "note_id subject_id hadm_id condition recorded second label_noise poorer answered exact_copy_of same_person_as "
    "copied_from copied_start copied_end",
}
SECONDARY = (
    ("I10", "4019", "Essential (primary) hypertension", "Unspecified essential hypertension"),
    ("E785", "2724", "Hyperlipidemia, unspecified", "Other and unspecified hyperlipidemia"),
    ("B182", "07054", "Chronic viral hepatitis C", "Chronic hepatitis C without mention of hepatic coma"),
    ("Z87891", "V1582", "Personal history of nicotine dependence", "Personal history of tobacco use"),
)  # ICD-10 and ICD-9 codes of further diagnoses, which stand in no visible text, and their titles
README = """# Truth of the embedded corpus

Every person and every note here is invented: drawn by `diagnosis/synthetic`, and free for any use (CC0-1.0).

- phi_spans.csv.gz: identifiers, characters start to end (exclusive) of the note as in its table; kind, and the Faker locale of a name.
- findings.csv.gz: findings with their assertion: present, negated, historical, family.
- notes.csv.gz, of the discharge notes: true condition, recorded code, second condition (all as ICD-10), and what was planted: label noise, a
  poorer note, a stated answer, an exact copy, a person registered twice (near-duplicate), text copied forward from the stay
  `copied_from` (with its characters in this note).
"""


class Tables:
    """Writes rows by table name."""

    def __init__(self, writers: dict):
        self._writers = writers

    def write(self, table: str, *values) -> None:
        self._writers[table].writerow(values)


@contextmanager
def open_tables(folder: Path, columns: dict[str, str], notes: list[str]):
    """Yield Tables that write `columns` and the truth as .csv.gz below `folder`; in the end the tables `notes` are marked as
    invented.

    No time or name goes into the gzip headers: same rows, same bytes.
    """
    with ExitStack() as stack:
        writers = {}
        for name, header in (columns | TRUTH).items():
            path = folder / f"{name}.csv.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            raw = stack.enter_context(open(path, "wb"))
            packed = stack.enter_context(gzip.GzipFile("", "wb", compresslevel=6, fileobj=raw, mtime=0))
            text = stack.enter_context(io.TextIOWrapper(packed, "utf-8", newline=""))
            writers[name] = csv.writer(text, lineterminator="\n")
            writers[name].writerow(header.split())
        yield Tables(writers)
    markers = "\n".join(marker(folder / f"{name}.csv.gz") for name in notes)
    (folder / "truth" / "README.md").write_text(f"{markers}\n\n{README}", "utf-8")


def write_marks(tables: Tables, note_id, note: Note) -> None:
    """Where identifiers and findings stand in a note."""
    for mark in note.identifiers:
        tables.write("truth/phi_spans", note_id, *mark)
    for mark in note.findings:
        tables.write("truth/findings", note_id, *mark)


def write_truth(tables: Tables, note_id, original_id, patient: Patient, stay: Stay, poorer: bool) -> None:
    """What was planted in a discharge note; a note that is a copy has another `original_id`."""
    at = stay.admission
    tables.write(
        "truth/notes", note_id, patient.patient_id, stay.admission_id, CODES[at.condition], CODES[stay.recorded],
        "" if at.second is None else CODES[at.second], int(at.condition != stay.recorded), int(poorer), int(stay.note.answered),
        original_id if note_id != original_id else "", patient.same_person_as or "", stay.copied_from or "",
        *(stay.note.copied or ("", "")),
    )  # fmt: skip
