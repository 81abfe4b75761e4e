"""The readers of literature: real files and what the data's README says of them, invented ones for each trap, hostile XML, fuzz."""

import csv
import gzip
import html
import io
import json
import re
import shutil
import tracemalloc
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import ROOT, SHARED_DATA, needs_shared_data
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diagnosis.corpora.corpus import Tally
from diagnosis.corpora.mesh import disease_categories
from diagnosis.corpora.pmc import licence
from diagnosis.corpora.readers import open_corpus
from diagnosis.corpora.xml_records import xml_records, xml_text
from diagnosis.errors import UserError
from diagnosis.notes import SCHEMA, read_metadata

NOTES, METRICS = Path("data/notes.parquet"), Path("metrics/ingest.json")
CANARY = "zanzibarweed"
QA, LITERATURE = SHARED_DATA / "pubmedqa", SHARED_DATA / "literature"


def read(corpus: str, path: Path) -> tuple[list[dict], dict]:
    """(rows, what was skipped), as ingest reads them: twice the same, unique ids, and fit for the note table."""
    opened = open_corpus(SimpleNamespace(corpus=corpus, path=Path(path), conflicts="first"))
    tally = Tally()
    rows = list(opened.rows(tally))
    assert rows == list(opened.rows(Tally()))
    assert len({row["note_id"] for row in rows}) == len(rows)
    pa.RecordBatch.from_pylist(rows, schema=SCHEMA)
    assert all(row["text"].strip() and row["labels"] == sorted(set(row["labels"])) for row in rows)
    assert not (opened.unlabelled and any(row["labels"] for row in rows))
    return rows, dict(tally.skipped)


def refused(corpus: str, path: Path, *parts: str) -> None:
    with pytest.raises(UserError) as error:
        read(corpus, path)
    line = str(error.value)
    assert "\n" not in line and CANARY not in line, line
    for part in parts:
        assert part in line, line


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


# ---------------------------------------------------------------- PubMedQA


@needs_shared_data
def test_pubmedqa_real():
    rows, skipped = read("pubmedqa", QA)
    assert skipped == {} and len(rows) == 1_000
    assert Counter(row["labels"][0] for row in rows) == {"yes": 552, "no": 338, "maybe": 110}
    test = {row["note_id"]: row["labels"][0] for row in rows if row["split"] == "test"}
    assert Counter(test.values()) == {"yes": 276, "no": 169, "maybe": 55}
    assert test == {
        f"pubmedqa-{pmid}": answer for pmid, answer in json.loads((QA / "test_ground_truth.json").read_text()).items()
    }
    assert Counter(row["split"] for row in rows) == {"train": 500, "test": 500}
    assert max(len(row["text"].split()) for row in rows) == 31
    source = json.loads((QA / "ori_pqal.json").read_text())
    for row in rows:
        item = source[row["note_id"].removeprefix("pubmedqa-")]
        assert row["text"] == item["QUESTION"] and row["text_pair"].split("\n") == "\n".join(item["CONTEXTS"]).split(
            "\n"
        )
        assert item["LONG_ANSWER"] not in row["text_pair"] and row["period"] == item["YEAR"]
    assert {key for row in rows for key in row} <= set(SCHEMA.names)


def pubmedqa(folder: Path, changes: dict | None = None, truth: dict | None = None) -> Path:
    items = {
        str(number): {
            "QUESTION": f"Is {CANARY} {number} a drug?",
            "CONTEXTS": [f"It was given to {number} people.", "They felt better."],
            "LABELS": ["planted", "planted"],
            "MESHES": ["planted"],
            "YEAR": "2011",
            "reasoning_required_pred": "planted",
            "reasoning_free_pred": "planted",
            "final_decision": answer,
            "LONG_ANSWER": "planted",
        }
        for number, answer in enumerate(["yes", "no", "maybe", "yes"] * 3)
    }
    items["1"] |= changes or {}
    write(folder / "ori_pqal.json", json.dumps(items))
    write(folder / "test_ground_truth.json", json.dumps({"0": "yes", "1": "no"} if truth is None else truth))
    return folder


def test_pubmedqa_through_the_stage_and_no_answer_in_it(stage):
    pubmedqa(Path("raw"))
    assert stage("ingest", {"corpus": "pubmedqa", "path": "raw"}) == (0, "")
    rows = pq.read_table(NOTES).to_pylist()
    assert rows[0]["text"] == f"Is {CANARY} 0 a drug?"
    assert rows[0]["text_pair"] == "It was given to 0 people.\nThey felt better."
    assert "planted" not in json.dumps(rows)
    meta = read_metadata(NOTES)
    assert (meta["task"], meta["text_pair"], meta["official_split"]) == ("single_label", True, True)


@pytest.mark.parametrize(
    ("changes", "truth", "parts"),
    [
        ({"final_decision": "yes"}, None, ["record 2", "final_decision is not that of", "one release"]),
        ({}, {"99": "yes"}, ["1 of its PMIDs are not in"]),
        ({}, {"1": "No"}, ["record 2", "is not that of"]),
        ({"final_decision": "perhaps"}, None, ["record 2", "not yes, no or maybe"]),
        ({"final_decision": ["yes"]}, None, ["record 2", "not yes, no or maybe"]),
        ({"CONTEXTS": "one"}, None, ["record 2", "CONTEXTS are not a list"]),
        ({"CONTEXTS": [{}]}, None, ["record 2", "one value"]),
        ({"QUESTION": "\ud800"}, None, ["record 2", "surrogate"]),
        ({}, ["1"], ["test_ground_truth.json", "not a JSON object keyed by PMID"]),
    ],
    ids=["disagree", "unknown_pmid", "other_case", "no_answer", "list", "contexts", "context", "surrogate", "truth"],
)  # fmt: skip
def test_pubmedqa_refuses(tmp_path, changes, truth, parts):
    refused("pubmedqa", pubmedqa(tmp_path, changes, truth), *parts)


