"""Data-use terms: filled and validated at ingest, carried to every artefact, and asked before anything is sent."""

import json
import re
import shutil
import socket
import threading
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
from conftest import ROOT, run_in
from pydantic import ValidationError
from test_contract import STAGES, covers, declared
from test_publish import client, dump, empty_store, entries, publish, runs  # noqa: F401  fixtures
from test_repro import ENV
from toy import metadata, write_training

from diagnosis.corpora.mimic import TERMS
from diagnosis.data_use import LICENCES, DataUse, check_sending, check_unpushable, is_local, permits, shown, strictest
from diagnosis.errors import UserError
from diagnosis.notes import read_metadata
from diagnosis.scores.predictions import prediction_writer
from diagnosis.tracking.lock import read_stages
from diagnosis.tracking.store import files_address
from diagnosis.tracking.values import logged_params, params_of

LICENCE = TERMS["licence"]
MIMIC = {"corpus": "mimic4", "licence": LICENCE, "public": False}
TODAY = date(2027, 3, 1)
PLAIN = {
    "corpus": "mimic4",
    "licence": "PhysioNet Credentialed Health Data License 1.5.0",
    "agreement": "PhysioNet Credentialed Health Data Use Agreement 1.5.0",
    "legal_basis": None,
    "region": None,
    "commercial_use": "no",
    "approval_id": None,
    "allowed_targets": ["local"],
    "expiry": None,
    "public": False,
}


# ---------------------------------------------------------------- the record


def test_what_a_reader_leaves_out_is_filled():
    assert DataUse.of(MIMIC).plain() == PLAIN
    assert DataUse.of(PLAIN).plain() == PLAIN
    assert DataUse.of({"corpus": "a", "licence": "CC-BY-SA-3.0", "public": True}).plain() == PLAIN | {
        "corpus": "a", "licence": "CC-BY-SA-3.0", "agreement": None, "commercial_use": "share-alike",
        "allowed_targets": ["any"], "public": True,
    }  # fmt: skip
    nothing = DataUse.of({})
    assert (nothing.public, nothing.allowed_targets, nothing.commercial_use) == (False, ["local"], "unknown")


def test_it_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        DataUse.of(MIMIC).public = True


@pytest.mark.parametrize("change", [{"public": "yes"}, {"owner": "x"}, {"expiry": "soon"}, {"allowed_targets": ["ward"]},
                                    {"licence": ["a"]}, {"commercial_use": "maybe"}])  # fmt: skip
def test_terms_that_make_no_sense(change):
    with pytest.raises(UserError, match=f"^data-use terms: {next(iter(change))} cannot be read"):
        DataUse.of(MIMIC | change)


def test_the_strictest_of_several():
    ward = DataUse.of(PLAIN | {"corpus": "ward", "licence": "internal", "agreement": None, "commercial_use": "unknown",
                               "approval_id": "12/2025", "region": "EU", "expiry": "2027-12-31",
                               "allowed_targets": ["local", "https://mlflow.ward.example/a"]})  # fmt: skip
    both = strictest([DataUse.of(PLAIN | {"expiry": "2028-01-01", "allowed_targets": ["https://mlflow.ward.example"]}), ward])  # fmt: skip
    assert both.plain() == PLAIN | {
        "corpus": "mimic4 + ward", "licence": f"{LICENCE} + internal", "commercial_use": "no", "approval_id": "12/2025",
        "region": "EU", "expiry": "2027-12-31", "allowed_targets": ["https://mlflow.ward.example/a"],
    }  # fmt: skip
    assert strictest([ward]) == ward
    free = DataUse.of({"corpus": "free", "licence": "MIT", "public": True})
    assert strictest([free, free]) == free
    for order in ([free, ward], [ward, free]):
        joined = strictest(order)
        assert (joined.public, joined.allowed_targets, joined.commercial_use) == (
            False,
            ward.allowed_targets,
            "unknown",
        )
    assert strictest([DataUse.of(PLAIN), DataUse.of(PLAIN | {"allowed_targets": ["s3://b"]})]).allowed_targets == []


