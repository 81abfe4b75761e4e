"""The MLflow store: where it is, whether it has a run, a client for it; what goes wrong with it, as one line."""

import fcntl
import hashlib
import logging
import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from diagnosis.data_use import is_local
from diagnosis.errors import UserError

SQLITE = "sqlite:///"
# Set before mlflow is imported, unless the user has. It would wait minutes for a server, and tell its makers of each use.
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",
}


def store_uri(root: Path) -> str:
    """MLFLOW_TRACKING_URI, or mlflow.db in `root`; a relative SQLite path is meant from `root`."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}mlflow.db"
    return f"{SQLITE}{root / uri.removeprefix(SQLITE)}" if uri.startswith(SQLITE) else uri


def database(uri: str) -> Path | None:
    """The file of a SQLite store."""
    return Path(uri.removeprefix(SQLITE)) if uri.startswith(SQLITE) else None


def note_of(root: Path, key: str, uri: str, experiment: str) -> Path:
    """Where it is noted which run of the store has `key`; the uri is hashed, for it may hold a password."""
    name = hashlib.sha256("\n".join([key, uri, experiment]).encode()).hexdigest()[:32]
    return root / "logs" / "published" / name


def is_noted(note: Path, uri: str) -> bool:
    """Whether the note says that the run is published, and a SQLite store, quick to ask, still has it."""
    if not note.exists():
        return False
    if database(uri) is None:
        return True
    query = "select 1 from runs where run_uuid = ? and status = 'FINISHED' and lifecycle_stage = 'active'"
    try:
        with closing(open_sqlite(uri)) as connection:
            return connection.execute(query, [note.read_text().strip()]).fetchone() is not None
    except sqlite3.Error:
        return False


def open_sqlite(uri: str) -> sqlite3.Connection:
    return sqlite3.connect(f"{database(uri).as_uri()}?mode=ro", uri=True)


@contextmanager
def connected(uri: str, root: Path):
    """A client of the store; the jobs of `dvc queue start -j` have it one after the other.

    Raises UserError, one line without passwords, for whatever goes wrong with the store while it is open.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    (root / "logs").mkdir(exist_ok=True)
    try:
        with open(root / "logs" / "publish.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            prepare_sqlite(uri)
            yield MlflowClient(tracking_uri=uri)
    except (
        MlflowException,
        SQLAlchemyError,
        sqlite3.Error,
        OSError,
        ImportError,
    ) as error:  # last: a database's driver
        reason = str(error).split("(Caused by ")[-1].split("[SQL:")[0].strip()[:300]
        line = f"MLflow at {uri}: {type(error).__name__}: {reason}: check MLFLOW_TRACKING_URI and the store"
        raise UserError(re.sub(r"//[^/@\s]*@", "//", line)) from None


def prepare_sqlite(uri: str) -> None:
    """Make the tables of a new SQLite store aside, for a kill amid MLflow's migrations would spoil it for good.

    Raises sqlite3.Error at once for a store that cannot be read; MLflow would try for minutes.
    """
    from mlflow import MlflowClient

    if (file := database(uri)) is None:
        return
    aside = file.with_name(f".{file.name}.partial")  # a folder, for SQLite's journal lies beside its file
    shutil.rmtree(aside, ignore_errors=True)
    if file.exists():
        with closing(open_sqlite(uri)) as connection:
            connection.execute("select count(*) from sqlite_master").fetchone()
        return
    aside.mkdir(parents=True)
    MlflowClient(tracking_uri=f"{SQLITE}{aside / file.name}").search_experiments()
    os.replace(aside / file.name, file)
    shutil.rmtree(aside)


def experiment_id(client, name: str, uri: str, root: Path) -> str:
    """The id of MLflow's experiment `name`, made where there is none."""
    found = client.get_experiment_by_name(name)
    if found is None:
        # MLflow's own default is a folder beside wherever it is called, in queued runs one that is thrown away.
        folder = (database(uri) or root / "mlflow.db").with_name("mlartifacts")
        return client.create_experiment(name, None if uri.startswith("http") else folder.as_uri())
    if found.lifecycle_stage == "deleted":
        raise UserError(
            f"MLflow's experiment {name} is deleted: restore it there, or name another in publish.experiment"
        )
    return found.experiment_id


def files_address(client, experiment: str, uri: str) -> str:
    """Where the files of an experiment's runs go: the server itself (`uri`), or a folder or bucket of the experiment's own."""
    location = client.get_experiment(experiment).artifact_location
    scheme, _, rest = location.partition(":")
    proxied = scheme == "mlflow-artifacts" and not rest.startswith("//")  # else it names a server
    own = scheme == "dbfs" and uri.startswith("databricks")
    return uri if proxied or own or is_local(location) else location


def looks(client, key: str, test_set: str, looked: bool) -> int:
    """How many different runs of this store have looked at this test set so far, this one included.

    A look gets its number when it is first published, and another experiment's copy of the same run keeps it. So one run says
    it all; fetching every run with its thousands of metrics takes a tenth of a second each. Deleted runs have looked too.
    """
    from mlflow.entities import ViewType

    experiments = [each.experiment_id for each in every_page(client.search_experiments, view_type=ViewType.ALL)]
    same = f"tags.test_set = '{test_set}' and tags.test_looked = 'true'"

    def highest(condition: str) -> int:
        order = ["metrics.test_looks DESC"]
        found = client.search_runs(experiments, condition, ViewType.ALL, max_results=1, order_by=order)
        return int(found[0].data.metrics.get("test_looks", 0)) if found else 0

    return highest(f"{same} and tags.pipeline_key = '{key}'") or highest(same) + looked


def every_page(search, **arguments) -> Iterator:
    """All that a search of the client finds."""
    token = None
    while True:
        page = search(**arguments, page_token=token)
        yield from page
        if not (token := page.token):
            return
