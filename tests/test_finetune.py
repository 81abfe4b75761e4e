"""The stage finetune: it learns, gives the same bytes twice and after a kill, and names what a user got wrong."""

import csv
import json
import math
import os
import signal
import subprocess
import sys
import time

import pyarrow.parquet as pq
import pytest
import torch
from conftest import ROOT, default_params, merged, write_params
from safetensors.torch import load_file
from toy import CLASSES, metadata, other_family, rows, write_table, write_training
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from diagnosis.files import sha256

SMALL = {"threads": 1, "epochs": 2, "max_tokens": 32, "batch_size": 8, "precision": "fp32"}
SMALL |= {"method_options": {"lora": {"r": 4}}}
DROPOUT = {"body_dropout": 0.1, "method_options": {"lora": {"r": 4, "lora_dropout": 0.1}}}
LEARN = SMALL | {
    "method": "full",
    "epochs": 40,
    "learning_rate": 1e-3,
    "warmup_share": 0.4,
    "early_stopping_patience": 0,
    "best_metric": "loss",
}
OUTPUTS = ("models/finetuned", "metrics/finetune.json", "plots/finetune.csv")


def hashes(folder) -> list[str]:
    return [sha256(folder / path) for path in OUTPUTS]


def left(folder) -> list[str]:
    """Outputs, and files half-written."""
    return [path for path in OUTPUTS if (folder / path).exists()] + [str(p) for p in folder.rglob("*.partial")]


def test_it_learns_and_leaves_a_plain_folder(stage, folder, tiny_model):
    write_training(folder, tiny_model, notes=96)
    assert stage("finetune", LEARN) == (0, "")
    metrics = json.loads((folder / "metrics/finetune.json").read_text())
    assert metrics["validation"]["accuracy"] > 0.9
    assert set(metrics["validation"]) == {"accuracy", "loss", "macro_f1", "micro_f1", "weighted_f1"}
    assert 1 <= metrics["best_epoch"] <= metrics["epochs_run"] <= 40
    assert metrics["parameters"] == metrics["trainable_parameters"]
    assert metrics["truncated"]["notes"] >= 0

    with open(folder / "plots/finetune.csv") as stream:
        table = list(csv.DictReader(stream))
    train = [float(row["loss"]) for row in table if row["split"] == "train"]
    assert train[-1] < 0.5 < 0.9 < train[0]
    assert len([row for row in table if row["split"] == "validation"]) == metrics["epochs_run"]

    written = sorted(path.name for path in (folder / "models/finetuned").iterdir())
    assert written == ["config.json", "diagnosis.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    card = json.loads((folder / "models/finetuned/diagnosis.json").read_text())
    assert (card["classes"], card["task"], card["max_tokens"]) == (CLASSES, "single_label", 32)
    assert card["data_use"]["public"] is True and len(card["base_sha256"]) == 64
    for file in ("config.json", "tokenizer_config.json", "diagnosis.json"):
        text = (folder / "models/finetuned" / file).read_text()
        assert str(folder) not in text and "models/adapted" not in text
    config = json.loads((folder / "models/finetuned/config.json").read_text())
    assert config["id2label"] == {str(number): name for number, name in enumerate(CLASSES)}
    assert not (folder / ".checkpoints").exists() or not list((folder / ".checkpoints").iterdir())
    assert json.loads((folder / "logs/finetune.json").read_text())["tokens_per_second"] > 0

    model = AutoModelForSequenceClassification.from_pretrained(folder / "models/finetuned").eval()
    tokenizer = AutoTokenizer.from_pretrained(folder / "models/finetuned")
    assert tokenizer.model_max_length == 32
    logits = model(**tokenizer(["patient reports chest pain"], return_tensors="pt")).logits
    assert model.config.id2label[int(logits.argmax())] == "cardiac"


@pytest.mark.parametrize("method", ["full", "lora"])
def test_the_same_bytes_twice(stage, folder, tiny_model, method):
    write_training(folder, tiny_model)
    assert stage("finetune", SMALL | DROPOUT | {"method": method}) == (0, "")
    first = hashes(folder)
    assert stage("finetune", SMALL | DROPOUT | {"method": method}) == (0, "")
    assert hashes(folder) == first
    assert stage("finetune", SMALL | DROPOUT | {"method": method, "seed": 8}) == (0, "")
    assert hashes(folder)[0] != first[0]


@pytest.mark.parametrize("method", ["full", "lora"])
def test_killed_after_a_checkpoint_and_resumed_gives_the_same_bytes(
    stage, folder, tiny_model, tmp_path_factory, method
):
    """SIGKILL in another process; dropout is on, so the random state must come back as well."""
    changes = SMALL | {"method": method, "epochs": 14, "body_dropout": 0.1, "early_stopping_patience": 0}
    killed = tmp_path_factory.mktemp("killed")
    write_training(killed, tiny_model)
    write_params(killed, {"finetune": merged(default_params()["finetune"], changes)})
    process = subprocess.Popen(
        [sys.executable, "-m", "stages.finetune"], cwd=killed, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while process.poll() is None and not list(killed.glob(".checkpoints/*/checkpoint-*/complete")):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the training ended before it was killed"
    assert not left(killed)

    write_training(folder, tiny_model)
    assert stage("finetune", changes) == (0, "")
    os.chdir(killed)
    assert stage("finetune", changes) == (0, "")
    assert json.loads((killed / "logs/finetune.json").read_text())["epochs"] < 14
    assert hashes(killed) == hashes(folder)
    os.chdir(folder)


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "modernbert"])
def test_lora_on_every_family_reloads_with_a_trained_head(stage, folder, tiny_model, tmp_path_factory, family):
    base = tiny_model if family == "bert" else other_family(family, tiny_model, tmp_path_factory.mktemp("x") / family)
    write_training(folder, base)
    assert stage("finetune", SMALL | {"method": "lora", "epochs": 1}) == (0, "")
    before = load_file(folder / "models/adapted/model.safetensors")
    after = load_file(folder / "models/finetuned/model.safetensors")
    assert not [name for name in after if "lora" in name or "modules_to_save" in name]
    prefix = {"bert": "bert.", "roberta": "roberta.", "distilbert": "distilbert.", "modernbert": "model."}[family]
    for name, weights in before.items():
        moved = after.get(prefix + name)
        if moved is not None and ("pooler" in name or (".layer" in name and weights.dim() == 2)):
            assert not torch.equal(weights, moved), f"{name} was not trained"
        if moved is not None and "embeddings" in name:
            assert torch.equal(weights, moved), f"{name} was trained"
    metrics = json.loads((folder / "metrics/finetune.json").read_text())
    assert metrics["trainable_parameters"] < metrics["parameters"]
    model, report = AutoModelForSequenceClassification.from_pretrained(
        folder / "models/finetuned", output_loading_info=True
    )
    assert not report["missing_keys"] and not report["unexpected_keys"]


