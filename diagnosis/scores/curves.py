"""Points of the plots: confusion, ROC, precision-recall, reliability. Counts and rates only, never an id."""

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from sklearn.metrics import precision_recall_curve, roc_curve

from diagnosis.files import written_aside
from diagnosis.scores.metrics import BINS, bin_of
from diagnosis.scores.shards import Shard

POINTS = 200  # a curve's, at most
GRID = np.linspace(0, 1, 101)
OTHER, MISSED, ABSENT = "(other)", "(missed)", "(absent)"


def confusion(shard: Shard, classes: list[str]) -> Iterator[dict]:
    """A row a decision, `actual` and `predicted`, sorted; DVC's template counts them.

    One label a note: a row a note, `(other)` for a label outside the classes. Several: a row a label that the note has
    or is given; one that it has and is not given counts as predicted `(missed)`, the reverse as actual `(absent)`.
    """
    truth, decided = shard.truth, shard.decided
    if shard.single:
        names = [*classes, OTHER]
        actual = np.where(truth.any(axis=1), truth.argmax(axis=1), len(classes))
        pairs = [(names[a], names[p]) for a, p in zip(actual, decided.argmax(axis=1), strict=True)]
    else:
        rows, columns = np.nonzero(truth | decided)
        pairs = [
            (classes[k] if truth[row, k] else ABSENT, classes[k] if decided[row, k] else MISSED)
            for row, k in zip(rows, columns, strict=True)
        ]
    yield from ({"actual": actual, "predicted": predicted} for actual, predicted in sorted(pairs))


def roc(shard: Shard, classes: list[str]) -> Iterator[dict]:
    """ROC one-vs-rest, the macro curve (mean sensitivity at each false positive rate) first; classes without both are left out."""
    curves = {}
    for name, truth, score in by_class(shard, classes):
        if truth.any() and not truth.all():
            fpr, tpr, _ = roc_curve(truth, score)
            curves[name] = fpr, tpr
    if curves:
        # Where a curve rises at one rate, np.interp takes its upper end; (0, 0) is put before the rise.
        macro = np.mean([np.interp(GRID, *curve) for curve in curves.values()], axis=0)
        curves = {"macro": (np.append(0, GRID), np.append(0, macro)), **curves}
    yield from points(curves, "fpr", "tpr")


def precision_recall(shard: Shard, classes: list[str]) -> Iterator[dict]:
    """Precision by recall one-vs-rest, the macro curve first; classes without a note are left out."""
    curves = {}
    for name, truth, score in by_class(shard, classes):
        if truth.any():
            precision, recall, _ = precision_recall_curve(truth, score, drop_intermediate=True)
            curves[name] = recall[::-1], precision[::-1]
    if curves:
        # The precision where a recall is first reached, as average precision has it.
        steps = [precision[np.searchsorted(recall, GRID[1:])] for recall, precision in curves.values()]
        curves = {"macro": (GRID[1:], np.mean(steps, axis=0)), **curves}
    yield from points(curves, "recall", "precision")


def by_class(shard: Shard, classes: list[str]) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    for k, name in enumerate(classes):
        yield name, shard.truth[:, k], shard.probabilities[:, k]


def points(curves: dict[str, tuple[np.ndarray, np.ndarray]], x: str, y: str) -> Iterator[dict]:
    """Rows of `class`, x and y; a curve of more than POINTS points keeps every so-manyth and both ends."""
    for name, (xs, ys) in curves.items():
        kept = np.unique(np.linspace(0, len(xs) - 1, min(len(xs), POINTS)).round().astype(int))
        yield from ({"class": name, x: round(float(xs[i]), 4), y: round(float(ys[i]), 4)} for i in kept)


def reliability(shards: dict[str, Shard]) -> Iterator[dict]:
    """For each model and bin of the ECE: mean probability, share observed, and how many. A first `ideal` line lies on the diagonal.

    One label a note: the likeliest class' probability. Several: the probabilities of all labels together.
    """
    for end in (0.0, 1.0):
        yield {"model": "ideal", "probability": end, "observed": end, "n": None}
    for model, shard in shards.items():
        outcome, probability = shard.truth.ravel(), shard.probabilities.ravel()
        if shard.single:
            outcome, probability = shard.correct, shard.probabilities.max(axis=1)
        bins = bin_of(probability)
        for number in range(BINS):
            inside = bins == number
            if inside.any():
                yield {
                    "model": model,
                    "probability": round(float(probability[inside].mean()), 4),
                    "observed": round(float(outcome[inside].mean()), 4),
                    "n": int(inside.sum()),
                }


def write_points(path: Path, columns: list[str], rows: Iterator[dict], shard: str) -> None:
    """Write rows as CSV, the shard in the first column."""
    with written_aside(path) as partial, open(partial, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, ["shard", *columns], lineterminator="\n")
        writer.writeheader()
        writer.writerows({"shard": shard, **row} for row in rows)
