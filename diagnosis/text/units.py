"""Units, vital signs and dates in one form; what a note states is never converted, completed or guessed."""

import re
from datetime import date

# A number and its unit: one blank between, one spelling. No conversion but cc to mL, which is the same volume.
UNITS = {
    "mg": "mg mgs milligram milligrams",
    "mcg": "mcg mcgs ug µg μg microgram micrograms",
    "g": "gm gms gram grams",
    "kg": "kg kgs kilogram kilograms kilo kilos",
    "lb": "lb lbs pound pounds",
    "mL": "ml mls cc ccs milliliter milliliters millilitre millilitres",
    "mEq": "meq meqs",
    "mmHg": "mmhg",
    "mg/dL": "mg/dl",
    "g/dL": "g/dl gm/dl",
    "mmol/L": "mmol/l",
    "mEq/L": "meq/l",
    "cm": "cm cms centimeter centimeters centimetre centimetres",
    "mm": "mm mms millimeter millimeters millimetre millimetres",
}
SPELLING = {word: unit for unit, words in UNITS.items() for word in words.split()}
UNIT = re.compile(
    rf"(?<=\d)[ -]?(?:(mm\.? ?Hg\b)|({'|'.join(sorted(map(re.escape, SPELLING), key=len, reverse=True))})(?![\w²³:]))",
    re.IGNORECASE,
)
OTHER_READING = re.compile(r"Mg|MM|MG(?=\W{0,2}\d)")  # magnesium, multiple myeloma: "K 4.0 Mg 2.1", "stage 3 MM"

IS = r"(?: (?:is|was|of|at))? ?[:=]? ?(?:(?:is|was|of|at) )?"
END = r"(?!\d|\.\d|/\d|%)"
VITAL = re.compile(
    rf"\b(?:(?:BP|B/P|blood pressure){IS}(?P<systolic>\d{{2,3}}) ?/ ?(?P<diastolic>\d{{2,3}})(?![\w/]|\.\d|-\d)(?: mmHg\b)?(?! ?kPa)"
    rf"|(?:HR|heart rate|pulse rate|pulse){IS}(?P<heart>\d{{2,3}}){END}(?: ?(?:bpm|beats per minute|beats/min|/min|per minute)\b)?"
    rf"|(?:RR|resp(?:iratory)? rate|respirations?){IS}(?P<breath>\d{{1,2}}){END}(?: ?(?:breaths per minute|breaths/min|/min|per minute)\b)?"
    rf"|(?:T{IS}(?=\d+\.)|temp(?:erature)?{IS})(?P<temperature>\d{{2,3}}(?:\.\d+)?){END}(?: ?°? ?(?:degrees? )?(?P<degree>F|C|Fahrenheit|Celsius|centigrade)\b)?"
    rf"|(?:SpO2|O2 sats?|O2 saturation|oxygen saturation|pulse ox){IS}(?P<oxygen>\d{{2,3}}(?:-\d{{2,3}})?)(?: ?%| percent)"
    r"(?P<air> ?(?:on |in )?(?:RA|room air)\b)?)",
    re.IGNORECASE,
)

MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
MONTH = (
    r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?|Nov(?:ember)?"
    r"|Dec(?:ember)?)\.?"
)
YEAR_4 = r"(?:1[89]|2[0-2])\d\d"
DATE = re.compile(
    rf"(?<![\w/.-])(?:(?P<y>{YEAR_4})[-/](?P<m>\d{{1,2}})[-/](?P<d>\d{{1,2}})"
    rf"|(?P<a>\d{{1,2}})(?P<mark>[-/])(?P<b>\d{{1,2}})(?P=mark)(?P<year>{YEAR_4})"
    rf"|(?P<day>\d{{1,2}})(?:st|nd|rd|th)?(?: of)?[ -](?P<name>{MONTH})[ ,-]{{1,2}}(?P<year2>{YEAR_4})"
    rf"|(?P<name2>{MONTH}) (?P<day2>\d{{1,2}})(?:st|nd|rd|th)?(?:, ?| )(?P<year3>{YEAR_4}))(?![\w/]|[.-]\d)",
    re.IGNORECASE,
)
YEAR = re.compile(YEAR_4)


def standardise(text: str) -> str:
    """Units, vitals and dates in one form: "5mg" is "5 mg", "B/P: 120 / 80" is "BP 120/80 mmHg", "T: 98.6F" is
    "temperature 98.6 F", "SpO2 98% RA" is "O2 sat 98% on room air", "March 5, 2019" and "12/25/2019" are ISO dates.

    Left as written: "03/05/2019" (month or day first?), two-digit years, dates that do not exist, temperatures without a
    unit or that no body has. Idempotent.
    """
    text = UNIT.sub(_unit, text)
    text = VITAL.sub(_vital, text)
    return DATE.sub(_date, text) if YEAR.search(text) else text


def _unit(match: re.Match) -> str:
    if match[1]:
        return " mmHg"
    if OTHER_READING.match(match.string, match.start(2), match.end() + 3) and match[2] in ("Mg", "MG", "MM"):
        return match[0]
    return " " + SPELLING[match[2].lower()]


def _vital(match: re.Match) -> str:
    if match["systolic"]:
        return f"BP {match['systolic']}/{match['diastolic']} mmHg"
    if match["heart"]:
        return f"HR {match['heart']}"
    if match["breath"]:
        return f"RR {match['breath']}"
    if match["oxygen"]:
        return f"O2 sat {match['oxygen']}%" + (" on room air" if match["air"] else "")
    value, degree = float(match["temperature"]), (match["degree"] or "")[:1].upper()
    if not (30 <= value <= 45 or 86 <= value <= 113):  # no body's temperature in either unit: another T
        return match[0]
    return f"temperature {match['temperature']}" + {"": "", "F": " F", "C": " C"}[degree]


def _date(match: re.Match) -> str:
    if match["y"]:
        year, month, day = match["y"], match["m"], match["d"]
    elif match["year"]:
        month, day, year = int(match["a"]), int(match["b"]), match["year"]
        if month <= 12 and day <= 12 and month != day:
            return match[0]
        if month > 12:
            month, day = day, month
    else:
        month = MONTHS.index((match["name"] or match["name2"])[:3].lower()) + 1
        day, year = match["day"] or match["day2"], match["year2"] or match["year3"]
    try:
        return date(int(year), int(month), int(day)).isoformat()
    except ValueError:
        return match[0]
