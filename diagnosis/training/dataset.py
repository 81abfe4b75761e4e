"""The training notes as a HuggingFace dataset in memory: token ids, class numbers and weights, no text."""

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from datasets import Dataset
from tqdm import tqdm

from diagnosis.errors import UserError
from diagnosis.notes import open_notes, read_metadata, read_notes
from diagnosis.training.tokens import pad
from diagnosis.training.windows import in_windows, tokenise_notes


def read_task(path: Path) -> dict:
    """The metadata of a note table that training needs; raises UserError where it is missing or makes no sense."""
    metadata = read_metadata(path)
    missing = [name for name in ("classes", "task", "text_pair", "data_use") if name not in metadata]
    if missing:
        raise UserError(f"{path} does not state {', '.join(missing)}: run `dvc repro split`")
    if len(metadata["classes"]) < 2:
        raise UserError(f"{path} states fewer than two classes: there is nothing to learn; change ingest.labels")
    return metadata


SCHEMA = pa.schema(
    [
        ("input_ids", pa.list_(pa.int32())),
        ("types", pa.list_(pa.uint8())),
        ("target", pa.list_(pa.int64())),
        ("weight", pa.float32()),
        ("length", pa.int64()),  # by which the Trainer groups
        ("whole_length", pa.int64()),  # of the uncut note
        ("unread", pa.int64()),  # its tokens that the model does not see
        ("windows", pa.list_(pa.int32())),  # lengths of the windows in input_ids, null where the note is one
    ]
)


def read_dataset(
    path: Path, tokenizer, metadata: dict, *, max_tokens: int, weighted: bool, long_notes: str = "head"
) -> Dataset:
    """A note table as the Trainer takes it, tokenised a batch of rows at a time: token ids, segment numbers (null without
    pairs), class numbers, a weight and lengths; `long_notes` as finetune has it. Raises UserError for a table that cannot be learned from.
    """
    columns = ["text", "text_pair", "labels", *(["weight"] if weighted else [])]
    table = open_notes(path)
    if weighted and "weight" not in table.schema_arrow.names:
        raise UserError(f"{path} lacks the column weight: run `dvc repro rebalance`")
    if not table.metadata.num_rows:
        raise UserError(f"{path} holds no note: give its shard a larger share in params.yaml: split")
    number = {name: index for index, name in enumerate(metadata["classes"])}
    batches, unknown, several = [], 0, 0
    with tqdm(total=table.metadata.num_rows, unit=" notes", desc=f"tokenise {path.stem}") as bar:
        for rows in read_notes(path, columns):
            unknown += sum(any(label not in number for label in row["labels"]) for row in rows)
            several += sum(len(row["labels"]) != 1 for row in rows)
            weights = [row["weight"] if weighted else 1.0 for row in rows]
            if None in weights or not np.isfinite(weights).all() or min(weights) < 0:
                raise UserError(f"{path}: column weight has a value that is missing, negative or not finite")
            pairs = [row["text_pair"] for row in rows] if metadata["text_pair"] else None
            tokens = tokenise_notes(tokenizer, [row["text"] for row in rows], pairs, max_tokens, long_notes)
            columns_of_batch = {
                "input_ids": tokens.ids,
                "types": tokens.types or [None] * len(rows),
                "target": [[number.get(label, -1) for label in row["labels"]] for row in rows],
                "weight": weights,
                "length": [len(note) for note in tokens.ids],
                "whole_length": tokens.lengths,
                "unread": tokens.unread,
                "windows": tokens.windows or [None] * len(rows),
            }
            batches.append(pa.RecordBatch.from_pydict(columns_of_batch, schema=SCHEMA))
            bar.update(len(rows))
    if unknown:
        raise UserError(
            f"{path}: {unknown} of {table.metadata.num_rows} notes have a label that is not among the {len(number)} classes "
            "of the train shard: run `dvc repro split`"
        )
    if metadata["task"] == "single_label" and several:
        raise UserError(f"{path}: {several} notes do not have exactly one label, and the task is single_label")
    return Dataset(pa.Table.from_batches(batches)).with_format("numpy")


