"""The cheap classifier of every probe: hashed tokens, TF-IDF, logistic regression."""

import numpy as np
from scipy import sparse
from sklearn.feature_extraction import FeatureHasher
from sklearn.feature_extraction.text import TfidfTransformer
from threadpoolctl import threadpool_limits

from diagnosis.scores.baselines import fit

MIN_NOTES = 2  # train notes that a token must occur in
HASHER = FeatureHasher(2**20, input_type="string", alternate_sign=False, dtype=np.float32)


class Rows:
    """Hashed tokens of notes that come in any order; `matrix` puts them at their rows."""

    def __init__(self):
        self._parts, self._at = [], []

    def add(self, at: list[int], tokens: list[list[str]]) -> None:
        if at:
            self._parts.append(HASHER.transform(tokens))
            self._at += at

    def matrix(self, count: int) -> sparse.csr_matrix:
        """(count, 2**20) token counts; a row that never came is empty."""
        stacked = sparse.vstack([HASHER.transform([["none"]])[:0], *self._parts], format="csr")
        place = sparse.csr_matrix(
            (np.ones(len(self._at), np.float32), (self._at, np.arange(len(self._at)))), (count, len(self._at))
        )
        return (place @ stacked).tocsr()


def classifier(train: sparse.csr_matrix, present: np.ndarray, single: bool, *, C: float, max_iter: int):
    """Fit on the train rows; return a function from such rows to (n, k) probabilities.

    Where no token occurs in `MIN_NOTES` train notes it decides by the class shares alone. `present`: (n, k) bool.
    """
    known = np.flatnonzero(np.bincount(train.indices, minlength=train.shape[1]) >= MIN_NOTES)
    if not len(known):
        share = present.mean(axis=0)
        return lambda rows: np.tile(share, (rows.shape[0], 1))
    weigh = TfidfTransformer(sublinear_tf=True)
    with threadpool_limits(1):  # the same bytes whatever the number of threads
        regression = fit(weigh.fit_transform(train[:, known]), present, single, C=C, max_iter=max_iter)
    return lambda rows: regression(weigh.transform(rows[:, known]))
