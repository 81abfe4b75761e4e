"""Who comes to the invented hospital, when and with what; which notes stand there twice."""

from collections.abc import Iterator
from datetime import date, timedelta
from random import Random
from typing import NamedTuple

import numpy as np

from diagnosis.synthetic.disease_model import NONE, Cases, People, draw_cases, draw_people
from diagnosis.synthetic.identities import Person, draw_person
from diagnosis.synthetic.note_text import Admission, Note, write_note
from diagnosis.synthetic.radiology_text import write_report

FIRST_YEAR, YEARS = 2009, 10  # of first admissions
ID_SPACE = 9_000_000  # MIMIC-IV's ids have eight digits: patients' begin with 1, admissions' with 2


class Stay(NamedTuple):
    """An admission with the note that was written about it."""

    admission_id: int
    admission: Admission
    recorded: int  # the condition whose code was recorded
    note: Note
    report: Note | None  # of its radiology
    copied_from: int | None  # the admission whose history its note repeats
    note_twice: bool  # the same note is filed again


class Patient(NamedTuple):
    patient_id: int
    person: Person
    age: int  # years on the first day of `year`
    year: int  # of the first admission
    insurance: str
    stays: list[Stay]
    same_person_as: int | None  # registered a second time: the other patient_id


class Cohort(NamedTuple):
    """Everything that is drawn before the first note is written; arrays, one entry a person or an admission."""

    seed: int
    people: People
    owner: np.ndarray  # of each admission: index of its person, ascending
    days: np.ndarray  # of each admission: since the first day of its person's year
    years: np.ndarray  # of each person's first admission
    ages: np.ndarray  # at each admission, in completed years
    birthdays: np.ndarray  # of each person: day of the year, from 0
    cases: Cases
    exact_copies: frozenset[int]  # admissions whose note is filed twice
    registered_twice: tuple[int, ...]  # people whose first admission is there again under another id


def draw_cohort(
    seed: int, *, patients: int, notes: int, exact_duplicate_rate: float, near_duplicate_rate: float, **model
) -> Cohort:
    """`patients` ids and `notes` notes in all, those that are copies included. `model` as in `draw_cases`."""
    rng = np.random.default_rng(seed)
    exact, near = round(exact_duplicate_rate * notes), round(near_duplicate_rate * notes)
    persons, admissions = patients - near, notes - near - exact
    people = draw_people(rng, persons)
    owner = np.sort(np.concatenate([np.arange(persons), rng.integers(persons, size=admissions - persons)]))
    first = np.flatnonzero(np.diff(owner, prepend=-1))
    days = rng.integers(30, 400, size=admissions)
    days[first] = rng.integers(365, size=persons)
    days = days.cumsum() - np.repeat((days.cumsum() - days)[first], np.diff(first, append=admissions))
    birthdays = rng.integers(365, size=persons)
    ages = people.age[owner] + (days - birthdays[owner] + 364) // 365
    cases = draw_cases(rng, People(ages, people.woman[owner], people.insurance[owner]), **model)
    twice = rng.permutation(persons)[:near]
    rest = np.setdiff1d(np.arange(admissions), first[twice])
    return Cohort(
        seed,
        people,
        owner,
        days,
        FIRST_YEAR + rng.integers(YEARS, size=persons),
        ages,
        birthdays,
        cases,
        frozenset(rng.permutation(rest)[:exact].tolist()),
        tuple(sorted(twice.tolist())),
    )


def patients_of(
    cohort: Cohort, *, copy_forward_rate: float, radiology_rate: float, phi_rate: float, **writing
) -> Iterator[Patient]:
    """The patients with their stays and notes, one at a time. `writing` as in `write_note`."""
    writing["phi_rate"] = phi_rate
    persons, admissions = len(cohort.years), len(cohort.owner)
    edges = np.searchsorted(cohort.owner, np.arange(persons + 1))
    for index in range(persons):
        person, earlier, stays = _person(cohort, index), None, []
        for number in range(edges[index], edges[index + 1]):
            rng = Random(f"{cohort.seed} note {number}")
            copied = earlier if earlier and rng.random() < copy_forward_rate and earlier.note.history else None
            admission = _admission(cohort, number, person, copied.note.history if copied else None)
            note = write_note(admission, rng, **writing)
            recorded = int(cohort.cases.recorded[number])
            admission_id = _id(2, number, admissions + len(cohort.registered_twice))
            report_rng = Random(f"{cohort.seed} report {number}")
            report = write_report(admission, report_rng, phi_rate) if report_rng.random() < radiology_rate else None
            stay = Stay(
                admission_id,
                admission,
                recorded,
                note,
                report,
                copied and copied.admission_id,
                number in cohort.exact_copies,
            )
            stays.append(stay)
            earlier = stay
        yield _patient(cohort, index, index, person, stays, None)
    for place, index in enumerate(cohort.registered_twice):
        person, number = _person(cohort, index), int(edges[index])
        rng = Random(f"{cohort.seed} note {number}")
        admission = _admission(cohort, number, person, None)
        note = write_note(admission, rng, **writing, copy_edited=True)
        stay = Stay(
            _id(2, admissions + place, admissions + len(cohort.registered_twice)),
            admission, int(cohort.cases.recorded[number]), note, None, None, False,
        )  # fmt: skip
        yield _patient(
            cohort, persons + place, index, person, [stay], _id(1, index, persons + len(cohort.registered_twice))
        )


def _person(cohort: Cohort, index: int) -> Person:
    """Who is `people.age` years old on the first day of the year of the first admission."""
    born = date(int(cohort.years[index] - cohort.people.age[index]) - 1, 1, 2) + timedelta(
        days=int(cohort.birthdays[index])
    )
    return draw_person(Random(f"{cohort.seed} person {index}"), born, bool(cohort.people.woman[index]))


def _patient(cohort: Cohort, place: int, index: int, person: Person, stays: list[Stay], other: int | None) -> Patient:
    patients = len(cohort.years) + len(cohort.registered_twice)
    return Patient(
        _id(1, place, patients),
        person,
        int(cohort.people.age[index]),
        int(cohort.years[index]),
        str(cohort.people.insurance[index]),
        stays,
        other,
    )


def _admission(cohort: Cohort, number: int, person: Person, copy_of_history: str | None) -> Admission:
    index = cohort.owner[number]
    admitted = date(int(cohort.years[index]), 1, 1) + timedelta(days=int(cohort.days[number]))
    return Admission(
        person,
        int(cohort.ages[number]),
        admitted,
        admitted + timedelta(days=2 + number % 7),
        int(cohort.cases.condition[number]),
        None if cohort.cases.second[number] == NONE else int(cohort.cases.second[number]),
        cohort.cases.states[number].tolist(),
        copy_of_history,
    )


def _id(first_digit: int, place: int, count: int) -> int:
    """An id of eight digits that keeps the order of `place` among `count`, with gaps."""
    return first_digit * 10_000_000 + place * (ID_SPACE // count) + (place * 7919) % max(1, ID_SPACE // count)
