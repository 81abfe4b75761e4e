"""The reader of each corpus, by its name in params.yaml, and what its notes must have in the end."""

from diagnosis.corpora.cord19 import open_cord19
from diagnosis.corpora.corpus import Corpus, Tally
from diagnosis.corpora.fhir import open_fhir
from diagnosis.corpora.medical_abstracts import open_medical_abstracts
from diagnosis.corpora.mimic import open_mimic3, open_mimic4
from diagnosis.corpora.mtsamples import open_mtsamples
from diagnosis.corpora.pmc import open_pmc
from diagnosis.corpora.pubmed import open_pubmed
from diagnosis.corpora.pubmedqa import open_pubmedqa
from diagnosis.corpora.symptom2disease import open_symptom2disease
from diagnosis.corpora.table import open_table
from diagnosis.errors import UserError


def open_corpus(params) -> Corpus:
    """The corpus that ingest's `params` name; raises UserError where they do not fit together or a file is missing."""
    if params.corpus.startswith("mimic"):
        if params.labels == "own":
            raise UserError(
                f"params.yaml: ingest.labels is own, but {params.corpus} has ICD codes: chapter, category or code, ccs, ccsr or phecode"
            )
        opener = open_mimic4 if params.corpus == "mimic4" else open_mimic3
        corpus = opener(params.path, params.labels, params.diagnoses, params.mimic)
    elif params.corpus == "fhir":
        if params.labels in ("ccs", "ccsr", "phecode"):
            raise UserError(
                f"params.yaml: ingest.labels is {params.labels}: for fhir take chapter, category, code or own"
            )
        corpus = open_fhir(params.path, params.labels, params.diagnoses)
    elif params.corpus == "table":
        corpus = open_table(params.path, params.table)
    else:
        corpus = {
            "mtsamples": open_mtsamples,
            "medical_abstracts": open_medical_abstracts,
            "symptom2disease": open_symptom2disease,
            "pubmedqa": open_pubmedqa,
            "pubmed": open_pubmed,
            "pmc": open_pmc,
            "cord19": open_cord19,
        }[params.corpus](params.path)
    if params.conflicts == "specific" and not corpus.document_types:
        raise UserError(
            f"params.yaml: ingest.conflicts is specific, but {params.corpus} has no document-type classes: use set, drop or first"
        )
    return corpus


def check_notes(params, kept: list[int], labels: list[list[str] | None], tally: Tally, corpus: Corpus) -> None:
    """Raises UserError where no note is left or all have the same label, if they have any, or synonyms are of a class
    that none has. `kept` are the rows that are written, `labels` the labels by row.
    """
    left_out = ", ".join(f"{reason} {count}" for reason, count in sorted(tally.skipped.items())) or "nothing skipped"
    if not kept:
        raise UserError(
            f"{params.path}: no note is left ({left_out}): check the files, ingest.labels and ingest.conflicts"
        )
    if not corpus.unlabelled and len({label for row in kept for label in labels[row]}) < 2:
        raise UserError(
            f"{params.path}: all notes have the same class ({left_out}): nothing can be learnt from one class"
        )
    if unknown := sorted(set(params.synonyms) - {label for row in kept for label in labels[row]}):
        raise UserError(
            f"params.yaml: ingest.synonyms names '{unknown[0]}', a class that no note has: see metrics/ingest.json"
        )
