"""What the tests share: stages run in an empty folder, tiny models, the repository's own params."""

import copy
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
SHARED_DATA = Path(os.environ.get("DIAGNOSIS_DATA", ROOT.parent / "shared" / "data"))

needs_shared_data = pytest.mark.skipif(
    not SHARED_DATA.is_dir(), reason="the open notes are not beside the repository (set DIAGNOSIS_DATA)"
)


def merged(base: dict, changes: dict) -> dict:
    """`base` with `changes` laid over it, nested sections too."""
    result = copy.deepcopy(base)
    for key, value in changes.items():
        result[key] = (
            merged(result[key], value) if isinstance(value, dict) and isinstance(result.get(key), dict) else value
        )
    return result


def default_params() -> dict:
    return YAML(typ="safe", pure=True).load(ROOT / "params.yaml")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder to run stages in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def stage(folder, capsys):
    """Run a stage in the test's folder: `stage("clean", {"lowercase": True})` returns (exit code, its one-line error).

    The params are the repository's section with the changes laid over it. In process: imports are paid once.
    """
    from diagnosis.errors import run

    def call(name: str, changes: dict | None = None) -> tuple[int, str]:
        section = merged(default_params()[name], changes or {})
        with open("params.yaml", "w") as stream:
            YAML().dump({name: section}, stream)
        try:
            run(importlib.import_module(f"stages.{name}").main)
        except SystemExit as end:
            return (0, "") if end.code is None else (1, end.code) if isinstance(end.code, str) else (end.code, "")
        return 0, ""

    return call


def run_in(folder: Path, *command: str, env: dict | None = None, check: bool = True) -> subprocess.CompletedProcess:
    """Run a command in a folder with this Python's bin on the PATH; its output is in the exception where it fails."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **(env or {})}
    environment.pop("DVC_ROOT", None)
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if check and done.returncode != 0:
        raise AssertionError(
            f"{' '.join(command)} ended with {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        )
    return done


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> Path:
    """A folder with a random two-layer BERT (hidden size 32) and a word-piece tokenizer over letters and common words."""
    return make_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


def make_tiny_model(folder: Path) -> Path:
    import torch
    from transformers import BertConfig, BertModel, BertTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,:;/-()%"
    words = "the of and no patient history pain chest fever cough denies reports with mother father exam".split()
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{c}" for c in letters), *words]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    tokenizer = BertTokenizer(str(folder / "vocab.txt"))
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
    )
    BertModel(config).save_pretrained(folder)
    return folder


def tiny_params(model: Path) -> dict:
    """The repository's params made small: 220 invented notes, a tiny model, one epoch; a whole run takes a minute."""
    return merged(
        default_params(),
        {
            "fetch_model": {"source": "folder", "model": str(model), "sha256": None},
            "synthesize": {"patients": 160, "notes": 220, "bayes_draws": 2000},
            "split": {"min_notes_per_class": 3},
            "finetune": {"epochs": 1, "max_tokens": 64, "threads": 1, "method_options": {"lora": {"r": 4}}},
            "predict": {"threads": 1},
            "evaluate": {"bootstrap_samples": 50},
            "audit_fairness": {"bootstrap_samples": 50},
            "audit_leakage": {"bootstrap_samples": 50},
            "explain": {"notes": 4, "worst": 1, "samples": 10, "term_notes": 4, "bootstrap_samples": 50, "threads": 1},
            "probe": {"notes": 12, "train_notes": 40, "bootstrap_samples": 50, "threads": 1},
        },
    )


def write_params(folder: Path, params: dict) -> None:
    with open(folder / "params.yaml", "w") as stream:
        YAML().dump(params, stream)
