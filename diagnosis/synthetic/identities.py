"""Invented people and their identifiers, of the kinds that HIPAA's Safe Harbor names; names of many origins by Faker.

Every identifier is a (kind, value, origin) whose value is the gold span; kinds are those of `diagnosis/phi/spans.py`.
"""

from datetime import date
from functools import cache
from random import Random
from typing import NamedTuple

from faker import Faker

# Race as MIMIC-IV writes it, its share, and the origins of the names of its people.
RACES = (
    ("WHITE", 0.62, ("en_US", "en_US", "en_US", "it_IT", "pl_PL", "de_DE", "fr_FR")),
    ("WHITE - RUSSIAN", 0.02, ("cs_CZ",)),
    ("BLACK/AFRICAN AMERICAN", 0.13, ("en_US", "en_US", "en_NG")),
    ("HISPANIC/LATINO - PUERTO RICAN", 0.06, ("es_MX", "es_CO")),
    ("HISPANIC/LATINO - DOMINICAN", 0.04, ("es_CO",)),
    ("ASIAN - CHINESE", 0.03, ("zh_CN",)),
    ("ASIAN - ASIAN INDIAN", 0.02, ("en_IN",)),
    ("ASIAN - SOUTH EAST ASIAN", 0.02, ("vi_VN",)),
    ("PORTUGUESE", 0.02, ("pt_BR",)),
    ("AMERICAN INDIAN/ALASKA NATIVE", 0.005, ("en_US",)),
    ("UNKNOWN", 0.035, ("en_US", "tr_TR")),
)
LANGUAGES = {"es_MX": "Spanish", "es_CO": "Spanish", "zh_CN": "Chinese", "vi_VN": "Vietnamese", "pt_BR": "Portuguese"}
SPEAKS_ENGLISH = 0.6  # of those whose names come from elsewhere
DOCTOR_ORIGINS = ("en_US", "en_US", "en_IN", "de_DE", "zh_CN", "es_MX", "en_NG")


class Identifier(NamedTuple):
    kind: str
    value: str
    origin: str | None = None


class Person(NamedTuple):
    """Who a patient is, beyond what the disease model draws."""

    first: str
    last: str
    woman: bool
    origin: str
    race: str
    language: str
    born: date
    record: str  # the medical record number
    city: str
    street: str
    zip: str
    phone: str


@cache
def _faker(locale: str) -> Faker:
    return Faker(locale)


def _name(rng: Random, origin: str, woman: bool) -> tuple[str, str]:
    faker = _faker(origin)
    faker.seed_instance(rng.getrandbits(64))
    if origin == "zh_CN":  # in Latin letters, as a hospital writes it
        first, last = faker.romanized_name().split(" ", 1)
        return first, last
    return (faker.first_name_female() if woman else faker.first_name_male()), faker.last_name()


def draw_person(rng: Random, born: date, woman: bool) -> Person:
    race, _, origins = rng.choices(RACES, [share for _, share, _ in RACES])[0]
    origin = rng.choice(origins)
    first, last = _name(rng, origin, woman)
    foreign = origin in LANGUAGES and rng.random() > SPEAKS_ENGLISH
    usa = _faker("en_US")
    usa.seed_instance(rng.getrandbits(64))
    return Person(
        first=first,
        last=last,
        woman=woman,
        origin=origin,
        race=race,
        language=LANGUAGES[origin] if foreign else "English",
        born=born,
        record=str(rng.randrange(1_000_000, 10_000_000)),
        city=usa.city(),
        street=usa.street_address(),
        zip=f"0{rng.randrange(1000, 7000)}",
        phone=telephone(rng),
    )


def full_name(rng: Random, person: Person) -> Identifier:
    form = rng.choice(("{first} {last}", "{last}, {first}", "{first} {initial}. {last}"))
    value = form.format(first=person.first, last=person.last, initial=rng.choice("ABCDEFGHJKLMRSTW"))
    return Identifier("NAME", value, person.origin)


