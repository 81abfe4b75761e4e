"""What Safe Harbor takes away beside names: every part of a date but the year, ages over 89 and what tells them."""

import json
from datetime import date

import pytest
from test_deidentify import METRICS, note, read, write
from test_phi import KEY, found

from diagnosis.phi.dates import shift
from diagnosis.phi.detector import everywhere, find
from diagnosis.phi.known_fields import read_known_fields
from diagnosis.phi.surrogates import Masks, Surrogates


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Stay 3/4/2019-3/7/2019.", ["3/4/2019", "3/7/2019"]),
        ("Stay 03-04-2019 to 3/7.", ["03-04-2019", "3/7"]),
        ("Stay 3/4-3/7/2019.", ["3/4", "3/7/2019"]),
        ("Seen on 2019-03.", ["2019-03"]),
        ("Ill since Oct, worse in mid-March.", ["Oct", "March"]),
        ("Code 12-3/4/2019 was entered by María Vega, by Jun Hao.", []),
        ("DEC breath sounds; see MAR. Range 2019-14.", []),
    ],
)
def test_dates(text, expected):
    assert found(text, "DATE") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("She is in her 90s.", "90s"),
        ("He is in his mid-nineties.", "nineties"),
        ("She had her 95th birthday.", "95"),
        ("Her aunt died at 94.", "94"),
        ("Mother, 92, has asthma.", "92"),
        ("He is one hundred and six years old.", "one hundred and six"),
        ("DOB: 1925", "1925"),
        ("Year of birth 1925.", "1925"),
        ("Born 1925.", "1925"),
    ],
)
def test_ages_over_89(text, expected):
    assert found(text, "AGE") == [expected]


@pytest.mark.parametrize(
    "text", ["Rate in the 90s, saturation mid 90s.", "Born 1930 g at term.", "born 1985, DOB 1990", "father, 72, well; sat 94."]
)  # fmt: skip
def test_no_age_over_89(text):
    assert found(text, "AGE") == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("DOB 03/04/1925.", "DOB [DATE]."),  # nothing says when the note was written
        ("DOB 03/04/1925, seen in 2014.", "DOB [DATE], seen in 2014."),
        ("DOB: 3/4/25, seen 12/5/21.", "DOB: [DATE], seen 2021."),  # 1925, and not 2025
        ("Seen 3/4/45.", "Seen 1945."),
        ("DOB 3/4/58.", "DOB 1958."),
        ("Stay 3/4/2019-3/7/2019.", "Stay 2019-2019."),
    ],
)
def test_a_year_that_tells_an_age_over_89_goes(text, expected):
    assert Masks("safe_harbor").replace(text, find(text), "p") == expected
    assert Surrogates(KEY, 365, "safe_harbor").replace(text, find(text), "p") == expected


@pytest.mark.parametrize("days", [-200, -1, 1, 40])
def test_a_year_and_month_move_as_the_month_s_middle_does(days):
    moved = shift("2019-03", days)
    assert moved != "2019-03" and date.fromisoformat(f"{moved}-15")
    assert shift("Oct", 40) == "Nov" and shift("Oct", -40) == "Sep"


def test_known_fields_find_a_part_of_a_double_name_and_small_letters(tmp_path):
    (tmp_path / "known.csv").write_text("patient_id,value,kind\n7,Ada Ibáñez-Quibble,NAME\n", "utf-8")
    known = read_known_fields(tmp_path / "known.csv")["7"]
    text = "family of ibáñez came; Quibble asked"
    assert [text[span.start : span.end] for span in everywhere(text, [], known)] == ["ibáñez", "Quibble"]


def test_a_note_without_a_patient_stands_alone_and_its_texts_share_what_they_tell(stage):
    lone = {"patient_id": None, "text": "Seen by Dr. Quibblethorpe, MRN 55123."}
    write(
        [
            note(1, "") | lone | {"text_pair": "quibblethorpe signed 55123."},
            note(2, "") | lone | {"text": "quibblethorpe"},
        ]
    )
    assert stage("deidentify", {"replace": "mask"}) == (0, "")
    one, two = read().values()
    assert one["text"] == "Seen by Dr. [NAME], MRN [MRN]." and one["text_pair"] == "[NAME] signed [MRN]."
    assert two["text"] == "quibblethorpe" and json.loads(METRICS.read_text())["patients"] == 2
