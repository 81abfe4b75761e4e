"""Logits and embeddings of many texts by one pass through the fine-tuned model; what reads the same to it is read once."""

from types import SimpleNamespace
from typing import NamedTuple, Self

import numpy as np
import torch

from diagnosis.errors import UserError
from diagnosis.training.inference import corrected, note_logits, to_probabilities
from diagnosis.training.model import of_notes, output_layer
from diagnosis.training.windows import LongNotes, tokenise_notes


class Outputs(NamedTuple):
    """What the model says of `n` texts: logits, prior-corrected, and probabilities, (n, classes); embeddings (n, width), or
    None where its last layer does not read one vector a note."""

    logits: np.ndarray
    probabilities: np.ndarray
    embeddings: np.ndarray | None

    def part(self, rows) -> Self:
        """Those of some of the texts."""
        return type(self)(*(None if values is None else values[rows] for values in self))


class WithEmbedding:
    """A classifier whose logits are followed by what its last layer was given, as if those were classes too."""

    def __init__(self, model, layer: torch.nn.Linear):
        self._model, self._seen, self.device = model, [], model.device
        self._hook = layer.register_forward_pre_hook(lambda _, inputs: self._seen.append(inputs[0]))
        self._classes = model.config.num_labels
        self.config = SimpleNamespace(
            num_labels=self._classes + layer.in_features, type_vocab_size=getattr(model.config, "type_vocab_size", 0)
        )

    def __call__(self, **batch) -> SimpleNamespace:
        logits = self._model(**batch).logits.float()
        embedding = of_notes(self._seen.pop(), batch).float()
        # Columns behind the logits are windows' scores and stay behind.
        return SimpleNamespace(
            logits=torch.cat([logits[:, : self._classes], embedding, logits[:, self._classes :]], dim=1)
        )

    def remove(self) -> None:
        self._hook.remove()


def outputs(model, tokenizer, card: dict, texts: list[str], pairs: list, *, batch_size: int, bar) -> Outputs:
    """The model's outputs for each text (with its pair where the card says so), in order; `bar` is a tqdm bar.

    Texts with the same tokens get the same numbers to the last bit: alone in another batch, rounding would differ. Raises UserError
    where a number is not finite.
    """
    long_notes, pairs = LongNotes.of(card), pairs if card["text_pair"] else None
    tokens = tokenise_notes(tokenizer, texts, pairs, card["max_tokens"], long_notes.mode)
    types = tokens.types or [np.empty(0, np.uint8)] * len(texts)
    first: dict[tuple[bytes, bytes], int] = {}
    place = np.array(
        [first.setdefault((i.tobytes(), t.tobytes()), len(first)) for i, t in zip(tokens.ids, types, strict=True)]
    )
    rows = np.unique(place, return_index=True)[1]
    layer = None if card.get("head") == "label_attention" else output_layer(model)
    reader = model if layer is None else WithEmbedding(model, layer)
    bar.reset(total=len(rows))
    found = note_logits(
        reader,
        tokenizer,
        [texts[row] for row in rows],
        None if pairs is None else [pairs[row] for row in rows],
        max_tokens=card["max_tokens"],
        batch_size=batch_size,
        progress=bar.update,
        long_notes=long_notes,
    )[place]
    if layer is not None:
        reader.remove()
    if not np.isfinite(found).all():
        raise UserError(
            "models/finetuned gives logits that are no numbers: train it anew, with a lower finetune.learning_rate"
        )
    classes = len(card["classes"])
    logits = corrected(found[:, :classes], card["train_prior"], card["balanced_prior"], card["task"])
    return Outputs(logits, to_probabilities(logits, card["task"]), None if layer is None else found[:, classes:])
