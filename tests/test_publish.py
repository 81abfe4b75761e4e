"""The stage publish against real MLflow: values by hand, one run a key whatever happens, and what users break."""

import hashlib
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT, default_params, run_in
from mlflow import MlflowClient
from mlflow.entities import ViewType
from ruamel.yaml import YAML
from test_contract import STAGES, declared
from test_repro import ENV, finished_runs

from diagnosis.errors import UserError
from diagnosis.tracking.lock import run_key, upstream
from diagnosis.tracking.values import logged_metrics, logged_params, named, read_curves

PARAMS = {
    "ingest": {"path": "/secure/wards/notes", "min_count": 11, "groups": ["sex", "site"], "site": None},
    "finetune": {"learning_rate": 1e-5, "method": "lora", "checkpointing": False},
    "predict": {"withhold_test": False},
}
INGEST = {"corpus": "toy", "data_use": {"licence": "CC0", "public": True}, "notes": 40}
EVALUATE = {
    "test": {
        "n": 12,
        "model": {"macro_f1": 0.5, "ppv": None, "by_class": {"Heart / Lung": {"f1": 0.25}, "I10": {"f1": 1}}},
        "verdict": "gap",
        "pairs": [{"value": 3.0}],
    }
}
CURVES = "step,epoch,loss,split\n5,0.5,0.9,train\n10,1.0,0.7,train\n10,1.0,0.8,validation\n"
PIPELINE = {
    "synthesize": {"cmd": "synthesize"},
    "ingest": {"cmd": "ingest"},
    "finetune": {"cmd": "finetune"},
    "publish": {
        "cmd": "python -m stages.publish",
        "deps": ["stages/publish.py", "metrics/ingest.json", "metrics/evaluate.json", "plots/finetune.csv", "plots/a/roc.csv"],
    },
}  # fmt: skip


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def dump(path: Path, content: dict) -> None:
    with open(path, "w") as stream:
        YAML().dump(content, stream)


def entries(folder: Path, params: dict = PARAMS, test_set: str = "t1") -> dict:
    """dvc.lock's stages for the files in `folder`, with a synthesize and a publish that nothing was made from."""

    def outs(*paths):
        return [{"path": path, "hash": "md5", "md5": md5(folder / path), "size": 1} for path in paths]

    def of(*sections):
        return {"params.yaml": {section: params[section] for section in sections}}

    shards = [{"path": "data/split/test.parquet", "md5": test_set}, {"path": "data/split/train.parquet", "md5": "t2"}]
    return {
        "synthesize": {"cmd": "x", "params": {"params.yaml": {"synthesize": {"seed": 1}}},
                       "outs": [{"path": "data/raw/synthetic", "md5": "0.dir"}, {"path": "metrics/synthesize.json", "md5": "0"}]},
        "ingest": {"cmd": "x", "deps": [{"path": "/secure/wards/notes", "md5": "1"}], "params": of("ingest"),
                   "outs": [*shards, *outs("metrics/ingest.json")]},
        "finetune": {"cmd": "x", "deps": [{"path": "data/split", "md5": "2.dir"}], "params": of("finetune", "predict"),
                     "outs": outs("metrics/evaluate.json", "plots/finetune.csv", "plots/a/roc.csv")},
        "publish": {"cmd": "x", "deps": [{"path": "metrics/evaluate.json", "md5": "3"}]},
    }  # fmt: skip


def write(folder: Path, *, evaluate: dict = EVALUATE, params: dict = PARAMS, test_set: str = "t1") -> None:
    """A repository's folder as DVC leaves it before publish runs."""
    for path, text in {
        "metrics/ingest.json": json.dumps(INGEST),
        "metrics/evaluate.json": json.dumps(evaluate),
        "plots/finetune.csv": CURVES,
        "plots/a/roc.csv": "class,fpr,tpr\nI10,0,0\n",
    }.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    dump(folder / "dvc.yaml", {"stages": PIPELINE})
    dump(folder / "params.yaml", params | {"publish": default_params()["publish"]})
    dump(folder / "dvc.lock", {"schema": "2.0", "stages": entries(folder, params, test_set)})


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory) -> Path:
    """A SQLite store with MLflow's tables and nothing in them; making one takes MLflow five seconds."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def publish(stage, folder, empty_store, monkeypatch):
    """Run the stage in a folder with results and an empty store; returns (exit code, its one-line error)."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for name in ("DVC_ROOT", "DVC_EXP_NAME", "DVC_EXP_BASELINE_REV"):
        monkeypatch.delenv(name, raising=False)
    shutil.copy(empty_store, folder / "mlflow.db")
    write(folder)
    return lambda: stage("publish")


