"""The reports: every number is an artefact's, no note text, no request, the same bytes, and what is missing says so."""

import base64
import csv
import hashlib
import importlib
import json
import re
import shutil
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import default_params, merged, run_in, write_params
from huggingface_hub import ModelCard
from scored import CLASSES, DATA_USE, prediction_rows, random_shard, write_predictions

from diagnosis.errors import run
from diagnosis.files import read_json, sha256, write_json
from diagnosis.notes import note_writer
from diagnosis.report.charts import ticks_of
from diagnosis.report.errors import worst
from diagnosis.report.evidence import Found, md5_of
from diagnosis.report.render import TEMPLATES, cell, shown
from diagnosis.report.words import marked
from diagnosis.scores.shards import Shard

FILES = ("index.html", "model_card.md", "tripod_ai.md", "with_text.html")
TRACKED = FILES[:3]
CANARY = "Zebrafinch"
RANGES = {"gout": {"low": 0.05, "high": 0.4, "weight": 1}, "sepsis": {"low": 0.02, "high": 0.2, "weight": 2}}
INTERVAL = {"value": 0.25, "low": 0.125, "high": 0.5}


def params(changes: dict | None = None) -> dict:
    here = merged(default_params(), {"report": changes or {}})
    here["evaluate"] |= {"bootstrap_samples": 60, "net_benefit": RANGES}
    here["audit_fairness"] |= {"bootstrap_samples": 60, "groups": ["sex", "race"]}
    return here


def run_stage(name: str, changes: dict | None = None) -> tuple[int, str]:
    """In the current folder; the exit code and the line of an error."""
    write_params(Path("."), params(changes))
    try:
        run(importlib.import_module(f"stages.{name}").main)
    except SystemExit as end:
        return (1, end.code) if isinstance(end.code, str) else (end.code or 0, "")
    return 0, ""


def write_notes(path: Path, rows: list[dict]) -> None:
    metadata = {"task": "single_label", "data_use": DATA_USE, "classes": CLASSES}
    with note_writer(path, metadata) as writer:
        writer.write(
            {"note_id": row["note_id"], "patient_id": row["patient_id"], "source": "toy", "labels": row["labels"],
             "text": f"{CANARY} <b>of</b> {row['note_id']} has fever", "sex": "F" if k % 2 else "M", "race": "White" if k % 3 else "<i>Black"}
            for k, row in enumerate(rows)
        )  # fmt: skip


def write_explanations(folder: Path, rows: list[dict]) -> None:
    """Two notes of the shard, by two methods, in explain's columns."""
    table = [
        {"note_id": row["note_id"], "shard": row["shard"], "chosen": "hash", "method": method, "class": CLASSES[0], "likeliest": True,
         "probability": 0.5, "words": [CANARY, "has"], "texts": [0, 0], "starts": [0, 14], "ends": [len(CANARY), 17],
         "scores": [0.9, -0.3], "unread_words": 0}
        for row in rows[:2]
        for method in ("attention", "integrated_gradients")
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(table), folder / "data/explanations.parquet")
    write_json(
        folder / "data/explanations.json",
        {"top_terms": {"gout": [{"term": "tophus", "attribution": 0.5}], "asthma": []}},
    )


