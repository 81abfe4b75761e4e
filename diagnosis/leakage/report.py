"""What may be told of part of a shard: its score, and its size where that gives no small count away."""

import numpy as np
from scipy import sparse

from diagnosis.disclosure import rounded
from diagnosis.leakage.compare import scored
from diagnosis.scores.shards import Shard


def hidden(notes: int, whole: int, min_count: int) -> int | str | None:
    """The count; "<11" where it is smaller than `min_count` = 11, null where the rest of the whole would be. None and all may be told."""
    if 0 < notes < min_count:
        return f"<{min_count}"
    return None if 0 < whole - notes < min_count else notes


def rows_with_any(*counts: sparse.csr_matrix) -> int:
    """Rows that hold any token, of all the matrices."""
    return sum(int((rows.getnnz(axis=1) > 0).sum()) for rows in counts)


def part(shard: Shard, rows: np.ndarray, min_count: int, sampling: dict) -> dict:
    """The scores of the notes where `rows`, (n,) bool; null where they are of fewer than `min_count` patients: no interval over
    them would be one. Two decimals where n is not told, which from more would follow."""
    result = {"n": hidden(int(rows.sum()), len(rows), min_count)}
    if len(np.unique(shard.patients[rows])) < min_count:
        return result | {"macro_f1": None, "low": None, "high": None, "accuracy": None}
    of_part = scored(shard.at(rows), **sampling)
    return result | (rounded(of_part, 2) if result["n"] is None else of_part)
