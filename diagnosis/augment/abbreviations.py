"""An abbreviation for its long form and back.

Only those with one reading in a clinical note. Left out as ambiguous: MI, MS, PE, RA, PT, PCP, RR, HR, ED, CP, LAD, CVA, DM.
"""

import random
import re

from diagnosis.augment import phrases

LONG_FORMS = {
    "SOB": "shortness of breath",
    "HTN": "hypertension",
    "COPD": "chronic obstructive pulmonary disease",
    "CHF": "congestive heart failure",
    "CAD": "coronary artery disease",
    "GERD": "gastroesophageal reflux disease",
    "UTI": "urinary tract infection",
    "URI": "upper respiratory infection",
    "DVT": "deep vein thrombosis",
    "AKI": "acute kidney injury",
    "CKD": "chronic kidney disease",
    "ESRD": "end-stage renal disease",
    "TIA": "transient ischemic attack",
    "ARDS": "acute respiratory distress syndrome",
    "DKA": "diabetic ketoacidosis",
    "IBS": "irritable bowel syndrome",
    "SLE": "systemic lupus erythematosus",
    "PTSD": "post-traumatic stress disorder",
    "ADHD": "attention deficit hyperactivity disorder",
    "OSA": "obstructive sleep apnea",
    "BPH": "benign prostatic hyperplasia",
    "TSH": "thyroid-stimulating hormone",
    "BMI": "body mass index",
    "CXR": "chest x-ray",
    "ECG": "electrocardiogram",
    "MRI": "magnetic resonance imaging",
    "ICU": "intensive care unit",
    "CABG": "coronary artery bypass grafting",
}
SHORT_FORMS = {long: short for short, long in LONG_FORMS.items()}
# Short forms only in capitals: "sob" is a word.
PATTERN = re.compile(
    phrases.boundaries(
        f"{'|'.join(LONG_FORMS)}|(?i:{'|'.join(sorted(SHORT_FORMS, key=lambda form: (-len(form), form)))})"
    )
)


def apply(text: str, labels: frozenset[str], budget: int, rng: random.Random) -> tuple[str, int]:
    return phrases.replace(text, phrases.matches(PATTERN, text), _other_form, labels, budget, rng)


def _other_form(form: str, rng: random.Random) -> str:
    return LONG_FORMS.get(form) or SHORT_FORMS[form.lower()]


def canonical(text: str) -> str:
    """The text with its abbreviations written out."""
    return PATTERN.sub(lambda match: LONG_FORMS.get(match[0], match[0]), text)