def relative(rng: Random, person: Person) -> tuple[str, Identifier]:
    """(relation, name) of somebody of the patient's family."""
    relation = rng.choice(("daughter", "son", "sister", "brother", "husband" if person.woman else "wife"))
    first, last = _name(rng, person.origin, relation in ("daughter", "sister", "wife"))
    family = relation in ("daughter", "son") or rng.random() < 0.5
    value = first if rng.random() < 0.4 else f"{first} {person.last if family else last}"
    return relation, Identifier("NAME", value, person.origin)


def doctor(rng: Random, form: str = "{first} {last}") -> Identifier:
    origin = rng.choice(DOCTOR_ORIGINS)
    first, last = _name(rng, origin, rng.random() < 0.5)
    return Identifier("NAME", form.format(first=first, last=last, initial=first[0]), origin)


def hospital(rng: Random) -> Identifier:
    usa = _faker("en_US")
    usa.seed_instance(rng.getrandbits(64))
    name = rng.choice(
        ("{city} General Hospital", "{city} Medical Center", "St. {saint} Hospital", "{city} Community Hospital")
    )
    saint = rng.choice(("Anne", "Luke", "Brigid", "Martin", "Clare"))
    return Identifier("PLACE", name.format(city=usa.city(), saint=saint))


def telephone(rng: Random) -> str:
    area, exchange, line = rng.choice((617, 508, 413, 603, 401, 860)), rng.randrange(200, 999), rng.randrange(10_000)
    form = rng.choice(("({0}) {1}-{2:04}", "{0}-{1}-{2:04}", "{0}.{1}.{2:04}"))
    return form.format(area, exchange, line)


def day(rng: Random, when: date) -> Identifier:
    """A date as somebody writes it."""
    form = rng.choice(("%m/%d/%Y", "%m/%d/%y", "%Y-%m-%d", "%B {0}, %Y", "%b {0}", "{1}/{0}"))
    return Identifier("DATE", when.strftime(form).format(when.day, when.month))


def _digits(rng: Random, count: int) -> str:
    return str(rng.randrange(10 ** (count - 1), 10**count))


def _letters(rng: Random, count: int) -> str:
    return "".join(rng.choice("ABCDEFGHJKLMNPRSTUVWXYZ") for _ in range(count))


# A line each, of which a note has those that params' phi_rate lets through: (text with {} for the identifier, kind, value).
LINES = (
    ("Phone: {}", "PHONE", lambda rng, p: p.phone),
    ("Fax of the primary care office: {}", "FAX", lambda rng, p: telephone(rng)),
    ("E-mail: {}", "EMAIL", lambda rng, p: f"{_ascii(p.first)}.{_ascii(p.last)}{rng.randrange(99)}@example.com"),
    ("SSN: {}", "SSN", lambda rng, p: f"{rng.randrange(100, 666)}-{rng.randrange(10, 99)}-{_digits(rng, 4)}"),
    ("Insurance member ID: {}", "PLAN", lambda rng, p: f"{_letters(rng, 3)}{_digits(rng, 9)}"),
    ("Billing account number {}", "ACCOUNT", lambda rng, p: _digits(rng, 10)),
    ("Driver's license {}", "LICENCE", lambda rng, p: f"S{_digits(rng, 8)}"),
    ("Came in a car with license plate {}", "VEHICLE", lambda rng, p: f"{_letters(rng, 3)} {_digits(rng, 4)}"),
    ("Pacemaker serial number {}", "DEVICE", lambda rng, p: f"{_letters(rng, 3)}{_digits(rng, 6)}H"),
    ("Patient portal: {}", "URL", lambda rng, p: f"https://portal.example.org/patients/{_ascii(p.last)}{_digits(rng, 3)}"),
    ("Portal last opened from {}", "IP", lambda rng, p: ".".join(str(rng.randrange(1, 255)) for _ in range(4))),
    ("Fingerprint record {} on file", "BIOMETRIC", lambda rng, p: f"FP-{_digits(rng, 6)}"),
    ("Photograph of the skin: {}", "PHOTO", lambda rng, p: f"IMG_{_digits(rng, 4)}.jpg"),
    ("Specimen accession # {}", "OTHER_ID", lambda rng, p: f"{rng.randrange(10, 20)}-{_digits(rng, 6)}"),
)  # fmt: skip


def _ascii(name: str) -> str:
    return "".join(letter for letter in name.lower() if "a" <= letter <= "z") or "patient"
