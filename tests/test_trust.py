"""What makes a training trustworthy: the same bytes after a kill at any moment, clear lines, the epoch chosen as evaluate scores."""

import json
import os
import subprocess
import sys
import types

import numpy as np
import pytest
import torch
import transformers
from conftest import ROOT, default_params, merged, write_params
from sklearn import metrics as sk
from test_finetune import OUTPUTS, SMALL, hashes
from toy import CLASSES, metadata, rows, write_table, write_training

from diagnosis.errors import UserError
from diagnosis.files import read_json
from diagnosis.notes import read_metadata
from diagnosis.training.dataset import Collator, read_dataset
from diagnosis.training.device import missing_kernel_explained, prepare_device
from diagnosis.training.model import load_base
from diagnosis.training.trainer import make_trainer, summary, train_or_resume
from diagnosis.training.validation import KNOWN, LOWER_IS_BETTER, scores

# ---- killed and resumed

THREE = SMALL | {"epochs": 3, "body_dropout": 0.1, "early_stopping_patience": 0, "learning_rate": 1e-3}
KILLED = {
    "in mid-epoch, batches accumulated, LoRA": ("in_mid_epoch", {"method": "lora", "accumulation_steps": 2, "batch_size": 4}),
    "in mid-epoch, fp32, full": ("in_mid_epoch", {"method": "full"}),
    "while a checkpoint is written, bf16, full": ("while_a_checkpoint_is_written", {"method": "full", "precision": "bf16"}),
    "while a checkpoint is written, focal, LoRA": ("while_a_checkpoint_is_written", {"method": "lora", "loss": "focal"}),
    "after the last epoch, focal, full": ("while_the_last_checkpoint_is_marked", {"method": "full", "loss": "focal"}),
    "before the model is saved, bf16, LoRA": ("before_the_model_is_saved", {"method": "lora", "precision": "bf16"}),
}  # fmt: skip


@pytest.fixture(scope="module")
def children(tmp_path_factory, tiny_model):
    """(folders, exit codes) by case, and the folder that ran out of memory."""
    root = tmp_path_factory.mktemp("killed")

    def lay_out(name, changes, **options):
        write_training(root / name, tiny_model, **options)
        write_params(root / name, {"finetune": merged(default_params()["finetune"], changes)})
        return str(root / name)

    folders = {}
    for number, (name, (moment, changes)) in enumerate(KILLED.items()):
        both = {side: lay_out(f"{side}{number}", THREE | changes) for side in ("whole", "killed")}
        folders[name] = both | {"moment": moment}
    absurd = lay_out("absurd", SMALL | {"method": "full", "max_tokens": 4096, "batch_size": 60})
    long_model(root / "absurd/models/adapted")
    write_table(
        root / "absurd/data/balanced.parquet",
        [row | {"text": "fever " * 4000} for row in rows(60)],
        metadata(train_prior=None, balanced_prior=None),
        weighted=True,
    )
    (root / "case.json").write_text(json.dumps({"killed": folders, "short_of_memory": [absurd]}))
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests/killed.py"), str(root / "case.json")],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return folders, json.loads(done.stdout.splitlines()[-1]), root / "absurd"


def long_model(folder):
    """The tiny model with positions for 4,096 tokens."""
    config = transformers.AutoConfig.from_pretrained(folder)
    config.max_position_embeddings = 4096
    transformers.BertModel(config).save_pretrained(folder)


@pytest.mark.parametrize("case", KILLED)
def test_killed_and_resumed_gives_the_bytes_of_an_uninterrupted_run(children, case, tmp_path):
    folders, codes, _ = children
    assert codes[case] == [0, -9, 0]
    whole, killed = (type(tmp_path)(folders[case][side]) for side in ("whole", "killed"))
    assert hashes(killed) == hashes(whole)
    assert not list((killed / ".checkpoints").iterdir())
    assert json.loads((killed / "logs/finetune.json").read_text())["epochs"] < 3


def test_out_of_memory_is_one_line_that_names_two_params(children):
    """A real one: the process may take 400 MB more than its imports did."""
    absurd = children[2]
    line = (absurd / "error.txt").read_text()
    assert line == "error: out of memory: lower finetune.batch_size or finetune.max_tokens in params.yaml"
    assert not [path for path in OUTPUTS if (absurd / path).exists()]


