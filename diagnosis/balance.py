"""How often each training row is repeated and how much it weighs, so that the classes get fair portions."""

from collections.abc import Sequence

import numpy as np


def repeats(targets: np.ndarray, method: str, seed: int) -> np.ndarray:
    """How often each row is kept (0: dropped), by imbalanced-learn's random samplers; `targets` are class numbers (n,).

    oversample repeats rows until every class has as many as the largest; undersample drops rows down to the smallest.
    """
    if method not in ("oversample", "undersample"):
        return np.ones(len(targets), dtype=np.int64)
    from imblearn.over_sampling import RandomOverSampler  # here: it takes two seconds to import
    from imblearn.under_sampling import RandomUnderSampler

    sampler = (RandomOverSampler if method == "oversample" else RandomUnderSampler)(random_state=seed)
    sampler.fit_resample(np.arange(len(targets)).reshape(-1, 1), targets)
    return np.bincount(sampler.sample_indices_, minlength=len(targets))


def class_weights(counts: Sequence[int]) -> np.ndarray:
    """n / (K * count) by class: every class then has the same total weight, and the mean weight of a row is 1.

    King and Zeng 2001, Logistic Regression in Rare Events Data; scikit-learn's "balanced".
    """
    counts = np.asarray(counts, dtype=np.float64)
    return counts.sum() / (len(counts) * counts)


def shares(amounts: Sequence[float]) -> list[float]:
    """The amounts divided by their sum."""
    amounts = np.asarray(amounts, dtype=np.float64)
    return (amounts / amounts.sum()).tolist()
