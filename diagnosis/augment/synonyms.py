"""A clinical term for its everyday one and back.

Own list, short on purpose: each form can stand for the others in any note, as the same part of speech. Left out, with why:
fever and pyrexia (hay fever), stroke (stroke volume), varicella (zoster), anorexia (nervosa), hypertension (pulmonary),
edema and swelling (cerebral), vomiting, itching and fainting (verbs as well).
"""

import random
import re

from diagnosis.augment import phrases

GROUPS = [
    ("dyspnea", "shortness of breath"),
    ("difficulty breathing", "trouble breathing"),
    ("epistaxis", "nosebleeds"),
    ("rhinorrhea", "runny nose"),
    ("dysphagia", "difficulty swallowing"),
    ("odynophagia", "painful swallowing"),
    ("dysuria", "painful urination"),
    ("nocturia", "urination at night"),
    ("hematuria", "blood in the urine"),
    ("melena", "black tarry stools"),
    ("hematochezia", "bloody stools"),
    ("dyspepsia", "indigestion"),
    ("myalgias", "muscle aches"),
    ("arthralgias", "joint pains"),
    ("abdominal pain", "belly pain"),
    ("nausea and vomiting", "nausea and emesis"),
    ("photophobia", "sensitivity to light"),
    ("tinnitus", "ringing in the ears"),
    ("insomnia", "difficulty sleeping", "trouble sleeping"),
    ("fatigue", "tiredness"),
    ("alopecia", "hair loss"),
    ("urticaria", "hives"),
    ("dysmenorrhea", "painful periods"),
    ("ankle edema", "ankle swelling"),
    ("leg edema", "leg swelling"),
    ("pedal edema", "foot swelling"),
    ("cholelithiasis", "gallstones"),
    ("nephrolithiasis", "kidney stones"),
    ("pertussis", "whooping cough"),
    ("myocardial infarction", "heart attack"),
    ("cardiac failure", "heart failure"),
    ("cardiac disease", "heart disease"),
    ("renal failure", "kidney failure"),
    ("renal disease", "kidney disease"),
    ("renal function", "kidney function"),
    ("hepatic failure", "liver failure"),
    ("hepatic disease", "liver disease"),
    ("pulmonary disease", "lung disease"),
    ("gastric ulcer", "stomach ulcer"),
    ("physical examination", "physical exam"),
    ("medications", "medicines"),
    ("hospitalization", "hospital stay"),
    ("showed", "demonstrated", "revealed"),
    ("shows", "demonstrates", "reveals"),
    ("subsequently", "afterwards"),
    ("due to", "because of"),
]
GROUP_OF = {form: group for group in GROUPS for form in group}
PATTERN = re.compile(phrases.boundaries("|".join(sorted(GROUP_OF, key=lambda form: (-len(form), form)))), re.IGNORECASE)


def apply(text: str, labels: frozenset[str], budget: int, rng: random.Random) -> tuple[str, int]:
    return phrases.replace(text, phrases.matches(PATTERN, text), _other_form, labels, budget, rng)


def _other_form(form: str, rng: random.Random) -> str:
    return rng.choice([other for other in GROUP_OF[form.lower()] if other != form.lower()])


def canonical(text: str) -> str:
    """The text with the first form of each group for all of them, lower-case."""
    return PATTERN.sub(lambda match: GROUP_OF[match[0].lower()][0], text)
