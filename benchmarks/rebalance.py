"""Does rebalancing help? Each method of `rebalance`, and the losses, on two imbalanced corpora; docs/results.md.

    python -m benchmarks.rebalance               # a quarter of an hour on one core; goes on where it was stopped
    python -m benchmarks.rebalance --groups      # and each method of finetune.fairness on the embedded corpus

What is trained is cheap: one linear layer on what the base model, frozen, makes of a note (all-MiniLM-L6-v2's pooled output of its first
256 tokens), as `rebalance.method: smote` does in finetune. Rows, weights, draws, losses and the correction of the prior are the
stages' own. Test notes are left out; the others are dealt anew by each of three seeds, a fifth to validation, patients and
near-duplicates together. Everything is trained for a fixed number of epochs, so that nothing is chosen on what is scored.
"""

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from datasets import Dataset
from ruamel.yaml import YAML
from tqdm import tqdm

from benchmarks.real import CORPORA, DATA, PAGE, ROOT
from diagnosis.errors import UserError, run
from diagnosis.files import read_json, write_json
from diagnosis.notes import note_writer, open_notes, read_metadata
from diagnosis.scores.baselines import truth
from diagnosis.scores.metrics import Scorer
from diagnosis.scores.shards import Shard
from diagnosis.splits import connected, stratified
from diagnosis.training.dataset import Collator, read_dataset, read_task
from diagnosis.training.embeddings import SMOTE, embed, mixed
from diagnosis.training.fairness import Adversary, WorstGroup, reweighed
from diagnosis.training.inference import corrected, to_probabilities
from diagnosis.training.losses import batch_loss
from diagnosis.training.model import load_base
from diagnosis.training.priors import objective
from diagnosis.training.sampler import ClassSampler
from stages import rebalance

WORK = ROOT / "logs" / "rebalance"
RESULTS = ROOT / "benchmarks" / "rebalance.json"
BEGIN, END = "<!-- table of benchmarks/rebalance.py -->", "<!-- end of the table of benchmarks/rebalance.py -->"
EMBEDDED = "embedded corpus"
NAMES = ("mtsamples, as written", EMBEDDED)
SEEDS, EPOCHS, BATCH, RATE, MAX_TOKENS = (1, 2, 3), 60, 32, 0.03, 256
COLUMNS = ["note_id", "patient_id", "duplicate_cluster", "labels", "insurance"]

METHODS = {  # params of rebalance, and of finetune's loss
    "none": ({"method": "none"}, "cross_entropy"),
    "oversample": ({"method": "oversample"}, "cross_entropy"),
    "undersample": ({"method": "undersample"}, "cross_entropy"),
    "class_sampler": ({"method": "class_sampler"}, "cross_entropy"),
    "class_weight": ({"method": "class_weight"}, "cross_entropy"),
    "effective_number": ({"method": "effective_number"}, "cross_entropy"),
    "oversample (0.5), class_weight": ({"method": ["oversample", "class_weight"], "strength": 0.5}, "cross_entropy"),
    "smote": ({"method": "smote"}, "cross_entropy"),
    "borderline_smote": ({"method": "borderline_smote"}, "cross_entropy"),
    "focal": ({"method": "none"}, "focal"),
    "logit_adjusted": ({"method": "none"}, "logit_adjusted"),
}
FAIR = ("none", "reweighing", "adversarial", "worst_group")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--groups", action="store_true", help="the methods of finetune.fairness too")
    groups = parser.parse_args().groups
    torch.set_num_threads(1)
    if not DATA.is_dir():
        raise UserError(f"the open notes are not at {DATA}: set DIAGNOSIS_DATA to their folder")
    results = read_json(RESULTS) if RESULTS.exists() else {"classes": {}, "groups": {}}
    cells = [("classes", name, method, seed) for name in NAMES for method in METHODS for seed in SEEDS]
    cells += [("groups", EMBEDDED, method, seed) for method in FAIR for seed in SEEDS] if groups else []
    for kind, name, method, seed in tqdm(cells, unit=" cells"):
        found = results[kind].setdefault(name, {}).setdefault(method, {})
        if str(seed) not in found:
            found[str(seed)] = (by_class if kind == "classes" else by_group)(name, method, seed)
            write_json(RESULTS, results)
    write_page(results)


# ---------------------------------------------------------------- notes as vectors


