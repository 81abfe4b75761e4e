"""Calibrated probabilities of every predicted note, fitted on the calibration shard alone."""

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from diagnosis.calibration import methods
from diagnosis.errors import run
from diagnosis.files import write_json
from diagnosis.params import Params
from diagnosis.scores.predictions import prediction_writer
from diagnosis.scores.shards import Predictions

PREDICTIONS = Path("data/predictions.parquet")
CALIBRATED = Path("data/calibrated.parquet")
CARD = Path("models/calibration.json")
METRICS_FILE = Path("metrics/calibrate.json")
SHARDS = ("validation", "calibration", "test")


class CalibrateParams(Params):
    method: Literal["none", "temperature", "platt", "isotonic"]
    min_class_count: int = Field(ge=2)


def main():
    params = CalibrateParams.load("calibrate")
    predictions = Predictions(PREDICTIONS)
    shard, logits = predictions.shard("calibration", "model"), predictions.logits("calibration", "model")
    card = methods.fit(
        params.method,
        logits,
        shard.truth,
        shard.patients,
        classes=predictions.classes,
        task=predictions.task,
        min_class_count=params.min_class_count,
    )
    with prediction_writer(
        CALIBRATED, classes=predictions.classes, task=predictions.task, data_use=predictions.data_use
    ) as write:
        for name in filter(predictions.has, SHARDS):
            write(rows(card, predictions, name))
    write_json(CARD, card)
    pooled = sorted(label for label, part in card["by_class"].items() if part["method"] == "pooled")
    write_json(
        METRICS_FILE,
        {
            "n": len(shard.truth),
            "n_patients": len(np.unique(shard.patients)),
            "method": card["method"],
            "temperature": card["temperature"],
            "reason": card["reason"],
            "pooled_classes": pooled,
        },
    )


def rows(card: dict, predictions: Predictions, name: str) -> list[dict]:
    """The rows of a shard as model `calibrated`, in the order of note_id; the logits are those of the new probabilities."""
    shard = predictions.shard(name, "model")
    table = predictions.table[(predictions.table["shard"] == name) & (predictions.table["model"] == "model")]
    probabilities = methods.apply(card, predictions.logits(name, "model"))
    logits = methods.to_logits(probabilities, shard.single)
    return [
        row | {"model": "calibrated", "logits": logits[place], "probabilities": probabilities[place]}
        for place, row in enumerate(table.sort_values("note_id").to_dict("records"))
    ]


if __name__ == "__main__":
    run(main)
