"""Operators by hand, what they must never touch, the same versions in any order, and what augment refuses."""

import random
import re
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from conftest import SHARED_DATA, needs_shared_data

from diagnosis.augment import abbreviations, delete, swap, synonyms
from diagnosis.augment.operators import PLAIN
from diagnosis.augment.protected import CUES, FIXED, FREE, find, label_words
from diagnosis.augment.versions import version
from diagnosis.files import read_json, sha256
from diagnosis.notes import note_writer, read_metadata

TRAIN, AUGMENTED = Path("data/split/train.parquet"), Path("data/augmented.parquet")
METADATA = {"task": "single_label", "text_pair": False, "official_split": False, "corpus": "toy",
            "classes": ["heart", "lung"], "data_use": {"corpus": "toy", "licence": "CC0", "public": True}}  # fmt: skip
NONE = frozenset()
OPERATORS = ("synonym", "abbreviation", "swap", "delete")
MOVING = {name: PLAIN[name] for name in ("swap", "delete")}
TEXT = "The patient reports dyspnea while walking around the house. She denies fever, cough.\nPlan: observe closely overnight"


def notes(count: int = 6, text: str = TEXT) -> list[dict]:
    return [
        {"note_id": f"n{i}", "source": "toy", "text": f"{text} alpha{i}", "labels": ["heart" if i % 3 else "lung"]}
        for i in range(count)
    ]


def write(rows: list[dict], **metadata) -> None:
    with note_writer(TRAIN, METADATA | metadata) as writer:
        writer.write(rows)


def result() -> list[dict]:
    return pq.read_table(AUGMENTED).to_pylist()


def nothing_left(folder: Path) -> bool:
    return not [p for p in folder.rglob("*") if p.is_file() and p.name not in ("params.yaml", "train.parquet")]


def free(text: str, labels=NONE) -> list[str]:
    return [text[word.start : word.end] for word in find(text, labels) if word.state == FREE]


# ---------------------------------------------------------------- what is protected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Patient walked home", ["walked", "home"]),
        ("He denies fever; cough,\nchills. Gait looked steady.", ["looked", "steady"]),
        ("No hx. of fever", []),  # the abbreviation's full stop does not end the negation
        ("Fever was ruled out here", []),
        ("Mother had asthma", []),
        ("Possible pneumonia seen", []),
        ("he denies pain. gait looked steady", ["looked", "steady"]),  # a note in lower case
        ("He walked about 3 blocks slowly home", ["walked", "slowly", "home"]),
        ("enlarged left atrial diameter", ["diameter"]),
        ("She takes lisinopril and atorvastatin happily", ["takes", "and", "happily"]),
        ("Chief Complaint: walked in", ["walked", "in"]),
        ("Was seen by ___ and [**Hospital**] staff", ["seen", "by", "and", "staff"]),
        ("severe pain elsewhere", ["elsewhere"]),
        ("non-tender belly overall", []),
        ("", []),
    ],
)
def test_free_words(text, words):
    assert free(text) == words


def test_words_of_the_labels_are_fixed():
    labels = label_words(["Cardiovascular / Pulmonary", "Heart disease"])
    assert free("the hearts and pulmonary vessels", labels) == ["and", "vessels"]
    fixed = [word.state for word in find("hearts", labels)]
    assert fixed == [FIXED]


# ---------------------------------------------------------------- operators


def test_synonyms_by_hand():
    rng = random.Random(0)
    assert synonyms.apply("Dyspnea, no rhinorrhea.", NONE, 9, rng) == ("Shortness of breath, no runny nose.", 2)
    assert synonyms.apply("heart attack", label_words(["Heart"]), 9, rng) == ("heart attack", 0)
    assert synonyms.apply("cardiac disease", label_words(["Heart"]), 9, rng) == ("cardiac disease", 0)  # would add it
    assert synonyms.apply("Medications: fatigue", NONE, 9, rng) == ("Medications: tiredness", 1)
    assert synonyms.apply("dyspnea dyspnea dyspnea", NONE, 2, rng)[1] == 2


def test_abbreviations_by_hand():
    rng = random.Random(0)
    assert abbreviations.apply("HTN and urinary tract infection", NONE, 9, rng) == ("Hypertension and UTI", 2)
    assert abbreviations.apply("she began to sob", NONE, 9, rng) == ("she began to sob", 0)
    assert abbreviations.apply("pain on SOB/CHF", NONE, 9, rng) == ("pain on SOB/CHF", 0)
    assert abbreviations.apply("denies chronic kidney disease", NONE, 9, rng) == ("denies ckd", 1)  # no capital in it
    for short in ("MI", "MS", "PE", "RA", "PT", "PCP", "RR"):
        assert abbreviations.apply(f"Pt with {short} today", NONE, 9, rng)[1] == 0


def test_a_sentence_keeps_its_capital():
    rng = random.Random(0)
    assert (
        abbreviations.apply("SOB at rest. HTN too", NONE, 9, rng)[0] == "Shortness of breath at rest. Hypertension too"
    )


