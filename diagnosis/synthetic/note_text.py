"""Discharge notes in MIMIC-IV's form, written from a drawn case, with what was planted where."""

from datetime import date, timedelta
from random import Random
from typing import NamedTuple

from diagnosis.synthetic.disease_model import ASSERTIONS, CONDITIONS, FINDINGS, UNSAID, Finding
from diagnosis.synthetic.identities import (
    LINES,
    Identifier,
    Person,
    day,
    doctor,
    full_name,
    hospital,
    relative,
    telephone,
)

HABITS = (
    "Never smoked.", "Smoked 1 ppd for 20 years, quit.", "Drinks 2 glasses of wine a week.", "Retired teacher.",
    "Works in a bakery.", "Drives a bus.", "Walks 2 miles a day.", "Uses a cane.",
)  # fmt: skip
OPERATIONS = ("Appendectomy", "Tonsillectomy", "Hernia repair", "Knee arthroscopy", "Cataract surgery")
HOMES = ("home", "home with services", "a rehabilitation facility", "a skilled nursing facility")


class Mark(NamedTuple):
    """Characters `start` to `end` (exclusive) of a note: an identifier's kind and origin, or a finding and its assertion."""

    start: int
    end: int
    what: str
    more: str | None


class Note(NamedTuple):
    text: str
    identifiers: list[Mark]
    findings: list[Mark]
    history: str  # the first sentence of the present illness that tells findings: what a later note may copy
    copied: tuple[int, int] | None  # the characters that repeat an earlier note's history
    answered: bool  # whether it states the diagnosis


class Admission(NamedTuple):
    """What a note is written about."""

    person: Person
    age: int  # completed years at admission
    admitted: date
    discharged: date
    condition: int
    second: int | None  # condition
    states: list[int]  # of each finding, as in Cases
    copy_of_history: str | None  # of an earlier note, repeated in this one


class Writer:
    """Collects pieces of text and where in it something was planted; typos go into words, never into identifiers."""

    def __init__(self, rng: Random, typo_rate: float, abbreviation_rate: float):
        self._rng, self._typo_rate, self._abbreviation_rate = rng, typo_rate, abbreviation_rate
        self._pieces, self._length = [], 0
        self.identifiers: list[Mark] = []
        self.findings: list[Mark] = []

    def __len__(self):
        return self._length

    def add(self, piece: str) -> None:
        self._pieces.append(piece)
        self._length += len(piece)

    def heading(self, title: str) -> None:
        """A section's heading: of a form, so without typos."""
        self.add(f"\n\n{title}:\n")

    def sentence(self, template: str, *identifiers: Identifier) -> None:
        """A template whose `{}` are filled with identifiers."""
        first, *rest = template.split("{}")
        self._type(first)
        for identifier, piece in zip(identifiers, rest, strict=True):
            start = self._length
            self.add(identifier.value)
            self.identifiers.append(Mark(start, self._length, identifier.kind, identifier.origin))
            self._type(piece)

    def listed(self, findings: list[Finding], assertion: str, *, joint: str = " and ", capital: bool = False) -> None:
        """Findings in words: a, b and c."""
        for place, finding in enumerate(findings):
            if place:
                self._type(joint if place == len(findings) - 1 else ", ")
            short = finding.abbreviation and self._rng.random() < self._abbreviation_rate
            phrase = finding.abbreviation if short else self._rng.choice(finding.phrases)
            if capital and not place:
                phrase = phrase[0].upper() + phrase[1:]
            self.mark(finding.name, assertion, phrase)

    def mark(self, finding: str, assertion: str, phrase: str) -> None:
        start = self._length
        self._type(phrase)
        self.findings.append(Mark(start, self._length, finding, assertion))

    def _type(self, piece: str) -> None:
        self.add(" ".join(map(self._typed, piece.split(" "))))

    def _typed(self, word: str) -> str:
        """The word, seldom with two letters swapped or one left out, as a hurried hand types it."""
        if self._rng.random() >= self._typo_rate or len(word) < 5 or not word.isalpha():
            return word
        at = self._rng.randrange(1, len(word) - 2)
        return word[:at] + (word[at + 1] + word[at] + word[at + 2 :] if self._rng.random() < 0.5 else word[at + 1 :])

    def text(self) -> str:
        return "".join(self._pieces)


