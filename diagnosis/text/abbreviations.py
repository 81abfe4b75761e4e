"""Abbreviations written out, each only where its reading is certain.

The list is the project's own, from general knowledge and checked against open lists of abbreviations (tests/test_text_depth.py): what
has a second sense in them is expanded only where its neighbours tell the sense, else it stays as written. So MS, D and disp are
never expanded, and RA, PT, PE and MI only in some company.
"""

import re

from diagnosis.text.sections import HEADINGS

# One reading in a clinical note.
PLAIN = {
    "SOB": "shortness of breath",
    "HTN": "hypertension",
    "COPD": "chronic obstructive pulmonary disease",
    "GERD": "gastroesophageal reflux disease",
    "UTI": "urinary tract infection",
    "URI": "upper respiratory infection",
    "DVT": "deep vein thrombosis",
    "AKI": "acute kidney injury",
    "CKD": "chronic kidney disease",
    "ESRD": "end-stage renal disease",
    "TIA": "transient ischemic attack",
    "ARDS": "acute respiratory distress syndrome",
    "DKA": "diabetic ketoacidosis",
    "PTSD": "post-traumatic stress disorder",
    "ADHD": "attention deficit hyperactivity disorder",
    "OSA": "obstructive sleep apnea",
    "BPH": "benign prostatic hyperplasia",
    "TSH": "thyroid-stimulating hormone",
    "BMI": "body mass index",
    "CXR": "chest x-ray",
    "ECG": "electrocardiogram",
    "EKG": "electrocardiogram",
    "EEG": "electroencephalogram",
    "ICU": "intensive care unit",
    "CABG": "coronary artery bypass graft",
    "HEENT": "head, eyes, ears, nose, throat",
    "JVD": "jugular venous distention",
    "LVEF": "left ventricular ejection fraction",
    "BUN": "blood urea nitrogen",
    "HDL": "high-density lipoprotein",
    "INR": "international normalized ratio",
    "EGD": "esophagogastroduodenoscopy",
    "ERCP": "endoscopic retrograde cholangiopancreatography",
    "DM2": "type 2 diabetes mellitus",
    "DJD": "degenerative joint disease",
    "RLQ": "right lower quadrant",
    "LLQ": "left lower quadrant",
    "RUQ": "right upper quadrant",
    "LUQ": "left upper quadrant",
    "NSAID": "nonsteroidal anti-inflammatory drug",
    "NSAIDs": "nonsteroidal anti-inflammatory drugs",
    "NSTEMI": "non-ST elevation myocardial infarction",
    "STEMI": "ST elevation myocardial infarction",
    "PFTs": "pulmonary function tests",
    "EOMI": "extraocular movements intact",
    "PERRLA": "pupils equal, round, and reactive to light and accommodation",
    "PERRL": "pupils equal, round, and reactive to light",
    "RRR": "regular rate and rhythm",
    "ORIF": "open reduction and internal fixation",
    "LBP": "low back pain",
    "NGT": "nasogastric tube",
    "TPN": "total parenteral nutrition",
    "PVCs": "premature ventricular contractions",
    "LVH": "left ventricular hypertrophy",
    "CPAP": "continuous positive airway pressure",
    "h/o": "history of",
    "c/o": "complains of",
    "f/u": "follow-up",
}


def near(words: str) -> str:
    """Beginning with one of these within the window, on either side; what is in capitals stands whole."""
    return rf"\b(?:{'|'.join(word + (chr(92) + 'b') * word.isupper() for word in words.split('|'))})"


