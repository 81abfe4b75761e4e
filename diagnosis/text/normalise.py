"""One form of the same text: Unicode, line ends, blanks, de-identification marks; and the optional reductions."""

import re
import unicodedata

MARK = "___"
"""What every de-identification mark becomes (the form of MIMIC-IV)."""

LINE_ENDS = dict.fromkeys(map(ord, "\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"), "\n")
# Invisible and without meaning: control characters, zero-width blanks, byte order marks, direction marks, soft hyphens.
# Joiners (U+200C, U+200D) stay: several scripts spell with them.
INVISIBLE = dict.fromkeys(
    [*range(0x09), *range(0x0E, 0x1C), 0x1F, 0x7F, *range(0x80, 0x85), *range(0x86, 0xA0), 0xAD, 0x200B, 0x200E, 0x200F]
    + [*range(0x202A, 0x202F), *range(0x2060, 0x2065), *range(0x2066, 0x206A), 0xFEFF]
)
BLANKS = dict.fromkeys(map(ord, "\t\xa0\u1680\u202f\u205f\u3000"), " ") | dict.fromkeys(range(0x2000, 0x200B), " ")
# Typeset forms of plain characters, so that "can’t" is "can't" and "3–5" is "3-5". Not NFKC, which makes "m²" "m2" and "½" "1⁄2".
TYPOGRAPHY = {
    ord(c): plain for group, plain in {"‘’‚‛′": "'", "“”„‟″": '"', "‐‑‒–—―−": "-", "…": "..."}.items() for c in group
}
CHARACTERS = LINE_ENDS | INVISIBLE | BLANKS | TYPOGRAPHY
ODD_ASCII = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")

BLANK_RUN = re.compile(r"  +")
LINE_EDGES = re.compile(r" ?\n ?")
EMPTY_LINES = re.compile(r"\n{3,}")

# The age that a mark states is clinical and no identifier: it stays.
AGE_MARK = re.compile(r"\*\*AGE\[(?:in |birth-)?([^\]\n]{1,20})\]|\[\*\*\s*Age (over \d+)\s*\*\*\]")
MIMIC_MARK = re.compile(r"\[\*\*[^\[\]]{0,120}?\*\*\]")
STAR_MARK = re.compile(  # of the De-ID system; other words between stars are Markdown
    r"\*\*(?:[A-Z]{2,12}(?:-[A-Z]{2,12})?\[[^\]\n]{0,80}\]"
    r"|(?:NAME|DATE|PLACE|INSTITUTION|INITIALS|ROOM|PHONE|EMAIL|STREET-ADDRESS|ADDRESS|ZIP-CODE|SSN|WEB-LOC"
    r"|(?:ID|ACCOUNT|DEVICE|PATH|VEHICLE)-(?:NUMBER|NUM|ID))\b(?!\*))"
)
KIND_MARK = re.compile(
    r"\[(?:NAME|PLACE|DATE|AGE|PHONE|FAX|EMAIL|SSN|MRN|PLAN|ACCOUNT|LICENCE|VEHICLE|DEVICE|URL|IP|BIOMETRIC|PHOTO|OTHER_ID)\]"
)
LETTER_MARK = re.compile(r"\b(?:X{2}([/-])X{2}\1X{2,4}|X{4,}|x{4,})\b")  # not XXX: a karyotype
STARS = re.compile(r"(?<=\S )\*{2,}(?=[ .,;:])")
LINE_OF_MARKS = re.compile(r"___+(?: ___+)*")

LOST_LINE_END = re.compile(
    r"(?:(?<=[.:;!?)])| ),(?=\S)"  # after a blank, or what ends a sentence or a heading
    r"|,(?=[A-Z][A-Z &/'()\-]{2,60}:)"  # before an upper-case heading
    r"|(?<=[A-Za-z]),(?=\d{1,2}\. )"  # before a numbered item
)
LOST_AFTER_COLON = re.compile(r": ?,(?: ?,)* ?(?=\S)")
LOST_AFTER_CAPITALS = re.compile(r"^([A-Z][A-Z /&'()\-]{3,60}),(?=\S)", re.MULTILINE)
TRAILING_COMMAS = re.compile(r"[ ,]+$", re.MULTILINE)
COMMA_FORM = re.compile(r"[.:],\S|: ,|:, |\.,$", re.MULTILINE)


