"""What a detector's folder says of itself: whether it holds one at all, and how that was trained. No torch here."""

from pathlib import Path

from diagnosis.errors import UserError
from diagnosis.files import read_json, require, write_json, written_aside

CARD = "detector.json"
FILES = ("config.json", "model.safetensors", "tokenizer.json")


def write_off(folder: Path) -> None:
    """Make the folder one that says that there is no detector."""
    with written_aside(folder) as partial:
        write_json(partial / CARD, {"enabled": False})


def read_card(folder: Path) -> dict:
    """The card of a trained detector; raises UserError where there is none, or a file of it is missing."""
    card = read_json(require(folder, "run `dvc repro finetune_detector`") / CARD)
    if not card["enabled"]:
        raise UserError(
            f"{folder} holds no detector, and deidentify.detector in params.yaml asks for one: set finetune_detector.enabled "
            "to true, or deidentify.detector to rules"
        )
    for name in FILES:
        require(folder / name, "the detector is not whole: run `dvc repro --force finetune_detector`")
    return card
