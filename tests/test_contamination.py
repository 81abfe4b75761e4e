"""Notes of one corpus that stand in another: by hand, beside all pairs of texts, and on the real files that overlap."""

import itertools
import json
import random
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import SHARED_DATA, default_params, needs_shared_data, write_params

from diagnosis.corpora.near_duplicates import Sketches, across, jaccard, shingles
from diagnosis.errors import run
from tools import contamination

CANARY = "zanzibarweed"


@pytest.fixture
def report(folder, capsys, monkeypatch):
    """Run the tool in the test's folder with the repository's params: (its table's rows, its error)."""

    def call(*arguments: str) -> tuple[list[list[str]], str]:
        write_params(folder, {"ingest": default_params()["ingest"]})
        monkeypatch.setattr(sys, "argv", ["contamination", *arguments])
        capsys.readouterr()
        try:
            run(contamination.main)
        except SystemExit as end:
            return [], str(end.code)
        out, progress = capsys.readouterr()
        assert CANARY not in out + progress
        return [[cell.strip() for cell in line.strip("|").split("|")] for line in out.splitlines()[2:]], ""

    return call


def text_of(draw: random.Random, count: int = 60) -> list[str]:
    return [f"{CANARY}{draw.randrange(500)}" for _ in range(count)]


def write(path: str, texts: list[str]) -> str:
    Path(path).write_text("text,label\n" + "".join(f'"{text}",{number % 2}\n' for number, text in enumerate(texts)))
    return f"table={path}"


# ---------------------------------------------------------------- across


def test_a_template_of_one_corpus_is_not_compared_with_itself():
    alike = SimpleNamespace(signatures=np.ones((20_000, 128), "u4"))  # all in one bucket of every band
    started = time.process_time()
    assert (across(alike, np.ones(20_000, "u8"), 0.8) == 1).all()
    assert time.process_time() - started < 2  # by pairs it took 15 seconds


def test_across_equals_all_pairs(tmp_path):
    """Random texts, copies of them with some words changed, in three corpora, also copies within one."""
    draw = random.Random(8)
    originals = [text_of(draw) for _ in range(40)]
    texts = list(originals)
    for original, changed in itertools.product(originals, (0, 1, 5, 12)):
        if draw.random() < 0.6:
            copy = list(original)
            for place in draw.sample(range(len(copy)), changed):
                copy[place] = "changed"
            texts.append(copy)
    texts = [list(each) for each in dict.fromkeys(map(tuple, texts))]
    homes = np.array([draw.choice([1, 2, 4, 3, 6]) for _ in texts], "u8")
    sketches = Sketches(7, tmp_path)
    for its_words in texts:
        sketches.add(its_words)
    expected = homes.copy()
    sets = [shingles(its_words) for its_words in texts]
    for one, other in itertools.permutations(range(len(texts)), 2):
        if jaccard(sets[one], [sets[other]])[0] >= 0.8:
            expected[one] |= homes[other]
    assert (across(sketches, homes, 0.8) == expected).all() and (expected != homes).sum() > 20


def test_across_does_not_join_through_others(tmp_path):
    """a is near b and b near c; a and c are not near."""
    words_of_b = [f"w{n}" for n in range(100)]
    a, c = ["x"] * 9 + words_of_b[9:], words_of_b[:-9] + ["y"] * 9
    sets = [shingles(each) for each in (a, words_of_b, c)]
    assert (jaccard(sets[1], [sets[0], sets[2]]) > 0.8).all() and jaccard(sets[0], [sets[2]])[0] < 0.75
    sketches = Sketches(7, tmp_path)
    for its_words in (a, words_of_b, c):
        sketches.add(its_words)
    assert across(sketches, np.array([1, 2, 4], "u8"), 0.8).tolist() == [3, 7, 6]


# ---------------------------------------------------------------- the tool by hand


def test_three_tables_by_hand(report):
    draw = random.Random(1)
    a, b, c, d = (text_of(draw) for _ in range(4))
    near = [*a[:-1], "changed"]
    joined = {name: " ".join(value) for name, value in {"a": a, "b": b, "c": c, "d": d, "near": near}.items()}
    one = write("one.csv", [joined["a"], joined["a"].upper() + "!", joined["b"], joined["near"]])
    two = write("two.csv", [joined["a"], joined["c"], joined["d"]])
    three = write("three.csv", [joined["near"], joined["c"], ""])
    rows, error = report(one, two, three, "--out", "counts.json")
    assert error == "" and rows == [
        # a twice; near is nearly a
        ["table (one.csv)", "4", "table (two.csv)", "2", "1"],
        # near; both of a are nearly it
        ["table (one.csv)", "4", "table (three.csv)", "1", "2"],
        ["table (two.csv)", "3", "table (one.csv)", "1", "0"],
        ["table (two.csv)", "3", "table (three.csv)", "1", "1"],
        ["table (three.csv)", "2", "table (one.csv)", "1", "0"],
        ["table (three.csv)", "2", "table (two.csv)", "1", "1"],
    ]
    found = json.loads(Path("counts.json").read_text())
    assert found["pairs"][1] == {
        "of": "table (one.csv)",
        "notes": 4,
        "in": "table (three.csv)",
        "word_for_word": 1,
        "nearly": 2,
    }
    assert found["skipped"]["table (three.csv)"] == {"no_text": 1} and found["jaccard"] == 0.8
    rows, _ = report(one, two, "--jaccard", "1")
    assert [row[3:] for row in rows] == [["2", "0"], ["1", "0"]]
    assert sorted(p.name for p in Path().rglob("*") if p.is_file()) == [
        "counts.json",
        "one.csv",
        "params.yaml",
        "three.csv",
        "two.csv",
    ]


