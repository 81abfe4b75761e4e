"""The sections of a clinical note by their headings, and whether each exists when the patient arrives.

Headings are those of MIMIC discharge summaries, of dictated reports (MTSamples) and of common templates.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

ADMISSION = {
    "demographics": "sex; gender; age; service; race; ethnicity; marital status; identifying data; identifying information; "
    "identification; identification data",
    "complaint": "chief complaint; chief problem; chief complaints; cc; c.c.; complaint; complaints; presenting complaint; presenting problem; "
    "reason for admission; reason for visit; reason for consultation; reason for consult; reason for referral; "
    "reason for exam; reason for examination; reason for hospitalization; reason for evaluation; indication; indications; "
    "clinical indication; clinical indications; admission complaint; present complaint; "
    "indications for procedure; indication for procedure; indications for the procedure; indication for the procedure; "
    "indications for operation; indication for operation; indications for the operation; indications for surgery; "
    "indication for surgery; indications for this procedure; indications for the surgery; operative indications; "
    "reason for procedure",
    "present_illness": "history of present illness; history of the present illness; hpi; present illness; "
    "history of presenting illness; history of presenting complaint; history of present complaint; history of illness; "
    "brief history; brief history of present illness; brief history of the patient; interval history; subjective; "
    "clinical history; history and physical; signs and symptoms; symptoms",
    "past_history": "past medical history; pmh; pmhx; past history; medical history; past surgical history; psh; pshx; "
    "surgical history; past medical and surgical history; past medical/surgical history; past medical history/past surgical history; "
    "pmh/psh; past psychiatric history; psychiatric history; past oncologic history; oncologic history; past ocular history; "
    "ocular history; obstetric history; ob history; gynecologic history; past gynecologic history; past obstetric history; "
    "birth history; developmental history; immunizations; immunization history; coronary risk factors; risk factors; "
    "prior surgeries; previous surgeries; previous surgery; past surgeries; medical problems; past medical problems; "
    "past cardiac history; cardiac history; past medical hx; past surgical hx; past med history; childhood illnesses; prior surgeries and interventions",
    "admission_medications": "medications on admission; admission medications; medications prior to admission; "
    "medications before admission; home medications; medications at home; home meds; meds on admission; admission meds; "
    "preadmission medications; preadmission medication list; outpatient medications; current medications; current meds; "
    "medications on presentation; medications prior to presentation; medication history; present medications; "
    "current outpatient medications; medications upon admission; transfer medications; medications on transfer",
    "allergies": "allergies; allergy; drug allergies; known allergies; medication allergies; allergies to medications; "
    "allergies to medicines; allergies/adverse reactions; allergies and adverse reactions; adverse drug reactions; "
    "adverse reactions; allergies and reactions",
    "social_history": "social history; shx; social hx; personal history; habits; social habits; substance abuse history; "
    "substance and alcohol history; substance use history; occupational history; personal and social history; legal history; "
    "social and developmental history; psychosocial history; soc hx; shx/fhx; social/family history; social and family history; "
    "family social history; fhx/shx; work history",
    "family_history": "family history; fhx; family hx; family medical history; family psychiatric history; fam hx; "
    "family and social history; family/social history; family, social, and allergy history",
    "review_of_systems": "review of systems; ros; review of system; review of symptoms",
    "physical_exam": "physical exam; physical examination; exam; pe; examination; objective; gen exam; general exam; "
    "physical findings; mental status exam; mental status examination; mental status; neurologic exam; neurologic examination; "
    "neurological exam; neurological examination; vital signs; vitals; pex; px; physical; external examination",
    "admission_exam": "admission physical exam; admission physical examination; physical exam on admission; "
    "physical examination on admission; admission exam; exam on admission; initial physical exam; initial exam; "
    "admission vitals; vitals on admission; admission vital signs; triage vitals; admission pe; pe on admission; "
    "physical exam at admission; physical exam upon admission",
    "results": "labs; lab; technique; comparison; contrast; laboratory; laboratory data; laboratory studies; laboratory findings; laboratory results; lab data; "
    "lab results; lab studies; labs and studies; labs/studies; data; studies; diagnostic studies; diagnostic data; "
    "diagnostics; diagnostic tests; test results; imaging; imaging studies; radiology; radiologic data; radiologic studies; "
    "radiographs; radiographic studies; x-rays; x-ray; ekg; ecg; microbiology; micro; findings; results; pathology; "
    "hemodynamic data; hemodynamics; echocardiogram; echo; ct; mri; cxr; chest x-ray; major findings; abnormal findings; "
    "description of findings; technique and findings; ct abdomen; ct pelvis; needle emg; nerve conduction studies; "
    "myocardial perfusion imaging; mammography information; left ventriculogram",
    "admission_results": "pertinent results; admission labs; labs on admission; laboratory data on admission; admission laboratory data; "
    "admission labs and studies; pertinent labs; pertinent laboratory data; pertinent studies; laboratories on admission; "
    "pertinent labs and studies; pertinent results on admission; labs at admission; labs upon admission; admission studies; "
    "admission imaging; admission laboratories",
    "medications": "medications; medication; meds; medicines; current medicines; drugs; medication list; "
    "medications at the time of study",
    "history": "history; background",
    "conclusion": "conclusion; conclusions; interpretation; comment; comments",
}  # fmt: skip
"""Canonical names of what exists when the patient arrives, with the headings that open each."""

LATER = {
    "identifiers": "name; patient name; unit no; unit number; admission date; date of admission; discharge date; "
    "date of discharge; date of birth; dob; d.o.b.; mrn; mr; medical record number; medical record no; account number; account; "
    "attending; attending physician; attending md; dictated by; dictating physician; facility; date of service; "
    "date of procedure; date of operation; date of surgery; date of consultation; date; surgeon; assistant; assistants; "
    "anesthesiologist; referring physician; requesting physician; consulting physician; primary care physician; pcp; "
    "primary care provider; signed electronically by; electronically signed by; admitted; discharged; re",
    "title": "title; title of operation; title of procedure; title of procedures; title of surgery; name of operation; "
    "name of procedure; name of examination; sample name; document title; specialty; medical specialty; keywords; report; study; "
    "type of exam; type of examination",
    "diagnosis": "diagnosis; diagnoses; dx; discharge diagnosis; discharge diagnoses; discharge dx; final diagnosis; final diagnoses; "
    "admission diagnosis; admission diagnoses; admitting diagnosis; admitting diagnoses; principal diagnosis; primary diagnosis; "
    "primary diagnoses; secondary diagnosis; secondary diagnoses; principal diagnoses; principal discharge diagnosis; "
    "primary discharge diagnosis; secondary discharge diagnosis; secondary discharge diagnoses; preoperative diagnosis; "
    "preoperative diagnoses; postoperative diagnosis; postoperative diagnoses; preop diagnosis; preop diagnoses; "
    "postop diagnosis; postop diagnoses; preoperative dx; postoperative dx; preprocedure diagnosis; postprocedure diagnosis; "
    "preprocedure diagnoses; postprocedure diagnoses; differential diagnosis; differential diagnoses; differential; working diagnosis; "
    "clinical diagnosis; clinical diagnoses; provisional diagnosis; initial diagnosis; initial diagnoses; current diagnosis; "
    "current diagnoses; pathologic diagnosis; pathological diagnosis; final pathologic diagnosis; pathology diagnosis; "
    "active diagnosis; active diagnoses; other diagnoses; associated diagnoses; additional diagnoses; diagnoses at discharge; "
    "diagnosis at discharge; diagnosis on discharge; diagnoses on discharge; admission diagnosis/reason for admission; "
    "discharge diagnosis list; hospital diagnoses; problem list; problems; active problems; active problem list; problems/diagnoses; "
    "axis i; axis ii; axis iii; axis iv; axis v; icd10; icd9; icd10 codes; icd9 codes; icd codes; cause of death; manner of death; "
    "preoperative and postoperative diagnosis; pre and postoperative diagnosis; preoperative/postoperative diagnosis; "
    "principle diagnosis; chronic diagnoses; diagnoses treated",
    "impression": "impression; impressions; clinical impression; final impression; diagnostic impression; endoscopic impression; "
    "impression and plan; impression/plan; impression and recommendations; impression and recommendation; "
    "impression/recommendations; opinion; initial impression; overall impression; ct impression; mri impression; postoperative impression",
    "assessment": "assessment; assessments; assessment and plan; assessment/plan; a/p; a and p; a&p; assessment and recommendations; "
    "assessment/recommendations; formulation; case formulation; medical decision making; assessment and treatment plan; "
    "clinical assessment; problem assessment; analysis; discussion",
    "plan": "plan; plans; recommendation; recommendations; treatment plan; plan of care; plan and recommendations; "
    "plan/recommendations; prognosis; treatment; treatments; management; treatment recommendations; postoperative plan; "
    "prescriptions; therapy; summary and recommendations; diagnostic plan; action plan",
    "procedure": "procedure; procedures; procedure performed; procedures performed; operation; operations; operation performed; "
    "operations performed; operative procedure; operative procedures; operative procedure in detail; surgical procedure; "
    "surgical procedures; major surgical or invasive procedure; major surgical or invasive procedures; surgery; surgeries; "
    "description of procedure; description of the procedure; description of operation; description of the operation; "
    "description of surgery; procedure in detail; procedure detail; procedure details; details of procedure; details of the procedure; "
    "details of the operation; details of operation; operation in detail; procedure note; procedure done; procedures done; "
    "procedure description; operative note; operative technique; operative findings; intraoperative findings; "
    "gross findings; gross operative findings; findings at operation; findings and procedure; anesthesia; "
    "estimated blood loss; blood loss; ebl; complications; drains; specimens; specimen; tourniquet time; total tourniquet time; "
    "history and gross findings; procedures during this hospitalization; invasive procedures; "
    "description; consent; informed consent; fluids; fluids received; iv fluids; urine output; hemostasis; counts; implants; "
    "procedures and operations; summary of procedure; angiographic findings; delivery note; operation and procedure; "
    "details of the or; technique of procedure; technique in detail; description of technique; operative report in detail; "
    "risks and benefits; tubes and drains; tubes/drains; materials used; anesthetic; intravenous fluids; premedication; premedications; "
    "findings at the time of surgery; procedures planned and performed; reported procedure; fluoroscopy time; injectables; "
    "measured intraoperative data; angiographic data",
    "hospital_course": "hospital course; brief hospital course; brief hospital course by problem; brief hospital course by system; "
    "hospital course by problem; hospital course by system; hospital course by systems; summary of hospital course; "
    "concise summary of hospital course; concise summary of hospital course by issue; summary of hospital course by problem; "
    "hospital course and treatment; course in hospital; course in the hospital; course; clinical course; icu course; micu course; "
    "sicu course; ccu course; floor course; emergency department course; ed course; emergency room course; er course; "
    "hospital course summary; hospital course and plan; hospital course/assessment; summary; acute issues; active issues; "
    "chronic issues; transitional issues; inactive issues; acute/active issues; active/acute issues; chronic/stable issues; "
    "chronic stable issues; issues; procedures and hospital course; postoperative course; operative course; addendum; "
    "hospital summary; summary and hospital course; consultations; consults; brief summary",
    "discharge_exam": "discharge physical exam; discharge physical examination; physical exam on discharge; "
    "physical examination on discharge; discharge exam; exam on discharge; physical exam at discharge; discharge vitals; "
    "vitals on discharge; discharge vital signs; discharge pe; discharge weight; pe on discharge; exam at discharge; "
    "physical exam upon discharge; physical examination at discharge; examination on discharge; examination at discharge",
    "discharge_results": "discharge labs; labs on discharge; laboratory data on discharge; labs at discharge; discharge results; "
    "discharge laboratory data; discharge laboratories; discharge labs and studies; pending results; labs prior to discharge; "
    "laboratory data at discharge",
    "discharge_medications": "discharge medications; medications on discharge; medications at discharge; discharge meds; "
    "discharge medication; discharge medication list; meds on discharge; medications upon discharge; new medications; "
    "medication changes; medications started; medications stopped; discharge prescriptions",
    "discharge_condition": "discharge condition; condition on discharge; condition at discharge; condition; discharge status; "
    "condition upon discharge; condition upon disposition; condition of the patient at the end of the procedure; "
    "status at discharge; patient condition; code status at discharge",
    "disposition": "disposition; discharge disposition; discharge to; disposition plan; discharge facility; discharge location",
    "discharge_instructions": "discharge instructions; patient instructions; instructions; instructions on discharge; "
    "discharge plan; discharge recommendations; activity; diet; discharge diet; discharge activity; post procedure instructions; "
    "postoperative instructions; discharge planning; discharge summary",
    "followup": "followup; follow up; followup instructions; follow up instructions; followup plans; follow up plans; "
    "followup appointments; follow up appointments; discharge followup; followup plan; follow up plan; followup care; "
    "appointments; recommended followup; outpatient followup",
}  # fmt: skip
"""Canonical names of what is written later or states the answer, with their headings."""

COURSE = {name for name in LATER if name.startswith(("discharge", "hospital", "disposition", "followup", "procedure"))}
"""Sections of the stay, of an operation and of discharge, in which `ANY_TIME` headings are sub-headings and as late as their section."""
ANY_TIME = {"physical_exam", "results", "medications", "conclusion"}

NAMES = sorted([*ADMISSION, *LATER])


def _key(heading: str) -> str:
    return " ".join(heading.lower().replace("-", "").replace("&", " and ").split())


HEADINGS = {
    _key(heading): name
    for sections in (ADMISSION, LATER)
    for name, headings in sections.items()
    for heading in headings.split(";")
}
LAST_WORDS = {heading.split()[-1] for heading in HEADINGS}
MAX_WORDS = max(len(heading.split()) for heading in HEADINGS)
MAX_LETTERS = max(map(len, HEADINGS)) + 8

COLON = re.compile(r":")
WORD = re.compile(r"\S+")
SIDE_NOTE = re.compile(r" ?\([^()\n]{0,24}\)$")  # "PREOPERATIVE DIAGNOSIS (ES)", "Brief Hospital Course (by system)"
ANSWERS = dict.fromkeys("diagnosis diagnoses dx problem problems".split(), "diagnosis") | dict.fromkeys(
    ("impression", "impressions"), "impression"
)
"""Last words that make any heading at a line's start one that states the answer ("Referring diagnosis:")."""
OF_ANSWER = re.compile(r"[A-Z][A-Za-z/'-]* (?:[A-Za-z/&'-]+ ){0,3}")
MAX_IDENTIFIER = 120  # characters on the line of an identifier; a longer line is prose
MODIFIER = re.compile(r"(?:[A-Z][A-Za-z]*[ /&]+){1,4}")  # "PRIMARY DISCHARGE DIAGNOSES:" begins at PRIMARY
MARKUP = " #*_>=~.-•|\"'([<"
DECORATION = re.compile(r"[ #*_>=~.\-•|\"'(\[<]*(?:(?:\d{1,2}|[A-Z])[.)] ?)?[#*_]*")  # "## ", "1. **"
SENTENCE_ENDS = ".,;:!?)]_#*>|•-\"'"
WITHIN_PHRASE = {"no", "not", "without", "denies", "nor", "of", "and", "or", "the", "a", "for", "in", "his", "her"}


