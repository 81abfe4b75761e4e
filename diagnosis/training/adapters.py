"""Adapters that stay beside the weights, because they cannot be added into them: bottlenecks, virtual tokens, prefixes.

Each is a child module `adapter` of a part of the classifier and works through a hook, so the classifier stays of its own class
and its own weights keep their names. What is saved of virtual tokens and prefixes is what their encoder gives, not the encoder.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask
from transformers.pytorch_utils import Conv1D

from diagnosis.errors import UserError

FILE = "adapter.safetensors"
BASE = "base"  # the folder of the plain classifier beside it
PREFIXED = "prefixed"  # the name of our attention among transformers'


def layers_of(model) -> nn.ModuleList:
    """The layers of a classifier's body, in order; raises UserError where they are not found."""
    count = getattr(model.config, "num_hidden_layers", None)
    for module in model.base_model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return module
    raise UserError("finetune.method: the base model keeps its layers in no list that was found: take full or lora")


def feed_forward_output(layer: nn.Module) -> tuple[str, nn.Module]:
    """Name and module of a layer's last linear map, from the feed-forward's width back to the hidden size."""
    return [(name, module) for name, module in layer.named_modules() if isinstance(module, (nn.Linear, Conv1D))][-1]


# ---- bottleneck


class Bottleneck(nn.Module):
    """Down to `size`, GELU, up again, added to what came in (Houlsby et al. 2019); the identity at the start."""

    def __init__(self, width: int, size: int):
        super().__init__()
        self.down, self.up = nn.Linear(width, size), nn.Linear(size, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, hidden):
        return hidden + self.up(functional.gelu(self.down(hidden)))


def add_bottlenecks(model, size: int) -> None:
    """One after each layer's feed-forward, before the residual sum (the place of Pfeiffer et al. 2021)."""
    for layer in layers_of(model):
        _, module = feed_forward_output(layer)
        width = module.nf if isinstance(module, Conv1D) else module.out_features
        module.adapter = Bottleneck(width, size)
        module.register_forward_hook(through_adapter)


def through_adapter(module, args, output):
    return module.adapter(output)


# ---- virtual tokens and prefixes


class Virtual(nn.Module):
    """Rows (tokens, width) that are trained through `encoder`, which maps row numbers to rows."""

    def __init__(self, encoder: nn.Module, tokens: int):
        super().__init__()
        self.encoder, self.tokens = encoder, tokens

    def forward(self) -> torch.Tensor:
        device = next(self.encoder.parameters()).device
        return self.encoder(torch.arange(self.tokens, device=device))

    def settle(self) -> None:
        """Put a plain table in the encoder's place."""
        self.encoder = nn.Embedding.from_pretrained(self().detach())


def add_virtual_tokens(model, encoder: nn.Module, tokens: int) -> None:
    """Virtual tokens before each note (Lester et al. 2021; Liu et al. 2021), gone again from what the body returns: heads pool
    as they do without, be it at the first token or at the last."""
    body = model.base_model
    body.adapter = Virtual(encoder, tokens)
    body.register_forward_pre_hook(prepend, with_kwargs=True)
    body.register_forward_hook(strip)


def prepend(body, args, kwargs):
    ids = args[0] if args else kwargs["input_ids"]
    embedded = body.get_input_embeddings()(ids)
    tokens = body.adapter().to(embedded.dtype).expand(len(ids), -1, -1)
    mask = kwargs.get("attention_mask")
    mask = torch.ones_like(ids) if mask is None else mask
    kwargs = kwargs | {
        "input_ids": None,
        "inputs_embeds": torch.cat([tokens, embedded], dim=1),
        "attention_mask": functional.pad(mask, (body.adapter.tokens, 0), value=1),
    }
    if kwargs.get("token_type_ids") is not None:
        kwargs["token_type_ids"] = functional.pad(kwargs["token_type_ids"], (body.adapter.tokens, 0))
    return (), kwargs


def strip(body, args, output):
    output.last_hidden_state = output.last_hidden_state[:, body.adapter.tokens :]
    if getattr(body, "pooler", None) is not None:
        output.pooler_output = body.pooler(output.last_hidden_state)
    return output


