"""Leaked answers: codes and names that clean can hide, text copied forward, probes that find what was planted and nothing else."""

import contextlib
import csv
import gzip
import importlib
import json
import re
import shutil
import subprocess
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, SHARED_DATA, default_params, merged, needs_shared_data, run_in, write_params
from ruamel.yaml import YAML
from scored import CLASSES, DATA_USE, random_shard, write_predictions
from sklearn.metrics import f1_score

from diagnosis.corpora.mimic import _titles_of_classes
from diagnosis.corpora.titles import class_titles
from diagnosis.corpora.vocabularies import vocabulary
from diagnosis.files import read_json, sha256, write_json
from diagnosis.leakage.compare import f1_and_chance, probed, verdict
from diagnosis.leakage.copy_forward import by_patient, copied, pieces, templates, without
from diagnosis.leakage.report import hidden, part
from diagnosis.notes import note_writer, read_metadata, read_notes
from diagnosis.phi.keys import read_key
from diagnosis.scores.predictions import prediction_writer, read_predictions
from diagnosis.scores.shards import Shard
from diagnosis.text.billing import without_codes
from diagnosis.text.label_mentions import Mentions, names
from diagnosis.text.normalise import normalise

METRICS, PLOT = Path("metrics/audit_leakage.json"), Path("plots/audit_leakage.png")


# ---------------------------------------------------------------- codes and billing text


@pytest.mark.parametrize(
    ("before", "after", "count"),
    [
        ("Heart failure (I50.9), stable.", "Heart failure, stable.", 1),
        ("Dx: V58.61, ICD-9: 428.0 and 401.9. Rests.", "Dx:. Rests.", 2),
        ("ICD10 code I509; treated.", "; treated.", 1),
        ("Removed (CPT code 27759).\nMS-DRG: 291 assigned", "Removed.", 2),
        ("Coughs.\nBilling: level 4\nBetter.", "Coughs.\nBetter.", 1),
        ("CPT CODE:\n40801\nBiopsy taken.", "Biopsy taken.", 1),
        # what looks like a code and is none
        ("T36.6 C, B12 low, C5-C6, A1c 7.2, H2 blocker, L4 fracture, pH 7.35, 428.0 mL, (100.4)", None, 0),
        ("ICD placed 2005, ICD 10 years ago. Code status: full. Vitamin D 50.", None, 0),
    ],
    ids=["icd10", "announced icd9", "undotted", "cpt drg", "billing line", "code below", "results", "defibrillator"],
)
def test_codes_go_and_results_stay(before, after, count):
    assert without_codes(before) == ((before if after is None else normalise(after)), count)
    assert without_codes(without_codes(before)[0]) == (without_codes(before)[0], 0)


def icd10() -> list[dict]:
    with gzip.open(SHARED_DATA / "mimic_demo" / "icd10cm-order-Jan-2021.csv.gz", "rt") as stream:
        return list(csv.DictReader(stream))


@needs_shared_data
def test_every_real_code_with_its_dot_goes():
    codes = [row["code"] for row in icd10() if len(row["code"]) > 3]
    assert len(codes) > 50_000
    stayed = [code for code in codes[::7] if without_codes(f"Known {code[:3]}.{code[3:]} today")[1] != 1]
    # One decimal behind T and two digits is a temperature; U codes are not of diagnoses found in these notes.
    assert all(re.fullmatch(r"T\d\d[0-9]|U.*", code) for code in stayed) and len(stayed) < 0.001 * len(codes), stayed


# ---------------------------------------------------------------- names of diagnoses


