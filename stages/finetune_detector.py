"""Fine-tune the base model to find identifiers, on invented sentences; its threshold is set for recall. Off by default."""

from pathlib import Path

import numpy as np
from pydantic import Field

from diagnosis.errors import run
from diagnosis.files import sha256, write_json, written_aside
from diagnosis.notes import read_metadata
from diagnosis.params import Params
from diagnosis.phi.score import Score
from diagnosis.phi_model.card import CARD, write_off

NOTES = Path("data/notes.parquet")
GOLD = Path("data/gold_spans.parquet")
BASE = Path("models/base")
DETECTOR = Path("models/detector")
METRICS = Path("metrics/finetune_detector.json")


class FinetuneDetectorParams(Params):
    enabled: bool
    seed: int = Field(ge=0, lt=2**32)
    notes: int = Field(ge=1)
    learn_gold: bool
    min_recall: float = Field(gt=0, le=1)
    learning_rate: float = Field(gt=0)
    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    max_tokens: int = Field(ge=16)
    threads: int = Field(ge=1)


def main():
    params = FinetuneDetectorParams.load("finetune_detector")
    if not params.enabled:
        write_off(DETECTOR)
        write_json(METRICS, {"enabled": False})
        return
    finetune(params)


def finetune(params: FinetuneDetectorParams) -> None:
    # Here and not above: torch takes seconds, and the stage that is switched off one.
    import transformers

    from diagnosis.phi_model.examples import deal, invented, read_parts
    from diagnosis.phi_model.inference import Detector
    from diagnosis.phi_model.training import collator, load_tagger, tagged_windows, tags, threshold_for
    from diagnosis.spans.training import train
    from diagnosis.spans.windows import words_of
    from diagnosis.training.device import out_of_memory_explained, prepare_device
    from diagnosis.training.model import save_model

    transformers.logging.set_verbosity_error()
    device = prepare_device(params.threads)
    metadata = read_metadata(NOTES)
    parts = read_parts(NOTES, GOLD, deal(NOTES, GOLD, params.seed, params.notes))
    texts = {
        part: list(invented(part, parts[part], params.seed, params.learn_gold)) for part in ("train", "validation")
    }

    # ---- training; seeded first, for the head is drawn at random
    transformers.set_seed(params.seed)
    model, tokenizer = load_tagger(BASE, params.max_tokens)
    model.to(device)
    examples = tagged_windows(tokenizer, texts["train"], params.max_tokens)
    with out_of_memory_explained("finetune_detector.batch_size", "finetune_detector.max_tokens"):
        loss = train(
            model,
            examples,
            collator(model, tokenizer),
            stage="finetune_detector",
            seed=params.seed,
            epochs=params.epochs,
            batch_size=params.batch_size,
            learning_rate=params.learning_rate,
        )

    # ---- the threshold, on other sentences and names
    words = [words_of(text) for text, _ in texts["validation"]]
    detector = Detector(model, tokenizer, params.max_tokens, 1.0)
    likely = np.concatenate([1 - p[:, 0] for p in detector.probabilities([t for t, _ in texts["validation"]], words)])
    planted = np.concatenate([tags(own, spans) > 0 for own, (_, spans) in zip(words, texts["validation"], strict=True)])
    detector.threshold = threshold_for(likely[planted], params.min_recall)
    found = likely >= detector.threshold

    # ---- the figures, on the corpus' own notes
    score = Score()
    spans = detector.find([text for text, _ in parts["test"]])
    for (text, gold), own in zip(parts["test"], spans, strict=True):
        score.add(text, gold, own)

    with written_aside(DETECTOR) as partial:
        save_model(model, tokenizer, partial, params.max_tokens)
        write_json(partial / CARD, {
            "enabled": True,
            "threshold": detector.threshold,
            "max_tokens": params.max_tokens,
            "threads": params.threads,
            "corpus": metadata.get("corpus"),
            "data_use": metadata.get("data_use"),
            "base_sha256": sha256(BASE),
        })  # fmt: skip
    write_json(METRICS, {
        "enabled": True,
        "notes": {part: len(found) for part, found in parts.items()},
        "threshold": round(detector.threshold, 6),
        "train": {"loss": round(loss, 6)},
        "validation": {
            "recall": round(float(found[planted].mean()), 6),
            "precision": round(float(planted[found].mean()), 6),
        },
        "test": score.measures(),
    })  # fmt: skip


if __name__ == "__main__":
    run(main)
