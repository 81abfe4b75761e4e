"""The numbers of the data audit: of a shard, of groups of patients, and of who is dropped on the way. docs/audit.md."""

from collections import Counter

import numpy as np
import pandas as pd

from diagnosis.audit.intervals import (
    association,
    design_effect,
    difference,
    effective,
    quantile,
    total_variation,
    wilson,
)
from diagnosis.corpora.conflicts import label_ceilings
from diagnosis.disclosure import Cell, tellable

CLASSES_SHOWN = 100  # of a shard, the commonest, so that a corpus of 2,000 codes leaves a file that can be read
LABELS_COMPARED = 20  # between groups, the commonest; the others count as one
OTHER = "other labels"


def lengths(values: pd.Series) -> dict:
    found = np.quantile(values, [0.05, 0.5, 0.95, 1], method="inverted_cdf")
    return {"mean": values.mean(), **dict(zip(["p5", "median", "p95", "max"], found, strict=True))}


def beyond(tokens: pd.Series, window: int | None) -> dict | None:
    """Notes longer than the window, and the share of all tokens that lie behind it."""
    if window is None:
        return None
    longer = tokens > window
    cut = (tokens - window).clip(lower=0).sum() / tokens.sum()
    return {"tokens": window, "notes": longer.sum(), "share": longer.mean(), "tokens_share": cut}


def described(part: pd.DataFrame, classes: list[str], windows: dict[str, int | None], min_count: int) -> dict:
    """What metrics/audit_data.json says of the notes of a shard, or of all."""
    if not len(part):
        return {"notes": 0}
    counts = Counter(label for labels in part["labels"] for label in labels)
    shown = sorted((c for c in counts if counts[c] >= min_count), key=lambda c: (-counts[c], c))[:CLASSES_SHOWN]
    sizes = part["cluster"].value_counts()
    sizes = sizes[sizes > 1]
    return {
        "notes": len(part),
        "patients": part["patient"].nunique(),
        "classes": {label: counts[label] for label in shown},
        "classes_not_shown": len(counts) - len(shown),
        "classes_without_notes": len(set(classes) - set(counts)),
        "imbalance_ratio": max(counts.values(), default=0) / max(min(counts.values(), default=1), min_count),
        "imbalance_ratio_is_lower_bound": min(counts.values(), default=0) < min_count,
        "labels_per_note": counts.total() / len(part),
        "notes_without_label": sum(not labels for labels in part["labels"]),
        "words": lengths(part["words"]),
        "tokens": lengths(part["tokens"]),
        **{name: beyond(part["tokens"], window) for name, window in windows.items()},
        "duplicates": {
            "clusters": len(sizes),
            "notes_share": sizes.sum() / len(part),
            "largest_cluster": sizes.max() if len(sizes) else 1,
        },
        "label_conflicts": {"texts": conflicts(part, "text"), "clusters": conflicts(part, "cluster")},
        "label_ceiling": label_ceilings(part["text"].tolist(), part["labels"].tolist(), [None] * len(part))["all"],
    }


def conflicts(part: pd.DataFrame, same: str) -> dict:
    """How many values of `same` stand under several sets of labels, and the share of the notes that they hold."""
    several = part.groupby(same)["labels"].nunique() > 1
    return {"count": several.sum(), "notes_share": part[same].isin(several.index[several]).mean()}


def missing_values(counts: dict[str, int], total: int, hidden: set[str], min_count: int) -> dict:
    """Notes without a value by column, where there are any.

    A count under `min_count` is not told, and of the `hidden` columns only a coarse share: there a small group's size would
    follow from it.
    """
    result = {}
    for name, count in counts.items():
        if 0 < count < min_count:
            result[name] = {"notes": f"<{min_count}", "share": None}
        elif count:
            told = name not in hidden
            result[name] = {
                "notes": count if told else None,
                "share": count / total if told else round(count / total, 2),
            }
    return result


# ---------------------------------------------------------------- groups


def compared_labels(table: pd.DataFrame) -> list[str]:
    """The commonest labels, in order."""
    counts = Counter(label for labels in table["labels"] for label in labels)
    return sorted(counts, key=lambda label: (-counts[label], label))[:LABELS_COMPARED]


