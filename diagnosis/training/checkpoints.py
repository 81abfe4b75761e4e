"""Checkpoints at epoch ends, whole or ignored, in a folder named by everything that the training depends on."""

import hashlib
import json
import shutil
from importlib.metadata import version
from pathlib import Path

from transformers import TrainerCallback, TrainerState

from diagnosis.files import sha256
from diagnosis.training.processes import is_first, wait_for_all

COMPLETE = "complete"  # a file in a checkpoint that was written to its end


def training_key(inputs: list[Path], settings: dict) -> str:
    """Hash of the input files and folders, the settings, this package's code and the libraries that train."""
    digest = hashlib.sha256()
    code = sorted([*Path(__file__).parent.glob("*.py"), *Path(__file__).parent.glob("launch/*.yaml")])
    for path in [*inputs, *code]:
        digest.update(f"{path.name} {sha256(path)}\n".encode())
    libraries = {
        name: version(name)
        for name in ("torch", "transformers", "peft", "accelerate", "tokenizers", "imbalanced-learn")
    }
    digest.update(json.dumps([settings, libraries], sort_keys=True).encode())
    return digest.hexdigest()[:16]


def last_checkpoint(folder: Path) -> Path | None:
    """The latest whole checkpoint of `folder`, or None; those that were not written to their end are removed."""
    whole = {}
    for path in folder.glob("checkpoint-*"):
        if (path / COMPLETE).exists():
            whole[int(path.name.removeprefix("checkpoint-"))] = path
        else:
            shutil.rmtree(path)
    return whole[max(whole)] if whole else None


def read_state(checkpoint: Path) -> TrainerState:
    """The Trainer's state at a checkpoint."""
    return TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))


class KeepLastAndBest(TrainerCallback):
    """Marks a checkpoint when it is whole, and only then removes what it replaces: a kill at any point leaves one."""

    def on_save(self, args, state, control, **kwargs):
        wait_for_all()  # each of several processes writes its random state there
        if not is_first():
            return
        folder = Path(args.output_dir)
        current = folder / f"checkpoint-{state.global_step}"
        (current / COMPLETE).touch()
        best = folder / f"checkpoint-{state.best_global_step}"
        for path in folder.glob("checkpoint-*"):
            if path not in (current, best):
                (path / COMPLETE).unlink(missing_ok=True)
                shutil.rmtree(path)
