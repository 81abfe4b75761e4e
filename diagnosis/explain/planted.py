"""Which words of a cleaned note a corpus has annotated: its spans are of the de-identified text, which cleaning moved."""

from difflib import SequenceMatcher

import numpy as np

from diagnosis.explain.classifier import WORD, Note
from diagnosis.phi.spans import Span


def planted(note: Note, text: str, source: str, spans: list[Span], kind: str) -> np.ndarray:
    """(words,) bool: the words of a note with `text` that stand in a span of the kind in `source`, the de-identified text.

    The two texts' words are aligned; a word that cleaning cut or wrote anew is no word of a span.
    """
    before, after = list(WORD.finditer(source)), list(WORD.finditer(text))
    place = {
        block.b + offset: block.a + offset
        for block in SequenceMatcher(
            None, [word[0] for word in before], [word[0] for word in after], autojunk=False
        ).get_matching_blocks()
        for offset in range(block.size)
    }
    wanted = [span for span in spans if span.kind == kind]
    marked = {
        after[here].start()
        for here, there in place.items()
        if any(span.start < before[there].end() and before[there].start() < span.end for span in wanted)
    }
    return np.array([which == 0 and start in marked for which, start, _ in note.spans], dtype=bool)
