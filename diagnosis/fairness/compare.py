"""A grouping's scores by group with intervals, and which differences between groups are more than chance.

docs/fairness.md has the definitions.
"""

from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from fairlearn.metrics import MetricFrame

from diagnosis.scores.bootstrap import interval, patient_weights
from diagnosis.scores.metrics import Scorer
from diagnosis.scores.shards import Shard

MACRO = ("sensitivity", "specificity", "ppv")
METRICS = ("accuracy", *MACRO, "brier")
PRIOR = 0.5  # Jeffreys


@dataclass(frozen=True)
class Group:
    """One group's scores: `value` and `draws` by metric, (k,) and (k, samples), k = 1 but for the macro metrics.

    `enough`, (k,) bool, says which classes count.
    """

    value: dict[str, np.ndarray]
    draws: dict[str, np.ndarray]
    enough: dict[str, np.ndarray]

    def mean(self, metric: str, part: str = "value", classes: np.ndarray | None = None) -> np.ndarray:
        """The mean of `value` or `draws` over classes (those that count, unless others are named); NaN over none."""
        chosen = getattr(self, part)[metric][self.enough[metric] if classes is None else classes]
        return chosen.mean(axis=0) if len(chosen) else np.full(chosen.shape[1:], np.nan)


def part_of(shard: Shard, rows: np.ndarray) -> Shard:
    """The notes of a shard at `rows`, patients numbered as in the whole."""
    arrays = ("note_ids", "patients", "truth", "probabilities", "unknown")
    return replace(shard, **{name: getattr(shard, name)[rows] for name in arrays})