def client(folder: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")


def runs(folder: Path, view=ViewType.ACTIVE_ONLY) -> list:
    """Runs of the folder's store, the latest first."""
    store = client(folder)
    return store.search_runs([each.experiment_id for each in store.search_experiments()], run_view_type=view)


# ---------------------------------------------------------------- what is logged


def test_a_run_has_what_the_files_say(publish, folder, monkeypatch):
    monkeypatch.setenv("DVC_EXP_NAME", "hazel-owl")
    monkeypatch.setenv("DVC_EXP_BASELINE_REV", "c0ffee" + 34 * "0")
    assert publish() == (0, "")
    (run,) = runs(folder)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "hazel-owl")
    assert run.data.params == {
        "ingest.path": "notes",
        "ingest.min_count": "11",
        "ingest.groups": '["sex", "site"]',
        "ingest.site": "null",
        "finetune.learning_rate": "1e-05",
        "finetune.method": "lora",
        "finetune.checkpointing": "false",
        "predict.withhold_test": "false",
    }
    assert run.data.metrics == {
        "ingest.notes": 40,
        "evaluate.test.n": 12,
        "evaluate.test.model.macro_f1": 0.5,
        "evaluate.test.model.by_class.Heart _ Lung.f1": 0.25,
        "evaluate.test.model.by_class.I10.f1": 1,
        "curves.finetune.train.loss": 0.7,
        "curves.finetune.validation.loss": 0.8,
        "test_looks": 1,
    }
    stages = upstream(["metrics/evaluate.json"], entries(folder))
    assert run.data.tags == {
        "pipeline_key": run_key(stages),
        "test_set": "t1",
        "test_looked": "true",
        "corpus": "toy",
        "licence": "CC0",
        "data_use.commercial_use": "unknown",
        "data_use.allowed_targets": '["any"]',
        "data_use.public": "true",
        "dvc_experiment": "hazel-owl",
        "mlflow.source.git.commit": "c0ffee" + 34 * "0",
        "mlflow.runName": "hazel-owl",
    }
    history = client(folder).get_metric_history(run.info.run_id, "curves.finetune.train.loss")
    assert sorted((point.step, point.value) for point in history) == [(5, 0.9), (10, 0.7)]


def test_its_artifacts_are_the_files(publish, folder):
    assert publish() == (0, "")
    (run,) = runs(folder)
    (artifacts,) = folder.glob("mlartifacts/*/artifacts")
    assert run.info.artifact_uri == artifacts.as_uri()
    names = {path.relative_to(artifacts).as_posix() for path in artifacts.rglob("*") if path.is_file()}
    results = {"metrics/ingest.json", "metrics/evaluate.json", "plots/finetune.csv", "plots/a/roc.csv"}
    assert names == results | {"dvc.lock", "params.yaml"}
    for name in results:
        assert (artifacts / name).read_bytes() == (folder / name).read_bytes()
    lock = (folder / "dvc.lock").read_text()
    assert lock.count("/secure/wards/notes") == 2
    assert (artifacts / "dvc.lock").read_text() == lock.replace("/secure/wards/notes", "notes")


def test_no_absolute_path_is_logged(publish, folder):
    assert publish() == (0, "")
    (artifacts,) = folder.glob("mlartifacts/*/artifacts")
    logged = "".join(path.read_text() for path in artifacts.rglob("*") if path.is_file())
    (run,) = runs(folder)
    for text in (logged, str(run.data.params), str(run.data.tags)):
        assert "/secure" not in text and str(folder) not in text


def test_names_and_lengths_that_mlflow_takes():
    values = {("a", "x/y"): 1.0, ("a", "x|y"): 2.0, ("a", "ø b"): 3.0, ("b" * 300,): 4.0, ("b" * 300 + "c",): 5.0}
    result = named(values)
    assert sorted(result.values()) == [1, 2, 3, 4, 5]
    assert result["a.ø b"] == 3
    assert {name[:5] for name, value in result.items() if value < 3} == {"a.x_y"}
    assert max(map(len, result)) == 250
    assert named({("a", "x/y"): 1.0}) == {"a.x_y": 1.0}
    assert len(logged_params({("a",): list(range(9000))})["a"]) == 5000


