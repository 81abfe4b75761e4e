"""Fine-tune the base model on the balanced train shard; keep the epoch that does best on the validation shard."""

import shutil
import time
from pathlib import Path
from typing import Annotated, Literal

import transformers
from pydantic import AfterValidator, Field

from diagnosis.data_use import DataUse, strictest
from diagnosis.errors import UserError, run
from diagnosis.files import read_json, sha256, write_json, written_aside
from diagnosis.params import Params
from diagnosis.training.beyond import beyond, cost, say_unread
from diagnosis.training.checkpoints import training_key
from diagnosis.training.curves import write_curves
from diagnosis.training.dataset import Collator, check_classes, class_shares, read_task, truncation
from diagnosis.training.device import check_precision, missing_kernel_explained, out_of_memory_explained, prepare_device
from diagnosis.training.embeddings import SMOTE, check_embeddings, on_embeddings
from diagnosis.training.fairness import guard, told, with_groups
from diagnosis.training.heads import with_head
from diagnosis.training.inference import CARD
from diagnosis.training.methods import adapt_model, check_length, check_method, check_optimizer, save_trained
from diagnosis.training.model import load_base, start_at_prior
from diagnosis.training.priors import objective
from diagnosis.training.processes import check_processes, gathered, is_first, launch, part, started
from diagnosis.training.token_cache import cached_dataset
from diagnosis.training.tokens import takes_types
from diagnosis.training.trainer import check_live_view, make_trainer, summary, train_or_resume
from diagnosis.training.unpadded import check_unpadded, unpad
from diagnosis.training.validation import check_best_metric
from diagnosis.training.windows import LongNotes

BALANCED = Path("data/balanced.parquet")
VALIDATION = Path("data/split/validation.parquet")
BASE = Path("models/adapted")
ADAPTED = BASE / "adapted.json"  # where the stage adapt is on: the terms of what it read
FINETUNED = Path("models/finetuned")
METRICS = Path("metrics/finetune.json")
CURVES = Path("plots/finetune.csv")
CHECKPOINTS = Path(".checkpoints")
TIMINGS = Path("logs/finetune.json")
CARD_KEYS = ("balanced_prior", "classes", "corpus", "data_use", "preprocessing", "task", "text_pair", "train_prior")


class FinetuneParams(Params):
    seed: int = Field(ge=0, lt=2**32)
    method: str
    method_options: dict[str, dict]
    body_dropout: float | None = Field(ge=0, lt=1)
    loss: Literal["cross_entropy", "focal", "logit_adjusted"]
    focal_gamma: float = Field(ge=0)
    logit_tau: float = Field(gt=0)
    fairness: Literal["none", "reweighing", "adversarial", "worst_group"]
    fairness_group: Literal["sex", "age_band", "race", "language", "insurance", "site"]
    adversary_weight: float = Field(ge=0)
    group_step: float = Field(gt=0)
    optimizer: Literal["adamw", "adamw_fused", "adafactor", "adamw_8bit"]
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    warmup_share: float = Field(ge=0, lt=1)
    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    accumulation_steps: int = Field(ge=1)
    gradient_checkpointing: bool
    max_tokens: int = Field(ge=8)
    long_notes: Literal["head", "head_tail", "windows"]
    pooling: Literal["mean", "max", "attention"]
    windows_at_once: int | None = Field(ge=1)
    head: Literal["standard", "label_attention"]
    unpadded: bool
    precision: Literal["fp32", "bf16", "fp16"]
    early_stopping_patience: int = Field(ge=0)
    best_metric: Annotated[str, AfterValidator(check_best_metric)]
    launch: Literal["ddp", "fsdp", "deepspeed"] | None
    processes: int = Field(ge=1)
    deterministic: bool
    threads: int = Field(ge=1)
    min_count: int = Field(ge=1)


