"""Partition SHAP here and by shap's own loop, at equal evaluations, on the fine-tuned model of the default run.

    python -m benchmarks.explain            # needs `dvc repro predict` and the package shap (requirements-explain.txt)

Two loops of shap's: over a transformers pipeline, as its documentation has it, and over a function that takes a list of texts. Three
kinds of text: one line, a note, and notes joined to a long one that is read in windows. One thread, the loops in turn, thrice; the
median of the ratios of processor seconds, which other work on the machine does not touch.
"""

import re
import statistics
import time
from pathlib import Path

import numpy as np
import torch
import transformers

from diagnosis.errors import UserError, run
from diagnosis.explain.classifier import Classifier
from diagnosis.explain.perturb import shap as own_shap
from diagnosis.notes import read_notes
from diagnosis.training.device import prepare_device
from diagnosis.training.inference import load_finetuned, note_logits
from diagnosis.training.windows import LongNotes

ROUNDS = 3
FINETUNED, TEST = Path("models/finetuned"), Path("data/split/test.parquet")


def main():
    try:
        import shap
    except ImportError:
        raise UserError("the package shap is not installed: pip install -r requirements-explain.txt") from None
    transformers.logging.set_verbosity_error()
    model, tokenizer, card = load_finetuned(FINETUNED, prepare_device(1))
    pipeline = transformers.pipeline("text-classification", model=model, tokenizer=tokenizer, top_k=None, device="cpu")
    notes = [note["text"] for note in next(read_notes(TEST, ["text"]))]
    lines = [re.search(r"Illness:\n([^.]*\.[^.]*\.)", note) for note in notes]
    kinds = {  # texts, evaluations a text, windows, whether a pipeline can read it
        "a line": ([line[1] for line in lines if line][:6], 40, False, True),
        "a note": (notes[:1], 40, False, True),
        "20 notes joined": ([" ".join(notes[:20])], 40, True, False),
    }
    for kind, (texts, evaluations, windows, piped) in kinds.items():
        read = LongNotes("windows", "mean") if windows else LongNotes()
        own_card = card | {"long_notes": read.mode, "pooling": read.pooling}

        def predict(batch, read=read):
            options = {"max_tokens": card["max_tokens"], "batch_size": 16, "long_notes": read}
            with torch.inference_mode():
                return note_logits(model, tokenizer, list(batch), None, **options)

        def ours(texts=texts, evaluations=evaluations, own_card=own_card):
            classifier = Classifier(model, tokenizer, own_card, batch_size=16)
            read = [classifier.read(str(number), text) for number, text in enumerate(texts)]
            own_shap(classifier, read, [list(range(classifier.classes))] * len(read), evaluations)

        def theirs(called, texts=texts, evaluations=evaluations):
            shap.Explainer(called, shap.maskers.Text(tokenizer))(texts, max_evals=evaluations, silent=True)

        loops = {"here": ours, "function": lambda predict=predict: theirs(predict)}
        if piped:
            loops["pipeline"] = lambda: theirs(shap.models.TransformersPipeline(pipeline, rescale_to_logits=True))
        seconds = {name: [] for name in loops}
        for _ in range(ROUNDS):
            for name, loop in loops.items():
                start = time.process_time()
                loop()
                seconds[name].append(time.process_time() - start)
        words = np.mean([len(text.split()) for text in texts])
        print(
            f"{kind}: {len(texts)} of {words:.0f} words, {evaluations} evaluations each, {statistics.median(seconds['here']):.1f} s here"
        )
        for name in list(loops)[1:]:
            ratios = [their / our for their, our in zip(seconds[name], seconds["here"], strict=True)]
            print(
                f"    shap over a {name}: {statistics.median(ratios):.1f} times that ({min(ratios):.1f} to {max(ratios):.1f})"
            )


if __name__ == "__main__":
    run(main)
