"""Bring the notes into one form and cut what is not known when the patient arrives."""

from collections import Counter, defaultdict
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator
from tqdm import tqdm

from diagnosis.errors import UserError, run
from diagnosis.files import require, sha256, write_json
from diagnosis.notes import note_writer, open_notes, read_metadata, read_notes
from diagnosis.params import Params
from diagnosis.text.answers import Answers
from diagnosis.text.normalise import normalise, without_numbers, without_punctuation, without_stop_words
from diagnosis.text.rewrite import Rewriting
from diagnosis.text.sections import NAMES, cut
from diagnosis.text.units import standardise

DEIDENTIFIED = Path("data/deidentified.parquet")
TITLES = Path("data/titles.json")
CLEAN = Path("data/clean.parquet")
METRICS = Path("metrics/clean.json")
CLASSES_SHOWN = 100  # the commonest, so that a corpus of 2,000 codes leaves a metrics file that can be read


class CleanParams(Params):
    visible_at: Literal["admission", "all"]
    cut_sections: list[str]
    strip_codes: bool
    mask_label_mentions: Literal["none", "affirmed", "all"]
    standardise: bool
    repair_spelling: bool
    expand_abbreviations: bool
    normalise_concepts: bool
    concepts: Path
    context: Literal["none", "mark", "drop"]
    remove_stop_words: bool
    lowercase: bool
    remove_numbers: bool
    remove_punctuation: bool
    min_count: int = Field(ge=1)

    @field_validator("cut_sections")
    @classmethod
    def known(cls, names: list[str]) -> list[str]:
        if unknown := sorted(set(names) - set(NAMES)):
            raise ValueError(f"no section is called {', '.join(unknown)}: the known ones are {', '.join(NAMES)}")
        return names

    def stated(self) -> dict:
        """What shaped the text, for the model that learns from it: the list of concepts by its hash, not by its path."""
        concepts = sha256(require(self.concepts)) if self.normalise_concepts else None
        return self.model_dump(exclude={"min_count"}) | {"concepts": concepts}


def main():
    params = CleanParams.load("clean")
    concepts = params.concepts if params.normalise_concepts else None
    rewrite = Rewriting(params.repair_spelling, params.expand_abbreviations, concepts, params.context)
    metadata, total = read_metadata(DEIDENTIFIED), open_notes(DEIDENTIFIED).metadata.num_rows
    metadata["preprocessing"] = {**metadata.get("preprocessing", {}), "clean": params.stated()}
    notes, characters, cut_characters, by_class = Counter(), Counter(), Counter(), defaultdict(Counter)
    answers = Answers(params.strip_codes, params.mask_label_mentions, TITLES)
    with note_writer(CLEAN, metadata) as clean, tqdm(total=total, unit=" notes", desc="clean") as bar:
        for batch in read_notes(DEIDENTIFIED):
            kept = []
            for note in batch:
                text = normalise(note["text"])
                visible, cut_by_section = cut(text, params.visible_at, params.cut_sections)
                note["text"] = reduced(answers.hidden(visible), params, rewrite)
                pair = note["text_pair"] and answers.hidden(normalise(note["text_pair"]))
                note["text_pair"] = pair and reduced(pair, params, rewrite)

                emptied, length = not note["text"], {"read": len(text), "cut": sum((cut_by_section or {}).values())}
                notes.update(read=1, without_sections=cut_by_section is None, emptied=emptied)
                characters.update(length)
                cut_characters.update(cut_by_section or {})
                for label in note["labels"]:
                    by_class[label].update(notes=1, emptied=emptied, **length)
                if note["text"]:
                    kept.append(note)
            clean.write(kept)
            bar.update(len(batch))
        if notes["read"] == notes["emptied"]:
            raise UserError(
                f"{DEIDENTIFIED}: of {total} notes none keeps any text: set clean.visible_at to all, or cut fewer sections"
                if total
                else f"{DEIDENTIFIED} has no notes: see in metrics/ingest.json what was left out"
            )
    metrics = measures(notes, characters, cut_characters, by_class, params.min_count)
    write_json(METRICS, metrics | answers.counts | {"rewritten": rewrite.counts()})


def reduced(text: str, params: CleanParams, rewrite: Rewriting) -> str:
    """The text rewritten, and with the chosen reductions. Lower-casing comes last: the others read capitals (Mg, MM)."""
    if params.standardise:
        text = standardise(text)
    text = rewrite(text)
    if params.remove_stop_words:
        text = without_stop_words(text)
    if params.remove_numbers:
        text = without_numbers(text)
    if params.remove_punctuation:
        text = without_punctuation(text)
    return text.lower() if params.lowercase else text


def measures(
    notes: Counter, characters: Counter, cut_characters: Counter, by_class: dict[str, Counter], min_count: int
) -> dict:
    """The metrics; classes of fewer than `min_count` notes are left out, and smaller counts within a class are null."""
    shown = sorted((c for c in by_class if by_class[c]["notes"] >= min_count), key=lambda c: (-by_class[c]["notes"], c))
    return {
        "notes": {
            "read": notes["read"],
            "written": notes["read"] - notes["emptied"],
            "dropped": {"empty": notes["emptied"]},
            "without_sections": notes["without_sections"],
        },
        "cut_share": share(characters["cut"], characters["read"]),
        "cut_share_by_section": {name: share(count, characters["read"]) for name, count in cut_characters.items()},
        "by_class": {
            label: {
                "notes": by_class[label]["notes"],
                "cut_share": share(by_class[label]["cut"], by_class[label]["read"]),
                "emptied": by_class[label]["emptied"] if not 0 < by_class[label]["emptied"] < min_count else None,
            }
            for label in shown[:CLASSES_SHOWN]
        },
        "classes_not_shown": len(by_class) - len(shown[:CLASSES_SHOWN]),
    }


def share(part: int, whole: int) -> float:
    """Of characters."""
    return round(part / whole, 6) if whole else 0.0


if __name__ == "__main__":
    run(main)
