"""Clinical scores of the model with intervals over patients, the baselines and their differences beside, and the curves."""

from pathlib import Path

import numpy as np
from pydantic import Field
from tqdm import tqdm

from diagnosis.errors import UserError, run
from diagnosis.files import write_json
from diagnosis.params import Params
from diagnosis.scores.bootstrap import interval_of, patient_weights
from diagnosis.scores.curves import confusion, precision_recall, reliability, roc, write_points
from diagnosis.scores.metrics import METRICS, Scorer, at_threshold
from diagnosis.scores.shards import Predictions, Shard, check_same_notes

PREDICTIONS = Path("data/predictions.parquet")
BASELINE = Path("data/baseline.parquet")
METRICS_FILE = Path("metrics/evaluate.json")
CONFUSION = Path("plots/evaluate/confusion.csv")
ROC = Path("plots/evaluate/roc.csv")
PRECISION_RECALL = Path("plots/evaluate/precision_recall.csv")
RELIABILITY = Path("plots/evaluate/reliability.csv")
BASELINES = ("majority", "tfidf_logreg")


class EvaluateParams(Params):
    seed: int = Field(ge=0)
    bootstrap_samples: int = Field(ge=20)
    threshold: float = Field(gt=0, lt=1)
    target_prevalence: float | None = Field(gt=0, lt=1)


def main():
    params = EvaluateParams.load("evaluate")
    predictions, baseline = Predictions(PREDICTIONS), Predictions(BASELINE)
    if (predictions.classes, predictions.task) != (baseline.classes, baseline.task):
        raise UserError(f"{PREDICTIONS} and {BASELINE} state different classes or tasks: run `dvc repro`")
    classes = predictions.classes

    # ---- every shard, the model and the baselines on the same notes; no test where predict withheld it
    scored = {}
    for name in ("validation", *(["test"] if predictions.has("test") else [])):
        shards = {"model": predictions.shard(name, "model")}
        for other in BASELINES:
            shards[other] = baseline.shard(name, other)
            check_same_notes(shards["model"], shards[other], f"{PREDICTIONS} and {BASELINE}, shard {name}, {other}")
        scored[name] = shards
    metrics = {name: scores(name, shards, classes, params) for name, shards in scored.items()}

    # ---- the curves are those of the last shard
    write_points(CONFUSION, ["actual", "predicted"], confusion(shards["model"], classes), name)
    write_points(ROC, ["class", "fpr", "tpr"], roc(shards["model"], classes), name)
    write_points(PRECISION_RECALL, ["class", "recall", "precision"], precision_recall(shards["model"], classes), name)
    calibrated = {model: shards[model] for model in ("model", "tfidf_logreg")}
    write_points(RELIABILITY, ["model", "probability", "observed", "n"], reliability(calibrated), name)
    write_json(METRICS_FILE, metrics)


def scores(name: str, shards: dict[str, Shard], classes: list[str], params: EvaluateParams) -> dict:
    """Everything metrics/evaluate.json says of a shard; `shards` holds it as the model and as each baseline scored it."""
    model = shards["model"]
    scorers = {who: Scorer(shard) for who, shard in shards.items()}
    plain = {who: {key: value[0] for key, value in s.headline(s.ones).items()} for who, s in scorers.items()}
    patients = len(scorers["model"].ones)

    # ---- the same weights for all, so that differences are paired
    draws = {who: {key: [] for key in METRICS} for who in shards}
    with tqdm(total=params.bootstrap_samples, desc=f"evaluate: {name}", unit=" resamples") as bar:
        for weights in patient_weights(patients, params.bootstrap_samples, params.seed):
            for who, scorer in scorers.items():
                for key, values in scorer.headline(weights).items():
                    draws[who][key].append(values)
            bar.update(weights.shape[1])
    draws = {who: {key: np.concatenate(parts) for key, parts in by.items()} for who, by in draws.items()}

    def difference(other: str, key: str) -> dict:
        value = plain["model"][key] - plain[other][key]
        return {"value": value, **interval_of(key, value, draws["model"][key] - draws[other][key])}

    return {
        "n": len(model.truth),
        "n_patients": patients,
        "unknown_label_notes": int(model.unknown.sum()),
        "model": plain["model"]
        | {
            "by_class": by_class(model, scorers["model"], classes),
            "at_threshold": thresholded(model, classes, params),
        },
        "baseline": {other: plain[other] for other in BASELINES},
        "interval": {"model": {key: interval_of(key, plain["model"][key], draws["model"][key], 0) for key in METRICS}},
        "difference": {other: {key: difference(other, key) for key in METRICS} for other in BASELINES},
        "undefined": {
            "model": scorers["model"].undefined(),
            "baseline": {other: scorers[other].undefined() for other in BASELINES},
        },
    }


def by_class(shard: Shard, scorer: Scorer, classes: list[str]) -> dict:
    table = scorer.by_class(scorer.ones)
    return {
        label: {
            "n": int(shard.truth[:, k].sum()),
            "n_patients": len(np.unique(shard.patients[shard.truth[:, k]])),
            **{key: values[k, 0] for key, values in table.items()},
        }
        for k, label in enumerate(classes)
    }


def thresholded(shard: Shard, classes: list[str], params: EvaluateParams) -> dict:
    result = at_threshold(shard, params.threshold, params.target_prevalence)
    return {
        "threshold": params.threshold,
        "target_prevalence": params.target_prevalence,
        **result["macro"],
        "undefined": result["undefined"],
        "by_class": {
            label: {key: values[k] for key, values in result["by_class"].items()} for k, label in enumerate(classes)
        },
    }


if __name__ == "__main__":
    run(main)