def make(
    folder: Path, *, single: bool = True, shards: tuple = ("validation", "calibration", "test"), public: bool = True
) -> None:
    """Artefacts as the stages leave them: calibrate, evaluate and audit_fairness run, the others' small files are written."""
    rows, baseline = [], []
    for number, name in enumerate(shards):
        shard = random_shard(120, single=single, patients=80, seed=number)
        chance = np.clip(shard.probabilities, 0.001, 0.999)
        logits = np.log(chance) if single else np.log(chance / (1 - chance))
        own = [
            row | {"logits": own.astype(np.float32)}
            for row, own in zip(prediction_rows(shard, name, "model"), logits, strict=True)
        ]
        prior = np.tile([0.4, 0.3, 0.2, 0.1], (120, 1)).astype(np.float32)
        for other in ("majority", "tfidf_logreg", "keywords", "previous_admission"):
            baseline += [
                {**row, "model": other, "logits": None, "probabilities": p} for row, p in zip(own, prior, strict=True)
            ]
        write_notes(folder / f"data/split/{name}.parquet", own)
        rows += own
    terms = DATA_USE | {"public": public}
    (folder / "data").mkdir(exist_ok=True)
    write_predictions(folder / "data/predictions.parquet", rows, single=single)
    write_predictions(folder / "data/baseline.parquet", baseline, single=single)
    table = pq.read_table(folder / "data/predictions.parquet")
    metadata = table.schema.metadata | {b"data_use": json.dumps(terms).encode()}
    pq.write_table(table.replace_schema_metadata(metadata), folder / "data/predictions.parquet")
    for name in ("validation", "test"):
        if not (folder / f"data/split/{name}.parquet").exists():
            write_notes(folder / f"data/split/{name}.parquet", [])
    for name in ("calibrate", "evaluate", "audit_fairness"):
        code, line = run_stage(name)
        assert code == 0, line
    looked_at = [row for row in rows if row["shard"] == shards[-1]]
    write_explanations(folder, looked_at)
    write_json(folder / "data/titles.json", {label: [f"{label} | <script>alert(1)</script>"] for label in CLASSES[:2]})
    write_json(folder / "models/finetuned/diagnosis.json", {
        "classes": CLASSES, "task": "single_label", "max_tokens": 256, "long_notes": "head", "pooling": "mean", "base_sha256": "ab12",
        "preprocessing": {"clean": {"visible_at": "admission"}, "deidentify": {"profile": "shifted"}},
    })  # fmt: skip
    (folder / "models/finetuned/model.safetensors").write_bytes(b"weights")
    write_json(
        folder / "metrics/ingest.json",
        {
            "notes": 500,
            "notes_read": 512,
            "patients": 240,
            "classes": 4,
            "skipped": {"no_text": 12},
            "task": "single_label",
        },
    )
    write_json(folder / "metrics/split.json", {"crossings": {"patients": 0}, "shards": {
        name: {"notes": 120, "patients": 80, "classes": {label: 30 for label in CLASSES}} for name in ("train", "validation", "calibration", "test")
    }})  # fmt: skip
    faith = INTERVAL | {"random": 0.0625, "verdict": "no better than random", "notes": 12}
    write_json(folder / "metrics/explain.json", {
        "notes": 12, "patients": 10,
        "methods": {"integrated_gradients": {"comprehensiveness": faith, "sufficiency": faith, "plausibility": None, "diagnostic": False}},
    })  # fmt: skip
    write_json(folder / "metrics/probe.json", {shards[-1]: {
        "probes": {"section_order": {"n": 40, "n_patients": 37, "flips": INTERVAL, "verdict": "moves"}},
        "vignettes": {"accuracy": INTERVAL, "n": 24}, "out_of_distribution": {},
    }})  # fmt: skip


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make(folder)
        assert run_stage("report") == (0, "")
    return folder


@pytest.fixture
def made(template, tmp_path, monkeypatch) -> Path:
    """A copy of the artefacts and reports to run in."""
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Page(HTMLParser):
    """A page as its elements, in order: tag, attributes, the text within."""

    VOID = {"meta", "link", "br", "img", "input", "hr"}

    def __init__(self, text: str):
        super().__init__()
        self.elements, self.open, self.loose = [], [], []
        self.feed(text)
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        element = {"tag": tag, "attributes": dict(attributes), "text": "", "in": [each["tag"] for each in self.open]}
        self.elements.append(element)
        if tag not in self.VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop()["tag"] == tag

    def handle_data(self, text):
        for element in self.open:
            element["text"] += text
        if not {"data", "style", "title", "code", "text"} & {each["tag"] for each in self.open}:
            self.loose.append(text)

    def all(self, tag: str) -> list[dict]:
        return [element for element in self.elements if element["tag"] == tag]


def page(folder: Path, name: str = "index.html") -> Page:
    return Page((folder / "reports" / name).read_text("utf-8"))


