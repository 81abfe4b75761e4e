"""Two models on the same notes: patient-paired differences, a verdict by a margin, and tests where notes are independent.

docs/methods.md has the definitions and their sources.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, rankdata
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from diagnosis.errors import UserError
from diagnosis.scores.bootstrap import interval_of, patient_weights
from diagnosis.scores.metrics import BY_CLASS, MACRO, Scorer
from diagnosis.scores.shards import Shard

LOWER_IS_BETTER = ("brier", "ece")


@dataclass(frozen=True)
class Difference:
    """A metric of both models and the draws, (samples,), of new minus old on the same patients' weights."""

    metric: str
    old: float
    new: float
    draws: np.ndarray
    margin: float

    @property
    def gains(self) -> np.ndarray:
        """The draws with more as better; those of the ECE are reflected about the value, as its interval is."""
        draws = 2 * (self.new - self.old) - self.draws if self.metric == "ece" else self.draws
        return -draws if self.metric in LOWER_IS_BETTER else draws

    @property
    def defined(self) -> bool:
        return bool(np.isfinite(self.draws).all() and np.isfinite([self.old, self.new]).all())


def check_comparable(old: Shard, new: Shard, where: str) -> None:
    """Raise UserError, with counts, unless both hold the same notes with the same labels and patients."""
    before, after = set(old.note_ids), set(new.note_ids)
    if before != after:
        raise UserError(
            f"{where}: {len(before - after)} notes are only in A, {len(after - before)} only in B, {len(before & after)} in "
            "both: models are compared on the same notes, so take two revisions that ingest and split alike"
        )
    if relabelled := int(((old.truth != new.truth).any(axis=1) | (old.unknown != new.unknown)).sum()):
        raise UserError(
            f"{where}: {relabelled} of {len(before)} notes have other labels in A than in B: take two revisions that "
            "label alike"
        )
    if not np.array_equal(old.patients, new.patients):
        raise UserError(f"{where}: the notes have other patients in A than in B: take two revisions that ingest alike")


def differences(
    old: Shard, new: Shard, margins: dict[str, float], class_margins: dict[str, float], samples: int, seed: int
) -> tuple[dict[str, Difference], dict[str, list[Difference]]]:
    """The headline metrics of `margins`, and for each metric of `class_margins` a Difference a class, in class order.

    Both models have the same Bayesian-bootstrap weights over patients, so what makes a patient hard for both cancels. Weights are
    never 0, so one patient whom only the new model decides rightly would put every draw above 0: each draw of a score of decisions
    gets a made-up patient for either side as well (`made_up`).
    """
    scorers = [Scorer(old), Scorer(new)]

    def scores(weights):
        """Old and new, each a list of (b,) and (k, b) arrays in the order of the margins."""
        both = [scorer.scores(weights) for scorer in scorers]
        return [[of[key] for key in margins] + [by_class[key] for key in class_margins] for of, by_class in both]

    parts = [
        [after - before for before, after in zip(*scores(weights), strict=True)]
        for weights in patient_weights(len(scorers[0].ones), samples, seed)
    ]
    draws = [np.concatenate(of_one, axis=-1) for of_one in zip(*parts, strict=True)]
    positive = np.array([len(np.unique(old.patients[column])) for column in old.truth.T])
    rng, patients = np.random.default_rng([seed, 1]), len(scorers[0].ones)
    draws = [
        drawn + made_up(key, positive, patients, rng, drawn.shape)
        for key, drawn in zip([*margins, *class_margins], draws, strict=True)
    ]
    plain = list(zip(*scores(scorers[0].ones), draws, strict=True))
    headline = {
        key: Difference(key, float(before[0]), float(after[0]), drawn, margins[key])
        for key, (before, after, drawn) in zip(margins, plain, strict=False)
    }
    by_class = {
        key: [
            Difference(key, float(before[k, 0]), float(after[k, 0]), drawn[k], class_margins[key])
            for k in range(len(drawn))
        ]
        for key, (before, after, drawn) in zip(class_margins, plain[len(margins) :], strict=True)
    }
    return headline, by_class


def made_up(metric: str, positive: np.ndarray, patients: int, rng: np.random.Generator, shape: tuple) -> np.ndarray:
    """What a patient that only the old model has right and one that only the new one has add to the draws of a difference.

    Each has an exponential weight, as every patient has. Of the accuracy of independent notes the share of draws up to 0 so
    becomes McNemar's mid-p (P(Beta(b + 1, c + 1) < 1/2); Fagerland, Lydersen and Laake 2013). Of decisions only: areas and
    squares move with every note. positive: (k,) patients of each class; a class' score (of specificity and NPV: over the
    others) is theirs, a macro score the mean of classes. shape: (samples,), or (k, samples) of a metric by class.
    """
    by_class = MACRO.get(metric, metric)
    if by_class in (*LOWER_IS_BETTER, "auroc", "auprc"):
        return np.zeros(shape)
    behind = patients - positive if by_class in ("specificity", "npv") else positive
    if metric not in (*MACRO, *BY_CLASS):  # of all notes together
        behind = np.array([patients])
    elif len(shape) == 1:
        behind = behind[behind > 0]
    old, new = rng.standard_exponential((2, len(behind), shape[-1]))
    moved = (new - old) / (behind[:, None] + new + old)
    return moved if len(shape) == 2 else moved.mean(axis=0)


