"""Prediction tables as arrays: one shard of one model, checked, in the order of note_id."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from diagnosis.errors import UserError
from diagnosis.scores.predictions import read_predictions

REMEDY = "run `dvc repro`"


@dataclass(frozen=True)
class Shard:
    """What scores are computed from: `n` notes and `k` classes.

    note_ids: (n,) strings, sorted. patients: (n,) integers, one a patient; a note without a patient is one of its own.
    truth: (n, k) bool. probabilities: (n, k) float64. unknown: (n,) bool, notes with a label outside the classes.
    """

    note_ids: np.ndarray
    patients: np.ndarray
    truth: np.ndarray
    probabilities: np.ndarray
    unknown: np.ndarray
    single: bool

    @property
    def decided(self) -> np.ndarray:
        """(n, k) bool: the likeliest class (the first of equals), or with several labels each one from 0.5 on."""
        return decisions(self.probabilities, self.single)

    @property
    def correct(self) -> np.ndarray:
        """(n,) bool: the decision is the truth, all labels of it; a label outside the classes makes it wrong."""
        return (self.decided == self.truth).all(axis=1) & ~self.unknown

    def at(self, rows: np.ndarray) -> "Shard":
        """The notes at `rows`, numbers or (n,) bool, patients numbered as in the whole."""
        arrays = ("note_ids", "patients", "truth", "probabilities", "unknown")
        return replace(self, **{name: getattr(self, name)[rows] for name in arrays})


def nothing(classes: list[str], task: str) -> Shard:
    """A shard without a note."""
    none = np.zeros((0, len(classes)))
    return Shard(np.zeros(0, object), np.zeros(0, int), none > 0, none, np.zeros(0, bool), task == "single_label")


def decisions(probabilities: np.ndarray, single: bool) -> np.ndarray:
    """(n, k) probabilities as (n, k) yes or no."""
    if not single:
        return probabilities >= 0.5
    return np.arange(probabilities.shape[1]) == probabilities.argmax(axis=1)[:, None]


class Predictions:
    """A prediction table, read once; `shard` hands out one model's notes of one shard.

    Raises UserError where the file is missing or no prediction table.
    """

    def __init__(self, path: Path):
        self.path = path
        self.table, metadata = read_predictions(path)
        self.classes, self.task, self.data_use = metadata["classes"], metadata["task"], metadata["data_use"]
        if len(self.classes) < 2 or self.task not in ("single_label", "multi_label"):
            raise UserError(f"{path} states fewer than two classes or no known task: {REMEDY}")
        if self.table.empty:
            raise UserError(f"{path} holds no prediction: {REMEDY}")

    def has(self, shard: str, model: str | None = None) -> bool:
        """Whether there is a note of the shard, by `model` if one is named."""
        rows = self.table["shard"] == shard
        return bool((rows if model is None else rows & (self.table["model"] == model)).any())

    def shard(self, name: str, model: str) -> Shard:
        """The notes of a shard as one model scored them.

        Raises UserError where there are none, a note_id occurs twice, or probabilities are no probabilities.
        """
        table = self.table[(self.table["shard"] == name) & (self.table["model"] == model)].sort_values("note_id")
        where = f"{self.path}: shard {name}, model {model}:"
        if table.empty:
            raise UserError(f"{where} no note: {REMEDY}")
        if twice := int(table["note_id"].duplicated().sum()):
            raise UserError(f"{where} {twice} note_ids occur twice: {REMEDY}")
        single = self.task == "single_label"
        labels = [list(row) for row in table["labels"]]
        if single and (other := sum(len(row) != 1 for row in labels)):
            raise UserError(f"{where} {other} of {len(labels)} notes have not one label, but the task is single_label")
        truth, unknown = self._truth(labels)
        return Shard(
            note_ids=table["note_id"].to_numpy(dtype=object),
            patients=patient_numbers(table["patient_id"]),
            truth=truth,
            probabilities=self._probabilities(table["probabilities"], single, where),
            unknown=unknown,
            single=single,
        )

    def logits(self, name: str, model: str) -> np.ndarray:
        """(n, k) float64 logits of a shard, in the order of `shard`; raises UserError where a note has none that are numbers."""
        table = self.table[(self.table["shard"] == name) & (self.table["model"] == model)].sort_values("note_id")
        where = f"{self.path}: shard {name}, model {model}:"
        if wrong := sum(row is None or len(row) != len(self.classes) for row in table["logits"]):
            raise UserError(
                f"{where} {wrong} notes have not one logit for each of {len(self.classes)} classes: {REMEDY}"
            )
        values = np.array(table["logits"].to_list(), dtype=np.float64).reshape(-1, len(self.classes))
        if wrong := int((~np.isfinite(values)).any(axis=1).sum()):
            raise UserError(f"{where} {wrong} notes have logits that are not finite: {REMEDY}")
        return values

    def _truth(self, labels: list[list[str]]) -> tuple[np.ndarray, np.ndarray]:
        column = {label: number for number, label in enumerate(self.classes)}
        truth, unknown = np.zeros((len(labels), len(self.classes)), bool), np.zeros(len(labels), bool)
        for row, found in enumerate(labels):
            for label in found:
                if label in column:
                    truth[row, column[label]] = True
                else:
                    unknown[row] = True
        return truth, unknown

    def _probabilities(self, rows, single: bool, where: str) -> np.ndarray:
        if short := sum(len(row) != len(self.classes) for row in rows):
            raise UserError(
                f"{where} {short} notes have not one probability for each of {len(self.classes)} classes: {REMEDY}"
            )
        values = np.stack(rows.to_list()).astype(np.float64)
        if wrong := int((~((values >= 0) & (values <= 1))).any(axis=1).sum()):  # true of NaN as well
            raise UserError(f"{where} {wrong} notes have probabilities that are not numbers from 0 to 1: {REMEDY}")
        if single and (wrong := int((np.abs(values.sum(axis=1) - 1) > 1e-3).sum())):
            raise UserError(f"{where} {wrong} notes have probabilities that do not sum to 1: {REMEDY}")
        return values


def patient_numbers(patient_ids) -> np.ndarray:
    """(n,) numbers from 0 on, equal where the patient is; a null patient is a patient of its own."""
    codes = pd.Series(patient_ids, dtype=object).astype("category").cat.codes.to_numpy(dtype=np.int64, copy=True)
    alone = codes < 0
    codes[alone] = codes.max(initial=-1) + 1 + np.arange(alone.sum())
    return codes


def check_same_notes(one: Shard, other: Shard, where: str) -> None:
    """Raise UserError unless both hold the same notes with the same labels and patients."""
    if differing := len(set(one.note_ids) ^ set(other.note_ids)):
        raise UserError(f"{where}: {differing} notes are in one table and not in the other: {REMEDY}")
    if not np.array_equal(one.patients, other.patients):
        raise UserError(f"{where}: the notes have other patients in one table than in the other: {REMEDY}")
    if relabelled := int(((one.truth != other.truth).any(axis=1) | (one.unknown != other.unknown)).sum()):
        raise UserError(f"{where}: {relabelled} notes have other labels in one table than in the other: {REMEDY}")
