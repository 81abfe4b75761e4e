"""A term for another term of its concept, by an ontology file: the project's list, UMLS' MRCONSO.RRF or MetaMap's output."""

import random
from pathlib import Path

from diagnosis.augment import phrases
from diagnosis.augment.protected import CUES
from diagnosis.text.concepts import Concepts


class Terms:
    """The terms of a file by concept; an operator."""

    def __init__(self, path: Path):
        self._concepts = Concepts(path)
        self._terms = self._concepts.terms_by_name()

    def __call__(self, text: str, labels: frozenset[str], budget: int, rng: random.Random) -> tuple[str, int]:
        others = {}
        for start, end, name in self._concepts.find(text):
            form = text[start:end]
            terms = [term for term in self._terms[name] if term.lower() != form.lower()]
            # "no evidence of" in a term would be a negation of its own.
            others[form] = [term for term in terms if not CUES & set(term.lower().split())]
        spans = [(start, end) for start, end, _ in self._concepts.find(text) if others[text[start:end]]]
        return phrases.replace(text, spans, lambda form, rng: rng.choice(others[form]), labels, budget, rng)

    def canonical(self, text: str) -> str:
        """The text with each term as its concept's name."""
        return self._concepts.normalise(text)[0]
