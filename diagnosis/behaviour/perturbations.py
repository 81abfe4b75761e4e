"""Changes of a note after which the diagnosis should stay: invariance tests (Ribeiro et al. 2020, CheckList).

Each takes (text, random numbers, patient) and returns the changed text, or None where there is nothing to change.
"""

import re
from collections.abc import Callable
from random import Random

from diagnosis.augment import section_shuffle
from diagnosis.augment.phrases import boundaries, in_case_of, spliced
from diagnosis.augment.protected import HEADING
from diagnosis.phi.detector import find
from diagnosis.phi.keys import Key
from diagnosis.phi.surrogates import Surrogates
from diagnosis.text import abbreviations

Perturbation = Callable[[str, Random, str], str | None]
CONTROL = "whitespace"


def changed(text: str, new: str) -> str | None:
    return new if new != text else None


def whitespace(text: str, rng: Random, patient: str) -> str | None:
    """The control: each blank twice, and a blank at either side of each line end."""
    return changed(text, text.replace(" ", "  ").replace("\n", " \n "))


# ---------------------------------------------------------------- sex

PAIRS = "he she; himself herself; man woman; men women; male female; gentleman lady; gentlemen ladies; boy girl; Mr Ms"
OTHER_SEX = {
    one: other for pair in PAIRS.lower().split("; ") for a, b in [pair.split()] for one, other in ((a, b), (b, a))
} | {"mrs": "mr", "his": "her", "him": "her", "hers": "his"}
LETTERS = {"M": "F", "F": "M", "m": "f", "f": "m"}
SEX_WORD = re.compile(boundaries("|".join([*OTHER_SEX, "her"])), re.IGNORECASE)
# "77 y/o F", "77M", and no "98.6 F": what follows a bare number may be a unit, so it stands close, and 95F is warm.
SEX_LETTER = re.compile(
    r"(?:(?i:\b(?:sex|gender)) ?: ?|(?<![\w.])\d{1,3} ?(?i:y/?o|yrs?|years?[ -]old) ?|(?<![\w.])(?:[1-8]?\d|9[0-4]))([MFmf])(?![\w/'-]|\.\w)"
)
# "Her" is "him" before these and at the end of a clause ("told her to rest", "examined her."), else "his".
OBJECT = re.compile(
    r"\s*(?:$|[.,;:)\n]|(?:to|at|in|on|for|with|and|but|or|was|is|from|by|as|that|if|when|about|back|up|out|off|into|after|before|because)\b)",
    re.IGNORECASE,
)
ONE_SEX_ONLY = re.compile(
    r"\b(?:pregnan|gravid|obstetric|antepartum|postpartum|menstru|menopaus|menarche|lmp\b|ovar(?:y|ian|ies)|uter(?:us|ine)|vagin|hysterectom|"
    r"endometri|mammogra|cesarean|eclampsia|prostat|testic|testes\b|scrot|penis\b|penile|bph\b|psa\b|erectile|vasectom)",
    re.IGNORECASE,
)


def sex_swap(text: str, rng: Random, patient: str) -> str | None:
    """He for she, man for woman, M for F, all of them at once. Names and kin stay. None where an organ or event of one sex is
    told of: the swapped note would be of nobody."""
    if ONE_SEX_ONLY.search(text):
        return None

    def other(match: re.Match) -> str:
        word = match[0]
        if word.lower() == "her":
            new = "him" if OBJECT.match(text, match.end()) else "his"
        else:
            new = OTHER_SEX[word.lower()]
        return new.upper() if word.isupper() and len(word) > 1 else in_case_of(new, word, word.islower())

    words = [(*match.span(), other(match)) for match in SEX_WORD.finditer(text)]
    letters = [(*match.span(1), LETTERS[match[1]]) for match in SEX_LETTER.finditer(text)]
    return changed(text, spliced(text, sorted(words + letters)))


# ---------------------------------------------------------------- age

