"""Where a note says a diagnosis by name: any class's title or synonym, and how it is meant."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from diagnosis.text.normalise import MARK
from diagnosis.text.sections import sections

WORD = re.compile(r"[^\W_]+(?:'s)?")
TAIL = re.compile(  # what a code book adds to a name
    r",.*|[ -](?:not elsewhere classified|not otherwise specified|unspecified|nec|nos)\b.*|\b(?:without|with|due to)\b.*",
    re.IGNORECASE,
)
ASIDE = re.compile(r" ?[(\[][^()\[\]]*[)\]]")
HEAD = re.compile(
    r"^(?:(?:acute|chronic|other|unspecified|essential|primary|other and unspecified|type \d)[ ,-]+)+", re.I
)
DISEASE_WORD = re.compile(r"^(\w+(?:itis|osis|oma|emia|aemia|pathy|plegia)) (?:of|in)\b", re.IGNORECASE)
VAGUE = frozenset(
    "other unspecified acute chronic disease diseases disorder disorders syndrome condition conditions symptoms injury problem problems "
    "encounter history general own positive negative severe mild moderate normal essential primary secondary specified type".split()
)
SHORTEST = 6  # letters of a name of one word: "fever", "pain" and "cough" are findings
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
    """The forms in which notes write a title: without what only a code book says, "Heart failure, unspecified" → "Heart failure"."""
    found = set()
    for whole in re.split(r" / |; ", title.strip()):
        short = TAIL.sub("", ASIDE.sub("", whole)).strip(" -,")
        forms = {whole, short, HEAD.sub("", short)}
        forms |= {match[1] for form in forms if (match := DISEASE_WORD.match(form))}
        found |= {form for form in forms if _tells(form)}
    return found


def _tells(form: str) -> bool:
    if ABBREVIATION.fullmatch(form):
        return True
    words = WORD.findall(form.lower())
    telling = [word for word in words if word not in VAGUE]
    return bool(telling) and (len(words) > 1 and len(max(telling, key=len)) > 3 or len(words[0]) >= SHORTEST)


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
        self._by_first = defaultdict(list)
        for key in sorted(classes, key=lambda key: (-len(key), key)):
            self._by_first[key[0]].append(key)

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
        for first in (forms[place], words[place]):
            for key in self._by_first.get(first, ()):
                if tuple(forms[place : place + len(key)]) == key or (words[place],) == key:
                    return key
        return None

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
