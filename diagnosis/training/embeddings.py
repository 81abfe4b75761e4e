"""Notes as what the frozen model makes of them, more of the rare classes mixed from those, and the last layer trained on them.

SMOTE mixes a note with a near one of its class. Between two texts, or their token ids, there is nothing to mix; between two
vectors that a model made of them there is, and what comes out is only ever seen by the layer above.
"""

import numpy as np
import torch
from datasets import Dataset
from torch import nn
from tqdm import tqdm
from transformers.modeling_outputs import SequenceClassifierOutput

from diagnosis.errors import UserError
from diagnosis.training.dataset import class_numbers
from diagnosis.training.model import of_notes, output_layer
from diagnosis.training.tokens import on_device

SMOTE = ("smote", "borderline_smote")
NEIGHBOURS = 5  # Chawla et al. 2002
BATCH = 32  # notes embedded at once


def check_embeddings(params, method: str) -> None:
    """Raises UserError where notes have no one embedding that the last layer alone goes on from."""
    if params.long_notes == "windows" or params.head != "standard":
        raise UserError(
            f"params.yaml: rebalance.method is {method}, which mixes notes by one embedding each: set finetune.head to standard "
            "and finetune.long_notes to head or head_tail, or take another method"
        )


class Head(nn.Module):
    """The model's own last layer alone: what it is trained to is in the model at once."""

    def __init__(self, layer: nn.Linear):
        super().__init__()
        self.layer = layer

    def forward(self, embedding: torch.Tensor) -> SequenceClassifierOutput:
        return SequenceClassifierOutput(logits=self.layer(embedding))


def on_embeddings(model, train: Dataset, validation: Dataset, collator, *, metadata: dict):
    """(last layer, parts, metadata): what to train in place of the model; `train`, `validation` and `collator` by name for it,
    which are the embeddings that the rest, frozen, makes once of the notes, those of `train` resampled; and the metadata
    with the class shares after that as `balanced_prior`.

    `metadata` is the balanced table's; its `resampling` has the method, its seed and the shares that the classes shall have.
    Raises UserError where a class has a single note.
    """
    resampling, layer = metadata["resampling"], output_layer(model)
    if layer is None:
        raise UserError(
            f"rebalance.method is {resampling['method']}, but the model does not end in a linear layer: choose another"
        )
    model.requires_grad_(False)
    layer.requires_grad_(True)
    embeddings, targets = mixed(embed(model, train, collator), class_numbers(train), resampling)
    parts = {
        "train": as_dataset(embeddings, targets),
        "validation": as_dataset(embed(model, validation, collator), class_numbers(validation)),
        "collator": stacked,
    }
    return Head(layer), parts, metadata | {"balanced_prior": (np.bincount(targets) / len(targets)).tolist()}


@torch.inference_mode()
def embed(model, dataset: Dataset, collator) -> np.ndarray:
    """(notes, width) float32: what the model's last layer is given, dropout off; in batches of notes of like length."""
    seen = []
    hook = output_layer(model).register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0]))
    order = np.argsort(-np.asarray(dataset["length"][:]), kind="stable")
    result = None
    training, _ = model.training, model.eval()
    with tqdm(total=len(order), unit=" notes", desc="embed") as bar:
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            batch = collator([dataset[int(row)] for row in rows])
            inputs = {name: value for name, value in batch.items() if name not in ("labels", "weight")}
            batch = on_device(inputs, model.device)
            model(**batch)
            vectors = of_notes(seen.pop(), batch).float().cpu().numpy()
            if result is None:
                result = np.empty((len(order), vectors.shape[1]), dtype=np.float32)
            result[rows] = vectors
            bar.update(len(rows))
    hook.remove()
    model.train(training)
    return result


def mixed(embeddings: np.ndarray, targets: np.ndarray, resampling: dict) -> tuple[np.ndarray, np.ndarray]:
    """The embeddings and class numbers, then those mixed by imbalanced-learn's SMOTE (Chawla et al. 2002) or borderline SMOTE
    (Han et al. 2005), until the classes have the shares of `resampling` and the largest as many as before.

    Neighbours are five, or as many as the smallest class has. Borderline SMOTE leaves a class as it is that has no note
    on the border to another.
    """
    from imblearn.over_sampling import SMOTE as Plain
    from imblearn.over_sampling import BorderlineSMOTE

    counts, shares = np.bincount(targets), np.asarray(resampling["shares"])
    if counts.min() < 2:
        raise UserError(
            f"rebalance.method is {resampling['method']}, but a class has a single training note, which has no other to be mixed "
            "with: raise split.min_notes_per_class, or take another method"
        )
    wanted = np.maximum(np.rint(shares / shares.max() * counts.max()).astype(int), counts)
    options = {
        "sampling_strategy": {number: int(count) for number, count in enumerate(wanted) if count > counts[number]},
        "k_neighbors": int(min(NEIGHBOURS, counts.min() - 1)),
        "random_state": resampling["seed"],
    }
    if not options["sampling_strategy"]:
        return embeddings, targets
    sampler = Plain(**options) if resampling["method"] == "smote" else BorderlineSMOTE(**options)
    embeddings, targets = sampler.fit_resample(embeddings, targets)
    return embeddings.astype(np.float32), targets


def as_dataset(embeddings: np.ndarray, targets: np.ndarray) -> Dataset:
    """What the Trainer takes: a length is asked for, and all are of one."""
    rows = {"embedding": embeddings, "target": targets, "length": np.ones(len(targets), dtype=np.int64)}
    return Dataset.from_dict(rows).with_format("numpy")


def stacked(rows: list[dict]) -> dict:
    """A batch of embeddings; each counts the same."""
    return {
        "embedding": torch.tensor(np.stack([row["embedding"] for row in rows]), dtype=torch.float32),
        "labels": torch.tensor([int(row["target"]) for row in rows]),
        "weight": torch.ones(len(rows)),
    }