@pytest.mark.parametrize("loss", ["cross_entropy", "focal"])
def test_multi_label(stage, folder, tiny_model, loss):
    write_training(folder, tiny_model, notes=96, multi_label=True)
    changes = {"loss": loss, "learning_rate": 3e-3, "epochs": 20}
    assert stage("finetune", LEARN | changes) == (0, "")
    # Every label for every note would give 0.67.
    assert json.loads((folder / "metrics/finetune.json").read_text())["validation"]["micro_f1"] > 0.75
    assert (
        json.loads((folder / "models/finetuned/config.json").read_text())["problem_type"]
        == "multi_label_classification"
    )


def test_validation_is_scored_by_the_decisions_that_predict_makes(stage, folder, tiny_model):
    """With a moved class prior: the epoch is chosen by corrected logits, and predict's probabilities give its scores."""
    write_training(folder, tiny_model)
    moved = {"train_prior": [0.9, 0.05, 0.05], "balanced_prior": [1 / 3] * 3}
    write_table(folder / "data/balanced.parquet", rows(60, seed=1), metadata() | moved, weighted=True)
    for name in ("calibration", "test"):
        write_table(folder / f"data/split/{name}.parquet", rows(3, seed=5), metadata())
    assert stage("finetune", SMALL) == (0, "")
    assert stage("predict", {"threads": 1}) == (0, "")
    said = json.loads((folder / "metrics/finetune.json").read_text())["validation"]
    predicted = pq.read_table(folder / "data/predictions.parquet").to_pylist()
    validation = [row for row in predicted if row["shard"] == "validation"]
    right = [CLASSES[max(range(3), key=row["probabilities"].__getitem__)] == row["labels"][0] for row in validation]
    assert said["accuracy"] == pytest.approx(sum(right) / len(right), abs=1e-6)
    loss = -sum(math.log(row["probabilities"][CLASSES.index(row["labels"][0])]) for row in validation) / len(validation)
    assert said["loss"] == pytest.approx(loss, abs=1e-5)


def test_text_pair(stage, folder, tiny_model):
    """The answer is in the second text only."""
    write_training(folder, tiny_model, notes=96, pair=True)
    assert stage("finetune", LEARN) == (0, "")
    assert json.loads((folder / "metrics/finetune.json").read_text())["validation"]["accuracy"] > 0.9


