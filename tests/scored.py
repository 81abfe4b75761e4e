"""Invented predictions: random shards for the scores, tables and group columns for the stages."""

from pathlib import Path

import numpy as np

from diagnosis.calibration.methods import to_logits
from diagnosis.files import write_json
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
    logits = to_logits(shard.probabilities, shard.single).astype(np.float32)
    return [
        {
            "note_id": f"{name}-{shard.note_ids[row]}",
            "patient_id": f"{name}-p{shard.patients[row]}",
            "shard": name,
            "model": model,
            "labels": [classes[k] for k in np.flatnonzero(shard.truth[row])],
            "logits": logits[row],
            "probabilities": shard.probabilities[row].astype(np.float32),
        }
        for row in range(len(shard.truth))
    ]


def write_predictions(path: Path, rows: list[dict], *, single: bool = True, classes: list[str] = CLASSES) -> None:
    task = "single_label" if single else "multi_label"
    with prediction_writer(path, classes=classes, task=task, data_use=DATA_USE) as write:
        write(rows)


def write_card(folder: Path, *, single: bool = True, classes: list[str] = CLASSES, **changes) -> None:
    """models/calibration.json of a model that needs no calibration: each class from 0.5 on, or 0.2 for its set."""
    card = {
        "classes": classes,
        "task": "single_label" if single else "multi_label",
        "method": "none",
        "temperature": 1.0,
        "by_class": {},
        "reason": None,
        "operating_points": {"aim": "f1", "by_class": {label: {"threshold": 0.5, "reason": None} for label in classes}},
        "conformal": {"coverage": 0.9, "n": 50, "marginal": 0.2, "class": {"(other)": 0.2}},
        "sets": "class",
        "group": None,
        "min_count": 11,
        "deferral": {"budget": 0.1, "limit": 0.4},
    }
    if not single:
        card["conformal"] = {"status": "not offered"}
    write_json(folder / "models/calibration.json", card | changes)


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
