"""Whether a finding is denied, past, of a relative or only feared: the words around it decide.

The method is NegEx (Chapman et al. 2001, A simple algorithm for identifying negated findings and diseases in discharge
summaries, J Biomed Inform 34) and ConText (Harkema et al. 2009, ConText: an algorithm for determining negation, experiencer, and
temporal status from clinical reports, J Biomed Inform 42): a phrase opens a scope before or behind it, which ends with the
sentence or at a word that closes it. The phrases are written anew.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import NamedTuple

from diagnosis.text.normalise import STOP_WORDS, normalise
from diagnosis.text.sections import sections

KINDS = ("family", "negated", "hypothetical", "historical")
"""In the order in which one mark is chosen for a word of several scopes."""

# The finding stands behind these phrases ("no fever") ...
BEHIND = {
    "negated": "no; not; without; w/o; denies; denied; deny; denying; never; nor; neither; none of; cannot; can't; didn't; doesn't; "
    "don't; isn't; wasn't; weren't; aren't; hasn't; haven't; hadn't; couldn't; negative for; neg for; free of; absence of; lack of; lacks; lacked; "
    "lacking; no evidence of; no evidence for; no sign of; no signs of; no history of; no known; no longer; "
    "ruled out for; rules out; ruled out; fails to reveal; failed to reveal; fails to show; failed to show; resolution of; "
    "unremarkable for; unlikely; rather than; instead of; not consistent with; inconsistent with; not suggestive of; do not believe; excluded; excludes; resolved",
    "historical": "history of; histories of; h/o; hx of; hx; past medical history; past medical history of; past medical history significant for; "
    "pmh of; pmh; past history; past surgical history; medical history; surgical history; previous; previously; "
    "prior; status post; s/p; remote; former; formerly; childhood; known; known to have; past; old; no history of; sequelae of",
    "family": "family history; family hx; family medical history; fhx; fh; runs in the family",
    "hypothetical": "if; should she; should he; should you; should they develop; should the patient; in case of; in the event of; watch for; monitor for; "
    "return for; call for; look for; evaluate for; to rule out; rule out; r/o; risk of; risks of; risk for; prevent; prevention of; prophylaxis for; return with; "
    "any of the following; as needed for; p.r.n. for; prn for; prn; instructed to return",
}
# ... or before these ("fever was absent").
BEFORE = {
    "negated": "was negative; were negative; is negative; are negative; negative; was ruled out; were ruled out; is ruled out; "
    "has been ruled out; have been ruled out; been ruled out; was excluded; were excluded; been excluded; not seen; was not seen; were not seen; not identified; "
    "not present; not noted; not appreciated; not found; not detected; not visualized; not demonstrated; not observed; not palpable; not palpated; not evident; not reported; not heard; not felt; not elicited; not be seen; not be identified; not be found; not be demonstrated; not be appreciated; not be palpated; "
    "is absent; was absent; are absent; were absent; absent; is unlikely; was unlikely; unlikely; "
    "resolved; has resolved; have resolved; had resolved; appears to have resolved; seems to have resolved; seemed to have resolved; completely resolved; subsided; was denied; were denied; are denied; is denied; been denied; "
    "none; nil; nonpalpable; nonexistent; did not occur",
    "historical": "in the past; years ago; year ago; months ago; history; as a child; in childhood",
    "family": "runs in the family; runs in his family; runs in her family; in the family; in his family; in her family",
    "hypothetical": "precautions; prophylaxis",
}
# They look like the above and open nothing.
NOTHING = (
    "no change in size; no change in position; no change in the; no change in his; no change in her; no change from; no change since; "
    "no significant change; no significant changes; no interval change; no acute change; no increase; no significant increase; "
    "no decrease; no improvement; no difficulty; without difficulty; without incident; without complication; without complications; "
    "not changed; has not changed; have not changed; not significantly changed; not only; not sure; "
    "not rule out; not ruled out; cannot be ruled out; cannot be excluded; can not be excluded; cannot exclude; not exclude; not excluded; "
    "could not be excluded; could not be ruled out; cannot rule out; can't rule out; gram negative; rh negative; negative pressure; "
    "negative inspiratory; no doubt; no further evaluation; no further workup; no further treatment; do not know; not know; without contrast; without intravenous contrast; without iv contrast; with and without contrast; with and without; without change; without interval change; negative deflection; negative deflections; not otherwise; not tolerate; not want; "
    "not wish; not take; not taking; not able to; not follow; not return; not improve; not improved; not relieved; not helped; not respond; not resolved; has not resolved; have not resolved; no relief; without relief; no response; no specific relief; not yet; not limited to; whether or not; or not; "
    "not to; as if; no chance; not a candidate; not smoke; not drink; no specific; "
    "history and physical; history and physical examination; history taking; history is; history was; brief history; interval history; "
    "clinical history; social history; family history; present history; history source; medication history; allergy history; history obtained; old records; old record; year old; years old; yr old; "
    "month old; months old; week old; weeks old; day old; days old; past few; past several; past week; past weeks; past two; past three; past day; past days; "
    "past month; past 24; past 2; past 3; well known; known to us; known to this; prior to; previous to; old chart; old charts; day history; days history; week history; "
    "weeks history; month history; months history; hour history; hours history; year history; day history of; week history of; month history of; hour history of; "
    "year history of; days history of; weeks history of; months history of; history of present illness; history of the present illness; presenting history; "
    "no previous; what if; even if; known allergies; known drug allergies"
)
# Where every scope ends.
CLOSES = (
    "but; however; nevertheless; yet; though; although; except; except for; apart from; aside from; other than; otherwise; besides; "
    "secondary to; due to; because; because of; which; who; "
    "that is; then; until; since; still; so; she is; he is; she was; he was; she has; he has; she had; he had; she did; he did; patient is; "
    "patient was; patient has; patient had; they are; they were; there is; there are; there was; there were; it is; it was; "
    "and is; and was; and has; and had; and positive for; positive for; admits; admits to; reports; complains; complained; complaining; notes; and noted; "
    "consistent with; suggestive of; compatible with; presumed; apparently; "
    "with the exception of; in addition; while; whereas; when; after; before; and reported; and states; and stated; and feels; and he; and she; and the patient; and they; "
    "and there; and it; she does; he does; patient does; the patient"
)
# Where what is past, or a relative's, or feared, ends too.
CLOSES_TIME = (
    "presents; presented; presenting; admitted; transferred; today; currently; now; this morning; this time; this admission; came; comes; "
    "seen; brought; underwent; here; is here; referred; found; discharged; sent; started; complicated by; will; "
    "no; not; denies; denied; without; chief complaint; on admission; recent; recently; new; acute; worsening; return; returned"
)
# A condition goes on through clauses: "if she has fever or there is redness, she should return".
CLOSES_CONDITION = "but; however; otherwise; then; until; she should; he should; they should; you should; please; she will; he will; will"
RELATIVE = re.compile(
    r"\b(?:mother|father|brother|sister|sibling|son|daughter|parent|grandmother|grandfather|grandparent|aunt|uncle|cousin|"
    r"maternal|paternal)(?:'?s)?\b",
    re.IGNORECASE,
)
# A relative is the subject where this follows; else he reports, drives, or lives with the patient.
HAS = re.compile(
    r"(?: ?[,:-]|(?: \w+){0,3}? (?:has|had|have|with|died|dies|dying|deceased|passed|suffers|suffered|diagnosed|developed|history|"
    r"hx|positive|being|is|was)\b(?! (?:here|present|at|in|by|called|able|unable|concerned|told|asked|notified|informed|the|his|her|aware)\b))",
    re.IGNORECASE,
)
IN_RELATIVE = re.compile(r"\b(?:in|of) (?:his|her|the|a|both|one|an)(?: \w+)? $", re.IGNORECASE)
BESIDE = re.compile(
    r"\b(?:by|per|from|with|to) (?:his |her |the |their )?(?:\w+ and )?$", re.IGNORECASE
)  # "brought by his mother"

# No sentence ends at these full stops. A line ends one before an item or a heading, and behind a full stop or a colon.
NO_END = "".join(
    rf"(?<!\b{word}\.)"
    for word in ("Dr", "Mr", "Ms", "Mrs", "St", "Mt", "Jr", "vs", "No", "p.o", "i.v", "q.d", "b.i.d", "h.s")
)
SENTENCE_END = re.compile(
    rf"[.!?]{NO_END}[\"')]*(?=\s+[^a-z\s])|[.:]\n|\n(?=\s*\n|\s*(?:[-*#•]|\d{{1,2}}[.)] |[A-Z][^\n:]{{0,40}}:))"
)
LABEL = re.compile(r"(?<=[.;,] )[A-Z][A-Za-z /-]{1,30}: ?")  # "… no rash, Lungs: clear": another topic
BLANKS = re.compile(r"[\s-]+")
STANDS_ALONE = re.compile(
    r"\s*(?:[.,;:)]|$|(?:and|or|on|in|by|to|at)\b)"
)  # "D-dimer negative.", not "negative troponin"
WORD = re.compile(r"[\w']+(?:/[\w']+)*")


def _triggers() -> dict[str, tuple[re.Pattern, dict[str, list[tuple[str, str]]]]]:
    """By first word: the pattern of its phrases, longest first, and each phrase's (kind, side)."""
    listed = [(NOTHING, "", "nothing"), (CLOSES_CONDITION, "hypothetical", "close")]
    listed += [(CLOSES, kind, "close") for kind in ("negated", "historical", "family")]
    listed += [(CLOSES_TIME, kind, "close") for kind in ("historical", "family")]
    listed += [(text, kind, "behind") for kind, text in BEHIND.items()]
    listed += [(text, kind, "before") for kind, text in BEFORE.items()]
    by_word: dict[str, dict[str, list]] = {}
    for text, kind, side in listed:
        for phrase in text.split("; "):
            by_word.setdefault(WORD.match(phrase)[0], {}).setdefault(phrase, []).append((kind, side))
    return {
        word: (
            re.compile(
                "(?:"
                + "|".join(
                    re.escape(phrase).replace(r"\ ", r"[\s-]+") for phrase in sorted(meanings, key=len, reverse=True)
                )
                + r")(?![\w'])",
                re.IGNORECASE,
            ),
            meanings,
        )
        for word, meanings in by_word.items()
    }


