"""The loss that finetune's params and the rebalanced table ask for, and the class prior that the trained logits then carry."""

from functools import partial

import numpy as np

from diagnosis.training.inference import log_odds
from diagnosis.training.losses import note_losses


def objective(params, metadata: dict, shares: list[float]) -> tuple[partial, dict]:
    """(loss, metadata): the loss of each note as a function of logits and labels, and the metadata with `balanced_prior`
    as the raw logits will have it, so that `corrected` takes out what is there and nothing else.

    `metadata` is the balanced table's; `shares` (classes,) of the notes that have each class stand in for priors that it
    does not state (several labels, rows as they were).

    Logit adjustment (Menon et al. 2021, Long-tail Learning via Logit Adjustment) adds tau * log prior to the logits in the loss
    alone, where the prior is the one that the loss sees, rows and weights included: what the raw logits carry is the
    prior's power 1 - tau, nothing at tau 1. For each of several labels the same with log odds.
    """
    adjustment = None
    if params.loss == "logit_adjusted":
        seen = metadata["balanced_prior"] or shares
        single = metadata["task"] == "single_label"
        adjustment = params.logit_tau * (np.log(seen) if single else log_odds(seen))
        rest = (1 - params.logit_tau) * (np.log(seen) if single else log_odds(seen))
        carried = np.exp(rest) / np.exp(rest).sum() if single else 1 / (1 + np.exp(-rest))
        metadata = metadata | {"train_prior": metadata["train_prior"] or shares, "balanced_prior": carried.tolist()}
    gamma = params.focal_gamma if params.loss == "focal" else None
    weights = metadata.get("positive_weights")
    return partial(note_losses, gamma=gamma, adjustment=adjustment, positive_weights=weights), metadata
