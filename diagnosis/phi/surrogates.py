"""What stands in for an identifier: something else of its kind, in its form, the same throughout a patient's notes."""

import importlib
import itertools
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache

from diagnosis.phi.dates import NOW, shift, year_near, year_of, years_in
from diagnosis.phi.keys import Key
from diagnosis.phi.names import PARTICLES, SUFFIXES
from diagnosis.phi.spans import Span, joined

LOCALES = (
    "en_US en_GB es_MX es_ES fr_FR de_DE it_IT pt_BR nl_NL pl_PL cs_CZ hu_HU ro_RO sv_SE no_NO da_DK fi_FI ga_IE tr_TR vi_VN id_ID en_IN "
    "en_NG yo_NG ig_NG ha_NG tw_GH zu_ZA ru_RU uk_UA el_GR ar_SA fa_IR he_IL hi_IN zh_CN zh_TW ja_JP ko_KR th_TH"
).split()  # where a name stands in several lists the first one decides
LISTS = {"female": "first_names_female", "male": "first_names_male", "last": "last_names"}
KEPT_IN_PLACES = frozenset(
    """hospital hospitals medical center centre clinic clinics health healthcare system infirmary hospice nursing home facility care rehab
    rehabilitation memorial general university college school high elementary manor church shelter prison jail county township airport
    dialysis associates physicians group plc llc inc ltd corp pharmacy family practice medicine surgery cancer institute services
    of the and at for st saint mt mount north south east west n s e w ne nw se sw apt apartment suite ste unit rm floor fl building bldg
    box po psc apo fpo dpo aa ae ap uss usns usnv uscgc street avenue ave road rd drive dr lane ln boulevard blvd court ct circle cir
    place pl terrace ter parkway pkwy highway hwy square sq trail trl way plaza route""".split()
)
AGED = {"in": "90+ years ago"} | dict.fromkeys(
    "nonagenarian centenarian supercentenarian nonagenarians centenarians supercentenarians".split(), "90+-year-old"
)  # born in 1925
EMAIL_HOSTS = ("example.org", "example.com", "example.net")
LETTERS = "abcdefghijklmnopqrstuvwxyz"


@cache
def _names() -> dict[tuple[str, str], tuple[str, ...]]:
    """Faker's names of one word by (locale, list), in the package's own order."""
    found = {}
    for locale in LOCALES:
        provider = importlib.import_module(f"faker.providers.person.{locale}").Provider
        for role, attribute in LISTS.items():
            names = getattr(provider, attribute, None) or getattr(provider, "first_names" if role != "last" else "", ())
            plain = tuple(dict.fromkeys(n for n in names if isinstance(n, str) and n.isalpha() and len(n) < 16))
            if len(plain) >= 10:
                found[locale, role] = plain
    return found


@cache
def _list_of() -> dict[str, tuple[str, str]]:
    """The first list in which a name (lower case) stands."""
    where = {}
    for place, names in _names().items():
        for name in names:
            where.setdefault(name.lower(), place)
    return where


@cache
def _endings() -> tuple[Counter, dict[tuple[str, str], Counter]]:
    """How many names each list has, and how often each piece of a name stands in them."""
    sizes, pieces = Counter(), {}
    for place, names in _names().items():
        sizes[place], pieces[place] = len(names), Counter(piece for name in names for piece in _pieces(name.lower()))
    return sizes, pieces


def _pieces(name: str) -> set[str]:
    """A name's ends, of one to three letters, and its pairs of letters."""
    return {f"{name[-n:]}$" for n in (1, 2, 3)} | {f"^{name[:2]}"} | {a + b for a, b in itertools.pairwise(name)}


@lru_cache(100_000)
def _like(plain: str, gender: str | None) -> tuple[str, str]:
    """The list that a name which stands in none is most like (naive Bayes over its pieces, every list as likely); of `gender` where that is told."""
    sizes, pieces = _endings()
    wanted = [place for place in sizes if gender is None or place[1] == gender]
    own = sorted(_pieces(plain))
    every = sum(sizes.values())
    usual = {
        p: (sum(counts[p] for counts in pieces.values()) + 1) / (every + 1) for p in own
    }  # short lists are smoothed by it
    shares = {at: [(pieces[at][p] + 20 * usual[p]) / (sizes[at] + 20) for p in own] for at in wanted}
    return max(wanted, key=lambda at: sum(map(math.log, shares[at])))


def _list(plain: str, gender: str | None) -> tuple[str, str]:
    """The list to choose from: the name's own, the other gender's where something says so, else the likeliest."""
    place = _list_of().get(plain)
    if place is None:
        return _like(plain, gender)
    other = (place[0], gender)
    return other if gender and place[1] not in ("last", gender) and other in _names() else place


