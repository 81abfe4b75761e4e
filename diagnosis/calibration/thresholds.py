"""Operating points: the threshold of each class by a stated aim, chosen on the calibration shard, and what it does elsewhere."""

import math

import numpy as np

from diagnosis.scores.evidence import clopper_pearson
from diagnosis.scores.proportions import proportions
from diagnosis.scores.shards import Shard


def choose(
    probabilities: np.ndarray, truth: np.ndarray, patients: np.ndarray, *, aim: str, min_class_count: int,
    min_sensitivity: float, threshold_probability: float, costs: dict,
) -> dict:  # fmt: skip
    """The threshold of one class from (n,) probabilities, bool truth and patients; null with its reason where there is none.

    A note is decided to have the class from the threshold on. Of equal thresholds the highest is taken.
    """
    if aim == "sensitivity":
        return by_sensitivity(probabilities, truth, patients, min_sensitivity)
    with_it, without = (len(np.unique(patients[truth == has])) for has in (True, False))
    if min(with_it, without) < min_class_count:
        which = f"{with_it} patients with it" if with_it < min_class_count else f"{without} patients without it"
        return {"threshold": None, "reason": f"{which}, fewer than {min_class_count}"}
    levels, hits, alarms = counts_by_threshold(probabilities, truth)
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if aim == "f1":
        gain, none = 2 * hits / (hits + alarms + positives), 0.0
    elif aim == "net_benefit":
        odds = threshold_probability / (1 - threshold_probability)
        gain, none = (hits - odds * alarms) / len(truth), 0.0
    else:
        missed, cleared = positives - hits, negatives - alarms
        gain = -(
            costs["false_negative"] * missed
            + costs["false_positive"] * alarms
            + costs["true_positive"] * hits
            + costs["true_negative"] * cleared
        )
        none = -(costs["false_negative"] * positives + costs["true_negative"] * negatives)
    best = int(np.argmax(gain))
    if gain[best] <= none:
        return {"threshold": None, "reason": "no threshold does better than never deciding it"}
    return {"threshold": float(levels[best]), "reason": None}


def by_sensitivity(probabilities, truth, patients, least: float) -> dict:
    """The highest threshold with which the lower end of the 95 % interval of sensitivity is `least` or more.

    A patient counts as found where every note of theirs that has the class is, so a patient is one draw, however many the notes. Which
    patient's probability is the threshold depends on their number alone, so that choosing it costs nothing: the share of the
    population above an order statistic has the very Beta law that the exact interval is made of (Wilks 1941). Refused where it
    clears so few patients that its lower ends of sensitivity and specificity do not add up to more than 1, as a coin's do.
    """
    lowest = extreme(probabilities[truth], patients[truth], np.minimum)
    count = len(lowest)
    missed = -1  # the most that may be missed
    while missed + 1 < count and clopper_pearson(count - missed - 1, count)["low"] >= least:
        missed += 1
    if missed < 0:
        needed = math.ceil(math.log(0.025) / math.log(least) - 1e-9)
        return {"threshold": None, "reason": f"{count} patients with it: the lower bound needs {needed}, all found"}
    chosen = float(lowest[missed])
    highest = extreme(probabilities[~truth], patients[~truth], np.maximum)
    cleared = clopper_pearson(int((highest < chosen).sum()), len(highest))["low"]
    if cleared is None or least + cleared <= 1:
        return {"threshold": None, "reason": "met only by a threshold that clears next to nobody"}
    return {"threshold": chosen, "reason": None}


def extreme(probabilities: np.ndarray, patients: np.ndarray, of) -> np.ndarray:
    """The lowest (np.minimum) or highest (np.maximum) probability of each patient, sorted."""
    _, place = np.unique(patients, return_inverse=True)
    result = np.full(place.max(initial=-1) + 1, np.inf if of is np.minimum else -np.inf)
    of.at(result, place, probabilities)
    return np.sort(result)


def counts_by_threshold(probabilities, truth) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The distinct probabilities from high to low, and the true and false positives from each on."""
    levels, place = np.unique(-probabilities, return_inverse=True)
    hits = np.bincount(place, weights=truth, minlength=len(levels)).cumsum()
    alarms = np.bincount(place, weights=~truth, minlength=len(levels)).cumsum()
    return -levels, hits, alarms


def described(
    shard: Shard, classes: list[str], chosen: dict, prevalence: float | None, samples: int, seed: int
) -> dict:
    """Sensitivity, specificity, PPV, NPV, LR+ and LR- of each class at its threshold, with 95 % intervals, on another shard.

    With a `prevalence`, PPV and NPV are those of a population where each class has it. These and the likelihood ratios are made of
    sensitivity and specificity; their ends are those at the ends of the two 97.5 % intervals, which hold together in 95 %.
    """
    at = [label for label in classes if chosen[label]["threshold"] is not None]
    result = {label: {"threshold": None, "reason": chosen[label]["reason"]} for label in classes if label not in at}
    if not at:
        return result
    columns = [classes.index(label) for label in at]
    truth = shard.truth[:, columns]
    decided = shard.probabilities[:, columns] >= [chosen[label]["threshold"] for label in at]
    hits, of = np.hstack([decided, ~decided, truth, ~truth]), np.hstack([truth, ~truth, decided, ~decided])
    found = proportions(hits, of, shard.patients, samples, seed)
    for place, label in enumerate(at):
        sensitivity, specificity, ppv, npv = found[place :: len(at)]
        ratios = derived(sensitivity, specificity, prevalence)
        if prevalence is None:
            ratios |= {"ppv": ppv.described(), "npv": npv.described()}
        result[label] = {
            "threshold": chosen[label]["threshold"],
            "n": sensitivity.n,
            "n_patients": sensitivity.patients,
            "sensitivity": sensitivity.described(),
            "specificity": specificity.described(),
            **ratios,
        }
    return result


def derived(sensitivity, specificity, prevalence: float | None) -> dict:
    """LR+ and LR-, and where a prevalence is stated PPV and NPV: each with low and high; null where it is not a number."""
    (low_sens, high_sens), (low_spec, high_spec) = sensitivity.ends(0.975), specificity.ends(0.975)
    made = {"lr_positive": lr_positive, "lr_negative": lr_negative}
    if prevalence is not None:
        made["ppv"] = lambda sens, spec: ratio(sens * prevalence, sens * prevalence + (1 - spec) * (1 - prevalence))
        made["npv"] = lambda sens, spec: ratio(
            spec * (1 - prevalence), spec * (1 - prevalence) + (1 - sens) * prevalence
        )
    result = {}
    for name, function in made.items():
        if None in (low_sens, low_spec):
            result[name] = {"value": None, "low": None, "high": None}
            continue
        ends = [function(low_sens, low_spec), function(high_sens, high_spec)]
        low, high = ends[::-1] if name == "lr_negative" else ends  # it falls as the two rise
        result[name] = {"value": function(sensitivity.value, specificity.value), "low": low, "high": high}
    return result


def lr_positive(sensitivity: float, specificity: float) -> float | None:
    return ratio(sensitivity, 1 - specificity)


def lr_negative(sensitivity: float, specificity: float) -> float | None:
    return ratio(1 - sensitivity, specificity)


def ratio(above: float, below: float) -> float | None:
    return above / below if below > 0 else None
