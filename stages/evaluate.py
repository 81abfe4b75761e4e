"""Clinical scores of the model with intervals over patients, the baselines and their differences beside, and the curves."""

from pathlib import Path

import numpy as np
from pydantic import Field, model_validator
from tqdm import tqdm

from diagnosis.calibration.report import report, risk_coverage_points
from diagnosis.errors import UserError, run
from diagnosis.fairness.groups import read_groups
from diagnosis.files import read_json, write_json
from diagnosis.params import Params
from diagnosis.scores import evidence
from diagnosis.scores.bootstrap import interval_of, patient_weights
from diagnosis.scores.curves import confusion, precision_recall, reliability, roc, write_points
from diagnosis.scores.decision_plot import draw_curves
from diagnosis.scores.label_noise import label_noise, write_losses
from diagnosis.scores.metrics import METRICS, Scorer, at_threshold
from diagnosis.scores.net_benefit import decision_curves
from diagnosis.scores.ranking import hierarchical, ranking
from diagnosis.scores.shards import Predictions, Shard, check_same_notes

PREDICTIONS = Path("data/predictions.parquet")
BASELINE = Path("data/baseline.parquet")
CALIBRATED = Path("data/calibrated.parquet")
CARD = Path("models/calibration.json")
SPLIT = Path("data/split")
LOSSES = Path("data/note_losses.parquet")
METRICS_FILE = Path("metrics/evaluate.json")
CONFUSION = Path("plots/evaluate/confusion.csv")
ROC = Path("plots/evaluate/roc.csv")
PRECISION_RECALL = Path("plots/evaluate/precision_recall.csv")
RELIABILITY = Path("plots/evaluate/reliability.csv")
RISK_COVERAGE = Path("plots/evaluate/risk_coverage.csv")
DECISION_CURVES = Path("plots/evaluate/decision_curves.png")
RULES = ("keywords", "previous_admission")
BASELINES = ("majority", "tfidf_logreg", *RULES)


class DecisionRange(Params):
    low: float = Field(gt=0, lt=1)
    high: float = Field(gt=0, lt=1)
    weight: float = Field(gt=0)

    @model_validator(mode="after")
    def ascending(self):
        if self.low >= self.high:
            raise ValueError("low is not under high: swap them")
        return self


class EvaluateParams(Params):
    seed: int = Field(ge=0)
    bootstrap_samples: int = Field(ge=20)
    threshold: float = Field(gt=0, lt=1)
    target_prevalence: float | None = Field(gt=0, lt=1)
    net_benefit: dict[str, DecisionRange]


