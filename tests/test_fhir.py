"""FHIR R4 by hand, on real files and on broken ones; and the recipes of docs/data.md for tables that FHIR has no part in."""

import base64
import copy
import gzip
import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from conftest import ROOT, SHARED_DATA, merged, needs_shared_data
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from diagnosis.corpora.corpus import Tally
from diagnosis.corpora.fhir import open_fhir
from diagnosis.errors import UserError
from diagnosis.notes import SCHEMA, read_metadata

REAL = SHARED_DATA / "fhir"
CANARY = "zanzibarweed"
ICD10, SNOMED = "http://hl7.org/fhir/sid/icd-10-cm", "http://snomed.info/sct"
US_CORE = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-"


def b64(text: str, encoding: str = "utf-8") -> str:
    return base64.b64encode(text.encode(encoding)).decode()


def reference(kind: str, of: str | None) -> dict | None:
    return of and {"reference": of if ":" in of else f"{kind}/{of}"}


def bare(resource: dict) -> dict:
    return {key: value for key, value in resource.items() if value is not None}


def patient(own: str, **more) -> dict:
    return {"resourceType": "Patient", "id": own, "name": [{"family": CANARY, "given": [CANARY]}], **more}


def condition(
    own: str, who: str | None, codings: list, *, encounter=None, state="confirmed", clinical="active", text=None
) -> dict:
    coding = [bare({"system": s, "code": c, "display": d}) for s, c, d in codings]
    return bare({
        "resourceType": "Condition", "id": own, "subject": reference("Patient", who), "encounter": reference("Encounter", encounter),
        "verificationStatus": state and {"coding": [{"code": state}]}, "clinicalStatus": clinical and {"coding": [{"code": clinical}]},
        "code": bare({"coding": coding, "text": text}), "note": [{"text": CANARY}], "text": {"div": CANARY},
    })  # fmt: skip


def document(
    own: str, who: str | None, text: str, *, encounter=None, kind="text/plain", date="2020-06-15", **more
) -> dict:
    context = {"encounter": [reference("Encounter", encounter)]} if encounter else None
    return bare({
        "resourceType": "DocumentReference", "id": own, "status": "current", "subject": reference("Patient", who), "date": date,
        "description": CANARY, "text": {"div": CANARY}, "type": {"coding": [{"code": "34111-5", "display": "ED note"}]},
        "content": [{"attachment": {"contentType": kind, "data": b64(text)}}], "context": context, **more,
    })  # fmt: skip


def report(own: str, who: str, forms: list, *, encounter=None, **more) -> dict:
    return bare({"resourceType": "DiagnosticReport", "id": own, "status": "final", "code": {"text": "CT of the head"},
                 "subject": reference("Patient", who), "encounter": reference("Encounter", encounter), "conclusion": CANARY,
                 "conclusionCode": [{"text": CANARY}], "presentedForm": forms, "effectiveDateTime": "2020", **more})  # fmt: skip


