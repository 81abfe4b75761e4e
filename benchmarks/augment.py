"""Does augmentation help? Each operator, and invented notes of rare classes, on open corpora; docs/results.md.

    python -m benchmarks.augment                    # every corpus, half an hour on one core; cells that are done are kept
    python -m benchmarks.augment symptom2disease    # one; the table keeps the others' last rows
    python -m benchmarks.augment --nlpaug PYTHON    # speed beside nlpaug (requirements-benchmarks.txt), and nothing else

Test notes are left out. For each of three seeds the others are dealt anew, without a near-duplicate on both sides: a few hundred train, the
rest validate. Two cheap classifiers, not a fine-tuned model: logistic regression on TF-IDF (the baseline's own) and on the mean-pooled, frozen
embeddings of models/base. The same notes, splits and resamples with and without, so that differences are paired.
Needs models/base and, for the invented notes, data/split/train.parquet of the embedded corpus: `make repro`.
"""

import argparse
import functools
import hashlib
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from ruamel.yaml import YAML
from tqdm import tqdm

from benchmarks.cleaning import call, not_test
from benchmarks.real import CORPORA, DATA, PAGE, ROOT
from diagnosis.augment.guard import Guard
from diagnosis.augment.operators import prepared
from diagnosis.augment.protected import label_words
from diagnosis.augment.versions import version
from diagnosis.augment.wordnet import FILES
from diagnosis.corpora.corpus import Tally
from diagnosis.corpora.mtsamples import open_mtsamples
from diagnosis.errors import UserError, run
from diagnosis.files import read_json, require, write_json
from diagnosis.notes import open_notes, read_notes
from diagnosis.scores.baselines import fit, tfidf, truth
from diagnosis.scores.bootstrap import interval, patient_weights
from diagnosis.scores.metrics import Scorer
from diagnosis.scores.shards import Shard
from diagnosis.splits import connected, stratified
from diagnosis.text.normalise import normalise
from diagnosis.text.units import standardise

WORK = ROOT / "logs" / "augment"
RESULTS = ROOT / "benchmarks" / "augment.json"
BEGIN, END = "<!-- section of benchmarks/augment.py -->", "<!-- end of the section of benchmarks/augment.py -->"
WORDNET = Path("/usr/share/wordnet")  # Debian's wordnet-base

TRAIN_SHARE = {"mtsamples, answers cut": 0.2, "medical_abstracts": 0.08, "symptom2disease": 0.3}
SEEDS, RATE, SAMPLES, MAX_TOKENS = (1, 2, 3), 0.1, 1000, 128

# mask, back_translation and symptom are not here: no base with a masked-language head, no Marian models and no reviewed list come with this
# repository.
ARMS = {
    "each note twice": [],
    **{
        name: [name]
        for name in "synonym wordnet concept abbreviation surface negation swap delete insert section_dropout section_shuffle".split()
    },
    "the default four": ["synonym", "abbreviation", "swap", "delete"],
}
CLASSIFIERS = ("tfidf", "embeddings")

# Classes that a condition of the embedded corpus belongs to (diagnosis/synthetic/disease_model.py). mtsamples has specialties, none of them.
RARE = {
    "symptom2disease": {"Pneumonia": ["J18"], "diabetes": ["E10"]},
    "medical_abstracts": {
        "cardiovascular diseases": ["I50"], "digestive system diseases": ["K85"],
        "nervous system diseases": ["G40", "I63"], "neoplasms": ["C34"],
    },
}  # fmt: skip
REAL, INVENTED = 5, 40  # notes of the class made rare that train, at most


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", nargs="*", metavar="corpus", help=f"any of: {'; '.join(TRAIN_SHARE)} (default: all)")
    parser.add_argument("--nlpaug", metavar="PYTHON", help="its environment's Python")
    arguments = parser.parse_args()
    if not DATA.is_dir():
        raise UserError(f"the open notes are not at {DATA}: set DIAGNOSIS_DATA to their folder")
    if unknown := sorted(set(arguments.corpora) - set(TRAIN_SHARE)):
        raise UserError(f"no corpus is called {', '.join(unknown)}: choose from {'; '.join(TRAIN_SHARE)}")
    results = read_json(RESULTS) if RESULTS.exists() else {"corpora": {}, "invented": {}}
    if arguments.nlpaug:
        results["speed"] = speed(arguments.nlpaug)
        write_json(RESULTS, results)
    else:
        require(ROOT / "models/base", "run `make repro`")
        for name in arguments.corpora or TRAIN_SHARE:
            corpus = Corpus(name)
            results["corpora"][name] = operators(corpus)
            results["invented"][name] = invented(corpus) if name in RARE else None
            write_json(RESULTS, results)
    write_page(results)


# ---------------------------------------------------------------- the notes, and what is predicted of them


