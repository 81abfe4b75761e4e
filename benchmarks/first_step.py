"""Seconds from `dvc exp run` to the first optimiser step of finetune, by part; the table of docs/finetune.md.

    python -m benchmarks.first_step    # after `dvc repro rebalance` and a commit; two minutes

In a clone beside this repository, with the committed params. Its stage is the committed one with a clock: it stops after the
first step. Each repeat is one experiment of a sweep over learning rates, `dvc exp run -S finetune.learning_rate=...`; the first
finds no tokens in the cache, the medians are of those after it.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from diagnosis.errors import UserError, run

ROOT = Path(__file__).resolve().parents[1]
REPEATS = 3
INPUTS = ["data/balanced.parquet", "data/split/validation.parquet", "models/adapted"]
CLOCK = '''"""The committed stage with a clock."""

import time

started = time.time()

import json, os
from stages import finetune_itself as stage
from diagnosis.training.trainer import Watch

parts = {"imports": time.time() - started}


def timed(name, part):
    function = getattr(stage, name)

    def call(*args, **options):
        begin = time.time()
        result = function(*args, **options)
        parts[part] = parts.get(part, 0.0) + time.time() - begin
        return result

    setattr(stage, name, call)


def first(self, args, state, control, **kwargs):
    parts["the Trainer's start: optimiser, sampling, first batch"] = time.time() - parts.pop("begun")
    parts["stepping"] = time.time()


def stop(self, args, state, control, **kwargs):
    parts["first step, its longest notes first"] = time.time() - parts.pop("stepping")
    parts["the rest: params, hashes of the inputs"] = time.time() - started - sum(parts.values())
    print("PARTS", json.dumps({"started": started, "parts": parts}), flush=True)
    os._exit(3)


def begin(*args):
    parts["begun"] = time.time()
    return train(*args)


timed("load_base", "model")
timed("cached_dataset", "tokens")
timed("adapt_model", "adapters")
timed("make_trainer", "Trainer")
train, stage.train_or_resume = stage.train_or_resume, begin
Watch.on_step_begin, Watch.on_step_end = first, stop
stage.main()
'''


def main():
    with tempfile.TemporaryDirectory() as name:
        clone, checkout = lay_out(Path(name) / "clone")
        first, *rest = (experiment(clone, number) for number in range(1 + REPEATS))
    print("| part | seconds | the first time |\n|---|---|---|")
    print(f"| `dvc checkout` of the inputs, in a fresh clone | | {checkout:.2f} |")
    for part in first:
        print(f"| {part} | {statistics.median(each[part] for each in rest):.2f} | {first[part]:.2f} |")
    totals = [sum(each.values()) for each in rest]
    print(f"| together | {statistics.median(totals):.2f} | {sum(first.values()):.2f} |")


def lay_out(clone: Path) -> tuple[Path, float]:
    """The clone, its inputs checked out from this repository's cache, and how many seconds that took."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    cache = subprocess.run(["dvc", "cache", "dir"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()
    subprocess.run(["dvc", "cache", "dir", "--local", cache], cwd=clone, check=True, capture_output=True)
    begin = time.time()
    done = subprocess.run(["dvc", "checkout", *INPUTS], cwd=clone, capture_output=True)
    seconds = time.time() - begin
    if done.returncode:
        raise UserError("the inputs of finetune are not in DVC's cache: run `dvc repro rebalance` and commit dvc.lock")
    (clone / "stages/finetune.py").rename(clone / "stages/finetune_itself.py")
    (clone / "stages/finetune.py").write_text(CLOCK)
    return clone, seconds


def experiment(clone: Path, number: int) -> dict[str, float]:
    """Seconds by part; the stage ends with an error after the first step, and so does the experiment."""
    change = f"finetune.learning_rate={(2 + number) / 1000}"
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    environment.pop("DVC_ROOT", None)
    begin = time.time()
    done = subprocess.run(
        ["dvc", "exp", "run", "--single-item", "-S", change, "finetune"],
        cwd=clone, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    line = next((line for line in done.stdout.splitlines() if line.startswith("PARTS ")), None)
    if line is None:
        raise UserError(f"the experiment came to no first step: see `dvc exp run -S {change}` here")
    found = json.loads(line.removeprefix("PARTS "))
    return {"`dvc exp run` until the stage starts": found["started"] - begin, **found["parts"]}


if __name__ == "__main__":
    run(main)
