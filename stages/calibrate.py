"""Calibrated probabilities, a threshold for each class, conformal sets and whom to ask: fitted on the calibration shard alone."""

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from diagnosis.calibration import conformal, methods, thresholds
from diagnosis.calibration.answers import confidence, limit
from diagnosis.errors import run
from diagnosis.fairness.groups import read_groups
from diagnosis.files import write_json
from diagnosis.params import Params
from diagnosis.scores.predictions import prediction_writer
from diagnosis.scores.shards import Predictions, Shard, nothing

PREDICTIONS = Path("data/predictions.parquet")
CALIBRATION = Path("data/split/calibration.parquet")
CALIBRATED = Path("data/calibrated.parquet")
CARD = Path("models/calibration.json")
METRICS_FILE = Path("metrics/calibrate.json")
SHARDS = ("validation", "calibration", "test")


class Costs(Params):
    false_negative: float = Field(ge=0)
    false_positive: float = Field(ge=0)
    true_positive: float = Field(ge=0)
    true_negative: float = Field(ge=0)


class CalibrateParams(Params):
    method: Literal["none", "temperature", "platt", "isotonic"]
    min_class_count: int = Field(ge=2)
    aim: Literal["sensitivity", "net_benefit", "f1", "cost"]
    min_sensitivity: float = Field(gt=0, lt=1)
    threshold_probability: float = Field(gt=0, lt=1)
    costs: Costs
    coverage: float = Field(gt=0, lt=1)
    sets: Literal["marginal", "class"]
    group: Literal["sex", "age_band", "race", "language", "insurance", "site"] | None
    defer: float = Field(ge=0, lt=1)
    min_count: int = Field(ge=2)


def main():
    params = CalibrateParams.load("calibrate")
    predictions = Predictions(PREDICTIONS)
    classes, task = predictions.classes, predictions.task
    if predictions.has("calibration"):
        shard, logits = predictions.shard("calibration", "model"), predictions.logits("calibration", "model")
    else:
        shard, logits = nothing(classes, task), np.zeros((0, len(classes)))

    # ---- the card: all that a service needs
    card = methods.fit(
        params.method,
        logits,
        shard.truth,
        shard.patients,
        classes=classes,
        task=task,
        min_class_count=params.min_class_count,
    )
    probabilities = methods.apply(card, logits)
    card |= {
        "data_use": predictions.data_use,
        "operating_points": operating_points(shard, probabilities, classes, params),
        "conformal": conformal_sets(shard, probabilities, classes, params),
        "sets": params.sets,
        "group": params.group if shard.single else None,
        "min_count": params.min_count,
        "deferral": {"budget": params.defer, "limit": limit(confidence(probabilities, shard.single), params.defer)},
    }
    say(card, len(shard.truth))

    # ---- every predicted note, as model `calibrated`
    with prediction_writer(CALIBRATED, classes=classes, task=task, data_use=predictions.data_use) as write:
        for name in filter(predictions.has, SHARDS):
            write(rows(card, predictions, name))
    write_json(CARD, card)
    write_json(METRICS_FILE, told(card, shard))


def operating_points(shard: Shard, probabilities: np.ndarray, classes: list[str], params: CalibrateParams) -> dict:
    stated = {
        "sensitivity": {"min_sensitivity": params.min_sensitivity},
        "net_benefit": {"threshold_probability": params.threshold_probability},
        "f1": {},
        "cost": {"costs": params.costs.model_dump()},
    }
    by_class = {
        label: thresholds.choose(
            probabilities[:, k],
            shard.truth[:, k],
            shard.patients,
            aim=params.aim,
            min_class_count=params.min_class_count,
            min_sensitivity=params.min_sensitivity,
            threshold_probability=params.threshold_probability,
            costs=params.costs.model_dump(),
        )
        for k, label in enumerate(classes)
    }
    return {"aim": params.aim, **stated[params.aim], "by_class": by_class}


def conformal_sets(shard: Shard, probabilities: np.ndarray, classes: list[str], params: CalibrateParams) -> dict:
    if not shard.single:
        return {"status": "not offered: these sets hold one diagnosis a note, and the task has several labels"}
    groups = None
    if params.group and len(shard.truth):
        groups = read_groups(CALIBRATION, shard, [params.group])[params.group].to_numpy()
    return conformal.fit(probabilities, shard.truth, shard.patients, classes, params.coverage, groups, params.min_count)


def say(card: dict, notes: int) -> None:
    """One line for each thing that these notes are too few for."""
    if card["reason"]:
        print(f"calibrate: {card['reason']}")
    if pooled := [label for label, part in card["by_class"].items() if part["method"] == "pooled"]:
        print(f"calibrate: no {card['method']} of their own, the pooled temperature instead: {', '.join(pooled)}")
    points = card["operating_points"]["by_class"]
    if unmet := [label for label, point in points.items() if point["threshold"] is None]:
        print(
            f"calibrate: the aim {card['operating_points']['aim']} cannot be met, so no threshold: {', '.join(unmet)}"
        )
    if "status" in card["conformal"]:
        print(f"calibrate: conformal sets are {card['conformal']['status']}")
    elif together := [label for label in card["classes"] if label not in card["conformal"]["class"]]:
        print(f"calibrate: too few notes for conformal sets of their own, one for all these: {', '.join(together)}")
    if not notes:
        print("calibrate: the calibration shard is empty, so nothing is fitted: raise split.calibration_share")


def rows(card: dict, predictions: Predictions, name: str) -> list[dict]:
    """The rows of a shard as model `calibrated`, in the order of note_id; the logits are those of the new probabilities."""
    table = predictions.table[(predictions.table["shard"] == name) & (predictions.table["model"] == "model")]
    probabilities = methods.apply(card, predictions.logits(name, "model"))
    logits = methods.to_logits(probabilities, card["task"] == "single_label")
    return [
        row | {"model": "calibrated", "logits": logits[place], "probabilities": probabilities[place]}
        for place, row in enumerate(table.sort_values("note_id").to_dict("records"))
    ]


def told(card: dict, shard: Shard) -> dict:
    """What git may hold of the card: not the knots of isotonic curves, which are notes' scores, and no group's threshold."""
    return {
        "n": len(shard.truth),
        "n_patients": len(np.unique(shard.patients)),
        **{name: card[name] for name in ("method", "temperature", "reason", "operating_points", "deferral")},
        "by_class": {
            label: {name: value for name, value in part.items() if name not in ("scores", "probabilities")}
            for label, part in card["by_class"].items()
        },
        "conformal": {name: value for name, value in card["conformal"].items() if name != "group"},
    }


if __name__ == "__main__":
    run(main)