RARE_ZIPS = frozenset("036 059 063 102 203 556 692 790 821 823 830 831 878 879 884 890 893".split())
"""First three digits of ZIP codes where 20,000 people or fewer live (Census 2000; HHS guidance on 45 CFR 164.514(b)(2)(i)(B))."""
ZIP = re.compile(r"(\d{3})\d\d(?:-\d{4})?")
MAX_ATTEMPTS = 200  # at another surrogate than the values to avoid, before letters are made up


BIRTH = re.compile(r"(?:\bd\.?o\.?b\b|birth|\bborn\b)[^\d\n]{0,14}$", re.I)


def allowed(profile: str, text: str, span: Span, years: list[int]) -> str | None:
    """What a profile lets stand in an identifier's place, null where it must be replaced.

    `safe_harbor`: of a date the year, unless it is over 89 years before the last of the note's `years`, or before NOW, for a note may not say
    when it was written; of a ZIP code three digits, 000 where few live. `limited_dataset` (45 CFR 164.514(e)): dates, ages and
    ZIP codes whole. `shifted`: nothing.
    """
    written = text[span.start : span.end]
    code = ZIP.fullmatch(written) if span.kind == "PLACE" else None
    if profile == "limited_dataset":
        return written if span.kind in ("DATE", "AGE") or code else None
    if profile == "safe_harbor" and code:
        return "000" if code[1] in RARE_ZIPS else code[1]
    if profile == "safe_harbor" and span.kind == "DATE" and (year := year_of(written)):
        if str(year) not in written and BIRTH.search(text, max(0, span.start - 30), span.start):
            year -= 100 if year >= 2000 else 0  # DOB 3/4/25: whoever may be 90 is taken to be
        return str(year) if max(NOW, *years) - year <= 89 else None
    return None


class Replacement:
    """What stands for identifiers: `pieces` says what for each."""

    def replace(
        self, text: str, spans: list[Span], patient: str, others: Iterable[str] = (), genders: Mapping[str, str] = {}
    ) -> str:
        """The text with every span replaced, by `pieces`."""
        return joined(text, spans, self.pieces(text, spans, patient, others, genders))


