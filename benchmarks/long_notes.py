"""Ways to read notes that are longer than the model's window, on MTSamples; a section of docs/results.md.

    python -m benchmarks.long_notes            # the cells that are not there yet: 5 ways x SEEDS, minutes each
    python -m benchmarks.long_notes --seeds 1  # fewer
    python -m benchmarks.long_notes --smoke    # 3 notes a class and one epoch, in two minutes: shows that it runs, writes nothing

MiniLM with LoRA at 128 tokens, of specialties with many notes so many a class; the ways differ in `finetune.long_notes` and
`pooling` alone. Scored on the validation shard, paired with `head` on the same notes; test is not looked at. A cell's model and
predictions lie in logs/long_notes/, so that a run that was stopped goes on where it was; the table has the cells that are done.
"""

import argparse
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
from ruamel.yaml import YAML
from tqdm import tqdm

from benchmarks.real import MTSAMPLES
from diagnosis.errors import UserError, run
from diagnosis.files import read_json, require, write_json
from diagnosis.notes import note_writer, read_metadata, read_notes
from diagnosis.scores.bootstrap import interval, patient_weights
from diagnosis.scores.metrics import Scorer
from diagnosis.scores.shards import Predictions

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("DIAGNOSIS_DATA", ROOT.parent / "shared" / "data")).resolve()
BASE = ROOT / "models" / "base"
WORK = ROOT / "logs" / "long_notes"
RESULTS = ROOT / "benchmarks" / "long_notes.json"
PAGE = ROOT / "docs" / "results.md"
BEGIN, END = "<!-- table of benchmarks/long_notes.py -->", "<!-- end of table of benchmarks/long_notes.py -->"
SEEDS, SAMPLES = 3, 2000
NOTES_PER_CLASS, VALIDATION_PER_CLASS = 24, 20  # 144 and 120 notes: six windows a note on one core take their time
BEFORE = {
    "ingest": MTSAMPLES["ingest"],
    "clean": MTSAMPLES["clean"],
    "split": {
        "min_notes_per_class": 60, "train_share": 0.5, "validation_share": 0.4, "calibration_share": 0.02, "test_share": 0.08,
    },
}  # fmt: skip
TRAINING = {
    "learning_rate": 1.0e-3,
    "precision": "bf16",
    "epochs": 4,
    "max_tokens": 128,
    "early_stopping_patience": 0,
    "batch_size": 8,
    "windows_at_once": 16,
    "threads": 1,
}
WAYS = {
    "head": {"long_notes": "head"},
    "head_tail": {"long_notes": "head_tail"},
    **{
        f"windows, {pooling}": {"long_notes": "windows", "pooling": pooling} for pooling in ("mean", "max", "attention")
    },
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"how many (default {SEEDS})")
    parser.add_argument("--smoke", action="store_true", help="3 notes a class, one epoch; writes no result")
    options = parser.parse_args()
    require(BASE, "run `dvc repro fetch_model`")
    if not DATA.is_dir():
        raise UserError(f"the open notes are not at {DATA}: set DIAGNOSIS_DATA to their folder")
    work = WORK / "smoke" if options.smoke else WORK
    notes = prepare(work, 3 if options.smoke else NOTES_PER_CLASS)
    changes = {"epochs": 1} if options.smoke else {}
    cells = [(way, seed) for seed in range(1 if options.smoke else options.seeds) for way in WAYS]
    for way, seed in tqdm(cells, unit=" cells", desc="long notes"):
        measure(work, notes, way, seed, changes)
        done = [cell for cell in cells if (cell_folder(work, *cell) / "data/predictions.parquet").exists()]
        result = compared(work, done)
        if not options.smoke:
            write_json(RESULTS, result)
            head, rest = PAGE.read_text().split(BEGIN)
            PAGE.write_text(head + BEGIN + "\n" + "\n".join(table(result)) + "\n" + END + rest.split(END)[1])
    print(*table(result), sep="\n")


def stage(name: str, folder: Path, changes: dict) -> None:
    """Run a stage in a folder, its params laid over the repository's."""
    params = YAML(typ="safe", pure=True).load(ROOT / "params.yaml")
    with open(folder / "params.yaml", "w") as stream:
        YAML().dump({name: params[name] | changes}, stream)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with open(folder / f"{name}.log", "w") as log:
        code = subprocess.run(
            [sys.executable, "-m", f"stages.{name}"], cwd=folder, env=environment, stdout=log, stderr=log
        ).returncode
    if code:
        raise UserError(f"the stage {name} failed: read {folder / f'{name}.log'}")


