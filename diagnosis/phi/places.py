"""Places smaller than a state: streets, cities, ZIP codes, hospitals and the like."""

import itertools
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from diagnosis.phi.names import (
    COUNTRIES,
    LETTER,
    MEDICAL_AFTER,
    NEVER,
    PEOPLES,
    STATES,
    UPPER,
    WEEKDAYS,
    common,
    drug_or_eponym,
    places_of,
)
from diagnosis.phi.spans import Span

TOWNS = Path(__file__).with_name("towns.txt")
CAPITALISED = rf"(?:[dDlL]['’])?[{UPPER}](?:{LETTER}|['’.-](?={LETTER}))*"
STATE_CODES = "AL|AK|AZ|AR|CA|CO|CT|DE|FL|GA|HI|ID|IL|IN|IA|KS|KY|LA|ME|MD|MA|MI|MN|MS|MO|MT|NE|NV|NH|NJ|NM|NY|NC|ND|OH|OK|OR|PA|RI|SC|SD|TN|TX|UT|VT|VA|WA|WV|WI|WY|DC|PR|AS|FM|GU|MH|MP|PW|VI|AA|AE|AP"
STATE_NAMES = (
    "Alabama|Alaska|Arizona|Arkansas|California|Colorado|Connecticut|Delaware|Florida|Georgia|Hawaii|Idaho|Illinois|Indiana|Iowa|Kansas|"
    "Kentucky|Louisiana|Maine|Maryland|Massachusetts|Michigan|Minnesota|Mississippi|Missouri|Montana|Nebraska|Nevada|New Hampshire|"
    "New Jersey|New Mexico|New York|North Carolina|North Dakota|Ohio|Oklahoma|Oregon|Pennsylvania|Rhode Island|South Carolina|South Dakota|"
    "Tennessee|Texas|Utah|Vermont|Virginia|Washington|West Virginia|Wisconsin|Wyoming"
)
# The street suffixes of the United States Postal Service's Publication 28, and a few of other countries.
SUFFIX = (
    "Alley|Aly|Annex|Arcade|Avenue|Ave|Av|Bayou|Beach|Bend|Bluffs?|Bottom|Boulevard|Blvd|Branch|Bridge|Brooks?|Burgs?|Bypass|Camp|Canyon|"
    "Cape|Causeway|Cent(?:er|re)s?|Circles?|Cir|Cliffs?|Club|Commons?|Corners?|Course|Courts?|Ct|Coves?|Creek|Crescent|Crest|Crossing|"
    "Crossroads?|Curve|Dale|Dam|Divide|Drives?|Dr|Estates?|Expressway|Extensions?|Falls?|Ferry|Fields?|Flats?|Fords?|Forest|Forges?|Forks?|"
    "Fort|Freeway|Gardens?|Gateway|Glens?|Greens?|Groves?|Harbors?|Haven|Heights|Highway|Hwy|Hills?|Hollow|Inlet|Islands?|Isle|Junctions?|"
    "Keys?|Knolls?|Lakes?|Land|Landing|Lane|Ln|Lights?|Loaf|Locks?|Lodge|Loop|Mall|Manors?|Meadows?|Mews|Mills?|Mission|Motorway|Mount|"
    "Mountains?|Neck|Orchard|Oval|Overpass|Parks?|Parkways?|Pkwy|Pass|Passage|Path|Pike|Pines?|Places?|Pl|Plains?|Plaza|Points?|Ports?|"
    "Prairie|Radial|Ramp|Ranch|Rapids?|Rest|Ridges?|River|Roads?|Rd|Route|Row|Rue|Run|Shoals?|Shores?|Skyway|Springs?|Spurs?|Squares?|Sq|"
    "Station|Stravenue|Stream|Streets?|St|Summit|Terrace|Ter|Throughway|Trace|Track|Trafficway|Trail|Trl|Tunnel|Turnpike|Underpass|Unions?|"
    "Valleys?|Viaduct|Views?|Villages?|Ville|Vista|Walks?|Wall|Ways?|Wells?"
)
CORE = (
    "Street|St|Avenue|Ave|Road|Rd|Drive|Dr|Lane|Ln|Boulevard|Blvd|Court|Ct|Circle|Terrace|Parkway|Pkwy|Highway|Hwy|Way"
)
UNIT = r"(?:,?\s{1,2}(?:Apt|Apartment|Suite|Ste|Unit|Rm|Floor|Fl|Building|Bldg|#)\.?\s?#?\s?[A-Z]?\d{0,5}[A-Z]?\b)"
STREET = re.compile(
    rf"\d(?<![\w./-].)\d{{0,5}}[A-Z]?\s(?:\d{{1,5}}\s)?(?:(?:N|S|E|W|NE|NW|SE|SW)\.?\s|(?:North|South|East|West)\s)?"
    rf"(?:\d{{1,3}}(?:st|nd|rd|th)|{CAPITALISED})(?:\s{CAPITALISED}){{0,3}}\s(?:(?P<core>{CORE})|{SUFFIX})\b\.?(?:\s(?:N|S|E|W|NE|NW|SE|SW)\b)?{UNIT}?"
)
# Streets of other countries: Storgatan 12, Via dei Mille 4, 33 avenue de Provence.
ENDS_ABROAD = "straße|strasse|straat|stræde|gata|gatan|vägen|veien|vegen|väg|vej|katu|kuja|polku|tie|laan|gracht|gasse|plein|weg|platz|allee|utca|utcája"
ABROAD = re.compile(
    rf"(?:\d{{1,5}}\s)?\b[{UPPER}](?:{LETTER}){{2,20}}(?:{ENDS_ABROAD})\s\d{{1,4}}[a-zA-Z]?\b"
    rf"|(?:\d{{1,5}}\s)?\b(?:V[ií]a|Viale|Vicolo|Piazza|Corso|Rue|Calle|C/|Avda\.?|Avenida|Rua|Praça|Plaza|Camino|Paseo|Carrera|[Uu]l\.|Ulica|Rúa)\s"
    rf"(?:(?:de|del|della|dei|delle|la|las|los|di|da|do|dos|das|des|du)\s){{0,2}}{CAPITALISED}(?:\s{CAPITALISED}){{0,3}},?\s\d{{1,4}}\b"
    rf"|\d{{1,4}},?\s(?:avenue|rue|boulevard|quai|chemin|allée|impasse)\s(?:(?:de|du|des|la|le)\s){{0,2}}{CAPITALISED}(?:\s{CAPITALISED}){{0,3}}"
    rf"|\b[{UPPER}](?:{LETTER}){{2,20}}(?:\s{CAPITALISED}){{0,2}}\s(?:utca|út|u\.|tér|körút|ulice|cesta)\s\d{{1,4}}\b"
)
# One of these stands wherever one of the next does, and each is quick to look for.
BEFORE_NUMBER = re.compile(r" \d")
BEFORE_A_NUMBER = (*ENDS_ABROAD.split("|"), *"utca út u. tér körút ulice cesta".split())
ABROAD_CAPITALS = re.compile(
    r"V(?:[ií]a|iale|icolo) |P(?:iazza|ra[çc]a|laza|aseo) |C(?:orso|alle|/|amino|arrera) |R(?:u[ae]|úa) |A(?:vda|venida)|U(?:l\.|lica) "
)
ABROAD_SMALL = re.compile(r"\d,? (?:avenue|rue|boulevard|quai|chemin|allée|impasse) ")
ABROAD_PIECES = re.compile(rf"(?:{ENDS_ABROAD}) \d|V[ií]a |Vi(?:ale|colo) |Piazza |Corso |Rue |Calle |C/ |A(?:vda|venida)|Rua |Pra[çc]a |Plaza |Camino |"
    r"Paseo |Carrera |[Uu]l\. |Ulica |Rúa |\d,? (?:avenue|rue|boulevard|quai|chemin|allée|impasse) |(?:utca|út|u\.|tér|körút|ulice|cesta) \d")  # fmt: skip
