"""The embedded corpus: MIMIC-IV's files, every planted thing where its truth says, and the best reachable scores."""

import contextlib
import csv
import gzip
import itertools
import math
import re
from collections import Counter
from pathlib import Path
from random import Random

import numpy as np
import pytest
from conftest import ROOT, SHARED_DATA, default_params, needs_shared_data, write_params

from diagnosis.files import read_json, sha256
from diagnosis.phi.spans import KINDS
from diagnosis.synthetic import disease_model as model
from diagnosis.synthetic.note_text import Writer
from diagnosis.text.normalise import normalise
from diagnosis.text.sections import cut
from stages import synthesize

FOLDER, METRICS = Path("data/raw/synthetic"), Path("metrics/synthesize.json")
SMALL = {"patients": 160, "notes": 260, "bayes_draws": 1000}
SETTINGS = {"noise_rate": 0.05, "comorbidity_rate": 0.0, "poorer_group": "Medicaid", "poorer_rate": 0.7}


def table(name: str) -> list[dict]:
    with gzip.open(FOLDER / f"{name}.csv.gz", "rt", newline="") as stream:
        return list(csv.DictReader(stream))


def texts() -> dict[str, str]:
    return {row["note_id"]: row["text"] for row in table("note/discharge")}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """The embedded default, whole (3 seconds); its folder is the current one."""
    folder = tmp_path_factory.mktemp("synthetic")
    write_params(folder, {"synthesize": default_params()["synthesize"] | {"bayes_draws": 20_000}})
    with contextlib.chdir(folder):
        synthesize.main()
        yield folder


# ---------------------------------------------------------------- files


@needs_shared_data
def test_columns_are_the_official_ones(corpus):
    schema = (SHARED_DATA / "mimic_demo" / "SCHEMA.md").read_text()
    for name in ("patients", "admissions", "diagnoses_icd", "d_icd_diagnoses", "discharge"):
        (line,) = re.findall(rf"\| mimiciv_(?:hosp|note)\.{name} \| (.*) \|", schema)
        official = [column.split()[0] for column in line.split(", ")]
        folder = "note" if name == "discharge" else "hosp"
        assert list(table(f"{folder}/{name}")[0]) == official


def test_ids_join_and_times_are_in_order(corpus):
    patients = {row["subject_id"] for row in table("hosp/patients")}
    admissions = {row["hadm_id"]: row for row in table("hosp/admissions")}
    assert len(patients) == 1500 and {row["subject_id"] for row in admissions.values()} == patients
    assert all(row["admittime"] < row["dischtime"] for row in admissions.values())
    notes = table("note/discharge")
    assert len(notes) == len({row["note_id"] for row in notes}) == 2000
    assert all(admissions[row["hadm_id"]]["subject_id"] == row["subject_id"] for row in notes)
    primary = Counter(row["hadm_id"] for row in table("hosp/diagnoses_icd") if row["seq_num"] == "1")
    assert set(primary) == set(admissions) and set(primary.values()) == {1}
    titled = {row["icd_code"] for row in table("hosp/d_icd_diagnoses")}
    assert {row["icd_code"] for row in table("hosp/diagnoses_icd")} <= titled


def test_same_params_same_bytes(stage):
    assert stage("synthesize", SMALL) == (0, "")
    first = sha256(FOLDER)
    assert stage("synthesize", SMALL) == (0, "")
    assert sha256(FOLDER) == first
    assert stage("synthesize", SMALL | {"seed": 8}) == (0, "")
    assert sha256(FOLDER) != first


# ---------------------------------------------------------------- planted truth


