"""The text that a model is adapted with: literature by its readers, notes of the train shard, and nothing that it will be judged on."""

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from pathlib import Path

import numpy as np

from diagnosis.corpora.cord19 import open_cord19
from diagnosis.corpora.corpus import Corpus, Tally
from diagnosis.corpora.near_duplicates import shingles, words
from diagnosis.corpora.pmc import open_pmc
from diagnosis.corpora.pubmed import open_pubmed
from diagnosis.errors import UserError
from diagnosis.files import require
from diagnosis.notes import read_notes

READERS = {"cord19": open_cord19, "pmc": open_pmc, "pubmed": open_pubmed}
OURS = ("README.md", ".gitignore")


def open_literature(folder: Path) -> dict[str, Corpus]:
    """The corpora in a folder, each in a folder of its name; raises UserError for whatever else lies there."""
    found = {}
    for path in sorted(require(folder, "make it, see docs/adapt.md").iterdir()):
        if path.name in OURS or path.suffix == ".dvc":
            continue
        if path.name not in READERS or not path.is_dir():
            raise UserError(f"{path}: only folders named {', '.join(READERS)} can lie here: see docs/adapt.md")
        found[path.name] = READERS[path.name](path)
    return found


def literature(corpora: dict[str, Corpus], tallies: dict[str, Tally]) -> Iterator[tuple[str, str]]:
    """(corpus, text) of every article."""
    for name, corpus in corpora.items():
        for row in corpus.rows(tallies[name]):
            yield name, row["text"]


def texts_of(shards: Iterable[Path]) -> Iterator[str]:
    """The texts of note tables, each of a pair by itself."""
    for path in shards:
        for batch in read_notes(path, ["text", "text_pair"]):
            for note in batch:
                yield from filter(None, (note["text"], note["text_pair"]))


class HeldOut:
    """Texts that must not be trained on: `in_text` says whether one of them stands in a text, whole or nearly.

    It does where `share` of its distinct 5-word shingles do: unlike the Jaccard index, that finds an abstract in its article. Held in
    memory are eight bytes a shingle.
    """

    def __init__(self, texts: Iterable[str], share: float):
        sets = [shingles(words(text)) for text in texts]
        owners = np.repeat(np.arange(len(sets), dtype="u4"), [len(own) for own in sets])
        members = np.concatenate([*sets, np.empty(0, "u4")])
        order = np.argsort(members, kind="stable")
        self._members, self._owners = members[order], owners[order]
        self._enough = np.array([max(1, np.ceil(share * len(own))) for own in sets])

    def in_text(self, its_words: list[str]) -> bool:
        own = shingles(its_words)
        first, last = np.searchsorted(self._members, own, "left"), np.searchsorted(self._members, own, "right")
        hits = np.flatnonzero(last > first)
        if not len(hits):
            return False
        owners = np.concatenate([self._owners[first[hit] : last[hit]] for hit in hits])
        return bool((np.bincount(owners, minlength=len(self._enough)) >= self._enough).any())


def dealt(fingerprint: bytes, share: float) -> str:
    """train or held_out, by the fingerprint of a text's words alone; `share` are held out."""
    number = int.from_bytes(blake2b(fingerprint, digest_size=8).digest(), "big") / 2**64
    return "held_out" if number < share else "train"
