"""Token classification: words tagged B, I or O of each kind (Ramshaw and Marcus 1995, Text Chunking Using Transformation-Based
Learning), and the spans of words that follow."""

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from diagnosis.phi.spans import Span
from diagnosis.spans.training import IGNORED
from diagnosis.spans.windows import Window, windows, words_of
from diagnosis.training.tokens import on_device, pad

WINDOWS_AT_ONCE = 32


class Entity(NamedTuple):
    """Words `first` to `last` (inclusive) of a note."""

    first: int
    last: int
    kind: str


def labels_of(kinds: Iterable[str]) -> list[str]:
    """The classes of a word: O, and B- and I- of each kind."""
    return ["O", *(f"{place}-{kind}" for kind in sorted(kinds) for place in "BI")]


def entities_of(words: list[tuple[int, int]], spans: list[Span]) -> list[Entity]:
    """Spans of characters as spans of words, in order; one that shares a word with an earlier one, or touches none, is left out."""
    starts, ends = [start for start, _ in words], [end for _, end in words]
    entities = []
    for span in spans:
        first, last = bisect_right(ends, span.start), bisect_left(starts, span.end) - 1
        if first <= last and (not entities or entities[-1].last < first):
            entities.append(Entity(first, last, span.kind))
    return entities


def tags_of(words: int, entities: list[Entity], labels: list[str]) -> np.ndarray:
    """(words,) the number in `labels` of each word's class."""
    tags = np.zeros(words, dtype=np.int64)
    for first, last, kind in entities:
        tags[first : last + 1] = labels.index(f"I-{kind}")
        tags[first] = labels.index(f"B-{kind}")
    return tags


def read_tags(tags: np.ndarray, labels: list[str]) -> list[Entity]:
    """The entities that tags state; an I that continues nothing begins an entity."""
    entities = []
    for word, tag in enumerate(tags):
        if not tag:
            continue
        place, _, kind = labels[tag].partition("-")
        if place == "I" and entities and entities[-1].last == word - 1 and entities[-1].kind == kind:
            entities[-1] = entities[-1]._replace(last=word)
        else:
            entities.append(Entity(word, word, kind))
    return entities


def tagged_windows(tokenizer, texts: list[str], entities: list[list[Entity]], labels: list[str], max_tokens: int):
    """Every window of the texts with the label of each token: (Window, (tokens,) int64) pairs."""
    result = []
    for text, own in zip(tqdm(texts, unit=" notes", desc="finetune_spans: tokenise"), entities, strict=True):
        words = words_of(text)
        tags = np.append(tags_of(len(words), own, labels), IGNORED)  # the last one is that of word -1
        result += [(window, tags[window.words]) for window in windows(tokenizer, text, words, max_tokens=max_tokens)]
    return result


def collator(model, tokenizer) -> Callable[[list[tuple[Window, np.ndarray]]], dict]:
    """A function that makes some windows with their labels a batch for the model."""

    def collate(some: list[tuple[Window, np.ndarray]]) -> dict:
        batch = pad([window.ids for window, _ in some], None, tokenizer.pad_token_id)
        batch["labels"] = torch.full(batch["input_ids"].shape, IGNORED)
        for row, (_, own) in enumerate(some):
            batch["labels"][row, : len(own)] = torch.from_numpy(own)
        return on_device(batch, model.device)

    return collate


@torch.inference_mode()
def find(model, tokenizer, texts: list[str], labels: list[str], max_tokens: int) -> list[list[Entity]]:
    """The entities of each text. A word's class is the likeliest by the sum of its pieces' log-probabilities, in all windows."""
    words = [words_of(text) for text in texts]
    scores = [np.zeros((len(own), len(labels))) for own in words]
    pieces = [
        (number, window)
        for number, (text, own) in enumerate(zip(texts, words, strict=True))
        for window in windows(tokenizer, text, own, max_tokens=max_tokens)
    ]
    pieces.sort(key=lambda piece: -len(piece[1].ids))  # of like length together, so that little is padding
    for start in tqdm(range(0, len(pieces), WINDOWS_AT_ONCE), unit=" batches", desc="finetune_spans: find"):
        some = pieces[start : start + WINDOWS_AT_ONCE]
        batch = pad([window.ids for _, window in some], None, tokenizer.pad_token_id)
        batch = on_device(batch, model.device)
        likely = model(**batch).logits.double().log_softmax(-1).cpu().numpy()
        for (number, window), own in zip(some, likely, strict=True):
            places = np.flatnonzero(window.words >= 0)
            np.add.at(scores[number], window.words[places], own[places])
    return [read_tags(own.argmax(axis=1), labels) for own in scores]


class Lexicon:
    """What reading the train notes as a list gets: each annotated phrase, wherever it stands, is of its commonest kind."""

    def __init__(self, texts: list[str], entities: list[list[Entity]]):
        kinds = defaultdict(Counter)
        for text, own in zip(texts, entities, strict=True):
            words = [text[start:end].lower() for start, end in words_of(text)]
            for first, last, kind in own:
                kinds[tuple(words[first : last + 1])][kind] += 1
        self._kinds = {phrase: min(own, key=lambda kind: (-own[kind], kind)) for phrase, own in kinds.items()}
        self._longest = max(map(len, self._kinds))

    def find(self, texts: list[str]) -> list[list[Entity]]:
        """The entities of each text, the longest phrase first."""
        return [self._find(text) for text in texts]

    def _find(self, text: str) -> list[Entity]:
        words = [text[start:end].lower() for start, end in words_of(text)]
        entities, first = [], 0
        while first < len(words):
            lengths = range(min(self._longest, len(words) - first), 0, -1)
            length = next((n for n in lengths if tuple(words[first : first + n]) in self._kinds), 0)
            if length:
                kind = self._kinds[tuple(words[first : first + length])]
                entities.append(Entity(first, first + length - 1, kind))
            first += length or 1
        return entities