def test_pubmedqa_files(tmp_path):
    refused("pubmedqa", tmp_path / "nowhere", "does not exist")
    refused("pubmedqa", pubmedqa(tmp_path) / "ori_pqal.json", "is a file")
    (tmp_path / "test_ground_truth.json").unlink()
    refused("pubmedqa", tmp_path, "test_ground_truth.json does not exist")
    write(tmp_path / "ori_pqal.json", "[]")
    refused("pubmedqa", tmp_path, "ori_pqal.json is not a JSON object")
    _, skipped = read("pubmedqa", pubmedqa(tmp_path, {"CONTEXTS": [" "]}))
    assert skipped == {"no_text": 1}


# ---------------------------------------------------------------- PubMed


@needs_shared_data
def test_pubmed_real_counts():
    """19 and 1 articles, all with an abstract, 16 and 1 of them structured."""
    for name, articles, structured in (("pubmed_sample.xml", 19, 16), ("pubmed-29768149.xml", 1, 1)):
        file = LITERATURE / "pubmed" / name
        rows, skipped = read("pubmed", file)
        assert (len(rows), skipped) == (articles, {}) == (len(re.findall("<PubmedArticle>", file.read_text())), {})
        parts = [len(row["text"].split("\n")) - 1 for row in rows]  # a line a part, after the title
        assert sum(count > 1 for count in parts) == structured
        assert sum(parts) == len(re.findall("<AbstractText", file.read_text()))
    rows, skipped = read("pubmed", LITERATURE / "pubmed")
    assert len(rows) == 20 and skipped == {}


@needs_shared_data
@pytest.mark.parametrize("name", ["pubmed_sample.xml", "pubmed-29768149.xml"])
def test_pubmed_text_is_that_of_the_file_by_regular_expressions(name):
    """Titles and parts cut out of the file's characters: nothing lost, nothing added, markup or not."""
    written = (LITERATURE / "pubmed" / name).read_text()
    for block, row in zip(
        written.split("<PubmedArticle>")[1:], read("pubmed", LITERATURE / "pubmed" / name)[0], strict=True
    ):
        (title,) = re.findall(r"<ArticleTitle>(.*?)</ArticleTitle>", block, re.S)
        parts = re.findall(r"<AbstractText([^>]*)>(.*?)</AbstractText>", block, re.S)
        labels = [re.search('Label="([^"]*)"', attributes) for attributes, _ in parts]
        expected = [title] + [
            (f"{label[1]}: " if label else "") + text for label, (_, text) in zip(labels, parts, strict=True)
        ]
        plain = [html.unescape(re.sub("<[^>]*>", "", text)) for text in expected]
        assert re.sub(r"[ \t\n]+", "", row["text"]) == re.sub(r"[ \t\n]+", "", "".join(plain))


@needs_shared_data
def test_pubmed_inline_markup_is_whole():
    (row,) = read("pubmed", LITERATURE / "pubmed" / "pubmed-29768149.xml")[0]
    assert "fast-acting β 2-agonist may be an alternative to conventional treatment strategies." in row["text"]
    element = ElementTree.fromstring((LITERATURE / "pubmed" / "pubmed-29768149.xml").read_bytes()).find(
        ".//AbstractText"
    )
    assert element.text.strip().endswith("β"), "what .text alone would keep"
    assert row["period"] == "2018"


TREE = """Neoplasms;C04
Prostatic Neoplasms;C04.588.945.440.770
Prostatic Neoplasms;C12.294.565.625
Male Urogenital Diseases;C12
Rectal Neoplasms;C04.588.274.476.411.307.790
Melanoma;C04.557.465.625.650.510
Respiratory Tract Diseases;C08
Asthma;C08.127.108
Humans;B01.050.150.900.649
Aged;M01.060.116.100
"""


@needs_shared_data
def test_pubmed_mesh_on_the_real_files(tmp_path):
    """18 of the 19 are indexed; labels by hand for the descriptors that the small tree knows."""
    for name in ("pubmed_sample.xml", "pubmed-29768149.xml"):
        write(tmp_path / name, (LITERATURE / "pubmed" / name).read_bytes())
    write(tmp_path / "mtrees2014.bin", TREE)
    rows, skipped = read("pubmed", tmp_path)
    assert len(rows) == 19 and skipped["no_mesh"] == 1
    labels = {row["note_id"]: row["labels"] for row in rows if row["labels"]}
    assert labels == {
        "pubmed-29768149": ["C08 Respiratory Tract Diseases"],
        "pubmed-22426260": ["C04 Neoplasms"],
        "pubmed-22235286": ["C04 Neoplasms"],
        "pubmed-22020835": ["C04 Neoplasms", "C12 Male Urogenital Diseases"],
    }
    found = re.findall("<DescriptorName[^>]*>([^<]*)<", "".join(file.read_text() for file in tmp_path.glob("*.xml")))
    known = {line.partition(";")[0] for line in TREE.splitlines()}
    assert skipped["unknown_mesh_descriptors"] == sum(html.unescape(name) not in known for name in found)


