"""Which notes of one corpus are in another, word for word or nearly: what to know before one trains on both, or tests on the other.

    python -m tools.contamination mtsamples=data/raw/mtsamples fhir=data/raw/export --out contamination.json

Corpora are read as `ingest` reads them, with the params of its section, several labels and notes without a label too. Two texts are
the same whose words are (case and punctuation aside), and nearly the same where the Jaccard index of their 5-word shingles reaches the
threshold. Both texts of a pair count. Held in memory are about 750 bytes a distinct text. Prints a Markdown table; counts only.
"""

import argparse
from array import array
from collections import Counter
from itertools import product
from pathlib import Path

import numpy as np
from tqdm import tqdm

from diagnosis.corpora.corpus import Corpus, Tally
from diagnosis.corpora.fhir import open_fhir
from diagnosis.corpora.near_duplicates import Sketches, across, fingerprint, words
from diagnosis.corpora.readers import open_corpus
from diagnosis.errors import UserError, run
from diagnosis.files import write_json
from stages.ingest import IngestParams

DATA = Path("data")  # where the shingles lie, without a name, while it runs
MOST = 64  # corpora: a bit each


def main():
    options = parsed()
    params = IngestParams.load("ingest")
    threshold = params.near_duplicate_jaccard if options.jaccard is None else options.jaccard
    if not 0.5 <= threshold <= 1:
        raise UserError(f"--jaccard is {threshold:g}: give 0.5 to 1 (1: word for word only)")
    corpora = {
        name: opened(corpus, path, options.column, params) for name, (corpus, path) in named(options.corpus).items()
    }

    # ---- each distinct text once, with the corpora that hold it as bits
    sketches, number_of_text, homes, texts, skipped = Sketches(params.seed, DATA), {}, array("Q"), {}, {}
    for place, (name, corpus) in enumerate(corpora.items()):
        tally, texts[name] = Tally(), array("Q")
        for note in tqdm(corpus.rows(tally), desc=f"contamination: {name}", unit=" notes"):
            for text in (note["text"], note.get("text_pair") or note["text"]):
                its_words = words(text)
                number = number_of_text.setdefault(fingerprint(its_words), len(homes))
                if number == len(homes):
                    homes.append(0)
                    sketches.add(its_words)
                homes[number] |= 1 << place
                texts[name].append(number)
        skipped[name] = tally.skipped

    # ---- by ordered pair, the notes of the first that the second holds too
    homes = np.array(homes, "u8")
    alike = across(sketches, homes, threshold) if threshold < 1 else homes
    pairs = []
    for one, (place, other) in product(corpora, enumerate(corpora)):
        if one != other:
            own = np.array(texts[one], int).reshape(-1, 2)
            same, near = (((held >> np.uint64(place)) & np.uint64(1))[own].any(axis=1) for held in (homes, alike))
            counts = {"word_for_word": int(same.sum()), "nearly": int((near & ~same).sum())}
            pairs.append({"of": one, "notes": len(own), "in": other, **counts})
    print("| notes of | | also in | word for word | nearly |", "|---|---|---|---|---|", sep="\n")
    for pair in pairs:
        print("| {of} | {notes:,} | {in} | {word_for_word:,} | {nearly:,} |".format(**pair))
    if options.out:
        write_json(options.out, {"jaccard": threshold, "pairs": pairs, "skipped": skipped})


def parsed() -> argparse.Namespace:
    pair = "CORPUS=PATH"
    parser = argparse.ArgumentParser(
        "python -m tools.contamination", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "corpus", nargs="+", metavar=pair, help="two or more corpora by the names of ingest.corpus, and where each lies"
    )
    parser.add_argument(
        "--jaccard", type=float, help="threshold of nearly the same; else ingest.near_duplicate_jaccard"
    )
    parser.add_argument(
        "--column",
        action="append",
        default=[],
        metavar="FIELD=NAME",
        help="of each table=PATH: a column, in place of that in ingest.table",
    )
    parser.add_argument("--out", type=Path, help="a JSON file for the counts")
    return parser.parse_args()


def named(given: list[str]) -> dict[str, tuple[str, Path]]:
    """Corpus and path by what the table calls them: the corpus, and its file or folder where a corpus comes twice."""
    split = [(corpus, Path(path)) for corpus, sign, path in (each.partition("=") for each in given) if sign and path]
    if len(split) < len(given) or not 2 <= len(given) <= MOST:
        raise UserError(f"give two to {MOST} corpora as CORPUS=PATH, for example mtsamples=data/raw/mtsamples.csv")
    times = Counter(corpus for corpus, _ in split)
    names = {f"{corpus} ({path.name})" if times[corpus] > 1 else corpus: (corpus, path) for corpus, path in split}
    if len(names) < len(given):
        raise UserError("two of the corpora have one name and one file name: rename a file")
    return names


def opened(corpus: str, path: Path, columns: list[str], params: IngestParams) -> Corpus:
    """A corpus ready to be read, all notes that it has: whether one has a label does not matter here."""
    if corpus == "fhir":
        return open_fhir(path, "own", "all", unlabelled=True)
    table = params.table.model_dump() | dict(each.partition("=")[::2] for each in columns)
    changes = {
        "corpus": corpus,
        "path": path,
        "labels": "category",
        "diagnoses": "all",
        "conflicts": "first",
        "table": table,
    }
    return open_corpus(IngestParams.load("ingest", changes))


if __name__ == "__main__":
    run(main)
