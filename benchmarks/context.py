"""Negated, historical and family findings of the NegEx reports by diagnosis/text/context.py; docs/clean.md.

    python -m benchmarks.context            # both halves, the figures alone
    python -m benchmarks.context --errors   # the errors in the reports for development, to work on the rules

Split by report: those with odd numbers were read while the rules were written, those with even numbers are held out and only
scored. Intervals by Bayesian bootstrap over reports.
"""

import argparse
import os
import re
from collections import defaultdict
from pathlib import Path

import numpy as np

from diagnosis.errors import UserError, run
from diagnosis.scores.bootstrap import interval, patient_weights
from diagnosis.text.context import assertions
from diagnosis.text.normalise import normalise

ROOT = Path(__file__).resolve().parents[1]
SAMPLES, SEED = 2000, 7
DATA = Path(os.environ.get("DIAGNOSIS_DATA", ROOT.parent / "shared" / "data")) / "negex"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--errors", action="store_true", help="the errors of the reports for development")
    errors = parser.parse_args().errors
    if not DATA.is_dir():
        raise UserError(f"the annotated sentences are not at {DATA}: set DIAGNOSIS_DATA to the folder of the open data")
    print("| reports | kind | annotated | precision | recall | F1 (95 %) |\n|---|---|---|---|---|---|")
    for part, rows in halves().items():
        for kind in ("negated", "historical", "hypothetical", "family"):
            print(f"| {part} | {kind} | {table_row(rows, kind)} |")
    if errors:
        for _, concept, sentence, truth in halves()["development"]:
            found = kinds(concept, sentence)
            for kind in sorted(found ^ truth):
                print(f"{'+' if kind in found else '-'}{kind}\t{concept}\t{sentence[-300:]}")


def halves() -> dict[str, list[tuple[int, str, str, set[str]]]]:
    """(report, concept, sentence, its kinds) of the reports for development and of those held out.

    The file with time and experiencer has no report numbers: its rows are found again by concept and sentence, and a row
    that stands in reports of both halves is one for development.
    """
    reports = defaultdict(set)
    for number, concept, sentence, _ in table("Annotations-1-120.txt"):
        reports[letters(concept), letters(sentence)].add(int(number))
    parts = {"development": [], "held out": []}
    for _, concept, sentence, negation, time, experiencer in table("rsAnnotations-1-120-random.txt"):
        its_reports = reports[letters(concept), letters(sentence)]
        odd = any(number % 2 for number in its_reports)
        truth = {
            "negated": negation == "Negated",
            "historical": time == "Historical",
            "hypothetical": time == "Not particular",
            "family": experiencer != "Patient",
        }
        row = min(its_reports), concept, sentence, {kind for kind in truth if truth[kind]}
        parts["development" if odd else "held out"].append(row)
    return parts


def table(name: str) -> list[list[str]]:
    lines = (DATA / name).read_text("utf-8").splitlines()[1:]
    return [[cell.strip().strip('"') for cell in line.split("\t")] for line in lines]


def letters(text: str) -> str:
    return " ".join(re.findall(r"[a-z0-9]+", text.lower()))


def kinds(concept: str, sentence: str) -> set[str]:
    """What the rules say of a concept; where it is not in its sentence word for word, of the first words that are."""
    text = normalise(sentence)
    words = re.findall(r"\w+", normalise(concept))
    for length in range(len(words), 0, -1):
        if match := re.search(r"\W+".join(map(re.escape, words[:length])), text, re.IGNORECASE):
            # In capitals where the annotators saw it, though the same words may stand elsewhere in the sentence.
            capitals = re.search(r"\W+".join(re.escape(word.upper()) for word in words[:length]), text)
            return set(assertions(text, [(capitals or match).span()])[0])
    return set(assertions(text, [(0, len(text))])[0])


def table_row(rows: list, kind: str) -> str:
    """Precision, recall and F1 of a kind, and the interval of F1."""
    found = np.array([kind in kinds(concept, sentence) for _, concept, sentence, _ in rows])
    true = np.array([kind in truth for *_, truth in rows])
    _, report = np.unique([number for number, *_ in rows], return_inverse=True)
    owner = np.eye(report.max() + 1)[report]  # (rows, reports)
    both, all_found, all_true = (column @ owner for column in (found & true, found, true))
    draws = [
        2 * (both @ weights) / (all_found @ weights + all_true @ weights)
        for weights in patient_weights(len(both), SAMPLES, SEED)
    ]
    low, high = interval(np.concatenate(draws)).values()
    scores = (
        both.sum() / max(all_found.sum(), 1),
        both.sum() / all_true.sum(),
        2 * both.sum() / (all_found.sum() + all_true.sum()),
    )
    return f"{true.sum()} | {scores[0]:.3f} | {scores[1]:.3f} | {scores[2]:.3f} ({low:.3f} to {high:.3f})"


if __name__ == "__main__":
    run(main)