def check_classes(dataset: Dataset, path: Path, classes: list[str]) -> None:
    """Raises UserError where a class has no note in the dataset: its logit would be learned from nothing."""
    targets = dataset.data.column("target").to_pylist()
    seen = {number for row in targets for number in row}
    if len(seen) == 1 and len({tuple(row) for row in targets}) == 1:
        raise UserError(f"{path}: all {len(targets)} notes are of one class: there is nothing to learn")
    if unseen := len(classes) - len(seen):
        raise UserError(
            f"{path}: {unseen} of {len(classes)} classes have no note: raise split.min_notes_per_class, or change "
            "rebalance.method"
        )


def column(dataset: Dataset, name: str) -> np.ndarray:
    """A column of one number a note, as (notes,)."""
    return dataset.data.column(name).to_numpy()


def class_numbers(dataset: Dataset) -> np.ndarray:
    return np.array([row[0] for row in dataset.data.column("target").to_pylist()])


def class_shares(dataset: Dataset, classes: int) -> list[float]:
    """The share of the notes that has each class."""
    counts = Counter(number for row in dataset.data.column("target").to_pylist() for number in row)
    return [counts[number] / len(dataset) for number in range(classes)]


def truncation(dataset: Dataset, classes: list[str], min_count: int) -> dict:
    """How many notes lost tokens, and the share of all tokens that were; by class as well.

    Classes of fewer than `min_count` notes are not shown.
    """
    notes, tokens, beyond = Counter(), Counter(), Counter()
    columns = (dataset.data.column(name).to_pylist() for name in ("whole_length", "unread", "target"))
    for whole, unread, row in zip(*columns, strict=True):
        for key in (*row, "all"):
            notes[key] += 1
            tokens[key] += whole
            beyond[key] += unread
        notes["cut"] += unread > 0
    return {
        "notes": notes["cut"],
        "share": round(notes["cut"] / notes["all"], 6),
        "tokens_beyond_share": round(beyond["all"] / tokens["all"], 6),
        "by_class": {
            name: round(beyond[number] / tokens[number], 6)
            for number, name in enumerate(classes)
            if notes[number] >= min_count
        },
    }


class Collator:
    """Makes a batch: ids padded to its longest note, labels as the loss takes them, weights.

    With `windows` a row of ids is a window, and `note` says whose.
    """

    def __init__(
        self, *, pad_id: int, classes: int, multi_label: bool, types: bool, multiple: int = 1, windows: bool = False
    ):
        self.pad_id, self.classes, self.multi_label = pad_id, classes, multi_label
        self.types, self.multiple, self.windows = types, multiple, windows

    def __call__(self, notes: list[dict]) -> dict:
        ids, types, of_note = [note["input_ids"] for note in notes], None, None
        if self.types:
            types = [note["types"] for note in notes]
        if self.windows:
            ids, types, of_note = in_windows(ids, types, [note["windows"] for note in notes])
        batch = self.lay_out(ids, types)
        if of_note is not None:
            batch["note"] = torch.tensor(of_note)
        if self.multi_label:
            batch["labels"] = torch.zeros((len(notes), self.classes))
            for row, note in enumerate(notes):
                batch["labels"][row, torch.tensor(note["target"])] = 1.0
        else:
            batch["labels"] = torch.tensor([int(note["target"][0]) for note in notes])
        batch["weight"] = torch.tensor([float(note["weight"]) for note in notes])
        if "group" in notes[0]:
            batch["group"] = torch.tensor([int(note["group"]) for note in notes])
        return batch

    def lay_out(self, ids: list[np.ndarray], types: list[np.ndarray] | None) -> dict:
        return pad(ids, types, self.pad_id, self.multiple)
