"""PubMedQA (Jin et al. 2019): 1,000 research questions, answered yes, no or maybe from the abstract without its conclusion."""

from collections.abc import Iterator
from pathlib import Path

from diagnosis.corpora.corpus import Corpus, Tally
from diagnosis.corpora.sources import as_text, json_content
from diagnosis.errors import UserError
from diagnosis.files import require

# Never an input: LONG_ANSWER is the conclusion, reasoning_*_pred are annotators' answers. MESHES were assigned by people who
# had read the conclusion, and LABELS only name the contexts' sections.
ANSWERS = ("yes", "no", "maybe")


def open_pubmedqa(path: Path) -> Corpus:
    """`path` holds ori_pqal.json and test_ground_truth.json, whose PMIDs are the official test set; the others are train.

    The question is `text`, the contexts are `text_pair`.
    """
    if not require(path, "check ingest.path").is_dir():
        raise UserError(
            f"{path} is a file: ingest.path must be the folder with ori_pqal.json and test_ground_truth.json"
        )
    questions, truth = path / "ori_pqal.json", path / "test_ground_truth.json"
    items, test = _by_pmid(questions), _by_pmid(truth)
    if absent := len(test.keys() - items.keys()):
        raise UserError(f"{truth}: {absent} of its PMIDs are not in {questions}: take both from one release")
    for record, (pmid, item) in enumerate(items.items(), start=1):
        if not isinstance(item, dict) or not {"QUESTION", "CONTEXTS", "final_decision"} <= item.keys():
            raise UserError(f"{questions}, record {record}: no object with QUESTION, CONTEXTS and final_decision")
        if item["final_decision"] not in ANSWERS:
            raise UserError(f"{questions}, record {record}: its final_decision is not yes, no or maybe: mend it")
        if not isinstance(item["CONTEXTS"], list):
            raise UserError(f"{questions}, record {record}: its CONTEXTS are not a list: mend them")
        if pmid in test and test[pmid] != item["final_decision"]:
            raise UserError(
                f"{questions}, record {record}: its final_decision is not that of {truth}: take both from one release"
            )
    return Corpus(
        rows=lambda tally: _rows(questions, items, test, tally),
        data_use={"corpus": "pubmedqa", "licence": "MIT", "public": True},
        text_pair=True,
        official_split=True,
    )


def _by_pmid(file: Path) -> dict:
    content = json_content(file)
    if not isinstance(content, dict):
        raise UserError(f"{file} is not a JSON object keyed by PMID: check that it is the right file")
    return content


def _rows(file: Path, items: dict, test: dict, tally: Tally) -> Iterator[dict]:
    for record, (pmid, item) in enumerate(items.items(), start=1):
        question = as_text(file, record, item["QUESTION"]) or ""
        contexts = [as_text(file, record, context) or "" for context in item["CONTEXTS"]]
        if not question.strip() or not any(context.strip() for context in contexts):
            tally.skipped["no_text"] += 1
        else:
            yield {
                "note_id": f"pubmedqa-{as_text(file, record, pmid)}",
                "source": "pubmedqa",
                "period": as_text(file, record, item.get("YEAR")),
                "split": "test" if pmid in test else "train",
                "text": question,
                "text_pair": "\n".join(contexts),
                "labels": [item["final_decision"]],
            }
