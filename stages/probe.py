"""Probe the model's behaviour: how its answers move when notes are changed, what it says of vignettes, whether it knows strange text."""

from pathlib import Path
from typing import Literal

import numpy as np
import transformers
from pydantic import ConfigDict, Field
from tqdm import tqdm

from diagnosis.behaviour.compare import by_group, control, scored
from diagnosis.behaviour.copies import all_copies, first_notes, randomness, shuffled
from diagnosis.behaviour.domain import judged
from diagnosis.behaviour.negation import DIRECTIONS, Support
from diagnosis.behaviour.outputs import Outputs, outputs
from diagnosis.behaviour.perturbations import CONTROL, ORIGINS, origin_of
from diagnosis.behaviour.plot import forest
from diagnosis.behaviour.vignettes import answered, read_vignettes
from diagnosis.disclosure import rounded
from diagnosis.errors import UserError, run
from diagnosis.files import write_json
from diagnosis.notes import read_metadata
from diagnosis.params import Params
from diagnosis.scores.shards import patient_numbers
from diagnosis.text.concepts import Concepts
from diagnosis.training.device import out_of_memory_explained, prepare_device
from diagnosis.training.inference import check_preprocessing, load_finetuned

SPLIT = Path("data/split")
FINETUNED = Path("models/finetuned")
METRICS = Path("metrics/probe.json")
PLOT = Path("plots/probe.png")
LOOKED_AT = 10  # times as many notes as a probe is to have: of a rare thing there may be fewer copies


class ProbeParams(Params):
    seed: int = Field(ge=0)
    notes: int = Field(ge=1)
    train_notes: int = Field(ge=1)
    support_notes: int = Field(ge=1)
    vignettes: Path
    typo_share: float = Field(gt=0, le=1)
    exempt: dict[Literal["sex_swap", "age_swap"], list[str]]
    margin: float = Field(gt=0, lt=1)
    move_margin: float = Field(gt=0, lt=1)
    min_count: int = Field(ge=2)
    bootstrap_samples: int = Field(ge=20)
    batch_size: int = Field(ge=1)
    threads: int = Field(ge=1)


class Elsewhere(Params):
    """Single values of other sections."""

    model_config = ConfigDict(extra="ignore")


class Withheld(Elsewhere):
    withhold_test: bool


class Ontology(Elsewhere):
    concepts: Path