def value_at(folder: Path, where: str):
    """The value that `data-from` points to, found in the file without the code under test."""
    file, _, pointer = where.partition("#")
    keys = [key.replace("~1", "/").replace("~0", "~") for key in pointer.split("/")[1:]]
    if file == "params.yaml":
        value = params()
    elif file.endswith(".json"):
        value = json.loads((folder / file).read_text())
    elif file.endswith("confusion.csv"):
        with open(folder / file) as stream:
            return Counter((row["actual"], row["predicted"]) for row in csv.DictReader(stream))[tuple(keys)]
    elif file.endswith(".csv"):
        with open(folder / file) as stream:
            return float(list(csv.DictReader(stream))[int(keys[0])][keys[1]])
    else:
        assert (file, keys[0]) == ("data/predictions.parquet", "worst")
        (row,) = [
            r for r in pq.read_table(folder / file).to_pylist() if (r["note_id"], r["model"]) == (keys[1], "model")
        ]
        truth = np.array([label in row["labels"] for label in CLASSES])
        chance = np.array(row["probabilities"], dtype=float)
        if keys[2] == "distance":
            return round(float(np.abs(truth - chance).max()), 4)
        chosen = np.flatnonzero(truth) if keys[2] == "truth" else [int(chance.argmax())]
        return round(float(chance[chosen[int(keys[3])]]), 4)
    for key in keys:
        value = value[int(key) if isinstance(value, list) else key]
    return value


def test_every_number_of_the_page_is_one_of_the_artefacts(template):
    found = page(template)
    numbers = found.all("data")
    assert len(numbers) > 300
    files = {element["attributes"]["data-from"].partition("#")[0] for element in numbers}
    assert files >= {
        "metrics/evaluate.json",
        "metrics/audit_fairness.json",
        "metrics/explain.json",
        "metrics/probe.json",
        "data/predictions.parquet",
    }
    for element in numbers:
        where, text = element["attributes"]["data-from"], element["text"]
        value = json.loads(element["attributes"]["value"])
        assert value == value_at(template, where), where
        if isinstance(value, str):
            assert text == value
            continue
        told = float(text.lstrip(">").replace("−", "-").replace("+", "").replace(",", ""))
        assert not text.startswith(">") or told < value < 1, where
        unit = 10.0 ** -len(text.partition(".")[2])
        assert any(
            abs(scale * value - told) <= (unit if text.startswith(">") else unit / 2) + 1e-9 for scale in (1, 100)
        ), (where, value, text)


def test_no_number_stands_beside_them(template):
    """What is left when the numbers with a source are taken out: fixed words, and what params, titles and ids say."""
    found = page(template)
    said = " ".join(str(value) for value in [*params()["report"].values(), DATA_USE["licence"]])
    said += " ".join(found.elements[k]["text"] for k, e in enumerate(found.elements) if e["tag"] == "code")
    allowed = {"95", "100", "0", "1", "0.5", str(len(CLASSES))}
    loose = " ".join(found.loose)
    loose = re.sub(r"\b(test|validation)-n\d+|alert\(1\)|SHA-256", "", loose)
    worst_errors = str(params()["report"]["worst_errors"])
    files = re.search(r"The (\d+) files", loose)[1]
    for number in re.findall(r"\d[\d.,]*\d|\d", loose):
        assert number in allowed | {worst_errors, files} or number in said, number


def test_the_page_asks_for_nothing_outside(template):
    for name in ("index.html", "with_text.html"):
        text = (template / "reports" / name).read_text()
        found = Page(text)
        assert not [
            e for e in found.elements if e["tag"] in ("script", "link", "iframe", "img", "object", "form", "base")
        ]
        for element in found.elements:
            for attribute in ("src", "href", "action", "data", "srcset", "xlink:href"):
                assert element["attributes"].get(attribute, "#").startswith("#")
            assert not [key for key in element["attributes"] if key.startswith("on")]
        assert "url(" not in text and "@import" not in text and "http" not in re.sub("http-equiv", "", text)
        (policy,) = [m["attributes"]["content"] for m in found.all("meta") if "http-equiv" in m["attributes"]]
        assert policy.startswith("default-src 'none'")


