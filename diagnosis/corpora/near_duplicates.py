"""Clusters of notes that are copies of one another, whole or nearly: MinHash (Broder 1997) with banded buckets.

A note is the set of its 5-word shingles. Held in memory are 512 bytes a distinct text, not the texts.
"""

import hashlib
import re
from collections.abc import Iterator
from zlib import crc32

import numpy as np

WORD = re.compile(r"[^\W_]+")
SHINGLE = 5  # words
PERMUTATIONS = 128  # the estimate of a Jaccard of 0.8 has a standard error of 0.035
BLOCK = 4_096  # shingles hashed at once: 4 MB, also where a note has 5 MB
MISSED = 0.005  # the share of pairs right at the threshold that may share no bucket
_ODD = np.array(
    [0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93, 0xA0761D6478BD642F], "u8"
)


def words(text: str, text_pair: str | None = None) -> list[str]:
    """Lower-cased alphanumeric words, those of the pair after a mark; a text without any is one word."""
    found = WORD.findall(text.lower()) or [text.strip()]
    return found if text_pair is None else [*found, "|", *words(text_pair)]


def fingerprint(its_words: list[str]) -> bytes:
    """16 bytes that two texts share if their words are the same."""
    return hashlib.blake2b(" ".join(its_words).encode(), digest_size=16).digest()


class MinHash:
    """Signatures of word lists: uint32 (128,). Two signatures agree in a place with the probability of the Jaccard index."""

    def __init__(self, seed: int):
        draws = np.random.Generator(np.random.PCG64(seed)).integers(0, 2**64, size=(2, PERMUTATIONS, 1), dtype="u8")
        self._factor, self._shift = draws[0] | np.uint64(1), draws[1]

    def signature(self, its_words: list[str]) -> np.ndarray:
        hashes = shingles(its_words)
        lowest = np.full(PERMUTATIONS, np.iinfo("u8").max, "u8")
        for start in range(0, len(hashes), BLOCK):
            block = hashes[None, start : start + BLOCK] * self._factor + self._shift
            np.minimum(lowest, block.min(axis=1), out=lowest)
        return (lowest >> np.uint64(32)).astype("u4")


def shingles(its_words: list[str]) -> np.ndarray:
    """Distinct 64-bit hashes, sorted, of the runs of five words; of fewer words, one of them all."""
    hashes = np.array([crc32(word.encode()) for word in its_words], "u8")
    size = max(1, min(SHINGLE, len(hashes)))
    count = len(hashes) - size + 1
    mixed = np.full(max(count, 0), size, "u8")
    for place in range(size if count > 0 else 0):
        mixed += (hashes[place : place + count] + np.uint64(1)) * _ODD[place]
        mixed = (mixed ^ (mixed >> np.uint64(29))) * _ODD[0]
    return np.unique(mixed ^ (mixed >> np.uint64(32)))


def bands(threshold: float) -> int:
    """Rows a band: the most with which a pair at the threshold still shares a bucket but for `MISSED`."""
    for rows in range(16, 1, -1):
        if (1 - threshold**rows) ** (PERMUTATIONS // rows) <= MISSED:
            return rows
    return 1


def clusters(signatures: np.ndarray, threshold: float) -> list[int]:
    """For each row of `signatures` (n, 128) the first row of its cluster.

    Rows whose estimated Jaccard index is at least `threshold` are joined, and so is what they join. Candidates are
    rows that agree in a whole band of their signatures.
    """
    parent = list(range(len(signatures)))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    rows = bands(threshold)
    needed = threshold * PERMUTATIONS - 1e-9
    for start in range(0, PERMUTATIONS - rows + 1, rows):
        for members in _buckets(signatures[:, start : start + rows]):
            # One member against all that are not yet in its cluster: a bucket of n copies costs n comparisons, not n².
            its_signatures = signatures[members]
            roots = np.array([root(row) for row in members])
            for place in range(len(members) - 1):
                apart = place + 1 + np.flatnonzero(roots[place + 1 :] != roots[place])
                agreeing = (its_signatures[apart] == its_signatures[place]).sum(axis=1)
                for other in apart[agreeing >= needed]:
                    one, two = sorted((int(roots[place]), int(roots[other])))
                    parent[two] = one
                    roots[roots == two] = one
    return [root(row) for row in range(len(signatures))]


def _buckets(band: np.ndarray) -> Iterator[np.ndarray]:
    """Rows that agree in the whole band (n, rows), two or more at a time; a hash may rarely bring in a stranger."""
    key = np.zeros(len(band), "u8")
    for column in band.T:
        key = (key ^ column) * _ODD[0]
        key ^= key >> np.uint64(32)
    order = np.argsort(key, kind="stable")
    starts = np.flatnonzero(np.diff(key[order], prepend=~key[order[:1]]))
    for start, end in zip(starts, [*starts[1:], len(order)], strict=True):
        if end - start > 1:
            yield order[start:end]


def named_clusters(note_ids: list[str], texts: list[int], signatures: np.ndarray, threshold: float) -> list[str]:
    """The cluster of each note, named by the smallest note_id in it; a note alone has its own.

    `texts` are row numbers of `signatures` (one a distinct text). With a threshold of 1 only equal texts are joined, and no
    signatures are needed.
    """
    group = {text: text for text in texts}
    if threshold < 1:
        used = sorted(group)
        group = {text: used[first] for text, first in zip(used, clusters(signatures[used], threshold), strict=True)}
    name: dict[int, str] = {}
    for note_id, text in zip(note_ids, texts, strict=True):
        name[group[text]] = min(name.get(group[text], note_id), note_id)
    return [name[group[text]] for text in texts]
