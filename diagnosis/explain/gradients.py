"""Integrated gradients of notes on the model's input embeddings, summed by word."""

import numpy as np
import torch
from captum.attr import LayerIntegratedGradients

from diagnosis.explain.classifier import Classifier, Note


def integrated_gradients(
    classifier: Classifier, notes: list[Note], classes: list[list[int]], steps: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """(scores, changes): (classes, words) of each note, how much each word adds to the log odds of each of the note's `classes`;
    and (classes,), how far the log odds go in all, which the words' sum misses by the error of the steps.

    From an input in which every word is the mask token to the note as it is, through `steps` points (Gauss-Legendre), by captum
    (Sundararajan et al. 2017, Axiomatic Attribution for Deep Networks). All windows of a note go the way together.
    """
    run = forward(classifier)
    layer = LayerIntegratedGradients(run, embeddings(classifier.model))
    items = [(number, row) for number, own in enumerate(classes) for row in range(len(own))]
    items.sort(key=lambda item: -len(notes[item[0]].windows[0].ids))
    result = [np.zeros((len(own), len(note.spans))) for note, own in zip(notes, classes, strict=True)]
    changes = [np.zeros(len(own)) for own in classes]
    while items:
        # Whole notes, and at most a batch of windows, of which one at a time goes through its steps.
        taken = [items.pop(0)]
        while items and sum(len(notes[number].windows) for number, _ in [*taken, items[0]]) <= classifier.batch_size:
            taken.append(items.pop(0))
        windows = [(place, window) for place, (number, _) in enumerate(taken) for window in notes[number].windows]
        batch = classifier.batch([w.ids for _, w in windows], [w.types for _, w in windows])
        ids = batch.pop("input_ids")
        whose = torch.tensor([place for place, _ in windows], device=ids.device)
        target = torch.tensor([classes[number][row] for number, row in taken], device=ids.device)[whose]
        blank, more = without_words(classifier, ids, windows), (whose, target, len(windows), *batch.values())
        found = layer.attribute(
            ids,
            baselines=blank,
            additional_forward_args=more,
            n_steps=steps,
            internal_batch_size=max(classifier.batch_size, len(windows)),
        )
        found = found.detach().sum(dim=-1).double().cpu().numpy()
        with torch.inference_mode():
            change = (run(ids, *more) - run(blank, *more)).cpu().numpy()
        for (number, row), far in zip(taken, change, strict=True):
            changes[number][row] = far
        for (place, window), own in zip(windows, found, strict=True):
            number, row = taken[place]
            is_word = window.words >= 0
            np.add.at(result[number][row], window.words[is_word], own[: len(window.ids)][is_word])
    return result, changes


def forward(classifier: Classifier):
    """A function from `rows` windows, at one or more points of the way, to the log odds of each note's target at each point."""

    def run(ids, whose, target, rows, mask, types=None):
        more = {} if types is None else {"token_type_ids": types}
        outputs = classifier.model(input_ids=ids, attention_mask=mask, **more).logits
        # captum puts the points one behind the other, all windows of a point side by side.
        point = torch.arange(len(whose), device=whose.device) // rows
        return log_odds_of(classifier, outputs, whose + point * (whose[-1] + 1), target)

    return run


def log_odds_of(classifier: Classifier, outputs, note, target) -> torch.Tensor:
    first = torch.searchsorted(note, torch.arange(int(note[-1]) + 1, device=note.device))
    chosen = target[first].unsqueeze(1)
    logits = classifier.pooled(outputs, note)
    own = logits.gather(1, chosen).squeeze(1)
    if not classifier.single:
        return own
    return own - logits.scatter(1, chosen, -torch.inf).logsumexp(dim=1)


def without_words(classifier: Classifier, ids: torch.Tensor, windows) -> torch.Tensor:
    """The ids with the mask token in place of every word, or the unknown or padding token where the model has none."""
    tokenizer = classifier.tokenizer
    named = tokenizer.mask_token_id, tokenizer.unk_token_id, tokenizer.pad_token_id
    blank = next(number for number in named if number is not None)
    result = ids.clone()
    for row, (_, window) in enumerate(windows):
        result[row, : len(window.ids)][torch.from_numpy(window.words >= 0).to(ids.device)] = blank
    return result


def embeddings(model) -> torch.nn.Module:
    """The layer that makes vectors of token ids, of whatever backbone."""
    return model.base_model.get_input_embeddings()