TRIGGERS = _triggers()


class Scope(NamedTuple):
    """A stretch of text in which what is found is of a kind (of `KINDS`), and the phrase that says so."""

    kind: str
    start: int
    end: int
    phrase: tuple[int, int]


def scopes(text: str) -> list[Scope]:
    """The scopes of a normalised text in order of their phrases. They may overlap, and never hold their own phrase."""
    return _scopes(text, list(_hits(text)))


def _scopes(text: str, hits: list[tuple[int, int, str, str]]) -> list[Scope]:
    ends = [0, *(match.end() for match in SENTENCE_END.finditer(text)), len(text)]
    labels = [match.span() for match in LABEL.finditer(text)]
    found: list[Scope] = []
    closing = {
        kind: sorted([(s, e) for s, e, closed, side in hits if side == "close" and closed == kind] + labels)
        for kind in KINDS
    }
    for start, end, kind, side in hits:
        if side not in ("behind", "before"):
            continue
        shut = closing[kind]
        if side == "behind":
            limit = ends[bisect_left(ends, end)] if end else len(text)
            at = bisect_left(shut, (end, end))
            limit = min(limit, shut[at][0]) if at < len(shut) else limit
            found.append(Scope(kind, end, limit, (start, end)))
        else:
            limit = ends[bisect_right(ends, start) - 1]
            at = bisect_right(shut, (start, start)) - 1
            limit = max(limit, shut[at][1]) if at >= 0 else limit
            found.append(Scope(kind, limit, start, (start, end)))
    return found


