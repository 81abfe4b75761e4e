"""Typed stage parameters: one section of params.yaml a stage, every value there, none hidden in code."""

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from diagnosis.errors import UserError

PARAMS = Path("params.yaml")


class Params(BaseModel):
    """Base of a stage's params: frozen, unknown keys and endless numbers refused, no defaults by convention."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)  # .inf would pass a lower bound

    @classmethod
    def load(cls, section: str, changes: dict | None = None) -> Self:
        """Read and check one section of params.yaml in the current folder, with `changes` in place of its values.

        Raises UserError naming each wrong key, its value and what it must be.
        """
        if not PARAMS.exists():
            raise UserError("params.yaml does not exist here: run stages from the repository's root")
        try:
            # YAML 1.2, as DVC reads it: 1e-5 is a number and `no` is text.
            sections = YAML(typ="safe", pure=True).load(PARAMS) or {}
        except (YAMLError, ValueError) as error:  # ValueError: bytes that are no text, a date that is none
            line = getattr(getattr(error, "problem_mark", None), "line", None)
            where = "" if line is None else f" near line {line + 1}"
            raise UserError(f"params.yaml is not valid YAML{where}: mend it") from None
        if not isinstance(sections, dict) or section not in sections:
            raise UserError(f"params.yaml has no section '{section}': add it")
        try:
            return cls.model_validate(sections[section] | changes if changes else sections[section])
        except ValidationError as error:
            raise UserError("; ".join(_explain(section, problem) for problem in error.errors())) from None


def _explain(section: str, problem: dict) -> str:
    key = ".".join([section, *map(str, problem["loc"])])
    if problem["type"] == "extra_forbidden":
        return f"params.yaml: {key} is no known param: check its spelling or remove it"
    if problem["type"] == "missing":
        return f"params.yaml: {key} is missing: add it"
    message = problem["msg"].removeprefix("Value error, ")
    return f"params.yaml: {key} is {problem['input']!r}: {message[0].lower() + message[1:]}"