def test_only_finite_numbers_are_metrics():
    content = {"a": 1, "b": None, "c": True, "d": "1", "e": [1], "f": float("nan"), "g": float("inf"), "h": 0}
    assert logged_metrics({"m": content}) == {"m.a": 1.0, "m.h": 0.0}


def test_more_values_than_mlflow_takes_at_once(publish, folder):
    write(
        folder,
        evaluate={f"m{n}": n for n in range(2100)},
        params=PARAMS | {"finetune": {f"p{n}": n for n in range(210)}},
    )
    assert publish() == (0, "")
    (run,) = runs(folder)
    assert run.data.metrics["evaluate.m2099"] == 2099
    assert run.data.params["finetune.p209"] == "209"
    assert (len(run.data.metrics), len(run.data.params)) == (2100 + 4, 210 + 5)


def test_curves_are_those_that_finetune_writes(tmp_path):
    assert '["step", "epoch", "loss", "split"]' in (ROOT / "diagnosis/training/curves.py").read_text()
    (tmp_path / "adapt.csv").write_text(CURVES)
    (tmp_path / "roc.csv").write_text("class,fpr,tpr\nI10,0,0\n")
    assert read_curves(tmp_path / "roc.csv") == []
    assert read_curves(tmp_path / "adapt.csv") == [
        ("curves.adapt.train.loss", 5, 0.9),
        ("curves.adapt.train.loss", 10, 0.7),
        ("curves.adapt.validation.loss", 10, 0.8),
    ]


def test_publish_waits_for_every_metrics_file_and_plot():
    """All but synthesize's: asking for it would run synthesize where ingest reads other notes."""
    results = {path for name in STAGES for kind in ("metrics", "plots") for path in declared(STAGES[name], kind)}
    published = {path for path in declared(STAGES["publish"], "deps") if path.startswith(("metrics/", "plots/"))}
    assert published == results - {"metrics/synthesize.json"}


# ---------------------------------------------------------------- the key


def test_the_key_is_of_params_and_outs(tmp_path):
    write(tmp_path)

    def key(change=lambda stages: None) -> str:
        stages = entries(tmp_path)
        change(stages)
        return run_key(upstream(["metrics/evaluate.json"], stages))

    def reordered(stages):
        for entry in stages.values():
            entry.get("outs", []).reverse()
        for name in sorted(stages, reverse=True):
            stages[name] = dict(reversed(stages.pop(name).items()))

    plain = key()
    assert key(reordered) == plain
    assert key(lambda s: s["publish"].update(params={"params.yaml": {"publish": {"experiment": "b"}}})) == plain
    assert key(lambda s: s.pop("publish")) == plain
    assert key(lambda s: s.pop("synthesize")) == plain, "nothing here was made from it"
    assert key(lambda s: s["finetune"].update(cmd="other")) == plain
    assert key(lambda s: s["finetune"]["deps"].append({"path": "stages/finetune.py", "md5": "9"})) == plain
    assert key(lambda s: s["finetune"]["params"]["params.yaml"]["finetune"].update(method="full")) != plain
    assert key(lambda s: s["finetune"]["outs"][0].update(md5="9")) != plain
    assert key(lambda s: s["ingest"]["outs"][0].update(md5="9")) != plain, "an out of a stage further up"
    assert key(lambda s: s["ingest"]["deps"].append({"path": "data/raw/synthetic", "md5": "9"})) != plain


def test_a_removed_stage_that_dvc_lock_still_has_is_left_out(publish, folder):
    pipeline = PIPELINE | {"publish": PIPELINE["publish"] | {"deps": ["metrics/evaluate.json"]}}
    dump(folder / "dvc.yaml", {"stages": {name: of for name, of in pipeline.items() if name != "finetune"}})
    code, line = publish()
    assert (code, line) == (1, "error: dvc.lock has no stage that wrote metrics/evaluate.json: run `dvc repro`")


# ---------------------------------------------------------------- one run a key


def test_again_it_adds_nothing_and_does_not_import_mlflow(publish, folder):
    assert publish() == (0, "")
    before = (folder / "mlflow.db").read_bytes()
    code = "import sys, stages.publish as p; p.main(); print('mlflow' in sys.modules)"
    start = os.times()
    done = run_in(folder, "python", "-c", code, env={"PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": ""})
    end = os.times()
    assert done.stdout.splitlines()[-1] == "False"
    assert end.children_user + end.children_system - start.children_user - start.children_system < 0.8
    assert (folder / "mlflow.db").read_bytes() == before


