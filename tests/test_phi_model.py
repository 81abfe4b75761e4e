"""The learned detector: what it learns from, its windows, threshold and spans, the stage that trains it, deidentify with it."""

import hashlib
import json
import math
import shutil
import subprocess
import sys
from pathlib import Path
from random import Random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import ROOT, SHARED_DATA, default_params, merged, needs_shared_data
from ruamel.yaml import YAML
from transformers import AutoTokenizer

from benchmarks.phi_model import read_presidio, sentence_scores, touch
from diagnosis.corpora.gold import SCHEMA as GOLD_SCHEMA
from diagnosis.corpora.gold import write_spans
from diagnosis.notes import note_writer
from diagnosis.phi.spans import Span
from diagnosis.phi_model import carriers
from diagnosis.phi_model.carriers import sentence
from diagnosis.phi_model.examples import PARTS, deal, invented
from diagnosis.phi_model.inference import LABELS, Detector, beside, load_detector, spans_of
from diagnosis.phi_model.training import load_tagger, tags, threshold_for
from diagnosis.spans.windows import windows, words_of
from diagnosis.synthetic import identities, note_text

NOTES, GOLD, DETECTOR = Path("data/notes.parquet"), Path("data/gold_spans.parquet"), Path("models/detector")
SMALL = {"enabled": True, "notes": 12, "epochs": 1, "threads": 1, "max_tokens": 48, "learning_rate": 3.0e-3}
TEXT = "Name: Quibble, Ada\nSeen by Dr. Hatherley. No fever, no cough.\nPhone 617-555-0143"


def write(count: int = 60, with_gold: bool = True) -> None:
    """Notes of as many patients, each with a name and a phone number."""
    metadata = {"corpus": "toy", "task": "single_label", "text_pair": False, "official_split": False}
    with note_writer(NOTES, metadata | {"data_use": {"corpus": "toy", "public": True}}) as writer:
        writer.write(
            {"note_id": f"n{n}", "patient_id": f"p{n}", "source": "toy", "text": TEXT, "labels": ["flu"]}
            for n in range(count)
        )
    pieces = [("Quibble, Ada", "NAME"), ("Hatherley", "NAME"), ("617-555-0143", "PHONE")]
    spans = [
        {"note_id": f"n{n}", "start": TEXT.index(p), "end": TEXT.index(p) + len(p), "kind": kind, "origin": "en_GB"}
        for n in range(count if with_gold else 0)
        for p, kind in pieces
    ]
    pq.write_table(pa.Table.from_pylist(spans, schema=GOLD_SCHEMA), GOLD)
    write_spans(Path("data/annotations.parquet"), ())
    Path("keys").mkdir(exist_ok=True)
    for name in ("public.key", "no_known_fields.csv"):
        shutil.copy(ROOT / "keys" / name, f"keys/{name}")


@pytest.fixture
def trained(stage, folder, tiny_model):
    write()
    shutil.copytree(tiny_model, "models/base")
    assert stage("finetune_detector", SMALL) == (0, "")
    return folder


# What it learns from --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["train", "validation"])
def test_the_spans_of_invented_sentences_are_their_identifiers(part):
    rng = Random(4)
    for _ in range(300):
        text, spans = sentence(part, rng)
        assert spans == sorted(spans) and all(a.end <= b.start for a, b in zip(spans, spans[1:], strict=False))
        for span in spans:
            value = text[span.start : span.end]
            assert value and value == value.strip()
            if span.kind == "SSN":
                assert sum(map(str.isdigit, value)) == 9
            if span.kind == "AGE":
                assert int(value) >= 90
            if span.kind == "EMAIL":
                assert value.count("@") == 1 and " " not in value


