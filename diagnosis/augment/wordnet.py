"""A word for its synonym of WordNet (Miller 1995, WordNet: a lexical database for English), where it has one sense only.

EDA (Wei and Zou 2019) draws from any of a word's senses, and "cold" becomes "frigid". A word that is in one synset alone cannot be
misread, so only those are replaced, in the form in which WordNet has them (no plurals, no past tenses).
"""

import random
import re
from collections import defaultdict
from pathlib import Path

from diagnosis.augment import phrases
from diagnosis.augment.protected import FREE, columns, kind
from diagnosis.errors import UserError

FILES = [f"data.{part}" for part in ("noun", "verb", "adj", "adv")]
WORD = re.compile(r"[a-z]{4,}(?:-[a-z]+){0,2}")
PLAIN = re.compile(r"[a-z]{4,}(?:[_-][a-z]+){0,2}")  # no name, no number, no marker of place ("ready_to_hand(p)")


class Synonyms:
    """The synonyms of a folder with WordNet's data files (their format: wndb(5WN)); an operator.

    Raises UserError where a file is missing or is none of WordNet's.
    """

    def __init__(self, folder: Path):
        senses: dict[str, list[list[str]]] = defaultdict(list)
        for name in FILES:
            if not (folder / name).is_file():
                raise UserError(
                    f"{folder} has no {name} of WordNet: install Debian's wordnet-base and set augment.wordnet to /usr/share/wordnet, "
                    "or to your own folder of WordNet 3 (docs/augment.md)"
                )
            for synset in _synsets(folder / name):
                for word in synset:
                    senses[word.lower()].append(synset)
        irregular = {
            line.split(" ")[0]
            for path in sorted(folder.glob("*.exc"))
            for line in path.read_text("utf-8", errors="replace").splitlines()
        }  # "felt" is a cloth in WordNet, and in notes the past of "feel"
        self.of: dict[str, list[str]] = {}
        """By word: the other words of its only sense."""
        for word, found in senses.items():
            others = [other for other in found[0] if other != word and PLAIN.fullmatch(other)]
            single = len(found) == 1 and word in found[0] and WORD.fullmatch(word)
            if single and others and word not in irregular:
                self.of[word] = [other.replace("_", " ") for other in others]

    def __call__(self, text: str, labels: frozenset[str], budget: int, rng: random.Random) -> tuple[str, int]:
        words, _, states = columns(text, labels)
        free = (span for span, state in zip(words, states, strict=True) if state == FREE)
        spans = [(start, end) for start, end in free if self._safe(text[start:end].lower(), labels)]
        return phrases.replace(
            text, spans, lambda form, rng: rng.choice(self._safe(form.lower(), labels)), labels, budget, rng
        )

    def _safe(self, word: str, labels: frozenset[str]) -> list[str]:
        """Its synonyms less those with a protected word: a cue or a finding must not come in."""
        return [
            other for other in self.of.get(word, ()) if not any(kind(part, labels) for part in re.split("[ -]", other))
        ]


def _synsets(path: Path) -> list[list[str]]:
    """The words of each synset of a data file; lines that begin with a blank are its licence."""
    found = []
    for number, line in enumerate(path.read_text("utf-8", errors="replace").splitlines(), 1):
        if not line.strip() or line.startswith(" "):
            continue
        cells = line.split(" ")
        try:
            count = int(cells[3], 16)
            words = cells[4 : 4 + 2 * count : 2]
            if len(words) < count or not re.fullmatch(r"\d{8}", cells[0]):
                raise ValueError
        except (IndexError, ValueError):
            raise UserError(f"{path}, line {number}: no synset of WordNet 3: bring the file again") from None
        found.append(words)
    return found
