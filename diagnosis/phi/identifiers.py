"""Numbers, codes and addresses of the net that identify somebody: by form, by checksum, by the label before them."""

import re
from collections.abc import Iterator

from diagnosis.phi.spans import Span

MASKS = re.compile(
    r"\[\*\*[^\n\]]{0,80}\*\*\]|\*\*[A-Z][A-Z-]{1,30}(?:\[[^\]\n]{0,60}\])?|\[[A-Z][A-Z_]{2,20}\]|_{3,}|\b[Xx]{3,}\b|\*{4,}"
)
"""What earlier de-identification left, of MIMIC-III and -IV, the University of Pittsburgh's tool, MTSamples, and ours."""

EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,6}")
URL = re.compile(
    r"(?:https?://|ftp://|\bwww\.)[^\s<>\"')\]]{2,500}"
    r"|(?<![\w@./-])(?:[a-z0-9][a-z0-9-]{0,62}\.){1,4}(?:com|org|net|edu|gov|info|io|health|co\.uk|de|fr|es)\b(?:/[^\s<>\"')\]]{0,300})?",
    re.I,
)
IP = re.compile(r"(?<![\w.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\w]|\.\d)")
IP6 = re.compile(
    r"(?<![\w:])(?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4}(?![\w:])|(?<![\w:])(?:[0-9a-f]{1,4}:){1,6}(?::[0-9a-f]{1,4}){1,6}(?![\w:])",
    re.I,
)
DOTTED = re.compile(r"\d\.\d{1,3}\.\d{1,3}\.\d")
HYPHENS = re.compile(r"-[0-9a-fA-F]{2}(?:[0-9a-fA-F]{2})?-")
SEVEN = re.compile(r"\d\d{6}")
COLONS = re.compile(r":[0-9a-fA-F]{0,4}:[0-9a-fA-F]{0,4}:|::")
# The first character stands before the test of what precedes it, so that the search skips fast to such characters.
MAC = re.compile(r"[0-9a-fA-F](?<![\w:-].)[0-9a-fA-F](?:([:-])[0-9a-fA-F]{2})(?:\1[0-9a-fA-F]{2}){4}(?![\w:-])")
UUID = re.compile(r"[0-9a-fA-F](?<!\w.)[0-9a-fA-F]{7}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b")
IMAGE = re.compile(r"(?<![\w.-])[\w-]{1,80}\.(?:jpe?g|png|gif|tiff?|heic|bmp|dcm|mp4|mov|avi)\b", re.I)
IMAGE_ENDINGS = ".jp .png .gif .tif .heic .bmp .dcm .mp4 .mov .avi".split()
URL_PIECE = re.compile(r"://|\.(?:(?<=www\.)|(?:com|org|net|edu|gov|info|io|health|co\.uk|de|fr|es)\b)", re.I)
HANDLE = re.compile(r"(?<![\w@.])@[A-Za-z_][\w.]{2,30}\b")
SSN = re.compile(r"\d(?<![\w-].)\d{2}([- ])\d{2}\1\d{4}(?![\w]|-\d)")
LAST_FOUR = re.compile(r"(?<![\w-])[xX*]{3}-[xX*]{2}-\d{4}(?![\w-])")
VIN = re.compile(r"[A-HJ-NPR-Z0-9](?<!\w.)(?=[A-Z0-9]{16})(?=[A-HJ-NPR-Z]*\d)[A-HJ-NPR-Z0-9]{16}\b")
DIGITS = re.compile(r"\d(?<![\w.-].)(?:[ -]?\d){12,18}(?![\w]|[.-]\d)")
IBAN = re.compile(r"[A-Z](?<!\w.)[A-Z]\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
DEA = re.compile(r"[A-Z](?<!\w.)[A-Z9]\d{7}\b")
PHONE = re.compile(
    r"(?<![\w.,/-])(?:\+\d{1,3}[ .-]?|00\d{1,2}[ .-]|1[ .-])?(?:\(\d{1,5}\)[ .-]?|\d{2,5}[ ./-])\(?\d{2,5}\)?(?:[ .-]?\d{2,5}){0,4}"
    r"(?:,?\s?(?:x|ext\.?|extension)\s?\d{1,6})?(?![\w]|[-/]\d|\.\d)|(?<![\w.-])\+\d{8,15}\b|(?<![\w.,/-])\d{10,11}x\d{1,6}\b"
)
GROUPS = re.compile(r"[+(\d](?<![\w.,/-].)(?=[\d ()./+-]{4,40}\d)")
LOCAL = re.compile(r"[2-9]\d\d-\d{4}(?<![\w./-]........)(?![\w/-]|\.\d)")
CALLED = re.compile(
    r"\b(?:call|reach|contact|(?:tele)?phone|text|page|ring|dial|notify|message|number)[^.\n]{0,50}$", re.I
)
NORTH_AMERICAN = re.compile(r"(?:\+?1[ .-]?|001[ .-])?(?:\([2-9]\d\d\)[ .-]?|[2-9]\d\d[.-])\d{3}[ .-]\d{4}(?:\D|$)")
CODE = re.compile(r"\d[A-Za-z0-9]*(?:[-./_:][A-Za-z0-9]+)*")  # a code from its first digit on
CODE_START = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{1,8}(?:[-_./][A-Za-z]{0,4}){0,2}$")
PLATE = re.compile(
    r"\b(?:(?:licen[sc]e|number|vehicle|car)\s(?:plates?|tag)|plates?(?=\s?(?:number|no\b|#|:))|(?:vehicle|car)\sregistration|"
    r"registration(?=\s?(?:number|no\b|#)))(?:\s{0,2}(?:number|no\.?|is|was|of|#|:|\())*\s{0,2}"
    r"([A-Z0-9]{1,8}(?:[ -][A-Z0-9]{1,5}){0,2})(?![\w-])",
    re.I,
)
BARE_PLATE = re.compile(
    r"\b(?:[Pp]lates?|[Tt]ags?),? ((?=[A-Z]*\d)(?=\d*[A-Z])[A-Z0-9]{5,8}|[A-Z]{3}[- ]\d{3,4})(?![\w-])"
)
EXTENSION = re.compile(r"[^\W\d_][,(] ?x ?(\d{4,5})(?![\w/-]|\.\d)")
USER = re.compile(
    r"\b(?:[Uu]ser ?name|[Uu]ser|[Ll]ogin|[Hh]andle)\s?(?:is|:|=)?\s((?=[a-z._-]*\d|[a-z]+[._])[a-z][\w.-]{3,30}\w)"
)
LABELS = {
    "MRN": "mrn mr medical record records chart unit hospital hosp pid patientid mpi",
    "SSN": "ssn social security",
    "PLAN": "plan policy member membership subscriber group insurance medicare medicaid beneficiary hicn mbi payer coverage claim hmo nhs",
    "ACCOUNT": "account acct accounts billing invoice bank routing iban debit credit visa mastercard guarantor",
    "LICENCE": "license licence lic licensed driver drivers driver's dl dea npi certificate certification passport",
    "VEHICLE": "vin vehicle plate car truck motorcycle registration",
    "DEVICE": "serial sn s/n device pacemaker implant implanted lot model udi imei mac pump stent prosthesis valve defibrillator generator lead glucometer cgm",
    "CALL": "home work call called answering contact reach reached page paged office callback reached",
    "FAX": "fax facsimile telefax",
    "PHONE": "phone telephone tel cell cellphone mobile pager beeper ext extension hotline dial",
    "PLACE": "zip zipcode postcode postal",
    "BIOMETRIC": "voice fingerprint fingerprints retina retinal iris voiceprint biometric biometrics palm faceprint facial",
    "PHOTO": "photo photograph photos image picture photographs",
    "OTHER_ID": "sample barcode identifier accession specimen study order reference ref badge employee student encounter visit case trial subject "
    "confirmation ticket csn fin har prescription rx script tracking enrollment participant username login user screening referral "
    "authorization auth",
}
KIND_OF = {word: kind for kind, words in LABELS.items() for word in words.split()}
FILLERS = frozenset(
    "number no num nbr nr id ids is was of the code card s are his her # as template with under plan's and or at on me him them us back scan print file template registered stored".split()
)
SAY_NUMBER = frozenset("number no num nbr nr id ids code card".split())
NEED_NUMBER = frozenset(
    """mr medical unit hospital hosp record records plan group insurance medicare medicaid visit case study order model lot car truck
    pump stent valve lead user image picture credit trial subject implant device pacemaker bank visa generator
    prosthesis palm facial retinal retina iris voice sample photo photograph photographs photos images plate registration""".split()
)
ABBREVIATED = frozenset("no nr num tel ext lic acct ph ref med rec pt cert reg mob".split())
UNIT = re.compile(
    r"[ \t]?(?:mg|mcg|ug|g|gm|grams?|kg|lbs?|pounds|ml|cc|l|liters?|units?(?!\s+(?:no|num|#))|iu|mm|cm|mmhg|meq|mmol|k|%|bpm|hz|cgy|gy|calories|kcal|watts|"
    r"cells|copies|hours?|days|weeks|minutes|min|seconds|sec|x10|beats|feet|steps|ng|pg|french|fr|joules|j|ma|ms|msec|volts|per|"
    r"years?|months?|am|pm|a\.m|p\.m)\b|[ \t]?%",
    re.I,
)
LEFT = re.compile(r"[A-Za-z](?:[A-Za-z'/-]*[A-Za-z])?|[#:.;,\n]")
MORE_DIGITS = re.compile(r"(?:[ -]\d{2,5}){1,4}(?![\w/-]|\.\d)")
INSURER = re.compile(r"\b(?:group|plan|insurance|medicare|medicaid)\s$", re.I)
CLOCK = re.compile(r"\d{1,2}:\d\d(?::\d\d)?")
YEAR = re.compile(r"(?:1[89]|2[01])\d\d")


def find_by_form(text: str) -> Iterator[Span]:
    """Identifiers that their own form gives away."""
    if "@" in text:
        yield from _all(EMAIL, text, "EMAIL")
    low = text.lower()
    if any(ending in low for ending in IMAGE_ENDINGS):
        yield from _all(IMAGE, text, "PHOTO")
    place = 0
    for piece in URL_PIECE.finditer(text):
        match = URL.search(text, max(place, piece.start() - 200)) if piece.start() >= place else None
        if match and match.start() <= piece.start():
            place = match.end()
            yield Span(match.start(), match.start() + len(match[0].rstrip(".,;:")), "URL")
    if DOTTED.search(text):
        yield from _all(IP, text, "IP")
    colons, hyphens = COLONS.search(text), HYPHENS.search(text)
    if colons:
        yield from _all(IP6, text, "IP")
    if colons or hyphens:
        yield from _all(MAC, text, "DEVICE")
    if hyphens:
        yield from _all(UUID, text, "OTHER_ID")
    if "@" in text:
        yield from _all(HANDLE, text, "OTHER_ID")
    yield from _all(SSN, text, "SSN")
    if "xxx-xx-" in low or "***-**-" in low:
        yield from _all(LAST_FOUR, text, "SSN")
    for match in VIN.finditer(text):
        if vin_valid(match[0]):
            yield Span(*match.span(), "VEHICLE")
    for match in IBAN.finditer(text):
        if iban_valid(match[0]):
            yield Span(*match.span(), "ACCOUNT")
    for match in DIGITS.finditer(text):
        if luhn_valid(re.sub(r"\D", "", match[0])):
            yield Span(*match.span(), "ACCOUNT")
    for match in DEA.finditer(text) if SEVEN.search(text) else ():
        if dea_valid(match[0]):
            yield Span(*match.span(), "LICENCE")


def _all(pattern: re.Pattern, text: str, kind: str) -> Iterator[Span]:
    for match in pattern.finditer(text):
        yield Span(*match.span(), kind)


def find_phones(text: str) -> Iterator[Span]:
    """Phone and fax numbers: of North American form anywhere, of any form behind a label or with a country code."""
    for group in GROUPS.finditer(text):
        match = PHONE.match(text, group.start())
        if not match:
            continue
        written = match[0]
        digits = len(re.sub(r"\D", "", re.split("[xe]", written)[0]))
        if not 7 <= digits <= 15:
            continue
        kind = label_before(text, match.start())
        if kind == "CALL":
            kind = "PHONE"
        if kind not in ("PHONE", "FAX"):
            if kind or not (written[0] == "+" or NORTH_AMERICAN.match(written)):
                continue
            kind = "PHONE"
        yield Span(*match.span(), kind)
    for match in EXTENSION.finditer(text):  # Ada Novak, x5512
        if not UNIT.match(text, match.end()):
            yield Span(*match.span(1), "PHONE")
    for match in LOCAL.finditer(text):  # without its area: contact the daughter at 555-0100
        if CALLED.search(text, max(0, match.start() - 60), match.start()):
            yield Span(*match.span(), "PHONE")


def find_labelled(text: str) -> Iterator[Span]:
    """Codes and numbers whose kind the words before them name; long bare numbers and codes as OTHER_ID."""
    low = text.lower()
    if "plate" in low or "registration" in low or " tag" in low:
        for match in PLATE.finditer(text):
            code = match[1]
            if any(c.isdigit() for c in code) and len(code) >= 5 and code.upper() == code:
                yield Span(*match.span(1), "VEHICLE")
        for match in BARE_PLATE.finditer(text):
            yield Span(*match.span(1), "VEHICLE")
    if "user" in low or "login" in low or "handle" in low:
        for match in USER.finditer(text):
            yield Span(*match.span(1), "OTHER_ID")
    for match in CODE.finditer(text):
        start, end = match.span()
        if start and (text[start - 1].isalpha() or text[start - 1] in "-_./"):
            letters = CODE_START.search(text, max(0, start - 20), start)
            start = letters.start() if letters else start
        token = text[start:end]
        digits = sum(map(str.isdigit, token))
        more = MORE_DIGITS.match(text, end)
        if (len(token) < 4 and not more) or digits < 2 or CLOCK.fullmatch(token):
            continue
        kind = label_before(text, start)
        if (
            kind is None
            and digits >= (4 if token[0].isalpha() else 6)
            and INSURER.search(text, max(0, start - 12), start)
        ):
            kind = "PLAN"
        if kind in ("PHONE", "FAX", "CALL"):
            if digits >= (7 if kind == "CALL" else 4) and not UNIT.match(text, end) and not YEAR.fullmatch(token):
                yield Span(start, end, "FAX" if kind == "FAX" else "PHONE")
        elif kind:
            unit = digits < 7 and UNIT.match(text, end)  # "NPI 1234567893 Copies to" has none
            if digits >= 3 and not YEAR.fullmatch(token) and not unit and not _measure(token):
                yield Span(start, more.end() if more else end, kind)
        elif looks_like_code(token, digits) and not UNIT.match(text, end):
            yield Span(start, end, "LICENCE" if npi_valid(token) else "OTHER_ID")


def _measure(token: str) -> bool:
    if re.fullmatch(r"\d{1,4}\.\d{1,3}", token):
        return True
    return "/" in token and all(part.isdigit() and len(part) < 4 for part in token.split("/"))


def looks_like_code(token: str, digits: int) -> bool:
    """A bare number of seven digits or more that is not round, or letters and at least five digits in one code."""
    if token.isdigit():
        return 7 <= digits <= 20 and not token.endswith("000")
    compact = re.sub(r"[-_]", "", token)
    return (
        digits >= 5
        and compact.isalnum()
        and bool(
            re.match(
                r"[A-Z]{2,5}[-_]?\d{5,}|[A-Z][-_]?\d{6,}|[A-Z]{1,2}\d\d-\d{4,}|\d{2,4}-\d{5,}|[A-Z]{2,5}-\d{2,4}-\d{3,}",
                token,
            )
        )
    )


def label_before(text: str, start: int) -> str | None:
    """The kind named by the nearest words before a place, over fillers such as "number is" and a colon or bracket.

    Words that are labels of numbers only ("unit", "study") count with "no", "#" or a colon behind them. "CALL" are words
    that announce a phone number or anything else ("home", "call").
    """
    numbered = colon = line_end = stop = False
    for piece in reversed(LEFT.findall(text, max(0, start - 48), start)[-8:]):
        word = piece.lower()
        if line_end and piece != ":":
            break
        line_end = piece == "\n"
        if stop and word not in ABBREVIATED:
            break
        stop = piece == "."
        if piece in ",;":
            break
        if piece in "#:":
            colon = True
        elif word in SAY_NUMBER or word == "number":
            numbered, colon = True, colon or word == "id"
        elif word in KIND_OF:
            return KIND_OF[word] if numbered or colon or word not in NEED_NUMBER else None
        elif piece.isalpha() and word not in FILLERS:
            break
    return "OTHER_ID" if numbered and colon else None


def luhn_valid(digits: str) -> bool:
    """The check digit of payment cards and NPIs (ISO/IEC 7812-1)."""
    doubled = [int(d) * 2 if i % 2 else int(d) for i, d in enumerate(reversed(digits))]
    return len(set(digits)) > 1 and sum(d - 9 if d > 9 else d for d in doubled) % 10 == 0


def npi_valid(digits: str) -> bool:
    """National Provider Identifiers: ten digits from 1 or 2 on, Luhn's check digit behind the prefix 80840 (45 CFR 162.406)."""
    return len(digits) == 10 and digits[0] in "12" and luhn_valid("80840" + digits)


def iban_valid(code: str) -> bool:
    """ISO 13616: the number mod 97 is 1."""
    compact = code.replace(" ", "")
    return 15 <= len(compact) <= 34 and int("".join(str(int(c, 36)) for c in compact[4:] + compact[:4])) % 97 == 1


def vin_valid(code: str) -> bool:
    """ISO 3779 with the North American check digit."""
    values = dict(
        zip(
            "ABCDEFGHJKLMNPRSTUVWXYZ",
            [1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 7, 9, 2, 3, 4, 5, 6, 7, 8, 9],
            strict=True,
        )
    )
    weights = [8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2]
    check = sum(w * (int(c) if c.isdigit() else values[c]) for w, c in zip(weights, code, strict=True)) % 11
    return code[8] == ("X" if check == 10 else str(check))


def dea_valid(code: str) -> bool:
    """Registration numbers of prescribers: the last digit of d1+d3+d5 + 2(d2+d4+d6) is d7."""
    d = [int(c) for c in code[2:]]
    return (d[0] + d[2] + d[4] + 2 * (d[1] + d[3] + d[5])) % 10 == d[6]