PNEUMONIA, GOUT = (
    [(SNOMED, "233604007", "Pneumonia"), (ICD10, "J18.9", "Pneumonia, unspecified organism")],
    [(ICD10, "M10.9", "Gout")],
)
RESOURCES = [
    patient("a", gender="female", birthDate="1950-06-16", communication=[
        {"language": {"coding": [{"code": "es"}]}}, {"language": {"coding": [{"code": "en-US"}]}, "preferred": True}],
        extension=[{"url": f"{US_CORE}race", "extension": [
            {"url": "ombCategory", "valueCoding": {"code": "2054-5", "display": "Black or African American"}}, {"url": "text", "valueString": "x"}]}]),
    patient("b", gender="other", birthDate="1929", extension=[
        {"url": f"{US_CORE}race", "extension": [{"url": "ombCategory", "valueCoding": {"code": "2106-3", "display": "White"}}]},
        {"url": f"{US_CORE}ethnicity", "extension": [{"url": "ombCategory", "valueCoding": {"code": "2135-2", "display": "Hispanic or Latino"}}]}]),
    {"resourceType": "Encounter", "id": "e1", "class": {"code": "IMP"}, "diagnosis": [
        {"condition": {"reference": "Condition/c1"}, "rank": 2}, {"condition": {"reference": "Condition/c2"}, "rank": 1},
        {"condition": {"reference": "Condition/c9"}, "rank": 1, "use": {"coding": [{"code": "AD"}]}}]},
    condition("c1", "a", PNEUMONIA, encounter="e1", clinical="resolved"),
    condition("c2", "a", GOUT),  # the encounter names it, it does not name the encounter
    condition("c9", "a", [(ICD10, "R05", "Cough")], encounter="e1", state="differential"),
    condition("c3", "b", [(ICD10, "E11.9", None)], state=None, clinical=None),
    condition("c4", "b", [(SNOMED, "38341003", "Hypertension")]),
    condition("c5", "b", [(ICD10, "I10", "Old")], clinical="resolved"),
    condition("c6", "b", [(ICD10, "C34", "Wrong")], state="refuted"),
    condition("c7", "b", [(ICD10, "C34", "Wrong")], state="entered-in-error"),
    document("n1", "a", "Fever and cough.\nNo gout.", encounter="e1"),
    document("n2", "b", "Thirst.", encounter="e2"),
    report("n1", "b", [{"contentType": "text/html", "data": b64("<p>CT: <b>nothing</b> new</p>")}]),
]  # fmt: skip


def bundle(resources: list[dict], kind: str = "transaction") -> dict:
    """As Synthea writes them: references by urn:uuid, whatever the ids are."""
    text = json.dumps(resources)
    for resource in resources:
        text = text.replace(
            f'"{resource["resourceType"]}/{resource.get("id")}"',
            f'"urn:uuid:0-{resource.get("id")}-{resource["resourceType"]}"',
        )
    entries = [{"fullUrl": f"urn:uuid:0-{r.get('id')}-{r['resourceType']}", "resource": r} for r in json.loads(text)]
    return {"resourceType": "Bundle", "type": kind, "entry": entries}


def ndjson(path: Path, resources: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = "".join(json.dumps(resource) + "\n" for resource in resources).encode()
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)


def read(path, level: str = "own", diagnoses: str = "all", unlabelled: bool = False) -> tuple[dict[str, dict], Tally]:
    tally = Tally()
    rows = list(open_fhir(Path(path), level, diagnoses, unlabelled).rows(tally))
    assert len({row["note_id"] for row in rows}) == len(rows)
    return {row["note_id"]: row for row in rows}, tally


# ---------------------------------------------------------------- by hand


def test_the_stage_by_hand(stage):
    ndjson(Path("raw/all.ndjson"), RESOURCES)
    assert stage("ingest", {"corpus": "fhir", "path": "raw", "labels": "own", "diagnoses": "all"}) == (0, "")
    table = pq.read_table("data/notes.parquet")
    assert table.schema.remove_metadata() == SCHEMA
    rows = {row["note_id"]: row for row in table.to_pylist()}
    assert rows["DocumentReference/n1"] == {
        "note_id": "DocumentReference/n1", "patient_id": "a", "encounter_id": "e1", "source": "fhir", "note_type": "ED note", "service": None,
        "site": None, "period": None, "split": None, "duplicate_cluster": "DocumentReference/n1", "text": "Fever and cough.\nNo gout.",
        "text_pair": None, "labels": ["Gout", "Pneumonia, unspecified organism"], "sex": "F", "age_band": "65-74", "race": "Black",
        "language": "en-US", "insurance": None,
    }  # fmt: skip
    second, third = rows["DocumentReference/n2"], rows["DiagnosticReport/n1"]
    assert (second["labels"], second["sex"], second["age_band"], second["race"]) == (
        ["E11.9", "Hypertension"], None, "90+", "Hispanic or Latino"
    )  # fmt: skip
    assert (third["text"], third["note_type"], third["encounter_id"]) == ("CT: nothing new", "CT of the head", None)
    numbers = json.loads(Path("metrics/ingest.json").read_text())
    assert numbers["skipped"] == {
        "condition_differential": 1,
        "condition_refuted": 1,
        "condition_entered_in_error": 1,
        "condition_no_longer_active": 1,
    }
    assert numbers["groups"] == {"sex_unmapped": 2}  # b's two notes
    meta = read_metadata(Path("data/notes.parquet"))
    assert meta["task"] == "multi_label" and meta["data_use"]["public"] is False
    written = Path("data/notes.parquet").read_bytes().decode("latin-1") + json.dumps(numbers) + str(rows)
    assert CANARY not in written


