"""What a model folder must hold to be a base model, and what in it is refused."""

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open

from diagnosis.errors import UserError
from diagnosis.files import read_json, require, sha256

CONFIG = "config.json"
WEIGHTS, SHARDS = "model.safetensors", "model.safetensors.index.json"
VOCABULARIES = ["tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model", "sentencepiece.bpe.model", "spiece.model"]  # fmt: skip
TOKENIZER = [*VOCABULARIES, "merges.txt", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"]


def needed_files(folder: Path) -> list[str]:
    """Names of the files that AutoModel and AutoTokenizer need; raises UserError where one is missing or unsafe."""
    require(folder / CONFIG, "a model folder needs it")
    if (folder / WEIGHTS).exists():
        weights = [WEIGHTS]
    elif (folder / SHARDS).exists():
        parts = sorted(set(read_json(folder / SHARDS).get("weight_map", {}).values()))
        if not parts or any(Path(part).name != part or not part.endswith(".safetensors") for part in parts):
            raise UserError(f"{folder / SHARDS} names no safetensors files beside it: download the model again")
        weights = [SHARDS, *parts]
    else:
        pickled = any(folder.glob("*.bin"))
        raise UserError(
            f"{folder} has no {WEIGHTS}{', only pickled weights, which are not read' if pickled else ''}: "
            "convert the model once (docs/models.md) or choose a revision that has it"
        )
    tokenizer = [name for name in TOKENIZER if (folder / name).exists()]
    if not set(tokenizer) & set(VOCABULARIES):
        raise UserError(f"{folder} has no tokenizer: one of {', '.join(VOCABULARIES)} is needed")
    return [CONFIG, *weights, *tokenizer]


def check_files(folder: Path, names: list[str]) -> None:
    for name in names:
        require(folder / name, "download the model again")
        if name.endswith(".json"):
            content = read_json(folder / name)
            if name in (CONFIG, "tokenizer_config.json") and "auto_map" in content:
                raise UserError(f"{folder / name} wants code of its own to run (auto_map), which is refused: choose another model")  # fmt: skip
        elif name.endswith(".safetensors"):
            try:
                safe_open(folder / name, framework="np")
            except SafetensorError:
                raise UserError(f"{folder / name} is cut short or no safetensors file (a Git LFS pointer?): download it again") from None  # fmt: skip


def check_sha256(folder: Path, names: list[str], expected: str) -> None:
    if WEIGHTS not in names:
        raise UserError(
            "params.yaml: fetch_model.sha256 is of one file, but these weights are in several: set it to null"
        )
    found = sha256(folder / WEIGHTS)
    if found != expected:
        raise UserError(
            f"{folder / WEIGHTS} has sha256 {found}, but params.yaml: fetch_model.sha256 is {expected}: "
            "fetch it again, or change the param if this is the file you mean"
        )


def keep_case(folder: Path) -> None:
    """Tell the tokenizer of a cased vocabulary not to lower-case.

    BioBERT and Bio_ClinicalBERT carry a vocab.txt alone, for which the default is to lower-case: the capitals that they
    learned from would never be seen.
    """
    config = folder / "tokenizer_config.json"
    if config.exists() or (folder / "tokenizer.json").exists() or not (folder / "vocab.txt").exists():
        return
    words = (folder / "vocab.txt").read_text("utf-8").split("\n")
    if any(len(word) > 1 and word[0].isalpha() and word != word.lower() for word in words):
        config.write_text(json.dumps({"do_lower_case": False, "tokenizer_class": "BertTokenizer"}) + "\n")
