"""Whatever stands in a table's file, its reader gives rows or one clear line: random bytes, and whole files with damage done."""

import gzip
import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import default_params
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diagnosis.corpora.corpus import Corpus, Tally
from diagnosis.corpora.mimic import MimicParams, open_mimic3, open_mimic4
from diagnosis.corpora.mtsamples import open_mtsamples
from diagnosis.corpora.symptom2disease import open_symptom2disease
from diagnosis.corpora.table import TableParams, open_table
from diagnosis.errors import UserError

ROWS = [("n1", "p1", 'Short of breath, "worse" at night.\nNo fever.', "I50"), ("n2", "p2", "Cough; müde", "J18")]
CSV = "note_id,patient_id,text,label\n" + "".join(
    ",".join('"' + cell.replace('"', '""') + '"' for cell in row) + "\n" for row in ROWS
)
LINES = "".join(
    json.dumps(dict(zip(("note_id", "patient_id", "text", "label"), row, strict=True))) + "\n" for row in ROWS
)
COLUMNS = TableParams(
    **default_params()["ingest"]["table"] | {"note_id": "note_id", "patient_id": "patient_id", "labels": "label"}
)
MIMIC = MimicParams(**default_params()["ingest"]["mimic"])
MIMIC4 = {
    "patients.csv": "subject_id,gender,anchor_age,anchor_year,anchor_year_group,dod\n1,F,60,2150,2008 - 2010,\n2,M,91,2160,2011 - 2013,\n",
    "admissions.csv": "subject_id,hadm_id,admittime,dischtime,insurance,language,race\n1,10,2150-02-03 10:00:00,2150-02-05 10:00:00,"
    "Medicare,English,WHITE\n2,20,2160-02-03 10:00:00,2160-02-05 10:00:00,Private,?,\n",
    "diagnoses_icd.csv": "subject_id,hadm_id,seq_num,icd_code,icd_version\n1,10,1,I509,10\n2,20,1,0389,9\n",
    "discharge.csv": 'note_id,subject_id,hadm_id,note_type,note_seq,charttime,storetime,text\n1-DS-1,1,10,DS,1,2150-02-05 10:00:00,,"A ""b""\n'
    'c"\n2-DS-1,2,20,DS,1,2160-02-05 10:00:00,,d\n',
}  # fmt: skip
MIMIC3 = {
    "PATIENTS.csv": "ROW_ID,SUBJECT_ID,GENDER,DOB\n1,1,F,2090-01-01 00:00:00\n2,2,M,1850-01-01 00:00:00\n",
    "ADMISSIONS.csv": "ROW_ID,SUBJECT_ID,HADM_ID,ADMITTIME,INSURANCE,LANGUAGE,ETHNICITY\n1,1,10,2150-02-03 10:00:00,Medicare,ENGL,WHITE\n"
    "2,2,20,2150-02-03 10:00:00,Private,,ASIAN\n",
    "DIAGNOSES_ICD.csv": "ROW_ID,SUBJECT_ID,HADM_ID,SEQ_NUM,ICD9_CODE\n1,1,10,1,4280\n2,2,20,1,0389\n",
    "NOTEEVENTS.csv": "ROW_ID,SUBJECT_ID,HADM_ID,CHARTDATE,CHARTTIME,STORETIME,CATEGORY,DESCRIPTION,CGID,ISERROR,TEXT\n"
    '1,1,10,2150-02-05,,,Discharge summary,Report,,,"A\nb"\n2,2,20,2150-02-05,,,Discharge summary,Addendum,,,d\n',
}  # fmt: skip
often = settings(
    max_examples=150,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@st.composite
def damaged(draw, whole: bytes) -> bytes:
    """The file cut off, with bytes put in the place of others, or with a piece of it twice."""
    start = draw(st.integers(0, len(whole)))
    end = draw(st.integers(start, min(len(whole), start + 20)))
    return draw(
        st.sampled_from([
            whole[:start],
            whole[:start] + draw(st.binary(max_size=8)) + whole[end:],
            whole[:end] + whole[start:],
        ])
    )  # fmt: skip


def read(opened) -> list[dict] | None:
    """The rows of a corpus, whole and with text; None where its reader ends with one line."""
    try:
        corpus: Corpus = opened()
        rows = list(corpus.rows(Tally()))
    except UserError as error:
        assert "\n" not in str(error)
        return None
    assert all(isinstance(row["text"], str) and row["text"].strip() for row in rows)
    assert all(row["labels"] == sorted(set(row["labels"])) for row in rows)
    return rows


def parquet() -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({n: list(c) for n, c in zip(("note_id", "patient_id", "text", "label"), zip(*ROWS, strict=True), strict=True)}), sink)  # fmt: skip
    return sink.getvalue().to_pybytes()


