"""Compare the model's scores between groups of patients and their pairs, and say where the notes are too few to tell."""

from collections import Counter
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import Field
from tqdm import tqdm

from diagnosis.disclosure import missing, rounded, sizes, tellable
from diagnosis.errors import UserError, run
from diagnosis.fairness.compare import METRICS, compare, described, frame, part_of, score
from diagnosis.fairness.groups import groupings, read_groups
from diagnosis.fairness.plot import forest
from diagnosis.files import write_json
from diagnosis.params import Params
from diagnosis.scores.shards import Predictions, Shard

PREDICTIONS = Path("data/predictions.parquet")
SPLIT = Path("data/split")
METRICS_FILE = Path("metrics/audit_fairness.json")
PLOT = Path("plots/audit_fairness.png")


class AuditFairnessParams(Params):
    seed: int = Field(ge=0)
    groups: list[Literal["sex", "age_band", "race", "language", "insurance", "site"]] = Field(min_length=1)
    pairs: bool
    min_count: int = Field(ge=2)
    min_class_count: int = Field(ge=1)
    bootstrap_samples: int = Field(ge=20)


def main():
    params = AuditFairnessParams.load("audit_fairness")
    if twice := [name for name, count in Counter(params.groups).items() if count > 1]:
        raise UserError(f"params.yaml: audit_fairness.groups names {twice[0]} twice: name it once")
    predictions = Predictions(PREDICTIONS)
    audited = {}
    for name in ("validation", *(["test"] if predictions.has("test") else [])):
        shard = predictions.shard(name, "model")
        audited[name] = audit(name, shard, read_groups(SPLIT / f"{name}.parquet", shard, params.groups), params)
    if "groupings" not in audited[name]:
        print("audit_fairness: no groups: the notes state none of", ", ".join(params.groups))
    forest(PLOT, audited[name], name, params.min_count)
    write_json(METRICS_FILE, audited)


def audit(name: str, shard: Shard, table: pd.DataFrame, params: AuditFairnessParams) -> dict:
    """What metrics/audit_fairness.json says of a shard; `table` has a column a group, a row a note."""
    patients = int(shard.patients.max()) + 1
    everyone = score(shard, patients, params.bootstrap_samples, params.seed, params.min_class_count)
    result = {"n": len(table), "n_patients": patients, "overall": rounded(described(everyone))}
    stated = [column for column in params.groups if table[column].notna().any()]
    if not stated:
        return result | {"status": "no groups"}
    found = {}
    for grouping in tqdm(groupings(stated, params.pairs), desc=f"audit_fairness: {name}", unit=" groupings"):
        found[grouping] = compared(shard, table, grouping, patients, params)
    verdicts = Counter(each["verdict"] for grouping in found.values() for each in grouping["compared"].values())
    return result | {
        "groupings": {grouping[0]: of for grouping, of in found.items() if len(grouping) == 1},
        # A list, which `dvc metrics diff` leaves out: a pull request shows the single columns.
        "pairs": [{"columns": list(grouping), **of} for grouping, of in found.items() if len(grouping) == 2],
        "no_values": [column for column in params.groups if column not in stated],
        "verdicts": {verdict: verdicts[verdict] for verdict in ("gap", "cannot_conclude")},
    }


def compared(
    shard: Shard, table: pd.DataFrame, grouping: tuple[str, ...], patients: int, params: AuditFairnessParams
) -> dict:
    """One grouping: its groups, those too small named as undecidable, and what differs between the others."""
    cells = sizes(table, grouping, shard.patients)
    shown = tellable({cell: count for cell, (_, count) in cells.items()}, params.min_count)
    names = {cell: " & ".join(cell) for cell in cells if None not in cell}
    labels = np.array([names.get(cell) for cell in zip(*(table[c] for c in grouping), strict=True)], dtype=object)
    groups = {
        label: score(
            part_of(shard, np.flatnonzero(labels == label)),
            patients,
            params.bootstrap_samples,
            params.seed,
            params.min_class_count,
        )
        for cell, label in names.items()
        if cells[cell][1] >= params.min_count
    }
    plain = frame(shard, labels, groups).by_group if groups else None
    by_group = {}
    for cell, label in names.items():
        if label not in groups:
            by_group[label] = {"n_patients": f"<{params.min_count}", "verdict": "undecidable"}
            continue
        notes, count = cells[cell] if cell in shown else (None, f">={params.min_count}")
        by_group[label] = {"n": notes, "n_patients": count, **described(groups[label], plain.loc[label])}
    result = {
        "by_group": by_group,
        "undecidable": [label for label in names.values() if label not in groups],
        **missing(cells, shown, params.min_count),
        "compared": {metric: compare(groups, metric) for metric in METRICS},
    }
    # 0.8125 says 16 notes: where a size is hidden, the scores are coarse.
    told = all(cell in shown for cell, label in names.items() if label in groups)
    return rounded(result, 4 if told else 2)


if __name__ == "__main__":
    run(main)