class Section(NamedTuple):
    """A stretch of a note, heading included: its canonical name (`opening` before the first heading), offsets, visibility."""

    name: str
    start: int
    end: int
    at_admission: bool


def sections(text: str) -> list[Section]:
    """The sections of a normalised note in order, covering it whole; the empty list where no heading is known.

    An unknown heading stays in the section it stands in and so has its visibility. What stands before the first known
    heading is `opening`, visible. Identifiers (name, dates of the stay, attending) end with their line: what follows
    belongs to the section above.
    """
    marks = list(_headings(text))
    if not marks:
        return []
    found, above, in_course = [], ("opening", True), False
    if text[: marks[0][0]].strip():
        found.append(Section("opening", 0, marks[0][0], True))
    for (start, name), end in zip(marks, [start for start, _ in marks[1:]] + [len(text)], strict=True):
        if name == "identifiers":
            line_end = text.find("\n", start, end)
            line_end = end if line_end < 0 or not text[line_end:end].strip() else line_end
            found.append(Section(name, start, line_end, False))
            if line_end < end:
                found.append(Section(above[0], line_end, end, above[1]))
            continue
        at_admission = name in ADMISSION and not (in_course and name in ANY_TIME)
        in_course = name in COURSE or (in_course and not at_admission)
        above = (name, at_admission)
        found.append(Section(name, start, end, at_admission))
    return found