@pytest.mark.parametrize(
    ("level", "diagnoses", "expected", "flaws"),
    [
        ("chapter", "all", [["J00-J99 respiratory", "M00-M99 musculoskeletal"], ["E00-E89 endocrine, nutritional and metabolic"]], 1),
        ("category", "all", [["J18", "M10"], ["E11"]], 1),
        ("code", "all", [["J189", "M109"], ["E119"]], 1),
        ("code", "primary", [["M109"], None], 1),
        ("own", "primary", [["Gout"], None], 0),
    ],
)  # fmt: skip
def test_levels_and_the_primary_diagnosis(tmp_path, level, diagnoses, expected, flaws):
    ndjson(tmp_path / "all.ndjson", RESOURCES)
    rows, tally = read(tmp_path, level, diagnoses)
    assert [
        rows[n]["labels"] if n in rows else None for n in ("DocumentReference/n1", "DocumentReference/n2")
    ] == expected
    assert tally.skipped["condition_without_icd_code"] == flaws
    assert tally.skipped["no_diagnosis"] == 2 * (diagnoses == "primary")


@pytest.mark.parametrize("kind", ["transaction", "collection", "searchset"])
def test_a_bundle_says_what_the_bulk_export_says(tmp_path, kind):
    ndjson(tmp_path / "bulk/all.ndjson", RESOURCES)
    expected = read(tmp_path / "bulk")
    by_kind = {}
    for resource in reversed(RESOURCES):
        by_kind.setdefault(resource["resourceType"], []).insert(0, resource)
    for name, resources in by_kind.items():
        ndjson(tmp_path / f"split/{name}.ndjson.gz", resources)
    (tmp_path / "split/manifest.txt").write_text("not read")
    assert read(tmp_path / "split") == expected
    file = tmp_path / "bundle.json"
    file.write_text(json.dumps(bundle(RESOURCES, kind)))
    assert read(file) == expected
    (tmp_path / "zipped.json.gz").write_bytes(gzip.compress(file.read_bytes(), mtime=0))
    assert read(tmp_path / "zipped.json.gz") == expected
    absolute = re.sub(
        r'"(Patient|Encounter|Condition)/(\w+)"',
        r'"https://server.example/fhir/\1/\2/_history/3"',
        json.dumps(RESOURCES),
    )
    ndjson(tmp_path / "absolute.ndjson", json.loads(absolute))
    assert read(tmp_path / "absolute.ndjson") == expected


def test_references_that_are_no_patient(tmp_path):
    notes = [document(str(n), None, "text", subject={"reference": r}) for n, r in enumerate(
        ["Group/a", "#a", "Patient?identifier=x|1", "Patient?identifier=x|1", "urn:uuid:a", "https://s/Patient/a", "urn:oid:a"])]  # fmt: skip
    ndjson(tmp_path / "n.ndjson", [*RESOURCES[:1], condition("c", "a", GOUT), *notes])
    rows, tally = read(tmp_path, unlabelled=True)
    assert [row["patient_id"] for row in rows.values()] == [None, None, *["Patient?identifier=x|1"] * 2, "a", "a", "a"]
    assert [row["labels"] for row in rows.values()] == [[]] * 4 + [["Gout"]] * 3 and tally.groups[
        "patient_not_in_export"
    ] == 4
    assert read(tmp_path)[1].skipped == {"no_diagnosis": 4}


