"""What each probe is given of a note: tokens that hold one possible leak and nothing of the rest.

Tokens are hashed before anything is fitted, so no word of a note is kept.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from diagnosis.text.billing import CODE
from diagnosis.text.label_mentions import Mentions
from diagnosis.text.normalise import normalise
from diagnosis.text.sections import Section, sections

WORD = re.compile(r"\w\w+")
MARKS = re.compile(  # of earlier de-identification, with its kind where it states one
    r"\[\*\*\s*(?P<mimic>[A-Za-z]*)[^\[\]\n]{0,120}\*\*\]|\*\*(?P<star>[A-Z-]{2,25})\b|\[(?P<kind>[A-Z_]{2,12})\]|(?P<letters>\b(?:X{4,}|x{4,})\b)|(?P<line>_{3,})"
)
SIGNATURE = re.compile(
    r"^.*\b(?:[Ss]igned|SIGNED|[Dd]ictated|DICTATED|[Tt]ranscribed|[Aa]uthenticated|[Aa]ttending|M\.?D\b|D\.O\b|NP\b|PA-C\b|R\.?N\b).*$",
    re.MULTILINE,
)
SIGNATURE_WORDS = 20  # a longer line is prose
TEXT_PROBES = ("answer_sections", "metadata", "label_mentions", "template", "marks")
PROBES = (*TEXT_PROBES, "other_admissions")


def tokens(note: dict, mentions: Mentions) -> dict[str, list[str]]:
    """Tokens of a note's texts and fields by probe, and its `headings`."""
    raw = note["text"] if note["text_pair"] is None else f"{note['text']}\n{note['text_pair']}"
    text = normalise(raw)
    found = sections(text)
    return {
        "answer_sections": [word for section in found if is_later(section) for word in _words(text, section)],
        "metadata": [*_metadata(note), *_length("words", len(text.split())), *(f"has {s.name}" for s in found)],
        "label_mentions": [*_named(text, mentions), *_codes(text)],
        "template": list(_template(text, found)),
        "marks": list(_marks(raw)),
        "headings": [section.name for section in found],
    }


def is_later(section: Section) -> bool:
    """Whether a section is written later than admission, as course and diagnosis are; identifiers aside."""
    return not section.at_admission and section.name != "identifiers"


def _words(text: str, section: Section) -> list[str]:
    return WORD.findall(text[section.start : section.end].lower())


def _metadata(note: dict) -> Iterator[str]:
    for column in ("note_type", "service", "site"):
        yield f"{column} {note[column]}"


def _length(what: str, count: int) -> Iterator[str]:
    """A token for each power of the square root of 2 that the count reaches: near counts share most of them."""
    step = 1.0
    while step <= count:
        yield f"{what} from {step:.0f}"
        step *= 2**0.5


def _named(text: str, mentions: Mentions) -> Iterator[str]:
    for mention in mentions.find(text):
        yield from (f"class {label}" for label in mention.classes)


def _codes(text: str) -> Iterator[str]:
    for match in CODE.finditer(text):
        yield from (f"code {code[:3]}" for code in re.findall(r"\w*\d\w+", match[0]))


def _template(text: str, found: list[Section]) -> Iterator[str]:
    """Headings as written, the identifiers' lines, and lines that sign."""
    for section in found:
        if section.name == "identifiers":
            yield from _words(text, section)
        elif section.name != "opening":
            line = text[section.start : section.end].lstrip("\n").split("\n", 1)[0]
            yield f"heading {line.split(':', 1)[0][:60]}"
    for line in SIGNATURE.finditer(text):
        words = WORD.findall(line[0])
        if len(words) <= SIGNATURE_WORDS:
            yield from words


def _marks(text: str) -> Iterator[str]:
    kinds = Counter(
        f"{match.lastgroup} {match[match.lastgroup].lower() if match.lastgroup in ('mimic', 'star', 'kind') else ''}"
        for match in MARKS.finditer(text)
    )
    for kind in sorted(kinds):
        yield from _length(kind, kinds[kind])


def other_admissions(notes: Iterable[dict]) -> dict[str, list[str]]:
    """By note_id, the labels of the patient's other admissions in the shard: earlier and later ones, for no order is stored."""
    of_patient = defaultdict(dict)
    for note in notes:
        if note["patient_id"] is not None:
            encounter = note["encounter_id"] or f"note {note['note_id']}"
            of_patient[note["patient_id"]].setdefault(encounter, set()).update(note["labels"])
    return {
        note["note_id"]: sorted(
            f"label {label}"
            for encounter, labels in of_patient.get(note["patient_id"], {}).items()
            if encounter != (note["encounter_id"] or f"note {note['note_id']}")
            for label in labels
        )
        for note in notes
    }
