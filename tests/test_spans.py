"""Annotations that travel with the notes, entity and answer scores, and the stage that learns to mark spans."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import ROOT, default_params
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML
from transformers import AutoModelForQuestionAnswering, AutoModelForTokenClassification, AutoTokenizer

from diagnosis.corpora.gold import SCHEMA, read_spans
from diagnosis.errors import UserError
from diagnosis.notes import note_writer
from diagnosis.phi.spans import Span, joined, moved
from diagnosis.spans import answers, entities
from diagnosis.spans.entities import Entity
from diagnosis.spans.scores import answer_scores, entity_scores, exact_match, word_f1
from diagnosis.spans.windows import words_of

LABELS = entities.labels_of(["present", "negated"])
ON = {"enabled": True, "epochs": 8, "max_tokens": 64, "threads": 1, "batch_size": 4, "learning_rate": 3.0e-3, "min_count": 2,
      "bootstrap_samples": 50}  # fmt: skip
TEXT = "patient reports fever and cough, denies chest pain. mother with the history of pain"
MARKS = [("fever", "present"), ("cough", "present"), ("chest pain", "negated")]


def spans_of(text: str, marks) -> list[Span]:
    return [Span(text.index(words), text.index(words) + len(words), kind) for words, kind in marks]


# Where annotations lie once identifiers are replaced ------------------------------------------------------------------


def test_annotations_move_with_what_is_replaced_before_them():
    text = "Ann Lee has fever. Bo saw her cough."
    names = [Span(0, 7, "NAME"), Span(19, 21, "NAME")]
    marks = spans_of(text, [("fever", "present"), ("saw her", "x"), ("cough", "present")]) + [Span(17, 20, "of a name")]
    pieces = ["[NAME]", "Bartholomew"]
    after = moved(marks, names, pieces)
    new = joined(text, names, pieces)
    assert new == "[NAME] has fever. Bartholomew saw her cough."
    assert [(new[s.start : s.end], s.kind) for s in after] == [
        ("fever", "present"),
        ("saw her", "x"),
        ("cough", "present"),
    ]
    assert moved([Span(7, 8, "beside")], names, pieces) == [Span(6, 7, "beside")]


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 5), st.text("xy", max_size=7)), max_size=4),
       st.integers(0, 39), st.integers(1, 8))  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_a_kept_annotation_has_the_same_text_wherever_it_moves(cuts, start, length):
    text = "".join(chr(97 + n) if n < 26 else chr(39 + n) for n in range(40))
    spans, pieces, end = [], [], 0
    for gap, size, piece in cuts:
        if end + gap + size <= len(text):
            spans.append(Span(end + gap, end + gap + size, "NAME"))
            pieces.append(piece)
            end += gap + size
    mark = Span(start, min(40, start + length), "m")
    after = moved([mark], spans, pieces)
    assert bool(after) == all(s.end <= mark.start or s.start >= mark.end for s in spans)
    for own in after:
        assert joined(text, spans, pieces)[own.start : own.end] == text[mark.start : mark.end]


def test_ingest_and_deidentify_hand_on_the_annotations_of_a_table(stage, folder):
    table = folder / "data/raw/mine"
    table.mkdir(parents=True)
    text = "Dr. Quibblethorpe saw fever, MRN 1234567, no cough."
    (table / "notes.csv").write_text(f'id,text,label\na,"{text}",flu\nb,"no fever here",cold\n')
    rows = [
        ("a", words, kind) for words, kind in (("fever", "present"), ("cough", "negated"), ("Quibblethorpe", "present"))
    ]
    lines = [f"{note},{text.index(words)},{text.index(words) + len(words)},{kind}" for note, words, kind in rows]
    (table / "annotations.csv").write_text(
        "\n".join(["note_id,start,end,kind", *lines, "not there,0,3,present"]) + "\n"
    )
    own = {"corpus": "table", "path": "data/raw/mine", "table": {"note_id": "id", "licence": "CC0-1.0", "public": True}}
    assert stage("ingest", own) == (0, "")
    assert json.loads(Path("metrics/ingest.json").read_text())["annotations"] == 3
    shutil.copytree(ROOT / "keys", "keys")
    Path("models/detector").mkdir(parents=True)
    assert stage("deidentify") == (0, "")
    assert json.loads(Path("metrics/deidentify.json").read_text())["annotations"] == {"kept": 2, "of_identifiers": 1}
    texts = {row["note_id"]: row["text"] for row in pq.read_table("data/deidentified.parquet").to_pylist()}
    kept = pq.read_table("data/deidentified_annotations.parquet").to_pylist()
    assert [(texts[s["note_id"]][s["start"] : s["end"]], s["kind"]) for s in kept] == [
        ("fever", "present"),
        ("cough", "negated"),
    ]
    assert "Quibblethorpe" not in "".join(texts.values())

    (table / "more.csv").write_text("x\n")
    code, error = stage("ingest", own)
    assert code == 1 and "a folder with 2 files" in error and "annotations.csv" in error


def test_an_annotation_outside_its_note_stops_ingest(folder):
    Path("a.csv").write_text("note_id,start,end,assertion\nn,2,9,present\n")
    with pytest.raises(UserError, match=r"a\.csv, record 1: no span within its note: mend start, end or assertion"):
        list(read_spans(Path("a.csv"), {"n": 8}, "assertion"))


# Tags and windows -----------------------------------------------------------------------------------------------------


def test_entities_and_tags_by_hand():
    words = words_of(TEXT)
    own = entities.entities_of(words, spans_of(TEXT, MARKS))
    assert own == [Entity(2, 2, "present"), Entity(4, 4, "present"), Entity(6, 7, "negated")]
    tags = entities.tags_of(len(words), own, LABELS)
    assert [LABELS[tag] for tag in tags] == [
        "O",
        "O",
        "B-present",
        "O",
        "B-present",
        "O",
        "B-negated",
        "I-negated",
        *["O"] * 6,
    ]
    assert entities.read_tags(tags, LABELS) == own
    # A word of two annotations is of the first; half a word counts as the word; blanks alone are none.
    assert entities.entities_of(words, [Span(16, 18, "present"), Span(19, 24, "negated"), Span(15, 16, "present")]) == [
        Entity(2, 2, "present")
    ]
    stray = np.array(
        [LABELS.index(label) for label in ("I-present", "I-present", "I-negated", "B-negated", "O", "I-negated")]
    )
    assert entities.read_tags(stray, LABELS) == [
        Entity(0, 1, "present"), Entity(2, 2, "negated"), Entity(3, 3, "negated"), Entity(5, 5, "negated"),
    ]  # fmt: skip


@given(st.lists(st.sampled_from([*LABELS]), max_size=12))
def test_tags_and_entities_are_each_others_inverse(names):
    own = entities.read_tags(np.array([LABELS.index(name) for name in names], dtype=int), LABELS)
    assert entities.read_tags(entities.tags_of(len(names), own, LABELS), LABELS) == own


def test_a_long_note_is_answered_from_whichever_window_holds_the_answer(tiny_model):
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    text = "the history of the patient " * 30 + "fever and cough"
    windows = answers.question_windows(tokenizer, "fever", text, 32)
    assert len(windows) > 5 and max(len(window.ids) for window in windows) <= 32
    answer = Span(text.index("fever"), text.index("fever") + len("fever and cough"), "x")
    targets = [answers.target(window, [answer]) for window in windows]
    assert [target == (0, 0) for target in targets] == [True] * (len(windows) - 1) + [False]
    first, last = targets[-1]
    characters = windows[-1].characters
    assert text[characters[first][0] : characters[last][1]] == "fever and cough"
    # The question's own tokens are no place for an answer.
    assert (windows[0].characters[1] == -1).all() and windows[0].types[1] == 0
    # The likeliest span: ends before starts, and the question, are out of the question.
    start, end = np.full(len(windows[-1].ids), -99.0), np.full(len(windows[-1].ids), -5.0)
    start[1] = end[1] = 99
    start[first], end[last], end[first - 1] = 3, 2, 50
    score, (begin, finish) = answers.likeliest(windows[-1], start, end)
    assert score == 5 and text[begin:finish] == "fever and cough"


# Scores ---------------------------------------------------------------------------------------------------------------


def test_entity_scores_by_hand():
    gold = [[Entity(0, 1, "a"), Entity(3, 3, "b")], [Entity(5, 6, "a")], []]
    found = [[Entity(0, 1, "a"), Entity(3, 3, "a")], [Entity(6, 6, "a")], [Entity(0, 0, "b")]]
    scores = entity_scores(gold, found, ["p", "q", "r"], samples=200, seed=1, min_count=2)
    assert (scores["precision"], scores["recall"], scores["f1"]) == (0.25, pytest.approx(1 / 3), pytest.approx(2 / 7))
    assert scores["macro_f1"] == pytest.approx(np.mean([2 / 5, 0]))
    assert scores["loose_f1"] == pytest.approx((2 + 2) / (4 + 3))
    assert scores["f1_by_kind"] == {"a": pytest.approx(2 / 5)}, "of b there is one"
    assert scores["interval"]["f1"]["low"] < 2 / 7 < scores["interval"]["f1"]["high"]
    nothing = entity_scores([[]], [[]], ["p"], samples=20, seed=1, min_count=1)
    assert nothing["f1"] is nothing["precision"] is nothing["interval"]["f1"]["low"] is None


@pytest.mark.parametrize(
    ("gold", "given_answer", "exact", "f1"),
    [
        (["The left leg."], "left leg", 1, 1),
        (["leg swelling"], "left leg swelling", 0, 0.8),
        (["cough", "dry cough"], "dry cough", 1, 1),
        (["cough"], "", 0, 0),
        ([], "", 1, 1),
        ([], "cough", 0, 0),
    ],
)
def test_answers_by_hand(gold, given_answer, exact, f1):
    assert exact_match(gold, given_answer) == exact and word_f1(gold, given_answer) == pytest.approx(f1)


def test_answer_scores_by_hand():
    scores = answer_scores(
        [["cough"], ["leg swelling"], []], ["cough", "left leg swelling", "x"], ["p", "p", "q"], samples=50, seed=1
    )
    assert scores["exact_match"] == pytest.approx(1 / 3) and scores["f1"] == pytest.approx(1.8 / 3)
    assert (scores["answerable"], scores["exact_match_answerable"], scores["f1_answerable"]) == (2, 0.5, 0.9)
    assert scores["none_where_none"] == 0 and scores["exact_match_always_none"] == pytest.approx(1 / 3)


def test_a_lexicon_takes_the_longest_phrase_and_its_commonest_kind():
    train = ["fever and chest pain, pain", "no pain, no pain"]
    gold = [
        [Entity(0, 0, "present"), Entity(2, 3, "present"), Entity(4, 4, "present")],
        [Entity(1, 1, "negated"), Entity(3, 3, "negated")],
    ]
    lexicon = entities.Lexicon(train, gold)
    assert lexicon.find(["Chest pain with pain; no cough"]) == [[Entity(0, 1, "present"), Entity(3, 3, "negated")]]


# The stage ------------------------------------------------------------------------------------------------------------


def write(folder: Path, model: Path, annotated: bool = True, without: int = 1000) -> None:
    """Notes whose findings are present after "reports" and negated after "denies", in three shards, long and short ones.

    Every note but each `without`th of a shard denies something.
    """
    rng, notes, marks, shards = np.random.default_rng(3), [], [], {"train": [], "validation": [], "test": []}
    for number in range(72):
        words = rng.permutation(["fever", "cough", "pain", "chest pain"]).tolist()
        denies = (number // 6) % without != without - 1
        text = f"{'the history of the patient. ' * (number % 4)}reports {words[0]}.{f' denies {words[1]}.' * denies}"
        notes.append(
            {"note_id": f"n{number}", "patient_id": f"p{number}", "source": "toy", "text": text, "labels": ["x"]}
        )
        shards["train" if number % 3 else "validation" if number % 2 else "test"].append(notes[-1])
        for before, finding, kind in (("reports ", words[0], "present"), ("denies ", words[1], "negated"))[
            : 1 + denies
        ]:
            start = text.index(before) + len(before)
            marks.append({"note_id": f"n{number}", "start": start, "end": start + len(finding), "kind": kind})
    meta = {"corpus": "toy", "task": "single_label", "text_pair": False, "official_split": False, "classes": ["x", "y"]}
    meta["data_use"] = {"corpus": "toy", "public": True}
    for path, own in {
        "data/deidentified.parquet": notes,
        **{f"data/split/{s}.parquet": n for s, n in shards.items()},
    }.items():
        with note_writer(folder / path, meta) as writer:
            writer.write(own)
    table = pa.Table.from_pylist(marks if annotated else [], schema=SCHEMA)
    pq.write_table(table, folder / "data/deidentified_annotations.parquet")
    shutil.copytree(model, folder / "models/base")


def metrics() -> dict:
    return json.loads(Path("metrics/finetune_spans.json").read_text())


def test_off_is_a_marker_without_torch(folder):
    with open("params.yaml", "w") as stream:
        YAML().dump({"finetune_spans": default_params()["finetune_spans"]}, stream)
    code = "import sys, stages.finetune_spans as s; s.main(); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT)}, check=True)
    assert json.loads(Path("models/spans/spans.json").read_text()) == metrics() == {"enabled": False}


def test_entities_are_learnt_where_a_lexicon_cannot_tell_them_apart(stage, folder, tiny_model):
    write(folder, tiny_model)
    assert stage("finetune_spans", ON) == (0, "")
    test = metrics()["test"]
    assert test["model"]["f1"] > 0.9 > test["lexicon"]["f1"] and test["model"]["entities"] == 24
    card = json.loads(Path("models/spans/spans.json").read_text())
    assert card["labels"] == LABELS and card["data_use"]["public"] and card["task"] == "token_classification"
    model = AutoModelForTokenClassification.from_pretrained("models/spans")
    found = entities.find(
        model.eval(), AutoTokenizer.from_pretrained("models/spans"), ["reports fever.", ""], LABELS, 64
    )
    assert found == [[Entity(1, 1, "present")], []]
    first = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in Path("models/spans").iterdir()}
    assert stage("finetune_spans", ON) == (0, "")
    assert first == {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in Path("models/spans").iterdir()}


def test_questions_are_answered_or_said_to_have_no_answer(stage, folder, tiny_model):
    write(folder, tiny_model, without=4)
    changes = {"task": "extractive_qa", "questions": {"negated": "patient denies"}, "epochs": 16}
    assert stage("finetune_spans", ON | changes) == (0, "")
    test = metrics()["test"]
    assert test["questions"] == 12 > test["answerable"] > 6
    assert test["exact_match"] > 0.8 > test["exact_match_always_none"] and test["none_where_none"] > 0.6
    model, tokenizer = (kind.from_pretrained("models/spans") for kind in (AutoModelForQuestionAnswering, AutoTokenizer))
    question = answers.Question(0, "patient denies", [])
    both = [question, question._replace(note=1)]
    texts = ["reports cough. denies fever.", "the history of the patient. reports cough."]
    assert answers.answer(model.eval(), tokenizer, both, texts, 64) == ["fever", ""]


@pytest.mark.parametrize(
    ("annotated", "changes", "pieces"),
    [
        (False, {}, ["deidentified_annotations.parquet is empty", "docs/spans.md", "finetune_spans.enabled"]),
        (True, {"max_tokens": 500}, ["finetune_spans.max_tokens is 500", "128 at most"]),
        (True, {"task": "extractive_qa", "questions": {"what": "?"}}, ["names what", "negated, present"]),
        (True, {"learning_rate": 1.0e30}, ["no longer a number", "finetune_spans.learning_rate"]),
    ],
    ids=["no annotations", "window", "question", "loss"],
)
def test_what_cannot_be_is_said_in_one_line(stage, folder, tiny_model, annotated, changes, pieces):
    write(folder, tiny_model, annotated)
    code, error = stage("finetune_spans", ON | changes)
    assert code == 1 and all(piece in error for piece in pieces) and "\n" not in error
    assert not Path("models/spans").exists() and not Path("metrics/finetune_spans.json").exists()