def test_an_age_is_an_identifier_above_89_only(monkeypatch):
    monkeypatch.setattr(carriers, "ORDINARY", 0.0)
    monkeypatch.setattr(carriers, "_templates", lambda part: ["aged {age}"])
    drawn = [sentence("train", Random(seed)) for seed in range(200)]
    ages = {int(text.split()[1]): spans for text, spans in drawn}
    assert min(ages) < 40 and max(ages) > 100
    assert all((len(spans) == 1) == (age >= 90) for age, spans in ages.items())


def test_ordinary_lines_hold_no_identifier(monkeypatch):
    monkeypatch.setattr(carriers, "ORDINARY", 1.0)
    lines = [sentence("validation", Random(seed)) for seed in range(50)]
    assert all(spans == [] and len(text.split()) >= 4 for text, spans in lines) and len({t for t, _ in lines}) == 50


def test_every_slot_is_filled_and_every_kind_is_taught():
    for part in ("train", "validation"):
        slots = {slot for line in carriers.SENTENCES[part].splitlines() for slot in carriers.SLOT.findall(line)}
        assert all("{" not in carriers._fill(slot, part, Random(1)) for slot in slots)
    taught = {
        carriers.KINDS[slot] for slot in carriers.SLOT.findall(carriers.SENTENCES["train"]) if slot in carriers.KINDS
    }
    assert set(LABELS[1:]) - taught == {"BIOMETRIC"}  # taught as a DEVICE: both are codes behind words


def test_no_sentence_and_no_origin_is_in_two_parts_or_in_the_embedded_corpus():
    parts = [
        {carriers.SLOT.sub("{}", line) for line in carriers.SENTENCES[part].strip().splitlines()}
        for part in carriers.SENTENCES
    ]
    assert not parts[0] & parts[1]
    origins = [set(found) for found in carriers.ORIGINS.values()]
    embedded = {origin for _, _, found in identities.RACES for origin in found} | set(identities.DOCTOR_ORIGINS)
    assert not origins[0] & origins[1] and not embedded & set().union(*origins)
    written = Path(note_text.__file__).read_text() + Path(identities.__file__).read_text()
    ours = [piece.strip() for line in parts[0] | parts[1] for piece in line.split("{}")]
    assert not [piece for piece in ours if len(piece.split()) > 3 and piece in written]


def test_patients_are_dealt_to_one_part_and_only_with_gold(folder):
    write()
    dealt = deal(NOTES, GOLD, 7, 1000)
    counts = {part: list(dealt.values()).count(part) for part in PARTS}
    assert sum(counts.values()) == 60 and all(
        counts[part] / 60 == pytest.approx(PARTS[part], abs=0.15) for part in PARTS
    )
    assert deal(NOTES, GOLD, 7, 5).items() <= dealt.items()
    assert [list(deal(NOTES, GOLD, 7, 5).values()).count(part) for part in PARTS] == [5, 5, 5]
    spans = pq.read_table(GOLD)
    pq.write_table(spans.slice(0, 90), GOLD)  # the first thirty notes
    assert set(deal(NOTES, GOLD, 7, 1000)) == {f"n{n}" for n in range(30)}


def test_the_corpus_own_identifiers_are_learned_only_where_asked_for(folder):
    marks = [(Span(TEXT.index("Hatherley"), TEXT.index("Hatherley") + 9, "NAME"), "en_GB")]
    without, _ = next(invented("train", [(TEXT, marks)], 7, False))
    assert "Hatherley" not in without and "Seen by" not in without and "Quibble" in without
    text, spans = next(invented("train", [(TEXT, marks)], 7, True))
    assert Span(text.index("Hatherley"), text.index("Hatherley") + 9, "NAME") in spans
    assert list(invented("train", [(TEXT, marks)], 7, True)) == list(invented("train", [(TEXT, marks)], 7, True))


# Windows, threshold, spans --------------------------------------------------------------------------------------------


