"""Where a note says a diagnosis by name: any class's title or synonym, and how it is meant."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from diagnosis.text.normalise import MARK
from diagnosis.text.sections import sections

WORD = re.compile(r"[^\W_]+(?:'s)?")
ASIDE = re.compile(r" ?[(\[][^()\[\]]*[)\]]")
UNSPECIFIED = re.compile(
    r",? (?:nec|nos)$|, (?:not elsewhere classified|not otherwise specified|unspecified|other specified)\b.*",
    re.IGNORECASE,
)
TAIL = re.compile(r",.*|\b(?:without|with|due to|of|in|following|complicating)\b.*", re.IGNORECASE)
HEAD = re.compile(
    r"^(?:(?:other and unspecified|other specified|acute|chronic|other|unspecified|essential|primary|type \d)[ ,-]+)+",
    re.IGNORECASE,
)
DISEASE = re.compile(
    r"\w{2,}(?:itis|osis|asis|esis|ysis|omas?|a?emia|pathy|plegia|paresis|plasia|ism|uria|tension|penia|algia|trophy|rrhage|rrhea|"
    r"ectasis|ectasia|cele|oedema|edema|phobia|mania|psy|monia|thorax|itides)",
    re.IGNORECASE,
)
VAGUE = frozenset(
    "other unspecified acute chronic disease diseases disorder disorders syndrome condition conditions symptoms injury problem problems "
    "encounter history general own positive negative severe mild moderate normal essential primary secondary specified type "
    "complication complications effects sequelae personal family presence absence diagnosis".split()
)
SHORTEST = 6  # letters of a name of one word that is left of a title: "fever", "pain" and "cough" are findings
ABBREVIATION = re.compile(r"[A-Z][A-Z0-9]{1,5}")

RELATIVES = "family|mother|father|brother|sister|siblings?|son|daughter|aunt|uncle|cousin|grand(?:mother|father|parents?)|mom|dad|maternal|paternal"
BEFORE = re.compile(
    r"\b(?P<cue>no|not|never|denies|denied|denying|without|negative for|absence of|free of|lack of|ruled out|rules? out|r/o)\b"
    rf"(?P<between>[^.;:!?\n]*)$|\b(?:{RELATIVES})\b[^.;!?\n]*$",
    re.IGNORECASE,
)
ENDS_NEGATION = re.compile(
    r"\b(?:but|except|however|although|though|who|which|has|had|reports?|admits|presents?|due to|then|with)\b", re.I
)
BEHIND = re.compile(
    rf"[^.;:,\n]{{0,12}}\b(?:(?:was|were|is|are|been) (?:ruled out|excluded|absent|denied|unlikely)|(?:in|of) (?:(?:his|her|a|the) )?(?:{RELATIVES}))\b",
    re.IGNORECASE,
)
REACH = 90  # characters before a mention in which a word may say how it is meant


class Mention(NamedTuple):
    """Characters `start` to `end` name a diagnosis of `classes`; `affirmed`: not denied, not a relative's."""

    start: int
    end: int
    classes: tuple[str, ...]
    affirmed: bool


def names(title: str) -> set[str]:
    """The forms in which notes write a title: itself, and it without what only a code book says.

    "Heart failure, unspecified" → "Heart failure". What stands before a comma, "with" or "of" is a name where it has several words that
    tell something, or is one word for a disease by its ending ("Cellulitis of right lower limb").
    """
    found = set()
    for whole in filter(None, re.split(r" / |; ", title.strip())):
        plain = UNSPECIFIED.sub("", ASIDE.sub("", whole)).strip(" -,")
        start = TAIL.sub("", plain).strip(" -,")
        found |= {whole}
        found |= {form for form in (plain, HEAD.sub("", plain)) if _tells(form)}
        found |= {
            form for form in (start, HEAD.sub("", start)) if _tells(form) and (" " in form or DISEASE.fullmatch(form))
        }
    return found


def _tells(form: str) -> bool:
    """Two telling words, or one of some length; no phrase that is cut off behind a preposition ("Dissection of")."""
    words = WORD.findall(form.lower())
    telling = [word for word in words if word not in VAGUE and len(word) > 3]
    whole = bool(words) and words[-1] not in ("of", "to", "in", "by", "from", "and", "or")
    return whole and (len(telling) > 1 or any(len(word) >= SHORTEST for word in telling))


class Mentions:
    """Finds the names of all classes at once; `titles` are lists of titles and synonyms by class.

    Case, punctuation between words and a plural s do not matter; a name in capitals alone ("MI", "CHF") matches only so.
    """

    def __init__(self, titles: dict[str, Iterable[str]]):
        classes = defaultdict(set)
        for label, of_class in titles.items():
            for title in of_class:
                for name in names(title):
                    words = WORD.findall(name)
                    key = (name,) if ABBREVIATION.fullmatch(name) else tuple(map(_form, words))
                    classes[key].add(label)
        self._classes = {key: tuple(sorted(labels)) for key, labels in classes.items()}
        lengths = defaultdict(set)
        for key in classes:
            lengths[key[0]].add(len(key))
        self._lengths = {first: sorted(found, reverse=True) for first, found in lengths.items()}

    def find(self, text: str) -> Iterator[Mention]:
        """Yield the mentions of a normalised text in order, the longest name where several begin at a word."""
        spans = [match.span() for match in WORD.finditer(text)]
        words = [text[start:end] for start, end in spans]
        forms, place, families = [_form(word) for word in words], 0, None
        while place < len(words):
            key = self._longest(words, forms, place)
            if key is None or "\n\n" in text[spans[place][0] : spans[place + len(key) - 1][1]]:
                place += 1
                continue
            start, end = spans[place][0], spans[place + len(key) - 1][1]
            if families is None:
                families = [(s.start, s.end) for s in sections(text) if s.name == "family_history"]
            of_relative = any(first <= start < last for first, last in families)
            yield Mention(start, end, self._classes[key], not of_relative and _affirmed(text, start, end))
            place += len(key)

    def _longest(self, words: list[str], forms: list[str], place: int) -> tuple[str, ...] | None:
        for length in self._lengths.get(forms[place], ()):
            if (key := tuple(forms[place : place + length])) in self._classes:
                return key
        return key if (key := (words[place],)) in self._classes else None

    def mask(self, text: str, which: Literal["affirmed", "all"]) -> tuple[str, int]:
        """The text with `MARK` for each mention of any class, and how many there were.

        Of any class and not of the note's own alone: else the mark itself would say the label.
        """
        pieces, place, count = [], 0, 0
        for mention in self.find(text):
            if which == "all" or mention.affirmed:
                pieces += [text[place : mention.start], MARK]
                place, count = mention.end, count + 1
        return "".join(pieces) + text[place:], count


def _form(word: str) -> str:
    word = word.lower().removesuffix("'s")
    return word[:-1] if len(word) > 4 and word.endswith("s") and not word.endswith(("ss", "is", "us")) else word


def _affirmed(text: str, start: int, end: int) -> bool:
    """Not denied, ruled out or of a relative, by the words of its sentence."""
    before = BEFORE.search(text, max(0, start - REACH), start)
    if before and not (before["cue"] and ENDS_NEGATION.search(before["between"])):
        return False
    return not BEHIND.match(text, end)
