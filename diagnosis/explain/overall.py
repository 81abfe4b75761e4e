"""What counts over all notes, beside the model: terms by class, the concept bottleneck, rules."""

from dataclasses import replace

import numpy as np

from diagnosis.explain.classifier import Classifier
from diagnosis.explain.concepts import (
    Found,
    apply_bottleneck,
    common_findings,
    fit_bottleneck,
    fit_rules,
    table,
    top_terms,
)
from diagnosis.explain.gradients import integrated_gradients
from diagnosis.scores.baselines import truth
from diagnosis.scores.bootstrap import interval, patient_weights
from diagnosis.scores.metrics import Scorer
from diagnosis.scores.shards import Predictions, Shard

AT_ONCE = 64  # notes
SCORES = ("accuracy", "macro_f1")


def terms_by_class(
    classifier: Classifier, shard: Shard, rows: list[int], texts: dict, min_count: int, progress
) -> dict[str, list]:
    """The top terms of each class that is the likeliest of some of these notes, by one-step integrated gradients: the gradient
    half-way, which costs a fraction and orders most words alike."""

    def notes():
        for start in range(0, len(rows), AT_ONCE):
            part = rows[start : start + AT_ONCE]
            read = [classifier.read(shard.note_ids[row], *texts[shard.note_ids[row]]) for row in part]
            labels = [int(shard.probabilities[row].argmax()) for row in part]
            found, _ = integrated_gradients(classifier, read, [[label] for label in labels], steps=1)
            progress(len(part))
            for row, note, label, (scores,) in zip(part, read, labels, found, strict=True):
                words = [texts[note.note_id][text][start:end] for text, start, end in note.spans]
                yield classifier.card["classes"][label], shard.patients[row], words, scores

    return top_terms(notes(), min_count)


def scored_bottleneck(found: dict[str, Found], shard: Shard, name: str, card: dict, params) -> tuple[dict, dict]:
    """The concept bottleneck fitted on train, and its scores on the shard beside the model's, with the paired difference."""
    train, classes = found["train"], card["classes"]
    names = common_findings(train.findings, train.patients, params.min_count)
    options = {"C": params.C, "max_iter": params.max_iter}
    inputs = table(train.findings, names)
    bottleneck = fit_bottleneck(inputs, truth(train.labels, classes), names, classes, shard.single, **options)
    said = apply_bottleneck(bottleneck, found[name].of(shard.note_ids))
    compared = compare(shard, said, params.bootstrap_samples, params.seed)
    return bottleneck, {"findings": len(names), **compared}


def compare(shard: Shard, probabilities: np.ndarray, samples: int, seed: int) -> dict:
    """SCORES of other probabilities for a shard's notes, of the model's own, and the difference."""
    scorers = Scorer(replace(shard, probabilities=probabilities)), Scorer(shard)
    values = [scorer.headline(scorer.ones) for scorer in scorers]
    draws = []
    for weights in patient_weights(int(shard.patients.max()) + 1, samples, seed):
        draws.append([[scorer.headline(weights)[score] for score in SCORES] for scorer in scorers])
    draws = np.concatenate(draws, axis=2)  # (scorers, scores, samples)
    result = {}
    for place, score in enumerate(SCORES):
        own, model = (float(value[score][0]) for value in values)
        result[score] = {
            "concept_bottleneck": {"value": own, **interval(draws[0, place])},
            "model": {"value": model, **interval(draws[1, place])},
            "over_model": {"value": own - model, **interval(draws[0, place] - draws[1, place])},
        }
    return result


def imitated(
    found: dict[str, Found], predictions: Predictions, shard: Shard, name: str, params
) -> tuple[str | None, dict]:
    """Rules fitted to the model's decisions on the calibration shard, and how often they decide as the model does on the shard;
    beside them, always what the model decides most."""
    calibration = found["calibration"]
    names = common_findings(calibration.findings, calibration.patients, params.min_count)
    if not names or not predictions.has("calibration"):
        return None, {"available": False, "reason": "no finding is in enough patients of the calibration shard"}
    learned = predictions.shard("calibration", "model")
    decide, text = fit_rules(
        table(calibration.of(learned.note_ids), names),
        learned.decided,
        names,
        predictions.classes,
        learned.single,
        max_depth=params.rule_depth,
        min_samples_leaf=params.min_count,
        random_state=params.seed,
    )
    decided, counts = np.unique(learned.decided, axis=0, return_counts=True)
    said = {
        "fidelity": decide(table(found[name].of(shard.note_ids), names)),
        "most_decided": np.broadcast_to(decided[counts.argmax()], shard.decided.shape),
    }
    result = {"available": True, "fitted_on": "calibration", "notes": len(learned.note_ids), "findings": len(names)}
    same = np.array([(own == shard.decided).all(axis=1) for own in said.values()], dtype=float)
    draws = [
        same @ weights[shard.patients] / weights[shard.patients].sum(axis=0)
        for weights in patient_weights(int(shard.patients.max()) + 1, params.bootstrap_samples, params.seed)
    ]
    draws = np.concatenate(draws, axis=1)
    for place, key in enumerate(said):
        result[key] = {"value": float(same[place].mean()), **interval(draws[place])}
    over = {"value": float((same[0] - same[1]).mean()), **interval(draws[0] - draws[1])}
    imitates = over["low"] is not None and over["low"] > 0
    result |= {
        "over_most_decided": over,
        "verdict": "imitates" if imitates else "no better than the commonest decision",
    }
    return text, result
