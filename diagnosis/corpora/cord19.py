"""CORD-19 (Wang et al. 2020): papers on coronaviruses, title, abstract and body as unlabelled text, in both metadata schemas."""

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from diagnosis.corpora.corpus import Corpus, Tally
from diagnosis.corpora.sources import as_text, csv_records, file_or_in_folder, json_content
from diagnosis.errors import UserError

COLUMNS = ["cord_uid", "title", "abstract", "license"]
# Where a paper's parse lies: named by path since May 2020, before that by folder, sha and pmcid.
PLACES = ["sha", "pmcid", "publish_time", "pmc_json_files", "pdf_json_files", "full_text_file"]


def open_cord19(path: Path) -> Corpus:
    """`path` is the folder with metadata.csv and the parses (document_parses/, or the early comm_use_subset/ and the like), or that CSV."""
    metadata = file_or_in_folder(path, "metadata")
    licences = {_licence(row) for _, row in csv_records(metadata, COLUMNS)}
    return Corpus(
        rows=lambda tally: _rows(metadata, tally),
        data_use={
            "corpus": "cord19",
            "licence": f"CORD-19 licence; papers: {', '.join(sorted(licences))}",
            "public": True,
        },
        unlabelled=True,
    )


def _rows(metadata: Path, tally: Tally) -> Iterator[dict]:
    seen = set()
    for record, row in csv_records(metadata, COLUMNS, PLACES):
        uid = row["cord_uid"].strip()
        if not uid:
            raise UserError(f"{metadata}, record {record}: no cord_uid: copy the file again")
        if uid in seen:
            tally.skipped["repeated_cord_uid"] += 1
            continue
        places = _places(metadata, record, row)
        file = next((file for file in places if os.path.isfile(file)), None)  # also of a name too long for a file
        if places and file is None:
            tally.skipped["parses_not_there"] += 1  # not skipped for it: the abstract may be in the table
        abstract, body = _parse(file) if file else ("", "")
        abstract = row["abstract"].strip() or abstract
        if not abstract and not body:
            tally.skipped["no_text"] += 1
            continue
        seen.add(uid)
        year = re.match(r"[0-9]{4}\b", row["publish_time"].strip())
        yield {
            "note_id": f"cord19-{uid}",
            "source": f"cord19 {_licence(row)}",
            "period": year.group() if year else None,
            "text": "\n".join(filter(None, [row["title"].strip(), abstract, body])),
            "labels": [],
        }


def _licence(row: dict) -> str:
    """As the table writes it: cc-by, els-covid, ..."""
    licence = row["license"].strip()
    return licence if re.fullmatch(r"[a-z0-9][a-z0-9. -]{0,29}", licence) else "unstated"


def _places(metadata: Path, record: int, row: dict) -> list[Path]:
    """Where the paper's parses may lie, the best first: from PMC's XML before from a PDF."""
    pdfs, pmcid = [sha.strip() for sha in row["sha"].split(";")], row["pmcid"].strip()
    names = [name.strip() for column in ("pmc_json_files", "pdf_json_files") for name in row[column].split(";")]
    if early := row["full_text_file"].strip():
        for folder in (early, f"{early}/{early}"):
            names += [f"{folder}/pmc_json/{pmcid}.xml.json"] if pmcid else []
            names += [f"{folder}/{place}{sha}.json" for sha in pdfs if sha for place in ("pdf_json/", "")]
    names = [PurePosixPath(name) for name in names if name]
    if any(name.is_absolute() or ".." in name.parts for name in names):
        raise UserError(f"{metadata}, record {record}: a path that leads out of the folder: copy the file again")
    return [metadata.parent / name for name in names]


def _parse(file: Path) -> tuple[str, str]:
    """(abstract, body) of a parse, a paragraph a line; pmc_json has no abstract."""
    content = json_content(file)
    if not isinstance(content, dict):
        raise UserError(f"{file} is not a JSON object: copy it again")
    texts = []
    for part in ("abstract", "body_text"):
        paragraphs = content.get(part) or []
        if not isinstance(paragraphs, list) or not all(isinstance(paragraph, dict) for paragraph in paragraphs):
            raise UserError(f"{file}: its {part} is not a list of paragraphs: copy it again")
        written = [as_text(file, number, paragraph.get("text")) for number, paragraph in enumerate(paragraphs, start=1)]
        texts.append("\n".join(filter(None, [(text or "").strip() for text in written])))
    return texts[0], texts[1]
