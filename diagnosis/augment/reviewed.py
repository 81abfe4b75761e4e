"""A symptom or disease for another one, by a list that somebody of the field has reviewed; without such a list it is refused.

Another finding is another statement: whether the label still holds is for a clinician to say, pair by pair.
"""

import random
import re
from pathlib import Path

from diagnosis.augment import phrases
from diagnosis.errors import UserError
from diagnosis.files import require

HEADER = ["term", "other_term", "reviewer"]


class Pairs:
    """The pairs of a tab-separated file with the columns term, other_term and reviewer, used both ways; an operator.

    Raises UserError where the file is missing, has other columns, or a row names no reviewer.
    """

    def __init__(self, path: Path):
        require(path, "check augment.reviewed_swaps")
        try:
            rows = [line.split("\t") for line in path.read_text("utf-8").splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError):
            raise UserError(f"{path} is no UTF-8 text file: check augment.reviewed_swaps") from None
        if not rows or [cell.strip() for cell in rows[0]] != HEADER:
            raise UserError(f"{path} must begin with the columns {', '.join(HEADER)}, separated by tabs: mend it")
        self._others: dict[str, list[str]] = {}
        for number, row in enumerate(rows[1:], 2):
            cells = [" ".join(cell.split()) for cell in row]
            if len(cells) != len(HEADER) or not all(cells):
                raise UserError(f"{path}, line {number}: a swap needs its two terms and who reviewed it: mend it")
            for one, other in ((cells[0], cells[1]), (cells[1], cells[0])):
                self._others.setdefault(one.lower(), []).append(other)
        if not self._others:
            raise UserError(f"{path} has no pair: bring reviewed ones, or leave symptom out of augment.operators")
        self._pattern = re.compile(
            phrases.boundaries("|".join(map(re.escape, sorted(self._others, key=lambda form: (-len(form), form))))),
            re.IGNORECASE,
        )
        self._group = self._groups()

    def __call__(self, text: str, labels: frozenset[str], budget: int, rng: random.Random) -> tuple[str, int]:
        def other_form(form: str, rng: random.Random) -> str:
            return rng.choice(self._others[form.lower()])

        return phrases.replace(text, phrases.matches(self._pattern, text), other_form, labels, budget, rng)

    def canonical(self, text: str) -> str:
        """The text with one term for all that may stand for each other, so that the guard sees other changes only."""
        return self._pattern.sub(lambda match: self._group[match[0].lower()], text)

    def _groups(self) -> dict[str, str]:
        """By term: the first, by name, of those that it is linked with."""
        group = {}
        for term in sorted(self._others):
            todo = [term]
            while todo:
                if (one := todo.pop()) not in group:
                    group[one] = term
                    todo += [other.lower() for other in self._others[one]]
        return group
