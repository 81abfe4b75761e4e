"""The workflow for pull requests: what it may do, and its shell steps run here in a small repository."""

import json
import os
import re
from pathlib import Path

import pytest
from conftest import ROOT, default_params, run_in, write_params
from ruamel.yaml import YAML
from test_repro import ENV

WORKFLOW = YAML(typ="safe", pure=True).load(ROOT / ".github" / "workflows" / "tests.yml")
STEPS = [step for job in WORKFLOW["jobs"].values() for step in job["steps"]]


def shell(name: str) -> str:
    (step,) = [step for step in STEPS if step.get("name") == name]
    return step["run"]


def run_step(name: str, folder: Path, **env: str):
    """Run a step's text as GitHub does where `shell` is bash."""
    summary = folder.parent / "summary.md"
    summary.touch()
    files = {"GITHUB_STEP_SUMMARY": str(summary), "GITHUB_PATH": str(folder.parent / "path.txt")}
    environment = ENV | files | env
    return run_in(folder, "bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", shell(name), env=environment)


@pytest.fixture
def repository(tmp_path):
    """A repository whose second commit changes its metrics; returns (folder, the first commit)."""
    folder = tmp_path / "repository"
    (folder / ".dvc").mkdir(parents=True)
    (folder / ".dvc" / "config").write_text("[core]\n    analytics = false\n")
    (folder / "metrics").mkdir()
    (folder / "dvc.yaml").write_text("metrics: [metrics/clean.json, metrics/evaluate.json]\n")
    commits = []
    for clean, score in ((7, 0.5), (9, 0.75)):
        (folder / "metrics" / "clean.json").write_text(json.dumps({"notes": clean}))
        (folder / "metrics" / "evaluate.json").write_text(json.dumps({"test": {"model": {"macro_f1": score}, "n": 40}}))
        if not commits:
            run_in(folder, "git", "init", "-q", "-b", "main")
        run_in(folder, "git", "add", "-A")
        run_in(folder, "git", "commit", "-q", "-m", "metrics", env=ENV)
        commits.append(run_in(folder, "git", "rev-parse", "HEAD").stdout.strip())
    return folder, commits[0]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def comment_of(folder: Path, base: str, comparison: str = "### Models\n") -> str:
    """The comment that the steps after the models' comparison write."""
    (folder / "comparison.md").write_text(comparison)
    run_step("Compare metrics", folder, BASE=base)
    run_step("Write the comment", folder)
    return (folder / "comment.md").read_text()


def test_the_comment_has_a_table_of_old_new_and_difference(repository):
    folder, base = repository
    lines = comment_of(folder, base).splitlines()
    assert lines[:4] == ["### Models", "", f"### Metrics against {base[:7]}", ""]
    assert cells(lines[4]) == ["Path", "Metric", "base", "workspace", "Change"]
    assert re.fullmatch(r"(\|-+)+\|", lines[5])
    assert [cells(line) for line in lines[6:]] == [
        ["metrics/evaluate.json", "test.model.macro_f1", "0.5", "0.75", "0.25"],
        ["metrics/clean.json", "notes", "7", "9", "2"],
    ]
    assert (folder.parent / "summary.md").read_text() == (folder / "comment.md").read_text()


def test_without_a_change_it_says_so(repository):
    folder, _ = repository
    head = run_in(folder, "git", "rev-parse", "HEAD").stdout.strip()
    assert comment_of(folder, head).endswith(f"### Metrics against {head[:7]}\n\nNo metric changes.\n")


def test_a_table_longer_than_a_comment_may_be_is_cut_at_a_row(repository):
    folder, base = repository
    (folder / "metrics" / "clean.json").write_text(json.dumps({f"class {n}": n for n in range(2000)}))
    comment = comment_of(folder, base)
    assert 50_000 < len(comment) < 65_536
    assert comment.endswith("|\n\n... and more, in the summary of this run.\n")
    assert "macro_f1" in comment
    assert "class 1999 " in (folder.parent / "summary.md").read_text()


def test_the_comment_is_given_to_gh(repository, tmp_path):
    folder, _ = repository
    (folder / "comment.md").write_text("text")
    stand_in = tmp_path / "bin" / "gh"
    stand_in.parent.mkdir()
    stand_in.write_text('#!/bin/sh\necho "$@"\n')
    stand_in.chmod(0o755)
    script = f'PATH="{stand_in.parent}:$PATH"\n{shell("Comment")}'
    done = run_in(folder, "bash", "-eo", "pipefail", "-c", script, env={"NUMBER": "12"})
    assert done.stdout == "pr comment 12 --edit-last --create-if-none --body-file comment.md\n"


