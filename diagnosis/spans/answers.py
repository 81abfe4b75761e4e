"""Extractive question answering: where in a note the answer stands, or that it is not there (Rajpurkar et al. 2018, Know What
You Don't Know: Unanswerable Questions for SQuAD)."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from diagnosis.errors import UserError
from diagnosis.phi.spans import Span
from diagnosis.training.tokens import on_device, pad, takes_types

LONGEST_ANSWER = 30  # tokens
CANDIDATES = 20  # likeliest starts, and ends, that are tried
MIN_ROOM = 8  # tokens of a note beside a question
WINDOWS_AT_ONCE = 32


class Question(NamedTuple):
    """A question to a note with every span that answers it; none: the note does not say."""

    note: int
    question: str
    answers: list[Span]


class QuestionWindow(NamedTuple):
    """A question with a stretch of its note: ids and types (tokens,), of each token its characters in the note, -1 for none."""

    ids: np.ndarray
    types: np.ndarray
    characters: np.ndarray  # (tokens, 2)


def questions_of(notes: list[list[Span]], asked: dict[str, str]) -> list[Question]:
    """Of each note one question a kind, in order; `asked` has the question of each kind."""
    return [
        Question(number, question, [span for span in spans if span.kind == kind])
        for number, spans in enumerate(notes)
        for kind, question in sorted(asked.items())
    ]


def question_windows(tokenizer, question: str, text: str, max_tokens: int) -> list[QuestionWindow]:
    """The text in windows, each behind the question, of at most `max_tokens` tokens in all; neighbours share a quarter of their text."""
    backend = tokenizer.backend_tokenizer
    backend.no_padding()
    backend.no_truncation()
    room = (
        max_tokens
        - backend.num_special_tokens_to_add(True)
        - len(backend.encode(question, add_special_tokens=False).ids)
    )
    if room < MIN_ROOM:
        raise UserError(
            f"params.yaml: finetune_spans.max_tokens is {max_tokens}, which leaves {max(room, 0)} tokens of a note beside a question: raise it, or "
            "shorten finetune_spans.questions"
        )
    backend.enable_truncation(max_tokens, stride=room // 4, strategy="only_second")
    first = backend.encode(question, text)
    backend.no_truncation()
    result = []
    for encoding in [first, *first.overflowing]:
        characters = np.array(
            [
                (s, e) if of == 1 and s < e else (-1, -1)
                for of, (s, e) in zip(encoding.sequence_ids, encoding.offsets, strict=True)
            ]
        )
        result.append(
            QuestionWindow(
                np.array(encoding.ids, dtype=np.int32), np.array(encoding.type_ids, dtype=np.uint8), characters
            )
        )
    return result


def target(window: QuestionWindow, answers: list[Span]) -> tuple[int, int]:
    """First and last token of the first answer that the window holds whole; (0, 0), its first token, where it holds none."""
    starts, ends = window.characters.T
    for answer in answers:
        inside = np.flatnonzero((starts < answer.end) & (ends > answer.start) & (starts >= 0))
        if len(inside) and starts[inside[0]] <= answer.start and ends[inside[-1]] >= answer.end:
            return int(inside[0]), int(inside[-1])
    return 0, 0


def examples(tokenizer, questions: list[Question], texts: list[str], max_tokens: int):
    """(QuestionWindow, (first, last)) of every window of every question."""
    return [
        (window, target(window, question.answers))
        for question in tqdm(questions, unit=" questions", desc="finetune_spans: tokenise")
        for window in question_windows(tokenizer, question.question, texts[question.note], max_tokens)
    ]


def batch_of(windows: list[QuestionWindow], model, tokenizer) -> dict:
    types = [window.types for window in windows] if takes_types(model) else None
    batch = pad([window.ids for window in windows], types, tokenizer.pad_token_id)
    return on_device(batch, model.device)


def collator(model, tokenizer) -> Callable[[list], dict]:
    """A function that makes some windows with their targets a batch for the model."""

    def collate(some: list[tuple[QuestionWindow, tuple[int, int]]]) -> dict:
        first, last = torch.tensor([own for _, own in some]).to(model.device).T
        batch = batch_of([window for window, _ in some], model, tokenizer)
        return batch | {"start_positions": first, "end_positions": last}

    return collate


@torch.inference_mode()
def answer(model, tokenizer, questions: list[Question], texts: list[str], max_tokens: int) -> list[str]:
    """The answer to each question as it stands in the note, "" for none: the likeliest start and end of all windows, unless the
    first token of every window is likelier still."""
    windows = [
        (number, window)
        for number, question in enumerate(questions)
        for window in question_windows(tokenizer, question.question, texts[question.note], max_tokens)
    ]
    windows.sort(key=lambda each: -len(each[1].ids))
    best = [(-np.inf, "")] * len(questions)
    none = np.full(len(questions), np.inf)
    for start in tqdm(range(0, len(windows), WINDOWS_AT_ONCE), unit=" batches", desc="finetune_spans: answer"):
        some = windows[start : start + WINDOWS_AT_ONCE]
        outputs = model(**batch_of([window for _, window in some], model, tokenizer))
        firsts, lasts = outputs.start_logits.float().cpu().numpy(), outputs.end_logits.float().cpu().numpy()
        for (number, window), first, last in zip(some, firsts, lasts, strict=True):
            none[number] = min(none[number], first[0] + last[0])
            score, (begin, end) = likeliest(window, first, last)
            if score > best[number][0]:
                best[number] = (score, texts[questions[number].note][begin:end])
    return [text if score > nothing else "" for (score, text), nothing in zip(best, none, strict=True)]


def likeliest(window: QuestionWindow, first: np.ndarray, last: np.ndarray) -> tuple[float, tuple[int, int]]:
    """The highest sum of a start's and an end's logit within the note's text, and its characters; minus infinity for no text."""
    inside = np.flatnonzero(window.characters[:, 0] >= 0)
    starts = inside[np.argsort(-first[inside], kind="stable")[:CANDIDATES]]
    ends = inside[np.argsort(-last[inside], kind="stable")[:CANDIDATES]]
    found = [(float(first[s] + last[e]), -s, -e) for s in starts for e in ends if s <= e < s + LONGEST_ANSWER]
    if not found:
        return -np.inf, (0, 0)
    score, s, e = max(found)
    return score, (int(window.characters[-s, 0]), int(window.characters[-e, 1]))
