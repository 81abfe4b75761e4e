"""The label attention head: by hand, over several windows as over one, saved and loaded, trained whole under LoRA, and learning
what stands anywhere in a long note."""

import json
import math

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import transformers
from safetensors.torch import load_file
from test_long_notes import FAMILIES, LONG, SMALL, batch_of, families, gradients, made  # noqa: F401 - a fixture
from toy import CLASSES, WORDS, metadata, rows, write_table, write_training

from diagnosis.files import sha256
from diagnosis.training import heads
from diagnosis.training.heads import LabelAttention, load_classifier
from diagnosis.training.inference import note_logits
from diagnosis.training.methods import merged as merged_model
from diagnosis.training.model import head_modules, save_model, start_at_prior
from diagnosis.training.windows import LongNotes, batch_logits, pooled

HEAD = {"head": "label_attention"}


def by_hand(head: LabelAttention, states: torch.Tensor) -> torch.Tensor:
    """Logits of one note's token states (tokens, width): a softmax over its tokens for each label, in a loop over labels."""
    logits = []
    for query, weight, bias in zip(head.query.weight, head.value.weight, head.value.bias, strict=True):
        attention = (torch.tanh(states @ head.project.weight.T) @ query).softmax(dim=0)
        logits.append((attention[:, None] * states).sum(dim=0) @ weight + bias)
    return torch.stack(logits)


@pytest.fixture
def head():
    torch.manual_seed(0)
    return LabelAttention(8, 5, spread=1.0)


def test_one_window_by_hand(head):
    states, mask = torch.randn(2, 6, 8), torch.tensor([[1] * 6, [1] * 4 + [0] * 2])
    found = head(states, mask)[:, :5]
    assert torch.allclose(found[0], by_hand(head, states[0]), atol=1e-5)
    assert torch.allclose(found[1], by_hand(head, states[1, :4]), atol=1e-5)


def test_windows_pooled_by_their_scores_are_attention_over_all_tokens(head):
    states = torch.randn(3, 6, 8)
    mask = torch.tensor([[1] * 6, [1] * 6, [1] * 3 + [0] * 3])
    found = pooled(head(states, mask), torch.tensor([0, 0, 0]), 5, "attention")
    assert torch.allclose(found[0], by_hand(head, torch.cat([states[0], states[1], states[2, :3]])), atol=1e-5)


