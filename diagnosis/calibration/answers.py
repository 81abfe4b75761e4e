"""What the model answers: a diagnosis, or "not sure, ask the clinician" with its reason."""

import math

import numpy as np

from diagnosis.calibration import conformal
from diagnosis.scores.shards import decisions

REASONS = (
    "several_fit",
    "none_fits",
    "low_confidence",
)  # more than one diagnosis fits, none does, or it is not sure enough


def confidence(probabilities: np.ndarray, single: bool) -> np.ndarray:
    """(n,): the likeliest class' probability; of several labels, how far the least sure one is from undecided."""
    if single:
        return probabilities.max(axis=1)
    return np.maximum(probabilities, 1 - probabilities).min(axis=1)


def limit(confidences: np.ndarray, budget: float) -> float | None:
    """The confidence under which the clinician is asked: under it lies no more than `budget` of these notes. Null without any notes, or budget."""
    if not len(confidences) or not budget:
        return None
    return float(np.sort(confidences)[math.floor(budget * len(confidences) + 1e-9)])


def answers(card: dict, probabilities: np.ndarray) -> list[dict]:
    """An answer a note, from models/calibration.json and (n, k) calibrated probabilities.

    answer: the decided labels, or null where the clinician is asked. reason: one of REASONS, or null. confidence. set: the
    labels of its conformal set; null with several labels a note. The budget decides who is asked about, the set says why.
    """
    single, classes = card["task"] == "single_label", card["classes"]
    decided, sure = decisions(probabilities, single), confidence(probabilities, single)
    fitting = conformal.sets(card["conformal"], probabilities, classes, card["sets"]) if single else None
    least = card["deferral"]["limit"]
    result = []
    for row in range(len(probabilities)):
        asked = least is not None and sure[row] < least
        reason = None
        if asked:
            size = fitting[row].sum() if single else 1
            reason = "low_confidence" if size == 1 else "several_fit" if size else "none_fits"
        result.append({
            "answer": None if asked else [classes[k] for k in np.flatnonzero(decided[row])],
            "reason": reason,
            "confidence": float(sure[row]),
            "set": [classes[k] for k in np.flatnonzero(fitting[row])] if single else None,
        })  # fmt: skip
    return result


def risk_coverage(confidences: np.ndarray, wrong: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Coverage and risk where only notes from each confidence on are answered, from the surest on, and the area under them.

    confidences: (n,). wrong: (n,) bool. The area is the mean over notes of the risk at their own confidence (Geifman et al. 2019).
    """
    levels, place, count = np.unique(-confidences, return_inverse=True, return_counts=True)
    answered = count.cumsum()
    risk = np.bincount(place, weights=wrong, minlength=len(levels)).cumsum() / answered
    return answered / len(wrong), risk, float((risk * count).sum() / len(wrong))
