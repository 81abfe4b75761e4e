"""How often the 95 % intervals of evaluate cover the truth and audit_fairness finds a gap, and what they cost in seconds.

    python -m benchmarks.intervals            # about four minutes; the tables of docs/evaluate.md and docs/fairness.md
    python -m benchmarks.intervals seconds    # what they cost alone, half a minute

Invented predictions with a known population: 12 classes, the commonest 20 times the rarest, patients of one to four notes
that are alike. The truth is the score on 400,000 notes.
"""

import sys
import time
from collections import Counter

import numpy as np

from diagnosis.fairness.compare import compare, score
from diagnosis.scores import evidence
from diagnosis.scores.bootstrap import interval, patient_weights
from diagnosis.scores.label_noise import label_noise
from diagnosis.scores.metrics import METRICS, Scorer
from diagnosis.scores.net_benefit import DecisionRange, decision_curves
from diagnosis.scores.ranking import ranking
from diagnosis.scores.shards import Shard

GROUP_METRICS = ("accuracy", "sensitivity", "specificity", "ppv", "brier")
REPEATS, SAMPLES = 400, 500
GAP_REPEATS = 200


def draw(patients: int, classes: int, single: bool, rng: np.random.Generator) -> Shard:
    """Predictions for the notes of so many patients: overconfident, and right or wrong by patient as much as by note."""
    patient = np.repeat(np.arange(patients), rng.integers(1, 5, patients))
    prior = np.geomspace(20, 1, classes) / np.geomspace(20, 1, classes).sum()
    label = rng.choice(classes, patients, p=prior)[patient]
    own = rng.normal(size=(patients, classes))[patient] + rng.normal(size=(len(patient), classes))
    logits = 0.7 * own + np.log(prior)
    logits[np.arange(len(label)), label] += 2.0
    truth = label[:, None] == np.arange(classes)
    if single:
        probabilities = np.exp(1.5 * logits)
        probabilities /= probabilities.sum(axis=1, keepdims=True)
    else:
        more = rng.random((patients, classes))[patient] < prior
        logits += 2.0 * (more & ~truth)
        truth, probabilities = truth | more, 1 / (1 + np.exp(-logits))
    notes = np.array([f"{row:08}" for row in range(len(label))], dtype=object)
    return Shard(notes, patient, truth, probabilities, np.zeros(len(label), bool), single)


def resampled(shard: Shard, samples: int) -> dict[str, np.ndarray]:
    scorer = Scorer(shard)
    parts = [scorer.headline(weights) for weights in patient_weights(len(scorer.ones), samples, seed=7)]
    return {name: np.concatenate([part[name] for part in parts]) for name in METRICS}


def all_intervals(shard: Shard, classes: list[str], samples: int) -> None:
    """What evaluate does for a model: headline metrics and every class', ranking, label noise, and net benefit of every class."""
    scorer = Scorer(shard)
    parts = [scorer.scores(weights) for weights in patient_weights(len(scorer.ones), samples, seed=7)]
    draws = {name: np.concatenate([headline[name] for headline, _ in parts]) for name in METRICS}
    evidence.resamples(shard, scorer, draws)
    evidence.by_class(shard, classes, [of_classes for _, of_classes in parts])
    ranking(shard, samples, 7)
    label_noise(shard, classes, samples, 7)
    decision_curves(shard, classes, {name: DecisionRange(low=0.02, high=0.3, weight=1) for name in classes}, samples, 7)


def coverage(patients: int, single: bool) -> dict[str, tuple[float, float]]:
    """By metric, the share of intervals that cover the truth: percentile, and reflected about the point."""
    rng = np.random.default_rng(patients)
    population = Scorer(draw(160_000, 12, single, rng))
    truth = {name: value[0] for name, value in population.headline(population.ones).items()}
    hits = {name: [0, 0] for name in METRICS}
    for _ in range(REPEATS):
        shard = draw(patients, 12, single, rng)
        scorer = Scorer(shard)
        point, draws = scorer.headline(scorer.ones), resampled(shard, SAMPLES)
        for name in METRICS:
            low, high = interval(draws[name]).values()
            if low is not None:
                hits[name][0] += low <= truth[name] <= high
                hits[name][1] += 2 * point[name][0] - high <= truth[name] <= 2 * point[name][0] - low
    return {name: tuple(count / REPEATS for count in counts) for name, counts in hits.items()}


