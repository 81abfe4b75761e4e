"""Texts as token ids in a file, read as blocks of equal length, whole words of which are masked."""

import tempfile
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch

CONTINUES, STARTS, SPECIAL = 0, 1, 2  # a word's later piece, its first, no word
IGNORED = -100  # the label of tokens that are not to be guessed: PyTorch's cross-entropy leaves it out
RANDOM, KEPT = 0.1, 0.1  # of the chosen tokens: another one, the same (Devlin et al. 2019, BERT)


class TokenFile:
    """Texts one behind the other, the tokenizer's separator between them; on disk, in files without a name that end with the process."""

    def __init__(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self._ids, self._marks = (tempfile.TemporaryFile(dir=folder) for _ in range(2))  # noqa: SIM115
        self._digest = sha256()
        self.tokens = 0

    def add(self, encoding, separator: int) -> None:
        """One text, encoded without special tokens."""
        own = np.array([-1 if word is None else word for word in encoding.word_ids])
        marks = np.where(np.diff(own, prepend=-2) != 0, STARTS, CONTINUES)
        ids = np.array([*encoding.ids, separator], "u4").tobytes()
        self._ids.write(ids)
        self._marks.write(np.array([*marks, SPECIAL], "u1").tobytes())
        self._digest.update(ids)
        self.tokens += len(marks) + 1

    @property
    def digest(self) -> str:
        return self._digest.hexdigest()

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Token ids and marks (tokens,), read from the disk as they are needed."""
        self._ids.flush()
        self._marks.flush()
        return np.memmap(self._ids, "u4", "r"), np.memmap(self._marks, "u1", "r")


class MaskedBlocks(torch.utils.data.Dataset):
    """Blocks of at most `max_tokens` tokens, special ones included: input_ids and labels (tokens,).

    Of the words `share` are chosen, all pieces of each; of their tokens 80 % become the mask, 10 % any token and 10 % stay (Devlin et
    al. 2019, with whole words as in their later models). Words are drawn anew at every reading from torch's random numbers, or with `seed` always
    the same.
    """

    def __init__(self, file: TokenFile, tokenizer, max_tokens: int, share: float, seed: int | None = None):
        backend = tokenizer.backend_tokenizer
        whole, bare = (backend.encode("a", add_special_tokens=special).ids for special in (True, False))
        place = next(n for n in range(len(whole)) if whole[n : n + len(bare)] == bare)
        self._before, self._after = whole[:place], whole[place + len(bare) :]
        self._ids, self._marks = file.arrays()
        self._room = max_tokens - len(whole) + len(bare)
        self._mask, self._vocabulary = tokenizer.mask_token_id, len(tokenizer)
        self._share, self._seed = share, seed

    def __len__(self) -> int:
        return -(-len(self._ids) // self._room)

    def __getitem__(self, block: int) -> dict[str, torch.Tensor]:
        if not 0 <= block < len(self):
            raise IndexError(block)  # what ends a loop over them
        part = slice(block * self._room, (block + 1) * self._room)
        ids, marks = torch.tensor(self._ids[part].astype("i8")), torch.tensor(self._marks[part])
        generator = None
        if self._seed is not None:
            generator = torch.Generator().manual_seed(hash((self._seed, block)) % 2**63)
        word = torch.cumsum(marks != CONTINUES, 0)  # a block may begin within a word: then from 0
        chosen = (torch.rand(len(ids) + 1, generator=generator) < self._share)[word] & (marks != SPECIAL)
        kind = torch.rand(len(ids), generator=generator)
        others = torch.randint(self._vocabulary, (len(ids),), generator=generator)
        labels = torch.where(chosen, ids, IGNORED)
        ids = torch.where(
            chosen & (kind >= RANDOM + KEPT), self._mask, torch.where(chosen & (kind < RANDOM), others, ids)
        )
        before, after = torch.tensor(self._before, dtype=torch.long), torch.tensor(self._after, dtype=torch.long)
        edge = [torch.full_like(each, IGNORED) for each in (before, after)]
        return {"input_ids": torch.cat([before, ids, after]), "labels": torch.cat([edge[0], labels, edge[1]])}


def collate(blocks: list[dict], pad_id: int) -> dict[str, torch.Tensor]:
    """Blocks as a batch; only the last of a file is shorter than the others."""
    pad = torch.nn.utils.rnn.pad_sequence
    ids = [block["input_ids"] for block in blocks]
    return {
        "input_ids": pad(ids, batch_first=True, padding_value=pad_id),
        "attention_mask": pad([torch.ones_like(own) for own in ids], batch_first=True),
        "labels": pad([block["labels"] for block in blocks], batch_first=True, padding_value=IGNORED),
    }
