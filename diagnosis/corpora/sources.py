"""Records out of CSV, TSV, JSON, JSON Lines and Parquet files, one at a time, plain or gzipped.

Every failure is one line with the file and the record (the header is not counted). Never a value, and never the
names of the columns that are there: where a file has no header, they are the first note.
"""

import csv
import gzip
import io
import json
import math
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from diagnosis.errors import UserError
from diagnosis.files import require

LONGEST_FIELD = 2**31 - 1  # characters; the csv module's own limit is 131,072, and a long stay's note is longer
LONGEST_RECORD = 2**26  # characters; more is a quote that was never closed, and is not to fill the memory
BLOCK = 2**18  # characters read at once: what a processor's cache holds


class Unique:
    """Refuses an id that came before, in this file or in another that shares `seen`."""

    def __init__(self, path: Path, column: str, seen: set[str] | None = None):
        self._path, self._column, self._seen = path, column, set() if seen is None else seen

    def check(self, value: str | None, record: int) -> str:
        if not value:
            raise UserError(f"{self._path}, record {record}: no {self._column}: give every record one")
        if value in self._seen:
            raise UserError(f"{self._path}, record {record}: its {self._column} came before: make them unique")
        self._seen.add(value)
        return value


def find(folder: Path, name: str, inside: tuple[str, ...] = ()) -> Path | None:
    """The file `name`.csv or `name`.csv.gz of `folder` or of its subfolders `inside`, upper or lower case; else None."""
    wanted = (f"{name}.csv", f"{name}.csv.gz")
    for place in sorted(p for p in folder.iterdir() if p.is_dir() and p.name.lower() in inside) + [folder]:
        for file in sorted(place.iterdir()):
            if file.name.lower() in wanted and file.is_file():
                return file
    return None


def find_required(folder: Path, name: str, inside: tuple[str, ...] = ()) -> Path:
    """As `find`; raises UserError where the folder or the file is missing."""
    require(folder, "check ingest.path")
    if not folder.is_dir():
        raise UserError(f"{folder} is a file: ingest.path must be the corpus' folder")
    if file := find(folder, name, inside):
        return file
    where = f"{inside[0]}/{name}" if inside else name
    raise UserError(f"{folder} has no {where}.csv or {where}.csv.gz: put it there or check ingest.path")


def file_or_in_folder(path: Path, name: str) -> Path:
    """`path` itself if it is a file, else its `name`.csv(.gz)."""
    return require(path, "check ingest.path") if not path.is_dir() else find_required(path, name)


class Where(NamedTuple):
    """A test of a column's cell; what fails it is counted under a reason, at a tenth of a record's cost."""

    column: str
    test: Callable[[str], bool]
    skipped: Counter
    reason: str


