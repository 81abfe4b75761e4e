"""A token classifier made from a base model: trained by a plain loop, its threshold set for recall."""

import math
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm
from transformers import AutoConfig, AutoModelForTokenClassification, AutoTokenizer

from diagnosis.errors import UserError
from diagnosis.files import require
from diagnosis.phi.spans import Span
from diagnosis.phi_model.inference import LABELS, batch_of
from diagnosis.phi_model.windows import Window, windows, words_of
from diagnosis.training.model import longest_input, set_dropout

WARMUP = 0.1  # of the steps
IGNORED = -100  # the label of tokens that are of no word: PyTorch's cross-entropy leaves it out


def load_tagger(folder: Path, max_tokens: int):
    """(model, tokenizer) from a base model's folder; the head is new, so seed torch before. Raises UserError where it will not do.

    Word embeddings stay as they are: names that training has not met keep their place beside those it has, and half of
    MiniLM's weights need no gradient. Dropout is off, as in finetune (docs/finetune.md).
    """
    require(folder, "run the stage fetch_model")
    try:
        config = AutoConfig.from_pretrained(
            folder,
            trust_remote_code=False,
            id2label=dict(enumerate(LABELS)),
            label2id={label: number for number, label in enumerate(LABELS)},
        )
        set_dropout(config, 0.0)
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        model = AutoModelForTokenClassification.from_pretrained(
            folder,
            config=config,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
        )
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{folder} could not be loaded as a token classifier ({reason}): fetch the model again"
        ) from None
    if not tokenizer.is_fast or tokenizer.pad_token_id is None:
        raise UserError(f"{folder} has no fast tokenizer with a padding token: choose another base")
    if (longest := longest_input(model)) is not None and max_tokens > longest:
        raise UserError(
            f"params.yaml: finetune_detector.max_tokens is {max_tokens}, but {folder} takes {longest} at most: lower it"
        )
    model.get_input_embeddings().requires_grad_(False)
    return model, tokenizer


def tags(words: list[tuple[int, int]], spans: list[Span]) -> np.ndarray:
    """(words,) the number in LABELS of each word's kind; a word that a span touches is of it."""
    result = np.zeros(len(words), dtype=np.int64)
    for span in spans:
        for number, (start, end) in enumerate(words):
            if start < span.end and end > span.start:
                result[number] = LABELS.index(span.kind)
    return result


def tagged_windows(tokenizer, texts: list[tuple[str, list[Span]]], max_tokens: int) -> list[tuple[Window, np.ndarray]]:
    """Every window of the texts with the label of each token."""
    result = []
    for text, spans in tqdm(texts, unit=" texts", desc="finetune_detector: tokenise"):
        words = words_of(text)
        if not words:
            continue
        labels = np.append(tags(words, spans), IGNORED)  # the last one is that of word -1
        result += [(window, labels[window.words]) for window in windows(tokenizer, text, words, max_tokens=max_tokens)]
    return result


def train(
    model,
    tokenizer,
    examples: list[tuple[Window, np.ndarray]],
    *,
    seed: int,
    epochs: int,
    batch_size: int,
    learning_rate: float,
) -> float:
    """Train on the windows; returns the mean loss of the last epoch. Batches are drawn anew each epoch, by the seed alone.

    A plain loop: a training of minutes needs neither checkpoints nor early stopping, which is what finetune has the Trainer for.
    Raises UserError where the loss is no number.
    """
    steps = epochs * math.ceil(len(examples) / batch_size)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / (WARMUP * steps + 1), (steps - step) / steps)
    )
    rng, mean = np.random.default_rng(seed), math.nan
    model.train()
    with tqdm(total=steps, unit=" steps", desc="finetune_detector: train") as bar:
        for _ in range(epochs):
            order, losses = rng.permutation(len(examples)), []
            for start in range(0, len(order), batch_size):
                some = [examples[place] for place in order[start : start + batch_size]]
                batch = batch_of([window for window, _ in some], model, tokenizer)
                labels = torch.full(batch["input_ids"].shape, IGNORED)
                for row, (_, own) in enumerate(some):
                    labels[row, : len(own)] = torch.from_numpy(own)
                loss = model(**batch, labels=labels.to(model.device)).loss
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(weights, 1.0)
                optimizer.step()
                schedule.step()
                losses.append(loss.item())
                bar.update()
            mean = float(np.mean(losses))
            if not math.isfinite(mean):
                raise UserError("the loss is no longer a number: lower finetune_detector.learning_rate")
            bar.set_postfix(loss=f"{mean:.4f}")
    model.eval()
    return mean


def threshold_for(scores: np.ndarray, min_recall: float) -> float:
    """The highest threshold at which `min_recall` of the scores, each of a word that is an identifier, reach it."""
    missed = math.floor((1 - min_recall) * len(scores) + 1e-9)
    return float(np.sort(scores)[min(missed, len(scores) - 1)])