def add_prefixes(model, encoder: nn.Module, tokens: int) -> None:
    """Keys and values that every layer attends to beside the note's own (Li and Liang 2021).

    They go in at the attention itself, not as a cache of the past: so every model with transformers' attention interface
    takes them, they need no positions, and activation checkpointing keeps them. Raises UserError where they have no effect.
    """
    AttentionInterface.register(PREFIXED, prefixed_attention)
    AttentionMaskInterface.register(PREFIXED, sdpa_mask)
    body = model.base_model
    body.adapter = Virtual(encoder, tokens)
    body.adapter.heads, body.adapter.head_width = attention_shape(model)
    for number, layer in enumerate(layers_of(model)):
        for module in layer.modules():
            module.prefix_of = (body.adapter, number)  # in a tuple: not a child module of every layer
    body.register_forward_pre_hook(lay_prefixes)
    try:
        model.set_attn_implementation(PREFIXED)
        takes = moves_logits(model, body.adapter)
    except (ValueError, TypeError, KeyError, RuntimeError):
        takes = False
    if not takes:
        raise UserError(
            f"finetune.method is prefix_tuning, but the attention of {model.config.model_type} takes no prefix: take lora"
        )


def attention_shape(model) -> tuple[int, int]:
    """(heads, width of a head) of keys and values."""
    heads, config = model.config.num_attention_heads, model.config
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    return getattr(config, "num_key_value_heads", None) or heads, width


def lay_prefixes(body, args):
    """All layers' keys and values (2 x layers, heads, tokens, width), computed once a pass."""
    adapter = body.adapter
    adapter.rows = adapter().view(adapter.tokens, -1, adapter.heads, adapter.head_width).permute(1, 2, 0, 3)


def prefixed_attention(module, query, key, value, attention_mask, **kwargs):
    adapter, layer = module.prefix_of
    notes, length = len(query), query.shape[2]
    if attention_mask is None and kwargs.get("is_causal", getattr(module, "is_causal", True)):
        attention_mask = torch.ones(length, length, dtype=torch.bool, device=query.device).tril()[None, None]
    if attention_mask is not None:
        seen = True if attention_mask.dtype == torch.bool else 0.0
        attention_mask = functional.pad(attention_mask, (adapter.tokens, 0), value=seen)
    key, value = (
        torch.cat([adapter.rows[2 * layer + kind].to(own.dtype).expand(notes, -1, -1, -1), own], dim=2)
        for kind, own in enumerate((key, value))
    )
    return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs | {"is_causal": False})


@torch.no_grad()
def moves_logits(model, adapter: Virtual) -> bool:
    """Whether the logits of a note of three tokens depend on the prefix."""
    training, ids = model.training, torch.tensor([[3, 4, 5]])
    model.eval()
    with_prefix = model(input_ids=ids).logits
    encoder, adapter.encoder = adapter.encoder, nn.Embedding.from_pretrained(adapter() + 1.0)
    moved = not torch.equal(model(input_ids=ids).logits, with_prefix)
    adapter.encoder = encoder
    model.train(training)
    return moved


# ---- beside the weights


def add_adapter(model, method: str, size: int, encoder: nn.Module | None = None) -> None:
    """Make `model` one with the adapter of `method`; `size` is of the bottleneck or the number of virtual tokens."""
    if method == "bottleneck":
        add_bottlenecks(model, size)
    elif method == "prefix_tuning":
        width = 2 * model.config.num_hidden_layers * heads_width(model)
        add_prefixes(model, encoder or nn.Embedding(size, width), size)
    else:
        width = model.get_input_embeddings().embedding_dim
        add_virtual_tokens(model, encoder or nn.Embedding(size, width), size)
    model.adapter_of = {"method": method, "size": size}


def heads_width(model) -> int:
    heads, width = attention_shape(model)
    return heads * width


def split_adapter(state: dict) -> tuple[dict, dict]:
    """(the adapter's tensors, the model's own) of a state dict."""
    adapter = {name: tensor for name, tensor in state.items() if ".adapter." in name}
    return adapter, {name: tensor for name, tensor in state.items() if name not in adapter}


def save_adapter(model, folder: Path) -> dict:
    """Write the adapter's tensors to `folder`; returns the model's own."""
    for module in model.modules():
        if isinstance(module, Virtual):
            module.settle()
    adapter, own = split_adapter(model.state_dict())
    save_file({name: tensor.contiguous() for name, tensor in adapter.items()}, folder / FILE, metadata={"format": "pt"})
    return own


def load_adapter(model, folder: Path, method: str, size: int):
    """The model with the adapter that `save_adapter` wrote; raises ValueError where its tensors are not those."""
    add_adapter(model, method, size)
    tensors = load_file(folder / FILE)
    wanted, _ = split_adapter(model.state_dict())
    if tensors.keys() != wanted.keys():
        raise ValueError(f"{FILE} is of another model")
    model.load_state_dict(tensors, strict=False)
    return model