def gaps(lost: float) -> dict[tuple[str, str], float]:
    """By grouping and metric, the share of runs with an interval without 0, where one insurance (a fifth) loses so much accuracy.

    360 notes of about 200 patients, accuracy 0.85, twelve classes 20:1; sex and age bands have no gap.
    """
    found = Counter()
    for repeat in range(GAP_REPEATS):
        rng = np.random.default_rng(repeat)
        _, patient = np.unique(rng.integers(0, 270, 360), return_inverse=True)
        patients = patient.max() + 1
        prior = np.geomspace(20, 1, 12) / np.geomspace(20, 1, 12).sum()
        label = rng.choice(12, patients, p=prior)[patient]
        columns = {
            "sex (2 groups)": rng.choice(2, patients)[patient],
            "insurance (3)": rng.choice(3, patients, p=[0.4, 0.4, 0.2])[patient],
            "age band (5)": rng.choice(5, patients, p=[0.2, 0.25, 0.25, 0.2, 0.1])[patient],
        }
        right = rng.random(360) < np.where(columns["insurance (3)"] == 2, 0.85 - lost, 0.85)
        decided = np.where(right, label, rng.choice(12, 360, p=prior))
        probabilities = np.full((360, 12), 0.02)
        probabilities[np.arange(360), decided] = 1 - 0.02 * 11
        notes = np.array([f"{row:08}" for row in range(360)], dtype=object)
        truth = label[:, None] == np.arange(12)
        shard = Shard(notes, patient, truth, probabilities, np.zeros(360, bool), True)
        for name, values in columns.items():
            groups = {
                str(value): score(shard.at(np.flatnonzero(values == value)), patients, 300, 7, 5)
                for value in np.unique(values)
            }
            for metric in GROUP_METRICS:
                found[name, metric] += compare(groups, metric, margin=0.0)["verdict"] == "unfair"
    return {key: count / GAP_REPEATS for key, count in found.items()}


def seconds():
    for patients, classes, samples in ((160, 12, 1_000), (4_000, 20, 2_000)):
        for single in (True, False):
            shard = draw(patients, classes, single, np.random.default_rng(1))
            times = [time.process_time()]
            resampled(shard, samples)
            times.append(time.process_time())
            all_intervals(shard, [str(k) for k in range(classes)], samples)
            times.append(time.process_time())
            headline, everything = np.diff(times)
            print(f"{len(shard.truth)} notes x {classes} classes, {samples} resamples, single={single}, processor seconds:",
                  f"12 metrics {headline:.1f}, all of evaluate's intervals of a model {everything:.1f}")  # fmt: skip


def main():
    if sys.argv[1:] == ["seconds"]:
        return seconds()
    columns = {
        (patients, single): coverage(patients, single) for patients in (60, 160, 600) for single in (True, False)
    }
    print("| metric |", " | ".join(f"{p} patients, {'one label' if s else 'several'}" for p, s in columns), "|")
    for name in METRICS:
        print(f"| {name} |", " | ".join("{:.2f} / {:.2f}".format(*column[name]) for column in columns.values()), "|")
    seconds()
    for lost in (0, 0.25, 0.35):
        verdicts = gaps(lost)
        print(f"share of runs with a gap where one insurance loses {lost} of accuracy:")
        for name in dict.fromkeys(name for name, _ in verdicts):
            print(f"| {name} |", " | ".join(f"{verdicts[name, metric]:.2f}" for metric in GROUP_METRICS), "|")


if __name__ == "__main__":
    main()
