"""Records out of large XML files, one at a time, plain or gzipped, and the text of an element.

Straight on expat, for what it must refuse: a file that declares entities (they can grow without end or name other files)
ends with one line, and a DOCTYPE is taken but its DTD never looked for. What a DTD would have given and texts do use, HTML's names
of characters (&nbsp;), is known here.
"""

import re
from collections.abc import Iterator
from html.entities import html5
from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from diagnosis.corpora.sources import open_bytes
from diagnosis.errors import UserError
from diagnosis.files import require

BLOCK = 1 << 20  # bytes read at a time
DEEPEST = 200  # levels; articles with formulas have 40
BLANKS = re.compile(r"[ \t\r\n]+")  # XML's own; a no-break space is text
RAISED = re.compile(r"[-+\u2212]?\d+(?:[,\u2013-]\s?\d+)*")  # also of references: in 2010<sup>3,4</sup>


def xml_files(path: Path, endings: tuple[str, ...]) -> list[Path]:
    """`path` itself if it is a file, else the files in it and its subfolders with one of these endings (.gz too), by name.

    Raises UserError where there are none.
    """
    if not require(path, "check ingest.path").is_dir():
        return [path]
    endings = tuple(ending + zipped for ending in endings for zipped in ("", ".gz"))
    files = [file for file in sorted(path.rglob("*")) if file.name.lower().endswith(endings) and file.is_file()]
    if not files:
        raise UserError(f"{path} has no file that ends in {' or '.join(endings)}: check ingest.path")
    return files


def xml_records(path: Path, roots: tuple[str, ...], tags: tuple[str, ...]) -> Iterator[tuple[int, Element]]:
    """Yield (number from 1, element) of each element called one of `tags`, whole; those inside another are part of it.

    Names are compared as written, prefix and all. Nothing but the current block's records is held. Raises UserError for
    another root element, a declared or unknown entity, and XML that is damaged, cut off or nested deeper than `DEEPEST`.
    """
    record, state = 0, _Reading(path, roots, tags)
    with open_bytes(path, lambda: record) as stream:
        more = True
        while more:
            more = bool(block := stream.read(BLOCK))
            state.parse(block)
            for element in state.finished:
                record += 1
                yield record, element
            state.finished.clear()


class _Reading:
    """expat's calls, turned into elements while inside a record."""

    def __init__(self, path: Path, roots: tuple[str, ...], tags: tuple[str, ...]):
        self.path, self.roots, self.tags = path, roots, tags
        self.finished: list[Element] = []
        self.builder, self.level, self.level_of_record = None, 0, 0
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.UseForeignDTD(True)  # names of characters then reach `entity`, DOCTYPE or not; no DTD is read
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = self.end
        self.parser.CharacterDataHandler = self.characters
        self.parser.SkippedEntityHandler = self.entity
        self.parser.EntityDeclHandler = self.declaration

    def parse(self, block: bytes) -> None:
        try:
            self.parser.Parse(block, not block)
        except expat.ExpatError:
            self.refuse("not well-formed XML, or cut off: copy it again")
        except (ValueError, LookupError):  # the encoding that it declares
            self.refuse("an encoding that cannot be read: save it as UTF-8")

    def refuse(self, what: str):
        raise UserError(f"{self.path}, line {self.parser.CurrentLineNumber}: {what}") from None

    def start(self, name: str, attributes: dict) -> None:
        self.level += 1
        if self.level == 1 and name not in self.roots:
            self.refuse(f"its root element is not <{'> or <'.join(self.roots)}>: check that it is the right file")
        if self.level > DEEPEST:
            self.refuse(f"elements nested deeper than {DEEPEST} levels: the file is damaged")
        if self.builder is None and name in self.tags:
            self.builder, self.level_of_record = TreeBuilder(), self.level
        if self.builder is not None:
            self.builder.start(name, attributes)

    def end(self, name: str) -> None:
        if self.builder is not None:
            self.builder.end(name)
            if self.level == self.level_of_record:
                self.finished.append(self.builder.close())
                self.builder = None
        self.level -= 1

    def characters(self, text: str) -> None:
        if self.builder is not None:
            self.builder.data(text)

    def entity(self, name: str, is_parameter: bool) -> None:
        if is_parameter or (character := html5.get(f"{name};")) is None:
            self.refuse("an entity that is not one of HTML's: write the character itself")
        self.characters(character)

    def declaration(self, *_) -> None:
        self.refuse("it declares entities, which are not read: they can grow without end or name other files")


def xml_text(element: Element | None, lines: frozenset[str] = frozenset(), skip: frozenset[str] = frozenset()) -> str:
    """All text of an element and of the markup inside it; "" for None.

    Runs of blanks and line ends are the file's layout and become one blank. Elements called one of `lines` stand on a line of their own,
    those of `skip` are left out. A raised number after a digit gets its sign back: 10<sup>9</sup> is 10^9, not 109.
    """
    pieces: list[str] = []

    def add(text: str | None) -> None:
        if text:
            pieces.append(BLANKS.sub(" ", text))

    def walk(node: Element) -> None:
        if node.tag not in skip:
            if node.tag in lines:
                pieces.append("\n")
            if node.tag == "sup" and RAISED.fullmatch("".join(node.itertext())) and pieces and pieces[-1][-1].isdigit():
                pieces.append("^")
            add(node.text)
            for child in node:
                walk(child)
                add(child.tail)
            if node.tag in lines:
                pieces.append("\n")

    if element is not None:
        walk(element)
    written = (BLANKS.sub(" ", line).strip(" ") for line in "".join(pieces).split("\n"))
    return "\n".join(line for line in written if line)
