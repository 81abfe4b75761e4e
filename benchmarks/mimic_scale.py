"""MIMIC-III at full size: our reading and joins beside a pandas chunked read of the same, and what the whole stage takes; docs/data.md.

    python -m benchmarks.mimic_scale                                 # 200 MB of NOTEEVENTS
    python -m benchmarks.mimic_scale --bytes 2e9 --kinds discharge   # 2 GB
    python -m benchmarks.mimic_scale --bytes 5e8 --sentences 3 --kinds "all kinds" --repeats 1  # 2 M short notes, for the stage's memory

Writes invented tables in MIMIC-III's form (its number of patients, admissions and diagnoses; notes in its categories' proportions,
of several lines and with quotes) to a folder in TMPDIR and deletes it. Each run is a process of its own; processor seconds, and
the highest resident memory (VmHWM) of the process, modules included. pandas has its fast way: C parser, only the columns that are used,
as strings, the joins and groups vectorised; nothing of it is turned into Python rows, as ours are. Linux.
"""

import argparse
import hashlib
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
from ruamel.yaml import YAML

from diagnosis.corpora import demographics
from diagnosis.corpora.corpus import Tally
from diagnosis.corpora.mimic import KINDS3, MimicParams, open_mimic3
from diagnosis.errors import run
from diagnosis.files import read_json

ROOT = Path(__file__).resolve().parents[1]
PATIENTS, ADMISSIONS, DIAGNOSES = 46_520, 58_976, 651_047
CATEGORIES = [  # MIMIC-III's larger ones: share of the notes, sentences a note
    ("Nursing/other", 0.40, 12), ("Radiology", 0.25, 18), ("Nursing", 0.11, 22), ("ECG", 0.10, 3), ("Physician ", 0.07, 65),
    ("Discharge summary", 0.03, 110), ("Echo", 0.02, 30), ("Respiratory ", 0.02, 15),
]  # fmt: skip
RACES = ["WHITE", "BLACK/AFRICAN AMERICAN", "ASIAN", "HISPANIC OR LATINO", "UNKNOWN/NOT SPECIFIED"]
NOTES_HEADER = "ROW_ID,SUBJECT_ID,HADM_ID,CHARTDATE,CHARTTIME,STORETIME,CATEGORY,DESCRIPTION,CGID,ISERROR,TEXT"
CHUNK = 20_000  # rows; 10,000 and 50,000 are no faster
KINDS = {"discharge": ["discharge"], "all kinds": KINDS3}


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mimic_scale")
    parser.add_argument("--bytes", type=float, default=2e8, help="size of NOTEEVENTS.csv")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--sentences", type=int, help="a note; else as its category has: memory goes by notes, not by their length"
    )
    parser.add_argument("--kinds", choices=KINDS, nargs="+", default=list(KINDS))
    arguments = parser.parse_args()
    chosen = {name: KINDS[name] for name in arguments.kinds}
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "mimic3"
        rows = write_corpus(corpus, int(arguments.bytes), arguments.sentences)
        print(f"NOTEEVENTS.csv: {rows:,} notes, {(corpus / 'NOTEEVENTS.csv').stat().st_size / 1e9:.2f} GB\n")
        print(
            "| kinds | reader | notes out | processor s | notes read/s | peak MB | same rows |\n|---|---|---|---|---|---|---|"
        )
        for name, kinds in chosen.items():
            results = {method: [] for method in METHODS}
            for _ in range(arguments.repeats):
                for method in METHODS:  # in turn, so that a busy minute meets all
                    results[method].append(alone(method, corpus, kinds))
            same = (
                len({alone(method, corpus, kinds, True)[3] for method in METHODS}) == 1
                if arguments.bytes < 1e9
                else None
            )
            for method, each in results.items():
                seconds, megabytes = (statistics.median(result[column] for result in each) for column in (0, 1))
                checked = "–" if same is None else "yes" if same else "NO"
                print(
                    f"| {name} | {method} | {each[0][2]:,} | {seconds:.1f} | {rows / seconds:,.0f} | {megabytes:.0f} | {checked} |"
                )
            medians = [statistics.median(result[0] for result in results[method]) for method in METHODS]
            print(f"| {name} | pandas / ours | | {medians[1] / medians[0]:.2f} | | | |", flush=True)
        for name, kinds in chosen.items():
            print(f"\nthe whole stage, {name}: " + stage(Path(folder) / "stage", corpus, kinds), flush=True)


# ---------------------------------------------------------------- the invented files