def test_a_code_has_one_name_and_a_text_is_one(tmp_path):
    named = [(ICD10, "J18.9", "Pneumonia"), (ICD10, "J18.9", "PNEUMONIA NOS"), (SNOMED, "1", None)]
    resources = [condition(f"c{i}", f"p{i}", [each]) for i, each in enumerate(named)]
    resources += [condition("c3", "p3", [], text="Lone text"), condition("c4", "p4", []), condition("c5", None, GOUT)]
    ndjson(tmp_path / "n.ndjson", resources + [document(f"n{i}", f"p{i}", "text") for i in range(5)])
    rows, tally = read(tmp_path)
    assert [row["labels"] for row in rows.values()] == [["Pneumonia"], ["Pneumonia"], ["1"], ["Lone text"]]
    assert tally.skipped == {"condition_without_code": 1, "condition_of_nobody": 1, "no_diagnosis": 1}
    assert read(tmp_path, "code")[1].skipped["condition_without_icd_code"] == 3


def test_icd_9_and_malformed_codes(tmp_path):
    codings = [("http://hl7.org/fhir/sid/icd-9-cm", "038.9", None), (ICD10, "pneumonia", None), (ICD10, "u07.1", None)]
    resources = [condition(f"c{i}", f"p{i}", [each]) for i, each in enumerate(codings)]
    ndjson(tmp_path / "n.ndjson", resources + [document(f"n{i}", f"p{i}", "text") for i in range(3)])
    rows, tally = read(tmp_path, "category")
    assert [row["labels"] for row in rows.values()] == [["038"], ["U07"]]
    assert tally.skipped == {"malformed_codes": 1, "no_diagnosis": 1}


@pytest.mark.parametrize(
    ("born", "date", "band"),
    [("2002-06-16", "2020-06-15", "0-17"), ("2002-06-15", "2020-06-15T01:00:00Z", "18-44"), ("2002", "2020-06-15", "18-44"),
     ("2002-07", "2020-06-15", "0-17"), ("1930-01-01", "2020", "90+"), ("1931", "2020", "75-89"), ("2030", "2020", None),
     ("unknown", "2020", None), (None, "2020", None), ("1950", None, None)],
)  # fmt: skip
def test_ages(tmp_path, born, date, band):
    ndjson(tmp_path / "n.ndjson", [bare(patient("p", birthDate=born)), document("n", "p", "text", date=date)])
    assert read(tmp_path, unlabelled=True)[0]["DocumentReference/n"]["age_band"] == band


# ---------------------------------------------------------------- attachments

HTML = """<html><head><title>t</title><style>p {x}</style></head><body><h1>ED&nbsp;note</h1><p>BP 120/80,<br>
 no   fever &amp; <b>no</b> cough</p><script>if (a < b) {}</script><table><tr><td>WBC</td><td>11.2</td></tr><tr><td>Hb</td><td> 9</td></tr></table>
<ul><li>rest</li><li>fluids</ul></body></html>"""


