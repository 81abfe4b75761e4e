"""What of the classifier is trained, and how: `finetune.method` and its options, from the base model to the saved folder."""

import re
from contextlib import contextmanager
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, get_type_hints

import torch
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from torch import nn
from transformers.pytorch_utils import Conv1D

from diagnosis.errors import UserError
from diagnosis.training.adapters import BASE, add_adapter, feed_forward_output, heads_width, layers_of, save_adapter
from diagnosis.training.model import head_modules, longest_input, save_model


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class NoOptions(Options):
    pass


class TopLayers(Options):
    layers: int = Field(ge=1)


class Bottleneck(Options):
    size: int = Field(ge=1)


OWN = {"full": NoOptions, "linear_probe": NoOptions, "top_layers": TopLayers, "bottleneck": Bottleneck}
VIRTUAL = ("p_tuning", "prefix_tuning", "prompt_tuning")  # peft's encoders, in our adapters
REFUSED = {
    "adalora": "it moves ranks by running scores of the weights, which no checkpoint holds",
    "adamss": "it moves subspaces by running scores of the weights, which no checkpoint holds",
    "adaption_prompt": "peft builds it for a few language models' attention, and no classifier",
    "cartridge": "it is for language modelling",
    "lily": "its adapters do not add into the weights",
    "cpt": "it is for language modelling",
    "multitask_prompt_tuning": "it needs several tasks",
    "poly": "it needs several tasks",
    "shadow": "its states run beside a decoder's and are no part of the weights",
    "trainable_tokens": "it trains rows of the word embeddings and no head",
    "xlora": "it mixes adapters that were trained before",
}
# What this module decides itself, and what would have peft read files or fetch models.
NO_OPTION = {
    *("auto_mapping", "base_model_name_or_path", "inference_mode", "modules_to_save", "peft_type", "peft_version"),
    *("revision", "task_type", "num_attention_heads", "num_layers", "num_transformer_submodules", "token_dim"),
    *("prompt_tuning_init_text", "tokenizer_kwargs", "tokenizer_name_or_path"),
}
POSITIVE = re.compile(r"r|(\w+_)?alpha|num_virtual_tokens|\w+_hidden_size")


def known_methods() -> list[str]:
    from peft import PeftType

    return [*OWN, "qlora", *sorted({kind.value.lower() for kind in PeftType} - REFUSED.keys())]


def config_class(method: str):
    """peft's config of a method."""
    from peft import PeftType
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    return PEFT_TYPE_TO_CONFIG_MAPPING[PeftType("LORA" if method == "qlora" else method.upper())]


def check_method(method: str, options: dict[str, dict], device: torch.device) -> None:
    """Raises UserError for a method that there is not, or not on this device, and for options that the methods do not take.

    `options`, by method, are those of params.yaml: finetune.method_options.
    """
    known = known_methods()
    for name, key in [(method, "method"), *((name, "method_options") for name in options)]:
        if name in REFUSED:
            raise UserError(f"params.yaml: finetune.{key} names {name}, which is not offered: {REFUSED[name]}")
        if name not in known:
            raise UserError(f"params.yaml: finetune.{key} names {name!r}, which is none of {', '.join(known)}")
    for name, values in options.items():
        checked_options(name, values)
    if method in (*VIRTUAL, "bottleneck", "top_layers"):
        checked_options(method, options.get(method, {}))
    if method == "qlora":
        check_bitsandbytes("finetune.method is qlora", device)


def checked_options(method: str, values: dict) -> dict:
    """The options of a method, with their types; raises UserError naming a wrong one and those that there are."""
    where = f"params.yaml: finetune.method_options.{method}"
    if method in OWN:
        names, types = list(OWN[method].model_fields), None
    else:
        config = config_class(method)
        names = [field.name for field in fields(config) if field.name not in NO_OPTION]
        types = get_type_hints(config)
    for name in values:
        if name not in names:
            raise UserError(f"{where}.{name} is no option of it: {', '.join(sorted(names)) or 'it takes none'}")
    try:
        if method in OWN:
            return OWN[method].model_validate(values).model_dump()
        for name in values:
            values = values | {name: checked_value(name, values[name], types[name])}
    except ValidationError as error:
        problem = error.errors()[0]
        name = problem["loc"][0] if method in OWN else name
        given = "missing" if problem["type"] == "missing" else repr(values[name])
        raise UserError(f"{where}.{name} is {given}: {problem['msg'][0].lower()}{problem['msg'][1:]}") from None
    if method in VIRTUAL and not values.get("num_virtual_tokens"):
        raise UserError(f"{where}.num_virtual_tokens is missing: how many virtual tokens, e.g. 20")
    return values


