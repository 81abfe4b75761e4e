"""Dates in the forms that notes use: found, and shifted without a change of form."""

import re
from bisect import bisect_right
from calendar import monthrange
from collections.abc import Iterator
from datetime import date, timedelta

from diagnosis.phi.spans import Span

MONTHS = "january february march april may june july august september october november december".split()
NUMBER_OF = {name: number for number, name in enumerate(MONTHS, 1)} | {
    name[:3]: number for number, name in enumerate(MONTHS, 1)
} | {"sept": 9}  # fmt: skip
MONTH = r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
YEAR = r"(?:1[89]|2[0-2])\d\d"
NOW = 2030  # no clock is asked: until then two digits are rightly read, and a year of birth of whoever may be over 89 is known
UNKNOWN_YEAR = 2001  # for a date without one, where the note has no full date either; not a leap year

NUMERIC = re.compile(
    rf"""(?:(?<![\w/.\-])|(?<=\d-))(?:
      (?P<y>{YEAR})(?P<s>[-/.])(?P<m>\d\d?)(?P=s)(?P<d>\d\d?)
    | (?P<a>\d\d?)(?P<t>[-/.])(?P<b>\d\d?)(?P=t)(?P<z>{YEAR}|\d\d)
    | (?P<n>\d\d?)[-/](?P<o>{YEAR})
    | (?P<o2>{YEAR})-(?P<n2>0[1-9]|1[0-2])
    )(?![A-SU-Za-z_\d/]|\.\d|-\d(?!\d{{0,3}}[/.-]\d))""",
    re.X,
)
NUMBER = re.compile(r"\d\d{0,3}(?=[-/.]\d)")  # where a date in numbers may begin
EIGHT = re.compile(r"\d\d{7}")
MONTH_WORD = re.compile(
    r"(?:J(?:an|AN|un|UN|ul|UL)|F(?:eb|EB)|M(?:ar|AR|ay|AY)|A(?:pr|PR|ug|UG)|S(?:ep|EP)|O(?:ct|CT)|N(?:ov|OV)|D(?:ec|EC)|jan|feb|mar|apr|may|"
    r"jun|jul|aug|sep|oct|nov|dec)(?<![A-Za-z]...)(?:r?uary|R?UARY|ch|CH|il|IL|e|E|y|Y|ust|UST|t|T|tember|TEMBER|ober|OBER|ember|EMBER)?(?![A-Za-z])"
)
SHORT = re.compile(r"(?<![\w/.+%])(?<![A-Za-z.]-)(?P<a>\d\d?)/(?P<b>\d\d?)(?![\w/%+']|[.]\d|-\d+(?!\d*/))")
COMPACT = re.compile(rf"(?<![\w.\-/])(?P<y>{YEAR})(?P<m>[01]\d)(?P<d>[0-3]\d)(?![\w\-/]|\.\d)")
WRITTEN = re.compile(
    rf"""\b(?:
      (?P<d1>\d\d?)(?P<s1>st|nd|rd|th)?(?P<g1>\s{{0,2}}(?:of\s|day\sof\s)?[-/.]?[ \t]?)(?P<m1>{MONTH})\b\.?
        (?:(?P<h1>,?\s{{1,2}}|[-/.])(?P<y1>{YEAR}|'?\d\d(?![\d:/.]|\s?(?:mg|ml|%))))?
    | (?P<d4>\d\d)(?P<m4>{MONTH})(?P<y4>{YEAR}|\d\d)\b
    | (?P<m2>{MONTH})(?P<g2>\.?\s{{0,2}}[-/]?(?:the\s)?)(?P<d2>\d\d?)(?![\d/]|[:.]\d)(?P<s2>st|nd|rd|th)?
        (?P<r2>\s?[-–]\s?\d\d?(?![\d/:]|\.\d)(?:st|nd|rd|th)?)?
        (?:(?P<h2>\s?,\s?|\s{{1,2}}|[-/.])(?P<y2>{YEAR})\b)?(?![\w])
    | (?P<m3>{MONTH})(?P<g3>\.?,?\s{{1,2}}(?:of\s)?|[-/])(?P<y3>{YEAR}|'\d\d)\b
    )(?<![-/.\s])""",
    re.X | re.I,
)
CALENDAR_ONLY = frozenset(
    "January February April June July August September October November December".split()
)  # May and March are verbs, and need a word before
BEFORE_MONTH = frozenset(
    "in since until till through during by from last this next early late mid of before after around every each to".split()
)
BEFORE_SHORT = frozenset(
    """on since from until till dated date dates through thru by before after starting started start beginning ending ended
    admitted discharged scheduled seen done drawn visit dos dob born expires expired week evening morning night afternoon
    monday tuesday wednesday thursday friday saturday sunday mon tue tues wed thu thur thurs fri sat sun last
    surgery procedure completed placed removed performed labs lab cxr ct mri echo ekg culture cultures ended due appointment
    f/u followup follow-up returned return presented taken obtained received given noted around approximately circa""".split()
)
NOT_BEFORE_SHORT = frozenset(
    """strength motor power pain scale score grade graded murmur apgar apgars gcs mallampati reflexes reflex pulses pulse bp
    pressure mmse moca vision va acuity od os ou dtr dtrs level rated intensity severity systolic diastolic ratio stage
    gleason nyha hpf blast criteria sirs out about positive""".split()
)
NOT_AFTER_SHORT = re.compile(
    r"\s*-?(?:mmhg|strength|systolic|diastolic|murmur|sem\b|hsm\b|power|pain|scale|inch(?:es)?\b|cm\b|mm\b|mg|ml|cc\b|cups?\b|tab|tsp|teaspoon|"
    r"tablespoon|dose|of\b|the\b|pack|ppd|bottles?|gravity|reflex|dtr|bilateral|throughout|sirs|criteria|lobe|hour|day\b|days\b|"
    r"week|month|year|liter|pint|ns\b|normal|strip|sutures?|x\b|and\s\d/\d|blood|pulses?|nodes?|cores?|bottle|quadrants?|muscle|in all)",
    re.I,
)  # fmt: skip
WORDS_BEFORE = re.compile(r"[A-Za-z][A-Za-z/'-]*")