def judge(family: list[Difference], alpha: float) -> list[dict]:
    """A dict of old, new, difference (value, low, high), margin, p_holm and verdict for each comparison of a family.

    For a gain g (new minus old, more is better) and margin m three one-sided hypotheses are tested: g <= 0, g <= -m and
    g >= -m, each by the share of draws on its side. Holm's method over all hypotheses of the family holds the chance of even one
    false rejection at `alpha`. Rejected, they say `better`, `non_inferior` and `inferior`; none rejected says `undecidable`. So does,
    untested, a difference that no draw moves: these notes do not tell the two models apart.
    """
    tested = [row for row, each in enumerate(family) if each.defined and np.ptp(each.draws) > 0]
    raw = [p for row in tested for p in one_sided(family[row].gains, family[row].margin)]
    adjusted = multipletests(raw, method="holm")[1].reshape(-1, 3) if raw else []
    p_of = dict(zip(tested, adjusted, strict=True))
    return [described(each, p_of.get(row), alpha) for row, each in enumerate(family)]


def one_sided(gains: np.ndarray, margin: float) -> tuple[float, float, float]:
    """p of the hypotheses g <= 0, g <= -margin and g >= -margin; at least 1 / (draws + 1)."""
    beside = ((gains <= 0).sum(), (gains <= -margin).sum(), (gains >= -margin).sum())
    return tuple(float(1 + count) / (1 + len(gains)) for count in beside)


def described(each: Difference, p: np.ndarray | None, alpha: float) -> dict:
    value = each.new - each.old
    result = {"old": each.old, "new": each.new, "margin": each.margin}
    result["difference"] = {"value": value, **interval_of(each.metric, value, each.draws)}
    names = ("better", "non_inferior", "inferior")
    result["p_holm"] = dict.fromkeys(names) if p is None else dict(zip(names, map(float, p), strict=True))
    claims = () if p is None else [name for name, claim in zip(names, p <= alpha, strict=True) if claim]
    result["verdict"] = next(iter(claims), "undecidable") if each.defined else "undefined"
    return result


def mcnemar_test(old: Shard, new: Shard) -> dict:
    """Exact McNemar test of who decides more notes rightly (McNemar 1947): p from the notes that only one has right."""
    only_old, only_new = int((old.correct & ~new.correct).sum()), int((new.correct & ~old.correct).sum())
    return {
        "only_old": only_old,
        "only_new": only_new,
        "p": float(mcnemar([[0, only_old], [only_new, 0]], exact=True).pvalue),
    }


def delong_test(positive: np.ndarray, old: np.ndarray, new: np.ndarray) -> dict:
    """Two AUROCs on the same independent notes (DeLong, DeLong and Clarke-Pearson 1988); new minus old.

    positive: (n,) bool; old, new: (n,) scores. The parts that each note adds come from its midranks (Sun and Xu 2014). z and p
    are null where the difference has no variance; everything is where a class has under two notes or all but one of them.
    """
    m, n = int(positive.sum()), int((~positive).sum())
    if min(m, n) < 2:
        return {"difference": None, "standard_error": None, "z": None, "p": None}
    won, lost = [], []  # by positive: the share of negatives under it; by negative: of positives over it; ties half
    for score in (old, new):
        ranks = rankdata(score)
        won.append((ranks[positive] - rankdata(score[positive])) / n)
        lost.append(1 - (ranks[~positive] - rankdata(score[~positive])) / m)
    difference = float(won[1].mean() - won[0].mean())
    error = float(np.sqrt(np.var(won[1] - won[0], ddof=1) / m + np.var(lost[1] - lost[0], ddof=1) / n))
    if error < 1e-12:  # the same ranking, or one shifted by rounding
        return {"difference": difference, "standard_error": 0.0, "z": None, "p": None}
    z = difference / error
    return {"difference": difference, "standard_error": error, "z": z, "p": float(2 * norm.sf(abs(z)))}


def delong_by_class(old: Shard, new: Shard, columns: list[int]) -> dict[int, dict]:
    """DeLong's test for each of the classes `columns`, p adjusted over them by Holm's method as `p_holm`."""
    result = {k: delong_test(old.truth[:, k], old.probabilities[:, k], new.probabilities[:, k]) for k in columns}
    tested = [k for k in columns if result[k]["p"] is not None]
    adjusted = multipletests([result[k]["p"] for k in tested], method="holm")[1] if tested else []
    holm = dict(zip(tested, map(float, adjusted), strict=True))
    return {k: each | {"p_holm": holm.get(k)} for k, each in result.items()}
