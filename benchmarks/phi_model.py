"""Rules, the learned detector and both on the same texts: the tables of docs/detector.md.

    python -m benchmarks.phi_model    # after `dvc repro baseline`; trains a detector in logs/phi_model/, minutes on 2 cores

Presidio-research's sentences (MIT) are split in halves by template, so that who mends rules on one half can still be measured on
the other; the detector has learned from neither.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from ruamel.yaml import YAML
from tqdm import tqdm

from diagnosis.corpora.corpus import Tally
from diagnosis.corpora.mtsamples import open_mtsamples
from diagnosis.errors import UserError, run
from diagnosis.files import sha256, write_json
from diagnosis.phi.detector import find as find_by_rules
from diagnosis.phi.score import Score
from diagnosis.phi.spans import Span
from diagnosis.phi_model.examples import deal, read_parts
from diagnosis.phi_model.inference import Detector, beside, load_detector, spans_of
from diagnosis.spans.windows import words_of

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("DIAGNOSIS_DATA", ROOT.parent / "shared" / "data")).resolve()
WORK = ROOT / "logs" / "phi_model"
RESULTS = ROOT / "benchmarks" / "phi_model.json"
INPUTS = ("data/notes.parquet", "data/gold_spans.parquet", "models/base")
MTSAMPLES_NOTES = 200
THRESHOLDS = (0.99, 0.9, 0.5, 0.1)  # of the model, beside the one that its validation set

MEASURES = {"recall": "recall", "precision": "precision", "notes_clean": "notes clean", "touched": "words touched"}

HIPAA = {  # presidio's kinds that are identifiers of HIPAA; GPE has states and countries in it, which are none
    "PERSON": "NAME", "STREET_ADDRESS": "PLACE", "GPE": "PLACE", "ZIP_CODE": "PLACE", "DATE_TIME": "DATE", "PHONE_NUMBER": "PHONE",
    "EMAIL_ADDRESS": "EMAIL", "DOMAIN_NAME": "URL", "IP_ADDRESS": "IP", "US_SSN": "SSN", "US_DRIVER_LICENSE": "LICENCE",
    "CREDIT_CARD": "ACCOUNT", "IBAN_CODE": "ACCOUNT",
}  # fmt: skip


def main():
    detector = load_detector(trained())
    results = {}

    # ---- the embedded corpus: notes of the part that neither training nor the threshold has seen
    params = default_params()["finetune_detector"]
    notes, gold = (ROOT / path for path in INPUTS[:2])
    test = read_parts(notes, gold, deal(notes, gold, params["seed"], params["notes"]))["test"]
    results["embedded corpus"] = corpus_scores(detector, test)

    # ---- presidio-research
    halves = read_presidio(DATA / "deid_presidio" / "synth_dataset_v2.json")
    for half, rows in halves.items():
        results[f"presidio-research, {half}"] = sentence_scores(detector, rows)

    # ---- real notes, de-identified already: what is touched there is mostly no identifier
    rows = open_mtsamples(DATA / "mtsamples").rows(Tally())
    texts = sorted({row["text"] for row in islice(rows, 10 * MTSAMPLES_NOTES)})[:MTSAMPLES_NOTES]
    results["mtsamples"] = {name: {"touched": share_touched(texts, spans)} for name, spans in findings(detector, texts)}
    write_json(RESULTS, results)
    print(table(results))


def trained(work: Path = WORK) -> Path:
    """The folder of a detector trained on the embedded corpus with the repository's params, trained anew where anything changed."""
    for path in INPUTS:
        if not (ROOT / path).exists():
            raise UserError(f"{path} does not exist: run `dvc repro baseline`")
    code = [*sorted((ROOT / "diagnosis" / "phi_model").glob("*.py")), ROOT / "stages" / "finetune_detector.py"]
    params = {"finetune_detector": default_params()["finetune_detector"] | {"enabled": True}}
    state = [params, *(sha256(ROOT / path) for path in INPUTS), *map(sha256, code)]
    key = hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()
    folder, noted = work / "models" / "detector", work / "key"
    if folder.exists() and noted.exists() and noted.read_text() == key:
        return folder
    shutil.rmtree(work, ignore_errors=True)
    for path in INPUTS:
        (work / path).parent.mkdir(parents=True, exist_ok=True)
        (work / path).symlink_to(ROOT / path)
    with open(work / "params.yaml", "w") as stream:
        YAML().dump(params, stream)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-m", "stages.finetune_detector"], cwd=work, env=environment, check=True)
    noted.write_text(key)
    return folder


