"""Synonyms brought to one name ("heart attack" to "myocardial infarction"), by an open list, by UMLS or from MetaMap's output."""

import gzip
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

from diagnosis.errors import UserError
from diagnosis.files import require
from diagnosis.text import abbreviations
from diagnosis.text.sections import HEADINGS

MAX_WORDS = 8
MIN_LETTERS = 5  # of a term from UMLS or MetaMap: shorter ones are abbreviations, which have several senses

FIELDS = 18  # of MRCONSO.RRF, each ended by a bar
WORD = re.compile(r"(?<!\w)[A-Za-z0-9]+(?:'[a-z]+)?(?!\w)")
GAP = re.compile(r"[ \n-]$|^$")
TRIGGER = re.compile(
    r'"[^"]*"-[A-Za-z]+-\d+-"([^"]*)"-[^",]*-[01]'
)  # of MMI: "concept"-field-number-"text"-part of speech-negated


class Concepts:
    """The terms of a file and the names they become; `terms` and `ambiguous` are how many are used and left out.

    The file is one of: lines `name<TAB>synonym; synonym` (lists/concepts.tsv); UMLS' MRCONSO.RRF, also as .gz, of which the English
    strings that are not suppressed are read; MetaMap's fielded output (MMI), of which each trigger's text becomes a term. A term
    of two concepts is ambiguous. Raises UserError where the file is missing or none of these.
    """

    def __init__(self, path: Path):
        self._path = path
        names: dict[str, str] = {}
        ambiguous: set[str] = set()
        self._capitals: set[str] = set()
        for term, name in _terms(path):
            words = WORD.findall(term)
            if not words or len(words) > MAX_WORDS:
                continue
            key = _key(words)
            if term.isupper():
                self._capitals.add(key)
            if names.setdefault(key, name).lower() != name.lower():
                ambiguous.add(key)
        for key in ambiguous:
            del names[key]
        self._names, self.ambiguous = names, len(ambiguous)
        self.terms = sum(key != _key(WORD.findall(name)) for key, name in names.items())
        self._longest: dict[str, int] = {}
        for key in names:
            words = key.split()
            self._longest[words[0]] = max(self._longest.get(words[0], 0), len(words))
        if not self.terms:
            raise UserError(f"{path} gives no synonym: bring one that does, or set clean.normalise_concepts to false")

    def normalise(self, text: str) -> tuple[str, int]:
        """The text with each term as its concept's name, the longest first, and how many were another term before."""
        count = 0
        for _ in range(4):  # a name may complete a longer term: "acute heart attack"
            text, changed = self._once(text)
            count += changed
            if not changed:
                break
        return text, count

    def _once(self, text: str) -> tuple[str, int]:
        pieces, done, count = [], 0, 0
        for start, end, name in self.find(text):
            if text[start:end].lower() != name.lower():
                pieces += [text[done:start], _in_case(name, text[start:end])]
                done, count = end, count + 1
        return ("".join([*pieces, text[done:]]), count) if count else (text, 0)

    def find(self, text: str) -> Iterator[tuple[int, int, str]]:
        """(start, end, name of the concept) of each term in order, the longest first."""
        words, at = list(WORD.finditer(text)), 0
        while at < len(words):
            length, name = self._match(text, words, at)
            if length:
                yield words[at].start(), words[at + length - 1].end(), name
            at += length or 1

    def terms_by_name(self) -> dict[str, list[str]]:
        """The terms of each concept as the file writes them, each once, those of two concepts left out; read from the file again."""
        result: dict[str, dict[str, None]] = {}
        for term, name in _terms(self._path):
            if self._names.get(_key(WORD.findall(term))) == name:
                result.setdefault(name, {})[term] = None
        return {name: list(found) for name, found in result.items()}

    def _match(self, text: str, words: list[re.Match], at: int) -> tuple[int, str]:
        """How many words from `at` are a term, and its name; (0, "") where none is."""
        longest = self._longest.get(words[at][0].lower(), 0)
        run = 0
        while run < longest and at + run < len(words):
            if run and not GAP.match(text[words[at + run - 1].end() : words[at + run].start()]):
                break
            run += 1
        for length in range(run, 0, -1):
            key = _key([word[0] for word in words[at : at + length]])
            if key in self._names:
                start, end = words[at].start(), words[at + length - 1].end()
                if (key not in self._capitals or _is_abbreviation(text, start, end)) and not _heads(text, start, end):
                    return length, self._names[key]
        return 0, ""


