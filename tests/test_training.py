"""diagnosis/training: losses by hand and by torch, tokens by the tokenizer's own call, adapters, checkpoints, training."""

import math
import shutil
import types

import numpy as np
import pytest
import torch
import transformers
from conftest import default_params, merged
from toy import CLASSES, metadata, other_family, rows, write_table, write_training
from transformers import AutoTokenizer

from diagnosis.errors import UserError
from diagnosis.training.checkpoints import last_checkpoint, training_key
from diagnosis.training.dataset import Collator, read_dataset, truncation
from diagnosis.training.device import check_precision, out_of_memory_explained, prepare_device
from diagnosis.training.inference import corrected, note_logits, to_probabilities
from diagnosis.training.losses import batch_loss, note_losses
from diagnosis.training.methods import adapt_model
from diagnosis.training.methods import merged as merged_model
from diagnosis.training.model import head_modules, load_base, longest_input, start_at_prior
from diagnosis.training.tokens import pad, tokenise
from diagnosis.training.trainer import make_trainer, summary, train_or_resume
from diagnosis.training.validation import scores

FAMILIES = ["bert", "roberta", "distilbert", "modernbert"]


@pytest.fixture(scope="module")
def families(tiny_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("families")
    return {"bert": tiny_model} | {name: other_family(name, tiny_model, folder / name) for name in FAMILIES[1:]}


def made(folder, dropout=0.0, task="single_label"):
    transformers.set_seed(7)
    return load_base(folder, CLASSES, task, dropout)


# ---- losses


def test_weighted_cross_entropy_by_hand():
    logits = torch.tensor([[0.0, 0.0], [math.log(3), 0.0]])
    losses = note_losses(logits, torch.tensor([0, 1]))
    assert losses.tolist() == pytest.approx([math.log(2), math.log(4)])
    weighted = batch_loss(losses, torch.tensor([2.0, 0.5]), items=2)
    assert weighted.item() == pytest.approx((2 * math.log(2) + 0.5 * math.log(4)) / 2)


def test_focal_by_hand_and_at_gamma_zero():
    logits, labels = torch.tensor([[0.0, 0.0], [math.log(3), 0.0]]), torch.tensor([0, 1])
    assert note_losses(logits, labels, gamma=2.0).tolist() == pytest.approx([0.25 * math.log(2), 0.75**2 * math.log(4)])
    assert torch.equal(note_losses(logits, labels, gamma=0.0), note_losses(logits, labels))
    several = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    assert torch.equal(note_losses(logits, several, gamma=0.0), note_losses(logits, several))


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_focal_has_a_finite_gradient_where_the_answer_is_certain(gamma):
    logits = torch.tensor([[200.0, 0.0]], requires_grad=True)
    note_losses(logits, torch.tensor([0]), gamma).sum().backward()
    assert torch.isfinite(logits.grad).all()


def test_multi_label_loss_is_torchs_mean_over_notes_and_classes():
    torch.manual_seed(0)
    logits, labels = torch.randn(5, 4), torch.randint(0, 2, (5, 4)).float()
    ours = batch_loss(note_losses(logits, labels), torch.ones(5), items=20)
    assert ours.item() == pytest.approx(torch.nn.functional.binary_cross_entropy_with_logits(logits, labels).item())


def test_scores_by_hand():
    logits = np.array([[2, 0, 0], [0, 2, 0], [0, 2, 0], [0, 2, 0]], dtype=np.float32)
    result = scores(logits, np.array([0, 1, 1, 0]))
    assert result["accuracy"] == result["micro_f1"] == 0.75
    assert result["macro_f1"] == pytest.approx((2 / 3 + 0.8) / 2)
    right, wrong = -2 + math.log(math.e**2 + 2), math.log(math.e**2 + 2)
    assert result["loss"] == pytest.approx((3 * right + wrong) / 4)


def test_multi_label_scores_by_hand():
    logits = np.array([[2, -2], [2, -2]], dtype=np.float32)
    result = scores(logits, np.array([[1, 0], [1, 1]], dtype=np.float32))
    assert result["accuracy"] == 0.5
    assert result["micro_f1"] == pytest.approx(4 / 5)
    assert result["macro_f1"] == pytest.approx(0.5)


# ---- tokens


@pytest.mark.parametrize("pair", [False, True])
def test_tokens_are_those_of_the_tokenizers_own_call(tiny_model, pair):
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    notes = list(rows(12, pair=True)) + [{"text": "fever " * 40, "text_pair": "cough, 120/80 " * 9}, {"text": "", "text_pair": ""}]  # fmt: skip
    texts, pairs = [n["text"] for n in notes], [n["text_pair"] for n in notes] if pair else None
    ids, kinds, lengths = tokenise(tokenizer, texts, pairs, 32)
    theirs = tokenizer(texts, pairs, truncation=True, max_length=32)
    assert [row.tolist() for row in ids] == theirs["input_ids"]
    assert lengths.tolist() == [len(row) for row in tokenizer(texts, pairs)["input_ids"]]
    if pair:
        assert [row.tolist() for row in kinds] == theirs["token_type_ids"]


def test_padding_to_the_longest_or_a_multiple():
    ids = [np.array([5, 6, 7], dtype=np.int32), np.array([8], dtype=np.int32)]
    batch = pad(ids, None, pad_id=0)
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 0, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert pad(ids, None, 0, multiple=8)["input_ids"].shape == (2, 8)


@pytest.mark.parametrize("family", FAMILIES)
def test_padding_and_batch_size_do_not_change_logits(families, family):
    model, tokenizer = made(families[family])
    texts = [note["text"] for note in rows(9)] + ["fever " * 60]
    alone = note_logits(model.eval(), tokenizer, texts, None, max_tokens=64, batch_size=1)
    together = note_logits(model, tokenizer, texts, None, max_tokens=64, batch_size=10)
    assert np.abs(alone - together).max() < 1e-5


# ---- the model


@pytest.mark.parametrize("family", FAMILIES)
def test_lora_merged_equals_unmerged_and_trains_head_and_pooler(families, family):
    model, tokenizer = made(families[family])
    heads = head_modules(model)
    assert ("bert.pooler" in heads) == (family == "bert")
    model = adapt_model(model, "lora", {"lora": {"r": 4, "lora_alpha": 8}}, torch.device("cpu"))
    trained = {name for name, weights in model.named_parameters() if weights.requires_grad}
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if name in trained:
                weights.add_(0.05 * torch.randn_like(weights))
    for head in heads:
        assert any(f"{head}.modules_to_save" in name for name in trained)
    assert not any("modules_to_save" not in name and "lora_" not in name for name in trained)
    batch = pad(tokenise(tokenizer, ["fever cough", "chest pain of the mother"], None, 32)[0], None, 0)
    model.eval()
    before = model(**batch).logits
    plain = merged_model(model)
    assert type(plain).__name__.endswith("ForSequenceClassification")
    assert (plain(**batch).logits - before).abs().max() < 1e-5
    assert not [name for name, _ in plain.named_parameters() if "lora" in name or "modules_to_save" in name]


@pytest.mark.parametrize("family", FAMILIES)
def test_longest_input_is_what_the_model_can_take(families, family):
    model, _ = made(families[family])
    longest = longest_input(model)
    assert longest == (126 if family == "roberta" else 128)
    assert model.eval()(input_ids=torch.full((1, longest), 7)).logits.shape == (1, 3)


def test_body_dropout_replaces_every_rate_but_the_heads(tiny_model):
    model, _ = made(tiny_model, dropout=0.25)
    assert model.config.hidden_dropout_prob == model.config.attention_probs_dropout_prob == 0.25
    assert model.dropout.p == 0.1
    assert made(tiny_model, dropout=None)[0].config.hidden_dropout_prob == 0.1


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_base_model_that_lacks_a_file(tiny_model, tmp_path, file):
    folder = shutil.copytree(tiny_model, tmp_path / "base")
    (folder / file).unlink()
    (folder / "vocab.txt").unlink()
    with pytest.raises(UserError, match="fetch the model again"):
        made(folder)


def test_a_base_model_with_torn_weights(tiny_model, tmp_path):
    folder = shutil.copytree(tiny_model, tmp_path / "base")
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:1000])
    with pytest.raises(UserError, match="could not be loaded"):
        made(folder)