def test_note_text_only_in_the_page_that_stays(template):
    for name in TRACKED:
        text = (template / "reports" / name).read_text()
        assert CANARY not in text and "tophus" not in text
    text = (template / "reports/with_text.html").read_text()
    assert f"{CANARY} &lt;b&gt;of&lt;/b&gt;" in text and "tophus" in text, "escaped, and there"
    assert f'<mark style="--weight:1.00">{CANARY}</mark>' in text and 'class="against"' in text


def test_ids_leave_only_where_notes_are_public(made):
    assert re.search(r"test-n\d{5}", (made / "reports/index.html").read_text())
    table = pq.read_table("data/predictions.parquet")
    terms = json.dumps(DATA_USE | {"public": False}).encode()
    pq.write_table(
        table.replace_schema_metadata(table.schema.metadata | {b"data_use": terms}), "data/predictions.parquet"
    )
    assert run_stage("report") == (0, "")
    for name in TRACKED:
        assert not re.search(r"test-n\d{5}", (made / "reports" / name).read_text()), name
    assert re.search(r"test-n\d{5}", (made / "reports/with_text.html").read_text())


def test_the_same_bytes_twice(made):
    before = {name: sha256(made / "reports" / name) for name in FILES}
    assert run_stage("report") == (0, "")
    assert {name: sha256(made / "reports" / name) for name in FILES} == before
    assert not [path for path in (made / "reports").iterdir() if path.name not in FILES], "nothing half-written stays"


@pytest.mark.parametrize("single", [True, False], ids=["single_label", "multi_label"])
def test_a_withheld_test_is_said(folder, single):
    make(folder, single=single, shards=("validation", "calibration"))
    assert run_stage("report") == (0, "")
    text = (folder / "reports/index.html").read_text()
    assert "The test notes were withheld" in text and "#/test/" not in text.replace("shards/test", "")
    assert "test notes were withheld" in (folder / "reports/model_card.md").read_text()
    assert "validation notes" in (folder / "reports/tripod_ai.md").read_text()
    if not single:
        assert "names exactly the right diagnoses" in text


def test_what_was_not_measured_says_so_and_draws_nothing(made):
    full = page(made)
    for path in (made / "metrics").iterdir():
        if path.name != "evaluate.json":
            path.unlink()
    scores = read_json(made / "metrics/evaluate.json")
    for shard in scores.values():
        for key in (
            "net_benefit",
            "selective",
            "conformal",
            "operating_points",
            "calibration",
            "calibrated",
            "label_noise",
        ):
            shard.pop(key, None)
    write_json(made / "metrics/evaluate.json", scores)
    for name in ("confusion", "reliability", "risk_coverage"):
        (made / f"plots/evaluate/{name}.csv").unlink()
    assert run_stage("report") == (0, "")
    found = page(made)
    blocks = [e["text"] for e in found.all("div") if "missing" in e["attributes"].get("class", "").split()]
    assert len(blocks) >= 9 and all(block.strip().startswith("Not measured.") for block in blocks)
    charts = [e for e in found.all("svg") if e["attributes"].get("class") == "chart"]
    assert not charts and len([e for e in full.all("svg") if e["attributes"].get("class") == "chart"]) == 4
    assert "**NOT MEASURED**" in (made / "reports/model_card.md").read_text()
    checklist = (made / "reports/tripod_ai.md").read_text()
    assert checklist.count("*not measured in this run*") > 15 and "metrics/split.json: no such file" in checklist


@pytest.mark.parametrize("value", [None, "  "], ids=["null", "blank"])
@pytest.mark.parametrize("name", ["misuse", "owner", "consent", "ethics_approval"])
def test_what_nobody_stated_stands_out(made, capsys, name, value):
    assert run_stage("report", {name: value}) == (0, "")
    (alert,) = [e for e in page(made).all("div") if e["attributes"].get("role") == "alert"]
    assert "NOT STATED" in alert["text"] and name.replace("_", " ") in alert["text"]
    assert f"report.{name}" in capsys.readouterr().out
    assert f"| **NOT STATED** | you, params.yaml `report.{name}`" in (made / "reports/model_card.md").read_text()
    if name in ("misuse", "consent", "ethics_approval"):
        assert (
            "**NOT STATED**"
            in (made / "reports/tripod_ai.md")
            .read_text()
            .split("| 17 |" if name != "misuse" else "| 27b |")[1]
            .split("\n")[0]
        )


