"""Models that mark characters of a note: loaded with a new head, and trained by a plain loop."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm
from transformers import AutoConfig, AutoTokenizer

from diagnosis.errors import UserError
from diagnosis.files import require
from diagnosis.training.model import longest_input, set_dropout

WARMUP = 0.1  # of the steps
IGNORED = -100  # the label of tokens that are of no word: PyTorch's cross-entropy leaves it out


def load_base(folder: Path, kind, stage: str, max_tokens: int, labels: Sequence[str] | None = None):
    """(model, tokenizer) from a base model's folder; the head is new, so seed torch before. Raises UserError where it will not do.

    `kind` is the Auto class of the task, `labels` the names of its outputs where they are classes. Dropout is off, as in finetune
    (docs/finetune.md).
    """
    require(folder, "run the stage fetch_model")
    names = (
        {"id2label": dict(enumerate(labels)), "label2id": {label: n for n, label in enumerate(labels)}}
        if labels
        else {}
    )
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, **names)
        set_dropout(config, 0.0)
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        model = kind.from_pretrained(
            folder,
            config=config,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
        )
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{folder} could not be loaded for {stage} ({reason}): fetch the model again") from None
    if not tokenizer.is_fast or tokenizer.pad_token_id is None:
        raise UserError(f"{folder} has no fast tokenizer with a padding token: choose another base")
    if (longest := longest_input(model)) is not None and max_tokens > longest:
        raise UserError(
            f"params.yaml: {stage}.max_tokens is {max_tokens}, but {folder} takes {longest} at most: lower it"
        )
    return model, tokenizer


def train(
    model,
    examples: Sequence,
    collate: Callable[[list], dict],
    *,
    stage: str,
    seed: int,
    epochs: int,
    batch_size: int,
    learning_rate: float,
) -> float:
    """Train on the examples; returns the mean loss of the last epoch. Batches are drawn anew each epoch, by the seed alone.

    `collate` makes some examples a batch on the model's device, targets included. A plain loop: a training of minutes needs neither checkpoints
    nor early stopping, which is what finetune has the Trainer for. Raises UserError where the loss is no number.
    """
    steps = epochs * math.ceil(len(examples) / batch_size)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / (WARMUP * steps + 1), (steps - step) / steps)
    )
    rng, mean = np.random.default_rng(seed), math.nan
    model.train()
    with tqdm(total=steps, unit=" steps", desc=f"{stage}: train") as bar:
        for _ in range(epochs):
            order, losses = rng.permutation(len(examples)), []
            for start in range(0, len(order), batch_size):
                batch = collate([examples[place] for place in order[start : start + batch_size]])
                loss = model(**batch).loss
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(weights, 1.0)
                optimizer.step()
                schedule.step()
                losses.append(loss.item())
                bar.update()
            mean = float(np.mean(losses))
            if not math.isfinite(mean):
                raise UserError(f"the loss is no longer a number: lower {stage}.learning_rate")
            bar.set_postfix(loss=f"{mean:.4f}")
    model.eval()
    return mean
