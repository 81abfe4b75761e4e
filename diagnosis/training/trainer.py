"""HF's Trainer with this project's loss, early stopping that survives a kill, and curves that do too."""

import os
from datetime import date
from functools import partial
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from torch import nn
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback, TrainerState, TrainingArguments
from transformers.integrations import get_available_reporting_integrations
from transformers.trainer_pt_utils import LengthGroupedSampler

from diagnosis.data_use import DataUse, check_sending
from diagnosis.errors import UserError
from diagnosis.training.checkpoints import KeepLastAndBest, last_checkpoint, read_state
from diagnosis.training.dataset import Collator
from diagnosis.training.fairness import KeepFairness
from diagnosis.training.inference import corrected
from diagnosis.training.losses import batch_loss, note_losses
from diagnosis.training.processes import BatchShares, is_first
from diagnosis.training.sampler import ClassSampler
from diagnosis.training.validation import LOWER_IS_BETTER, reported, scores
from diagnosis.training.windows import LongNotes, batch_logits

LOGS_PER_EPOCH = 10
NOT_THE_MODELS = ("labels", "weight", "group")  # of a batch
# finetune.optimizer, by the Trainer's names
OPTIMIZERS = {
    "adamw": "adamw_torch",
    "adamw_fused": "adamw_torch_fused",
    "adafactor": "adafactor",
    "adamw_8bit": "adamw_bnb_8bit",
}