def test_all_stated_is_no_alarm(template):
    assert not [e for e in page(template).all("div") if e["attributes"].get("role") == "alert"]


def tables(text: str) -> list[list[list[str]]]:
    """The Markdown tables of a text, each a list of rows of cells."""
    found = []
    for block in re.split(r"\n(?!\|)", text):
        rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in block.split("\n") if line.startswith("|")]
        if rows:
            found.append([[part.strip() for part in row] for row in rows])
    return found


@pytest.mark.parametrize("name", ["model_card.md", "tripod_ai.md"])
def test_each_cell_has_its_source(template, name):
    hashes = {path.relative_to(template).as_posix(): md5_of(path) for path in template.rglob("*") if path.is_file()}
    hashes["models/finetuned"] = md5_of(template / "models/finetuned")
    found = tables((template / "reports" / name).read_text())
    for table in found:
        assert len({len(row) for row in table}) == 1, "a bar in a value would make a column"
        assert table[0][-1] == "source"
        for row in table[2:]:
            if row[-1] == "–":
                assert "for the authors to write" in row[3]
            for source in filter(None, row[-1].replace("–", "").split("; ")):
                if source.startswith("you, params.yaml"):
                    assert re.fullmatch(r"you, params.yaml `[\w.]+`, `[0-9a-f]{8}`", source)
                elif not source.endswith("no such file"):
                    _, file, digits = source.split(", ")
                    assert hashes[file].startswith(digits.strip("`"))
    assert "<script>" not in (template / "reports" / name).read_text()


def test_the_cards_metadata_is_what_huggingface_reads(template):
    card = ModelCard((template / "reports/model_card.md").read_text())
    scores = read_json(template / "metrics/evaluate.json")["test"]["model"]
    told = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert told == {"accuracy": scores["accuracy"], "f1": scores["macro_f1"], "roc_auc": scores["macro_auroc"],
                    "recall": scores["sensitivity"], "precision": scores["ppv"]}  # fmt: skip
    assert {result.dataset_split for result in card.data.eval_results} == {"test"}
    assert card.data.datasets == ["toy"] and card.data.pipeline_tag == "text-classification"
    assert "license" not in card.data.to_dict(), "nobody stated one"


def test_the_checklist_has_the_statements_items(template):
    (table,) = tables((template / "reports/tripod_ai.md").read_text())
    parts = {
        3: "abc",
        5: "ab",
        6: "abc",
        8: "abc",
        9: "abc",
        12: "abcdefg",
        18: "abcdef",
        20: "abc",
        23: "ab",
        27: "abc",
    }
    expected = [f"{item}{part}" for item in range(1, 28) for part in parts.get(item, [""])]
    assert [row[0] for row in table[2:]] == expected and len(expected) == 52


def test_headings_tables_and_charts_can_be_followed_without_eyes(template):
    found = page(template, "with_text.html")
    levels = [int(e["tag"][1]) for e in found.elements if re.fullmatch(r"h[1-6]", e["tag"])]
    assert levels[0] == 1 and levels.count(1) == 1 and all(b <= a + 1 for a, b in zip(levels, levels[1:], strict=False))
    ids = [e["attributes"]["id"] for e in found.elements if "id" in e["attributes"]]
    assert len(ids) == len(set(ids))
    assert {a["attributes"]["href"][1:] for a in found.all("a")} <= set(ids)
    assert all(e["attributes"]["aria-labelledby"] in ids for e in found.all("section"))
    assert len(found.all("caption")) == len(found.all("table"))
    assert all("scope" in e["attributes"] for e in found.all("th"))
    for svg in found.all("svg"):
        assert svg["attributes"].get("aria-hidden") == "true" or (
            svg["attributes"]["role"] == "img" and svg["attributes"]["aria-label"]
        )
    assert all(
        e["attributes"].get("tabindex") == "0" for e in found.all("div") if e["attributes"].get("class") == "scroll"
    )
    assert found.all("html")[0]["attributes"]["lang"] == "en"