# ---------------------------------------------------------------- where to


LOCAL = ["mlruns", "/srv/mlruns", "file:///srv", "file:/srv", "sqlite:////srv/mlflow.db", "http://localhost:5000", "HTTP://LOCALHOST",
         "https://127.0.0.1:8", "http://127.9.9.9", "http://[::1]:5000/x", "ssh://localhost/srv", "postgresql+psycopg2://u:p@localhost/db"]  # fmt: skip
ELSEWHERE = ["http://mlflow.example", "https://localhost.example", "http://localhost@mlflow.example", "http://127.0.0.1.example",
             "http://10.0.0.7:5000", "databricks", "databricks://profile", "databricks-uc", "uc:x", "s3://localhost/x", "gs://b", "azure://c",
             "ssh://h/x", "git@h.example:team/x.git", "h:x", "postgresql://db.example/x", "postgresql:///x?host=db.example", "file://h/x",
             "postgresql://localhost/x?host=db.example", "postgresql+psycopg2://127.0.0.1/x?sslmode=prefer&hostaddr=10.0.0.7", "mysql://localhost/x?%68ost=h",
             "mysql://db", "gdrive://id", "http://[::1", "http://h:port", "arn:aws:sagemaker:x"]  # fmt: skip


@pytest.mark.parametrize("address", LOCAL)
def test_what_is_of_this_machine(address):
    assert is_local(address) and permits(["local"], address) and not permits([], address)


@pytest.mark.parametrize("address", ELSEWHERE)
def test_what_is_not(address):
    assert not is_local(address) and not permits(["local"], address) and permits(["any"], address)


@pytest.mark.parametrize(
    ("target", "address", "permitted"),
    [
        ("https://ward.example", "https://ward.example/api", True),
        ("https://ward.example", "https://WARD.example:443", True),
        ("https://ward.example", "https://user:pw@ward.example", True),
        ("https://ward.example", "https://ward.example.org", False),
        ("https://ward.example", "http://ward.example", False),
        ("https://ward.example", "https://ward.example:8443", False),
        ("https://ward.example/a", "https://ward.example/a/b", True),
        ("https://ward.example/a/", "https://ward.example/a", True),
        ("https://ward.example/a", "https://ward.example/ab", False),
        ("https://ward.example/a", "https://ward.example/a/../b", False),
        ("https://ward.example/a", "https://ward.example/a/%2E%2e/b", False),
        ("https://ward.example/a", "https://ward.example/a%2Fb", True),
        ("https://ward.example/a", "https://ward.example", False),
        ("postgresql://db.ward.example", "postgresql://db.ward.example/x?host=far.example", False),
        ("s3://ward", "s3://ward/dvc", True),
        ("s3://ward", "s3://ward-public", False),
        ("ssh://git.example/team", "git@git.example:team/x.git", True),
        ("ssh://git.example/team", "git@git.example:other/x.git", False),
        ("databricks://ward", "databricks://ward", True),
        ("databricks://ward", "databricks", False),
        ("https://[::1", "https://[::1", False),
    ],
)
def test_a_target_is_the_beginning_of_an_address(target, address, permitted):
    assert permits([target], address) is permitted


def test_the_refusal_is_one_line_without_password():
    terms = DataUse.of(PLAIN | {"allowed_targets": ["local", "https://u:hush@ward.example/hush"]})
    with pytest.raises(UserError) as error:
        check_sending(terms, "https://me:hush@far.example:8080/hush?hush", "this run", TODAY)
    assert str(error.value) == (
        "this run is not sent to https://far.example:8080: the terms of 'mimic4' (PhysioNet Credentialed Health Data Use Agreement "
        "1.5.0) allow local, https://ward.example only: choose such a target, or add this one to ingest.data_use.allowed_targets "
        "where your approval covers it"
    )
    assert shown("/srv/secret") == "this machine" and shown("git@h:x") == "ssh://h"


