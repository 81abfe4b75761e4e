"""One pass over the notes for all probes, and one by patient for what was copied. Texts pass; hashed counts stay."""

from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import sparse
from tqdm import tqdm

from diagnosis.errors import UserError
from diagnosis.leakage.classify import Rows
from diagnosis.leakage.copy_forward import WORD, by_patient, copied, templates, without
from diagnosis.leakage.probes import TEXT_PROBES, other_admissions, tokens
from diagnosis.leakage.report import hidden
from diagnosis.notes import open_notes, read_notes
from diagnosis.scores.shards import Shard
from diagnosis.text.label_mentions import Mentions

Place = dict[str, dict[str, int]]


def places(files: dict[str, Path], model: dict[str, Shard], max_train_notes: int) -> tuple[Place, list[list[str]]]:
    """The row of each note by shard and note_id (the scored notes' order; the table's for train), and the train labels.

    Of train, patients are taken by a hash of their id until `max_train_notes` notes are there: probes need no more, and
    memory stays bounded. Raises UserError where a shard's notes are not the scored ones.
    """
    train = open_notes(files["train"]).read(["note_id", "patient_id", "labels"]).to_pydict()
    owners = [patient or note for patient, note in zip(train["patient_id"], train["note_id"], strict=True)]
    of_owner, taken, count = Counter(owners), set(), 0
    for owner in sorted(of_owner, key=lambda owner: sha256(owner.encode()).digest()):
        count += of_owner[owner]
        if count > max_train_notes:
            break
        taken.add(owner)
    kept = [row for row, owner in enumerate(owners) if owner in taken]
    place = {"train": {train["note_id"][row]: number for number, row in enumerate(kept)}}
    for name, shard in model.items():
        ids = open_notes(files[name]).read(["note_id"])["note_id"].to_pylist()
        if differing := len(set(ids) ^ set(shard.note_ids)):
            raise UserError(
                f"{files[name]}: {differing} notes are in the shard or in the predictions only: run `dvc repro`"
            )
        place[name] = {note_id: row for row, note_id in enumerate(shard.note_ids)}
    return place, [train["labels"][row] for row in kept]


def probe_tokens(
    paths: list[Path], place: Place, mentions: Mentions, says: str
) -> dict[str, dict[str, sparse.csr_matrix]]:
    """By probe and shard, the (notes, columns) token counts of the notes that stand in a shard; also of their `headings`.

    Raises UserError where one of them is in none of the tables.
    """
    where = {note_id: (name, row) for name, rows in place.items() for note_id, row in rows.items()}
    kinds = (*TEXT_PROBES, "headings")
    collected = {(kind, name): Rows() for kind in kinds for name in place}
    seen = 0
    with tqdm(total=sum(open_notes(path).metadata.num_rows for path in paths), desc=says, unit=" notes") as bar:
        for path in paths:
            for batch in read_notes(path, ["note_id", "note_type", "service", "site", "text", "text_pair"]):
                for name in place:
                    notes = [note for note in batch if where.get(note["note_id"], ("",))[0] == name]
                    found = [tokens(note, mentions) for note in notes]
                    at = [where[note["note_id"]][1] for note in notes]
                    for kind in kinds:
                        collected[kind, name].add(at, [each[kind] for each in found])
                    seen += len(notes)
                bar.update(len(batch))
    if seen != len(where):
        raise UserError(f"{paths[0]}: of {len(where)} notes of the shards {seen} are there: run `dvc repro`")
    return {kind: {name: collected[kind, name].matrix(len(rows)) for name, rows in place.items()} for kind in kinds}


def other_labels(files: dict[str, Path], place: Place) -> dict[str, sparse.csr_matrix]:
    """By shard, the token counts of the labels of each patient's other admissions in it."""
    result = {}
    for name, path in files.items():
        table = open_notes(path).read(["note_id", "patient_id", "encounter_id", "labels"]).to_pylist()
        notes = [note for note in table if note["note_id"] in place[name]]
        rows, found = Rows(), other_admissions(notes)
        rows.add([place[name][note_id] for note_id in found], list(found.values()))
        result[name] = rows.matrix(len(notes))
    return result


class Copies(NamedTuple):
    """By shard: the share of each note's words that are copied, (n,); word counts of the whole notes and of the new text alone."""

    share: dict[str, np.ndarray]
    words: dict[str, np.ndarray]
    among_several: dict[str, int]
    whole: dict[str, sparse.csr_matrix]
    new: dict[str, sparse.csr_matrix]

    def rates(self, min_count: int) -> dict:
        """By shard: notes, those whose patient has another, those with copied text, and the copied share of all words."""
        return {
            name: {
                "notes": len(share),
                "notes_of_patients_with_several": hidden(self.among_several[name], len(share), min_count),
                "notes_with_copied_text": hidden(int((share > 0).sum()), len(share), min_count),
                "copied_share_of_words": float((share * self.words[name]).sum() / max(1, self.words[name].sum())),
            }
            for name, share in self.share.items()
        }


def copies(files: dict[str, Path], place: Place, *, min_words: int, template_share: float) -> Copies:
    """What is copied within a patient's notes of each shard (no patient is in two). The template is that of train."""
    result = Copies({}, {}, {}, {}, {})
    template = templates(patients(files["train"], place["train"]), min_words=min_words, share=template_share)
    for name, path in files.items():
        count = len(place[name])
        share, length, several, whole, new = np.zeros(count), np.zeros(count), 0, Rows(), Rows()
        for notes in tqdm(patients(path, place[name]), desc=f"audit_leakage: copied, {name}", unit=" patients"):
            at = [place[name][note["note_id"]] for note in notes]
            texts = [note["text"] for note in notes]
            found = copied(texts, template, min_words)
            left = [without(text, gone) for text, gone in zip(texts, found, strict=True)]
            words = [WORD.findall(text.lower()) for text in texts]
            for row, gone, written in zip(at, found, words, strict=True):
                length[row] = len(written)
                share[row] = sum(len(piece.words) for piece in gone) / max(1, len(written))
            several += len(notes) if len(notes) > 1 else 0
            whole.add(at, words)
            new.add(at, [WORD.findall(text.lower()) for text in left])
        result.share[name], result.words[name], result.among_several[name] = share, length, several
        result.whole[name], result.new[name] = whole.matrix(count), new.matrix(count)
    return result


def patients(path: Path, ids: dict[str, int]) -> Iterator[list[dict]]:
    """The notes of a shard that `ids` names, a patient at a time."""
    table = open_notes(path).read(["note_id", "patient_id"]).to_pylist()
    sizes = Counter(note["patient_id"] for note in table if note["note_id"] in ids)
    every = (note for batch in read_notes(path, ["note_id", "patient_id", "text"]) for note in batch)
    notes = (note for note in every if note["note_id"] in ids)
    return by_patient(notes, sizes)
