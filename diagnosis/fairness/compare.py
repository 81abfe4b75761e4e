"""A grouping's scores by group with intervals, which differences between groups are more than chance, and which could matter.

docs/fairness.md has the definitions, docs/methods.md the formulas.
"""

from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from fairlearn.metrics import MetricFrame
from scipy import sparse
from scipy.stats import norm, t

from diagnosis.disclosure import tellable
from diagnosis.fairness.pooling import pooled
from diagnosis.scores.bootstrap import interval, interval_of, patient_weights
from diagnosis.scores.metrics import BINS, Scorer, calibration_gaps
from diagnosis.scores.shards import Shard

MACRO = ("sensitivity", "specificity", "ppv", "auroc")  # the mean over the classes that count
METRICS = ("accuracy", *MACRO, "brier", "calibration", "net_benefit")
ONE_VS_REST = ("demographic_parity", "equalised_odds")  # each class by itself
COMPARED = (*METRICS, *ONE_VS_REST)
VERDICTS = ("fair_within_margin", "unfair", "cannot_conclude")
NO_RATE = ("brier", "calibration", "net_benefit", "ece")  # no rate: no prior
UNBOUNDED = ("brier", "net_benefit")  # two may be more than 1 apart
NO_RATIO = ("calibration", "net_benefit")  # may be 0 or less
PRIOR = 0.5  # Jeffreys
POWER = 0.8


@dataclass(frozen=True)
class Group:
    """One group's scores: `value` and `draws` by metric, (k,) and (k, samples), k = 1 but for the macro metrics and
    `selection_rate`, the share of notes that each class is given to.

    `enough`, (k,) bool, says which classes count; `patients`, (k,), how many stand behind the rates of single classes.
    """

    value: dict[str, np.ndarray]
    draws: dict[str, np.ndarray]
    enough: dict[str, np.ndarray]
    patients: dict[str, np.ndarray] = field(default_factory=dict)
    least: int = 0  # patients, `min_class_count`

    def mean(self, metric: str, part: str = "value", classes: np.ndarray | None = None) -> np.ndarray:
        """The mean of `value` or `draws` over classes (those that count, unless others are named); NaN over none."""
        chosen = getattr(self, part)[metric][self.enough[metric] if classes is None else classes]
        return chosen.mean(axis=0) if len(chosen) else np.full(chosen.shape[1:], np.nan)


# ---------------------------------------------------------------- scores of a group