def article(
    pmid, title="A title", abstract="<AbstractText>About something.</AbstractText>", mesh="", version=1, more=""
):
    return (
        f'<PubmedArticle><MedlineCitation Status="MEDLINE"><PMID Version="{version}">{pmid}</PMID><Article><Journal><JournalIssue>'
        f"<PubDate><MedlineDate>2012 Jan-Feb</MedlineDate></PubDate></JournalIssue></Journal><ArticleTitle>{title}</ArticleTitle>"
        f"<Abstract>{abstract}</Abstract>{more}</Article>{mesh}<CommentsCorrectionsList><CommentsCorrections><PMID>99</PMID>"
        "</CommentsCorrections></CommentsCorrectionsList></MedlineCitation></PubmedArticle>"
    )


def descriptor(name: str, ui: str = "") -> str:
    ui = f' UI="{ui}"' if ui else ""
    return f'<MeshHeadingList><MeshHeading><DescriptorName MajorTopicYN="N"{ui}>{name}</DescriptorName></MeshHeading></MeshHeadingList>'


DOCTYPE = '<!DOCTYPE PubmedArticleSet PUBLIC "-//NLM//DTD PubMedArticle//EN" "file:///etc/passwd">'


def pubmed(*records: str, doctype: str = DOCTYPE) -> str:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n{doctype}\n<PubmedArticleSet>{"".join(records)}</PubmedArticleSet>\n'
    )


def test_pubmed_markup_labels_and_characters(tmp_path):
    abstract = (
        '<AbstractText Label="AIM">Is <i>M. <b>tb</b></i>\n  at 5&#xA0;&#215;&#160;10<sup>9</sup>/L&nbsp;&lt; TiO<sub>2</sub>&beta;?</AbstractText>'
        "<AbstractText Label=''>10<sup>-3</sup> mol, x<sup>2</sup>, 25<sup>th</sup></AbstractText><AbstractText Label='EMPTY'/>"
        "<AbstractText Label='END'><![CDATA[p < 0.05 & so on]]><!-- not this --><?nor this?></AbstractText>"
        "<CopyrightInformation>planted</CopyrightInformation>"
    )
    write(
        tmp_path / "a.xml",
        pubmed(article(1, "<i>In vivo</i> study", abstract, more="<VernacularTitle>planted</VernacularTitle>")),
    )
    (row,) = read("pubmed", tmp_path)[0]
    assert row["text"].split("\n") == [
        "In vivo study",
        "AIM: Is M. tb at 5\xa0×\xa010^9/L\xa0< TiO2β?",
        "10^-3 mol, x2, 25th",
        "END: p < 0.05 & so on",
    ]
    assert row["period"] == "2012"


def test_pubmed_versions_deletions_and_what_is_left_out(tmp_path):
    """Files by name; of a PMID the highest version counts, of equal ones the last; a deletion counts for what came before."""
    part = "<AbstractText>{}</AbstractText>".format
    retracted = "<PublicationTypeList><PublicationType>Retracted Publication</PublicationType></PublicationTypeList>"
    write(tmp_path / "pubmed25n0001.xml", pubmed(
        article(1, abstract=part("first")), article(2, abstract=part("second version"), version=2),
        article(3), article(4, abstract=""), article(5, more=retracted), article(6),
        "<PubmedBookArticle><BookDocument><PMID>7</PMID></BookDocument></PubmedBookArticle>",
    ))  # fmt: skip
    update = pubmed(
        article(1, abstract=part("revised")), article(2, abstract=part("first version"), version=1),
        article(6, abstract=part("again")), "<DeleteCitation><PMID>3</PMID><PMID>6</PMID><PMID>12345</PMID></DeleteCitation>",
        article(6, abstract=part("back")),
    )  # fmt: skip
    write(tmp_path / "sub" / "pubmed25n0002.xml.gz", gzip.compress(update.encode(), mtime=0))
    rows, skipped = read("pubmed", tmp_path)
    assert {row["note_id"]: row["text"].split("\n")[1] for row in rows} == {
        "pubmed-1": "revised", "pubmed-2": "second version", "pubmed-6": "back",
    }  # fmt: skip
    assert skipped == {"replaced_by_another_record": 4, "deleted": 1, "no_abstract": 1, "retracted": 1, "book": 1}


DESC = """<?xml version="1.0"?><!DOCTYPE DescriptorRecordSet SYSTEM "https://www.nlm.nih.gov/databases/dtd/nlmdescriptorrecordset.dtd">
<DescriptorRecordSet LanguageCode="eng">
<DescriptorRecord><DescriptorUI>D009369</DescriptorUI><DescriptorName><String>Neoplasms</String></DescriptorName>
<TreeNumberList><TreeNumber>C04</TreeNumber></TreeNumberList></DescriptorRecord>
<DescriptorRecord><DescriptorUI>D010190</DescriptorUI><DescriptorName><String>Pancreatic Neoplasms</String></DescriptorName>
<TreeNumberList><TreeNumber>C04.588</TreeNumber><TreeNumber>C06.301</TreeNumber><TreeNumber>E07.1</TreeNumber></TreeNumberList></DescriptorRecord>
<DescriptorRecord><DescriptorUI>D004066</DescriptorUI><DescriptorName><String>Digestive System Diseases</String></DescriptorName>
<TreeNumberList><TreeNumber>C06</TreeNumber></TreeNumberList></DescriptorRecord>
<DescriptorRecord><DescriptorUI>D008297</DescriptorUI><DescriptorName><String>Male</String></DescriptorName></DescriptorRecord>
</DescriptorRecordSet>"""