@pytest.mark.parametrize(
    ("title", "found"),
    [
        ("Heart failure, unspecified", {"Heart failure"}),
        ("Acute kidney failure, unspecified", {"Acute kidney failure", "kidney failure"}),
        ("Type 1 diabetes mellitus with ketoacidosis", {"diabetes mellitus", "Type 1 diabetes mellitus", "diabetes mellitus with ketoacidosis"}),
        ("Essential (primary) hypertension", {"Essential hypertension", "hypertension"}),
        ("Cellulitis of right lower limb", {"Cellulitis"}),
        ("Sepsis, unspecified organism", {"Sepsis"}),
        ("Complications of surgery", set()),
        ("Dissection of unspecified artery", set()),
        ("Other disorders", set()),
        ("Female infertility", set()),
        ("Gout", set()),
        ("CHF", set()),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_names_of_a_title(title, found):
    assert names(title) == {title} | found


def test_names_of_a_specialty():
    assert names("Cardiovascular / Pulmonary") == {"Cardiovascular", "Pulmonary"}


MENTIONS = Mentions({"I50": ["Heart failure, unspecified", "CHF", "MI"], "J18": ["Pneumonia, unspecified organism"]})


@pytest.mark.parametrize(
    ("before", "affirmed", "every"),
    [
        ("Treated for heart  failure and pneumonia.", "Treated for ___ and ___.", None),
        ("HEART-FAILURE; past CHF", "___; past ___", None),
        ("Denies fever, no pneumonia.", "Denies fever, no pneumonia.", "Denies fever, no ___."),
        ("No fever but has pneumonia", "No fever but has ___", None),
        ("Mother had heart failure. Has pneumonias", "Mother had heart failure. Has ___", "Mother had ___. Has ___"),
        ("Family History:\nCHF\n\nSocial History:\nCHF", "Family History:\nCHF\n\nSocial History:\n___",
         "Family History:\n___\n\nSocial History:\n___"),
        ("Pneumonia was ruled out.", "Pneumonia was ruled out.", "___ was ruled out."),
        ("mi casa, chf, heart and failure, pneumoniae", "mi casa, chf, heart and failure, pneumoniae", None),
    ],
    ids=["plain", "spelling", "denied", "ends", "relative", "section", "behind", "others"],
)  # fmt: skip
def test_mentions_are_masked_by_what_is_meant(before, affirmed, every):
    assert MENTIONS.mask(before, "affirmed")[0] == affirmed
    assert MENTIONS.mask(before, "all")[0] == (affirmed if every is None else every)
    again = MENTIONS.mask(before, "all")[0]
    assert MENTIONS.mask(again, "all") == (again, 0)


def test_any_class_is_masked_whatever_the_note_has(stage):
    """A mask of the note's own label alone would say the label: here two notes with other labels become the same."""
    text = "Has heart failure or pneumonia, ICD-9: 428.0."
    with note_writer(Path("data/deidentified.parquet"), {"task": "single_label"}) as writer:
        writer.write(
            {"note_id": str(n), "source": "t", "text": text, "text_pair": "CHF?", "labels": [label]}
            for n, label in enumerate(["I50", "J18"])
        )
    write_json(Path("data/titles.json"), {"I50": ["Heart failure", "CHF"], "J18": ["Pneumonia"]})
    assert stage("clean", {"visible_at": "all", "mask_label_mentions": "affirmed", "strip_codes": True}) == (0, "")
    rows = [(row["text"], row["text_pair"]) for batch in read_notes(Path("data/clean.parquet")) for row in batch]
    assert rows == [("Has ___ or ___.", "___?")] * 2
    metrics = read_json(Path("metrics/clean.json"))
    assert (metrics["codes_stripped"], metrics["label_mentions_masked"]) == (2, 6)
    assert stage("clean") == (0, "")
    assert not {"codes_stripped", "label_mentions_masked"} & read_json(Path("metrics/clean.json")).keys()
    Path("data/titles.json").unlink()
    assert stage("clean") == (0, "")
    code, line = stage("clean", {"mask_label_mentions": "all"})
    assert code == 1 and "data/titles.json does not exist" in line


@needs_shared_data
def test_titles_of_real_codes():
    """The official ICD-10-CM table: every category gets its titles."""
    class_of = vocabulary("category", [], Path())
    titles = _titles_of_classes({f"10 {row['code']}": row["long"] for row in icd10()}, class_of)
    assert len(titles) > 1_500 and any("failure" in title for title in titles["I50"])


def test_names_of_a_class_are_its_titles_and_synonyms():
    assert class_titles(["Gout", "I50"], {"I50": ["Heart failure"]}, {"I50": ["CHF"]}) == {
        "Gout": ["Gout"], "I50": ["CHF", "Heart failure"]}  # fmt: skip


# ---------------------------------------------------------------- copied forward


def words_of(found) -> list[str]:
    return [" ".join(piece.words) for piece in found]


def test_copied_is_what_stands_in_another_note():
    one = "Denies chest pain on exertion. Cough since Monday morning.\nT 98.5 F, BP 132/78."
    two = "Feels well. Copied: Denies chest pain on exertion.\nT 98.1 F, BP 120/78."
    assert [words_of(found) for found in copied([one, two], set(), 3)] == [["denies chest pain on exertion"]] * 2
    assert copied([one], set(), 3) == [[]], "nothing to copy from"
    assert copied([one, "Denies chest pain on mild exertion."], set(), 3) == [[], []], "edited"
    (piece,) = copied([two, one], set(), 3)[0]
    assert without(two, [piece]) == "Feels well. Copied:.\nT 98.1 F, BP 120/78."
    assert words_of(pieces("Name: Ann Lee of Town\nHPI: She was well", 3)) == ["she was well"], "no identifiers"


def test_a_form_of_many_patients_is_template():
    notes = [[{"text": f"Please see Dr. {name} at the clinic on {day}. Has {thing} again today"}]
             for name, day, thing in [("Ann", 3, "hives"), ("Bo", 14, "cough"), ("Cy", 5, "chills"), ("Di", 6, "aches")]]  # fmt: skip
    assert templates(notes, min_words=3, share=0.02) == {"# see #", "# at the clinic on #"}
    text = notes[0][0]["text"]
    (first, second) = copied([text, text], templates(notes, min_words=3, share=0.02), 3)
    assert words_of(first) == words_of(second) == ["has hives again today"]


def test_a_patient_comes_when_the_last_note_has_come():
    order = "a b a . c b . c c".split()
    notes = [{"patient_id": None if p == "." else p, "n": n} for n, p in enumerate(order)]
    sizes = Counter(note["patient_id"] for note in notes)
    assert [[note["n"] for note in group] for group in by_patient(notes, sizes)] == [
        [0, 2], [3], [1, 5], [6], [4, 7, 8]]  # fmt: skip


# ---------------------------------------------------------------- scores over chance


def test_macro_f1_is_scikit_learns_and_chance_is_that_of_independence():
    shard = random_shard(300, patients=200)
    value, chance = f1_and_chance(shard, np.ones((200, 1)))
    true, decided = shard.truth.argmax(1), shard.decided.argmax(1)
    assert value[0] == pytest.approx(f1_score(true, decided, average="macro"))
    rng = np.random.default_rng(0)
    shuffled = [f1_score(true, rng.permutation(decided), average="macro") for _ in range(400)]
    assert chance[0] == pytest.approx(np.mean(shuffled), abs=0.005)
    # a weight of two is the patient twice
    weights = 1.0 + (np.arange(200) % 2)[:, None]
    rows = np.repeat(np.arange(300), 1 + shard.patients % 2)
    assert f1_and_chance(shard, weights)[0][0] == pytest.approx(
        f1_score(true[rows], decided[rows], average="macro"), abs=1e-9
    )


def test_guesses_beat_the_majority_and_are_no_leak():
    """Why the lift is over chance: guesses spread over the classes have more macro-F1 than the majority and know nothing."""
    shard = random_shard(400, seed=1)
    shard.truth[:] = (np.arange(400) % 10 < 7)[:, None] == (np.arange(4) == 0)
    shard.truth[:, 2:] = False
    shard.truth[~shard.truth.any(axis=1), 1] = True
    shard.probabilities[:] = np.random.default_rng(2).random(shard.probabilities.shape) * [1, 1, 0, 0]
    majority = Shard(
        shard.note_ids, shard.patients, shard.truth, np.tile([0.7, 0.3, 0, 0], (400, 1)), shard.unknown, True
    )
    found = probed(shard, majority, 0.1, 400, 7)
    assert found["over_majority"]["low"] > 0 and found["lift"]["low"] < 0 < found["lift"]["high"]
    assert found["verdict"] == "none"


def test_verdicts_and_hidden_counts():
    cases = [(0.11, 0.4), (0.1, 0.4), (-0.1, 0.2), (-0.05, 0.09), (0.01, 0.09)]
    assert [verdict({"low": low, "high": high}, 0.1) for low, high in cases] == [
        "leaks", "cannot_conclude", "cannot_conclude", "none", "none"]  # fmt: skip
    assert [hidden(n, 40, 11) for n in (0, 10, 11, 29, 30, 40)] == [0, "<11", 11, 29, None, 40]


def test_the_score_of_a_part_gives_no_small_count_away():
    """33 of 45 right is 0.7333, and so said that 5 of the 50 are not among them; 20 notes of two patients have no interval."""
    truth = np.eye(2, dtype=bool)[np.arange(50) % 2]
    probabilities = np.where(np.arange(50)[:, None] % 15 < 4, ~truth, truth).astype(float)
    shard = Shard(np.arange(50).astype(str), np.arange(50), truth, probabilities, np.zeros(50, int), True)
    found = part(shard, np.arange(50) < 45, 11, {"samples": 50, "seed": 7})
    assert (
        found["n"] is None
        and found["accuracy"] == 0.73
        and all(found[k] == round(found[k], 2) for k in ("macro_f1", "low", "high"))
    )
    assert part(shard, np.arange(50) < 30, 11, {"samples": 50, "seed": 7})["accuracy"] == pytest.approx(22 / 30)
    of_few = replace(shard, patients=np.where(np.arange(50) < 20, np.arange(50) % 2, np.arange(50)))
    assert part(of_few, np.arange(50) < 20, 11, {"samples": 50, "seed": 7}) == {
        "n": 20, "macro_f1": None, "low": None, "high": None, "accuracy": None}  # fmt: skip


# ---------------------------------------------------------------- each probe finds what is planted for it, and only that

TITLES = {"anaemia": ["Anaemia"], "asthma": ["Asthma"], "gout": ["Gouty arthritis"], "sepsis": ["Sepsis, unspecified"]}
FAST = {"bootstrap_samples": 60}
FILLER = "calm alert warm dry tender swollen stable mild severe acute weak brisk faint steady coarse clear".split()
WRITE = {
    "none": {},
    "answer_sections": {"text": lambda k: f"\nDischarge Diagnosis:\nqwert{k}"},
    "label_mentions": {"text": lambda k: f" known for {['anaemia', 'ASTHMA', 'gouty arthritis', 'Sepsis'][k]} here"},
    "marks": {"text": lambda k: [" ___", " [**Name**]", " XXXX", " [DATE]"][k]},
    "template": {"text": lambda k: f"\nSigned by zxcv{k}, MD"},
    "metadata": {"columns": lambda k: {"service": f"ward {k}"}},
    "other_admissions": {},
}  # fmt: skip


def plant(what: str, *, notes: int = 160, single: bool = True) -> None:
    """Shards of notes whose text says nothing of the label but by what is planted; the source notes are the same."""
    rng, every, scored = np.random.default_rng(5), [], []
    meta = {"task": "single_label" if single else "multi_label", "data_use": DATA_USE, "classes": CLASSES}
    for name in ("train", "validation", "test"):
        rows, k = [], 0
        for n in range(notes):
            if n % 2 == 0 or what != "other_admissions":  # there both of a patient's notes have the same label
                k = int(rng.integers(4))
            text = f"History of Present Illness:\nFeels {' '.join(rng.choice(FILLER, 8))}."
            rows.append({
                "note_id": f"{name}{n:04}", "patient_id": f"{name}{n // 2}", "encounter_id": f"{name}e{n}", "source": "toy",
                "text": text + WRITE[what].get("text", lambda k: "")(k),
                "labels": [CLASSES[k]] if single else sorted({CLASSES[k], CLASSES[(k + n % 2) % 4]}),
            } | WRITE[what].get("columns", lambda k: {})(k))  # fmt: skip
        with note_writer(Path(f"data/split/{name}.parquet"), meta) as writer:
            writer.write(rows)
        every += rows
        if name != "train":
            probabilities = rng.dirichlet(np.ones(4), notes).astype(np.float32)
            scored += [{**{c: row[c] for c in ("note_id", "patient_id", "labels")}, "shard": name, "model": "model",
                        "logits": None, "probabilities": p} for row, p in zip(rows, probabilities, strict=True)]  # fmt: skip
    with note_writer(Path("data/deidentified.parquet"), meta) as writer:
        writer.write(every)
    write_predictions(Path("data/predictions.parquet"), scored, single=single)
    write_json(Path("data/titles.json"), TITLES)


def leaking(metrics: dict, shard: str = "validation") -> set[str]:
    return {
        probe for probe, views in metrics[shard]["probes"].items() for of in views.values() if of["verdict"] == "leaks"
    }


@pytest.mark.parametrize("what", WRITE)
def test_each_probe_finds_its_own(stage, what):
    plant(what)
    assert stage("audit_leakage", FAST) == (0, "")
    metrics = read_json(METRICS)
    for shard in ("validation", "test"):
        assert leaking(metrics, shard) == ({what} if what != "none" else set())
        rest = metrics[shard]["model"]["where_no_probe_succeeds"]
        if what == "none":
            assert rest["n"] == 160 and rest["macro_f1"] == metrics[shard]["model"]["all"]["macro_f1"]
        else:
            assert rest["n"] in (0, "<11"), "the probe gets (nearly) every note right"
            assert rest["macro_f1"] is None
    text = METRICS.read_text()
    assert not [word for word in (*FILLER, "qwert", "zxcv", "ward", "gouty") if word in text], "no word of a note"
    assert PLOT.read_bytes()[:4] == b"\x89PNG"


def test_what_cannot_be_found_is_not_called_gone(stage):
    """The model's text without punctuation has no heading any more; its answer sections are there all the same."""
    plant("answer_sections", notes=80)
    for name in ("train", "validation", "test"):
        path = Path(f"data/split/{name}.parquet")
        rows = [row | {"text": row["text"].replace(":", "").lower()} for batch in read_notes(path) for row in batch]
        with note_writer(path, read_metadata(path)) as writer:
            writer.write(rows)
    assert stage("audit_leakage", FAST) == (0, "")
    of = read_json(METRICS)["validation"]["probes"]["answer_sections"]
    assert (of["source_note"]["verdict"], of["model_text"]["verdict"]) == ("leaks", "cannot_conclude")


def test_a_part_of_the_train_patients_is_enough(stage):
    plant("marks")
    assert stage("audit_leakage", FAST | {"max_train_notes": 101}) == (0, "")
    metrics = read_json(METRICS)
    assert metrics["copied"]["train"]["notes"] == 100, "whole patients of two notes"
    assert leaking(metrics) == {"marks"}


def test_several_labels(stage):
    plant("answer_sections", single=False)
    assert stage("audit_leakage", FAST) == (0, "")
    assert leaking(read_json(METRICS)) == {"answer_sections"}


def test_twice_the_same_bytes(stage):
    plant("marks", notes=80)
    stage("audit_leakage", FAST)
    before = sha256(METRICS), sha256(PLOT)
    stage("audit_leakage", FAST)
    assert (sha256(METRICS), sha256(PLOT)) == before


def test_the_gate_fails_with_the_evidence_written(stage):
    plant("marks", notes=80)
    code, line = stage("audit_leakage", FAST | {"max_probe_lift": 0.3})
    assert code == 1 and "marks" in line and "audit_leakage.max_probe_lift is 0.3" in line and "\n" not in line
    gate = read_json(METRICS)["gate"]
    assert gate["failed"] is True and gate["highest_lift"] > 0.3 and PLOT.exists()
    assert stage("audit_leakage", FAST | {"max_probe_lift": 0.9}) == (0, "")
    assert read_json(METRICS)["gate"]["failed"] is False


@pytest.mark.slow
def test_the_gate_in_dvc(folder):
    """A run that the gate stops leaves its metrics to look at and nothing in the lock; without the limit it goes on."""
    plant("marks", notes=80)
    block = YAML(typ="safe", pure=True).load(ROOT / "dvc.yaml")["stages"]["audit_leakage"]
    block["deps"] = [dep for dep in block["deps"] if dep.startswith("data/")]
    with open("dvc.yaml", "w") as stream:
        YAML().dump({"stages": {"audit_leakage": block}}, stream)
    limit = merged(default_params(), {"audit_leakage": FAST | {"max_probe_lift": 0.3}})
    write_params(folder, {"audit_leakage": limit["audit_leakage"]})
    subprocess.run(["git", "init", "-q"], check=True)
    env = {"PYTHONPATH": str(ROOT), "DVC_NO_ANALYTICS": "1"}
    run_in(folder, "dvc", "init", "-q", env=env)
    done = run_in(folder, "dvc", "repro", env=env, check=False)
    assert done.returncode != 0 and "gets" in done.stderr and "max_probe_lift" in done.stderr
    assert read_json(METRICS)["gate"]["failed"] is True and PLOT.exists()
    assert not Path("dvc.lock").exists()
    shown = json.loads(run_in(folder, "dvc", "metrics", "show", "--json", env=env).stdout)
    assert shown[""]["data"]["metrics/audit_leakage.json"]["data"]["gate"]["failed"] is True
    limit["audit_leakage"]["max_probe_lift"] = None
    write_params(folder, {"audit_leakage": limit["audit_leakage"]})
    run_in(folder, "dvc", "repro", env=env)
    assert Path("dvc.lock").exists() and read_json(METRICS)["gate"]["failed"] is False


# ---------------------------------------------------------------- on the embedded corpus, the whole note shown

SMALL = {
    "synthesize": {"patients": 360, "notes": 500, "bayes_draws": 1000, "answer_rate": 0.8},
    "deidentify": {"key_file": str(ROOT / "keys/public.key"), "known_fields": str(ROOT / "keys/no_known_fields.csv")},
    "clean": {"visible_at": "all"},
    "split": {"train_share": 0.5, "validation_share": 0.4, "calibration_share": 0.05, "test_share": 0.05, "top_k": 5},
    "audit_leakage": {"bootstrap_samples": 200},
}


def run_stages(folder: Path, changes: dict, names: list[str]) -> dict:
    """Run stages in a folder, with the TF-IDF baseline for the model; the leakage metrics."""
    folder.mkdir(parents=True, exist_ok=True)
    write_params(folder, merged(merged(default_params(), SMALL), changes))
    with contextlib.chdir(folder):
        for name in names:
            importlib.import_module(f"stages.{name}").main()
        table, meta = read_predictions(Path("data/baseline.parquet"))
        with prediction_writer(Path("data/predictions.parquet"), **meta) as write:
            write(table[table["model"] == "tfidf_logreg"].assign(model="model").to_dict("records"))
        importlib.import_module("stages.audit_leakage").main()
        return read_json(METRICS)


FROM_CLEAN = ["clean", "split", "baseline"]


@pytest.fixture(scope="module")
def planted(tmp_path_factory) -> tuple[Path, dict]:
    folder = tmp_path_factory.mktemp("planted") / "run"
    return folder, run_stages(folder, {}, ["synthesize", "ingest", "deidentify", *FROM_CLEAN])


def views(metrics: dict, view: str) -> dict[str, str]:
    return {probe: of[view]["verdict"] for probe, of in metrics["validation"]["probes"].items() if view in of}


def test_the_planted_section_is_found_and_its_notes_left_out(planted):
    folder, metrics = planted
    assert views(metrics, "model_text") == {
        "answer_sections": "leaks", "label_mentions": "leaks", "metadata": "none", "template": "none", "marks": "none"}  # fmt: skip
    assert views(metrics, "tables") == {"other_admissions": "none"}
    model = metrics["validation"]["model"]
    with gzip.open(folder / "data/raw/synthetic/truth/notes.csv.gz", "rt") as stream:
        answered = [row["answered"] == "1" and row["label_noise"] == "0" for row in csv.DictReader(stream)]
    # Left are about as many as have no true answer planted, and there the "model" is worse.
    assert model["where_no_probe_succeeds"]["n"] == pytest.approx(
        metrics["validation"]["n"] * (1 - np.mean(answered)), abs=14
    )
    assert model["where_no_probe_succeeds"]["accuracy"] < model["all"]["accuracy"] - 0.3


def test_at_admission_the_source_leaks_and_the_model_does_not_see_it(planted, tmp_path):
    shutil.copytree(planted[0], tmp_path / "run")
    metrics = run_stages(tmp_path / "run", {"clean": {"visible_at": "admission"}}, FROM_CLEAN)
    assert (
        views(metrics, "source_note")["answer_sections"] == views(metrics, "source_note")["label_mentions"] == "leaks"
    )
    assert set(views(metrics, "model_text").values()) == {"none"}
    assert metrics["validation"]["probes"]["answer_sections"]["model_text"]["notes_with_any"] == 0


def test_masked_mentions_do_not_tell_even_in_the_whole_note(planted, tmp_path):
    """The answer sections are still there; with every class's names masked they say nothing, and neither does the mask."""
    shutil.copytree(planted[0], tmp_path / "run")
    metrics = run_stages(tmp_path / "run", {"clean": {"mask_label_mentions": "all"}}, FROM_CLEAN)
    answers = metrics["validation"]["probes"]["answer_sections"]["model_text"]
    assert answers["notes_with_any"] == metrics["validation"]["n"]
    assert set(views(metrics, "model_text").values()) <= {"none", "cannot_conclude"}
    assert answers["lift"]["value"] < 0.1


def test_none_is_said_where_none_is_planted(tmp_path):
    changes = {"synthesize": {"answer_rate": 0, "copy_forward_rate": 0}}
    metrics = run_stages(tmp_path / "run", changes, ["synthesize", "ingest", "deidentify", *FROM_CLEAN])
    for view in ("source_note", "model_text", "tables"):
        assert set(views(metrics, view).values()) == {"none"}, view
    assert metrics["copied"]["validation"]["notes_with_copied_text"] in (0, "<11")
    assert metrics["copied"]["train"]["copied_share_of_words"] < 0.001, "a chance repetition or two"


def test_text_copied_forward_is_found(planted):
    """Pairs of notes that share text against truth/notes.csv.gz: which note was copied from which stay."""
    folder, metrics = planted
    key = read_key(ROOT / "keys/public.key", {"public": True})
    with gzip.open(folder / "data/raw/synthetic/truth/notes.csv.gz", "rt") as stream:
        told = list(csv.DictReader(stream))
    notes_of = {}
    for row in told:
        notes_of.setdefault(row["hadm_id"], []).append(key.rekey("note_id", row["note_id"]))
    rows = [row for batch in read_notes(folder / "data/clean.parquet") for row in batch]
    there = {row["note_id"] for row in rows}
    truth = {
        frozenset((key.rekey("note_id", row["note_id"]), other))
        for row in told
        if row["copied_from"]
        for other in notes_of[row["copied_from"]]
        if {key.rekey("note_id", row["note_id"]), other} <= there
    }
    groups = list(by_patient(rows, Counter(row["patient_id"] for row in rows)))
    template, found = templates(groups, min_words=3, share=0.02), set()
    for group in groups:
        shared = copied([note["text"] for note in group], template, 3)
        sentences = [{piece.words for piece in of_note} for of_note in shared]
        for i, one in enumerate(sentences):
            found |= {frozenset((group[i]["note_id"], group[j]["note_id"])) for j in range(i) if one & sentences[j]}
    assert len(truth) > 25
    assert len(found & truth) / len(truth) > 0.9, "recall"
    assert len(found & truth) / len(found) > 0.8, "precision"
    rates = metrics["copied"]
    assert rates["train"]["notes_with_copied_text"] >= 11 and 0 < rates["train"]["copied_share_of_words"] < 0.05
    assert metrics["validation"]["model"]["with_copied_text"]["n"] == rates["validation"]["notes_with_copied_text"]


def test_titles_and_synonyms_of_the_classes(planted, tmp_path):
    titles = read_json(planted[0] / "data/titles.json")
    assert titles["I50"] == ["Heart failure, unspecified"] and set(titles) >= {"I50", "J18", "N17", "K85"}
    (tmp_path / "data").mkdir()
    shutil.copytree(planted[0] / "data/raw", tmp_path / "data/raw")
    write_params(tmp_path, merged(default_params(), {"ingest": {"synonyms": {"I50": ["CHF"]}}}))
    with contextlib.chdir(tmp_path):
        importlib.import_module("stages.ingest").main()
        assert read_json(Path("data/titles.json"))["I50"] == ["CHF", "Heart failure, unspecified"]


# ---------------------------------------------------------------- what users break


def fails(stage, changes, *words):
    METRICS.unlink(missing_ok=True)
    code, line = stage("audit_leakage", FAST | changes)
    assert code == 1 and line.startswith("error: ") and "\n" not in line and "unexpected" not in line, line
    assert all(word in line for word in words), line
    assert not METRICS.exists() and not PLOT.exists()


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"margin": -0.1}, "audit_leakage.margin"),
        ({"max_probe_lift": "high"}, "audit_leakage.max_probe_lift"),
        ({"template_share": 0}, "audit_leakage.template_share"),
        ({"min_count": 1}, "audit_leakage.min_count"),
        ({"probes": []}, "audit_leakage.probes is no known param"),
    ],
    ids=["margin", "limit", "share", "count", "unknown"],
)
def test_wrong_params(stage, changes, word):
    fails(stage, changes, word)


