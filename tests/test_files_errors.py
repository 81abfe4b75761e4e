"""Files whole or absent, JSON that every reader takes, and how a stage ends when something is wrong."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

from diagnosis.errors import UserError
from diagnosis.files import read_json, require, sha256, write_json, written_aside

CANARY = "Quibblethorpe"

# ---------------------------------------------------------------- errors


def ended(folder: Path, body: str, **env) -> subprocess.CompletedProcess:
    """A stage with this `main`, run as `python -m stages.x` runs; note.txt holds the canary."""
    (folder / "note.txt").write_text(CANARY)
    (folder / "stage.py").write_text(
        f"from pathlib import Path\nfrom diagnosis.errors import UserError, run\ndef main():\n    {body}\nrun(main)\n"
    )
    return subprocess.run(
        [sys.executable, "stage.py"], cwd=folder, env={"PYTHONPATH": str(ROOT), **env}, capture_output=True, text=True
    )


def test_an_unexpected_exception_shows_its_stack_but_not_its_message(tmp_path):
    done = ended(tmp_path, "int(Path('note.txt').read_text())")
    assert done.returncode == 1 and CANARY not in done.stdout + done.stderr
    assert "in main" in done.stderr and "unexpected ValueError" in done.stderr and "DIAGNOSIS_DEBUG=1" in done.stderr


def test_nor_the_message_of_what_caused_it(tmp_path):
    body = (
        "try: int(Path('note.txt').read_text())\n    except ValueError as error: raise KeyError(str(error)) from error"
    )
    done = ended(tmp_path, body)
    assert done.returncode == 1 and CANARY not in done.stdout + done.stderr and "unexpected KeyError" in done.stderr


def test_debug_shows_the_message(tmp_path):
    done = ended(tmp_path, "int(Path('note.txt').read_text())", DIAGNOSIS_DEBUG="1")
    assert done.returncode == 1 and CANARY in done.stderr


def test_a_users_mistake_is_one_line(tmp_path):
    done = ended(tmp_path, r"raise UserError('data/x is torn:\n  run it again')")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "error: data/x is torn: run it again\n")


def test_an_interrupt_ends_with_130_and_success_with_0(tmp_path):
    assert ended(tmp_path, "raise KeyboardInterrupt").returncode == 130
    assert ended(tmp_path, "pass").returncode == 0


# ---------------------------------------------------------------- files


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_failure_leaves_the_old_file_and_nothing_aside(tmp_path, failure):
    path = tmp_path / "out.txt"
    path.write_text("old")
    with pytest.raises(failure), written_aside(path) as partial:
        partial.write_text("half")
        raise failure
    assert path.read_text() == "old" and names(tmp_path) == ["out.txt"]


def test_a_failure_leaves_the_old_folder_and_nothing_aside(tmp_path):
    path = tmp_path / "model"
    path.mkdir()
    (path / "old").touch()
    with pytest.raises(RuntimeError), written_aside(path) as partial:
        (partial / "deep").mkdir(parents=True)
        raise RuntimeError
    assert names(tmp_path) == ["model", "model/old"]


def test_success_replaces_a_file_or_folder_and_what_a_killed_run_left(tmp_path):
    for kind in ("file", "folder"):
        path = tmp_path / "made" / kind
        left = path.with_name(f".{kind}.partial") / "torn"
        left.mkdir(parents=True)
        for content in ("first", "second"):
            with written_aside(path) as partial:
                assert not partial.exists()
                if kind == "folder":
                    partial.mkdir()
                (partial / content if kind == "folder" else partial).write_text(content)
    assert names(tmp_path / "made") == ["file", "folder", "folder/second"]
    assert (tmp_path / "made/file").read_text() == "second"


def test_json_is_plain_and_sorted(tmp_path):
    path = tmp_path / "metrics" / "x.json"
    content = {
        "z": float("nan"),
        "a": {"inf": -float("inf"), "numpy": np.float32("nan"), "cell": (1, np.int64(2), np.bool_(True))},
        "m": np.array([[0.5, np.inf], [1, 2]]),
        3: "é",
    }
    write_json(path, content)
    text = path.read_text("utf-8")
    assert [line.split('"')[1] for line in text.splitlines() if line.startswith('  "')] == ["3", "a", "m", "z"]
    assert "é" in text and text.endswith("}\n") and "NaN" not in text and "Infinity" not in text
    assert read_json(path) == {
        "3": "é",
        "a": {"inf": None, "numpy": None, "cell": [1, 2, True]},
        "m": [[0.5, None], [1, 2]],
        "z": None,
    }
    assert json.dumps(content["z"]) == "NaN", "what was given is not changed"


def test_json_that_cannot_be_written_leaves_the_old(tmp_path):
    write_json(tmp_path / "x.json", {"a": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "x.json", {"a": object()})
    assert read_json(tmp_path / "x.json") == {"a": 1} and names(tmp_path) == ["x.json"]


def test_files_that_are_missing_or_no_json_are_one_line(tmp_path):
    for content in ("{", f"note: {CANARY}"):
        (tmp_path / "x.json").write_text(content)
        with pytest.raises(UserError, match="x.json is not valid JSON: write it again") as error:
            read_json(tmp_path / "x.json")
        assert CANARY not in str(error.value)
    with pytest.raises(UserError, match="y.json does not exist: run `dvc repro`"):
        read_json(tmp_path / "y.json")
    with pytest.raises(UserError, match="key does not exist: make one"):
        require(tmp_path / "key", "make one")


def test_sha256_of_a_file_is_the_plain_one_and_of_a_folder_sees_names_and_contents(tmp_path):
    (tmp_path / "one/deep").mkdir(parents=True)
    (tmp_path / "one/a").write_text("1")
    (tmp_path / "one/deep/b").write_text("2")
    assert sha256(tmp_path / "one/a") == hashlib.sha256(b"1").hexdigest()
    seen = {sha256(tmp_path / "one")}
    for change in (
        lambda: (tmp_path / "one/a").rename(tmp_path / "one/c"),
        lambda: (tmp_path / "one/deep").rename(tmp_path / "one/other"),
        lambda: (tmp_path / "one/other/b").write_text("3"),
        lambda: (tmp_path / "one/empty").touch(),
    ):
        change()
        seen.add(sha256(tmp_path / "one"))
    assert len(seen) == 5
    (tmp_path / "one").rename(tmp_path / "two")
    assert sha256(tmp_path / "two") in seen, "the folder's own name is no part of it"
