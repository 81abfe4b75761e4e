"""Words that a masked-language model would write in their place (Kumar et al. 2020, Data Augmentation using Pre-trained Transformer Models)."""

import random
import re
from pathlib import Path

import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer

from diagnosis.augment.phrases import in_case_of, spliced
from diagnosis.augment.protected import FREE, find, kind
from diagnosis.errors import UserError
from diagnosis.files import require
from diagnosis.training.device import prepare_device

TOP = 10  # of the model's words for a place, those that may be drawn
WINDOWS = 4  # of 512 tokens read at a time: logits over 30,000 words are 250 MB
WHOLE = re.compile(r"[^\W\d_]{3,}")
INSTEAD = "fetch a base that has one (fetch_model, docs/models.md), or leave mask out of augment.operators"


class Masked:
    """A base model with a masked-language head; an operator. Only FREE words are masked, and only unprotected ones come in.

    A note's windows are read together and no other note's with them, so that a version depends on its note alone.
    Raises UserError where the folder's model has no such head: its words would be random.
    """

    def __init__(self, folder: Path, threads: int):
        require(folder / "config.json", "run the stage fetch_model")
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
            model, loaded = AutoModelForMaskedLM.from_pretrained(
                folder, trust_remote_code=False, use_safetensors=True, dtype=torch.float32, output_loading_info=True
            )
        except Exception as error:  # whatever the libraries raise on another kind of model; none of it has seen a note
            raise UserError(f"{folder} is no masked-language model ({type(error).__name__}): {INSTEAD}") from None
        if loaded["missing_keys"] or self._tokenizer.mask_token_id is None:
            raise UserError(f"{folder} has no masked-language head (all-MiniLM-L6-v2 has none): {INSTEAD}")
        self._model = model.to(prepare_device(threads)).eval()
        # RoBERTa counts positions from behind its padding id on, and states two more than it has.
        self._window = min(self._tokenizer.model_max_length, model.config.max_position_embeddings - 2, 512)
        self._words: dict[int, str] = {}

    def __call__(self, text: str, labels: frozenset[str], budget: int, rng: random.Random) -> tuple[str, int]:
        mask = self._tokenizer.mask_token
        free = [word for word in find(text, labels) if word.state == FREE]
        if mask in text or not free:
            return text, 0
        chosen = sorted(rng.sample(free, min(budget, len(free))))
        masked = spliced(text, ((word.start, word.end, mask) for word in chosen))
        lower, changes = text == text.lower(), []
        for word, candidates in zip(chosen, self._candidates(masked), strict=True):
            old = text[word.start : word.end]
            allowed = [(new, p) for new, p in candidates if new.lower() != old.lower() and not kind(new, labels)]
            if allowed:
                words, probabilities = zip(*allowed, strict=True)
                (new,) = rng.choices(words, probabilities)
                changes.append((word.start, word.end, in_case_of(new, old, lower)))
        return spliced(text, changes), len(changes)

    def _candidates(self, masked: str) -> list[list[tuple[str, float]]]:
        """For each mask of the text in order: whole words for its place, with their probabilities."""
        encoded = self._tokenizer(
            masked, truncation=True, max_length=self._window, return_overflowing_tokens=True, padding=True,
            return_tensors="pt",
        )  # fmt: skip
        where = encoded["input_ids"] == self._tokenizer.mask_token_id
        rows = torch.nonzero(where.any(dim=1)).flatten()
        result = []
        for some in rows.split(WINDOWS):
            batch = {name: encoded[name][some].to(self._model.device) for name in ("input_ids", "attention_mask")}
            with torch.inference_mode():
                logits = self._model(**batch).logits[where[some].to(self._model.device)]
            top = torch.softmax(logits, dim=1).topk(min(TOP, logits.shape[1]))
            for tokens, probabilities in zip(top.indices.tolist(), top.values.tolist(), strict=True):
                words = [(self._word(token), p) for token, p in zip(tokens, probabilities, strict=True)]
                result.append([(word, p) for word, p in words if word])
        return result

    def _word(self, token: int) -> str:
        """The token as a word; "" where it is a part of one, or a sign."""
        if token not in self._words:
            word = self._tokenizer.decode([token]).strip()
            whole = WHOLE.fullmatch(word) and self._tokenizer.encode(f" {word}", add_special_tokens=False) == [token]
            self._words[token] = word if whole else ""
        return self._words[token]