def write_note(
    admission: Admission,
    rng: Random,
    *,
    typo_rate: float,
    abbreviation_rate: float,
    phi_rate: float,
    answer_rate: float,
    copy_edited: bool = False,
) -> Note:
    """The note of an admission. `copy_edited` changes a few words at its end and nothing else: a near-duplicate."""
    note = Writer(rng, typo_rate, abbreviation_rate)
    attending, answered = doctor(rng), rng.random() < answer_rate
    _header(note, rng, admission, attending)
    history, copied = _known_at_admission(note, rng, admission, phi_rate)
    _written_later(note, rng, admission, phi_rate, answered)
    note.sentence("\nBring this page along." if copy_edited else "\nBring all medicines along.")
    note.sentence("\n\nSigned by {}, MD", attending)
    text = note.text()
    first, end, _ = text[slice(*history)].partition(". ")
    return Note(text, note.identifiers, note.findings, (first + end).strip(), copied, answered)


def _header(note: Writer, rng: Random, admission: Admission, attending: Identifier) -> None:
    person = admission.person
    note.sentence("Name:  {}          Unit No:  {}", full_name(rng, person), Identifier("MRN", person.record))
    dates = (Identifier("DATE", when.isoformat()) for when in (admission.admitted, admission.discharged, person.born))
    note.sentence("\nAdmission Date:  {}\nDischarge Date:  {}\nDate of Birth:  {}", *dates)
    note.sentence(f"\nSex:  {'F' if person.woman else 'M'}\nService: MEDICINE\nAttending: {{}}", attending)


def _known_at_admission(
    note: Writer, rng: Random, admission: Admission, phi_rate: float
) -> tuple[tuple[int, int], tuple[int, int] | None]:
    """Complaint to results. Returns where the history stands, and the copied one of an earlier note."""
    person = admission.person
    said = {assertion: [] for assertion in ASSERTIONS}
    for finding, state in zip(FINDINGS, admission.states, strict=True):
        if state < UNSAID and not finding.test:
            said[ASSERTIONS[state]].append(finding)
    for findings in said.values():
        rng.shuffle(findings)

    note.heading("Chief Complaint")
    if said["present"]:
        note.listed(said["present"][:1], "present", capital=True)
    else:
        note.sentence("Feels unwell")

    note.heading("History of Present Illness")
    age = Identifier("AGE", str(admission.age)) if admission.age > 89 else None
    sexes = ("year old woman", "y/o F", "yo female") if person.woman else ("year old man", "y/o M", "yo male")
    opening = f" {rng.choice(sexes)}, {rng.randrange(2, 15)} days of the above. "
    note.sentence("{}" + opening, age) if age else note.sentence(f"{admission.age}{opening}")
    start = len(note)
    _present_illness(note, rng, "She" if person.woman else "He", said["present"][1:], said["negated"])
    history = (start, len(note))
    _circumstances(note, rng, admission, phi_rate)

    note.heading("Past Medical History")
    note.sentence(f"{rng.choice(OPERATIONS)} in {rng.randrange(1985, 2008)}.")
    if said["historical"]:
        note.sentence(rng.choice((" In the past ", " Years ago ", " Formerly ")))
        note.listed(said["historical"], "historical")
        note.sentence(rng.choice((", since resolved.", ", not now.", ", gone since.")))
    copied = None
    if admission.copy_of_history:
        note.sentence(" Copied from the last stay: ")
        start = len(note)
        note.add(admission.copy_of_history)
        copied = (start, len(note))

    relation, name = relative(rng, person)
    home = Identifier("PLACE", person.city)
    note.heading("Social History")
    note.sentence(f"Lives in {{}} with a {relation}, {{}}. {rng.choice(HABITS)}", home, name)

    note.heading("Family History")
    if said["family"]:
        note.sentence(rng.choice(("Mother with ", "Father had ", "A brother has ", "A sister is known for ")))
        note.listed(said["family"], "family")
        note.sentence(".")
    else:
        note.sentence("Not contributory.")

    note.heading("Physical Exam")
    _measurements(note, rng, admission.states, ("fever", "tachycardia", "low oxygen"))
    note.sentence(f"BP {rng.randrange(104, 148)}/{rng.randrange(60, 92)}.")
    note.heading("Pertinent Results")
    _measurements(note, rng, admission.states, ("leukocytosis", "high creatinine", "high lipase", "high glucose"))
    note.sentence(f"Na {rng.randrange(134, 146)} mEq/L.")
    return history, copied


