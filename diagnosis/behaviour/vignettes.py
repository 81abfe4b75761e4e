"""Short invented cases with the diagnosis that is expected of them, and texts of other domains that belong to none."""

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np

from diagnosis.errors import UserError
from diagnosis.files import require
from diagnosis.scores.evidence import clopper_pearson
from diagnosis.scores.shards import decisions

COLUMNS = ["expected", "text"]


class Vignettes(NamedTuple):
    """`cases` as (text, class); `other` texts, of another domain; how many cases expect a class that the model does not know."""

    cases: list[tuple[str, str]]
    other: list[str]
    unknown: int


def read_vignettes(path: Path, classes: list[str]) -> Vignettes:
    """Read a CSV with columns `expected` and `text`; a row without `expected` is a text of another domain.

    Raises UserError where it is no such file, or a row has no text.
    """
    require(path, "check probe.vignettes")
    try:
        with open(path, encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream, strict=True)
            if reader.fieldnames is None or not set(COLUMNS) <= set(reader.fieldnames):
                raise UserError(f"{path} has not the columns {' and '.join(COLUMNS)}: name them in its first line")
            rows = [[(row[name] or "").strip() for name in COLUMNS] for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error):
        raise UserError(f"{path} cannot be read as a CSV in UTF-8: check probe.vignettes") from None
    if empty := [number for number, (_, text) in enumerate(rows, 1) if not text]:
        raise UserError(f"{path}: vignette {empty[0]} has no text: write it or remove the row")
    known = set(classes)
    return Vignettes(
        cases=[(text, expected) for expected, text in rows if expected in known],
        other=[text for expected, text in rows if not expected],
        unknown=sum(expected not in known for expected, _ in rows if expected),
    )


def answered(vignettes: Vignettes, probabilities: np.ndarray, classes: list[str], single: bool) -> dict:
    """How many cases get the expected class (of several labels: among those decided on), with Clopper and Pearson's interval, for
    no two are of one patient; and what was decided in place of what. Vignettes are invented: their counts are told."""
    n = len(vignettes.cases)
    result = {"n": n, "unknown_class": vignettes.unknown}
    if not n:
        return result | {"accuracy": None, "missed": {}}
    decided = decisions(probabilities, single)
    numbers = [classes.index(expected) for _, expected in vignettes.cases]
    right = decided[np.arange(n), numbers]
    missed: dict[str, dict[str, int]] = {}
    for row in np.flatnonzero(~right):
        instead = "+".join(classes[k] for k in np.flatnonzero(decided[row])) or "(none)"
        of_class = missed.setdefault(classes[numbers[row]], {})
        of_class[instead] = of_class.get(instead, 0) + 1
    accuracy = {"value": float(right.mean()), **clopper_pearson(int(right.sum()), n)}
    return result | {"accuracy": accuracy, "missed": missed}
