"""The head-integrity contract: a method trains what it declares and nothing else, head and pooler always, and what is saved
says after reloading what the trained model said."""

import types

import pytest
import torch
import transformers
from conftest import default_params, merged
from toy import CLASSES, metadata, other_family, rows, write_table

from diagnosis.files import write_json
from diagnosis.training.dataset import Collator, read_dataset
from diagnosis.training.device import prepare_device
from diagnosis.training.inference import CARD, load_finetuned, note_logits
from diagnosis.training.methods import adapt_model, check_method, save_trained
from diagnosis.training.model import head_modules, load_base
from diagnosis.training.trainer import make_trainer, train_or_resume

FAMILIES = ["bert", "roberta", "distilbert", "modernbert", "llama"]
METHODS = {
    "full": ("full", {}),
    "linear_probe": ("linear_probe", {}),
    "top_layers": ("top_layers", {"layers": 1}),
    "bottleneck": ("bottleneck", {"size": 8}),
    "lora": ("lora", {"r": 4, "lora_alpha": 8}),
    "dora": ("lora", {"r": 4, "lora_alpha": 8, "use_dora": True}),
    "ia3": ("ia3", {}),
    "prefix": ("prefix_tuning", {"num_virtual_tokens": 5}),
    "prompt": ("prompt_tuning", {"num_virtual_tokens": 5}),
    "p_tuning": ("p_tuning", {"num_virtual_tokens": 5}),
}
HEADS = {
    "bert": ["bert.pooler", "classifier"],
    "roberta": ["classifier"],
    "distilbert": ["classifier", "pre_classifier"],
    "modernbert": ["classifier", "head"],
    "llama": ["score"],
}
LAST_LAYER = {
    "bert": ["bert.encoder.layer.1"],
    "roberta": ["roberta.encoder.layer.1"],
    "distilbert": ["distilbert.transformer.layer.1"],
    "modernbert": ["model.layers.1", "model.final_norm"],
    "llama": ["model.layers.1", "model.norm"],
}
ADDED = {"lora": ["lora_A", "lora_B"], "dora": ["lora_A", "lora_B", "lora_magnitude_vector"], "ia3": ["ia3_l"]}
TEXTS = [
    "patient reports chest pain",
    "fever cough fever cough and the",
    "no",
    "the mother denies, father of the mother",
]


@pytest.fixture(scope="module")
def bases(tiny_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bases")
    return {"bert": tiny_model} | {name: other_family(name, tiny_model, folder / name) for name in FAMILIES[1:]}


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    write_table(folder / "train.parquet", rows(24, seed=1), metadata(), weighted=True)
    write_table(folder / "validation.parquet", rows(9, seed=2), metadata())
    return folder


def trained(base, tables, folder, method: str, options: dict):
    """(model, tokenizer, its tensors before, the names that it declares to train) after six steps of finetune's Trainer."""
    small = {"threads": 1, "epochs": 2, "max_tokens": 32, "batch_size": 8, "learning_rate": 1e-2, "warmup_share": 0.0}
    params = types.SimpleNamespace(**merged(default_params()["finetune"], small))
    device = prepare_device(1)
    transformers.set_seed(7)
    model, tokenizer = load_base(base, CLASSES, "single_label", 0.0)
    check_method(method, {method: options}, device)
    model = adapt_model(model, method, {method: options}, device)
    declared = {name for name, weights in model.named_parameters() if weights.requires_grad}
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    read = {"tokenizer": tokenizer, "metadata": metadata(), "max_tokens": 32}
    trainer = make_trainer(
        model,
        params,
        folder=folder,
        device=device,
        train=read_dataset(tables / "train.parquet", weighted=True, **read),
        validation=read_dataset(tables / "validation.parquet", weighted=False, **read),
        collator=Collator(pad_id=tokenizer.pad_token_id, classes=3, multi_label=False, types=False),
    )
    train_or_resume(trainer, 0)
    return model.eval(), tokenizer, before, declared


def within(name: str, parts: list[str]) -> bool:
    """Whether a parameter, by peft's or by the model's own name, lies in one of the parts."""
    return any(f".{part}." in f".{name}" for part in parts)


def expected(name: str, case: str, family: str) -> bool:
    """What the page says that a method trains."""
    if case == "full" or within(name, HEADS[family]):
        return "original_module" not in name  # peft's untouched copy of a head
    if case == "top_layers":
        return within(name, LAST_LAYER[family])
    if case in ADDED:
        return any(added in name for added in ADDED[case])
    return case != "linear_probe" and ".adapter." in name


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("case", METHODS)
def test_trains_what_it_declares_and_reloads_to_the_same_logits(bases, tables, tmp_path, case, family):
    model, tokenizer, before, declared = trained(bases[family], tables, tmp_path / "c", *METHODS[case])
    parameters = {name for name, _ in model.named_parameters()}
    assert declared == {name for name in parameters if expected(name, case, family)}
    for head in HEADS[family]:
        assert any(within(name, [head]) for name in declared), f"{head} is not trained"

    after = model.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed <= declared
    # A bias that all keys share moves no attention weight: its gradient is nothing but rounding.
    assert {name for name in declared - changed if not name.endswith(("key.bias", "k_lin.bias"))} == set()

    said = note_logits(model, tokenizer, TEXTS, None, max_tokens=32, batch_size=4)
    alone = note_logits(model, tokenizer, TEXTS, None, max_tokens=32, batch_size=1)
    assert abs(said - alone).max() < 1e-5
    card = save_trained(model, tokenizer, tmp_path / "finetuned", 32)
    write_json(tmp_path / "finetuned" / CARD, card)
    again, tokenizer, _ = load_finetuned(tmp_path / "finetuned", torch.device("cpu"))
    assert abs(note_logits(again, tokenizer, TEXTS, None, max_tokens=32, batch_size=4) - said).max() < 1e-5
    assert type(again).__name__.endswith("ForSequenceClassification")
    assert head_modules(again) == HEADS[family]

    # The folder against the base: what the method leaves alone is the base's, bit for bit.
    transformers.set_seed(7)
    fresh = load_base(bases[family], CLASSES, "single_label", 0.0)[0].state_dict()
    saved = again.state_dict()
    assert {name for name in saved if ".adapter." not in name} == fresh.keys()
    touched = {name for name in fresh if not torch.equal(fresh[name], saved[name])}
    if case in ("linear_probe", "bottleneck", "prefix", "prompt", "p_tuning"):
        assert touched == {name for name in fresh if within(name, HEADS[family])}
    elif case != "full":
        assert not {name for name in touched if "embeddings" in name or "embed_tokens" in name}
