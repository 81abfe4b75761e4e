"""Attributions from what the model says of a note without some of its words: occlusion, LIME, partition SHAP."""

import heapq
from collections.abc import Callable, Generator

import numpy as np
from sklearn.linear_model import Ridge

from diagnosis.explain.classifier import Classifier, Note

KERNEL_WIDTH = 25  # of LIME's text explainer, for cosine distances times 100
ROUND = 10  # masks that a note asks for at a time, as shap's partition explainer does: a larger round plans worse


def occlusion(classifier: Classifier, notes: list[Note]) -> list[np.ndarray]:
    """(classes, words) of each note: the log odds with all words minus those without each one (Zeiler and Fergus 2014)."""
    kept = [np.vstack([np.ones(n, bool), ~np.eye(n, dtype=bool)]) for n in map(word_count, notes)]
    return [(odds[0] - odds[1:]).T for odds in classifier.log_odds(notes, kept)]


def lime(classifier: Classifier, notes: list[Note], samples: int, rng: Callable[[str], np.random.Generator]):
    """(classes, words) of each note: the coefficients of a ridge regression of the log odds on which words are left in (Ribeiro et
    al. 2016, "Why Should I Trust You?"), all words in it. `rng` gives a note's generator from its id."""
    kept = [neighbourhood(word_count(note), samples, rng(note.note_id)) for note in notes]
    return [local_ridge(rows, odds) for rows, odds in zip(kept, classifier.log_odds(notes, kept), strict=True)]


def neighbourhood(words: int, samples: int, rng: np.random.Generator) -> np.ndarray:
    """(samples, words) bool: the whole note first, then notes without a random number of random words, as lime draws them."""
    kept = np.ones((samples, words), bool)
    for row, gone in enumerate(rng.integers(1, words + 1, samples - 1), start=1):
        kept[row, rng.choice(words, gone, replace=False)] = False
    return kept


def local_ridge(kept: np.ndarray, odds: np.ndarray) -> np.ndarray:
    """(classes, words) from rows (samples, words) and log odds (samples, classes); near rows weigh more, by lime's kernel."""
    distance = 100 * (1 - np.sqrt(kept.mean(axis=1)))  # cosine, to the row of all words
    weight = np.sqrt(np.exp(-(distance**2) / KERNEL_WIDTH**2))
    return np.atleast_2d(Ridge(alpha=1.0).fit(kept, odds, sample_weight=weight).coef_)


def shap(classifier: Classifier, notes: list[Note], classes: list[list[int]], samples: int) -> list[np.ndarray]:
    """(classes, words) of each note: Owen values of its `classes`' log odds, `samples` evaluations a note."""
    games = [owen_values(word_count(note), samples) for note in notes]
    asked, result = {number: next(game) for number, game in enumerate(games)}, [None] * len(games)
    while asked:
        numbers = list(asked)
        odds = classifier.log_odds([notes[number] for number in numbers], [asked[number] for number in numbers])
        for number, values in zip(numbers, odds, strict=True):
            try:
                asked[number] = games[number].send(values[:, classes[number]])
            except StopIteration as end:
                result[number] = end.value.T
                del asked[number]
    return result


def owen_values(words: int, samples: int) -> Generator[np.ndarray, np.ndarray, np.ndarray]:
    """A generator that yields masks (rows, words), is sent the game's values (rows, k), and returns (words, k).

    The words are halved again and again; a group's part is averaged over its sibling being in or out (Owen 1977; in the order
    of shap's partition explainer: where the values differ most comes first). After `samples` evaluations, those of no word and of
    all among them, what is left of a group is shared evenly among its words. Values add up to the game's of all words minus of none.
    """
    none, everything = np.zeros(words, bool), np.ones(words, bool)
    ends = yield np.stack([none, everything])
    values, count, turn = np.zeros((words, ends.shape[1])), len(ends), 0
    waiting = [(0.0, turn, (none, ends[0], ends[1], 0, words, 1.0))]
    while waiting and count < samples:
        split, masks = [], []
        while waiting and len(masks) < ROUND and count + len(masks) < samples:
            outside, without, within, start, end, weight = group = heapq.heappop(waiting)[2]
            if end - start == 1:
                values[start] += (within - without) * weight
                continue
            middle = (start + end + 1) // 2
            left, right = outside.copy(), outside.copy()
            left[start:middle] = right[middle:end] = True
            split.append((group, left, right, middle))
            masks += [left, right]
        if not masks:
            continue
        found, count = (yield np.array(masks)), count + len(masks)
        for place, ((outside, without, within, start, end, weight), left, right, middle) in enumerate(split):
            has_left, has_right = found[2 * place : 2 * place + 2]
            for part in (
                (outside, without, has_left, start, middle),
                (outside, without, has_right, middle, end),
                (right, has_right, within, start, middle),
                (left, has_left, within, middle, end),
            ):
                turn += 1
                first = -np.abs(part[2] - part[1]).max() * weight / 2
                heapq.heappush(waiting, (first, turn, (*part, weight / 2)))
    for _, _, (_, without, within, start, end, weight) in waiting:
        values[start:end] += (within - without) * weight / (end - start)
    return values


def word_count(note: Note) -> int:
    return len(note.spans)