def _present_illness(note: Writer, rng: Random, pronoun: str, present: list[Finding], negated: list[Finding]) -> None:
    """The findings that are there and those that are not, in the orders and turns of phrase of clinical prose."""
    orders = ("present", "negated") if rng.random() < 0.5 else ("negated", "present")
    for assertion in orders:
        if assertion == "present" and present:
            note.sentence(rng.choice((f"{pronoun} reports ", "Also ", f"{pronoun} has ", "Positive for ")))
            note.listed(present, "present")
            note.sentence(". ")
        if assertion == "negated" and negated:
            apart = len(negated) > 2 and rng.random() < 0.5
            note.sentence(rng.choice(("Denies ", "No ", f"{pronoun} denies ", "Negative for ", "Without ")))
            note.listed(negated[1:] if apart else negated, "negated", joint=" or ")
            note.sentence(". ")
            if apart:
                note.listed(negated[:1], "negated", capital=True)
                note.sentence(rng.choice((" is denied. ", ": none. ", " was not seen. ")))


def _circumstances(note: Writer, rng: Random, admission: Admission, phi_rate: float) -> None:
    """How the patient came, with names, places and dates as they stand in running text."""
    person = admission.person
    if rng.random() < phi_rate / 2:
        note.sentence("Transferred from {} on {}. ", hospital(rng), day(rng, admission.admitted))
    if rng.random() < phi_rate / 3:
        form = rng.choice(("{last}", "{first} {last}", "{initial}. {last}"))
        note.sentence("Referred by Dr. {}. ", doctor(rng, form))
    if rng.random() < phi_rate / 3:
        relation, name = relative(rng, person)
        call = Identifier("PHONE", telephone(rng))
        note.sentence(f"{'Her' if person.woman else 'His'} {relation} {{}} can be reached at {{}}. ", name, call)
    if rng.random() < phi_rate / 3:
        before = day(rng, admission.admitted - timedelta(days=rng.randrange(20, 300)))
        note.sentence(f"{_title(person)} {{}} was last here on {{}}. ", _surname(person), before)


def _measurements(note: Writer, rng: Random, states: list[int], names: tuple[str, ...]) -> None:
    for finding, state in zip(FINDINGS, states, strict=True):
        if finding.name in names and state < UNSAID:
            low, high = finding.abnormal if ASSERTIONS[state] == "present" else finding.normal
            value = f"{rng.uniform(low, high):.{finding.decimals}f}"
            note.mark(finding.name, ASSERTIONS[state], f"{finding.test} {value}{finding.unit}")
            note.sentence(", ")


def _written_later(note: Writer, rng: Random, admission: Admission, phi_rate: float, answered: bool) -> None:
    """Course, diagnosis and what follows: where the answer stands, and most identifiers."""
    person = admission.person
    conditions = [admission.condition] if admission.second is None else [admission.condition, admission.second]
    titles = [CONDITIONS[condition].title.split(",")[0] for condition in conditions]
    treated = " and ".join(title[0].lower() + title[1:] for title in titles)
    course = f"was treated for {treated} and improved." if answered else "improved on the ward."
    note.heading("Brief Hospital Course")
    note.sentence(f"{_title(person)} {{}} {course} ", _surname(person))
    seen = day(rng, admission.admitted + timedelta(days=1))
    note.sentence("Seen by Dr. {} on {}.", doctor(rng, "{last}"), seen)
    if answered:
        note.heading("Discharge Diagnosis")
        note.sentence("\n".join(titles))
    note.heading("Discharge Disposition")
    note.sentence(f"To {rng.choice(HOMES)}")
    note.heading("Followup Instructions")
    visit = day(rng, admission.discharged + timedelta(days=rng.randrange(7, 30)))
    note.sentence("Please see Dr. {} at {} on {}.", doctor(rng), hospital(rng), visit)
    for template, kind, value in LINES:
        if rng.random() < phi_rate:
            note.sentence(f"\n{template}", Identifier(kind, value(rng, person)))
    if rng.random() < phi_rate:
        address = Identifier("PLACE", f"{person.street}, {person.city}")
        note.sentence("\nAddress: {}, MA {}", address, Identifier("PLACE", person.zip))


def _title(person: Person) -> str:
    return "Ms." if person.woman else "Mr."


def _surname(person: Person) -> Identifier:
    return Identifier("NAME", person.last, person.origin)
