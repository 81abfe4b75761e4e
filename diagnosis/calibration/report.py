"""What metrics/evaluate.json says of calibrated probabilities: before and after, operating points, sets, answers."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from diagnosis.calibration import conformal, thresholds
from diagnosis.calibration.answers import REASONS, answers, confidence, risk_coverage
from diagnosis.disclosure import rounded
from diagnosis.scores.bootstrap import interval, interval_of, patient_weights
from diagnosis.scores.metrics import BINS, Scorer, bin_of
from diagnosis.scores.proportions import proportions, ratio_draws
from diagnosis.scores.shards import Shard

POINTS = 200  # of a risk-coverage curve, at most


def report(
    shards: dict[str, Shard], card: dict, groups: np.ndarray | None, prevalence: float | None, samples: int, seed: int
) -> dict:
    """The keys added to a shard; `shards` holds it as `model` and as `calibrated`, `groups` a group or None a note."""
    shard = shards["calibrated"]
    points = thresholds.described(
        shard, card["classes"], card["operating_points"]["by_class"], prevalence, samples, seed
    )
    return {
        "calibration": before_and_after(shards["model"], shard, samples, seed),
        "operating_points": {"aim": card["operating_points"]["aim"], "target_prevalence": prevalence, "by_class": points},
        "conformal": sets(shard, card, groups, samples, seed),
        "selective": selective(shard, card, samples, seed),
    }  # fmt: skip


def before_and_after(model: Shard, calibrated: Shard, samples: int, seed: int) -> dict:
    """ECE, classwise ECE and Brier of both, its parts, and the change (calibrated minus model) with paired intervals."""
    names = ("ece", "classwise_ece", "brier")
    scorers = {"model": errors(model), "calibrated": errors(calibrated)}
    patients = int(model.patients.max()) + 1
    plain = {who: dict(zip(names, score(np.ones((patients, 1)))[:, 0], strict=True)) for who, score in scorers.items()}
    draws = {who: [] for who in scorers}
    for weights in patient_weights(patients, samples, seed):
        for who, score in scorers.items():
            draws[who].append(score(weights))
    draws = {who: dict(zip(names, np.concatenate(parts, axis=1), strict=True)) for who, parts in draws.items()}

    def kind(name):  # interval_of knows how an ECE is resampled
        return "ece" if name.endswith("ece") else name

    result = {
        who: {
            name: {"value": plain[who][name], **interval_of(kind(name), plain[who][name], draws[who][name], 0)}
            for name in names
        }
        | {"brier_parts": brier_parts(shard)}
        for who, shard in (("model", model), ("calibrated", calibrated))
    }
    change = {}
    for name in names:
        value = plain["calibrated"][name] - plain["model"][name]
        change[name] = {
            "value": value,
            **interval_of(kind(name), value, draws["calibrated"][name] - draws["model"][name]),
        }
    return result | {"change": change}


def errors(shard: Shard):
    """A function from (patients, b) weights to (3, b): ECE, classwise ECE (Kull et al. 2019) and Brier."""
    top, every = Scorer(shard), Scorer(replace(shard, single=False))  # as if of several labels: the mean over classes

    def score(weights):
        total, _, squares = top.sums(weights)
        return np.stack([top.ece(weights), every.ece(weights), squares / total])

    return score


def brier_parts(shard: Shard) -> dict:
    """Murphy's (1973) parts of the Brier score, of each class against the rest in the ECE's bins, summed over the classes.

    brier = reliability - resolution + uncertainty + within_bins: what the binning itself loses (Stephenson et al. 2008).
    """
    parts = dict.fromkeys(("reliability", "resolution", "uncertainty"), 0.0)
    for k in range(shard.truth.shape[1]):
        y, p = shard.truth[:, k].astype(np.float64), shard.probabilities[:, k]
        place = bin_of(p)
        count = np.maximum(np.bincount(place, minlength=BINS), 1)
        share = np.bincount(place, minlength=BINS) / len(y)
        observed = np.bincount(place, weights=y, minlength=BINS) / count
        stated = np.bincount(place, weights=p, minlength=BINS) / count
        parts["reliability"] += float((share * (stated - observed) ** 2).sum())
        parts["resolution"] += float((share * (observed - y.mean()) ** 2).sum())
        parts["uncertainty"] += float(y.mean() * (1 - y.mean()))
    brier = float(((shard.probabilities - shard.truth) ** 2).sum(axis=1).mean())
    known = parts["reliability"] - parts["resolution"] + parts["uncertainty"]
    return parts | {"within_bins": brier - known}


def sets(shard: Shard, card: dict, groups: np.ndarray | None, samples: int, seed: int) -> dict:
    """Of each kind of conformal set: coverage of all notes, of each class and each group, and sizes, with intervals."""
    fitted = card["conformal"]
    if not shard.single:
        return {"status": fitted["status"]}
    classes = card["classes"]
    labels = [label for k, label in enumerate(classes) if shard.truth[:, k].any()]
    of_class = shard.truth[:, [classes.index(label) for label in labels]]
    shown, of_group = [], np.zeros((len(shard.truth), 0), bool)
    if groups is not None:
        counts = {name: len(np.unique(shard.patients[groups == name])) for name in sorted({g for g in groups if g})}
        shown = [name for name, count in counts.items() if count >= card["min_count"]]
        of_group = np.column_stack([groups == name for name in shown]) if shown else of_group
    of = np.hstack([np.ones((len(shard.truth), 1), bool), of_class, of_group])
    result = {"coverage_aim": fitted["coverage"], "group_column": card["group"], "answers_use": card["sets"]}
    for by in ("marginal", "class", *(["group"] if groups is not None and "group" in fitted else [])):
        inside = conformal.sets(fitted, shard.probabilities, classes, by, groups)
        held = (inside & shard.truth).any(axis=1)[:, None]
        found = [
            each.described() for each in proportions(np.broadcast_to(held, of.shape), of, shard.patients, samples, seed)
        ]
        size = inside.sum(axis=1, keepdims=True)
        draws = ratio_draws(size, np.ones_like(size), shard.patients, samples, seed)[0]
        result[by] = {
            "coverage": found[0],
            "size": {"value": float(size.mean()), **interval(draws)},
            "single_share": float((size == 1).mean()),
            "empty_share": float((size == 0).mean()),
            "by_class": dict(zip(labels, found[1 : 1 + len(labels)], strict=True)),
            # Two decimals: more would tell how many notes a group has.
            "by_group": rounded(dict(zip(shown, found[1 + len(labels) :], strict=True)), 2),
        }
    return result


def selective(shard: Shard, card: dict, samples: int, seed: int) -> dict:
    """How often the clinician is asked and why, and how often the model errs on what it answers and would on the rest."""
    given = answers(card, shard.probabilities)
    asked = np.array([each["answer"] is None for each in given])
    wrong = ~shard.correct
    everyone = np.ones_like(asked)
    share, risk, risk_of_asked, risk_of_all = proportions(
        np.column_stack([asked, wrong, wrong, wrong]),
        np.column_stack([everyone, ~asked, asked, everyone]),
        shard.patients,
        samples,
        seed,
    )
    reasons = Counter(each["reason"] for each in given if each["reason"])
    return {
        "budget": card["deferral"]["budget"],
        "limit": card["deferral"]["limit"],
        "deferred": share.described() | {"n": share.found},
        "reasons": {reason: reasons[reason] for reason in REASONS},
        "risk_answered": risk.described(),
        "risk_deferred": risk_of_asked.described(),
        "risk_all": risk_of_all.described(),
        "aurc": risk_coverage(confidence(shard.probabilities, shard.single), wrong)[2],
    }


def risk_coverage_points(shards: dict[str, Shard]) -> Iterator[dict]:
    """Rows of `model`, coverage and risk, at most POINTS a model: the error among the notes answered, the surest first."""
    for model, shard in shards.items():
        coverage, risk, _ = risk_coverage(confidence(shard.probabilities, shard.single), ~shard.correct)
        kept = np.unique(np.linspace(0, len(risk) - 1, min(len(risk), POINTS)).round().astype(int))
        yield from (
            {"model": model, "coverage": round(float(coverage[i]), 4), "risk": round(float(risk[i]), 4)} for i in kept
        )