def by_metric(scorer: Scorer, weights: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Numerator and denominator of each metric, (k, b)."""
    total, right, squares = (sums[None] for sums in scorer.sums(weights))
    rates = {name: pair for name, pair in scorer.fractions(weights).items() if name in MACRO}
    return {"accuracy": (right, total), **rates, "brier": (squares, total)}


def score(shard: Shard, patients: int, samples: int, seed: int, min_class_count: int) -> Group:
    """Score one group; `patients` is the number of the whole shard's, so that all groups share their weights.

    The draws are those of the Bayesian bootstrap with half a right and half a wrong note put to each rate (Jeffreys' prior;
    Brown, Cai and DasGupta 2001, Interval Estimation for a Binomial Proportion): eleven right answers of eleven are not
    certainty, as resampling them would have it.
    """
    scorer = Scorer(shard, patients)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = {name: (above / below)[:, 0] for name, (above, below) in by_metric(scorer, scorer.ones).items()}
    decided = shard.decided
    behind = {"sensitivity": shard.truth, "specificity": ~shard.truth, "ppv": decided}
    enough = {name: np.array([True]) for name in METRICS} | {
        name: np.array([len(np.unique(shard.patients[column])) >= min_class_count for column in notes.T])
        for name, notes in behind.items()
    }
    rng = np.random.default_rng([seed, int(shard.patients[0]), len(shard.patients)])
    parts = {name: [] for name in METRICS}
    for weights in patient_weights(patients, samples, seed):
        for name, (above, below) in by_metric(scorer, weights).items():
            if name == "brier":  # no rate: no prior
                parts[name].append(above / below)
                continue
            right, wrong = rng.standard_gamma(PRIOR, (2, *above.shape))
            parts[name].append((above + right) / (below + right + wrong))
    return Group(value, {name: np.hstack(draws) for name, draws in parts.items()}, enough)


def frame(shard: Shard, labels: np.ndarray, groups: dict[str, Group]) -> MetricFrame:
    """The plain scores by group, as fairlearn lays them out.

    MetricFrame hands a metric one group's share of y_true; here these are row numbers, so that one frame serves one label a
    note and several alike.
    """

    def metric(name):
        return lambda rows, _: float(groups[labels[rows[0]]].mean(name))

    rows = np.flatnonzero(np.isin(labels, list(groups)))
    return MetricFrame(
        metrics={name: metric(name) for name in METRICS},
        y_true=rows,
        y_pred=rows,
        sensitive_features=labels[rows],
    )


def described(group: Group, plain=None) -> dict:
    """Value and 95 % interval of each metric (`plain`: a row of `frame`); of macro ones also how many classes count."""
    result = {}
    for metric in METRICS:
        value = float(group.mean(metric) if plain is None else plain[metric])
        result[metric] = {"value": value, **interval_around(value, group.mean(metric, "draws"))}
        if metric in MACRO:
            result[metric]["classes"] = int(group.enough[metric].sum())
    return result


def interval_around(value: float, draws: np.ndarray) -> dict[str, float | None]:
    """A group's 95 % interval, widened to its value where that is 0 or 1."""
    result = interval(draws)
    if result["low"] is None:
        return result
    return {"low": min(result["low"], value), "high": max(result["high"], value)}


def compare(groups: dict[str, Group], metric: str) -> dict:
    """Every two groups, on the classes that count in both: the widest and the clearest difference, and the verdict.

    Intervals are simultaneous over the pairs: value +- c * standard error, c the 95th percentile over the draws of the
    largest |draw - mean| / standard error of any pair (max-T; Westfall and Young 1993, Resampling-Based Multiple Testing). So
    looking for the widest of many pairs does not by itself make a gap. The verdict is `gap` where the clearest pair's
    interval leaves out 0, else `cannot_conclude`.
    """
    pairs, largest = [], 0.0
    for first, second in combinations(groups, 2):
        shared = groups[first].enough[metric] & groups[second].enough[metric]
        high, low = first, second
        value = groups[high].mean(metric, classes=shared) - groups[low].mean(metric, classes=shared)
        if not np.isfinite(value):
            continue
        if value < 0:
            high, low, value = low, high, -value
        draws = groups[high].mean(metric, "draws", shared) - groups[low].mean(metric, "draws", shared)
        error = draws.std()
        pairs.append({"highest": high, "lowest": low, "value": value, "error": error, "classes": shared})
        if error > 0:
            largest = np.maximum(largest, np.abs(draws - draws.mean()) / error)
    if not pairs:
        return {"pairs": 0, "verdict": "cannot_conclude", "widest": None, "clearest": None}
    c = float(np.quantile(largest, 0.95))

    def describe(pair: dict) -> dict:
        reach = c * pair["error"]
        difference = {name: pair["value"] + sign * reach for name, sign in (("value", 0), ("low", -1), ("high", 1))}
        return {
            "highest": pair["highest"],
            "lowest": pair["lowest"],
            **({"classes": int(pair["classes"].sum())} if metric in MACRO else {}),
            "difference": difference,
            "ratio": ratio(groups, metric, pair, c),
        }

    widest = max(pairs, key=lambda pair: pair["value"])
    clearest = max(pairs, key=lambda pair: pair["value"] / max(pair["error"], 1e-12))
    return {
        "pairs": len(pairs),
        "verdict": "gap" if clearest["value"] > c * clearest["error"] else "cannot_conclude",
        "widest": describe(widest),
        "clearest": describe(clearest),
    }


def ratio(groups: dict[str, Group], metric: str, pair: dict, c: float) -> dict[str, float | None]:
    """Lowest over highest, its interval on the scale of logarithms; null where a group has 0."""
    high, low = (groups[pair[name]] for name in ("highest", "lowest"))
    top, bottom = (group.mean(metric, classes=pair["classes"]) for group in (high, low))
    if top == 0 or bottom == 0:
        return {"value": None if top == 0 else 0.0, "low": None, "high": None}
    draws = np.log(low.mean(metric, "draws", pair["classes"])) - np.log(high.mean(metric, "draws", pair["classes"]))
    value, reach = bottom / top, np.exp(c * draws.std())
    return {"value": value, "low": value / reach, "high": value * reach}
