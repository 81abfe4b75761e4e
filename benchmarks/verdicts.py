"""How often `python -m tools.compare` gives a false verdict, and how often it can give a true one.

    python -m benchmarks.verdicts    # about four minutes on one core; the table of docs/evaluate.md

Invented pairs of models that err together as well as apart, 12 classes, the commonest 10 times the rarest, patients of one to three
notes. `equal`: two models of one quality, so better and inferior are false. `at the margin`: the new model is worse by exactly the margin of each
metric (its loss on 50,000 patients), so each verdict but undecidable is false.
"""

import numpy as np
from tqdm import tqdm

from diagnosis.scores.compare import differences, judge
from diagnosis.scores.metrics import Scorer
from diagnosis.scores.shards import Shard

REPEATS, SAMPLES, ALPHA = 200, 512, 0.05
MARGINS = {"accuracy": 0.03, "macro_f1": 0.03, "sensitivity": 0.03, "macro_auroc": 0.01, "brier": 0.02}
CLASSES = 12
PRIOR = np.geomspace(10, 1, CLASSES) / np.geomspace(10, 1, CLASSES).sum()


def pair(patients: int, worse: float, rng: np.random.Generator) -> tuple[Shard, Shard]:
    """Old and new model of the notes of so many patients; `worse` is what the new one's evidence for the truth lacks."""
    patient = np.repeat(np.arange(patients), rng.integers(1, 4, patients))
    label = rng.choice(CLASSES, patients, p=PRIOR)[patient]
    truth = label[:, None] == np.arange(CLASSES)
    shared = rng.normal(size=(patients, CLASSES))[patient] + rng.normal(size=truth.shape)
    ids = np.array([f"{row:07}" for row in range(len(label))], dtype=object)
    result = []
    for lacking in (0.0, worse):
        own = rng.normal(size=(patients, CLASSES))[patient] + rng.normal(size=truth.shape)
        logits = 0.6 * shared + 0.35 * own + np.log(PRIOR) + (2.6 - lacking) * truth
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        result.append(
            Shard(ids, patient, truth, odds / odds.sum(axis=1, keepdims=True), np.zeros(len(ids), bool), True)
        )
    return tuple(result)


def losses(worse: float) -> dict[str, float]:
    """What the new model loses of each metric in the population."""
    scorers = [Scorer(shard) for shard in pair(50_000, worse, np.random.default_rng(0))]
    old, new = (scorer.headline(scorer.ones) for scorer in scorers)
    return {key: abs(float(new[key][0] - old[key][0])) for key in MARGINS}


def main():
    print("| | patients | false verdicts: a table | a metric | non_inferior, a metric |", "|---" * 5 + "|", sep="\n")
    for name, worse, false in (
        ("equal", 0.0, ("better", "inferior")),
        ("at the margin", 0.3, ("better", "non_inferior", "inferior")),
    ):
        margins = losses(worse) if worse else MARGINS
        for patients in (100, 300):
            rng, verdicts = np.random.default_rng(patients), []
            for repeat in tqdm(range(REPEATS), desc=f"verdicts: {name}, {patients}"):
                found, _ = differences(*pair(patients, worse, rng), margins, {}, SAMPLES, repeat)
                verdicts.append([row["verdict"] for row in judge(list(found.values()), ALPHA)])
            wrong, kept = np.isin(verdicts, false), np.array(verdicts) == "non_inferior"
            print(
                f"| {name} | {patients:,} | {wrong.any(axis=1).mean():.3f} | {wrong.mean():.3f} | {kept.mean():.3f} |"
            )


if __name__ == "__main__":
    main()
