"""HF's Trainer with this project's loss, early stopping that survives a kill, and curves that do too."""

import os
from datetime import date
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from transformers import Trainer, TrainerCallback, TrainerState, TrainingArguments
from transformers.integrations import get_available_reporting_integrations

from diagnosis.data_use import DataUse, check_sending
from diagnosis.errors import UserError
from diagnosis.training.checkpoints import KeepLastAndBest, last_checkpoint, read_state
from diagnosis.training.dataset import Collator
from diagnosis.training.inference import corrected
from diagnosis.training.losses import batch_loss, note_losses, scores

LOGS_PER_EPOCH = 10


class NoteTrainer(Trainer):
    """Trainer whose loss weighs each note and is divided by the notes of the whole accumulated batch."""

    def __init__(self, *, gamma: float | None, **kwargs):
        super().__init__(**kwargs)
        self.gamma = gamma
        # Have the notes of an accumulated batch counted, and the loss left as compute_loss scales it.
        self.model_accepts_loss_kwargs = True

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        labels, weights = inputs["labels"], inputs["weight"]
        outputs = model(**{name: value for name, value in inputs.items() if name not in ("labels", "weight")})
        items = labels.numel() if num_items_in_batch is None else num_items_in_batch
        loss = batch_loss(note_losses(outputs.logits, labels, self.gamma), weights, items)
        return (loss, outputs) if return_outputs else loss


