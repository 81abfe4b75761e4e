"""Values of metrics files against limits: kept, broken, or not to be concluded. What is missing or undefined is never kept."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

KEPT, UNDECIDED, BROKEN = "kept", "cannot conclude", "broken"


@dataclass(frozen=True)
class Judged:
    """One limit's result, and a line that says what the value is and where it is from."""

    result: str
    says: str


def value_at(content: dict, path: Path, *keys: str, kind: type | tuple = (int, float)):
    """What a metrics file has at nested keys; a broken Judged where it has nothing there, null, or what is no `kind`."""
    found = content
    for depth, key in enumerate(keys):
        if not isinstance(found, dict) or key not in found:
            return Judged(BROKEN, f"{path} has no {'.'.join(keys[: depth + 1])}: a limit that is set needs it, set it to null or run the stage")  # fmt: skip
        found = found[key]
    wrong = not isinstance(found, kind) or isinstance(found, bool)
    if wrong or (isinstance(found, float) and not math.isfinite(found)):
        return Judged(BROKEN, f"{path}: {'.'.join(keys)} is undefined: set the limit to null, or bring notes that define it")  # fmt: skip
    return found


def one_sided(content: dict, path: Path, keys: tuple, name: str, limit: float, keeps: Callable) -> Judged:
    """A value that `keeps` (operator.ge or operator.le) its limit, or does not."""
    value = value_at(content, path, *keys)
    if isinstance(value, Judged):
        return value
    says = f"{'.'.join(keys)} of {path} is {value:.4g}, {name} is {limit:.4g}"
    return Judged(KEPT if keeps(value, limit) else BROKEN, says)


def between(content: dict, path: Path, keys: tuple, name: str, limit: float) -> Judged:
    """A gap that lies between `low` and `high`: kept where all of that is within the limit, broken where none is."""
    found = value_at(content, path, *keys, kind=(dict, type(None)))
    if isinstance(found, Judged):
        return found
    if found is None:
        return Judged(UNDECIDED, f"{'.'.join(keys)} of {path} is unknown, too few patients of two groups; {name} is {limit:.4g}")  # fmt: skip
    low, high = (value_at(content, path, *keys, end) for end in ("low", "high"))
    for end in (low, high):
        if isinstance(end, Judged):
            return end
    says = f"{'.'.join(keys)} of {path} is from {low:.4g} to {high:.4g}, {name} is {limit:.4g}"
    return Judged(BROKEN if low > limit else KEPT if high <= limit else UNDECIDED, says)


def fair(content: dict, path: Path, keys: tuple, name: str) -> Judged:
    """A verdict of audit_fairness: unfair breaks the limit."""
    results = {"fair_within_margin": KEPT, "unfair": BROKEN, "cannot_conclude": UNDECIDED}
    verdict = value_at(content, path, *keys, kind=str)
    if isinstance(verdict, Judged):
        return verdict
    says = f"{'.'.join(keys)} of {path} is {verdict}, {name} names it"
    return Judged(results.get(verdict, BROKEN), says)
