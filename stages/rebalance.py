"""Fair portions for the classes of the train shard, and what that did to their prior."""

from pathlib import Path

import numpy as np
import pyarrow as pa
from pydantic import Field, field_validator
from tqdm import tqdm

from diagnosis.balance import (
    IN_FINETUNE,
    ROWS,
    SMOTE,
    WEIGHTS,
    class_weights,
    effective_weights,
    evened,
    positive_weights,
    repeats,
    shares,
)
from diagnosis.errors import UserError, run
from diagnosis.files import write_json
from diagnosis.notes import SCHEMA, note_writer, open_notes, read_metadata, read_notes
from diagnosis.params import Params

AUGMENTED = Path("data/augmented.parquet")
BALANCED = Path("data/balanced.parquet")
METRICS = Path("metrics/rebalance.json")


class RebalanceParams(Params):
    seed: int = Field(ge=0, lt=2**32)
    method: tuple[str, ...]
    strength: float = Field(gt=0, le=1)
    beta: float = Field(gt=0, lt=1)

    @field_validator("method", mode="before")
    @classmethod
    def one_for_rows_and_one_for_weights(cls, value):
        names = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else ()
        rows, weights = [name for name in names if name in ROWS], [name for name in names if name in WEIGHTS]
        if names == ("none",):
            return ()
        if not names or len(rows) + len(weights) < len(names) or len(rows) > 1 or len(weights) > 1:
            raise ValueError(f"it must be none, one of {', '.join(ROWS + WEIGHTS)}, or a list of one of the first "
                             f"{len(ROWS)} and one of the last {len(WEIGHTS)}")  # fmt: skip
        if weights and set(rows) & set(SMOTE):
            raise ValueError(f"{rows[0]} makes notes, as vectors, until the classes are even: leave {weights[0]} out")
        return names

    def chosen(self, kind: tuple[str, ...]) -> str | None:
        """The method of this kind, if any."""
        return next((name for name in self.method if name in kind), None)


def main():
    params = RebalanceParams.load("rebalance")
    metadata, table = read_metadata(AUGMENTED), open_notes(AUGMENTED)
    classes, single = metadata.get("classes"), metadata.get("task") == "single_label"
    if not classes or "augmented_from" not in table.schema_arrow.names:
        raise UserError(f"{AUGMENTED} states no classes or lacks the column augmented_from: run `dvc repro augment`")
    rows, weigh = params.chosen(ROWS), params.chosen(WEIGHTS)
    if not single and rows:
        raise UserError(
            f"params.yaml: rebalance.method is '{rows}', but notes have several labels here: to repeat, drop, draw or mix a "
            f"note for one label does the same to its others; take {' or '.join(WEIGHTS)}, or set it to none"
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
    times = repeats(targets, rows, params.seed, params.strength)
    after = counted([row for row, count in zip(labels, times, strict=True) for _ in range(count)], number)
    # The classes as the loss sees them. What SMOTE will make is not known yet: finetune states it anew.
    seen = evened(after, params.strength) * after.sum() if rows == "class_sampler" else after
    weights, priors, more = np.ones(len(classes)), {"train_prior": None, "balanced_prior": None}, {}
    if single:
        if weigh:
            weights = class_weights(seen) if weigh == "class_weight" else effective_weights(seen, params.beta)
        priors = {"train_prior": shares(plain), "balanced_prior": shares(seen * weights)}
    elif weigh:
        check_labels(after, len(labels), classes)
        weights = positive_weights(after, len(labels), weigh, params.beta)
        odds = after / (len(labels) - after)
        priors = {
            "train_prior": (after / len(labels)).tolist(),
            "balanced_prior": (odds * weights / (1 + odds * weights)).tolist(),
        }
        more["positive_weights"] = weights.tolist()
    if rows in IN_FINETUNE:
        more["resampling"] = {
            "method": rows,
            "seed": params.seed,
            "shares": evened(after, params.strength).tolist(),
        }

    extra = [field for field in table.schema_arrow if field.name not in SCHEMA.names]
    row = 0
    with note_writer(BALANCED, metadata | priors | more, [*extra, pa.field("weight", pa.float32())]) as balanced:
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
        "weights": dict(zip(classes, weights, strict=True)) if single or weigh else None,
        **{name: prior and dict(zip(classes, prior, strict=True)) for name, prior in priors.items()},
    })  # fmt: skip


def counted(labels: list[list[str]], number: dict[str, int]) -> np.ndarray:
    """Notes by class, in class order."""
    return np.bincount([number[label] for row in labels for label in row], minlength=len(number))


def check_labels(counts: np.ndarray, notes: int, classes: list[str]) -> None:
    """Raises UserError for a label that no note has, or every note: it has no second side to weigh."""
    if flat := [name for name, count in zip(classes, counts, strict=True) if not 0 < count < notes]:
        raise UserError(
            f"{AUGMENTED}: {', '.join(flat[:5])}: no note has it, or every note: set rebalance.method to none"
        )


if __name__ == "__main__":
    run(main)
