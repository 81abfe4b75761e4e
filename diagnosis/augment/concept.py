"""A term for another term of its concept, by an ontology file: the project's list, UMLS' MRCONSO.RRF or MetaMap's output."""

import random
from pathlib import Path

from diagnosis.augment import phrases
from diagnosis.augment.protected import WORD, kind
from diagnosis.text.concepts import Concepts


class Terms:
    """The terms of a file by concept; an operator."""

    def __init__(self, path: Path):
        self._concepts = Concepts(path)
        self._terms = self._concepts.terms_by_name()

    def __call__(self, text: str, labels: frozenset[str], budget: int, rng: random.Random) -> tuple[str, int]:
        found, others = list(self._concepts.find(text)), {}
        for start, end, name in found:
            form = text[start:end]
            terms = [term for term in self._terms[name] if term.lower() != form.lower()]
            others[form] = [term for term in terms if _guarded(term) == _guarded(form)]
        spans = [(start, end) for start, end, _ in found if others[text[start:end]]]
        return phrases.replace(text, spans, lambda form, rng: rng.choice(others[form]), labels, budget, rng)

    def canonical(self, text: str) -> str:
        """The text with each term as its concept's name."""
        return self._concepts.normalise(text)[0]


def _guarded(term: str) -> list[str]:
    """Its numbers, sides, cues and the like: "type 2 diabetes" is not to lose its number, nor a term to bring in a negation."""
    words = [word.lower() for word in WORD.findall(term)]
    return sorted(word for word in words if kind(word, frozenset()) not in ("", "letter", "finding"))
