"""The pipeline by real DVC, in clean clones of the working tree, on a tiny corpus and model."""

import csv
import os
import random
import shutil
import sqlite3
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from conftest import ROOT, run_in, tiny_params, write_params

from diagnosis.files import sha256

pytestmark = pytest.mark.slow


def clone(folder: Path, params: dict) -> Path:
    """A git repository with the files of the working tree that git would commit, with other params, committed."""
    files = run_in(ROOT, "git", "ls-files", "--cached", "--others", "--exclude-standard").stdout.splitlines()
    for name in files:
        if (ROOT / name).is_file() and name != "dvc.lock" and not name.startswith(("metrics/", "plots/", "reports/")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    write_params(folder, params)
    for command in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "start"]):
        run_in(folder, "git", "-c", "user.name=t", "-c", "user.email=t@example.org", *command)
    return folder


def repro(folder: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess:
    return run_in(folder, "dvc", *(arguments or ("repro",)), env=ENV, check=check)


ENV = {
    "MLFLOW_TRACKING_URI": "",
    "GIT_AUTHOR_NAME": "t",
    "GIT_AUTHOR_EMAIL": "t@example.org",
    "GIT_COMMITTER_NAME": "t",
    "GIT_COMMITTER_EMAIL": "t@example.org",
}


def stages_run(output: str) -> list[str]:
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage '")]


def finished_runs(folder: Path) -> int:
    with sqlite3.connect(folder / "mlflow.db") as store:
        return store.execute("select count(*) from runs where status = 'FINISHED'").fetchone()[0]


@pytest.fixture(scope="module")
def first(tmp_path_factory, tiny_model) -> Path:
    folder = clone(tmp_path_factory.mktemp("first"), tiny_params(tiny_model))
    repro(folder)
    return folder


def test_two_clean_clones_give_the_same_lock(first, tmp_path, tiny_model):
    second = clone(tmp_path, tiny_params(tiny_model))
    repro(second)
    assert (second / "dvc.lock").read_text() == (first / "dvc.lock").read_text()


def test_a_second_repro_runs_publish_alone_and_publishes_nothing(first):
    assert finished_runs(first) == 1
    done = repro(first)
    assert stages_run(done.stdout) == ["publish"]
    assert finished_runs(first) == 1


def test_going_back_to_old_params_restores(first, tiny_model):
    lock = (first / "dvc.lock").read_bytes()
    params = tiny_params(tiny_model)
    params["finetune"]["learning_rate"] = 5e-4
    write_params(first, params)
    changed = repro(first)
    assert {"finetune", "predict"} <= set(stages_run(changed.stdout))
    assert not {"ingest", "deidentify", "split", "baseline"} & set(stages_run(changed.stdout))
    assert finished_runs(first) == 2
    write_params(first, tiny_params(tiny_model))
    restored = repro(first)
    # gate has no outs to restore; the report, which is in git and not in the cache, takes a second
    assert stages_run(restored.stdout) == ["report", "publish", "gate"]
    assert (first / "dvc.lock").read_bytes() == lock
    assert finished_runs(first) == 2


NAME, PHONE, WORD = "Quibblethorpe", "603-555-0176", "zanzibarweed"
MAY_HOLD_PHI = ("data/raw/", "data/notes.parquet", "data/gold_spans.parquet", "data/annotations.parquet")


def everything(folder: Path):
    """(relative path, content as text) of every file; Parquet decoded; DVC's cache under the path it is a copy of."""
    known = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and ".git" not in path.relative_to(folder).parts[:1] and "__pycache__" not in path.parts:
            relative = path.relative_to(folder).as_posix()
            if not relative.startswith(".dvc/cache"):
                known[sha256(path)] = relative
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.relative_to(folder).parts[0] == ".git":
            continue
        relative = path.relative_to(folder).as_posix()
        if relative.startswith(".dvc/cache"):
            relative = known.get(sha256(path), relative)
        raw = path.read_bytes()
        yield relative, str(pq.read_table(path).to_pylist()) if raw[:4] == b"PAR1" else raw.decode("utf-8", "ignore")


def own_notes(file: Path, model: Path) -> dict:
    """Write notes with canaries as a hospital's table; returns params that read it."""
    draw = random.Random(0)
    rows = []
    for number in range(160):
        label, word = (("flu", "fever and cough"), ("fracture", "pain after a fall"))[number % 2]
        filler = " ".join(
            draw.choice("calm alert warm dry tender swollen stable mild severe acute".split()) for _ in range(9)
        )
        rows.append({"note": f"Patient: Mr. {NAME}. Seen by Dr. {NAME} for {word}, {filler}. {WORD} noted. Call {PHONE}.",
                     "diagnosis": label, "person": f"{NAME}-{number}", "sex": "FM"[number % 2]})  # fmt: skip
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    params = tiny_params(model)
    params["ingest"] |= {"corpus": "table", "labels": "own", "near_duplicate_jaccard": 1.0}
    params["ingest"]["table"] |= {
        "text": "note",
        "labels": "diagnosis",
        "patient_id": "person",
        "sex": "sex",
        "public": True,
    }
    return params


def test_own_notes_after_dvc_add_in_an_experiment_elsewhere(tmp_path, tiny_model):
    """A copy of the repository has only what git or DVC tracks; data/raw is ignored, what `dvc add` writes there is not."""
    params = own_notes(tmp_path / "data/raw/ours.csv", tiny_model)
    params["ingest"]["path"] = "data/raw/ours.csv"
    clone(tmp_path, params)
    repro(tmp_path, "add", "data/raw/ours.csv")
    added = run_in(tmp_path, "git", "add", "-v", "data/raw/ours.csv.dvc").stdout
    assert "ours.csv.dvc" in added
    assert not run_in(tmp_path, "git", "ls-files", "data/raw/ours.csv").stdout
    done = repro(tmp_path, "exp", "run", "--temp", "-S", "split.seed=8", "split")
    assert "data/raw/ours.csv.dvc" in done.stdout and stages_run(done.stdout)[-1] == "split"


def test_canaries_stay_where_they_may_be(tmp_path, tiny_model):
    """Planted names and numbers end at deidentify, and a planted plain word never leaves data/ and the report that quotes notes."""
    folder = tmp_path
    params = own_notes(folder / "notes" / "hospital.csv", tiny_model)
    params["ingest"]["path"] = "notes/hospital.csv"
    clone(folder, params)
    sources = set(run_in(folder, "git", "ls-files").stdout.splitlines())  # the notes, and tests that name the canaries
    done = repro(folder)
    assert NAME not in done.stdout + done.stderr and WORD not in done.stdout + done.stderr
    seen = dict.fromkeys((NAME, PHONE, WORD), 0)
    for path, text in everything(folder):
        if path in sources:
            continue
        for canary in (NAME, PHONE):
            if canary.lower() in text.lower():
                seen[canary] += 1
                assert path.startswith(MAY_HOLD_PHI), f"{canary} stands in {path}"
        if WORD in text.lower():
            seen[WORD] += 1
            assert path.startswith(("data/", "reports/with_text.html")), f"{WORD} stands in {path}"
    assert all(seen.values()), "the canaries were planted"
    assert os.path.exists(folder / "mlflow.db")
