"""PubMed Central's open-access articles in JATS XML: title, abstract and body as unlabelled text, with each one's licence."""

import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

from diagnosis.corpora.corpus import Corpus, Tally
from diagnosis.corpora.xml_records import xml_files, xml_records, xml_text

ROOTS = ("article", "pmc-articleset")
LINES = frozenset("title p sec list-item def-item disp-quote disp-formula verse-line".split())
SKIP = frozenset(  # tables and figures are no prose, and the TeX beside a formula holds a document's preamble
    "table-wrap table-wrap-group fig fig-group supplementary-material media graphic object-id fn tex-math annotation".split()
)
URL = re.compile(
    r"creativecommons\.org/(?:licenses|publicdomain)/(by[a-z-]{0,9}|zero|mark)(?:/(\d\.\d))?", re.IGNORECASE
)
NAMED = re.compile(r"creative commons (attribution.{0,60}?)licen[sc]e", re.IGNORECASE)
TERMS = {"noncommercial": "NC", "noderiv": "ND", "sharealike": "SA"}


def open_pmc(path: Path) -> Corpus:
    """`path` is an article or a set of them (.nxml, .xml, .gz too), or a folder of such files.

    Only articles that state a Creative Commons licence or are in the public domain are read; it stands in `source`.
    """
    files = xml_files(path, (".nxml", ".xml"))
    licences = {licence(front) for file in files for _, front in xml_records(file, ROOTS, ("front",))} - {None}
    return Corpus(
        rows=lambda tally: _rows(files, tally),
        data_use={
            "corpus": "pmc",
            "licence": ", ".join(sorted(licences)) or "none stated",
            "commercial_use": "no" if any("-NC" in name for name in licences) else None,
            "public": True,
        },
        unlabelled=True,
    )


def _rows(files: list[Path], tally: Tally) -> Iterator[dict]:
    seen = set()
    for file in files:
        for record, article in xml_records(file, ROOTS, ("article",)):
            name = _pmc_id(article) or f"{file.name.partition('.')[0]}-{record}"
            terms = licence(article.find("front"))
            texts = [xml_text(part, LINES, SKIP) for part in article.iterfind("front/article-meta/abstract")]
            texts += [xml_text(part, LINES, SKIP) for part in article.iterfind("body")]
            if name in seen:
                tally.skipped["repeated_article"] += 1
            elif terms is None:
                tally.skipped["no_open_licence"] += 1
            elif not any(texts):
                tally.skipped["no_text"] += 1
            else:
                seen.add(name)
                title = xml_text(article.find("front/article-meta/title-group/article-title"), skip=SKIP)
                yield {
                    "note_id": f"pmc-{name}",
                    "source": f"pmc {terms}",
                    "note_type": article.get("article-type"),
                    "period": _year(article),
                    "text": "\n".join(filter(None, [title, *texts])),
                    "labels": [],
                }


def _pmc_id(article: Element) -> str | None:
    for element in article.iterfind("front/article-meta/article-id"):
        found = re.fullmatch(r"(?:PMC)?([0-9]{1,12})", xml_text(element))
        if element.get("pub-id-type") in ("pmc", "pmcid") and found:
            return f"PMC{found.group(1)}"
    return None


def licence(front: Element | None) -> str | None:
    """The open licence that an article's <permissions> state, e.g. "CC-BY-4.0", "CC-BY-NC", "CC0-1.0"; None for none."""
    permissions = None if front is None else front.find("article-meta/permissions")
    if permissions is None:
        return None
    written = [value for element in permissions.iter() for value in element.attrib.values()]
    text = " ".join([*written, xml_text(permissions)])
    if found := URL.search(text):
        terms, version = found.groups()
        name = {"zero": "CC0", "mark": "CC-PDM"}.get(terms.lower(), f"CC-{terms.upper()}")
        return f"{name}-{version}" if version else name
    if found := NAMED.search(text):
        words = re.sub("[ -]", "", found.group(1).lower())
        terms = [short for name, short in TERMS.items() if name in words] + re.findall(r"\d\.\d", words)[:1]
        return "-".join(["CC", "BY", *terms])
    return "CC0" if re.search(r"\bCC0\b", text) else None


def _year(article: Element) -> str | None:
    """The first year of publication."""
    dates = article.iterfind("front/article-meta/pub-date")
    years = [text for date in dates if re.fullmatch(r"[0-9]{4}", text := date.findtext("year", "").strip())]
    return min(years, default=None)