@pytest.mark.parametrize("lost", ["note", "run", "store"])
def test_the_store_decides_not_the_note(publish, folder, empty_store, lost):
    assert publish() == (0, "")
    (first,) = runs(folder)
    if lost == "note":
        shutil.rmtree(folder / "logs")
    elif lost == "run":
        client(folder).delete_run(first.info.run_id)
    else:
        shutil.copy(empty_store, folder / "mlflow.db")
    assert publish() == (0, "")
    (second,) = runs(folder)
    assert (second.info.run_id == first.info.run_id) == (lost == "note")
    assert second.data.tags["pipeline_key"] == first.data.tags["pipeline_key"]
    assert second.data.metrics["test_looks"] == 1


def killed(folder: Path, code: str) -> None:
    done = run_in(folder, "python", "-c", code, env={"PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": ""}, check=False)
    assert done.returncode == -signal.SIGKILL


def test_killed_in_the_middle_there_is_one_finished_run_in_the_end(publish, folder):
    killed(folder, "import os, stages.publish as p; p.log_values = lambda *_: os.kill(os.getpid(), 9); p.main()")
    (half,) = runs(folder)
    assert (half.info.status, half.data.params) == ("RUNNING", {})
    assert publish() == (0, "")
    (whole,) = runs(folder)
    assert (whole.info.status, len(whole.data.params)) == ("FINISHED", 8)
    assert whole.data.metrics["test_looks"] == 1, "the killed one is no other run"
    assert [run.info.run_id for run in runs(folder, ViewType.DELETED_ONLY)] == [half.info.run_id]


def test_killed_after_the_last_value_it_starts_no_second_run(publish, folder):
    killed(folder, "import os, stages.publish as p; p.written_aside = lambda _: os.kill(os.getpid(), 9); p.main()")
    (whole,) = runs(folder)
    assert publish() == (0, "")
    assert [run.info.run_id for run in runs(folder)] == [whole.info.run_id]


@pytest.mark.slow
def test_killed_while_mlflow_makes_its_tables(publish, folder):
    (folder / "mlflow.db").unlink()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": ""}
    process = subprocess.Popen([sys.executable, "-m", "stages.publish"], cwd=folder, env=environment)
    tables = folder / ".mlflow.db.partial" / "mlflow.db"
    while not tables.exists() or sqlite_tables(tables) < 8:
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not (folder / "mlflow.db").exists()
    assert publish() == (0, "")
    assert len(runs(folder)) == 1
    assert not list(folder.glob(".mlflow*"))


def sqlite_tables(path: Path) -> int:
    try:
        with sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True) as connection:
            return connection.execute("select count(*) from sqlite_master where type = 'table'").fetchone()[0]
    except sqlite3.Error:
        return 0


def test_another_experiment_name_is_published_for_itself(publish, stage, folder):
    assert publish() == (0, "")
    assert stage("publish", {"experiment": "other"}) == (0, "")
    assert sorted(run.data.metrics["test_looks"] for run in runs(folder)) == [1, 1], "it is the same look"


# ---------------------------------------------------------------- looks at the test set


def test_different_runs_that_looked_at_the_test_set_are_counted(publish, folder):
    def looks(rate: float, *, withheld: bool = False, test_set: str = "t1") -> float:
        write(
            folder,
            params=PARAMS | {"finetune": {"learning_rate": rate}, "predict": {"withhold_test": withheld}},
            test_set=test_set,
        )
        assert publish() == (0, "")
        return runs(folder)[0].data.metrics["test_looks"]

    assert looks(0.1) == 1
    assert looks(0.2) == 2
    assert looks(0.3, withheld=True) == 2, "it does not look"
    client(folder).delete_run(
        next(r for r in runs(folder) if r.data.params["finetune.learning_rate"] == "0.2").info.run_id
    )
    assert looks(0.4) == 3, "a deleted run has looked"
    assert looks(0.5, test_set="t9") == 1


# ---------------------------------------------------------------- the store