def test_either_text_of_a_pair_counts(report):
    draw = random.Random(2)
    question, passage, other = (" ".join(text_of(draw)) for _ in range(3))
    Path("pairs.csv").write_text(f"text,label,second\n{question},a,{passage}\n{other},b,short\n")
    plain = f"text,label,second\n{passage},a,x\n"
    Path("plain.csv").write_text(plain)
    rows, _ = report("table=pairs.csv", "table=plain.csv", "--column", "text_pair=second")
    assert [row[3:] for row in rows] == [["1", "0"], ["1", "0"]]
    rows, _ = report("table=pairs.csv", "table=plain.csv")
    assert [row[3:] for row in rows] == [["0", "0"], ["0", "0"]]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["table=own.csv"], "give two to 64 corpora as CORPUS=PATH"),
        (["table=own.csv", "own.csv"], "give two to 64 corpora as CORPUS=PATH"),
        (["table=own.csv", "table="], "give two to 64 corpora as CORPUS=PATH"),
        (["table=own.csv", "table=own.csv"], "two of the corpora have one name and one file name"),
        (["table=own.csv", "novels=own.csv"], "ingest.corpus is 'novels'"),
        (["table=own.csv", "mtsamples=nowhere"], "nowhere does not exist"),
        (["table=own.csv", "table=other.csv", "--column", "text=note"], "own.csv has no column 'note'"),
        (["table=own.csv", "table=other.csv", "--column", "txt=note"], "ingest.table.txt is no known param"),
        (["table=own.csv", "table=other.csv", "--column", "text"], "ingest.table.text.0 is ''"),
        (["table=own.csv", "table=other.csv", "--jaccard", "0.4"], "--jaccard is 0.4: give 0.5 to 1"),
    ],
)
def test_what_it_refuses(report, arguments, line):
    for name in ("own.csv", "other.csv"):
        write(name, [CANARY, "text"])
    rows, error = report(*arguments, "--out", "counts.json")
    assert (
        rows == [] and line in error and "\n" not in error and CANARY not in error and not Path("counts.json").exists()
    )


# ---------------------------------------------------------------- real files, and what their README says


@needs_shared_data
def test_the_fhir_notes_are_mtsamples(report):
    """All five; the three others are of three words at most."""
    rows, _ = report(f"mtsamples={SHARED_DATA / 'mtsamples'}", f"fhir={SHARED_DATA / 'fhir/notes'}")
    assert rows == [["mtsamples", "4,966", "fhir", "9", "2"], ["fhir", "8", "mtsamples", "4", "1"]]


@needs_shared_data
def test_medical_abstracts_overlap_as_their_readme_says(report):
    folder = SHARED_DATA / "medical_abstracts"
    test, ohsumed, subset = (
        f"table={folder / name}"
        for name in ("medical_tc_test.csv", "ohsumed_5class.csv.gz", "medical_tc_subset_2286.csv")
    )
    rows, _ = report(test, ohsumed, subset, "--column", "text=medical_abstract", "--column", "labels=condition_label")
    found = {(row[0].split("(")[1][:-1], row[2].split("(")[1][:-1]): row[1:2] + row[3:] for row in rows}
    assert found["medical_tc_test.csv", "ohsumed_5class.csv.gz"] == ["2,888", "797", "0"]
    assert found["medical_tc_subset_2286.csv", "medical_tc_test.csv"] == ["2,286", "249", "0"]


@needs_shared_data
def test_the_reader_of_medical_abstracts_keeps_its_sides_apart(report):
    """What `ingest` reads as train (OHSUMED without `in_tc_test`) has no copy in the official test file."""
    folder = SHARED_DATA / "medical_abstracts"
    rows, _ = report(f"medical_abstracts={folder}", f"table={folder / 'medical_tc_test.csv'}",
                     "--column", "text=medical_abstract", "--column", "labels=condition_label")  # fmt: skip
    assert rows[0] == ["medical_abstracts", "6,003", "table", "2,888", "0"] and rows[1][3:] == ["2,888", "0"]