def checked_value(name: str, value, kind):
    """The value as peft's config declares it, within bounds that peft leaves to the arithmetic."""
    value = TypeAdapter(kind).validate_python(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        bounds = {"ge": 0, "lt": 1} if "dropout" in name else {"gt": 0} if POSITIVE.fullmatch(name) else {}
        TypeAdapter(Annotated[float, Field(allow_inf_nan=False, **bounds)]).validate_python(value)
    return value


def check_bitsandbytes(param: str, device: torch.device) -> None:
    """Raises UserError where `param` needs what bitsandbytes does on a GPU and there is none."""
    if device.type != "cuda":
        raise UserError(f"params.yaml: {param}, which needs a GPU: take another")
    if find_spec("bitsandbytes") is None:
        raise UserError(f"params.yaml: {param}, which needs bitsandbytes: pip install -r requirements-gpu.txt")


def check_optimizer(name: str, device: torch.device) -> None:
    if name == "adamw_8bit":
        check_bitsandbytes("finetune.optimizer is adamw_8bit", device)


def check_length(model, max_tokens: int, method: str, options: dict[str, dict], base: Path) -> None:
    """Raises UserError where a note of `max_tokens`, and the virtual tokens before it, have no room in the model."""
    longest = longest_input(model)
    virtual = 0
    if method in ("p_tuning", "prompt_tuning"):
        virtual = checked_options(method, options[method])["num_virtual_tokens"]
    if longest is not None and max_tokens + virtual > longest:
        beside = f", of which {virtual} are virtual" if virtual else ""
        raise UserError(
            f"params.yaml: finetune.max_tokens is {max_tokens}, but {base} takes {longest} at most{beside}: lower it"
        )


# ---- the model


def adapt_model(model, method: str, options: dict[str, dict], device: torch.device):
    """The classifier as `method` trains it: what is frozen is frozen, what is added is there. New weights are drawn here.

    Trained are whole, in every method, the parts that the base did not train for this task (`head_modules`). Raises
    UserError where the base model does not take the method.
    """
    values = checked_options(method, options.get(method, {}))
    if method == "full":
        return model
    heads = head_modules(model)
    if method == "linear_probe":
        return train_only(model, heads)
    if method == "top_layers":
        return train_only(model, [*heads, *top_layers(model, values["layers"])])
    if method == "bottleneck":
        add_adapter(model, method, values["size"])
        return train_only(model, [*heads, "adapter"])
    if method in VIRTUAL:
        add_adapter(model, method, values["num_virtual_tokens"], encoder(model, method, values))
        return train_only(model, [*heads, "adapter"])
    return with_peft(model, method, values, heads, device)


def train_only(model, parts: list[str]):
    """The model with all frozen but the modules named, and those within them, and adapters where `adapter` is."""
    for name, weights in model.named_parameters():
        whole = any(name.startswith(f"{part}.") for part in parts)
        weights.requires_grad = whole or ("adapter" in parts and ".adapter." in name)
    return model


def top_layers(model, count: int) -> list[str]:
    """Names of the last `count` layers of the body and of what comes after them."""
    layers = layers_of(model)
    if count > len(layers):
        raise UserError(
            f"params.yaml: finetune.method_options.top_layers.layers is {count}, but the base model has {len(layers)}"
        )
    name = next(name for name, module in model.named_modules() if module is layers)
    parent, _, own = name.rpartition(".")
    siblings = [child for child, _ in model.get_submodule(parent).named_children()]
    after = [f"{parent}.{child}" for child in siblings[siblings.index(own) + 1 :]]
    return [*(f"{name}.{number}" for number in range(len(layers) - count, len(layers))), *after]


def encoder(model, method: str, values: dict) -> nn.Module:
    """peft's encoder of virtual tokens: a table, or one behind a small network."""
    from peft import PrefixEncoder, PromptEmbedding, PromptEncoder

    words = model.get_input_embeddings()
    width = heads_width(model) if method == "prefix_tuning" else words.embedding_dim
    fixed = {"token_dim": width, "num_layers": model.config.num_hidden_layers, "num_transformer_submodules": 1}
    with refusals_explained(method):
        config = config_class(method)(**values, **fixed)
        if getattr(config, "encoder_hidden_size", 1) is None:
            config.encoder_hidden_size = width
        if method == "prompt_tuning":
            return PromptEmbedding(config, words)
        return (PrefixEncoder if method == "prefix_tuning" else PromptEncoder)(config)


def with_peft(model, method: str, values: dict, heads: list[str], device: torch.device):
    """The model with peft's adapters on every linear layer of its body, where the options name no other targets."""
    from peft import get_peft_model

    targets = default_targets(model, method, heads)
    if not targets:
        raise UserError(f"finetune.method is {method}, but the base model has nothing for it to adapt: set it to full")
    if method == "qlora":
        quantise(model, targets, device)
    config = config_class(method)
    known = {field.name for field in fields(config)}
    defaults = {"modules_to_save": heads, "target_modules": targets}
    if method == "ia3" and "target_modules" not in values:
        outputs = [feed_forward_output(layer)[1] for layer in layers_of(model)]
        defaults["feedforward_modules"] = [name for name in targets if model.get_submodule(name) in outputs]
    with refusals_explained(method):
        return get_peft_model(model, config(**{k: v for k, v in defaults.items() if k in known} | values))


@contextmanager
def refusals_explained(method: str):
    """Turn what peft raises for options or a model that it does not take into one line; no note has been seen yet."""
    try:
        yield
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"finetune.method is {method}, which peft does not build on this base model so: {reason}"
        ) from None