def test_windows_cover_every_word_and_know_its_characters(tiny_model):
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    text = " ".join(f"Patient{n % 7} (the fever), 12/3" for n in range(60))
    words = words_of(text)
    found = windows(tokenizer, text, words, max_tokens=32)
    assert len(found) > 10 and max(len(window.ids) for window in found) == 32
    assert set(np.concatenate([window.words for window in found])) == {-1, *range(len(words))}
    for window in found:
        assert window.words[0] == window.words[-1] == -1  # [CLS] and [SEP]
        for token, number, capital in zip(window.ids, window.words, window.capitals, strict=True):
            if number < 0:
                assert not capital
                continue
            word = text[slice(*words[number])]
            assert tokenizer.convert_ids_to_tokens(int(token)).removeprefix("##") in word.lower()
            assert capital == word[0].isupper()
    for before, after in zip(found, found[1:], strict=False):
        shared = set(before.words) & set(after.words) - {-1}
        assert shared, "neighbours overlap"


def test_tags_by_hand():
    words = words_of("Dr. Ann Lee, 12/3")
    assert tags(words, [Span(4, 11, "NAME"), Span(13, 17, "DATE")]).tolist() == [
        0, *[LABELS.index("NAME")] * 2, *[LABELS.index("DATE")] * 2,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("min_recall", "expected"), [(1.0, 0.1), (0.9, 0.2), (0.95, 0.1), (0.8, 0.3), (0.5, 0.6), (0.001, 1.0)]
)
def test_the_threshold_is_the_highest_that_reaches_the_recall(min_recall, expected):
    scores = np.array([0.3, 0.1, 0.2, 0.4, 0.5, 0.9, 0.8, 0.7, 0.6, 1.0])
    assert threshold_for(scores, min_recall) == pytest.approx(expected)
    assert (scores >= expected).mean() >= min_recall


def test_spans_by_hand():
    text = "Ann Lee, MD\nBo 12/3 ok"
    words, name, date = words_of(text), LABELS.index("NAME"), LABELS.index("DATE")
    likely = np.zeros((len(words), len(LABELS)))
    likely[:, 0] = [0.1, 0.5, 0.9, 0.2, 0.1, 0.1, 1.0]  # Ann Lee MD Bo 12 3 ok
    likely[[0, 1, 2, 3], name] = 1 - likely[[0, 1, 2, 3], 0]
    likely[[4, 5], date] = 0.9
    assert spans_of(text, words, likely, 0.5) == [Span(0, 7, "NAME"), Span(12, 14, "NAME"), Span(15, 19, "DATE")]
    assert spans_of(text, words, likely, 0.6) == [Span(0, 3, "NAME"), Span(12, 14, "NAME"), Span(15, 19, "DATE")]
    assert spans_of(text, words, likely, 0.09)[0] == Span(0, 11, "NAME")


def test_what_the_rules_found_stays_and_the_model_adds_around_it():
    text = "Dr. Ann Lee on 12/3 in [**Boston**] today Zed"
    rules = [Span(8, 11, "NAME"), Span(15, 19, "DATE")]
    model = [Span(4, 11, "PLACE"), Span(12, 22, "NAME"), Span(23, 35, "PLACE"), Span(42, 45, "NAME")]
    assert beside(text, rules, model) == [
        Span(4, 7, "PLACE"), Span(8, 11, "NAME"), Span(12, 14, "NAME"), Span(15, 19, "DATE"), Span(20, 22, "NAME"), Span(42, 45, "NAME"),
    ]  # fmt: skip
    assert beside(text, rules, []) == rules
    assert beside(text, [], [Span(0, 11, "NAME")]) == [Span(0, 11, "NAME")]


# The stage ------------------------------------------------------------------------------------------------------------


def test_off_is_a_marker_without_torch(folder):
    """Nothing is read: neither notes nor a base model are there."""
    with open("params.yaml", "w") as stream:
        YAML().dump({"finetune_detector": default_params()["finetune_detector"]}, stream)
    code = "import sys, stages.finetune_detector as s; s.main(); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT)}, check=True)
    assert [path.name for path in DETECTOR.iterdir()] == ["detector.json"]
    assert json.loads(Path("models/detector/detector.json").read_text()) == {"enabled": False}
    assert json.loads(Path("metrics/finetune_detector.json").read_text()) == {"enabled": False}


