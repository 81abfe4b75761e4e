"""Shares of notes with intervals over patients: exact where a patient has one note, else the bootstrap of bootstrap.py."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from diagnosis.scores.bootstrap import interval, patient_weights
from diagnosis.scores.evidence import clopper_pearson


@dataclass(frozen=True)
class Proportion:
    """`found` of `n` notes. `patients`: how many they are of. `draws`: the share under each weighting of the patients."""

    found: int
    n: int
    patients: int
    draws: np.ndarray

    @property
    def value(self) -> float | None:
        return self.found / self.n if self.n else None

    def ends(self, share: float = 0.95) -> tuple[float | None, float | None]:
        """Low and high. None or all found of a patient's many notes: no weighting moves that, so each patient counts as one."""
        if not self.n:
            return None, None
        if self.patients == self.n or self.found in (0, self.n):
            ends = clopper_pearson(self.patients * self.found // self.n, self.patients, share)
        else:
            ends = interval(self.draws, share)
        return ends["low"], ends["high"]

    def described(self) -> dict:
        low, high = self.ends()
        return {"value": self.value, "low": low, "high": high}


def proportions(hits: np.ndarray, of: np.ndarray, patients: np.ndarray, samples: int, seed: int) -> list[Proportion]:
    """For each of m columns, the share of the notes in `of` (n, m) that are in `hits` (n, m) as well, both bool."""
    hits = hits & of
    draws = ratio_draws(hits, of, patients, samples, seed)
    return [
        Proportion(int(hits[:, m].sum()), int(of[:, m].sum()), len(np.unique(patients[of[:, m]])), draws[m])
        for m in range(of.shape[1])
    ]


def ratio_draws(above: np.ndarray, below: np.ndarray, patients: np.ndarray, samples: int, seed: int) -> np.ndarray:
    """(m, samples): the sum of `above` (n, m) over that of `below` under each weighting of the patients; NaN where it has none."""
    notes, columns = above.shape
    count = int(patients.max()) + 1
    owner = sparse.csr_matrix((np.ones(notes), (np.arange(notes), patients)), shape=(notes, count))
    sums = sparse.csr_matrix(np.hstack([above, below]).astype(np.float64)).T @ owner
    draws = []
    for weights in patient_weights(count, samples, seed):
        both = sums @ weights
        with np.errstate(invalid="ignore", divide="ignore"):
            draws.append(both[:columns] / both[columns:])
    return np.concatenate(draws, axis=1)