@pytest.mark.parametrize(
    ("forms", "found"),
    [
        ([("text/plain; charset=utf-8", "Fièvre", "utf-8")], "Fièvre"),
        ([("text/plain;charset=\"ISO-8859-1\"", "Fièvre", "latin-1")], "Fièvre"),
        ([("text/plain", "\ufeffFever", "utf-8")], "Fever"),
        ([("text/html", HTML, "utf-8")], "ED note\nBP 120/80,\nno fever & no cough\nWBC\t11.2\nHb\t9\nrest\nfluids"),
        ([("application/pdf", "%PDF", "utf-8"), ("text/html", "<p>one</p>", "utf-8"), ("TEXT/PLAIN", " two\n", "utf-8")], " two\n"),
        ([("application/pdf", "%PDF", "utf-8")], "attachment_of_another_type"),
        ([(None, "xxx", "utf-8")], "attachment_of_another_type"),
        ([("text/plain", None, None)], "attachment_without_data"),
        ([("text/plain", "https://elsewhere/Binary/1", None)], "attachment_by_url"),
        ([("text/plain", " \n", "utf-8")], "no_text"),
        ([("text/html", "<p> <script>x</script>", "utf-8")], "no_text"),
        ([], "no_attachment"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["DocumentReference", "DiagnosticReport"])
def test_attachments(tmp_path, forms, found, kind):
    attachments = [
        bare({"contentType": t, "data": b64(text, encoding) if encoding else None, "url": text if not encoding else None, "title": CANARY})
        for t, text, encoding in forms
    ]  # fmt: skip
    resource = (
        report("n", "p", attachments)
        if kind == "DiagnosticReport"
        else document("n", "p", "", content=[{"attachment": a} for a in attachments])
    )
    ndjson(tmp_path / "n.ndjson", [resource])
    rows, tally = read(tmp_path, unlabelled=True)
    if rows:
        assert rows[f"{kind}/n"]["text"] == found and not tally.skipped
    else:
        assert tally.skipped == {found: 1}


def test_html_that_is_none(tmp_path):
    """Some versions of Python's parser refuse a declaration of no known kind, others take it for a comment."""
    ndjson(tmp_path / "n.ndjson", [document("n", "p", "<![foo[x", kind="text/html"), document("m", "p", "text")])
    try:
        assert list(read(tmp_path, unlabelled=True)[0]) == ["DocumentReference/m"]
    except UserError as error:
        assert "record 1: its attachment is no HTML" in str(error)


def test_withdrawn_notes_are_no_notes(tmp_path):
    notes = [document("1", "p", "t", status="superseded"), document("2", "p", "t", docStatus="entered-in-error"),
             report("3", "p", [], status="cancelled"), document("4", "p", "t", docStatus="preliminary")]  # fmt: skip
    ndjson(tmp_path / "n.ndjson", notes)
    rows, tally = read(tmp_path, unlabelled=True)
    assert list(rows) == ["DocumentReference/4"] and tally.skipped == {"withdrawn_note": 3}


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("resources", "line"),
    [
        ([patient("p", name=[{"family": ["Chen"]}])], "record 1: FHIR DSTU2 (Patient.name.family is a list), R4 is read: export it as R4"),
        ([patient("p"), {"resourceType": "Condition", "patient": {}}], "record 2: FHIR DSTU2 (Condition.patient)"),
        ([condition("c", "p", GOUT) | {"verificationStatus": "confirmed"}], "record 1: FHIR STU3 or older (Condition.verificationStatus"),
        ([condition("c", "p", GOUT) | {"context": {}}], "FHIR STU3 (Condition.context)"),
        ([document("n", "p", "t", indexed="2017")], "FHIR STU3 or older (DocumentReference.indexed"),
        ([document("n", "p", "t") | {"context": {"encounter": {"reference": "Encounter/1"}}}], "context.encounter is no list"),
        ([document("n", "p", "t") | {"context": [{"reference": "Encounter/1"}]}], "FHIR R5 (DocumentReference.context is a list)"),
        ([{"resourceType": "Encounter", "class": "inpatient"}], "FHIR DSTU2 (Encounter.class is a code)"),
        ([{"resourceType": "Encounter", "class": [{}]}], "FHIR R5 (Encounter.class is a list)"),
        ([{"id": CANARY}], "record 1: no resourceType"),
        ([patient("p", gender="male"), patient("p", gender="female")], "record 2: this Patient's id came before with another"),
        ([document("n", None, "t"), condition("c", "p", GOUT), *[document("n", "p", "t")] * 2], "record 4: its DocumentReference.id came before"),
        ([document("n", "p", "t", content=[{"attachment": {"contentType": "text/plain", "data": "no@base64"}}])], "record 1: its attachment is no base64"),
        ([document("n", "p", "t", content=[{"attachment": {"contentType": "text/plain; charset=klingon", "data": "aGVsbG8="}}])], "charset that it states"),
        ([document("n", "p", "t", content=[{"attachment": {"contentType": "text/plain", "data": b64("Müde", "latin-1")}}])], "in utf-8"),
        ([document("n", "p", "t\0")], "record 1: a NUL character"),
        ([condition("c", "p", GOUT), document("n", "p", "t")], "no Encounter says which of its diagnoses is the first"),
    ],
)  # fmt: skip
def test_refusals(stage, resources, line):
    ndjson(Path("raw/n.ndjson"), resources)
    diagnoses = "primary" if "which of its diagnoses" in line else "all"
    code, error = stage("ingest", {"corpus": "fhir", "path": "raw", "labels": "code", "diagnoses": diagnoses})
    assert code == 1 and line in error and "\n" not in error and CANARY not in error and "unexpected" not in error
    assert not list(Path().glob("data/*")) and not Path("metrics").exists()


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("n.json", b"", "n.json is empty"),
        ("n.json", b"[]", "not a JSON object"),
        ("n.json", b'{"resourceType": "Bundle"', "not valid JSON"),
        ("n.json", b"[" * 100_000, "not valid JSON"),
        ("n.ndjson", b'{"resourceType": "Patient"}\n{"resource', "record 2: not valid JSON"),
        ("n.ndjson.gz", gzip.compress(b'{"resourceType": "Patient"}\n' * 99, mtime=0)[:-12], "cut-off gzip"),
        ("n.ndjson", '{"resourceType": "Pätient"}'.encode("latin-1"), "not utf-8"),
        ("n.json", b'{"resourceType": "Bundle", "type": "collection"}', "no note is left"),
        ("n.xml", b"<Bundle/>", "no .json or .ndjson file"),
    ],
)  # fmt: skip
def test_broken_files(stage, name, content, line):
    Path("raw").mkdir()
    Path("raw", name).write_bytes(content)
    code, error = stage("ingest", {"corpus": "fhir", "path": "raw", "diagnoses": "all"})
    assert code == 1 and line in error and "\n" not in error and "unexpected" not in error


