"""Look for the group of patients, by several columns at once, that the model serves worst."""

from itertools import combinations, product

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.stats import norm

from diagnosis.fairness.compare import POWER, PRIOR, errors_of, largest_of, verdict_of
from diagnosis.fairness.pooling import pooled
from diagnosis.scores.bootstrap import patient_weights
from diagnosis.scores.shards import Shard

Subgroup = dict[str, str]  # column: value


def subgroups(
    table: pd.DataFrame, columns: list[str], patients: np.ndarray, depth: int, min_count: int
) -> tuple[list[Subgroup], np.ndarray]:
    """(what each is, (m, n) bool its notes): every value of a column and every meeting of up to `depth` columns' values.

    Left out: fewer than `min_count` patients within or without, and one that has the notes of an earlier, simpler one.
    """
    values = {name: sorted(value for value in table[name].unique() if value is not None) for name in columns}
    inside = {(name, value): (table[name] == value).to_numpy(bool) for name in columns for value in values[name]}
    found, members, seen = [], [], set()
    for width in range(1, depth + 1):
        for names in combinations(columns, width):
            for chosen in product(*(values[name] for name in names)):
                notes = np.logical_and.reduce([inside[each] for each in zip(names, chosen, strict=True)])
                key = np.packbits(notes).tobytes()
                if key in seen or min(len(np.unique(patients[notes])), len(np.unique(patients[~notes]))) < min_count:
                    continue
                seen.add(key)
                found.append(dict(zip(names, chosen, strict=True)))
                members.append(notes)
    return found, np.array(members).reshape(len(members), len(table))


def scan(
    shard: Shard, table: pd.DataFrame, columns: list[str], *, depth: int, min_count: int, margin: float, samples: int, seed: int
) -> dict:  # fmt: skip
    """How much less accurate the model is in each subgroup than outside it: the worst, the clearest, and a verdict over all.

    The idea that groups by one column hide worse ones where columns meet is Kearns et al.'s (2018, Preventing Fairness
    Gerrymandering). Intervals hold for all subgroups at once (max-T, as in compare), so that looking at many is paid for;
    the worst is the one that is worst after partial pooling, for the smallest are the most extreme by chance.
    """
    patients = int(shard.patients.max()) + 1
    found, members = subgroups(table, columns, shard.patients, depth, min_count)
    if not found:
        return {
            "subgroups": 0,
            "verdict": "cannot_conclude",
            "margin": margin,
            "largest": None,
            "worst": None,
            "clearest": None,
        }
    notes = len(shard.truth)
    owner = sparse.csr_matrix((np.ones(notes), (np.arange(notes), shard.patients)), shape=(notes, patients))
    # Rows: each subgroup, then all notes.
    rows = sparse.csr_matrix(np.vstack([members, np.ones(notes, bool)]).astype(float))
    all_of, right_of = (rows @ owner).tocsr(), (rows.multiply(shard.correct) @ owner).tocsr()

    def rates(weights, within=(0, 0), without=(0, 0)):
        total, right = all_of @ weights, right_of @ weights
        inside = (right[:-1] + within[0]) / (total[:-1] + within[0] + within[1])
        outside = (right[-1] - right[:-1] + without[0]) / (total[-1] - total[:-1] + without[0] + without[1])
        return outside - inside

    value = rates(np.ones((patients, 1)))[:, 0]
    rng, parts = np.random.default_rng([seed, notes]), []
    for weights in patient_weights(patients, samples, seed):
        prior = rng.standard_gamma(PRIOR, (2, 2, len(found), weights.shape[1]))
        parts.append(rates(weights, *prior))
    draws = np.hstack(parts)
    center, error = draws.mean(axis=1), draws.std(axis=1)
    away = np.abs(draws - center[:, None]) / error[:, None]
    c = float(np.quantile(away.max(axis=0), 0.95))
    errors = errors_of(c, np.array([len(np.unique(shard.patients[notes])) for notes in members]) - 1)
    low, high, drawn = center - errors * error, center + errors * error, pooled(center, error)

    def told(place: int) -> dict:
        return {
            "of": found[place],
            "difference": {
                "value": float(value[place]),
                "low": float(min(low[place], value[place])),
                "high": float(max(high[place], value[place])),
            },
            "pooled": float(drawn.value[place]),
            "detectable": float((errors[place] + norm.ppf(POWER)) * error[place]),
        }

    return {
        "subgroups": len(found),
        "verdict": verdict_of(low, high, margin),
        "margin": margin,
        "largest": largest_of(low, high),
        "worst": told(int(drawn.value.argmax())),
        "clearest": told(int((center / error).argmax())),
    }
