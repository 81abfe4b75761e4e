"""Invented predictions: random shards for the scores, tables and group columns for the stages."""

from pathlib import Path

import numpy as np

from diagnosis.notes import note_writer
from diagnosis.scores.predictions import prediction_writer
from diagnosis.scores.shards import Shard

CLASSES = ["anaemia", "asthma", "gout", "sepsis"]
DATA_USE = {"corpus": "toy", "licence": "CC0-1.0 (invented)", "public": True}


def random_shard(
    notes: int, *, classes: int = 4, single: bool = True, patients: int | None = None, seed: int = 0
) -> Shard:
    """Better than chance, with tied probabilities (two decimals) and patients of several notes."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, classes, notes)
    truth = label[:, None] == np.arange(classes)
    logits = rng.normal(size=truth.shape) + 1.5 * truth
    if single:
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    else:
        truth = truth | (rng.random(truth.shape) < 0.15)
        probabilities = (1 / (1 + np.exp(1 - 2 * truth - logits))).round(2)
    owner = (
        np.arange(notes)
        if patients is None
        else np.append(np.arange(patients), rng.integers(0, patients, notes - patients))
    )
    ids = np.array([f"n{row:05}" for row in range(notes)], dtype=object)
    return Shard(ids, owner, truth, probabilities.astype(np.float64), np.zeros(notes, bool), single)


def prediction_rows(shard: Shard, name: str, model: str, classes: list[str] = CLASSES) -> list[dict]:
    return [
        {
            "note_id": f"{name}-{shard.note_ids[row]}",
            "patient_id": f"{name}-p{shard.patients[row]}",
            "shard": name,
            "model": model,
            "labels": [classes[k] for k in np.flatnonzero(shard.truth[row])],
            "logits": None,
            "probabilities": shard.probabilities[row].astype(np.float32),
        }
        for row in range(len(shard.truth))
    ]


def write_predictions(path: Path, rows: list[dict], *, single: bool = True, classes: list[str] = CLASSES) -> None:
    task = "single_label" if single else "multi_label"
    with prediction_writer(path, classes=classes, task=task, data_use=DATA_USE) as write:
        write(rows)


def write_shard(path: Path, rows: list[dict], groups: list[dict]) -> None:
    """A split shard with the notes of prediction rows, and a dict of group values a note."""
    metadata = {"task": "single_label", "data_use": DATA_USE, "classes": CLASSES}
    with note_writer(path, metadata) as writer:
        writer.write(
            {
                "note_id": row["note_id"],
                "patient_id": row["patient_id"],
                "source": "toy",
                "text": "invented",
                "labels": row["labels"],
            }
            | values
            for row, values in zip(rows, groups, strict=True)
        )
