"""What closes a gap between groups, and what it costs: one table of methods; docs/results.md.

    python -m benchmarks.mitigation                    # five minutes on one core; goes on where it was stopped
    python -m benchmarks.mitigation --folds 1 --quick  # a look: one fold, fewer steps, nothing written

The embedded corpus, insurance: it leaves 70 % of the findings in Medicaid's notes unsaid. What is trained is a hidden and a linear layer on what
the base model, frozen, makes of a note (benchmarks/rebalance.py). Five folds by patient and near-duplicate: each is
scored once, by what three of the others trained and the fourth, kept from training, fitted of what is fitted afterwards
(temperatures, thresholds). Test notes are left out. Gaps and intervals are audit_fairness' own, over all folds together; what a
method costs is its paired difference to none. Notes without a group are trained on as they are and get the plain answer.

The methods that need the group when a note is read are said so: they treat two patients with the same note differently, which
may be against the law where they are used; nothing in the pipeline does that.
"""

import argparse
import time
import types
import warnings

import numpy as np
import pandas as pd
import torch
from datasets import Dataset
from scipy.special import softmax
from sklearn.base import BaseEstimator
from tqdm import tqdm

from benchmarks.real import PAGE, ROOT
from benchmarks.rebalance import EMBEDDED, Body, notes_of, teach
from diagnosis.calibration import methods as calibration
from diagnosis.errors import run
from diagnosis.fairness.compare import compare, score
from diagnosis.files import read_json, write_json
from diagnosis.scores.baselines import truth
from diagnosis.scores.bootstrap import interval, patient_weights
from diagnosis.scores.metrics import Scorer
from diagnosis.scores.shards import Shard, patient_numbers
from diagnosis.splits import connected, stratified
from diagnosis.training.fairness import Adversary, WorstGroup, reweighed
from diagnosis.training.inference import corrected
from diagnosis.training.priors import objective

RESULTS = ROOT / "logs" / "mitigation.json"  # probabilities by note: not for git
BEGIN, END = "<!-- table of benchmarks/mitigation.py -->", "<!-- end of the table of benchmarks/mitigation.py -->"
FOLDS, SEED, SAMPLES = 5, 7, 1000
METHODS = {  # name: whether it needs the group when a note is read
    "none": False,
    "reweighing": False,
    "resampling by group": False,
    "adversarial": False,
    "worst_group": False,
    "temperature by group": True,
    "ThresholdOptimizer": True,
    "logistic one-vs-rest": False,
    "ExponentiatedGradient": False,
}
GAPS = {"accuracy": 0.1, "sensitivity": 0.1, "equalised_odds": 0.1, "calibration": 0.1}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folds", type=int, choices=range(1, FOLDS + 1), default=FOLDS)
    parser.add_argument("--quick", action="store_true", help="few steps, nothing written")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = Data(*notes_of(EMBEDDED))
    results = read_json(RESULTS) if RESULTS.exists() and not options.quick else {}
    cells = [(fold, method) for method in METHODS for fold in range(options.folds)]
    logits = {}
    for fold, method in tqdm(cells, unit=" cells"):
        found = results.setdefault(method, {})
        if str(fold) not in found:
            start = time.process_time()
            rows, values = answers(method, data, fold, logits, options.quick)
            found[str(fold)] = {
                "ids": [data.ids[row] for row in rows],
                "log_probabilities": np.log(np.clip(values, 1e-6, 1)).round(4).tolist(),
                "seconds": round(time.process_time() - start, 1),
            }
            if not options.quick:
                write_json(RESULTS, results)
    lines = table(results, data)
    print("\n".join(lines))
    if not options.quick and options.folds == FOLDS:
        head, rest = PAGE.read_text().split(BEGIN)
        PAGE.write_text(head + BEGIN + "\n" + "\n".join(lines) + "\n" + END + rest.split(END)[1])