def test_mesh_by_ui_first_then_by_name(tmp_path):
    """A descriptor renamed since keeps its UI; old files have names alone; Male is known and no disease."""
    write(tmp_path / "desc2025.xml", DESC)
    old = (
        descriptor("Cancer of Pancreas", "D010190"),
        descriptor("Pancreatic Neoplasms"),
        descriptor("Male", "D008297"),
        descriptor("Gone", "D1"),
    )
    write(tmp_path / "a.xml", pubmed(*(article(number, mesh=mesh) for number, mesh in enumerate(old)), article(9)))
    rows, skipped = read("pubmed", tmp_path)
    both = ["C04 Neoplasms", "C06 Digestive System Diseases"]
    assert [row["labels"] for row in rows] == [both, both, [], []]
    assert skipped == {"no_mesh": 1, "unknown_mesh_descriptors": 1}
    assert disease_categories(tmp_path / "desc2025.xml")["Pancreatic Neoplasms"] == frozenset(both)


def test_mesh_files_refused(tmp_path):
    write(tmp_path / "a.xml", pubmed(article(1)))
    write(tmp_path / "mtrees2025.bin", "Neoplasms;C04\nno tree number\n")
    refused("pubmed", tmp_path, "mtrees2025.bin, line 2", "a semicolon and a tree number")
    write(tmp_path / "mtrees2025.bin", "Humans;B01.050\n")
    refused("pubmed", tmp_path, "no category C01 to C26")
    write(tmp_path / "desc2025.xml", DESC)
    refused("pubmed", tmp_path, "2 MeSH files")
    (tmp_path / "mtrees2025.bin").unlink()
    write(tmp_path / "desc2025.xml", "<DescriptorRecordSet><DescriptorRecord/></DescriptorRecordSet>")
    refused("pubmed", tmp_path, "desc2025.xml, record 1", "without DescriptorUI")
    (tmp_path / "a.xml").unlink()
    write(tmp_path / "desc2025.xml", DESC)
    refused("pubmed", tmp_path, "holds MeSH and no article")


@pytest.mark.parametrize(("old", "new"), [("<PMID Version=\"1\">1<", "<PMID Version=\"1\">x1<"), ("Version=\"1\"", "Version=\"a\""),
                                          ("<PMID Version=\"1\">1</PMID>", ""), ("Version=\"1\">1<", "Version=\"1\"><b>1</b><")],
                         ids=["letters", "version", "none", "markup"])  # fmt: skip
def test_pubmed_needs_numbers(tmp_path, old, new):
    refused("pubmed", write(tmp_path / "a.xml", pubmed(article(1)).replace(old, new)), "a.xml", "is not a number")


def test_pubmed_memory_is_flat(tmp_path):
    peaks = []
    for articles in (3_000, 12_000):  # 4 and 15 MB
        text = f"<AbstractText>{'Some words of an abstract. ' * 30}</AbstractText>"
        file = write(tmp_path / "a.xml", pubmed(*(article(number, abstract=text) for number in range(articles))))
        tracemalloc.start()
        assert sum(1 for _ in xml_records(file, ("PubmedArticleSet",), ("PubmedArticle",))) == articles
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


# ---------------------------------------------------------------- PMC


@needs_shared_data
def test_pmc_real():
    rows, skipped = read("pmc", LITERATURE / "pmc_jats")
    assert {row["note_id"]: (row["source"], row["period"], row["note_type"]) for row in rows} == {
        "pmc-PMC2329613": ("pmc CC-BY-2.0", "2008", "research-article"),
        "pmc-PMC3460867": ("pmc CC-BY", "2012", "research-article"),
        "pmc-PMC5828200": ("pmc CC-BY-3.0", "2018", "research-article"),
    }
    assert skipped == {"no_open_licence": 1}  # 6605965a states a copyright line alone
    text = {row["note_id"]: row["text"] for row in rows}
    assert text["pmc-PMC3460867"].startswith("MmPPOX Inhibits Mycobacterium tuberculosis Lipolytic Enzymes Belonging")
    assert "8×10^4 cells" in text["pmc-PMC5828200"] and "calbindin-D28k in the hippocampus" in text["pmc-PMC5828200"]
    assert text["pmc-PMC2329613"].split("\n")[1::2][:4] == ["Background", "Methods", "Results", "Conclusion"]


@needs_shared_data
@pytest.mark.parametrize("name", ["1472-6831-8-11", "PMC5828200", "pone.0046493"])
def test_pmc_text_equals_another_extraction(name):
    """ElementTree's itertext once the parts that are no prose are cut out; a blank may differ, a character not."""
    file = LITERATURE / "pmc_jats" / f"{name}.nxml"
    (row,) = read("pmc", file)[0]
    root = ElementTree.parse(file).getroot()
    parent = {child: element for element in root.iter() for child in element}
    for tag in "table-wrap fig supplementary-material object-id fn".split():
        for element in root.findall(f".//{tag}"):
            before = list(parent[element])[: list(parent[element]).index(element)]
            if before:
                before[-1].tail = (before[-1].tail or "") + (element.tail or "")
            else:
                parent[element].text = (parent[element].text or "") + (element.tail or "")
            parent[element].remove(element)
    parts = [root.find(".//article-title"), *root.findall(".//article-meta/abstract"), root.find("body")]
    expected = "".join("".join(part.itertext()) for part in parts)
    assert "".join(row["text"].replace("^", "").split()) == "".join(expected.split())


