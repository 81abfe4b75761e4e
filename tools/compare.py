"""Is one model better than another, or no worse than a margin allows? Two revisions on the same notes, patient by patient.

    python -m tools.compare                         # the working tree against the last commit
    python -m tools.compare main HEAD --json comparison.json
    python -m tools.compare ../other-checkout .     # folders with a dvc.yaml are read as they lie

A is the old model, B the new one: git revisions (or names of DVC experiments) whose predictions lie in DVC's cache or remote, or folders.
Test notes, or validation's where either side withholds test. Margins and more stand in params.yaml: compare. Prints Markdown.
"""

import argparse
import math
from contextlib import suppress
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from diagnosis.errors import UserError, run
from diagnosis.files import write_json
from diagnosis.params import Params
from diagnosis.scores.compare import check_comparable, delong_by_class, differences, judge, mcnemar_test
from diagnosis.scores.metrics import BY_CLASS, METRICS
from diagnosis.scores.shards import Predictions

TABLES = {"model": Path("data/predictions.parquet"), "calibrated": Path("data/calibrated.parquet")}
LEGEND = """\
Differences are B minus A, with 95 % intervals (Bayesian bootstrap over patients, {samples:,} draws, paired; each interval by itself). \
For a gain g (the difference; for brier and ece its negative) and margin m: **better** g > 0, **non_inferior** g > -m, \
**inferior** g < -m, each shown with at most {alpha:g} chance of even one false verdict in a table (Holm); **undecidable**: \
{patients:,} patients show none of them."""


