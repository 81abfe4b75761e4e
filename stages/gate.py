"""End the run with an error where a stated limit is broken; by then everything is measured, written and published."""

import operator
import sys
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from diagnosis.errors import UserError, run
from diagnosis.files import read_json
from diagnosis.limits import BROKEN, KEPT, UNDECIDED, Judged, between, fair, one_sided, value_at
from diagnosis.params import Params

EVALUATE = Path("metrics/evaluate.json")
FAIRNESS = Path("metrics/audit_fairness.json")
LEAKAGE = Path("metrics/audit_leakage.json")
Metric = Literal[
    "accuracy", "sensitivity", "specificity", "ppv", "auroc", "brier", "calibration", "net_benefit", "demographic_parity",
    "equalised_odds",
]  # fmt: skip


class GateParams(Params):
    shard: Literal["test", "validation"]
    cannot_conclude: Literal["pass", "warn", "fail"]
    fair_metrics: list[Metric] | None = Field(min_length=1)
    max_fairness_gap: dict[Metric, Annotated[float, Field(gt=0)]] | None = Field(min_length=1)
    max_subgroup_gap: float | None = Field(gt=0, le=1)
    min_sensitivity: float | None = Field(gt=0, le=1)
    max_ece: float | None = Field(gt=0, le=1)
    max_leakage_lift: float | None = Field(ge=0, le=1)


def main():
    params = GateParams.load("gate")
    judged = list(judge(params, read_json(EVALUATE), read_json(FAIRNESS), read_json(LEAKAGE)))
    counts = {result: sum(each.result == result for each in judged) for result in (KEPT, UNDECIDED, BROKEN)}
    stops = {BROKEN} | ({UNDECIDED} if params.cannot_conclude == "fail" else set())
    tells = stops | ({UNDECIDED} if params.cannot_conclude == "warn" else set())
    for each in judged:
        if each.result in tells:
            print(f"gate: {each.result}: {each.says}", file=sys.stderr)
    if broken := sum(counts[result] for result in stops):
        raise UserError(
            f"{broken} of {len(judged)} limits of params.yaml: gate are not kept, as the lines above say; metrics/, plots/ and the "
            "published run stand"
        )
    none = "no limit is set in params.yaml: gate"
    print(f"gate: {counts[KEPT]} limits kept, {counts[UNDECIDED]} cannot be concluded" if judged else f"gate: {none}")


def judge(params: GateParams, evaluate: dict, fairness: dict, leakage: dict):
    """Yield a Judged for each value that a limit is set for."""
    shard = params.shard if params.shard in evaluate else "validation"

    # ---- groups
    gaps = params.max_fairness_gap or {}
    if params.fair_metrics or gaps:
        found = value_at(fairness, FAIRNESS, shard, "groupings", kind=dict)
        if isinstance(found, Judged):
            yield found
            found = {}
        for column in found:
            for metric in params.fair_metrics or ():
                where = (shard, "groupings", column, "compared", metric, "verdict")
                yield fair(fairness, FAIRNESS, where, "gate.fair_metrics")
            for metric, limit in gaps.items():
                where = (shard, "groupings", column, "compared", metric, "largest")
                yield between(fairness, FAIRNESS, where, f"gate.max_fairness_gap.{metric}", limit)
    if params.max_subgroup_gap is not None:
        where = (shard, "worst_subgroup", "largest")
        yield between(fairness, FAIRNESS, where, "gate.max_subgroup_gap", params.max_subgroup_gap)

    # ---- all notes
    if params.min_sensitivity is not None:
        where = (shard, "interval", "model", "sensitivity", "low")
        yield one_sided(evaluate, EVALUATE, where, "gate.min_sensitivity", params.min_sensitivity, operator.ge)
    if params.max_ece is not None:
        where = (shard, "calibrated", "ece")
        yield one_sided(evaluate, EVALUATE, where, "gate.max_ece", params.max_ece, operator.le)
    if params.max_leakage_lift is not None:
        where = ("gate", "highest_lift")
        yield one_sided(leakage, LEAKAGE, where, "gate.max_leakage_lift", params.max_leakage_lift, operator.le)


if __name__ == "__main__":
    run(main)
