"""Probabilities of the fine-tuned model for the notes of the validation, calibration and test shards."""

from pathlib import Path

import transformers
from pydantic import Field
from tqdm import tqdm

from diagnosis.errors import UserError, run
from diagnosis.notes import open_notes, read_metadata, read_notes
from diagnosis.params import Params
from diagnosis.scores.predictions import prediction_writer
from diagnosis.training.device import out_of_memory_explained, prepare_device
from diagnosis.training.inference import check_preprocessing, corrected, load_finetuned, note_logits, to_probabilities
from diagnosis.training.windows import LongNotes

SPLIT = Path("data/split")
FINETUNED = Path("models/finetuned")
PREDICTIONS = Path("data/predictions.parquet")
COLUMNS = ["note_id", "patient_id", "text", "text_pair", "labels"]


class PredictParams(Params):
    batch_size: int = Field(ge=1)
    withhold_test: bool
    threads: int = Field(ge=1)


def main():
    params = PredictParams.load("predict")
    transformers.logging.set_verbosity_error()
    model, tokenizer, card = load_finetuned(FINETUNED, prepare_device(params.threads))
    shards = {
        name: SPLIT / f"{name}.parquet"
        for name in ("validation", "calibration", *(() if params.withhold_test else ("test",)))
    }
    for path in shards.values():
        metadata = read_metadata(path)
        if metadata.get("classes") != card["classes"]:
            raise UserError(f"{path} states other classes than {FINETUNED} was trained on: run `dvc repro`")
        check_preprocessing(card, metadata, path, FINETUNED)
    total = sum(open_notes(path).metadata.num_rows for path in shards.values())
    if not total:
        raise UserError(f"{SPLIT}: no shard to predict holds a note: raise the shares in params.yaml: split")

    with (
        prediction_writer(PREDICTIONS, classes=card["classes"], task=card["task"], data_use=card["data_use"]) as write,
        tqdm(total=total, unit=" notes", desc="predict") as bar,
        out_of_memory_explained("predict.batch_size"),
    ):
        for shard, path in shards.items():
            for notes in read_notes(path, COLUMNS):
                logits = note_logits(
                    model,
                    tokenizer,
                    [note["text"] for note in notes],
                    [note["text_pair"] for note in notes] if card["text_pair"] else None,
                    max_tokens=card["max_tokens"],
                    batch_size=params.batch_size,
                    progress=bar.update,
                    long_notes=LongNotes.of(card),
                )
                logits = corrected(logits, card["train_prior"], card["balanced_prior"], card["task"])
                probabilities = to_probabilities(logits, card["task"])
                write([
                    {
                        "note_id": note["note_id"],
                        "patient_id": note["patient_id"],
                        "shard": shard,
                        "model": "model",
                        "labels": note["labels"],
                        "logits": logits[row],
                        "probabilities": probabilities[row],
                    }
                    for row, note in enumerate(notes)
                ])  # fmt: skip


if __name__ == "__main__":
    run(main)