def test_a_live_view_changes_no_output(stage, folder, tiny_model, monkeypatch):
    write_training(folder, tiny_model)
    assert stage("finetune", SMALL) == (0, "")
    first = hashes(folder)
    monkeypatch.setenv("DIAGNOSIS_REPORT_TO", "mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
    assert stage("finetune", SMALL) == (0, "")
    assert (folder / "mlflow.db").exists()
    assert hashes(folder) == first
    monkeypatch.setenv("DIAGNOSIS_REPORT_TO", "nowhere")
    code, line = stage("finetune", SMALL)
    assert code == 1 and "DIAGNOSIS_REPORT_TO" in line


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"epochs": 0}, "finetune.epochs is 0: input should be greater than or equal to 1"),
        ({"learning_rate": -1.0}, "finetune.learning_rate is -1.0"),
        ({"method": "lorax"}, "finetune.method names 'lorax', which is none of full, linear_probe"),
        ({"batchsize": 4}, "finetune.batchsize is no known param"),
        ({"method_options": {"lora": {"lora_dropout": 1.0}}}, "finetune.method_options.lora.lora_dropout is 1.0"),
        ({"optimizer": "sgd"}, "finetune.optimizer is 'sgd': input should be 'adamw', 'adamw_fused'"),
        ({"max_tokens": 200}, "finetune.max_tokens is 200, but models/adapted takes 128 at most"),
        ({"precision": "fp16"}, "needs a GPU"),
    ],
)
def test_params_out_of_bounds(stage, folder, tiny_model, changes, message):
    if "precision" in changes and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    write_training(folder, tiny_model)
    code, line = stage("finetune", SMALL | changes)
    assert code == 1 and message in line and "\n" not in line
    assert not left(folder)


def bad_table(folder, notes, *, weighted=True, path="data/balanced.parquet", **meta):
    (folder / path).unlink()
    write_table(folder / path, notes, metadata(train_prior=None, balanced_prior=None, **meta), weighted=weighted)


BAD = {
    "no table": (lambda f: (f / "data/balanced.parquet").unlink(), "data/balanced.parquet does not exist"),
    "no base": (lambda f: (f / "models/adapted").rename(f / "gone"), "models/adapted does not exist: run `dvc repro finetune`"),
    "no weights": (lambda f: (f / "models/adapted/model.safetensors").unlink(), "models/adapted has no weights"),
    "torn table": (lambda f: (f / "data/balanced.parquet").write_bytes(b"PAR1 torn"), "not a readable Parquet file"),
    "no note": (lambda f: bad_table(f, []), "data/balanced.parquet holds no note"),
    "no validation note": (
        lambda f: bad_table(f, [], path="data/split/validation.parquet", weighted=False),
        "data/split/validation.parquet holds no note",
    ),
    "no weight column": (lambda f: bad_table(f, rows(9), weighted=False), "lacks the column weight"),
    "weight missing": (lambda f: bad_table(f, [r | {"weight": None} for r in rows(9)]), "column weight has a value"),
    "weight negative": (lambda f: bad_table(f, [r | {"weight": -1.0} for r in rows(9)]), "column weight has a value"),
    "unknown label": (
        lambda f: bad_table(f, [*rows(9), *rows(2, seed=5, classes=["neuro"])], classes=["cardiac", "lung"]),
        "state different classes",
    ),
    "label outside the classes": (
        lambda f: bad_table(f, [*rows(9), next(rows(1)) | {"labels": ["liver"]}]),
        "1 of 10 notes have a label that is not among the 3 classes",
    ),
    "two labels in one": (
        lambda f: bad_table(f, [*rows(9), next(rows(1)) | {"labels": CLASSES[:2]}]),
        "1 notes do not have exactly one label",
    ),
    "one class of notes": (lambda f: bad_table(f, rows(9, classes=["lung"])), "all 9 notes are of one class"),
    "a class without notes": (
        lambda f: bad_table(f, rows(9, classes=CLASSES[:2])),
        "1 of 3 classes have no note",
    ),
    "one class stated": (lambda f: bad_table(f, rows(9), classes=["lung"]), "fewer than two classes"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_leaves_nothing(stage, folder, tiny_model, case):
    spoil, message = BAD[case]
    write_training(folder, tiny_model)
    spoil(folder)
    code, line = stage("finetune", SMALL)
    assert code == 1 and message in line and "\n" not in line
    assert "fever" not in line
    assert not left(folder)


def test_a_metadata_key_is_missing(stage, folder, tiny_model):
    write_training(folder, tiny_model)
    table = pq.read_table(folder / "data/balanced.parquet")
    pq.write_table(table.replace_schema_metadata(None), folder / "data/balanced.parquet")
    code, line = stage("finetune", SMALL)
    assert code == 1 and "does not state classes, task, text_pair, data_use" in line
