"""The losses of a training as a CSV file, for the plot."""

import csv
from pathlib import Path

from diagnosis.files import written_aside


def curves(history: list[dict]) -> list[dict]:
    """Rows step, epoch, loss, split of the Trainer's log: training loss since the row before, validation loss."""
    rows = []
    for entry in history:
        for name, split in (("loss", "train"), ("eval_loss", "validation")):
            if name in entry:
                rows.append(
                    {
                        "step": entry["step"],
                        "epoch": round(entry["epoch"], 6),
                        "loss": round(entry[name], 6),
                        "split": split,
                    }
                )
    return rows


def write_curves(path: Path, history: list[dict]) -> None:
    """Write the rows of the Trainer's log; none: the header alone."""
    with written_aside(path) as partial, open(partial, "w", newline="") as stream:
        writer = csv.DictWriter(stream, ["step", "epoch", "loss", "split"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(curves(history))
