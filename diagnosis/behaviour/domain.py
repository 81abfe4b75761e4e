"""Whether the out-of-distribution scores tell what they should: notes from shuffled words, notes from texts of another domain."""

import numpy as np

from diagnosis.behaviour.compare import estimate
from diagnosis.behaviour.outputs import Outputs
from diagnosis.out_of_distribution import Mahalanobis, auroc, doubt, energy
from diagnosis.scores.bootstrap import interval, patient_weights

MIN_TRAIN = 20  # notes: half of them for the statistics, half for the threshold
PERCENTILE = 99


def detectors(train: Outputs, truth: np.ndarray, single: bool) -> dict:
    """Scores by name, each a function of Outputs. What is fitted is fitted on the even rows of `train`, so that on the odd rows it is
    as it is on notes that it has not seen."""
    scores = {
        "energy": lambda found: energy(found.logits, single),
        "max_probability": lambda found: doubt(found.logits, single),
    }
    if train.embeddings is not None:
        fitted = Mahalanobis.fit(train.embeddings[::2], truth[::2])
        scores["mahalanobis"] = lambda found: fitted.distance(found.embeddings)
    return scores


def judged(
    train: Outputs,
    truth: np.ndarray,
    notes: Outputs,
    outside: dict[str, Outputs],
    patients: np.ndarray,
    single: bool,
    sampling: dict,
) -> dict:
    """By score: the threshold (a percentile of train notes), the share of `notes` beyond it, and the AUROC of each kind of text of
    `outside` against the notes. `shuffled_words` are copies of the notes in their order, and get their patients' weights."""
    if len(truth) < MIN_TRAIN:
        return {"status": "too few train notes"}
    draws = {kind: weights_of(kind, found, patients, sampling) for kind, found in outside.items() if len(found.logits)}
    result = {}
    for name, score in detectors(train, truth, single).items():
        threshold, own = float(np.percentile(score(train)[1::2], PERCENTILE)), score(notes)
        result[name] = {
            "threshold": threshold,
            "beyond_threshold": estimate(own > threshold, patients, **sampling, rate=True),
            "auroc": {kind: separation(own, score(outside[kind]), *draws[kind]) for kind in draws},
        }
    return result


def weights_of(kind: str, found: Outputs, patients: np.ndarray, sampling: dict) -> tuple[np.ndarray, np.ndarray]:
    """Bootstrap weights (n, samples) of the notes and (m, samples) of the texts from outside."""
    own = np.hstack(list(patient_weights(int(patients.max()) + 1, **sampling)))[patients]
    if kind == "shuffled_words":
        return own, own
    other = sampling | {"seed": sampling["seed"] + 1}
    return own, np.hstack(list(patient_weights(len(found.logits), **other)))


def separation(own: np.ndarray, other: np.ndarray, own_weights: np.ndarray, other_weights: np.ndarray) -> dict:
    value = float(auroc(own, other, np.ones((len(own), 1)), np.ones((len(other), 1)))[0])
    found = interval(auroc(own, other, own_weights, other_weights))
    verdict = "separates" if found["low"] > 0.5 else "inverted" if found["high"] < 0.5 else "cannot_conclude"
    return {"value": value, **found, "n": len(other), "verdict": verdict}
