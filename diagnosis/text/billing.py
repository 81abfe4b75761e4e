"""Diagnosis, procedure and billing codes in a note: they are the answer in other letters, and no clinical finding."""

import re

from diagnosis.text.normalise import squeeze

ICD10 = (
    r"(?!T\d\d\.\d[CF]?\b)[A-TV-Z]\d[0-9A-Z]\.[0-9A-Z]{1,4}"  # with its dot: B12 is a vitamin; T36.6 is a temperature
)
ICD9_LETTER = r"(?:V\d{2}|E\d{3})\.\d{1,2}"
ANY = r"(?:[A-TV-Z]\d[0-9A-Z](?:\.?[0-9A-Z]{1,4})?|[VE]?\d{2,3}(?:\.\d{1,2})?)"  # also without a dot, where a word announces it
LIST = rf"{ANY}(?:(?: ?[,;/&] ?| and ){ANY})*"
PROCEDURE = r"[A-Z]?\d{4,5}[A-Z]?(?:-\d\d)?"
CODED = r"(?:(?:codes?|diagnos[ie]s|dx|number|no\.?) ?)?[:#=]? ?"

ONE = (
    rf"(?:\bICD ?-? ?(?:(?:9|10)(?: ?-? ?(?:CM|PCS))?|(?=codes?)) ?{CODED}{LIST}"  # an ICD is a defibrillator as well
    rf"|\b(?:diagnosis|dx) codes?[:#]? ?{LIST}"
    rf"|\b(?:CPT|HCPCS)(?: ?codes?)?[:#]? ?{PROCEDURE}(?:(?: ?[,;/&] ?| and ){PROCEDURE})*"
    rf"|\b(?:MS-?|APR?-?)?DRG(?: ?codes?)?[:#]? ?\d{{1,3}}(?:-\d)?"
    rf"|\b(?:{ICD10}|{ICD9_LETTER}))(?![\w.]*\w)"
)
CODE = re.compile(rf",? ?(?:\( ?{ONE} ?\)|{ONE})", re.IGNORECASE)
BILLING_LINE = re.compile(
    r"^[ \t]*(?:billing(?: codes?| diagnos[ie]s| information| provider| level| note)?|billed|charges?|charge codes?|level of service|"
    r"e/?m (?:level|codes?)|(?:cpt|icd ?-? ?(?:9|10)?(?:-?cm)?|hcpcs|procedure|diagnosis|dx) codes?|(?:ms-?|apr-?)?drg|rvus?|payer|"
    r"modifiers?) ?:(?:[ \t]*\n[ \t]*[A-Z]?\d[^\n]{0,80}|[^\n]*)(?:\n|$)",  # or the line below, where it begins with a code
    re.IGNORECASE | re.MULTILINE,
)


def without_codes(text: str) -> tuple[str, int]:
    """The text without ICD, CPT, HCPCS and DRG codes and without billing lines; and how many of them there were.

    Nothing stands in their place. A number alone is no code (428.0 may be a result): ICD-9's numeric codes and ICD-10's
    without a dot go only where a word announces them ("ICD-9: 428.0").
    """
    text, lines = BILLING_LINE.subn("", text)
    text, codes = CODE.subn("", text)
    if not lines + codes:
        return text, 0
    again, more = without_codes(squeeze(text))  # what closed up may announce the next
    return again, lines + codes + more