def test_the_last_day_is_still_a_day():
    terms = DataUse.of(PLAIN | {"expiry": TODAY.isoformat()})
    check_sending(terms, "sqlite:///x", "this run", TODAY)
    with pytest.raises(UserError, match="this run is not sent: the terms of 'mimic4' ended on 2027-03-01: renew"):
        check_sending(terms, "sqlite:///x", "this run", TODAY + timedelta(days=1))


# ---------------------------------------------------------------- ingest


def own(folder: Path, **data_use) -> dict:
    """A table of notes; params that read it."""
    (folder / "raw").mkdir(exist_ok=True)
    (folder / "raw/own.csv").write_text("text,label\n" + "".join(f"note number {n},{'ab'[n % 2]}\n" for n in range(8)))
    return {"corpus": "table", "path": "raw/own.csv", "data_use": data_use}


def test_the_users_approval_is_laid_over_the_corpus_terms(stage, folder):
    approval = {"approval_id": "12/2025", "legal_basis": "GDPR Art. 9(2)(j)", "region": "EU", "expiry": "2027-12-31",
                "allowed_targets": ["local", "https://mlflow.ward.example"]}  # fmt: skip
    assert stage("ingest", own(folder, **approval)) == (0, "")
    expected = PLAIN | {
        "corpus": "table",
        "licence": "unstated",
        "agreement": None,
        "commercial_use": "unknown",
        **approval,
    }
    assert read_metadata(Path("data/notes.parquet"))["data_use"] == expected
    assert json.loads(Path("metrics/ingest.json").read_text())["data_use"] == expected


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"allowed_targets": ["ward"]}, "params.yaml: ingest.data_use.allowed_targets.0 is 'ward': a target is local, any, or the beginning"),
        ({"allowed_targets": "local"}, "params.yaml: ingest.data_use.allowed_targets is 'local': input should be a valid list"),
        ({"expiry": "2027-13-01"}, "params.yaml: ingest.data_use.expiry is '2027-13-01'"),
        ({"commercial_use": "maybe"}, "params.yaml: ingest.data_use.commercial_use is 'maybe'"),
        ({"public": True}, "params.yaml: ingest.data_use.public is no known param"),
    ],
)  # fmt: skip
def test_a_wrong_approval(stage, folder, change, line):
    code, error = stage("ingest", own(folder, **change))
    assert code == 1 and line in error and "\n" not in error and not Path("data/notes.parquet").exists()


def test_a_date_is_in_quotes(folder):
    """DVC itself takes no YAML date, and says where it stands; in quotes it passes params.yaml, dvc.lock and publish's log."""
    Path("dvc.yaml").write_text("stages:\n  s:\n    cmd: echo x > out\n    params: [ingest]\n    outs: [out]\n")
    for command in ("git init -q", "dvc init -q"):
        run_in(folder, *command.split())
    Path("params.yaml").write_text("ingest:\n  data_use:\n    expiry: 2027-12-31\n")
    refused = run_in(folder, "dvc", "repro", check=False)
    assert refused.returncode and "type 'date' in 'params.yaml:ingest.data_use.expiry'" in refused.stderr
    Path("params.yaml").write_text('ingest:\n  data_use:\n    expiry: "2027-12-31"\n')
    run_in(folder, "dvc", "repro")
    assert logged_params(params_of(read_stages(Path("dvc.lock")))) == {"ingest.data_use.expiry": "2027-12-31"}


def test_notes_that_dvc_push_would_send_are_refused(stage, folder):
    changes = own(folder)
    run_in(folder, "git", "init", "-q")
    run_in(folder, "dvc", "init", "-q")
    run_in(folder, "dvc", "add", "-q", "raw/own.csv")
    code, line = stage("ingest", changes)
    assert (
        code == 1
        and "raw/own.csv.dvc lets `dvc push` send notes that are not public to a remote: add `push: false`" in line
    )
    assert stage("ingest", changes | {"table": {"public": True}}) == (0, "")

    # ---- what README says helps, and outlives the next `dvc add`
    (command,) = re.findall(r"`(printf .*? >> data/raw/ours.csv.dvc)`", (ROOT / "README.md").read_text())
    run_in(folder, "sh", "-c", command.replace("data/raw/ours.csv.dvc", "raw/own.csv.dvc"))
    (folder / "raw/own.csv").write_text((folder / "raw/own.csv").read_text() + "another note,a\n")
    run_in(folder, "dvc", "add", "-q", "raw/own.csv")
    assert stage("ingest", changes) == (0, "")
    (folder / ".dvc/config").write_text(f"[core]\n    remote = away\n['remote \"away\"']\n    url = {folder}/away\n")
    run_in(folder, "dvc", "push", "-q")
    assert not [path for path in folder.glob("away/**/*") if path.is_file()]