def test_identifier_spans_hold_what_they_say(corpus):
    notes, kinds = texts(), Counter()
    forms = {
        "EMAIL": r"\S+@example\.com", "SSN": r"\d{3}-\d\d-\d{4}", "IP": r"\d+(\.\d+){3}", "MRN": r"\d{7}", "AGE": r"9\d|10\d",
        "URL": r"https://\S+", "PHOTO": r"IMG_\d{4}\.jpg", "BIOMETRIC": r"FP-\d{6}", "VEHICLE": r"[A-Z]{3} \d{4}",
        "PHONE": r"\(?\d{3}\)?[ .-]\d{3}[.-]\d{4}", "FAX": r"\(?\d{3}\)?[ .-]\d{3}[.-]\d{4}",
    }  # fmt: skip
    spans = table("truth/phi_spans")
    for row in spans:
        piece = notes[row["note_id"]][int(row["start"]) : int(row["end"])]
        assert re.fullmatch(forms.get(row["kind"], r"\S(.*\S)?"), piece)
        kinds[row["kind"]] += 1
    assert set(kinds) == set(KINDS)
    origins = {row["origin"] for row in spans if row["kind"] == "NAME"}
    assert len(origins) >= 12 and "" not in origins


def test_finding_spans_hold_the_finding(corpus):
    notes = texts()
    by_name = {finding.name: finding for finding in model.FINDINGS}
    exact, found = 0, table("truth/findings")
    for row in found:
        piece, finding = notes[row["note_id"]][int(row["start"]) : int(row["end"])], by_name[row["finding"]]
        if finding.test:
            value = float(re.search(r"(\d+(\.\d+)?)(?=%| |$)", piece.removeprefix("O2 "))[0])
            low, high = finding.abnormal if row["assertion"] == "present" else finding.normal
            assert low <= value <= high
        phrases = {p.lower() for p in (*finding.phrases, finding.abbreviation or "")}
        exact += finding.test is not None or piece.lower() in phrases
    assert 0.95 < exact / len(found) < 1  # the rest has a typo
    assert {row["assertion"] for row in found} == set(model.ASSERTIONS)


def test_copies_stand_where_the_truth_says(corpus):
    notes, truth = texts(), table("truth/notes")
    by_admission = {row["hadm_id"]: row["note_id"] for row in truth if not row["exact_copy_of"]}
    exact = [row for row in truth if row["exact_copy_of"]]
    assert len(exact) == 40 and all(notes[row["note_id"]] == notes[row["exact_copy_of"]] for row in exact)
    near = [row for row in truth if row["same_person_as"]]
    assert len(near) == 60
    first = {row["subject_id"]: row["note_id"] for row in reversed(truth)}
    for row in near:
        one, other = notes[row["note_id"]].split(), notes[first[row["same_person_as"]]].split()
        assert 0 < sum(a != b for a, b in itertools.zip_longest(one, other)) <= 4
    copied = [row for row in truth if row["copied_from"]]
    assert len(copied) > 80
    for row in copied:
        piece = notes[row["note_id"]][int(row["copied_start"]) : int(row["copied_end"])]
        assert piece and piece in notes[by_admission[row["copied_from"]]]


def test_rates_are_those_of_the_params(corpus):
    truth, metrics = table("truth/notes"), read_json(METRICS)
    shares = {
        "label_noise": (0.05, sum(int(row["label_noise"]) for row in truth)),
        "stated_answers": (0.9, sum(int(row["answered"]) for row in truth)),
        "poorer_notes": (0.25, sum(int(row["poorer"]) for row in truth)),
    }
    for name, (rate, count) in shares.items():
        assert metrics["planted"][name] == count
        assert abs(count / 2000 - rate) < 3 * math.sqrt(rate * (1 - rate) / 2000)
    codes = Counter(row["recorded"] for row in truth)
    assert metrics["labels"] == codes and len(codes) == 12
    assert max(codes.values()) / min(codes.values()) >= 20
    assert len({code[0] for code in codes}) >= 8  # chapters


def test_the_poorer_group_says_less(corpus):
    poorer = {row["note_id"]: row["poorer"] for row in table("truth/notes")}
    said = Counter(poorer[row["note_id"]] for row in table("truth/findings"))
    notes = Counter(poorer.values())
    assert abs(said["1"] / notes["1"] / (said["0"] / notes["0"]) - 0.3) < 0.03


