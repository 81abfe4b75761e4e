"""Labels that are likely wrong, by confident learning (Northcutt, Jiang and Chuang 2021, J Artif Intell Res 70), and each note's loss.

The probabilities have to be out of sample: those of the validation and test shards are, for training saw neither.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import sparse

from diagnosis.files import written_aside
from diagnosis.scores.bootstrap import interval, patient_weights
from diagnosis.scores.shards import Shard

LEAST = 1e-12  # a probability of 0 would be an endless loss
COLUMNS = {
    "shard": pa.string(), "rank": pa.int32(), "note_id": pa.string(), "loss": pa.float64(), "suspected": pa.bool_(),
    "labels": pa.list_(pa.string()), "decided": pa.list_(pa.string()),
}  # fmt: skip


def confident(given: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """(n,): the class that each note is confidently of, or -1.

    given: (n,) class numbers; probabilities: (n, k). A note is confidently of class j where its probability reaches class j's mean
    among the notes labelled j; of several such classes it is the likeliest. A class that no note is labelled is never one.
    """
    classes = probabilities.shape[1]
    count = np.bincount(given, minlength=classes)
    own = np.bincount(given, weights=probabilities[np.arange(len(given)), given], minlength=classes)
    limit = np.where(count > 0, own / np.maximum(count, 1), np.inf)
    reached = probabilities >= limit - 1e-9  # a mean of equals may be a rounding above them
    return np.where(reached.any(axis=1), np.where(reached, probabilities, -1).argmax(axis=1), -1)


def noise(given: np.ndarray, found: np.ndarray, patients: np.ndarray, answers: int, weights: np.ndarray):
    """Shares of wrong answers: (b,) of all, and (answers, b) of those given each.

    The confident ones among those given an answer stand for all of them (the calibrated confident joint); an answer without a
    confident one counts as right. given, found and patients: (m,); weights: (patients, b).
    """
    sure = found >= 0

    def summed(rows: np.ndarray, keep: np.ndarray) -> np.ndarray:
        shape = (answers, len(weights))
        return sparse.csr_matrix((np.ones(keep.sum()), (rows[keep], patients[keep])), shape=shape) @ weights

    wrong, seen, labelled = summed(given, suspected(given, found)), summed(given, sure), summed(given, given >= 0)
    share = np.divide(wrong, seen, out=np.zeros_like(wrong), where=seen > 0)
    with np.errstate(invalid="ignore"):
        return (share * labelled).sum(axis=0) / labelled.sum(axis=0), share


def answers(shard: Shard) -> tuple[np.ndarray, np.ndarray]:
    """(q, n) given and (q, n) confident answers. One label: one question, the answers are the classes. Several: question k has the
    answers 2k, no, and 2k + 1, yes. -1 where no answer is confident, or the given one is outside the classes."""
    if shard.single:
        given = np.where(shard.unknown, -1, shard.truth.argmax(axis=1))
        found = np.full(len(given), -1)
        found[~shard.unknown] = confident(given[~shard.unknown], shard.probabilities[~shard.unknown])
        return given[None], found[None]
    given = shard.truth.T.astype(int)
    found = np.array([
        confident(of, np.column_stack([1 - p, p])) for of, p in zip(given, shard.probabilities.T, strict=True)
    ])  # fmt: skip
    shift = 2 * np.arange(len(given))[:, None]
    return given + shift, np.where(found < 0, -1, found + shift)


def suspected(given: np.ndarray, found: np.ndarray) -> np.ndarray:
    """(q, n) bool: the confident answer is another than the given one."""
    return (found >= 0) & (found != given)


def label_noise(shard: Shard, classes: list[str], samples: int, seed: int) -> dict:
    """What metrics/evaluate.json says of a shard's labels.

    `noise`: the estimated share of wrong labels (several: of wrong answers, yes or no), with its interval over patients at fixed
    thresholds; `ceiling_accuracy`: what a model that always gives the true answer would score on these.
    """
    given, found = answers(shard)
    patients, width = int(shard.patients.max()) + 1, len(classes) * (1 if shard.single else 2)
    owner = np.tile(shard.patients, len(given))

    def estimated(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return noise(given.ravel(), found.ravel(), owner, width, weights)

    value, share = estimated(np.ones((patients, 1)))
    band = interval(np.concatenate([estimated(weights)[0] for weights in patient_weights(patients, samples, seed)]))
    said = share[:, 0] if shard.single else share[1::2, 0]
    return {
        "answers": int((given >= 0).sum()),
        "suspected": int(suspected(given, found).sum()),
        "noise": {"value": float(value[0]), **band},
        "ceiling_accuracy": {
            "value": 1 - float(value[0]),
            "low": None if band["high"] is None else 1 - band["high"],
            "high": None if band["low"] is None else 1 - band["low"],
        },
        # Of the notes that have the label, the share that are not of it.
        "by_class": {name: float(said[k]) if shard.truth[:, k].any() else None for k, name in enumerate(classes)},
    }


def losses(shard: Shard) -> np.ndarray:
    """(n,): the cross-entropy of each note, with several labels summed over them; NaN where the one label is no class."""
    likely = np.where(shard.truth, shard.probabilities, np.nan if shard.single else 1 - shard.probabilities)
    loss = -np.log(np.clip(likely, LEAST, 1))
    if not shard.single:
        return loss.sum(axis=1)
    return np.where(shard.unknown, np.nan, np.nan_to_num(loss).sum(axis=1))


def write_losses(path: Path, shards: dict[str, Shard], classes: list[str]) -> None:
    """The notes by loss, the worst first: shard, rank, note_id, loss, suspected, labels and decided; those without a loss last.

    Ids and classes, no text.
    """
    rows = []
    for name, shard in shards.items():
        loss, doubt, decided = losses(shard), suspected(*answers(shard)).any(axis=0), shard.decided
        for rank, row in enumerate(np.argsort(-np.nan_to_num(loss, nan=-1), kind="stable"), 1):
            named = [[classes[k] for k in np.flatnonzero(of[row])] for of in (shard.truth, decided)]
            rows.append((name, rank, shard.note_ids[row], loss[row], doubt[row], *named))
    table = pa.table({
        column: pa.array([row[place] for row in rows], kind)
        for place, (column, kind) in enumerate(COLUMNS.items())
    })  # fmt: skip
    with written_aside(path) as partial:
        pq.write_table(table, partial, compression="zstd")
