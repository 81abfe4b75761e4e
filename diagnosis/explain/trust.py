"""How far an attribution can be trusted: does it name the words that the model uses, and do methods and seeds agree?"""

import numpy as np
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score

from diagnosis.explain.classifier import Classifier, Note, probability
from diagnosis.scores.bootstrap import interval, patient_weights

SHARES = (0.01, 0.05, 0.1, 0.2, 0.5)  # of the words, as ERASER has them
TOP = 0.1  # of the words, for the overlap of two attributions
RANDOM_DRAWS = 3  # of a random order of a note's words; each costs as many evaluations as a method
LEAST_PATIENTS = 6  # of one sign by chance: 2 * 0.5 ** 6 < 0.05 (the sign test)
RANDOM_SCORES = 50  # of random attributions, where they cost none


def first_words(scores: np.ndarray, share: float) -> np.ndarray:
    """(words,) bool: the share of the words with the highest scores, at least one, the first of equals."""
    result = np.zeros(len(scores), bool)
    result[np.argsort(-scores, kind="stable")[: max(1, round(share * len(scores)))]] = True
    return result


def faithfulness(
    classifier: Classifier, notes: list[Note], classes: list[int], scores: list[list[np.ndarray]]
) -> list[np.ndarray]:
    """(attributions, 2) of each note: comprehensiveness and sufficiency of each of its `scores` (words,), for its class.

    Comprehensiveness: how much the class' probability falls without the first words, the mean over SHARES; high is good.
    Sufficiency: how much it falls with the first words alone; low is good (DeYoung et al. 2020, ERASER).
    """
    kept = []
    for note, own in zip(notes, scores, strict=True):
        first = np.array([first_words(each, share) for each in own for share in SHARES])
        kept.append(np.vstack([np.ones((1, len(note.spans)), bool), ~first, first]))
    result = []
    for label, odds in zip(classes, classifier.log_odds(notes, kept), strict=True):
        chance = probability(odds[:, label])
        falls = (chance[0] - chance[1:]).reshape(2, -1, len(SHARES)).mean(axis=2)
        result.append(falls.T)
    return result


def agreement(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Spearman's rank correlation of two attributions of a note, NaN where one of them is the same for all words; and which share
    of the first TOP of the words they have in common."""
    a, b = first_words(one, TOP), first_words(other, TOP)
    overlap = (a & b).sum() / a.sum()
    if len(one) < 2 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return np.nan, overlap
    return float(spearmanr(one, other).statistic), overlap


def plausibility(scores: np.ndarray, planted: np.ndarray) -> float:
    """Area under the precision-recall curve (average precision) of a note's words; NaN where none is planted, or all are."""
    return average_precision_score(planted, scores) if 0 < planted.sum() < len(planted) else np.nan


def random_plausibility(planted: np.ndarray, rng: np.random.Generator) -> float:
    return float(np.mean([plausibility(rng.random(len(planted)), planted) for _ in range(RANDOM_SCORES)]))


def mean_with_interval(values: np.ndarray, patients: np.ndarray, samples: int, seed: int) -> dict:
    """The mean over notes with a value, its 95 % interval (Bayesian bootstrap over patients), and of how many notes it is."""
    there = np.isfinite(values)
    values, (_, owner) = values[there], np.unique(patients[there], return_inverse=True)
    if not len(values):
        return {"value": None, "low": None, "high": None, "notes": 0}
    draws = np.concatenate(
        [
            (values @ weights[owner]) / weights[owner].sum(axis=0)
            for weights in patient_weights(owner.max() + 1, samples, seed)
        ]
    )
    return {"value": float(values.mean()), **interval(draws), "notes": len(values)}


def beside_random(
    values: np.ndarray, chance: np.ndarray, patients: np.ndarray, samples: int, seed: int, high_is_good: bool
) -> dict:
    """A method's score over notes, what random orders get on the same notes, the paired difference, and what follows.

    "better than random" only where the whole interval of the difference is on the good side; of fewer than LEAST_PATIENTS nothing
    follows.
    """
    sampling = {"patients": patients, "samples": samples, "seed": seed}
    difference = mean_with_interval(values - chance, **sampling)
    low, high = (difference["low"], difference["high"]) if high_is_good else (difference["high"], difference["low"])
    sign = 1 if high_is_good else -1
    if low is None or len(np.unique(patients[np.isfinite(values - chance)])) < LEAST_PATIENTS:
        verdict = "cannot_conclude"
    elif sign * low > 0:
        verdict = "better than random"
    else:
        verdict = "worse than random" if sign * high < 0 else "no better than random"
    return {
        **mean_with_interval(values, **sampling),
        "random": mean_with_interval(chance, **sampling)["value"],
        "over_random": {name: difference[name] for name in ("value", "low", "high")},
        "verdict": verdict,
    }
