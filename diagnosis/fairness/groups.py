"""Who is in which group."""

from itertools import combinations
from pathlib import Path

import pandas as pd

from diagnosis.errors import UserError
from diagnosis.notes import read_stated
from diagnosis.scores.shards import Shard


def read_groups(path: Path, shard: Shard, columns: list[str]) -> pd.DataFrame:
    """The group columns of a split shard, in the order of the scored notes; None where a value is missing or imputed.

    Raises UserError where the notes are not the scored ones.
    """
    table = read_stated(path, ["note_id", *columns]).set_index("note_id")
    if not table.index.is_unique:
        raise UserError(f"{path}: note_ids occur twice: run `dvc repro`")
    if differing := len(table.index.symmetric_difference(pd.Index(shard.note_ids))):
        raise UserError(f"{path}: {differing} notes are in the shard or in the predictions only: run `dvc repro`")
    table = table.loc[shard.note_ids].astype(object)
    return table.where(table.notna(), None)


def groupings(columns: list[str], pairs: bool) -> list[tuple[str, ...]]:
    """Each column, and where `pairs` every two."""
    return [(name,) for name in columns] + (list(combinations(columns, 2)) if pairs else [])
