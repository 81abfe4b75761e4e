"""The detector's token classifier: made from a base model, its examples, its threshold set for recall."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm
from transformers import AutoModelForTokenClassification

from diagnosis.phi.spans import Span
from diagnosis.phi_model.inference import LABELS, batch_of
from diagnosis.spans.training import IGNORED, load_base
from diagnosis.spans.windows import Window, windows, words_of


def load_tagger(folder: Path, max_tokens: int):
    """(model, tokenizer) from a base model's folder; the head is new, so seed torch before. Raises UserError where it will not do.

    Word embeddings stay as they are: names that training has not met keep their place beside those it has, and half of
    MiniLM's weights need no gradient.
    """
    model, tokenizer = load_base(folder, AutoModelForTokenClassification, "finetune_detector", max_tokens, LABELS)
    model.get_input_embeddings().requires_grad_(False)
    return model, tokenizer


def tags(words: list[tuple[int, int]], spans: list[Span]) -> np.ndarray:
    """(words,) the number in LABELS of each word's kind; a word that a span touches is of it."""
    result = np.zeros(len(words), dtype=np.int64)
    for span in spans:
        for number, (start, end) in enumerate(words):
            if start < span.end and end > span.start:
                result[number] = LABELS.index(span.kind)
    return result


def tagged_windows(tokenizer, texts: list[tuple[str, list[Span]]], max_tokens: int) -> list[tuple[Window, np.ndarray]]:
    """Every window of the texts with the label of each token."""
    result = []
    for text, spans in tqdm(texts, unit=" texts", desc="finetune_detector: tokenise"):
        words = words_of(text)
        if not words:
            continue
        labels = np.append(tags(words, spans), IGNORED)  # the last one is that of word -1
        result += [(window, labels[window.words]) for window in windows(tokenizer, text, words, max_tokens=max_tokens)]
    return result


def collator(model, tokenizer) -> Callable[[list[tuple[Window, np.ndarray]]], dict]:
    """A function that makes some windows with their labels a batch for the model."""

    def collate(some: list[tuple[Window, np.ndarray]]) -> dict:
        batch = batch_of([window for window, _ in some], model, tokenizer)
        labels = torch.full(batch["input_ids"].shape, IGNORED)
        for row, (_, own) in enumerate(some):
            labels[row, : len(own)] = torch.from_numpy(own)
        return batch | {"labels": labels.to(model.device)}

    return collate


def threshold_for(scores: np.ndarray, min_recall: float) -> float:
    """The highest threshold at which `min_recall` of the scores, each of a word that is an identifier, reach it."""
    missed = math.floor((1 - min_recall) * len(scores) + 1e-9)
    return float(np.sort(scores)[min(missed, len(scores) - 1)])
