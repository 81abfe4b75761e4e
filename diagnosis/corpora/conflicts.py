"""Texts that stand more than once: a patient's repeats become one row, and a policy decides where their labels differ."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

Policy = Literal["set", "drop", "first", "specific"]


class Resolved(NamedTuple):
    """`labels[i]` is what row i is written with, None where it is not written."""

    labels: list[list[str] | None]
    counts: dict[str, int]


def resolve(
    texts: Sequence[int],
    patients: Sequence[str | None],
    labels: Sequence[tuple[str, ...]],
    untouched: Sequence[bool],
    policy: Policy,
    document_types: frozenset[str] = frozenset(),
) -> Resolved:
    """Rows with the same text (`texts`: a number each distinct one) become the first row of each patient that it stands under.

    A copy under another patient stays: it is what tells that the two patients have to share a shard. Rows without a
    patient count as one patient's, and `untouched` rows stay as they are. The labels are the text's, whoever the patient:
    under `specific` the labels in `document_types` leave first, and with them the rows that have no other. Where a text
    still has rows with different labels, `set` gives it all of them, `first` its first row's, `drop` and `specific` leave it out.
    """
    rows: dict[int, list[int]] = defaultdict(list)
    for row, text in enumerate(texts):
        if not untouched[row]:
            rows[text].append(row)
    result: list[list[str] | None] = [list(own) if kept else None for own, kept in zip(labels, untouched, strict=True)]
    counts = Counter()
    for members in rows.values():
        stated = len({labels[row] for row in members})
        counts["distinct_texts"] += 1
        counts["texts_under_several_labels"] += stated > 1
        counts["rows_under_several_labels"] += len(members) if stated > 1 else 0
        if policy == "specific":
            specific = [row for row in members if not document_types.issuperset(labels[row])]
            counts["rows_of_document_types"] += len(members) - len(specific)
            counts["texts_of_document_types_only"] += not specific
            members = specific
        if not members:
            continue
        if len({labels[row] for row in members}) > 1:
            counts["texts_still_under_several_labels"] += 1
            if policy in ("drop", "specific"):
                counts["rows_dropped_for_conflict"] += len(members)
                continue
        written = {patients[row]: row for row in reversed(members)}.values()
        counts["rows_merged"] += len(members) - len(written)
        counts["texts_of_several_patients"] += len(written) > 1
        merged = {label for row in members for label in labels[row]} if policy == "set" else labels[members[0]]
        for row in written:
            result[row] = sorted(merged)
    names = (
        "distinct_texts texts_under_several_labels rows_under_several_labels rows_of_document_types "
        "texts_of_document_types_only texts_still_under_several_labels rows_dropped_for_conflict rows_merged "
        "texts_of_several_patients"
    )
    return Resolved(result, {name: counts[name] for name in names.split()})


def label_ceilings(
    texts: Sequence[int], labels: Sequence[tuple[str, ...]], splits: Sequence[str | None]
) -> dict[str, float]:
    """Best accuracy by row of a classifier that knows every text: it says each text's commonest labels.

    Over all rows ("all") and over those of each of the source's own splits.
    """
    times = np.bincount(texts).tolist()
    rows, right = Counter(), Counter()
    counts: dict[str, dict[int, Counter]] = defaultdict(lambda: defaultdict(Counter))
    for text, own, split in zip(texts, labels, splits, strict=True):
        for side in {"all", split} - {None}:
            rows[side] += 1
            if times[text] == 1:  # nearly all: no need to hold them
                right[side] += 1
            else:
                counts[side][text][own] += 1
    for side, of_text in counts.items():
        right[side] += sum(max(count.values()) for count in of_text.values())
    return {side: right[side] / rows[side] for side in rows}
