"""Clinicians read chosen cases and say what they see: a sheet to fill in, and what several filled sheets say together.

    python -m tools.review make                                     # writes data/review/cases.csv, outside git
    python -m tools.review read anna.csv ben.csv --json review.json # one filled copy a reviewer

Cases are errors, disagreements with the TF-IDF baseline, decisions of low confidence and random ones of the test shard (validation
where test is withheld); params.yaml: review says how many. The sheet does not show what the model says. Reviewers fill in

    diagnosis  one of the classes (several labels: with semicolons between, or none), before they look to the right
    severity   0 to 3: the harm to this patient if that diagnosis were missed (none, mild, moderate, severe)
    agree      yes or no: would you accept the recorded diagnosis?
    comment    yours, never read here
"""

import argparse
from pathlib import Path

import numpy as np

from diagnosis.errors import UserError, run
from diagnosis.files import write_json
from diagnosis.review.agreement import DECISIONS, reviewed
from diagnosis.review.cases import STRATA, ReviewParams, choose
from diagnosis.review.sheet import read_sheet, write_sheet
from diagnosis.scores.shards import Predictions, Shard, check_same_notes

PREDICTIONS = Path("data/predictions.parquet")
BASELINE = Path("data/baseline.parquet")
SPLIT = Path("data/split")
SHEET = Path("data/review/cases.csv")


def main():
    parser = argparse.ArgumentParser(
        prog="python -m tools.review", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    commands.add_parser("make", help="write the sheet").set_defaults(call=make)
    read_parser = commands.add_parser("read", help="read filled sheets")
    read_parser.add_argument(
        "sheets", nargs="+", type=Path, metavar="SHEET", help="a filled sheet; its name is the reviewer's"
    )
    read_parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers to this file as well")
    read_parser.set_defaults(call=read)
    options = parser.parse_args()
    options.call(options)


def make(_) -> None:
    if SHEET.exists():
        raise UserError(f"{SHEET} is there already and may hold answers: move it away first")
    params = ReviewParams.load("review")
    name, model, strata, chosen, classes = cases(params)
    write_sheet(SHEET, SPLIT / f"{name}.parquet", model.note_ids[chosen], classes, params.seed)
    counts = ", ".join(f"{int((strata[chosen] == each).sum())} {each}" for each in STRATA)
    print(f"{int(chosen.sum())} {name} notes in {SHEET} ({counts}), with note text: keep it where notes may lie.")
    print(
        f"Give each reviewer a copy named after them. diagnosis: {'one' if model.single else 'any'} of {', '.join(classes)}"
    )


def read(options) -> None:
    params = ReviewParams.load("review")
    name, model, strata, chosen, classes = cases(params)
    sheets = {path.stem: path for path in options.sheets}
    if len(sheets) < len(options.sheets):
        raise UserError("two sheets have one file name, which is the reviewer's: rename one")
    ids = model.note_ids[chosen]
    reviewers = {who: read_sheet(path, ids, classes, model.single) for who, path in sheets.items()}
    result = {"shard": name} | reviewed(model, strata, chosen, reviewers, params.bootstrap_samples, params.seed)
    print(markdown(result))
    if options.json:
        write_json(options.json, result)


def cases(params: ReviewParams) -> tuple[str, Shard, np.ndarray, np.ndarray, list[str]]:
    """Name of the shard, the model's predictions of it, the notes' strata, which are cases, and the classes."""
    predictions, baseline = Predictions(PREDICTIONS), Predictions(BASELINE)
    if (predictions.classes, predictions.task) != (baseline.classes, baseline.task):
        raise UserError(f"{PREDICTIONS} and {BASELINE} state different classes or tasks: run `dvc repro`")
    name = "test" if predictions.has("test") else "validation"
    model, other = predictions.shard(name, "model"), baseline.shard(name, "tfidf_logreg")
    check_same_notes(model, other, f"{PREDICTIONS} and {BASELINE}, shard {name}")
    return name, model, *choose(model, other, params), predictions.classes


# ---- as Markdown


def markdown(result: dict) -> str:
    read = sum(each["cases"] for each in result["cases"].values())
    lines = [f"### Review of {read} {result['shard']} notes by {len(result['answered'])} reviewers", ""]
    lines += ["| stratum | notes in the shard | cases | with a diagnosis agreed on |", "|---|---|---|---|"]
    lines += [
        f"| {name} | {row['notes']} | {row['cases']} | {row['decided']} |" for name, row in result["cases"].items()
    ]
    lines += ["", "Answered: " + ", ".join(f"{who} {count}" for who, count in result["answered"].items()) + "."]
    lines += ["", "Agreement beyond chance on the cases, which are harder than notes at large:", ""]
    lines += ["| kappa of | cases | kappa, 95 % interval |", "|---|---|---|"]
    found = result["agreement"]
    rows = [*found["cohen"].items()]
    rows += [(f"{who} / model", row) for who, row in found["cohen_model"].items()]
    rows += [(f"{who} / record", row) for who, row in found["cohen_recorded"].items()]
    rows += [("all reviewers (Fleiss)", found["fleiss"])] if found["fleiss"] else []
    lines += [f"| {who} | {row['n']} | {between(row)} |" for who, row in rows]
    right = result["corrected"]
    lines += ["", f"Right diagnosis: {right['by_majority']} cases by majority, {right['by_accepted_record']} by the accepted record, "
              f"{right['undecided']} undecided and left out."]  # fmt: skip
    if "model" in right:
        lines += [f"The record is wrong in {right['record_wrong']} of them. What follows is estimated for the whole shard, each "
                  "stratum by its size.", "", "| | against the record | against the right diagnosis |", "|---|---|---|"]  # fmt: skip
        lines += [f"| model, accuracy | {result['recorded']['accuracy']:.3f} | {between(right['model']['accuracy'])} |"]
        lines += [f"| model, {key} | | {between(right['model'][key])} |" for key in DECISIONS if key != "accuracy"]
        lines += [f"| record, accuracy | | {between(right['record_accuracy'])} |"]
        lines += ["", "| severity of the model's errors | cases | share of all notes |", "|---|---|---|"]
        lines += [f"| {name} | {row['cases']} | {between(row['share'])} |" for name, row in result["severity"].items()]
    else:
        lines += [f"No estimate for the whole shard: no case of {', '.join(right['strata_without_decided'])} is decided. Have more of them read."]  # fmt: skip
    lines += [
        "",
        "| clinician | truth | cases | metric | model | clinician | model minus clinician |",
        "|---" * 7 + "|",
    ]
    for who, truths in result["against_clinicians"].items():
        for by, row in truths.items():
            for metric in DECISIONS[:4] if row else ():
                cells = " | ".join(between(row[metric][side]) for side in ("model", "clinician", "difference"))
                lines.append(f"| {who} | {by} | {row['n']} | {metric} | {cells} |")
    return "\n".join(lines)


def between(row: dict) -> str:
    """A value with its interval."""
    if row["value"] is None or not np.isfinite(row["value"]):
        return "-"
    return f"{row['value']:.3f}" + ("" if row["low"] is None else f" ({row['low']:.3f} to {row['high']:.3f})")


if __name__ == "__main__":
    run(main)
