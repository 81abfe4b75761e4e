"""Heads of this project's own: windows weighed by a learned gate, and attention to the tokens that each label needs."""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from diagnosis.errors import UserError
from diagnosis.training.model import output_layer
from diagnosis.training.windows import LongNotes

GATE = 128  # width of the gate, as in Ilse et al. 2018
LABELS_AT_ONCE = 512  # of label attention: tokens x labels is what fills memory


class GatedLinear(nn.Linear):
    """The classifier's last layer, and behind the logits one more column: how much a window is to count.

    The score is the gated attention of Ilse et al. 2018 (equation 9) over the windows' pooled vectors. Pooling before a linear
    layer is the same as pooling its logits with the same weights, which add up to 1: so each window can be run alone.
    """

    def __init__(self, linear: nn.Linear):
        super().__init__(linear.in_features, linear.out_features, bias=linear.bias is not None)
        self.weight, self.bias = linear.weight, linear.bias
        self.gate_tanh = nn.Parameter(torch.empty(GATE, self.in_features))
        self.gate_sigmoid = nn.Parameter(torch.empty(GATE, self.in_features))
        self.gate_score = nn.Parameter(torch.empty(1, GATE))
        for weights in (self.gate_tanh, self.gate_sigmoid, self.gate_score):
            nn.init.xavier_uniform_(weights)

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        gated = (
            functional.linear(vectors, self.gate_tanh).tanh() * functional.linear(vectors, self.gate_sigmoid).sigmoid()
        )
        return torch.cat([super().forward(vectors), functional.linear(gated, self.gate_score)], dim=-1)


class LabelAttention(nn.Module):
    """Each label attends to the tokens by itself (Mullenbach et al. 2018, CAML; in the form of Vu et al. 2020, LAAT, which
    Huang et al. 2022, PLM-ICD, put on windows of a language model)."""

    def __init__(self, width: int, labels: int, spread: float):
        super().__init__()
        self.project = nn.Linear(width, width, bias=False)
        self.query = nn.Linear(width, labels, bias=False)
        # Last: start_at_prior sets the bias of the last layer that has an output a class.
        self.value = nn.Linear(width, labels)
        for layer in (self.project, self.query, self.value):
            nn.init.normal_(layer.weight, std=spread)
        nn.init.zeros_(self.value.bias)

    def forward(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(windows, 2 x labels) from token states (windows, tokens, width) and which of them are no padding (windows, tokens):
        logits, and the scores by which windows are weighed so that a note's logits are those of all its tokens at once."""
        keys = self.project(states).tanh()
        labels = len(self.query.weight)
        blocks = [slice(start, start + LABELS_AT_ONCE) for start in range(0, labels, LABELS_AT_ONCE)]
        again = len(blocks) > 1 and torch.is_grad_enabled()
        parts = [
            checkpoint(self.attend, states, keys, mask, block, use_reentrant=False)
            if again
            else self.attend(states, keys, mask, block)
            for block in blocks
        ]
        logits, scores = (torch.cat(part, dim=1) for part in zip(*parts, strict=True))
        return torch.cat([logits, scores], dim=1)

    def attend(self, states, keys, mask, block: slice) -> tuple[torch.Tensor, torch.Tensor]:
        energy = functional.linear(keys, self.query.weight[block]).float()
        energy = energy.masked_fill(~mask.bool().unsqueeze(-1), -torch.inf)
        values = functional.linear(states, self.value.weight[block], self.value.bias[block])
        return (energy.softmax(dim=1) * values).sum(dim=1), energy.logsumexp(dim=1)


class LabelAttentionClassifier(PreTrainedModel):
    """A body without its pooler, and label attention over its token states: what AutoModelForSequenceClassification is to the
    other head."""

    base_model_prefix = "body"
    supports_gradient_checkpointing = True
    _supports_sdpa = _supports_flash_attn = _supports_flex_attn = _supports_attention_backend = True  # the body decides

    def __init__(self, config, body: PreTrainedModel):
        super().__init__(config)
        body.pooler = None
        self.body = body
        self.classifier = LabelAttention(
            config.hidden_size, config.num_labels, getattr(config, "initializer_range", None) or 0.02
        )

    def forward(self, attention_mask: torch.Tensor, **inputs) -> SequenceClassifierOutput:
        states = self.body(attention_mask=attention_mask, **inputs).last_hidden_state
        mask = attention_mask[:, -states.shape[1] :]  # a learned prefix is masked in front and has no state
        return SequenceClassifierOutput(logits=self.classifier(states, mask))


def with_head(model, head: str, long_notes: LongNotes):
    """The classifier with the head that is asked for: label attention in place of its own, or a gate on its last layer where
    windows are pooled by attention; else as it is. Its new weights are drawn here."""
    if head == "label_attention":
        return LabelAttentionClassifier(model.config, model.base_model)
    if is_gated(long_notes):
        gate(model)
    return model


def is_gated(long_notes: LongNotes) -> bool:
    return long_notes.mode == "windows" and long_notes.pooling == "attention"


def gate(model) -> None:
    linear = output_layer(model)
    if linear is None:
        raise UserError(
            "finetune.pooling is attention, but the base model's classifier ends in no linear layer: set it to mean or max"
        )
    name = next(name for name, module in model.named_modules() if module is linear)
    parent, _, own = name.rpartition(".")
    setattr(model.get_submodule(parent), own, GatedLinear(linear))


def load_classifier(folder: Path, card: dict):
    """The classifier that finetune left in `folder`, float32, its head as the card says."""
    options = {"trust_remote_code": False, "dtype": torch.float32}
    if card.get("head") == "label_attention":
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        model = LabelAttentionClassifier(config, AutoModel.from_config(config, **options))
        model.load_state_dict(load_file(folder / "model.safetensors"))
        return model
    model = AutoModelForSequenceClassification.from_pretrained(folder, use_safetensors=True, **options)
    if is_gated(LongNotes.of(card)):
        gate(model)
        weights = load_file(folder / "model.safetensors")
        missing = model.load_state_dict(
            {name: tensor for name, tensor in weights.items() if ".gate_" in name}, strict=False
        ).missing_keys
        if any(".gate_" in name for name in missing):
            raise ValueError("the gate's weights are missing")
    return model
