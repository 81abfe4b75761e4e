"""How far a probe gets beyond chance, and what that says."""

from collections.abc import Iterator

import numpy as np
from scipy import sparse

from diagnosis.scores.bootstrap import interval, patient_weights
from diagnosis.scores.shards import Shard


def f1_and_chance(shard: Shard, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Macro-F1 and the macro-F1 of chance, each (b,), under (patients, b) weights.

    Chance decides every class as often as the shard's own decisions do, without regard to the note: of a class with share p
    decided with share q it is right with share pq, so its F1 is 2pq / (p + q). That is what a probe without any
    information gets (the agreement expected in Cohen 1960, A Coefficient of Agreement for Nominal Scales); guesses spread over the classes
    beat the majority's macro-F1 and yet say nothing. Classes neither true nor decided are left out.
    """
    decided, truth = shard.decided, shard.truth
    owner = sparse.csr_matrix(
        (np.ones(len(truth)), (np.arange(len(truth)), shard.patients)), (len(truth), len(weights))
    )
    hits, chosen, true = (
        sparse.csr_matrix(each.T.astype(float)) @ owner @ weights for each in (decided & truth, decided, truth)
    )
    total = np.bincount(shard.patients, minlength=len(weights)) @ weights
    counts = (decided | truth).any(axis=0)
    if not counts.any():
        return np.zeros(weights.shape[1]), np.zeros(weights.shape[1])
    both = (chosen + true)[counts]
    return (2 * hits[counts] / both).mean(axis=0), (2 * (chosen * true / total)[counts] / both).mean(axis=0)


def draws(shard: Shard, samples: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """`f1_and_chance` of the notes as they are, then of Bayesian bootstrap resamples of the patients."""
    patients = int(shard.patients.max()) + 1
    yield f1_and_chance(shard, np.ones((patients, 1)))
    for weights in patient_weights(patients, samples, seed):
        yield f1_and_chance(shard, weights)


def scored(shard: Shard, samples: int, seed: int) -> dict:
    """Macro-F1 with its 95 % interval, and accuracy."""
    (value, _), *rest = draws(shard, samples, seed)
    f1 = np.concatenate([part for part, _ in rest])
    return {"macro_f1": float(value[0]), **interval(f1), "accuracy": float(shard.correct.mean())}


def probed(shard: Shard, majority: Shard, margin: float, samples: int, seed: int) -> dict:
    """A probe's macro-F1, that of chance, and the lift between them with 95 % intervals; the difference to the majority; the verdict."""
    (value, chance), *rest = draws(shard, samples, seed)
    f1, by_chance = (np.concatenate(part) for part in zip(*rest, strict=True))
    (most, _), *most_rest = draws(majority, samples, seed)
    over_majority = f1 - np.concatenate([part for part, _ in most_rest])
    lift = {"value": float(value[0] - chance[0]), **interval(f1 - by_chance)}
    return {
        "macro_f1": float(value[0]),
        **interval(f1),
        "chance": float(chance[0]),
        "lift": lift,
        "over_majority": {"value": float(value[0] - most[0]), **interval(over_majority)},
        "verdict": verdict(lift, margin),
    }


def verdict(lift: dict, margin: float) -> str:
    """`leaks` where the whole interval lies above the margin, `none` where it lies below, else `cannot_conclude`."""
    return "leaks" if lift["low"] > margin else "none" if lift["high"] < margin else "cannot_conclude"


def difference(one: Shard, other: Shard, samples: int, seed: int) -> dict:
    """Macro-F1 of `one` minus that of `other` on the same notes, with its 95 % interval; paired."""
    (first, _), *rest = draws(one, samples, seed)
    (second, _), *other_rest = draws(other, samples, seed)
    drawn = np.concatenate([a - b for (a, _), (b, _) in zip(rest, other_rest, strict=True)])
    return {"value": float(first[0] - second[0]), **interval(drawn)}
