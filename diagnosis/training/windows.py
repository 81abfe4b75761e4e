"""Notes of more tokens than the model reads: their first, their first and last, or all of them, in windows whose outputs are
pooled. Training on windows is exact, however many of them fit in memory at once."""

from typing import NamedTuple, Self

import numpy as np
import torch
from torch.utils.checkpoint import checkpoint

from diagnosis.training.tokens import tokenise

HEAD_SHARE = 128 / 510  # of what head_tail keeps: Sun et al. 2019 keep the first 128 tokens and the last 382
OVERLAP = 4  # windows share a quarter of their tokens with the next: what one cuts in two, another has whole


class LongNotes(NamedTuple):
    """What becomes of a long note: `mode` head, head_tail or windows; the windows' `pooling`; how many windows are held in
    memory `at_once` (None: all of a batch)."""

    mode: str = "head"
    pooling: str = "mean"
    at_once: int | None = None

    @classmethod
    def of(cls, card: dict) -> Self:
        """As the card of a fine-tuned model says; one that says nothing reads the first tokens."""
        return cls(card.get("long_notes", "head"), card.get("pooling", "mean"))


class Tokens(NamedTuple):
    """Notes as token ids, one entry a note in each list."""

    ids: list[np.ndarray]  # int32; of several windows, one behind the other
    types: list[np.ndarray] | None  # uint8 segment numbers, or None without pairs
    lengths: np.ndarray  # (n,) what the notes would have uncut
    unread: np.ndarray  # (n,) of these, the tokens that the model does not see
    windows: list[list[int]] | None  # the windows' lengths, or None where each note is one


def tokenise_notes(tokenizer, texts: list[str], pairs: list[str | None] | None, max_tokens: int, mode: str) -> Tokens:
    """Token ids of notes, special tokens included, at most `max_tokens` a window.

    A note that fits is the same in every mode. Of a pair the longer text is cut or goes through windows; the shorter is
    beside it in each window, and where it is longer than half of one, it keeps its first and last tokens.
    """
    if mode == "head":
        ids, types, lengths = tokenise(tokenizer, texts, pairs, max_tokens)
        return Tokens(ids, types, lengths, lengths - [len(note) for note in ids], None)
    backend = tokenizer.backend_tokenizer
    backend.no_padding()
    backend.no_truncation()
    ids, types, lengths, unread, windows = [], [], [], [], []
    inputs = texts if pairs is None else [(text, pair or "") for text, pair in zip(texts, pairs, strict=True)]
    for encoding in backend.encode_batch_fast(inputs):
        note, kinds = np.array(encoding.ids, dtype=np.int32), np.array(encoding.type_ids, dtype=np.uint8)
        kept = [np.arange(len(note))]
        if len(note) > max_tokens:
            kept = places(encoding.sequence_ids, max_tokens, mode)
        everything = np.concatenate(kept)
        ids.append(note[everything])
        types.append(kinds[everything])
        lengths.append(len(note))
        unread.append(len(note) - len(np.unique(everything)))
        windows.append([len(window) for window in kept])
    types = None if pairs is None else types
    return Tokens(ids, types, np.array(lengths), np.array(unread), windows if mode == "windows" else None)


def places(texts: list[int | None], max_tokens: int, mode: str) -> list[np.ndarray]:
    """Which tokens of a note of more than `max_tokens` each of its windows holds, in order; one window for head_tail.

    `texts` says of each token whether it is of the first text (0), the second (1) or special (None).
    """
    number = np.array([-1 if text is None else text for text in texts])
    special = np.flatnonzero(number < 0)
    longer, shorter = sorted((np.flatnonzero(number == text) for text in (0, 1)), key=len, reverse=True)
    room = max_tokens - len(special)
    beside = np.append(special, first_and_last(shorter, min(len(shorter), room // 2)))
    room = max_tokens - len(beside)
    if mode == "head_tail":
        pieces = [first_and_last(longer, room)]
    else:
        # The last window ends where the note does: a window of a few tokens would have a whole one's say in the mean.
        last = len(longer) - room
        starts = [*range(0, last, room - room // OVERLAP), last]
        pieces = [longer[start : start + room] for start in starts]
    return [np.sort(np.append(beside, piece)) for piece in pieces]


def first_and_last(tokens: np.ndarray, room: int) -> np.ndarray:
    """`room` of the tokens: a quarter of them from the beginning, the others from the end."""
    head = round(room * HEAD_SHARE) if room < len(tokens) else room
    return np.append(tokens[:head], tokens[len(tokens) - (room - head) :])


def in_windows(ids: list[np.ndarray], types: list[np.ndarray] | None, windows: list[list[int]]):
    """Notes of which each is its windows one behind the other, as (ids, types, note): lists with an entry a window, `note` the
    number of its note."""

    def split(notes):
        return [piece for note, w in zip(notes, windows, strict=True) for piece in np.split(note, np.cumsum(w)[:-1])]

    note = [number for number, lengths in enumerate(windows) for _ in lengths]
    return split(ids), None if types is None else split(types), note


def batch_logits(model, batch: dict, classes: int, long_notes: LongNotes) -> torch.Tensor:
    """Logits (notes, classes) of a batch, in which `note` (windows,) says whose each row is; without it each row is a note."""
    return pooled(*window_outputs(model, batch, long_notes.at_once), classes, long_notes.pooling)


def window_outputs(model, batch: dict, at_once: int | None) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The model's outputs (windows, columns) for a batch, and its `note`.

    Beyond `at_once` windows the model runs on that many at a time and keeps their outputs alone; the backward pass makes each
    part's activations again, from the same random state, and goes on from the gradient of the pooled logits. The gradient
    is that of all windows at once: the gradient cache of Gao et al. 2021, by torch's checkpoint.
    """
    note = batch.get("note")
    batch = {name: tensor for name, tensor in batch.items() if name != "note"}

    def run(**rows):
        return model(**rows).logits

    rows = len(batch["input_ids"])
    if note is None or at_once is None or rows <= at_once:
        return run(**batch), note
    parts = [
        {name: tensor[start : start + at_once] for name, tensor in batch.items()} for start in range(0, rows, at_once)
    ]
    if torch.is_grad_enabled():
        return torch.cat([checkpoint(run, use_reentrant=False, **part) for part in parts]), note
    return torch.cat([run(**part) for part in parts]), note


def pooled(outputs: torch.Tensor, note: torch.Tensor | None, classes: int, pooling: str) -> torch.Tensor:
    """Logits (notes, classes) from the outputs (windows, columns) of their windows, which stand in the order of `note`.

    mean and max are of the windows' logits. attention weighs the windows by the softmax of their scores, the columns after
    the logits: one for all classes or one a class (diagnosis/training/heads.py). A single window's logits stay as they are.
    """
    if note is None:
        return outputs[:, :classes]
    outputs = outputs.float()
    first = torch.searchsorted(note, note)
    place = torch.arange(len(note), device=note.device) - first
    shape = int(note[-1]) + 1, int(place.max()) + 1
    there = torch.zeros(shape, dtype=torch.bool, device=note.device)
    there[note, place] = True
    table = outputs.new_zeros(*shape, outputs.shape[1]).index_put((note, place), outputs)
    logits, there = table[..., :classes], there.unsqueeze(-1)
    if pooling == "mean":
        return logits.sum(dim=1) / there.sum(dim=1)
    if pooling == "max":
        return logits.masked_fill(~there, -torch.inf).amax(dim=1)
    weights = table[..., classes:].masked_fill(~there, -torch.inf).softmax(dim=1)
    return (weights * logits).sum(dim=1)