BOX = re.compile(
    r"(?:USNS|USS|USNV|USCGC)\s[A-Z][a-z]+|\bP\.?\s?O\.?\s(?:Box|BOX)\s#?\d{1,6}|\b(?:PSC|Unit|USNS|USS|USNV|USCGC)\s\d{1,5},?\sBox\s\d{1,5}"
)
APARTMENT = re.compile(r"\b(?:Apt|Apartment|Suite)\.?\s\d{2,4}[A-Z]?\b")
MILITARY = re.compile(r"\b(?:[FAD]PO)\s(?:AA|AE|AP)\s\d{5}(?:-\d{4})?")
CITY = rf"{CAPITALISED}(?:[ ]{CAPITALISED}){{0,3}}"
ZIP = re.compile(r"\d(?<!\w.)\d{4}(?:-\d{4})?(?![\w-])")
TAIL = re.compile(
    rf"(?:(?:,[ ]?|[ ]?\n[ ]?){{1,2}}(?:Apt|Suite|Unit)\.?[ ]\w{{1,5}})?(?:,[ ]?|[ ]?\n[ ]?){{1,2}}(?P<city>{CITY})(?=[ ]?[,.\n]|$|[ ]\d|[ ][A-Z]{{2}}\b)"
)
STATE_AFTER = re.compile(rf",?\s(?:{STATE_CODES}|{STATE_NAMES})\b")
STATE_BEFORE = re.compile(rf"(?:(?P<city>{CITY}),?\s{{1,2}})?\b(?:{STATE_CODES}|{STATE_NAMES})\.?,?\s{{1,3}}$")
# MD, PA and MS behind a name are degrees: as states they need a ZIP code.
STATE = re.compile(rf",\s(?:(?:{STATE_NAMES})\b|(?!MD|PA|MS)(?:{STATE_CODES})\b(?![.'’])(?=\s*(?:[.,;)a-z\d(]|$|\n)))")
TOWN_AFTER = re.compile(r",\s{1,2}|\s(?:in|of)\s")
TOWN_WORD = re.compile(rf"{CAPITALISED}")
BEFORE_TOWN = frozenset("in from to near outside at".split())
LAST_WORD = re.compile(r"([A-Za-z]+)\s$")
STATE_ALONE = re.compile(STATE_NAMES)
CITY_BEFORE = re.compile(rf"(?<![\w'’-])(?P<city>{CITY})$")
RESIDENCE = re.compile(
    rf"\b(?:[Ll]iv(?:es?|ed|ing)|[Rr]esid(?:es?|ed|ing|ent)|[Bb]orn(?: and raised)?|[Tt]ransferred|[Rr]eferred|[Mm]ov(?:ed|ing)|[Nn]ative|[Rr]aised|[Gg]rew up|[Tt]ravell?(?:ed|s)?|trip|visit(?:ing|ed)|"
    rf"[Rr]elocat(?:ed|ing)|returned|[Tt]ransported|flown|[Oo]riginally|home)\s{{1,2}}(?:(?:here|alone|back|recently|over|up|down|with\s(?:his|her|their|an?|the)\s[a-z-]{{3,15}})\s)?"
    rf"(?:in|at|from|of|to|near|outside|for|by)\s{{1,2}}(?:(?:the\s)?(?:city|town|village|suburb)\sof\s)?(?P<city>{CITY})"
)
PREPOSITION = re.compile(rf"\s(in|at|from|of|to|near|outside|for|by)\s{{1,2}}(?=[{UPPER}]|the\s[{UPPER}c-v])")
RESIDENCE_PIECES = (
    "iv esid orn rans eferred ov ative aised rew ravel trip visit elocat returned flown riginally home".split()
)
EMPLOYED_PIECES = "ork mploye ob etired olunteer".split()
HOME = re.compile(r"(?:liv|resid|born|mov|native|raised|grew|relocat|originally)", re.I)
EMPLOYED = re.compile(
    rf"\b(?:[Ww]ork(?:s|ed|ing)?|[Ee]mployed|[Ee]mployee|[Jj]ob|[Rr]etired|[Vv]olunteers?)\s{{1,2}}(?:[a-z-]{{2,14}}\s){{0,4}}?(?:at|for|by|from|of|in)\s(?:the\s)?"
    rf"(?P<city>{CITY}(?:[ ](?:&|and|of)[ ]{CITY})?)"
)
WITHIN = re.compile(
    rf"in (?<!\win )(?P<city>[{UPPER}][a-z](?:{LETTER})+(?: [{UPPER}][a-z](?:{LETTER})+)?)(?=[ ,.;)\n])(?! [{UPPER}])"
)
FIELD = re.compile(
    r"(?:C(?:ity|ITY|ounty|OUNTY|linic|LINIC|hurch)|town|T(?:own|OWN)|A(?:ddress|DDRESS)|R(?:esidence|ESIDENCE)|H(?:ospital|OSPITAL|ometown|OMETOWN)|"
    r"F(?:acility|ACILITY)|L(?:ocation|OCATION)|S(?:ite|ITE|chool|CHOOL)|B(?:irthplace|IRTHPLACE)|Place of birth|PLACE OF BIRTH|E(?:mployer|MPLOYER)|"
    rf"P(?:harmacy|HARMACY))(?:\s(?:name|NAME|of birth|OF BIRTH))?\s?:\s{{0,3}}(?P<city>{CITY})"
)
TYPES = (
    "Hospital|Hospitals|Medical Center|Medical Centre|Health Center|Health Centre|Clinic|Clinics|Infirmary|Hospice|Health System|Healthcare|"
    "Medical Group|Nursing Home|Nursing Facility|Nursing Center|Rehab|Rehab Center|Rehab Hospital|Rehab Facility|Rehabilitation|Rehabilitation Center|"
    "Rehabilitation Hospital|Rehabilitation Facility|Care Center|Care Home|Surgery Center|Cancer Center|Cancer Institute|Heart Institute|Eye Institute|"
    "Spine Institute|Kidney Institute|Liver Institute|Brain Institute|Vascular Institute|Orthopedic Institute|Orthopaedic Institute|Institute|"
    "Health Services|Family Practice|Family Medicine|Pharmacy|Memorial|General|University|College|High School|Elementary|School|Assisted Living|Manor|"
    "Senior Living|Retirement Home|Retirement Community|Church|Shelter|Prison|Jail|County|Township|Airport|Dialysis|Dialysis Center|Associates|"
    "Physicians|Group|PLC|LLC|Inc|Ltd|Corp|and Sons|Behavioral Health|Skilled Nursing|Urgent Care|Pediatrics|Dental|Women's Center|Women’s Center|"
    "Imaging|Hospital District|School District|Schools|Public Schools|Academy|Seminary|Preschool|Transit|Transit Authority|Authority|District Court|"
    "Sheriff's Office|Sheriff’s Office|Country Club|Golf Club|Superior Court|Family Court|Circuit Court|Municipal Court|Probate Court|Police|Police Department|Fire|Fire Department|Fire Rescue|Sheriff|"
    "Law Firm|Gazette|Times|Herald|PD|EMS|Brewing|Brewing Company|Landscaping|Hardware|Foundry|Farm|Farms|Auto|Auto Body|Auto Repair|Realty|"
    "Parks and Recreation|Plumbing|Trucking|Construction|Roofing|Electric|Bakery|Foods|Motors|Industries|Enterprises|Logistics|Insurance|Works|Company|"
    "Brothers|Bank|Library|Hotel|Market|Grocery|Store|Textiles|Manufacturing|Steel|Mill|Mills|Shipyard|Mine|Mines|Airlines|Freight|Partners|Sons"
).split("|")
INSTITUTION = re.compile(
    rf"(?:{'|'.join(sorted(TYPES, key=len, reverse=True))})(?<![a-z]-)\b(?:[ ](?:of[ ])?(?:Hospital|Medical Center)\b)?"
)
INSTITUTION_NAME = re.compile(
    rf"(?<![\w'’.-])(?:(?:da|das|de|do|dos|van|von|der|den|la|las|los|le|di)[ ]){{0,2}}(?:(?:St|Mt)\.[ ])?{CAPITALISED}"
    rf"(?:,?[ ](?:of|and|the|&|de|for)(?=[ ][{UPPER}])|,?[ -](?:Ste?\.[ ])?{CAPITALISED}){{0,6}}[ ]$"
)
CLEAR_TYPES = ("hospital", "hospitals", "medical center", "medical centre", "infirmary")
HOUSES = (
    "pd",
    "ems",
    "police",
    "police department",
    "sheriff's office",
    "sheriff’s office",
    "country club",
    "fire department",
    "school district",
    "transit authority",
    "parks and recreation",
    "gazette",
    "high school",
    "court",
    "urgent care",
    "skilled nursing",
    "brewing company",
    "law firm",
    "farms",
    "hardware",
    "institute",
    "rehabilitation center",
    "rehab center",
    "nursing home",
    "nursing center",
    "rehabilitation",
    "manor",
    "hospice",
)
GENERIC = frozenset(
    """the a an this that our your his her at in to from of and for outside local day children childrens children's rehab rehabilitation
    psychiatric general community state county mental acute long term care primary teaching tertiary referring emergency city
    district regional area same another any other no public private surgical medical veterans veteran's va night inpatient outpatient
    ambulatory urgent pain wound heart failure memory diabetes cancer women women's eye dental transplant stroke trauma specialty
    family internal medicine surgery cardiology oncology neurology anticoagulation coumadin travel sleep foot home health
    nursing skilled birth maternity clinic patient patient's hospital admission discharge admitting brief course during prior
    current history center high school elementary middle university community post pre per dr mr mrs ms
    dialysis new old main large small general attending interval past final hospice visit name""".split()
)
NOT_CITIES = (
    STATES - {"york"} | COUNTRIES | PEOPLES | WEEKDAYS | NEVER | frozenset(
        "assisted independent group nursing skilled senior home room bed floor apartment house rehab section term unit long short extended "
        "adult foster hospice shelter hospital homeless memory".split()
    )
)  # fmt: skip
NOT_EMPLOYERS = frozenset(
    "er icu or emergency department physical therapy therapist occupational speech information technology human resources customer service "
    "sales retail construction security social dr mr mrs ms i and of ed pt ot rn lpn cna it hr".split()
)
FIRST_OF_CITY = frozenset("new north south east west lake port saint st fort mount san santa los las el la".split())


