"""What augmentation must not touch: a word's place or presence can be the meaning of a clinical sentence.

`find` marks every word of a text with one of three states. FIXED words no operator changes: words of the labels (a new
surface form of the answer would be a hint), drugs, de-identification marks, headings. KEPT words stay where they are but may be
part of a phrase that is replaced whole: findings, numbers, units, laterality, degree and direction, time, and the words beside
the latter ("left atrial", "stage 3 disease"). In a sentence with a negation or another cue (doubt, history, family) every word is KEPT,
so no word can enter or leave its scope; so is every sentence's first word, whose capital marks where scopes end. The rest are FREE.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from diagnosis.augment.findings import FINDINGS

FREE, KEPT, FIXED = 0, 1, 2

WORD = re.compile(r"[^\W_]+(?:['’./+-][^\W_]+)*")
MARK = re.compile(r"_{2,}|\[\*\*[^\[\]\n]*\*\*\]|\[[A-Z_]+\]")  # no bracket within: a search ends at the next one
HEADING = re.compile(r"^[^\n:]{1,60}:", re.MULTILINE)
# A sentence ends at a blank line, or at a full stop before what is no lower-case letter ("No hx. of fever" goes on). Commas,
# semicolons, colons and single line ends do not end it: "denies fever; cough;\nchills" is one negation.
END = re.compile(r"[.!?]\s+(?=[^a-z\s])|\n\s*\n")
END_IN_LOWER_CASE = re.compile(r"[.!?]\s+|\n\s*\n")

# Words that decide whether, when or in whom a finding is.
CUES = frozenset(
    "no not nor non none never neither nothing without denies denied deny denying negative negatives absent absence cannot can't "
    "didn't doesn't don't hasn't isn't wasn't weren't lack lacks lacking free unremarkable unlikely ruled rule rules excluded "
    "exclude excludes resolved except unless if but however although though versus vs or either whether "
    "possible possibly probable probably likely suspected suspect suspicious suspicion question questionable may might could "
    "concern concerning unclear uncertain risk "
    "history hx h/o prior previous previously past former formerly remote childhood "
    "family mother father brother sister parent parents sibling siblings son daughter grandmother grandfather aunt uncle "
    "cousin husband wife maternal paternal".split()
)
LATERALITY = "left right bilateral bilaterally unilateral unilaterally l r lt rt upper lower proximal distal medial lateral anterior posterior"
POLARITY = (
    "normal abnormal positive increased increase increasing decreased decrease decreasing elevated low lower high higher "
    "mild moderate severe acute chronic new worse worsening worsened better improved improving stable unstable present "
    "only more less most least intact healthy sudden gradual only started stopped discontinued"
)
TIME = (
    "ago before after during until since today yesterday tomorrow daily weekly monthly hourly once twice thrice now currently "
    "second seconds minute minutes hour hours day days week weeks month months year years old am pm morning evening night"
)
NUMBER_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve twenty thirty forty fifty sixty seventy eighty ninety "
    "hundred thousand first third fourth fifth half double single several few many multiple i ii iii iv v"
)
UNITS = (
    "mg mcg g kg lb lbs oz ml l dl cc cm mm m km meq mmol iu units unit mmhg bpm percent degrees celsius fahrenheit pack packs "
    "tablet tablets tab tabs capsule capsules puff puffs drop drops po iv im sc bid tid qid qd qhs prn stage grade type class"
)
MODIFIERS = frozenset(" ".join([LATERALITY, POLARITY, TIME, NUMBER_WORDS, UNITS]).split())

# Stems of the WHO's international nonproprietary names; a word that only looks like a drug is kept as well, which is harmless.
DRUG = re.compile(
    r"(?:pril|prilat|sartan|olol|alol|statin|azole|mycin|micin|cillin|floxacin|cycline|dipine|gliptin|gliflozin|glutide|glitazone"
    r"|mab|tinib|ciclib|vir|prazole|tidine|setron|triptan|azepam|azolam|barbital|caine|semide|thiazide|parin|xaban|gatran"
    r"|sone|solone|nisolone|lukast|terol|profen|coxib|codone|morphone|tropium|fibrate|dronate|platin|rubicin|taxel|oxetine|azodone"
    r"|pramine|triptyline|apine|peridone|setine|afil|osin|gabalin|bactam|penem|cef\w+|sulfa\w*)s?$"
)
DRUGS = frozenset(
    "aspirin acetaminophen tylenol paracetamol ibuprofen advil motrin aleve insulin lantus humalog novolog metformin glipizide glyburide "
    "warfarin coumadin heparin lovenox plavix clopidogrel ticagrelor digoxin amiodarone diltiazem verapamil hydralazine clonidine "
    "nitroglycerin isosorbide lasix spironolactone potassium magnesium lithium valproate depakote keppra levetiracetam "
    "phenytoin dilantin carbamazepine lamotrigine gabapentin neurontin morphine fentanyl dilaudid percocet vicodin methadone "
    "naloxone narcan tramadol ativan xanax valium haldol zoloft prozac lexapro celexa sertraline citalopram escitalopram "
    "bupropion wellbutrin prednisone dexamethasone albuterol flovent advair spiriva synthroid levothyroxine "
    "zofran pepcid nexium protonix bactrim vancomycin flagyl keflex augmentin zosyn tamoxifen methotrexate cyclosporine "
    "tacrolimus allopurinol colchicine benadryl claritin zyrtec flomax viagra oxygen alcohol tobacco cocaine heroin".split()
)


class Word(NamedTuple):
    start: int
    end: int
    sentence: int
    state: int


def label_words(classes: Iterable[str]) -> frozenset[str]:
    """The words of four letters and more in the classes' names, lower-case, in singular and plural."""
    words = {word for name in classes for word in re.findall(r"[^\W\d_]{4,}", name.lower())}
    return frozenset(words | {word + "s" for word in words} | {word.removesuffix("s") for word in words})


