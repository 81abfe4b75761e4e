"""Find what identifies somebody in a note: every rule in one order, the surest first."""

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from diagnosis.phi.dates import NOW, find_dates
from diagnosis.phi.identifiers import MASKS, find_by_form, find_labelled, find_phones
from diagnosis.phi.names import Name, find_known, find_names
from diagnosis.phi.places import find_places
from diagnosis.phi.spans import Span, Spans

WORD = re.compile(r"[^\W_]+")
TENS = "ninety(?:[ -](?:one|two|three|four|five|six|seven|eight|nine))?|(?:one|a)[ -]hundred(?:[ -](?:and[ -])?(?:one|two|three|four|five|six|seven|eight|nine|ten))?"
AGE = re.compile(
    rf"""(?<![\w./-])(?P<before>9\d|1[0-2]\d|{TENS})(?=[ -]{{0,2}}(?:y/?\.?o\b|yo[MFmf]\b|yrs?\b|years?[ -]{{0,2}}(?:-old|old|of\sage|young)))
    | \b(?:his|her|their)\s(?:(?:early|mid|middle|late)[ -]{{1,2}})?(?P<decade_in_words>nineties)\b
    | \b(?:age|aged|age\sof|age:|age\sis)\s{{0,2}}:?\s?(?P<after>9\d|1[0-2]\d)(?![\w/%]|\.\d|\s(?:days|weeks|months|hours))
    | (?<![\w./-])(?P<sex>9\d|1[01]\d)(?=\s?(?:(?-i:[MF])|y|yF|yM|yr|yo)\b(?!/))
    | \b(?:he|she|patient|pt)\sis\s(?:now\s|currently\s)?(?P<plain>9\d|1[01]\d)(?=[,;]|\.\s|\.?$|\sand\s)
    | (?<![\w./-])(?P<birthday>9\d|1[01]\d)(?:st|nd|rd|th)\sbirthday
    | \b(?:his|her|their)\s(?:(?:early|mid|middle|late)[ -]{{1,2}})?(?P<decade>90['’]?s)\b
    | \b(?:died|dead|dying|deceased|passed(?:\saway)?|expired|lived|living)\s(?:at|to|to\sbe)\s(?P<died>9\d|1[01]\d)(?=[,;)]|\.(?!\d)|\s(?:of|from|with|and|in)\s|\s?$)
    | \b(?:mother|father|sister|brother|wife|husband|aunt|uncle|grandmother|grandfather|spouse|mom|dad)(?:,\s|\s\()(?P<relative>9\d|10\d|11\d)(?=[,;)])
    | \b(?:turned|turning|is\snow|now|at)\s(?P<turned>9\d|1[01]\d)(?=\s(?:years|last|this|in\s|and\slives))""",
    re.X | re.I,
)
AGED = re.compile(r"\b(?:(?:super)?centenarian|nonagenarian)s?\b", re.I)
BORN = re.compile(
    r"""(?:\bborn\s|\bd\.?o\.?b\.?|birth|birth\s?(?:date|day|year)|year\sof\sbirth|\bb\.)(?:\s?[:=(]|\s(?:is|was|year))?\s{0,3}
    (?P<told>(?:in\s(?:the\syear\s)?)?(?P<year>(?:1[89]|2[01])\d\d))(?![\w/-]|\.\d|\s?(?:g|gm|gms|grams?|hours?|hrs?)\b)""",
    re.X | re.I,
)
BIRTH_PIECES = ["orn ", "ORN ", "irth", "IRTH", "dob", "Dob", "DOB", ".o.b", ".O.B", "b. 1", "b.1", "B. 1"]
FULL_YEAR = re.compile(r"(?:1[89]|2[0-2])\d\d(?<!\d\d\d\d\d)(?!\d)")
MASK_PIECES = ["[", "**", "___", "xx", "xX", "Xx", "XX"]
OVER_89 = re.compile(r"9\d(?<!\d..)(?!\d)|1[0-2]\d(?<!\d...)(?!\d)")
IN_WORDS = re.compile(r"[Nn]inet(?:y|ies)|NINETY|[Hh]undred|HUNDRED")
GENDER = re.compile(
    r"\b(?:(?P<relative>(?P<woman>(?:grand|step|god)?(?:mother|daughter)|sister|wife|aunt|niece|mom|girlfriend|fianc[ée]e)|(?:grand|step|god)?"
    r"(?:father|son)|brother|husband|uncle|nephew|dad|boyfriend)(?:-in-law)?,?[ (]{1,2}|(?:(?P<miss>M(?:r?s|iss)\.?|Se[ñn]or(?:a|ita))|Mr\.?|Se[ñn]or) )$"
)
PROPAGATED = frozenset("PLACE MRN SSN PLAN ACCOUNT LICENCE VEHICLE DEVICE OTHER_ID BIOMETRIC PHONE FAX".split())


