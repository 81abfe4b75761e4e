"""The methods by name, on notes at once."""

import hashlib
from typing import NamedTuple

import numpy as np

from diagnosis.errors import UserError
from diagnosis.explain.attention import attention
from diagnosis.explain.classifier import Classifier, Note
from diagnosis.explain.gradients import integrated_gradients
from diagnosis.explain.perturb import lime, occlusion, shap

DIAGNOSTIC = ("attention", "attention_rollout")  # of no class, and no explanation of a decision
SAMPLED = ("lime",)  # another seed gives other scores


class Attributed(NamedTuple):
    """Of each note its scores by method, (classes, words), (1, words) of the diagnostic ones; of the methods whose scores add up
    to something, what that is, (classes,); of each note its attention by head, (layers, heads, words), or None; and why a method
    gave nothing, by name."""

    scores: list[dict[str, np.ndarray]]
    totals: list[dict[str, np.ndarray]]
    by_head: list[np.ndarray | None]
    missing: dict[str, str]


def attribute(
    classifier: Classifier,
    notes: list[Note],
    classes: list[list[int]],
    methods: list[str],
    *,
    steps: int,
    samples: int,
    seed: int,
) -> Attributed:
    """The scores of `methods` for the `classes` of each note."""
    scores, by_head, missing = [{} for _ in notes], [None] * len(notes), {}
    found, totals = {}, [{} for _ in notes]
    if "integrated_gradients" in methods:
        found["integrated_gradients"], changes = integrated_gradients(classifier, notes, classes, steps)
        for own, change in zip(totals, changes, strict=True):
            own["integrated_gradients"] = change
    if "occlusion" in methods:
        found["occlusion"] = own_classes(occlusion(classifier, notes), classes)
    if "shap" in methods:
        found["shap"] = shap(classifier, notes, classes, samples)
        ends = [np.array([[True], [False]]).repeat(len(note.spans), axis=1) for note in notes]
        for own, (whole, none), labels in zip(totals, classifier.log_odds(notes, ends), classes, strict=True):
            own["shap"] = (whole - none)[labels]
    if "lime" in methods:
        found["lime"] = own_classes(lime(classifier, notes, samples, lambda name: generator(seed, name)), classes)
    if asked := [name for name in DIAGNOSTIC if name in methods]:
        try:
            heads, rolled = zip(*attention(classifier, notes), strict=True)
            by_head = list(heads)
            # Of the last layer, the heads' mean: what is usually shown as "the attention".
            made = {
                "attention": [each[-1].mean(axis=0)[None] for each in heads],
                "attention_rollout": [r[None] for r in rolled],
            }
            found |= {name: made[name] for name in asked}
        except UserError as error:
            missing = dict.fromkeys(asked, str(error))
    for name in methods:
        for own, each in zip(scores, found.get(name, ()), strict=False):
            own[name] = each
    return Attributed(scores, totals, by_head, missing)


def own_classes(scores: list[np.ndarray], classes: list[list[int]]) -> list[np.ndarray]:
    return [each[own] for each, own in zip(scores, classes, strict=True)]


def generator(seed: int, note_id: str) -> np.random.Generator:
    """A note's own random numbers, whatever other notes there are."""
    return np.random.default_rng([seed, int.from_bytes(hashlib.sha256(note_id.encode()).digest()[:8], "big")])
