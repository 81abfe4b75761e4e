"""How much of the planted identifiers was found, counted by words, whatever kind they were taken for."""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from diagnosis.errors import UserError
from diagnosis.files import require
from diagnosis.phi.spans import KINDS, Span

TOKEN = re.compile(r"[^\W_]+")  # words between blanks and punctuation; masks (___) are none
COLUMNS = ["note_id", "start", "end", "kind", "origin"]


class Gold:
    """The spans known to be there, by note; few corpora have them, and they are held in memory (Arrow).

    `kinds` are those allowed, None for any.
    """

    def __init__(self, path: Path, kinds: Iterable[str] | None = KINDS):
        require(path)
        try:
            table = pq.read_table(path)
        except (pa.ArrowException, OSError):
            raise UserError(f"{path} is not a readable Parquet file: remove it and run `dvc repro`") from None
        missing = [name for name in COLUMNS if name not in table.column_names]
        if missing:
            raise UserError(f"{path} lacks the columns {', '.join(missing)} of gold spans: run `dvc repro`")
        for name in ("note_id", "start", "end", "kind"):
            if table[name].null_count:
                raise UserError(f"{path} has {table[name].null_count} spans without a {name}: run `dvc repro`")
        unknown = set() if kinds is None else set(table["kind"].to_pylist()) - set(kinds)
        if unknown:
            raise UserError(f"{path} has spans of {len(unknown)} unknown kinds: the kinds are {', '.join(KINDS)}")
        self._path, self._left = path, table.num_rows
        self._table = table.sort_by([("note_id", "ascending"), ("start", "ascending")])
        counts = self._table["note_id"].value_counts().to_pylist()
        first, self._rows = 0, {}
        for entry in sorted(counts, key=lambda entry: entry["values"]):
            self._rows[entry["values"]] = (first, entry["counts"])
            first += entry["counts"]

    def __bool__(self) -> bool:
        return self._table.num_rows > 0

    def of(self, note_id: str, text: str) -> list[tuple[Span, str | None]]:
        """A note's spans, each with the origin of its name; raises UserError where one does not lie within the text."""
        first, count = self._rows.get(note_id, (0, 0))
        rows = self._table.slice(first, count).to_pylist() if count else []
        self._left -= count
        outside = sum(not 0 <= row["start"] < row["end"] <= len(text) for row in rows)
        if outside:
            raise UserError(
                f"{self._path}: {outside} spans of one note lie outside its text: gold spans and notes must come from one `ingest`"
            )
        return [(Span(row["start"], row["end"], row["kind"]), row["origin"]) for row in rows]

    def finish(self) -> None:
        """Raise UserError where spans are left over that belong to no note."""
        if self._left:
            raise UserError(
                f"{self._path}: {self._left} spans belong to no note of the table: gold spans and notes must come from one `ingest`"
            )


class Score:
    """Counts words over notes. A word counts as found when a found span touches it, of whatever kind."""

    def __init__(self):
        self._counts, self._kinds, self._origins = Counter(), {}, {}

    def add(self, text: str, gold: list[tuple[Span, str | None]], found: list[Span]) -> None:
        """Count one note. `gold` and `found` need no order."""
        touched = touched_words(text, found)
        planted = set()
        for span, origin in gold:
            words = touched_words(text, [span])
            planted |= words
            tallies = [self._kinds.setdefault(span.kind, Counter())]
            if span.kind == "NAME" and origin:
                tallies.append(self._origins.setdefault(origin, Counter()))
            for tally in tallies:
                tally.update(words=len(words), hit=len(words & touched))
        self._counts.update(
            planted=len(planted),
            found=len(touched),
            hit=len(planted & touched),
            notes=bool(planted),
            clean=bool(planted) and planted <= touched,
        )

    def measures(self) -> dict:
        """Recall, precision, the share of notes (of those with an identifier) of which no such word is left, recall by kind and origin."""
        counts = self._counts
        return {
            "recall": _share(counts["hit"], counts["planted"]),
            "precision": _share(counts["hit"], counts["found"]),
            "notes_clean": _share(counts["clean"], counts["notes"]),
            "by_kind": {kind: _share(t["hit"], t["words"]) for kind, t in self._kinds.items()},
            "by_origin": {origin: _share(t["hit"], t["words"]) for origin, t in self._origins.items()},
        }


NO_MEASURES = {"recall": None, "precision": None, "notes_clean": None, "by_kind": None, "by_origin": None}


def touched_words(text: str, spans: list[Span]) -> set[int]:
    """Starts of the words that the spans touch, a word cut by a span's end included."""
    starts = set()
    for span in spans:
        begin = span.start
        while begin > 0 and text[begin - 1].isalnum() and text[begin].isalnum():
            begin -= 1
        for match in TOKEN.finditer(text, begin):
            if match.start() >= span.end:
                break
            starts.add(match.start())
    return starts


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 6) if whole else None