class Data:
    """Notes as vectors, with their class, group (-1: none stated) and fold."""

    def __init__(self, notes: list[dict], classes: list[str], inputs: np.ndarray):
        self.notes, self.classes = notes, classes
        self.inputs = (inputs - inputs.mean(axis=0)) / inputs.std(axis=0)
        self.ids, labels = [note["note_id"] for note in notes], [note["labels"] for note in notes]
        self.target = np.array([classes.index(of[0]) for of in labels])
        self.groups = sorted({note["insurance"] for note in notes if note["insurance"]})
        self.group = np.array([self.groups.index(n["insurance"]) if n["insurance"] else -1 for n in notes])
        whole = connected([note["patient_id"] for note in notes], [note["duplicate_cluster"] for note in notes])
        shares = {str(fold): 1 / FOLDS for fold in range(FOLDS)}
        self.fold = np.array([int(of) for of in stratified(whole, labels, self.ids, shares, SEED)])

    def parts(self, fold: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows to train on, to fit on afterwards, and to score."""
        after = (fold + 1) % FOLDS
        masks = (~np.isin(self.fold, [fold, after]), self.fold == after, self.fold == fold)
        return tuple(np.flatnonzero(mask) for mask in masks)


def answers(method: str, data: Data, fold: int, kept: dict, quick: bool) -> tuple[np.ndarray, np.ndarray]:
    """(rows scored, their (n, k) probabilities); `kept` has the plain model's logits of folds done in this run."""
    train, after, scored = data.parts(fold)
    if method in ("logistic one-vs-rest", "ExponentiatedGradient"):
        return scored, one_vs_rest(data, train, scored, method == "ExponentiatedGradient", quick)
    name = "none" if METHODS[method] else method
    if (name, fold) not in kept:
        kept[name, fold] = trained(name, data, fold, quick)
    logits = kept[name, fold].astype(np.float64)
    probabilities = softmax(logits / temperature_of(data, after, logits), axis=1)
    if method == "temperature by group":
        for number in range(len(data.groups)):
            own = after[data.group[after] == number]
            rows = data.group == number
            probabilities[rows] = softmax(logits[rows] / temperature_of(data, own, logits), axis=1)
    elif method == "ThresholdOptimizer":
        probabilities[scored] = thresholds(data, after, scored, probabilities)
    return scored, probabilities[scored]


def temperature_of(data: Data, rows: np.ndarray, logits: np.ndarray) -> float:
    of = np.arange(len(data.classes)) == data.target[rows, None]
    return calibration.temperature(logits[rows], of, True) or 1.0


def trained(method: str, data: Data, fold: int, quick: bool) -> np.ndarray:
    """(all notes, k) logits of a hidden and a last layer trained by a method of finetune.fairness, or on even groups."""
    train, _, _ = data.parts(fold)
    rng = np.random.default_rng([SEED, fold])
    if method == "resampling by group":
        # As many notes of each group as of the largest; those without a group once.
        sizes = np.bincount(data.group[train][data.group[train] >= 0])
        more = [rng.choice(train[data.group[train] == g], sizes.max() - size) for g, size in enumerate(sizes)]
        train = np.concatenate([train, *more])
    if quick:
        train = train[::4]
    targets, group = data.target[train], data.group[train]
    weights = np.ones(len(train), dtype=np.float32)
    shares = np.bincount(targets, minlength=len(data.classes)) / len(targets)
    metadata = {"task": "single_label", "train_prior": shares.tolist(), "balanced_prior": shares.tolist()}
    if method == "reweighing":
        rows = {"group": group.tolist(), "target": [[int(t)] for t in targets], "weight": weights}
        dataset, metadata["balanced_prior"] = reweighed(Dataset.from_dict(rows), metadata["balanced_prior"])
        weights = np.array(dataset["weight"][:], dtype=np.float32)
    torch.manual_seed(SEED + fold)
    model, fairness = Body(data.inputs.shape[1], len(data.classes)), None
    if method == "adversarial":
        fairness = Adversary(model, len(data.groups), 1.0)
    elif method == "worst_group":
        fairness = WorstGroup(np.bincount(group[group >= 0], minlength=len(data.groups)), 0.01)
    of_note, metadata = objective(types.SimpleNamespace(loss="cross_entropy"), metadata, [])
    groups = torch.tensor(group)
    teach(model, fairness, data.inputs[train], targets, weights, of_note, groups=groups, rate=0.001)
    if method == "adversarial":
        fairness.leave()
    with torch.no_grad():
        logits = model(torch.tensor(data.inputs)).numpy()
    return corrected(logits, metadata["train_prior"], metadata["balanced_prior"])


def one_vs_rest(data: Data, train: np.ndarray, scored: np.ndarray, fair: bool, quick: bool) -> np.ndarray:
    """Logistic regressions, a class each, and where `fair` by fairlearn's ExponentiatedGradient (Agarwal et al. 2018) to
    equalised odds; the class with the highest probability is the answer, all divided by their sum."""
    from fairlearn.reductions import EqualizedOdds, ExponentiatedGradient
    from sklearn.linear_model import LogisticRegression

    result = np.zeros((len(scored), len(data.classes)))
    known = train[data.group[train] >= 0][:: 4 if quick else 1] if fair else train
    for k in range(len(data.classes)):
        plain = LogisticRegression(C=0.01, max_iter=1000)
        of_class = data.target[known] == k
        plain.fit(data.inputs[known], of_class)
        result[:, k] = plain.predict_proba(data.inputs[scored])[:, 1]
        if fair:
            reduction = ExponentiatedGradient(
                LogisticRegression(C=0.01, max_iter=1000),
                EqualizedOdds(difference_bound=0.05),
                max_iter=5 if quick else 30,
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # pandas' of fairlearn's own code
                reduction.fit(data.inputs[known], of_class.astype(int), sensitive_features=data.group[known])
            # The mixture's mean probability: its vote alone is 0 for most classes of most notes.
            weights = np.asarray(reduction.weights_)
            mixed = [
                weight * of.predict_proba(data.inputs[scored])[:, 1]
                for weight, of in zip(weights, reduction.predictors_, strict=True)
                if weight > 0 and hasattr(of, "predict_proba")
            ]
            result[:, k] = np.sum(mixed, axis=0) if mixed else result[:, k]
    return result / result.sum(axis=1, keepdims=True)


class Scores(BaseEstimator):
    """What ThresholdOptimizer takes for a fitted model: it hands on the score it is given."""

    def fit(self, x, y):
        return self

    def __sklearn_is_fitted__(self):
        return True

    def predict(self, x):
        return np.asarray(x)[:, 0]


def thresholds(data: Data, after: np.ndarray, scored: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Decisions by fairlearn's ThresholdOptimizer (Hardt, Price and Srebro 2016), a class each against the rest, to equalised odds.

    The answer is the likeliest of the classes that are decided, else the likeliest of all; it gets the half of the
    probability. A class without a note, or without another, in some group keeps the plain answer.
    """
    from fairlearn.postprocessing import ThresholdOptimizer

    known, asked = after[data.group[after] >= 0], np.flatnonzero(data.group[scored] >= 0)
    decided = np.zeros((len(scored), len(data.classes)), bool)
    for k in range(len(data.classes)):
        of_class = (data.target[known] == k).astype(int)
        if any(len(set(of_class[data.group[known] == g])) < 2 for g in range(len(data.groups))):
            continue
        model = ThresholdOptimizer(
            estimator=Scores(), constraints="equalized_odds", objective="balanced_accuracy_score", prefit=True,
            predict_method="predict", grid_size=200,
        )  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(probabilities[known, k, None], of_class, sensitive_features=data.group[known])
            rows = scored[asked]
            decided[asked, k] = model.predict(
                probabilities[rows, k, None], sensitive_features=data.group[rows], random_state=SEED
            )
    plain = probabilities[scored]
    answer = np.where(decided.any(axis=1), np.where(decided, plain, -1).argmax(axis=1), plain.argmax(axis=1))
    chosen = np.arange(len(data.classes)) == answer[:, None]
    return 0.5 * chosen + 0.5 * plain


# ---------------------------------------------------------------- the table


def table(results: dict, data: Data) -> list[str]:
    """A row a method: accuracy and macro-F1 with their difference to none, and each gap with its interval and verdict."""
    lines = [
        "| method | group needed to answer | accuracy | against none | macro-F1 | against none | "
        + " | ".join(f"{name.replace('_', ' ')} gap" for name in GAPS) + " | seconds a fold |",
        "|---|---|---|---|---|---|" + "---|" * len(GAPS) + "---|",
    ]  # fmt: skip
    place = {note: row for row, note in enumerate(data.ids)}
    ids = sorted(note for fold in results["none"].values() for note in fold["ids"])
    rows = np.array([place[note] for note in ids])
    patients = patient_numbers(pd.Series([data.notes[row]["patient_id"] for row in rows]))
    truths = truth([data.notes[row]["labels"] for row in rows], data.classes)
    draws, scores = {}, {}
    for method in (each for each in METHODS if len(results.get(each, ())) == len(results["none"])):
        of = {note: values for fold in results[method].values() for note, values in zip(fold["ids"], fold["log_probabilities"], strict=True)}  # fmt: skip
        probabilities = np.exp([of[note] for note in ids])
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        shard = Shard(np.array(ids, object), patients, truths, probabilities, np.zeros(len(ids), bool), True)
        scorer = Scorer(shard)
        scores[method] = {name: float(values[0]) for name, values in scorer.headline(scorer.ones).items()}
        parts = [scorer.headline(weights) for weights in patient_weights(len(scorer.ones), SAMPLES, SEED)]
        draws[method] = {name: np.concatenate([part[name] for part in parts]) for name in ("accuracy", "macro_f1")}
        cells = ["yes" if METHODS[method] else "no"]
        for name in ("accuracy", "macro_f1"):
            low, high = interval(draws[method][name] - draws["none"][name]).values()
            own = scores[method][name]
            cost = f"{own - scores['none'][name]:+.3f} ({low:+.3f} to {high:+.3f})"
            cells += [f"{own:.3f}", "" if method == "none" else cost]
        groups = {
            name: score(shard.at(np.flatnonzero(data.group[rows] == g)), len(scorer.ones), SAMPLES, SEED, 5)
            for g, name in enumerate(data.groups)
        }
        for metric, margin in GAPS.items():
            found = compare(groups, metric, margin, data.classes)
            gap = found["widest"]
            if gap is None:
                cells.append("cannot conclude")
                continue
            span = "{value:.2f} ({low:.2f} to {high:.2f})".format(**gap["difference"])
            cells.append(f"{span}, {found['verdict'].replace('_', ' ')}")
        seconds = np.mean([fold["seconds"] for fold in results[method].values()])
        lines.append(f"| {method} | " + " | ".join([*cells, f"{seconds:.0f}"]) + " |")
    return lines


if __name__ == "__main__":
    run(main)