def test_missing_path(stage):
    assert "nowhere does not exist" in stage("ingest", {"corpus": "fhir", "path": "nowhere"})[1]


# ---------------------------------------------------------------- fuzz

PLACES = st.lists(st.integers(0, 10_000), min_size=1, max_size=4)
JUNK = st.sampled_from(
    [None, True, 0, -1.5, "", "x", "\ud800", "\0", "urn:uuid:", "#", "Patient/", [], {}, [[]], [None], {"coding": 3}, {"reference": 5},
     "2020-99-99", [{"coding": [None, "x", {"code": ["y"]}]}], "text/html", "PCFbZm9vW3g=", {"attachment": {"data": {}}}, 10**400]
)  # fmt: skip


def spots(value, found: list) -> list:
    """(container, key) of everything inside a JSON value."""
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        found.append((value, key))
        spots(value[key], found)
    return found


@settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(places=PLACES, junk=st.lists(JUNK, min_size=4, max_size=4), as_bundle=st.booleans(), level=st.sampled_from(["own", "code"]),
       diagnoses=st.sampled_from(["all", "primary"]))  # fmt: skip
def test_whatever_stands_where_it_does_not_belong_gives_rows_or_one_line(
    tmp_path, places, junk, as_bundle, level, diagnoses
):
    content = copy.deepcopy(bundle(RESOURCES) if as_bundle else RESOURCES)
    for place, value in zip(places, junk, strict=False):
        found = spots(content, [])
        container, key = found[place % len(found)]
        container[key] = value
    file = tmp_path / ("n.json" if as_bundle else "n.ndjson")
    if as_bundle:
        file.write_text(json.dumps(content))
    else:
        ndjson(file, content)
    only_rows_or_one_line(file, level, diagnoses)


