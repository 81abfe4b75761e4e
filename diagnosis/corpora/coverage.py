"""How much of what is coded stands in no note: the admissions without one, and the diagnoses that their notes do not name.

A diagnosis counts as named where one note of its admission holds every content word of the code's official title. A synonym or an
abbreviation ("MI") does not count, so what is found here is the most that can be missing, not what is.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping

WORD = re.compile(r"[^\W_]+")
EMPTY_WORDS = frozenset(
    "a an and any as at be by due during for from in into is it its nec nos not of on or other others than that the this to type "
    "unspecified specified unspec elsewhere classified classifiable mention mentioned stated with without use used affecting "
    "encounter initial subsequent sequela episode care site sites part parts condition conditions disease disorder disorders".split()
)
"""Function words, and words with which the classifications qualify a title."""


def content_words(title: str) -> frozenset[str]:
    """Lower-cased words of a code's title that say what the diagnosis is; empty where none does.

    What is "unspecified" or "not elsewhere classified" after a comma, or follows "without", is not asked for.
    """
    first, *others = title.lower().split(",")
    parts = [first, *(part for part in others if "unspecified" not in part and "not elsewhere" not in part)]
    return frozenset(WORD.findall(" ".join(part.partition(" without ")[0] for part in parts))) - EMPTY_WORDS


class Coverage:
    """Fed with the words of every note that is read; then says what share of admissions and diagnoses they cover.

    `labels` are the classes by encounter. `codes` are, in their order, the codes by encounter that gave them, `classes` the class and
    `titles` the official title of each code: without titles only admissions are counted.
    """

    def __init__(
        self,
        labels: Mapping[str, list[str]],
        codes: Mapping[str, list[str]],
        classes: Mapping[str, str],
        titles: Mapping[str, str],
    ):
        self._labels, self._codes, self._classes = labels, codes, classes
        self._words = {code: content_words(titles.get(code, "")) for code in classes} if titles else {}
        self._named: dict[str, int] = {}  # by encounter, a bit for each of its codes

    def see(self, encounter: str, words: Iterable[str]) -> None:
        """A note of this encounter, as lower-cased alphanumeric words."""
        named = self._named.get(encounter, 0)
        if self._words:
            words = set(words)
            for place, code in enumerate(self._codes.get(encounter, ())):
                if self._words[code] and self._words[code] <= words:
                    named |= 1 << place
        self._named[encounter] = named

    def measures(self, min_count: int) -> dict:
        """Counts, and by class the share without a note or without its name; null where one side has 1 to `min_count` - 1."""
        coded, noteless = Counter(), Counter()
        for encounter, labels in self._labels.items():
            coded.update(labels)
            noteless.update(labels if encounter not in self._named else ())
        admissions = sum(bool(labels) for labels in self._labels.values())
        measures = {
            "admissions_with_diagnosis": admissions,
            "admissions_without_note": admissions - sum(bool(self._labels.get(seen)) for seen in self._named),
            "without_note": _shares(noteless, coded, min_count),
        }
        if self._words:
            judged, unnamed, unjudged = Counter(), Counter(), 0
            for encounter, named in self._named.items():
                for place, code in enumerate(self._codes.get(encounter, ())):
                    if self._words[code]:
                        judged[self._classes[code]] += 1
                        unnamed[self._classes[code]] += not named >> place & 1
                    else:
                        unjudged += 1
            measures |= {
                "diagnoses_with_note": judged.total(),
                "diagnoses_not_named": unnamed.total(),
                "diagnoses_without_title": unjudged,
                "not_named": _shares(unnamed, judged, min_count),
            }
        return measures


def _shares(parts: Counter, wholes: Counter, min_count: int) -> dict[str, float | None]:
    """parts / wholes by class of at least `min_count`; null where a share would tell a count between 0 and `min_count`."""
    return {
        name: None if 0 < parts[name] < min_count or 0 < whole - parts[name] < min_count else parts[name] / whole
        for name, whole in sorted(wholes.items())
        if whole >= min_count
    }
