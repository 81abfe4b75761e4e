"""The mitigation benchmark on invented vectors: every method answers, folds share no patient, unstated groups keep the plain answer."""

import numpy as np
import pytest
import torch

from benchmarks import rebalance
from benchmarks.mitigation import FOLDS, METHODS, Data, answers, table


@pytest.fixture(scope="module")
def data() -> Data:
    rng = np.random.default_rng(0)
    target = rng.integers(0, 3, 300)
    group = np.array(["Medicaid", "Medicare", "Private"])[rng.integers(0, 3, 300)]
    vectors = rng.normal(size=(300, 8)).astype(np.float32)
    vectors[np.arange(300), target] += np.where(group == "Medicaid", 0.5, 2.5)
    notes = [
        {"note_id": f"n{row:03}", "patient_id": f"p{row // 2}", "duplicate_cluster": None,
         "labels": ["abc"[target[row]]], "insurance": None if row % 25 == 0 else str(group[row])}
        for row in range(300)
    ]  # fmt: skip
    return Data(notes, list("abc"), vectors)


@pytest.fixture(scope="module")
def results(data) -> dict:
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rebalance, "EPOCHS", 20)
        return all_answers(data)


def all_answers(data) -> dict:
    found, kept = {}, {}
    for method in METHODS:
        for fold in range(FOLDS):
            rows, values = answers(method, data, fold, kept, quick=True)
            found.setdefault(method, {})[str(fold)] = {
                "ids": [data.ids[row] for row in rows], "log_probabilities": np.log(values.clip(1e-6)).tolist(), "seconds": 0.0,
            }  # fmt: skip
    return found


def test_each_note_is_scored_once_and_by_none_of_its_patient(data):
    scored = np.concatenate([data.parts(fold)[2] for fold in range(FOLDS)])
    assert sorted(scored) == list(range(300))
    for fold in range(FOLDS):
        patients = [{data.notes[row]["patient_id"] for row in rows} for rows in data.parts(fold)]
        assert not (patients[0] & patients[1] or patients[0] & patients[2] or patients[1] & patients[2])


@pytest.mark.parametrize("method", METHODS)
def test_every_method_gives_probabilities(results, method):
    values = np.exp(np.concatenate([fold["log_probabilities"] for fold in results[method].values()]))
    assert values.shape == (300, 3) and values.sum(axis=1) == pytest.approx(np.ones(300), abs=1e-3)


@pytest.mark.parametrize("method", [method for method, needs in METHODS.items() if needs])
def test_a_group_that_is_not_stated_is_not_guessed(data, results, method):
    for fold in range(FOLDS):
        ids, plain, own = (results[name][str(fold)][key] for name, key in
                           (("none", "ids"), ("none", "log_probabilities"), (method, "log_probabilities")))  # fmt: skip
        unstated = [row for row, note in enumerate(ids) if data.group[data.ids.index(note)] < 0]
        assert (np.argmax(plain, axis=1) == np.argmax(own, axis=1))[unstated].all()


def test_the_table_has_a_row_a_method_and_finds_the_gap(data, results):
    head, _, *rows = table(results, data)
    assert len(rows) == len(METHODS) and head.count("|") == rows[0].count("|")
    plain = [cell.strip() for cell in rows[0].split("|")]
    assert plain[1:3] == ["none", "no"] and "unfair" in plain[7]
