"""Read a sample of de-identified notes, and from what was found bound the share of notes that still identify somebody.

    python -m tools.review_sample --notes 100       # writes data/review/sheet.csv, outside git: fill in its column `leaks`
    python -m tools.review_sample --answers         # reads the sheet again and prints the bound

The sheet has note_id, text, leaks (0: nothing left that identifies; 1: something is) and what (yours, never read here).
"""

import argparse
import csv
import heapq
import random
from pathlib import Path

from scipy.stats import beta

from diagnosis.corpora.sources import csv_records
from diagnosis.errors import UserError, run
from diagnosis.files import written_aside
from diagnosis.notes import read_notes

DEIDENTIFIED = Path("data/deidentified.parquet")
SHEET = Path("data/review/sheet.csv")


def main():
    parser = argparse.ArgumentParser(
        prog="python -m tools.review_sample", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--notes", type=int, default=100, help="notes in the sheet (default: 100)")
    parser.add_argument("--seed", type=int, default=7, help="of the draw (default: 7)")
    parser.add_argument("--answers", action="store_true", help="compute the bound from the filled-in sheet")
    arguments = parser.parse_args()
    if arguments.answers:
        if not SHEET.exists():
            raise UserError(f"{SHEET} does not exist: write it first, without --answers, and fill it in")
        leaked, read = answers(SHEET)
        print(
            f"{leaked} of {read} notes leak; with 95 % confidence at most {upper_bound(leaked, read):.2%} of all notes do"
        )
    elif arguments.notes < 1:
        raise UserError(f"--notes is {arguments.notes}: at least one note is read")
    elif SHEET.exists():
        raise UserError(f"{SHEET} is there already and may hold answers: move it away first")
    else:
        print(
            f"{write_sheet(arguments.notes, arguments.seed)} notes in {SHEET}: fill in `leaks` with 0 or 1, then --answers"
        )


def write_sheet(count: int, seed: int) -> int:
    """Draw notes without replacement, whatever their order in the table; returns how many."""
    draw, drawn = random.Random(seed), []
    for batch in read_notes(DEIDENTIFIED, ["note_id", "text", "text_pair"]):
        for note in batch:
            entry = (draw.random(), note["note_id"], "\n".join(filter(None, (note["text"], note["text_pair"]))))
            (heapq.heappush if len(drawn) < count else heapq.heappushpop)(drawn, entry)
    with written_aside(SHEET) as partial, open(partial, "w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["note_id", "text", "leaks", "what"])
        writer.writerows([note_id, text, "", ""] for _, note_id, text in sorted(drawn))
    return len(drawn)


def answers(sheet: Path) -> tuple[int, int]:
    """(notes that leak, notes read). Raises UserError where an answer is missing or is neither 0 nor 1."""
    given = []
    for record, row in csv_records(sheet, ["note_id", "leaks"]):
        if row["leaks"].strip() not in ("0", "1"):
            raise UserError(
                f"{sheet}, record {record}: leaks is neither 0 nor 1: a note left out makes the bound wrong"
            )
        given.append(int(row["leaks"]))
    if not given:
        raise UserError(f"{sheet} has no notes: write it anew")
    return sum(given), len(given)


def upper_bound(leaked: int, read: int, confidence: float = 0.95) -> float:
    """The exact one-sided upper bound of the share of leaking notes (Clopper and Pearson 1934)."""
    return 1.0 if leaked == read else float(beta.ppf(confidence, leaked + 1, read - leaked))


if __name__ == "__main__":
    run(main)
