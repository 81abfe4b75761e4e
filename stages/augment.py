"""More training text: versions of the train shard's notes with other words for the same, labels kept."""

from collections import Counter
from pathlib import Path
from typing import Literal

import pyarrow as pa
from pydantic import ConfigDict, Field, field_validator
from tqdm import tqdm

from diagnosis.augment.guard import Guard
from diagnosis.augment.operators import prepared
from diagnosis.augment.protected import label_words
from diagnosis.augment.versions import version
from diagnosis.errors import UserError, run
from diagnosis.files import write_json
from diagnosis.notes import note_writer, open_notes, read_metadata, read_notes
from diagnosis.params import Params

TRAIN = Path("data/split/train.parquet")
BASE = Path("models/base")
AUGMENTED = Path("data/augmented.parquet")
METRICS = Path("metrics/augment.json")
PROVENANCE = [pa.field("augmented_from", pa.string()), pa.field("operators", pa.list_(pa.string()))]


class AugmentParams(Params):
    seed: int
    copies: int = Field(ge=0, le=100)
    operators: list[
        Literal[
            "synonym", "wordnet", "concept", "abbreviation", "surface", "negation", "swap", "delete", "insert", "mask",
            "back_translation", "section_dropout", "section_shuffle", "symptom",
        ]
    ] = Field(min_length=1)  # fmt: skip
    rate: float = Field(gt=0, le=0.5)
    max_changes: int | None = Field(ge=1)
    minority_only: bool
    wordnet: Path | None
    translators: list[str]
    reviewed_swaps: Path | None
    threads: int = Field(ge=1)

    @field_validator("operators")
    @classmethod
    def each_once(cls, names: list[str]) -> list[str]:
        if len(set(names)) < len(names):
            raise ValueError("an operator stands there twice: name each once")
        return names


class Ontology(Params):
    """Of clean's section, the list that `concept` takes its terms from."""

    model_config = ConfigDict(extra="ignore")

    concepts: Path


def main():
    params = AugmentParams.load("augment")
    metadata, total = read_metadata(TRAIN), open_notes(TRAIN).metadata.num_rows
    if not metadata.get("classes"):
        raise UserError(f"{TRAIN} does not state its classes: run `dvc repro split`")
    if not total:
        raise UserError(f"{TRAIN} has no notes: raise split.train_share")
    labels = label_words(metadata["classes"])
    chosen = minority(metadata["classes"]) if params.minority_only else set(metadata["classes"])
    operators, sources = prepared(
        params.operators if params.copies else [],
        base=BASE,
        concepts=Ontology.load("clean").concepts if "concept" in params.operators else None,
        **params.model_dump(include={"wordnet", "translators", "reviewed_swaps", "threads"}),
    )
    guard = Guard(operators[name].canonical for name in ("concept", "symptom") if name in operators)
    metadata |= {"augmented_with": sources} if sources else {}

    versions, changes, discarded = Counter(), Counter(), Counter()
    with note_writer(AUGMENTED, metadata, PROVENANCE) as augmented, tqdm(total=total, unit=" notes", desc="augment") as bar:  # fmt: skip
        for batch in read_notes(TRAIN):
            for note in batch:
                augmented.write([note])
                if not chosen.intersection(note["labels"]):
                    continue
                written, said = {note["text"]}, guard.read(note["text"])
                for copy in range(1, params.copies + 1):
                    key = (params.seed, note["note_id"], copy)
                    text, changed = version(note["text"], operators, params.rate, params.max_changes, labels, key)
                    if text in written:
                        discarded["unchanged" if text == note["text"] else "repeated"] += 1
                        continue
                    if not guard.same(said, guard.read(text), may_lose="section_dropout" in changed):
                        discarded["meaning"] += 1
                        continue
                    written.add(text)
                    versions.update(["all", *changed])
                    changes.update(changed)
                    new = {"note_id": f"{note['note_id']}-a{copy}", "text": text}
                    augmented.write([note | new | {"augmented_from": note["note_id"], "operators": list(changed)}])
            bar.update(len(batch))

    write_json(METRICS, {
        "notes": {"read": total, "versions": versions["all"], "written": total + versions["all"]},
        "classes_augmented": len(chosen) if params.copies else 0,
        "versions_by_operator": {name: versions[name] for name in params.operators},
        "changes_by_operator": {name: changes[name] for name in params.operators},
        "discarded": {name: discarded[name] for name in ("unchanged", "repeated", "meaning")},
        **({"sources": sources} if sources else {}),
    })  # fmt: skip


def minority(classes: list[str]) -> set[str]:
    """The classes with fewer notes in the train shard than the mean class."""
    counts = Counter(label for batch in read_notes(TRAIN, ["labels"]) for note in batch for label in note["labels"])
    mean = sum(counts.values()) / len(classes)
    return {label for label in classes if counts[label] < mean}


if __name__ == "__main__":
    run(main)
