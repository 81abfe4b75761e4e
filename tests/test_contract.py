"""dvc.yaml against the code: what a stage imports, reads and is given agree with what it declares."""

import ast
import json
import os
import re
from pathlib import Path

import pytest
from conftest import ROOT, default_params, run_in
from ruamel.yaml import YAML

STAGES = YAML(typ="safe", pure=True).load(ROOT / "dvc.yaml")["stages"]


def imports(file: Path) -> set[str]:
    """Repository files that a module imports, at the top or inside functions."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            assert not (isinstance(node, ast.ImportFrom) and node.level), (
                f"{file}: relative imports hide what is imported"
            )
            continue
        for name in names:
            module = ROOT / Path(*name.split("."))
            if module.with_suffix(".py").is_file():
                found.add(module.with_suffix(".py").relative_to(ROOT).as_posix())
    return found


def closure(file: str) -> set[str]:
    """`file` and every repository file that it needs, directly or not."""
    todo, done = {file}, set()
    while todo:
        current = todo.pop()
        done.add(current)
        todo |= imports(ROOT / current) - done
    return done


def declared(stage: dict, kind: str) -> list[str]:
    """Paths under deps, outs, metrics or plots of a stage, with params filled in."""
    values = [next(iter(entry)) if isinstance(entry, dict) else entry for entry in stage.get(kind, [])]

    def value(match):
        here = default_params()
        for key in match[1].split("."):
            here = here[key]
        return str(here)

    return [re.sub(r"\$\{([\w.]+)\}", value, path) for path in values]


def covers(dep: str, file: str) -> bool:
    return file == dep or file.startswith(dep.rstrip("/") + "/")


@pytest.mark.parametrize("name", STAGES)
def test_code_deps_are_what_the_stage_imports(name):
    needed = closure(f"stages/{name}.py")
    code = [dep for dep in declared(STAGES[name], "deps") if dep.startswith(("stages", "diagnosis"))]
    missing = sorted(file for file in needed if not any(covers(dep, file) for dep in code))
    unused = sorted(dep for dep in code if not any(covers(dep, file) for file in needed))
    assert not missing, f"{name} imports files that dvc.yaml does not declare"
    assert not unused, f"{name} declares code that it does not import"


@pytest.mark.parametrize("name", STAGES)
def test_each_stage_is_a_script_with_a_main_without_arguments(name):
    assert STAGES[name]["cmd"] == f"python -m stages.{name}"
    tree = ast.parse((ROOT / "stages" / f"{name}.py").read_text())
    assert ast.get_docstring(tree)
    (main,) = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "main"]
    assert not (main.args.args or main.args.kwonlyargs or main.args.vararg or main.args.kwarg)


@pytest.mark.parametrize("name", STAGES)
def test_paths_in_the_script_are_declared(name):
    """Every path constant of a stage lies under one of its deps, outs, metrics or plots, or in the ignored folders."""
    text = (ROOT / "stages" / f"{name}.py").read_text()
    paths = re.findall(r"^[A-Z_]+ = Path\(\"([^\"]+)\"\)", text, flags=re.M)
    known = [path for kind in ("deps", "outs", "metrics", "plots") for path in declared(STAGES[name], kind)]
    known += ["logs", ".checkpoints"]
    if name == "publish":  # the one named exception: it reads what the whole run left
        known += ["dvc.yaml", "params.yaml", "dvc.lock", "metrics", "plots", ".git", ".dvc"]
    unknown = [p for p in paths if not any(covers(k, p) or covers(p, k) for k in known)]
    assert not unknown


@pytest.mark.parametrize("name", STAGES)
def test_params_section_is_declared_and_complete(name):
    """A stage loads its own section, every key of it, and of others only the single keys that it declares."""
    text = (ROOT / "stages" / f"{name}.py").read_text()
    sections = set(re.findall(r"\.load\(\"(\w+)\"\)", text))
    params = STAGES[name]["params"]
    if name == "publish":
        assert (sections, params) == ({name}, [{"params.yaml": None}])
        return
    assert params[0] == name and all(re.fullmatch(r"\w+\.\w+", other) for other in params[1:])
    assert sections == {param.split(".")[0] for param in params}


def test_every_params_section_belongs_to_a_stage_or_tool():
    assert set(STAGES) <= set(default_params()) <= {*STAGES, *TOOLS}


def test_every_script_is_a_stage():
    scripts = {file.stem for file in (ROOT / "stages").glob("*.py")} - {"__init__"}
    assert scripts == set(STAGES)


def test_every_module_is_used_by_a_stage_or_tool():
    roots = [f"stages/{name}.py" for name in STAGES]
    roots += [
        p.relative_to(ROOT).as_posix() for folder in ("tools", "benchmarks") for p in (ROOT / folder).glob("*.py")
    ]
    used = set().union(*(closure(file) for file in roots))
    modules = {p.relative_to(ROOT).as_posix() for p in (ROOT / "diagnosis").rglob("*.py") if p.name != "__init__.py"}
    assert not sorted(modules - used)


def test_init_files_are_empty():
    for folder in ("diagnosis", "stages", "tools"):
        for file in (ROOT / folder).rglob("__init__.py"):
            assert not file.read_text().strip(), f"{file} does something at import"


TOOLS = sorted(file.stem for file in (ROOT / "tools").glob("*.py") if file.stem != "__init__")


@pytest.mark.parametrize("name", TOOLS)
def test_each_tool_says_what_it_does(name):
    shown = run_in(ROOT, "python", "-m", f"tools.{name}", "--help").stdout
    text = ast.get_docstring(ast.parse((ROOT / "tools" / f"{name}.py").read_text()))
    assert shown.startswith(f"usage: python -m tools.{name} ") and text.splitlines()[0] in shown


HEAVY = {"torch", "transformers", "peft", "datasets", "accelerate", "mlflow", "sklearn", "imblearn", "fairlearn"}
ALLOWED = {
    "split": {"sklearn"},
    "audit_data": {"transformers"},  # for a tokenizer that is a vocabulary alone
    # Within functions that are called where a detector is asked for; tests/test_phi_model.py sees to it.
    "adapt": {"torch", "transformers", "peft", "datasets", "sklearn"},
    "finetune_detector": {"torch", "transformers", "peft"},
    "finetune_spans": {"torch", "transformers", "peft"},
    "deidentify": {"torch", "transformers"},
    "augment": {"torch", "transformers"},  # likewise; tests/test_augment_depth.py
    "rebalance": {"imblearn", "sklearn"},
    "finetune": {"torch", "transformers", "peft", "datasets", "accelerate", "sklearn", "imblearn"},
    "predict": {"torch", "transformers"},
    "baseline": {"sklearn"},
    "calibrate": {"sklearn"},
    "evaluate": {"sklearn"},
    "audit_fairness": {"sklearn", "fairlearn"},
    "audit_leakage": {"sklearn"},
    "explain": {"torch", "transformers", "sklearn"},
    "probe": {"torch", "transformers", "sklearn"},
    "publish": {"mlflow"},
}


@pytest.mark.parametrize("name", STAGES)
def test_heavy_libraries_only_where_they_are_needed(name):
    roots = set()
    for file in closure(f"stages/{name}.py"):
        for node in ast.walk(ast.parse((ROOT / file).read_text())):
            if isinstance(node, ast.Import):
                roots |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                roots.add(node.module.split(".")[0])
    assert roots & HEAVY <= ALLOWED.get(name, set())


@pytest.mark.skipif("CI" not in os.environ, reason="the committed lock is compared with the tree where CI is set")
def test_the_committed_lock_is_of_this_code_and_these_params():
    """DVC itself finds no code file and no param that differs from what dvc.lock was made with, and no metrics or plots
    that differ from what it has."""
    status = json.loads(run_in(ROOT, "dvc", "status", "--json").stdout)
    stale = []
    for stage, changes in status.items():
        for change in changes:
            for path, state in change.get("changed deps", {}).items() if isinstance(change, dict) else ():
                if path == "params.yaml" or path.startswith(("stages", "diagnosis", "keys")):
                    stale.append((stage, path, state))
            for path, state in change.get("changed outs", {}).items() if isinstance(change, dict) else ():
                if path.startswith(("metrics", "plots")):
                    stale.append((stage, path, state))
    assert not stale, "run `make repro` and commit dvc.lock and metrics/"
