"""Conformal sets of diagnoses: with how high a probability a class has to come to be in a note's set.

Split conformal prediction by one minus the probability of the true class (Sadinle et al. 2019), over all notes, in each class or in
each group (Vovk 2012). docs/methods.md says what is promised. One label a note only.
"""

import math

import numpy as np

OTHER = "(other)"  # the categories with too few notes, together, and notes without a group


def threshold(of_truth: np.ndarray, coverage: float) -> float:
    """The probability from which on a class is in the set, from the (n,) probabilities of the true classes.

    The ceil((n + 1) coverage)-th highest of them; 0, so every class, where n notes are too few to promise `coverage`.
    """
    n = len(of_truth)
    rank = n - math.ceil((n + 1) * coverage - 1e-9)  # of the ascending ones, from 0
    return float(np.sort(of_truth)[rank]) if rank >= 0 else 0.0


def enough(notes: int, coverage: float) -> bool:
    return math.ceil((notes + 1) * coverage - 1e-9) <= notes


def by_category(
    of_truth: np.ndarray, category: np.ndarray, names: list[str], coverage: float, patients: np.ndarray, min_patients: int
) -> dict:  # fmt: skip
    """{name: threshold} of each category with enough notes and patients; `(other)`, that of all other notes together."""
    result, rest = {}, np.ones(len(of_truth), bool)
    for name in names:
        inside = category == name
        if enough(int(inside.sum()), coverage) and len(np.unique(patients[inside])) >= min_patients:
            result[name] = threshold(of_truth[inside], coverage)
            rest &= ~inside
    return result | {OTHER: threshold(of_truth[rest], coverage)}


def fit(
    probabilities: np.ndarray, truth: np.ndarray, patients: np.ndarray, classes: list[str], coverage: float,
    groups: np.ndarray | None, min_count: int,
) -> dict:  # fmt: skip
    """The thresholds over all notes (`marginal`), by class (`class`) and, with (n,) `groups`, by group (`group`).

    Notes with a label outside the classes do not count. Groups of fewer than `min_count` patients go together.
    """
    known = truth.any(axis=1)
    of_truth, patients = probabilities[truth], patients[known]
    label = np.array(classes, dtype=object)[truth[known].argmax(axis=1)]
    result = {
        "coverage": coverage,
        "n": int(known.sum()),
        "marginal": threshold(of_truth, coverage),
        "class": by_category(of_truth, label, classes, coverage, patients, 0),
    }
    if groups is not None:
        groups = groups[known]
        names = sorted({name for name in groups if name is not None})
        result["group"] = by_category(of_truth, groups, names, coverage, patients, min_count)
    return result


def sets(fitted: dict, probabilities: np.ndarray, classes: list[str], by: str, groups=None) -> np.ndarray:
    """(n, k) bool: which classes are in each note's set, by the thresholds of `by`: marginal, class or group."""
    if by == "marginal":
        return probabilities >= fitted["marginal"]
    if by == "class":
        return probabilities >= [fitted["class"].get(label, fitted["class"][OTHER]) for label in classes]
    least = [fitted["group"].get(group, fitted["group"][OTHER]) for group in groups]
    return probabilities >= np.array(least)[:, None]