def normalise(text: str) -> str:
    """The text in NFC, with plain line ends, blanks, quotes and dashes, and one mark for what was de-identified.

    Idempotent. Superscripts, fractions and units keep their characters (no NFKC).
    """
    if not text.isascii():
        text = unicodedata.normalize("NFC", text.replace("\r\n", "\n")).translate(CHARACTERS)
        text = unicodedata.normalize("NFC", text)  # what stood apart may now compose
    elif ODD_ASCII.search(text):
        text = text.replace("\r\n", "\n").translate(CHARACTERS)
    return squeeze(restore_lines(one_mark(squeeze(text))))


def squeeze(text: str) -> str:
    """Single blanks, no blanks at line edges, at most one empty line in a row."""
    text = BLANK_RUN.sub(" ", text)
    text = LINE_EDGES.sub("\n", text)
    return EMPTY_LINES.sub("\n\n", text).strip(" \n")


def one_mark(text: str) -> str:
    """Every form of a de-identification mark as `MARK`; ages that a mark states stay."""
    if "**" in text:
        text = AGE_MARK.sub(lambda match: (match[1] or match[2]).strip(), text)
        text = MIMIC_MARK.sub(MARK, text)
        text = STAR_MARK.sub(MARK, text)
        text = STARS.sub(MARK, text)
    if "[" in text:
        text = KIND_MARK.sub(MARK, text)
    if "XX" in text or "xxxx" in text:
        text = LETTER_MARK.sub(MARK, text)
    return LINE_OF_MARKS.sub(MARK, text) if MARK in text else text


def restore_lines(text: str) -> str:
    """Line ends of a text whose line ends became commas (`pain.,ALLERGIES: ,None.`), as in the MTSamples table.

    Only in lines that have a comma glued to a full stop or behind a colon; a comma within a sentence stays.
    """
    if not COMMA_FORM.search(text):
        return text
    return "\n".join(_restored(line) if COMMA_FORM.search(line) else line for line in text.split("\n"))


def _restored(line: str) -> str:
    line = LOST_AFTER_COLON.sub(":\n", line)
    line = LOST_LINE_END.sub("\n", line)
    line = LOST_AFTER_CAPITALS.sub(r"\1\n", line)
    return TRAILING_COMMAS.sub("", line)


# ---------------------------------------------------------------- reductions, all off by default

# Digits with their separators, never digits within a word (B12, C5-C6, 98.6F).
NUMBER = re.compile(r"(?<![\w.])\d+(?:[.,/:x-]\d+)*%?(?!\w|[.,/:x-]\d)")
PUNCTUATION = re.compile(r"[^\w\s+<>=±°]")  # the signs left out carry a result: "2+", "<5"

# Function words only. No negation (no, not, nor, without, denies, cannot), no scope word (but, except, or), no word of time,
# place, side, sex or family (before, off, left, her), and none that is an abbreviation in capitals (AS, IT, US, BE, A, I).
STOP_WORDS = frozenset(
    "an the this that these those there here is are was were been being has have had having does did doing will would "
    "shall should me my we our ours you your yours its they them their theirs which who whom whose of to by for from and "
    "then than also very just such".split()
)
STOP_WORD = re.compile(rf"(?<![\w'/-])(?:{'|'.join(sorted(STOP_WORDS))})(?![\w'/-])", re.IGNORECASE)


def without_numbers(text: str) -> str:
    """The text without free-standing numbers ("120/80", "98.6", "12%"); numbers within words stay ("B12")."""
    return squeeze(NUMBER.sub(" ", text))


def without_punctuation(text: str) -> str:
    """The text without punctuation; "2.5", "120/80", "98%", "C5-C6", "can't", "2+" and "<5" keep theirs."""
    return squeeze(PUNCTUATION.sub(_sign, text))


def _sign(match: re.Match) -> str:
    sign, before, after = (
        match[0],
        match.string[max(match.start() - 1, 0) : match.start()],
        match.string[match.end() : match.end() + 1],
    )
    joins_digits = sign in ".,/:-" and before.isdigit() and after.isdigit()
    joins_letters = sign in "'-" and before.isalnum() and after.isalnum()
    return sign if joins_digits or joins_letters or (sign == "%" and before.isdigit()) else " "


def without_stop_words(text: str) -> str:
    """The text without `STOP_WORDS`; negations stay."""
    return squeeze(STOP_WORD.sub("", text))
