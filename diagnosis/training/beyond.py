"""What lies beyond the tokens that the model reads at once: of which classes and groups, and what it costs in score."""

import numpy as np
import pandas as pd
import torch
from datasets import Dataset

from diagnosis.disclosure import sizes, tellable
from diagnosis.notes import read_stated
from diagnosis.training.dataset import column
from diagnosis.training.inference import corrected
from diagnosis.training.tokens import on_device
from diagnosis.training.validation import scores
from diagnosis.training.windows import LongNotes, pooled, window_outputs

GROUPS = ["sex", "age_band", "race", "language", "insurance", "site"]


def say_unread(dataset: Dataset, max_tokens: int) -> None:
    """Print, where notes are cut, how many and how much of them."""
    whole, unread = (column(dataset, name) for name in ("whole_length", "unread"))
    if unread.any():
        print(
            f"{(unread > 0).mean():.1%} of the training notes have more than the {max_tokens} tokens of finetune.max_tokens: "
            f"{unread.sum() / whole.sum():.1%} of all tokens are not read (finetune.long_notes: windows reads them)"
        )


def beyond(path, dataset: Dataset, classes: list[str], max_tokens: int, min_count: int) -> dict:
    """How many notes of the table at `path` (`dataset` has its rows) have more than `max_tokens` tokens, and the share of all
    tokens that lie beyond, read or not; by class and group where there are any.

    Cells of fewer than `min_count` patients are not shown, nor counts that are so small or give such a count away.
    """
    whole = column(dataset, "whole_length")
    over = np.maximum(whole - max_tokens, 0)
    found = {
        "notes": int((over > 0).sum()),
        "share": (over > 0).mean(),
        "tokens_beyond_share": over.sum() / whole.sum(),
    }
    found = {name: round(value, 6) for name, value in found.items()}
    if not found["notes"]:
        return found
    table = read_stated(path, ["note_id", "patient_id", *GROUPS]).astype(object).replace({np.nan: None})
    table["patient"] = table["patient_id"].where(table["patient_id"].notna(), table["note_id"])
    table["whole"], table["over"] = whole, over
    table["class"] = [[classes[number] for number in row] for row in dataset.data.column("target").to_pylist()]
    found["by_class"] = by_cell(table.explode("class"), "class", min_count)
    groups = {name: by_cell(table, name, min_count) for name in GROUPS if table[name].notna().any()}
    return found | ({"by_group": groups} if groups else {})


def by_cell(table: pd.DataFrame, name: str, min_count: int) -> dict:
    """By value of a column: notes with tokens beyond (a text where that is not told), and the share of tokens beyond."""
    long = table["over"] > 0
    every, more, fewer = (
        {cell: patients for cell, (_, patients) in sizes(part, (name,), part["patient"].to_numpy()).items()}
        for part in (table, table[long], table[~long])
    )
    counted = [tellable({cell: part.get(cell, 0) for cell in every}, min_count) for part in (more, fewer)]
    result = {}
    for cell in sorted(tellable(every, min_count) - {(None,)}):
        part = table[table[name] == cell[0]]
        few = f"<{min_count}" if more.get(cell, 0) < min_count else None
        result[cell[0]] = {
            "notes": int((part["over"] > 0).sum()) if all(cell in shown for shown in counted) else few,
            "tokens_beyond_share": round(float(part["over"].sum() / part["whole"].sum()), 6),
        }
    return result


@torch.inference_mode()
def cost(
    model, validation: Dataset, collator, long_notes: LongNotes, *, priors, max_tokens: int, min_count: int
) -> dict:
    """Validation scores of the notes with more than `max_tokens` tokens (`beyond`) and of the others (`within`); with windows
    also what the former get by their first window alone (`beyond_by_first_window`). Null under `min_count` notes.

    Decisions are those that predict makes. `priors` as make_trainer has them.
    """
    long = column(validation, "whole_length") > max_tokens
    if long.sum() < min_count:
        return {"beyond": None}
    model.eval()
    device = next(model.parameters()).device
    order = np.argsort(-column(validation, "length"), kind="stable")
    logits, by_first, labels = {}, {}, {}
    for start in range(0, len(order), 8):
        rows = order[start : start + 8].tolist()
        batch = collator([validation[row] for row in rows])
        truth = batch["labels"].numpy()
        inputs = on_device({name: batch[name] for name in batch if name not in ("labels", "weight")}, device)
        outputs, note = window_outputs(model, inputs, long_notes.at_once)
        first = outputs if note is None else outputs[torch.searchsorted(note, torch.arange(len(rows), device=device))]
        whole = pooled(outputs, note, collator.classes, long_notes.pooling).float().cpu().numpy()
        alone = pooled(first, None, collator.classes, long_notes.pooling).float().cpu().numpy()
        for place, row in enumerate(rows):
            logits[row], by_first[row], labels[row] = whole[place], alone[place], truth[place]

    def scored(found: dict, chosen: np.ndarray) -> dict | None:
        rows = np.flatnonzero(chosen)
        if len(rows) < min_count:
            return None
        part = corrected(np.stack([found[row] for row in rows]), *priors)
        every = scores(part, np.stack([labels[row] for row in rows]))
        return {"notes": len(rows)} | {name: round(every[name], 6) for name in ("accuracy", "macro_f1", "loss")}

    result = {"beyond": scored(logits, long), "within": scored(logits, ~long)}
    return result | ({"beyond_by_first_window": scored(by_first, long)} if long_notes.mode == "windows" else {})
