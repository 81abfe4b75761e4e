"""What filled sheets say: how far reviewers agree, what the right diagnoses are, and how the model and each clinician do by them.

docs/methods.md has the definitions and their sources.
"""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import combinations

import numpy as np
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import aggregate_raters, fleiss_kappa

from diagnosis.review.cases import STRATA
from diagnosis.review.sheet import SEVERITIES, Answers
from diagnosis.scores.bootstrap import interval, interval_of, patient_weights
from diagnosis.scores.metrics import METRICS, Scorer
from diagnosis.scores.shards import Shard

# A clinician gives no probability, so is scored by decisions alone.
DECISIONS = ("accuracy", "macro_f1", "sensitivity", "specificity", "ppv", "npv")


# ---- agreement


def codes(*decisions: np.ndarray) -> list[np.ndarray]:
    """Each (n, k) bool as (n,) numbers, equal where the whole answer is."""
    _, number = np.unique(np.vstack(decisions), axis=0, return_inverse=True)
    return np.split(number.reshape(-1), len(decisions))


def cohen(one: np.ndarray, other: np.ndarray) -> float:
    """Cohen's kappa of two raters' (n,) answers, scikit-learn's; NaN where chance alone would agree in all."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(cohen_kappa_score(one, other))


def fleiss(answers: np.ndarray) -> float:
    """Fleiss' kappa of (n, raters) answers, statsmodels'; NaN where all are one answer."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(fleiss_kappa(aggregate_raters(answers)[0]))


def resamples(patients: np.ndarray, samples: int, seed: int) -> Iterator[np.ndarray]:
    """Yield the cases of as many patients as there are, drawn with replacement, `samples` times."""
    _, owner = np.unique(patients, return_inverse=True)
    rows = np.split(np.argsort(owner, kind="stable"), np.cumsum(np.bincount(owner))[:-1])
    rng = np.random.default_rng(seed)
    for _ in range(samples):
        yield np.concatenate([rows[drawn] for drawn in rng.integers(0, len(rows), len(rows))])


def kappa(function: Callable, arrays: list[np.ndarray], patients: np.ndarray, samples: int, seed: int) -> dict:
    """value, low and high (95 %, percentiles over resampled patients), n cases, and the resamples that leave it undefined."""
    result = {"n": len(patients), "value": None, "low": None, "high": None, "undefined_resamples": 0}
    if not len(patients):
        return result
    value = function(*arrays)
    draws = np.array([function(*(array[rows] for array in arrays)) for rows in resamples(patients, samples, seed)])
    known = draws[np.isfinite(draws)]
    result["undefined_resamples"] = len(draws) - len(known)
    if np.isfinite(value):
        result |= {"value": value, **interval(known)}
    return result


def agreement(cases: Shard, reviewers: dict[str, Answers], samples: int, seed: int) -> dict:
    """Cohen's kappa of every two reviewers and of each with the model and the record; Fleiss' of all, on cases all answered."""

    def two(one, other, both):
        answers = codes(one[both], other[both]) if both.any() else [np.array([])] * 2
        return kappa(cohen, answers, cases.patients[both], samples, seed)

    known = ~cases.unknown  # a recorded label outside the classes is no answer a reviewer could give
    result = {
        "cohen": {
            f"{one} / {other}": two(a.diagnosis, b.diagnosis, a.answered & b.answered)
            for (one, a), (other, b) in combinations(reviewers.items(), 2)
        },
        "cohen_model": {name: two(cases.decided, each.diagnosis, each.answered) for name, each in reviewers.items()},
        "cohen_recorded": {
            name: two(cases.truth, each.diagnosis, each.answered & known) for name, each in reviewers.items()
        },
        "fleiss": None,
    }
    if len(reviewers) > 1:
        all_of = np.all([each.answered for each in reviewers.values()], axis=0)
        answers = codes(*(each.diagnosis[all_of] for each in reviewers.values())) if all_of.any() else [np.array([])]
        result["fleiss"] = kappa(fleiss, [np.column_stack(answers)], cases.patients[all_of], samples, seed)
    return result


# ---- the right diagnosis


