"""The fine-tuned model as explanations see it: notes as words, and the log odds of its classes with words left out."""

import re
from bisect import bisect_right
from typing import NamedTuple

import numpy as np
import torch

from diagnosis.training.inference import corrected
from diagnosis.training.tokens import on_device, pad, takes_types
from diagnosis.training.windows import LongNotes, places, pooled

WORD = re.compile(r"\S+")


class Window(NamedTuple):
    """What the model reads at a time: ids (tokens,) int32, segment numbers (tokens,) uint8, and of each token the number of its
    word in the note, -1 for special tokens."""

    ids: np.ndarray
    types: np.ndarray
    words: np.ndarray


class Note(NamedTuple):
    """A note as words, those that the model reads, in order.

    spans: (text, start, end) of each word, text 1 being the second of a pair. unread: how many words no window holds.
    """

    note_id: str
    spans: list[tuple[int, int, int]]
    windows: list[Window]
    unread: int


class Classifier:
    """A fine-tuned model, and what it says of notes of which words are left out.

    A word is what stands between blanks, its punctuation included. To leave one out, its tokens are taken from each window that
    holds it; windows stay where they are. What was run once is kept until `forget`: of a long note only the windows that hold a
    word left out run again, and each of them once, however many rows share it.
    """

    def __init__(self, model, tokenizer, card: dict, batch_size: int):
        self.model, self.tokenizer, self.card, self.batch_size = (
            model.requires_grad_(False),
            tokenizer,
            card,
            batch_size,
        )
        self.classes, self.single = len(card["classes"]), card["task"] == "single_label"
        self.long_notes = LongNotes.of(card)
        priors = card["train_prior"], card["balanced_prior"], card["task"]
        self.shift = corrected(np.zeros((1, self.classes), np.float32), *priors)[0]
        self.windows_run = 0
        self._known: dict[tuple, np.ndarray] = {}

    def read(self, note_id: str, text: str, pair: str | None = None) -> Note:
        """A note's words and windows; `pair` counts where the model reads pairs. The tokens are those that predict reads."""
        backend = self.tokenizer.backend_tokenizer
        backend.no_padding()
        backend.no_truncation()
        limit, mode = self.card["max_tokens"], self.long_notes.mode
        if mode == "head":
            backend.enable_truncation(limit, strategy="longest_first", direction="right")
        texts = [text, pair or ""] if self.card["text_pair"] else [text]
        encoding = backend.encode(*texts)
        backend.no_truncation()
        ids, types = np.array(encoding.ids, dtype=np.int32), np.array(encoding.type_ids, dtype=np.uint8)
        spans = [(n, *match.span()) for n, one in enumerate(texts) for match in WORD.finditer(one)]
        words = word_numbers(encoding, spans)
        kept = [np.arange(len(ids))]
        if mode != "head" and len(ids) > limit:
            kept = places(encoding.sequence_ids, limit, mode)
        # A word is read as soon as one of its pieces is; those that are not are left out and the others numbered anew.
        read = np.unique(np.concatenate([words[window] for window in kept]))
        read = read[read >= 0]
        number = np.full(len(spans) + 1, -1)
        number[read] = np.arange(len(read))
        windows = [Window(ids[window], types[window], number[words[window]]) for window in kept]
        return Note(note_id, [spans[word] for word in read], windows, len(spans) - len(read))

    def batch(self, ids: list[np.ndarray], types: list[np.ndarray]) -> dict[str, torch.Tensor]:
        """What the model takes, on its device."""
        with_types = self.card["text_pair"] and takes_types(self.model)
        made = pad(ids, types if with_types else None, self.tokenizer.pad_token_id)
        return on_device(made, self.model.device)

    def pooled(self, outputs: torch.Tensor, note: torch.Tensor) -> torch.Tensor:
        """Logits (notes, classes) from the outputs of windows, corrected for a moved class prior as predict does."""
        whose = note if self.long_notes.mode == "windows" else None
        logits = pooled(outputs, whose, self.classes, self.long_notes.pooling)
        return logits + torch.from_numpy(self.shift).to(logits.device)

    @torch.inference_mode()
    def log_odds(self, notes: list[Note], kept: list[np.ndarray]) -> list[np.ndarray]:
        """Log odds (rows, classes), float64, of each note at each row of its `kept` (rows, words), bool: the words left in.

        With one label a note, those of a class against all others; with several, a label's logit.
        """
        jobs, keys = {}, []
        for note, rows in zip(notes, kept, strict=True):
            keys.append([])
            for number, window in enumerate(note.windows):
                own = np.unique(window.words[window.words >= 0])
                bits = np.packbits(rows[:, own if len(own) else [0]], axis=1)
                distinct, first, at = np.unique(bits, axis=0, return_index=True, return_inverse=True)
                names = [(note.note_id, number, row.tobytes()) for row in distinct]
                for name, row in zip(names, first, strict=True):
                    if name not in self._known:
                        # The last place is of special tokens, whose number is -1.
                        jobs[name] = window, np.append(rows[row], True)[window.words]
                keys[-1].append([names[place] for place in at.ravel()])
        self._run(jobs)
        result = []
        for rows, windows in zip(kept, keys, strict=True):
            outputs = np.stack([[self._known[name] for name in names] for names in windows], axis=1)
            whose = torch.arange(len(rows)).repeat_interleave(len(windows))
            logits = self.pooled(torch.from_numpy(outputs.reshape(len(whose), -1)), whose)
            result.append(log_odds(logits.double().numpy(), self.single))
        return result

    def _run(self, jobs: dict) -> None:
        # A note without any token would be no input: its first then stays.
        shown = {name: np.flatnonzero(kept) if kept.any() else np.arange(1) for name, (_, kept) in jobs.items()}
        order = sorted(jobs, key=lambda name: -len(shown[name]))  # of like length, so little is padding
        for start in range(0, len(order), self.batch_size):
            names = order[start : start + self.batch_size]
            rows = [(jobs[name][0], shown[name]) for name in names]
            batch = self.batch([w.ids[at] for w, at in rows], [w.types[at] for w, at in rows])
            for name, output in zip(names, self.model(**batch).logits.float().cpu().numpy(), strict=True):
                self._known[name] = output
        self.windows_run += len(order)

    def forget(self) -> None:
        """Free what was kept of notes that are done with."""
        self._known.clear()