def test_labels_in_blocks_give_the_same_logits_and_gradients(head, monkeypatch):
    states, mask = torch.randn(3, 6, 8, requires_grad=True), torch.ones(3, 6)

    def run():
        outputs = head(states, mask)
        grads = torch.autograd.grad(outputs.square().sum(), [states, *head.parameters()])
        return [outputs, *grads]

    whole = run()
    monkeypatch.setattr(heads, "LABELS_AT_ONCE", 2)
    for one, other in zip(whole, run(), strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method, at_once", [("full", 1), ("lora", 2)])
def test_recomputed_windows_have_the_gradient_of_all_at_once(tiny_model, method, at_once):
    model, tokenizer = made(tiny_model, LongNotes("windows", "attention"), head="label_attention", method=method)
    batch, labels = batch_of(tokenizer, model)
    model.train()
    whole = gradients(model, batch_logits(model, batch, 3, LongNotes("windows", "attention")), labels)
    parts = gradients(model, batch_logits(model, batch, 3, LongNotes("windows", "attention", at_once)), labels)
    assert whole.keys() == parts.keys()
    for name, grad in whole.items():
        assert torch.allclose(parts[name], grad, rtol=1e-5, atol=1e-6), name


@pytest.mark.parametrize("mode", ["head", "windows"])
@pytest.mark.parametrize("family", FAMILIES)
def test_saved_and_loaded_it_gives_the_training_logits(families, tmp_path, family, mode):  # noqa: F811
    long_notes = LongNotes(mode, "attention")
    model, tokenizer = made(families[family], long_notes, head="label_attention", method="lora")
    assert head_modules(model.get_base_model()) == ["classifier"]
    trained = {name for name, weights in model.named_parameters() if weights.requires_grad}
    assert all("lora_" in name or "classifier.modules_to_save" in name for name in trained)
    assert sum("classifier" in name for name in trained) == 4
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if name in trained:
                weights.add_(0.05 * torch.randn_like(weights))
    batch, _ = batch_of(tokenizer, model)
    expected = batch_logits(model.eval(), batch, 3, long_notes).detach().numpy() if mode == "windows" else None
    before = note_logits(model, tokenizer, LONG, None, max_tokens=16, batch_size=2, long_notes=long_notes)
    save_model(merged_model(model), tokenizer, tmp_path / "saved", 16)
    names = load_file(tmp_path / "saved/model.safetensors").keys()
    assert not [name for name in names if "pooler" in name or "lora" in name or "modules_to_save" in name]
    transformers.set_seed(99)
    loaded = load_classifier(tmp_path / "saved", HEAD | {"long_notes": mode, "pooling": "attention"}).eval()
    found = note_logits(loaded, tokenizer, LONG, None, max_tokens=16, batch_size=64, long_notes=long_notes)
    assert np.abs(found - before).max() < 1e-5
    assert expected is None or np.abs(found - expected).max() < 1e-5


def test_it_starts_at_the_class_shares(tiny_model):
    model, _ = made(tiny_model, LongNotes(), head="label_attention")
    start_at_prior(model, [0.5, 0.02, 0.2])
    bias = model.classifier.value.bias.tolist()
    assert bias == pytest.approx([0, math.log(0.02 / 0.98), math.log(0.2 / 0.8)], abs=1e-4)


# ---- the stage


def several_rows(count: int, seed: int):
    """Notes of one or two labels, each label's words in a place of its own behind 20 tokens of none."""
    rng = np.random.default_rng(seed)
    filler = "patient reports history of the denies no with and exam".split()
    for note in rows(count, seed=seed, multi_label=True):
        parts = [" ".join(rng.choice(filler, 20))]
        for label in note["labels"]:
            parts += [" ".join(rng.choice(WORDS[label], 2)), " ".join(rng.choice(filler, 12))]
        yield note | {"text": " ".join(parts)}


def write_several(folder, model, notes):
    write_training(folder, model)
    meta = metadata(task="multi_label")
    prior = {"train_prior": None, "balanced_prior": None}
    write_table(folder / "data/balanced.parquet", several_rows(notes, 1), meta | prior, weighted=True)
    write_table(folder / "data/split/validation.parquet", several_rows(36, 2), meta)
    for name in ("calibration", "test"):
        write_table(folder / f"data/split/{name}.parquet", several_rows(3, 5), meta)


@pytest.mark.parametrize("mode", ["windows", "head"])
def test_labels_are_learned_from_anywhere_in_the_note(stage, folder, tiny_model, mode):
    write_several(folder, tiny_model, notes=120)
    changes = SMALL | HEAD | {
        "method": "full", "learning_rate": 3e-3, "epochs": 12, "best_metric": "loss", "early_stopping_patience": 0,
        "long_notes": mode, "pooling": "attention",
    }  # fmt: skip
    assert stage("finetune", changes) == (0, "")
    found = json.loads((folder / "metrics/finetune.json").read_text())["validation"]
    # Every label for every note gives 0.67.
    assert found["micro_f1"] > 0.95 if mode == "windows" else found["micro_f1"] < 0.75


@pytest.mark.parametrize("method, mode", [("lora", "windows"), ("full", "head")])
def test_the_same_bytes_twice_and_predict_scores_as_finetune(stage, folder, tiny_model, method, mode):
    write_several(folder, tiny_model, notes=24)
    changes = SMALL | HEAD | {
        "method": method, "long_notes": mode, "pooling": "attention", "body_dropout": 0.1, "windows_at_once": 4, "gradient_checkpointing": mode == "head",
    }  # fmt: skip
    hashes = []
    for _ in range(2):
        assert stage("finetune", changes) == (0, "")
        hashes.append([sha256(folder / path) for path in ("models/finetuned", "metrics/finetune.json")])
    assert hashes[0] == hashes[1]
    card = json.loads((folder / "models/finetuned/diagnosis.json").read_text())
    assert (card["head"], card["long_notes"], card["pooling"]) == ("label_attention", mode, "attention")
    assert stage("predict", {"threads": 1, "batch_size": 7}) == (0, "")
    said = json.loads((folder / "metrics/finetune.json").read_text())["validation"]
    loss = []
    for row in pq.read_table(folder / "data/predictions.parquet").to_pylist():
        if row["shard"] == "validation":
            truth = [name in row["labels"] for name in CLASSES]
            loss += [-math.log(p if there else 1 - p) for p, there in zip(row["probabilities"], truth, strict=True)]
    assert said["loss"] == pytest.approx(sum(loss) / len(loss), abs=1e-5)


def test_single_label_too(stage, folder, tiny_model):
    write_training(folder, tiny_model, notes=96)
    changes = SMALL | HEAD | {"method": "full", "learning_rate": 2e-3, "epochs": 10, "best_metric": "loss"}
    assert stage("finetune", changes | {"max_tokens": 32}) == (0, "")
    assert json.loads((folder / "metrics/finetune.json").read_text())["validation"]["accuracy"] > 0.9


def test_a_model_that_is_not_whole_is_refused(stage, folder, tiny_model):
    write_several(folder, tiny_model, notes=24)
    assert stage("finetune", SMALL | HEAD | {"epochs": 1}) == (0, "")
    card = folder / "models/finetuned/diagnosis.json"
    card.write_text(json.dumps(json.loads(card.read_text()) | {"head": "standard", "long_notes": "windows", "pooling": "attention"}))  # fmt: skip
    code, line = stage("predict", {"threads": 1})
    assert code == 1 and "models/finetuned could not be loaded" in line