def write_corpus(folder: Path, size: int, sentences_a_note: int | None = None) -> int:
    """Write the four tables; returns the notes of NOTEEVENTS. One note in nine has no admission, one in 200 is an error."""
    folder.mkdir(parents=True)
    draw = random.Random(3)
    with open(folder / "PATIENTS.csv", "w") as stream:
        stream.write("ROW_ID,SUBJECT_ID,GENDER,DOB,DOD\n")
        for number in range(PATIENTS):
            born = 1850 + number % 300 if number % 20 == 0 else 2060 + number % 70
            stream.write(f'{number},{number},"{"FM"[number % 2]}",{born}-{1 + number % 12:02}-15 00:00:00,\n')
    patient_of = [number if number < PATIENTS else draw.randrange(PATIENTS) for number in range(ADMISSIONS)]
    with open(folder / "ADMISSIONS.csv", "w") as stream:
        stream.write("ROW_ID,SUBJECT_ID,HADM_ID,ADMITTIME,INSURANCE,LANGUAGE,ETHNICITY,DIAGNOSIS\n")
        for number, patient in enumerate(patient_of):
            stream.write(
                f'{number},{patient},{100_000 + number},{2150 + number % 40}-06-{1 + number % 28:02} 10:00:00,"{draw.choice(["Medicare", "Private"])}",'
                f'"{draw.choice(["ENGL", "SPAN", ""])}","{draw.choice(RACES)}","SEPSIS"\n'
            )
    with open(folder / "DIAGNOSES_ICD.csv", "w") as stream:
        stream.write("ROW_ID,SUBJECT_ID,HADM_ID,SEQ_NUM,ICD9_CODE\n")
        codes = [f"{draw.randint(1, 999):03}{draw.choice(['', '0', '12'])}" for _ in range(6_000)]
        codes += [f"V{draw.randint(10, 90)}1" for _ in range(500)] + [f"E{draw.randint(800, 999)}0" for _ in range(200)]
        rank = 0
        for number in range(DIAGNOSES):
            place, before = divmod(number * ADMISSIONS, DIAGNOSES)  # by admission, as the real table is
            rank = 1 if before < ADMISSIONS else rank + 1
            row = f'{number},{patient_of[place]},{100_000 + place},{rank},"{draw.choice(codes)}"\n'
            stream.write(row)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(2, 9))) for _ in range(5_000)]
    ends = [".", ".\n", ' (""so"" said).', ":\n", ", 120/80.\n\n"]
    sentences = [" ".join(draw.choices(words, k=draw.randint(6, 14))) + draw.choice(ends) for _ in range(50_000)]
    shares = [share for _, share, _ in CATEGORIES]
    number, written = 0, 0
    with open(folder / "NOTEEVENTS.csv", "w") as stream:
        stream.write(NOTES_HEADER + "\n")
        while written < size:
            number += 1
            category, _, length = draw.choices(CATEGORIES, shares)[0]
            place = draw.randrange(ADMISSIONS)
            admission = "" if number % 9 == 0 else 100_000 + place
            text = " ".join(draw.choices(sentences, k=sentences_a_note or max(1, int(draw.gauss(length, length / 4)))))
            error = '"1"' if number % 200 == 0 else ""
            written += stream.write(
                f'{number},{patient_of[place]},{admission},2150-01-01,,,"{category}","Report",,{error},"{text}"\n'
            )
    return number


# ---------------------------------------------------------------- the two readers, at the embedded default's labels: primary, category


def ours(folder: Path, kinds: list[str]) -> Iterator[dict]:
    params = MimicParams(notes=kinds, per_admission="keep", addenda=True, drop_codes=[])
    yield from open_mimic3(folder, "category", "primary", params).rows(Tally())


