"""Training that minds groups of patients: what is known of a group is used in training and nowhere after it.

A note's group is a column of the note table as its source states it. Notes that state none, or whose value was filled in, and those
of groups too small to learn anything about are trained on as if nothing were asked; nothing is guessed.
"""

import os
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional
from transformers import TrainerCallback

from diagnosis.errors import UserError
from diagnosis.notes import open_notes, read_stated
from diagnosis.training.dataset import class_numbers, column
from diagnosis.training.embeddings import SMOTE
from diagnosis.training.model import of_notes, output_layer

HIDDEN = 64  # of the adversary
STATE = "fairness.safetensors"  # in a checkpoint


def check_fairness(params, metadata: dict) -> None:
    """Raises UserError where finetune.fairness cannot go with the task or with how classes were rebalanced."""
    method = metadata.get("resampling", {}).get("method")
    if params.fairness == "reweighing" and metadata["task"] == "multi_label":
        why = "notes have several labels here, and a note has one weight: take adversarial or worst_group"
    elif params.fairness != "none" and method in SMOTE:
        why = f"rebalance.method is {method}, whose mixed notes have no group: change one of the two"
    elif params.fairness == "adversarial" and (params.long_notes == "windows" or params.head != "standard"):
        why = "the adversary reads one embedding a note: set finetune.head to standard and finetune.long_notes to head or head_tail"
    elif params.fairness == "worst_group" and method == "class_sampler":
        why = "rebalance.method is class_sampler, which draws groups in other shares: take class_weight"
    elif params.fairness in ("adversarial", "worst_group") and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        why = "several processes train, and each would follow the groups of its own notes: train in one, or take reweighing"
    else:
        return
    raise UserError(f"params.yaml: finetune.fairness is {params.fairness}, but {why}")


def with_groups(dataset: Dataset, path: Path, params, metadata: dict) -> tuple[Dataset, list[str], dict]:
    """(dataset, groups, metadata) as finetune's `params` ask: with a column `group` of group numbers, -1 where there is none; the
    groups' names in order; reweighed, and with the class prior of that, where asked. As they are where nothing is.

    `path` is the table that the dataset was read from, row by row. A group of fewer than `min_count` notes, repeats and versions
    of a note counted once, is none. Raises UserError where fewer than two groups are left.
    """
    check_fairness(params, metadata)
    if params.fairness == "none":
        return dataset, [], metadata
    name = params.fairness_group
    table = read_stated(path, [name, "note_id", *({"augmented_from"} & set(open_notes(path).schema_arrow.names))])
    stated = [value if isinstance(value, str) else None for value in table[name]]
    notes = table["augmented_from"].fillna(table["note_id"]) if "augmented_from" in table else table["note_id"]
    counts = Counter(value for value, _ in set(zip(stated, notes, strict=True)) if value is not None)
    groups = sorted(value for value, count in counts.items() if count >= params.min_count)
    if len(groups) < 2:
        raise UserError(
            f"params.yaml: finetune.fairness_group is {name}, but of its groups {len(groups)} in {path} has {params.min_count} notes "
            "or more, and two are needed: choose another column, or set finetune.fairness to none"
        )
    number = {value: index for index, value in enumerate(groups)}
    dataset = dataset.add_column("group", [number.get(value, -1) for value in stated])
    if params.fairness == "reweighing":
        dataset, prior = reweighed(dataset, metadata["balanced_prior"])
        metadata = metadata | {"balanced_prior": prior}
    return dataset, groups, metadata


def reweighed(dataset: Dataset, prior: list[float]) -> tuple[Dataset, list[float]]:
    """The dataset, its weights times P(group) P(class) / P(group, class), and the class prior that the loss then sees.

    Kamiran and Calders 2012, Data Preprocessing Techniques for Classification without Discrimination: group and class are
    independent under the new weights. Shares are of the notes with a group; the others keep their weight. Where a group has
    no note of a class that class loses some of its weight, which the prior (`prior` before) follows.
    """
    group, weight = column(dataset, "group"), column(dataset, "weight")
    target = class_numbers(dataset)
    known = group >= 0
    counts = np.zeros((group.max() + 1, len(prior)))
    np.add.at(counts, (group[known], target[known]), 1)
    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0) / counts.sum()
    factor = np.divide(expected, counts, out=np.ones_like(counts), where=counts > 0)
    new = np.where(known, weight * factor[group, target], weight)
    before, after = (np.bincount(target, values, len(prior)) for values in (weight, new))
    moved = np.asarray(prior) * after / before
    dataset = dataset.remove_columns("weight").add_column("weight", new.astype(np.float32))
    return dataset, (moved / moved.sum()).tolist()


def guard(model, train: Dataset, groups: list[str], params) -> "Adversary | WorstGroup | None":
    """What works on the loss while training; None where nothing or reweighing was asked for."""
    if params.fairness == "adversarial":
        return Adversary(model, len(groups), params.adversary_weight)
    if params.fairness == "worst_group":
        group = column(train, "group")
        return WorstGroup(np.bincount(group[group >= 0], minlength=len(groups)), params.group_step)
    return None


