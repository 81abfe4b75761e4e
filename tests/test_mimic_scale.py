"""MIMIC at full size: the fast reader against the csv module, several notes an admission, vocabularies, coverage, periods."""

import csv
import io
import random

import pytest
from conftest import SHARED_DATA, needs_shared_data

from diagnosis.corpora import sources
from diagnosis.corpora.sources import csv_records
from diagnosis.errors import UserError

# ---------------------------------------------------------------- records, against the csv module's strict reader


def by_csv(text: str) -> list[list[str]]:
    """What the csv module says; None after the last record that it could read."""
    records = []
    try:
        for cells in csv.reader(io.StringIO(text, newline=""), strict=True):
            if cells and len(cells) != 3:
                return [*records, None]
            records += [cells] if cells else []
    except csv.Error:
        records.append(None)
    return records


def by_us(path) -> list[list[str]]:
    records = []
    try:
        for number, row in csv_records(path, ["a", "b", "c"]):
            records.append([row["a"], row["b"], row["c"]])
            assert number == len(records)
    except UserError as error:
        assert f"record {len(records) + 1}" in str(error)
        records.append(None)
    return records


@pytest.mark.parametrize("block", [1, 7, 2**20])
@pytest.mark.parametrize("damage", [0.0, 0.02])
def test_records_equal_the_csv_module_s(tmp_path, monkeypatch, block, damage):
    """Random cells of quotes, commas and line ends, whole and with characters lost, whatever the block's size."""
    monkeypatch.setattr(sources, "BLOCK", block)
    draw, file, refused = random.Random(block), tmp_path / "a.csv", 0
    for _ in range(300):
        out = io.StringIO(newline="")
        writer = csv.writer(out, lineterminator=draw.choice(["\n", "\r\n", "\r"]), quoting=draw.choice([0, 1]))
        for _ in range(draw.randrange(6)):
            writer.writerow(["".join(draw.choices('ab ,"\n\ré', k=draw.randrange(9))) for _ in range(3)])
            out.write(draw.choice(["", "", "\n"]))
        body = "".join(character for character in out.getvalue() if draw.random() >= damage)
        file.write_bytes(b"a,b,c\n" + body.encode())
        found = by_us(file)
        assert found == by_csv(body), repr(body)
        refused += found[-1:] == [None]
    assert (refused > 50) is (damage > 0)


@needs_shared_data
def test_real_tables_equal_the_csv_module_s():
    for file in sorted((SHARED_DATA / "mimic_demo" / "mimic4").glob("*.csv")):
        with open(file, newline="", encoding="utf-8") as stream:
            expected = list(csv.DictReader(stream, strict=True))
        assert [row for _, row in csv_records(file, expected[0])] == expected


def test_a_quote_never_closed_does_not_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "BLOCK", 100)
    monkeypatch.setattr(sources, "LONGEST_RECORD", 1_000)
    file = tmp_path / "a.csv"
    file.write_text("a,b,c\n1,2,3\n4,5," + '"' + "and long " * 10_000)
    with pytest.raises(UserError, match="record 2: not valid CSV"):
        list(csv_records(file, ["a"]))
    file.write_text("a,b,c\n1,2,3\n4,5," + '"' + "and long " * 10_000 + '"\n')
    with pytest.raises(UserError, match="record 2"):
        list(csv_records(file, ["a"]))


def test_records_that_fail_the_test_of_a_cell_come_as_none(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text('kind,text\n"x",one\ny,two\nx,three\n')
    found = list(csv_records(file, ["text", "KIND"], ["more"], where=("KIND", lambda cell: cell == "x")))
    assert found == [
        (1, {"text": "one", "KIND": "x", "more": ""}),
        (2, None),
        (3, {"text": "three", "KIND": "x", "more": ""}),
    ]