def majority(answers: list[Answers]) -> tuple[np.ndarray, np.ndarray]:
    """(n, k) bool and (n,) bool: the answer that more than half of those who answered a case give, and whether there is one."""
    number = np.column_stack(codes(*(each.diagnosis for each in answers)))
    answered = np.column_stack([each.answered for each in answers])
    diagnosis, found = np.zeros_like(answers[0].diagnosis), np.zeros(len(number), bool)
    for column, each in enumerate(answers):
        votes = ((number == number[:, [column]]) & answered).sum(axis=1)
        most = each.answered & (2 * votes > answered.sum(axis=1))
        diagnosis[most], found = each.diagnosis[most], found | most
    return diagnosis, found


def corrected(cases: Shard, answers: list[Answers]) -> tuple[Shard, np.ndarray, np.ndarray]:
    """The cases with what reviewers say is right; (n,) bool by whom: their majority, or the record because they accept it.

    Without a majority the record stands where more than half of those who filled in `agree` accept it. Other cases are undecided.
    """
    diagnosis, found = majority(answers)
    agree = np.column_stack([each.agree for each in answers])
    accepted = ~found & (2 * (agree == 1).sum(axis=1) > (agree >= 0).sum(axis=1))
    truth = np.where(found[:, None], diagnosis, cases.truth)
    return replace(cases, truth=truth, unknown=cases.unknown & ~found), found, accepted


# ---- scores of all the shard, from the cases


def weights(shard: Shard, strata: np.ndarray, rows: np.ndarray, samples: int, seed: int) -> np.ndarray:
    """(rows, 1 + samples): what each of the cases `rows` of a shard stands for, plainly first and then by draw.

    Cases of a stratum share the notes of the whole stratum among them, so errors do not count for more because more of them were
    read (stratified estimation; Cochran 1977, Sampling Techniques, chapter 5). A draw weighs the shard's patients anew
    (exponential weights, as in evaluate): the strata's sizes and their cases alike.
    """
    _, patients = np.unique(shard.patients, return_inverse=True)
    ones, parts = np.ones((patients.max() + 1, 1)), []
    for draws in (ones, *patient_weights(len(ones), samples, seed)):
        part = draws[patients[rows]]
        for name in np.unique(strata[rows]):
            these = strata[rows] == name
            part[these] *= draws[patients[strata == name]].sum(axis=0) / part[these].sum(axis=0)
        parts.append(part)
    return np.hstack(parts)


def scored(side: Shard, of_case: np.ndarray, weight: np.ndarray, metrics, rng: np.random.Generator) -> dict:
    """(1 + samples,) of each metric for cases, of these strata, under their weights."""
    values = Scorer(replace(side, patients=np.arange(len(weight)))).headline(weight)
    return {metric: values[metric] for metric in metrics} | {"accuracy": share(side.correct, of_case, weight, rng)}


def share(flags: np.ndarray, of_case: np.ndarray, weight: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(1 + samples,): the flagged share of the shard's notes, plainly first and then by draw.

    Each stratum's draws have half a flagged and half an unflagged case put to them (Jeffreys' prior; Brown, Cai and DasGupta 2001):
    none flagged of twenty read does not mean none of the hundred that were not.
    """
    total = 0
    for name in np.unique(of_case):
        these = of_case == name
        size = weight[these].sum(axis=0)
        cases = these.sum() * (flags[these].astype(float) @ weight[these] / size)
        flagged, other = rng.standard_gamma(0.5, (2, len(size)))
        flagged[0] = other[0] = 0  # the plain value
        total = total + size * (cases + flagged) / (these.sum() + flagged + other)
    return total / weight.sum(axis=0)


def estimate(metric: str, values: np.ndarray) -> dict:
    """Value and 95 % interval; widened to the value, for the draws' prior keeps them from 0 and 1."""
    value = float(values[0])
    result = {"value": value, **interval_of(metric, value, values[1:])}
    if result["low"] is not None:
        result |= {"low": min(result["low"], value), "high": max(result["high"], value)}
    return result


