"""The operators by name. Each takes (text, words of the labels, budget, random numbers) and returns the text and its changes."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from diagnosis.augment import (
    abbreviations,
    delete,
    insert,
    negation,
    section_dropout,
    section_shuffle,
    surface,
    swap,
    synonyms,
)
from diagnosis.augment.concept import Terms
from diagnosis.augment.reviewed import Pairs
from diagnosis.augment.wordnet import FILES, Synonyms
from diagnosis.errors import UserError
from diagnosis.files import sha256

Operator = Callable[..., tuple[str, int]]

PLAIN: dict[str, Operator] = {
    "synonym": synonyms.apply,
    "abbreviation": abbreviations.apply,
    "surface": surface.apply,
    "negation": negation.apply,
    "swap": swap.apply,
    "delete": delete.apply,
    "insert": insert.apply,
    "section_dropout": section_dropout.apply,
    "section_shuffle": section_shuffle.apply,
}
"""Those that need nothing but the note."""

ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*:/|www\.|[\w-]+(?:\.[\w-]+)+/", re.IGNORECASE)


def prepared(
    names: Sequence[str],
    *,
    base: Path,
    concepts: Path | None,
    wordnet: Path | None,
    translators: Sequence[str],
    reviewed_swaps: Path | None,
    threads: int,
) -> tuple[dict[str, Operator], dict[str, str]]:
    """The named operators in their order, and the SHA-256 of what they read from outside the repository, by param.

    Raises UserError where an operator lacks what it needs.
    """
    operators, sources = {}, {}
    for name in names:
        if name in PLAIN:
            operators[name] = PLAIN[name]
        elif name == "wordnet":
            if wordnet is None:
                raise UserError("params.yaml: augment.wordnet is null: name a folder of WordNet 3, Debian's wordnet-base puts it at /usr/share/wordnet")  # fmt: skip
            operators[name] = Synonyms(wordnet)
            sources |= {f"wordnet/{file}": sha256(wordnet / file) for file in FILES}
        elif name == "concept":
            operators[name] = Terms(concepts)
        elif name == "symptom":
            if reviewed_swaps is None:
                raise UserError("params.yaml: augment.reviewed_swaps is null: swaps of symptoms need a list that a clinician has reviewed (docs/augment.md)")  # fmt: skip
            operators[name] = Pairs(reviewed_swaps)
            sources["reviewed_swaps"] = sha256(reviewed_swaps)
        elif name == "mask":
            from diagnosis.augment.masked import Masked  # here: torch takes seconds to import

            operators[name] = Masked(base, threads)
        elif name == "back_translation":
            if any(ADDRESS.match(folder) for folder in translators):
                raise UserError("params.yaml: augment.translators has a web address: text would leave the site; name folders of Marian models")  # fmt: skip
            if len(translators) != 2:
                raise UserError("params.yaml: augment.translators needs two folders of Marian models, there and back: name them")  # fmt: skip
            from diagnosis.augment.back_translation import BackTranslation

            there, back = map(Path, translators)
            operators[name] = BackTranslation(there, back, threads)
            sources |= {"translators/there": sha256(there), "translators/back": sha256(back)}
    return operators, sources
