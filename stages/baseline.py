"""Baselines scored on each shard but train: two fitted on plain train, and two that a clinician knows, fitted on nothing."""

from pathlib import Path

import numpy as np
from pydantic import Field
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from diagnosis.errors import UserError, run
from diagnosis.files import read_json
from diagnosis.notes import open_notes, read_metadata, read_notes
from diagnosis.params import Params
from diagnosis.scores.baselines import fit, tfidf, truth
from diagnosis.scores.clinician import named, previous, shares
from diagnosis.scores.predictions import prediction_writer
from diagnosis.text.label_mentions import Mentions

SPLIT = Path("data/split")
TRAIN = SPLIT / "train.parquet"
SHARDS = {name: SPLIT / f"{name}.parquet" for name in ("validation", "calibration", "test")}
TITLES = Path("data/titles.json")
BASELINE = Path("data/baseline.parquet")
COLUMNS = ["note_id", "patient_id", "text", "text_pair", "labels"]


class BaselineParams(Params):
    ngrams: int = Field(ge=1, le=3)
    min_df: int = Field(ge=1)
    max_terms: int | None = Field(ge=1)
    C: float = Field(gt=0)
    max_iter: int = Field(ge=1)


def main():
    params = BaselineParams.load("baseline")
    metadata = read_metadata(TRAIN)
    classes, task = metadata.get("classes"), metadata.get("task")
    if not classes or task not in ("single_label", "multi_label"):
        raise UserError(f"{TRAIN} states no classes or no known task: run `dvc repro split`")
    for path in SHARDS.values():
        if read_metadata(path).get("classes") != classes:
            raise UserError(f"{path} states other classes than {TRAIN}: run `dvc repro split`")

    # ---- fit, on the train shard as it was dealt: not augmented, not rebalanced
    labels = open_notes(TRAIN).read(["labels"])["labels"].to_pylist()
    present = truth(labels, classes)
    if present.any(axis=0).sum() < 2:
        raise UserError(f"{TRAIN} holds notes of fewer than two classes: bring notes of more classes")
    if task == "single_label" and (other := int((present.sum(axis=1) != 1).sum())):
        raise UserError(f"{TRAIN}: {other} notes have not one label of the classes: run `dvc repro split`")
    train_texts = (words(note) for batch in read_notes(TRAIN, COLUMNS) for note in batch)
    vectoriser, vectors = tfidf(
        tqdm(train_texts, total=len(labels), desc="baseline: read", unit=" notes"),
        ngrams=params.ngrams,
        min_df=params.min_df,
        max_terms=params.max_terms,
    )
    with threadpool_limits(1):  # the same bytes whatever the number of threads
        regression = fit(vectors, present, task == "single_label", C=params.C, max_iter=params.max_iter)

    # ---- score the other shards
    prior, single = present.mean(axis=0), task == "single_label"
    titles = read_json(TITLES)
    mentions = Mentions({label: titles.get(label, [label]) for label in classes})
    with prediction_writer(BASELINE, classes=classes, task=task, data_use=metadata.get("data_use")) as write:
        for shard, path in SHARDS.items():
            ids = open_notes(path).read(["patient_id", "encounter_id", "labels"]).to_pydict()
            earlier, done = previous(*ids.values()), 0
            for notes in tqdm(read_notes(path, COLUMNS), desc=f"baseline: {shard}", unit=" batches"):
                texts, last = [words(note) for note in notes], earlier[done : done + len(notes)]
                done += len(notes)
                scored = {
                    "majority": np.tile(prior, (len(notes), 1)),
                    "tfidf_logreg": regression(vectoriser.transform(texts)),
                    "keywords": shares(named(mentions, texts, classes), prior, single),
                    "previous_admission": shares(truth([of or [] for of in last], classes), prior, single),
                }
                write([
                    {**{name: note[name] for name in ("note_id", "patient_id", "labels")},
                     "shard": shard, "model": model, "logits": None, "probabilities": row}
                    for model, probabilities in scored.items()
                    for note, row in zip(notes, probabilities.astype(np.float32), strict=True)
                ])  # fmt: skip


def words(note: dict) -> str:
    """What the baseline reads of a note: both texts where there are two."""
    return note["text"] if note["text_pair"] is None else f"{note['text']}\n{note['text_pair']}"


if __name__ == "__main__":
    run(main)