NAMES_OF_DISEASES = (
    r"heart failure|chf|pneumonia|kidney failure|renal failure|aki\b|pancreatitis|cellulitis|infarct|stroke|withdrawal|delirium|"
    r"copd|obstructive pulmonary|epilep|ketoacidosis|diabet|neoplasm|cancer|carcinoma|lupus|sle\b"
)


def test_what_is_visible_names_no_diagnosis(corpus):
    named = re.compile(rf"\b(?:{NAMES_OF_DISEASES})", re.I)
    notes = [normalise(text) for text in itertools.islice(texts().values(), 1000)]
    assert sum(bool(named.search(text)) for text in notes) > 850  # whole, they state it
    assert not [text for text in notes if named.search(cut(text, "admission", [])[0])]


def test_nothing_is_planted_at_rate_zero(stage):
    rates = "typo_rate exact_duplicate_rate near_duplicate_rate copy_forward_rate label_noise_rate answer_rate poorer_rate".split()
    assert stage("synthesize", SMALL | dict.fromkeys(rates, 0.0)) == (0, "")
    planted = read_json(METRICS)["planted"]
    assert not any(
        planted[name] for name in ("exact_copies", "near_copies", "copied_forward", "label_noise", "stated_answers")
    )
    assert not any("Discharge Diagnosis" in text for text in texts().values())
    assert abs(read_json(METRICS)["bayes"]["sensitivity"]["gap"]) < 0.15
    phrases = {p.lower() for f in model.FINDINGS for p in (*f.phrases, f.abbreviation or "")}
    notes = texts()
    for row in table("truth/findings"):
        piece = notes[row["note_id"]][int(row["start"]) : int(row["end"])]
        assert piece.lower() in phrases or any(f.test and piece.startswith(f.test) for f in model.FINDINGS)


def test_typos_swap_or_drop_a_letter_and_spare_numbers():
    writer = Writer(Random(0), 1.0, 0.0)
    writer.sentence("swelling BP 120/80 cough2 fever-like a123456")
    swollen, *rest = writer.text().split(" ")
    assert rest == "BP 120/80 cough2 fever-like a123456".split()
    assert swollen != "swelling" and swollen[0] == "s" and len(swollen) in (7, 8)


# ---------------------------------------------------------------- the best that can be done


def test_map_rule_equals_sums_and_products_by_hand():
    rng = np.random.default_rng(5)
    people = model.draw_people(rng, 200)
    states = model.draw_cases(rng, people, **SETTINGS).states
    guess = model.posterior(people, states, **SETTINGS).recorded.argmax(axis=1)
    prior, noise = model.condition_prior(), model.noise_matrix(0.05)
    chance = {rate: model.state_probabilities(rate) for rate in (0.0, 0.7)}
    for i in range(200):
        band = 0 if people.age[i] < 45 else 1 if people.age[i] < 65 else 2
        weights = []
        for recorded in range(12):
            total = 0.0
            for condition in range(12):
                for rate, share in ((0.7, 0.25), (0.0, 0.75)):
                    said = math.prod(chance[rate][condition, f, s] for f, s in enumerate(states[i]))
                    total += prior[band, int(people.woman[i]), condition] * share * said * noise[condition, recorded]
            weights.append(total)
        assert guess[i] == np.argmax(weights)


def test_distributions_are_whole():
    assert np.allclose(model.condition_prior().sum(axis=-1), 1)
    assert np.allclose(model.state_probabilities(0.7).sum(axis=-1), 1)
    assert np.allclose(model.noise_matrix(0.05).sum(axis=1), 1)
    assert np.allclose(np.diag(model.noise_matrix(0.05)), 0.95)
    # Half of what would be said is left out: UNSAID takes half of the rest.
    whole, half = model.state_probabilities(0.0), model.state_probabilities(0.5)
    assert np.allclose(half[..., :4], whole[..., :4] / 2)


