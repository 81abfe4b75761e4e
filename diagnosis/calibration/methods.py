"""Calibrated probabilities from logits: temperature, Platt and isotonic, fitted on the calibration shard, kept as plain JSON.

docs/methods.md has the formulas. A card is what `fit` returns; `apply` needs it and the logits, and nothing else.
"""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, softmax
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

METHODS = ("none", "temperature", "platt", "isotonic")
TEMPERATURES = (0.05, 20.0)  # a least loss at a bound is none
CLIP = 1e-9  # of probabilities in log odds


def fit(
    method: str, logits: np.ndarray, truth: np.ndarray, patients: np.ndarray, *, classes: list[str], task: str,
    min_class_count: int,
) -> dict:  # fmt: skip
    """The card of a method fitted on (n, k) logits, (n, k) bool truth and (n,) patient numbers.

    One temperature is fitted on all classes together, the pooled method; platt and isotonic, and with several labels
    temperature too, are fitted class by class against the rest. A class that fewer than `min_class_count` patients have, or
    lack, keeps the pooled method; so does one whose scores fall with the truth. `by_class` says which and why.
    """
    single = task == "single_label"
    card = {"classes": classes, "task": task, "method": method, "temperature": 1.0, "by_class": {}, "reason": None}
    if method == "none":
        return card
    if (found := len(np.unique(patients))) < min_class_count:
        return card | {"reason": f"{found} patients, fewer than {min_class_count}: probabilities stay as they are"}
    if (pooled := temperature(logits, truth, single)) is None:
        card["reason"] = "no temperature: every note of the shard is right, or the scores say nothing"
    else:
        card["temperature"] = pooled
    if method == "temperature" and single:
        return card
    scores = log_odds(softmax(logits, axis=1)) if single else np.asarray(logits, dtype=np.float64)
    for k, label in enumerate(classes):
        with_it, without = (len(np.unique(patients[truth[:, k] == has])) for has in (True, False))
        if min(with_it, without) < min_class_count:
            which = f"{with_it} patients with it" if with_it < min_class_count else f"{without} patients without it"
            card["by_class"][label] = {"method": "pooled", "reason": f"{which}, fewer than {min_class_count}"}
            continue
        fitted = ONE_CLASS[method](scores[:, k], truth[:, k])
        card["by_class"][label] = (
            {"method": "pooled", "reason": "its scores do not rise with the truth, or never err"}
            if fitted is None
            else {"method": method, **fitted}
        )
    return card


def apply(card: dict, logits: np.ndarray) -> np.ndarray:
    """(n, k) probabilities from (n, k) logits; float64 values that float32 holds, so that a stored one is the same one.

    One label a note: columns fitted one by one are divided by their sum; where that is 0, the pooled row stands. `logits` are those
    of predict: already corrected for a rebalanced prior. Raises ValueError where they are not finite or not a column a class.
    """
    logits = np.asarray(logits, dtype=np.float64)
    if logits.ndim != 2 or logits.shape[1] != len(card["classes"]) or not np.isfinite(logits).all():
        raise ValueError(f"logits must be finite, and a column for each of {len(card['classes'])} classes")
    single = card["task"] == "single_label"
    pooled = softmax(logits / card["temperature"], axis=1) if single else expit(logits / card["temperature"])
    own = {label: part for label, part in card["by_class"].items() if part["method"] != "pooled"}
    if not own:
        return rounded(pooled)
    scores = log_odds(softmax(logits, axis=1)) if single else logits
    probabilities = pooled.copy()
    for k, label in enumerate(card["classes"]):
        if label in own:
            probabilities[:, k] = of_class(own[label], scores[:, k])
    if single:
        total = probabilities.sum(axis=1, keepdims=True)
        probabilities = np.divide(probabilities, total, out=pooled, where=total > 0)
    return rounded(probabilities)


def rounded(probabilities: np.ndarray) -> np.ndarray:
    return probabilities.astype(np.float32).astype(np.float64)


def log_odds(probabilities: np.ndarray) -> np.ndarray:
    kept = np.clip(probabilities, CLIP, 1 - CLIP)
    return np.log(kept) - np.log1p(-kept)


def to_logits(probabilities: np.ndarray, single: bool) -> np.ndarray:
    """Logits whose softmax (one label a note) or sigmoid (several) the probabilities are."""
    return np.log(np.clip(probabilities, CLIP, 1)) if single else log_odds(probabilities)


def of_class(part: dict, score: np.ndarray) -> np.ndarray:
    """(n,) probabilities of one class from its log odds."""
    if part["method"] == "temperature":
        return expit(score / part["temperature"])
    if part["method"] == "platt":
        return expit(part["slope"] * score + part["intercept"])
    return np.interp(score, part["scores"], part["probabilities"])


def temperature(logits: np.ndarray, truth: np.ndarray, single: bool) -> float | None:
    """The T that gives logits / T the least log loss (Guo et al. 2017); None where there is no least within TEMPERATURES.

    The loss is convex in 1 / T, so a search over log T finds it. Notes without any of the classes do not count (one label).
    """
    logits = np.asarray(logits, dtype=np.float64)
    if single:
        known = truth.any(axis=1)
        logits, truth = logits[known], truth[known]
        if not len(logits):
            return None
        of_truth = (logits * truth).sum(axis=1)

        def loss(log_t):
            scaled = logits * np.exp(-log_t)
            top = scaled.max(axis=1)
            total = top + np.log(np.exp(scaled - top[:, None]).sum(axis=1))
            return (total - of_truth * np.exp(-log_t)).mean()
    else:

        def loss(log_t):
            scaled = logits * np.exp(-log_t)
            return (np.logaddexp(0, scaled) - truth * scaled).mean()

    low, high = np.log(TEMPERATURES)
    found = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-8})
    # Where every note is right (or the scores say nothing) the loss only falls towards a bound.
    return None if min(loss(low), loss(high)) - found.fun < 1e-10 else float(np.exp(found.x))


def one_temperature(score: np.ndarray, outcome: np.ndarray) -> dict | None:
    found = temperature(score[:, None], outcome[:, None], single=False)
    return None if found is None else {"temperature": found}


def platt(score: np.ndarray, outcome: np.ndarray) -> dict | None:
    """Slope and intercept of a logistic curve through Platt's smoothed targets (Platt 1999); None where it does not rise.

    A target t is a positive of weight t and a negative of weight 1 - t.
    """
    positives = int(outcome.sum())
    target = np.where(outcome, (positives + 1) / (positives + 2), 1 / (len(outcome) - positives + 2))
    model = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000).fit(
        np.tile(score, 2)[:, None],
        np.repeat([True, False], len(score)),
        sample_weight=np.concatenate([target, 1 - target]),
    )
    slope, intercept = float(model.coef_[0, 0]), float(model.intercept_[0])
    return {"slope": slope, "intercept": intercept} if slope > 0 else None


def isotonic(score: np.ndarray, outcome: np.ndarray) -> dict | None:
    """The knots of the rising step curve of least squares (Zadrozny and Elkan 2002), straight between them; None where it is flat."""
    model = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(score, outcome.astype(np.float64))
    if model.y_thresholds_[0] == model.y_thresholds_[-1]:
        return None
    return {"scores": model.X_thresholds_.tolist(), "probabilities": model.y_thresholds_.tolist()}


ONE_CLASS = {"temperature": one_temperature, "platt": platt, "isotonic": isotonic}