def cut(text: str, visible_at: str, more: list[str]) -> tuple[str, dict[str, int] | None]:
    """A normalised note without the sections that are not visible (`visible_at`: admission | all) or are named in `more`.

    With it the characters cut by section name; None in their place where no heading is known and the note stays whole.
    """
    found = sections(text)
    if not found:
        return text, None
    gone: dict[str, int] = {}
    # Again until nothing is left to cut: a heading may come to stand alone on its line only when what followed is gone.
    while unseen := [s for s in found if s.name in more or (visible_at == "admission" and not s.at_admission)]:
        for section in unseen:
            gone[section.name] = gone.get(section.name, 0) + section.end - section.start
        starts, ends = [0, *(s.end for s in unseen)], [*(s.start for s in unseen), len(text)]
        parts = (text[start:end].strip(" \n").rstrip(" ,\n") for start, end in zip(starts, ends, strict=True))
        text = "\n".join(filter(None, parts))
        found = sections(text)
    return text, gone


def _headings(text: str) -> Iterator[tuple[int, str]]:
    """(offset, canonical name) of each heading: before a colon, or alone on its line."""
    start = 0
    while start <= len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        line_start, floor, after_identifier = start, start, False
        for colon in COLON.finditer(text, start, end):
            found = _before_colon(text, line_start, floor, colon.start(), after_identifier)
            if found:
                yield found
                after_identifier = found[1] == "identifiers"
            floor = colon.end()
        if floor == line_start and 1 < end - start <= MAX_LETTERS and (found := _alone(text, start, end)):
            yield found
        start = end + 1