# A pipeline of one stage whose model is as good as its param says.
MAKE = """
import json
from pathlib import Path
from dataclasses import replace
import numpy as np
from scored import prediction_rows, random_shard, write_predictions
good = json.loads(Path("good.json").read_text())
shard = random_shard(300, seed=1)
mixed = good * shard.truth + (1 - good) * shard.probabilities
rows = prediction_rows(replace(shard, probabilities=mixed), "test", "model")
write_predictions(Path("data/predictions.parquet"), rows)
Path("runs.txt").open("a").write("run\\n")
"""
PIPELINE = "stages: {evaluate: {cmd: python make.py, deps: [make.py, good.json], outs: [data/predictions.parquet]}}\n"


@pytest.fixture
def pipeline(tmp_path):
    """A repository whose second commit has a better model; returns (folder, the first commit)."""
    folder = tmp_path / "work" / "repository"
    (folder / ".dvc").mkdir(parents=True)
    (folder / ".dvc" / "config").write_text("[core]\n    analytics = false\n")
    (folder / "Makefile").write_text(".venv/installed:\n\tmkdir -p .venv/bin\n\ttouch $@\n")  # this Python has all
    (folder / ".gitignore").write_text("/data\n/.venv\n/runs.txt\n")
    (folder / "make.py").write_text(MAKE)
    (folder / "dvc.yaml").write_text(PIPELINE)
    write_params(folder, {"compare": default_params()["compare"]})
    run_in(folder, "git", "init", "-q", "-b", "main")
    commits = []
    for good in (0.0, 0.5):
        (folder / "good.json").write_text(json.dumps(good))
        run_in(folder, "git", "add", "-A")
        run_in(folder, "git", "commit", "-q", "-m", "model", env=ENV)
        commits.append(run_in(folder, "git", "rev-parse", "HEAD").stdout.strip())
    return folder, commits[0]


MODULES = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}


def test_both_sides_are_made_anew_and_their_models_compared(pipeline):
    folder, base = pipeline
    run_step("Install", folder)
    assert (folder.parent / "path.txt").read_text() == f"{folder / '.venv/bin'}\n"
    run_step("Reproduce both sides", folder, BASE=base, **MODULES)
    run_step("Compare models", folder, **MODULES)
    lines = (folder / "comparison.md").read_text().splitlines()
    assert lines[0] == "### This branch (B) against its base (A): 300 test notes of 300 patients"
    rows = [cells(line) for line in lines if line.startswith("| model | macro_f1 ")]
    assert len(rows) == 1 and rows[0][-1] == "better"


def test_what_the_base_has_made_is_not_run_again(pipeline):
    folder, _ = pipeline
    head = run_in(folder, "git", "rev-parse", "HEAD").stdout.strip()
    run_step("Install", folder)
    run_step("Reproduce both sides", folder, BASE=head, **MODULES)
    assert (folder.parent / "base" / "runs.txt").exists() and not (folder / "runs.txt").exists()
    run_step("Compare models", folder, **MODULES)
    assert "the same probabilities" in (folder / "comparison.md").read_text()


def test_a_side_that_cannot_be_made_is_said_in_the_comment(pipeline):
    folder, base = pipeline
    run_step("Install", folder)
    with pytest.raises(AssertionError, match="make.py"):
        run_step("Reproduce both sides", folder, BASE=base, PYTHONPATH="")
    run_step("Compare models", folder, **MODULES)
    assert (
        (folder / "comparison.md").read_text().startswith("### Models not compared\n\nerror: ../base has no data/pred")
    )


def test_the_steps_stand_in_an_order_that_tells_the_truth():
    names = [step.get("name") for step in WORKFLOW["jobs"]["metrics"]["steps"]]
    assert names.index("Compare metrics") < names.index("Reproduce both sides"), (
        "a reproduced metric is not the committed one"
    )
    (reproduce,) = [step for step in STEPS if step.get("name") == "Reproduce both sides"]
    assert reproduce["continue-on-error"] is True


def test_only_the_job_that_runs_nothing_of_a_pull_request_may_write():
    jobs = WORKFLOW["jobs"]
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert {name for name, job in jobs.items() if "permissions" in job} == {"comment"}
    assert jobs["comment"]["permissions"] == {"pull-requests": "write"}
    assert [step.get("name") or step["uses"].split("@")[0] for step in jobs["comment"]["steps"]] == [
        "actions/download-artifact",
        "Comment",
    ]
    assert jobs["comment"]["if"] == "github.event.pull_request.head.repo.full_name == github.repository"
    for step in STEPS:
        assert "GH_TOKEN" not in step.get("env", {}) or step["name"] == "Comment"
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


def test_it_may_do_little_and_runs_what_was_read():
    assert set(WORKFLOW["on"]) == {"push", "pull_request"}, "pull_request_target would hand a fork's code the token"
    for step in STEPS:
        assert re.search(r"@[0-9a-f]{40}$", step["uses"]) if "uses" in step else "${{" not in step["run"]
    text = (ROOT / ".github" / "workflows" / "tests.yml").read_text()
    assert "secrets." not in text
    assert shell("Test") == "make test" and os.access(ROOT / "Makefile", os.R_OK)
