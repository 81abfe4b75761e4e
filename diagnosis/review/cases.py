"""Which notes clinicians are asked to read: drawn from strata of a shard, so that what is read speaks for all of it."""

import numpy as np
from pydantic import Field

from diagnosis.params import Params
from diagnosis.scores.shards import Shard

STRATA = ("error", "disagreement", "low_confidence", "random")


class ReviewParams(Params):
    """params.yaml: review. How many cases each stratum gives, and the draws of the intervals."""

    seed: int = Field(ge=0)
    error: int = Field(ge=1)
    disagreement: int = Field(ge=1)
    low_confidence: int = Field(ge=1)
    random: int = Field(ge=1)
    bootstrap_samples: int = Field(ge=20)


def strata(model: Shard, baseline: Shard, low_confidence: int) -> np.ndarray:
    """(n,) the one stratum of STRATA that each note is in: the first of these that holds.

    error: the model's decision is not the recorded diagnosis. disagreement: the baseline decides otherwise than the model.
    low_confidence: the so many notes of the rest whose decision is least sure (the likeliest class' probability; of several labels
    the least sure label's). random: what is left.
    """
    sure = model.probabilities.max(axis=1)
    if not model.single:
        sure = np.maximum(model.probabilities, 1 - model.probabilities).min(axis=1)
    result = np.full(len(sure), "random", dtype=object)
    result[(model.decided != baseline.decided).any(axis=1)] = "disagreement"
    result[~model.correct] = "error"
    rest = np.flatnonzero(result == "random")
    result[rest[np.argsort(sure[rest], kind="stable")[:low_confidence]]] = "low_confidence"
    return result


def choose(model: Shard, baseline: Shard, params: ReviewParams) -> tuple[np.ndarray, np.ndarray]:
    """(n,) strata and (n,) bool, the cases: so many of each stratum, or all where it has fewer, drawn without replacement."""
    of_note = strata(model, baseline, params.low_confidence)
    chosen, rng = np.zeros(len(of_note), bool), np.random.default_rng(params.seed)
    for name in STRATA:
        chosen[rng.permutation(np.flatnonzero(of_note == name))[: getattr(params, name)]] = True
    return of_note, chosen