class Sums:
    """Numerator and denominator of each metric of a group, each (k, b), as functions of (patients, b) weights.

    `calibrated`: the same notes with the probabilities that calibration, ece and net benefit are of; `threshold`: net
    benefit's, null: it is NaN.
    """

    def __init__(self, shard: Shard, calibrated: Shard, patients: int, threshold: float | None):
        self._scorer = Scorer(shard, patients)
        notes = len(shard.truth)
        owner = sparse.csr_matrix((np.ones(notes), (np.arange(notes), shard.patients)), shape=(notes, patients))
        columns = np.column_stack([over_confidence(calibrated), net_benefit(calibrated, threshold)])
        self._sums = sparse.csr_matrix(columns).T @ owner
        gaps = calibration_gaps(calibrated)
        self._gaps, self._gap_columns = (gaps.T @ owner).tocsr(), gaps.shape[1] // BINS
        self.ones = self._scorer.ones

    def __call__(self, weights: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        total, right, squares = (sums[None] for sums in self._scorer.sums(weights))
        rates = self._scorer.fractions(weights)
        over, net = (self._sums @ weights)[:, None]
        # Var(A) <= A (1 - A) / min(positives, negatives): the prior is put to so many notes (van Dantzig 1951).
        pairs = np.minimum(rates["sensitivity"][1], rates["specificity"][1])
        return {
            "accuracy": (right, total),
            **{name: rates[name] for name in ("sensitivity", "specificity", "ppv")},
            "auroc": (self._scorer.by_class(weights)["auroc"] * pairs, pairs),
            "brier": (squares, total),
            "calibration": (over, total),
            "net_benefit": (net, total),
            "selection_rate": (rates["ppv"][1], total),
            "ece": (np.abs(self._gaps @ weights).sum(axis=0, keepdims=True) / self._gap_columns, total),
        }


def over_confidence(shard: Shard) -> np.ndarray:
    """(n,) probability minus outcome: of the likeliest class, or with several labels the mean over all of them."""
    if shard.single:
        return shard.probabilities.max(axis=1) - shard.correct
    return (shard.probabilities - shard.truth).mean(axis=1)


def net_benefit(shard: Shard, threshold: float | None) -> np.ndarray:
    """(n,) true decisions minus false ones at threshold / (1 - threshold) each, summed over classes (Vickers and Elkin 2006)."""
    if threshold is None:
        return np.full(len(shard.truth), np.nan)
    decided = shard.probabilities >= threshold
    return (decided & shard.truth).sum(axis=1) - (decided & ~shard.truth).sum(axis=1) * threshold / (1 - threshold)


def score(
    shard: Shard,
    patients: int,
    samples: int,
    seed: int,
    min_class_count: int,
    calibrated: Shard | None = None,
    threshold: float | None = None,
) -> Group:
    """Score one group; `patients` is the number of the whole shard's, so that all groups share their weights.

    The draws are those of the Bayesian bootstrap with half a right and half a wrong note put to each rate (Jeffreys' prior;
    Brown, Cai and DasGupta 2001, Interval Estimation for a Binomial Proportion): eleven right answers of eleven are not
    certainty, as resampling them would have it. Without `calibrated` the shard's own probabilities are taken.
    """
    sums = Sums(shard, shard if calibrated is None else calibrated, patients, threshold)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = {name: (above / below)[:, 0] for name, (above, below) in sums(sums.ones).items()}
    behind = {"sensitivity": shard.truth, "specificity": ~shard.truth, "ppv": shard.decided}
    counts = {
        name: np.array([len(np.unique(shard.patients[column])) for column in notes.T]) for name, notes in behind.items()
    }
    enough = {name: np.ones(len(values), bool) for name, values in value.items()}
    enough |= {name: patients >= min_class_count for name, patients in counts.items()}
    enough["auroc"] = enough["sensitivity"] & enough["specificity"]
    counts["selection_rate"] = np.full(shard.truth.shape[1], len(np.unique(shard.patients)))
    rng = np.random.default_rng([seed, int(shard.patients[0]), len(shard.patients)])
    parts = {name: [] for name in value}
    for weights in patient_weights(patients, samples, seed):
        for name, (above, below) in sums(weights).items():
            if name in NO_RATE:
                parts[name].append(above / below)
                continue
            right, wrong = rng.standard_gamma(PRIOR, (2, *np.broadcast_shapes(above.shape, below.shape)))
            parts[name].append((above + right) / (below + right + wrong))
    return Group(value, {name: np.hstack(draws) for name, draws in parts.items()}, enough, counts, min_class_count)


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


def described(group: Group, min_count: int, plain=None) -> dict:
    """Value and 95 % interval of each metric (`plain`: a row of `frame`); of macro ones also how many classes count.

    A macro score over one class is that class' plain fraction: where fewer than `min_count` patients stand behind it, it is null.

    The ece is here and in no comparison: few notes alone make it larger.
    """
    result = {}
    for metric in (*METRICS, "ece"):
        value = float(group.mean(metric) if plain is None or metric == "ece" else plain[metric])
        draws = group.mean(metric, "draws")
        bounds = interval_of(metric, value, draws, 0.0) if metric == "ece" else interval_around(value, draws)
        result[metric] = {"value": value, **bounds}
        if metric in MACRO:
            counted = group.enough[metric]
            behind = group.patients["sensitivity" if metric == "auroc" else metric]
            if counted.sum() == 1 and behind[counted].min() < min_count:
                result[metric] = {"value": None, "low": None, "high": None}
            result[metric]["classes"] = int(counted.sum())
    return result


def interval_around(value: float, draws: np.ndarray) -> dict[str, float | None]:
    """A group's 95 % interval, widened to its value."""
    result = interval(draws)
    if result["low"] is None:
        return result
    return {"low": min(result["low"], value), "high": max(result["high"], value)}


def selection_rates(shard: Shard, classes: list[str], min_count: int) -> dict[str, float]:
    """The share of a group's notes that each class is given to; left out where a count of patients under `min_count`
    stands behind it or follows from the others."""
    given = {
        (name,): len(np.unique(shard.patients[column])) for name, column in zip(classes, shard.decided.T, strict=True)
    }
    shown = tellable(given, min_count)
    return {name: float(rate) for name, rate in zip(classes, shard.decided.mean(axis=0), strict=True)
            if (name,) in shown and given[name,] >= min_count}  # fmt: skip


def pooled_scores(groups: dict[str, Group]) -> dict[str, dict]:
    """By metric: each group's score drawn towards the groups' mean (`by_group`), and the spread between groups (`sd`)."""
    result = {}
    for metric in METRICS:
        values = {label: float(group.mean(metric)) for label, group in groups.items()}
        known = [label for label, value in values.items() if np.isfinite(value)]
        if len(known) < 2:
            continue
        errors = np.array([groups[label].mean(metric, "draws").std() for label in known])
        of = pooled(np.array([values[label] for label in known]), errors)
        bounds = zip(known, of.value, of.error, strict=True)
        result[metric] = {
            "sd": of.between,
            "by_group": {
                label: {"value": value, "low": value - 1.96 * error, "high": value + 1.96 * error}
                for label, value, error in bounds
            },
        }
    return result


# ---------------------------------------------------------------- differences between groups


@dataclass(frozen=True)
class Contrasts:
    """The differences of one metric within one grouping: of every two groups, and of one-vs-rest metrics every class of each.

    center, error: (m,) mean and standard deviation of the draws, the sign turned so that the difference is 0 or more. largest: (samples,) the largest
    |draw - mean| / error of any of them. degrees: (m,) of freedom, the smaller group's patients less one. pairs: of groups; undecided: pairs without a class that counts in both. classes: the
    number compared, of one-vs-rest metrics.
    widest, clearest: the one with the largest difference, and with the largest center for its error.
    """

    center: np.ndarray
    error: np.ndarray
    degrees: np.ndarray
    largest: np.ndarray | float
    pairs: int
    undecided: int
    classes: int | None
    widest: dict | None
    clearest: dict | None


def contrasts(groups: dict[str, Group], metric: str, classes: list[str] | None = None) -> Contrasts:
    """Every two groups, on the classes that count in both."""
    of_two, compared = (one_vs_rest, set()) if metric in ONE_VS_REST else (of_means, None)
    found, largest, pairs, undecided = [], 0.0, 0, 0
    for first, second in combinations(groups, 2):
        told, values, draws = of_two(groups[first], groups[second], metric, classes)
        pairs, undecided = pairs + bool(told), undecided + (not told)
        if not told:
            continue
        if compared is not None:
            compared |= {each["of"] for each in told}
        errors, centers = draws.std(axis=1), draws.mean(axis=1)
        varies = errors > 0
        if varies.any():
            away = np.abs(draws - centers[:, None])[varies] / errors[varies, None]
            largest = np.maximum(largest, away.max(axis=0))
        for each, value, center, error in zip(told, values.tolist(), centers.tolist(), errors.tolist(), strict=True):
            high, low, sign = (first, second, 1) if value >= 0 else (second, first, -1)
            pair = {"highest": high, "lowest": low, "value": abs(value), "center": sign * center, "error": error}
            found.append(pair | each)
    if not found:
        none = np.zeros(0)
        return Contrasts(none, none, none, largest, 0, undecided, None if compared is None else 0, None, None)
    widest = max(found, key=lambda each: each["value"])
    clearest = max(found, key=lambda each: each["center"] / max(each["error"], 1e-12))
    center, error, degrees = (np.array([each[name] for each in found]) for name in ("center", "error", "degrees"))
    for each in (widest, clearest):
        each["ratio"] = ratio(groups, metric, each)
    count = None if compared is None else len(compared)
    return Contrasts(center, error, degrees, largest, pairs, undecided, count, widest, clearest)


def of_means(one: Group, other: Group, metric: str, _) -> tuple[list[dict], np.ndarray, np.ndarray]:
    """(what is told of it, value, draws (1, samples)) of the difference between two groups' means; nothing told: none."""
    shared = one.enough[metric] & other.enough[metric]
    value = one.mean(metric, classes=shared) - other.mean(metric, classes=shared)
    draws = one.mean(metric, "draws", shared) - other.mean(metric, "draws", shared)
    sizes = [group.patients["selection_rate"].min() for group in (one, other) if group.patients]
    told = {"shared": shared, "degrees": min(sizes, default=np.inf) - 1}
    return [told] if np.isfinite(value) else [], np.atleast_1d(value), draws[None]


def one_vs_rest(one: Group, other: Group, metric: str, classes) -> tuple[list[dict], np.ndarray, np.ndarray]:
    """The same of each class: of selection rates, or of sensitivity and the false positive rate, 1 - specificity.

    Of the last the sign is turned, so that the group with the higher rate is the `highest`. A class counts where, did the
    groups not differ, `min_class_count` patients of each would be expected on either side of the rate, as chi-squared tests
    ask for (Cochran 1954): the draws of rarer ones are so skewed that they alone would widen every interval.
    """
    told, values, draws = [], [], []
    for rate in ("selection_rate",) if metric == "demographic_parity" else ("sensitivity", "specificity"):
        sign = -1 if rate == "specificity" else 1
        rows = np.flatnonzero(one.enough[rate] & other.enough[rate] & expected(one, other, rate))
        degrees = np.minimum(one.patients[rate], other.patients[rate]) - 1
        named = "false_positive_rate" if sign < 0 else rate
        told += [{"rate": named, "class": classes[k], "of": k, "degrees": degrees[k]} for k in rows]
        values.append(sign * (one.value[rate] - other.value[rate])[rows])
        draws.append(sign * (one.draws[rate] - other.draws[rate])[rows])
    return told, np.concatenate(values), np.concatenate(draws)


def expected(one: Group, other: Group, rate: str) -> np.ndarray:
    sizes = np.array([one.patients[rate], other.patients[rate]])
    shared = (np.nan_to_num([one.value[rate], other.value[rate]]) * sizes).sum(axis=0) / sizes.sum(axis=0).clip(1)
    return sizes.min(axis=0) * np.minimum(shared, 1 - shared) >= one.least


def ratio(groups: dict[str, Group], metric: str, each: dict) -> dict | None:
    """Lowest over highest and the standard error of its logarithm; None where the metric has none."""
    if metric in NO_RATIO:
        return None
    if metric in ONE_VS_REST:
        name = "specificity" if each["rate"] == "false_positive_rate" else each["rate"]

        def part(group, which):
            found = getattr(groups[each[group]], which)[name][each["of"]]
            return 1 - found if name == "specificity" else found
    else:

        def part(group, which):
            return groups[each[group]].mean(metric, which, each["shared"])

    top, bottom = part("highest", "value"), part("lowest", "value")
    if top == 0 or bottom == 0:
        return {"value": None if top == 0 else 0.0, "error": None}
    draws = np.log(part("lowest", "draws")) - np.log(part("highest", "draws"))
    return {"value": float(bottom / top), "error": float(draws.std())}


def critical(family: list[Contrasts]) -> float:
    """The number of standard errors that intervals reach so that all of a family hold at once: the 95th percentile over
    the draws of the largest |draw - mean| / error of any of them (max-T; Westfall and Young 1993, Resampling-Based Multiple
    Testing). So looking for the widest of many differences does not by itself make a gap."""
    largest = 0.0
    for each in family:
        largest = np.maximum(largest, each.largest)
    return float(np.quantile(largest, 0.95))


def concluded(found: Contrasts, metric: str, c: float, margin: float) -> dict:
    """The widest and the clearest difference, where the largest true one lies, and the verdict.

    Those of two groups that had nothing to compare leave `fair_within_margin` out.
    """
    reach = errors_of(c, found.degrees) * found.error
    low, high = found.center - reach, found.center + reach
    return {
        "pairs": found.pairs,
        **({} if found.classes is None else {"classes": found.classes}),
        "verdict": verdict_of(low, high, margin, whole=not found.undecided),
        "margin": margin,
        "largest": largest_of(low, high, np.inf if metric in UNBOUNDED else 1.0),
        "widest": told_of(found.widest, c),
        "clearest": told_of(found.clearest, c),
    }


def verdict_of(low: np.ndarray, high: np.ndarray, margin: float, whole: bool = True) -> str:
    """`unfair`: an interval leaves out 0 and reaches beyond the margin. `fair_within_margin`: there is no interval that reaches
    beyond it, and the `whole` was compared. Else `cannot_conclude`."""
    if ((low > 0) & (high > margin)).any():
        return "unfair"
    return "fair_within_margin" if len(high) and whole and (high <= margin).all() else "cannot_conclude"


def largest_of(low: np.ndarray, high: np.ndarray, most: float = 1.0) -> dict | None:
    """Where the largest true difference lies; two rates are at `most` 1 apart."""
    return {"low": max(0.0, float(low.max())), "high": min(most, float(high.max()))} if len(high) else None


def errors_of(c: float, degrees: np.ndarray) -> np.ndarray:
    """`c` standard errors as many as Student's t asks for: an error estimated from few patients is itself uncertain. With
    two groups the degrees of the smaller are the cautious choice (Welch 1947)."""
    return t.isf(norm.sf(c), np.asarray(degrees, dtype=float).clip(1))


def told_of(each: dict | None, c: float) -> dict | None:
    """One difference as the metrics show it, its interval about the mean of the draws, which a small group's prior draws in
    (Agresti and Caffo 2000, Simple and Effective Confidence Intervals for Proportions); `detectable` is the gap that an interval leaves 0 out of in 80 % of such
    shards (Bloom 1995, Minimum Detectable Effects)."""
    if each is None:
        return None
    errors, of = float(errors_of(c, each["degrees"])), each["ratio"]
    reach = errors * each["error"]
    result = {name: each[name] for name in ("highest", "lowest", "rate", "class") if name in each}
    if len(each.get("shared", ())) > 1:
        result["classes"] = int(each["shared"].sum())
    low, high = min(each["value"], each["center"] - reach), max(each["value"], each["center"] + reach)
    result["difference"] = {"value": each["value"], "low": low, "high": high}
    result["detectable"] = (errors + float(norm.ppf(POWER))) * each["error"]
    if of is not None:
        sides = (None, None) if of["error"] is None else (np.exp(-errors * of["error"]), np.exp(errors * of["error"]))
        low, high = (None if side is None else float(of["value"] * side) for side in sides)
        result["ratio"] = {"value": of["value"], "low": low, "high": high}
    return result


def compare(groups: dict[str, Group], metric: str, margin: float, classes: list[str] | None = None) -> dict:
    """The groups of one grouping by themselves; `classes` names them for the one-vs-rest metrics."""
    found = contrasts(groups, metric, classes)
    return concluded(found, metric, critical([found]), margin)
