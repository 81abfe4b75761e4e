"""Missing values of the note table's descriptive columns: a policy by column, fitted on the train shard, applied to all.

A value that is filled in is nobody's statement: the note names it in its column `imputed`, and the audits take it for missing.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from diagnosis.corpora.demographics import AGE_BANDS, OLDEST
from diagnosis.errors import UserError
from diagnosis.notes import IMPUTED, read_notes

COLUMNS = ("note_type", "service", "site", "period", "sex", "age_band", "race", "language", "insurance")
BANDS = (*(band for _, band in AGE_BANDS), OLDEST)  # in order, so that a band has a place to average
POLICIES = ("keep", "drop", "mode", "mean", "median", "nearest")

Facts = tuple[str | None, ...]
"""What a note states in `COLUMNS`."""


def check_policies(policies: dict) -> dict:
    """`policies` as they are, by column; raises ValueError for another column, another policy or one that does not fit."""
    for column, policy in policies.items():
        if column not in COLUMNS:
            raise ValueError(f"no descriptive column is called {column}: there are {', '.join(COLUMNS)}")
        constant = policy.get("constant") if isinstance(policy, dict) and len(policy) == 1 else None
        if policy not in POLICIES and not (isinstance(constant, str) and constant.strip()):
            raise ValueError(f"{column} has no policy of {', '.join(POLICIES)} or {{constant: text}}")
        if policy in ("mean", "median") and column != "age_band":
            raise ValueError(f"{column} has no {policy}: only age_band is in order")
        if column == "age_band" and constant and constant not in BANDS:
            raise ValueError(f"age_band is none of {', '.join(BANDS)}")
    return policies


class MissingValues:
    """What becomes of the notes of a table that lack a value: first `drop`, then `fit`, then `filled` by row."""

    def __init__(self, path: Path, policies: dict):
        self.fields = [IMPUTED] if policies else []
        """Columns that the shards have beyond the note table's."""
        self._policies = {COLUMNS.index(column): policy for column, policy in policies.items()}
        self._counts = {place: Counter() for place in self._policies}  # notes by shard
        self._values: dict[int, str | None] = {}
        self._fill: dict[int, Callable[[Facts], str]] = {}
        same: dict[Facts, Facts] = {}  # each once, whatever the number of notes
        batches = read_notes(path, list(COLUMNS)) if policies else ()
        facts = (tuple(note[column] for column in COLUMNS) for batch in batches for note in batch)
        self._facts = [same.setdefault(own, own) for own in facts]

    def drop(self, shard: Sequence[str | None], untouched: Sequence[str]) -> tuple[list[str | None], dict]:
        """The shard of each row, None for those that leave, and how many left by shard ({} where there are no policies).

        Rows of the `untouched` shards stay, without the value.
        """
        shard, left = list(shard), Counter()
        places = [place for place, policy in self._policies.items() if policy == "drop"]
        for row, facts in enumerate(self._facts if places else ()):
            lacking = [place for place in places if facts[place] is None]
            if shard[row] is None or not lacking:
                continue
            for place in lacking:
                self._counts[place][shard[row]] += 1
            if shard[row] not in untouched:
                left[shard[row]] += 1
                shard[row] = None
        return shard, {"missing_value": dict(left)} if self._policies else {}

    def fit(self, shard: Sequence[str | None]) -> None:
        """Learn from the rows of the train shard what fills each column; raises UserError where none of them states it."""
        train = Counter(facts for facts, name in zip(self._facts, shard, strict=False) if name == "train")
        for place, policy in self._policies.items():
            if isinstance(policy, dict):
                self._values[place] = policy["constant"]
            elif policy not in ("keep", "drop"):
                if all(facts[place] is None for facts in train):
                    raise UserError(
                        f"params.yaml: split.missing.{COLUMNS[place]} is {policy}, but no train note states its {COLUMNS[place]}: "
                        "keep it, or give a constant"
                    )
                if policy == "nearest":
                    self._fill[place] = cache(nearest(place, train))
                else:
                    self._values[place] = centre(policy, [(facts[place], count) for facts, count in train.items()])
        for facts, name in zip(self._facts, shard, strict=False):
            for place, policy in self._policies.items():
                if name is not None and facts[place] is None and policy != "drop":
                    self._counts[place][name] += 1

    def filled(self, row: int) -> dict:
        """The values that a row is given, and `imputed`, the columns that they are of; {} where there are no policies."""
        if not self._policies:
            return {}
        facts, given = self._facts[row], {}
        for place in self._policies:
            if facts[place] is None and (place in self._values or place in self._fill):
                given[COLUMNS[place]] = self._values[place] if place in self._values else self._fill[place](facts)
        return given | {"imputed": sorted(given)}

    def measures(self) -> dict:
        """By column: the policy, the one value that it fills in, and the notes that it met by shard; {} without policies."""
        columns = {
            COLUMNS[place]: {
                "policy": "constant" if isinstance(policy, dict) else policy,
                "value": self._values.get(place),
                "notes": dict(self._counts[place]),
            }
            for place, policy in self._policies.items()
        }
        return {"missing": columns} if columns else {}