def test_missing_and_mismatched_inputs(stage):
    plant("none", notes=24)
    Path("data/titles.json").unlink()
    fails(stage, {}, "data/titles.json does not exist")
    write_json(Path("data/titles.json"), TITLES)
    shutil.copy("data/split/train.parquet", "data/deidentified.parquet")
    fails(stage, {}, "data/deidentified.parquet", "of 72 notes of the shards 24 are there")
    shutil.copy("data/split/train.parquet", "data/split/test.parquet")
    fails(stage, {}, "data/split/test.parquet", "48 notes are in the shard or in the predictions only")
    table, meta = read_predictions(Path("data/predictions.parquet"))
    with prediction_writer(Path("data/predictions.parquet"), **meta) as write:
        write(table[table["shard"] == "test"].to_dict("records"))
    fails(stage, {}, "no prediction of the validation shard")


def test_synonyms_of_an_unknown_class(stage, folder):
    Path("notes.csv").write_text("text,labels\n" + "".join(f"note {n} says so,{'ab'[n % 2]}\n" for n in range(30)))
    changes = {"corpus": "table", "path": "notes.csv", "synonyms": {"c": ["sea"]}, "table": {"labels": "labels"}}
    code, line = stage("ingest", changes)
    assert code == 1 and "ingest.synonyms names 'c'" in line
    assert not list(folder.glob("data/*"))
    assert stage("ingest", changes | {"synonyms": {"a": ["ay"]}}) == (0, "")
    assert read_json(Path("data/titles.json")) == {"a": ["a", "ay"], "b": ["b"]}