def test_every_synonym_and_abbreviation_can_come_back():
    rng = random.Random(0)
    assert len(synonyms.GROUP_OF) == len({form for group in synonyms.GROUPS for form in group})
    for group in synonyms.GROUPS:
        for form in group:
            new, changed = synonyms.apply(f"X {form} x", NONE, 1, rng)
            assert changed == (not CUES & set(form.split())) and new.removeprefix("X ").removesuffix(" x") in group
    for short, long in abbreviations.LONG_FORMS.items():
        assert abbreviations.apply(f"Has {short}.", NONE, 1, rng) == (f"Has {long}.", 1)
        assert abbreviations.apply(f"Has {long}.", NONE, 1, rng) == (f"Has {short}.", 1)


def test_swap_and_delete_by_hand():
    rng = random.Random(0)
    assert swap.apply("He walked home", NONE, 1, rng) == ("He home walked", 1)
    for text in (
        "He walked, home",
        "He walked\nhome",
        "He walked. Home",
        "He denies walked home",
        "A home home",
        "walked",
    ):
        assert swap.apply(text, NONE, 9, rng) == (text, 0)
    assert delete.apply("He walked", NONE, 9, rng) == ("He", 1)
    assert delete.apply("He walked, slowly\nhome now", NONE, 9, rng) == ("He,\nhome now", 2)
    assert delete.apply("no walked home", NONE, 9, rng) == ("no walked home", 0)


def guarded(text: str) -> list[str]:
    """What every version must have in the same order: numbers, cues, and the signs that bound their scope."""
    return [
        token.lower()
        for token in re.findall(r"[^\W_]+(?:['-][^\W_]+)*|[.,;:!?\n]|_{2,}", text)
        if not token[0].isalnum() or any(c.isdigit() for c in token) or token.lower() in CUES
    ]


WORDS = "walked home fever cough dyspnea no denies left 3 mg lisinopril heart house garden . , \n ; SOB without 120/80 ___".split(
    " "
)


@pytest.mark.parametrize("seed", range(100))
def test_swap_and_delete_never_move_what_is_protected(seed):
    rng = random.Random(seed)
    text = "Seen . " + " ".join(rng.choices(WORDS, k=60))
    new, _ = version(text, MOVING, 0.5, None, label_words(["heart"]), (seed,))
    assert guarded(new) == guarded(text)
    for word in ("lisinopril", "heart", "left", "mg"):
        assert new.split().count(word) == text.split().count(word)
    # the words of a sentence with a cue, in their order
    cut = r"(?<=[.])\s+(?=[^a-z\s])|\n\s*\n"
    kept = [s.split() for s in re.split(cut, text) if set(re.findall(r"\w+", s)) & CUES]
    assert [s.split() for s in re.split(cut, new) if set(re.findall(r"\w+", s)) & CUES] == kept


@needs_shared_data
def test_on_real_notes_the_guarded_tokens_stay():
    import csv

    with open(SHARED_DATA / "mtsamples/mtsamples_raw_head_297.csv", newline="") as stream:
        texts = [row["transcription"] for row in csv.DictReader(stream) if row.get("transcription")][:60]
    assert len(texts) > 40
    changed = Counter()
    for number, text in enumerate(texts):
        new, changes = version(text, MOVING, 0.1, None, NONE, (7, number, 1))
        assert guarded(new) == guarded(text)
        changed.update(changes)
    assert changed["swap"] > 100 and changed["delete"] > 100


# ---------------------------------------------------------------- the stage


def test_no_copies_pass_through_with_null_columns(stage):
    write(notes())
    assert stage("augment") == (0, "")
    train = pq.read_table(TRAIN).to_pylist()
    assert result() == [row | {"augmented_from": None, "operators": None} for row in train]
    assert read_metadata(AUGMENTED) == read_metadata(TRAIN)
    assert read_json(Path("metrics/augment.json"))["notes"] == {"read": 6, "versions": 0, "written": 6}


def test_versions_follow_their_note_with_its_labels(stage):
    write(notes())
    assert stage("augment", {"copies": 2}) == (0, "")
    rows, originals = result(), {row["note_id"]: row for row in notes()}
    assert [row["note_id"] for row in rows][:3] == ["n0", "n0-a1", "n0-a2"]
    assert len({row["note_id"] for row in rows}) == len(rows) == 18
    for row in rows:
        origin = row["note_id"].partition("-a")[0]
        assert row["labels"] == originals[origin]["labels"]
        if row["augmented_from"]:
            assert row["augmented_from"] == origin and row["text"] != originals[origin]["text"]
            assert row["operators"] and set(row["operators"]) <= set(OPERATORS)
            assert "She denies fever, cough.\nPlan:" in row["text"]
    metrics = read_json(Path("metrics/augment.json"))
    assert metrics["notes"] == {"read": 6, "versions": 12, "written": 18}
    used = Counter(name for row in rows for name in row["operators"] or [])
    assert metrics["versions_by_operator"] == {name: used[name] for name in OPERATORS}
    assert "dyspnea" not in Path("metrics/augment.json").read_text()


