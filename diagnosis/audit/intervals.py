"""Intervals of shares and of their differences, and how far label counts of groups are from one distribution."""

from math import sqrt

import numpy as np
from scipy.stats import chi2, chi2_contingency, norm


def quantile(comparisons: int = 1, share: float = 0.95) -> float:
    """The normal quantile of a two-sided interval, by Bonferroni where there are several comparisons."""
    return float(norm.ppf(1 - (1 - share) / (2 * max(comparisons, 1))))


def wilson(share: float, n: int, z: float) -> tuple[float, float]:
    """Interval of a share observed in n (Wilson 1927, Probable Inference, JASA 22)."""
    centre, half = share + z * z / (2 * n), z * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max((centre - half) / (1 + z * z / n), 0.0), min((centre + half) / (1 + z * z / n), 1.0)


def difference(share: float, n: int, other: float, m: int, z: float) -> tuple[float, float]:
    """Interval of share - other (Newcombe 1998, Interval Estimation for the Difference, Statistics in Medicine 17, method 10)."""
    (low, high), (low_other, high_other) = wilson(share, n, z), wilson(other, m, z)
    value = share - other
    return (
        value - sqrt((share - low) ** 2 + (high_other - other) ** 2),
        value + sqrt((high - share) ** 2 + (other - low_other) ** 2),
    )


def design_effect(sizes: np.ndarray) -> float:
    """By how much the variance of a share grows if all notes of a patient are alike: sum(m^2) / sum(m) of the patients' numbers of
    notes m (Kish 1965, Survey Sampling). Notes a patient where all have as many, and far more where few have most."""
    return float((sizes.astype(float) ** 2).sum() / sizes.sum())


def effective(sizes: np.ndarray) -> float:
    """The n of a share of these patients' notes: the notes by their design effect."""
    return float(sizes.sum()) / design_effect(sizes)


def association(counts: np.ndarray, effect: float) -> dict[str, float | None]:
    """Do the rows (groups) of `counts` (labels) come from one distribution?

    Cramér's V and the p-value of the chi-square statistic, divided by the `design_effect` (a patient's notes repeat each other; Rao and
    Scott 1981). Null where fewer than two rows or labels have notes.
    """
    rows, columns = counts.sum(axis=1) > 0, counts.sum(axis=0) > 0
    table = counts[rows][:, columns]
    if min(table.shape) < 2:
        return {"cramers_v": None, "p_value": None}
    found = chi2_contingency(table, correction=False)
    return {
        "cramers_v": sqrt(found.statistic / table.sum() / (min(table.shape) - 1)),
        "p_value": float(chi2.sf(found.statistic / effect, found.dof)),
    }


def total_variation(own: np.ndarray, other: np.ndarray, effect: float) -> tuple[float, float]:
    """(total variation between two label distributions, what chance alone would give between samples of these sizes).

    By chance: each label's difference is about normal, and E|N(0, s)| = s * sqrt(2 / pi).
    """
    n, m = own.sum(), other.sum()
    pooled = (own + other) / (n + m)
    spread = np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m) * effect)
    return float(np.abs(own / n - other / m).sum() / 2), float(spread.sum() * sqrt(2 / np.pi) / 2)
