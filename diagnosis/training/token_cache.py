"""Tokenised notes kept between runs, so that a sweep over learning rates tokenises once.

A file is named by the hash of everything that its content depends on, by which it is found, and by the hash of that content,
by which it is checked. It holds note text in another form: its owner alone may read it, git and DVC ignore it, and no stage
has it as an output.
"""

import fcntl
import hashlib
import json
import os
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import pyarrow as pa
from datasets import Dataset

from diagnosis.files import sha256
from diagnosis.notes import open_notes
from diagnosis.training.dataset import read_dataset

FOLDER = Path(".cache/tokens")
KEPT = 16  # files; a training uses two
PARTIAL = "tokens.partial"


def cached_dataset(path: Path, tokenizer, metadata: dict, **options) -> Dataset:
    """`read_dataset` of the same arguments, from the cache where it is there and whole; memory-mapped."""
    open_notes(path)
    # An experiment of `--temp` or `--queue` works in a folder that goes; DVC_ROOT stays.
    folder = Path(os.environ.get("DVC_ROOT", ".")) / FOLDER
    key = token_key(path, tokenizer, metadata, options)
    with locked(folder):
        file = found(folder, key) or stored(folder, key, read_dataset(path, tokenizer, metadata, **options))
        return Dataset.from_file(str(file)).with_format("numpy")


def token_key(path: Path, tokenizer, metadata: dict, options: dict) -> str:
    """Hash of the note table, the tokenizer, the options, this package's code and the libraries."""
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.backend_tokenizer.no_truncation()
    vocabulary = tokenizer.backend_tokenizer.to_str()
    code = {file.name: sha256(file) for file in Path(__file__).parent.glob("*.py")}
    libraries = {name: version(name) for name in ("datasets", "pyarrow", "tokenizers", "transformers")}
    stated = json.dumps([sha256(path), vocabulary, metadata, options, code, libraries], sort_keys=True)
    return hashlib.sha256(stated.encode()).hexdigest()[:32]


@contextmanager
def locked(folder: Path):
    """One process at a time: of two that need the same notes the second finds what the first wrote. A kill unlocks."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def found(folder: Path, key: str) -> Path | None:
    """The file of this key, None where there is none; one that is torn or altered is removed."""
    for file in folder.glob(f"{key}-*.arrow"):
        if sha256(file) == file.stem.removeprefix(f"{key}-"):
            os.utime(file)
            return file
        file.unlink()
    return None


def stored(folder: Path, key: str, dataset: Dataset) -> Path:
    """The dataset's file, written aside and renamed; of more than KEPT files those go that were used longest ago."""
    partial = folder / PARTIAL
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream, pa.ipc.new_stream(stream, dataset.data.schema) as writer:
        writer.write_table(dataset.data.table)
    file = folder / f"{key}-{sha256(partial)}.arrow"
    os.replace(partial, file)
    files = sorted(folder.glob("*.arrow"), key=lambda each: each.stat().st_mtime_ns)
    for old in files[:-KEPT]:
        old.unlink()  # a run that has it mapped keeps it until it ends
    return file
