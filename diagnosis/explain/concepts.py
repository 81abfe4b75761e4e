"""What a model says of all notes: findings as inputs of a model that people can edit, rules that imitate the fine-tuned model,
and the words that count for each class."""

import math
import string
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier, export_text
from sklearn.tree._tree import TREE_LEAF, TREE_UNDEFINED

from diagnosis.errors import UserError
from diagnosis.files import read_json
from diagnosis.notes import read_notes
from diagnosis.scores.shards import patient_numbers
from diagnosis.text.concepts import Concepts
from diagnosis.text.context import KINDS, note_scopes

NEVER = -20.0  # log odds of a class that no train note has


# ---------------------------------------------------------------- findings


def findings(concepts: Concepts, text: str) -> set[str]:
    """The concepts that a note names, each with how: "chest pain (negated)"; present where no word around it says otherwise."""
    scopes = note_scopes(text)
    result = set()
    for start, end, name in concepts.find(text):
        kinds = {s.kind for s in scopes if s.start < end and start < s.end and not start <= s.phrase[0] < end}
        result.add(f"{name} ({min(kinds, key=KINDS.index) if kinds else 'present'})")
    return result


class Found(NamedTuple):
    """A shard's findings, one entry a note."""

    note_ids: list[str]
    patients: np.ndarray
    labels: list[list[str]]
    findings: list[set[str]]

    def of(self, note_ids) -> list[set[str]]:
        by_id = dict(zip(self.note_ids, self.findings, strict=True))
        return [by_id[note_id] for note_id in note_ids]


def findings_by_shard(concepts: Concepts, split: Path, names: list[str]) -> dict[str, Found]:
    """The findings of the notes of these shards; both texts of a pair count."""
    result = {}
    for name in names:
        notes = []
        for batch in read_notes(split / f"{name}.parquet", ["note_id", "patient_id", "labels", "text", "text_pair"]):
            for note in batch:
                text = "\n".join(filter(None, (note["text"], note["text_pair"])))
                notes.append((note["note_id"], note["patient_id"], note["labels"], findings(concepts, text)))
        ids, patients, labels, found = zip(*notes, strict=True) if notes else ((), (), (), ())
        result[name] = Found(list(ids), patient_numbers(patients), list(labels), list(found))
    return result


def common_findings(found: list[set[str]], patients: np.ndarray, min_count: int) -> list[str]:
    """The findings of at least `min_count` patients, sorted."""
    owners = defaultdict(set)
    for names, patient in zip(found, patients, strict=True):
        for name in names:
            owners[name].add(patient)
    return sorted(name for name, own in owners.items() if len(own) >= min_count)


def table(found: Iterable[set[str]], names: list[str]) -> np.ndarray:
    """(n, names) 0 or 1."""
    found = list(found)
    return np.array([[name in own for name in names] for own in found], dtype=np.float64).reshape(
        len(found), len(names)
    )


# ---------------------------------------------------------------- a bottleneck


def fit_bottleneck(
    inputs: np.ndarray, truth: np.ndarray, names: list[str], classes: list[str], single: bool, **options
):
    """Logistic regression from findings (n, names) to classes, as a dict for a file that people read and edit.

    {"classes", "task", "intercept": {class: number}, "findings": {finding: {class: log odds}}}. A concept bottleneck (Koh et al.
    2020): what is no finding cannot count. `options` are LogisticRegression's.
    """
    weights, intercept = np.zeros((len(classes), len(names))), np.full(len(classes), NEVER)
    if not names:  # the classes' shares are all there is to say
        share = np.clip(truth.mean(axis=0), math.exp(NEVER), 1 - math.exp(NEVER))
        intercept = np.log(share) if single else np.log(share) - np.log1p(-share)
    elif single:
        seen = np.flatnonzero(truth.any(axis=0))
        if len(seen) == 1:
            intercept[seen] = 0.0
        else:
            model = LogisticRegression(**options).fit(inputs, seen.searchsorted(truth.argmax(axis=1)))
            if len(seen) == 2:  # one row, of the second class against the first
                weights[seen[1]], intercept[seen] = model.coef_[0], [0.0, model.intercept_[0]]
            else:
                weights[seen], intercept[seen] = model.coef_, model.intercept_
    else:
        for number, outcome in enumerate(truth.T):
            if outcome.all() or not outcome.any():
                intercept[number] = -NEVER if outcome.all() else NEVER
            else:
                model = LogisticRegression(**options).fit(inputs, outcome)
                weights[number], intercept[number] = model.coef_[0], model.intercept_[0]
    return {
        "classes": classes,
        "task": "single_label" if single else "multi_label",
        "intercept": {label: round(float(value), 4) for label, value in zip(classes, intercept, strict=True)},
        "findings": {
            name: {label: round(float(value), 4) for label, value in zip(classes, column, strict=True)}
            for name, column in zip(names, weights.T, strict=True)
        },
    }