NUMBERS = r"<>(?: (?:is|was|of|at))?[ :=]{0,3}"
# (what stands around it, reading): the first that fits. "<>" is the place of the abbreviation in a window of its line.
BY_CONTEXT = {
    "BP": [(rf"{NUMBERS}\d{{2,3}} ?/ ?\d|{near('mmHg|mm Hg|systolic|diastolic|hypertensi|hypotensi')}", "blood pressure"),
           (r"(?:\b(?:[Hh]igh|[Ll]ow|[Ee]levated|[Ss]table|[Ii]ncreased|[Dd]ecreased|[Hh]is|[Hh]er|and|the) |vitals?:? )<>|<> (?:is |was |remained |well )?(?:stable|elevated|high|low|control|meds|medic|cuff|check|monitor)", "blood pressure")],
    "HR": [(r"(?<!\d )(?<!\d)(?<!every )<>(?: (?:is|was|of|in the))?[ :=]{0,3}\d{2,3}(?!\d|[./]\d)", "heart rate")],
    "RR": [(rf"{NUMBERS}\d{{1,2}}(?!\d|[./]\d| ?%)", "respiratory rate")],
    "CHF": [(near("exacerbation|EF|ejection|LVEF|edema|diastolic|systolic|CAD|coronary|COPD|atrial|cardiomyopathy|diure|Lasix|furosemide|HTN|hypertension|history of|h/o|failure|diabetes"), "congestive heart failure")],
    "CAD": [(near("CABG|coronary|stent|MI|angina|HTN|hypertension|hyperlipidemia|CHF|cath|PCI|cardi|history of|h/o|diabetes|DM|myocardial|vessel"), "coronary artery disease")],
    "MI": [(near("STEMI|NSTEMI|troponin|CABG|coronary|CAD|stent|cath|angina|EKG|ECG|chest pain|CHF|CVA")
            + r"|\b(?:[Aa]cute|[Ii]nferior|[Aa]nterior|[Ll]ateral|[Pp]rior|[Pp]revious|[Oo]ld|[Rr]ecent|history of|h/o|s/p|post|status post|rule out|ruled out for|silent) <>", "myocardial infarction")],
    "CVA": [(r"<> ?(?:tenderness|angle)|\bno <>(?! (?:or|and) TIA)|flank|[Bb]ack: ?<>", "costovertebral angle"),
            (near("stroke|TIA|hemipar|aphasia|infarct|embolic|MI") + r"|\b(?:history of|h/o|s/p|prior|previous|old|recent|acute|status post) <>", "cerebrovascular accident")],
    "PE": [(near("DVT|embol|CT angio|anticoag|heparin|Coumadin|warfarin|Lovenox|IVC filter|D-dimer|thromb"), "pulmonary embolism")],
    "DM": [(rf"{near('HTN|hypertension|insulin|metformin|glucose|mellitus|diabet|A1[cC]|HbA1c|CAD|hyperlipidemia|dyslipidemia|obesity|CKD|ESRD')}|<> ?(?:type|II\b|2\b|1\b)|[Tt]ype (?:1|2|I|II) <>", "diabetes mellitus")],
    "RA": [(r"%(?: on| in)? <>|\b(?:sat|sats|saturat\w+|SpO2|O2)\b[^.;\n]{0,20}\bon <>", "room air"),
           (near("seropositive|methotrexate|rheumatolog|rheumatoid|lupus|DMARD|arthritis"), "rheumatoid arthritis")],
    "PT": [(r"<>/OT|OT/<>|OT and <>|<> and OT|<> (?:eval|consult|session|and occupational)|\b(?:outpatient|home|continue|with) <>(?! \d)", "physical therapy"),
           (r"<>/? ?(?:INR|PTT|aPTT)|INR[ ,/:\d.]{0,8}<>|<>[ :=]{1,2}\d\d\.\d", "prothrombin time")],
    "LOC": [(r"\b(?:[Nn]o|[Dd]enies|[Bb]rief|without|\+|[Pp]ositive|any|or|with) ?<>|head injury|head trauma|syncop|concussion", "loss of consciousness")],
    "ROM": [(near("[Ff]ull|joint|knee|shoulder|hip\\b|ankle|wrist|elbow|neck|extremit|active|passive|strength|limited|decreased"), "range of motion")],
    "CTA": [(near("[Ll]ungs?|bilaterally|[Cc]hest:|Resp|auscult|wheez|rales|rhonchi") + r"[^.;\n]{0,25}<>|<>(?:,? bilat|B\b| B/L)", "clear to auscultation"),
            (r"<> (?:of (?:the )?)?(?:chest|head|neck|abdomen|coronar|PE)", "CT angiography")],
    "NAD": [(r"\b(?:[Ii]n|[Gg]en(?:eral)?[:.,]?|[Aa]lert,?|[Aa]ppears?) <>", "no acute distress")],
    "WNL": [(r"\b(?:is|are|was|were|all|labs|vitals?|signs|exam|otherwise|[A-Za-z]+:) <>", "within normal limits")],
    "NKDA": [(near("[Aa]llerg"), "no known drug allergies")],
    "NKA": [(near("[Aa]llerg"), "no known allergies")],
    "DOE": [(near("SOB|dyspnea|orthopnea|PND|chest pain|CP|edema|exertion|breath|palpitations|denies"), "dyspnea on exertion")],
    "PND": [(near("orthopnea|dyspnea|edema|DOE|SOB|breath"), "paroxysmal nocturnal dyspnea"),
            (near("rhinitis|sinus|nasal|congestion"), "postnasal drip")],
    "IBS": [(near("bowel|abdom|constipat|diarrhea|GERD|gastro|colon|fibromyalgia"), "irritable bowel syndrome")],
    "SLE": [(near("lupus|nephritis|rheumat|ANA|autoimmune|antiphospholipid|Plaquenil|prednisone"), "systemic lupus erythematosus")],
    "MVA": [(near("driver|passenger|restrained|seat ?belt|car\\b|vehicle|injur|accident|trauma|neck pain|back pain|head-on|rear-end|involved in"), "motor vehicle accident")],
    "EF": [(rf"<>(?: (?:is|was|of|at))?[ :=]{{0,3}}(?:about |approximately |estimated at )?\d\d|{near('LV|ventric|systolic|echo')}", "ejection fraction")],
    "LDL": [(rf"{NUMBERS}\d{{2,3}}|{near('HDL|cholesterol|statin|lipid|triglycer')}", "low-density lipoprotein")],
    "WBC": [(rf"{NUMBERS}\d|{near('count|elevated|hemoglobin|Hgb|platelet|hematocrit|Hct')}", "white blood cell count")],
    "PUD": [(near("ulcer|GERD|gastr|pylori|EGD|GI|NSAID"), "peptic ulcer disease")],
    "PVD": [(near("claudication|peripheral|CAD|bypass|HTN|hypertension|amputation|diabetes|carotid|toe"), "peripheral vascular disease")],
    "s/p": [(r"<> [A-Za-z]", "status post")],
    "r/o": [(r"<> [A-Za-z]", "rule out")],
    "hx": [(r"<> of\b|\b(?:[Ff]amily|[Mm]edical|[Ss]urgical|[Ss]ocial|[Pp]ast|[Ss]moking|no|a|with) <>", "history")],
    "pt": [(r"(?:^|[.,;:]\s?|\b(?:[Tt]he|[Tt]his) )<> (?:is|was|has|had|will|denies|denied|reports|reported|states|stated|presents|presented|complains|came|comes|with|who|does|did|returns|feels|admits|also|notes)\b|\b(?:[Tt]he|[Tt]his) <>\b", "patient")],
}  # fmt: skip