def _hits(text: str):
    """(start, end, kind, side) of each trigger; a longer phrase hides what is within it."""
    done = 0
    for word in WORD.finditer(text):
        entry = TRIGGERS.get(word[0].lower())
        if entry and word.start() >= done and (match := entry[0].match(text, word.start())):
            done = match.end()
            phrase = BLANKS.sub(" ", match[0].lower())
            if phrase == "negative" and not STANDS_ALONE.match(text, done):
                continue
            for kind, side in entry[1][phrase]:
                yield word.start(), done, kind, side
    for match in RELATIVE.finditer(text):
        before = max(0, match.start() - 30), match.start()
        if within := IN_RELATIVE.search(text, *before):
            yield within.start(), match.end(), "family", "before"
        elif not BESIDE.search(text, *before) and (has := HAS.match(text, match.end())):
            yield match.start(), has.end(), "family", "behind"


def assertions(text: str, spans: Iterable[tuple[int, int]], *, headings: bool = False) -> list[frozenset[str]]:
    """The kinds (of `KINDS`) of each span of a normalised text: those of the scopes that it overlaps; with `headings` those of
    `note_scopes`."""
    found = note_scopes(text) if headings else scopes(text)
    return [
        frozenset(
            scope.kind
            for scope in found
            if scope.start < end
            and start < scope.end
            and not start <= scope.phrase[0] < end  # "lungs without rales" is a finding
        )
        for start, end in spans
    ]


