"""Does cleaning help? Each option of `clean` against the default, by a cheap classifier on three open corpora; docs/results.md.

    python -m benchmarks.cleaning                   # every corpus, half an hour on one core
    python -m benchmarks.cleaning symptom2disease   # one; the table keeps the others' last rows
    python -m benchmarks.cleaning --speed           # notes a second of each step on MTSamples; docs/clean.md

Test notes are left out. The others are dealt into five folds that share no patient and no near-duplicate; TF-IDF and logistic regression
(the baseline's own) are fitted on four and score the fifth. The same notes, folds and resamples for every option, so that differences are paired.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from ruamel.yaml import YAML
from tqdm import tqdm

from benchmarks.real import CORPORA, DATA, PAGE, ROOT
from diagnosis.corpora.corpus import Tally
from diagnosis.corpora.mtsamples import open_mtsamples
from diagnosis.errors import UserError, run
from diagnosis.files import read_json, write_json
from diagnosis.notes import open_notes, read_metadata
from diagnosis.scores.baselines import fit, tfidf, truth
from diagnosis.scores.bootstrap import interval, patient_weights
from diagnosis.scores.metrics import Scorer
from diagnosis.scores.shards import Shard
from diagnosis.splits import connected, stratified
from diagnosis.text.normalise import normalise
from diagnosis.text.rewrite import Rewriting
from diagnosis.text.units import standardise

NAMES = ("mtsamples, answers cut", "medical_abstracts", "symptom2disease")
WORK = ROOT / "logs" / "cleaning"
RESULTS = ROOT / "benchmarks" / "cleaning.json"
BEGIN, END = "<!-- table of benchmarks/cleaning.py -->", "<!-- end of the table of benchmarks/cleaning.py -->"
FOLDS, SAMPLES, SEED = 5, 1000, 7

OPTIONS = {
    "default": {},
    "standardise: false": {"standardise": False},
    "repair_spelling": {"repair_spelling": True},
    "expand_abbreviations": {"expand_abbreviations": True},
    "normalise_concepts": {"normalise_concepts": True},
    "expand_abbreviations, normalise_concepts": {"expand_abbreviations": True, "normalise_concepts": True},
    "context: mark": {"context": "mark"},
    "context: drop": {"context": "drop"},
    "remove_stop_words": {"remove_stop_words": True},
    "remove_numbers": {"remove_numbers": True},
    "remove_punctuation": {"remove_punctuation": True},
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", nargs="*", metavar="corpus", help=f"any of: {'; '.join(NAMES)} (default: all)")
    parser.add_argument("--speed", action="store_true", help="notes a second of each step, and nothing else")
    arguments = parser.parse_args()
    if not DATA.is_dir():
        raise UserError(f"the open notes are not at {DATA}: set DIAGNOSIS_DATA to their folder")
    if arguments.speed:
        return speed()
    if unknown := sorted(set(arguments.corpora) - set(NAMES)):
        raise UserError(f"no corpus is called {', '.join(unknown)}: choose from {'; '.join(NAMES)}")
    results = read_json(RESULTS) if RESULTS.exists() else {}
    for name in arguments.corpora or NAMES:
        results[name] = measure(name)
        write_json(RESULTS, results)
    write_page(results)


# ---------------------------------------------------------------- what helps


def measure(name: str) -> dict:
    """By option: macro-F1 out of fold, its paired difference to the default, and what was changed."""
    folder = WORK / "".join(c if c.isalnum() else "_" for c in name)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for part in ("keys", "lists"):
        shutil.copytree(ROOT / part, folder / part)
    for stage in ("ingest", "deidentify", "clean", "split"):
        call(stage, folder, CORPORA[name], {})
    notes, classes = not_test(folder)
    groups = connected([note["patient_id"] for note in notes], [note["duplicate_cluster"] for note in notes])
    ids, labels = [note["note_id"] for note in notes], [note["labels"] for note in notes]
    folds = stratified(groups, labels, ids, {str(fold): 1 / FOLDS for fold in range(FOLDS)}, SEED)
    _, patients = np.unique(groups, return_inverse=True)

    scorers, counts = {}, {}
    for option, changes in OPTIONS.items():
        counts[option] = call("clean", folder, CORPORA[name], changes)
        table = open_notes(folder / "data/clean.parquet").read(["note_id", "text"]).to_pydict()
        texts = dict(zip(table["note_id"], table["text"], strict=True))
        scores = out_of_fold(
            [texts.get(note, "") for note in ids], labels, np.array(folds), classes, f"{name}: {option}"
        )
        present = truth(labels, classes)
        scorers[option] = Scorer(
            Shard(np.array(ids, object), patients, present, scores, np.zeros(len(ids), bool), True)
        )
    draws = {option: [] for option in OPTIONS}
    for weights in patient_weights(int(patients.max()) + 1, SAMPLES, SEED):
        for option, scorer in scorers.items():
            draws[option].append(scorer.headline(weights)["macro_f1"])
    draws = {option: np.concatenate(parts) for option, parts in draws.items()}
    plain = {option: scorer.headline(scorer.ones)["macro_f1"][0] for option, scorer in scorers.items()}
    return {
        option: {
            "notes": len(ids),
            "macro_f1": plain[option],
            "difference": plain[option] - plain["default"],
            **interval(draws[option] - draws["default"]),
            "rewritten": counts[option],
        }
        for option in OPTIONS
    }


def call(stage: str, folder: Path, params: dict, changes: dict) -> dict:
    """Run a stage in the folder; what `clean` counted of its rewriting."""
    yaml = YAML()
    values = yaml.load(ROOT / "params.yaml")
    for section, laid in {**params, "clean": {**params["clean"], **changes}}.items():
        values[section].update(laid)
    yaml.dump(values, folder / "params.yaml")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", f"stages.{stage}"], cwd=folder, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise UserError(f"{stage} failed in {folder}: {done.stderr.strip().splitlines()[-1]}")
    return read_json(folder / "metrics" / "clean.json")["rewritten"] if stage == "clean" else {}


def not_test(folder: Path) -> tuple[list[dict], list[str]]:
    """The notes of every shard but test, without their texts, and the classes."""
    columns = ["note_id", "patient_id", "duplicate_cluster", "labels"]
    shards = [folder / "data/split" / f"{shard}.parquet" for shard in ("train", "validation", "calibration")]
    notes = [note for path in shards for note in open_notes(path).read(columns).to_pylist()]
    return notes, read_metadata(shards[0])["classes"]


def out_of_fold(texts: list[str], labels: list, folds: np.ndarray, classes: list[str], name: str) -> np.ndarray:
    """(n, k) probabilities, each note's by a model that has not seen its fold."""
    result = np.zeros((len(texts), len(classes)))
    baseline = YAML(typ="safe", pure=True).load(ROOT / "params.yaml")["baseline"]
    present = truth(labels, classes)
    for fold in tqdm(sorted(set(folds)), desc=name, unit=" folds"):
        seen = np.flatnonzero(folds != fold)
        vectoriser, vectors = tfidf(
            (texts[row] for row in seen), **{key: baseline[key] for key in ("ngrams", "min_df", "max_terms")}
        )
        model = fit(vectors, present[seen], True, C=baseline["C"], max_iter=baseline["max_iter"])
        unseen = np.flatnonzero(folds == fold)
        result[unseen] = model(vectoriser.transform(texts[row] for row in unseen))
    return result


