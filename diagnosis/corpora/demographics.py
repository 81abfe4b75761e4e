"""Declared groups of patients: age bands, sex, and the one table from race and ethnicity strings to groups."""

import re
from collections import Counter

AGE_BANDS = [(18, "0-17"), (45, "18-44"), (65, "45-64"), (75, "65-74"), (90, "75-89")]  # exclusive upper end in years
OLDEST = "90+"  # HIPAA Safe Harbor: ages over 89 are one group

RACES = {
    "White": "white|white - brazilian|white - eastern european|white - other european|white - russian|portuguese|"
    "caucasian|european|white or caucasian",
    "Black": "black|black/african american|black/african|black/cape verdean|black/caribbean island|black/haitian|"
    "black or african american|african american|caribbean island",
    "Hispanic or Latino": "hispanic|latino|latina|latinx|hispanic/latino|hispanic or latino|south american|hispanic/latino - "
    "caribbean|hispanic/latino - central american|hispanic/latino - central american (other)|hispanic/latino - "
    "colombian|hispanic/latino - columbian|hispanic/latino - cuban|hispanic/latino - dominican|hispanic/latino - "
    "guatemalan|hispanic/latino - honduran|hispanic/latino - mexican|hispanic/latino - puerto rican|hispanic/latino - "
    "salvadoran",
    "Asian": "asian|asian - asian indian|asian - cambodian|asian - chinese|asian - filipino|asian - japanese|asian - "
    "korean|asian - other|asian - south east asian|asian - thai|asian - vietnamese",
    "Other": "other|american indian/alaska native|american indian/alaska native federally recognized tribe|american "
    "indian or alaska native|native american|native hawaiian or other pacific islander|pacific islander|"
    "middle eastern|multi race ethnicity|multiple race/ethnicity|multiracial|two or more races",
}
"""Strings of MIMIC-III, MIMIC-IV and the US census by group, lower case, with `|` between them."""

UNKNOWN = {"", "?", "unknown", "unknown/not specified", "unable to obtain", "patient declined to answer", "declined"}
SEXES = {"f": "F", "female": "F", "m": "M", "male": "M"}
_GROUP = {name: group for group, names in RACES.items() for name in names.split("|")}


def race(value: str | None, groups: Counter) -> str | None:
    """The declared group of a race or ethnicity string; None, counted, for the unknown, the declined and the unmapped."""
    value = " ".join((value or "").lower().split())
    if value in UNKNOWN:
        groups["race_unknown"] += 1
        return None
    if value not in _GROUP:
        groups["race_unmapped"] += 1
    return _GROUP.get(value)


def sex(value: str | None, groups: Counter) -> str | None:
    """F, M or None; counted where a value is there that is neither."""
    value = (value or "").strip().lower()
    if value not in SEXES and value not in UNKNOWN:
        groups["sex_unmapped"] += 1
    return SEXES.get(value)


def age_band(years: float | None) -> str | None:
    """The band of an age in years; None for no age or one below zero."""
    if years is None or not years >= 0:
        return None
    return next((band for end, band in AGE_BANDS if years < end), OLDEST)


def age_band_of_text(value: str | None, groups: Counter) -> str | None:
    """The band of an age as people write it: 63, 63.5, 90+, >89, > 89; None, counted, where it is not an age."""
    value = (value or "").strip().lower()
    if value in UNKNOWN:
        return None
    if re.fullmatch(r"(>|>=|over)?\s*(89|90)\s*\+?", value) and value not in ("89", "90"):
        return OLDEST
    band = age_band(float(value)) if re.fullmatch(r"\d{1,3}(\.\d+)?", value) else None
    if band is None:
        groups["age_unmapped"] += 1
    return band


def stated(value: str | None) -> str | None:
    """A group's value as written, without blanks around it; None where it says nothing."""
    value = (value or "").strip()
    return None if value.lower() in UNKNOWN else value
