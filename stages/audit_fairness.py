"""Compare the model's scores between groups of patients and where columns meet: fair, unfair, or too few notes to tell."""

from collections import Counter
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import Field
from tqdm import tqdm

from diagnosis.disclosure import missing, rounded, sizes, tellable
from diagnosis.errors import UserError, run
from diagnosis.fairness.compare import (
    COMPARED,
    ONE_VS_REST,
    VERDICTS,
    concluded,
    contrasts,
    critical,
    described,
    frame,
    pooled_scores,
    score,
    selection_rates,
)
from diagnosis.fairness.groups import groupings, read_groups
from diagnosis.fairness.plot import forest
from diagnosis.fairness.subgroups import scan
from diagnosis.files import write_json
from diagnosis.params import Params
from diagnosis.scores.shards import Predictions, Shard, check_same_notes

PREDICTIONS = Path("data/predictions.parquet")
CALIBRATED = Path("data/calibrated.parquet")
SPLIT = Path("data/split")
METRICS_FILE = Path("metrics/audit_fairness.json")
PLOT = Path("plots/audit_fairness.png")


class Margins(Params):
    accuracy: float = Field(gt=0)
    sensitivity: float = Field(gt=0)
    specificity: float = Field(gt=0)
    ppv: float = Field(gt=0)
    auroc: float = Field(gt=0)
    brier: float = Field(gt=0)
    calibration: float = Field(gt=0)
    net_benefit: float = Field(gt=0)
    demographic_parity: float = Field(gt=0)
    equalised_odds: float = Field(gt=0)


class AuditFairnessParams(Params):
    seed: int = Field(ge=0)
    groups: list[Literal["sex", "age_band", "race", "language", "insurance", "site"]] = Field(min_length=1)
    pairs: bool
    min_count: int = Field(ge=2)
    min_class_count: int = Field(ge=1)
    bootstrap_samples: int = Field(ge=20)
    margins: Margins
    net_benefit_threshold: float | None = Field(gt=0, lt=1)
    scan_depth: int = Field(ge=1, le=4)


def main():
    params = AuditFairnessParams.load("audit_fairness")
    if twice := [name for name, count in Counter(params.groups).items() if count > 1]:
        raise UserError(f"params.yaml: audit_fairness.groups names {twice[0]} twice: name it once")
    predictions, calibrated = Predictions(PREDICTIONS), Predictions(CALIBRATED)
    audited = {}
    for name in ("validation", *(["test"] if predictions.has("test") else [])):
        shard, after = predictions.shard(name, "model"), calibrated.shard(name, "calibrated")
        check_same_notes(shard, after, f"{PREDICTIONS} and {CALIBRATED}, shard {name}")
        table = read_groups(SPLIT / f"{name}.parquet", shard, params.groups)
        audited[name] = audit(name, shard, after, table, predictions.classes, params)
    if "groupings" not in audited[name]:
        print("audit_fairness: no groups: the notes state none of", ", ".join(params.groups))
    forest(PLOT, audited[name], name, params.min_count)
    write_json(METRICS_FILE, audited)


def audit(
    name: str, shard: Shard, after: Shard, table: pd.DataFrame, classes: list[str], params: AuditFairnessParams
) -> dict:
    """What metrics/audit_fairness.json says of a shard; `after`: it calibrated; `table` has a column a group, a row a note."""
    patients = int(shard.patients.max()) + 1
    sampling = (patients, params.bootstrap_samples, params.seed, params.min_class_count)
    everyone = score(shard, *sampling, after, params.net_benefit_threshold)
    result = {"n": len(table), "n_patients": patients, "overall": rounded(described(everyone, params.min_count))}
    stated = [column for column in params.groups if table[column].notna().any()]
    if not stated:
        return result | {"status": "no groups"}
    found, differences = {}, {}
    for grouping in tqdm(groupings(stated, params.pairs), desc=f"audit_fairness: {name}", unit=" groupings"):
        found[grouping], differences[grouping] = grouped(shard, after, table, grouping, classes, sampling, params)

    # ---- intervals hold for all single columns at once, and for all pairs of columns
    for width in (1, 2):
        family = {grouping: each for grouping, each in differences.items() if len(grouping) == width}
        for metric in COMPARED if family else ():
            c, margin = critical([each[metric] for each in family.values()]), getattr(params.margins, metric)
            for grouping, each in family.items():
                decimals = 2 if metric in ONE_VS_REST else found[grouping]["decimals"]
                found[grouping]["compared"][metric] = rounded(concluded(each[metric], metric, c, margin), decimals)
    for of in found.values():
        del of["decimals"]

    verdicts = Counter(each["verdict"] for grouping in found.values() for each in grouping["compared"].values())
    worst = scan(
        shard,
        table,
        stated,
        depth=params.scan_depth,
        min_count=params.min_count,
        margin=params.margins.accuracy,
        samples=params.bootstrap_samples,
        seed=params.seed,
    )
    return result | {
        "groupings": {grouping[0]: of for grouping, of in found.items() if len(grouping) == 1},
        # A list, which `dvc metrics diff` leaves out: a pull request shows the single columns.
        "pairs": [{"columns": list(grouping), **of} for grouping, of in found.items() if len(grouping) == 2],
        "no_values": [column for column in params.groups if column not in stated],
        "verdicts": {verdict: verdicts[verdict] for verdict in VERDICTS},
        "worst_subgroup": rounded(worst, 2),
    }


def grouped(
    shard: Shard, after: Shard, table: pd.DataFrame, grouping: tuple, classes: list[str], sampling: tuple, params
) -> tuple[dict, dict]:
    """One grouping: its groups, those too small named as undecidable; and by metric what differs between the others."""
    cells = sizes(table, grouping, shard.patients)
    shown = tellable({cell: count for cell, (_, count) in cells.items()}, params.min_count)
    names = {cell: " & ".join(cell) for cell in cells if None not in cell}
    labels = np.array([names.get(cell) for cell in zip(*(table[c] for c in grouping), strict=True)], dtype=object)
    rows = {
        label: np.flatnonzero(labels == label) for cell, label in names.items() if cells[cell][1] >= params.min_count
    }
    groups = {
        label: score(shard.at(own), *sampling, after.at(own), params.net_benefit_threshold)
        for label, own in rows.items()
    }
    plain = frame(shard, labels, groups).by_group if groups else None
    by_group = {}
    for cell, label in names.items():
        if label not in groups:
            by_group[label] = {"n_patients": f"<{params.min_count}", "verdict": "undecidable"}
            continue
        notes, count = cells[cell] if cell in shown else (None, f">={params.min_count}")
        rates = selection_rates(shard.at(rows[label]), classes, params.min_count)
        by_group[label] = {
            "n": notes,
            "n_patients": count,
            **described(groups[label], params.min_count, plain.loc[label]),
            "selection_rate": rates,
        }
    # 0.8125 says 16 notes: where a size is hidden, the scores are coarse.
    told = all(cell in shown for cell, label in names.items() if label in groups)
    decimals = 4 if told else 2
    result = {
        "by_group": by_group,
        "undecidable": [label for label in names.values() if label not in groups],
        **missing(cells, shown, params.min_count),
        # Where columns meet, the scan for the worst subgroup pools.
        **({"pooled": pooled_scores(groups)} if len(grouping) == 1 else {}),
    }
    differences = {metric: contrasts(groups, metric, classes) for metric in COMPARED}
    return rounded(result, decimals) | {"compared": {}, "decimals": decimals}, differences


if __name__ == "__main__":
    run(main)
