"""Files that are whole or absent: everything is written aside and renamed into place."""

import hashlib
import json
import math
import os
import shutil
from contextlib import contextmanager
from pathlib import Path

from diagnosis.errors import UserError


@contextmanager
def written_aside(path: Path):
    """Yield a path beside `path` to write to (a file, or a folder to make); move it into place if nothing failed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    _remove(partial)
    try:
        yield partial
    except BaseException:
        _remove(partial)
        raise
    _remove(path)
    os.replace(partial, path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_json(path: Path, content) -> None:
    """Write JSON with sorted keys; floats that are not finite become null, numpy numbers plain ones."""
    with written_aside(path) as partial:
        partial.write_text(json.dumps(_plain(content), indent=2, sort_keys=True, ensure_ascii=False) + "\n", "utf-8")


def _plain(value):
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def read_json(path: Path) -> dict:
    """Read a JSON file; raises UserError where it is missing or not JSON."""
    require(path)
    try:
        return json.loads(path.read_text("utf-8"))
    except ValueError:
        raise UserError(f"{path} is not valid JSON: write it again") from None


def require(path: Path, what_to_do: str = "run `dvc repro`, or check the path") -> Path:
    """Return `path` if it exists; raises UserError where it does not."""
    if not path.exists():
        raise UserError(f"{path} does not exist: {what_to_do}")
    return path


def sha256(path: Path) -> str:
    """SHA-256 of a file, or of a folder's relative names and contents in sorted order."""
    digest = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]:
        if path.is_dir():
            digest.update(file.relative_to(path).as_posix().encode() + b"\0")
        with open(file, "rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