def test_trained_saved_and_loaded_it_finds_the_same(trained, tiny_model):
    metrics = json.loads(Path("metrics/finetune_detector.json").read_text())
    assert metrics["notes"] == {"train": 12, "validation": 12, "test": 12}
    assert metrics["validation"]["recall"] >= 0.99 and math.isfinite(metrics["train"]["loss"])
    assert set(metrics["test"]["by_kind"]) == {"NAME", "PHONE"}
    card = json.loads((DETECTOR / "detector.json").read_text())
    assert card["threshold"] == pytest.approx(metrics["threshold"], abs=1e-6) and card["data_use"]["public"]
    assert not list(DETECTOR.glob("*.bin")) and (DETECTOR / "model.safetensors").exists()

    detector = load_detector(DETECTOR)
    again = Detector(detector.model, AutoTokenizer.from_pretrained(DETECTOR), SMALL["max_tokens"], card["threshold"])
    texts = [TEXT, "", "fever " * 400, TEXT * 9, "…"]
    assert detector.find(texts) == again.find(texts)
    assert detector.find(texts)[1] == detector.find(texts)[4] == []
    # Whatever stands beside it in a batch, a text has the same probabilities.
    alone = detector.probabilities([TEXT], [words_of(TEXT)])[0]
    beside_others = detector.probabilities([TEXT * 9, TEXT], [words_of(TEXT * 9), words_of(TEXT)])[1]
    assert np.abs(alone - beside_others).max() < 1e-5
    # An untrained head makes other ones.
    model, tokenizer = load_tagger(tiny_model, 48)
    untrained = Detector(model.eval(), tokenizer, 48, 0.5).probabilities([TEXT], [words_of(TEXT)])[0]
    assert np.abs(alone - untrained).max() > 0.05


def test_the_same_bytes_twice(stage, trained):
    files = [*sorted(DETECTOR.iterdir()), Path("metrics/finetune_detector.json")]
    first = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    assert stage("finetune_detector", SMALL) == (0, "")
    assert {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files} == first
    assert stage("finetune_detector", SMALL | {"seed": 8}) == (0, "")
    assert (DETECTOR / "model.safetensors").read_bytes() and first != {
        path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }


@pytest.mark.parametrize(
    ("count", "with_gold", "changes", "pieces"),
    [
        (60, False, {}, ("data/gold_spans.parquet is empty", "finetune_detector.enabled")),
        (1, True, {}, ("data/gold_spans.parquet", "too few patients", "finetune_detector.enabled")),
        (60, True, {"max_tokens": 999}, ("finetune_detector.max_tokens is 999", "takes 128 at most")),
        (60, True, {"min_recall": 0}, ("finetune_detector.min_recall",)),
        (60, True, {"learning_rate": 1e30}, ("no longer a number", "finetune_detector.learning_rate")),
    ],
    ids=["no gold", "one patient", "long windows", "no recall", "diverged"],
)
def test_what_users_break_is_one_line(stage, folder, tiny_model, count, with_gold, changes, pieces):
    write(count, with_gold)
    shutil.copytree(tiny_model, "models/base")
    code, line = stage("finetune_detector", SMALL | changes)
    assert code == 1 and line.startswith("error: ") and "\n" not in line and all(piece in line for piece in pieces), (
        line
    )
    assert "Quibble" not in line and not DETECTOR.exists() and not Path("metrics").exists()


# deidentify with it ---------------------------------------------------------------------------------------------------


def masked(stage, detector: str) -> str:
    assert stage("deidentify", {"detector": detector, "replace": "mask"}) == (0, "")
    return pq.read_table("data/deidentified.parquet")["text"][0].as_py()


