"""Entity F1, and exact match and F1 of answers, with intervals by patient."""

import re
from collections import Counter

import numpy as np

from diagnosis.scores.bootstrap import interval, patient_weights
from diagnosis.spans.entities import Entity


def entity_scores(
    gold: list[list[Entity]], found: list[list[Entity]], patients: list[str], *, samples: int, seed: int, min_count: int
) -> dict:
    """Precision, recall and F1 over all entities (micro), their mean F1 over kinds, and F1 by kind.

    An entity is found where its first word, last word and kind are (the CoNLL measure). `loose_f1` asks for a shared word and the
    kind only. Kinds of fewer than `min_count` entities are not shown. A measure without entities is None.
    """
    kinds = sorted({entity.kind for own in [*gold, *found] for entity in own})
    counts = np.zeros((len(gold), len(kinds), 3))  # found rightly, found, there
    loose = np.zeros(3)
    for note, (true, own) in enumerate(zip(gold, found, strict=True)):
        right = set(true) & set(own)
        for place, entities in enumerate((right, own, true)):
            for entity in entities:
                counts[note, kinds.index(entity.kind), place] += 1
        loose += sum(any(map(meets, [e] * len(true), true)) for e in own), len(own), len(true)
        loose[0] += sum(any(map(meets, [e] * len(own), own)) for e in true)
    right, own, true = counts.sum(axis=(0, 1))
    by_kind = counts.sum(axis=0)
    f1 = {kind: _f1(*row) for kind, row in zip(kinds, by_kind, strict=True)}
    places = np.unique(patients, return_inverse=True)[1]
    by_patient = np.zeros((places.max() + 1, 3))
    np.add.at(by_patient, places, counts.sum(axis=1))
    draws = [weights.T @ by_patient for weights in patient_weights(len(by_patient), samples, seed)]
    right_, own_, true_ = np.concatenate(draws).T
    return {
        "notes": len(gold),
        "entities": int(true),
        "precision": _ratio(right, own),
        "recall": _ratio(right, true),
        "f1": _f1(right, own, true),
        "interval": {"f1": interval(2 * right_ / (own_ + true_)) if own + true else {"low": None, "high": None}},
        "macro_f1": float(np.mean([value for value in f1.values() if value is not None])) if f1 else None,
        "loose_f1": _ratio(loose[0], loose[1] + loose[2]),
        "f1_by_kind": {kind: f1[kind] for kind, row in zip(kinds, by_kind, strict=True) if row[2] >= min_count},
    }


def meets(one: Entity, other: Entity) -> bool:
    return one.kind == other.kind and one.first <= other.last and other.first <= one.last


def _ratio(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None


def _f1(right: float, found: float, there: float) -> float | None:
    return _ratio(2 * right, found + there)


def answer_scores(gold: list[list[str]], given: list[str], patients: list[str], *, samples: int, seed: int) -> dict:
    """Exact match and word F1 (Rajpurkar et al. 2016, SQuAD), each the best over a question's answers; a question without answers
    counts 1 where none is given."""
    exact = np.array([exact_match(own, answer) for own, answer in zip(gold, given, strict=True)])
    f1 = np.array([word_f1(own, answer) for own, answer in zip(gold, given, strict=True)])
    answered = np.array([bool(own) for own in gold])
    places = np.unique(patients, return_inverse=True)[1]
    sums = np.zeros((places.max() + 1, 3))
    np.add.at(sums, places, np.stack([exact, f1, np.ones(len(gold))], axis=1))
    draws = np.concatenate([weights.T @ sums for weights in patient_weights(len(sums), samples, seed)])
    mean = lambda values: float(values.mean()) if len(values) else None  # noqa: E731
    return {
        "questions": len(gold),
        "answerable": int(answered.sum()),
        "exact_match": mean(exact),
        "f1": mean(f1),
        "interval": {"exact_match": interval(draws[:, 0] / draws[:, 2]), "f1": interval(draws[:, 1] / draws[:, 2])},
        "exact_match_answerable": mean(exact[answered]),
        "f1_answerable": mean(f1[answered]),
        "none_where_none": mean(exact[~answered]),
        "exact_match_always_none": mean(1.0 - answered),
    }


def exact_match(gold: list[str], given: str) -> float:
    return float(max((_words(own) == _words(given) for own in gold), default=not given))


def word_f1(gold: list[str], given: str) -> float:
    """Twice the shared words over all words, the best of the gold answers."""
    if not gold:
        return float(not given)
    own = Counter(_words(given))
    both = ((Counter(_words(answer)), own) for answer in gold)
    return max(2 * (true & own).total() / max(1, true.total() + own.total()) for true, own in both)


def _words(text: str) -> list[str]:
    """Lower-case words without punctuation and articles."""
    return [word for word in re.sub(r"[^\w\s]", "", text.lower()).split() if word not in ("a", "an", "the")]
