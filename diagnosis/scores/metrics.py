"""Clinical scores of one model on one shard, for one or many weightings of its patients at once.

Every score is made of weighted sums over notes. The sums' coefficients stand in sparse matrices (rows: sums; columns:
patients), built once; a thousand resamples are then one matrix product. docs/evaluate.md has each definition.
"""

import numpy as np
from scipy import sparse

from diagnosis.scores.shards import Shard

BY_CLASS = ("sensitivity", "specificity", "ppv", "npv", "f1", "auroc", "auprc")
MACRO = {  # headline metric: the metric by class that it is the plain mean of
    "macro_f1": "f1",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "ppv": "ppv",
    "npv": "npv",
    "macro_auroc": "auroc",
    "macro_auprc": "auprc",
}
METRICS = ("accuracy", "weighted_f1", "micro_f1", *MACRO, "brier", "ece")
BINS = 15


class Scorer:
    """The scores of a Shard as functions of patient weights, a (patients, b) array; ones give the plain scores.

    `patients`: how many the weights are for, where the shard is a part of a larger one.
    """

    def __init__(self, shard: Shard, patients: int | None = None):
        truth, decided = shard.truth, shard.decided
        self._patients = int(shard.patients.max()) + 1 if patients is None else patients
        self._classes = truth.shape[1]
        notes = len(truth)
        # Adds up what belongs to a patient: the bootstrap weighs patients.
        self._owner = sparse.csr_matrix(
            (np.ones(notes), (np.arange(notes), shard.patients)), shape=(notes, self._patients)
        )
        self._counts = self._by_patient(np.hstack([truth & decided, decided, truth, np.ones((notes, 1))]))
        squares = ((shard.probabilities - truth) ** 2).sum(axis=1)
        self._sums = self._by_patient(np.column_stack([np.ones(notes), shard.correct, squares]))
        self._gaps = self._by_patient(calibration_gaps(shard))
        self._gap_columns = self._gaps.shape[0] // BINS
        self._ranks = [self._rank(truth[:, k], shard.probabilities[:, k]) for k in range(self._classes)]
        plain = fractions(*self._confusion(self.ones))
        self._defined = {name: below > 0 for name, (_, below) in plain.items()}

    @property
    def ones(self) -> np.ndarray:
        return np.ones((self._patients, 1))

    def _by_patient(self, columns) -> sparse.csr_matrix:
        """(notes, sums) as (sums, patients)."""
        return (sparse.csr_matrix(columns, dtype=np.float64).T @ self._owner).tocsr()

    def _rank(self, positive: np.ndarray, score: np.ndarray) -> tuple[int, sparse.csr_matrix]:
        """The sums that AUROC and AUPRC of a class need.

        The m distinct scores of its positives cut the negatives into 2m + 1 runs, from high to low: above the first,
        tied with it, between it and the second, and so on; m rows follow for the positives.
        """
        levels = np.unique(-score[positive])
        place = np.searchsorted(levels, -score)
        tied = np.isin(-score, levels)
        rows = np.where(positive, 2 * len(levels) + 1 + place, 2 * place + tied)
        shape = (3 * len(levels) + 1, len(score))
        picks = sparse.csr_matrix((np.ones(len(score)), (rows, np.arange(len(score)))), shape=shape)
        return len(levels), (picks @ self._owner).tocsr()

    def _confusion(self, weights: np.ndarray) -> tuple[np.ndarray, ...]:
        """(k, b) true positives, decided and true; (1, b) all."""
        k = self._classes
        sums = self._counts @ weights
        return sums[:k], sums[k : 2 * k], sums[2 * k : 3 * k], sums[3 * k :]

    def fractions(self, weights: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Numerator and denominator, each (k, b), of sensitivity, specificity, ppv, npv and f1."""
        return fractions(*self._confusion(weights))

    def sums(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Each (b,): all notes, right ones, and the sum of their squared errors."""
        return tuple(self._sums @ weights)

    def ece(self, weights: np.ndarray) -> np.ndarray:
        """(b,): the expected calibration error."""
        return np.abs(self._gaps @ weights).sum(axis=0) / self.sums(weights)[0] / self._gap_columns

    def by_class(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Each metric of BY_CLASS as (k, b), NaN where a class leaves it undefined."""
        result = {}
        for name, (above, below) in self.fractions(weights).items():
            result[name] = np.full(above.shape, np.nan)
            np.divide(above, below, out=result[name], where=np.broadcast_to(self._defined[name], above.shape))
        areas = [areas_under_curves(levels, picks @ weights) for levels, picks in self._ranks]
        result["auroc"] = np.stack([auroc for auroc, _ in areas])
        result["auprc"] = np.stack([auprc for _, auprc in areas])
        return result

    def headline(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Each metric of METRICS as (b,), NaN where undefined; macro ones are means over the classes that define them."""
        by_class = self.by_class(weights)
        hits, decided, true, _ = self._confusion(weights)
        total, right, squares = self.sums(weights)
        known = true.sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            result = {
                "accuracy": right / total,
                "weighted_f1": (np.nan_to_num(by_class["f1"]) * true).sum(axis=0) / known,
                "micro_f1": 2 * hits.sum(axis=0) / (decided.sum(axis=0) + known),
                "brier": squares / total,
                "ece": self.ece(weights),
            }
        return result | {name: mean_of_defined(by_class[part]) for name, part in MACRO.items()}

    def undefined(self) -> dict[str, int]:
        """For each macro metric, the number of classes that leave it undefined and are not in its mean."""
        by_class = self.by_class(self.ones)
        return {name: int(np.isnan(by_class[part]).sum()) for name, part in MACRO.items()}


def fractions(hits, decided, true, total) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Numerator and denominator of each score of a 2x2 table, elementwise, from true positives, decided, true and all."""
    negatives, cleared = total - true, total - decided
    rejected = np.maximum(total - true - decided + hits, 0)  # rounding may leave -1e-16
    return {
        "sensitivity": (hits, true),
        "specificity": (rejected, negatives),
        "ppv": (hits, decided),
        "npv": (rejected, cleared),
        "f1": (2 * hits, decided + true),
    }


def areas_under_curves(levels: int, sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AUROC (ties half) and average precision, each (b,), from the sums that Scorer._rank lays out."""
    negatives, positives = sums[: 2 * levels + 1], sums[2 * levels + 1 :]
    above = np.cumsum(negatives, axis=0)
    negative, positive = above[-1], positives.sum(axis=0)
    undefined = np.full(sums.shape[1], np.nan)
    if not levels:
        return undefined, undefined
    up_to = above[1::2]  # negatives above or tied with each score of a positive
    found = np.cumsum(positives, axis=0)
    auprc = (positives * found / (found + up_to)).sum(axis=0) / positive
    if not (negative > 0).all():
        return undefined, auprc
    won = positives * (negative - up_to + negatives[1::2] / 2)
    return won.sum(axis=0) / (positive * negative), auprc


def calibration_gaps(shard: Shard) -> sparse.csr_matrix:
    """(notes, BINS * columns): probability minus outcome, in the column of the probability's bin (low, high].

    One label a note: the likeliest class' probability, one column (Guo et al. 2017, On Calibration of Modern Neural
    Networks). Several labels: every label's probability, a column a label.
    """
    outcome, probability = shard.truth, shard.probabilities
    if shard.single:
        top = probability.argmax(axis=1)[:, None]
        outcome, probability = np.take_along_axis(outcome, top, 1), np.take_along_axis(probability, top, 1)
    notes, columns = probability.shape
    place = np.arange(columns) * BINS + bin_of(probability)
    rows = np.repeat(np.arange(notes), columns)
    return sparse.csr_matrix(((probability - outcome).ravel(), (rows, place.ravel())), shape=(notes, BINS * columns))


def bin_of(probability: np.ndarray) -> np.ndarray:
    """The number, from 0 on, of the equal-width bin that holds each probability; 0 is in the first."""
    return np.digitize(probability, np.linspace(0, 1, BINS + 1)[1:-1], right=True)


def mean_of_defined(by_class: np.ndarray) -> np.ndarray:
    """(k, b) to (b,): the mean over the classes that are not NaN; NaN where all are."""
    defined = ~np.isnan(by_class)
    with np.errstate(invalid="ignore"):
        return np.where(defined, by_class, 0).sum(axis=0) / defined.sum(axis=0)


def at_threshold(shard: Shard, threshold: float, prevalence: float | None) -> dict:
    """One-vs-rest scores where a class is decided from `threshold` on: macro, and by class in class order.

    With a `prevalence`, PPV and NPV are those of a population where each class has it, by Bayes' rule from sensitivity
    and specificity; without, those observed.
    """
    decided = shard.probabilities >= threshold
    counts = [(shard.truth & decided).sum(axis=0), decided.sum(axis=0), shard.truth.sum(axis=0), len(decided)]
    with np.errstate(invalid="ignore"):
        scores = {name: above / below for name, (above, below) in fractions(*map(np.asarray, counts)).items()}
        if prevalence is not None:
            found = scores["sensitivity"] * prevalence
            missed = (1 - scores["sensitivity"]) * prevalence
            cleared = scores["specificity"] * (1 - prevalence)
            alarms = (1 - scores["specificity"]) * (1 - prevalence)
            scores["ppv"], scores["npv"] = found / (found + alarms), cleared / (cleared + missed)
    del scores["f1"]
    macro = {name: float(mean_of_defined(values[:, None])[0]) for name, values in scores.items()}
    undefined = {name: int(np.isnan(values).sum()) for name, values in scores.items()}
    return {"macro": macro, "undefined": undefined, "by_class": scores}