@cache
def _towns() -> frozenset[str]:
    return frozenset(line for line in TOWNS.read_text("utf-8").splitlines() if not line.startswith("#"))


@cache
def _towns_first() -> frozenset[str]:
    return frozenset(re.match(r"[^\W\d_]+", town)[0] for town in _towns())


def _town_end(text: str, start: int) -> int:
    """Where a town of the list ends that begins at `start` (the longest of up to three words), `start` where none does."""
    end, found = start, start
    for _ in range(3):
        word = TOWN_WORD.match(text, end + (end > start))
        if not word or (end > start and text[end] != " "):
            break
        end = word.end()
        if text[start:end] in _towns():
            found = end
    return found


# Rocky Mount, Rapid City, Eureka Springs; St. Louis, Old Lyme, Cape Girardeau: behind a small word or a comma.
TAILS = (
    "City Springs Falls Beach Rapids Lake Lakes Creek Grove Hills Heights Valley Bluff Bluffs Harbor Island Islands Junction Ridge Rock Fork Forks Forge "
    "Mills Ferry Haven Mount Mountain Landing Bay Prairie Plains Shores Township Village"
).split()
HEADS = "St Ste Saint Sainte Ft Fort Port Mt Mount San Santa Los Las El Cape Baton Coeur Des Palm Old Big Little Bay Sault East West North South".split()
PAIR = re.compile(
    rf"(?<=[a-z,] )(?:[{UPPER}](?:{LETTER})+ (?:{'|'.join(TAILS)})"
    rf"|(?:(?:Bay |Sault |East |West |North |South )?S(?:ain)?te?\.?|Ft\.?|Fort|Port|Mt\.?|Mount|San|Santa|Los|Las|El|Cape|Baton|Coeur|Des|Palm|Old|"
    rf"Big|Little|Bay) (?P<second>{CAPITALISED}))\b(?![a-z'’-])"
)
CAPITAL = re.compile(rf"[{UPPER}](?<!\w.)(?:{LETTER})+")
LAST_OF_TYPES = frozenset(re.split("[ ]", type)[-1] for type in TYPES)
TYPE_WORDS = frozenset(re.split("[ '’]", type)[0] for type in TYPES)
PAIR_WORDS = frozenset(TAILS + HEADS)
ON = re.compile(rf"(?: (?:of |and |& ?)?[{UPPER}](?:{LETTER}|['’])+)+")
WORD_BEFORE = re.compile(r"(?:^|[^\w'’-])([a-z]+),? $")  # and no name of which the town is the rest