class Surrogates(Replacement):
    """Replacements, all derived from (key, patient, kind, normalised value): neither order nor shard plays a part."""

    def __init__(self, key: Key, max_date_shift_days: int, profile: str = "shifted", origin: str | None = None):
        """`origin`, of LOCALES: names become names of there, wherever they come from; None: of where they come from."""
        self._key, self._max_days, self._profile, self._origin = key, max_date_shift_days, profile, origin
        self._avoid, self._genders = frozenset(), {}

    def offset(self, patient: str) -> int:
        """Days that a patient's dates move by: 1 to the maximum, to or fro."""
        days, sign = divmod(self._key.number(patient, "date offset", ""), 2)
        return (1 + days % self._max_days) * (1 if sign else -1)

    def pieces(
        self, text: str, spans: list[Span], patient: str, others: Iterable[str] = (), genders: Mapping[str, str] = {}
    ) -> list[str]:
        """What stands for each span of a text. Spans are in order and do not overlap; `genders` are those told of first names.

        No replacement but of a date is the value of another span, or one of `others` (what else is known of the patient).
        """
        self._genders = genders
        self._avoid = values(itertools.chain(others, (text[span.start : span.end] for span in spans)))
        years = years_in(text, spans)
        return [self._one(text, span, patient, years) for span in spans]

    def _one(self, text: str, span: Span, patient: str, years) -> str:
        if (stays := allowed(self._profile, text, span, years[1])) is not None:
            return stays
        written = text[span.start : span.end]
        if span.kind == "DATE" and self._profile == "safe_harbor":
            return "[DATE]"
        if span.kind == "DATE":
            return shift(written, self.offset(patient), year_near(span.start, years)) or "[DATE]"
        if span.kind == "AGE":
            return AGED.get(written.split()[0].lower(), "90+") + ("s" if written.lower().endswith("narians") else "")
        if span.kind == "EMAIL":
            local = self._scrambled(written.split("@")[0], "EMAIL", written.lower(), patient)
            host = EMAIL_HOSTS[self._key.number(patient, "EMAIL host", written.lower()) % len(EMAIL_HOSTS)]
            return f"{local}@{host}"
        if span.kind == "IP" and "." in written:
            return self._address(written, patient)
        if span.kind == "URL":
            scheme = re.match(r"(?:\w+://)?(?:www\.)?", written, re.I)[0]
            return f"{scheme}example.org/{self._word(8, 'URL', written.lower(), patient)}"
        if span.kind == "NAME":
            return re.sub(r"[^\W\d_][^\s,.]*", lambda m: self._name(m[0], patient, "NAME"), written)
        if span.kind == "PLACE":
            return self._place(written, patient)
        if span.kind == "PHOTO" and "." in written:
            stem, ending = written.rsplit(".", 1)
            return f"{self._scrambled(stem, 'PHOTO', _compact(written), patient)}.{ending}"
        return self._scrambled(written, span.kind, _compact(written), patient)

    def _name(self, word: str, patient: str, kind: str) -> str:
        """One word of a name: another of the same list, or of the one that it is most like, so of like gender and origin."""
        plain = word.lower()
        possessive = re.search(r"['’]s$", word)
        if possessive:
            return self._name(word[:-2], patient, kind) + word[-2:]
        if (word in PARTICLES and word.islower()) or plain in SUFFIXES:
            return word
        if len(word) == 1:
            return self._scrambled(word, kind, plain, patient)
        if "-" in word:
            return "-".join(self._name(part, patient, kind) if part else "" for part in word.split("-"))
        locale, role = ("en_US", "last") if kind == "PLACE" else _list(plain, self._genders.get(plain))
        names = _names()[locale if kind == "PLACE" else self._origin or locale, role]
        for attempt in range(MAX_ATTEMPTS):
            chosen = names[self._key.number(patient, kind, plain, attempt) % len(names)]
            if chosen.lower() != plain and chosen.lower() not in self._avoid:
                return _cased(chosen, word)
        return _cased(self._word(12, kind, plain, patient), word)

    def _place(self, written: str, patient: str) -> str:
        """Digits become others, and words others, but for those that say what kind of place it is."""

        def other(match: re.Match) -> str:
            word = match[0]
            if word[0].isdigit():
                return self._scrambled(word, "PLACE", word.lower(), patient)
            if word.lower() in KEPT_IN_PLACES:
                return word
            return self._name(word, patient, "PLACE")

        replaced = re.sub(r"\d\w*|[^\W\d_][^\s,.\d]*", other, written)
        if replaced.lower() == written.lower():
            replaced = f"{_cased(self._name('Anyplace', patient, 'PLACE'), written)} {written}"
        return replaced

    def _scrambled(self, written: str, kind: str, value: str, patient: str) -> str:
        """Digits for digits and letters for letters, signs kept; the same for a value however it is set apart by signs."""
        signs = [c for c in written if c.isalnum()]
        attempt = 0
        while True:
            number, new = self._stream(patient, kind, value, len(signs), attempt), []
            for place, sign in enumerate(signs):
                draw = number[place]
                if sign.isdigit():
                    new.append(str(draw % 10) if place or sign == "0" else str(1 + draw % 9))
                else:
                    new.append(_cased(LETTERS[draw % 26], sign) if sign.isalpha() else sign)
            tried = "".join(new).lower() in self._avoid and len(signs) > 2 and attempt < MAX_ATTEMPTS
            if (new != signs and not tried) or not signs:
                break
            attempt += 1
        remaining = iter(new)
        return "".join(next(remaining) if c.isalnum() else c for c in written)

    def _stream(self, patient: str, kind: str, value: str, length: int, attempt: int) -> list[int]:
        """Numbers below 65,536, as many as asked for."""
        numbers, block = [], 0
        while len(numbers) < length:
            drawn = self._key.number(patient, f"{kind} {block}" if block else kind, value, attempt)
            numbers += [(drawn >> (16 * i)) & 0xFFFF for i in range(16)]
            block += 1
        return numbers[:length]

    def _word(self, letters: int, kind: str, value: str, patient: str) -> str:
        return "".join(LETTERS[draw % 26] for draw in self._stream(patient, kind, value, letters, 0))

    def _address(self, written: str, patient: str) -> str:
        drawn = self._stream(patient, "IP", written, 4, 0)
        new = ".".join(str(1 + draw % 254) for draw in drawn)
        return new if new != written else f"10.{new.split('.', 1)[1]}"


class Masks(Replacement):
    """Kinds in square brackets instead of surrogates, "seen by [NAME] on [DATE]"; blank: "seen by ___ on ___"."""

    def __init__(self, profile: str = "shifted", *, blank: bool = False):
        self._profile, self._blank = profile, blank

    def pieces(
        self, text: str, spans: list[Span], patient: str, others: Iterable[str] = (), genders: Mapping[str, str] = {}
    ) -> list[str]:
        """What stands for each span of a text."""
        years = years_in(text, spans)[1]
        stay = (allowed(self._profile, text, span, years) for span in spans)
        return [
            ("___" if self._blank else f"[{span.kind}]") if kept is None else kept
            for span, kept in zip(spans, stay, strict=True)
        ]


def values(written: Iterable[str]) -> frozenset[str]:
    """Values and the words in them, in lower case and without signs: what no surrogate may be."""
    found = set()
    for value in written:
        found.add(_compact(value))
        found.update(_compact(word) for word in re.split(r"[\s,.@/-]+", value))
    return frozenset(found)


def _compact(written: str) -> str:
    return "".join(c for c in written.lower() if c.isalnum())


def _cased(word: str, like: str) -> str:
    if like.isupper() and (len(like) > 1 or len(word) == 1):
        return word.upper()
    return word.lower() if like.islower() else word[:1].upper() + word[1:]