def _before_colon(text: str, line_start: int, floor: int, colon: int, after_identifier: bool) -> tuple[int, str] | None:
    """The longest known heading that ends at the colon, if it is written as one; `floor` ends the previous colon.

    `after_identifier`: the heading before it on the line is an identifier's, whose value is short ("Born: 1950 Sex: F").
    """
    end = colon - 1 if text[colon - 1 : colon] == " " else colon
    if end <= floor or text[end - 1].isdigit() and text[end - 2 : end - 1] == " ":
        return None
    if text[end - 1] == ")" and (note := SIDE_NOTE.search(text, max(floor, end - 30), end)):
        end = note.start()
    begin = max(floor, end - MAX_LETTERS)
    words = [match.start() for match in WORD.finditer(text, begin, end)]
    if not words:
        return None
    last = _key(text[words[-1] : end])
    if not (last in LAST_WORDS or last.lstrip(MARKUP) in LAST_WORDS or "," in last or ";" in last or "." in last):
        return None
    for at in _beginnings(text, words[-MAX_WORDS:], end):
        name = HEADINGS.get(_key(text[at:end]))
        if name and (after_identifier and text[at].isupper() or _is_heading(text, line_start, at, end)):
            long_line = name == "identifiers" and text.find("\n", colon, colon + MAX_IDENTIFIER) < 0
            if long_line and len(text) - colon > MAX_IDENTIFIER:
                return None
            return line_start if floor == line_start and MODIFIER.fullmatch(text, line_start, at) else at, name
    opens_line = floor == line_start and DECORATION.fullmatch(text, line_start, words[0])
    if last in ANSWERS and opens_line and OF_ANSWER.fullmatch(text, words[0], words[-1]):
        return words[0], ANSWERS[last]
    return None