def _key(words: list[str]) -> str:
    return " ".join(words).lower()


def _is_abbreviation(text: str, start: int, end: int) -> bool:
    """Of a term in capitals (MI, PE): it stands in capitals, and where it has several senses its neighbours tell this one."""
    form = text[start:end]
    known = form in abbreviations.PLAIN or form in abbreviations.RULES
    return form.isupper() and (not known or abbreviations.reading(text, start, end) is not None)


def _heads(text: str, start: int, end: int) -> bool:
    """A heading stays: sections are found by it."""
    return (
        text[start:end].lower() in HEADINGS
        and text[end : end + 1] in (":", "\n")
        and text[start - 1 : start] in ("", "\n")
    )


def _in_case(name: str, term: str) -> str:
    """The name with a capital where the term opens a sentence with one ("Heart attack"), as it is else."""
    return name[0].upper() + name[1:] if term[0].isupper() and term[1:2].islower() else name


# ---------------------------------------------------------------- the three kinds of file


def _terms(path: Path) -> Iterator[tuple[str, str]]:
    """(term, name of its concept); a name is a term of its own."""
    first = next(_lines(path), "")
    if re.match(r"[^|]*\|(?:MMI|AA|UA)\|", first):
        yield from _metamap(path)
    elif first.count("|") == FIELDS:
        yield from _umls(path)
    elif "\t" in first:
        yield from _list(path)
    else:
        raise UserError(
            f"{path} is no list of synonyms: clean.concepts takes lines `name<TAB>synonym; synonym`, MRCONSO.RRF or MetaMap's MMI output"
        )


def _lines(path: Path) -> Iterator[str]:
    require(path, "check clean.concepts")
    if path.is_dir():
        raise UserError(f"{path} is a folder: clean.concepts names a file")
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else open(path, encoding="utf-8") as lines:
            yield from lines
    except (OSError, EOFError, zlib.error, UnicodeDecodeError):
        raise UserError(
            f"{path} cannot be read as UTF-8 text (or as gzip, by its name): check clean.concepts"
        ) from None


def _list(path: Path) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(_lines(path), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, tab, synonyms = line.strip().partition("\t")
        if not tab or not WORD.search(name):
            raise UserError(f"{path}, line {number}: not `name<TAB>synonym; synonym`: mend it")
        yield name, name
        for synonym in synonyms.split(";"):
            yield synonym.strip(), name


def _umls(path: Path) -> Iterator[tuple[str, str]]:
    """Twice through the file: the preferred names by concept identifier, then every string."""
    names: dict[str, tuple[bool, str]] = {}
    for concept, string, preferred in _english(path):
        if concept not in names or preferred and not names[concept][0]:
            names[concept] = preferred, string
    for concept, string, _ in _english(path):
        if len(string) >= MIN_LETTERS:
            yield string, names[concept][1]


def _english(path: Path) -> Iterator[tuple[str, str, bool]]:
    """(concept identifier, string, whether it is the concept's preferred form) of English rows that are not suppressed."""
    for number, line in enumerate(_lines(path), 1):
        cells = line.rstrip("\n").split("|")
        if len(cells) != FIELDS + 1:
            raise UserError(f"{path}, line {number}: not the {FIELDS} fields of MRCONSO.RRF: bring the whole file")
        concept, language, status, form, is_preferred, string, suppressed = (
            cells[at] for at in (0, 1, 2, 4, 6, 14, 16)
        )
        if language == "ENG" and suppressed == "N":
            yield concept, string, (status, form, is_preferred) == ("P", "PF", "Y")


def _metamap(path: Path) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(_lines(path), 1):
        cells = line.rstrip("\n").split("|")
        if len(cells) < 2 or cells[1] != "MMI":  # AA and UA rows: acronyms that MetaMap found
            continue
        if len(cells) < 7:
            raise UserError(f"{path}, line {number}: too few fields for MetaMap's MMI output: run it with -N")
        for term in TRIGGER.findall(cells[6]):
            if len(term) >= MIN_LETTERS:
                yield term, cells[3]
