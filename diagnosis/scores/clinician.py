"""Two baselines that a clinician knows: what the note names, and what the patient had the last time. Neither is fitted."""

import numpy as np

from diagnosis.text.label_mentions import Mentions


def shares(counts: np.ndarray, prior: np.ndarray, single: bool) -> np.ndarray:
    """(n, k) counts of a class' evidence in a note as probabilities: the prior counts as one more piece.

    One label: over all classes' evidence. Several: each label by itself, so that one piece is a yes. Without evidence the prior.
    """
    total = counts.sum(axis=1, keepdims=True) if single else counts
    return (counts + prior) / (total + 1)


def named(mentions: Mentions, texts: list[str], classes: list[str]) -> np.ndarray:
    """(n, k): how often each text names each class and means it: what is denied or a relative's does not count."""
    column = {label: k for k, label in enumerate(classes)}
    counts = np.zeros((len(texts), len(classes)))
    for row, text in enumerate(texts):
        for mention in mentions.find(text):
            if mention.affirmed:
                counts[row, [column[label] for label in mention.classes if label in column]] += 1
    return counts


def previous(patients: list, encounters: list, labels: list[list[str]]) -> list[list[str] | None]:
    """By note, the labels of the patient's encounter before its own; None for a first one, or without ids.

    Encounters come in the order of their first notes' rows: the note table has no times, and keeps the corpus' order.
    """
    order: dict = {}
    for patient, encounter, of in zip(patients, encounters, labels, strict=True):
        if patient is not None and encounter is not None:
            order.setdefault(patient, {}).setdefault(encounter, of)
    before = {
        (patient, encounter): earlier
        for patient, found in order.items()
        for encounter, earlier in zip(list(found)[1:], list(found.values())[:-1], strict=True)
    }
    return [before.get(key) for key in zip(patients, encounters, strict=True)]
