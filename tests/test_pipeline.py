"""Each stage in an empty folder that holds only what dvc.yaml says it reads: it runs, and writes that and nothing else."""

import shutil
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from conftest import ROOT, run_in, tiny_params, write_params
from test_contract import STAGES, covers, declared

RESULTS = ("outs", "metrics", "plots")
BESIDES = (".cache/tokens", ".checkpoints", "logs")  # ignored by git and DVC; a stage may leave them


def written(name: str) -> list[str]:
    return [path for kind in RESULTS for path in declared(STAGES[name], kind)]


def order() -> list[str]:
    needs = {
        name: [
            other
            for other in STAGES
            if any(covers(out, dep) for dep in declared(STAGES[name], "deps") for out in written(other))
        ]
        for name in STAGES
    }
    return [name for name in TopologicalSorter(needs).static_order() if name != "publish"]


@pytest.fixture(scope="module")
def done(tmp_path_factory, tiny_model) -> Path:
    """Where the stages' outputs are collected, for the next stages to be given."""
    folder = tmp_path_factory.mktemp("pipeline")
    write_params(folder, tiny_params(tiny_model))
    return folder


@pytest.mark.parametrize("name", order())
def test_stage_in_a_folder_of_its_own(name, done, tmp_path, tiny_model):
    for dep in declared(STAGES[name], "deps"):
        source = (
            ROOT / dep
            if (ROOT / dep).exists() and dep.startswith(("stages", "diagnosis", "keys", "lists", "data/raw/unlabelled"))
            else done / dep
        )
        assert source.exists(), f"{dep} was written by no earlier stage"
        target = tmp_path / dep
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    declared_params, own = tiny_params(tiny_model), {}
    for section, *key in (param.split(".") for param in STAGES[name]["params"]):
        given = declared_params[section]
        own[section] = own.get(section, {}) | ({key[0]: given[key[0]]} if key else given)
    write_params(tmp_path, own)
    before = {path for path in tmp_path.rglob("*") if path.is_file()}

    run_in(tmp_path, "python", "-m", f"stages.{name}", env={"PYTHONPATH": "", "PYTHONDONTWRITEBYTECODE": "1"})

    after = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert before <= after, "the stage removed what it was given"
    new = [path.relative_to(tmp_path).as_posix() for path in sorted(after - before)]
    assert all((tmp_path / path).exists() for path in written(name))
    assert not [path for path in new if not any(covers(out, path) for out in [*written(name), *BESIDES])]
    for path in written(name):
        target = done / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(tmp_path / path, target)
