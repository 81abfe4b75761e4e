"""What stands beside a score's interval: intervals by class, the patients they rest on, exact ones where notes are independent."""

import numpy as np
from scipy.stats import beta

from diagnosis.scores.bootstrap import interval, patient_weights
from diagnosis.scores.metrics import BY_CLASS, MACRO, Scorer
from diagnosis.scores.shards import Shard

PROPORTIONS = ("sensitivity", "specificity", "ppv", "npv")


def resamples(shard: Shard, scorer: Scorer, draws: dict[str, np.ndarray]) -> dict:
    """Of each headline metric: the resamples that left it undefined, and the patients behind it.

    `positive_patients`: of a macro metric, those who have the class of its mean that the fewest have; of others, all. draws: (samples,)
    by metric.
    """
    by_class, have = scorer.by_class(scorer.ones), positive_patients(shard)
    fewest = {
        name: int(have[defined].min()) if (defined := ~np.isnan(by_class[part][:, 0])).any() else None
        for name, part in MACRO.items()
    }
    everyone = len(np.unique(shard.patients))
    return {
        "samples": len(next(iter(draws.values()))),
        "undefined": {name: int((~np.isfinite(values)).sum()) for name, values in draws.items()},
        "positive_patients": {name: fewest.get(name, everyone) for name in draws},
    }


def positive_patients(shard: Shard) -> np.ndarray:
    """(k,): patients with a note that has the class."""
    return np.array([len(np.unique(shard.patients[column])) for column in shard.truth.T])


def by_class(shard: Shard, scorer: Scorer, classes: list[str], samples: int, seed: int) -> dict:
    """The 95 % interval of every score of every class, the patients who have it, and the resamples that left it undefined.

    The weights are those of the headline metrics' intervals where the seed is.
    """
    draws = {name: [] for name in BY_CLASS}
    for weights in patient_weights(len(scorer.ones), samples, seed):
        for name, values in scorer.by_class(weights).items():
            draws[name].append(values)
    draws = {name: np.concatenate(parts, axis=1) for name, parts in draws.items()}
    have = positive_patients(shard)
    return {
        label: {
            "positive_patients": int(have[k]),
            **{
                name: {**interval(values[k]), "undefined_resamples": int((~np.isfinite(values[k])).sum())}
                for name, values in draws.items()
            },
        }
        for k, label in enumerate(classes)
    }


def exact(shard: Shard, scorer: Scorer, classes: list[str]) -> dict:
    """Clopper and Pearson's (1934) intervals of the proportions; none where a patient has several notes, for they ask for
    independent ones."""
    patients, notes = np.unique(shard.patients, return_counts=True)
    result = {"patients_with_several_notes": int((notes > 1).sum()), "accuracy": None, "by_class": None}
    if (notes > 1).any():
        return result
    rates = {name: fraction for name, fraction in scorer.fractions(scorer.ones).items() if name in PROPORTIONS}
    return result | {
        "accuracy": clopper_pearson(int(shard.correct.sum()), len(notes)),
        "by_class": {
            label: {
                name: clopper_pearson(
                    *(round(float(np.broadcast_to(part, rates[name][0].shape)[k, 0])) for part in rates[name])
                )
                for name in PROPORTIONS
            }
            for k, label in enumerate(classes)
        },
    }


def clopper_pearson(hits: int, of: int, share: float = 0.95) -> dict[str, float | None]:
    """The exact interval of a proportion; null where there is none."""
    if not of:
        return {"low": None, "high": None}
    tail = (1 - share) / 2
    return {
        "low": float(beta.ppf(tail, hits, of - hits + 1)) if hits else 0.0,
        "high": float(beta.ppf(1 - tail, hits + 1, of - hits)) if hits < of else 1.0,
    }
