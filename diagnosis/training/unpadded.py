"""Batches without padding: a batch's notes one after another in one row, attention within each note only.

The model's other layers work token by token, so they see real tokens and nothing else. Attention is torch's own: its
variable-length kernel (flash attention, Dao 2023) on a GPU in half precision, elsewhere a scaled dot product a note.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch.nn import functional
from transformers import AttentionInterface
from transformers.modeling_layers import GenericForSequenceClassification
from transformers.modeling_outputs import SequenceClassifierOutput

from diagnosis.errors import UserError
from diagnosis.training.dataset import Collator
from diagnosis.training.methods import VIRTUAL
from diagnosis.training.model import first_position


def attend(
    module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask,
    *,
    cu_seq_lens_q: torch.Tensor,
    max_length_q: int,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    is_causal: bool | None = None,
    **kwargs,
):
    """Attention as transformers calls it: query (1, heads, tokens, size) of all notes, which begin at `cu_seq_lens_q`.

    `sliding_window` is how many tokens are seen, the token itself included, to the left and, where not causal, to the right.
    Returns (output (1, tokens, heads, size), None).
    """
    causal = module.is_causal if is_causal is None else is_causal
    window = -1 if sliding_window is None else sliding_window - 1
    grouped = query.shape[1] != key.shape[1]
    if query.is_cuda and torch.is_autocast_enabled("cuda"):  # rotary positions are computed in float32
        query, key, value = (part.to(torch.get_autocast_dtype("cuda")) for part in (query, key, value))
    if query.is_cuda and query.dtype != torch.float32:
        from torch.nn.attention.varlen import varlen_attn

        heard = varlen_attn(
            *(part.squeeze(0).transpose(0, 1) for part in (query, key, value)),
            cu_seq_lens_q,
            cu_seq_lens_q,
            max_length_q,
            max_length_q,
            scale=scaling,
            window_size=(window, 0 if causal else window),
            enable_gqa=grouped,
        )
        return heard.unsqueeze(0), None
    parts, starts = [], cu_seq_lens_q.tolist()
    for start, end in zip(starts, starts[1:], strict=False):
        length = end - start
        near = None
        if window >= 0 and length > window + 1:
            apart = torch.arange(length, device=query.device)
            apart = apart[:, None] - apart
            near = (apart <= window) & (apart >= (0 if causal else -window))
        parts.append(
            functional.scaled_dot_product_attention(
                *(part[:, :, start:end] for part in (query, key, value)),
                attn_mask=near,
                dropout_p=dropout,
                is_causal=causal and near is None,
                scale=scaling,
                enable_gqa=grouped,
            )
        )
    return torch.cat(parts, dim=2).transpose(1, 2), None


AttentionInterface.register("unpadded", attend)


# ---- the head: what each family makes of a note's vector (notes, size); the same modules as in its own forward
HEADS = {
    "BertForSequenceClassification": lambda m, note: m.classifier(m.dropout(m.bert.pooler(note[:, None]))),
    "RobertaForSequenceClassification": lambda m, note: m.classifier(note[:, None]),
    "XLMRobertaForSequenceClassification": lambda m, note: m.classifier(note[:, None]),
    "ElectraForSequenceClassification": lambda m, note: m.classifier(note[:, None]),
    "DistilBertForSequenceClassification": lambda m, note: m.classifier(
        m.dropout(functional.relu(m.pre_classifier(note)))
    ),
    "ModernBertForSequenceClassification": lambda m, note: m.classifier(m.drop(m.head(note))),
}


def check_unpadded(params) -> None:
    """Raises UserError where finetune.unpadded is true beside what lays a batch out or reads the model in its own way."""
    wanted = {"long_notes": "head or head_tail", "head": "standard", "launch": "null"}
    clashes = {
        "long_notes": params.long_notes == "windows",
        "head": params.head != "standard",
        "launch": params.launch is not None,
    }
    for name, clash in clashes.items():
        if params.unpadded and clash:
            given = getattr(params, name)
            raise UserError(
                f"params.yaml: finetune.unpadded is true, which does not go with {name} {given}: set it to false, or {name} to {wanted[name]}"
            )
    if params.unpadded and params.method in VIRTUAL:
        raise UserError(
            f"params.yaml: finetune.unpadded is true, but {params.method} puts virtual tokens before each note: set it to false"
        )


def unpad(model) -> Callable[..., Collator]:
    """Have a classifier take unpadded batches, before adapters are added; it takes no padded ones after.

    Returns the class that collates them, to be called as `Collator` is. Raises UserError for a family whose head is not known here, and for dropout in its attention.
    """
    head = HEADS.get(type(model).__name__)
    if head is None and isinstance(model, GenericForSequenceClassification):  # decoders: Llama, Mistral, Qwen, ...
        head = lambda m, note: m.score(note)  # noqa: E731
    if head is None:
        raise UserError(
            f"finetune.unpadded is true, but how {type(model).__name__} reads a note's vector is not known: set it to false"
        )
    config = model.config
    if any(value for name, value in config.to_dict().items() if name.startswith("attention") and "dropout" in name):
        raise UserError(
            "finetune.unpadded is true, but attention without padding has no dropout: set body_dropout to 0.0"
        )
    if isinstance(model, GenericForSequenceClassification):
        pooling = "last"
    else:
        pooling = getattr(config, "classifier_pooling", "cls")
    model.set_attn_implementation("unpadded")

    def forward(input_ids, position_ids, cu_seq_lens_q, max_length_q, **types) -> SequenceClassifierOutput:
        body = getattr(model, model.base_model_prefix)
        if pooling == "last":
            types["use_cache"] = False
        output = body(
            input_ids=input_ids,
            position_ids=position_ids,
            cu_seq_lens_q=cu_seq_lens_q,
            max_length_q=max_length_q,
            **types,
        )
        notes = note_vectors(output[0][0], cu_seq_lens_q, pooling)
        return SequenceClassifierOutput(logits=head(model, notes))

    model.forward = forward
    return partial(UnpaddedCollator, first=first_position(model))


def note_vectors(tokens: torch.Tensor, starts: torch.Tensor, pooling: str) -> torch.Tensor:
    """Of vectors (tokens, size), each note's first (`cls`), its `last`, or their `mean`: (notes, size)."""
    starts = starts.long()
    if pooling == "cls":
        return tokens[starts[:-1]]
    if pooling == "last":
        return tokens[starts[1:] - 1]
    lengths = starts.diff()
    note = torch.repeat_interleave(torch.arange(len(lengths), device=tokens.device), lengths)
    sums = tokens.new_zeros((len(lengths), tokens.shape[1])).index_add(0, note, tokens)
    return sums / lengths[:, None]