@settings(
    max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(start=st.integers(0, 5_000), drop=st.integers(0, 200), put=st.binary(max_size=8), as_bundle=st.booleans())
def test_damaged_bytes_give_rows_or_one_line(tmp_path, start, drop, put, as_bundle):
    file = tmp_path / ("n.json" if as_bundle else "n.ndjson")
    if as_bundle:
        file.write_text(json.dumps(bundle(RESOURCES)))
    else:
        ndjson(file, RESOURCES)
    content = file.read_bytes()
    file.write_bytes(content[: start % len(content)] + put + content[start % len(content) + drop :])
    only_rows_or_one_line(file, "own", "all")


def only_rows_or_one_line(file: Path, level: str, diagnoses: str) -> None:
    try:
        rows, _ = read(file, level, diagnoses, unlabelled=True)
    except UserError as error:
        assert "\n" not in str(error) and CANARY not in str(error)
        return
    for row in rows.values():
        assert row["text"].strip() and CANARY not in str(row)
        assert row["labels"] == sorted(set(row["labels"]))
        assert all(value is None or isinstance(value, str) for name, value in row.items() if name != "labels")
        str(row).encode()


# ---------------------------------------------------------------- real files


@needs_shared_data
def test_real_notes():
    rows, tally = read(REAL / "notes", unlabelled=True)
    documents = [row for name, row in rows.items() if name.endswith(".txt")]
    assert sorted(len(row["text"]) for row in documents) == [
        2178,
        3067,
        3316,
        3389,
        4960,
    ]  # data/README.md: 2,178 to 4,960
    assert {row["patient_id"] for row in documents} == {"A"} and {row["note_type"] for row in documents} == {"34111-5"}
    assert rows["DocumentReference/doc1"]["text"] == "hello" and rows["DocumentReference/doc1"]["encounter_id"] == "2"
    assert rows["DiagnosticReport/f201"]["note_type"] == "Computed tomography (CT) of head and neck"
    assert "sphenoid" not in str(rows)  # the conclusion, in the resource's narrative too
    assert len(rows) == 8 and tally.skipped == {"attachment_of_another_type": 1}
    assert read(REAL / "notes")[1].skipped == {"attachment_of_another_type": 1, "no_diagnosis": 8}


@needs_shared_data
def test_synthea_has_no_notes(stage):
    code, line = stage(
        "ingest", {"corpus": "fhir", "path": str(REAL / "r4_synthea"), "labels": "own", "diagnoses": "all"}
    )
    assert code == 1 and "no note is left (no_attachment 7)" in line


@needs_shared_data
@pytest.mark.parametrize(
    ("name", "labels", "facts"),
    [
        ("Clemente*", [["Body mass index 30+ - obesity (finding)"]], ("M", "18-44", "Asian", "zh")),
        ("Liz*", [["Hypertension"]], ("F", "18-44", "White", "en-US")),  # born in November 1986, seen in July 2005
        (
            "Ned*",
            [["Body mass index 30+ - obesity (finding)"], ["Viral sinusitis (disorder)"]],
            ("M", "18-44", "White", "pt"),
        ),
    ],
)
def test_a_note_planted_in_a_real_bundle(tmp_path, name, labels, facts):
    """A note for each encounter that has a Condition, by the bundle's own urn:uuid references."""
    (file,) = (REAL / "r4_synthea").glob(name)
    content = json.loads(file.read_text())
    of = [e["resource"] for e in content["entry"] if e["resource"]["resourceType"] == "Condition"]
    assert of[0]["encounter"]["reference"].startswith("urn:uuid:")
    for number, each in enumerate(of):
        note = document(f"n{number}", None, f"text {number}", subject=each["subject"], date=each["recordedDate"])
        content["entry"].append({"resource": note | {"context": {"encounter": [each["encounter"]]}}})
    (tmp_path / "b.json").write_text(json.dumps(content))
    rows, _ = read(tmp_path)
    assert sorted({tuple(row["labels"]) for row in rows.values()}) == [tuple(own) for own in labels] and len(
        rows
    ) == len(of)
    row = rows["DocumentReference/n0"]
    assert (row["sex"], row["age_band"], row["race"], row["language"]) == facts


@needs_shared_data
def test_conditions_of_a_patient_without_encounters(tmp_path):
    content = json.loads((REAL / "bundle/comprehensive_fhir_bundle.json").read_text())
    content["entry"].append(
        {"resource": document("n", "patient-001", "text", encounter="encounter-002", date="2024-03-15")}
    )
    (tmp_path / "b.json").write_text(json.dumps(content))
    row = read(tmp_path)[0]["DocumentReference/n"]
    assert row["labels"] == ["Chronic obstructive pulmonary disease", "Diabetes mellitus", "Hypertension"]
    assert (row["sex"], row["age_band"], row["race"]) == ("M", "18-44", None)


@needs_shared_data
def test_the_old_version_is_refused(stage):
    code, line = stage("ingest", {"corpus": "fhir", "path": str(REAL / "dstu2_old_version"), "diagnoses": "all"})
    assert code == 1 and "hca-pat-64.json, record 1: FHIR DSTU2" in line and "Chen" not in line


# ---------------------------------------------------------------- the recipes of docs/data.md


def recipe(heading: str) -> tuple[str, dict]:
    """The example file and the params of a section of docs/data.md."""
    (section,) = re.findall(
        rf"^### {re.escape(heading)}\n(.*?)(?=^##)", (ROOT / "docs/data.md").read_text(), flags=re.M | re.S
    )
    (example,) = re.findall(r"```(?:csv|json)\n(.*?)```", section, flags=re.S)
    (params,) = re.findall(r"```yaml\n(.*?)```", section, flags=re.S)
    return example, YAML(typ="safe", pure=True).load(params)


def ingested(stage, heading: str) -> list[dict]:
    example, params = recipe(heading)
    file = Path(params["ingest"]["path"])
    file.parent.mkdir(parents=True)
    file.write_text(example)
    assert stage("ingest", params["ingest"]) == (0, "")
    return pq.read_table("data/notes.parquet").to_pylist()


def test_the_recipe_for_claims(stage):
    rows = ingested(stage, 'Insurance claims ("ISD")')
    assert [row["labels"] for row in rows] == [["E11.9", "J18.9"], ["E11.9"], ["I10", "I21.4"], []]
    assert rows[0]["text"] == "Office visit of an established patient\nChest X-ray, two views"
    assert rows[3]["text"] == "Eye examination"
    assert [row["patient_id"] for row in rows] == ["M1", "M1", "M2", "M3"]
    assert [(row["age_band"], row["insurance"], row["site"], row["period"]) for row in rows[2:]] == [
        ("90+", "Private", "south", "2019"), ("18-44", "Private", "south", "2020")
    ]  # fmt: skip
    assert read_metadata(Path("data/notes.parquet"))["task"] == "multi_label"


def test_the_recipe_for_questions_with_passages(stage):
    rows = ingested(stage, 'Questions with passage and evidence ("MEdIC")')
    assert [(row["text"][:4], row["text_pair"][:4], row["labels"], row["split"]) for row in rows] == [
        ("Does", "Of 9", ["supported"], "train"), ("Does", "The ", ["unclear"], "train"), ("Does", "Surg", ["refuted"], "test")
    ]  # fmt: skip
    meta = read_metadata(Path("data/notes.parquet"))
    assert (meta["task"], meta["text_pair"], meta["official_split"]) == ("single_label", True, True)
    assert recipe('Questions with passage and evidence ("MEdIC")')[1]["split"] == {"official": True}


def test_label_columns_and_separators_together(stage):
    Path("own.csv").write_text("a,b,x,y\none,,p;q,\n,two,,p\n,,p,q\nthree, ,nan,r;\n")
    table = {"text": ["a", "b"], "labels": ["x", "y"], "label_separator": ";"}
    assert stage("ingest", {"corpus": "table", "path": "own.csv", "table": table}) == (0, "")
    rows = pq.read_table("data/notes.parquet").to_pylist()
    assert [(row["text"], row["labels"]) for row in rows] == [("one", ["p", "q"]), ("two", ["p"]), ("three", ["r"])]
    assert json.loads(Path("metrics/ingest.json").read_text())["skipped"] == {"no_text": 1}


@pytest.mark.parametrize(
    ("table", "line"),
    [
        ({"text": []}, "ingest.table.text is []: list should have at least 1 item"),
        ({"text": ["a", ""]}, "ingest.table.text.1 is ''"),
        ({"labels": None}, "ingest.table.labels is None"),
        ({"text": ["a", "x"], "labels": ["x", "y"]}, "ingest.table.text and ingest.table.labels are both 'x'"),
        ({"text": ["a", "c"], "labels": "x"}, "no column 'c'"),
    ],
)
def test_lists_of_columns_that_do_not_do(stage, table, line):
    Path("own.csv").write_text("a,b,x,y\none,two,p,q\n")
    assert line in stage("ingest", {"corpus": "table", "path": "own.csv", "table": merged({}, table)})[1]
