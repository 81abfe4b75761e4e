"""What each calibration method gains by the size of the calibration shard, and what sets, thresholds and deferral keep of their promise.

    python -m benchmarks.calibration    # about three minutes; the tables of docs/calibrate.md

Invented predictions with a known population, those of benchmarks/intervals.py: 12 classes, the commonest 20 times the rarest,
logits 1.5 times too large, patients of one to four notes that are alike and share their diagnosis. The population is 20,000 patients.
"""

from dataclasses import replace

import numpy as np
from tqdm import tqdm

from benchmarks.intervals import draw
from diagnosis.calibration import conformal, methods, thresholds
from diagnosis.calibration.answers import confidence, limit
from diagnosis.scores.metrics import calibration_gaps
from diagnosis.scores.shards import Shard

SIZES, REPEATS, CLASSES = (60, 160, 600, 2000), 60, [f"c{k:02}" for k in range(12)]
AIM = {"aim": "sensitivity", "min_class_count": 10, "min_sensitivity": 0.8, "threshold_probability": 0.1, "costs": {}}


def errors(shard: Shard, probabilities: np.ndarray) -> tuple[float, float, float]:
    """Brier, ECE and classwise ECE."""
    brier = ((probabilities - shard.truth) ** 2).sum(axis=1).mean()
    gaps = [calibration_gaps(replace(shard, probabilities=probabilities, single=single)) for single in (True, False)]
    top, every = (np.abs(gap.sum(axis=0)).sum() / len(shard.truth) for gap in gaps)
    return brier, top, every / len(CLASSES)


def fitted(method: str, shard: Shard) -> dict:
    logits = np.log(shard.probabilities)
    return methods.fit(
        method, logits, shard.truth, shard.patients, classes=CLASSES, task="single_label", min_class_count=10
    )


def once(shard: Shard, population: Shard) -> tuple[dict, dict]:
    """The errors of each method; and of the temperature, what is kept of coverage, sensitivity and the budget."""
    logits = np.log(population.probabilities)
    gained = {method: errors(population, methods.apply(fitted(method, shard), logits)) for method in methods.METHODS}
    card = fitted("temperature", shard)
    here, there = methods.apply(card, np.log(shard.probabilities)), methods.apply(card, logits)
    sets = conformal.fit(here, shard.truth, shard.patients, CLASSES, 0.9, None, 11)
    kept = {}
    for by in ("marginal", "class"):
        inside = conformal.sets(sets, there, CLASSES, by)
        held = (inside & population.truth).sum(axis=0) / population.truth.sum(axis=0)
        kept[f"{by} coverage"] = (inside & population.truth).any(axis=1).mean()
        kept[f"{by} coverage, rarest class"], kept[f"{by} size"] = held[-1], inside.sum(axis=1).mean()
    chosen = [thresholds.choose(here[:, k], shard.truth[:, k], shard.patients, **AIM)["threshold"] for k in range(12)]
    real = [(there[population.truth[:, k], k] >= least).mean() for k, least in enumerate(chosen) if least is not None]
    kept["classes with a threshold"] = len(real)
    kept["of these sensitivity under 0.8"] = sum(value < 0.8 for value in real)
    kept["deferred"] = (confidence(there, True) < limit(confidence(here, True), 0.1)).mean()
    return gained, kept


def main():
    rng = np.random.default_rng(7)
    population = draw(20_000, 12, True, rng)
    gained, kept = {}, {}
    for patients in SIZES:
        runs = [once(draw(patients, 12, True, rng), population) for _ in tqdm(range(REPEATS), desc=str(patients))]
        gained[patients] = {m: np.mean([run[0][m] for run in runs], axis=0) for m in methods.METHODS}
        kept[patients] = {name: np.array([run[1][name] for run in runs]) for name in runs[0][1]}
    print("\n| method | " + " | ".join(f"{size:,} patients" for size in SIZES) + " |\n|---|" + "---|" * len(SIZES))
    for method in methods.METHODS:
        cells = [" / ".join(f"{value:.3f}" for value in gained[size][method]) for size in SIZES]
        print(f"| {method} | " + " | ".join(cells) + " |")
    print("\n| kept | " + " | ".join(f"{size:,} patients" for size in SIZES) + " |\n|---|" + "---|" * len(SIZES))
    for name in kept[SIZES[0]]:
        values = [kept[size][name] for size in SIZES]
        if name.startswith(("classes", "of these")):
            cells = [f"{value.sum()}" for value in values]
        else:
            cells = [f"{value.mean():.3f} ({np.quantile(value, 0.05):.3f})" for value in values]
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