def prepare(work: Path, notes_per_class: int) -> Path:
    """The shards as the pipeline makes them, and of train and validation so many notes a class; returns their folder."""
    folder = work / "notes"
    if (folder / "data/balanced.parquet").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("keys", "lists"):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(ROOT / name)
    (folder / "models/detector").mkdir(parents=True, exist_ok=True)
    write_json(folder / "models/detector/detector.json", {"enabled": False})
    for name in ("ingest", "deidentify", "clean", "split"):
        stage(name, folder, BEFORE.get(name, {}))
    split = folder / "data/split"
    some(split / "validation.parquet", folder / "data/validation.parquet", min(notes_per_class, VALIDATION_PER_CLASS))
    some(split / "train.parquet", folder / "data/balanced.parquet", notes_per_class)
    return folder


def some(source: Path, target: Path, notes_per_class: int) -> None:
    """The first notes of each class of a shard, weighing 1; what is left states its own class shares as the prior."""
    metadata, chosen, taken = read_metadata(source), [], Counter()
    for batch in read_notes(source):
        for note in batch:
            taken[note["labels"][0]] += 1
            if taken[note["labels"][0]] <= notes_per_class:
                chosen.append(note | {"weight": 1.0})
    prior = [min(taken[name], notes_per_class) / len(chosen) for name in metadata["classes"]]
    metadata |= {"train_prior": prior, "balanced_prior": prior}
    with note_writer(target, metadata, [pa.field("weight", pa.float32())]) as writer:
        writer.write(chosen)


def cell_folder(work: Path, way: str, seed: int) -> Path:
    return work / f"{way.replace(', ', '_')}_{seed}"


def measure(work: Path, notes: Path, way: str, seed: int, changes: dict) -> None:
    folder = cell_folder(work, way, seed)
    if (folder / "data/predictions.parquet").exists():
        return
    for name, target in {
        "data/balanced.parquet": notes / "data/balanced.parquet",
        "data/split/validation.parquet": notes / "data/validation.parquet",
        "data/split/calibration.parquet": notes / "data/split/calibration.parquet",
        "models/base": BASE,
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(target)
    stage("finetune", folder, TRAINING | WAYS[way] | changes | {"seed": 7 + seed})
    stage("predict", folder, {"withhold_test": True, "threads": 1, "batch_size": 16})


def compared(work: Path, cells: list[tuple[str, int]]) -> dict:
    """By way: macro-F1 and accuracy of each seed, their mean, and its difference to head's with a paired 95 % interval."""
    points, draws, told = {}, {}, {}
    for way, seed in cells:
        folder = cell_folder(work, way, seed)
        shard = Predictions(folder / "data/predictions.parquet").shard("validation", "model")
        scorer = Scorer(shard)
        points[way, seed] = {name: float(scorer.headline(scorer.ones)[name][0]) for name in ("macro_f1", "accuracy")}
        weights = patient_weights(len(scorer.ones), SAMPLES, seed=7)
        draws[way, seed] = np.concatenate([scorer.headline(part)["macro_f1"] for part in weights])
        told[way, seed] = read_json(folder / "metrics/finetune.json") | read_json(folder / "logs/finetune.json")
    result = {}
    for way in dict.fromkeys(way for way, _ in cells):
        seeds = [seed for other, seed in cells if other == way]
        f1 = [points[way, seed]["macro_f1"] for seed in seeds]
        difference = np.mean([draws[way, seed] - draws["head", seed] for seed in seeds], axis=0)
        own = told[way, seeds[0]]
        result[way] = {
            "validation_notes": len(shard.truth),
            "macro_f1": [round(value, 4) for value in f1],
            "accuracy": [round(points[way, seed]["accuracy"], 4) for seed in seeds],
            "difference": {
                "value": round(float(np.mean(f1) - np.mean([points["head", seed]["macro_f1"] for seed in seeds])), 4),
                **{name: round(end, 4) for name, end in interval(difference).items()},
            },
            "tokens_unread_share": own["truncated"]["tokens_beyond_share"],
            "notes_beyond_share": own["beyond_window"]["train"]["share"],
            "validation_scores": own["beyond_window"]["validation_scores"],
            "seconds": round(float(np.median([told[way, seed]["seconds"] for seed in seeds]))),
        }
    return result


def table(result: dict) -> list[str]:
    rows = [
        "| `long_notes`, `pooling` | tokens not read | macro-F1 of each seed | mean | difference to head (95 %) | of the long notes, accuracy | training, s |",
        "|---|---|---|---|---|---|---|",
    ]
    for way, found in result.items():
        value, low, high = (found["difference"][name] for name in ("value", "low", "high"))
        difference = "–" if way == "head" else f"{value:+.3f} ({low:+.3f} to {high:+.3f})"
        long = found["validation_scores"]["beyond"]
        accuracy = "–" if long is None else f"{long['accuracy']:.3f}"
        rows.append(
            f"| {way} | {found['tokens_unread_share']:.0%} | {', '.join(f'{f1:.3f}' for f1 in found['macro_f1'])} "
            f"| {np.mean(found['macro_f1']):.3f} | {difference} | {accuracy} | {found['seconds']:,} |"
        )
    return rows


if __name__ == "__main__":
    run(main)