def csv_records(
    path: Path,
    columns: Iterable[str],
    optional: Iterable[str] = (),
    *,
    delimiter: str = ",",
    encoding: str = "utf-8",
    where: Where | None = None,
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (number from 1, {column: cell as written}) of each record; cells of `optional` columns not there are "".

    Column names are matched without blanks around them and, if not found so, without regard to case. `where` tests one of
    `columns`.
    """
    for before, place, found in csv_blocks(path, columns, optional, delimiter=delimiter, encoding=encoding):
        numbered = enumerate(found, before + 1)
        if where:
            tested, total = place[where.column], len(found)
            numbered = [(record, cells) for record, cells in numbered if where.test(cells[tested])]
            where.skipped.update({where.reason: total - len(numbered)} if total > len(numbered) else {})
        names = place.items()
        for record, cells in numbered:
            row = {
                name: cell[1:-1].replace('""', '"') if (cell := cells[index])[:1] == '"' else cell
                for name, index in names
            }
            for cell in row.values():
                if "\0" in cell:
                    raise UserError(f"{path}, record {record}: a NUL byte: the file is damaged or in UTF-16")
            yield record, row


def csv_blocks(
    path: Path,
    columns: Iterable[str],
    optional: Iterable[str] = (),
    *,
    delimiter: str = ",",
    encoding: str = "utf-8",
) -> Iterator[tuple[int, dict[str, int], list[tuple[str, ...]]]]:
    """Yield (records before, place of each column's cell, records) of each block of the file; see `unquoted` for the cells.

    As `csv_records` otherwise. A column that is not there has the place of a cell that is always empty, the last.
    """
    csv.field_size_limit(LONGEST_FIELD)
    record = 0
    with _explained(path, lambda: record, encoding), _open_text(path, encoding) as stream:
        reader = csv.reader(stream, delimiter=delimiter, strict=True)
        header = [name.strip() for name in next(reader, [])]
        if not header:
            raise UserError(f"{path} is empty: check how it was made")
        place = {name: _column(path, header, name, needed=True) for name in columns}
        place |= {name: _column(path, header, name, needed=False) for name in optional}
        captured = sorted({index for index in place.values() if index is not None})
        pattern = _records(len(header), captured, delimiter)
        place = {name: -1 if index is None else captured.index(index) for name, index in place.items()}
        text, ended = "", False
        while not ended:
            # A record cut by the block's end is looked at again with what follows: to read as much again keeps that linear.
            more = stream.read(max(BLOCK, len(text)))
            ended, text = not more, text + (more or "\n")
            found = pattern.findall(text)
            rest = found.pop()[-1] if found and found[-1][-1] else ""
            yield record, place, found
            record += len(found)
            text = rest
            if len(text) > LONGEST_RECORD or (ended and text.strip("\r\n")):
                cells = next(filter(None, csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)))
                if len(cells) == len(header):
                    raise csv.Error  # longer than what may fill the memory
                _refuse(path, record + 1, len(header), delimiter, encoding)


def unquoted(cell: str) -> str:
    """A cell of `csv_blocks` as text."""
    return cell[1:-1].replace('""', '"') if cell[:1] == '"' else cell


def _records(width: int, captured: list[int], delimiter: str) -> re.Pattern:
    """A record of `width` cells with its line end, as the csv module's strict reader sees it, or else all the rest of the text.

    A group for each captured cell, which keeps its quotes, and one for the rest: where a record is cut off or wrong, nothing after
    it is taken for one. Blank lines before a record are skipped.
    """
    separator = re.escape(delimiter)
    cell = rf'"[^"]*+(?:""[^"]*+)*+"|[^"{separator}\r\n][^{separator}\r\n]*+|'
    cells = [f"({cell})" if index in captured else f"(?:{cell})" for index in range(width)]
    return re.compile(r"[\r\n]*+" + separator.join(cells) + r"(?:\r\n?|\n)|([\s\S]+)")


def _refuse(path: Path, record: int, width: int, delimiter: str, encoding: str) -> None:
    """Raise that the first record with other cells than the header is `record`, and at which line it ends."""
    with _open_text(path, encoding) as stream:
        reader = csv.reader(stream, delimiter=delimiter, strict=True)
        cells = next((cells for cells in reader if cells and len(cells) != width), [])
        raise UserError(
            f"{path}, record {record} (ends at line {reader.line_num}): {len(cells)} cells under a header of {width}: "
            "mend its quotes or delimiters"
        )


def _column(path: Path, header: list[str], name: str, needed: bool) -> int | None:
    matches = [i for i, h in enumerate(header) if h == name] or [
        i for i, h in enumerate(header) if h.lower() == name.lower()
    ]
    if len(matches) > 1:
        raise UserError(f"{path} has {len(matches)} columns named '{name}': rename all but one")
    if needed and not matches and len(header) == 1 and (other := next((c for c in ";\t|" if c in header[0]), None)):
        raise UserError(f"{path}: its columns are separated by {other!r}: save it with commas, or with tabs as .tsv")
    if needed and not matches:
        raise UserError(f"{path} has no column '{name}': check the header or the mapping in params.yaml")
    return matches[0] if matches else None


def json_lines_records(path: Path, encoding: str = "utf-8") -> Iterator[tuple[int, dict]]:
    """Yield (number from 1, object) for each line that is not blank."""
    record = 0
    with _explained(path, lambda: record, encoding), _open_text(path, encoding) as stream:
        for line in stream:
            if line.strip():
                record += 1
                yield record, _object(path, record, _json(path, line, f", record {record}"))


def json_records(path: Path, encoding: str = "utf-8") -> Iterator[tuple[int, dict]]:
    """Yield (number from 1, object) of a JSON array of objects. The file is held in memory: JSON Lines streams."""
    with _explained(path, lambda: 0, encoding), _open_text(path, encoding) as stream:
        content = _json(path, stream.read(), "")
    if not isinstance(content, list):
        raise UserError(f"{path} is not a JSON array of objects: write one, or JSON Lines (.jsonl)")
    for record, value in enumerate(content, start=1):
        yield record, _object(path, record, value)


def json_object(path: Path, encoding: str = "utf-8") -> dict:
    """The one object that a JSON file is. The file is held in memory."""
    with _explained(path, lambda: 0, encoding), _open_text(path, encoding) as stream:
        return _object(path, 1, _json(path, stream.read(), ""))


def _json(path: Path, text: str, where: str):
    if not text.strip():
        raise UserError(f"{path} is empty: check how it was made")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise UserError(f"{path}{where}: not valid JSON: write it again") from None


def _object(path: Path, record: int, value) -> dict:
    if not isinstance(value, dict):
        raise UserError(f"{path}, record {record}: not a JSON object: each note is one, with named fields")
    return value


def parquet_records(path: Path, columns: Iterable[str]) -> Iterator[tuple[int, dict]]:
    """Yield (number from 1, {column: value}) of the named columns."""
    record = 0
    with _explained(path, lambda: record, "utf-8"):
        zipped = path.name.lower().endswith(".gz")
        table = pq.ParquetFile(io.BytesIO(gzip.decompress(path.read_bytes())) if zipped else path)
        names = table.schema_arrow.names
        place = {name: names[_column(path, names, name, needed=True)] for name in columns}
        for batch in table.iter_batches(batch_size=1_000, columns=sorted(set(place.values()))):
            for row in batch.to_pylist():
                record += 1
                yield record, {name: row[column] for name, column in place.items()}


def json_content(path: Path):
    """What a JSON file holds, all of it in memory."""
    with _explained(path, lambda: 0, "utf-8"), _open_text(path, "utf-8") as stream:
        return _json(path, stream.read(), "")


def as_text(path: Path, record: int, value) -> str | None:
    """A JSON or Parquet value as text: null and NaN are None, 7 and 7.0 are "7", lists and objects are refused."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bytes):
        raise UserError(f"{path}, record {record}: bytes where text belongs: write the column as text")
    if isinstance(value, (dict, list)):
        raise UserError(f"{path}, record {record}: a list or an object where one value belongs: check the mapping")
    text = str(value)
    if "\0" in text:
        raise UserError(f"{path}, record {record}: a NUL character: remove it")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise UserError(f"{path}, record {record}: half a surrogate pair (\\ud800-\\udfff): mend it") from None
    return text


@contextmanager
def open_bytes(path: Path, record):
    """A plain or gzipped file's bytes; failures become one line. `record()` is the last one read in full."""
    with _explained(path, record, "utf-8"):
        if path.is_dir():
            raise UserError(f"{path} is a folder: a file belongs here")
        with (gzip.open if path.name.lower().endswith(".gz") else open)(path, "rb") as stream:
            yield stream


@contextmanager
def _open_text(path: Path, encoding: str):
    require(path, "check ingest.path")
    if path.is_dir():
        raise UserError(f"{path} is a folder: a file belongs here")
    # utf-8-sig is utf-8 without the mark that spreadsheets put first. newline="": the text's own line ends stay.
    codec = "utf-8-sig" if encoding.lower().replace("_", "-") in ("utf-8", "utf8") else encoding
    opener = gzip.open if path.name.lower().endswith(".gz") else open
    with opener(path, "rt", encoding=codec, newline="") as stream:
        yield stream


@contextmanager
def _explained(path: Path, record, encoding: str):
    """Turn what readers raise into one line; `record()` is the last one read in full."""
    if require(path, "check ingest.path").stat().st_size == 0:
        raise UserError(f"{path} is empty: check how it was made")
    try:
        yield
    except UnicodeError:
        raise UserError(
            f"{path} is not {encoding} (after record {record()}): convert it, or set ingest.table.encoding (Excel: cp1252)"
        ) from None
    except (EOFError, zlib.error):
        raise UserError(f"{path} is a damaged or cut-off gzip file (after record {record()}): copy it again") from None
    except gzip.BadGzipFile:
        raise UserError(f"{path} is no gzip file, or a damaged one: copy it again or mend its name") from None
    except csv.Error:
        raise UserError(
            f"{path}, record {record() + 1}: not valid CSV (a quote opened and never closed, or the file is cut off): "
            "mend it or copy it again"
        ) from None
    except (pa.ArrowException, OSError):
        raise UserError(f"{path} is not readable (after record {record()}): copy it again or check its type") from None
