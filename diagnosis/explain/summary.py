"""What is said of the methods over notes: faithfulness, plausibility, stability and agreement, each with its interval."""

from itertools import combinations
from typing import NamedTuple

import numpy as np

from diagnosis.explain.attention import entropy
from diagnosis.explain.classifier import Note
from diagnosis.explain.methods import DIAGNOSTIC, SAMPLED
from diagnosis.explain.trust import agreement, beside_random, mean_with_interval, plausibility, random_plausibility


class Explained(NamedTuple):
    """A note with its explanations, their first row being of the likeliest class.

    falls: (2,) comprehensiveness and sufficiency by method, and under `random` the mean of random orders; {} of the notes that are
    explained for the report alone. totals: what scores should add up to, by method. again: scores of the sampled methods with another seed. planted: (words,) bool, or None where
    nothing is annotated.
    """

    note: Note
    row: int
    chosen: str
    classes: list[int]
    odds: np.ndarray
    scores: dict[str, np.ndarray]
    totals: dict[str, np.ndarray]
    again: dict[str, np.ndarray]
    by_head: np.ndarray | None
    falls: dict[str, np.ndarray]
    planted: np.ndarray | None


def summary(
    explained: list[Explained], patients: np.ndarray, methods: list[str], rng, *, samples: int, seed: int
) -> dict:
    """`methods`, `agreement` and `attention` of metrics/explain.json; `patients` (n,) are the notes' own."""
    sampling = {"patients": patients, "samples": samples, "seed": seed}
    has_planted = np.array([each.planted is not None for each in explained])
    by_chance = np.full(len(explained), np.nan)
    for place in np.flatnonzero(has_planted):
        each = explained[place]
        if 0 < each.planted.sum() < len(each.planted):
            by_chance[place] = random_plausibility(each.planted, rng(each.note.note_id))
    described = {}
    for name in methods:
        first = [each.scores[name][0] for each in explained]
        falls = np.array([each.falls[name] for each in explained])
        chance = np.array([each.falls["random"] for each in explained])
        own = {"diagnostic": name in DIAGNOSTIC}
        own["comprehensiveness"] = beside_random(falls[:, 0], chance[:, 0], high_is_good=True, **sampling)
        own["sufficiency"] = beside_random(falls[:, 1], chance[:, 1], high_is_good=False, **sampling)
        if has_planted.any():
            areas = [
                np.nan if each.planted is None else plausibility(scores, each.planted)
                for each, scores in zip(explained, first, strict=True)
            ]
            own["plausibility"] = beside_random(np.array(areas), by_chance, high_is_good=True, **sampling)
        if name in SAMPLED:
            pairs = [agreement(scores, each.again[name][0]) for each, scores in zip(explained, first, strict=True)]
            own["stability"] = {"deterministic": False, **agreed(pairs, sampling)}
        else:
            own["stability"] = {"deterministic": True}
        if name in explained[0].totals:
            own["left_over"] = left_over(explained, name)
        described[name] = own
    pairs = {
        f"{one} and {other}": agreed([agreement(e.scores[one][0], e.scores[other][0]) for e in explained], sampling)
        for one, other in combinations(methods, 2)
    }
    return {"methods": described, "agreement": pairs, "attention": heads(explained)}


def agreed(pairs: list[tuple[float, float]], sampling: dict) -> dict:
    correlation, overlap = np.array(pairs, dtype=np.float64).T
    return {
        "spearman": mean_with_interval(correlation, **sampling),
        "top_overlap": mean_with_interval(overlap, **sampling),
    }


def left_over(explained: list[Explained], name: str) -> float:
    """How far the words' sum is from the change of the log odds that they share, the median over notes, as a share of it."""
    gaps = [
        abs(each.scores[name][0].sum() - each.totals[name][0]) / max(abs(each.totals[name][0]), 1e-6)
        for each in explained
    ]
    return float(np.median(gaps))


def heads(explained: list[Explained]) -> dict | None:
    """By layer and head, means over notes: how evenly the attention is spread over words, and its plausibility. Lists of lists."""
    known = [each for each in explained if each.by_head is not None]
    if not known:
        return None
    result = {"entropy": np.mean([entropy(each.by_head) for each in known], axis=0).tolist()}
    areas = [
        np.apply_along_axis(plausibility, -1, each.by_head, each.planted)
        for each in known
        if each.planted is not None and 0 < each.planted.sum() < len(each.planted)
    ]
    return result | ({"plausibility": np.mean(areas, axis=0).tolist()} if areas else {})