def test_colours_can_be_told_apart_from_their_ground():
    """WCAG 2.1's contrast ratio, 4.5 for text, in light and dark."""

    def luminance(colour):
        parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
        parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    def contrast(one, other):
        low, high = sorted((luminance(one), luminance(other)))
        return (high + 0.05) / (low + 0.05)

    def mixed(colour, ground, share):
        parts = [(int(colour[k : k + 2], 16), int(ground[k : k + 2], 16)) for k in (1, 3, 5)]
        return "#" + "".join(f"{round(share * a + (1 - share) * b):02x}" for a, b in parts)

    style = (TEMPLATES / "style.css").read_text()
    blocks = re.findall(r":root \{(.*?)\}", style, flags=re.S)[:2]
    assert ["--ink" in block for block in blocks] == [True, True]
    for block in blocks:
        theme, mix = dict(re.findall(r"--([\w-]+): (#\w{6})", block)), int(re.search(r"--mix: (\d+)%", block)[1]) / 100
        for ground in ("paper", "sheet"):
            for ink in ("ink", "soft", "first", "second", "bad", "open", "good"):
                assert contrast(theme[ink], theme[ground]) >= 4.5, (ink, ground)
        assert contrast(theme["bad"], theme["bad-paper"]) >= 4.5
        for colour in ("first", "second"):  # the fullest cell of the confusion, the strongest marked word
            assert contrast(theme["ink"], mixed(theme[colour], theme["sheet"], mix)) >= 4.5, colour


# ---- by hand


def test_worst_errors_by_hand():
    truth = np.eye(3, dtype=bool)[[0, 1, 2, 0]]
    chance = np.array([[0.2, 0.7, 0.1], [0.1, 0.6, 0.3], [0.05, 0.9, 0.05], [0.0, 0.0, 1.0]])
    shard = Shard(np.array(["a", "b", "c", "d"], dtype=object), np.arange(4), truth, chance, np.zeros(4, bool), True)
    found = worst(shard, ["x", "y", "z"], 2)
    assert list(found) == ["d", "c"], "b is right, and a is off by 0.8 only"
    assert found["c"] == {
        "truth": [{"label": "z", "probability": 0.05}],
        "decided": [{"label": "y", "probability": 0.9}],
        "distance": 0.95,
    }
    assert worst(shard, ["x", "y", "z"], 0) == {}


def test_words_marked_by_hand():
    row = {"texts": [0, 0, 1], "starts": [0, 6, 0], "ends": [5, 9, 2], "scores": [-0.5, 0.05, 1.0]}
    assert marked(["fever & <b>", "no"], row) == [
        '<mark class="against" style="--weight:0.50">fever</mark> &amp; &lt;b&gt;',
        '<mark style="--weight:1.00">no</mark>',
    ]
    assert marked(["none"], row | {"texts": [], "starts": [], "ends": [], "scores": []}) == ["none"]


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [(0.734, "percent", "73"), (-0.056, "points", "−6"), (1177, "count", "1,177"), (-0.001, "signed", "0.00"), ("<11", "count", "<11"), (None, "count", "–"), (0.5, "signed", "+0.50")],
    ids=["percent", "points", "count", "no_minus_zero", "hidden", "undefined", "plus"],
)  # fmt: skip
def test_numbers_as_they_are_shown(value, form, text):
    assert shown(Found("f", (), value), form) == text


def test_what_is_nowhere_is_nothing():
    nothing = Found("metrics/x.json")["test"]["a/b"]
    assert not nothing and nothing.where == "metrics/x.json#/test/a~1b" and nothing.each() == []
    assert cell("a|b\n<c>") == "a\\|b &lt;c&gt;"


def test_ticks_hold_the_range():
    assert ticks_of(0.05, 0.3) == [0.05, 0.1, 0.15, 0.2, 0.25, 0.3]
    assert ticks_of(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]


