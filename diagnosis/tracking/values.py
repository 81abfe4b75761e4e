"""Params, metrics and curves of a run, under names and in lengths that MLflow takes."""

import csv
import hashlib
import json
import math
import re
from collections import Counter
from pathlib import Path

from diagnosis.errors import UserError

LONGEST_NAME = 250  # as in mlflow.utils.validation
LONGEST_VALUE = 5000  # 6000 there

Keys = tuple[str, ...]


def leaves(content: dict, above: Keys = ()) -> dict[Keys, object]:
    """Everything in nested dicts that is no dict, by its keys; a list is one value."""
    found = {}
    for key, value in content.items():
        keys = (*above, str(key))
        found |= leaves(value, keys) if isinstance(value, dict) else {keys: value}
    return found


def params_of(stages: dict[str, dict]) -> dict[Keys, object]:
    """Every param that dvc.lock has for `stages`, by its keys."""
    files = [values for entry in stages.values() for values in entry.get("params", {}).values()]
    return {keys: value for values in files for keys, value in leaves(values).items()}


def logged_params(params: dict[Keys, object]) -> dict[str, str]:
    """Params as MLflow has them: text as it is, an absolute path as its last part, anything else as JSON."""
    return {
        name: (without_folder(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False))[
            :LONGEST_VALUE
        ]
        for name, value in named(params).items()
    }


def without_folder(text: str) -> str:
    """The last part of an absolute path, for where a hospital keeps its notes concerns nobody; other text as it is."""
    return Path(text).name if Path(text).is_absolute() else text


def without_folders(text: str, params: dict[Keys, object]) -> str:
    """`text` with every absolute path that is a param cut to its last part."""
    for path in sorted({str(value) for value in params.values()}, key=len, reverse=True):
        if path != without_folder(path):
            text = text.replace(path, without_folder(path))
    return text


def logged_metrics(contents: dict[str, dict]) -> dict[str, float]:
    """The finite numbers of metrics files by dotted name; `contents` is by the file's stem.

    Null stays absent: undefined is not 0. Lists are left out, as in `dvc metrics diff`; the artifact has them.
    """
    numbers = {
        keys: float(value)
        for keys, value in leaves(contents).items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }
    return named(numbers)


def read_curves(path: Path) -> list[tuple[str, int, float]]:
    """(name, step, value) of each row of a CSV with columns step, split and loss; empty for any other CSV."""
    with open(path, newline="", encoding="utf-8") as stream:
        rows = csv.DictReader(stream)
        if not {"step", "split", "loss"} <= set(rows.fieldnames or ()):
            return []
        try:
            return [(f"curves.{path.stem}.{row['split']}.loss", int(row["step"]), float(row["loss"])) for row in rows]
        except (ValueError, TypeError):
            raise UserError(f"{path} has a row whose step or loss is no number: run `dvc repro`") from None


def named(values: dict[Keys, object]) -> dict[str, object]:
    """Dotted names; a character that MLflow refuses becomes `_`; where two names became one, or one is too long, a hash
    of the keys tells them apart."""
    plain = {keys: re.sub(r"[^\w.\- :]", "_", ".".join(keys)) for keys in values}
    times = Counter(plain.values())

    def name(keys: Keys) -> str:
        if times[plain[keys]] == 1 and len(plain[keys]) <= LONGEST_NAME:
            return plain[keys]
        return f"{plain[keys][: LONGEST_NAME - 9]}-{hashlib.sha256(json.dumps(keys).encode()).hexdigest()[:8]}"

    return {name(keys): value for keys, value in values.items()}