def _town(text: str, start: int) -> Iterator[Span]:
    """A town of the list, with the capitalised words behind it (Minot Transit Authority)."""
    end = _town_end(text, start)
    if end == start or MEDICAL_AFTER.match(text, end):
        return
    if " " not in text[start:end] and text[start:end].lower() in NOT_CITIES:
        return
    on = ON.match(text, end)
    if on and _goes_on(text, end):  # somebody's first name is a town as well: Anna Maria Kowalski
        return
    yield Span(start, on.end() if on and on[0].split()[0].lower() not in NEVER | WEEKDAYS else end, "PLACE")


def find_places(text: str) -> Iterator[Span]:
    """Streets, boxes, cities, ZIP codes and institutions, by their form, their label or the words before them."""
    for match in STREET.finditer(text):
        if match["core"] or text[match.start() + 1].isdigit():
            yield from _address(text, *match.span())
    abroad = ABROAD_CAPITALS.search(text) or ABROAD_SMALL.search(text) or "ul. " in text
    abroad = abroad or any(text.endswith(BEFORE_A_NUMBER, 0, m.start()) for m in BEFORE_NUMBER.finditer(text))
    for piece in ABROAD_PIECES.finditer(text) if abroad else ():
        if match := _around(ABROAD, text, piece.start(), 50):
            yield from _address(text, *match.span())
    if "Box" in text or "BOX" in text or "PO A" in text or "USS " in text or "USN" in text or "USCGC" in text:
        for pattern in (BOX, MILITARY):
            for match in pattern.finditer(text):
                yield from _address(text, *match.span())
    if "Apt" in text or "Apartment" in text or "Suite" in text:
        for match in APARTMENT.finditer(text):
            yield from _address(text, *match.span())
    for match in ZIP.finditer(text):
        before = STATE_BEFORE.search(text, max(0, match.start() - 60), match.start())
        if before:
            if before["city"]:
                start, end = _trimmed(text, *before.span("city"))
                yield Span(start, end, "PLACE")
            yield Span(*match.span(), "PLACE")
        elif (word := LAST_WORD.search(text, max(0, match.start() - 24), match.start())) and word[
            1
        ].lower() in COUNTRIES:
            yield Span(*match.span(), "PLACE")
    capitals = list(CAPITAL.finditer(text))
    for match in capitals:
        if match[0] in TYPE_WORDS:
            yield from _institution(text, match.start())
    for place in places_of("and Sons", text):
        yield from _institution(text, place)
    for match in STATE.finditer(text):
        before = CITY_BEFORE.search(text, max(0, match.start() - 50), match.start())
        if before:
            start, end = _trimmed(text, *before.span("city"))
            if start < end and not common(text[start:end].lower()) and not STATE_ALONE.fullmatch(text, start, end):
                yield Span(start, end, "PLACE")
    for preposition in PREPOSITION.finditer(text):
        start = preposition.start()
        if _said(EMPLOYED_PIECES, text, start - 70, start) and (match := _around(EMPLOYED, text, start, 70)):
            yield from _employer(text, *match.span("city"))
        found = []
        if _said(RESIDENCE_PIECES, text, start - 40, start) and (match := _around(RESIDENCE, text, start, 40)):
            found += _city(text, *match.span("city"), plainly=bool(HOME.match(match[0])))
        if preposition[1] in BEFORE_TOWN:
            end = _town_end(text, preposition.end())
            if end > preposition.end() and not MEDICAL_AFTER.match(text, end) and not _goes_on(text, end):
                found.append(Span(preposition.end(), end, "PLACE"))
        yield from sorted(found, key=lambda span: -span.end)  # Carson City before Carson
    for before, word in itertools.pairwise([None, *capitals]):
        if word[0] in PAIR_WORDS:
            match = PAIR.match(text, word.start()) or (before and PAIR.match(text, before.start()))
            if (
                match
                and match[0].split()[0].lower() not in GENERIC - {"old"}
                and not _plain_english(match["second"])
                and not STATE_ALONE.fullmatch(match[0])
                and not MEDICAL_AFTER.match(text, match.end())
            ):
                yield Span(*match.span(), "PLACE")
    for word in capitals:
        if word[0] in _towns_first() and word[0].istitle():
            before = WORD_BEFORE.search(text, max(0, word.start() - 22), word.start())
            if before and before[1] != "of":  # plaster of Paris
                yield from _town(text, word.start())
    for pattern in (FIELD, WITHIN):
        for match in pattern.finditer(text):
            if pattern is not WITHIN or not MEDICAL_AFTER.match(text, match.end()):
                yield from _city(text, *match.span("city"))


