"""Fine-tune the base model to mark spans in notes: entities, or the answers to questions. Off by default."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from diagnosis.disclosure import rounded
from diagnosis.errors import UserError, run
from diagnosis.files import sha256, write_json, written_aside
from diagnosis.notes import read_metadata
from diagnosis.params import Params

DEIDENTIFIED = Path("data/deidentified.parquet")
ANNOTATIONS = Path("data/deidentified_annotations.parquet")
SPLIT = Path("data/split")
BASE = Path("models/base")
SPANS = Path("models/spans")
METRICS = Path("metrics/finetune_spans.json")
CARD = "spans.json"  # what the model was trained for, beside its weights


class FinetuneSpansParams(Params):
    enabled: bool
    task: Literal["token_classification", "extractive_qa"]
    questions: dict[str, str]
    seed: int = Field(ge=0, lt=2**32)
    learning_rate: float = Field(gt=0)
    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    max_tokens: int = Field(ge=16)
    threads: int = Field(ge=1)
    min_count: int = Field(ge=1)
    bootstrap_samples: int = Field(ge=20)


def main():
    params = FinetuneSpansParams.load("finetune_spans")
    if not params.enabled:
        with written_aside(SPANS) as partial:
            write_json(partial / CARD, {"enabled": False})
        write_json(METRICS, {"enabled": False})
        return
    finetune(params)


def finetune(params: FinetuneSpansParams) -> None:
    # Here and not above: torch takes seconds, and the stage that is switched off one.
    import transformers

    from diagnosis.spans.read import read_annotated
    from diagnosis.training.device import out_of_memory_explained, prepare_device
    from diagnosis.training.model import save_model

    transformers.logging.set_verbosity_error()
    device = prepare_device(params.threads)
    shards = read_annotated(DEIDENTIFIED, ANNOTATIONS, SPLIT)
    kinds = sorted({span.kind for note in shards["train"] for span in note.spans})
    learn = find_entities if params.task == "token_classification" else answer_questions
    transformers.set_seed(params.seed)  # first, for the head is drawn at random
    with out_of_memory_explained("finetune_spans.batch_size", "finetune_spans.max_tokens"):
        model, tokenizer, outputs, metrics = learn(params, shards, kinds, device)

    metadata = read_metadata(DEIDENTIFIED)
    with written_aside(SPANS) as partial:
        save_model(model, tokenizer, partial, params.max_tokens)
        write_json(partial / CARD, {
            "enabled": True,
            "task": params.task,
            **outputs,
            "max_tokens": params.max_tokens,
            "corpus": metadata.get("corpus"),
            "data_use": metadata.get("data_use"),
            "base_sha256": sha256(BASE),
        })  # fmt: skip
    notes = {shard: len(own) for shard, own in shards.items()}
    write_json(METRICS, rounded({"enabled": True, "task": params.task, "notes": notes, **metrics}))


def find_entities(params: FinetuneSpansParams, shards: dict, kinds: list[str], device):
    """Token classification: (model, tokenizer, what the card says of its outputs, metrics)."""
    from transformers import AutoModelForTokenClassification

    from diagnosis.spans import entities
    from diagnosis.spans.scores import entity_scores
    from diagnosis.spans.training import load_base, train
    from diagnosis.spans.windows import words_of

    texts = {shard: [note.text for note in own] for shard, own in shards.items()}
    gold = {
        shard: [entities.entities_of(words_of(note.text), note.spans) for note in own] for shard, own in shards.items()
    }
    labels = entities.labels_of(kinds)
    model, tokenizer = load_base(BASE, AutoModelForTokenClassification, "finetune_spans", params.max_tokens, labels)
    model.to(device)
    examples = entities.tagged_windows(tokenizer, texts["train"], gold["train"], labels, params.max_tokens)
    loss = train(model, examples, entities.collator(model, tokenizer), **schedule(params))

    lexicon = entities.Lexicon(texts["train"], gold["train"])
    metrics = {"train": {"loss": loss}}
    for shard in ("validation", "test"):
        found = {
            "model": entities.find(model, tokenizer, texts[shard], labels, params.max_tokens),
            "lexicon": lexicon.find(texts[shard]),
        }
        patients = [note.patient for note in shards[shard]]
        sampling = {"samples": params.bootstrap_samples, "seed": params.seed, "min_count": params.min_count}
        metrics[shard] = {name: entity_scores(gold[shard], own, patients, **sampling) for name, own in found.items()}
    return model, tokenizer, {"labels": labels}, metrics


def answer_questions(params: FinetuneSpansParams, shards: dict, kinds: list[str], device):
    """Extractive question answering: (model, tokenizer, what the card says of its outputs, metrics)."""
    from transformers import AutoModelForQuestionAnswering

    from diagnosis.spans import answers
    from diagnosis.spans.scores import answer_scores
    from diagnosis.spans.training import load_base, train

    if unknown := sorted(params.questions.keys() - set(kinds)):
        raise UserError(
            f"params.yaml: finetune_spans.questions names {unknown[0]}, a kind that no train annotation has: the kinds are {', '.join(kinds)}"
        )
    asked = params.questions or {kind: kind for kind in kinds}
    texts = {shard: [note.text for note in own] for shard, own in shards.items()}
    questions = {shard: answers.questions_of([note.spans for note in own], asked) for shard, own in shards.items()}
    model, tokenizer = load_base(BASE, AutoModelForQuestionAnswering, "finetune_spans", params.max_tokens)
    model.to(device)
    examples = answers.examples(tokenizer, questions["train"], texts["train"], params.max_tokens)
    loss = train(model, examples, answers.collator(model, tokenizer), **schedule(params))

    metrics = {"train": {"loss": loss}}
    for shard in ("validation", "test"):
        given = answers.answer(model, tokenizer, questions[shard], texts[shard], params.max_tokens)
        gold = [[texts[shard][q.note][s.start : s.end] for s in q.answers] for q in questions[shard]]
        patients = [shards[shard][q.note].patient for q in questions[shard]]
        metrics[shard] = answer_scores(gold, given, patients, samples=params.bootstrap_samples, seed=params.seed)
    return model, tokenizer, {"questions": asked}, metrics


def schedule(params: FinetuneSpansParams) -> dict:
    return {
        "stage": "finetune_spans",
        "seed": params.seed,
        "epochs": params.epochs,
        "batch_size": params.batch_size,
        "learning_rate": params.learning_rate,
    }


if __name__ == "__main__":
    run(main)
