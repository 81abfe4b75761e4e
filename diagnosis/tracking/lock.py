"""What a run of the pipeline was, as dvc.lock has it: the stages that made its results, their hashes, its key."""

import hashlib
import json
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from diagnosis.errors import UserError
from diagnosis.files import require


def read_stages(path: Path) -> dict[str, dict]:
    """The stages of dvc.yaml or dvc.lock by name; raises UserError where there are none to read."""
    require(path, "run `dvc repro` from the repository's root")
    try:
        return dict(YAML(typ="safe", pure=True).load(path)["stages"])
    except (YAMLError, UnicodeDecodeError, TypeError, KeyError, ValueError):
        raise UserError(f"{path} is not what DVC reads and writes: restore it from git, then `dvc repro`") from None


def upstream(paths: list[str], lock: dict[str, dict]) -> dict[str, dict]:
    """The entries of `lock` that wrote `paths`, those that wrote what these read, and so on back.

    An entry that nothing here was made from (synthesize, once ingest reads other notes) says how something was made that
    this run never saw, and is left out. Raises UserError where no entry wrote one of `paths`.
    """
    todo, found = [], {}
    for path in paths:
        if not (writers := writers_of(path, lock)):
            raise UserError(f"dvc.lock has no stage that wrote {path}: run `dvc repro`")
        todo += writers
    while todo:
        name = todo.pop()
        if name not in found:
            found[name] = lock[name]
            todo += [writer for dep in lock[name].get("deps", ()) for writer in writers_of(dep["path"], lock)]
    return found


def writers_of(path: str, lock: dict[str, dict]) -> list[str]:
    """The stages with an out that is `path`, holds it or lies in it."""

    def related(out: str) -> bool:
        return out == path or path.startswith(f"{out}/") or out.startswith(f"{path}/")

    return [name for name, entry in lock.items() if any(related(out["path"]) for out in entry.get("outs", ()))]


def out_hashes(stages: dict[str, dict]) -> dict[str, str]:
    """The hash of every out, metric and plot of `stages`, by path."""
    try:
        return {out["path"]: out["md5"] for entry in stages.values() for out in entry.get("outs", ())}
    except KeyError:
        raise UserError("dvc.lock has an out without md5: run `dvc repro`") from None


def run_key(stages: dict[str, dict]) -> str:
    """SHA-256 of the params and out hashes of `stages`, whatever their order; commands and code do not count."""
    content = {name: [entry.get("params", {}), out_hashes({name: entry})] for name, entry in stages.items()}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def check_written(path: str, md5: str) -> None:
    """Raises UserError where a file is not the one that dvc.lock has."""
    with open(require(Path(path)), "rb") as stream:
        if hashlib.file_digest(stream, "md5").hexdigest() != md5:
            raise UserError(f"{path} is not the one in dvc.lock: run `dvc repro`")