AGE = re.compile(r"(?<![\w.])(\d{1,3})(?=[ -]?(?:y/?o|years?[ -](?:old|of age))\b)", re.IGNORECASE)
YEARS, ADULT, MIDDLE, OLDEST = 30, 18, 50, 89  # ages move by YEARS, towards the middle and past it


def age_swap(text: str, rng: Random, patient: str) -> str | None:
    """The patient's age, which is the first that stands in the note, 30 years up below 50 and down from there. Adults only."""
    first = AGE.search(text)
    if first is None or not ADULT <= (age := int(first[1])) <= OLDEST:
        return None
    new = str(age + YEARS if age < MIDDLE else age - YEARS)
    same = (match for match in AGE.finditer(text) if int(match[1]) == age)
    return spliced(text, ((*match.span(1), new) for match in same))


# ---------------------------------------------------------------- how it is written

SHORT = {}
for _short, _long in abbreviations.PLAIN.items():
    if "/" not in _short:  # "history of" is in headings too
        SHORT.setdefault(_long.lower(), _short)
LONG = re.compile(boundaries("|".join(sorted(map(re.escape, SHORT), key=lambda form: (-len(form), form)))), re.I)


def abbreviations_expanded(text: str, rng: Random, patient: str) -> str | None:
    """Written out where the reading is certain, as cleaning would."""
    return changed(text, abbreviations.expand(text)[0])


def abbreviations_contracted(text: str, rng: Random, patient: str) -> str | None:
    """The same list's long forms of one reading as their abbreviations."""
    return changed(text, LONG.sub(lambda match: SHORT[match[0].lower()], text))


TYPO_LETTERS = 5  # of the shortest word that gets one
WORD = re.compile(rf"(?<![\w/'-])[^\W\d_]{{{TYPO_LETTERS},}}(?![\w/'-])")


class Typos:
    """In `share` of the words of five letters and more outside headings, and at least in one, two inner letters swapped or one left out."""

    def __init__(self, share: float):
        self._share = share

    def __call__(self, text: str, rng: Random, patient: str) -> str | None:
        headings = [match.span() for match in HEADING.finditer(text)]
        words = [
            match for match in WORD.finditer(text) if not any(start <= match.start() < end for start, end in headings)
        ]
        if not words:
            return None
        chosen = rng.sample(words, max(1, round(self._share * len(words))))
        return changed(text, spliced(text, sorted((*match.span(), mistyped(match[0], rng)) for match in chosen)))


def mistyped(word: str, rng: Random) -> str:
    at = rng.randrange(1, len(word) - 2)
    if rng.random() < 0.5 and word[at] != word[at + 1]:
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return word[:at] + word[at + 1 :]


def section_order(text: str, rng: Random, patient: str) -> str | None:
    """The sections dealt anew, as augmentation does; no word changes."""
    new, moved = section_shuffle.apply(text, frozenset(), 0, rng)
    return new if moved else None


# ---------------------------------------------------------------- names

ORIGINS = ("en_US", "es_MX", "en_IN", "yo_NG")
"""Where the new names come from: lists in Latin letters with first names of both sexes and last names."""


def origin_of(rng: Random) -> str:
    return rng.choice(ORIGINS)


def name_swap(text: str, rng: Random, patient: str) -> str | None:
    """The names that de-identification finds as those of people from elsewhere, of like gender, the same throughout the note."""
    origin = origin_of(rng)  # first: others draw it from the same numbers
    names = [span for span in find(text) if span.kind == "NAME"]
    return changed(text, Surrogates(Key("behaviour"), 1, origin=origin).replace(text, names, patient))


def perturbations(typo_share: float) -> dict[str, Perturbation]:
    """All of them by name, the control first."""
    return {
        CONTROL: whitespace,
        "typos": Typos(typo_share),
        "abbreviations_expanded": abbreviations_expanded,
        "abbreviations_contracted": abbreviations_contracted,
        "section_order": section_order,
        "name_swap": name_swap,
        "sex_swap": sex_swap,
        "age_swap": age_swap,
    }