def notes_of(name: str) -> tuple[list[dict], list[str], np.ndarray]:
    """(notes without text, classes, vectors) of every shard but test; made once, kept under logs/."""
    folder = WORK / "".join(c if c.isalnum() else "_" for c in name)
    kept = folder / "vectors.npy"
    if not kept.exists():
        folder.mkdir(parents=True, exist_ok=True)
        for part in ("keys", "lists"):
            (folder / part).is_symlink() or (folder / part).symlink_to(ROOT / part)
        for stage in (
            *(["synthesize"] if name == EMBEDDED else []),
            "fetch_model",
            "ingest",
            "deidentify",
            "clean",
            "split",
        ):
            call(stage, folder, CORPORA.get(name, {}))
        np.save(kept, np.concatenate([vectors(folder, path) for path in shards(folder)]))
    notes = [note for path in shards(folder) for note in open_notes(path).read(COLUMNS).to_pylist()]
    return notes, read_metadata(shards(folder)[0])["classes"], np.load(kept)


def shards(folder: Path) -> list[Path]:
    return [folder / "data/split" / f"{shard}.parquet" for shard in ("train", "validation", "calibration")]


def vectors(folder: Path, path: Path) -> np.ndarray:
    metadata = read_task(path)
    model, tokenizer = load_base(folder / "models/base", metadata["classes"], "single_label", 0.0)
    data = read_dataset(path, tokenizer, metadata, max_tokens=MAX_TOKENS, weighted=False)
    return embed(model, data, Collator(pad_id=tokenizer.pad_token_id, classes=len(metadata["classes"]), multi_label=False, types=False))  # fmt: skip


def call(stage: str, folder: Path, params: dict) -> None:
    """Run a stage in the folder, with the corpus' params laid over the repository's."""
    write_params(folder, params | {"finetune_detector": {}})
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    (folder / "models/detector").mkdir(parents=True, exist_ok=True)
    done = subprocess.run([sys.executable, "-m", f"stages.{stage}"], cwd=folder, env=environment, capture_output=True, text=True)  # fmt: skip
    if done.returncode:
        raise UserError(f"{stage} failed in {folder}: {done.stderr.strip().splitlines()[-1]}")


def write_params(folder: Path, params: dict) -> None:
    yaml = YAML()
    values = yaml.load(ROOT / "params.yaml")
    for section, laid in params.items():
        values[section].update(laid)
    yaml.dump(values, folder / "params.yaml")


def dealt(notes: list[dict], seed: int) -> np.ndarray:
    """(n,) bool: which notes are of the train side."""
    groups = connected([note["patient_id"] for note in notes], [note["duplicate_cluster"] for note in notes])
    ids, labels = [note["note_id"] for note in notes], [note["labels"] for note in notes]
    return np.array(stratified(groups, labels, ids, {"train": 0.8, "validation": 0.2}, seed)) == "train"


# ---------------------------------------------------------------- classes


def by_class(name: str, method: str, seed: int) -> dict:
    """Scores on validation with the prior corrected, and as the loss left it."""
    changes, loss = METHODS[method]
    notes, classes, inputs = notes_of(name)
    train = dealt(notes, seed)
    folder = WORK / "cell"
    (folder / "data").mkdir(parents=True, exist_ok=True)
    rows, weights, metadata = rebalanced(folder, [n for n, of in zip(notes, train, strict=True) if of], classes, changes, seed)  # fmt: skip
    place = {note["note_id"]: row for row, note in enumerate(notes)}
    rows = np.array([place[row] for row in rows])
    targets = np.array([classes.index(notes[row]["labels"][0]) for row in rows])
    fitted, drawn = inputs[rows], None
    resampling = metadata.get("resampling", {})
    if resampling.get("method") in SMOTE:
        fitted, targets = mixed(fitted, targets, resampling)
        weights = np.ones(len(targets), dtype=np.float32)
        metadata["balanced_prior"] = (np.bincount(targets) / len(targets)).tolist()
    elif resampling:
        drawn = ClassSampler(targets, resampling["shares"], [1] * len(targets), BATCH)
    of_note, metadata = objective(types.SimpleNamespace(loss=loss, logit_tau=1.0, focal_gamma=2.0), metadata, [])
    torch.manual_seed(seed)
    layer = torch.nn.Linear(inputs.shape[1], len(classes))
    teach(layer, None, fitted, targets, weights, of_note, drawn=drawn)
    with torch.no_grad():
        logits = layer(torch.tensor(inputs[~train])).numpy()
    unseen = [note for note, of in zip(notes, train, strict=True) if not of]
    seen = np.bincount([classes.index(n["labels"][0]) for n, of in zip(notes, train, strict=True) if of])
    return {
        kind: scored(to_probabilities(values, "single_label"), unseen, classes, seen)
        for kind, values in {
            "corrected": corrected(logits, metadata["train_prior"], metadata["balanced_prior"]),
            "raw": logits,
        }.items()
    }


