"""Clusters of notes that are copies of one another, whole or nearly: MinHash (Broder 1997) with banded buckets.

A note is the set of its 5-word shingles. MinHash finds the pairs worth a look, the sets themselves decide: the estimate
alone would chain notes that share a template. Held in memory are 256 bytes a distinct text; the sets lie on disk. The signatures
are datasketch's, the lower 16 bits of each (Li and König 2010): where two are equal so are their halves, so no pair is lost, and a
strange pair has a chance of 1 in 65,536 a place to be looked at. The buckets are not: its index takes 7 kB a text
(benchmarks/near_duplicates.py).
"""

import hashlib
import os
import re
import tempfile
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from zlib import crc32

import numpy as np
from datasketch import MinHash

WORD = re.compile(r"[^\W_]+")
SHINGLE = 5  # words
PERMUTATIONS = 128  # the estimate of a Jaccard of 0.8 has a standard error of 0.035
SLACK = 1.5  # standard errors under the threshold from which a pair is looked at
BLOCK = 4_096  # shingles signed at once: 4 MB, also where a note has 5 MB
COMPARED = 1_000  # sets compared with one at once: 30 MB of notes of 1,600 words
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


def shingles(its_words: list[str]) -> np.ndarray:
    """Distinct hashes, sorted uint32, of the runs of five words; of fewer words, one of them all."""
    hashes = np.array([crc32(word.encode()) for word in its_words], "u8")
    size = max(1, min(SHINGLE, len(hashes)))
    count = len(hashes) - size + 1
    mixed = np.full(max(count, 0), size, "u8")
    for place in range(size if count > 0 else 0):
        mixed += (hashes[place : place + count] + np.uint64(1)) * _ODD[place]
        mixed = (mixed ^ (mixed >> np.uint64(29))) * _ODD[0]
    return np.unique((mixed >> np.uint64(32)).astype("u4"))


