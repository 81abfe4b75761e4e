"""Read a corpus into the one note table: labels, groups, repeated texts merged, near-duplicate clusters found."""

from array import array
from collections import Counter
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field
from tqdm import tqdm

from diagnosis.corpora.conflicts import Policy, label_ceilings, resolve
from diagnosis.corpora.corpus import Tally
from diagnosis.corpora.gold import read_spans, write_spans
from diagnosis.corpora.mimic import MimicParams
from diagnosis.corpora.near_duplicates import Sketches, fingerprint, named_clusters, words
from diagnosis.corpora.readers import check_notes, open_corpus
from diagnosis.corpora.table import TableParams
from diagnosis.corpora.titles import class_titles
from diagnosis.data_use import DataUseParams, check_unpushable
from diagnosis.errors import run
from diagnosis.files import write_json
from diagnosis.notes import note_writer
from diagnosis.params import Params

NOTES = Path("data/notes.parquet")
GOLD = Path("data/gold_spans.parquet")
ANNOTATIONS = Path("data/annotations.parquet")
TITLES = Path("data/titles.json")
METRICS = Path("metrics/ingest.json")


class IngestParams(Params):
    corpus: Literal[
        "mimic4", "mimic3", "mtsamples", "medical_abstracts", "symptom2disease", "fhir", "pubmedqa", "pubmed", "pmc", "cord19",
        "table",
    ]  # fmt: skip
    path: Path
    labels: Literal["chapter", "category", "code", "ccs", "ccsr", "phecode", "own"]
    diagnoses: Literal["primary", "all"]
    conflicts: Policy
    near_duplicate_jaccard: float = Field(ge=0.5, le=1)
    min_count: int = Field(ge=1)
    seed: int = Field(ge=0, lt=2**32)
    synonyms: dict[str, list[str]]
    mimic: MimicParams
    table: TableParams
    data_use: DataUseParams


def main():
    params = IngestParams.load("ingest")
    corpus = open_corpus(params)
    terms = params.data_use.over(corpus.data_use)
    if not terms.public:
        check_unpushable(params.path)

    # ---- first reading: what each note is, by numbers; its text is not kept
    tally, sketches = Tally(), Sketches(params.seed, NOTES.parent)
    ids, patients, texts, labels, splits, lengths = [], [], array("l"), [], [], array("l")
    number_of_text: dict[bytes, int] = {}
    same_labels: dict[tuple, tuple] = {}
    for row in tqdm(corpus.rows(tally), desc="ingest: read", unit=" notes"):
        its_words = words(row["text"], row.get("text_pair"))
        text = number_of_text.setdefault(fingerprint(its_words), len(number_of_text))
        if text == len(sketches) and params.near_duplicate_jaccard < 1:
            sketches.add(its_words)
        if corpus.coverage:
            corpus.coverage.see(row["encounter_id"], its_words)
        ids.append(row["note_id"])
        patients.append(row.get("patient_id"))
        texts.append(text)
        labels.append(same_labels.setdefault(tuple(row["labels"]), tuple(row["labels"])))
        splits.append(row.get("split"))
        lengths.append(len(row["text"].split()))

    del number_of_text

    # ---- which of them are written, with which labels and in which cluster
    official = [corpus.official_split and split != "train" for split in splits]
    resolved = resolve(texts, patients, labels, official, params.conflicts, corpus.document_types)
    kept = [row for row, own in enumerate(resolved.labels) if own is not None]
    check_notes(params, kept, resolved.labels, tally, corpus)
    kept_ids, kept_texts = [ids[row] for row in kept], [texts[row] for row in kept]
    names = named_clusters(kept_ids, kept_texts, sketches, params.near_duplicate_jaccard)
    cluster = dict(zip(kept, names, strict=True))
    del sketches  # 256 bytes a text, done with

    # ---- second reading: the note table, and the corpus' known identifiers
    labelled = "multi_label" if corpus.multi_label or params.conflicts == "set" else "single_label"
    metadata = {
        "corpus": terms.corpus,
        "task": "unlabelled" if corpus.unlabelled else labelled,
        "text_pair": corpus.text_pair,
        "data_use": terms.plain(),
        "official_split": corpus.official_split,
    }
    characters = {}
    with note_writer(NOTES, metadata) as writer:
        for number, row in enumerate(tqdm(corpus.rows(Tally()), desc="ingest: write", unit=" notes", total=len(ids))):
            if number in cluster:
                writer.write([row | {"labels": resolved.labels[number], "duplicate_cluster": cluster[number]}])
                if corpus.gold or corpus.annotations:
                    characters[row["note_id"]] = len(row["text"])
        gold_spans = write_spans(GOLD, read_spans(corpus.gold, characters) if corpus.gold else ())
        file, kind = corpus.annotations or (None, None)
        annotations = write_spans(ANNOTATIONS, read_spans(file, characters, kind) if file else ())

    # ---- what came in and what did not; what the classes are called
    classes = Counter(label for row in kept for label in resolved.labels[row])
    write_json(TITLES, class_titles(list(classes), corpus.titles, params.synonyms))
    spellings = Counter(label.casefold() for label in {label for own in same_labels for label in own})
    shown = {label: count for label, count in classes.items() if count >= params.min_count}
    sizes = [size for size in Counter(cluster.values()).values() if size > 1]
    quantiles = np.quantile([lengths[row] for row in kept], [0, 0.05, 0.5, 0.95, 1], method="inverted_cdf")
    write_json(METRICS, {
        **metadata,
        "notes_read": len(ids),
        "notes": len(kept),
        "notes_without_patient": sum(patients[row] is None for row in kept),
        "patients": len({patients[row] for row in kept} - {None}),
        "skipped": tally.skipped,
        "groups": tally.groups,
        "codes": tally.codes,
        "coverage": corpus.coverage.measures(params.min_count) if corpus.coverage else None,
        "classes": len(classes),
        "labels": shown,
        "labels_under_min_count": {"classes": len(classes) - len(shown), "notes": classes.total() - sum(shown.values())},
        "labels_differing_in_case": sum(count for count in spellings.values() if count > 1),
        "conflicts": resolved.counts,
        "label_ceiling": label_ceilings(texts, labels, splits),
        "label_ceiling_written": label_ceilings(
            kept_texts,
            [tuple(resolved.labels[row]) for row in kept],
            [splits[row] for row in kept],
        ),
        "near_duplicates": {"clusters": len(sizes), "notes": sum(sizes), "largest_cluster": max(sizes, default=1)},
        "words": dict(zip(["min", "p5", "median", "p95", "max"], quantiles, strict=True)),
        "gold_spans": gold_spans,
        "annotations": annotations,
    })  # fmt: skip


if __name__ == "__main__":
    run(main)