def read_bottleneck(path: Path, classes: list[str]) -> dict:
    """The file, perhaps edited; raises UserError where it is not of these classes or a number is none.

    A finding may name some classes only; the others then count 0.
    """
    read = read_json(path)
    if (
        not isinstance(read, dict)
        or read.get("classes") != classes
        or read.get("task") not in ("single_label", "multi_label")
    ):
        raise UserError(
            f"{path} is no concept bottleneck of these classes: copy models/concept_bottleneck.json and edit the copy"
        )
    parts = {
        "intercept": read.get("intercept"),
        **{f"finding {n!r}": own for n, own in (read.get("findings") or {}).items()},
    }
    for name, own in parts.items():
        if not isinstance(own, dict) or set(own) - set(classes):
            raise UserError(f"{path}: {name} is not a number by class: mend it")
        if any(isinstance(v, bool) or not isinstance(v, (int, float)) or not math.isfinite(v) for v in own.values()):
            raise UserError(f"{path}: {name} has a value that is no number: mend it")
    if missing := [label for label in classes if label not in parts["intercept"]]:
        raise UserError(f"{path}: intercept lacks class {missing[0]}: add it")
    return read


def apply_bottleneck(bottleneck: dict, found: Iterable[set[str]]) -> np.ndarray:
    """(n, classes) probabilities of notes with these findings."""
    classes, weights = bottleneck["classes"], bottleneck["findings"]
    coefficients = np.array([[own.get(label, 0.0) for label in classes] for own in weights.values()])
    intercept = np.array([bottleneck["intercept"][label] for label in classes])
    logits = table(found, list(weights)) @ coefficients.reshape(-1, len(classes)) + intercept
    if bottleneck["task"] == "multi_label":
        return 1 / (1 + np.exp(-np.clip(logits, -700, 700)))
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


# ---------------------------------------------------------------- rules


def fit_rules(inputs: np.ndarray, decided: np.ndarray, names: list[str], classes: list[str], single: bool, **options):
    """(decide, text): a small decision tree that imitates the model's decisions (n, classes), bool, from findings, and its rules.

    `decide` gives decisions for other inputs. `options` are DecisionTreeClassifier's. A surrogate (Craven and Shavlik 1995).
    """
    target = decided.argmax(axis=1) if single else decided.astype(int)
    tree = DecisionTreeClassifier(**options).fit(inputs, target)
    merge_alike(tree.tree_)
    own = [classes[number] for number in tree.classes_] if single else None
    text = export_text(tree, feature_names=names, class_names=own, max_depth=20)

    def decide(new: np.ndarray) -> np.ndarray:
        said = tree.predict(new)
        return said[:, None] == np.arange(len(classes)) if single else said.reshape(len(new), -1) > 0

    return decide, text


def merge_alike(tree) -> None:
    """Make a leaf of each branching whose two leaves decide the same: it tells a reader nothing."""
    left, right = tree.children_left, tree.children_right
    for node in reversed(range(tree.node_count)):  # children come behind their parent
        one, other = left[node], right[node]
        if one >= 0 and left[one] < 0 and left[other] < 0:
            decided = [tree.value[each].argmax(axis=1) for each in (one, other, node)]
            if all(np.array_equal(decided[0], each) for each in decided[1:]):
                left[node] = right[node] = TREE_LEAF
                tree.feature[node] = TREE_UNDEFINED  # by which export_text knows a leaf


# ---------------------------------------------------------------- words


def top_terms(
    notes: Iterable[tuple[str, object, list[str], np.ndarray]], min_count: int, most: int = 20
) -> dict[str, list]:
    """By class its terms, the highest mean attribution first, of (class, patient, words, scores) a note.

    A term is a word in lower case without punctuation at its ends, with a letter; of a note its highest score counts. Terms of
    fewer than `min_count` patients with that class are left out.
    """
    found = defaultdict(lambda: defaultdict(list))
    for label, patient, words, scores in notes:
        highest = {}
        for word, score in zip(words, scores, strict=True):
            term = word.lower().strip(string.punctuation)
            if any(letter.isalpha() for letter in term):
                highest[term] = max(float(score), highest.get(term, -math.inf))
        for term, score in highest.items():
            found[label][term].append((patient, score))
    return {
        label: sorted(
            (
                {"term": term, "attribution": round(float(np.mean([score for _, score in own])), 4)}
                for term, own in terms.items()
                if len({patient for patient, _ in own}) >= min_count
            ),
            key=lambda entry: (-entry["attribution"], entry["term"]),
        )[:most]
        for label, terms in sorted(found.items())
    }
