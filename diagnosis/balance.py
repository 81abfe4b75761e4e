"""How often each training row is repeated and how much it weighs, so that the classes get fair portions."""

from collections.abc import Sequence

import numpy as np

SMOTE = ("smote", "borderline_smote")
IN_FINETUNE = ("class_sampler", *SMOTE)
ROWS = ("oversample", "undersample", *IN_FINETUNE)
"""Methods that decide which rows are seen, and how often; those of IN_FINETUNE are carried out there."""
WEIGHTS = ("class_weight", "effective_number")
"""Methods that decide what a row counts in the loss."""


def repeats(targets: np.ndarray, method: str | None, seed: int, strength: float = 1.0) -> np.ndarray:
    """How often each row is kept (0: dropped), by imbalanced-learn's random samplers; `targets` are class numbers (n,).

    oversample repeats rows until every class has as many as the largest; undersample drops rows down to the smallest. With
    a `strength` below 1 they go as far as `evened` says.
    """
    if method not in ("oversample", "undersample"):
        return np.ones(len(targets), dtype=np.int64)
    from imblearn.over_sampling import RandomOverSampler  # here: it takes two seconds to import
    from imblearn.under_sampling import RandomUnderSampler

    counts, strategy = np.bincount(targets), "auto"
    if strength < 1:
        wanted = evened(counts, strength)
        wanted *= counts.max() / wanted.max()
        if method == "undersample":
            wanted *= (counts / wanted).min()
        strategy = {number: round(count) for number, count in enumerate(wanted.tolist()) if counts[number]}
    sampler = (RandomOverSampler if method == "oversample" else RandomUnderSampler)(
        sampling_strategy=strategy, random_state=seed
    )
    sampler.fit_resample(np.arange(len(targets)).reshape(-1, 1), targets)
    return np.bincount(sampler.sample_indices_, minlength=len(targets))


def evened(counts: Sequence[float], strength: float) -> np.ndarray:
    """Shares of the classes in proportion to count^(1 - strength): 1 the same for each, 0 as they are, 0.5 as the square roots
    (Mahajan et al. 2018, Exploring the Limits of Weakly Supervised Pretraining).
    """
    counts = np.asarray(counts, dtype=np.float64)
    return np.array(shares((counts > 0) * counts ** (1 - strength)))


def class_weights(counts: Sequence[int]) -> np.ndarray:
    """n / (K * count) by class: every class then has the same total weight, and the mean weight of a row is 1.

    King and Zeng 2001, Logistic Regression in Rare Events Data; scikit-learn's "balanced".
    """
    counts = np.asarray(counts, dtype=np.float64)
    return counts.sum() / (len(counts) * counts)


def effective_numbers(counts: Sequence[int], beta: float) -> np.ndarray:
    """(1 - beta^n) / (1 - beta) by class: how many notes that tell something new its n notes hold (Cui et al. 2019,
    Class-Balanced Loss Based on Effective Number of Samples). Never above 1 / (1 - beta).
    """
    return -np.expm1(np.asarray(counts, dtype=np.float64) * np.log(beta)) / (1 - beta)


def effective_weights(counts: Sequence[int], beta: float) -> np.ndarray:
    """Weights in proportion to 1 / effective number, with a mean over the rows of 1."""
    counts = np.asarray(counts, dtype=np.float64)
    inverse = 1 / effective_numbers(counts, beta)
    return inverse * counts.sum() / (counts * inverse).sum()


def positive_weights(counts: Sequence[int], notes: int, method: str, beta: float) -> np.ndarray:
    """By label: what a note that has it counts beside one that has it not, so that both sides count the same.

    class_weight: absent / present notes; effective_number: the same of the effective numbers.
    """
    counts = np.asarray(counts, dtype=np.float64)
    if method == "class_weight":
        return (notes - counts) / counts
    return effective_numbers(notes - counts, beta) / effective_numbers(counts, beta)


def shares(amounts: Sequence[float]) -> list[float]:
    """The amounts divided by their sum."""
    amounts = np.asarray(amounts, dtype=np.float64)
    return (amounts / amounts.sum()).tolist()