def test_deidentify_by_rules_model_and_both(stage, trained):
    by_rules = masked(stage, "rules")
    assert by_rules == "Name: [NAME], [NAME]\nSeen by Dr. [NAME]. No fever, no cough.\nPhone [PHONE]"
    card = json.loads((DETECTOR / "detector.json").read_text())
    (DETECTOR / "detector.json").write_text(json.dumps(card | {"threshold": 1.1}))  # nothing reaches it
    assert masked(stage, "model") == TEXT and masked(stage, "both") == by_rules
    (DETECTOR / "detector.json").write_text(json.dumps(card | {"threshold": 0.0}))  # every word does
    text = masked(stage, "model")
    assert not any(word in text for word in ("Quibble", "Seen", "fever", "617")) and "[" in text
    assert "[PHONE]" in masked(stage, "both")  # the rules' kind, whatever the model takes it for


def test_rules_need_neither_torch_nor_a_detector(folder):
    write()
    with open("params.yaml", "w") as stream:
        YAML().dump({"deidentify": default_params()["deidentify"]}, stream)
    code = "import sys, stages.deidentify as s; s.main(); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT)}, check=True, capture_output=True)
    assert default_params()["deidentify"]["detector"] == "rules"


@pytest.mark.parametrize("detector", ["model", "both"])
def test_a_detector_that_is_off_missing_or_broken_is_one_line(stage, folder, detector):
    write()
    changes = {"detector": detector}
    code, line = stage("deidentify", changes)
    assert code == 1 and "models/detector does not exist: run `dvc repro finetune_detector`" in line
    assert stage("finetune_detector", {}) == (0, "")
    code, line = stage("deidentify", changes)
    assert code == 1 and "finetune_detector.enabled" in line and "\n" not in line
    (DETECTOR / "detector.json").write_text('{"enabled": true}')
    code, line = stage("deidentify", changes)
    assert code == 1 and "models/detector/config.json does not exist" in line
    assert not Path("data/deidentified.parquet").exists() and not Path("metrics/deidentify.json").exists()


# The benchmark --------------------------------------------------------------------------------------------------------


@needs_shared_data
def test_presidio_sentences_are_halved_by_template_and_spans_lie_on_words():
    path = SHARED_DATA / "deid_presidio" / "synth_dataset_v2.json"
    halves = read_presidio(path)
    template = {row["full_text"]: row["template_id"] for row in json.loads(path.read_text())}
    first, second = ({template[text] for text, _, _ in rows} for rows in halves.values())
    assert sum(map(len, halves.values())) == 1500 and not first & second and min(len(first), len(second)) > 80
    spans = [(text, span) for rows in halves.values() for text, gold, _ in rows for span in gold]
    assert len(spans) == 2863 - 250 - 92 - 74 - 55  # all but organisations, titles, ages and nationalities
    assert all(touch(words_of(text), [span]).any() for text, span in spans)


def test_sentence_scores_by_hand():
    """Of Ann Lee only Lee is found; Acme, of a kind that does not count, is found too, and so is one ordinary word."""

    class Finds:
        threshold = 0.5

        def probabilities(self, texts, words):
            likely = np.zeros((5, len(LABELS)))  # Ann Lee of Acme called
            likely[:, 0] = [0.6, 0.3, 1.0, 0.0, 0.4]
            likely[:, 1] = 1 - likely[:, 0]
            return [likely for _ in texts]

    rows = [("Ann Lee of Acme called", [Span(0, 7, "NAME")], [Span(11, 15, "ORGANIZATION")])]
    scores = sentence_scores(Finds(), rows)
    assert scores["model 0.5 (chosen)"] == {"recall": 0.5, "precision": 0.5}
    assert scores["model 0.1"] == {"recall": 1.0, "precision": pytest.approx(2 / 3)}


def test_default_is_off():
    assert merged(default_params(), {})["finetune_detector"]["enabled"] is False
