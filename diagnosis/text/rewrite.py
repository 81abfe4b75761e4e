"""The steps of cleaning that write a note's words another way and keep their meaning, as chosen and counted."""

from collections import Counter
from pathlib import Path

from diagnosis.text import abbreviations, context
from diagnosis.text.concepts import Concepts


class Rewriting:
    """The chosen steps in their order; `changes` and `notes` count by step what was changed, and texts that had a change."""

    def __init__(self, repair_spelling: bool, expand_abbreviations: bool, concepts: Path | None, context_as: str):
        self.steps = {}
        self.changes, self.notes = Counter(), Counter()
        if repair_spelling:
            from diagnosis.text.spelling import Speller

            self.steps["repair_spelling"] = Speller().repair
        if expand_abbreviations:
            self.steps["expand_abbreviations"] = abbreviations.expand
        if concepts:
            self.steps["normalise_concepts"] = Concepts(concepts).normalise
        if context_as != "none":
            self.steps["context"] = {"mark": context.mark, "drop": context.drop}[context_as]

    def __call__(self, text: str) -> str:
        for name, step in self.steps.items():
            text, changed = step(text)
            self.changes[name] += changed
            self.notes[name] += changed > 0
        return text

    def counts(self) -> dict:
        return {name: {"changes": self.changes[name], "notes": self.notes[name]} for name in self.steps}