BY = '<license xlink:href="https://creativecommons.org/licenses/by/4.0/"/>'
JATS = '<!DOCTYPE article PUBLIC "-//NLM//DTD JATS//EN" "JATS-archivearticle1.dtd">\n'


def jats(
    identifier="PMC1", title="A title", abstract="<p>About it.</p>", body="<p>Found.</p>", permissions=BY, kind="pmc"
):
    return (
        f'<article xmlns:xlink="http://www.w3.org/1999/xlink" article-type="case-report"><front><article-meta><article-id '
        f'pub-id-type="{kind}">{identifier}</article-id><title-group><article-title>{title}</article-title></title-group><pub-date><year>'
        f"2020</year></pub-date><pub-date><year>2019</year></pub-date><permissions>{permissions}</permissions><abstract>{abstract}</abstract>"
        f"</article-meta></front><body>{body}</body><back><ref-list><ref>planted</ref></ref-list></back></article>"
    )


def test_pmc_structure(tmp_path):
    body = (
        "<sec><title>Case</title><p>WBC 12 &times; 10<sup>9</sup>/L<sup><xref>3</xref></sup> and <inline-formula><alternatives><tex-math>"
        "\\documentclass{planted}</tex-math><mml:math><mml:mi>x</mml:mi></mml:math></alternatives></inline-formula>.<fig><caption><p>planted"
        "</p></caption></fig> After.</p><list><list-item><p>one</p></list-item><list-item><p>two</p></list-item></list></sec>"
        "<table-wrap><table><tr><td>planted</td></tr></table></table-wrap>"
    )
    abstract = "<sec><title>Aim</title><p>To <italic>see</italic>.</p></sec>"
    write(tmp_path / "a.nxml", JATS + jats("2", "On <italic>in vivo</italic> use", abstract, body))
    write(
        tmp_path / "b" / "c.xml.gz",
        gzip.compress(f"<pmc-articleset>{jats('PMC3')}{jats('PMC2')}</pmc-articleset>".encode(), mtime=0),
    )
    write(tmp_path / "d.xml", jats("10.1/x", abstract="", kind="doi"))
    write(tmp_path / "e.xml", jats("4", abstract="", body="<fig><p>planted</p></fig>"))
    rows, skipped = read("pmc", tmp_path)
    assert [row["note_id"] for row in rows] == ["pmc-PMC2", "pmc-PMC3", "pmc-d-1"]
    assert skipped == {"repeated_article": 1, "no_text": 1}
    assert rows[0]["text"].split("\n") == [
        "On in vivo use",
        "Aim",
        "To see.",
        "Case",
        "WBC 12 × 10^9/L3 and x. After.",
        "one",
        "two",
    ]
    assert (rows[0]["period"], rows[0]["note_type"], rows[0]["source"]) == ("2019", "case-report", "pmc CC-BY-4.0")
    assert "planted" not in json.dumps(rows)


@pytest.mark.parametrize(
    ("permissions", "expected"),
    [
        ('<license xlink:href="http://creativecommons.org/licenses/by-nc-nd/3.0/us/"/>', "CC-BY-NC-ND-3.0"),
        ("<license><ali:license_ref>https://creativecommons.org/publicdomain/zero/1.0/</ali:license_ref></license>", "CC0-1.0"),
        ('<license><p>See <ext-link xlink:href="https://creativecommons.org/publicdomain/mark/1.0"/></p></license>', "CC-PDM-1.0"),
        ("<license><p>the Creative Commons Attribution License, which permits</p></license>", "CC-BY"),
        ("<license><p>Creative Commons Attribution-Non Commercial-NoDerivs 4.0 International Licence</p></license>", "CC-BY-NC-ND-4.0"),
        ("<license><p>Creative Commons <bold>Attribution-ShareAlike</bold> 3.0 Unported license</p></license>", "CC-BY-SA-3.0"),
        ("<license><p>under CC0</p></license>", "CC0"),
        ("<copyright-statement>Copyright 2010 Cancer Research UK</copyright-statement>", None),
        ("<license license-type='open-access'><p>Free to read.</p></license>", None),
        ("<license xlink:href='https://www.elsevier.com/open-access/userlicense/1.0/'/>", None),
        ("", None),
    ],
    ids=["nc_nd", "cc0", "public_domain", "named", "named_nc_nd", "named_sa", "named_cc0", "copyright", "free", "publisher", "none"],
)  # fmt: skip
def test_licences(tmp_path, permissions, expected):
    file = write(tmp_path / "a.xml", jats(permissions=permissions))
    assert [licence(front) for _, front in xml_records(file, ("article",), ("front",))] == [expected]
    rows, skipped = read("pmc", file)
    assert [row["source"] for row in rows] == ([f"pmc {expected}"] if expected else [])
    assert skipped == ({} if expected else {"no_open_licence": 1})


# ---------------------------------------------------------------- CORD-19


@needs_shared_data
def test_cord19_real_later_schema():
    """Three papers: one with a pmc_json, preferred, one with neither abstract nor parse, one with a pdf_json alone."""
    rows, skipped = read("cord19", LITERATURE / "cord19")
    assert [(row["note_id"], row["source"], row["period"]) for row in rows] == [
        ("cord19-xqhn0vbp", "cord19 no-cc", "2003"), ("cord19-a8cps3ko", "cord19 green-oa", "2009"),
    ]  # fmt: skip
    assert skipped == {"no_text": 1}
    table = list(csv.DictReader((LITERATURE / "cord19" / "metadata.csv").read_text().splitlines()))
    for row, source, name in zip(rows, [table[0], table[2]], ["pmc_json_files", "pdf_json_files"], strict=True):
        body = json.loads((LITERATURE / "cord19" / source[name]).read_text())["body_text"]
        expected = [source["title"], source["abstract"], *(paragraph["text"] for paragraph in body)]
        assert row["text"].split() == " ".join(expected).split()
    assert "BACKGROUND: Rhinovirus, the most common cause" in rows[0]["text"]


