"""params.yaml: typed values, and one line that names the key for whatever a user gets wrong."""

from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field, ValidationError

from diagnosis.errors import UserError
from diagnosis.params import Params


class Toy(Params):
    rate: float = Field(gt=0)
    cap: float | None = Field(ge=1)
    count: int = Field(ge=1, le=9)
    kind: Literal["one", "other"]
    names: list[str]


VALUES = {"rate": "1e-5", "cap": "null", "count": "3", "kind": "one", "names": "[no, on]"}


def load(**changes) -> Toy:
    """The section `toy` of these YAML values; a key whose value is None is left out."""
    lines = [f"  {key}: {value}\n" for key, value in (VALUES | changes).items() if value is not None]
    Path("params.yaml").write_text("# other sections are not looked at\nother: 1\ntoy:\n" + "".join(lines))
    return Toy.load("toy")


def test_values_as_dvc_reads_them(folder):
    params = load()
    assert params.model_dump() == {"rate": 1e-5, "cap": None, "count": 3, "kind": "one", "names": ["no", "on"]}
    with pytest.raises(ValidationError, match="frozen"):
        params.count = 4


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"epochs": "3"}, "params.yaml: toy.epochs is no known param: check its spelling or remove it"),
        ({"count": None}, "params.yaml: toy.count is missing: add it"),
        ({"count": "many"}, "params.yaml: toy.count is 'many': input should be a valid integer, unable to parse string"),
        ({"count": "2.5"}, "params.yaml: toy.count is 2.5: input should be a valid integer"),
        ({"names": "[a, 2]"}, "params.yaml: toy.names.1 is 2: input should be a valid string"),
        ({"count": "10"}, "params.yaml: toy.count is 10: input should be less than or equal to 9"),
        ({"rate": "0"}, "params.yaml: toy.rate is 0: input should be greater than 0"),
        ({"rate": "-.inf"}, "params.yaml: toy.rate is -inf: input should be a finite number"),
        ({"rate": ".inf"}, "params.yaml: toy.rate is inf: input should be a finite number"),
        ({"rate": "1e400"}, "params.yaml: toy.rate is inf: input should be a finite number"),
        ({"rate": ".nan"}, "params.yaml: toy.rate is nan: input should be a finite number"),
        ({"cap": ".inf"}, "params.yaml: toy.cap is inf: input should be a finite number"),
        ({"count": ".inf"}, "params.yaml: toy.count is inf: input should be a finite number"),
        ({"kind": "neither"}, "params.yaml: toy.kind is 'neither': input should be 'one' or 'other'"),
        ({"count": "10", "kind": None}, "toy.count is 10: input should be less than or equal to 9; params.yaml: toy.kind is missing"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_one_line_that_names_its_key(folder, changes, line):
    with pytest.raises(UserError) as error:
        load(**changes)
    assert line in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"toy:\n  rate: 1\n  rate: 2\n", "params.yaml is not valid YAML near line 3: mend it"),
        (b"toy: {rate: [1\n", "params.yaml is not valid YAML near line 2: mend it"),
        (b"toy: !!python/name:os.system x\n", "params.yaml is not valid YAML near line 1: mend it"),
        (b"toy:\n  rate: 2024-13-45\n", "params.yaml is not valid YAML: mend it"),
        (b"toy: \xff\n", "params.yaml is not valid YAML: mend it"),
        (b"", "params.yaml has no section 'toy': add it"),
        (b"- toy\n", "params.yaml has no section 'toy': add it"),
        (b"tony: 1\n", "params.yaml has no section 'toy': add it"),
        (b"toy:\n", "params.yaml: toy is None: input should be a valid dictionary"),
        (None, "params.yaml does not exist here: run stages from the repository's root"),
    ],
)
def test_a_wrong_file_is_one_line(folder, content, line):
    if content is not None:
        Path("params.yaml").write_bytes(content)
    with pytest.raises(UserError) as error:
        Toy.load("toy")
    assert str(error.value).startswith(line) and "\n" not in str(error.value)