FILES = {
    "table.csv": (CSV.encode(), lambda path: open_table(path, COLUMNS)),
    "table.csv.gz": (gzip.compress(CSV.encode(), mtime=0), lambda path: open_table(path, COLUMNS)),
    "table.jsonl": (LINES.encode(), lambda path: open_table(path, COLUMNS)),
    "table.json": (f"[{','.join(LINES.splitlines())}]".encode(), lambda path: open_table(path, COLUMNS)),
    "table.parquet": (parquet(), lambda path: open_table(path, COLUMNS)),
    "mtsamples.csv": (b",description,medical_specialty,sample_name,transcription,keywords\n0,d, Surgery,s,\"A, b\",k\n", open_mtsamples),
    "Symptom2Disease.csv": (b",label,text\n0,Acne,red skin\n1,allergy,sneezing\n", open_symptom2disease),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_gives_rows_or_one_line(tmp_path, name):
    whole, opener = FILES[name]
    file = tmp_path / name
    file.write_bytes(whole)
    assert len(read(lambda: opener(file))) >= 1

    @often
    @given(content=st.one_of(damaged(whole), st.binary(max_size=60)))
    def check(content):
        file.write_bytes(content)
        read(lambda: opener(file))

    check()


@pytest.mark.parametrize("tables, opener", [(MIMIC4, open_mimic4), (MIMIC3, open_mimic3)], ids=["mimic4", "mimic3"])
def test_a_damaged_table_of_mimic_gives_rows_or_one_line(tmp_path, tables, opener):
    def opened() -> Corpus:
        return opener(tmp_path, "category", "primary", MIMIC)

    for name, content in tables.items():
        (tmp_path / name).write_text(content)
    assert len(read(opened)) == 2

    @often
    @given(data=st.data(), name=st.sampled_from(sorted(tables)))
    def check(data, name):
        (tmp_path / name).write_bytes(data.draw(damaged(tables[name].encode())))
        read(opened)
        (tmp_path / name).write_text(tables[name])

    check()


def test_the_damage_is_seen(tmp_path):
    """A cut-off quoted cell is refused, not taken for a short note."""
    file = Path(shutil.copy(__file__, tmp_path / "table.csv"))
    file.write_text(CSV[: CSV.index("No fever")])
    assert read(lambda: open_table(file, COLUMNS)) is None


@pytest.mark.parametrize(
    "period, refused",
    [("2019", False), ("2017 - 2019", False), ("2019-03-04", True), ("3/4/19", True), ("x" * 61, True)],
)
def test_a_group_is_no_date_and_no_text(tmp_path, period, refused):
    """Names of groups stand in metrics that go to git."""
    file = tmp_path / "table.csv"
    file.write_text(f'text,label,period\nno fever,I50,"{period}"\n')
    columns = TableParams(**default_params()["ingest"]["table"] | {"period": "period"})
    try:
        rows = list(open_table(file, columns).rows(Tally()))
    except UserError as error:
        assert refused and "record 1: period" in str(error) and period not in str(error)
    else:
        assert not refused and rows[0]["period"] == period
