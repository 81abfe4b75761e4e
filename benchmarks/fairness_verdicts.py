"""How often audit_fairness says unfair where groups do not differ, and where one does; the tables of docs/fairness.md.

    python -m benchmarks.fairness_verdicts    # a quarter of an hour on one core

Invented predictions of 12 classes, the commonest 20 times the rarest, on patients of one to four notes; three columns of two, three and
five groups. One insurance, a fifth of the patients, loses so much accuracy; the probabilities stay as sure of themselves.
"""

from collections import Counter

import numpy as np
import pandas as pd
from tqdm import tqdm

from diagnosis.fairness.compare import COMPARED, VERDICTS
from diagnosis.scores.shards import Shard
from stages.audit_fairness import AuditFairnessParams, audit

REPEATS = {
    (150, 0.0): 200,
    (150, 0.25): 60,
    (800, 0.0): 30,
    (800, 0.1): 30,
}  # by the patients, and what insurance loses
COLUMNS = {"sex": [0.5, 0.5], "insurance": [0.4, 0.4, 0.2], "age_band": [0.2, 0.25, 0.25, 0.2, 0.1]}
CLASSES = [f"class {number}" for number in range(12)]


def invented(seed: int, patients: int, lost: float, single: bool = True) -> tuple[Shard, pd.DataFrame]:
    """A shard with accuracy 0.85, `lost` less in the last insurance, and its group columns."""
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(patients), rng.integers(1, 5, patients))
    notes = len(patient)
    prior = np.geomspace(20, 1, 12) / np.geomspace(20, 1, 12).sum()
    columns = {name: rng.choice(len(shares), patients, p=shares)[patient] for name, shares in COLUMNS.items()}
    chance = np.where(columns["insurance"] == 2, 0.85 - lost, 0.85)
    label = rng.choice(12, patients, p=prior)[patient]
    truth = label[:, None] == np.arange(12)
    if single:
        decided = np.where(rng.random(notes) < chance, label, rng.choice(12, notes, p=prior))
        probabilities = np.full((notes, 12), 0.15 / 11)
        probabilities[np.arange(notes), decided] = 0.85
    else:
        truth = truth | (rng.random((patients, 12)) < prior)[patient]
        right = rng.random(truth.shape) < np.where(truth, chance[:, None], 0.97)
        probabilities = np.where(right == truth, 0.8, 0.05)
    ids = np.array([f"{row:08}" for row in range(notes)], dtype=object)
    table = pd.DataFrame({name: np.array(list("abcde"))[of] for name, of in columns.items()}).astype(object)
    return Shard(ids, patient, truth, probabilities, np.zeros(notes, bool), single), table


def verdicts(seed: int, patients: int, lost: float, single: bool = True, samples: int = 500) -> dict:
    """By metric: how many of the columns each verdict has, and whether insurance is unfair; the scan's verdict by itself."""
    shard, table = invented(seed, patients, lost, single)
    changes = {"groups": list(COLUMNS), "pairs": False, "bootstrap_samples": samples, "scan_depth": 2, "seed": seed}
    found = audit("invented", shard, shard, table, CLASSES, AuditFairnessParams.load("audit_fairness", changes))
    result = {}
    for metric in COMPARED:
        by_column = {column: of["compared"][metric]["verdict"] for column, of in found["groupings"].items()}
        counts = Counter(by_column.values())
        result[metric] = {each: counts[each] for each in VERDICTS} | {"insurance": by_column["insurance"] == "unfair"}
    return result | {"scan": found["worst_subgroup"]["verdict"]}


def main():
    for (patients, lost), repeats in REPEATS.items():
        runs = [verdicts(seed, patients, lost) for seed in tqdm(range(repeats), desc=f"{patients} patients")]
        print(f"{patients} patients, insurance loses {lost}, {repeats} shards:")
        print("| metric | any column unfair | insurance unfair |", " | ".join(VERDICTS), "|", flush=True)
        for metric in COMPARED:
            unfair = sum(bool(run[metric]["unfair"]) for run in runs) / repeats
            insurance = sum(run[metric]["insurance"] for run in runs) / repeats
            shares = [sum(run[metric][each] for run in runs) / repeats / len(COLUMNS) for each in VERDICTS]
            print(f"| {metric} | {unfair:.2f} | {insurance:.2f} |", " | ".join(f"{s:.2f}" for s in shares), "|")
        scans = Counter(run["scan"] for run in runs)
        print(
            "| worst subgroup | | |", " | ".join(f"{scans[each] / repeats:.2f}" for each in VERDICTS), "|", flush=True
        )


if __name__ == "__main__":
    main()