def centre(policy: str, values: Iterable[tuple[str | None, int]]) -> str:
    """The mode (of equals the first by name), or the mean or median age band, of (value, how often) pairs.

    Bands count 0, 1, 2, ... from the youngest; a half goes to the older one.
    """
    from sklearn.impute import SimpleImputer

    values = list(values)
    if policy == "mode":
        column = np.array([value for value, _ in values], dtype=object)
        imputer = SimpleImputer(strategy="most_frequent", missing_values=None)
    else:
        column = np.array([np.nan if value is None else BANDS.index(value) for value, _ in values])
        imputer = SimpleImputer(strategy=policy)
    found = imputer.fit(np.repeat(column, [count for _, count in values]).reshape(-1, 1)).statistics_[0]
    return found if policy == "mode" else BANDS[int(found + 0.5)]


def nearest(place: int, train: Counter) -> Callable[[Facts], str]:
    """A function that gives a note the commonest value (of equals the first by name) among the train notes nearest to it.

    Distance is Gower's (1971): over the columns that both notes state, the mean of 0 or 1 for the same value or another, and of
    age bands the steps between them by the most that there are. All notes at the least distance have a vote; where a note
    states no other column, all train notes do. scikit-learn's KNNImputer averages numbers, and of notes at one distance, which
    here are many, takes whichever comes first.
    """
    donors = [(facts, count) for facts, count in train.items() if facts[place] is not None]
    others = [other for other in range(len(COLUMNS)) if other != place]
    codes = [
        dict(zip(BANDS, range(len(BANDS)), strict=True)) if COLUMNS[other] == "age_band" else {} for other in others
    ]
    for facts, _ in donors:
        for other, known in zip(others, codes, strict=True):
            known.setdefault(facts[other], len(known))

    def coded(facts: Facts) -> list[float]:
        # A value that no train note states is as far from all as any other.
        return [np.nan if facts[o] is None else known.get(facts[o], -1) for o, known in zip(others, codes, strict=True)]

    table = np.array([coded(facts) for facts, _ in donors], dtype=float)
    age = np.array([COLUMNS[other] == "age_band" for other in others])

    def value(facts: Facts) -> str:
        apart = np.abs(table - np.array(coded(facts), dtype=float))
        stated = ~np.isnan(apart)
        apart = np.where(age, apart / (len(BANDS) - 1), apart > 0) * stated
        shared = stated.sum(axis=1)
        distance = np.divide(np.nansum(apart, axis=1), shared, out=np.full(len(table), np.inf), where=shared > 0)
        votes = Counter()
        for donor in np.flatnonzero(np.isclose(distance, distance.min())):
            own, count = donors[donor]
            votes[own[place]] += count
        return min(votes, key=lambda name: (-votes[name], name))

    return value
