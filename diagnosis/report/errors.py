"""The notes that a model got most wrong, for people to look at; text only where it is asked for."""

from pathlib import Path

import numpy as np

from diagnosis.notes import read_notes
from diagnosis.report.evidence import Found
from diagnosis.scores.shards import Shard


def worst(shard: Shard, classes: list[str], most: int) -> dict[str, dict]:
    """By note_id, the most wrong first, at most `most` of the notes whose decision is wrong.

    How wrong: the widest distance between truth (0 or 1) and probability over the classes. With one label a note that is one
    minus the probability of the true class.
    """
    distance = np.abs(shard.truth - shard.probabilities).max(axis=1)
    wrong = np.flatnonzero(~shard.correct)
    order = wrong[np.lexsort((wrong, -distance[wrong]))][:most]
    decided = shard.decided

    def named(row: int, chosen: np.ndarray) -> list[dict]:
        return [
            {"label": classes[k], "probability": round(float(shard.probabilities[row, k]), 4)}
            for k in np.flatnonzero(chosen[row])
        ]

    return {
        str(shard.note_ids[row]): {
            "truth": named(row, shard.truth),
            "decided": named(row, decided),
            "distance": round(float(distance[row]), 4),
        }
        for row in order
    }


def texts_of(path: Path, note_ids) -> dict[str, list[str]]:
    """The text (two of a pair) of some notes of a split shard, read a batch at a time."""
    wanted = set(note_ids)
    return {
        row["note_id"]: [text for text in (row["text"], row["text_pair"]) if text is not None]
        for batch in read_notes(path, ["note_id", "text", "text_pair"])
        for row in batch
        if row["note_id"] in wanted
    }


def confused(confusion: Found, most: int) -> list[tuple[str, str, Found]]:
    """The pairs (actual, predicted) that notes were wrongly put into, the most frequent first."""
    pairs = [
        (actual, predicted, count)
        for actual, row in confusion.each()
        for predicted, count in row.each()
        if actual != predicted
    ]
    return sorted(pairs, key=lambda pair: (-pair[2].value, pair[0], pair[1]))[:most]
