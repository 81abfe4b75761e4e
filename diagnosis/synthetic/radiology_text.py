"""Radiology reports as MIMIC has them: an examination of the body system concerned, its signs seen or not, an impression.

The signs are drawn from the condition and stand in no other note, so a report adds to what the discharge note tells. It names
no diagnosis.
"""

from datetime import timedelta
from random import Random

from diagnosis.synthetic.disease_model import ASSERTIONS, CONDITIONS, FINDINGS
from diagnosis.synthetic.identities import Identifier, day, doctor, full_name
from diagnosis.synthetic.note_text import Admission, Note, Writer

EXAMINATIONS = {
    "chest": "CHEST (PA AND LAT)",
    "abdomen": "CT ABDOMEN W/O CONTRAST",
    "nerves": "CT HEAD W/O CONTRAST",
    "skin": "DUPLEX ULTRASOUND OF THE LEGS",
}
SIGNS = {
    "I509": "vascular congestion",
    "J189": "lobar opacity",
    "J441": "flattened diaphragms",
    "C3490": "spiculated nodule",
    "N179": "echogenic kidneys",
    "K859": "peripancreatic stranding",
    "E1010": "gastric distension",
    "I639": "hypodense territory",
    "F10231": "diffuse volume loss",
    "G40909": "hippocampal asymmetry",
    "L03115": "subcutaneous edema",
    "M329": "joint effusion",
}
"""What an examination shows in a condition, by its ICD-10 code."""
SEEN = {True: 0.8, False: 0.06}  # chance that a sign is seen: in its condition, in another one


def write_report(admission: Admission, rng: Random, phi_rate: float) -> Note:
    """The report of an examination on the day after admission; it has no typos and no abbreviations."""
    person, own = admission.person, {admission.condition, admission.second}
    first = CONDITIONS[admission.condition]
    system = {code.code: number for number, code in enumerate(CONDITIONS) if code.system == first.system}
    present, negated = [], []
    for code in rng.sample(sorted(system), len(system)):
        (present if rng.random() < SEEN[system[code] in own] else negated).append(SIGNS[code])

    report = Writer(rng, 0.0, 0.0)
    report.sentence(f"EXAMINATION:  {EXAMINATIONS[first.system]}\n\nINDICATION:  ")
    if rng.random() < phi_rate:
        report.sentence("{}, ", full_name(rng, person))
    sex = "woman" if person.woman else "man"
    age = Identifier("AGE", str(admission.age)) if admission.age > 89 else None
    report.sentence(f"{{}} year old {sex} with ", age) if age else report.sentence(
        f"{admission.age} year old {sex} with "
    )
    symptoms = [
        finding
        for finding, state in zip(FINDINGS, admission.states, strict=True)
        if finding.phrases and state == ASSERTIONS.index("present")
    ]
    if symptoms:
        report.listed([rng.choice(symptoms)], "present")
    else:
        report.sentence("malaise")
    report.sentence(".\n\nCOMPARISON:  ")
    if rng.random() < phi_rate:
        report.sentence("Study of {}.", day(rng, admission.admitted - timedelta(days=rng.randrange(20, 300))))
    else:
        report.sentence("None.")

    report.sentence("\n\nFINDINGS:\n\n")
    for assertion, opening, signs in (("present", "There is ", present), ("negated", "No ", negated)):
        for number, sign in enumerate(signs):
            report.sentence(opening if not number else ", " if assertion == "present" else ", no ")
            report.mark(sign, assertion, sign)
        report.sentence(".  " if signs else "")
    report.sentence("\n\nIMPRESSION:\n\n")
    if present:
        for number, sign in enumerate(present):
            report.sentence(", " if number else "Findings of ")
            report.mark(sign, "present", sign)
        report.sentence(".")
    else:
        report.sentence("No acute process.")
    if rng.random() < phi_rate:
        seen = day(rng, admission.admitted + timedelta(days=1))
        report.sentence("\n\nNOTIFICATION:  Discussed with Dr. {} by telephone on {}.", doctor(rng, "{last}"), seen)
    return Note(report.text(), report.identifiers, report.findings, "", None, False)