def default_targets(model, method: str, heads: list[str]) -> list[str]:
    """Names of the body's linear layers, sorted; of its norms for ln_tuning."""

    def wanted(module) -> bool:
        if method == "ln_tuning":
            return type(module).__name__.endswith("Norm") and any(True for _ in module.parameters())
        return isinstance(module, nn.Linear) or (isinstance(module, Conv1D) and method != "qlora")

    return sorted(
        name
        for name, module in model.named_modules()
        if wanted(module) and not any(name == head or name.startswith(f"{head}.") for head in heads)
    )


# ---- QLoRA


def quantise(model, names: list[str], device: torch.device) -> None:
    """Put the linear layers named into 4-bit NormalFloat with quantised constants (Dettmers et al. 2023), on `device`."""
    from bitsandbytes.nn import Linear4bit, Params4bit

    for name in names:
        linear = model.get_submodule(name)
        packed = Linear4bit(linear.in_features, linear.out_features, linear.bias is not None, quant_type="nf4")
        packed.weight = Params4bit(linear.weight.data, requires_grad=False, quant_type="nf4")
        packed.bias = linear.bias
        model.set_submodule(name, packed.to(device))
    model.is_loaded_in_4bit = True  # peft asks


def merged_from_4bit(layer, packed) -> nn.Linear:
    """A layer of 4-bit weights back in full precision, with the update that was trained on them added.

    peft's own merge would round the sum to 4 bits again.
    """
    from bitsandbytes.functional import dequantize_4bit

    weights = dequantize_4bit(packed.weight.data, packed.weight.quant_state).float()
    linear = nn.Linear(packed.in_features, packed.out_features, packed.bias is not None, device=weights.device)
    linear.weight.data = weights + layer.get_delta_weight("default").detach()
    linear.bias = packed.bias
    return linear


# ---- the folder


def merged(model):
    """The plain model: peft's adapters, where there are any, added into the weights, and the trained heads in place.

    peft's own merge takes no head of several modules (BERT's pooler) but beside LoRA.
    """
    if not hasattr(model, "peft_config"):
        return model
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils import ModulesToSaveWrapper

    plain = model.get_base_model()
    for name, module in list(plain.named_modules()):
        if isinstance(module, ModulesToSaveWrapper):
            plain.set_submodule(name, module.modules_to_save["default"])
        elif isinstance(module, BaseTunerLayer):
            plain.set_submodule(name, merged_layer(module))
    return plain


def merged_layer(layer):
    base = layer.get_base_layer()
    if type(base).__name__ == "Linear4bit":
        return merged_from_4bit(layer, base)
    layer.merge()
    return layer.get_base_layer()


def save_trained(model, tokenizer, folder: Path, max_tokens: int) -> dict:
    """Write the trained classifier to `folder`: as a plain one where all that was trained adds into its weights.

    Else the plain one goes to `folder`/base, where nothing finds it by mistake, and the adapter beside it. Returns what
    `load_finetuned` needs to know of the adapter, for the card.
    """
    adapter = getattr(model, "adapter_of", None)
    if adapter is None:
        save_model(merged(model), tokenizer, folder, max_tokens)
        return {}
    folder.mkdir(parents=True)
    save_model(model, tokenizer, folder / BASE, max_tokens, save_adapter(model, folder))
    return {"adapter": adapter}