def word_numbers(encoding, spans: list[tuple[int, int, int]]) -> np.ndarray:
    """(tokens,) the word, of `spans`, that each token is a piece of; -1 for special ones. A token of blanks alone, which some
    tokenizers have, goes with the word before it."""
    starts = [(text, start) for text, start, _ in spans]
    numbers = np.full(len(encoding.ids), -1, dtype=np.int64)
    for place, (text, (_, end)) in enumerate(zip(encoding.sequence_ids, encoding.offsets, strict=True)):
        if text is not None:
            # By its last character: some tokenizers count the blank before a word as its first.
            numbers[place] = bisect_right(starts, (text, end - 1)) - 1
            if numbers[place] < 0 or spans[numbers[place]][0] != text:
                numbers[place] = min(numbers[place] + 1, len(spans) - 1)
    return numbers


def log_odds(logits: np.ndarray, single: bool) -> np.ndarray:
    """log(p / (1 - p)) of each class from logits (n, classes)."""
    if not single:
        return logits
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    rest = powers.sum(axis=1, keepdims=True) - powers
    # What is left beside the largest is summed by itself: it would drown in the largest.
    rows, largest = np.arange(len(powers)), powers.argmax(axis=1)
    others = powers.copy()
    others[rows, largest] = 0
    rest[rows, largest] = others.sum(axis=1)
    tiny = np.finfo(np.float64).tiny
    return np.log(np.maximum(powers, tiny)) - np.log(np.maximum(rest, tiny))


def probability(odds: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(odds, -700, 700)))