class Corpus:
    """The notes of a corpus that are not test, dealt anew for each seed; predictions are kept by cell."""

    def __init__(self, name: str):
        self.name, self.folder = name, WORK / "".join(c if c.isalnum() else "_" for c in name)
        if not (self.folder / "data/split/train.parquet").exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            for part in ("keys", "lists"):
                if not (self.folder / part).exists():
                    (self.folder / part).symlink_to(ROOT / part)
            for stage in ("ingest", "deidentify", "clean", "split"):
                call(stage, self.folder, CORPORA[name], {})
        notes, self.classes = not_test(self.folder)
        table = open_notes(self.folder / "data/clean.parquet").read(["note_id", "text"]).to_pydict()
        texts = dict(zip(table["note_id"], table["text"], strict=True))
        self.ids = [note["note_id"] for note in notes]
        self.texts = [texts[note] for note in self.ids]
        self.labels = [note["labels"] for note in notes]
        self.groups = connected([note["patient_id"] for note in notes], [note["duplicate_cluster"] for note in notes])
        _, self.patients = np.unique(self.groups, return_inverse=True)
        self.present = truth(self.labels, self.classes)
        self._vectors: dict[str, np.ndarray] = {}

    def split(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """The rows that train and the rows that validate."""
        share = TRAIN_SHARE[self.name]
        shards = stratified(self.groups, self.labels, self.ids, {"train": share, "validation": 1 - share}, seed)
        shards = np.array(shards)
        return np.flatnonzero(shards == "train"), np.flatnonzero(shards == "validation")

    def scores(self, cell: str, classifier: str, texts: list[str], present: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """(rows, k) probabilities of a classifier fitted on these texts; read from the cell's file where it is there of them."""
        of = hashlib.sha256("\0".join(texts).encode() + present.tobytes()).hexdigest()[:12]
        path = self.folder / "cells" / f"{cell}-{classifier}-{of}.npy".replace(" ", "_")
        if path.exists():
            return np.load(path)
        settings = YAML(typ="safe", pure=True).load(ROOT / "params.yaml")["baseline"]
        seen = [self.texts[row] for row in rows]
        if classifier == "tfidf":
            vectoriser, vectors = tfidf(texts, **{key: settings[key] for key in ("ngrams", "min_df", "max_terms")})
            unseen = vectoriser.transform(seen)
        else:
            vectors, unseen = self.embedded(texts), self.embedded(seen)
        result = fit(vectors, present, True, C=settings["C"], max_iter=settings["max_iter"])(unseen)
        path.parent.mkdir(exist_ok=True)
        np.save(path, result)
        return result

    def embedded(self, texts: list[str]) -> np.ndarray:
        """Each text once, whatever the number of cells that ask for it."""
        new = sorted({text for text in texts if text not in self._vectors}, key=lambda text: (len(text), text))
        self._vectors.update(zip(new, embeddings(new, self.name), strict=True))
        return np.stack([self._vectors[text] for text in texts])

    def scorer(self, rows: np.ndarray, scores: np.ndarray) -> Scorer:
        ids = np.array(self.ids, object)[rows]
        shard = Shard(ids, self.patients[rows], self.present[rows], scores, np.zeros(len(rows), bool), True)
        return Scorer(shard, int(self.patients.max()) + 1)

    def difference(self, cells: dict[int, tuple], measure) -> dict:
        """By seed (rows, scores without, scores with): the mean of a measure, and its paired difference with an interval."""
        pairs = [(self.scorer(rows, one), self.scorer(rows, other)) for rows, one, other in cells.values()]
        plain = np.mean([[measure(scorer, scorer.ones)[0] for scorer in pair] for pair in pairs], axis=0)
        draws = [
            np.mean([measure(other, weights) - measure(one, weights) for one, other in pairs], axis=0)
            for weights in patient_weights(int(self.patients.max()) + 1, SAMPLES, 7)
        ]
        return {
            "without": plain[0],
            "with": plain[1],
            "difference": plain[1] - plain[0],
            **interval(np.concatenate(draws)),
        }


@functools.cache
def base_model() -> tuple:
    import torch
    from transformers import AutoModel, AutoTokenizer

    torch.set_num_threads(1)
    folder = ROOT / "models/base"
    return AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()


def embeddings(texts: list[str], name: str) -> list[np.ndarray]:
    """Mean-pooled last hidden states of models/base over a text's first MAX_TOKENS tokens; not fine-tuned."""
    import torch

    (tokenizer, model), result = base_model(), []
    for at in tqdm(range(0, len(texts), 32), desc=f"{name}: embed", unit=" batches", leave=False, disable=not texts):
        some = texts[at : at + 32]
        batch = tokenizer(some, truncation=True, max_length=MAX_TOKENS, padding=True, return_tensors="pt")
        with torch.inference_mode():
            hidden = model(**batch).last_hidden_state
        mask = batch["attention_mask"].unsqueeze(-1)
        result += list(((hidden * mask).sum(1) / mask.sum(1)).numpy())
    return result


def f1(scorer: Scorer, weights: np.ndarray) -> np.ndarray:
    """(k, b), NaN for a class that validation does not have."""
    above, below = scorer.fractions(weights)["f1"]
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)


def macro_f1(scorer: Scorer, weights: np.ndarray) -> np.ndarray:
    return np.nanmean(f1(scorer, weights), axis=0)


# ---------------------------------------------------------------- operators


def operators(corpus: Corpus) -> dict:
    """By arm and classifier: macro-F1 with a version of each train note more, beside the notes alone."""
    all_names = sorted({name for names in ARMS.values() for name in names})
    every, _ = prepared(
        all_names, base=None, concepts=ROOT / "lists/concepts.tsv", wordnet=WORDNET, translators=[], reviewed_swaps=None, threads=1
    )  # fmt: skip
    guard, labels = Guard([every["concept"].canonical]), label_words(corpus.classes)
    cells = {(arm, classifier): {} for arm in ARMS for classifier in CLASSIFIERS}
    made = dict.fromkeys(ARMS, 0)
    for seed in SEEDS:
        train, validation = corpus.split(seed)
        texts = [corpus.texts[row] for row in train]
        said = [guard.read(text) for text in texts]
        plain = {c: corpus.scores(f"{seed}-none", c, texts, corpus.present[train], validation) for c in CLASSIFIERS}
        for arm, names in tqdm(ARMS.items(), desc=f"{corpus.name}: seed {seed}", unit=" arms"):
            more, rows = [], []
            for row, text, own in zip(train, texts, said, strict=True):
                chosen = {name: every[name] for name in names}
                new, changed = version(text, chosen, RATE, None, labels, (seed, corpus.ids[row], 1))
                lossy = "section_dropout" in changed
                if not names or (new != text and guard.same(own, guard.read(new), may_lose=lossy)):
                    more.append(new)
                    rows.append(row)
            made[arm] += len(more)
            present = corpus.present[np.concatenate([train, np.array(rows, int)])]
            for classifier in CLASSIFIERS:
                scores = corpus.scores(f"{seed}-{arm}", classifier, texts + more, present, validation)
                cells[arm, classifier][seed] = (validation, plain[classifier], scores)
    train, validation = corpus.split(SEEDS[0])
    return {
        "notes": {"train": len(train), "validation": len(validation)},
        "arms": {
            arm: {
                "versions": made[arm] / len(SEEDS),
                **{c: corpus.difference(cells[arm, c], macro_f1) for c in CLASSIFIERS},
            }
            for arm in ARMS
        },
    }


# ---------------------------------------------------------------- invented notes


def invented(corpus: Corpus) -> dict:
    """By class made rare (REAL notes train) and classifier: its F1 with INVENTED invented notes more, beside without."""
    path = require(ROOT / "data/split/train.parquet", "run `make repro`")
    notes = sorted((note for batch in read_notes(path) for note in batch), key=lambda note: note["note_id"])
    result = {}
    for label, codes in RARE[corpus.name].items():
        number = corpus.classes.index(label)
        more = [note["text"] for note in notes if set(codes) & set(note["labels"])][:INVENTED]
        cells = {classifier: {} for classifier in CLASSIFIERS}
        for seed in SEEDS:
            train, validation = corpus.split(seed)
            own = train[corpus.present[train, number]]
            train = np.concatenate([np.setdiff1d(train, own), own[:REAL]])
            texts = [corpus.texts[row] for row in train]
            present = np.concatenate([corpus.present[train], np.tile(corpus.present[own[0]], (len(more), 1))])
            for classifier in CLASSIFIERS:
                cell = f"{seed}-rare-{number}"
                one = corpus.scores(cell, classifier, texts, corpus.present[train], validation)
                other = corpus.scores(f"{cell}-invented", classifier, texts + more, present, validation)
                cells[classifier][seed] = (validation, one, other)

        def f1_of_class(scorer: Scorer, weights: np.ndarray, number: int = number) -> np.ndarray:
            return f1(scorer, weights)[number]

        result[label] = {"invented": len(more), **{c: corpus.difference(cells[c], f1_of_class) for c in CLASSIFIERS}}
    return result


# ---------------------------------------------------------------- speed


def speed(python: str) -> dict:
    """Notes a second of an operator and of nlpaug's on MTSamples at the same rate, in turn; medians of 3."""
    rows = list(open_mtsamples(DATA / "mtsamples").rows(Tally()))[::12]
    texts = [standardise(normalise(row["text"])) for row in rows]
    names = ["swap", "delete", "wordnet"]
    own, _ = prepared(names, base=None, concepts=None, wordnet=WORDNET, translators=[], reviewed_swaps=None, threads=1)
    guard, seconds = Guard(), {who: {name: [] for name in names} for who in ("own", "own with guard", "nlpaug")}
    with tempfile.TemporaryDirectory() as folder:
        nltk_data(Path(folder) / "corpora/wordnet")
        job = json.dumps({"texts": texts, "rate": RATE, "nltk_data": folder})
        for _ in range(3):
            for name in names:
                for who in ("own", "own with guard"):
                    start = time.process_time()
                    for number, text in enumerate(texts):
                        new, _ = version(text, {name: own[name]}, RATE, None, frozenset(), (7, number, 1))
                        if who != "own":
                            guard.same(guard.read(text), guard.read(new), may_lose=False)
                    seconds[who][name].append(time.process_time() - start)
            done = subprocess.run(
                [python, str(ROOT / "benchmarks/augment_nlpaug.py")], input=job, capture_output=True, text=True
            )
            if done.returncode:
                raise UserError(f"{python} could not run nlpaug: install requirements-benchmarks.txt there")
            for name, spent in json.loads(done.stdout).items():
                seconds["nlpaug"][name].append(spent)
    words = sum(len(text.split()) for text in texts) / len(texts)
    rates = {who: {n: len(texts) / statistics.median(s) for n, s in each.items()} for who, each in seconds.items()}
    return {"notes": len(texts), "words": words, "notes_per_second": rates}


def nltk_data(folder: Path) -> None:
    """Debian's files as nltk wants them, with two that Debian leaves out and no look-up of synonyms reads."""
    folder.mkdir(parents=True)
    for file in [*WORDNET.glob("index.*"), *WORDNET.glob("*.exc"), *(WORDNET / name for name in FILES)]:
        (folder / file.name).write_bytes(require(file, "install wordnet-base").read_bytes())
    (folder / "index.sense").touch()
    (folder / "lexnames").write_text("".join(f"{number:02}\tfile{number}\t1\n" for number in range(45)))


# ---------------------------------------------------------------- the page


def write_page(results: dict) -> None:
    """Put the tables between the marks of docs/results.md; the prose around them stays."""
    names = [name for name in TRAIN_SHARE if name in results["corpora"]]
    lines = []
    if names:
        sizes = [results["corpora"][name]["notes"] for name in names]
        heads = [f"{name} ({s['train']} train, {s['validation']:,} validate): {{}}" for name, s in zip(names, sizes, strict=True)]  # fmt: skip
        heads = [head.format(c) for head in heads for c in ("TF-IDF", "embeddings")]
        lines += ["| operator | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
        first = [results["corpora"][n]["arms"]["each note twice"][c]["without"] for n in names for c in CLASSIFIERS]
        lines.append("| none | " + " | ".join(f"macro-F1 {value:.3f}" for value in first) + " |")
        for arm in ARMS:
            cells = [shown(results["corpora"][name]["arms"][arm], c) for name in names for c in CLASSIFIERS]
            lines.append(f"| {arm} | " + " | ".join(cells) + " |")
        lines += ["", "| corpus | class made rare | invented notes | F1 of the class: TF-IDF | embeddings |", "|---|---|---|---|---|"]  # fmt: skip
        for name in names:
            for label, found in (results["invented"][name] or {}).items():
                cells = [f"{found[c]['without']:.3f}, with {cell(found[c])}" for c in CLASSIFIERS]
                lines.append(f"| {name} | {label} | {found['invented']} | {cells[0]} | {cells[1]} |")
    if "speed" in results:
        found = results["speed"]
        own, guarded, other = (found["notes_per_second"][who] for who in ("own", "own with guard", "nlpaug"))
        lines += ["", f"| operator ({found['notes']} notes of {found['words']:.0f} words, median of 3) | here, notes/s | with its guard | nlpaug 1.1.11 | ratio | ratio with the guard |"]  # fmt: skip
        lines.append("|---|---|---|---|---|---|")
        for name in own:
            lines.append(
                f"| {name} | {own[name]:,.0f} | {guarded[name]:,.0f} | {other[name]:,.0f} | {own[name] / other[name]:.1f} | "
                f"{guarded[name] / other[name]:.1f} |"
            )
    head, rest = PAGE.read_text().split(BEGIN)
    PAGE.write_text(head + BEGIN + "\n" + "\n".join(lines) + "\n" + END + rest.split(END)[1])


def shown(arm: dict, classifier: str) -> str:
    return cell(arm[classifier]) if arm["versions"] else "no note changes"


def cell(found: dict) -> str:
    return f"{found['difference']:+.3f} ({found['low']:+.3f} to {found['high']:+.3f})"


if __name__ == "__main__":
    run(main)