class NoteTrainer(Trainer):
    """Trainer whose loss weighs each note and is divided by the notes of the whole accumulated batch.

    `loss(logits, labels)` gives it by note. `class_shares`: classes are drawn in these portions. `fairness` works on the loss of
    notes that come with a group. `long_notes` says how a note of several windows is
    read; None where the model is given no notes but their embeddings.
    """

    def __init__(
        self,
        *,
        loss,
        class_shares: list[float] | None,
        fairness: nn.Module | None,
        long_notes: LongNotes | None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.loss, self.class_shares, self.fairness, self.long_notes = loss, class_shares, fairness, long_notes
        # Have the notes of an accumulated batch counted, and the loss left as compute_loss scales it.
        self.model_accepts_loss_kwargs = True
        if (plugin := getattr(self.accelerator.state, "fsdp_plugin", None)) is not None:
            # Layer by layer. accelerate would take BERT's embeddings as well, which it shards once more by itself, and fail.
            parts = getattr(self.model, "_no_split_modules", None) or []
            plugin.transformer_cls_names_to_wrap = [name for name in parts if not name.endswith("Embeddings")]

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        labels, weights = inputs["labels"], inputs["weight"]
        given = {name: value for name, value in inputs.items() if name not in NOT_THE_MODELS}
        if self.long_notes is None:
            logits = model(**given).logits
        else:
            logits = batch_logits(model, given, self.data_collator.classes, self.long_notes)
        items = labels.numel() if num_items_in_batch is None else num_items_in_batch
        losses = self.loss(logits, labels)
        if self.fairness is not None and "group" in inputs:
            losses = self.fairness(losses, inputs)
        # The items are those of all processes, whose gradients are averaged and not added up.
        loss = batch_loss(losses, weights, items) * self.args.world_size
        return (loss, {"logits": logits}) if return_outputs else loss

    def create_optimizer(self, model=None):
        optimizer = super().create_optimizer(model)
        if self.fairness is not None and any(True for _ in self.fairness.parameters()):
            optimizer.add_param_group({"params": list(self.fairness.parameters())})
        return optimizer

    def _get_train_sampler(self, train_dataset=None):
        """By length, at random, or by class and length; of the whole accumulated batch of all processes."""
        batch = self.args.train_batch_size * self.args.world_size * self.args.gradient_accumulation_steps
        lengths = self.train_dataset.data.column("length").to_pylist()
        if self.class_shares is None and self.args.train_sampling_strategy != "group_by_length":
            return super()._get_train_sampler(train_dataset)
        if self.class_shares is None:
            return LengthGroupedSampler(batch, self.train_dataset, lengths=lengths)
        targets = [row[0] for row in self.train_dataset.data.column("target").to_pylist()]
        return ClassSampler(targets, self.class_shares, lengths, batch)

    def get_train_dataloader(self) -> DataLoader:
        """The Trainer's own; for several processes one whose batches together are those of one process."""
        if self.args.world_size == 1:
            return super().get_train_dataloader()
        whole, accumulation = self.args.train_batch_size * self.args.world_size, self.args.gradient_accumulation_steps
        order = self._get_train_sampler()
        return DataLoader(
            self.train_dataset,
            batch_sampler=BatchShares(order, whole, accumulation, self.args.process_index, self.args.world_size),
            collate_fn=self.data_collator,
            pin_memory=self.args.dataloader_pin_memory,
        )


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
        watched = {"loss": "the loss is", "eval_loss": "the validation loss is", "grad_norm": "the gradients are"}
        for name, what in watched.items():
            if name == "grad_norm" and args.fp16:
                continue  # its scaler tries large gradients, and skips a step that has them
            if name in logs and not np.isfinite(logs[name]):
                raise UserError(
                    f"{what} no longer a number at step {state.global_step}: lower finetune.learning_rate, or set "
                    "finetune.precision to fp32"
                )

    def on_evaluate(self, args, state, control, metrics, **kwargs):
        name = args.metric_for_best_model
        if np.isnan(metrics[f"eval_{name}"]):
            raise UserError(
                f"finetune.best_metric is {name}, which this validation shard leaves undefined (a class without notes, or with "
                "nothing but): choose another, or give validation a larger share in params.yaml: split"
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
    priors: tuple = (None, None),
    loss=None,
    resampling: dict | None = None,
    fairness: nn.Module | None = None,
    long_notes: LongNotes | None = LongNotes(),  # noqa: B008 - it is immutable
) -> NoteTrainer:
    """The Trainer for finetune's `params`; its checkpoints lie in `folder`.

    `priors`, of the train shard and as rebalanced, correct the validation scores as `predict` corrects its logits, so that
    the epoch is chosen by the decisions that will be made; the task stands third. `loss`, by note, is that of the params
    where it is not given; `resampling` is the balanced table's, `fairness` as NoteTrainer has it.
    """
    gamma = params.focal_gamma if params.loss == "focal" else None
    args = TrainingArguments(
        output_dir=str(folder),
        seed=params.seed,
        use_cpu=device.type == "cpu",
        bf16=params.precision == "bf16",
        fp16=params.precision == "fp16",
        optim=OPTIMIZERS[params.optimizer],
        learning_rate=params.learning_rate,
        weight_decay=params.weight_decay,
        warmup_steps=params.warmup_share,  # below 1 it is a share of all steps
        num_train_epochs=params.epochs,
        per_device_train_batch_size=params.batch_size // params.processes,
        per_device_eval_batch_size=2 * params.batch_size // params.processes,
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
        greater_is_better=params.best_metric not in LOWER_IS_BETTER,
        load_best_model_at_end=True,
        label_names=["labels"],
        remove_unused_columns=False,  # the weights are no argument of the model
        dataloader_pin_memory=device.type == "cuda",
        report_to=live_view(),
    )
    args._n_gpu = min(args.n_gpu, 1)  # several GPUs would split each batch and change the result
    return NoteTrainer(
        loss=loss or partial(note_losses, gamma=gamma),
        class_shares=resampling["shares"] if resampling and resampling["method"] == "class_sampler" else None,
        fairness=fairness,
        long_notes=long_notes,
        model=model,
        args=args,
        data_collator=collator,
        train_dataset=train,
        eval_dataset=validation,
        compute_metrics=lambda result: scores(corrected(result.predictions, *priors), result.label_ids, gamma),
        callbacks=[
            *([KeepFairness(fairness)] if fairness else []),
            KeepLastAndBest(),
            Watch(params.early_stopping_patience),
        ],
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
    with trainer.accelerator.main_process_first():
        checkpoint = last_checkpoint(Path(trainer.args.output_dir))
    if checkpoint is not None:
        state = read_state(checkpoint)
        done = round(state.epoch)
        if is_first():
            print(f"resuming after epoch {done}")
        if stopped_early(trainer.args, state, patience):
            # Killed between the last epoch and the outputs: nothing is left to train, only the best to load.
            trainer.args.num_train_epochs = done
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    return round(trainer.state.epoch) - done


def summary(state: TrainerState, best_metric: str = "loss") -> dict:
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
        "validation": {name: round(best[f"eval_{name}"], 6) for name in reported(best_metric)},
    }