@pytest.mark.parametrize("file", ["raw.dvc", "raw/mimic/note.csv.dvc"])
def test_what_dvc_add_wrote_above_and_below_counts_too(folder, file):
    (folder / "raw/mimic").mkdir(parents=True)
    (folder / file).write_text("outs:\n- md5: '0'\n  path: note.csv\n")
    with pytest.raises(UserError, match=f"{file} lets"):
        check_unpushable(Path("raw/mimic"))
    (folder / file).write_text("outs:\n- md5: '0'\n  path: note.csv\n  push: false\n")
    check_unpushable(Path("raw/mimic"))


def test_the_docs_state_each_corpus_terms():
    page = (ROOT / "docs/data.md").read_text()
    for text in (
        LICENCE,
        LICENCES[LICENCE]["agreement"],
        TERMS["legal_basis"],
        "https://physionet.org/news/post/llm-responsible-use",
    ):
        assert text in page
    (rows,) = [part for part in page.split("\n## ") if part.startswith("Data-use terms")]
    for corpus in ("mimic3", "mimic4", "synthetic", "mtsamples", "medical_abstracts", "symptom2disease", "table"):
        assert f"`{corpus}`" in rows, corpus


# ---------------------------------------------------------------- what leaves: dvc push


def test_nothing_that_comes_from_notes_can_be_pushed():
    """Every out behind `ingest.path` is `push: false`, or small and in git (metrics and plots, `cache: false`)."""
    tainted, grown = {"data/raw/synthetic"}, True
    while grown:
        grown = False
        for stage in STAGES.values():
            if any(covers(t, dep) or covers(dep, t) for t in tainted for dep in declared(stage, "deps")):
                new = {path for kind in ("outs", "metrics", "plots") for path in declared(stage, kind)} - tainted
                grown, tainted = grown or bool(new), tainted | new
    assert {"data/notes.parquet", "models/finetuned", "data/predictions.parquet"} <= tainted
    assert "models/base" not in tainted
    for name, stage in STAGES.items():
        for kind in ("outs", "metrics", "plots"):
            for entry, path in zip(stage.get(kind, []), declared(stage, kind), strict=True):
                options = next(iter(entry.values())) if isinstance(entry, dict) else {}
                if path in tainted:
                    assert options.get("push") is False or (kind != "outs" and options.get("cache") is False), (
                        name,
                        path,
                    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A function that gives a repository by real DVC with a model and predictions of notes of these terms, made once."""
    known = {}

    def make(**terms) -> Path:
        if (name := json.dumps(terms)) in known:
            return known[name]
        folder = known[name] = tmp_path_factory.mktemp("made")
        for package in ("diagnosis", "tools"):
            shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
        outs = [{"models/base": {}}]
        for stage in ("ingest", "finetune", "predict"):  # as dvc.yaml has them
            outs += [entry if isinstance(entry, dict) else {entry: {}} for entry in STAGES[stage]["outs"]]
        data_use = DataUse.of(MIMIC | terms).plain()
        for path, text in {
            "models/finetuned/diagnosis.json": json.dumps({"data_use": data_use}),
            "models/finetuned/model.safetensors": "weights",
            "models/base": "base",
            "data/notes.parquet": "notes",
            "data/gold_spans.parquet": "spans",
            "data/annotations.parquet": "spans",
            "data/titles.json": "titles",
        }.items():
            (folder / "made" / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / "made" / path).write_text(text)
        predictions = folder / "made/data/predictions.parquet"
        with prediction_writer(predictions, classes=["a"], task="single_label", data_use=data_use):
            pass
        dump(folder / "dvc.yaml", {"stages": {"all": {"cmd": "cp -r made/. .", "deps": ["made"], "outs": outs}}})
        for command in ("git init -q -b main", "dvc init -q", "dvc repro -q", "git add dvc.yaml dvc.lock .dvc", "git commit -q -m start"):  # fmt: skip
            run_in(folder, *command.split(), env=ENV)
        return folder

    return make


@pytest.fixture
def repository(made, tmp_path):
    """A copy of such a repository with a default remote `here`, a folder, and others by name and config lines."""

    def copy(remotes: dict[str, str] | None = None, **terms) -> Path:
        folder = tmp_path / "repository"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(made(**terms), folder)
        remotes = {"here": f"url = {tmp_path}/remote"} | (remotes or {})
        config = "[core]\n    remote = here\n" + "".join(f"['remote \"{n}\"']\n    {c}\n" for n, c in remotes.items())
        (folder / ".dvc/config.local").write_text(config)
        return folder

    return copy


def sent(folder: Path) -> set[str]:
    """The contents that the remote has, by what they are in the repository."""
    remote = folder.parent / "remote"
    contents = {path.read_bytes() for path in remote.rglob("*") if path.is_file()}
    return {path.relative_to(folder / "made").as_posix() for path in (folder / "made").rglob("*")
            if path.is_file() and path.read_bytes() in contents}  # fmt: skip


ALL_THAT_MAY = {
    "models/base",
    "models/finetuned/diagnosis.json",
    "models/finetuned/model.safetensors",
    "data/predictions.parquet",
}


def test_a_plain_push_sends_no_model_and_an_allowed_one_does(repository):
    folder = repository()
    run_in(folder, "dvc", "push", "--run-cache")
    run_in(folder, "dvc", "push", "--all-commits", "models/finetuned", "data/predictions.parquet")
    assert sent(folder) == {"models/base"}
    shutil.rmtree(folder.parent / "remote")
    done = run_in(folder, "python", "-m", "tools.push")
    assert "4 files sent to here" in done.stdout  # the two of the model, its folder's list, the predictions
    assert sent(folder) == ALL_THAT_MAY

    # ---- a colleague gets them by name
    run_in(folder.parent, "git", "clone", "-q", str(folder), "clone")
    shutil.copy(folder / ".dvc/config.local", folder.parent / "clone/.dvc")
    run_in(folder.parent / "clone", "dvc", "pull", "-q", "models/finetuned", "data/predictions.parquet")
    assert (folder.parent / "clone/models/finetuned/model.safetensors").read_text() == "weights"


class Listener:
    """A real port of this machine that counts who connects and answers nothing."""

    def __enter__(self):
        self.socket, self.connections = socket.create_server(("0.0.0.0", 0)), 0
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.listen, daemon=True).start()
        return self

    def listen(self):
        try:
            while True:
                self.socket.accept()[0].close()
                self.connections += 1
        except OSError:
            pass

    def __exit__(self, *_):
        self.socket.close()


def own_name() -> str:
    """A name or number of this machine that is no loopback and reaches it: a third party, as far as the terms know."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
            return probe.getsockname()[0]
        except OSError:
            pytest.skip("this machine has no address but loopback")


def test_a_push_that_is_not_allowed_connects_nowhere(repository):
    with Listener() as listener:
        host = f"{own_name()}:{listener.port}"
        remotes = {
            "web": f"url = http://{host}/x",
            "shell": f"url = ssh://{host}/x",
            "bucket": "url = s3://ward/x",
            "below": "url = remote://web/deeper",
        }
        folder = repository(remotes)
        for name, beginning in zip(remotes, ("http://", "ssh://", "s3://ward", "http://"), strict=True):
            done = run_in(folder, "python", "-m", "tools.push", "-r", name, check=False)
            assert done.returncode == 1 and done.stdout == "" and done.stderr.count("\n") == 1, done.stderr
            assert f"the model (DVC remote {name}) is not sent to {beginning}" in done.stderr
        assert not listener.connections
        # ---- the same address is asked once the terms say so: it was they that refused
        folder = repository(remotes, allowed_targets=[f"http://{host}"])
        done = run_in(folder, "python", "-m", "tools.push", "-r", "web", check=False)
        assert done.returncode == 1 and listener.connections


def test_both_the_bucket_and_its_endpoint_have_to_be_allowed(repository):
    folder = repository(
        {"bucket": "url = s3://ward/x\n    endpointurl = https://minio.example"}, allowed_targets=["s3://ward"]
    )
    done = run_in(folder, "python", "-m", "tools.push", "-r", "bucket", check=False)
    assert done.returncode == 1 and "is not sent to https://minio.example" in done.stderr


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (lambda f: (f / "models/finetuned/model.safetensors").write_text("other"), "models/finetuned is not the one in dvc.lock"),
        (lambda f: (f / "models/finetuned/diagnosis.json").write_text("{}"), "models/finetuned is not the one in dvc.lock"),
        (lambda f: shutil.rmtree(f / "models"), "models/finetuned/diagnosis.json does not exist"),
        (lambda f: (f / ".dvc/config.local").unlink(), "no DVC remote is named"),
    ],
    ids=["weights", "card", "absent", "remote"],
)  # fmt: skip
def test_a_push_that_cannot_be(repository, spoil, line):
    folder = repository()
    for path in (folder / "models").rglob("*"):
        path.chmod(0o755)
    spoil(folder)
    done = run_in(folder, "python", "-m", "tools.push", check=False)
    assert done.returncode == 1 and line in done.stderr and done.stderr.count("\n") == 1
    assert not (folder.parent / "remote").exists()


