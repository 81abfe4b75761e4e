"""Medical abstracts in five classes of patient condition (Schopf, Braun and Matthes 2022), with the official test set."""

from collections.abc import Iterator
from pathlib import Path

from diagnosis.corpora.corpus import Corpus, Tally
from diagnosis.corpora.sources import csv_records, find, find_required
from diagnosis.errors import UserError


def open_medical_abstracts(path: Path) -> Corpus:
    """`path` holds medical_tc_labels.csv, medical_tc_test.csv and, to train on, medical_tc_train.csv or ohsumed_5class.csv.

    The second is the five categories of OHSUMED that the corpus was drawn from; its rows that are in the official test set
    (in_tc_test) are left out.
    """
    labels, test = find_required(path, "medical_tc_labels"), find_required(path, "medical_tc_test")
    train = find(path, "medical_tc_train") or find(path, "ohsumed_5class")
    if train is None:
        raise UserError(
            f"{path} has neither medical_tc_train.csv nor ohsumed_5class.csv(.gz): put one there to train on"
        )
    names = {
        row["condition_label"].strip(): row["condition_name"].strip()
        for _, row in csv_records(labels, ["condition_label", "condition_name"])
    }

    def rows(tally: Tally) -> Iterator[dict]:
        yield from _rows(train, "train", names, tally)
        yield from _rows(test, "test", names, tally)

    return Corpus(
        rows=rows,
        data_use={"corpus": "medical_abstracts", "licence": "CC-BY-SA-3.0", "public": True},
        official_split=True,
    )


def _rows(file: Path, split: str, names: dict[str, str], tally: Tally) -> Iterator[dict]:
    ohsumed = file.name.lower().startswith("ohsumed")
    for record, row in csv_records(file, ["condition_label", "medical_abstract", *(["in_tc_test"] if ohsumed else [])]):
        number = row["condition_label"].strip()
        if ohsumed and row["in_tc_test"].strip() != "0":
            tally.skipped["in_official_test"] += 1
        elif not row["medical_abstract"].strip():
            tally.skipped["no_text"] += 1
        elif not number:
            tally.skipped["no_label"] += 1
        elif number not in names:
            raise UserError(
                f"{file}, record {record}: its condition_label is not in medical_tc_labels.csv: mend one of them"
            )
        else:
            yield {
                "note_id": f"{split}-{record}",
                "source": "medical_abstracts",
                "split": split,
                "text": row["medical_abstract"],
                "labels": [names[number]],
            }
