"""Hiding the answer in what stays of a note: codes with billing text, and the names of diagnoses."""

from pathlib import Path

from diagnosis.files import read_json
from diagnosis.text.billing import without_codes
from diagnosis.text.label_mentions import Mentions


class Answers:
    """Hides codes and names of diagnoses where it is told to, and counts them.

    `mask_label_mentions` is none, affirmed or all; the names of the classes are in the file `titles`, which is read only if needed.
    """

    def __init__(self, strip_codes: bool, mask_label_mentions: str, titles: Path):
        self._strip, self._mask = strip_codes, mask_label_mentions
        self._mentions = Mentions(read_json(titles)) if mask_label_mentions != "none" else None
        self.counts = {"codes_stripped": 0} if strip_codes else {}
        self.counts |= {"label_mentions_masked": 0} if self._mentions else {}

    def hidden(self, text: str) -> str:
        if self._strip:
            text, count = without_codes(text)
            self.counts["codes_stripped"] += count
        if self._mentions:
            text, count = self._mentions.mask(text, self._mask)
            self.counts["label_mentions_masked"] += count
        return text
