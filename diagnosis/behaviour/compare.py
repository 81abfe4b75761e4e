"""How far predictions move between a note and its perturbed copy, with intervals over patients, and what follows from it."""

from collections.abc import Sequence

import numpy as np

from diagnosis.disclosure import rounded, tellable
from diagnosis.scores.bootstrap import interval, patient_weights
from diagnosis.scores.shards import decisions

PRIOR = 0.5  # Jeffreys, as in the fairness audit


def total_variation(before: np.ndarray, after: np.ndarray, single: bool) -> np.ndarray:
    """(n,) distances, 0 to 1, of probabilities (n, classes): half the sum of the absolute differences; with several labels, where
    each is a distribution of its own over yes and no, the mean of the absolute differences."""
    moved = np.abs(before.astype(np.float64) - after)
    return moved.sum(axis=1) / 2 if single else moved.mean(axis=1)


def flips(before: np.ndarray, after: np.ndarray, single: bool) -> np.ndarray:
    """(n,) bool: whether the decision is another; with several labels, of any of them."""
    return (decisions(before, single) != decisions(after, single)).any(axis=1)


def estimate(values: np.ndarray, patients: np.ndarray, samples: int, seed: int, *, rate: bool = False) -> dict:
    """Mean of (n,) values with its 95 % interval by the Bayesian bootstrap over patients, numbered 0 to p - 1.

    `rate`: the values are yes or no, and half of each is put to them (Jeffreys' prior; Brown, Cai and DasGupta 2001): no flip in
    forty notes is not never. The interval holds its value.
    """
    rng, parts = np.random.default_rng([seed, len(values)]), []
    for weights in patient_weights(int(patients.max()) + 1, samples, seed):
        of_notes = weights[patients]
        above, below = values.astype(float) @ of_notes, of_notes.sum(axis=0)
        if rate:
            yes, no = rng.standard_gamma(PRIOR, (2, len(above)))
            above, below = above + yes, below + yes + no
        parts.append(above / below)
    value, found = float(values.mean()), interval(np.concatenate(parts))
    return {"value": value, "low": min(found["low"], value), "high": max(found["high"], value)}


def invariance(share: dict, margin: float) -> str:
    """Of the share of flipped decisions: `robust` where all of its interval is within the margin, `moves` where all is beyond it."""
    if share["high"] <= margin:
        return "robust"
    return "moves" if share["low"] > margin else "cannot_conclude"


def direction(move: dict, margin: float) -> str:
    """Of a mean move in the direction that is expected: `ignored` where all of its interval is within +- margin, else
    `as_expected` or `opposite` where it leaves out 0."""
    if -margin <= move["low"] and move["high"] <= margin:
        return "ignored"
    if move["low"] > 0:
        return "as_expected"
    return "opposite" if move["high"] < 0 else "cannot_conclude"


def by_group(
    before: np.ndarray,
    after: np.ndarray,
    patients: np.ndarray,
    member: np.ndarray,
    names: Sequence[str],
    *,
    single: bool,
    min_count: int,
) -> dict:
    """Flips and distance of the notes in each group, `member` (n, groups) bool; of groups of few patients, or from whose size such a
    one follows, no more than that. Groups that no note is in are left out."""
    flipped, distance = flips(before, after, single), total_variation(before, after, single)
    sizes = {(name,): len(np.unique(patients[member[:, k]])) for k, name in enumerate(names) if member[:, k].any()}
    shown = tellable(sizes, min_count) if sizes else set()
    result = {}
    for k, name in enumerate(names):
        if (name,) not in sizes:
            continue
        if sizes[name,] < min_count:
            result[name] = {"n_patients": f"<{min_count}"}
            continue
        told, rows = (name,) in shown, member[:, k]
        scores = {"flips": float(flipped[rows].mean()), "total_variation": float(distance[rows].mean())}
        size = {"n": int(rows.sum()), "n_patients": sizes[name,]} if told else {"n_patients": f">={min_count}"}
        result[name] = size | rounded(scores, 4 if told else 2)
    return result


def control(before: np.ndarray, after: np.ndarray, single: bool) -> dict:
    """Of a change that a model should not even see: the largest distance, which is 0 to the last bit where it does not."""
    if not len(before):
        return {"largest_total_variation": None, "verdict": "cannot_conclude"}
    largest = float(total_variation(before, after, single).max())
    return {"largest_total_variation": largest, "verdict": "moves" if largest else "unmoved"}


def scored(
    before: np.ndarray,
    after: np.ndarray,
    patients: np.ndarray,
    expected: list[list[int]],
    sign: int,
    margins: tuple[float, float],
    sampling: dict,
    *,
    single: bool,
    min_count: int,
) -> dict:
    """What metrics/probe.json says of one probe, from probabilities (n, classes) before and after it.

    `sign` 0 is an invariance test; else the probability of each row's `expected` classes should fall (-1) or rise (1): `move` is
    positive where it does. `margins` are of flips and of moves.
    """
    if (n_patients := len(np.unique(patients))) < min_count:
        return {"n_patients": f"<{min_count}", "verdict": "cannot_conclude"}
    result = {
        "n": len(before),
        "n_patients": n_patients,
        "flips": estimate(flips(before, after, single), patients, **sampling, rate=True),
        "total_variation": estimate(total_variation(before, after, single), patients, **sampling),
    }
    if not sign:
        return result | {"verdict": invariance(result["flips"], margins[0])}
    gained = [row[own] for row, own in zip(after.astype(np.float64) - before, expected, strict=True)]
    move = sign * np.array([row.sum() if single else row.mean() for row in gained])
    result["move"] = estimate(move, patients, **sampling)
    return result | {"verdict": direction(result["move"], margins[1])}