def main():
    params = ProbeParams.load("probe")
    shard = "validation" if Withheld.load("predict").withhold_test else "test"
    concepts = Concepts(Ontology.load("clean").concepts)
    transformers.logging.set_verbosity_error()
    model, tokenizer, card = load_finetuned(FINETUNED, prepare_device(params.threads))
    classes, single = card["classes"], card["task"] == "single_label"
    if strange := sorted({label for labels in params.exempt.values() for label in labels} - set(classes)):
        raise UserError(
            f"params.yaml: probe.exempt names {strange[0]}, which the model does not know: name its classes"
        )
    notes = read(shard, LOOKED_AT * params.notes, card, params.seed)
    train = read("train", max(params.train_notes, params.support_notes), card, params.seed)
    vignettes = read_vignettes(params.vignettes, classes)

    # ---- the texts: notes and their changed copies, notes in shuffled words, vignettes, texts of another domain, train notes
    support = Support(classes, concepts)
    for note in train[: params.support_notes]:
        support.add(note["text"], note["labels"])
    known = support.by_concept()
    made = all_copies(
        notes,
        concepts,
        known,
        classes,
        seed=params.seed,
        most=params.notes,
        typo_share=params.typo_share,
        exempt=params.exempt,
    )
    shown, trained = notes[: params.notes], train[: params.train_notes]
    used = sorted({*range(len(shown)), *(row for of in made.values() for row in of.rows)})
    parts = {
        name: [notes[row] | {"text": text} for row, text in zip(of.rows, of.texts, strict=True)]
        for name, of in made.items()
    }
    parts |= {
        "notes": [notes[row] for row in used],
        "shuffled_words": [note | {"text": shuffled(note, randomness(params.seed, "shuffled_words", note))} for note in shown],
        "vignettes": [{"text": text} for text, _ in vignettes.cases],
        "other_domain": [{"text": text} for text in vignettes.other],
        "train": trained,
    }  # fmt: skip
    said = read_by_model(model, tokenizer, card, parts, params.batch_size)

    # ---- what the model said of them
    settings = {"single": single, "min_count": params.min_count}
    sampling = {"samples": params.bootstrap_samples, "seed": params.seed}
    probes = {}
    for name, of in made.items():
        before, after = said["notes"].probabilities[np.searchsorted(used, of.rows)], said[name].probabilities
        if name == CONTROL:
            probes[name] = control(before, after, single)
            continue
        own = [notes[row] for row in of.rows]
        patients, sign = patient_numbers([note["patient_id"] for note in own]), DIRECTIONS.get(name, 0)
        margins = (params.margin, params.move_margin)
        found = scored(before, after, patients, of.expected, sign, margins, sampling, **settings)
        if "n" in found:
            rest = of.looked_at - len(own)  # notes that it does not apply to: a few of them are not told
            found["looked_at"] = None if 0 < rest < params.min_count else of.looked_at
            groups = {"by_class": (truth(own, classes), classes)}
            if name == "name_swap":
                origins = [[origin_of(randomness(params.seed, name, note))] for note in own]
                groups["by_origin"] = (np.array(origins) == ORIGINS, ORIGINS)
            found |= {key: by_group(before, after, patients, *group, **settings) for key, group in groups.items()}
        probes[name] = found
    patients = patient_numbers([note["patient_id"] for note in shown])
    enough = len(np.unique(patients)) >= params.min_count
    domain = judged(
        said["train"],
        truth(trained, classes),
        said["notes"].part(slice(0, len(shown))),
        {kind: said[kind] for kind in ("shuffled_words", "other_domain")},
        patients,
        single,
        sampling,
    )
    result = {
        "n": len(shown) if enough else f"<{params.min_count}",
        "findings_that_support": len(known),
        "probes": probes,
        "vignettes": answered(vignettes, said["vignettes"].probabilities, classes, single),
        "out_of_distribution": domain if enough else {"status": "too few patients"},
    }
    forest(PLOT, result, shard, params.margin, params.move_margin)
    write_json(METRICS, {shard: rounded(result)})


def read(name: str, count: int, card: dict, seed: int) -> list[dict]:
    path = SPLIT / f"{name}.parquet"
    metadata = read_metadata(path)
    if metadata.get("classes") != card["classes"]:
        raise UserError(f"{path} states other classes than {FINETUNED} was trained on: run `dvc repro`")
    check_preprocessing(card, metadata, path, FINETUNED)
    if not (notes := first_notes(path, count, seed)):
        raise UserError(f"{path} has no notes: raise split.{name}_share")
    return notes


def read_by_model(model, tokenizer, card: dict, parts: dict[str, list[dict]], batch_size: int) -> dict[str, Outputs]:
    """The outputs of each part's texts, in one pass."""
    rows = [row for part in parts.values() for row in part]
    texts, pairs = [row["text"] for row in rows], [row.get("text_pair") for row in rows]
    with tqdm(unit=" texts", desc="probe: model") as bar, out_of_memory_explained("probe.batch_size"):
        found = outputs(model, tokenizer, card, texts, pairs, batch_size=batch_size, bar=bar)
    ends = np.cumsum([len(part) for part in parts.values()])
    return {
        name: found.part(slice(end - len(part), end)) for (name, part), end in zip(parts.items(), ends, strict=True)
    }


def truth(notes: list[dict], classes: list[str]) -> np.ndarray:
    return np.array([[label in note["labels"] for label in classes] for note in notes])


if __name__ == "__main__":
    run(main)