# ---- numbers that are none


def trainer_of(folder, tiny_model, spoil=lambda model: None, **changes):
    if not (folder / "data").exists():
        write_training(folder, tiny_model)
    params = types.SimpleNamespace(**merged(default_params()["finetune"], SMALL | {"method": "full"} | changes))
    transformers.set_seed(7)
    model, tokenizer = load_base(folder / "models/adapted", CLASSES, "single_label", 0.0)
    spoil(model)
    return make_trainer(
        model,
        params,
        folder=folder / "checkpoints",
        device=prepare_device(1),
        train=read_dataset(folder / "data/balanced.parquet", tokenizer, metadata(), max_tokens=32, weighted=True),
        validation=read_dataset(
            folder / "data/split/validation.parquet", tokenizer, metadata(), max_tokens=32, weighted=False
        ),
        collator=Collator(pad_id=0, classes=3, multi_label=False, types=False),
    )


def endless_gradients(model):
    model.classifier.weight.register_hook(lambda gradient: gradient * torch.inf)


def no_numbers_in_validation(model):
    def spoil(module, inputs, logits):
        return logits if module.training else logits * torch.nan

    model.classifier.register_forward_hook(spoil)


@pytest.mark.parametrize(
    "spoil, message",
    [
        (endless_gradients, "the (gradients are|loss is) no longer a number at step 1: lower finetune.learning_rate"),
        (no_numbers_in_validation, "24 of 24 validation notes get scores that are no numbers"),
    ],
)
def test_what_is_no_number_stops_with_a_line(tmp_path, tiny_model, spoil, message):
    with pytest.raises(UserError, match=message):
        train_or_resume(trainer_of(tmp_path, tiny_model, spoil), 0)


def test_an_operation_without_deterministic_algorithm_names_the_param():
    torch.use_deterministic_algorithms(True)
    try:
        with pytest.raises(UserError, match="set finetune.deterministic to false"), missing_kernel_explained():
            torch.zeros(3).put_(torch.tensor([0]), torch.tensor([1.0]))
    finally:
        torch.use_deterministic_algorithms(False)
    with pytest.raises(RuntimeError, match="shape"), missing_kernel_explained():
        torch.ones(2, 3) @ torch.ones(2, 3)


# ---- the best epoch by any metric of evaluate


@pytest.mark.parametrize("name", ["macro_auroc", "sensitivity", "brier", "ece"])
@pytest.mark.parametrize("multi_label", [False, True], ids=["single_label", "multi_label"])
def test_the_chosen_metric_is_what_evaluate_says_of_the_same_notes(stage, folder, tiny_model, name, multi_label):
    write_training(folder, tiny_model, multi_label=multi_label)
    meta = metadata(task="multi_label" if multi_label else "single_label")
    for number, shard in enumerate(("train", "calibration", "test"), start=5):
        write_table(folder / f"data/split/{shard}.parquet", rows(30, seed=number, multi_label=multi_label), meta)
    assert stage("finetune", SMALL | {"method": "full", "learning_rate": 3e-3, "epochs": 4, "best_metric": name}) == (
        0,
        "",
    )
    said = read_json(folder / "metrics/finetune.json")["validation"]
    assert set(said) == {"accuracy", "loss", "macro_f1", "micro_f1", "weighted_f1", name}
    assert stage("predict", {"threads": 1}) == (0, "")
    (folder / "data/titles.json").write_text("{}")
    assert stage("calibrate") == stage("baseline") == (0, "")
    assert stage("evaluate", {"bootstrap_samples": 20}) == (0, "")
    evaluated = read_json(folder / "metrics/evaluate.json")["validation"]["model"]
    for key in set(said) - {"loss"}:
        assert said[key] == pytest.approx(evaluated[key], abs=2e-6), key


