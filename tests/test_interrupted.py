"""kill -9 in every stage, DVC killed with it: the next `dvc repro` gives the bytes of an uninterrupted run.

Slow (two runs of the tiny pipeline and one more start of each stage): `make test-interrupted`.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT, tiny_params
from test_contract import STAGES
from test_pipeline import order
from test_repro import ENV, clone, finished_runs, repro

from diagnosis.tracking.lock import read_stages

pytestmark = pytest.mark.interrupted


def killed_at_work(folder: Path, stage: str, longest: float, *options: str) -> bool:
    """Start `dvc repro stage` and kill it and DVC at once while the stage runs: when it begins to write, or `longest` seconds
    after its start, for some write within milliseconds. False where it ended before."""
    environment = {**os.environ, **ENV, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    process = subprocess.Popen(
        ["dvc", "repro", *options, stage], cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    started = None
    while process.poll() is None:
        if started is None and runs(process, stage):
            started = time.monotonic()
        if started and (is_writing(folder, stage) or time.monotonic() - started > longest):
            in_time = runs(process, stage)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return in_time
    return False


def runs(process: subprocess.Popen, stage: str) -> bool:
    return (
        subprocess.run(["pgrep", "-g", str(process.pid), "-f", f"stages.{stage}"], capture_output=True).returncode == 0
    )


def is_writing(folder: Path, stage: str) -> bool:
    """Something is half-written; of finetune, the first checkpoint."""
    if stage == "finetune":
        return any(folder.glob(".checkpoints/*/checkpoint-*"))
    return any(half for place in PLACES for half in (folder / place).glob(".*.partial"))


PLACES = (".", "data", "data/raw", "data/split", "metrics", "models", "plots", "plots/evaluate")
LONGEST = {
    "finetune": 60.0,
    "publish": 3.0,
    "predict": 5.0,
    "calibrate": 2.0,
    "evaluate": 2.0,
    "audit_fairness": 3.0,
    "baseline": 2.0,
}  # seconds


def test_every_stage_killed_once_gives_the_same_lock(tmp_path, tiny_model):
    whole = clone(tmp_path / "whole", tiny_params(tiny_model))
    repro(whole)
    killed = clone(tmp_path / "killed", tiny_params(tiny_model))
    for stage in [*order(), "publish"]:
        # One that ended before the kill is run again, and killed sooner.
        assert any(
            killed_at_work(
                killed, stage, LONGEST.get(stage, 0.6) * (1 - again / 10), *["--force", "--single-item"] * bool(again)
            )
            for again in range(10)
        ), stage
        repro(killed, "repro", stage)
    repro(killed)
    assert set(STAGES) == {*order(), "publish"}
    # The order of its entries is that in which the stages ran.
    assert read_stages(killed / "dvc.lock") == read_stages(whole / "dvc.lock")
    assert finished_runs(killed) == 1
    assert not [p for p in killed.rglob("*.partial") if ".dvc" not in p.parts]
    assert ROOT not in killed.parents
