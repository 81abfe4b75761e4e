"""The explanations of single notes: read, attribute, measure."""

from pathlib import Path

import numpy as np

from diagnosis.errors import UserError
from diagnosis.explain.choice import classes_of
from diagnosis.explain.classifier import Classifier, probability
from diagnosis.explain.methods import SAMPLED, attribute, generator
from diagnosis.explain.planted import planted
from diagnosis.explain.summary import Explained
from diagnosis.explain.trust import RANDOM_DRAWS, faithfulness
from diagnosis.notes import read_notes
from diagnosis.phi.score import Gold
from diagnosis.phi.spans import Span
from diagnosis.scores.shards import Shard


def read_texts(path: Path, wanted: set[str], card: dict) -> dict[str, list[str]]:
    """The text of each wanted note, and its pair where the model reads pairs; raises UserError where a note is not there."""
    found = {}
    for batch in read_notes(path, ["note_id", "text", "text_pair"]):
        for note in batch:
            if note["note_id"] in wanted:
                pair = [note["text_pair"] or ""] if card["text_pair"] else []
                found[note["note_id"]] = [note["text"], *pair]
    if missing := len(wanted - found.keys()):
        raise UserError(f"{path} lacks {missing} of the predicted notes: run `dvc repro`")
    return found


def planted_words(notes: Path, annotations: Path, kind: str, texts: dict) -> dict[str, tuple[str, list[Span]]]:
    """The de-identified text of each note of `texts` that has annotations, with its spans; {} where nothing is annotated.

    Raises UserError where no annotation at all is of the `kind`.
    """
    gold, found, kinds = Gold(annotations, kinds=None), {}, set()
    if not gold:
        return {}
    for batch in read_notes(notes, ["note_id", "text"]):
        for note in batch:
            spans = [span for span, _ in gold.of(note["note_id"], note["text"])]
            kinds |= {span.kind for span in spans}
            if spans and note["note_id"] in texts:
                found[note["note_id"]] = note["text"], spans
    if kind not in kinds:
        raise UserError(
            f"params.yaml: explain.annotation is {kind!r}, which no annotation is: they are {', '.join(sorted(kinds))}"
        )
    return found


def explain(
    classifier: Classifier, shard: Shard, chosen: dict[int, str], texts: dict, annotated: dict, params
) -> tuple[list[Explained], dict[str, str]]:
    """The explanations of the chosen rows of a shard, in their order and without notes that have no word; and why a method gave
    nothing, by its name."""
    read = {row: classifier.read(shard.note_ids[row], *texts[shard.note_ids[row]]) for row in chosen}
    rows = [row for row, note in read.items() if note.spans]
    if not rows:
        return [], {}
    notes, classes = [read[row] for row in rows], [classes_of(shard, row) for row in rows]
    options = {"steps": params.steps, "samples": params.samples}
    scores, totals, by_head, missing = attribute(
        classifier, notes, classes, params.methods, seed=params.seed, **options
    )
    sampled = [name for name in params.methods if name in SAMPLED]
    again = attribute(classifier, notes, classes, sampled, seed=params.seed + 1, **options).scores
    whole = classifier.log_odds(notes, [np.ones((1, len(note.spans)), bool) for note in notes])

    measured = [place for place, row in enumerate(rows) if chosen[row] != "worst"]
    orders = []
    for place in measured:
        rng = generator(params.seed, notes[place].note_id)
        orders.append([own[0] for own in scores[place].values()])
        orders[-1] += [rng.random(len(notes[place].spans)) for _ in range(RANDOM_DRAWS)]
    falls = [{} for _ in rows]
    found = faithfulness(classifier, [notes[p] for p in measured], [classes[p][0] for p in measured], orders)
    for place, each in zip(measured, found, strict=True):
        falls[place] = dict(zip(scores[place], each, strict=False)) | {"random": each[-RANDOM_DRAWS:].mean(axis=0)}
    classifier.forget()

    result = []
    for place, row in enumerate(rows):
        marked = None
        if note := annotated.get(notes[place].note_id):
            marked = planted(notes[place], texts[notes[place].note_id][0], *note, params.annotation)
        result.append(
            Explained(
                note=notes[place],
                row=row,
                chosen=chosen[row],
                classes=classes[place],
                odds=whole[place][0],
                scores=scores[place],
                totals=totals[place],
                again=again[place],
                by_head=by_head[place],
                falls=falls[place],
                planted=marked,
            )
        )
    return result, missing


def check_same_model(explained: list[Explained], shard: Shard, path: Path) -> None:
    """Raises UserError where the model does not say of a note what the predictions have."""
    for each in explained:
        if np.abs(probability(each.odds) - shard.probabilities[each.row]).max() > 0.02:
            raise UserError(f"{path} was not made by this model of these notes: run `dvc repro`")
