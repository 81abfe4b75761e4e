"""Explain the model: which words count in single notes, how far each method can be trusted, and what counts over all notes."""

from pathlib import Path
from typing import Literal

import numpy as np
import transformers
from pydantic import ConfigDict, Field
from tqdm import tqdm

from diagnosis.disclosure import rounded
from diagnosis.errors import UserError, run
from diagnosis.explain.choice import by_hash, worst
from diagnosis.explain.classifier import Classifier
from diagnosis.explain.concepts import findings_by_shard
from diagnosis.explain.methods import generator
from diagnosis.explain.overall import imitated, scored_bottleneck, terms_by_class
from diagnosis.explain.plot import attention, beside_random
from diagnosis.explain.single import check_same_model, explain, planted_words, read_texts
from diagnosis.explain.summary import summary
from diagnosis.explain.table import write_explanations
from diagnosis.files import write_json
from diagnosis.params import Params
from diagnosis.scores.shards import Predictions
from diagnosis.text.concepts import Concepts
from diagnosis.training.device import out_of_memory_explained, prepare_device
from diagnosis.training.inference import load_finetuned

PREDICTIONS = Path("data/predictions.parquet")
SPLIT = Path("data/split")
DEIDENTIFIED = Path("data/deidentified.parquet")
ANNOTATIONS = Path("data/deidentified_annotations.parquet")
FINETUNED = Path("models/finetuned")
EXPLANATIONS = Path("data/explanations.parquet")
OVERALL = Path("data/explanations.json")
BOTTLENECK = Path("models/concept_bottleneck.json")
METRICS = Path("metrics/explain.json")
PLOT = Path("plots/explain/methods.png")
ATTENTION = Path("plots/explain/attention.png")
AT_ONCE = 16  # notes whose evaluations are kept at a time


class ExplainParams(Params):
    seed: int = Field(ge=0)
    methods: list[Literal["integrated_gradients", "occlusion", "shap", "lime", "attention", "attention_rollout"]] = (
        Field(min_length=1)
    )
    notes: int = Field(ge=1)
    worst: int = Field(ge=0)
    steps: int = Field(ge=1)
    samples: int = Field(ge=2)
    annotation: str
    term_notes: int = Field(ge=0)
    rule_depth: int = Field(ge=1)
    C: float = Field(gt=0)
    max_iter: int = Field(ge=1)
    min_count: int = Field(ge=1)
    bootstrap_samples: int = Field(ge=20)
    batch_size: int = Field(ge=1)
    threads: int = Field(ge=1)


class Ontology(Params):
    """The list of concepts that `clean` states, for the findings."""

    model_config = ConfigDict(extra="ignore")

    concepts: Path


def main():
    params = ExplainParams.load("explain")
    if twice := sorted({name for name in params.methods if params.methods.count(name) > 1}):
        raise UserError(f"params.yaml: explain.methods names {twice[0]} twice: name it once")
    concepts = Concepts(Ontology.load("clean").concepts)
    transformers.logging.set_verbosity_error()
    predictions = Predictions(PREDICTIONS)
    name = "test" if predictions.has("test") else "validation"
    shard = predictions.shard(name, "model")
    model, tokenizer, card = load_finetuned(FINETUNED, prepare_device(params.threads))
    if card["classes"] != predictions.classes:
        raise UserError(f"{PREDICTIONS} states other classes than {FINETUNED} was trained on: run `dvc repro`")
    classifier = Classifier(model, tokenizer, card, params.batch_size)

    # ---- single notes: some by hash, on which the methods are compared, and the worst errors, for the report alone
    order = by_hash(shard, params.seed)
    chosen = dict.fromkeys(order[: params.notes], "hash")
    chosen |= {row: "both" if row in chosen else "worst" for row in worst(shard, params.worst)}
    term_rows = order[: params.term_notes]
    texts = read_texts(SPLIT / f"{name}.parquet", {shard.note_ids[row] for row in [*chosen, *term_rows]}, card)
    planted = planted_words(DEIDENTIFIED, ANNOTATIONS, params.annotation, texts)
    explained, missing, empty = [], {}, 0
    with (
        tqdm(total=len(chosen) + len(term_rows), desc="explain", unit=" notes") as bar,
        out_of_memory_explained("explain.batch_size"),
    ):
        rows = list(chosen)
        for start in range(0, len(rows), AT_ONCE):
            part = {row: chosen[row] for row in rows[start : start + AT_ONCE]}
            done, lacking = explain(classifier, shard, part, texts, planted, params)
            missing |= lacking
            empty += len(part) - len(done)
            explained += done
            bar.update(len(part))
        check_same_model(explained, shard, PREDICTIONS)
        terms = terms_by_class(classifier, shard, term_rows, texts, params.min_count, bar.update)
    measured = [each for each in explained if each.chosen != "worst"]
    if not measured:
        raise UserError(
            f"{SPLIT}/{name}.parquet: none of the {params.notes} chosen notes has a word: raise explain.notes"
        )

    # ---- all notes: a model on findings, and rules that imitate the fine-tuned one
    found = findings_by_shard(concepts, SPLIT, ["train", "calibration", name])
    bottleneck, bottleneck_scores = scored_bottleneck(found, shard, name, card, params)
    rules, fidelity = imitated(found, predictions, shard, name, params)

    methods = [method for method in params.methods if method not in missing]
    patients = shard.patients[[each.row for each in measured]]
    found_out = summary(
        measured,
        patients,
        methods,
        lambda note_id: generator(params.seed, note_id),
        samples=params.bootstrap_samples,
        seed=params.seed,
    )
    write_explanations(EXPLANATIONS, explained, texts, name, card)
    write_json(OVERALL, {"top_terms": terms, "rules": rules})
    write_json(BOTTLENECK, bottleneck)
    beside_random(PLOT, found_out["methods"], name, len(measured))
    attention(ATTENTION, found_out["attention"])
    write_json(METRICS, rounded({
        "shard": name,
        "notes": len(measured),
        "patients": len(np.unique(patients)),
        "notes_without_words": empty,
        "notes_with_annotations": sum(each.planted is not None for each in measured),
        "unread_words_share": sum(e.note.unread for e in measured) / sum(len(e.note.spans) + e.note.unread for e in measured),
        **found_out,
        "not_available": missing,
        "classes_with_top_terms": sum(bool(own) for own in terms.values()),
        "concept_bottleneck": bottleneck_scores,
        "rules": fidelity,
    }))  # fmt: skip


if __name__ == "__main__":
    run(main)
