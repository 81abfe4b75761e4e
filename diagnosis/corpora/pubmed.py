"""PubMed's baseline and update files: titles and abstracts, by MeSH disease category where MeSH is there to say so."""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple
from xml.etree.ElementTree import Element

from diagnosis.corpora.corpus import Corpus, Tally
from diagnosis.corpora.mesh import disease_categories, find_mesh
from diagnosis.corpora.xml_records import xml_files, xml_records, xml_text
from diagnosis.errors import UserError

RETRACTED = "Retracted Publication"


class Place(NamedTuple):
    """The record of a PMID that counts: its version, and its number over all files."""

    version: int
    number: int


def open_pubmed(path: Path) -> Corpus:
    """`path` is a file, or a folder whose .xml and .xml.gz are read by name: baseline first, then updates, as NLM numbers them.

    With MeSH's desc<year>.xml or mtrees<year>.bin in the folder, labels are the disease categories of an article's
    descriptors (several, or none); without it the corpus is unlabelled.
    """
    mesh = find_mesh(path)
    files = [file for file in xml_files(path, (".xml",)) if file != mesh]
    if not files:
        raise UserError(f"{path} holds MeSH and no article: put PubMed's files there")
    categories = disease_categories(mesh) if mesh else None
    return Corpus(
        rows=partial(_rows, files, _valid(files), categories),
        data_use={
            "corpus": "pubmed",
            "licence": "NLM terms and conditions; publishers may hold copyright in abstracts",
            "public": True,
        },
        multi_label=mesh is not None,
        unlabelled=mesh is None,
    )


def _records(files: list[Path]) -> Iterator[tuple[int, Path, Element]]:
    tags = ("PubmedArticle", "PubmedBookArticle", "DeleteCitation")
    number = 0
    for file in files:
        for _, record in xml_records(file, ("PubmedArticleSet",), tags):
            number += 1
            yield number, file, record


def _valid(files: list[Path]) -> dict[int, Place]:
    """By PMID the record that counts: the highest version, of equal ones the last; a PMID deleted after it has none."""
    places: dict[int, Place] = {}
    for number, file, record in _records(files):
        if record.tag == "DeleteCitation":
            for element in record.iterfind("PMID"):
                places.pop(_integer(file, element.text), None)
        elif record.tag == "PubmedArticle":
            pmid, element = _pmid(file, record), record.find("MedlineCitation/PMID")
            place = Place(_integer(file, element.get("Version", "1")), number)
            places[pmid] = max(place, places.get(pmid, place))
    return places


def _pmid(file: Path, record: Element) -> int:
    return _integer(file, record.findtext("MedlineCitation/PMID"))


def _integer(file: Path, text: str | None) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", (text or "").strip()):
        raise UserError(f"{file}: an article's PMID, or its version, is not a number: copy the file again")
    return int(text)


def _rows(files: list[Path], valid: dict, categories: dict | None, tally: Tally) -> Iterator[dict]:
    for number, file, record in _records(files):
        if record.tag == "DeleteCitation":
            continue
        if record.tag == "PubmedBookArticle":
            tally.skipped["book"] += 1
            continue
        pmid, article = _pmid(file, record), record.find("MedlineCitation/Article")
        parts = [] if article is None else [_part(part) for part in article.iterfind("Abstract/AbstractText")]
        descriptors = record.findall("MedlineCitation/MeshHeadingList/MeshHeading/DescriptorName")
        if pmid not in valid:
            tally.skipped["deleted"] += 1
        elif valid[pmid].number != number:
            tally.skipped["replaced_by_another_record"] += 1
        elif not any(parts):
            tally.skipped["no_abstract"] += 1
        elif any(xml_text(kind) == RETRACTED for kind in article.iterfind("PublicationTypeList/PublicationType")):
            tally.skipped["retracted"] += 1
        elif categories is not None and not descriptors:
            tally.skipped["no_mesh"] += 1  # not indexed: whether it is about a disease is not known
        else:
            yield {
                "note_id": f"pubmed-{pmid}",
                "source": "pubmed",
                "period": _year(article),
                "text": "\n".join(filter(None, [xml_text(article.find("ArticleTitle")), *parts])),
                "labels": [] if categories is None else _labels(descriptors, categories, tally),
            }


def _part(part: Element) -> str:
    """A part of the abstract, behind its label (BACKGROUND, ...) where it has one."""
    text, label = xml_text(part), part.get("Label", "").strip()
    return f"{label}: {text}" if text and label else text


def _labels(descriptors: list[Element], categories: dict[str, frozenset[str]], tally: Tally) -> list[str]:
    labels: set[str] = set()
    for descriptor in descriptors:
        found = categories.get(descriptor.get("UI", ""), categories.get(xml_text(descriptor)))
        if found is None:
            tally.skipped["unknown_mesh_descriptors"] += 1
        labels.update(found or ())
    return sorted(labels)


def _year(article: Element) -> str | None:
    date = article.find("Journal/JournalIssue/PubDate")
    text = "" if date is None else date.findtext("Year") or date.findtext("MedlineDate") or ""
    year = re.match(r"[0-9]{4}\b", text.strip())
    return year.group() if year else None
