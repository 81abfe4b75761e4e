"""Fair portions for the classes of the train shard, and what that did to their prior."""

from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
from pydantic import Field
from tqdm import tqdm

from diagnosis.balance import class_weights, repeats, shares
from diagnosis.errors import UserError, run
from diagnosis.files import write_json
from diagnosis.notes import SCHEMA, note_writer, open_notes, read_metadata, read_notes
from diagnosis.params import Params

AUGMENTED = Path("data/augmented.parquet")
BALANCED = Path("data/balanced.parquet")
METRICS = Path("metrics/rebalance.json")


class RebalanceParams(Params):
    seed: int = Field(ge=0, lt=2**32)
    method: Literal["none", "oversample", "undersample", "class_weight"]


def main():
    params = RebalanceParams.load("rebalance")
    metadata, table = read_metadata(AUGMENTED), open_notes(AUGMENTED)
    classes, single = metadata.get("classes"), metadata.get("task") == "single_label"
    if not classes or "augmented_from" not in table.schema_arrow.names:
        raise UserError(f"{AUGMENTED} states no classes or lacks the column augmented_from: run `dvc repro augment`")
    if not single and params.method != "none":
        raise UserError(
            f"params.yaml: rebalance.method is '{params.method}', but notes have several labels here: to repeat, drop or "
            "weight a note for one label does the same to its others; set it to none (finetune.loss: focal is an alternative)"
        )

    # ---- by row: its classes, and whether it is an original
    columns = table.read(["labels", "augmented_from"])
    labels, original = columns["labels"].to_pylist(), ~np.array(columns["augmented_from"].is_valid())
    number = {name: index for index, name in enumerate(classes)}
    if unknown := sum(any(label not in number for label in row) for row in labels):
        raise UserError(
            f"{AUGMENTED}: {unknown} notes have a label that is not among its classes: run `dvc repro split`"
        )
    if single and (wrong := sum(len(row) != 1 for row in labels)):
        raise UserError(f"{AUGMENTED}: {wrong} notes do not have exactly one label, and the task is single_label")

    before, plain = counted(labels, number), counted([row for row, first in zip(labels, original, strict=True) if first], number)  # fmt: skip
    if single and not plain.all():
        absent = [name for name, count in zip(classes, plain, strict=True) if not count]
        raise UserError(
            f"{AUGMENTED}: the classes {', '.join(absent[:5])} have no note: run `dvc repro split`, raise split.min_notes_per_class"
        )

    # ---- by row: how often, and with what weight
    targets = np.array([number[row[0]] for row in labels]) if single else np.zeros(len(labels), dtype=np.int64)
    times = repeats(targets, params.method, params.seed)
    after = counted([row for row, count in zip(labels, times, strict=True) for _ in range(count)], number)
    weights = class_weights(after) if params.method == "class_weight" else np.ones(len(classes))
    priors = {
        "train_prior": shares(plain) if single else None,
        "balanced_prior": shares(after * weights) if single else None,
    }

    extra = [field for field in table.schema_arrow if field.name not in SCHEMA.names]
    row = 0
    with note_writer(BALANCED, metadata | priors, [*extra, pa.field("weight", pa.float32())]) as balanced:
        for batch in tqdm(read_notes(AUGMENTED), desc="rebalance", unit=" batches"):
            for note in batch:
                note["weight"] = float(weights[targets[row]]) if single else 1.0
                balanced.write([note] if times[row] else [])
                origin = note["augmented_from"] or note["note_id"]
                for again in range(1, times[row]):
                    balanced.write([note | {"note_id": f"{note['note_id']}-r{again}", "augmented_from": origin}])
                row += 1

    write_json(METRICS, {
        "notes": {"read": len(labels), "written": int(times.sum()), "dropped": int((times == 0).sum()),
                  "repeated": int((times - 1).clip(min=0).sum())},
        "classes": {"before": dict(zip(classes, before, strict=True)), "after": dict(zip(classes, after, strict=True))},
        "weights": dict(zip(classes, weights, strict=True)) if single else None,
        **{name: prior and dict(zip(classes, prior, strict=True)) for name, prior in priors.items()},
    })  # fmt: skip


def counted(labels: list[list[str]], number: dict[str, int]) -> np.ndarray:
    """Notes by class, in class order."""
    return np.bincount([number[label] for row in labels for label in row], minlength=len(number))


if __name__ == "__main__":
    run(main)
