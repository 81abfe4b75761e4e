"""The stage predict: the probabilities of a plain forward pass, in the order of the notes, whatever the batch size."""

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from conftest import default_params, merged
from toy import CLASSES, metadata, rows, write_shards, write_table
from transformers import AutoModelForSequenceClassification, AutoTokenizer, set_seed

from diagnosis.scores.predictions import read_predictions
from diagnosis.training.inference import CARD
from diagnosis.training.model import load_base, save_model

SMALL = {"threads": 1, "batch_size": 4}
PREDICTIONS = "data/predictions.parquet"


def write_model(folder, base, *, priors=(None, None), **meta):
    """models/finetuned as finetune leaves it, with an untrained head made large enough to tell notes apart."""
    meta = metadata(**meta)
    set_seed(3)
    model, tokenizer = load_base(base, meta["classes"], meta["task"], 0.0)
    model.classifier.weight.data = torch.randn(model.classifier.weight.shape)
    for layer in model.bert.encoder.layer:  # attention sharp enough that each note looks different
        for part in (layer.attention.self.value, layer.attention.output.dense, layer.intermediate.dense):
            part.weight.data *= 20
    (folder / "models").mkdir(exist_ok=True)
    save_model(model, tokenizer, folder / "models/finetuned", max_tokens=32)
    card = {key: meta[key] for key in ("classes", "task", "text_pair", "data_use", "corpus")}
    card |= {"max_tokens": 32, "train_prior": priors[0], "balanced_prior": priors[1]}
    (folder / "models/finetuned" / CARD).write_text(json.dumps(card))


def plain_logits(folder, shard, pair=False):
    """Note by note, by transformers alone."""
    model = AutoModelForSequenceClassification.from_pretrained(folder / "models/finetuned").eval()
    tokenizer = AutoTokenizer.from_pretrained(folder / "models/finetuned")
    logits = []
    for note in pq.read_table(folder / f"data/split/{shard}.parquet").to_pylist():
        second = note["text_pair"] if pair else None
        inputs = tokenizer(note["text"], second, truncation=True, max_length=32, return_tensors="pt")
        with torch.no_grad():
            logits.append(model(**inputs).logits[0])
    return torch.stack(logits)


def test_predictions_are_those_of_a_plain_forward_pass(stage, folder, tiny_model):
    write_shards(folder)
    write_model(folder, tiny_model)
    assert stage("predict", SMALL) == (0, "")
    table, meta = read_predictions(folder / PREDICTIONS)
    assert meta == {"classes": CLASSES, "task": "single_label", "data_use": metadata()["data_use"]}
    assert set(table["model"]) == {"model"}
    assert list(table["shard"].unique()) == ["validation", "calibration", "test"]
    for shard, part in table.groupby("shard"):
        notes = pq.read_table(folder / f"data/split/{shard}.parquet").to_pylist()
        assert list(part["note_id"]) == [note["note_id"] for note in notes]
        assert [list(labels) for labels in part["labels"]] == [note["labels"] for note in notes]
        logits = plain_logits(folder, shard)
        assert np.abs(np.stack(part["logits"]) - logits.numpy()).max() < 1e-5
        assert np.abs(np.stack(part["probabilities"]) - logits.softmax(dim=1).numpy()).max() < 1e-5
    assert np.stack(table["probabilities"]).std(axis=0).min() > 1e-3


@pytest.mark.parametrize("task, pair", [("multi_label", False), ("single_label", True)])
def test_multi_label_and_text_pair(stage, folder, tiny_model, task, pair):
    write_shards(folder, multi_label=task == "multi_label", pair=pair)
    write_model(folder, tiny_model, task=task, text_pair=pair)
    assert stage("predict", SMALL) == (0, "")
    table, _ = read_predictions(folder / PREDICTIONS)
    logits = plain_logits(folder, "test", pair)
    expected = logits.sigmoid() if task == "multi_label" else logits.softmax(dim=1)
    found = np.stack(table[table["shard"] == "test"]["probabilities"])
    assert np.abs(found - expected.numpy()).max() < 1e-5