def main():
    params = EvaluateParams.load("evaluate")
    predictions, baseline, calibrated = map(Predictions, (PREDICTIONS, BASELINE, CALIBRATED))
    for other in (baseline, calibrated):
        if (predictions.classes, predictions.task) != (other.classes, other.task):
            raise UserError(f"{PREDICTIONS} and {other.path} state different classes or tasks: run `dvc repro`")
    classes = predictions.classes

    # ---- every shard, the model and the baselines on the same notes; no test where predict withheld it
    scored = {}
    for name in ("validation", *(["test"] if predictions.has("test") else [])):
        shards = {"model": predictions.shard(name, "model"), "calibrated": calibrated.shard(name, "calibrated")}
        check_same_notes(*shards.values(), f"{PREDICTIONS} and {CALIBRATED}, shard {name}")
        for other in BASELINES:
            shard = baseline.shard(name, other)
            check_same_notes(shards["model"], shard, f"{PREDICTIONS} and {BASELINE}, shard {name}, {other}")
            if (
                other not in RULES or says(shard, shards["majority"]).any()
            ):  # else it says nothing of any note: no baseline
                shards[other] = shard
        scored[name] = shards
    metrics = {name: scores(name, shards, classes, params) for name, shards in scored.items()}

    # ---- net benefit, of calibrated probabilities alone
    for name, shards in scored.items():
        metrics[name]["net_benefit"], decisions = decision_curves(
            shards["calibrated"], classes, params.net_benefit, params.bootstrap_samples, params.seed
        )
    if strangers := metrics[name]["net_benefit"]["not_classes"]:
        print(
            "evaluate: params.yaml: evaluate.net_benefit names what is no class of these notes:", ", ".join(strangers)
        )

    # ---- what calibration changes, its thresholds, sets and answers
    card = read_json(CARD)
    for name, shards in scored.items():
        groups = (
            card["group"] and read_groups(SPLIT / f"{name}.parquet", shards["model"], [card["group"]])[card["group"]]
        )
        metrics[name] |= report(shards, card, groups, params.target_prevalence, params.bootstrap_samples, params.seed)

    # ---- the curves are those of the last shard
    write_points(CONFUSION, ["actual", "predicted"], confusion(shards["model"], classes), name)
    write_points(ROC, ["class", "fpr", "tpr"], roc(shards["model"], classes), name)
    write_points(PRECISION_RECALL, ["class", "recall", "precision"], precision_recall(shards["model"], classes), name)
    compared = {model: shards[model] for model in ("model", "calibrated", "tfidf_logreg")}
    write_points(RELIABILITY, ["model", "probability", "observed", "n"], reliability(compared), name)
    write_points(RISK_COVERAGE, ["model", "coverage", "risk"], risk_coverage_points(compared), name)
    draw_curves(DECISION_CURVES, decisions, len(classes) - len(decisions), name)
    write_losses(LOSSES, {name: shards["model"] for name, shards in scored.items()}, classes)
    write_json(METRICS_FILE, metrics)


def scores(name: str, shards: dict[str, Shard], classes: list[str], params: EvaluateParams) -> dict:
    """Everything metrics/evaluate.json says of a shard; `shards` holds it as the model and as each baseline scored it."""
    model = shards["model"]
    scorers = {who: Scorer(shard) for who, shard in shards.items()}
    plain = {who: {key: value[0] for key, value in s.headline(s.ones).items()} for who, s in scorers.items()}
    patients, drawn = len(scorers["model"].ones), (params.bootstrap_samples, params.seed)

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
        "calibrated": plain["calibrated"]
        | {"by_class": by_class(shards["calibrated"], scorers["calibrated"], classes)},
        "baseline": {other: plain.get(other) for other in BASELINES},
        "baseline_says": {
            other: where_it_says(shards[other], shards["majority"], model) for other in RULES if other in shards
        },
        "interval": {
            who: {key: interval_of(key, plain[who][key], draws[who][key], 0) for key in METRICS}
            for who in ("model", "calibrated")
        }
        | {
            "by_class": evidence.by_class(model, scorers["model"], classes, *drawn),
        },
        "exact": evidence.exact(model, scorers["model"], classes),
        "resamples": evidence.resamples(model, scorers["model"], draws["model"]),
        "difference": {
            other: {key: difference(other, key) for key in METRICS} if other in shards else None for other in BASELINES
        },
        "undefined": {
            "model": scorers["model"].undefined(),
            "calibrated": scorers["calibrated"].undefined(),
            "baseline": {other: scorers[other].undefined() for other in BASELINES if other in shards},
        },
        "ranking": ranking(model, *drawn),
        "hierarchical": hierarchical(model, classes, *drawn),
        "label_noise": label_noise(model, classes, *drawn),
    }


def says(rule: Shard, majority: Shard) -> np.ndarray:
    """(n,) bool: the notes of which a rule has more to say than the priors, which are the majority's probabilities."""
    return (rule.probabilities != majority.probabilities).any(axis=1)


def where_it_says(rule: Shard, majority: Shard, model: Shard) -> dict:
    """The share of notes of which a rule says something; its accuracy and the model's on these alone."""
    notes = says(rule, majority)
    return {
        "share": float(notes.mean()),
        "accuracy": float(rule.correct[notes].mean()),
        "model_accuracy": float(model.correct[notes].mean()),
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