def bands(threshold: float) -> int:
    """Rows a band: the most with which a pair at the threshold still shares a bucket but for `MISSED`."""
    for rows in range(16, 1, -1):
        if (1 - threshold**rows) ** (PERMUTATIONS // rows) <= MISSED:
            return rows
    return 1


class Sketches:
    """What is kept of each distinct text, in order: its signature in memory, its set of shingles in a file without a name.

    The file is in `folder`, has about the size of the texts, and is gone when the process is, however it ends.
    """

    def __init__(self, seed: int, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self._unsigned = MinHash(num_perm=PERMUTATIONS, seed=seed, hashfunc=int)  # shingles come hashed
        self._signatures = bytearray()
        self._file, self._ends = tempfile.TemporaryFile(dir=folder), array("Q", [0])  # noqa: SIM115

    def __len__(self) -> int:
        return len(self._ends) - 1

    def add(self, its_words: list[str]) -> None:
        members, sketch = shingles(its_words), self._unsigned.copy()
        for start in range(0, len(members), BLOCK):
            sketch.update_batch(members[start : start + BLOCK].tolist())
        self._signatures += sketch.hashvalues.astype("u2").tobytes()
        self._file.write(members.tobytes())
        self._ends.append(self._ends[-1] + members.nbytes)

    @property
    def signatures(self) -> np.ndarray:
        """uint16 (texts, 128)."""
        return np.frombuffer(self._signatures, "u2").reshape(-1, PERMUTATIONS)

    def __getitem__(self, text: int) -> np.ndarray:
        """The set of a text, sorted uint32."""
        self._file.flush()
        start, end = self._ends[text], self._ends[text + 1]
        return np.frombuffer(os.pread(self._file.fileno(), end - start, start), "u4")


def jaccard(one: np.ndarray, others: Sequence[np.ndarray]) -> np.ndarray:
    """Jaccard indices of a set with others; each sorted, without repeats and not empty."""
    sizes = np.array([len(other) for other in others])
    members = np.concatenate(others)
    place = np.minimum(np.searchsorted(one, members), len(one) - 1)
    shared = np.add.reduceat(one[place] == members, np.cumsum(sizes) - sizes, dtype="i8")
    return shared / (len(one) + sizes - shared)


def clusters(sketches: Sketches, texts: Sequence[int], threshold: float) -> list[int]:
    """For each of `texts` (numbers in `sketches`) the place in `texts` of the first of its cluster.

    Texts whose Jaccard index is at least `threshold` are joined, and so is what they join. Compared are those that
    agree in a whole band of their signatures; `MISSED` and `SLACK` say how many at the very threshold may escape.
    """
    parent = list(range(len(texts)))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    rows, signatures, texts = bands(threshold), sketches.signatures, np.asarray(texts)
    enough = PERMUTATIONS * (threshold - SLACK * (threshold * (1 - threshold) / PERMUTATIONS) ** 0.5)
    for start in range(0, PERMUTATIONS - rows + 1, rows):
        for members in _buckets(signatures[texts, start : start + rows]):
            # One member against all that are not yet in its cluster: a bucket of n copies costs n comparisons, not n².
            its_signatures = signatures[texts[members]]
            roots = np.array([root(row) for row in members])
            for place in range(len(members) - 1):
                apart = place + 1 + np.flatnonzero(roots[place + 1 :] != roots[place])
                agree = its_signatures[apart] == its_signatures[place]
                earlier = (
                    agree[:, :start].reshape(len(apart), start // rows, rows).all(axis=2).any(axis=1)
                )  # compared then
                likely = apart[(agree.sum(axis=1) >= enough) & ~earlier]
                for first in range(0, len(likely), COMPARED):
                    block = likely[first : first + COMPARED]
                    sets = [sketches[texts[members[other]]] for other in block]
                    alike = jaccard(sketches[texts[members[place]]], sets) >= threshold
                    for other in block[alike]:
                        one, two = sorted((int(roots[place]), int(roots[other])))
                        parent[two] = one
                        roots[roots == two] = one
    return [root(row) for row in range(len(texts))]


def across(sketches: Sketches, homes: np.ndarray, threshold: float) -> np.ndarray:
    """For each text the corpora that hold it or a text whose Jaccard index with it is at least `threshold`.

    Corpora are bits (uint64): `homes` says which hold each text. Looked at are pairs that share a bucket and tell one of them of a
    corpus that it has not been found in; here nothing is joined through others.
    """
    rows, signatures, found = bands(threshold), sketches.signatures, homes.copy()
    enough = PERMUTATIONS * (threshold - SLACK * (threshold * (1 - threshold) / PERMUTATIONS) ** 0.5)
    for start in range(0, PERMUTATIONS - rows + 1, rows):
        for members in _buckets(signatures[:, start : start + rows]):
            if (homes[members] == homes[members[0]]).all():
                continue  # a template of one corpus tells nothing, and may have n² pairs
            for place, one in enumerate(members[:-1]):
                others = members[place + 1 :]
                others = others[(homes[others] & ~found[one] | homes[one] & ~found[others]) > 0]
                likely = others[(signatures[others] == signatures[one]).sum(axis=1) >= enough]
                for first in range(0, len(likely), COMPARED):
                    block = likely[first : first + COMPARED]
                    alike = block[jaccard(sketches[one], [sketches[other] for other in block]) >= threshold]
                    found[alike] |= homes[one]
                    found[one] |= np.bitwise_or.reduce(homes[alike])
    return found


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


def named_clusters(note_ids: Sequence[str], texts: Sequence[int], sketches: Sketches, threshold: float) -> list[str]:
    """The cluster of each note, named by the smallest note_id in it; a note alone has its own.

    `texts` are numbers in `sketches`. With a threshold of 1 only equal texts are joined, and the sketches are not used.
    """
    group = {text: text for text in texts}
    if threshold < 1:
        used = sorted(group)
        group = {text: used[first] for text, first in zip(used, clusters(sketches, used, threshold), strict=True)}
    name: dict[int, str] = {}
    for note_id, text in zip(note_ids, texts, strict=True):
        name[group[text]] = min(name.get(group[text], note_id), note_id)
    return [name[group[text]] for text in texts]
