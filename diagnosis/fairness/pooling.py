"""Partial pooling: what few notes say of a group, drawn towards what all groups say together."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Pooled:
    """value, error: (m,) each estimate drawn to the mean, and its standard error. between: the groups' standard deviation."""

    value: np.ndarray
    error: np.ndarray
    between: float
    mean: float


def pooled(value: np.ndarray, error: np.ndarray) -> Pooled:
    """Empirical Bayes with normal errors: `value` (m,) estimates with standard errors `error` (m,).

    The variance between groups is DerSimonian and Laird's by the method of moments (1986, Meta-Analysis in Clinical Trials);
    the estimates, and their errors with what the mean's own error adds, are Morris' (1983, Parametric Empirical Bayes
    Inference). Where the groups differ by no more than chance, all are the mean.
    """
    variance = np.maximum(error, 1e-6) ** 2
    weight = 1 / variance
    center = (weight * value).sum() / weight.sum()
    excess = (weight * (value - center) ** 2).sum() - (len(value) - 1)
    between = max(0.0, excess / (weight.sum() - (weight**2).sum() / weight.sum())) if len(value) > 1 else 0.0
    weight = 1 / (variance + between)
    mean = (weight * value).sum() / weight.sum()
    drawn = variance / (variance + between)
    spread = variance * (1 - drawn) + drawn**2 / weight.sum()
    return Pooled(drawn * mean + (1 - drawn) * value, np.sqrt(spread), float(np.sqrt(between)), float(mean))
