"""Notes as token ids: cut at the end, counted where cut, padded batch by batch."""

import numpy as np
import torch


def tokenise(tokenizer, texts: list[str], pairs: list[str | None] | None, max_tokens: int):
    """Token ids of each text (with its pair where `pairs` is given), special tokens included, at most `max_tokens`.

    Of a longer note the end is left out; of a longer pair, the end of whichever text is the longer.
    Returns (ids, types, lengths): int32 arrays a note; uint8 segment numbers a note, or None without pairs; and the
    lengths (n,) that the notes would have uncut.
    """
    backend = tokenizer.backend_tokenizer
    backend.no_padding()
    backend.no_truncation()
    first = backend.encode_batch_fast(texts, add_special_tokens=False)
    second = (
        [None] * len(texts)
        if pairs is None
        else backend.encode_batch_fast([pair or "" for pair in pairs], add_special_tokens=False)
    )
    special = backend.num_special_tokens_to_add(pairs is not None)
    lengths = np.array(
        [len(a) + (len(b) if b is not None else 0) + special for a, b in zip(first, second, strict=True)]
    )
    backend.enable_truncation(max_tokens, strategy="longest_first", direction="right")
    whole = [backend.post_process(a, b, add_special_tokens=True) for a, b in zip(first, second, strict=True)]
    backend.no_truncation()
    ids = [np.array(encoding.ids, dtype=np.int32) for encoding in whole]
    types = None if pairs is None else [np.array(encoding.type_ids, dtype=np.uint8) for encoding in whole]
    return ids, types, lengths


def pad(ids: list[np.ndarray], types: list[np.ndarray] | None, pad_id: int, multiple: int = 1) -> dict:
    """A batch for the model, as long as its longest note, rounded up to `multiple`: tensors (notes, tokens)."""
    length = -(-max(map(len, ids)) // multiple) * multiple
    batch = {
        "input_ids": torch.full((len(ids), length), pad_id),
        "attention_mask": torch.zeros((len(ids), length), dtype=torch.long),
    }
    if types is not None:
        batch["token_type_ids"] = torch.zeros((len(ids), length), dtype=torch.long)
    for row, note in enumerate(ids):
        batch["input_ids"][row, : len(note)] = torch.tensor(note)  # not from_numpy: a dataset's arrays are read-only
        batch["attention_mask"][row, : len(note)] = 1
        if types is not None:
            batch["token_type_ids"][row, : len(note)] = torch.tensor(types[row])
    return batch


def on_device(batch: dict, device: torch.device) -> dict:
    """The batch with its tensors on the device; what is no tensor (the longest note of an unpadded batch) stays."""
    return {name: value.to(device) if torch.is_tensor(value) else value for name, value in batch.items()}


def takes_types(model) -> bool:
    """Whether the model tells the two texts of a pair apart by segment numbers (BERT does, RoBERTa does not)."""
    return getattr(model.config, "type_vocab_size", 0) > 1