def joined(ids: list[np.ndarray], types: list[np.ndarray] | None, first: int) -> dict:
    """A batch for a model that `unpad` changed: tensors (1, tokens), where each note begins (notes + 1,), the longest."""
    lengths = [len(note) for note in ids]
    batch = {
        "input_ids": torch.from_numpy(np.concatenate(ids).astype(np.int64))[None],
        "position_ids": torch.cat([torch.arange(first, first + length) for length in lengths])[None],
        "cu_seq_lens_q": torch.tensor([0, *np.cumsum(lengths)], dtype=torch.int32),
        "max_length_q": max(lengths),
    }
    if types is not None:
        batch["token_type_ids"] = torch.from_numpy(np.concatenate(types).astype(np.int64))[None]
    return batch


class UnpaddedCollator(Collator):
    """Makes a batch without padding; `first` is the number of a note's first position."""

    def __init__(self, *, first: int, **kwargs):
        super().__init__(**kwargs)
        self.first = first

    def lay_out(self, ids: list[np.ndarray], types: list[np.ndarray] | None) -> dict:
        return joined(ids, types, self.first)

    def __call__(self, notes: list[dict]) -> dict:
        batch = super().__call__(notes)
        return {"labels": batch.pop("labels"), **batch}  # first, for the Trainer takes its length as the batch's size
