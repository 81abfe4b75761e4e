"""Attention of a note's words, by layer and head, and rolled out through the layers: a diagnostic, no explanation.

What a head attends to need not be what decides (Jain and Wallace 2019, Attention is not Explanation).
"""

import numpy as np
import torch

from diagnosis.errors import UserError
from diagnosis.explain.classifier import Classifier, Note
from diagnosis.training.adapters import PREFIXED


@torch.inference_mode()
def attention(classifier: Classifier, notes: list[Note]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Of each note (by_head, rollout): (layers, heads, words) what the place that the classifier reads from attends to, and
    (words,) the same through all layers. Pieces of a word are summed, windows averaged.

    Raises UserError where the model gives no attention of each token to each.
    """
    model = classifier.model
    usual = model.config._attn_implementation
    if usual == PREFIXED:
        raise UserError("the model's learned prefixes have an attention of their own, which keeps no weights")
    result = []
    # The fast kernels keep no weights and return none, without a word of it.
    model.set_attn_implementation("eager")
    try:
        for note in notes:
            parts = [window_attention(classifier, window) for window in note.windows]
            result.append(tuple(np.mean([part[kind] for part in words_of(note, parts)], axis=0) for kind in (0, 1)))
    finally:
        model.set_attn_implementation(usual)
    return result


def window_attention(classifier: Classifier, window) -> tuple[np.ndarray, np.ndarray]:
    found = classifier.model(**classifier.batch([window.ids], [window.types]), output_attentions=True)
    layers = getattr(found, "attentions", None) or ()
    # Learned virtual tokens, where the model has some, stand in front and are no words.
    virtual = getattr(getattr(classifier.model.base_model, "adapter", None), "tokens", 0)
    length = virtual + len(window.ids)
    if not layers or any(layer is None or layer.shape[-2:] != (length, length) for layer in layers):
        raise UserError("the model gives no attention of each token to each")
    weights = torch.stack([layer[0].float() for layer in layers])  # (layers, heads, tokens, tokens)
    both = (each[..., virtual:, virtual:] for each in (weights, rollout(weights)))
    return tuple(read_from(classifier, each).cpu().numpy() for each in both)


def rollout(weights: torch.Tensor) -> torch.Tensor:
    """(tokens, tokens) from (layers, heads, tokens, tokens): the heads' mean, half of it the token itself for what passes by
    the layer, multiplied through the layers (Abnar and Zuidema 2020, Quantifying Attention Flow in Transformers)."""
    identity = torch.eye(weights.shape[-1], device=weights.device)
    flow = identity
    for layer in weights.mean(dim=1):
        mixed = (layer + identity) / 2
        flow = (mixed / mixed.sum(dim=-1, keepdim=True)) @ flow
    return flow


def read_from(classifier: Classifier, weights: torch.Tensor) -> torch.Tensor:
    """(..., tokens) what the place attends to that the classifier reads from: the last token in a decoder, all of them where
    labels attend for themselves or vectors are averaged, else the first."""
    model = classifier.model
    if hasattr(model, "score"):
        return weights[..., -1, :]
    if classifier.card.get("head") == "label_attention" or getattr(model.config, "classifier_pooling", "cls") == "mean":
        return weights.mean(dim=-2)
    return weights[..., 0, :]


def words_of(note: Note, parts: list[tuple[np.ndarray, np.ndarray]]):
    """Each window's attention by token as attention by word of the note."""
    for window, part in zip(note.windows, parts, strict=True):
        is_word = window.words >= 0
        by_word = np.zeros((int(is_word.sum()), len(note.spans)))
        by_word[np.arange(len(by_word)), window.words[is_word]] = 1
        yield tuple(weights[..., is_word] @ by_word for weights in part)


def entropy(weights: np.ndarray) -> np.ndarray:
    """(...,) from (..., words): 0 where one word has it all, 1 where it is spread evenly (Shannon's, over its maximum)."""
    shares = weights / np.maximum(weights.sum(axis=-1, keepdims=True), 1e-12)
    bits = -(shares * np.log(np.maximum(shares, 1e-12))).sum(axis=-1)
    return bits / np.log(max(shares.shape[-1], 2))