def test_a_version_depends_on_its_note_and_the_seed_alone(stage):
    write(notes())
    stage("augment", {"copies": 1})
    first, same = {row["note_id"]: row["text"] for row in result()}, sha256(AUGMENTED)
    stage("augment", {"copies": 1})
    assert sha256(AUGMENTED) == same
    write(notes()[:3][::-1])
    stage("augment", {"copies": 1})
    assert all(first[row["note_id"]] == row["text"] for row in result())
    write(notes())
    stage("augment", {"copies": 1, "seed": 8})
    assert {row["note_id"]: row["text"] for row in result()} != first


def test_what_cannot_change_is_not_written_but_counted(stage):
    write([*notes(2), notes(1, text="No fever, no cough")[0] | {"note_id": "x"}])
    assert stage("augment", {"copies": 3}) == (0, "")
    assert [row["note_id"] for row in result() if row["note_id"].startswith("x")] == ["x"]
    assert read_json(Path("metrics/augment.json"))["discarded"]["unchanged"] == 3
    write([notes(1, text="walked")[0] | {"text": "Slept. He walked home"}])
    assert stage("augment", {"copies": 3, "operators": ["swap"]}) == (0, "")
    assert [row["text"] for row in result()] == ["Slept. He walked home", "Slept. He home walked"]
    assert read_json(Path("metrics/augment.json"))["discarded"] == {"unchanged": 0, "repeated": 2, "meaning": 0}


def test_minority_only_and_several_labels(stage):
    rows = [row | {"labels": labels} for row, labels in zip(notes(4), (["heart"], ["heart"], ["heart", "lung"], []), strict=True)]  # fmt: skip
    write(rows, task="multi_label")
    assert stage("augment", {"copies": 1, "minority_only": True}) == (0, "")
    assert [row["note_id"] for row in result() if row["augmented_from"]] == ["n2-a1"]  # lung: 1, mean: 2
    assert read_json(Path("metrics/augment.json"))["classes_augmented"] == 1


def test_reads_the_train_shard_and_nothing_else(stage, folder):
    write(notes())
    (folder / "data/split/test.parquet").write_bytes(b"not to be opened")
    (folder / "data/clean.parquet").write_bytes(b"not to be opened")
    assert stage("augment", {"copies": 1}) == (0, "")


def test_a_note_of_5_mb(stage):
    """Fixed words, phrases, pairs and words to leave out by the ten thousand: a pass over the text a change is an hour."""
    sentence = "She takes lisinopril for HTN and walked with fatigue round the house and garden.\n"
    text = sentence * (5_000_000 // len(sentence))
    write(notes(1, text=text))
    assert stage("augment", {"copies": 1}) == (0, "")
    (new,) = (row["text"] for row in result() if row["augmented_from"])
    changes = read_json(Path("metrics/augment.json"))["changes_by_operator"]
    assert min(changes.values()) > 20_000
    words = len(text.split()) + 1  # notes() ends a text with a word of its own
    assert len(new.split()) == words - changes["delete"]
    assert 0 < new.count("hypertension") <= changes["abbreviation"] and 0 < new.count("tiredness") <= changes["synonym"]
    for kept in ("\nShe ", " lisinopril ", ".\n"):
        assert new.count(kept) == text.count(kept)


def test_marks_that_never_close_cost_no_more_than_their_length():
    text = "Walked home. " + "[** cef" * 100_000 + "[**2101-1-1**] " + "cef" * 100_000 + "-x slowly"
    assert free(text)[0] == "home" and free("seen [** by [**Dr. Name**] staff") == ["by", "staff"]


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda: None, "data/split/train.parquet does not exist"),
        (lambda: (TRAIN.parent.mkdir(parents=True), TRAIN.write_text("note_id,text\n")), "not a readable Parquet file"),
        (lambda: write([]), "has no notes: raise split.train_share"),
        (lambda: write(notes(), classes=[]), "does not state its classes"),
        (
            lambda: (write(notes()), pq.write_table(pq.read_table(TRAIN).drop(["text"]), TRAIN)),
            "lacks the columns text",
        ),
    ],
    ids=["missing", "csv", "empty", "classes", "column"],
)
def test_bad_input_is_one_line(stage, folder, spoil, words):
    spoil()
    code, line = stage("augment", {"copies": 1})
    assert code == 1 and words in line and line.startswith("error: ") and "\n" not in line
    assert nothing_left(folder)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"copies": -1}, "augment.copies is -1"),
        ({"rate": 0.9}, "augment.rate is 0.9"),
        ({"rate": 0}, "augment.rate is 0"),
        ({"operators": []}, "augment.operators"),
        ({"operators": ["backtranslate"]}, "augment.operators.0 is 'backtranslate'"),
        ({"operators": ["swap", "swap"]}, "stands there twice"),
        ({"copy": 1}, "augment.copy is no known param"),
    ],
)
def test_bad_params_are_one_line(stage, folder, changes, words):
    write(notes())
    code, line = stage("augment", changes)
    assert code == 1 and words in line and "\n" not in line and nothing_left(folder)
