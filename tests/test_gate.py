"""The gate: kept, broken and undecided limits, what is missing is no pass, and DVC runs it when all else is done."""

import copy
import json
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT, default_params, merged, run_in, write_params
from ruamel.yaml import YAML

EVALUATE = {
    "calibrated": {"ece": 0.08},
    "interval": {"model": {"sensitivity": {"low": 0.55, "high": 0.68}}},
}


def compared(verdict, low, high):
    return {"verdict": verdict, "largest": {"low": low, "high": high}}


FAIRNESS = {
    "groupings": {
        "sex": {"compared": {
            "sensitivity": compared("cannot_conclude", 0.0, 0.19),
            "accuracy": compared("fair_within_margin", 0.0, 0.05),
        }},
        "insurance": {"compared": {
            "sensitivity": compared("unfair", 0.1, 0.5),
            "accuracy": compared("fair_within_margin", 0.0, 0.08),
        }},
        "language": {"compared": {
            "sensitivity": {"verdict": "cannot_conclude", "largest": None},
            "accuracy": compared("fair_within_margin", 0.0, 0.08),
        }},
    },
    "worst_subgroup": {"largest": {"low": 0.16, "high": 0.84}},
}  # fmt: skip


@pytest.fixture
def metrics(folder):
    """Write the three files and return a function to write them changed."""

    def write(evaluate=EVALUATE, fairness=FAIRNESS, shard="test"):
        Path("metrics").mkdir(exist_ok=True)
        Path("metrics/evaluate.json").write_text(json.dumps({shard: evaluate}))
        Path("metrics/audit_fairness.json").write_text(json.dumps({shard: fairness}))
        Path("metrics/audit_leakage.json").write_text(json.dumps({"gate": {"highest_lift": 0.02}}))

    write()
    return write


@pytest.fixture
def judged(stage, metrics, capsys):
    """(exit code, error line, the gate's lines) with the params given."""

    def call(**params):
        code, line = stage("gate", params)
        out = capsys.readouterr()
        return code, line, [each for each in out.err.splitlines() if each.startswith("gate:")], out.out

    return call


def test_no_limit_is_a_pass_that_says_so(judged):
    assert judged() == (0, "", [], "gate: no limit is set in params.yaml: gate\n")


@pytest.mark.parametrize(
    "limit, broken",
    [
        ({"min_sensitivity": 0.55}, None),
        ({"min_sensitivity": 0.56}, "test.interval.model.sensitivity.low of metrics/evaluate.json is 0.55, gate.min_sensitivity is 0.56"),
        ({"max_ece": 0.08}, None),
        ({"max_ece": 0.05}, "test.calibrated.ece of metrics/evaluate.json is 0.08, gate.max_ece is 0.05"),
        ({"max_leakage_lift": 0.02}, None),
        ({"max_leakage_lift": 0.01}, "gate.highest_lift of metrics/audit_leakage.json is 0.02, gate.max_leakage_lift is 0.01"),
        ({"fair_metrics": ["accuracy"]}, None),
        ({"max_fairness_gap": {"accuracy": 0.08}}, None),
        ({"max_fairness_gap": {"sensitivity": 0.09}, "cannot_conclude": "pass"},
         "test.groupings.insurance.compared.sensitivity.largest of metrics/audit_fairness.json is from 0.1 to 0.5, gate.max_fairness_gap.sensitivity is 0.09"),
        ({"max_subgroup_gap": 0.9}, None),
        ({"max_subgroup_gap": 0.1}, "test.worst_subgroup.largest of metrics/audit_fairness.json is from 0.16 to 0.84, gate.max_subgroup_gap is 0.1"),
    ],
    ids=lambda value: "_".join(value) if isinstance(value, dict) else "broken" if value else "kept",
)  # fmt: skip
def test_each_limit(judged, limit, broken):
    code, line, lines, _ = judged(**limit)
    assert (code, lines) == ((1, [f"gate: broken: {broken}"]) if broken else (0, []))
    assert ("limits of params.yaml: gate are not kept" in line) == bool(broken)


@pytest.mark.parametrize("policy, code, lines", [("pass", 0, 0), ("warn", 0, 1), ("fail", 1, 1)])
def test_what_cannot_be_concluded(judged, policy, code, lines):
    # between 0.16 and 0.84
    found = judged(max_subgroup_gap=0.3, cannot_conclude=policy)
    assert (found[0], len(found[2])) == (code, lines)
    assert all(line.startswith("gate: cannot conclude: test.worst_subgroup") for line in found[2])


def test_every_broken_limit_has_a_line(judged):
    code, line, lines, _ = judged(
        fair_metrics=["sensitivity"], min_sensitivity=0.9, max_ece=0.01, cannot_conclude="warn"
    )
    assert code == 1 and line.startswith("error: 3 of 5 limits") and len(lines) == 5
    assert [each.split(": ")[1] for each in lines].count("cannot conclude") == 2
    assert any(
        "insurance.compared.sensitivity.verdict of metrics/audit_fairness.json is unfair" in each for each in lines
    )


