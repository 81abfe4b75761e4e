"""The review sheet: written without the model's answer, and read back filled in."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diagnosis.corpora.sources import Unique, csv_records
from diagnosis.errors import UserError
from diagnosis.files import require, written_aside
from diagnosis.notes import read_notes

COLUMNS = ("note_id", "text", "diagnosis", "severity", "recorded", "agree", "comment")
SEVERITIES = 4  # 0: no harm if this diagnosis were missed, 1 mild, 2 moderate, 3 severe or death
AGREE = {"yes": True, "1": True, "no": False, "0": False, "": None}
NONE = "none"  # several labels: the answer that none of them applies


def write_sheet(path: Path, notes: Path, note_ids: np.ndarray, classes: list[str], seed: int) -> None:
    """Write the notes `note_ids` of the table `notes` as a CSV sheet, in an order that says nothing of their stratum.

    The recorded diagnosis stands to the right of the reviewer's own; a label outside the classes stands as it is. UTF-8 with a mark,
    which spreadsheets need. Raises UserError where the table lacks one of the notes.
    """
    place = {note_id: row for row, note_id in enumerate(np.random.default_rng([seed, 1]).permutation(note_ids))}
    rows = {}
    for batch in read_notes(notes, ["note_id", "text", "text_pair", "labels"]):
        for note in batch:
            if (row := place.get(note["note_id"])) is not None:
                text = "\n".join(filter(None, (note["text"], note["text_pair"])))
                recorded = "; ".join(sorted(note["labels"])) or NONE
                rows[row] = [note["note_id"], text, "", "", recorded, "", ""]
    if missing := len(place) - len(rows):
        raise UserError(f"{notes} lacks {missing} of {len(place)} notes that were predicted: run `dvc repro`")
    with written_aside(path) as partial, open(partial, "w", encoding="utf-8-sig", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        writer.writerows(rows[row] for row in sorted(rows))


@dataclass(frozen=True)
class Answers:
    """One reviewer's sheet, in the order of the cases.

    diagnosis: (n, k) bool, what the reviewer says; answered: (n,) bool, whether anything. severity: (n,) 0 to 3, -1 where blank.
    agree: (n,) 1, 0 or -1 where blank.
    """

    diagnosis: np.ndarray
    answered: np.ndarray
    severity: np.ndarray
    agree: np.ndarray


def read_sheet(path: Path, note_ids: np.ndarray, classes: list[str], single: bool) -> Answers:
    """Read a filled sheet of the cases `note_ids`; what it lacks of them is unanswered.

    Raises UserError, with file and record, for a missing column, a note_id that is no case or comes twice, a diagnosis that is no
    class, another severity or agree, and where nothing is filled in.
    """
    require(path, "check the name of the filled sheet")
    number = {note_id: row for row, note_id in enumerate(note_ids)}
    column = {name.casefold(): k for k, name in enumerate(classes)}
    result = Answers(
        np.zeros((len(number), len(classes)), bool),
        np.zeros(len(number), bool),
        np.full(len(number), -1),
        np.full(len(number), -1),
    )
    ids, rows = Unique(path, "note_id"), 0
    for record, cells in csv_records(path, ["note_id", "diagnosis", "severity", "agree"]):
        row, where, rows = (
            number.get(ids.check(cells["note_id"].strip(), record)),
            f"{path}, record {record}:",
            rows + 1,
        )
        if row is None:
            raise UserError(
                f"{where} its note_id is none of the {len(number)} cases: a spreadsheet may have changed it, or the sheet was made "
                "from other predictions or params: `git checkout` the commit that made it"
            )
        if answer := cells["diagnosis"].strip():
            result.diagnosis[row] = parsed_diagnosis(answer, column, single, where, classes)
            result.answered[row] = True
        if severity := cells["severity"].strip():
            if severity not in map(str, range(SEVERITIES)):
                raise UserError(f"{where} severity is not 0 to {SEVERITIES - 1}: write one of them, or nothing")
            result.severity[row] = int(severity)
        agree = cells["agree"].strip().lower()
        if agree not in AGREE:
            raise UserError(f"{where} agree is neither yes nor no: write one of them, or nothing")
        result.agree[row] = -1 if AGREE[agree] is None else AGREE[agree]
    if not rows:
        raise UserError(
            f"{path} has no row under its header: send the sheet of `python -m tools.review make`, filled in"
        )
    if not result.answered.any():
        raise UserError(f"{path}: no diagnosis is filled in: fill in the column diagnosis, or leave this sheet out")
    return result


def parsed_diagnosis(answer: str, column: dict[str, int], single: bool, where: str, classes: list[str]) -> np.ndarray:
    """(k,) bool. One class by name, or with several labels any number of them between semicolons, or none."""
    names = [name.strip().casefold() for name in answer.split(";")] if not single else [answer.casefold()]
    result = np.zeros(len(classes), bool)
    if not single and names == [NONE]:
        return result
    if any(name not in column for name in names):
        known = ", ".join(classes[:30]) + (", ..." if len(classes) > 30 else "")
        raise UserError(f"{where} diagnosis has what is no class: write {'one' if single else 'those'} of: {known}")
    result[[column[name] for name in names]] = True
    return result
