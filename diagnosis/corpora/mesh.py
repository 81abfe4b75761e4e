"""MeSH's disease branch: the categories C01 to C26 that a descriptor is filed under, from NLM's own descriptor file."""

import re
from collections import defaultdict
from pathlib import Path

from diagnosis.corpora.sources import open_bytes
from diagnosis.corpora.xml_records import xml_records
from diagnosis.errors import UserError

FILE = re.compile(r"(desc\w*\.xml|mtrees\w*\.bin)(\.gz)?", re.IGNORECASE)
DISEASE = re.compile(r"C\d\d")


def find_mesh(folder: Path) -> Path | None:
    """The folder's desc<year>.xml or mtrees<year>.bin (.gz too), if it has one. Raises UserError where it has several."""
    files = [file for file in sorted(folder.iterdir()) if FILE.fullmatch(file.name)] if folder.is_dir() else []
    if len(files) > 1:
        raise UserError(f"{folder} has {len(files)} MeSH files: keep the one of the articles' year")
    return files[0] if files else None


def disease_categories(file: Path) -> dict[str, frozenset[str]]:
    """{descriptor's UI, and its name: its disease categories, e.g. "C04 Neoplasms"}; empty for what is no disease.

    desc<year>.xml has both UI and name, mtrees<year>.bin names alone. A descriptor stands under several categories where it
    has several tree numbers. Raises UserError where the file holds no category of the branch.
    """
    trees: dict[str, set[str]] = defaultdict(set)
    names: dict[str, str] = {}
    for keys, name, numbers in _tree_lines(file) if ".bin" in file.name.lower() else _descriptors(file):
        for key in keys:
            trees[key].update(numbers)
        names.update({number: name for number in numbers if DISEASE.fullmatch(number)})
    if not names:
        raise UserError(f"{file} has no category C01 to C26 of the disease branch: take NLM's whole file")
    return {
        key: frozenset(f"{top} {names[top]}" for number in numbers if (top := number.partition(".")[0]) in names)
        for key, numbers in trees.items()
    }


def _descriptors(file: Path):
    for record, element in xml_records(file, ("DescriptorRecordSet",), ("DescriptorRecord",)):
        ui, name = (element.findtext(path, "").strip() for path in ("DescriptorUI", "DescriptorName/String"))
        if not ui or not name:
            raise UserError(
                f"{file}, record {record}: a descriptor without DescriptorUI or DescriptorName: copy it again"
            )
        yield (
            (ui, name),
            name,
            [(number.text or "").strip() for number in element.iterfind("TreeNumberList/TreeNumber")],
        )


def _tree_lines(file: Path):
    number = 0
    with open_bytes(file, lambda: number) as stream:
        for number, line in enumerate(stream, start=1):
            name, semicolon, tree = line.decode().strip().rpartition(";")
            if not semicolon or not re.fullmatch(r"[A-Z]\d\d(\.\d+)*", tree):
                raise UserError(f"{file}, line {number}: not a name, a semicolon and a tree number: copy it again")
            yield (name,), name, [tree]