def test_a_finding_of_another_person_or_time_counts_differently():
    """Of the same mentions, the assertion alone moves the best guess."""
    chest = [f.name for f in model.FINDINGS]
    people = model.People(np.array([70] * 2), np.array([False] * 2), np.array(["Private"] * 2, dtype=object))
    states = np.full((2, len(chest)), model.UNSAID, dtype=np.int8)
    wheeze, oxygen = chest.index("wheezing"), chest.index("orthopnea")
    states[0, [wheeze, oxygen]] = [0, 1]  # wheezes, needs no pillows
    states[1, [wheeze, oxygen]] = [3, 0]  # the mother wheezes, the patient needs pillows
    first, second = model.posterior(people, states, **SETTINGS).recorded.argmax(axis=1)
    assert (model.CODES[first], model.CODES[second]) == ("J441", "I509")


def test_without_noise_or_gaps_the_scores_rise():
    clear = model.best_scores(np.random.default_rng(1), 20_000, **SETTINGS | {"noise_rate": 0.0, "poorer_rate": 0.0})
    planted = model.best_scores(np.random.default_rng(1), 20_000, **SETTINGS)
    assert clear["accuracy"] > planted["accuracy"] + 0.05
    assert abs(clear["sensitivity"]["gap"]) < 0.03 < 0.25 <= planted["sensitivity"]["gap"]


def test_words_alone_stay_well_under_the_best(corpus, tmp_path):
    """TF-IDF and logistic regression on what is visible, 60 % of the patients to learn from."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import f1_score

    notes, truth = texts(), [row for row in table("truth/notes") if not row["exact_copy_of"]]
    visible = [cut(normalise(notes[row["note_id"]]), "admission", [])[0] for row in truth]
    labels = np.array([row["recorded"] for row in truth])
    train = np.array([int(row["subject_id"]) % 5 < 3 for row in truth])
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    matrix = vectorizer.fit([t for t, seen in zip(visible, train, strict=True) if seen]).transform(visible)
    classifier = LogisticRegression(C=10, class_weight="balanced", max_iter=2000).fit(matrix[train], labels[train])
    score = f1_score(labels[~train], classifier.predict(matrix[~train]), average="macro")
    assert 0.2 < score <= read_json(METRICS)["bayes"]["macro_f1"] - 0.10


def test_the_committed_run_finds_what_was_planted():
    """metrics/ of the default: the poorer group is large enough in test, and the audit sees its gap."""
    insurance = read_json(ROOT / "metrics/audit_fairness.json")["test"]["groupings"]["insurance"]
    group = default_params()["synthesize"]["poorer_group"]
    assert insurance["by_group"][group]["n"] >= 60
    found = insurance["compared"]["sensitivity"]
    assert found["verdict"] == "unfair" and found["clearest"]["lowest"] == group
    planted = read_json(ROOT / "metrics/synthesize.json")["bayes"]
    assert planted["sensitivity"]["gap"] >= 0.25
    test = read_json(ROOT / "metrics/evaluate.json")["test"]
    assert test["baseline"]["tfidf_logreg"]["macro_f1"] <= planted["macro_f1"] - 0.10
    assert (
        test["model"]["accuracy"] <= planted["accuracy"] + 0.04
    )  # more than the best can reach, and chance on 350 notes, is a leak


# ---------------------------------------------------------------- what users break


@pytest.mark.parametrize(
    "changes, line",
    [
        ({"notes": 1500}, "params.yaml: synthesize.notes is 1500: at least 1530 are needed"),
        ({"patients": 10}, "synthesize.patients is 10: input should be greater than or equal to 50"),
        ({"typo_rate": 0.9}, "synthesize.typo_rate is 0.9"),
        ({"poorer_group": "Nobody"}, "synthesize.poorer_group is 'Nobody'"),
        ({"bayes_draws": 0}, "synthesize.bayes_draws is 0"),
        ({"colour": "red"}, "synthesize.colour is no known param"),
    ],
)
def test_bad_params_end_with_one_line(stage, changes, line):
    code, error = stage("synthesize", changes)
    assert code == 1 and line in error and "\n" not in error
    assert not FOLDER.exists() and not METRICS.exists()
