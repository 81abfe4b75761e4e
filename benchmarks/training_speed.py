"""Seconds of an epoch by finetune and by the usual recipe, on the same notes and cores; the table of docs/finetune.md.

    python -m benchmarks.training_speed    # after `dvc repro rebalance`; about ten minutes on 2 cores

The usual recipe: HF's Trainer with every note padded to max_tokens, batches in random order, the base model's own dropout, all
weights trained. Each row changes one thing of the default, on the first 160 notes of data/balanced.parquet; median of 3.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from ruamel.yaml import YAML

from diagnosis.errors import UserError, run
from diagnosis.notes import open_notes

ROOT = Path(__file__).resolve().parents[1]
NOTES, REPEATS = 160, 3
CHANGES = {
    "default (LoRA, fp32, no body dropout)": {},
    "all weights": {"method": "full"},
    "dropout as the base states": {"body_dropout": None},
    "bf16": {"precision": "bf16"},
}
RECIPE = "the usual recipe"


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = lay_out(Path(name))
        seconds = {change: [] for change in [*CHANGES, RECIPE]}
        for _ in range(REPEATS):
            for change, values in CHANGES.items():
                seconds[change].append(finetune(folder, values))
            seconds[RECIPE].append(usual_recipe(folder))
    base = statistics.median(seconds[next(iter(CHANGES))])
    print("| | seconds | of the default |\n|---|---|---|")
    for change, times in seconds.items():
        median = statistics.median(times)
        print(f"| {change} | {median:.1f} | {median / base:.2f} |")


def lay_out(folder: Path) -> Path:
    """What finetune reads, with the first NOTES notes to train on and 16 to validate."""
    for path, count in (("data/balanced.parquet", NOTES), ("data/split/validation.parquet", 16)):
        table = open_notes(ROOT / path).read()
        if len(table) < count:
            raise UserError(f"{path} holds fewer than {count} notes: run `dvc repro rebalance` on the embedded corpus")
        by_class = {labels[0]: row for row, labels in enumerate(table["labels"].to_pylist())}
        rows = [*by_class.values(), *range(len(table))] if "balanced" in path else range(count)
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table.take(pa.array(list(rows)[:count])), folder / path)
    shutil.copytree(ROOT / "models/base", folder / "models/adapted")
    return folder


def finetune(folder: Path, values: dict) -> float:
    """Seconds of the stage's one epoch, evaluation included, start of Python not."""
    params = YAML(typ="safe", pure=True).load(ROOT / "params.yaml")["finetune"]
    with open(folder / "params.yaml", "w") as stream:
        YAML().dump({"finetune": params | {"epochs": 1} | values}, stream)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(
        [sys.executable, "-m", "stages.finetune"], cwd=folder, env=environment, check=True, capture_output=True
    )
    return json.loads((folder / "logs/finetune.json").read_text())["seconds"]


def usual_recipe(folder: Path) -> float:
    """Seconds of an epoch as the Trainer's own tutorials write it."""
    import torch
    from datasets import Dataset
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, Trainer, TrainingArguments

    params = YAML(typ="safe", pure=True).load(ROOT / "params.yaml")["finetune"]
    torch.set_num_threads(params["threads"])
    table = open_notes(folder / "data/balanced.parquet").read(["text", "labels"])
    classes = sorted({labels[0] for labels in table["labels"].to_pylist()})
    tokenizer = AutoTokenizer.from_pretrained(folder / "models/adapted")
    encoded = tokenizer(
        table["text"].to_pylist(), padding="max_length", truncation=True, max_length=params["max_tokens"]
    )
    labels = [classes.index(labels[0]) for labels in table["labels"].to_pylist()]
    model = AutoModelForSequenceClassification.from_pretrained(folder / "models/adapted", num_labels=len(classes))
    arguments = TrainingArguments(
        str(folder / "recipe"),
        num_train_epochs=1,
        per_device_train_batch_size=params["batch_size"],
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
    )
    trainer = Trainer(model, arguments, train_dataset=Dataset.from_dict({**encoded, "labels": labels}))
    start = time.perf_counter()
    trainer.train()
    return time.perf_counter() - start


if __name__ == "__main__":
    run(main)