# ---- inference


def test_correction_gives_back_the_posterior_of_the_old_prior():
    """Bayes' rule by hand: likelihoods 0.8 and 0.2, trained at even shares, true shares 0.1 and 0.9."""
    even = np.log(np.array([[0.8, 0.2]], dtype=np.float32))
    right = to_probabilities(corrected(even, [0.1, 0.9], [0.5, 0.5]), "single_label")
    assert right[0].tolist() == pytest.approx([0.08 / 0.26, 0.18 / 0.26], abs=1e-6)
    assert corrected(even, None, None) is even


def test_probabilities():
    logits = np.array([[0.0, math.log(3)]], dtype=np.float32)
    assert to_probabilities(logits, "single_label")[0].tolist() == pytest.approx([0.25, 0.75])
    assert to_probabilities(logits, "multi_label")[0].tolist() == pytest.approx([0.5, 0.75])
    assert to_probabilities(logits, "multi_label").dtype == np.float32


# ---- device


def test_fp16_is_refused_without_a_gpu():
    with pytest.raises(UserError, match="needs a GPU"):
        check_precision("fp16", torch.device("cpu"))


def test_out_of_memory_names_the_params():
    with (
        pytest.raises(UserError, match="lower finetune.batch_size or finetune.max_tokens"),
        out_of_memory_explained("finetune.batch_size", "finetune.max_tokens"),
    ):
        torch.empty(10**15)
    with pytest.raises(RuntimeError), out_of_memory_explained("x"):
        torch.ones(2) @ torch.ones(3)


