"""What the classes are called: code titles from the corpus' own table. They find mentions of a diagnosis and are never text."""

from collections import defaultdict
from pathlib import Path

from diagnosis.corpora import icd
from diagnosis.corpora.sources import csv_records, find


def code_titles(path: Path, level: icd.Level) -> dict[str, list[str]]:
    """Titles of the ICD codes under each class, sorted, from d_icd_diagnoses of MIMIC-III or -IV below `path`; {} without one."""
    table = find(path, "d_icd_diagnoses", ("hosp",)) if path.is_dir() else None
    titles = defaultdict(set)
    if table:
        for _, row in csv_records(table, ["long_title"], ["icd_code", "icd_version", "icd9_code"]):
            version = row["icd_version"].strip().removesuffix(".0") or "9"
            code = (row["icd_code"] or row["icd9_code"]).strip().upper()
            name = icd.label(code, version, level) if version in icd.FORM else None
            if name and row["long_title"].strip():
                titles[name].add(row["long_title"].strip())
    return {name: sorted(found) for name, found in titles.items()}


def class_titles(
    classes: list[str], titles: dict[str, list[str]], synonyms: dict[str, list[str]]
) -> dict[str, list[str]]:
    """Every name of each class: its titles (a class without one is named by itself) and the user's synonyms."""
    return {label: sorted({*titles.get(label, [label]), *synonyms.get(label, [])}) for label in sorted(classes)}