@dataclass(slots=True)
class Known:
    """What a patient's notes gave away in clear places, to be looked for in all of them."""

    names: set[str] = field(default_factory=set)  # lower-case words
    strings: dict[str, str] = field(default_factory=dict)  # as written: its kind
    genders: dict[str, str] = field(default_factory=dict)  # a first name (lower case): "female" or "male"

    def update(self, other: "Known") -> None:
        """Add what another text gave away; in which order the texts come does not matter."""
        self.names |= other.names
        for mine, told in ((self.strings, other.strings), (self.genders, other.genders)):
            for string, kind in told.items():
                mine[string] = min(kind, mine.get(string, kind))


def detect(text: str) -> tuple[list[Span], Known]:
    """What the rules find in one text (in order, without overlap), and what of it to look for in the patient's other texts."""
    spans, known = Spans(len(text)), Known()
    _protect_masks(text, spans)
    for rule in (find_by_form, find_dates, find_phones, find_labelled, _ages, find_places):
        for span in rule(text):
            if spans.add(*span) and span.kind in PROPAGATED:
                string = text[span.start : span.end]
                word = span.kind == "PLACE" and not string.isdigit() and len(string) > 4
                if word or sum(map(str.isdigit, string)) >= 5:
                    known.strings[string] = span.kind
    for name in find_names(text):
        if _add_name(text, name, spans):
            known.names.update(name.words)
            if told := GENDER.search(text, max(0, name.start - 20), name.start):
                relative = told["relative"] is not None
                if name.words and (relative or len(name.words) > 1):  # Mrs. Lopez tells nothing of Lopez
                    known.genders.setdefault(name.words[0], "female" if told["woman"] or told["miss"] else "male")
    return spans.sorted(), known


def everywhere(text: str, found: list, known: Known) -> list[Span]:
    """The spans `found` in a text, and with them every other place where what is `known` of the patient stands."""
    spans = Spans(len(text))
    _protect_masks(text, spans)
    for span in found:
        spans.add(*span)
    for string, kind in sorted(known.strings.items(), key=lambda item: (-len(item[0]), item)):
        place = text.find(string)
        while place >= 0:
            end = place + len(string)
            if not (text[place - 1 : place].isalnum() or text[end : end + 1].isalnum()):
                spans.add(place, end, kind)
            place = text.find(string, end)
    for name in find_known(text, known.names):
        _add_name(text, name, spans)
    return spans.sorted()


def find(text: str) -> list[Span]:
    """What `detect` and `everywhere` find in a text that stands alone."""
    return everywhere(text, *detect(text))


def _add_name(text: str, name: Name, spans: Spans) -> bool:
    """Add a name; where another rule took a part of it (a town that is a surname too), its other words. Says whether it was whole."""
    if spans.add(name.start, name.end, "NAME"):
        return True
    for word in WORD.finditer(text, name.start, name.end):
        spans.add(*word.span(), "NAME")
    return False


def _protect_masks(text: str, spans: Spans) -> None:
    if any(piece in text for piece in MASK_PIECES):
        for match in MASKS.finditer(text):
            spans.protect(*match.span())


def _ages(text: str) -> Iterable[Span]:
    words = any(word in text for word in ("inety", "INETY", "ineties", "undred", "UNDRED"))
    for number in itertools.chain(OVER_89.finditer(text), IN_WORDS.finditer(text) if words else ()):
        for match in AGE.finditer(text, max(0, number.start() - 24), number.end() + 32):
            if match.start() <= number.start() < match.end():
                yield Span(*match.span(match.lastgroup), "AGE")
    if "narian" in text or "NARIAN" in text:
        for match in AGED.finditer(text):
            yield Span(*match.span(), "AGE")
    if any(piece in text for piece in BIRTH_PIECES):
        births = list(BORN.finditer(text))
        latest = max([NOW, *(int(year[0]) for year in FULL_YEAR.finditer(text))]) if births else NOW
        for match in births:
            if latest - int(match["year"]) > 89:
                yield Span(*match.span("told"), "AGE")