def write_page(results: dict) -> None:
    """Put the table between the marks of docs/results.md; the prose around it stays."""
    names = [name for name in NAMES if name in results]
    rows = ["| clean | " + " | ".join(f"{name} ({results[name]['default']['notes']:,} notes)" for name in names) + " |"]
    rows.append("|---|" + "---|" * len(names))
    for option in OPTIONS:
        cells = [table_cell(option, results[name][option]) for name in names]
        rows.append(f"| {option} | " + " | ".join(cells) + " |")
    head, rest = PAGE.read_text().split(BEGIN)
    PAGE.write_text(head + BEGIN + "\n" + "\n".join(rows) + "\n" + END + rest.split(END)[1])


def table_cell(option: str, result: dict) -> str:
    if option == "default":
        return f"macro-F1 {result['macro_f1']:.3f}"
    return f"{result['difference']:+.3f} ({result['low']:+.3f} to {result['high']:+.3f})"


# ---------------------------------------------------------------- what it costs


def speed() -> None:
    """Notes a second of each step, and its time as a multiple of bringing the text into one form; median of 3 in turn."""
    raw = [row["text"] for row in open_mtsamples(DATA / "mtsamples").rows(Tally())]
    texts = [standardise(normalise(text)) for text in raw]
    off = {"expand_abbreviations": False, "repair_spelling": False, "concepts": None, "context_as": "none"}
    steps = {"one form": lambda text: standardise(normalise(text))} | {
        name: Rewriting(**off | change)
        for name, change in {
            "repair_spelling": {"repair_spelling": True},
            "expand_abbreviations": {"expand_abbreviations": True},
            "normalise_concepts": {"concepts": ROOT / "lists/concepts.tsv"},
            "context: mark": {"context_as": "mark"},
            "context: drop": {"context_as": "drop"},
        }.items()
    }
    times = {name: [] for name in steps}
    for _ in range(3):
        for name, step in steps.items():
            start = time.process_time()
            for text in raw if name == "one form" else texts:
                step(text)
            times[name].append(time.process_time() - start)
    print("| step | notes a second | its time, one form = 1 |\n|---|---|---|")
    first = statistics.median(times["one form"])
    for name, seconds in times.items():
        median = statistics.median(seconds)
        print(f"| {name} | {len(texts) / median:,.0f} | {median / first:.2f} |")


if __name__ == "__main__":
    run(main)