def _beginnings(text: str, words: list[int], end: int) -> Iterator[int]:
    """Where a heading may begin: at a word, or behind the signs or the glued sentence end before it ("clear.Plan:")."""
    for word, following in zip(words, [*words[1:], end], strict=True):
        at = word
        while at < following and text[at] in MARKUP:
            at += 1
        yield at
        for glued in range(at + 1, following):
            if text[glued - 1] in ",;.)]" and text[glued].isupper():
                yield glued


def _is_heading(text: str, line_start: int, at: int, end: int) -> bool:
    before = text[max(line_start, at - 40) : at].rstrip(" ")
    if at - line_start < 40 and DECORATION.fullmatch(before):  # at the start of a line
        return text[at].isupper() or _ends_sentence(text[max(0, line_start - 3) : line_start])
    if not text[at].isupper():
        return False
    if before[-1:] in SENTENCE_ENDS:
        return True
    words = text[at:end].split()
    return (
        len(words) > 1
        and all(word[0].isupper() for word in words if len(word) > 3)
        and (before.rsplit(" ", 1)[-1].lower() not in WITHIN_PHRASE or before.isupper())
    )


def _ends_sentence(before: str) -> bool:
    """A lower-case word that opens a line is a heading only where the line above ended; else it is wrapped prose."""
    above = before.removesuffix("\n").rstrip(" ")
    return not above or above[-1] in "\n.:;!?"


def _alone(text: str, start: int, end: int) -> tuple[int, str] | None:
    """A heading that fills its line: in capitals, or of two words and more with capitals.

    One that announces the answer may be written small ("Discharge diagnosis") and have an unknown first word
    ("Encounter Diagnosis"), where the line above has ended.
    """
    at = start
    while at < end and text[at] in MARKUP:
        at += 1
    line = text[at:end].rstrip(MARKUP + "-")
    if not line or not line[0].isupper():
        return None
    words, name = line.split(), HEADINGS.get(_key(line))
    answer = ANSWERS.get(words[-1].lower()) if 1 < len(words) <= 4 else None
    if answer and name in (answer, None) and _ends_sentence(text[max(0, start - 3) : start]):
        return at, answer
    if name is None:
        return None
    if (
        line.isupper()
        and len(line) > 3
        or (len(words) > 1 and all(word[0].isupper() for word in words if len(word) > 3))
    ):
        return at, name
    return None
