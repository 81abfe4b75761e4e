"""Fine-tune the base model on the balanced train shard; keep the epoch that does best on the validation shard."""

import csv
import shutil
import time
from pathlib import Path
from typing import Literal

import transformers
from pydantic import Field

from diagnosis.errors import UserError, run
from diagnosis.files import sha256, write_json, written_aside
from diagnosis.params import Params
from diagnosis.training.checkpoints import training_key
from diagnosis.training.dataset import Collator, check_classes, class_shares, read_dataset, read_task, truncation
from diagnosis.training.device import check_precision, out_of_memory_explained, prepare_device
from diagnosis.training.inference import CARD
from diagnosis.training.model import load_base, longest_input, merged, save_model, start_at_prior, with_lora
from diagnosis.training.tokens import takes_types
from diagnosis.training.trainer import check_live_view, curves, make_trainer, summary, train_or_resume
from diagnosis.training.unpadded import unpad

BALANCED = Path("data/balanced.parquet")
VALIDATION = Path("data/split/validation.parquet")
BASE = Path("models/base")
FINETUNED = Path("models/finetuned")
METRICS = Path("metrics/finetune.json")
CURVES = Path("plots/finetune.csv")
CHECKPOINTS = Path(".checkpoints")
TIMINGS = Path("logs/finetune.json")
CARD_KEYS = ("balanced_prior", "classes", "corpus", "data_use", "task", "text_pair", "train_prior")


class FinetuneParams(Params):
    seed: int = Field(ge=0, lt=2**32)
    method: Literal["full", "lora"]
    lora_rank: int = Field(ge=1)
    lora_alpha: float = Field(gt=0)
    lora_dropout: float = Field(ge=0, lt=1)
    body_dropout: float | None = Field(ge=0, lt=1)
    loss: Literal["cross_entropy", "focal"]
    focal_gamma: float = Field(ge=0)
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    warmup_share: float = Field(ge=0, lt=1)
    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    accumulation_steps: int = Field(ge=1)
    gradient_checkpointing: bool
    max_tokens: int = Field(ge=8)
    unpadded: bool
    precision: Literal["fp32", "bf16", "fp16"]
    early_stopping_patience: int = Field(ge=0)
    best_metric: Literal["accuracy", "macro_f1", "weighted_f1", "micro_f1", "loss"]
    threads: int = Field(ge=1)
    min_count: int = Field(ge=1)


def main():
    params = FinetuneParams.load("finetune")
    transformers.logging.set_verbosity_error()
    device = prepare_device(params.threads)
    check_precision(params.precision, device)
    metadata = read_task(BALANCED)
    check_live_view(metadata["data_use"])
    classes, multi_label = metadata["classes"], metadata["task"] == "multi_label"
    if not {"train_prior", "balanced_prior"} <= metadata.keys():
        raise UserError(f"{BALANCED} does not state its class priors: run `dvc repro rebalance`")
    if read_task(VALIDATION)["classes"] != classes:
        raise UserError(f"{BALANCED} and {VALIDATION} state different classes: run `dvc repro`")

    # ---- the model; seeded first, for its head is drawn at random
    transformers.set_seed(params.seed)
    model, tokenizer = load_base(BASE, classes, metadata["task"], params.body_dropout)
    if (longest := longest_input(model)) is not None and params.max_tokens > longest:
        raise UserError(
            f"params.yaml: finetune.max_tokens is {params.max_tokens}, but {BASE} takes {longest} at most: lower it"
        )
    parameters = model.num_parameters()

    # ---- the notes, as token ids
    train = read_dataset(BALANCED, tokenizer, metadata, max_tokens=params.max_tokens, weighted=True)
    check_classes(train, BALANCED, classes)
    validation = read_dataset(VALIDATION, tokenizer, metadata, max_tokens=params.max_tokens, weighted=False)
    batches = unpad(model) if params.unpadded else Collator
    collator = batches(
        pad_id=tokenizer.pad_token_id,
        classes=len(classes),
        multi_label=multi_label,
        types=metadata["text_pair"] and takes_types(model),
        # Half-precision matrix units of a GPU want multiples of 8; elsewhere padding only costs.
        multiple=8 if device.type == "cuda" and params.precision != "fp32" else 1,
    )

    # ---- where it starts
    if multi_label:
        start_at_prior(model, class_shares(train, len(classes)))
    if params.method == "lora":
        model = with_lora(model, rank=params.lora_rank, alpha=params.lora_alpha, dropout=params.lora_dropout)

    # ---- training
    settings = params.model_dump() | {"device": device.type, "stage": sha256(Path(__file__))}
    folder = CHECKPOINTS / training_key([BALANCED, VALIDATION, BASE], settings)
    trainer = make_trainer(
        model,
        params,
        folder=folder,
        device=device,
        train=train,
        validation=validation,
        collator=collator,
        priors=(metadata["train_prior"], metadata["balanced_prior"]),
    )
    start = time.perf_counter()
    with out_of_memory_explained("finetune.batch_size", "finetune.max_tokens"):
        epochs = train_or_resume(trainer, params.early_stopping_patience)
    seconds = time.perf_counter() - start

    # ---- what came of it
    trainable = sum(weights.numel() for weights in model.parameters() if weights.requires_grad)
    with written_aside(FINETUNED) as partial:
        save_model(merged(model), tokenizer, partial, params.max_tokens)
        card = {name: metadata.get(name) for name in CARD_KEYS}
        write_json(partial / CARD, card | {"max_tokens": params.max_tokens, "base_sha256": sha256(BASE)})
    with written_aside(CURVES) as partial, open(partial, "w", newline="") as stream:
        writer = csv.DictWriter(stream, ["step", "epoch", "loss", "split"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(curves(trainer.state.log_history))
    write_json(METRICS, {
        **summary(trainer.state),
        "parameters": parameters,
        "trainable_parameters": trainable,
        "truncated": truncation(train, classes, params.min_count),
    })  # fmt: skip
    tokens = epochs * int(train["length"][:].sum())
    write_json(TIMINGS, {"seconds": seconds, "epochs": epochs, "tokens_per_second": tokens / seconds})
    shutil.rmtree(folder)


if __name__ == "__main__":
    run(main)