@needs_shared_data
def test_cord19_real_early_schema():
    """Nine papers, eight with an abstract, none with its parse beside it."""
    rows, skipped = read("cord19", LITERATURE / "cord19" / "metadata-sample-early-schema.csv")
    assert len(rows) == 8 and skipped == {"no_text": 1, "parses_not_there": 9}
    assert Counter(row["source"] for row in rows) == {"cord19 biorxiv": 2, "cord19 els-covid": 3, "cord19 cc-by": 3}


EARLY = "cord_uid,sha,title,abstract,license,pmcid,publish_time,has_full_text,full_text_file"
LATE = "cord_uid,sha,title,abstract,license,pmcid,publish_time,pdf_json_files,pmc_json_files"


def cord19(folder: Path, header: str, *records: list[str]) -> Path:
    stream = io.StringIO()
    csv.writer(stream).writerows([header.split(","), *records])
    write(folder / "metadata.csv", stream.getvalue())
    return folder


def parse(*paragraphs: str, **more) -> str:
    return json.dumps(
        {"paper_id": "x", "body_text": [{"text": text, "section": "planted"} for text in paragraphs], **more}
    )


def test_cord19_where_the_parses_lie(tmp_path):
    late = tmp_path / "late"
    pdfs = [f"document_parses/pdf_json/{name}.json" for name in "abc"]
    cord19(
        late, LATE,
        ["1", "a; b", "T", "", "cc-by", "", "2020-04-01", "; ".join(pdfs[:2]), ""],  # the first is not there, the second is
        ["2", "c", "T", "own", "cc-by", "PMC2", "2020", pdfs[2], "document_parses/pmc_json/PMC2.xml.json"],
        ["1", "", "again", "again", "cc-by", "", "", "", ""],
        ["3", "", "", "abstract alone", "", "", "in May 2020", pdfs[0], ""],
    )  # fmt: skip
    write(late / pdfs[1], parse("from b", abstract=[{"text": "abstract of b"}]))
    write(late / pdfs[2], parse("from c"))
    write(late / "document_parses/pmc_json/PMC2.xml.json", parse("from PMC", "", "more"))
    rows, skipped = read("cord19", late)
    assert [row["text"] for row in rows] == ["T\nabstract of b\nfrom b", "T\nown\nfrom PMC\nmore", "abstract alone"]
    assert [(row["period"], row["source"]) for row in rows] == [("2020", "cord19 cc-by")] * 2 + [
        (None, "cord19 unstated")
    ]
    assert skipped == {"repeated_cord_uid": 1, "parses_not_there": 1}

    early = tmp_path / "early"
    cord19(
        early, EARLY,
        ["1", "a", "T", "", "cc-by", "", "2020", "True", "biorxiv_medrxiv"],  # March 2020: folder twice
        ["2", "b; c", "T", "", "cc-by", "PMC2", "2020", "True", "comm_use_subset"],
        ["3", "c", "T", "", "cc-by", "PMC3", "2020", "True", "comm_use_subset"],
    )  # fmt: skip
    write(early / "biorxiv_medrxiv/biorxiv_medrxiv/a.json", parse("from a"))
    write(early / "comm_use_subset/pdf_json/c.json", parse("from c"))
    write(early / "comm_use_subset/pmc_json/PMC3.xml.json", parse("from PMC3"))
    assert [row["text"] for row in read("cord19", early)[0]] == ["T\nfrom a", "T\nfrom c", "T\nfrom PMC3"]


@pytest.mark.parametrize(
    ("place", "content", "parts"),
    [
        ("../x.json", "{}", ["record 1", "leads out of the folder"]),
        ("/etc/passwd", None, ["record 1", "leads out of the folder"]),
        ("x.json", "[]", ["x.json is not a JSON object"]),
        ("x.json", '{"body_text": "all"}', ["its body_text is not a list"]),
        ("x.json", '{"abstract": ["a"]}', ["its abstract is not a list"]),
        ("x.json", '{"body_text": [{"text": {}}]}', ["record 1", "one value"]),
        ("x.json", f'{{"body_text": [{{"text": "{CANARY}', ["not valid JSON"]),
        ("x.json", b"\xff\xfe\x00", ["x.json is not utf-8"]),
    ],
    ids=["parent", "absolute", "array", "body", "abstract", "text", "cut_off", "encoding"],
)  # fmt: skip
def test_cord19_refuses(tmp_path, place, content, parts):
    cord19(tmp_path / "in", LATE, ["1", "", CANARY, CANARY, "cc-by", "", "", place, ""])
    if content is not None:
        write(tmp_path / "in" / place, content)
    refused("cord19", tmp_path / "in", *parts)
    refused(
        "cord19",
        cord19(tmp_path / "no_id", LATE, ["", "", CANARY, CANARY, "", "", "", "", ""]),
        "record 1",
        "no cord_uid",
    )


# ---------------------------------------------------------------- unlabelled text through the stages


