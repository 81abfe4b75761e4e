"""Which counts of patients by group may be told: none under a minimum, and none from which such a one follows."""

import numpy as np
import pandas as pd

Cell = tuple[str | None, ...]


def sizes(table: pd.DataFrame, grouping: tuple[str, ...], patients: np.ndarray) -> dict[Cell, tuple[int, int]]:
    """Notes and patients of each cell of a grouping, in the order of its values; cells with a missing value last."""
    frame = pd.DataFrame({"cell": list(zip(*(table[name] for name in grouping), strict=True)), "patient": patients})
    counts = frame.groupby("cell", sort=False)["patient"].agg(["size", "nunique"])
    order = sorted(counts.index, key=lambda cell: [(value is None, value or "") for value in cell])
    return {cell: (int(counts.at[cell, "size"]), int(counts.at[cell, "nunique"])) for cell in order}


def tellable(patients: dict[Cell, int], min_count: int) -> set[Cell]:
    """The cells whose counts may be shown.

    Not those under `min_count`, and not those from which such a count follows by subtraction: the totals of a grouping (and
    in a pair, of each of its two columns) are known, so what is hidden on a line has to add up to `min_count` or more. Where it
    does not, the line's smallest shown cell is hidden as well, and where all of them are not enough, those of none (0). In a
    pair, cells with a missing value are never shown.
    """
    width = len(next(iter(patients)))
    shown = {
        cell
        for cell, count in patients.items()
        if (count >= min_count or not count) and (width == 1 or None not in cell)
    }
    lines = {}
    for cell in patients:
        for place in range(width):
            lines.setdefault((place, cell[:place] + cell[place + 1 :]), []).append(cell)
    changed = True
    while changed:
        changed = False
        for line in lines.values():
            hidden = sum(patients[cell] for cell in line if cell not in shown)
            candidates = [cell for cell in line if cell in shown]
            if 0 < hidden < min_count and candidates:
                shown.remove(min(candidates, key=lambda cell: (not patients[cell], patients[cell], str(cell))))
                changed = True
    return shown


def missing(cells: dict[Cell, tuple[int, int]], shown: set[Cell], min_count: int) -> dict:
    """How many notes state no value of a single column; nothing of a pair, whose two columns say it."""
    if len(next(iter(cells))) > 1:
        return {}
    notes, patients = cells.get((None,), (0, 0))
    if notes and (None,) not in shown:
        return {"missing": f"<{min_count}" if patients < min_count else None}
    return {"missing": notes}


def rounded(value, decimals: int = 4):
    """Every float in a tree of dicts and lists, rounded; no -0.0."""
    if isinstance(value, dict):
        return {key: rounded(item, decimals) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item, decimals) for item in value]
    return round(float(value), decimals) + 0.0 if isinstance(value, float) else value
