"""Near-duplicates by our banded buckets and by datasketch's own index, MinHashLSH, on the same texts; docs/data.md.

    python -m benchmarks.near_duplicates    # two minutes on one core; Linux, for its figures of memory

The job of `ingest`: distinct texts in, clusters out whose 5-word shingles have a Jaccard index of 0.8. Both have datasketch's signatures
over the same hashes, the same bands, and look at the sets themselves before they join two texts. The truth is the index of all
pairs, from shingles that are not hashed. Every run is a process of its own; median of 3, processor seconds.
"""

import itertools
import os
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from datasketch import MinHash, MinHashLSH
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

from diagnosis.corpora.corpus import Tally
from diagnosis.corpora.mtsamples import open_mtsamples
from diagnosis.corpora.near_duplicates import (
    PERMUTATIONS,
    SHINGLE,
    Sketches,
    bands,
    clusters,
    fingerprint,
    jaccard,
    shingles,
    words,
)
from diagnosis.errors import run
from diagnosis.synthetic.cohort import draw_cohort, patients_of

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("DIAGNOSIS_DATA", ROOT.parent / "shared" / "data"))
THRESHOLD, SEED, REPEATS = 0.8, 7, 3


def main():
    print("| texts | buckets | processor seconds | MB at the peak | pairs found | joined without cause |")
    print("|---|---|---|---|---|---|")
    for name, make in CORPORA.items():
        notes = make()
        pairs, component = (None, None) if name.startswith("random") else truth(notes)
        results = {method: [] for method in METHODS}
        for _, method in itertools.product(range(REPEATS), METHODS):  # in turn, so that a busy minute meets all
            results[method].append(alone(method, notes))
        for method, times in results.items():
            found = times[0][2]
            seconds, megabytes = (statistics.median(each[column] for each in times) for column in (0, 1))
            right = "–" if pairs is None else f"{(found[pairs[0]] == found[pairs[1]]).sum()} of {len(pairs[0])}"
            wrong = joined(found) - (0 if component is None else joined(found, component))
            print(f"| {name} ({len(notes):,}) | {method} | {seconds:.1f} | {megabytes:.0f} | {right} | {wrong} |")


# ---------------------------------------------------------------- the texts, as words


def mtsamples() -> list[list[str]]:
    return distinct(row["text"] for row in open_mtsamples(DATA / "mtsamples").rows(Tally()))


def invented() -> list[list[str]]:
    """5,000 discharge notes of the embedded corpus' making, the 150 of people registered twice among them."""
    model = {"noise_rate": 0.05, "poorer_group": "Medicaid", "poorer_rate": 0.7}
    cohort = draw_cohort(SEED, patients=3_750, notes=5_000, exact_duplicate_rate=0.0, near_duplicate_rate=0.03, **model)
    rates = {"copy_forward_rate": 0.3, "typo_rate": 0.01, "abbreviation_rate": 0.3, "phi_rate": 0.5, "answer_rate": 0.9}
    return distinct(stay.note.text for patient in patients_of(cohort, **rates) for stay in patient.stays)


def unlike() -> list[list[str]]:
    """Texts of 60 words with nothing in common: what is held grows with their number alone."""
    draw, vocabulary = random.Random(SEED), [f"w{number}" for number in range(5_000)]
    return [draw.choices(vocabulary, k=60) for _ in range(50_000)]


def distinct(texts) -> list[list[str]]:
    return list({fingerprint(its_words): its_words for its_words in map(words, texts)}.values())


CORPORA = {"mtsamples": mtsamples, "invented discharge notes": invented, "random texts of 60 words": unlike}

# ---------------------------------------------------------------- the ways to cluster them: a number of the cluster by text


def ours(notes: list[list[str]]) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        sketches = Sketches(SEED, Path(folder))
        for its_words in notes:
            sketches.add(its_words)
        return np.array(clusters(sketches, range(len(notes)), THRESHOLD))


def its_index(notes: list[list[str]]) -> np.ndarray:
    rows = bands(THRESHOLD)
    unsigned = MinHash(num_perm=PERMUTATIONS, seed=SEED, hashfunc=int)
    index = MinHashLSH(num_perm=PERMUTATIONS, params=(PERMUTATIONS // rows, rows))
    sets, pairs = [], []
    for text, its_words in enumerate(notes):
        sets.append(shingles(its_words))
        sketch = unsigned.copy()
        sketch.update_batch(sets[text].tolist())
        if others := index.query(sketch):
            alike = jaccard(sets[text], [sets[other] for other in others]) >= THRESHOLD
            pairs += [(other, text) for other, joins in zip(others, alike, strict=True) if joins]
        index.insert(text, sketch, check_duplication=False)
    return components(len(notes), np.array(pairs, int).reshape(-1, 2).T)


METHODS = {"ours": ours, "MinHashLSH": its_index}

# ---------------------------------------------------------------- measuring


def alone(method: str, notes: list[list[str]]) -> tuple[float, float, np.ndarray]:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(measured, method, notes).result()


def measured(method: str, notes: list[list[str]]) -> tuple[float, float, np.ndarray]:
    """Processor seconds, megabytes at the peak above what the texts and the modules take, and the clusters."""
    METHODS[method](notes[:10])  # what is loaded on the first use
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before, start = memory("VmRSS"), time.process_time()
    found = METHODS[method](notes)
    return time.process_time() - start, memory("VmHWM") - before, found


def memory(name: str) -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1024


def truth(notes: list[list[str]]) -> tuple[np.ndarray, np.ndarray]:
    """The pairs with the Jaccard index (2, n), and each text's cluster, from all pairs of texts."""
    numbers: dict[tuple, int] = {}
    sets = [{numbers.setdefault(run, len(numbers)) for run in runs(its_words)} for its_words in notes]
    sizes = np.array([len(members) for members in sets])
    where = np.repeat(np.arange(len(sets)), sizes), np.fromiter(itertools.chain.from_iterable(sets), int)
    matrix = csr_array((np.ones(sizes.sum(), "i4"), where))
    found = []
    for start in range(0, len(sets), 500):  # a block of rows at a time: templates share shingles with all
        shared = coo_array(matrix[start : start + 500] @ matrix.T)
        one, two = shared.coords[0] + start, shared.coords[1]
        alike = (one < two) & (shared.data / (sizes[one] + sizes[two] - shared.data) >= THRESHOLD)
        found.append(np.stack([one[alike], two[alike]]))
    pairs = np.concatenate(found, axis=1)
    return pairs, components(len(notes), pairs)


def runs(its_words: list[str]) -> Iterator[tuple]:
    return (tuple(its_words[place : place + SHINGLE]) for place in range(max(1, len(its_words) - SHINGLE + 1)))


def components(count: int, pairs: np.ndarray) -> np.ndarray:
    """The number of each text's component in the graph of the pairs (2, n)."""
    graph = coo_array((np.ones(pairs.shape[1]), tuple(pairs)), shape=(count, count))
    return connected_components(graph, directed=False)[1]


def joined(*labels: np.ndarray) -> int:
    """Pairs of texts that are in one cluster by all the `labels`."""
    sizes = np.unique(np.stack(labels), axis=1, return_counts=True)[1]
    return int((sizes * (sizes - 1) // 2).sum())


if __name__ == "__main__":
    run(main)