def find(text: str, labels: frozenset[str]) -> list[Word]:
    """The words of a text in order, each with its sentence's number and its state."""
    spans, sentences, states = columns(text, labels)
    numbers = (number for number, (first, last) in enumerate(zip(sentences, [*sentences[1:], len(spans)], strict=True)) for _ in range(first, last))  # fmt: skip
    return [Word(*span, number, state) for span, number, state in zip(spans, numbers, states, strict=True)]


@lru_cache(maxsize=1)  # an operator asks again for what its budget was counted on
def columns(text: str, labels: frozenset[str]) -> tuple[list[tuple[int, int]], list[int], list[int]]:
    """The spans of a text's words, the first word of each sentence, the state of each word; `find` in columns, which is faster.

    The first word of a sentence is never FREE, so two neighbours that are both FREE are of one sentence.
    """
    spans = [match.span() for match in WORD.finditer(text)]
    known = _kinds(labels)
    kinds = [known[text[start:end]] for start, end in spans]
    ends = (match.end() for match in (END_IN_LOWER_CASE if text == text.lower() else END).finditer(text))
    sentences = [0, *(bisect_left(spans, (end, 0)) for end in ends)]
    states: list[int] = []
    around = list(zip(["", *kinds], kinds, [*kinds[1:], ""], strict=False))
    for first, last in zip(sentences, [*sentences[1:], len(kinds)], strict=True):
        if "cue" in kinds[first:last]:
            states += [FIXED if own == "fixed" else KEPT for own in kinds[first:last]]
        elif first < last:
            states.append(FIXED if kinds[first] == "fixed" else KEPT)
            states += [
                FIXED if own == "fixed" else KEPT if own or before == "modifier" or then == "modifier" else FREE
                for before, own, then in around[first + 1 : last]
            ]
    fixed = [match.span() for match in HEADING.finditer(text)]
    if "[" in text or "__" in text:
        fixed += [match.span() for match in MARK.finditer(text)]
    for start, end in fixed:
        for i in range(bisect_left(spans, (start, 0)), bisect_left(spans, (end, 0))):
            states[i] = FIXED
    return spans, sentences, states


def kind(word: str, labels: frozenset[str]) -> str:
    """Of a word: fixed | cue | modifier | finding | letter, or "" where it has no protection of its own."""
    return _kinds(labels)[word]


class _Kinds(dict):
    """The kinds of words as they are written, each worked out once."""

    def __init__(self, labels: frozenset[str]):
        super().__init__()
        self._labels = labels

    def __missing__(self, word: str) -> str:
        found = _kind(word.lower().replace("’", "'"), self._labels)
        if len(self) < 1 << 16:
            self[word] = found
        return found


@lru_cache(maxsize=4)
def _kinds(labels: frozenset[str]) -> _Kinds:
    return _Kinds(labels)


def _kind(word: str, labels: frozenset[str]) -> str:
    # No name of a drug is over 40 letters, and DRUG is slow on a line that is all one word.
    if word in labels or word in DRUGS or (len(word) > 5 and DRUG.search(word[-40:])):
        return "fixed"
    if word in CUES or re.split(r"[-/.]", word)[0] in CUES or word.endswith("n't"):
        return "cue"
    if word in MODIFIERS or any(c.isdigit() for c in word):
        return "modifier"
    if word in FINDINGS:
        return "finding"
    return "letter" if len(word) == 1 else ""