# ---- training


def trained(folder, tiny_model, checkpoints="c", notes=48, **changes):
    """Train in `folder` by the functions that the stage calls; returns (trainer, epochs run)."""
    if not (folder / "data").exists():
        write_training(folder, tiny_model, notes=notes)
    small = {"threads": 1, "epochs": 2, "max_tokens": 32, "batch_size": 8, "method": "full", "learning_rate": 1e-3}
    params = types.SimpleNamespace(**merged(default_params()["finetune"], small | changes))
    device = prepare_device(1)
    model, tokenizer = made(folder / "models/adapted", dropout=params.body_dropout)
    meta = metadata()
    read = {"max_tokens": params.max_tokens}
    trainer = make_trainer(
        model,
        params,
        folder=folder / checkpoints,
        device=device,
        train=read_dataset(folder / "data/balanced.parquet", tokenizer, meta, weighted=True, **read),
        validation=read_dataset(folder / "data/split/validation.parquet", tokenizer, meta, weighted=False, **read),
        collator=Collator(pad_id=0, classes=3, multi_label=False, types=False),
    )
    return trainer, train_or_resume(trainer, params.early_stopping_patience)


def difference(a, b) -> float:
    return max((x - y).abs().max().item() for x, y in zip(a.model.parameters(), b.model.parameters(), strict=True))


def test_accumulating_two_batches_of_four_is_one_of_eight(tmp_path, tiny_model):
    whole, _ = trained(tmp_path, tiny_model, "whole", batch_size=8, notes=44)
    halves, _ = trained(tmp_path, tiny_model, "halves", batch_size=4, accumulation_steps=2)
    assert whole.state.global_step == halves.state.global_step == 12
    assert difference(whole, halves) < 1e-5


def test_activation_checkpointing_changes_no_weight(tmp_path, tiny_model):
    plain, _ = trained(tmp_path, tiny_model, "plain", epochs=1)
    saving, _ = trained(tmp_path, tiny_model, "saving", epochs=1, gradient_checkpointing=True)
    assert difference(plain, saving) < 1e-6


def test_weights_move_the_loss_and_a_zero_weight_hides_a_note(tmp_path, tiny_model):
    """Notes with wrong labels and weight 0 leave the training as it is without their labels' influence."""
    write_training(tmp_path / "a", tiny_model)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    clean = list(rows(48, seed=1))
    prior = {"train_prior": None, "balanced_prior": None}
    for name, label in (("a", "lung"), ("b", "neuro")):
        hidden = [note | {"labels": [label], "weight": 0.0} for note in rows(24, seed=9)]
        write_table(tmp_path / name / "data/balanced.parquet", clean + hidden, metadata(**prior), weighted=True)
    assert difference(trained(tmp_path / "a", tiny_model, epochs=1)[0], trained(tmp_path / "b", tiny_model, epochs=1)[0]) == 0  # fmt: skip


