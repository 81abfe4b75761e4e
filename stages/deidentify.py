"""Find protected health information in the notes, replace it, and give patients and notes new ids."""

import json
import tempfile
from collections import Counter, defaultdict
from pathlib import Path
from typing import Literal

from pydantic import Field
from tqdm import tqdm

from diagnosis.corpora.gold import write_spans
from diagnosis.errors import UserError, run
from diagnosis.files import write_json
from diagnosis.notes import note_writer, open_notes, read_metadata, read_notes
from diagnosis.params import Params
from diagnosis.phi.detector import Known, everywhere
from diagnosis.phi.keys import read_key
from diagnosis.phi.known_fields import read_known_fields
from diagnosis.phi.score import COLUMNS, NO_MEASURES, Gold, Score
from diagnosis.phi.spans import joined, moved
from diagnosis.phi.surrogates import Masks, Surrogates
from diagnosis.phi_model.finder import finder

NOTES = Path("data/notes.parquet")
GOLD = Path("data/gold_spans.parquet")
ANNOTATIONS = Path("data/annotations.parquet")
DETECTOR = Path("models/detector")
DEIDENTIFIED = Path("data/deidentified.parquet")
DEIDENTIFIED_ANNOTATIONS = Path("data/deidentified_annotations.parquet")
METRICS = Path("metrics/deidentify.json")
REKEYED = ["note_id", "patient_id", "encounter_id", "duplicate_cluster"]
TEXTS = ["text", "text_pair"]
BASES = {
    "safe_harbor": "45 CFR 164.514(b)(2), as far as the identifiers are found",
    "shifted": "45 CFR 164.514(b)(1): needs an expert's determination, for intervals between dates stay",
    "limited_dataset": "45 CFR 164.514(e): needs a data use agreement, for dates, ages and ZIP codes stay",
}


class DeidentifyParams(Params):
    key_file: Path
    detector: Literal["rules", "model", "both"]
    known_fields: Path
    profile: Literal["safe_harbor", "shifted", "limited_dataset"]
    replace: Literal["surrogate", "mask", "blank"]
    max_date_shift_days: int = Field(ge=1, le=3650)


def main():
    params = DeidentifyParams.load("deidentify")
    metadata, total = read_metadata(NOTES), open_notes(NOTES).metadata.num_rows
    key, gold, score = read_key(params.key_file, metadata.get("data_use", {})), Gold(GOLD), Score()
    annotated, annotations, lost = Gold(ANNOTATIONS, kinds=None), [], 0
    if not total:
        raise UserError(f"{NOTES} has no notes: see in metrics/ingest.json what was left out")
    find = finder(params.detector, DETECTOR)
    fields = read_known_fields(params.known_fields)
    if params.replace == "surrogate":
        replacement = Surrogates(key, params.max_date_shift_days, params.profile)
    else:
        replacement = Masks(params.profile, blank=params.replace == "blank")

    # What a rule sees goes to a nameless file, offsets only, and what a patient's notes give away is kept by patient: a name
    # that one note states plainly is then found in all of that patient's notes, wherever they stand in the table. A note without a
    # patient stands alone: nothing of it is kept, so that memory grows with the patients and not with the notes.
    known, found = defaultdict(Known, {f"patient {patient}": own for patient, own in fields.items()}), Counter()
    patients, alone = set(), 0
    with tempfile.TemporaryFile("w+") as seen, tqdm(total=2 * total, unit=" notes", desc="deidentify") as bar:
        for batch in read_notes(NOTES, ["note_id", "patient_id", *TEXTS]):
            columns = [find([note[column] or "" for note in batch]) for column in TEXTS]
            for note, *results in zip(batch, *columns, strict=True):
                own = Known()
                for _, each in results:
                    own.update(each)
                clear = [spans for spans, _ in results]
                if note["patient_id"] is None:
                    alone += 1
                    clear = [
                        everywhere(note[column] or "", spans, own) for column, spans in zip(TEXTS, clear, strict=True)
                    ]
                else:
                    patients.add(note["patient_id"])
                    known[patient_of(note)].update(own)
                genders = own.genders if note["patient_id"] is None else {}
                seen.write(json.dumps([clear, genders]) + "\n")
            bar.update(len(batch))
        seen.seek(0)

        stated = {"preprocessing": {"deidentify": params.model_dump(include={"detector", "profile", "replace"})}}
        with note_writer(DEIDENTIFIED, metadata | stated) as deidentified:
            for batch in read_notes(NOTES):
                for note in batch:
                    patient, (clear, genders) = patient_of(note), json.loads(seen.readline())
                    told = known.get(patient, Known())
                    others = [*told.names, *told.strings]
                    for column, spans in zip(TEXTS, clear, strict=True):
                        others += [note[column][start:end] for start, end, _ in spans]
                    for column, spans in zip(TEXTS, clear, strict=True):
                        if not note[column]:
                            continue
                        spans = everywhere(note[column], spans, told)
                        if column == "text" and gold:
                            score.add(note["text"], gold.of(note["note_id"], note["text"]), spans)
                        found.update(span.kind for span in spans)
                        pieces = replacement.pieces(note[column], spans, patient, others, told.genders or genders)
                        if column == "text":
                            marks = [mark for mark, _ in annotated.of(note["note_id"], note["text"])]
                            kept = moved(marks, spans, pieces)
                            lost += len(marks) - len(kept)
                            note_id = key.rekey("note_id", note["note_id"])
                            annotations += [dict(zip(COLUMNS, (note_id, *mark, None), strict=True)) for mark in kept]
                        note[column] = joined(note[column], spans, pieces)
                    for column in REKEYED:
                        note[column] = key.rekey(column, note[column])
                deidentified.write(batch)
                bar.update(len(batch))
            gold.finish()
            annotated.finish()
    write_spans(DEIDENTIFIED_ANNOTATIONS, annotations)
    write_json(
        METRICS,
        {
            **(score.measures() if gold else NO_MEASURES),
            "found": found,
            "notes": total,
            "annotations": {"kept": len(annotations), "of_identifiers": lost},
            "patients": len(patients) + alone,
            "patients_with_known_fields": len(fields),
            "key_fingerprint": key.fingerprint,
            "profile": params.profile,
            "replace": params.replace,
            "evidence": evidence(params, found),
        },
    )


def evidence(params: DeidentifyParams, found: Counter) -> dict:
    """What the profile rests on, for whoever has to determine that it suffices (scores stand beside it)."""
    shifted = params.profile == "shifted" and params.replace == "surrogate"
    return {
        "basis": BASES[params.profile if shifted or params.profile != "shifted" else "safe_harbor"],
        "dates": found["DATE"],
        "ages_over_89": found["AGE"],
        "offset_days": params.max_date_shift_days if shifted else None,
        "offsets": 2 * params.max_date_shift_days if shifted else None,
    }


def patient_of(note: dict) -> str:
    """Whose surrogates a note gets: its patient's; its own where no patient is known."""
    return f"note {note['note_id']}" if note["patient_id"] is None else f"patient {note['patient_id']}"


if __name__ == "__main__":
    run(main)