def test_expired_terms_are_not_pushed_and_the_tool_explains_itself(repository):
    folder = repository(expiry="2020-01-01")
    done = run_in(folder, "python", "-m", "tools.push", check=False)
    assert done.returncode == 1 and "the terms of 'mimic4' ended on 2020-01-01" in done.stderr
    assert not (folder.parent / "remote").exists()
    assert "--check" in run_in(folder, "python", "-m", "tools.push", "--help").stdout


def test_the_hook_of_git_stops_a_push_to_a_host_that_is_not_allowed(repository, tmp_path):
    folder = repository()
    page = (ROOT / "docs/data.md").read_text()
    (commands,) = [part for part in page.split("```") if "pre-push" in part and part.startswith("\n")]
    run_in(folder, "sh", "-e", "-c", commands)
    run_in(tmp_path, "git", "init", "-q", "--bare", "local.git")
    run_in(folder, "git", "push", "-q", f"{tmp_path}/local.git", "main")
    done = run_in(folder, ".git/hooks/pre-push", "away", "git@away.example:team/x.git", check=False)
    assert done.returncode == 1 and "what comes from the notes is not sent to ssh://away.example" in done.stderr


# ---------------------------------------------------------------- what leaves: publish, the live view


def with_terms(folder: Path, **terms) -> None:
    content = json.loads((folder / "metrics/ingest.json").read_text())
    (folder / "metrics/ingest.json").write_text(json.dumps(content | {"data_use": DataUse.of(MIMIC | terms).plain()}))
    dump(folder / "dvc.lock", {"schema": "2.0", "stages": entries(folder)})