def test_early_stopping_keeps_the_best_epoch_also_when_killed_at_the_end(tmp_path, tiny_model):
    options = {"epochs": 12, "early_stopping_patience": 2, "learning_rate": 1e-2, "best_metric": "accuracy"}
    trainer, epochs = trained(tmp_path, tiny_model, **options)
    result = summary(trainer.state)
    assert epochs == result["epochs_run"] == result["best_epoch"] + 2 < 12
    assert result["validation"]["accuracy"] == max(
        round(entry["eval_accuracy"], 6) for entry in trainer.state.log_history if "eval_accuracy" in entry
    )
    folders = sorted(path.name for path in (tmp_path / "c").glob("checkpoint-*"))
    assert folders == sorted({f"checkpoint-{6 * result['best_epoch']}", f"checkpoint-{6 * epochs}"})
    again, more = trained(tmp_path, tiny_model, **options)
    assert more == 0
    assert difference(trainer, again) == 0
    assert summary(again.state) == result


def test_a_loss_that_is_no_number_stops_with_a_line(tmp_path, tiny_model):
    with pytest.raises(UserError, match="no longer a number at step .*lower finetune.learning_rate"):
        trained(tmp_path, tiny_model, learning_rate=1e30)


def test_bf16_trains_on_a_cpu_and_keeps_full_weights(tmp_path, tiny_model):
    plain, _ = trained(tmp_path, tiny_model, "plain", epochs=1)
    half, _ = trained(tmp_path, tiny_model, "half", epochs=1, precision="bf16")
    assert {weights.dtype for weights in half.model.parameters()} == {torch.float32}
    assert 0 < difference(plain, half) < 0.05
    assert abs(summary(plain.state)["train"]["loss"] - summary(half.state)["train"]["loss"]) < 0.02


def test_a_gpu_without_bf16_is_refused(monkeypatch):
    """PyTorch says by default that such a GPU has it, because it emulates it, slowly."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    with pytest.raises(UserError, match="bf16, which this GPU does not have"):
        check_precision("bf16", torch.device("cuda"))
    check_precision("fp16", torch.device("cuda"))
    with pytest.raises(UserError, match="fp16, which needs a GPU"):
        check_precision("fp16", torch.device("cpu"))


def test_with_several_labels_the_head_starts_at_the_class_shares(tiny_model):
    model, _ = load_base(tiny_model, CLASSES, "multi_label", 0.0)
    start_at_prior(model, [0.5, 0.02, 1.0])
    assert model.classifier.bias[0].item() == 0
    assert model.classifier.bias[1].item() == pytest.approx(math.log(0.02 / 0.98), abs=1e-4)
    assert 10 < model.classifier.bias[2].item() < 20  # a class of every note


# ---- checkpoints


def test_a_torn_checkpoint_is_removed_and_the_whole_one_used(tmp_path):
    for step, whole in ((5, True), (10, True), (15, False)):
        (tmp_path / f"checkpoint-{step}").mkdir()
        if whole:
            (tmp_path / f"checkpoint-{step}/complete").touch()
    assert last_checkpoint(tmp_path).name == "checkpoint-10"
    assert not (tmp_path / "checkpoint-15").exists()
    assert last_checkpoint(tmp_path / "none") is None


def test_the_key_depends_on_every_input_and_setting(tmp_path):
    file = tmp_path / "a"
    file.write_text("1")
    first = training_key([file], {"seed": 1})
    assert first == training_key([file], {"seed": 1}) != training_key([file], {"seed": 2})
    file.write_text("2")
    assert training_key([file], {"seed": 1}) != first


# ---- what is counted


def test_truncation_by_hand(tmp_path, tiny_model):
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    notes = [note | {"text": "fever " * length} for note, length in zip(rows(6), (6, 8, 6, 6, 18, 6), strict=True)]
    write_table(tmp_path / "notes.parquet", notes, metadata(), weighted=True)
    data = read_dataset(tmp_path / "notes.parquet", tokenizer, metadata(), max_tokens=8, weighted=True)
    assert [len(ids) for ids in data["input_ids"]] == [8] * 6
    found = truncation(data, CLASSES, min_count=2)
    assert found == {
        "notes": 2,
        "share": round(2 / 6, 6),
        "tokens_beyond_share": round(14 / 62, 6),
        "by_class": {"cardiac": 0.0, "lung": round(14 / 30, 6), "neuro": 0.0},
    }
    assert truncation(data, CLASSES, min_count=3)["by_class"] == {}