def test_batch_size_does_not_matter(stage, folder, tiny_model):
    write_shards(folder)
    write_model(folder, tiny_model)
    found = []
    for batch_size in (1, 3, 64):
        assert stage("predict", SMALL | {"batch_size": batch_size}) == (0, "")
        found.append(np.stack(read_predictions(folder / PREDICTIONS)[0]["probabilities"]))
    assert np.abs(found[0] - found[1]).max() < 1e-5 and np.abs(found[0] - found[2]).max() < 1e-5


def test_the_moved_prior_is_corrected(stage, folder, tiny_model):
    write_shards(folder)
    train, balanced = [0.7, 0.2, 0.1], [0.4, 0.3, 0.3]
    write_model(folder, tiny_model, priors=(train, balanced))
    assert stage("predict", SMALL) == (0, "")
    table, _ = read_predictions(folder / PREDICTIONS)
    plain = plain_logits(folder, "test").softmax(dim=1).numpy() * np.array(train) / np.array(balanced)
    found = np.stack(table[table["shard"] == "test"]["probabilities"])
    assert np.abs(found - plain / plain.sum(axis=1, keepdims=True)).max() < 1e-5


def test_withheld_test_is_not_read_and_an_empty_calibration_shard_is_no_error(stage, folder, tiny_model):
    write_shards(folder)
    (folder / "data/split/test.parquet").unlink()
    (folder / "data/split/calibration.parquet").unlink()
    write_table(folder / "data/split/calibration.parquet", [], metadata())
    write_model(folder, tiny_model)
    assert stage("predict", SMALL | {"withhold_test": True}) == (0, "")
    assert set(read_predictions(folder / PREDICTIONS)[0]["shard"]) == {"validation"}


def test_the_same_bytes_twice_and_labels_outside_the_classes_pass(stage, folder, tiny_model):
    """An official test set may hold classes that training has not seen; their notes are still predicted."""
    write_shards(folder)
    (folder / "data/split/test.parquet").unlink()
    write_table(folder / "data/split/test.parquet", [n | {"labels": ["liver"]} for n in rows(7)], metadata())
    write_model(folder, tiny_model)
    assert stage("predict", SMALL) == (0, "")
    first = (folder / PREDICTIONS).read_bytes()
    assert stage("predict", SMALL) == (0, "")
    assert (folder / PREDICTIONS).read_bytes() == first
    table, _ = read_predictions(folder / PREDICTIONS)
    assert [list(labels) for labels in table[table["shard"] == "test"]["labels"]] == [["liver"]] * 7


def spoil_classes(folder):
    (folder / "data/split/test.parquet").unlink()
    write_table(folder / "data/split/test.parquet", rows(3), metadata(classes=["a", "b"]))


def empty_all(folder):
    for name in ("validation", "calibration", "test"):
        (folder / f"data/split/{name}.parquet").unlink()
        write_table(folder / f"data/split/{name}.parquet", [], metadata())


BAD = {
    "no model": (lambda f: shutil.rmtree(f / "models"), {}, "models/finetuned does not exist: run `dvc repro finetune`"),
    "no card": (lambda f: (f / "models/finetuned" / CARD).unlink(), {}, f"models/finetuned/{CARD} does not exist"),
    "no weights": (lambda f: (f / "models/finetuned/model.safetensors").unlink(), {}, "the model is not whole"),
    "torn weights": (
        lambda f: (f / "models/finetuned/model.safetensors").write_bytes(b"torn"), {}, "could not be loaded"
    ),
    "no shard": (lambda f: (f / "data/split/test.parquet").unlink(), {}, "data/split/test.parquet does not exist"),
    "torn shard": (lambda f: (f / "data/split/test.parquet").write_bytes(b"PAR1"), {}, "not a readable Parquet file"),
    "other classes": (spoil_classes, {}, "data/split/test.parquet states other classes"),
    "no note at all": (empty_all, {}, "no shard to predict holds a note"),
    "bound": (lambda f: None, {"batch_size": 0}, "predict.batch_size is 0"),
    "unknown param": (lambda f: None, {"batch": 3}, "predict.batch is no known param"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_leaves_nothing(stage, folder, tiny_model, case):
    spoil, changes, message = BAD[case]
    write_shards(folder)
    write_model(folder, tiny_model)
    spoil(folder)
    code, line = stage("predict", merged(default_params()["predict"], SMALL | changes))
    assert code == 1 and message in line and "\n" not in line
    assert not (folder / PREDICTIONS).exists() and not list(folder.rglob("*.partial"))
