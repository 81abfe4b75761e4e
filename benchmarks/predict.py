"""Predicting beside HF's text-classification pipeline on the same model and notes, in one run; the table of docs/benchmarks.md.

    python -m benchmarks.predict    # after `dvc repro finetune`; ten minutes on 2 idle cores

The notes are abstracts of medical_abstracts and notes of MTSamples, drawn by a seed, cut at 512 tokens on both sides. Both
read models/finetuned, at the same precision and threads. Seconds are from texts to probabilities, tokenising included,
loading not. The pipeline is run as its documentation has it: with its default batch of one note, and with our batch size. Medians of 3, taking turns.
"""

import csv
import gzip
import os
import random
import statistics
import time
from pathlib import Path

import numpy as np
import transformers
from tqdm import tqdm
from transformers import TextClassificationPipeline

from diagnosis.corpora.corpus import Tally
from diagnosis.corpora.medical_abstracts import open_medical_abstracts
from diagnosis.errors import UserError, run
from diagnosis.training.device import prepare_device
from diagnosis.training.inference import load_finetuned, note_logits, to_probabilities
from stages.predict import PredictParams

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("DIAGNOSIS_DATA", ROOT.parent / "shared" / "data"))
FINETUNED = ROOT / "models" / "finetuned"
SEED, TOKENS, NOTES, REPEATS = 7, 512, 400, 3
OURS, ONE, BATCHED = "predict", "pipeline, its default batch of 1", "pipeline, the same batch size"


def main(notes: int = NOTES, repeats: int = REPEATS):
    transformers.logging.set_verbosity_error()
    if not DATA.is_dir():
        raise UserError(f"the open data is not at {DATA}: set DIAGNOSIS_DATA to its folder")
    params = PredictParams.load("predict")
    device = prepare_device(params.threads)
    model, tokenizer, card = load_finetuned(FINETUNED, device)
    pipeline = TextClassificationPipeline(model=model, tokenizer=tokenizer, device=device, top_k=None)
    print("| notes | | notes/s | to the pipeline's | largest difference of a probability |\n|---|---|---|---|---|")
    for name, texts in (("medical_abstracts", abstracts()), ("MTSamples", transcriptions())):
        random.Random(SEED).shuffle(texts)
        texts = texts[:notes]
        sides = {
            OURS: lambda texts=texts: ours(model, tokenizer, card, texts, params.batch_size),
            ONE: lambda texts=texts: theirs(pipeline, card["classes"], texts, 1),
            BATCHED: lambda texts=texts: theirs(pipeline, card["classes"], texts, params.batch_size),
        }
        seconds, found = {side: [] for side in sides}, {}
        for _ in tqdm(range(repeats), name, unit=" rounds"):
            for side, call in sides.items():
                start = time.perf_counter()
                found[side] = call()
                seconds[side].append(time.perf_counter() - start)
        speed = {side: len(texts) / statistics.median(each) for side, each in seconds.items()}
        for side in sides:
            ratio = "" if side == OURS else f"{speed[OURS] / speed[side]:.2f}"
            apart = "" if side == OURS else f"{np.abs(found[side] - found[OURS]).max():.1e}"
            print(f"| {name} | {side} | {speed[side]:.1f} | {ratio} | {apart} |")


def ours(model, tokenizer, card: dict, texts: list[str], batch_size: int) -> np.ndarray:
    return to_probabilities(
        note_logits(model, tokenizer, texts, None, max_tokens=TOKENS, batch_size=batch_size), card["task"]
    )


def theirs(pipeline, classes: list[str], texts: list[str], batch_size: int) -> np.ndarray:
    found = pipeline(texts, batch_size=batch_size, truncation=True, max_length=TOKENS)
    scores = [{row["label"]: row["score"] for row in note} for note in found]
    return np.array([[note[label] for label in classes] for note in scores])


def abstracts() -> list[str]:
    return [row["text"] for row in open_medical_abstracts(DATA / "medical_abstracts").rows(Tally())]


def transcriptions() -> list[str]:
    csv.field_size_limit(10**9)
    with gzip.open(DATA / "mtsamples" / "mtsamples.csv.gz", "rt", encoding="utf-8", newline="") as stream:
        return sorted({row["transcription"] for row in csv.DictReader(stream) if row["transcription"]})


if __name__ == "__main__":
    run(main)
