"""Which notes an epoch is made of, and in which order, where classes are drawn in portions of their own."""

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler
from transformers.trainer_pt_utils import get_length_grouped_indices


class ClassSampler(Sampler):
    """As many draws as there are notes, with replacement: a class by its share, then any note of it (Kang et al. 2020,
    Decoupling Representation and Classifier); in batches of like length, as without it.

    Drawn anew each epoch from torch's random state, which a checkpoint has, so a resumed training draws the same.
    """

    def __init__(self, targets: Sequence[int], shares: Sequence[float], lengths: Sequence[int], batch_size: int):
        counts = torch.bincount(torch.tensor(targets), minlength=len(shares))
        self.chances = (torch.tensor(shares, dtype=torch.float64) / counts)[torch.tensor(targets)]
        self.lengths, self.batch_size = lengths, batch_size

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        drawn = torch.multinomial(self.chances, len(self), replacement=True).tolist()
        order = get_length_grouped_indices([self.lengths[row] for row in drawn], self.batch_size)
        return iter([drawn[place] for place in order])