CASE_FREE = ("h/o", "c/o", "f/u", "s/p", "r/o", "hx", "pt")
"""Written in any case but all capitals ("Pt", "Hx"; PT is another thing). All others only as listed."""
WINDOW = 60  # characters on either side, within the sentence; behind it within the line
OTHER_SENTENCE = re.compile(r"[.;] ")

_EXACT = sorted({*PLAIN, *BY_CONTEXT} - set(CASE_FREE), key=lambda form: (-len(form), form))
_FREE = [f"{form}|{form[0].upper()}{form[1:]}" for form in CASE_FREE]
SHORT = re.compile(rf"(?<![\w/.'&-])(?:{'|'.join([*_EXACT, *_FREE])})(?![\w'&-]|\.\w|/(?!INR|PTT|OT)\w)")
RULES = {form: [(re.compile(context), long) for context, long in rules] for form, rules in BY_CONTEXT.items()}


def expand(text: str) -> tuple[str, int]:
    """The text with its certain abbreviations written out, and how many those are. Headings stay: sections are found by them.

    Again until none is certain: what is written out may make its neighbour so ("LVH, EF").
    """
    count = 0

    def write_out(match: re.Match) -> str:
        nonlocal count
        long = reading(match.string, match.start(), match.end())
        count += long is not None
        return match[0] if long is None else long

    before = -1
    while count > before:
        before, text = count, SHORT.sub(write_out, text)
    return text, count


def reading(text: str, start: int, end: int) -> str | None:
    """The long form of the abbreviation text[start:end] where it is certain there, else None."""
    form = text[start:end]
    form = form if form in PLAIN or form in RULES else form.lower()
    before, behind = text[max(0, start - WINDOW) : start], text[end : end + WINDOW].split("\n")[0]
    opens_line = not before.split("\n")[-1].strip() and (start <= WINDOW or "\n" in before)
    if form.lower() in HEADINGS and opens_line and behind.strip(" ")[:1] in ("", ":"):
        return None
    long = PLAIN.get(form)
    if long is None and form in RULES:
        around = f"{OTHER_SENTENCE.split(before)[-1]}<>{OTHER_SENTENCE.split(behind)[0]}"
        long = next((long for context, long in RULES[form] if context.search(around)), None)
    if long and text[start].isupper() and form in CASE_FREE:
        return long[0].upper() + long[1:]
    return long