def find_dates(text: str) -> Iterator[Span]:
    """Dates but bare years, in no order; where two overlap, the first yielded is the better reading."""
    previous = -10
    for start in [match.start() for match in NUMBER.finditer(text)]:
        apart = text[start - 1 : start] != "-" or previous == start - 1  # 3/4/2019-3/7/2019, but no end of a code
        match = NUMERIC.match(text, start) if apart else None
        if not (match and parts(match)):
            match = SHORT.match(text, start)
            if not (match and _short_date(text, match, previous)):
                continue
        previous = match.end()
        yield Span(*match.span(), "DATE")
    for eight in EIGHT.finditer(text):
        if (match := COMPACT.match(text, eight.start())) and parts(match) and _date_word(text, match.start()):
            yield Span(*match.span(), "DATE")
    for month in MONTH_WORD.finditer(text):
        near = WRITTEN.finditer(text, max(0, month.start() - 14), month.end() + 24)
        match = next((match for match in near if match.start() <= month.start() < match.end()), None)
        if match:
            if parts(match) and not _verb(match):
                yield Span(*match.span(), "DATE")
        elif month[0][0].isupper() and (month[0].lower() in MONTHS or _abbreviated(text, month)):
            if month[0] in CALENDAR_ONLY and not _first_name(text, month):
                yield Span(*month.span(), "DATE")
                continue
            before = _words_before(text, month.start())
            verb = month[0] in ("MAY", "MARCH") and before[-1:] and before[-1] in ("to", "this", "each")
            if before and before[-1] in BEFORE_MONTH and not verb:
                yield Span(*month.span(), "DATE")


def _first_name(text: str, month: re.Match) -> bool:
    """August, April and June are first names where a capital follows or a name goes before."""
    return month[0] in ("August", "April", "June") and bool(
        re.match(r" [A-Z]", text[month.end() : month.end() + 2])
        or not re.search(r"(?:[a-z]|[A-Z]{2}|\d)[,:]? $", text[max(0, month.start() - 4) : month.start()])
    )


def _abbreviated(text: str, month: re.Match) -> bool:
    """Oct and Sept., but not DEC (decreased), the beginning of María, nor Jun Hao."""
    short = month[0].istitle() and month[0].lower() in NUMBER_OF
    return short and not re.match(r"\w|[.]? [^\W\d_a-z]", text[month.end() : month.end() + 3])


def _words_before(text: str, start: int) -> list[str]:
    return [word.lower().rstrip("-") for word in WORDS_BEFORE.findall(text, max(0, start - 30), start)]


