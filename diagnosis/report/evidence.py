"""What the page, the model card and the checklist are made of: values of the run's artefacts that know where they stand.

Nothing in a report is typed in: each number is a `Found`, which carries its file and its place in it, and the file's hash is the
one that dvc.lock has.
"""

import csv
import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from diagnosis.errors import UserError
from diagnosis.files import read_json, require


@dataclass(frozen=True)
class Found:
    """A value of an artefact and where it stands; what is not there is a Found of None, and so is everything in it.

    file: the artefact's path. place: the keys that lead to the value. value: JSON's, or None.
    """

    file: str
    place: tuple[str, ...] = ()
    value: object = None

    def __getitem__(self, key) -> "Found":
        try:
            inner = self.value[key]
        except (KeyError, IndexError, TypeError):
            inner = None
        return Found(self.file, (*self.place, str(key)), inner)

    def __bool__(self) -> bool:
        return self.value is not None

    def each(self) -> list[tuple[str, "Found"]]:
        """The members of a dict in its order, or of a list; none of anything else."""
        keys = self.value if isinstance(self.value, dict) else range(len(self.value or ()))
        return [(key, self[key]) for key in keys] if isinstance(self.value, (dict, list)) else []

    @property
    def where(self) -> str:
        """File and JSON pointer (RFC 6901), e.g. metrics/evaluate.json#/test/n."""
        return f"{self.file}#" + "".join(f"/{key.replace('~', '~0').replace('/', '~1')}" for key in self.place)


class Evidence:
    """The artefacts by path. One that is not there is remembered as such, for the reports to say so."""

    def __init__(self):
        self.md5: dict[str, str] = {}
        """The hash of each artefact that was read, as dvc.lock has it, by path."""
        self.sections: dict[str, str] = {}
        """The md5 of the values of each section of params.yaml that was read."""

    def params(self, section: str, values: dict) -> Found:
        """Values of a section of params.yaml; blank text is null, that is: not stated."""
        self.sections[section] = hashlib.md5(json.dumps(values, sort_keys=True).encode()).hexdigest()
        blank = {name: None if isinstance(text, str) and not text.strip() else text for name, text in values.items()}
        return Found("params.yaml", (section,), blank)

    def metrics(self, path: Path) -> Found:
        """What a stage measured; nothing where it did not run."""
        return Found(self.add(path), value=read_json(path)) if path.exists() else Found(path.as_posix())

    def add(self, path: Path) -> str:
        """Take an artefact, a file or a folder, into the lineage."""
        self.md5[path.as_posix()] = md5_of(require(path))
        return path.as_posix()

    def rows(self, path: Path) -> Found:
        """A plot's points, a list of dicts with numbers for numbers; nothing where there is no such file."""
        if not path.exists():
            return Found(path.as_posix())
        with open(path, newline="", encoding="utf-8") as stream:
            rows = [{key: number(text) for key, text in row.items()} for row in csv.DictReader(stream)]
        return Found(self.add(path), value=rows)

    def counts(self, path: Path, row: str, column: str) -> Found:
        """How often each pair of two columns' values stands in a file of a row a note, as {row: {column: count}}."""
        if not path.exists():
            return Found(path.as_posix())
        with open(path, newline="", encoding="utf-8") as stream:
            pairs = Counter((each[row], each[column]) for each in csv.DictReader(stream))
        table = {}
        for (actual, predicted), count in sorted(pairs.items()):
            table.setdefault(actual, {})[predicted] = count
        return Found(self.add(path), value=table)


def number(text: str):
    try:
        return int(text) if text.lstrip("-").isdigit() else float(text)
    except ValueError:
        return text or None


def writer(file: str) -> str:
    """The stage that wrote an artefact: metrics and plots carry its name, the others are these."""
    stem = Path(file).parts[1].split(".")[0] if "/" in file else "you"
    return {
        "predictions": "predict",
        "calibrated": "calibrate",
        "explanations": "explain",
        "titles": "ingest",
        "finetuned": "finetune",
    }.get(stem, stem)


def md5_of(path: Path) -> str:
    """The hash that DVC gives a file, or a folder: the md5 of the sorted list of its files' hashes, with `.dir` behind."""
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file())
        listed = [{"md5": md5_of(p), "relpath": p.relative_to(path).as_posix()} for p in files]
        listed.sort(key=lambda entry: entry["relpath"])
        return hashlib.md5(json.dumps(listed, sort_keys=True).encode()).hexdigest() + ".dir"
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "md5").hexdigest()


def shard_of(evaluated: Found) -> str:
    """The shard that reports are about: test, or validation where test was withheld.

    Raises UserError where neither was scored.
    """
    for name in ("test", "validation"):
        if evaluated[name]:
            return name
    raise UserError(f"{evaluated.file} scores neither test nor validation: run `dvc repro evaluate`")
