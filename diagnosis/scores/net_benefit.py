"""Net benefit of acting on a probability (Vickers and Elkin 2006, Decision Curve Analysis, Medical Decision Making 26(6)).

Who acts from a probability t on holds one missed case for as bad as (1 - t) / t false alarms. So at threshold t the net
benefit is TP/n - FP/n * t / (1 - t); of treating all it is that of p = 1 for everyone, of treating none 0.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from diagnosis.scores.bootstrap import interval, patient_weights
from diagnosis.scores.shards import Shard

POINTS = 41  # thresholds of a class' range, both ends among them
SHOWN = ("model", "treat_all", "gain")


@dataclass(frozen=True)
class Benefit:
    """Of one class: `model` and `treat_all` are (t, b) net benefits by threshold and weighting, `prevalence` (b,)."""

    thresholds: np.ndarray
    model: np.ndarray
    treat_all: np.ndarray
    prevalence: np.ndarray

    def standardised(self, what: str = "model") -> np.ndarray:
        """(b,): the mean over the range (trapezoids) as a share of what a perfect model gains, the prevalence (Kerr et al.
        2016, Assessing the Clinical Impact of Risk Prediction Models, J Clin Oncol 34). `gain`: over the better of all and none,
        threshold by threshold. At most 1; NaN where no note has the class."""
        curve = self.model - np.maximum(self.treat_all, 0) if what == "gain" else getattr(self, what)
        area = np.trapezoid(curve, self.thresholds, axis=0)
        return over(area, self.prevalence * (self.thresholds[-1] - self.thresholds[0]))


def net_benefits(
    truth: np.ndarray, probability: np.ndarray, thresholds: np.ndarray, weights: np.ndarray | None = None
) -> Benefit:
    """The net benefit of one class at ascending thresholds in [0, 1).

    truth: (n,) bool. probability: (n,), calibrated: a threshold on others means nothing. weights: (n, b) of the notes, none: (n, 1)
    ones. Acted on from the threshold on. For a group hand in its rows of all three.
    """
    if weights is None:
        weights = np.ones((len(truth), 1))
    # Each note reaches so many of the thresholds; sums from the last on are then the true and false positives.
    reached = np.searchsorted(thresholds, probability, side="right")
    levels = len(thresholds) + 1
    rows = np.where(truth, reached, levels + reached)
    picks = sparse.csr_matrix((np.ones(len(truth)), (rows, np.arange(len(truth)))), shape=(2 * levels, len(truth)))
    sums = picks @ weights
    positives, negatives = (np.cumsum(part[::-1], axis=0)[::-1] for part in (sums[:levels], sums[levels:]))
    total = positives[0] + negatives[0]
    harm = (thresholds / (1 - thresholds))[:, None]
    return Benefit(
        thresholds,
        model=over(positives[1:] - harm * negatives[1:], total),
        treat_all=over(positives[0] - harm * negatives[0], total),
        prevalence=over(positives[0], total),
    )


def over(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """above / below, NaN where below is 0."""
    return np.divide(above, below, out=np.full(np.broadcast(above, below).shape, np.nan), where=below > 0)


def decision_curves(shard: Shard, classes: list[str], declared: dict, samples: int, seed: int) -> tuple[dict, dict]:
    """What metrics/evaluate.json says of a calibrated shard, and the curves to draw.

    declared: by class an object with `low` and `high`, the range of thresholds, and `weight`. Classes without one are left out and
    named; declared names that are no class are named as well. Curves: by class thresholds, model, low, high, treat_all, each (t,).
    """
    used = {label: declared[label] for label in classes if label in declared}
    columns = {label: classes.index(label) for label in used}
    thresholds = {label: np.linspace(found.low, found.high, POINTS) for label, found in used.items()}

    def scored(label: str, weights: np.ndarray | None = None) -> Benefit:
        k = columns[label]
        return net_benefits(shard.truth[:, k], shard.probabilities[:, k], thresholds[label], weights)

    plain = {label: scored(label) for label in used}
    draws = {label: {part: [] for part in ("curve", *SHOWN)} for label in used}
    if used:
        for weights in patient_weights(int(shard.patients.max()) + 1, samples, seed):
            by_note = weights[shard.patients]
            for label in used:
                found = scored(label, by_note)
                draws[label]["curve"].append(found.model.astype(np.float32))
                for part in SHOWN:
                    draws[label][part].append(found.standardised(part))
    draws = {label: {part: np.concatenate(of, axis=-1) for part, of in by.items()} for label, by in draws.items()}

    by_class, curves = {}, {}
    for label, benefit in plain.items():
        positive = shard.truth[:, columns[label]]
        by_class[label] = {
            **{name: getattr(used[label], name) for name in ("low", "high", "weight")},
            "n": int(positive.sum()),
            "n_patients": len(np.unique(shard.patients[positive])),
            **{part: with_interval(float(benefit.standardised(part)[0]), draws[label][part]) for part in SHOWN},
        }
        low, high = np.quantile(draws[label]["curve"], [0.025, 0.975], axis=1)
        curves[label] = {
            "thresholds": benefit.thresholds, "model": benefit.model[:, 0], "low": low, "high": high,
            "treat_all": benefit.treat_all[:, 0],
        }  # fmt: skip
    defined = [label for label, benefit in plain.items() if benefit.prevalence[0] > 0]
    weight = np.array([used[label].weight for label in defined])

    def mean(values: list) -> np.ndarray | float:
        return np.average(values, axis=0, weights=weight) if defined else np.nan

    totals = {
        part: with_interval(
            float(mean([plain[label].standardised(part)[0] for label in defined])),
            np.atleast_1d(mean([draws[label][part] for label in defined])),
        )
        for part in SHOWN
    }
    return {
        **totals,
        "by_class": by_class,
        "classes": len(defined),
        "without_a_note": [label for label in used if label not in defined],
        "undeclared": [label for label in classes if label not in declared],
        "not_classes": sorted(set(declared) - set(classes)),
    }, curves


def with_interval(value: float, draws: np.ndarray) -> dict[str, float | None]:
    return {"value": value, **interval(draws)}