def _date_word(text: str, start: int) -> bool:
    return bool(
        {"date", "dob", "on", "dated", "birth", "admitted", "discharged"} & set(_words_before(text, start)[-2:])
    )


def _verb(match: re.Match) -> bool:
    """ "may 5 mg", "type 1 may": in lower case, without a year or ordinal, the word is a verb; "8 and 9. May resume" too."""
    said = match.groupdict()
    if said["g1"] and said["g1"].startswith(". ") and not said["y1"]:
        return True
    month = said["m1"] or said["m2"]
    return month in ("may", "march") and not (said["y1"] or said["y2"] or said["s1"] or said["s2"])


def _short_date(text: str, match: re.Match, previous: int) -> bool:
    """Whether "3/4" is the fourth of March: a score, a fraction and a blood pressure look the same."""
    month, day = int(match["a"]), int(match["b"])
    if not (1 <= month <= 12 and 1 <= day <= monthrange(2000, month)[1]):
        return False
    if NOT_AFTER_SHORT.match(text, match.end()):
        return False
    gap = text[max(0, match.start() - 12) : match.start()]
    if match.start() - previous <= 6 and re.fullmatch(
        r"\s?(?:[-–,&]|to|and|through)\s?", text[previous : match.start()]
    ):
        return True
    if text[match.end() : match.end() + 1] == "-" and re.match(r"-\d\d?/\d", text[match.end() : match.end() + 5]):
        return True
    before = _words_before(text, match.start())[-3:]
    if NOT_BEFORE_SHORT & set(before):
        return False
    if before and before[-1] in BEFORE_SHORT and re.search(r"[A-Za-z][.]?[\s:(]{0,3}$", gap):
        return True
    share = text[match.start() - 1 : match.start()] == "(" or re.match(
        r"\s?\(|\s[a-z]+s\b", text[match.end() : match.end() + 20]
    )
    return day > 12 and not share  # "8/18 patients", "44% (8/18)"


def parts(match: re.Match) -> tuple[int | None, int | None, int | None] | None:
    """(year, month, day) that the match states, null where it does not; null where there is no such date."""
    groups = match.groupdict()
    if match.re is WRITTEN:
        for n in "1423":
            if groups.get(f"m{n}"):
                day, year = groups.get(f"d{n}"), groups.get(f"y{n}")
                return _checked(_year(year), NUMBER_OF.get(groups[f"m{n}"].lower()), day and int(day))
        return None
    if match.re is SHORT:
        return _checked(None, int(groups["a"]), int(groups["b"]))
    for month, year in (("n", "o"), ("n2", "o2")):
        if groups.get(month):
            return _checked(int(groups[year]), int(groups[month]), None)
    if groups.get("y"):
        return _checked(int(groups["y"]), int(groups["m"]), int(groups["d"]))
    first, second, year = int(groups["a"]), int(groups["b"]), _year(groups["z"])
    if groups["t"] == "." and len(groups["z"]) == 2 and not (len(groups["a"]) == len(groups["b"]) == 2):
        return None  # 3.4.19 is more often a version or a list
    return _checked(year, first, second) if first <= 12 else _checked(year, second, first)


def _year(written: str | None) -> int | None:
    if written is None:
        return None
    number = int(written.lstrip("'"))
    return number if number > 99 else number + (2000 if number <= NOW % 100 else 1900)


def _checked(year: int | None, month: int | None, day: int | None):
    if month is None or not 1 <= month <= 12 or (day is not None and not 1 <= day <= 31):
        return None
    return year, month, day


def years_in(text: str, spans: list[Span]) -> tuple[list[int], list[int]]:
    """Where full dates stand and their years: what a date without a year is taken to mean nearby."""
    starts, years = [], []
    for span in spans:
        if span.kind == "DATE" and (match := _match(text[span.start : span.end])):
            stated = parts(match)
            if stated and stated[0]:
                starts.append(span.start)
                years.append(stated[0])
    return starts, years


def year_of(written: str) -> int | None:
    """The year that a found date states, in four digits or two."""
    stated = (match := _match(written)) and parts(match)
    return stated[0] if stated else None


def year_near(position: int, known: tuple[list[int], list[int]]) -> int:
    """The year of the last full date before a position, else of the first one, else one that is no leap year."""
    starts, years = known
    return years[max(0, bisect_right(starts, position) - 1)] if starts else UNKNOWN_YEAR


