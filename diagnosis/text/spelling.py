"""Typing errors in lower-case words repaired, where one known word is one slip away and nothing else explains the word.

The general words and their counts come with symspellpy (requirements-spelling.txt), whose index also finds the candidates (Garbe
2012, the symmetric delete algorithm); medical_words.txt holds words of the titles of ICD-9-CM and ICD-10-CM, which are works
of the US government, that the general list lacks. Never touched: capitals, so names, surrogates and abbreviations; numbers; what
ends like a drug; words built of known parts ("posterolateral", "reapproximated"); British spellings.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from importlib import resources
from pathlib import Path

from diagnosis.errors import UserError

GENERAL_WORDS = "frequency_dictionary_en_82_765.txt"  # within symspellpy
MEDICAL_WORDS = Path(__file__).with_name("medical_words.txt")
COMMON = 300_000  # occurrences in the general list's count that a general word needs to be a repair
SHORTEST, SHORTEST_SWAP = 6, 5  # letters of a word that is looked at; of one with two letters swapped

WORD = re.compile(r"(?<![\w'/-])[a-z]{5,30}(?![\w'/-])")
# Stems of the WHO's international nonproprietary names, and common endings of drugs' names.
DRUG = re.compile(
    r"(?:pril|sartan|olol|alol|statin|azole|mycin|micin|cillin|floxacin|cycline|dipine|gliptin|gliflozin|glutide|glitazone|mab|tinib|"
    r"ciclib|vir|tidine|setron|triptan|azepam|azolam|barbital|caine|semide|thiazide|parin|xaban|gatran|sone|solone|lukast|terol|profen|"
    r"coxib|codone|morphone|tropium|fibrate|dronate|platin|rubicin|taxel|oxetine|azodone|pramine|triptyline|apine|peridone|afil|osin|"
    r"gabalin|bactam|penem|oxin|arone|idone|amide|amine|zepine|toin|ridol|phylline|nidine|oprim|xone|done|fenac|bital|ine)s?$"
)
DRUGS = frozenset("mesna diovan".split())  # one slip from a word, and without a drug's ending
# Words of operations and findings that neither list has and that are one slip from another word.
CLINICAL = frozenset(
    "antrostomy clavus coapted ectatic glanular heterogenous homogenous laryngotomy lingula mustache orchidopexy pericardectomy "
    "porus pseudoarthrosis specialty trache".split()
)
PREFIXES = (
    "abdomino antero anti arthro auto bi bili brachio broncho cardio cephalo cerebro cervico chondro costo cranio cysto de dermato dis dorso "
    "electro endo epi esophago exo extra femoro fibro gastro glosso hemi hemo hepato hydro hyper hypo ileo ilio infero infra inter intra iso jejuno laryngo "
    "latero leuko lumbo lympho macro mal medio meta micro mid mono multi musculo myo naso nephro neuro non oculo oro ortho osteo out over para patello "
    "peri pharyngo pneumo poly post postero pre pro pseudo psycho pulmo pyelo radio re recto retro rhino sacro sclero semi sero spino splen sterno "
    "sub super supero supra tarso tendo thoraco thyro tibio trans tri un under uni uretero urethro utero vaso veno ventriculo ventro vesico viscero xero"
).split()
SUFFIXES = (
    "s es d ed ing ly al ally ness er ers or ors able ic ical ize ized izing ization ation ations ity ment ments ful less like ous "
    "ary ar ate ated ing oid ia ist ists"
).split()
OTHER_SPELLINGS = [
    ("ae", "e"), ("oe", "e"), ("our", "or"), ("is", "iz"), ("ys", "yz"), ("ll", "l"), ("re", "er"), ("or", "our"), ("e", "ae"), ("e", "oe"),
    ("er", "re"), ("l", "ll"), ("k", "c"), ("c", "k"), ("ph", "f"), ("f", "ph"),
]  # fmt: skip


class Speller:
    """Repairs texts; made once, as it reads the word lists (a second)."""

    def __init__(self):
        try:
            from symspellpy import SymSpell, Verbosity
        except ImportError:
            raise UserError(
                "clean.repair_spelling needs the package symspellpy: pip install -r requirements-spelling.txt, or set it to false"
            ) from None
        with resources.files("symspellpy").joinpath(GENERAL_WORDS).open(encoding="utf-8-sig") as lines:
            general = {word: int(count) for word, count in map(str.split, lines)}
        medical = CLINICAL.union(MEDICAL_WORDS.read_text("utf-8").split())
        self._words = frozenset(general.keys() | medical)
        self._likely = frozenset(medical | {word for word, count in general.items() if count >= COMMON})
        self._index = SymSpell(max_dictionary_edit_distance=1)
        for word in sorted(self._likely):
            if len(word) >= SHORTEST_SWAP:
                self._index.create_dictionary_entry(word, 1)
        self._all = Verbosity.ALL
        self.repaired = lru_cache(maxsize=1 << 18)(self._repaired)

    def repair(self, text: str) -> tuple[str, int]:
        """The text with its typing errors repaired, and how many those are."""
        count = 0

        def write(match: re.Match) -> str:
            nonlocal count
            word = self.repaired(match[0])
            count += word is not None
            return word or match[0]

        return WORD.sub(write, text), count

    def _repaired(self, word: str) -> str | None:
        """The one likely word that `word` is a slip of, or None where it is a word itself, has several or none."""
        if word in DRUGS or DRUG.search(word) or self._is_word(word):
            return None
        found = {item.term for item in self._index.lookup(word, self._all, max_edit_distance=1)}
        candidates = [other for other in found if other[0] == word[0] and _is_slip(word, other)]
        return candidates[0] if len(candidates) == 1 else None

    def _is_word(self, word: str, parts: int = 2) -> bool:
        """A word of the lists, or one of known parts: at most `parts` prefixes and one ending."""
        if self._listed(word):
            return True
        for suffix in SUFFIXES:
            stem = word.removesuffix(suffix)
            if stem != word and len(stem) >= 4:
                doubled = stem[-1] == stem[-2] and stem[:-1] in self._words
                if doubled or any(map(self._listed, (stem, stem + "e", stem + "y"))):
                    return True
                if stem[-1] == "i" and stem[:-1] + "y" in self._words:
                    return True
        return parts > 0 and any(
            word.startswith(prefix) and len(word) >= len(prefix) + 4 and self._is_word(word[len(prefix) :], parts - 1)
            for prefix in PREFIXES
        )

    def _listed(self, word: str) -> bool:
        return word in self._words or any(other in self._words for other in _other_spellings(word))


def _is_slip(word: str, meant: str) -> bool:
    """Whether `word` is `meant` with two letters swapped, or one left out or too many before the last two or three.

    Another letter in place of one is no slip here: it tells too many pairs of real words apart (ilium, ileum).
    """
    if len(word) == len(meant):
        return len(word) >= SHORTEST_SWAP and sorted(word) == sorted(meant)
    same_end = 2 if len(word) < len(meant) else 3
    return len(word) >= SHORTEST and word[-same_end:] == meant[-same_end:]


def _other_spellings(word: str) -> Iterator[str]:
    """British and American forms, each with one group of letters changed."""
    for one, other in OTHER_SPELLINGS:
        at = word.find(one)
        while at >= 0:
            yield word[:at] + other + word[at + len(one) :]
            at = word.find(one, at + 1)
