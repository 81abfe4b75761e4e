"""The loss by note, weighted by row, and over a shard."""

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional


def note_losses(
    logits: torch.Tensor,
    labels: torch.Tensor,
    gamma: float | None = None,
    adjustment: Sequence[float] | None = None,
    positive_weights: Sequence[float] | None = None,
) -> torch.Tensor:
    """The loss of each note (n,), from logits (n, classes).

    `labels` (n,) of class numbers: cross-entropy. `labels` (n, classes) of 0. and 1.: binary cross-entropy, summed over
    classes. With `gamma` each term is scaled by (1 - p)^gamma, p the probability given to the truth: focal loss (Lin et
    al. 2017), which gamma 0 makes cross-entropy again. `adjustment` (classes,) is added to the logits; `positive_weights`
    (classes,) multiply the terms of the labels that a note has. Computed in float32 whatever the model ran in.
    """
    logits = logits.float()
    if adjustment is not None:
        logits = logits + torch.as_tensor(adjustment, dtype=torch.float32, device=logits.device)
    if labels.dim() == 1:
        loss = functional.cross_entropy(logits, labels, reduction="none")
    else:
        loss = functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    if gamma is not None:
        # Each term is -log p; clamped, because the gradient of 0^gamma is infinite for gamma under 1.
        loss = loss * (1 - torch.exp(-loss)).clamp(min=1e-7) ** gamma
    if positive_weights is not None:
        positive = torch.as_tensor(positive_weights, dtype=torch.float32, device=logits.device)
        loss = torch.where(labels > 0, positive * loss, loss)
    return loss if labels.dim() == 1 else loss.sum(dim=1)


def batch_loss(losses: torch.Tensor, weights: torch.Tensor, items: int | torch.Tensor) -> torch.Tensor:
    """Weighted sum over the notes divided by `items`: the notes of the whole accumulated batch (times classes where
    multi-label), so that two half batches give the gradient of one, and row weights keep their size in every batch."""
    return (losses * weights).sum() / items


def mean_loss(logits: np.ndarray, labels: np.ndarray, gamma: float | None = None) -> float:
    """The unweighted loss of logits (n, classes): a mean over notes, and over classes where `labels` is (n, classes)."""
    losses = note_losses(torch.from_numpy(logits), torch.from_numpy(labels), gamma)
    return float(losses.double().sum() / labels.size)