def reviewed(
    shard: Shard, strata: np.ndarray, chosen: np.ndarray, reviewers: dict[str, Answers], samples: int, seed: int
) -> dict:
    """All of it: a shard as the model scored it, the notes' strata, (n,) bool which are cases, and the reviewers' answers."""
    cases, where, rng = shard.at(chosen), np.flatnonzero(chosen), np.random.default_rng([seed, 2])
    right, found, accepted = corrected(cases, list(reviewers.values()))
    decided = found | accepted
    result = {
        "cases": {
            name: {
                "notes": int((strata == name).sum()),
                "cases": int((strata[where] == name).sum()),
                "decided": int(decided[strata[where] == name].sum()),
            }
            for name in STRATA
        },
        "answered": {name: int(each.answered.sum()) for name, each in reviewers.items()},
        "recorded": {"accuracy": float(shard.correct.mean())},
        "agreement": agreement(cases, reviewers, samples, seed),
        "corrected": {
            "by_majority": int(found.sum()),
            "by_accepted_record": int(accepted.sum()),
            "undecided": int((~decided).sum()),
        },
        "severity": None,
        "against_clinicians": {},
    }
    missing = sorted(set(strata) - set(strata[where[decided]]))
    result["corrected"]["strata_without_decided"] = missing
    if not missing:
        truth, weight = right.at(decided), weights(shard, strata, where[decided], samples, seed)
        wrong = (right.truth != cases.truth).any(axis=1) | (right.unknown != cases.unknown)
        of_case = strata[where[decided]]
        values = scored(truth, of_case, weight, METRICS, rng)
        result["corrected"] |= {
            "record_wrong": int(wrong[decided].sum()),
            "record_accuracy": estimate("accuracy", share(~wrong[decided], of_case, weight, rng)),
            "model": {metric: estimate(metric, values[metric]) for metric in METRICS},
        }
        rated = np.column_stack([each.severity[decided] for each in reviewers.values()])
        result["severity"] = severity(~truth.correct, rated, of_case, weight, rng)
    for name, own in reviewers.items():
        result["against_clinicians"][name] = {}
        others = [each for other, each in reviewers.items() if other != name]
        for by, (truth, rows) in truths(cases, own, others).items():
            found = None
            if set(strata[where[rows]]) == set(strata):  # else nothing is known of a part of the shard
                weight = weights(shard, strata, where[rows], samples, seed)
                found = against(own, truth, rows, strata[where[rows]], weight, rng)
            result["against_clinicians"][name][by] = found
    return result


def severity(
    wrong: np.ndarray, rated: np.ndarray, of_case: np.ndarray, weight: np.ndarray, rng: np.random.Generator
) -> dict:
    """By severity, the cases that the model has wrong by the right diagnosis, and their estimated share of the shard's notes.

    rated: (n, reviewers), -1 where blank. A case's severity is the median of its ratings, the higher of two middle ones;
    `unrated` where there is none.
    """
    count = (rated >= 0).sum(axis=1)
    ordered = np.sort(np.where(rated < 0, SEVERITIES, rated), axis=1)  # blanks last
    middle = np.take_along_axis(ordered, np.minimum(count // 2, rated.shape[1] - 1)[:, None], axis=1)[:, 0]
    level = np.where(count > 0, middle, SEVERITIES)
    result = {}
    for value, name in enumerate([*map(str, range(SEVERITIES)), "unrated"]):
        these = wrong & (level == value)
        result[name] = {"cases": int(these.sum()), "share": estimate("share", share(these, of_case, weight, rng))}
    return result


def truths(cases: Shard, own: Answers, others: list[Answers]) -> dict[str, tuple[Shard, np.ndarray]]:
    """What a reviewer and the model are judged by, and the cases with that and the reviewer's answer.

    others: what more than half of the other reviewers say, for a reviewer has no part in the truth that judges them. recorded.
    """
    if not others:
        return {"recorded": (cases, own.answered)}
    diagnosis, found = majority(others)
    return {
        "others": (replace(cases, truth=diagnosis, unknown=np.zeros(len(found), bool)), found & own.answered),
        "recorded": (cases, own.answered),
    }


def against(own: Answers, truth: Shard, rows: np.ndarray, of_case: np.ndarray, weight: np.ndarray, rng) -> dict:
    """The model's and a clinician's scores by one truth, and model minus clinician on the same draws."""
    sides = {"model": truth, "clinician": replace(truth, probabilities=own.diagnosis.astype(float))}
    values = {who: scored(side.at(rows), of_case, weight, DECISIONS, rng) for who, side in sides.items()}
    return {"n": int(rows.sum())} | {
        metric: {who: estimate(metric, of[metric]) for who, of in values.items()}
        | {"difference": estimate(metric, values["model"][metric] - values["clinician"][metric])}
        for metric in DECISIONS
    }
