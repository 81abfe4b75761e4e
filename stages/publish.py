"""Copy what the other stages wrote into MLflow: one run per experiment, however often and wherever it is published."""

import json
import os
import subprocess
import time
from datetime import date
from pathlib import Path

from pydantic import Field

from diagnosis.data_use import DataUse, check_sending
from diagnosis.errors import UserError, run
from diagnosis.files import read_json, written_aside
from diagnosis.params import Params
from diagnosis.tracking.lock import check_written, out_hashes, read_stages, run_key, upstream
from diagnosis.tracking.store import (
    connected,
    every_page,
    experiment_id,
    files_address,
    is_noted,
    looks,
    note_of,
    store_uri,
)
from diagnosis.tracking.values import logged_metrics, logged_params, params_of, read_curves, without_folders

PIPELINE = Path("dvc.yaml")
LOCK = Path("dvc.lock")
PARAMS = Path("params.yaml")
TEST = "data/split/test.parquet"  # by its hash in dvc.lock the test set is known
METRICS_A_BATCH, PARAMS_A_BATCH = 1000, 100  # MLflow takes no more at once


class PublishParams(Params):
    experiment: str = Field(min_length=1, max_length=500)


def main():
    params = PublishParams.load("publish")
    # `dvc exp run --temp` and `--queue` run stages in a copy that is thrown away; DVC_ROOT is the repository all the same.
    root = Path(os.environ.get("DVC_ROOT") or ".").resolve()
    uri = store_uri(root)

    # ---- which run this is; known here already, it ends before mlflow is imported
    pipeline, lock = read_stages(PIPELINE), read_stages(LOCK)
    lock = {name: entry for name, entry in lock.items() if name.split("@")[0] in pipeline}
    stages = upstream([path for path in pipeline["publish"]["deps"] if is_result(path)], lock)
    key = run_key(stages)
    note = note_of(root, key, uri, params.experiment)
    if is_noted(note, uri):
        print(f"publish: run {key[:8]} is in MLflow already")
        return

    # ---- what there is to say of it
    hashes = out_hashes(stages)
    if TEST not in hashes:
        raise UserError(f"{LOCK} has no stage that wrote {TEST}: run `dvc repro`")
    files = {path: hashes[path] for path in sorted(hashes) if is_result(path)}
    for path, md5 in files.items():
        check_written(path, md5)
    metrics = {Path(path).stem: read_json(Path(path)) for path in files if path.startswith("metrics/")}
    terms = DataUse.of(metrics["ingest"]["data_use"])
    check_sending(terms, uri, "this run", date.today())
    points = [(name, 0, value) for name, value in logged_metrics(metrics).items()]
    points += [point for path in files if path.endswith(".csv") for point in read_curves(Path(path))]
    values = params_of(stages)
    looked = not values.get(("predict", "withhold_test"))
    tags = {
        "pipeline_key": key,
        "test_set": hashes[TEST],
        "test_looked": "true" if looked else "false",
        "corpus": metrics["ingest"]["corpus"],
        "licence": terms.licence,
        **{
            f"data_use.{name}": text_of(value)
            for name, value in terms.plain().items()
            if name not in ("corpus", "licence")
        },
        "dvc_experiment": os.environ.get("DVC_EXP_NAME"),
        "mlflow.source.git.commit": baseline_commit(),
    }
    tags = {name: value for name, value in tags.items() if value}

    # ---- the copy; what a kill left unfinished is deleted first
    with connected(uri, root) as client:
        experiment = experiment_id(client, params.experiment, uri, root)
        check_sending(terms, files_address(client, experiment, uri), "this run", date.today())
        known = list(
            every_page(client.search_runs, experiment_ids=[experiment], filter_string=f"tags.pipeline_key = '{key}'")
        )
        finished = [each.info.run_id for each in known if each.info.status == "FINISHED"]
        for each in known:
            if each.info.status != "FINISHED":
                client.delete_run(each.info.run_id)
        if finished:
            run_id = finished[0]
        else:
            name = tags.get("dvc_experiment") or f"{tags.get('mlflow.source.git.commit', 'no commit')[:7]}-{key[:8]}"
            run_id = client.create_run(experiment, tags=tags, run_name=name).info.run_id
            for path in files:
                client.log_artifact(run_id, path, str(Path(path).parent))
            for path in (LOCK, PARAMS):
                client.log_text(run_id, without_folders(path.read_text("utf-8"), values), path.name)
            points.append(("test_looks", 0, looks(client, key, hashes[TEST], looked)))
            log_values(client, run_id, logged_params(values), points)
            client.set_terminated(run_id, "FINISHED")
    with written_aside(note) as partial:
        partial.write_text(run_id)
    print(f"publish: run {key[:8]} is in MLflow{' already' if finished else ''}")


def text_of(value) -> str | None:
    """A tag's value, as MLflow takes it: a list as JSON, true as true."""
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def is_result(path: str) -> bool:
    return path.startswith(("metrics/", "plots/"))


def baseline_commit() -> str:
    """The commit that the run started from; empty where there is none."""
    if commit := os.environ.get("DVC_EXP_BASELINE_REV"):
        return commit
    try:
        done = subprocess.run(["git", "rev-parse", "--verify", "--quiet", "HEAD"], capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout.strip()


def log_values(client, run_id: str, params: dict[str, str], points: list[tuple[str, int, float]]) -> None:
    """Params and (name, step, value) points, in batches."""
    from mlflow.entities import Metric, Param

    now = int(time.time() * 1000)
    for start in range(0, len(params), PARAMS_A_BATCH):
        batch = list(params.items())[start : start + PARAMS_A_BATCH]
        client.log_batch(run_id, params=[Param(name, value) for name, value in batch])
    for start in range(0, len(points), METRICS_A_BATCH):
        batch = points[start : start + METRICS_A_BATCH]
        client.log_batch(run_id, metrics=[Metric(name, value, now, step) for name, step, value in batch])


if __name__ == "__main__":
    run(main)
