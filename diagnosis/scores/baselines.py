"""The two baselines that stand beside the model: the class priors, and logistic regression on TF-IDF."""

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from diagnosis.errors import UserError


def truth(labels: list[list[str]], classes: list[str]) -> np.ndarray:
    """(n, k) bool: which classes each note has."""
    column = {label: number for number, label in enumerate(classes)}
    result = np.zeros((len(labels), len(classes)), bool)
    for row, found in enumerate(labels):
        result[row, [column[label] for label in found if label in column]] = True
    return result


def tfidf(texts, *, ngrams: int, min_df: int, max_terms: int | None) -> tuple[TfidfVectorizer, sparse.csr_matrix]:
    """A vectoriser fitted on the train notes, and their vectors. `texts` may be an iterator: they are read once.

    Terms are words of two characters or more, lower-cased, and their n-grams; counts are sublinear (1 + log count).
    Raises UserError where no term occurs in `min_df` notes.
    """
    vectoriser = TfidfVectorizer(
        ngram_range=(1, ngrams), min_df=min_df, max_features=max_terms, sublinear_tf=True, dtype=np.float32
    )
    try:
        return vectoriser, vectoriser.fit_transform(texts)
    except ValueError:  # scikit-learn: "empty vocabulary", "no terms remain"
        raise UserError(f"no word occurs in {min_df} train notes: lower baseline.min_df or bring more notes") from None


def fit(vectors, present: np.ndarray, single: bool, *, C: float, max_iter: int):
    """Fit logistic regression with balanced class weights; return a function from vectors to (n, k) probabilities.

    `present`: (n, k) bool. One label a note: one multinomial model. Several: a model a class (one-vs-rest); a class that
    all or none of the notes have gets that share as its probability.
    """

    def regression(outcome):
        return LogisticRegression(C=C, class_weight="balanced", max_iter=max_iter).fit(vectors, outcome)

    if single:
        columns = np.flatnonzero(present.any(axis=0))
        model = regression(columns.searchsorted(present.argmax(axis=1)))

        def probabilities(new):
            result = np.zeros((new.shape[0], present.shape[1]))
            result[:, columns] = model.predict_proba(new)
            return result

        return probabilities

    share = present.mean(axis=0)
    models = {k: regression(present[:, k]) for k in range(len(share)) if 0 < share[k] < 1}

    def probabilities(new):
        result = np.tile(share, (new.shape[0], 1))
        for k, model in models.items():
            result[:, k] = model.predict_proba(new)[:, 1]
        return result

    return probabilities