def rebalanced(folder: Path, notes: list[dict], classes: list[str], changes: dict, seed: int):
    """(note_id of each row, weights, metadata) that the stage rebalance makes of the notes."""
    metadata = {"task": "single_label", "text_pair": False, "official_split": False, "corpus": "benchmark", "classes": classes,
                "data_use": {"corpus": "benchmark", "licence": "as its source", "public": True}}  # fmt: skip
    extra = [pa.field("augmented_from", pa.string()), pa.field("operators", pa.list_(pa.string()))]
    with note_writer(folder / rebalance.AUGMENTED, metadata, extra) as writer:
        writer.write(
            {"note_id": note["note_id"], "source": "x", "text": "", "labels": note["labels"]} for note in notes
        )
    write_params(folder, {"rebalance": {"seed": seed} | changes})
    with contextlib.chdir(folder), open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
        rebalance.main()
    table = open_notes(folder / rebalance.BALANCED).read(["note_id", "augmented_from", "weight"]).to_pydict()
    rows = [origin or note for note, origin in zip(table["note_id"], table["augmented_from"], strict=True)]
    return rows, np.array(table["weight"], dtype=np.float32), read_metadata(folder / rebalance.BALANCED)


def teach(model, fairness, inputs, targets, weights, of_note, *, drawn=None, groups=None, rate: float = RATE) -> None:
    """AdamW over EPOCHS epochs of batches in random order, the rate falling to 0."""
    inputs, targets, weights = torch.tensor(inputs), torch.tensor(targets), torch.tensor(weights)
    learnt = [*model.parameters(), *(fairness.parameters() if fairness else [])]
    optimiser = torch.optim.AdamW(learnt, rate, weight_decay=0.01)
    steps = EPOCHS * -(-len(targets) // BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 - step / steps)
    for _ in range(EPOCHS):
        order = torch.tensor(list(drawn)) if drawn else torch.randperm(len(targets))
        for rows in order.split(BATCH):
            losses = of_note(model(inputs[rows]), targets[rows])
            if fairness:
                batch = {"labels": targets[rows], "group": groups[rows], "weight": weights[rows]}
                losses = fairness(losses, batch)
            optimiser.zero_grad()
            batch_loss(losses, weights[rows], len(rows)).backward()
            optimiser.step()
            schedule.step()
            if fairness:
                fairness.after_step()


def scored(probabilities: np.ndarray, notes: list[dict], classes: list[str], seen: np.ndarray) -> dict:
    """Macro scores, recall by class, and the mean recall of the rarest and the commonest third of the classes (`seen` train notes)."""
    ids, labels = np.array([note["note_id"] for note in notes], object), [note["labels"] for note in notes]
    unknown = np.zeros(len(ids), bool)
    scorer = Scorer(Shard(ids, np.arange(len(ids)), truth(labels, classes), probabilities.astype(float), unknown, True))
    headline = scorer.headline(scorer.ones)
    recall = scorer.by_class(scorer.ones)["sensitivity"][:, 0]
    order, third = np.argsort(seen, kind="stable"), len(classes) // 3
    return {name: round(float(headline[name][0]), 4) for name in ("accuracy", "macro_f1", "sensitivity", "ece", "brier")} | {
        "rare": round(float(np.nanmean(recall[order[:third]])), 4),
        "common": round(float(np.nanmean(recall[order[-third:]])), 4),
        "recall": {k: None if np.isnan(r) else round(float(r), 4) for k, r in zip(classes, recall, strict=True)},
    }  # fmt: skip


# ---------------------------------------------------------------- groups


class Body(torch.nn.Module):
    """A hidden layer on the frozen vectors, for an adversary to work on, and the layer that ends it."""

    def __init__(self, width: int, classes: int):
        super().__init__()
        self.config = types.SimpleNamespace(num_labels=classes)
        self.hidden, self.last = torch.nn.Linear(width, 64), torch.nn.Linear(64, classes)

    def forward(self, inputs):
        return self.last(torch.tanh(self.hidden(inputs)))


def by_group(name: str, method: str, seed: int) -> dict:
    """Accuracy on validation by insurance: the corpus leaves 70 % of the findings in Medicaid's notes unsaid."""
    notes, classes, inputs = notes_of(name)
    inputs = (inputs - inputs.mean(axis=0)) / inputs.std(axis=0)
    train = dealt(notes, seed)
    groups = sorted({note["insurance"] for note in notes if note["insurance"]})
    group = np.array([groups.index(note["insurance"]) if note["insurance"] else -1 for note in notes])
    targets = np.array([classes.index(note["labels"][0]) for note in notes])
    weights = np.ones(int(train.sum()), dtype=np.float32)
    shares = np.bincount(targets[train]) / train.sum()
    metadata = {"task": "single_label", "train_prior": shares.tolist(), "balanced_prior": shares.tolist()}
    if method == "reweighing":
        table = {"group": group[train].tolist(), "target": [[int(t)] for t in targets[train]], "weight": weights}
        data, metadata["balanced_prior"] = reweighed(Dataset.from_dict(table), metadata["balanced_prior"])
        weights = np.array(data["weight"][:], dtype=np.float32)
    torch.manual_seed(seed)
    model = Body(inputs.shape[1], len(classes))
    fairness = None
    if method == "adversarial":
        fairness = Adversary(model, len(groups), 1.0)
    elif method == "worst_group":
        counts = np.bincount(group[train][group[train] >= 0], minlength=len(groups))
        fairness = WorstGroup(counts, 0.01)
    of_note, metadata = objective(types.SimpleNamespace(loss="cross_entropy"), metadata, [])
    teach(
        model, fairness, inputs[train], targets[train], weights, of_note, groups=torch.tensor(group[train]), rate=0.001
    )
    with torch.no_grad():
        logits = model(torch.tensor(inputs[~train])).numpy()
    right = corrected(logits, metadata["train_prior"], metadata["balanced_prior"]).argmax(axis=1) == targets[~train]
    told = {"all": right.mean()} | {name: right[group[~train] == g].mean() for g, name in enumerate(groups)}
    return {name: round(float(value), 4) for name, value in told.items()}


# ---------------------------------------------------------------- the page


def write_page(results: dict) -> None:
    """Put the tables between the marks of docs/results.md; the prose around them stays."""
    lines = []
    for name, table in results["classes"].items():
        lines += [f"{name}, {len(SEEDS)} deals:", "",
                  "| method | macro recall | rarest third | commonest third | accuracy | ECE | Brier | uncorrected: macro recall | rarest third | accuracy | ECE |",
                  "|---|---|---|---|---|---|---|---|---|---|---|"]  # fmt: skip
        for method in (each for each in METHODS if each in table):
            found = table[method]
            cells = [
                mean(found, "corrected", key) for key in ("sensitivity", "rare", "common", "accuracy", "ece", "brier")
            ]
            cells += [mean(found, "raw", key) for key in ("sensitivity", "rare", "accuracy", "ece")]
            lines.append(f"| {method} | " + " | ".join(cells) + " |")
        lines.append("")
    for name, table in results["groups"].items():
        columns = list(next(iter(table["none"].values())))
        lines += [f"{name}, accuracy by insurance:", "", "| fairness | " + " | ".join(columns) + " | gap |", "|---|" + "---|" * (len(columns) + 1)]  # fmt: skip
        for method in FAIR:
            found = table[method]
            gaps = [max(list(cell.values())[1:]) - min(list(cell.values())[1:]) for cell in found.values()]
            cells = [spread([cell[column] for cell in found.values()]) for column in columns]
            lines.append(f"| {method} | " + " | ".join([*cells, spread(gaps)]) + " |")
    head, rest = PAGE.read_text().split(BEGIN)
    PAGE.write_text(head + BEGIN + "\n" + "\n".join(lines).rstrip() + "\n" + END + rest.split(END)[1])


def mean(found: dict, kind: str, key: str) -> str:
    return spread([cell[kind][key] for cell in found.values()])


def spread(values: list[float]) -> str:
    """The mean over the seeds, and half the distance of the outermost."""
    return f"{statistics.mean(values):.3f} ± {(max(values) - min(values)) / 2:.3f}"


if __name__ == "__main__":
    run(main)
