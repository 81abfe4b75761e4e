"""kill -9 in every stage, DVC killed with it: the next `dvc repro` gives the bytes of an uninterrupted run.

Slow (two runs of the tiny pipeline and one more start of each stage): `make test-interrupted`.
"""

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

pytestmark = pytest.mark.interrupted


def kill_inside(folder: Path, stage: str) -> None:
    """Start `dvc repro stage`, wait until the stage's own process has run for a moment, and kill it and DVC at once."""
    environment = {**os.environ, **ENV, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    process = subprocess.Popen(
        ["dvc", "repro", stage], cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    while process.poll() is None:
        seen = subprocess.run(["pgrep", "-g", str(process.pid), "-f", f"stages.{stage}"], capture_output=True)
        if seen.returncode == 0:
            time.sleep(WAIT.get(stage, 0.6))
            break
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


WAIT = {"finetune": 9.0, "publish": 2.5, "predict": 4.0}  # seconds: past the imports, into the work


def test_every_stage_killed_once_gives_the_same_lock(tmp_path, tiny_model):
    whole = clone(tmp_path / "whole", tiny_params(tiny_model))
    repro(whole)
    killed = clone(tmp_path / "killed", tiny_params(tiny_model))
    for stage in [*order(), "publish"]:
        kill_inside(killed, stage)
        repro(killed, "repro", stage)
    repro(killed)
    assert set(STAGES) == {*order(), "publish"}
    assert (killed / "dvc.lock").read_text() == (whole / "dvc.lock").read_text()
    assert finished_runs(killed) == 1
    assert not [p for p in killed.rglob("*.partial") if ".dvc" not in p.parts]
    assert ROOT not in killed.parents
