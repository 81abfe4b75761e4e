"""How high the right classes rank, micro averages of several labels, and scores on the tree of ICD codes."""

import numpy as np
from scipy import sparse

from diagnosis.corpora.icd import FORM, label
from diagnosis.scores.bootstrap import interval, patient_weights
from diagnosis.scores.metrics import Scorer
from diagnosis.scores.shards import Shard

KS = (1, 3, 5, 8, 15)


def ranking(shard: Shard, samples: int, seed: int) -> dict:
    """Precision and recall of each note's k likeliest classes; with several labels micro averages as well."""
    parts = at_k(shard)
    if shard.single:
        return ratios(shard, parts, samples, seed)
    decided, truth = shard.decided, shard.truth
    hits = (decided & truth).sum(axis=1)
    parts |= {"micro_sensitivity": (hits, truth.sum(axis=1)), "micro_ppv": (hits, decided.sum(axis=1))}
    return ratios(shard, parts, samples, seed) | micro_areas(shard, samples, seed)


def at_k(shard: Shard) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """By score, its numerator and denominator by note, (n,) each; k less than the number of classes.

    Precision: the share of the k that are right, the mean over notes. Recall: the share of a note's classes among the k, the mean over
    notes that have a class; with one label the share of notes whose class is among the k. Of equals the first class ranks first.
    """
    order = np.argsort(-shard.probabilities, axis=1, kind="stable")
    hits = np.take_along_axis(shard.truth, order, 1).cumsum(axis=1)
    labels = shard.truth.sum(axis=1)
    ones, known = np.ones(len(labels)), (labels > 0).astype(float)
    result = {}
    for k in KS:
        if k < shard.truth.shape[1]:
            result[f"precision_at_{k}"] = hits[:, k - 1] / k, ones
            result[f"recall_at_{k}"] = hits[:, k - 1] / np.maximum(labels, 1), known
    return result


def ratios(shard: Shard, parts: dict[str, tuple[np.ndarray, np.ndarray]], samples: int, seed: int) -> dict:
    """Value and 95 % interval over patients of scores that are a sum over notes by another: `parts` as of at_k."""
    patients = int(shard.patients.max()) + 1
    columns = np.column_stack([column for pair in parts.values() for column in pair]).astype(np.float64)
    owner = sparse.csr_matrix((np.ones(len(columns)), (np.arange(len(columns)), shard.patients)))
    sums = (owner.T @ columns).T

    def divided(weights: np.ndarray) -> np.ndarray:
        found = sums @ weights
        with np.errstate(invalid="ignore", divide="ignore"):
            return found[::2] / found[1::2]

    plain = divided(np.ones((patients, 1)))[:, 0]
    draws = np.hstack([divided(weights) for weights in patient_weights(patients, samples, seed)])
    return {name: {"value": float(plain[i]), **interval(draws[i])} for i, name in enumerate(parts)}


def micro_areas(shard: Shard, samples: int, seed: int) -> dict:
    """AUROC and AUPRC of all notes' labels in one ranking: each label of each note counts as a note of one class."""
    notes, classes = shard.truth.shape
    flat = Shard(
        np.repeat(shard.note_ids, classes),
        np.repeat(shard.patients, classes),
        shard.truth.reshape(-1, 1),
        shard.probabilities.reshape(-1, 1),
        np.zeros(notes * classes, bool),
        False,
    )
    scorer = Scorer(flat)
    plain = scorer.by_class(scorer.ones)
    parts = [scorer.by_class(weights) for weights in patient_weights(len(scorer.ones), samples, seed)]
    return {
        f"micro_{name}": {
            "value": float(plain[name][0, 0]),
            **interval(np.concatenate([part[name][0] for part in parts])),
        }
        for name in ("auroc", "auprc")
    }


def hierarchical(shard: Shard, classes: list[str], samples: int, seed: int) -> dict | None:
    """Precision, recall and F1 of the codes with all their ancestors (Kiritchenko, Matwin and Famili 2006): a code beside the
    right one counts for the chapter and the category they share. None where a class is no ICD code, or all are chapters."""
    above = [ancestors(name) for name in classes]
    if not all(above) or all(len(found) == 1 for found in above):
        return None
    nodes = sorted(set().union(*above))
    member = np.array([[node in found for node in nodes] for found in above])
    truth, decided = shard.truth @ member, shard.decided @ member
    hits, said, right = ((part).sum(axis=1) for part in (truth & decided, decided, truth))
    parts = {"precision": (hits, said), "recall": (hits, right), "f1": (2 * hits, said + right)}
    return {"nodes": len(nodes), **ratios(shard, parts, samples, seed)}


def ancestors(name: str) -> frozenset[str]:
    """A class of ICD codes with what stands above it: the code cut by a character at a time down to its category, and the
    chapter. Empty where `name` has not the form of a category or code as diagnosis.corpora.icd writes it."""
    code = name.removeprefix("ICD-9 ")
    version = "9" if code != name or code.isdigit() else "10"
    chapter = label(code, version, "chapter") if FORM[version].fullmatch(code) else None
    if chapter is None:
        return frozenset()
    shortest = len(label(code, version, "category").removeprefix("ICD-9 "))
    mark = name[: len(name) - len(code)]
    return frozenset({chapter, *(mark + code[:end] for end in range(shortest, len(code) + 1))})