class Watch(TrainerCallback):
    """Logs within and at the end of each epoch, stops early, and stops at a loss that is no number.

    Everything is computed from the Trainer's saved state, so a resumed training decides as an uninterrupted one does; log
    windows never cross an epoch's end, where the checkpoints are.
    """

    def __init__(self, patience: int):
        self.patience = patience

    def on_step_end(self, args, state, control, **kwargs):
        steps = steps_per_epoch(args, state)
        control.should_log = (state.global_step % steps) % max(1, steps // LOGS_PER_EPOCH) == 0

    def on_epoch_end(self, args, state, control, **kwargs):
        control.should_log = True

    def on_log(self, args, state, control, logs, **kwargs):
        if not all(np.isfinite(logs[name]) for name in ("loss", "eval_loss") if name in logs):
            raise UserError(
                f"the loss is no longer a number at step {state.global_step}: lower finetune.learning_rate, or set "
                "finetune.precision to fp32"
            )

    def on_save(self, args, state, control, **kwargs):
        if stopped_early(args, state, self.patience):
            control.should_training_stop = True


def steps_per_epoch(args: TrainingArguments, state: TrainerState) -> int:
    return round(state.max_steps / args.num_train_epochs)


def stopped_early(args: TrainingArguments, state: TrainerState, patience: int) -> bool:
    """Whether `patience` epochs have passed since the best one; patience 0 never stops."""
    return bool(patience) and state.global_step - state.best_global_step >= patience * steps_per_epoch(args, state)


def make_trainer(
    model,
    params,
    *,
    folder: Path,
    device: torch.device,
    train: Dataset,
    validation: Dataset,
    collator: Collator,
    priors: tuple[list[float] | None, list[float] | None] = (None, None),
) -> NoteTrainer:
    """The Trainer for finetune's `params`; its checkpoints lie in `folder`.

    `priors`, of the train shard and as rebalanced, correct the validation scores as `predict` corrects its logits, so that
    the epoch is chosen by the decisions that will be made.
    """
    gamma = params.focal_gamma if params.loss == "focal" else None
    args = TrainingArguments(
        output_dir=str(folder),
        seed=params.seed,
        use_cpu=device.type == "cpu",
        bf16=params.precision == "bf16",
        fp16=params.precision == "fp16",
        learning_rate=params.learning_rate,
        weight_decay=params.weight_decay,
        warmup_steps=params.warmup_share,  # below 1 it is a share of all steps
        num_train_epochs=params.epochs,
        per_device_train_batch_size=params.batch_size,
        per_device_eval_batch_size=2 * params.batch_size,
        gradient_accumulation_steps=params.accumulation_steps,
        activation_checkpointing=params.gradient_checkpointing,
        activation_checkpointing_kwargs={"use_reentrant": False} if params.gradient_checkpointing else None,
        # Without padding length does not matter, so batches are drawn at random.
        train_sampling_strategy="random" if params.unpadded else "group_by_length",
        eval_strategy="epoch",
        save_strategy="epoch",
        logging_strategy="no",  # Watch says when
        logging_nan_inf_filter=False,
        metric_for_best_model=params.best_metric,
        greater_is_better=params.best_metric != "loss",
        load_best_model_at_end=True,
        remove_unused_columns=False,  # the weights are no argument of the model
        dataloader_pin_memory=device.type == "cuda",
        report_to=live_view(),
    )
    args._n_gpu = min(args.n_gpu, 1)  # several GPUs would split each batch and change the result
    return NoteTrainer(
        gamma=gamma,
        model=model,
        args=args,
        data_collator=collator,
        train_dataset=train,
        eval_dataset=validation,
        compute_metrics=lambda result: scores(corrected(result.predictions, *priors), result.label_ids, gamma),
        callbacks=[KeepLastAndBest(), Watch(params.early_stopping_patience)],
    )


def live_view() -> str:
    """Where to show the training while it runs: the environment variable DIAGNOSIS_REPORT_TO, e.g. mlflow."""
    target = os.environ.get("DIAGNOSIS_REPORT_TO") or "none"
    if target not in (known := ["none", *sorted(get_available_reporting_integrations())]):
        raise UserError(f"DIAGNOSIS_REPORT_TO is {target}: of those installed here, choose one of {', '.join(known)}")
    return target


def check_live_view(data_use: dict) -> None:
    """Raises UserError where the training would be shown to whom the notes' terms do not allow: before a note is read."""
    target = live_view()
    if target != "none":
        # Where no address is known it is the integration's own service; tensorboard writes to a folder.
        address = {"mlflow": os.environ.get("MLFLOW_TRACKING_URI") or "mlruns", "tensorboard": "runs"}.get(target)
        check_sending(DataUse.of(data_use), address or f"{target}://", "the live view of the training", date.today())


def train_or_resume(trainer: NoteTrainer, patience: int) -> int:
    """Train from the last whole checkpoint, or from the start; the model ends as it was in the best epoch.

    Returns how many epochs were run now.
    """
    done = 0
    checkpoint = last_checkpoint(Path(trainer.args.output_dir))
    if checkpoint is not None:
        state = read_state(checkpoint)
        done = round(state.epoch)
        print(f"resuming after epoch {done}")
        if stopped_early(trainer.args, state, patience):
            # Killed between the last epoch and the outputs: nothing is left to train, only the best to load.
            trainer.args.num_train_epochs = done
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    return round(trainer.state.epoch) - done


def curves(history: list[dict]) -> list[dict]:
    """Rows step, epoch, loss, split of the Trainer's log: training loss since the row before, validation loss."""
    rows = []
    for entry in history:
        for name, split in (("loss", "train"), ("eval_loss", "validation")):
            if name in entry:
                rows.append(
                    {
                        "step": entry["step"],
                        "epoch": round(entry["epoch"], 6),
                        "loss": round(entry[name], 6),
                        "split": split,
                    }
                )
    return rows


def summary(state: TrainerState) -> dict:
    """Epochs run, the best epoch, and the validation scores and mean training loss of that epoch."""
    evaluations = [entry for entry in state.log_history if "eval_loss" in entry]
    best = next(entry for entry in evaluations if entry["step"] == state.best_global_step)
    epoch = round(best["epoch"])
    start, total = (epoch - 1) * best["step"] // epoch, 0.0
    before = start
    for entry in state.log_history:
        if "loss" in entry and start < entry["step"] <= best["step"]:
            total += entry["loss"] * (entry["step"] - before)
            before = entry["step"]
    return {
        "best_epoch": epoch,
        "epochs_run": len(evaluations),
        "train": {"loss": round(total / (best["step"] - start), 6)},
        "validation": {
            name: round(best[f"eval_{name}"], 6) for name in ("accuracy", "macro_f1", "weighted_f1", "micro_f1", "loss")
        },
    }