def main():
    params = FinetuneParams.load("finetune")
    check_processes(params.launch, params.processes, params.batch_size, params.windows_at_once)
    if params.launch and not started():
        return launch("stages.finetune", params.launch, params.processes, params.threads)
    transformers.logging.set_verbosity_error()
    device = prepare_device(params.threads, params.deterministic)
    check_precision(params.precision, device)
    check_method(params.method, params.method_options, device)
    check_optimizer(params.optimizer, device)
    check_unpadded(params)
    metadata = read_task(BALANCED)
    if ADAPTED.exists():
        terms = [DataUse.of(stated["data_use"]) for stated in (metadata, read_json(ADAPTED))]
        metadata["data_use"] = strictest(terms).plain()
    check_live_view(metadata["data_use"])
    classes, multi_label = metadata["classes"], metadata["task"] == "multi_label"
    if not {"train_prior", "balanced_prior"} <= metadata.keys():
        raise UserError(f"{BALANCED} does not state its class priors: run `dvc repro rebalance`")
    if read_task(VALIDATION)["classes"] != classes:
        raise UserError(f"{BALANCED} and {VALIDATION} state different classes: run `dvc repro`")

    # ---- the model; seeded first, for its head is drawn at random
    transformers.set_seed(params.seed)
    model, tokenizer = load_base(BASE, classes, metadata["task"], params.body_dropout)
    check_length(model, params.max_tokens, params.method, params.method_options, BASE)
    long_notes = LongNotes(params.long_notes, params.pooling, params.windows_at_once)
    model = with_head(model, params.head, long_notes)
    parameters = model.num_parameters()

    # ---- the notes, as token ids
    read = {"max_tokens": params.max_tokens, "long_notes": params.long_notes}
    train = cached_dataset(BALANCED, tokenizer, metadata, weighted=True, **read)
    check_classes(train, BALANCED, classes)
    say_unread(train, params.max_tokens)
    validation = cached_dataset(VALIDATION, tokenizer, metadata, weighted=False, **read)
    batches = unpad(model) if params.unpadded else Collator
    collator = batches(
        pad_id=tokenizer.pad_token_id,
        classes=len(classes),
        multi_label=multi_label,
        types=metadata["text_pair"] and takes_types(model),
        # Half-precision matrix units of a GPU want multiples of 8; elsewhere padding only costs.
        multiple=8 if device.type == "cuda" and params.precision != "fp32" else 1,
        windows=params.long_notes == "windows",
    )

    # ---- fair portions for groups and classes, and the loss and the class prior that follow
    train, groups, metadata = with_groups(train, BALANCED, params, metadata)
    learner, parts = model, {"train": train, "validation": validation, "collator": collator}
    if metadata.get("resampling", {}).get("method") in SMOTE:
        check_embeddings(params, metadata["resampling"]["method"])
        learner, parts, metadata = on_embeddings(model.to(device), **parts, metadata=metadata)
    shares = class_shares(train, len(classes))
    loss, metadata = objective(params, metadata, shares)
    priors = metadata["train_prior"], metadata["balanced_prior"], metadata["task"]

    # ---- where it starts
    if multi_label:
        start_at_prior(model, metadata["balanced_prior"] or shares)
    if learner is model:
        model = learner = adapt_model(model, params.method, params.method_options, device)
    fairness = guard(model, train, groups, params)

    # ---- training
    settings = params.model_dump() | {"device": device.type, "stage": sha256(Path(__file__))}
    folder = CHECKPOINTS / training_key([BALANCED, VALIDATION, BASE], settings)
    trainer = make_trainer(
        learner,
        params,
        folder=folder,
        device=device,
        **parts,
        priors=priors,
        loss=loss,
        resampling=metadata.get("resampling"),
        fairness=fairness,
        long_notes=long_notes if learner is model else None,
    )
    start = time.perf_counter()
    with out_of_memory_explained("finetune.batch_size", "finetune.max_tokens"), missing_kernel_explained():
        epochs = train_or_resume(trainer, params.early_stopping_patience)
    seconds = time.perf_counter() - start
    if learner is model:
        model = gathered(trainer.model)
    part()
    if not is_first():
        return

    # ---- what came of it
    window = {"max_tokens": params.max_tokens, "min_count": params.min_count}
    tables = {"train": (BALANCED, train), "validation": (VALIDATION, validation)}
    lengths = {name: beyond(*table, classes, **window) for name, table in tables.items()}
    validation_scores = cost(model, validation, collator, long_notes, priors=priors, **window)
    trainable = sum(weights.numel() for weights in model.parameters() if weights.requires_grad)
    with written_aside(FINETUNED) as partial:
        adapter = save_trained(model, tokenizer, partial, params.max_tokens)
        card = {name: metadata.get(name) for name in CARD_KEYS} | adapter
        card |= {"head": params.head, "long_notes": params.long_notes, "pooling": params.pooling}
        write_json(partial / CARD, card | {"max_tokens": params.max_tokens, "base_sha256": sha256(BASE)})
    write_curves(CURVES, trainer.state.log_history)
    write_json(METRICS, {
        **summary(trainer.state, params.best_metric),
        "parameters": parameters,
        "trainable_parameters": trainable,
        "truncated": truncation(train, classes, params.min_count),
        **({"fairness": told(train, groups, fairness, params)} if groups else {}),
        "beyond_window": lengths | {"validation_scores": validation_scores},
    })  # fmt: skip
    tokens = epochs * int(train["length"][:].sum())
    write_json(TIMINGS, {"seconds": seconds, "epochs": epochs, "tokens_per_second": tokens / seconds})
    shutil.rmtree(folder)


if __name__ == "__main__":
    run(main)