def without(content: dict, *keys) -> dict:
    result = copy.deepcopy(content)
    place = result
    for key in keys[:-1]:
        place = place[key]
    del place[keys[-1]]
    return result


@pytest.mark.parametrize(
    "changed, limit, says",
    [
        ({"evaluate": without(EVALUATE, "calibrated")}, {"max_ece": 0.5}, "metrics/evaluate.json has no test.calibrated:"),
        ({"evaluate": {**EVALUATE, "calibrated": {"ece": None}}}, {"max_ece": 0.5}, "test.calibrated.ece is undefined"),
        ({"evaluate": without(EVALUATE, "interval", "model", "sensitivity")}, {"min_sensitivity": 0.1}, "has no test.interval.model.sensitivity:"),
        ({"fairness": {"status": "no groups"}}, {"fair_metrics": ["accuracy"]}, "metrics/audit_fairness.json has no test.groupings:"),
        ({"fairness": {"status": "no groups"}}, {"max_subgroup_gap": 0.9}, "has no test.worst_subgroup:"),
        ({}, {"fair_metrics": ["auroc"]}, "has no test.groupings.sex.compared.auroc:"),
        ({"fairness": merged(FAIRNESS, {"worst_subgroup": {"largest": {"low": None}}})}, {"max_subgroup_gap": 0.9}, "test.worst_subgroup.largest.low is undefined"),
    ],
    ids=["no value", "null", "no interval", "no groups", "no scan", "no metric", "null end"],
)  # fmt: skip
def test_what_is_missing_is_never_a_pass(metrics, judged, changed, limit, says):
    metrics(**changed)
    code, _, lines, _ = judged(**limit, cannot_conclude="pass")
    assert code == 1 and says in lines[0] and lines[0].startswith("gate: broken: ")


def test_withheld_test_is_judged_on_validation(metrics, judged):
    metrics(shard="validation")
    code, _, lines, _ = judged(max_ece=0.01)
    assert code == 1 and "validation.calibrated.ece" in lines[0]


@pytest.mark.parametrize(
    "params, says",
    [
        ({"cannot_conclude": "ignore"}, "gate.cannot_conclude is 'ignore'"),
        ({"fair_metrics": ["kindness"]}, "gate.fair_metrics.0 is 'kindness'"),
        ({"fair_metrics": []}, "gate.fair_metrics is []"),
        ({"max_fairness_gap": {"accuracy": 0}}, "gate.max_fairness_gap.accuracy is 0"),
        ({"max_ece": 2}, "gate.max_ece is 2"),
        ({"min_npv": 0.5}, "gate.min_npv is no known param"),
    ],
)  # fmt: skip
def test_bad_params_end_with_one_line(judged, params, says):
    code, line, _, _ = judged(**params)
    assert code == 1 and says in line and "\n" not in line


def test_a_missing_file_is_one_line(judged):
    Path("metrics/audit_leakage.json").unlink()
    code, line, _, _ = judged()
    assert code == 1 and "metrics/audit_leakage.json does not exist" in line


def test_dvc_runs_it_last():
    done = run_in(ROOT, "dvc", "repro", "--dry", "--force", env={"DVC_NO_ANALYTICS": "1"})
    ran = [line.split("'")[1] for line in done.stdout.splitlines() if line.startswith("Running stage")]
    assert ran[-2:] == ["publish", "gate"]


@pytest.mark.slow
def test_a_broken_limit_in_dvc_leaves_what_ran_before(metrics, folder):
    """The real block of dvc.yaml behind a stage that, as publish, has no outs and always runs."""
    block = YAML(typ="safe", pure=True).load(ROOT / "dvc.yaml")["stages"]["gate"]
    block["deps"] = [dep for dep in block["deps"] if dep.startswith("metrics/")]
    publish = {"cmd": "echo published > published", "deps": ["metrics/evaluate.json"], "always_changed": True}
    with open("dvc.yaml", "w") as stream:
        YAML().dump({"stages": {"publish": publish, "gate": block}}, stream)
    section = default_params()["gate"]
    write_params(folder, {"gate": section | {"max_ece": 0.01}})
    subprocess.run(["git", "init", "-q"], check=True)
    env = {"PYTHONPATH": str(ROOT), "DVC_NO_ANALYTICS": "1"}
    run_in(folder, "dvc", "init", "-q", env=env)
    done = run_in(folder, "dvc", "repro", env=env, check=False)
    assert done.returncode != 0 and "gate: broken: test.calibrated.ece" in done.stderr
    assert Path("published").exists() and json.loads(Path("metrics/evaluate.json").read_text())["test"] == EVALUATE
    assert "gate" not in YAML(typ="safe", pure=True).load(Path("dvc.lock"))["stages"]
    write_params(folder, {"gate": section | {"max_ece": 0.5}})
    assert run_in(folder, "dvc", "repro", env=env).returncode == 0
    assert "Running stage 'gate'" not in run_in(folder, "dvc", "repro", env=env).stdout
