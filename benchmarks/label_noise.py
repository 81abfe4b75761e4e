"""How near the label-noise estimate of evaluate comes to what the embedded corpus planted.

    python -m benchmarks.label_noise    # after `dvc repro evaluate` on the embedded corpus, form mimic4; seconds

For the model, for TF-IDF and for an invented model that is right of the planted condition nine times in ten: accuracy, the planted share
of wrong labels and the estimated one, how many of the suspected are planted, and how many of the planted are suspected.
"""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd

from diagnosis.phi.keys import read_key
from diagnosis.scores.label_noise import answers, label_noise, suspected
from diagnosis.scores.shards import Predictions, Shard

SHARDS = ("validation", "test")


def main():
    model, baseline = Predictions(Path("data/predictions.parquet")), Predictions(Path("data/baseline.parquet"))
    key = read_key(Path("keys/public.key"), {"public": True})
    with gzip.open("data/raw/synthetic/truth/notes.csv.gz", "rt") as stream:
        truth = pd.read_csv(stream, dtype=str)
    truth.index = [key.rekey("note_id", note_id) for note_id in truth["note_id"]]
    print(
        "| shard | probabilities of | accuracy | planted | estimated (95 %) | of the suspected, planted | of the planted, suspected |"
    )
    print("|---|---|---|---|---|---|---|")
    for name in SHARDS:
        shards = {"model": model.shard(name, "model"), "tfidf_logreg": baseline.shard(name, "tfidf_logreg")}
        of = truth.loc[shards["model"].note_ids]
        shards["nine in ten"] = oracle(shards["model"], of["condition"].str[:3].to_list(), model.classes)
        planted = (of["label_noise"] == "1").to_numpy()
        for who, shard in shards.items():
            noise = label_noise(shard, model.classes, 1000, 7)["noise"]
            doubt = suspected(*answers(shard)).any(axis=0)
            both = int((doubt & planted).sum())
            print(
                f"| {name} | {who} | {shard.correct.mean():.2f} | {planted.mean():.3f}",
                f"{noise['value']:.3f} ({noise['low']:.3f} to {noise['high']:.3f})",
                f"{both} of {doubt.sum()}",
                f"{both} of {planted.sum()} |",
                sep=" | ",
            )


def oracle(shard: Shard, conditions: list[str], classes: list[str]) -> Shard:
    """The same notes scored by a model that gives the planted condition 0.9, but in one note of ten another class."""
    rng, k = np.random.default_rng(7), len(classes)
    column = np.array([classes.index(name) for name in conditions])
    other = rng.random(len(column)) < 0.1
    column = np.where(other, (column + rng.integers(1, k, len(column))) % k, column)
    probabilities = np.full((len(column), k), 0.1 / (k - 1))
    probabilities[np.arange(len(column)), column] = np.where(other, 0.5, 0.9)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return Shard(shard.note_ids, shard.patients, shard.truth, probabilities, shard.unknown, shard.single)


if __name__ == "__main__":
    main()