def test_a_store_elsewhere_has_its_artifacts_beside_it(publish, folder, empty_store, tmp_path_factory, monkeypatch):
    other = tmp_path_factory.mktemp("a store #1 of 100%")
    shutil.copy(empty_store, other / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{other / 'mlflow.db'}")
    assert publish() == (0, "")
    assert (len(runs(other)), len(runs(folder))) == (1, 0)
    assert len(list(other.glob("mlartifacts/*/artifacts/params.yaml"))) == 1
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    assert publish() == (0, "")
    assert (len(runs(other)), len(runs(folder))) == (1, 1)


@pytest.mark.parametrize("uri", ["", "sqlite:///mlflow.db"])
def test_in_a_temporary_copy_it_goes_to_the_repository(
    publish, folder, tmp_path_factory, empty_store, monkeypatch, uri
):
    root = tmp_path_factory.mktemp("root")
    shutil.copy(empty_store, root / "mlflow.db")
    monkeypatch.setenv("DVC_ROOT", str(root))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert publish() == (0, "")
    assert (len(runs(root)), len(runs(folder))) == (1, 0)
    assert len(list(root.glob("mlartifacts/*/artifacts/dvc.lock"))) == 1
    assert not (folder / "mlartifacts").exists() and not (folder / "logs").exists()


def test_a_server_that_does_not_answer(publish, monkeypatch):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:hunter2@127.0.0.1:{closed.getsockname()[1]}")
    start = time.monotonic()
    code, line = publish()
    assert (code, time.monotonic() - start < 30) == (1, True)
    assert line.startswith("error: MLflow at http://127.0.0.1:") and "Connection refused" in line
    assert line.endswith(": check MLFLOW_TRACKING_URI and the store") and "hunter2" not in line and "\n" not in line


# ---------------------------------------------------------------- bad input


def no_lock(folder):
    (folder / "dvc.lock").unlink()


def broken_lock(folder):
    (folder / "dvc.lock").write_text("stages: [")


def empty_lock(folder):
    (folder / "dvc.lock").write_text("")


def no_entry(folder):
    stages = entries(folder)
    del stages["finetune"]
    dump(folder / "dvc.lock", {"stages": stages})


def no_test_set(folder):
    stages = entries(folder)
    del stages["ingest"]["outs"][0]
    dump(folder / "dvc.lock", {"stages": stages})


def no_metrics(folder):
    (folder / "metrics/evaluate.json").unlink()


def other_metrics(folder):
    (folder / "metrics/evaluate.json").write_text("{}")


def bad_curve(folder):
    (folder / "plots/finetune.csv").write_text("step,epoch,loss,split\nmany,1,0.1,train\n")
    dump(folder / "dvc.lock", {"stages": entries(folder)})


def corrupt_store(folder):
    (folder / "mlflow.db").write_text("no database " * 20)


def deleted_experiment(folder):
    store = client(folder)
    store.delete_experiment(store.create_experiment("diagnosis"))


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (no_lock, "dvc.lock does not exist: run `dvc repro` from the repository's root"),
        (broken_lock, "dvc.lock is not what DVC reads and writes: restore it from git, then `dvc repro`"),
        (empty_lock, "dvc.lock is not what DVC reads and writes: restore it from git, then `dvc repro`"),
        (no_entry, "dvc.lock has no stage that wrote metrics/evaluate.json: run `dvc repro`"),
        (no_test_set, "dvc.lock has no stage that wrote data/split/test.parquet: run `dvc repro`"),
        (no_metrics, "metrics/evaluate.json does not exist: run `dvc repro`, or check the path"),
        (other_metrics, "metrics/evaluate.json is not the one in dvc.lock: run `dvc repro`"),
        (bad_curve, "plots/finetune.csv has a row whose step or loss is no number: run `dvc repro`"),
        (corrupt_store, "file is not a database: check MLFLOW_TRACKING_URI and the store"),
        (deleted_experiment, "MLflow's experiment diagnosis is deleted: restore it there, or name another in publish.experiment"),
    ],
)  # fmt: skip
def test_what_users_break_ends_with_one_line(publish, folder, spoil, expected):
    spoil(folder)
    code, line = publish()
    assert code == 1
    assert line.startswith("error: ") and expected in line and "\n" not in line
    assert not list(folder.glob("logs/published/*"))
    if spoil is not corrupt_store:
        assert runs(folder) == []


@pytest.mark.slow
def test_a_locked_store_ends_with_one_line(publish, folder):
    with sqlite3.connect(folder / "mlflow.db", isolation_level=None) as holder:
        holder.execute("begin exclusive")
        code, line = publish()
    assert code == 1 and "database is locked: check MLFLOW_TRACKING_URI and the store" in line


@pytest.mark.parametrize("experiment", ["", None, "x" * 501])
def test_a_bad_experiment_name(publish, stage, experiment):
    code, line = stage("publish", {"experiment": experiment})
    assert code == 1 and line.startswith("error: params.yaml: publish.experiment is ")


