"""What a reader hands to `ingest`: rows of the note table that can be read again, and the terms they come under."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from diagnosis.corpora.coverage import Coverage

ANNOTATIONS = "annotations.csv"  # in a corpus' folder: spans for finetune_spans, as note_id, start, end, kind


@dataclass
class Tally:
    """What a reader counts on the way: source rows left out by reason, values of groups that it could not place, and what
    became of diagnosis codes."""

    skipped: Counter = field(default_factory=Counter)
    groups: Counter = field(default_factory=Counter)
    codes: Counter = field(default_factory=Counter)


class Corpus(NamedTuple):
    """A corpus ready to be read.

    `rows(tally)` yields dicts with the note table's columns (labels sorted and unique) and yields the same again each
    time it is called; those of an `unlabelled` corpus have no labels. `data_use` states corpus, licence and public, and whatever
    else of DataUse the source says. `document_types` are classes that name a kind of document and no diagnosis. `gold` is a CSV
    with note_id, start, end, kind, origin of the corpus' known identifiers, where it has one; `annotations` likewise are spans for
    finetune_spans, and the name of the column that says what each is. `titles` are the names of
    classes that are codes, for finding where a note says its diagnosis. `coverage` measures what is coded and stands in no note.
    """

    rows: Callable[[Tally], Iterator[dict]]
    data_use: dict
    multi_label: bool = False
    unlabelled: bool = False
    text_pair: bool = False
    official_split: bool = False
    document_types: frozenset[str] = frozenset()
    gold: Path | None = None
    annotations: tuple[Path, str] | None = None
    titles: dict[str, list[str]] = {}
    coverage: Coverage | None = None