# ---------------------------------------------------------------- what cleaning does with it

MARKS = {"family": "FAMILY_", "negated": "NOT_", "hypothetical": "IF_", "historical": "PAST_"}
MARKED = tuple(MARKS.values())
DROPPED = ("family", "negated", "hypothetical")
UNMARKED = STOP_WORDS | TRIGGERS.keys() | {"and", "or", "any", "other"}
HEADING_END = re.compile(r"[:\n]")
HEADING = re.compile(r"^[^\n:]{1,60}:", re.MULTILINE)


def note_scopes(text: str) -> list[Scope]:
    """`scopes`, and the whole of the sections of past and family history, whose phrase is their heading."""
    return scopes(text) + _history(_headed(text))


def _headed(text: str) -> list[tuple[str, int, int, int]]:
    """(name, start, end of the heading, end) of each section."""
    found = []
    for name, start, end, _ in sections(text):
        heading = HEADING_END.search(text, start, end)
        found.append((name, start, heading.end() if heading else end, end))
    return found


def _history(headed: list[tuple[str, int, int, int]]) -> list[Scope]:
    kinds = {"past_history": "historical", "family_history": "family"}
    return [Scope(kinds[name], body, end, (start, body)) for name, start, body, end in headed if name in kinds]


def mark(text: str) -> tuple[str, int]:
    """The text with the words of each scope marked ("no NOT_fever", "mother had FAMILY_asthma"), and how many those are.

    For models that count words (Das and Chen 2001, Yahoo! for Amazon). Numbers, function words, headings and the phrases that open
    or end scopes stay as they are. Marked text marked again is the same.
    """
    kinds: dict[int, str] = {}
    hits, headed = list(_hits(text)), _headed(text)
    starts = [word.start() for word in WORD.finditer(text)]
    for scope in _scopes(text, hits) + _history(headed):
        for start in starts[bisect_left(starts, scope.start) : bisect_left(starts, scope.end)]:
            kinds[start] = min(kinds.get(start, scope.kind), scope.kind, key=KINDS.index)
    kept = [match.span() for match in HEADING.finditer(text)] + [(start, end) for start, end, _, _ in hits]
    kept += [(start, body) for name, start, body, _ in headed if name != "opening"]
    for start, end in kept:
        for at in starts[bisect_left(starts, start) : bisect_left(starts, end)]:
            kinds.pop(at, None)

    count = 0

    def write(match: re.Match) -> str:
        nonlocal count
        word = match[0]
        kind = kinds.get(match.start())
        if kind is None or not word[0].isalpha() or word.startswith(MARKED) or word.lower() in UNMARKED:
            return word
        count += 1
        return MARKS[kind] + word

    return WORD.sub(write, text), count


def drop(text: str) -> tuple[str, int]:
    """The text without what is denied, a relative's or only feared, phrases included, and how many stretches went.

    What is past stays. Again until nothing goes: what is left may stand together in a new way.
    """
    count = 0
    while gone := _merged(
        (min(s.start, s.phrase[0]), max(s.end, s.phrase[1])) for s in note_scopes(text) if s.kind in DROPPED
    ):
        edges = [0, *(edge for span in gone for edge in span), len(text)]
        text = normalise("".join(text[start:end] for start, end in zip(edges[::2], edges[1::2], strict=True)))
        count += len(gone)
    return text, count


def _merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    result: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((start, end))
    return result