def test_upstream_names_what_is_missing():
    with pytest.raises(UserError, match="no stage that wrote plots/x.csv"):
        upstream(["plots/x.csv"], {"a": {"outs": [{"path": "plots/xy.csv", "md5": "1"}]}})


# ---------------------------------------------------------------- by real DVC

TOY = """
stages:
  ingest:
    cmd: >-
      mkdir -p data/split metrics && echo shard > data/split/test.parquet &&
      echo '{"corpus": "toy", "data_use": {"licence": "CC0"}}' > metrics/ingest.json
    outs: [data/split/test.parquet]
    metrics:
      - metrics/ingest.json:
          cache: false
  evaluate:
    cmd: printf '{"rate":%s}' $(sed -n 's/^rate. //p' params.yaml) > metrics/evaluate.json
    deps: [data/split/test.parquet]
    params: [rate]
    metrics:
      - metrics/evaluate.json:
          cache: false
  publish:
    cmd: python -m stages.publish
    deps: [stages/publish.py, metrics/evaluate.json, metrics/ingest.json]
    params:
      - params.yaml:
    always_changed: true
"""


def toy(folder: Path, store: Path) -> Path:
    """A repository of three stages, the last the real publish, run once and committed."""
    for name in ("stages", "diagnosis"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".gitignore", folder)
    (folder / ".dvcignore").write_text("__pycache__\n*.partial\n")
    (folder / "dvc.yaml").write_text(TOY)
    (folder / "params.yaml").write_text("rate: 0.5\npublish:\n  experiment: toy\n")
    (folder / ".dvc").mkdir()
    shutil.copy(ROOT / ".dvc" / "config", folder / ".dvc")
    shutil.copy(ROOT / ".dvc" / ".gitignore", folder / ".dvc")
    for command in ("git init -q -b main", "git add -A", "git commit -q -m start"):
        run_in(folder, *command.split(), env=ENV)
    shutil.copy(store, folder / "mlflow.db")
    run_in(folder, "dvc", "repro", env=ENV)
    run_in(folder, "git", "add", "-A")
    run_in(folder, "git", "commit", "-q", "-m", "results", env=ENV)
    return folder


@pytest.mark.slow
def test_every_way_to_run_an_experiment_gives_one_run(tmp_path, empty_store):
    folder = toy(tmp_path / "toy", empty_store)
    assert finished_runs(folder) == 1
    run_in(folder, "dvc", "repro", env=ENV)
    assert finished_runs(folder) == 1

    run_in(folder, "dvc", "exp", "run", "-n", "here", "-S", "rate=0.6", env=ENV)
    run_in(folder, "dvc", "exp", "run", "-n", "aside", "--temp", "-S", "rate=0.7", env=ENV)
    run_in(folder, "dvc", "exp", "run", "-n", "grid", "--queue", "-S", "rate=0.8,0.9", env=ENV)
    run_in(folder, "dvc", "queue", "start", "-j", "2", env=ENV)  # waits for the workers: they have its stdout

    found = {run.info.run_name: run for run in runs(folder)}
    assert finished_runs(folder) == len(found) == 5
    assert {name: found[name].data.metrics["evaluate.rate"] for name in ("here", "aside", "grid-1", "grid-2")} == {
        "here": 0.6, "aside": 0.7, "grid-1": 0.8, "grid-2": 0.9
    }  # fmt: skip
    baseline = run_in(folder, "git", "rev-parse", "HEAD").stdout.strip()
    for name, run in found.items():
        assert (run.data.tags["mlflow.source.git.commit"] == baseline) == (run.data.tags.get("dvc_experiment") == name)
        assert (folder / "mlartifacts" / run.info.run_id / "artifacts" / "metrics" / "evaluate.json").exists()

    # ---- what has been run before, restored here or in a fresh clone, is the same run
    run_in(folder, "git", "checkout", "-q", "--", ".")
    run_in(folder, "dvc", "exp", "run", "-f", "-S", "rate=0.7", env=ENV)
    assert finished_runs(folder) == 5
    run_in(tmp_path, "git", "clone", "-q", str(folder), "clone")
    run_in(tmp_path / "clone", "dvc", "repro", env=ENV | {"MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}"})
    assert finished_runs(folder) == 5
    shutil.copy(empty_store, tmp_path / "clone" / "mlflow.db")
    run_in(tmp_path / "clone", "dvc", "repro", env=ENV)
    assert finished_runs(tmp_path / "clone") == 1
