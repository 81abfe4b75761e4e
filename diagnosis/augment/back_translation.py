"""Sentences through another language and back (Sennrich et al. 2016, Improving Neural Machine Translation Models with Monolingual
Data; Xie et al. 2020, Unsupervised Data Augmentation), by two local Marian models.

A translation service on the web is refused: the notes would leave the site.
"""

import random
import re
from itertools import groupby
from pathlib import Path

import torch
from transformers import AutoTokenizer, MarianMTModel

from diagnosis.augment.phrases import spliced
from diagnosis.augment.protected import FIXED, WORD, find, kind
from diagnosis.errors import UserError
from diagnosis.files import require
from diagnosis.training.device import prepare_device

AT_ONCE = 16  # sentences
SHORTEST, LONGEST = 4, 80  # words of a sentence; what is longer is a list or a table
PLAIN = re.compile(r"[^\W\d_][\w ,'’-]*")


class BackTranslation:
    """Two folders of Marian models, there and back; an operator.

    Only sentences without a protected word are translated, and a translation is taken only where it has none either: no number,
    unit, drug, side, finding or negation goes through a model. Greedy decoding: the same sentence gives the same words.
    Raises UserError for a folder that holds no Marian model with safetensors weights and its tokenizer.
    """

    def __init__(self, there: Path, back: Path, threads: int):
        device = prepare_device(threads)
        self._models = [_load(folder, device) for folder in (there, back)]

    def __call__(self, text: str, labels: frozenset[str], budget: int, rng: random.Random) -> tuple[str, int]:
        """Sentences of up to `budget` words together, or one longer one. Returns how many changed."""
        spans, chosen = sentences(text, labels), []
        for start, end, words in rng.sample(spans, len(spans)):
            if not chosen or words <= budget:
                chosen.append((start, end))
                budget -= words
        chosen.sort()
        lower = text == text.lower()
        changes = []
        for (start, end), new in zip(chosen, self.translated([text[s:e] for s, e in chosen]), strict=True):
            if fits(text[start:end], new, labels):
                first = new[0].upper() if text[start].isupper() else new[0].lower()
                changes.append((start, end, new.lower() if lower else first + new[1:]))
        return spliced(text, changes), len(changes)

    def translated(self, texts: list[str]) -> list[str]:
        """The sentences there and back, without a full stop at their end."""
        for tokenizer, model in self._models:
            through = []
            for at in range(0, len(texts), AT_ONCE):
                batch = tokenizer([f"{text}." for text in texts[at : at + AT_ONCE]], return_tensors="pt", padding=True)
                batch = {name: batch[name].to(model.device) for name in ("input_ids", "attention_mask")}
                with torch.inference_mode():
                    ids = model.generate(**batch, num_beams=1, do_sample=False, max_new_tokens=2 * LONGEST)
                through += [text.strip().rstrip(".").rstrip() for text in tokenizer.batch_decode(ids, skip_special_tokens=True)]  # fmt: skip
            texts = through
        return texts


def _load(folder: Path, device: torch.device) -> tuple:
    require(folder / "config.json", "check augment.translators")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        model, loaded = MarianMTModel.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True, use_safetensors=True, dtype=torch.float32, output_loading_info=True
        )  # fmt: skip
        reason = f"{len(loaded['missing_keys'])} weights are missing" if loaded["missing_keys"] else None
    except ImportError:
        raise UserError(f"{folder} has a sentencepiece tokenizer: pip install -r requirements-augment.txt") from None
    except Exception as error:  # whatever the libraries raise on another kind of folder; none of it has seen a note
        reason = type(error).__name__
    if reason:
        raise UserError(
            f"{folder} could not be loaded as a Marian model ({reason}): check augment.translators; weights must be safetensors "
            "(docs/augment.md)"
        )
    return tokenizer, model.to(device).eval()


def sentences(text: str, labels: frozenset[str]) -> list[tuple[int, int, int]]:
    """(start, end, words) of each sentence that may be translated: on one line, letters only, no word protected for itself."""
    words = find(text, labels)
    kinds = [kind(text[word.start : word.end], labels) for word in words]
    cued = {word.sentence for word, own in zip(words, kinds, strict=True) if own == "cue"}
    found = []
    for sentence, group in groupby(zip(words, kinds, strict=True), key=lambda pair: pair[0].sentence):
        group = list(group)
        start, end = group[0][0].start, group[-1][0].end
        free = all(word.state != FIXED and own in ("", "letter") for word, own in group)
        if free and sentence not in cued and SHORTEST <= len(group) <= LONGEST and PLAIN.fullmatch(text, start, end):
            found.append((start, end, len(group)))
    return found


def fits(old: str, new: str, labels: frozenset[str]) -> bool:
    """Another sentence of half to twice the words, letters only, none of the words protected."""
    words = WORD.findall(new)
    return bool(
        PLAIN.fullmatch(new)
        and new.lower() != old.lower()
        and len(WORD.findall(old)) / 2 <= len(words) <= 2 * len(WORD.findall(old))
        and all(kind(word, labels) in ("", "letter") for word in words)
    )