class Margins(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    model: dict[Literal[METRICS], PositiveFloat]
    calibrated: dict[Literal[METRICS], PositiveFloat]


class CompareParams(Params):
    seed: int = Field(ge=0)
    bootstrap_samples: int = Field(ge=200)
    alpha: float = Field(gt=0, le=0.2)
    margins: Margins
    class_margins: dict[Literal[BY_CLASS], PositiveFloat]
    min_class_patients: int = Field(ge=2)


def main():
    parser = argparse.ArgumentParser(
        prog="python -m tools.compare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("A", nargs="?", default="HEAD", help="the old model: a revision or a folder (default: HEAD)")
    parser.add_argument("B", nargs="?", default=".", help="the new model (default: the working tree)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers to this file as well")
    options = parser.parse_args()
    params = CompareParams.load("compare")
    sides = [tables(options.A), tables(options.B)]
    result = compared(*sides, params)
    print(markdown(result, options.A, options.B, params))
    if options.json:
        write_json(options.json, result)


# ---- where the predictions are


def tables(side: str) -> dict[str, Predictions]:
    """The prediction tables of a folder or revision, by model; `calibrated` only where there is one."""
    result = {}
    for model, path in TABLES.items():
        if file := in_folder(side, path) if Path(side, "dvc.yaml").exists() else of_revision(side, path):
            result[model] = Predictions(file)
            result[model].path = Path(side) / path  # for messages: a file of the cache is named by its hash
        elif model == "model":
            raise UserError(
                f"{side} has no {path}: there, `dvc pull {path}` brings it where the DVC remote has it, `dvc repro predict` "
                "makes it"
            )
    return result


def in_folder(side: str, path: Path) -> Path | None:
    file = Path(side) / path
    return file if file.exists() else None


def of_revision(revision: str, path: Path) -> Path | None:
    """The file in DVC's cache that `dvc.lock` of a revision names for `path`, fetched where need be; None if it names none."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc.scm import SCMError, resolve_rev
    from dvc_data.hashfile.hash_info import HashInfo

    try:
        repo = Repo()
    except DvcException as error:
        raise UserError(f"DVC: {error}") from None
    with repo:
        try:
            tree = repo.scm.get_fs(resolve_rev(repo.scm, revision))
            lock = tree.open(Path(repo.root_dir).relative_to(repo.scm.root_dir).joinpath("dvc.lock").as_posix(), "rb")
            stages = YAML(typ="safe", pure=True).load(lock)["stages"]
        except SCMError:
            raise UserError(
                f"{revision} is neither a git revision nor a folder with a dvc.yaml: `git fetch` it, or check its name"
            ) from None
        except (OSError, YAMLError, TypeError, KeyError):
            raise UserError(f"{revision} has no dvc.lock: `git checkout` it, `dvc repro`, commit dvc.lock") from None
        outs = [out for stage in stages.values() for out in stage.get("outs", ()) if out["path"] == path.as_posix()]
        if not outs:
            return None
        file = Path(repo.cache.local.oid_to_path(outs[0]["md5"]))
        if not file.exists():
            with suppress(Exception):  # each kind of remote has its own; whatever it is, the file did not come
                repo.cloud.pull({HashInfo("md5", outs[0]["md5"])})
        if not file.exists():
            raise UserError(
                f"{path} of {revision} is neither in DVC's cache nor in a remote: where it was made, `python -m tools.push` "
                f"sends it; here, `git checkout {revision}`, then `dvc pull {path}`, or `dvc repro predict` to make it anew"
            )
        return file


# ---- the comparison


def compared(old: dict[str, Predictions], new: dict[str, Predictions], params: CompareParams) -> dict:
    """All numbers, as --json has them. Raises UserError where the two are not of the same notes, labels and classes."""
    models = [model for model in TABLES if model in old and model in new]
    if any((old[m].classes, old[m].task) != (new[m].classes, new[m].task) for m in models):
        only = [len(set(a["model"].classes) - set(b["model"].classes)) for a, b in ((old, new), (new, old))]
        raise UserError(
            f"A and B have other classes or tasks ({only[0]} classes only in A, {only[1]} only in B): only models of the "
            "same diagnoses can be compared"
        )
    everywhere = all(side[model].has("test") for side in (old, new) for model in models)
    shard = "test" if everywhere else "validation"
    pairs = {model: (old[model].shard(shard, model), new[model].shard(shard, model)) for model in models}
    for model, pair in pairs.items():
        check_comparable(*pair, f"shard {shard}, {model}")

    # ---- the headline metrics are one family, the classes' another
    family, place, by_class = [], [], {}
    for model, pair in pairs.items():
        wanted = params.class_margins if model == "model" else {}
        samples, seed = params.bootstrap_samples, params.seed
        headline, classes = differences(*pair, getattr(params.margins, model), wanted, samples, seed)
        family += headline.values()
        place += [(model, metric) for metric in headline]
        by_class |= classes
    judged = {model: {} for model in pairs}
    overall = judge(family, params.alpha)
    for (model, metric), row in zip(place, overall, strict=True):
        judged[model][metric] = row

    before, after = pairs["model"]
    names = old["model"].classes
    patients = [len(np.unique(before.patients[column])) for column in before.truth.T]
    large = [k for k, count in enumerate(patients) if count >= params.min_class_patients]
    cells = [(metric, k) for metric in by_class for k in large]
    rows = judge([by_class[metric][k] for metric, k in cells], params.alpha)
    independent = len(np.unique(before.patients)) == len(before.patients)
    delong = delong_by_class(before, after, large) if independent else {}
    return {
        "shard": shard,
        "n": len(before.note_ids),
        "n_patients": len(np.unique(before.patients)),
        "tested": {"headline": 3 * tested(overall), "classes": 3 * tested(rows)},
        "headline": judged,
        "classes": {
            names[k]: {"n_patients": patients[k]}
            | {metric: row for (metric, other), row in zip(cells, rows, strict=True) if other == k}
            | ({"delong": delong[k]} if independent else {})
            for k in large
        },
        "classes_left_out": len(names) - len(large),
        "independent": independent,
        "mcnemar": mcnemar_test(before, after) if independent else None,
        "identical": all(np.array_equal(a.probabilities, b.probabilities) for a, b in pairs.values()),
    }


def tested(rows: list[dict]) -> int:
    return sum(row["p_holm"]["better"] is not None for row in rows)


# ---- as Markdown


def markdown(result: dict, old: str, new: str, params: CompareParams) -> str:
    notes, patients = result["n"], result["n_patients"]
    lines = [f"### {new} (B) against {old} (A): {notes:,} {result['shard']} notes of {patients:,} patients", ""]
    if result["identical"]:
        return "\n".join([*lines, "Both give every note the same probabilities."])
    lines += ["| predictions | metric | A | B | difference | 95 % interval | margin | verdict |", "|---" * 8 + "|"]
    for model, rows in result["headline"].items():
        lines += [f"| {model} | {metric} | {cells(row)} |" for metric, row in rows.items()]
    lines += ["", LEGEND.format(samples=params.bootstrap_samples, alpha=params.alpha, patients=patients)]
    lines += [f"Hypotheses in the table above: {result['tested']['headline']}."]
    for table, count in result["tested"].items():
        if count > params.alpha * (params.bootstrap_samples + 1):  # Holm's least p is above alpha
            lines += [f"**{count} hypotheses ({table}) need {math.ceil(count / params.alpha):,} draws before any verdict is possible**: raise compare.bootstrap_samples."]  # fmt: skip
    if params.margins.calibrated and "calibrated" not in result["headline"]:
        lines += [f"Not both have {TABLES['calibrated']}: its metrics are left out."]
    lines += ["", independence(result)]
    if result["classes"]:
        lines += ["", f"<details><summary>By class ({result['tested']['classes']} hypotheses)</summary>", ""]
        last = " p of DeLong (Holm) |" if result["independent"] else ""
        lines += [f"| class | patients | metric | A | B | difference | 95 % interval | margin | verdict |{last}"]
        lines += ["|---" * (10 if last else 9) + "|"]
        for name, row in result["classes"].items():
            for metric in params.class_margins:
                p = f" {number(row['delong']['p_holm'])} |" if last and metric == "auroc" else " |" if last else ""
                lines.append(f"| {name} | {row['n_patients']} | {metric} | {cells(row[metric])} |{p}")
        lines += ["", "</details>"]
    if result["classes_left_out"]:
        lines += [
            "",
            f"Classes of fewer than {params.min_class_patients} patients, left out: {result['classes_left_out']}.",
        ]
    return "\n".join(lines)


def independence(result: dict) -> str:
    if not result["independent"]:
        return "McNemar's and DeLong's tests are left out: they need independent notes, and some patients have several."
    test = result["mcnemar"]
    return f"McNemar (exact): {test['only_old']} notes only A decides rightly, {test['only_new']} only B: p = {number(test['p'])}."


def cells(row: dict) -> str:
    """Old, new, difference, interval, margin and verdict of a row of a table."""
    value, low, high = (row["difference"][key] for key in ("value", "low", "high"))
    between = "-" if low is None else f"{low:+.4f} to {high:+.4f}"
    shown = [number(row["old"]), number(row["new"]), number(value, "+"), between, f"{row['margin']:g}", row["verdict"]]
    return " | ".join(shown)


def number(value: float | None, sign: str = "") -> str:
    return "-" if value is None or not np.isfinite(value) else f"{value + 0.0:{sign}.4f}"


if __name__ == "__main__":
    run(main)