class Reverse(torch.autograd.Function):
    """The same forwards; backwards the gradient times -`weight` (Ganin et al. 2016)."""

    @staticmethod
    def forward(ctx, inputs, weight):
        ctx.weight = weight
        return inputs.view_as(inputs)

    @staticmethod
    def backward(ctx, gradient):
        return -ctx.weight * gradient, None


class Adversary(nn.Module):
    """Learns the group from what the model's last layer is given and the note's true classes, and gives the body the opposite of
    its gradient (Ganin et al. 2016, Domain-Adversarial Training of Neural Networks).

    The classes are given to it, as Zhang et al. 2018 (Mitigating Unwanted Biases with Adversarial Learning) do for
    equalised odds: that groups have other diseases shall stay readable, that they are described otherwise shall not.
    """

    def __init__(self, model, groups: int, weight: float):
        super().__init__()
        layer = output_layer(model)
        if layer is None:
            raise UserError(
                "finetune.fairness is adversarial, but the model has no linear layer that ends it: choose another"
            )
        width, self.classes, self.weight = layer.in_features, layer.out_features, weight
        self.net = nn.Sequential(nn.Linear(width + self.classes, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, groups))
        self.to(layer.weight.device)
        self._seen: list[torch.Tensor] = []
        self._hook = layer.register_forward_pre_hook(lambda layer, inputs: self._seen.append(inputs[0]))

    def forward(self, losses: torch.Tensor, batch: dict) -> torch.Tensor:
        """The losses (n,) of a batch with the adversary's added, where a note has a group."""
        vectors = Reverse.apply(of_notes(self._seen.pop(), batch).float(), self.weight)
        self._seen.clear()
        labels, group = batch["labels"], batch["group"]
        truth = functional.one_hot(labels, self.classes).float() if labels.dim() == 1 else labels
        # Where there are several labels the loss of a note is a sum over classes, and divided by their number later.
        scale = 1 if labels.dim() == 1 else self.classes
        guess = self.net(torch.cat([vectors, truth], dim=1))
        return losses + scale * functional.cross_entropy(guess, group, ignore_index=-1, reduction="none")

    def after_step(self) -> None:
        self.zero_grad()  # the Trainer clears the gradients of the model alone

    def leave(self) -> None:
        """Nothing of it stays with the model."""
        self._hook.remove()
        self._seen.clear()


class WorstGroup(nn.Module):
    """Online group weights (Sagawa et al. 2020, Distributionally Robust Neural Networks, algorithm 1): after each step a group's
    weight is multiplied by exp(step * its mean loss), and all are brought to a sum of 1.

    A note counts its group's weight over its group's share of the notes with a group, so that the expected loss is the sum of
    weight * mean loss over groups whatever the batch, and accumulated batches add up.
    """

    def __init__(self, counts: np.ndarray, step: float):
        super().__init__()
        self.step = step
        self.register_buffer("weights", torch.full((len(counts),), 1 / len(counts), dtype=torch.float64))
        self.register_buffer("shares", torch.tensor(counts / counts.sum(), dtype=torch.float64))
        self.register_buffer("sums", torch.zeros(2, len(counts), dtype=torch.float64), persistent=False)

    def forward(self, losses: torch.Tensor, batch: dict) -> torch.Tensor:
        """The losses (n,) of a batch times what their notes count; their sums by group are kept for the step's end."""
        self.to(losses.device)
        group, labels = batch["group"], batch["labels"]
        known = group >= 0
        mean = losses.detach().double() * batch["weight"] / (1 if labels.dim() == 1 else labels.shape[1])
        self.sums.index_add_(1, group[known], torch.stack([mean, torch.ones_like(mean)])[:, known])
        factors = torch.ones_like(losses)
        factors[known] = (self.weights / self.shares)[group[known]].to(losses.dtype)
        return losses * factors

    def after_step(self) -> None:
        """Group weights for the next step, from the losses of all batches of this one."""
        total, notes = self.sums
        self.weights *= torch.exp(self.step * total / notes.clamp(min=1))
        self.weights /= self.weights.sum()
        self.sums.zero_()

    def leave(self) -> None:
        pass


class KeepFairness(TrainerCallback):
    """Lets the guard follow each step, and puts what it has learnt into checkpoints and takes it from there."""

    def __init__(self, fairness: Adversary | WorstGroup):
        self.fairness = fairness

    def on_train_begin(self, args, state, control, **kwargs):
        if state.global_step:
            saved = Path(args.output_dir) / f"checkpoint-{state.global_step}" / STATE
            self.fairness.load_state_dict(load_file(saved))

    def on_step_end(self, args, state, control, **kwargs):
        self.fairness.after_step()

    def on_save(self, args, state, control, **kwargs):
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        save_file(self.fairness.state_dict(), folder / STATE)

    def on_train_end(self, args, state, control, **kwargs):
        self.fairness.leave()


def told(train: Dataset, groups: list[str], fairness: nn.Module | None, params) -> dict:
    """For the metrics: the column, its groups, how many notes have none (null under `min_count`), worst-group's last weights."""
    without = int((column(train, "group") < 0).sum())
    weights = fairness.weights.tolist() if isinstance(fairness, WorstGroup) else None
    return {
        "group": params.fairness_group,
        "groups": groups,
        "notes_without": without if not without or without >= params.min_count else None,
        "group_weights": weights and {name: round(value, 6) for name, value in zip(groups, weights, strict=True)},
    }
