"""How far a note is from what the model was trained on, by its logits or its embedding. Higher is farther."""

from typing import NamedTuple, Self

import numpy as np
from scipy.special import logsumexp, softmax
from sklearn.covariance import LedoitWolf

MIN_NOTES = 5  # of a class, for a mean of its own


def energy(logits: np.ndarray, single: bool) -> np.ndarray:
    """(n,) energies of logits (n, classes) at temperature 1: -log(sum(exp(logits))) (Liu et al. 2020, Energy-based
    out-of-distribution detection); with several labels the sum over labels of -log(1 + exp(logit)) (Wang et al. 2021, Can multi-label classification
    networks know what they don't know?)."""
    logits = logits.astype(np.float64)
    return -logsumexp(logits, axis=1) if single else -np.logaddexp(0, logits).sum(axis=1)


def doubt(logits: np.ndarray, single: bool) -> np.ndarray:
    """(n,) 1 - the highest probability: the baseline of Hendrycks and Gimpel 2017."""
    logits = logits.astype(np.float64)
    return 1 - (softmax(logits, axis=1) if single else 1 / (1 + np.exp(-logits))).max(axis=1)


class Mahalanobis(NamedTuple):
    """Class means (m, width) and the one inverse covariance (width, width) of train embeddings (Lee et al. 2018, A simple
    unified framework for detecting out-of-distribution samples)."""

    means: np.ndarray
    precision: np.ndarray

    @classmethod
    def fit(cls, embeddings: np.ndarray, truth: np.ndarray) -> Self:
        """From embeddings (n, width) and truth (n, classes) bool. A class with fewer than five notes has no mean, and its notes no part;
        where notes have several labels, or no class has enough, there is one mean of all.

        The covariance is shrunk (Ledoit and Wolf 2004): widths are often larger than samples.
        """
        embeddings = embeddings.astype(np.float64)
        enough = np.flatnonzero(truth.sum(axis=0) >= MIN_NOTES)
        if (truth.sum(axis=1) > 1).any() or not len(enough):
            truth, enough = np.ones((len(embeddings), 1), bool), np.array([0])
        means = np.stack([embeddings[truth[:, k]].mean(axis=0) for k in enough])
        centred = np.concatenate([embeddings[truth[:, k]] - mean for k, mean in zip(enough, means, strict=True)])
        return cls(means, LedoitWolf(assume_centered=True).fit(centred).precision_)

    def distance(self, embeddings: np.ndarray) -> np.ndarray:
        """(n,) squared distances to the nearest class mean."""
        gaps = embeddings.astype(np.float64)[:, None] - self.means
        return np.einsum("nmi,ij,nmj->nm", gaps, self.precision, gaps, optimize=True).min(axis=1)


def auroc(
    inside: np.ndarray, outside: np.ndarray, inside_weights: np.ndarray, outside_weights: np.ndarray
) -> np.ndarray:
    """(b,) the chance that a text from outside, (m,), scores higher than one from inside, (n,), ties half; one for each of b columns
    of weights (n, b) and (m, b)."""
    wins = (outside[:, None] > inside) + 0.5 * (outside[:, None] == inside)
    above = ((wins @ inside_weights) * outside_weights).sum(axis=0)
    return above / (inside_weights.sum(axis=0) * outside_weights.sum(axis=0))