def test_every_score_against_scikit_learn():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(80, 3)).astype(np.float32), rng.integers(0, 3, 80)
    found, truth = scores(logits, labels), np.eye(3)[labels]
    p = torch.from_numpy(logits).softmax(1).numpy()
    decided = p.argmax(1)
    expected = {
        "accuracy": sk.accuracy_score(labels, decided),
        "macro_f1": sk.f1_score(labels, decided, average="macro"),
        "micro_f1": sk.f1_score(labels, decided, average="micro"),
        "weighted_f1": sk.f1_score(labels, decided, average="weighted"),
        "sensitivity": sk.recall_score(labels, decided, average="macro"),
        "ppv": sk.precision_score(labels, decided, average="macro"),
        "specificity": np.mean([sk.recall_score(labels != k, decided != k) for k in range(3)]),
        "npv": np.mean([sk.precision_score(labels != k, decided != k) for k in range(3)]),
        "macro_auroc": sk.roc_auc_score(truth, p, average="macro"),
        "macro_auprc": sk.average_precision_score(truth, p, average="macro"),
        "brier": ((p - truth) ** 2).sum(1).mean(),
        "loss": sk.log_loss(labels, p.astype(np.float64)),
    }
    assert set(found) == set(KNOWN) == {*expected, "ece"}
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-6), name


@pytest.mark.parametrize("name", ["macro_auroc", "brier", "loss"])
def test_the_best_epoch_is_the_highest_or_where_less_is_better_the_lowest(tmp_path, tiny_model, name):
    trainer = trainer_of(
        tmp_path, tiny_model, epochs=6, learning_rate=2e-2, best_metric=name, early_stopping_patience=0
    )
    train_or_resume(trainer, 0)
    values = [entry[f"eval_{name}"] for entry in trainer.state.log_history if f"eval_{name}" in entry]
    best = int(np.argmin(values) if name in LOWER_IS_BETTER else np.argmax(values)) + 1
    assert summary(trainer.state, name)["best_epoch"] == best
    assert min(values) < max(values)


def test_a_metric_that_the_validation_shard_leaves_undefined(stage, folder, tiny_model):
    write_training(folder, tiny_model)
    write_table(folder / "data/split/validation.parquet", rows(9, classes=["lung"]), metadata())
    code, line = stage("finetune", SMALL | {"best_metric": "macro_auroc"})
    assert code == 1 and "finetune.best_metric is macro_auroc, which this validation shard leaves undefined" in line
    code, line = stage("finetune", SMALL | {"best_metric": "auc"})
    assert code == 1 and "finetune.best_metric is 'auc'" in line and "choose one of accuracy, weighted_f1" in line


# ---- what the model's card says of its notes


def test_preprocessing_reaches_the_card_and_other_notes_are_refused(stage, folder, tiny_model):
    notes = [row | {"text": f"HISTORY: {row['text']}, seen {number} times in {row['text']}."} for number, row in enumerate(rows(90))]  # fmt: skip
    stated = {"deidentify": {"detector": "rules", "profile": "safe_harbor", "replace": "mask"}}
    plain = metadata(preprocessing=stated)
    plain.pop("classes")
    write_table(folder / "data/deidentified.parquet", notes, plain)
    (folder / "data/titles.json").write_text("{}")
    write_training(folder, tiny_model)
    (folder / "data/balanced.parquet").unlink()
    for name, changes in {
        "clean": {"lowercase": True},
        "split": {"min_notes_per_class": 1},
        "augment": {},
        "rebalance": {},
        "finetune": SMALL | {"epochs": 1, "max_tokens": 64},
        "predict": {"threads": 1},
    }.items():
        assert stage(name, changes) == (0, "")
    learned = read_json(folder / "models/finetuned/diagnosis.json")["preprocessing"]
    assert learned["deidentify"] == stated["deidentify"]
    assert learned["clean"]["lowercase"] is True and learned["clean"]["concepts"] is None
    assert (
        "min_count" not in learned["clean"]
        and learned == read_metadata(folder / "data/balanced.parquet")["preprocessing"]
    )

    assert stage("clean", {"lowercase": False}) == (0, "")
    assert stage("split", {"min_notes_per_class": 1}) == (0, "")
    code, line = stage("predict", {"threads": 1})
    assert code == 1 and "was prepared otherwise" in line and "(clean.lowercase differs)" in line
