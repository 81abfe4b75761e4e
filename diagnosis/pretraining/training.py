"""Masked-language training: a base model with the head for it, HF's Trainer, and the loss on text held out."""

from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional
from transformers import AutoModelForMaskedLM, AutoTokenizer, Trainer, TrainerCallback, TrainingArguments

from diagnosis.errors import UserError
from diagnosis.files import require
from diagnosis.pretraining.blocks import IGNORED, MaskedBlocks, collate
from diagnosis.training.checkpoints import KeepLastAndBest, last_checkpoint
from diagnosis.training.model import longest_input
from diagnosis.training.tokens import on_device

LOGS = 20


def load_masked(folder: Path, max_tokens: int):
    """(model, tokenizer) with the head that guesses masked words; raises UserError where the base was stored without it.

    A head drawn at random would first have to be learned, and what it teaches the body until then is noise.
    """
    require(folder, "run the stage fetch_model")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        model, loading = AutoModelForMaskedLM.from_pretrained(
            folder, trust_remote_code=False, use_safetensors=True, dtype=torch.float32, output_loading_info=True
        )
        missing = len(loading["missing_keys"]) or tokenizer.mask_token_id is None or tokenizer.pad_token_id is None
    except ValueError:  # an architecture that has no such head
        missing = True
    except Exception as error:  # whatever the libraries raise on a broken file
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{folder} could not be loaded ({reason}): fetch the model again") from None
    if missing or not tokenizer.is_fast:
        raise UserError(
            f"{folder} has no trained head for masked words (sentence encoders like the packaged MiniLM come without): "
            "choose such a base in fetch_model, or set adapt.enabled to false"
        )
    if (longest := longest_input(model)) is not None and max_tokens > longest:
        raise UserError(
            f"params.yaml: adapt.max_tokens is {max_tokens}, but {folder} takes {longest} at most: lower it"
        )
    # A tokenizer.json may state both: long texts would be cut without a word, short ones would teach padding.
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.backend_tokenizer.no_truncation()
    return model, tokenizer


class StopAtNaN(TrainerCallback):
    def on_log(self, args, state, control, logs, **kwargs):
        if not all(np.isfinite(logs[name]) for name in ("loss", "eval_loss") if name in logs):
            raise UserError(f"the loss is no longer a number at step {state.global_step}: lower adapt.learning_rate")


def train(model, tokenizer, params, *, folder: Path, device: torch.device, data: MaskedBlocks, held_out: MaskedBlocks):
    """Train on the blocks from the last whole checkpoint in `folder`, or from the start; returns the Trainer's log."""
    steps = -(-len(data) // params.batch_size)
    args = TrainingArguments(
        output_dir=str(folder),
        seed=params.seed,
        use_cpu=device.type == "cpu",
        bf16=params.precision == "bf16",
        learning_rate=params.learning_rate,
        weight_decay=0.01,
        warmup_steps=0.06,  # of all steps, as RoBERTa's authors have it (Liu et al. 2019)
        num_train_epochs=params.epochs,
        per_device_train_batch_size=params.batch_size,
        per_device_eval_batch_size=params.batch_size,
        eval_strategy="epoch",
        save_strategy="epoch",
        logging_steps=max(1, steps * params.epochs // LOGS),
        logging_nan_inf_filter=False,
        prediction_loss_only=True,
        remove_unused_columns=False,
        dataloader_pin_memory=device.type == "cuda",
        report_to="none",
    )
    args._n_gpu = min(args.n_gpu, 1)  # several GPUs would split each batch and change the result
    trainer = Trainer(
        model=model,
        args=args,
        data_collator=partial(collate, pad_id=tokenizer.pad_token_id),
        train_dataset=data,
        eval_dataset=held_out,
        callbacks=[KeepLastAndBest(), StopAtNaN()],
    )
    checkpoint = last_checkpoint(folder)
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    return trainer.state.log_history


@torch.inference_mode()
def masked_loss(model, tokenizer, blocks: MaskedBlocks, batch_size: int) -> float:
    """Mean negative log-likelihood of the chosen tokens of all blocks."""
    total, count = 0.0, 0
    training = model.training
    model.eval()
    for start in range(0, len(blocks), batch_size):
        some = [blocks[block] for block in range(start, min(start + batch_size, len(blocks)))]
        batch = on_device(collate(some, tokenizer.pad_token_id), model.device)
        labels = batch.pop("labels").flatten()
        logits = model(**batch).logits.float().flatten(0, 1)
        total += functional.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum").item()
        count += int((labels != IGNORED).sum())
    model.train(training)
    return total / count if count else float("nan")