def _plain_english(word: str | None) -> bool:
    return bool(word) and common(word.lower()) and not drug_or_eponym(word.lower())


def _goes_on(text: str, end: int) -> bool:
    """Whether a capitalised word follows that has no other use: then it is rather somebody's name (from Gary Boyce)."""
    word = TOWN_WORD.match(text, end + 1) if text[end : end + 1] == " " else None
    return bool(word) and not common(word[0].lower())


def _address(text: str, start: int, end: int) -> Iterator[Span]:
    """A street, and the town that follows it."""
    yield Span(start, end, "PLACE")
    tail = TAIL.match(text, end)
    if tail and not STATE_ALONE.fullmatch(text, *tail.span("city")):
        if unit := re.search(r"\w[\w. ]*\w", text[end : tail.start("city")]):
            yield Span(end + unit.start(), end + unit.end(), "PLACE")
        town = _town_end(text, tail.start("city")) == tail.end("city")
        alone = text[end] == "," and text[tail.end() : tail.end() + 1] in ("", "\n")
        yield from _city(text, *tail.span("city"), plainly=town or alone or bool(STATE_AFTER.match(text, tail.end())))


def _said(pieces: list[str], text: str, begin: int, end: int) -> bool:
    """Whether one of these stands there or in the word behind: much quicker than the search that it saves."""
    near = text[max(0, begin) : end + 12]
    return any(piece in near for piece in pieces)


