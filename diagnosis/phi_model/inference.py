"""The trained detector at work: how likely each word is an identifier of each kind, and the spans that follow."""

from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm
from transformers import AutoModelForTokenClassification, AutoTokenizer

from diagnosis.errors import UserError
from diagnosis.phi.identifiers import MASKS
from diagnosis.phi.score import TOKEN
from diagnosis.phi.spans import KINDS, Span, Spans
from diagnosis.phi_model.card import read_card
from diagnosis.spans.windows import Window, windows, words_of
from diagnosis.training.device import prepare_device
from diagnosis.training.tokens import on_device, pad, takes_types

LABELS = ["O", *KINDS]  # no identifier, or its kind
BETWEEN = 3  # characters, and no line's end, that may stand between two words of one identifier
WINDOWS_AT_ONCE = 32


class Detector:
    """A trained detector. `threshold` may be set: from which probability on a word is taken for an identifier."""

    def __init__(self, model, tokenizer, max_tokens: int, threshold: float):
        self.model, self.tokenizer, self.max_tokens, self.threshold = model, tokenizer, max_tokens, threshold

    def find(self, texts: list[str]) -> list[list[Span]]:
        """The spans of each text, in order."""
        found = []
        steps = range(0, len(texts), WINDOWS_AT_ONCE)
        for start in tqdm(steps, desc="detector", unit=" batches", leave=False, disable=len(steps) < 2):
            some = texts[start : start + WINDOWS_AT_ONCE]
            words = [words_of(text) for text in some]
            probabilities = self.probabilities(some, words)
            found += [
                spans_of(text, own, likely, self.threshold)
                for text, own, likely in zip(some, words, probabilities, strict=True)
            ]
        return found

    @torch.inference_mode()
    def probabilities(self, texts: list[str], words: list[list[tuple[int, int]]]) -> list[np.ndarray]:
        """Of each text (words, 1 + kinds): the probabilities of its words, in the order of LABELS.

        A word has those of whichever of its pieces, in whichever window, looks most like an identifier.
        """
        pieces = [
            (number, window)
            for number, (text, own) in enumerate(zip(texts, words, strict=True))
            if own
            for window in windows(self.tokenizer, text, own, max_tokens=self.max_tokens)
        ]
        result = [np.zeros((len(own), len(LABELS)), dtype=np.float32) for own in words]
        for own in result:
            own[:, 0] = 1.0
        pieces.sort(key=lambda piece: -len(piece[1].ids))  # of like length together, so that little is padding
        for start in range(0, len(pieces), WINDOWS_AT_ONCE):
            some = pieces[start : start + WINDOWS_AT_ONCE]
            logits = self.model(**batch_of([window for _, window in some], self.model, self.tokenizer)).logits
            for (number, window), likely in zip(some, logits.float().softmax(-1).cpu().numpy(), strict=True):
                for place in np.flatnonzero(window.words >= 0):
                    row = result[number][window.words[place]]
                    if likely[place, 0] < row[0]:
                        row[:] = likely[place]
        return result


def load_detector(folder: Path) -> Detector:
    """The detector that finetune_detector wrote; raises UserError where that is switched off or its folder not whole."""
    card = read_card(folder)
    device = prepare_device(card["threads"])
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        model = AutoModelForTokenClassification.from_pretrained(
            folder, trust_remote_code=False, use_safetensors=True, dtype=torch.float32
        )
    except Exception as error:
        raise UserError(
            f"{folder} could not be loaded ({type(error).__name__}): run `dvc repro --force finetune_detector`"
        ) from None
    return Detector(model.to(device).eval(), tokenizer, card["max_tokens"], card["threshold"])


def batch_of(some: list[Window], model, tokenizer) -> dict:
    """Windows as the model takes them, on its device.

    A base that reads no capitals (MiniLM) would not see what names are best known by, so where a model has segment numbers,
    which a single text does not need, words with a capital are of the second segment.
    """
    types = [window.capitals for window in some] if takes_types(model) else None
    batch = pad([window.ids for window in some], types, tokenizer.pad_token_id)
    return on_device(batch, model.device)


def spans_of(text: str, words: list[tuple[int, int]], likely: np.ndarray, threshold: float) -> list[Span]:
    """Words of which 1 - P(none) reaches the threshold, each of its likeliest kind; neighbours of one kind in one line joined."""
    spans = []
    for number in np.flatnonzero(1 - likely[:, 0] >= threshold):
        (start, end), kind = words[number], LABELS[1 + int(likely[number, 1:].argmax())]
        last = spans[-1] if spans else None
        between = text[last.end : start] if last else ""
        joined = last and last.kind == kind and len(between) <= BETWEEN and "\n" not in between
        if joined and not TOKEN.search(between):
            spans[-1] = Span(last.start, end, kind)
        else:
            spans.append(Span(start, end, kind))
    return spans


def beside(text: str, rules: list[Span], model: list[Span]) -> list[Span]:
    """The union of two findings: what the rules found stays as it is, and the model adds the words around and beyond it.

    So a date that the rules read whole can still be shifted where the model took in the word behind it. Marks of earlier
    de-identification are left alone.
    """
    spans = Spans(len(text))
    for match in MASKS.finditer(text):
        spans.protect(*match.span())
    for span in rules:
        spans.add(*span)
    for span in model:
        run = None
        for word in TOKEN.finditer(text, span.start, span.end):
            free = spans.free(*word.span())
            whole = run and free and spans.free(run[1], word.start())
            if run and not whole:
                spans.add(*run, span.kind)
            run = (run[0] if whole else word.start(), word.end()) if free else None
        if run:
            spans.add(*run, span.kind)
    return spans.sorted()