def _match(written: str) -> re.Match | None:
    for pattern in (NUMERIC, COMPACT, SHORT, WRITTEN):
        if match := pattern.fullmatch(written):
            return match
    return None


def shift(written: str, days: int, year: int = UNKNOWN_YEAR) -> str | None:
    """A found date moved by `days`, in the same form; `year` stands in where none is written.

    Months without a day move as their 15th does, and by at least a month. Null where the text is no date.
    """
    if month := NUMBER_OF.get(written.lower()):
        moved = _moved(year, month, None, days)
        if moved.month == month:
            moved += timedelta(days=31 if days > 0 else -31)
        return _month_like(moved.month, written)
    match = _match(written)
    stated = match and parts(match)
    if not stated:
        return None
    moved = _moved(stated[0] or year, stated[1], stated[2], days)
    if stated[0] is None and (moved.month, moved.day if stated[2] else 0) == (stated[1], stated[2] or 0):
        moved += timedelta(days=1 if days > 0 else -1)  # a whole year to and fro would show the same day
    if stated[2] and match.groupdict().get("r2"):
        length = int(re.search(r"\d+", match["r2"])[0]) - stated[2]
        return _fill(match, moved, moved + timedelta(days=max(length, 1)))
    return _fill(match, moved, None)


def _moved(year: int, month: int, day: int | None, days: int) -> date:
    last = monthrange(year, month)[1]
    moved = date(year, month, min(day or 15, last)) + timedelta(days=days)
    if day is None and moved.month == month and moved.year == year:
        moved += timedelta(days=31 if days > 0 else -31)
    return moved


def _fill(match: re.Match, moved: date, until: date | None) -> str:
    """The match's text with each part replaced where it stands."""
    groups = match.groupdict()
    day_first = bool(groups.get("a")) and match.re is NUMERIC and int(groups["a"]) > 12
    value = {"y": moved.year, "z": moved.year, "o": moved.year, "o2": moved.year, "n2": moved.month, "y1": moved.year, "y2": moved.year, "y3": moved.year,
             "y4": moved.year, "m": moved.month, "n": moved.month, "m1": moved.month, "m2": moved.month,
             "m3": moved.month, "m4": moved.month, "d": moved.day, "d1": moved.day, "d2": moved.day, "d4": moved.day,
             "a": moved.day if day_first else moved.month, "b": moved.month if day_first else moved.day,
             "s1": moved.day, "s2": moved.day}  # fmt: skip
    padded = match.re is COMPACT or any(
        (groups.get(name) or "").startswith("0") for name in ("m", "d", "a", "b", "n", "n2", "d1", "d2", "d4")
    ) or bool(groups.get("d4"))  # fmt: skip
    padded = padded or (groups.get("y") is not None and len(groups["m"]) == len(groups["d"]) == 2)
    result, place = "", match.start()
    for name in sorted((n for n in groups if groups[n] is not None), key=match.start):
        if name == "r2" and until:
            new = re.sub(r"\d+(?:st|nd|rd|th)?", _end_of_range(until, moved, groups["r2"]), groups["r2"])
        elif name not in value:
            continue
        elif name in ("s1", "s2"):
            new = _like(_ordinal(value[name]), groups[name])
        elif name[0] == "m" and name != "m":
            new = _month_like(value[name], groups[name])
        elif name[0] in "yzo":
            written = groups[name]
            new = f"{value[name]:04d}" if len(written) == 4 else written[:-2] + f"{value[name] % 100:02d}"
        else:
            new = f"{value[name]:02d}" if padded else str(value[name])
        result += match.string[place : match.start(name)] + new
        place = match.end(name)
    return result + match.string[place : match.end()]


def _end_of_range(until: date, start: date, written: str) -> str:
    day = f"{until.day}{_ordinal(until.day) if re.search('[a-z]', written) else ''}"
    return day if until.month == start.month else f"{MONTHS[until.month - 1].title()} {day}"


def _ordinal(day: int) -> str:
    return "th" if 11 <= day <= 13 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")


def _month_like(month: int, written: str) -> str:
    name = MONTHS[month - 1]
    if written.lower() not in MONTHS:
        name = name[:3]
    return _like(name, written)


def _like(word: str, written: str) -> str:
    """`word` with the capitals of `written`."""
    if written.isupper() and len(written) > 1:
        return word.upper()
    return word.capitalize() if written[:1].isupper() else word.lower()
