"""Notes with the words that an explanation rests on marked; only for the page that stays where the notes are."""

from pathlib import Path

import pyarrow.parquet as pq
from markupsafe import Markup, escape

from diagnosis.files import require

METHODS = ("integrated_gradients", "shap", "occlusion", "lime")
"""Which method's words are marked: the first of these that the notes were explained by."""
FAINTEST = 0.2  # of the strongest word's score; weaker words are not marked, for a page of marks shows nothing
COLUMNS = ["note_id", "chosen", "method", "class", "likeliest", "probability", "texts", "starts", "ends", "scores"]


def read_explained(path: Path) -> dict[str, dict]:
    """By note_id, the explanation of the likeliest class by the first of METHODS, in the table's order."""
    rows = pq.read_table(require(path), columns=COLUMNS, filters=[("likeliest", "=", True)]).to_pylist()
    used = next((method for method in METHODS if any(row["method"] == method for row in rows)), None)
    return {row["note_id"]: row for row in rows if row["method"] == used}


def marked(texts: list[str], row: dict) -> list[Markup]:
    """Each text of a note with the words marked that speak most for the class of `row`, and against it otherwise."""
    strongest = max((abs(score) for score in row["scores"]), default=0.0)
    result = []
    for number, text in enumerate(texts):
        spans = sorted(
            (start, end, score)
            for own, start, end, score in zip(row["texts"], row["starts"], row["ends"], row["scores"], strict=True)
            if own == number and strongest and abs(score) >= FAINTEST * strongest
        )
        parts, at = [], 0
        for start, end, score in spans:
            parts.append(escape(text[at:start]))
            kind = "" if score > 0 else ' class="against"'
            parts.append(
                Markup(f'<mark{kind} style="--weight:{abs(score) / strongest:.2f}">{escape(text[start:end])}</mark>')
            )
            at = end
        result.append(Markup("").join([*parts, escape(text[at:])]))
    return result
