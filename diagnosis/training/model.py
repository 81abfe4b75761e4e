"""The classifier: made from a base model, and saved as a plain folder."""

from pathlib import Path

from torch import Tensor, arange, float32, nn, tensor
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from diagnosis.errors import UserError
from diagnosis.files import require

WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
VOCABULARY = ("tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model", "sentencepiece.bpe.model", "spiece.model")


def load_base(folder: Path, classes: list[str], task: str, dropout: float | None):
    """(model, tokenizer) from a folder with config, safetensors weights and tokenizer; the head is new.

    `dropout` replaces what the base states for its body (the head keeps its own); None leaves it. Seed torch before the
    call: the head's weights are drawn here. Raises UserError where a file is missing or broken.
    """
    require(folder, "run `dvc repro finetune`")
    require(folder / "config.json", "a base model needs it; fetch the model again")
    for kind, names in {"weights": WEIGHTS, "tokenizer": VOCABULARY}.items():
        if not any((folder / name).exists() for name in names):
            raise UserError(f"{folder} has no {kind}: one of {', '.join(names)} is needed; fetch the model again")
    try:
        config = AutoConfig.from_pretrained(
            folder,
            trust_remote_code=False,
            id2label=dict(enumerate(classes)),
            label2id={name: number for number, name in enumerate(classes)},
            problem_type="multi_label_classification" if task == "multi_label" else "single_label_classification",
        )
        if dropout is not None:
            set_dropout(config, dropout)
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        model = AutoModelForSequenceClassification.from_pretrained(
            folder,
            config=config,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=float32,  # a base stored in half precision is trained from full-precision copies
            ignore_mismatched_sizes=True,  # the base may carry a head for other classes
        )
    except Exception as error:  # whatever the libraries raise on a broken file; none of it has seen a note
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{folder} could not be loaded as a classifier ({reason}): fetch the model again") from None
    if not tokenizer.is_fast:
        raise UserError(f"{folder} has no fast tokenizer (tokenizer.json): convert it once, or choose another base")
    set_padding(model, tokenizer, folder)
    return model, tokenizer


def set_padding(model, tokenizer, folder: Path) -> None:
    """See to it that both name a padding token; raises UserError where they cannot.

    Decoders often have none, and find a note's last token as the last one that is not padding: their end of text then is
    the padding, on the right, in the tokenizer and the config that are saved.
    """
    if tokenizer.pad_token_id is None:
        known = model.config.pad_token_id
        tokenizer.pad_token = tokenizer.eos_token if known is None else tokenizer.convert_ids_to_tokens(known)
    if hasattr(model, "score"):
        model.config.pad_token_id = tokenizer.pad_token_id
        model.config.use_cache = False  # of keys and values, for text that goes on
        tokenizer.padding_side = "right"
    if tokenizer.pad_token_id is None or model.config.pad_token_id is None:
        raise UserError(f"{folder} names no padding token in its tokenizer and config.json: choose another base")


def set_dropout(config, dropout: float) -> None:
    """Set every dropout rate of the body in a model config, whatever the architecture calls it."""
    stated = {name: value for name, value in config.to_dict().items() if "drop" in name}
    if "classifier_dropout" in stated and stated["classifier_dropout"] is None:
        config.classifier_dropout = stated.get("hidden_dropout_prob")  # BERT's head follows its body unless told
    for name, value in stated.items():
        if isinstance(value, float) and "classif" not in name:
            setattr(config, name, dropout)


def longest_input(model) -> int | None:
    """The most tokens that the model's positions can take, or None where they have no end."""
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            return module.num_embeddings - first_position(model)  # RoBERTa's 514 are 512
    return getattr(model.config, "max_position_embeddings", None)


def first_position(model) -> int:
    """The number of a note's first token: RoBERTa counts from behind its padding index, others from 0."""
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            return 0 if module.padding_idx is None else module.padding_idx + 1
    return 0


def head_modules(model) -> list[str]:
    """Names of the parts that the base model did not train for this task, pooler included: every method trains them whole.

    A pooler is often new too (masked-language models carry none); adapters alone would leave it random and unsaved.
    """
    heads = [
        name
        for name, module in model.named_children()
        if name != model.base_model_prefix and any(True for _ in module.parameters())
    ]
    if getattr(model.base_model, "pooler", None) is not None:
        heads.append(f"{model.base_model_prefix}.pooler")
    return sorted(heads)


def start_at_prior(model, shares: list[float]) -> None:
    """Set the head's bias to the log odds of the classes' shares of the notes (Lin et al. 2017, section 4.1), where notes have
    several labels.

    From zero the first steps would teach every logit to be low, all at once; that drives the pooler into saturation, and
    the model then says the shares of every note and learns no more.
    """
    layer = output_layer(model)
    if layer is not None and layer.bias is not None:
        layer.bias.data = tensor(shares, dtype=float32).logit(eps=1e-6)


def output_layer(model) -> nn.Linear | None:
    """The last linear layer, which makes the logits, or None where the model has no such layer."""
    outputs = [m for m in model.modules() if isinstance(m, nn.Linear) and m.out_features == model.config.num_labels]
    return outputs[-1] if outputs else None


def of_notes(inputs: Tensor, batch: dict) -> Tensor:
    """(notes, width) of the last layer's input: as it is, or of a decoder, which has one a token, that of the last token."""
    if inputs.dim() == 2:
        return inputs
    last = batch["attention_mask"].sum(dim=1) - 1
    return inputs[arange(len(inputs), device=inputs.device), last]


def save_model(model, tokenizer, folder: Path, max_tokens: int, weights: dict | None = None) -> None:
    """Write config, safetensors weights (or those given) and tokenizer to `folder`; nothing in them says where or when."""
    model.config.name_or_path = ""
    model.save_pretrained(folder, state_dict=weights)
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.model_max_length = max_tokens
    tokenizer.name_or_path = ""
    tokenizer.init_kwargs.pop("name_or_path", None)
    tokenizer.save_pretrained(folder)
