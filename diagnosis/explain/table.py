"""data/explanations.parquet: the words of the explained notes with their scores, a row a note, method and class."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from diagnosis.explain.classifier import probability
from diagnosis.explain.methods import DIAGNOSTIC
from diagnosis.explain.summary import Explained
from diagnosis.files import written_aside

SCHEMA = pa.schema(
    [
        pa.field("note_id", pa.string(), nullable=False),
        pa.field("shard", pa.string(), nullable=False),
        pa.field("chosen", pa.string(), nullable=False),  # hash | worst | both
        pa.field("method", pa.string(), nullable=False),
        pa.field("class", pa.string()),  # null: of no class
        pa.field("likeliest", pa.bool_(), nullable=False),
        pa.field("probability", pa.float32()),
        pa.field("words", pa.list_(pa.string()), nullable=False),
        pa.field("texts", pa.list_(pa.uint8()), nullable=False),  # 1: of the second text of a pair
        pa.field("starts", pa.list_(pa.int32()), nullable=False),
        pa.field("ends", pa.list_(pa.int32()), nullable=False),
        pa.field("scores", pa.list_(pa.float32()), nullable=False),
        pa.field("unread_words", pa.int32(), nullable=False),
    ]
)


def write_explanations(
    path: Path, explained: list[Explained], texts: dict[str, list[str]], shard: str, card: dict
) -> None:
    """`texts`: each note's text, and its pair, by note_id."""
    metadata = {name: json.dumps(card[name], sort_keys=True) for name in ("classes", "data_use", "task")}
    rows = [row for each in explained for row in rows_of(each, texts[each.note.note_id], shard, card["classes"])]
    with written_aside(path) as partial:
        pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA.with_metadata(metadata)), partial, compression="zstd")


def rows_of(each: Explained, texts: list[str], shard: str, classes: list[str]):
    spans = each.note.spans
    shared = {
        "note_id": each.note.note_id,
        "shard": shard,
        "chosen": each.chosen,
        "words": [texts[text][start:end] for text, start, end in spans],
        "texts": [text for text, _, _ in spans],
        "starts": [start for _, start, _ in spans],
        "ends": [end for _, _, end in spans],
        "unread_words": each.note.unread,
    }
    chance = probability(each.odds)
    for method, scores in each.scores.items():
        for place, own in enumerate(scores):
            label = None if method in DIAGNOSTIC else each.classes[place]
            yield shared | {
                "method": method,
                "class": None if label is None else classes[label],
                "likeliest": place == 0,
                "probability": None if label is None else float(chance[label]),
                "scores": own.astype(np.float32).tolist(),
            }
