"""Which notes are explained, and of which classes."""

import hashlib

import numpy as np

from diagnosis.scores.shards import Shard


def by_hash(shard: Shard, seed: int) -> list[int]:
    """The shard's notes in an order that follows from seed and note_id alone, not from what the model made of them."""
    keys = [hashlib.sha256(f"{seed}:{note_id}".encode()).digest() for note_id in shard.note_ids]
    return sorted(range(len(keys)), key=keys.__getitem__)


def worst(shard: Shard, count: int) -> list[int]:
    """The notes with the largest loss (cross-entropy, of several labels their mean), the first of equals."""
    chance = np.where(shard.truth, shard.probabilities, 1 - shard.probabilities)
    losses = -np.log(np.clip(chance, 1e-12, 1))
    loss = np.where(shard.truth, losses, 0).sum(axis=1) if shard.single else losses.mean(axis=1)
    return np.argsort(-loss, kind="stable")[:count].tolist()


def classes_of(shard: Shard, note: int) -> list[int]:
    """The classes that a note's explanation is of: the likeliest, then those decided and those true."""
    likeliest = int(shard.probabilities[note].argmax())
    others = np.flatnonzero(shard.decided[note] | shard.truth[note]).tolist()
    return [likeliest, *(label for label in others if label != likeliest)]