def test_hashes_are_dvcs(tmp_path):
    (tmp_path / "folder/b").mkdir(parents=True)
    (tmp_path / "folder/b/x").write_text("one")
    (tmp_path / "folder/a").write_text("two")
    run_in(tmp_path, "dvc", "init", "--no-scm", "-q")
    run_in(tmp_path, "dvc", "add", "-q", "folder")
    assert f"md5: {md5_of(tmp_path / 'folder')}" in (tmp_path / "folder.dvc").read_text()
    assert md5_of(tmp_path / "folder/a") == hashlib.md5(b"two").hexdigest()


# ---- what users break


@pytest.mark.parametrize(
    ("broken", "line"),
    [
        ("data/predictions.parquet", "error: data/predictions.parquet does not exist: run `dvc repro`, or check the path"),
        ("data/calibrated.parquet", "error: data/calibrated.parquet does not exist: run `dvc repro`, or check the path"),
        ("data/explanations.parquet", "error: data/explanations.parquet does not exist: run `dvc repro`, or check the path"),
        ("metrics/evaluate.json", "error: metrics/evaluate.json scores neither test nor validation: run `dvc repro evaluate`"),
        ("models/finetuned/diagnosis.json", "error: models/finetuned/diagnosis.json does not exist: run `dvc repro`, or check the path"),
    ],
)  # fmt: skip
def test_a_missing_artefact_is_one_line_and_leaves_the_reports(made, broken, line):
    before = sha256(made / "reports")
    (made / broken).unlink()
    assert run_stage("report") == (1, line)
    assert sha256(made / "reports") == before


def test_broken_metrics_are_one_line(made):
    (made / "metrics/probe.json").write_text("{")
    assert run_stage("report") == (1, "error: metrics/probe.json is not valid JSON: write it again")


# ---- in a browser


@pytest.fixture(scope="module")
def browser():
    selenium = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("no Chromium with its chromedriver on this machine")
    options = selenium.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    opened = selenium.Chrome(options=options, service=selenium.ChromeService(driver))
    yield opened
    opened.quit()


def wide(browser, width: int) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", ["index.html", "with_text.html"])
def test_clicked_through_in_a_browser(browser, template, name, width):
    wide(browser, width)
    browser.get((template / "reports" / name).as_uri())
    browser.execute_script("document.documentElement.style.scrollBehavior = 'auto'")
    for details in browser.find_elements("tag name", "details"):
        was = details.get_attribute("open")
        summary = details.find_element("tag name", "summary")
        browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", summary)
        summary.click()
        assert details.get_attribute("open") != was
    links = browser.find_elements("css selector", "nav a")
    assert len(links) == 14
    for link in links:
        browser.execute_script("window.scrollTo(0, 0)")
        link.click()
        section = link.get_attribute("href").rpartition("#")[2]
        top = browser.execute_script(
            "return document.getElementById(arguments[0]).getBoundingClientRect().top", section
        )
        end = browser.execute_script("return scrollY + innerHeight >= document.documentElement.scrollHeight - 2")
        assert -2 <= top <= 60 or end, section
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width, "nothing sticks out"
    assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0
    asked = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [m["params"]["request"]["url"] for m in asked if m["method"] == "Network.requestWillBeSent"]
    assert all(url.startswith(("file:", "data:", "chrome")) for url in urls)
    assert browser.get_log("browser") == [], "the policy forbids nothing that the page has"


def test_keys_dark_and_paper(browser, template):
    wide(browser, 1280)
    browser.get((template / "reports/index.html").as_uri())
    browser.execute_cdp_cmd(
        "Emulation.setFocusEmulationEnabled", {"enabled": True}
    )  # else a busy machine's window has none
    press = {"key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9}
    for kind in ("keyDown", "keyUp"):
        browser.execute_cdp_cmd("Input.dispatchKeyEvent", {"type": kind, **press})
    assert browser.execute_script("return document.activeElement.className") == "skip", (
        "the first key leads past the contents"
    )
    ground = "return getComputedStyle(document.body).backgroundColor"
    light = browser.execute_script(ground)
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    )
    assert browser.execute_script(ground) != light
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": []})
    assert browser.execute_script("return getComputedStyle(document.querySelector('nav')).display") == "none"
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
    paper = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {})["data"])
    assert paper.startswith(b"%PDF")
