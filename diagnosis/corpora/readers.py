"""The reader of each corpus, by its name in params.yaml."""

from diagnosis.corpora.corpus import Corpus
from diagnosis.corpora.medical_abstracts import open_medical_abstracts
from diagnosis.corpora.mimic import open_mimic3, open_mimic4
from diagnosis.corpora.mtsamples import open_mtsamples
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
    elif params.corpus == "table":
        corpus = open_table(params.path, params.table)
    else:
        corpus = {
            "mtsamples": open_mtsamples,
            "medical_abstracts": open_medical_abstracts,
            "symptom2disease": open_symptom2disease,
        }[params.corpus](params.path)
    if params.conflicts == "specific" and not corpus.document_types:
        raise UserError(
            f"params.yaml: ingest.conflicts is specific, but {params.corpus} has no document-type classes: use set, drop or first"
        )
    return corpus
