"""ICD-9-CM and ICD-10-CM diagnosis codes as MIMIC writes them (text, no dot), and their chapters and categories."""

import re
from typing import Literal

Level = Literal["chapter", "category", "code"]

CHAPTERS = [
    ("A00", "B99", "infectious and parasitic"),
    ("C00", "D49", "neoplasms"),
    ("D50", "D89", "blood and immune"),
    ("E00", "E89", "endocrine, nutritional and metabolic"),
    ("F01", "F99", "mental and behavioural"),
    ("G00", "G99", "nervous system"),
    ("H00", "H59", "eye"),
    ("H60", "H95", "ear"),
    ("I00", "I99", "circulatory"),
    ("J00", "J99", "respiratory"),
    ("K00", "K95", "digestive"),
    ("L00", "L99", "skin"),
    ("M00", "M99", "musculoskeletal"),
    ("N00", "N99", "genitourinary"),
    ("O00", "O9A", "pregnancy and childbirth"),
    ("P00", "P96", "perinatal"),
    ("Q00", "Q99", "congenital"),
    ("R00", "R99", "symptoms and signs"),
    ("S00", "T88", "injury and poisoning"),
    ("U00", "U85", "special purposes"),
    ("V00", "Y99", "external causes"),
    ("Z00", "Z99", "factors influencing health"),
]
"""ICD-10-CM's 22 chapters: first and last category, short name."""

CHAPTERS_9 = [
    (1, 139, "A00"), (140, 239, "C00"), (240, 278, "E00"), (279, 289, "D50"), (290, 319, "F01"), (320, 359, "G00"),
    (360, 379, "H00"), (380, 389, "H60"), (390, 459, "I00"), (460, 519, "J00"), (520, 579, "K00"), (580, 629, "N00"),
    (630, 679, "O00"), (680, 709, "L00"), (710, 739, "M00"), (740, 759, "Q00"), (760, 779, "P00"), (780, 799, "R00"),
    (800, 999, "S00"),
]  # fmt: skip
"""ICD-9-CM's numeric categories and the ICD-10-CM chapter (by its first category) that took them over.

Two of ICD-9's chapters are cut as ICD-10 cuts them: 279 (immunity) goes with blood, 360-389 are eye and ear.
"""

FORM = {"9": re.compile(r"\d{3,5}|V\d{2,4}|E\d{3,4}"), "10": re.compile(r"[A-Z]\d[0-9A-Z]{1,5}")}
FEW_NUMERIC_CODES = 300  # 3-5 % of a hospital's ICD-9 codes start with 0: none in 300 has a chance under 1 in 10,000


def label(code: str, version: str, level: Level) -> str | None:
    """The class of a code at a level; None where the code has not the form of its version ("9" or "10").

    Chapters of both versions are one set, named as ICD-10-CM's. ICD-9's V and E codes look like other ICD-10 codes
    (V45 is a status in one, a car accident in the other): their categories and codes are written "ICD-9 V45".
    """
    if not FORM[version].fullmatch(code):
        return None
    if level == "chapter":
        return _chapter_10(code) if version == "10" else _chapter_9(code)
    name = code if level == "code" else code[: 4 if version == "9" and code[0] == "E" else 3]
    return f"ICD-9 {name}" if version == "9" and name[0] in "VE" else name


def _chapter_10(code: str) -> str | None:
    for first, last, name in CHAPTERS:
        if first <= code[:3] <= last:
            return f"{first}-{last} {name}"
    return None


def _chapter_9(code: str) -> str | None:
    if code[0] in "VE":
        return _chapter_10({"V": "Z00", "E": "V00"}[code[0]])
    for first, last, chapter in CHAPTERS_9:
        if first <= int(code[:3]) <= last:
            return _chapter_10(chapter)
    return None


class LostZeros:
    """Notices a table of codes that went through a spreadsheet or a numeric column: 0389 became 389, which is valid too.

    Two signs, of ICD-9's numeric codes alone: one with fewer than three digits, or none that starts with 0 among many.
    """

    def __init__(self):
        self._numeric, self._leading, self._short = 0, 0, 0

    def see(self, code: str, version: str, times: int = 1) -> None:
        if version == "9" and code.isdigit():
            self._numeric += times
            self._leading += times * (code[0] == "0")
            self._short += times * (len(code) < 3)

    def found(self) -> bool:
        return self._short > 0 or (self._numeric >= FEW_NUMERIC_CODES and self._leading == 0)