def _around(pattern: re.Pattern, text: str, place: int, before: int) -> re.Match | None:
    """The pattern's match that begins up to `before` characters before a place and holds it."""
    begin = max(0, place - before)
    while (found := pattern.search(text, begin, place + 60)) and found.start() <= place:
        match = pattern.match(text, found.start())
        if match and match.end() > place:
            return match
        begin = found.end()
    return None


def _city(text: str, start: int, end: int, *, plainly=False) -> Iterator[Span]:
    """The leading words that are no common ones, nor states, countries or peoples; common ones too where a home is told plainly."""
    last, previous, named = start, "", False
    for word in re.finditer(r"[^\s]+", text[start:end]):
        plain = word[0].lower().strip(".,")
        short = word[0].isupper() and len(word[0]) <= 4
        if plainly and not short and (plain not in NOT_CITIES or (named and plain in ("city", "island"))):
            last, previous, named = start + word.end(), plain, True
            continue
        if short or (common(plain) and plain not in FIRST_OF_CITY and previous not in FIRST_OF_CITY):
            break
        last, previous = start + word.end(), plain
    found = text[start:last].strip()
    if found and not STATE_ALONE.fullmatch(found) and (named or not all(common(w.lower()) for w in found.split())):
        yield Span(start, start + len(text[start:last].rstrip()), "PLACE")