def default_params() -> dict:
    return YAML(typ="safe", pure=True).load(ROOT / "params.yaml")


def findings(detector: Detector, texts: list[str]) -> Iterator[tuple[str, list[list[Span]]]]:
    """Yield each setting's name with its spans of every text: rules, and model and both at the thresholds."""
    rules, words = [find_by_rules(text) for text in texts], [words_of(text) for text in texts]
    likely = [
        found
        for start in tqdm(range(0, len(texts), 20), unit=" batches", desc="model")
        for found in detector.probabilities(texts[start : start + 20], words[start : start + 20])
    ]
    yield "rules", rules
    for threshold in thresholds(detector):
        model = [spans_of(*found, threshold) for found in zip(texts, words, likely, strict=True)]
        yield named("model", threshold, detector), model
        yield named("both", threshold, detector), [beside(*found) for found in zip(texts, rules, model, strict=True)]


def thresholds(detector: Detector) -> list[float]:
    """From high to low; the one that validation set is among them."""
    return sorted({*THRESHOLDS, detector.threshold}, reverse=True)


def named(kind: str, threshold: float, detector: Detector) -> str:
    return f"{kind} {threshold:.2g}{' (chosen)' * (threshold == detector.threshold)}"


def corpus_scores(detector: Detector, notes: list[tuple[str, list]]) -> dict:
    """Recall, precision, clean notes and the recall of names by origin, of notes with gold (span, origin)."""
    results = {}
    for name, spans in findings(detector, [text for text, _ in notes]):
        score = Score()
        for (text, gold), found in zip(notes, spans, strict=True):
            score.add(text, gold, found)
        results[name] = score.measures()
    return results


def read_presidio(path: Path) -> dict[str, list[tuple[str, list[Span], list[Span]]]]:
    """(text, identifiers, spans of other kinds) of presidio-research's sentences, in two halves by the template's hash."""
    if not path.exists():
        raise UserError(f"{path} does not exist: set DIAGNOSIS_DATA to the folder of open notes")
    halves = {"first half": [], "second half": []}
    for row in json.loads(path.read_text("utf-8")):
        spans = [(s["start_position"], s["end_position"], s["entity_type"]) for s in row["spans"]]
        gold = [Span(start, end, HIPAA[kind]) for start, end, kind in spans if kind in HIPAA]
        other = [Span(start, end, kind) for start, end, kind in spans if kind not in HIPAA]
        even = hashlib.sha256(str(row["template_id"]).encode()).digest()[0] % 2
        halves["second half" if even else "first half"].append((row["full_text"], gold, other))
    return halves


def sentence_scores(detector: Detector, rows: list[tuple[str, list[Span], list[Span]]]) -> dict:
    """Type-blind recall and precision of words; words of spans of other kinds count neither as found nor as missed."""
    results = {}
    for name, spans in findings(detector, [text for text, _, _ in rows]):
        hits = planted = touched = 0
        for (text, gold, other), found in zip(rows, spans, strict=True):
            words = words_of(text)
            true, seen = touch(words, gold), touch(words, found)
            hits += int((true & seen).sum())
            planted += int(true.sum())
            touched += int((seen & (true | ~touch(words, other))).sum())
        results[name] = {"recall": hits / planted, "precision": hits / touched if touched else None}
    return results


def touch(words: list[tuple[int, int]], spans: list[Span]) -> np.ndarray:
    """(words,) bool: which of the words a span touches."""
    return np.array([any(start < s.end and end > s.start for s in spans) for start, end in words], dtype=bool)


def share_touched(texts: list[str], spans: list[list[Span]]) -> float:
    words = [touch(words_of(text), found) for text, found in zip(texts, spans, strict=True)]
    return float(np.concatenate(words).mean())


def table(results: dict) -> str:
    """The results as Markdown: a row a setting."""
    columns = [(texts, measure) for texts in results for measure in MEASURES if measure in results[texts]["rules"]]
    lines = ["| | " + " | ".join(f"{texts}: {MEASURES[measure]}" for texts, measure in columns) + " |"]
    lines.append("|---" * (1 + len(columns)) + "|")
    for name in results[columns[0][0]]:
        lines.append(
            f"| {name} | " + " | ".join(f"{results[texts][name][measure]:.4f}" for texts, measure in columns) + " |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    run(main)