@pytest.mark.parametrize("conflicts", ["first", "set", "drop"])
def test_unlabelled_text_is_written_and_split_says_what_for(stage, conflicts):
    write(
        Path("raw/a.xml"), pubmed(*(article(number, f"Title {number}") for number in range(4)), article(9, "Title 1"))
    )
    assert stage("ingest", {"corpus": "pubmed", "path": "raw", "conflicts": conflicts}) == (0, "")
    rows = pq.read_table(NOTES).to_pylist()
    assert [row["note_id"] for row in rows] == [f"pubmed-{number}" for number in range(4)]  # a repeated text once
    assert all(row["labels"] == [] for row in rows)
    metrics = json.loads(METRICS.read_text())
    assert (metrics["task"], metrics["notes"], metrics["classes"]) == ("unlabelled", 4, 0)
    shutil.copytree(ROOT / "keys", "keys")
    assert stage("deidentify") == (0, "") and stage("clean", {"visible_at": "all"}) == (0, "")
    code, line = stage("split")
    assert code == 1 and "text without labels" in line and "pre-training" in line and "docs/data.md" in line
    assert not Path("data/split").exists()


def test_pubmed_with_mesh_is_multi_label(stage):
    write(Path("raw/mtrees2025.bin"), TREE)
    write(
        Path("raw/a.xml"),
        pubmed(*(article(n, f"Title {n}", mesh=descriptor(["Asthma", "Melanoma", "Aged"][n % 3])) for n in range(9))),
    )
    assert stage("ingest", {"corpus": "pubmed", "path": "raw"}) == (0, "")
    assert read_metadata(NOTES)["task"] == "multi_label"
    assert Counter(str(row["labels"]) for row in pq.read_table(NOTES).to_pylist()) == {
        "['C08 Respiratory Tract Diseases']": 3, "['C04 Neoplasms']": 3, "[]": 3,
    }  # fmt: skip


# ---------------------------------------------------------------- hostile and damaged XML