def _employer(text: str, start: int, end: int) -> Iterator[Span]:
    """The whole name, common words too (Home Depot), unless it is one word that says a trade, a state or a people."""
    words = [word.lower() for word in re.findall(r"[^\s&]+", text[start:end])]
    own = [word for word in words if word not in GENERIC and word not in NOT_EMPLOYERS]
    if own and not STATE_ALONE.fullmatch(text, start, end) and not (len(words) == 1 and common(words[0])):
        yield Span(start, end, "PLACE")


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """Without leading words that belong to the sentence ("Lives In", "Address")."""
    while start < end:
        first = re.match(r"\S+\s*", text[start:end])
        plain = first[0].strip().lower()
        if plain in GENERIC - {"new"} or plain in ("lives", "address", "home", "resides", "from", "in", "city"):
            start += first.end()
        else:
            break
    return start, end


def _institution(text: str, start: int) -> Iterator[Span]:
    """The institution whose type stands there, unless its name says only what kind it is ("Pain Clinic", "Outside Hospital")."""
    match = INSTITUTION.match(text, start)
    name = (
        INSTITUTION_NAME.search(text, max(0, start - 70), start) if match and text[start - 1 : start] == " " else None
    )
    if not name:
        return
    words, end = list(re.finditer(r"\S+", name[0])), match.end()
    for place in range(len(words) - 2, 0, -1):  # Grove Care Center and Lowell Hospital: two of them
        if words[place][0] in ("and", "&") and words[place - 1][0] in LAST_OF_TYPES:
            words = words[place + 1 :]
            break
    if text[end : end + 1] == " " and (more := INSTITUTION.match(text, end + 1)):
        end = more.end()  # Steel Works
    left = []
    while words and words[0][0].lower().strip(".,") in GENERIC | {"and", "&"}:
        if _town_end(text, name.start() + words[0].start()) > name.start() + words[0].end():  # Long Beach
            break
        left.append(words.pop(0))
    if left and words and left[-1][0] == "New" and words[0][0].lower() not in GENERIC:  # New Dorothy Hospital
        words.insert(0, left.pop())
    own = [w[0].lower().strip(".,") for w in words if w[0].lower() not in ("of", "and", "the", "&", "de", "for", "new")]
    if not own or own == ["st"]:
        return
    short = {w[0].lower() for w in words if w[0].isupper() and len(w[0]) <= 4}  # GI Clinic
    known = [common(word) or word in GENERIC or word in short for word in own]
    clear = match[0].lower().endswith(CLEAR_TYPES) and not all(word in GENERIC for word in own)
    clear = clear or (match[0].lower().endswith(HOUSES) and not any(word in GENERIC for word in own))
    clear = clear or _town_end(text, name.start() + words[0].start()) > name.start() + words[0].start()
    if not all(known) or own[0] in ("st", "saint", "mt", "mount") or clear:
        yield Span(name.start() + words[0].start(), end, "PLACE")
        if after := TOWN_AFTER.match(text, end):
            end = _town_end(text, after.end())
            if end > after.end():
                yield Span(after.end(), end, "PLACE")
