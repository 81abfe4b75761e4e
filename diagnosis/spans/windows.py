"""Notes as windows of tokens that overlap, each token with the word that it is a piece of: long notes lose nothing."""

from bisect import bisect_right
from typing import NamedTuple

import numpy as np

from diagnosis.phi.score import TOKEN


class Window(NamedTuple):
    """A stretch of a note: ids (tokens,) int32, and of each token the number of its word in the note, -1 for none."""

    ids: np.ndarray
    words: np.ndarray
    capitals: np.ndarray  # (tokens,) uint8: 1 where the word begins with a capital letter


def words_of(text: str) -> list[tuple[int, int]]:
    """Start and end of each word, as `diagnosis.phi.score` counts them: letters and digits between blanks and punctuation."""
    return [match.span() for match in TOKEN.finditer(text)]


def windows(tokenizer, text: str, words: list[tuple[int, int]], *, max_tokens: int) -> list[Window]:
    """The text in windows of at most `max_tokens` tokens, special ones included; neighbours share a quarter of them.

    Every word is in a window, and but for words that are longer than the overlap, in one that has it whole.
    """
    backend = tokenizer.backend_tokenizer
    backend.no_padding()
    room = max_tokens - backend.num_special_tokens_to_add(False)
    backend.enable_truncation(max_tokens, stride=room // 4)
    first = backend.encode(text)
    backend.no_truncation()
    starts = [start for start, _ in words]
    result = []
    for encoding in [first, *first.overflowing]:
        numbers = np.full(len(encoding.ids), -1, dtype=np.int64)
        for place, (special, (start, end)) in enumerate(
            zip(encoding.special_tokens_mask, encoding.offsets, strict=True)
        ):
            # By its last character: some tokenizers count the blank before a word as its first.
            number = bisect_right(starts, end - 1) - 1
            if not special and start < end and number >= 0 and words[number][1] >= end:
                numbers[place] = number
        capitals = np.array([n >= 0 and text[starts[n]].isupper() for n in numbers], dtype=np.uint8)
        result.append(Window(np.array(encoding.ids, dtype=np.int32), numbers, capitals))
    return result
