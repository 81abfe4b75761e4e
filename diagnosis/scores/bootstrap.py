"""Intervals by the Bayesian bootstrap over patients (Rubin 1981, The Bayesian Bootstrap, Annals of Statistics 9)."""

from collections.abc import Iterator

import numpy as np

AT_ONCE = 128  # resamples held at a time: 10,000 patients' weights are 10 MB


def patient_weights(patients: int, samples: int, seed: int) -> Iterator[np.ndarray]:
    """Yield (patients, up to AT_ONCE) weights, `samples` columns in all.

    Exponential draws: a column over its sum is Dirichlet(1, ..., 1), and every metric is a ratio, so the sum may stay.
    Weights are never 0: a class that the notes hold is in every resample.
    """
    rng = np.random.default_rng(seed)
    for start in range(0, samples, AT_ONCE):
        yield np.ascontiguousarray(rng.standard_exponential((min(AT_ONCE, samples - start), patients)).T)


def interval(draws: np.ndarray, share: float = 0.95) -> dict[str, float | None]:
    """The middle `share` of the draws (percentiles) as low and high; null where a draw is undefined."""
    if not np.isfinite(draws).all():
        return {"low": None, "high": None}
    low, high = np.quantile(draws, [(1 - share) / 2, (1 + share) / 2])
    return {"low": float(low), "high": float(high)}


def interval_of(metric: str, value: float, draws: np.ndarray, lowest: float = -np.inf) -> dict[str, float | None]:
    """The 95 % interval of a metric (or of a difference in it) from its draws.

    Percentiles, but for the ECE: it sums absolute gaps, so every resample adds noise and lies above the value, which in its
    turn lies above the truth; its percentiles are reflected about the value (the basic bootstrap; Davison and Hinkley 1997,
    Bootstrap Methods, section 5.2), and widened to the value where even that is above the upper end. No end lies under `lowest`.
    """
    result = interval(draws)
    if metric != "ece" or result["low"] is None:
        return result
    low, high = 2 * value - result["high"], 2 * value - result["low"]
    return {"low": max(lowest, min(low, value)), "high": max(lowest, high, value)}