def by_group(table: pd.DataFrame, column: str, labels: list[str], window: int, min_count: int) -> dict:
    """Representation, label rates and lengths of the groups of a column, and whether their labels differ.

    Groups of fewer than `min_count` patients are undecidable; a label rate is told only if at least so many patients stand
    behind it and no smaller count follows from it.
    """
    stated = table[column].notna()
    if not stated.any():
        return {"status": "no values"}
    notes, patients, cells = counted(table, column, labels)
    told_groups = tellable({(value,): n for value, n in group_patients(table, column).items()}, min_count)
    told_cells = tellable(cells, min_count) if cells else set()
    everyone, effect = len(table), design_effect(table["patient"].value_counts().to_numpy())
    longer = table["tokens"] > window
    sides = Counter(zip(table[column].astype(object).where(stated, None), longer.tolist(), strict=True))
    told_sides = tellable(
        {(value, side): sides[value, side] for value in patients for side in (True, False)}, min_count
    )
    result, undecidable = {}, []
    names = [value for value in patients if value is not None]
    for value in names:
        part = table[table[column] == value]
        if patients[value] < min_count:
            undecidable.append(value)
            result[value] = {"patients": f"<{min_count}", "verdict": "undecidable"}
            continue
        told = (value,) in told_groups
        both_told = told and {(value, True), (value, False)} <= told_sides
        own, other = notes.loc[value].to_numpy(float), notes.drop(index=value).sum().to_numpy(float)
        distance = total_variation(own, other, effect) if own.sum() and other.sum() else (None, None)
        result[value] = {
            "notes": len(part) if told else None,
            "patients": patients[value] if told else f">={min_count}",
            "share": len(part) / everyone if told else None,
            "words": {"median": lengths(part["words"])["median"], "p95": lengths(part["words"])["p95"]},
            "beyond_window_share": longer[part.index].mean() if both_told else None,
            "total_variation": distance[0],
            "total_variation_by_chance": distance[1],
            "label_rates": [
                {"label": label, "rate": notes.at[value, label] / len(part)}
                for label in labels
                if told and (value, label) in told_cells
            ],
        }
    enough = [value for value in names if patients[value] >= min_count]
    return {
        "by_group": result,
        "undecidable": undecidable,
        "stated_share": stated.mean() if (None,) in told_groups or stated.all() else None,
        "labels_differ": association(notes.loc[enough].to_numpy(float), effect),
    }


def patient_notes(table: pd.DataFrame, column: str) -> dict[str | None, np.ndarray]:
    """How many notes each patient has by value, sorted; of those without one last, under None."""
    values = table[column].astype(object).where(table[column].notna(), None)
    groups = table["patient"].groupby(values, dropna=False)
    named = {None if pd.isna(value) else value: own.value_counts().to_numpy() for value, own in groups}
    return {value: named[value] for value in sorted(named, key=lambda value: (value is None, value or ""))}


def group_patients(table: pd.DataFrame, column: str) -> dict[str | None, int]:
    """Patients by value, as `patient_notes`."""
    return {value: len(own) for value, own in patient_notes(table, column).items()}


def counted(table: pd.DataFrame, column: str, labels: list[str]) -> tuple[pd.DataFrame, dict, dict[Cell, int]]:
    """(notes by value and label, patients by value, patients by value and label); labels that are not named are one."""
    patients = group_patients(table, column)
    exploded = table[[column, "patient", "labels"]].assign(note=np.arange(len(table))).explode("labels")
    exploded = exploded[exploded["labels"].notna()]
    exploded["labels"] = exploded["labels"].where(exploded["labels"].isin(labels), OTHER)
    exploded = exploded.drop_duplicates(["note", "labels"])
    cells = {
        (None if pd.isna(value) else value, label): int(count)
        for (value, label), count in exploded.groupby([column, "labels"], dropna=False, observed=True)["patient"].nunique().items()
    }  # fmt: skip
    notes = exploded.groupby([column, "labels"], observed=True).size().unstack(fill_value=0)
    wanted = [*labels, *([OTHER] if OTHER in notes.columns else [])]
    index = [value for value in patients if value is not None]
    return notes.reindex(index=index, columns=wanted, fill_value=0), patients, cells


# ---------------------------------------------------------------- who is dropped


def flow(counts: dict[str, Counter], sizes: dict[str | None, np.ndarray], comparisons: int, min_count: int) -> dict:
    """Notes by group from stage to stage: the share that was kept, against that of everyone else.

    `counts[stage][value]` in the order of the stages, the first being where the flow starts; `sizes` the notes of each patient
    there, by value. n of an interval is the notes by their `design_effect`, for a patient's notes fall together.
    """
    stages = list(counts)
    start, end = counts[stages[0]], counts[stages[-1]]
    total, left = start.total(), end.total()
    drops = {
        (value, stage): counts[before][value] - counts[stage][value]
        for before, stage in zip(stages, stages[1:], strict=False)
        for value in start
    }
    told = tellable(drops, min_count)
    patients = {value: len(own) for value, own in sizes.items()}
    shown = tellable({(value,): count for value, count in patients.items()}, min_count)
    result = {}
    for value, own in sizes.items():
        if value is None:
            continue
        if len(own) < min_count:
            result[value] = {"patients": f"<{min_count}", "verdict": "undecidable"}
            continue
        kept, rest = end[value] / start[value], None
        verdict = {"verdict": "nothing_dropped" if left == total else "cannot_conclude"}
        between = {}
        others = [each for other, each in sizes.items() if other != value]
        if left < total and others:
            rest = (left - end[value]) / (total - start[value])
            m = effective(np.concatenate(others))
            low, high = difference(kept, effective(own), rest, m, quantile(comparisons))
            between = {"difference": {"value": kept - rest, "low": low, "high": high}}
            if high < 0 or low > 0:
                verdict = {"verdict": "under_kept" if high < 0 else "over_kept"}
        if (value,) in shown and all((value, stage) in told for stage in stages[1:]):
            low, high = wilson(kept, effective(own), quantile())
            result[value] = {
                "notes": {stage: counts[stage][value] for stage in stages},
                "kept": {"value": kept, "low": low, "high": high},
                **between,
                **verdict,
            }
        else:
            result[value] = verdict
    return result
