"""Invent a hospital: patients, diagnoses and notes as MIMIC's files, with planted truth and the best reachable scores."""

from collections import Counter
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field
from tqdm import tqdm

from diagnosis.errors import UserError, run
from diagnosis.files import write_json, written_aside
from diagnosis.params import Params
from diagnosis.synthetic import mimic3_files, mimic4_files
from diagnosis.synthetic.cohort import draw_cohort, patients_of
from diagnosis.synthetic.disease_model import CODES, best_scores
from diagnosis.synthetic.tables import open_tables

SYNTHETIC = Path("data/raw/synthetic")
METRICS = Path("metrics/synthesize.json")


class SynthesizeParams(Params):
    form: Literal["mimic4", "mimic3"]
    seed: int = Field(ge=0)
    patients: int = Field(ge=50, le=1_000_000)
    notes: int = Field(ge=50, le=3_000_000)
    typo_rate: float = Field(ge=0, le=0.2)
    abbreviation_rate: float = Field(ge=0, le=1)
    phi_rate: float = Field(ge=0, le=1)
    exact_duplicate_rate: float = Field(ge=0, le=0.2)
    near_duplicate_rate: float = Field(ge=0, le=0.2)
    copy_forward_rate: float = Field(ge=0, le=1)
    label_noise_rate: float = Field(ge=0, le=0.5)
    comorbidity_rate: float = Field(ge=0, le=0.9)
    radiology_rate: float = Field(ge=0, le=1)
    answer_rate: float = Field(ge=0, le=1)
    poorer_group: Literal["Medicaid", "Medicare", "Private"]
    poorer_rate: float = Field(ge=0, lt=1)
    bayes_draws: int = Field(ge=1000)


def main():
    params = SynthesizeParams.load("synthesize")
    copies = round(params.exact_duplicate_rate * params.notes)
    if params.notes < params.patients + copies:
        raise UserError(
            f"params.yaml: synthesize.notes is {params.notes}: at least {params.patients + copies} are needed for a note a "
            f"patient and {copies} exact copies: raise it or lower synthesize.patients"
        )
    model = {
        "noise_rate": params.label_noise_rate,
        "comorbidity_rate": params.comorbidity_rate,
        "poorer_group": params.poorer_group,
        "poorer_rate": params.poorer_rate,
    }
    cohort = draw_cohort(
        params.seed,
        patients=params.patients,
        notes=params.notes,
        exact_duplicate_rate=params.exact_duplicate_rate,
        near_duplicate_rate=params.near_duplicate_rate,
        **model,
    )

    planted, classes, kinds, origins = Counter(), Counter(), Counter(), Counter()
    files = mimic4_files if params.form == "mimic4" else mimic3_files
    columns = files.COLUMNS | (mimic4_files.RADIOLOGY if params.form == "mimic4" and params.radiology_rate else {})
    with (
        written_aside(SYNTHETIC) as partial,
        open_tables(partial, columns, [name for name in files.NOTES if name in columns]) as tables,
    ):
        files.write_titles(tables)
        patients = patients_of(
            cohort,
            copy_forward_rate=params.copy_forward_rate,
            radiology_rate=params.radiology_rate,
            typo_rate=params.typo_rate,
            abbreviation_rate=params.abbreviation_rate,
            phi_rate=params.phi_rate,
            answer_rate=params.answer_rate,
        )
        for patient in tqdm(patients, desc="synthesize", unit=" patients", total=params.patients):
            poorer = patient.insurance == params.poorer_group
            files.write_patient(tables, patient, poorer)
            for stay in patient.stays:
                filed = 1 + stay.note_twice
                classes[CODES[stay.recorded]] += filed
                marks = stay.note.identifiers + (stay.report.identifiers if stay.report else [])
                kinds.update(mark.what for mark in marks)
                origins.update(mark.more for mark in marks if mark.what == "NAME")
                planted.update(
                    notes=filed,
                    exact_copies=stay.note_twice,
                    near_copies=patient.same_person_as is not None,
                    copied_forward=stay.copied_from is not None,
                    label_noise=filed * (stay.recorded != stay.admission.condition),
                    stated_answers=filed * stay.note.answered,
                    poorer_notes=filed * poorer,
                    second_diagnoses=filed * (stay.admission.second is not None),
                    radiology_reports=stay.report is not None,
                )
    write_json(METRICS, {
        "patients": params.patients,
        "planted": planted,
        "labels": classes,
        "imbalance": max(classes.values()) / min(classes.values()),
        "identifiers": kinds,
        "names_by_origin": origins,
        "bayes": best_scores(np.random.default_rng(params.seed), params.bayes_draws, **model),
    })  # fmt: skip


if __name__ == "__main__":
    run(main)