@pytest.mark.parametrize(
    "uri", ["http://{host}:{port}", "http://user:hush@{host}:{port}/x", "databricks", "postgresql://{host}:{port}/db"]
)
def test_a_run_is_not_published_where_the_terms_do_not_allow_it(publish, folder, monkeypatch, uri):  # noqa: F811
    with_terms(folder)
    with Listener() as listener:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri.format(host=own_name(), port=listener.port))
        code, line = publish()
        assert code == 1 and "this run is not sent to" in line and "hush" not in line and "\n" not in line
        assert listener.connections == 0 and not runs(folder) and not (folder / "logs").exists()


def test_an_allowed_server_is_asked(publish, folder, monkeypatch):  # noqa: F811
    with Listener() as listener:
        uri = f"http://{own_name()}:{listener.port}"
        with_terms(folder, allowed_targets=[uri])
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        code, line = publish()
        assert code == 1 and line.startswith("error: MLflow at") and listener.connections


@pytest.mark.parametrize(
    ("uri", "location", "address"),
    [
        ("sqlite:////srv/mlflow.db", "file:///srv/mlartifacts", "sqlite:////srv/mlflow.db"),
        ("sqlite:////srv/mlflow.db", "dbfs:/x", "dbfs:/x"),
        ("databricks", "dbfs:/x", "databricks"),
        ("https://ward.example", "mlflow-artifacts:/3", "https://ward.example"),
        ("https://ward.example", "mlflow-artifacts://far.example/3", "mlflow-artifacts://far.example/3"),
        ("https://ward.example", "s3://ward/3", "s3://ward/3"),
    ],
)
def test_where_the_files_of_a_run_go(uri, location, address):
    store = SimpleNamespace(get_experiment=lambda _: SimpleNamespace(artifact_location=location))
    assert files_address(store, "3", uri) == address


