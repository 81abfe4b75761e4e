"""diagnosis/training/unpadded.py: logits, gradients and whole trainings are those of padded batches."""

import json
import types

import numpy as np
import pytest
import torch
import transformers
from conftest import default_params, merged
from safetensors.torch import load_file
from torch._subclasses.fake_tensor import FakeTensorMode
from toy import CLASSES, metadata, write_training
from transformers import AutoTokenizer

from diagnosis.errors import UserError
from diagnosis.training.dataset import Collator, read_dataset
from diagnosis.training.methods import adapt_model
from diagnosis.training.model import load_base
from diagnosis.training.tokens import pad
from diagnosis.training.trainer import make_trainer, train_or_resume
from diagnosis.training.unpadded import attend, check_unpadded, first_position, joined, note_vectors, unpad

WIDTH = {"vocab_size": 90, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64}
COMMON = WIDTH | {"pad_token_id": 0, "max_position_embeddings": 128, "num_labels": 3}
DECODER = {"num_key_value_heads": 2, "bos_token_id": 3, "eos_token_id": 4}
OPTIONS = {
    "bert": ("Bert", {"type_vocab_size": 2}),
    "roberta": ("Roberta", {"pad_token_id": 1}),
    "electra": ("Electra", {"embedding_size": 16}),
    "distilbert": ("DistilBert", {"dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 64}),
    "modernbert": ("ModernBert", {"local_attention": 8}),  # notes longer than its window
    "modernbert_mean": ("ModernBert", {"local_attention": 8, "classifier_pooling": "mean"}),
    "llama": ("Llama", DECODER),
    "mistral": ("Mistral", DECODER | {"sliding_window": 5}),
    "qwen2": ("Qwen2", DECODER),
}


def tiny(name: str, dtype=torch.float32):
    """A random classifier with larger weights than usual, so that every token matters; no dropout anywhere."""
    family, options = OPTIONS[name]
    config = getattr(transformers, f"{family}Config")(**COMMON | options)
    for rate in [rate for rate in config.to_dict() if "drop" in rate]:
        setattr(config, rate, 0.0)
    torch.manual_seed(1)
    model = getattr(transformers, f"{family}ForSequenceClassification")(config)
    with torch.no_grad():
        for weights in model.parameters():
            if weights.dim() > 1:
                weights.mul_(4)
    return model.to(dtype)


def notes(lengths=(1, 7, 30, 12, 12)) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(5, 90, length).astype(np.int32) for length in lengths]


def batches(model, ids, types=None) -> tuple[dict, dict]:
    return pad(ids, types, model.config.pad_token_id), joined(ids, types, first_position(model))


@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("name", OPTIONS)
def test_logits_and_gradients_are_those_of_the_padded_batch(name, lora):
    results, labels = [], torch.tensor([0, 1, 2, 0, 1])
    for side in (0, 1):
        model = tiny(name)
        if side:
            unpad(model)
        if lora:
            transformers.set_seed(3)
            model = adapt_model(model, "lora", {"lora": {"r": 4, "lora_alpha": 8}}, torch.device("cpu"))
            for part, weights in model.named_parameters():
                if "lora_B" in part:
                    torch.nn.init.normal_(weights, std=0.1)
        logits = model(**batches(model.base_model.model if lora else model, notes())[side]).logits
        torch.nn.functional.cross_entropy(logits, labels).backward()
        results.append((logits, {part: w.grad for part, w in model.named_parameters() if w.requires_grad}))
    (padded, theirs), (unpadded, ours) = results
    assert padded.std() > 0.01  # the notes are told apart
    assert (padded - unpadded).abs().max() < 1e-5
    assert theirs.keys() == ours.keys()
    compared = 0
    for part, gradient in theirs.items():
        if gradient is None or ours[part] is None:
            assert not any(g is not None and g.abs().max() for g in (gradient, ours[part])), part
            continue
        scale = max(1.0, gradient.abs().max().item())
        assert (gradient - ours[part]).abs().max() < 1e-5 * scale, part
        compared += gradient.abs().max().item() > 0
    assert compared > 10


@pytest.mark.parametrize("name", ["bert", "roberta", "modernbert", "llama"])
def test_logits_in_bf16(name):
    model = tiny(name).eval()
    padded, unpadded = batches(model, notes())
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        before = model(**padded).logits.float()
        unpad(model)
        assert (model(**unpadded).logits.float() - before).abs().max() < 1e-2 * max(1, before.abs().max())


def test_segment_numbers_of_pairs():
    model = tiny("bert").eval()
    ids = notes()
    kinds = [(np.arange(len(note)) > len(note) // 2).astype(np.uint8) for note in ids]
    padded, unpadded = batches(model, ids, kinds)
    before = model(**padded).logits
    assert (model(**batches(model, ids)[0]).logits - before).abs().max() > 1e-3
    unpad(model)
    assert (model(**unpadded).logits - before).abs().max() < 1e-5


def test_a_batch_by_hand():
    batch = joined([np.array([5, 6, 7]), np.array([8])], None, first=2)
    assert batch["input_ids"].tolist() == [[5, 6, 7, 8]]
    assert batch["position_ids"].tolist() == [[2, 3, 4, 2]]
    assert batch["cu_seq_lens_q"].tolist() == [0, 3, 4] and batch["cu_seq_lens_q"].dtype == torch.int32
    assert batch["max_length_q"] == 3


def test_vectors_by_hand():
    tokens, starts = torch.tensor([[1.0], [2.0], [6.0], [5.0]]), torch.tensor([0, 3, 4], dtype=torch.int32)
    found = {how: note_vectors(tokens, starts, how)[:, 0].tolist() for how in ("cls", "last", "mean")}
    assert found == {"cls": [1.0, 5.0], "last": [6.0, 5.0], "mean": [3.0, 5.0]}


def test_attention_sees_its_window_only():
    """With values that are their own place, uniform attention gives the mean place of what is seen."""
    query = key = torch.zeros(1, 1, 6, 1)
    value = torch.tensor([0.0, 1, 2, 3, 0, 1]).view(1, 1, 6, 1)
    starts = torch.tensor([0, 4, 6], dtype=torch.int32)

    def seen(causal, window):
        module = types.SimpleNamespace(is_causal=causal)
        out, _ = attend(module, query, key, value, None, cu_seq_lens_q=starts, max_length_q=4, sliding_window=window)
        return out.flatten().tolist()

    assert seen(False, None) == pytest.approx([1.5, 1.5, 1.5, 1.5, 0.5, 0.5])
    assert seen(True, None) == pytest.approx([0, 0.5, 1, 1.5, 0, 0.5])
    assert seen(False, 2) == pytest.approx([0.5, 1, 2, 2.5, 0.5, 0.5])
    assert seen(True, 2) == pytest.approx([0, 0.5, 1.5, 2.5, 0, 0.5])


def test_the_call_of_torchs_kernel_is_well_formed():
    """By tensors without content, for no GPU is needed to see shapes; grouped heads, causal with a window."""
    with FakeTensorMode():
        heads, grouped = (torch.empty(1, count, 30, 8, device="cuda", dtype=torch.bfloat16) for count in (4, 2))
        starts = torch.empty(3, device="cuda", dtype=torch.int32)
        module, options = types.SimpleNamespace(is_causal=True), {"cu_seq_lens_q": starts, "max_length_q": 20}
        out, _ = attend(module, heads, grouped, grouped, None, scaling=0.3, sliding_window=5, **options)
        assert (out.shape, out.dtype, out.device.type) == ((1, 30, 4, 8), torch.bfloat16, "cuda")


def test_what_it_cannot_do_is_refused():
    config = transformers.BertConfig(**COMMON, attention_probs_dropout_prob=0.1)
    with pytest.raises(UserError, match="set body_dropout to 0.0"):
        unpad(transformers.BertForSequenceClassification(config))
    other = transformers.FNetConfig(**{name: COMMON[name] for name in WIDTH if "heads" not in name})
    with pytest.raises(UserError, match="FNetForSequenceClassification reads a note's vector is not known"):
        unpad(transformers.FNetForSequenceClassification(other))


@pytest.mark.parametrize(
    "changes",
    [{"long_notes": "windows"}, {"head": "label_attention"}, {"launch": "ddp"}, {"method": "prefix_tuning"}],
    ids=["windows", "label attention", "processes", "prefix"],
)
def test_what_it_does_not_go_with_is_one_line(changes):
    plain = default_params()["finetune"] | {"unpadded": True}
    check_unpadded(types.SimpleNamespace(**plain))
    check_unpadded(types.SimpleNamespace(**plain | changes | {"unpadded": False}))
    with pytest.raises(UserError, match="finetune.unpadded is true") as raised:
        check_unpadded(types.SimpleNamespace(**plain | changes))
    assert str(*changes.values()) in str(raised.value) and "\n" not in str(raised.value)


def trained(folder, *, unpadded: bool, **changes):
    small = {
        "threads": 1,
        "epochs": 2,
        "max_tokens": 32,
        "batch_size": 8,
        "method": "lora",
        "method_options": {"lora": {"r": 4}},
    }
    params = types.SimpleNamespace(**merged(default_params()["finetune"], small | changes))
    transformers.set_seed(7)
    model, tokenizer = load_base(folder / "models/adapted", CLASSES, "single_label", 0.0)
    model.dropout.p = 0.0
    options = {"pad_id": 0, "classes": 3, "multi_label": False, "types": False}
    collator = (unpad(model) if unpadded else Collator)(**options)
    model = adapt_model(model, params.method, params.method_options, torch.device("cpu"))
    trainer = make_trainer(
        model,
        params,
        folder=folder / f"{unpadded} {changes}",
        device=torch.device("cpu"),
        train=read_dataset(folder / "data/balanced.parquet", tokenizer, metadata(), max_tokens=32, weighted=True),
        validation=read_dataset(
            folder / "data/split/validation.parquet", tokenizer, metadata(), max_tokens=32, weighted=False
        ),
        collator=collator,
    )
    trainer.args.train_sampling_strategy = "sequential"  # else each side has an order of its own
    train_or_resume(trainer, params.early_stopping_patience)
    return trainer


@pytest.mark.parametrize(
    "changes",
    [{}, {"batch_size": 4, "accumulation_steps": 2}, {"gradient_checkpointing": True}],
    ids=["plain", "accumulated", "activation checkpointing"],
)
def test_a_training_is_that_of_padded_batches(tmp_path, tiny_model, changes):
    """By the weighted loss, with adapters: the same losses, validation scores and weights."""
    write_training(tmp_path, tiny_model, notes=48)
    padded, unpadded = (trained(tmp_path, unpadded=side, **changes) for side in (False, True))
    for a, b in zip(padded.model.parameters(), unpadded.model.parameters(), strict=True):
        assert (a - b).abs().max() < 2e-5
    for ours, theirs in zip(unpadded.state.log_history, padded.state.log_history, strict=True):
        for name in ours.keys() & {"loss", "eval_loss", "eval_macro_f1"}:
            assert ours[name] == pytest.approx(theirs[name], abs=1e-5)


def test_notes_beyond_the_window_are_scored(stage, folder, tiny_model):
    write_training(folder, tiny_model, notes=48)
    small = {"threads": 1, "epochs": 1, "max_tokens": 8, "batch_size": 8, "min_count": 1, "unpadded": True}
    assert stage("finetune", small | {"method_options": {"lora": {"r": 4}}}) == (0, "")
    said = json.loads((folder / "metrics/finetune.json").read_text())["beyond_window"]["validation_scores"]["beyond"]
    assert said["notes"] > 0 and said["loss"] > 0


def test_the_stage_leaves_a_plain_folder(stage, folder, tiny_model):
    write_training(folder, tiny_model, notes=48)
    small = {"threads": 1, "epochs": 1, "max_tokens": 32, "batch_size": 8, "method_options": {"lora": {"r": 4}}}
    models = []
    for unpadded in (False, True):
        assert stage("finetune", small | {"unpadded": unpadded}) == (0, "")
        models.append(load_file(folder / "models/finetuned/model.safetensors"))
        config = (folder / "models/finetuned/config.json").read_text()
        assert "unpadded" not in config
    assert models[0].keys() == models[1].keys()
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder / "models/finetuned")
    tokenizer = AutoTokenizer.from_pretrained(folder / "models/finetuned")
    assert model(**tokenizer(["chest pain"], return_tensors="pt")).logits.shape == (1, 3)
