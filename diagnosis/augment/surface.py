"""Another surface form of the same: "50 mg" and "50mg", "b.i.d." and "BID", "45 y/o" and "45-year-old", "edema" and "oedema".

A number keeps its digits and its unit: only the blank between them comes or goes. Not written, though read elsewhere: µg, cc, U and
q.d., which are misread (ISMP's list of error-prone abbreviations).
"""

import random
import re

from diagnosis.augment import phrases
from diagnosis.text.units import SPELLING, UNITS

GROUPS = [
    ("BID", "b.i.d.", "twice daily", "twice a day"),
    ("TID", "t.i.d.", "three times daily", "three times a day"),
    ("QID", "q.i.d.", "four times daily", "four times a day"),
    ("PO", "p.o.", "by mouth"),
    ("PRN", "p.r.n.", "as needed"),
    ("QHS", "q.h.s.", "at bedtime"),
    ("s/p", "status post"),
    ("c/o", "complains of"),
    ("x-ray", "xray"),
    ("x-rays", "xrays"),
    ("follow-up", "followup"),
    ("WNL", "within normal limits"),
    ("IV", "i.v."),
    ("anemia", "anaemia"),
    ("anesthesia", "anaesthesia"),
    ("diarrhea", "diarrhoea"),
    ("edema", "oedema"),
    ("esophageal", "oesophageal"),
    ("esophagus", "oesophagus"),
    ("fetal", "foetal"),
    ("hemorrhage", "haemorrhage"),
    ("hematoma", "haematoma"),
    ("hemoglobin", "haemoglobin"),
    ("ischemia", "ischaemia"),
    ("ischemic", "ischaemic"),
    ("leukemia", "leukaemia"),
    ("orthopedic", "orthopaedic"),
    ("pediatric", "paediatric"),
    ("tumor", "tumour"),
    ("tumors", "tumours"),
    ("gynecologic", "gynaecologic"),
    ("color", "colour"),
    ("center", "centre"),
]
GROUP_OF = {form.lower(): group for group in GROUPS for form in group}
CAPITALS = {form for group in GROUPS for form in group if form.isupper()}  # as words they are others: po, prn

AGE = re.compile(r"(\d{1,3})(?:-year-old|[ -]year[ -]old| ?y/o| ?yo)", re.IGNORECASE)
# Those that cleaning reads with and without the blank as the same: "40g" may be anything.
_UNITS = "|".join(sorted((re.escape(unit) for unit in UNITS if unit.lower() in SPELLING), key=len, reverse=True))
DOSE = re.compile(rf"(\d+(?:\.\d+)?)( ?)({_UNITS})")
_FORMS = "|".join(re.escape(form) for form in sorted(GROUP_OF, key=lambda form: (-len(form), form)))
PATTERN = re.compile(rf"(?<![\w/.,-])(?:{AGE.pattern}|(?-i:{DOSE.pattern})|{_FORMS})(?![\w/²³:-])", re.IGNORECASE)


def apply(text: str, labels: frozenset[str], budget: int, rng: random.Random) -> tuple[str, int]:
    return phrases.replace(text, _spans(text), _other_form, labels, budget, rng)


def canonical(text: str) -> str:
    """The text with one form for all of a group."""
    spans = _spans(text)
    return phrases.spliced(text, ((start, end, _forms(text[start:end])[0]) for start, end in spans))


def _spans(text: str) -> list[tuple[int, int]]:
    """A short form in small letters counts only with its full stops: "po" and "iv" may be anything."""
    return [
        (start, end)
        for start, end in phrases.matches(PATTERN, text)
        if text[start:end].upper() not in CAPITALS or text[start:end].isupper()
    ]


def _other_form(form: str, rng: random.Random) -> str:
    return rng.choice([other for other in _forms(form) if other.lower() != form.lower()])


def _forms(form: str) -> list[str]:
    if age := AGE.fullmatch(form):
        return [f"{age[1]}-year-old", f"{age[1]} year old", f"{age[1]} y/o", f"{age[1]}yo"]
    if dose := DOSE.fullmatch(form):
        return [f"{dose[1]} {dose[3]}", f"{dose[1]}{dose[3]}"]
    return list(GROUP_OF[form.lower()])
