"""The scores by which the best epoch is chosen: those of evaluate, by its own code and names, and the loss."""

import numpy as np

from diagnosis.errors import UserError
from diagnosis.scores.metrics import METRICS, Scorer
from diagnosis.scores.shards import Shard
from diagnosis.training.inference import to_probabilities
from diagnosis.training.losses import mean_loss

LOWER_IS_BETTER = ("brier", "ece", "loss")
KNOWN = (*METRICS, "loss")
REPORTED = ("accuracy", "macro_f1", "weighted_f1", "micro_f1", "loss")  # in metrics/finetune.json, whatever chooses


def check_best_metric(name: str) -> str:
    if name not in KNOWN:
        raise ValueError(f"no validation metric is called so: choose one of {', '.join(KNOWN)}")
    return name


def scores(logits: np.ndarray, labels: np.ndarray, gamma: float | None = None) -> dict[str, float]:
    """Each metric of KNOWN from logits (n, classes), NaN where undefined; `labels` (n,) numbers, or (n, classes) of 0 and 1.

    Raises UserError where a logit is no number.
    """
    if wrong := int((~np.isfinite(logits)).any(axis=1).sum()):
        raise UserError(
            f"{wrong} of {len(logits)} validation notes get scores that are no numbers: lower finetune.learning_rate, or "
            "set finetune.precision to fp32"
        )
    single = labels.ndim == 1
    shard = Shard(
        note_ids=np.arange(len(labels)),
        patients=np.arange(len(labels)),  # each note its own: unweighted
        truth=np.arange(logits.shape[1]) == labels[:, None] if single else labels > 0,
        probabilities=to_probabilities(logits, "single_label" if single else "multi_label").astype(np.float64),
        unknown=np.zeros(len(labels), bool),
        single=single,
    )
    scorer = Scorer(shard)
    values = {name: float(value[0]) for name, value in scorer.headline(scorer.ones).items()}
    return values | {"loss": mean_loss(logits, labels, gamma)}


def reported(best_metric: str) -> list[str]:
    """The metrics that metrics/finetune.json states of the best epoch."""
    return [*REPORTED, *([best_metric] if best_metric not in REPORTED else [])]