def test_files_go_to_no_store_that_is_not_allowed(publish, folder, monkeypatch):  # noqa: F811
    """The server may be this machine's, and keep the files of its experiment in somebody else's bucket."""
    client(folder).create_experiment("diagnosis", "s3://me:hush@elsewhere/mlflow")
    with_terms(folder)
    code, line = publish()
    assert code == 1 and "this run is not sent to s3://elsewhere" in line and "hush" not in line
    assert not runs(folder)


def test_expired_terms_are_not_published(publish, folder):  # noqa: F811
    with_terms(folder, expiry="2020-01-01")
    code, line = publish()
    assert code == 1 and "this run is not sent: the terms of 'mimic4' ended on 2020-01-01" in line and not runs(folder)


def test_the_terms_are_tags(publish, folder):  # noqa: F811
    with_terms(folder, approval_id="12/2025", expiry="2999-12-31")
    assert publish() == (0, "")
    (run,) = runs(folder)
    assert {name: value for name, value in run.data.tags.items() if name.startswith(("data_use", "corpus", "licence"))} == {
        "corpus": "toy",
        "licence": LICENCE,
        "data_use.agreement": LICENCES[LICENCE]["agreement"],
        "data_use.commercial_use": "no",
        "data_use.approval_id": "12/2025",
        "data_use.allowed_targets": '["local"]',
        "data_use.expiry": "2999-12-31",
        "data_use.public": "false",
    }  # fmt: skip


def test_a_live_view_is_refused_like_a_run(stage, folder, tiny_model, monkeypatch):
    write_training(folder, tiny_model)
    for name in ("balanced", "split/validation"):
        table = pq.read_table(folder / f"data/{name}.parquet")
        meta = table.schema.metadata | {b"data_use": json.dumps(metadata()["data_use"] | MIMIC).encode()}
        pq.write_table(table.replace_schema_metadata(meta), folder / f"data/{name}.parquet")
    monkeypatch.setenv("DIAGNOSIS_REPORT_TO", "mlflow")
    with Listener() as listener:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://{own_name()}:{listener.port}")
        code, line = stage("finetune", {"epochs": 1, "threads": 1, "max_tokens": 64})
        assert (
            code == 1 and "the live view of the training is not sent to http://" in line and listener.connections == 0
        )
    assert not (folder / "models/finetuned").exists()


def test_the_model_and_the_predictions_carry_the_terms():
    """Of the last run in this repository, where there was one."""
    card, predictions = ROOT / "models/finetuned/diagnosis.json", ROOT / "data/predictions.parquet"
    if not (card.exists() and predictions.exists()):
        pytest.skip("no run of the pipeline in this repository: `make repro`")
    stated = json.loads(card.read_text())["data_use"]
    assert stated["corpus"] and stated == json.loads(pq.read_schema(predictions).metadata[b"data_use"])
