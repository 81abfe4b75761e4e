"""Typing errors planted in real text and how many clean.repair_spelling mends, and what it changes where none is; docs/clean.md.

    python -m benchmarks.spelling           # a minute on one core
    python -m benchmarks.spelling --list    # every change in MTSamples as it was typed, to judge by eye

The rules and their one threshold were set on MTSamples; the OHSUMED abstracts were only scored. One word in a hundred, of lower-case words of five letters
and more, gets one slip: two letters swapped (the synthetic corpus' kind), one left out (also its kind), one doubled, one replaced.
"""

import argparse
import os
from collections import Counter
from pathlib import Path
from random import Random

from diagnosis.corpora.corpus import Tally
from diagnosis.corpora.medical_abstracts import open_medical_abstracts
from diagnosis.corpora.mtsamples import open_mtsamples
from diagnosis.errors import UserError, run
from diagnosis.text.normalise import normalise
from diagnosis.text.spelling import WORD, Speller

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("DIAGNOSIS_DATA", ROOT.parent / "shared" / "data"))
RATE, SEED = 0.01, 7
KINDS = ("swapped", "left out", "doubled", "replaced")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="the changes in MTSamples as it was typed")
    listed = parser.parse_args().list
    if not DATA.is_dir():
        raise UserError(f"the open notes are not at {DATA}: set DIAGNOSIS_DATA to their folder")
    speller = Speller()
    corpora = {
        "MTSamples": open_mtsamples(DATA / "mtsamples").rows(Tally()),
        "OHSUMED abstracts": (
            row for row in open_medical_abstracts(DATA / "medical_abstracts").rows(Tally()) if row["split"] == "train"
        ),
    }
    print(
        "| text | words | changed where no error was planted | "
        + " | ".join(f"{kind}: mended" for kind in KINDS)
        + " | mended wrongly |"
    )
    print("|---|---|---|" + "---|" * (len(KINDS) + 1))
    for name, rows in corpora.items():
        words, changes, planted = measure(dict.fromkeys(normalise(row["text"]) for row in rows), speller)
        shares = [
            planted[kind, "mended"] / sum(planted[kind, how] for how in ("mended", "wrong", "left")) for kind in KINDS
        ]
        changed, wrong = sum(changes.values()), sum(planted[kind, "wrong"] for kind in KINDS)
        print(
            f"| {name} | {words:,} | {changed} ({changed / words:.4%}) | "
            + " | ".join(f"{share:.0%}" for share in shares)
            + f" | {wrong / sum(planted.values()):.1%} |"
        )
        if listed and name == "MTSamples":
            for (word, repair), count in sorted(changes.items(), key=lambda item: (-item[1], item[0])):
                print(f"{count}\t{word}\t{repair}")


def measure(texts, speller: Speller) -> tuple[int, Counter, Counter]:
    """The number of words, what was changed as typed, and of the planted errors by kind what became of them."""
    rng, words, changes, planted = Random(SEED), 0, Counter(), Counter()
    for text in texts:
        words += len(text.split())
        for match in WORD.finditer(text):
            if repair := speller.repaired(match[0]):
                changes[match[0], repair] += 1
            elif rng.random() < RATE:
                kind, slip = plant(match[0], rng)
                if slip != match[0]:
                    repair = speller.repaired(slip)
                    planted[kind, "mended" if repair == match[0] else "left" if repair is None else "wrong"] += 1
    return words, changes, planted


def plant(word: str, rng: Random) -> tuple[str, str]:
    """The kind of a slip, and the word with it; not in the first letter nor the last two, as the synthetic corpus has it."""
    at, kind = rng.randrange(1, len(word) - 2), rng.choice(KINDS)
    middle = {
        "swapped": word[at + 1] + word[at] + word[at + 2 :],
        "left out": word[at + 1 :],
        "doubled": word[at] + word[at:],
        "replaced": rng.choice("abcdefghijklmnopqrstuvwxyz") + word[at + 1 :],
    }[kind]
    return kind, word[:at] + middle


if __name__ == "__main__":
    run(main)
