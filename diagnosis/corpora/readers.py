"""The reader of each corpus, by its name in params.yaml."""

from diagnosis.corpora.cord19 import open_cord19
from diagnosis.corpora.corpus import Corpus
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