def by_pandas(folder: Path, kinds: list[str]) -> Iterator[pd.DataFrame]:
    def read(name: str, columns: str, **more):
        columns = columns.split()
        return pd.read_csv(folder / f"{name}.csv", usecols=columns, dtype=str, keep_default_na=False, **more)

    patients = read("PATIENTS", "SUBJECT_ID GENDER DOB")
    admissions = read("ADMISSIONS", "SUBJECT_ID HADM_ID ADMITTIME ETHNICITY LANGUAGE INSURANCE").merge(
        patients, on="SUBJECT_ID"
    )
    admitted, born = admissions.ADMITTIME, admissions.DOB
    years = admitted.str[:4].astype(int) - born.str[:4].astype(int) - (admitted.str[5:10] < born.str[5:10])
    bands = [band for _, band in demographics.AGE_BANDS] + [demographics.OLDEST]
    admissions["age_band"] = pd.cut(
        years, [0, *(end for end, _ in demographics.AGE_BANDS), np.inf], right=False, labels=bands
    )
    admissions["age_band"] = admissions["age_band"].astype(str)
    race = {f" {name}".strip(): group for group, names in demographics.RACES.items() for name in names.split("|")}
    admissions["race"] = admissions.ETHNICITY.str.lower().map(race)
    diagnoses = read("DIAGNOSES_ICD", "SUBJECT_ID HADM_ID SEQ_NUM ICD9_CODE")
    diagnoses = diagnoses[diagnoses.SEQ_NUM == "1"].drop_duplicates("HADM_ID")
    code = diagnoses.ICD9_CODE
    category = code.str[:3].where(code.str[0] != "E", code.str[:4])
    diagnoses["label"] = category.where(~code.str[0].isin(["V", "E"]), "ICD-9 " + category)
    joined = admissions.merge(diagnoses[["SUBJECT_ID", "HADM_ID", "label"]], on=["SUBJECT_ID", "HADM_ID"])
    columns = "ROW_ID SUBJECT_ID HADM_ID CATEGORY DESCRIPTION ISERROR TEXT"
    for chunk in read("NOTEEVENTS", columns, chunksize=CHUNK):
        category = chunk.CATEGORY.str.strip()
        kept = chunk[category.str.lower().str.removesuffix(" summary").isin(kinds) & (chunk.ISERROR != "1")]
        kept = kept[kept.TEXT.str.strip() != ""].merge(joined, on=["SUBJECT_ID", "HADM_ID"])
        kept["note_type"] = kept.CATEGORY.str.strip() + " - " + kept.DESCRIPTION
        yield kept


def rows_of(frame: pd.DataFrame) -> Iterator[tuple]:
    for row in frame.itertuples():
        race = row.race if isinstance(row.race, str) else None
        language = demographics.stated(row.LANGUAGE)
        yield (
            row.ROW_ID, row.SUBJECT_ID, row.HADM_ID, row.note_type, row.TEXT, row.label, row.GENDER, row.age_band, race, language,
            row.INSURANCE,
        )  # fmt: skip


OURS = "note_id patient_id encounter_id note_type text label sex age_band race language insurance".split()
METHODS = ("ours", "pandas")

# ---------------------------------------------------------------- measuring


def alone(method: str, folder: Path, kinds: list[str], digest: bool = False) -> tuple[float, float, int, int]:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(measured, method, folder, kinds, digest).result()


def measured(method: str, folder: Path, kinds: list[str], digest: bool) -> tuple[float, float, int, int]:
    """Processor seconds, megabytes at the peak, notes that came out and, if asked, a digest of them in any order."""
    start, count, total = time.process_time(), 0, 0
    if method == "ours":
        for row in ours(folder, kinds):
            count += 1
            if digest:
                total ^= number(tuple((row | {"label": row["labels"][0]})[name] for name in OURS))
    else:
        for frame in by_pandas(folder, kinds):
            count += len(frame)
            for row in rows_of(frame) if digest else ():
                total ^= number(row)
    return time.process_time() - start, memory(), count, total


def number(row: tuple) -> int:
    return int.from_bytes(hashlib.blake2b(repr(row).encode(), digest_size=16).digest())


def memory() -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def stage(folder: Path, corpus: Path, kinds: list[str]) -> str:
    """`ingest` as `dvc repro` runs it, in a folder of its own."""
    folder.mkdir()
    params = YAML(typ="safe", pure=True).load(ROOT / "params.yaml")
    params["ingest"] |= {"corpus": "mimic3", "path": str(corpus)}
    params["ingest"]["mimic"] |= {"notes": kinds}
    with open(folder / "params.yaml", "w") as stream:
        YAML().dump(params, stream)
    start = time.perf_counter()
    command = [sys.executable, "-m", "stages.ingest"]
    child = subprocess.Popen(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        return f"ended with {os.waitstatus_to_exitcode(status)}"
    numbers = read_json(folder / "metrics" / "ingest.json")
    shutil.rmtree(folder)
    return (
        f"{numbers['notes_read']:,} notes read, {usage.ru_maxrss / 1024:,.0f} MB at the peak, {usage.ru_utime + usage.ru_stime:,.0f} "
        f"processor seconds, {time.perf_counter() - start:,.0f} s"
    )


if __name__ == "__main__":
    run(main)
