"""The fine-tuned model at work: logits note by note, corrected for a moved class prior, as probabilities."""

from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from diagnosis.errors import UserError
from diagnosis.files import read_json, require
from diagnosis.training.adapters import BASE, FILE, load_adapter
from diagnosis.training.tokens import pad, takes_types, tokenise

CARD = "diagnosis.json"  # what the model was trained for, beside its weights
PLAIN = ("config.json", "model.safetensors", "tokenizer.json")


def load_finetuned(folder: Path, device: torch.device):
    """(model, tokenizer, card) from the folder that finetune wrote; raises UserError where a file is missing."""
    require(folder, "run `dvc repro finetune`")
    card = read_json(folder / CARD)
    adapter = card.get("adapter")
    plain = folder / BASE if adapter else folder
    for path in (*(plain / name for name in PLAIN), *([folder / FILE] if adapter else [])):
        require(path, "the model is not whole; run `dvc repro --force finetune`")
    try:
        tokenizer = AutoTokenizer.from_pretrained(plain, trust_remote_code=False)
        model = AutoModelForSequenceClassification.from_pretrained(
            plain, trust_remote_code=False, use_safetensors=True, dtype=torch.float32
        )
        if adapter:
            model = load_adapter(model, folder, **adapter)
    except Exception as error:
        raise UserError(
            f"{folder} could not be loaded ({type(error).__name__}): run `dvc repro --force finetune`"
        ) from None
    return model.to(device).eval(), tokenizer, card


@torch.inference_mode()
def note_logits(
    model,
    tokenizer,
    texts: list[str],
    pairs: list[str | None] | None,
    *,
    max_tokens: int,
    batch_size: int,
    progress=lambda notes: None,
) -> np.ndarray:
    """Logits (n, classes), float32, in the order of `texts`. Batches are of notes of like length, so little is padding.

    `progress` is called with the number of notes after each batch.
    """
    ids, types, _ = tokenise(tokenizer, texts, pairs, max_tokens)
    if not takes_types(model):
        types = None
    order = sorted(range(len(ids)), key=lambda row: -len(ids[row]))  # longest first: memory runs out early or never
    logits = np.empty((len(ids), model.config.num_labels), dtype=np.float32)
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        batch = pad([ids[row] for row in rows], types and [types[row] for row in rows], tokenizer.pad_token_id)
        batch = {name: tensor.to(model.device) for name, tensor in batch.items()}
        logits[rows] = model(**batch).logits.float().cpu().numpy()
        progress(len(rows))
    return logits


def corrected(logits: np.ndarray, train_prior: list[float] | None, balanced_prior: list[float] | None) -> np.ndarray:
    """Logits as if the model had been trained at the train shard's class shares, not the rebalanced ones.

    Adds log(train_prior) - log(balanced_prior) (Saerens et al. 2002). Multi-label has no such priors: unchanged.
    """
    if train_prior is None or balanced_prior is None:
        return logits
    return (logits + np.log(train_prior) - np.log(balanced_prior)).astype(np.float32)


def to_probabilities(logits: np.ndarray, task: str) -> np.ndarray:
    """Softmax (single_label) or sigmoid (multi_label) of logits (n, classes), float32."""
    logits = torch.from_numpy(logits).double()
    probabilities = logits.softmax(dim=1) if task == "single_label" else logits.sigmoid()
    return probabilities.float().numpy()