BOMB = "".join(f"<!ENTITY {b} '{f'&{a};' * 10}'>" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
BOMB = f"<!DOCTYPE x [<!ENTITY a '{'lol' * 10}'>{BOMB}]>"
HOSTILE = {
    "billion_laughs": (BOMB, "&i;", "declares entities"),
    "quadratic_blowup": (f"<!DOCTYPE x [<!ENTITY a '{'a' * 100_000}'>]>", "&a;" * 10_000, "declares entities"),
    "external_file": ('<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>', "&a;", "declares entities"),
    "external_http": ('<!DOCTYPE x [<!ENTITY a SYSTEM "http://localhost:9/a">]>', "&a;", "declares entities"),
    "parameter_entity": ('<!DOCTYPE x [<!ENTITY % a SYSTEM "file:///etc/passwd"> %a;]>', "", "declares entities"),
    "unparsed_entity": ('<!DOCTYPE x [<!NOTATION n SYSTEM "n"><!ENTITY a SYSTEM "a.gif" NDATA n>]>', "", "declares entities"),
    "unknown_entity": ('<!DOCTYPE x SYSTEM "file:///etc/passwd">', "&passwd;", "an entity that is not one of HTML's"),
    "unknown_without_dtd": ("", "&passwd;", "an entity that is not one of HTML's"),
    "deep": ("", "<b>" * 100_000, "nested deeper than 200"),
    "not_closed": ("", "<b>", "not well-formed XML, or cut off"),
    "bare_ampersand": ("", "R&D", "not well-formed"),
    "control_character": ("", "\x01", "not well-formed"),
}  # fmt: skip


@pytest.mark.parametrize("corpus", ["pubmed", "pmc"])
@pytest.mark.parametrize("attack", HOSTILE)
def test_hostile_xml(tmp_path, corpus, attack):
    doctype, text, part = HOSTILE[attack]
    text = f"{CANARY} {text}"
    content = pubmed(article(1, text), doctype=doctype) if corpus == "pubmed" else doctype + jats(title=text)
    file = write(tmp_path / "a.xml", content)
    tracemalloc.start()
    try:
        refused(corpus, file, "a.xml, line ", part)
        assert tracemalloc.get_traced_memory()[1] < 30e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("corpus", ["pubmed", "pmc"])
def test_damaged_files(tmp_path, corpus):
    good = (
        pubmed(*(article(n, CANARY) for n in range(50)))
        if corpus == "pubmed"
        else jats(title=CANARY, body=f"<p>{CANARY}</p>" * 50)
    )
    file = tmp_path / "a.xml"
    refused(corpus, tmp_path / "nowhere", "nowhere does not exist", "check ingest.path")
    refused(corpus, tmp_path, "has no file that ends in", ".xml")
    for content, part in [
        ("", "is empty"),
        (good[: len(good) // 2], "not well-formed XML, or cut off"),
        (good + "<more/>", "not well-formed"),
        (CANARY, "line 1: not well-formed"),
        ('{"json": true}', "not well-formed"),
        ("<html><body>Not found</body></html>", "its root element is not <"),
        (good.encode("utf-16")[:-3], "not well-formed"),
        ('<?xml version="1.0" encoding="klingon"?><a/>', "an encoding that cannot be read"),
        ('<?xml version="1.0" encoding="shift_jis"?><a/>', "an encoding that cannot be read"),
        (good.replace(CANARY, "M\xfcdigkeit", 1).encode("latin-1"), "not well-formed"),
    ]:  # fmt: skip
        refused(corpus, write(file, content), "a.xml", part)
    zipped = gzip.compress(good.encode(), mtime=0)
    refused(corpus, write(tmp_path / "b.xml.gz", zipped[: len(zipped) * 2 // 3]), "cut-off gzip")
    refused(corpus, write(tmp_path / "b.xml.gz", good), "no gzip file")
    same = read(corpus, write(file, good))
    assert same == read(corpus, write(file, good.replace("UTF-8", "utf-16").encode("utf-16")))
    assert same == read(corpus, write(tmp_path / "a.xml.gz", zipped)) and same[0]


def test_records_of_small_blocks_are_the_same(tmp_path, monkeypatch):
    file = write(tmp_path / "a.xml", pubmed(*(article(n, f"é&nbsp;{n}") for n in range(30))))
    whole = [xml_text(record) for _, record in xml_records(file, ("PubmedArticleSet",), ("PubmedArticle",))]
    monkeypatch.setattr("diagnosis.corpora.xml_records.BLOCK", 7)
    assert whole == [xml_text(record) for _, record in xml_records(file, ("PubmedArticleSet",), ("PubmedArticle",))]
    assert len(whole) == 30


# ---------------------------------------------------------------- fuzz: rows or one line, whatever the bytes

SEEDS = {
    "pubmed": ("a.xml", pubmed(article(1, "<i>a</i>&nbsp;10<sup>3</sup>"), article(2, version=2), "<DeleteCitation><PMID>1</PMID></DeleteCitation>")),
    "mesh": ("desc1.xml", DESC),
    "mtrees": ("mtrees1.bin", TREE),
    "pmc": ("a.nxml", JATS + jats(body="<sec><title>A</title><p>b 10<sup>2</sup></p></sec>")),
    "pubmedqa": ("ori_pqal.json", None),
    "truth": ("test_ground_truth.json", None),
    "cord19": ("metadata.csv", None),
    "parse": ("x.json", parse("one", "two", abstract=[{"text": "three"}])),
}  # fmt: skip
CORPUS = {"mesh": "pubmed", "mtrees": "pubmed", "truth": "pubmedqa", "parse": "cord19"}
FUZZ = settings(
    max_examples=120, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)  # fmt: skip


def seeded(folder: Path, kind: str) -> Path:
    """A folder that its corpus reads, with the file to harm in it."""
    name, content = SEEDS[kind]
    if kind in ("pubmedqa", "truth"):
        pubmedqa(folder)
    elif kind in ("cord19", "parse"):
        cord19(
            folder,
            LATE,
            ["1", "x", "T", "", "cc-by", "", "2020", "x.json", ""],
            ["2", "", "T", "A", "", "", "", "", ""],
        )
        write(folder / "x.json", SEEDS["parse"][1])
    elif kind in ("mesh", "mtrees"):
        write(folder / "a.xml", pubmed(article(1, mesh=descriptor("Neoplasms", "D009369"))))
    if content is not None:
        write(folder / name, content)
    return folder / name


def rows_or_one_line(corpus: str, folder: Path) -> None:
    try:
        read(corpus, folder)
    except UserError as error:
        assert len(str(error)) < 500 and "\n" not in str(error)


@pytest.mark.parametrize("kind", SEEDS)
@FUZZ
@given(data=st.data())
def test_fuzzed_bytes(tmp_path_factory, kind, data):
    folder = tmp_path_factory.mktemp("fuzz")
    file = seeded(folder, kind)
    content = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content)))
        end = min(len(content), start + data.draw(st.integers(0, 30)))
        content[start:end] = data.draw(
            st.binary(max_size=12) | st.sampled_from([b"<", b"&x;", b"]]>", b'"', b"\0", b"{", b"\n,", b"<!ENTITY"])
        )
    file.write_bytes(content)
    rows_or_one_line(CORPUS.get(kind, kind), folder)


@pytest.mark.parametrize("kind", SEEDS)
@FUZZ
@given(content=st.binary(max_size=300))
def test_random_bytes(tmp_path_factory, kind, content):
    folder = tmp_path_factory.mktemp("fuzz")
    seeded(folder, kind).write_bytes(content)
    rows_or_one_line(CORPUS.get(kind, kind), folder)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize("kind", ["pubmedqa", "truth", "parse"])
@FUZZ
@given(data=st.data())
def test_fuzzed_json_values(tmp_path_factory, kind, data):
    """Any value in any place of the document."""
    folder = tmp_path_factory.mktemp("fuzz")
    file = seeded(folder, kind)

    def harmed(value):
        if isinstance(value, (dict, list)) and value and data.draw(st.integers(0, 3)):
            key = data.draw(st.sampled_from(sorted(value) if isinstance(value, dict) else range(len(value))))
            value[key] = harmed(value[key])
            return value
        return data.draw(JSON_VALUES)

    file.write_text(json.dumps(harmed(json.loads(file.read_text()))))
    rows_or_one_line(CORPUS.get(kind, kind), folder)


@needs_shared_data
@pytest.mark.parametrize("name", ["pubmed/pubmed-29768149.xml", "pmc_jats/1472-6831-8-11.nxml"])
@settings(FUZZ, max_examples=25)
@given(data=st.data())
def test_fuzzed_real_files(tmp_path_factory, name, data):
    folder = tmp_path_factory.mktemp("fuzz")
    content = bytearray((LITERATURE / name).read_bytes())
    start = data.draw(st.integers(0, len(content)))
    content[start : start + data.draw(st.integers(0, 200))] = data.draw(st.binary(max_size=20))
    write(folder / "a.xml", bytes(content))
    rows_or_one_line("pubmed" if "pubmed" in name else "pmc", folder)
