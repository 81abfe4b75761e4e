"""The workflow for pull requests: what it may do, and its shell steps run here in a small repository."""

import json
import os
import re
from pathlib import Path

import pytest
from conftest import ROOT, run_in
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
    environment = ENV | {"GITHUB_STEP_SUMMARY": str(summary)} | env
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


def test_the_comment_has_a_table_of_old_new_and_difference(repository):
    folder, base = repository
    run_step("Compare metrics", folder, BASE=base)
    lines = (folder / "comment.md").read_text().splitlines()
    assert lines[:2] == [f"### Metrics against {base[:7]}", ""]
    assert cells(lines[2]) == ["Path", "Metric", "base", "workspace", "Change"]
    assert re.fullmatch(r"(\|-+)+\|", lines[3])
    assert [cells(line) for line in lines[4:]] == [
        ["metrics/evaluate.json", "test.model.macro_f1", "0.5", "0.75", "0.25"],
        ["metrics/clean.json", "notes", "7", "9", "2"],
    ]
    assert (folder.parent / "summary.md").read_text() == (folder / "comment.md").read_text()


def test_without_a_change_it_says_so(repository):
    folder, _ = repository
    head = run_in(folder, "git", "rev-parse", "HEAD").stdout.strip()
    run_step("Compare metrics", folder, BASE=head)
    assert (folder / "comment.md").read_text() == f"### Metrics against {head[:7]}\n\nNo metric changes.\n"


def test_a_table_longer_than_a_comment_may_be_is_cut_at_a_row(repository):
    folder, base = repository
    (folder / "metrics" / "clean.json").write_text(json.dumps({f"class {n}": n for n in range(2000)}))
    run_step("Compare metrics", folder, BASE=base)
    comment = (folder / "comment.md").read_text()
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


def test_it_installs_the_pinned_dvc():
    assert "$(grep '^dvc==' requirements.txt)" in shell("Install DVC")
    done = run_in(ROOT, "bash", "-c", "grep '^dvc==' requirements.txt")
    assert re.fullmatch(r"dvc==[\d.]+\n", done.stdout)


def test_it_may_do_little_and_runs_what_was_read():
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert WORKFLOW["jobs"]["metrics"]["permissions"] == {"contents": "read", "pull-requests": "write"}
    assert "permissions" not in WORKFLOW["jobs"]["test"]
    assert set(WORKFLOW["on"]) == {"push", "pull_request"}, "pull_request_target would hand a fork's code the token"
    for step in STEPS:
        assert re.search(r"@[0-9a-f]{40}$", step["uses"]) if "uses" in step else "${{" not in step["run"]
    text = (ROOT / ".github" / "workflows" / "tests.yml").read_text()
    assert "secrets." not in text
    assert shell("Test") == "make test" and os.access(ROOT / "Makefile", os.R_OK)
