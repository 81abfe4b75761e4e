"""The fine-tuned model at work: logits note by note, corrected for a moved class prior, as probabilities."""

from pathlib import Path

import numpy as np
import torch
from transformers import AutoTokenizer

from diagnosis.errors import UserError
from diagnosis.files import read_json, require
from diagnosis.training.adapters import BASE, FILE, load_adapter
from diagnosis.training.heads import load_classifier
from diagnosis.training.tokens import on_device, pad, takes_types
from diagnosis.training.windows import LongNotes, in_windows, pooled, tokenise_notes

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
        model = load_classifier(plain, card)
        if adapter:
            model = load_adapter(model, folder, **adapter)
    except Exception as error:
        raise UserError(
            f"{folder} could not be loaded ({type(error).__name__}): run `dvc repro --force finetune`"
        ) from None
    return model.to(device).eval(), tokenizer, card


def check_preprocessing(card: dict, metadata: dict, path: Path, folder: Path) -> None:
    """Raises UserError, naming the params, where notes were de-identified or cleaned otherwise than those that were learned."""

    def flat(stated: dict) -> dict:
        return {f"{stage}.{name}": value for stage, params in stated.items() for name, value in params.items()}

    learned, given = (flat(source.get("preprocessing") or {}) for source in (card, metadata))
    if names := sorted(name for name in learned | given if learned.get(name) != given.get(name)):
        raise UserError(
            f"{path} was prepared otherwise than the notes that {folder} learned from ({', '.join(names[:5])} "
            f"{'differ' if len(names) > 1 else 'differs'}): run `dvc repro`, or set these params as they were"
        )


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
    long_notes: LongNotes = LongNotes(),  # noqa: B008 - it is immutable
) -> np.ndarray:
    """Logits (n, classes), float32, in the order of `texts`. Batches are of notes of like length, so little is padding; of
    windows, where `long_notes` makes such of notes.

    `progress` is called with the number of notes after each batch.
    """
    tokens = tokenise_notes(tokenizer, texts, pairs, max_tokens, long_notes.mode)
    ids, types, note = tokens.ids, tokens.types if takes_types(model) else None, range(len(texts))
    if tokens.windows is not None:
        ids, types, note = in_windows(ids, types, tokens.windows)
    order = sorted(range(len(ids)), key=lambda row: -len(ids[row]))  # longest first: memory runs out early or never
    outputs, begun = [None] * len(ids), set()
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        batch = pad([ids[row] for row in rows], types and [types[row] for row in rows], tokenizer.pad_token_id)
        batch = on_device(batch, model.device)
        for row, output in zip(rows, model(**batch).logits.float().cpu(), strict=True):
            outputs[row] = output
        new = {note[row] for row in rows} - begun
        begun |= new
        progress(len(new))
    classes, pooling = model.config.num_labels, long_notes.pooling
    if tokens.windows is None:
        return pooled(torch.stack(outputs), None, classes, pooling).numpy()
    # Note by note: a table of all notes by the windows of the longest would be mostly empty.
    rest, logits = iter(outputs), []
    for windows in tokens.windows:
        own = torch.stack([next(rest) for _ in windows])
        logits.append(pooled(own, torch.zeros(len(own), dtype=torch.long), classes, pooling))
    return torch.cat(logits).numpy()


def corrected(
    logits: np.ndarray,
    train_prior: list[float] | None,
    balanced_prior: list[float] | None,
    task: str = "single_label",
) -> np.ndarray:
    """Logits as if the model had been trained at the train shard's class shares, not at those that its logits carry.

    Adds log(train_prior) - log(balanced_prior) (Saerens et al. 2002); with several labels the same of the log odds, label by
    label. Unchanged where the priors are null.
    """
    if train_prior is None or balanced_prior is None:
        return logits
    scale = np.log if task == "single_label" else log_odds
    return (logits + scale(train_prior) - scale(balanced_prior)).astype(np.float32)


def log_odds(shares: list[float]) -> np.ndarray:
    """log(p / (1 - p)), of shares kept a millionth away from 0 and 1."""
    shares = np.clip(np.asarray(shares, dtype=np.float64), 1e-6, 1 - 1e-6)
    return np.log(shares) - np.log1p(-shares)


def to_probabilities(logits: np.ndarray, task: str) -> np.ndarray:
    """Softmax (single_label) or sigmoid (multi_label) of logits (n, classes), float32."""
    logits = torch.from_numpy(logits).double()
    probabilities = logits.softmax(dim=1) if task == "single_label" else logits.sigmoid()
    return probabilities.float().numpy()
