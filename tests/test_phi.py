"""Finding, replacing, keys and scoring, each alone: results worked out by hand, real open notes, adversarial texts."""

import csv
import gzip
import hashlib
import hmac
import random
import re
import string
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import SHARED_DATA, needs_shared_data

from diagnosis.errors import UserError
from diagnosis.phi.dates import find_dates, shift
from diagnosis.phi.detector import Known, detect, everywhere, find
from diagnosis.phi.identifiers import dea_valid, iban_valid, luhn_valid, vin_valid
from diagnosis.phi.keys import Key, read_key
from diagnosis.phi.score import Gold, Score
from diagnosis.phi.spans import KINDS, Span
from diagnosis.phi.surrogates import Masks, Surrogates

KEY = Key("k" * 64)


def found(text: str, kind: str | None = None) -> list[str]:
    return [text[span.start : span.end] for span in find(text) if kind in (None, span.kind)]


# Every kind -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("NAME", "Attending: Rosalind K. Hatherley, MD", "Rosalind K. Hatherley"),
        ("NAME", "Name: HATHERLEY, ROSALIND", "HATHERLEY"),
        ("NAME", "Mr. O'Dunphy was seen.", "O'Dunphy"),
        ("NAME", "seen by J. Hatherley MD today", "J. Hatherley"),
        ("NAME", "his daughter Maria called", "Maria"),
        ("NAME", "accompanied by her son, Tadeusz, today", "Tadeusz"),
        ("NAME", "Emergency contact: Oluwaseun Adebayo (brother)", "Oluwaseun Adebayo"),
        ("NAME", "Electronically signed by: Wei Zhang", "Wei Zhang"),
        ("NAME", "Kwabena Osei is a 45 year old man", "Kwabena Osei"),
        ("NAME", "Per Dr. Grace Young, start", "Grace Young"),
        ("NAME", "Dr. Nguyễn Văn An examined", "Nguyễn Văn An"),
        ("NAME", "Dr. van der Berg saw", "van der Berg"),
        ("NAME", "Dear Dr. Иванов,", "Иванов"),
        ("NAME", "seen by dr. quibblethorpe today", "quibblethorpe"),
        ("NAME", "Attending: Min Tan", "Min Tan"),
        ("NAME", "Signed by Teresa Martin, MD", "Teresa Martin"),
        ("NAME", "Referred by Dr. J. Hoffmann.", "J. Hoffmann"),
        ("NAME", "lives with a wife, Jeanette Lynch. He", "Jeanette Lynch"),
        ("DATE", "on February 12, 2015.", "February 12, 2015"),
        ("PLACE", "transferred from New Quibble Community Hospital", "New Quibble Community Hospital"),
        ("PLACE", "Lives in North Glenn with a dog", "North Glenn"),
        ("PLACE", "Address: 12 Old Mill Road Apt. 4", "12 Old Mill Road Apt. 4"),
        ("PLACE", "Wrenfield, MA 02115", "Wrenfield"),
        ("PLACE", "Wrenfield, MA 02115", "02115"),
        ("PLACE", "transferred from St. Brannock's Hospital", "St. Brannock's Hospital"),
        ("PLACE", "at Mercy General Hospital", "Mercy General Hospital"),
        ("PLACE", "She lives in Wrenfield with a cat", "Wrenfield"),
        ("AGE", "a 94-year-old woman", "94"),
        ("AGE", "Ninety-two year old man", "Ninety-two"),
        ("PHONE", "call 617-555-0143 x22", "617-555-0143 x22"),
        ("PHONE", "phone: 555-0143", "555-0143"),
        ("PHONE", "+44 20 7946 0958", "+44 20 7946 0958"),
        ("FAX", "Fax: (617) 555-0199", "(617) 555-0199"),
        ("EMAIL", "write to r.hatherley+x@mail.example.org.", "r.hatherley+x@mail.example.org"),
        ("SSN", "SSN 123-45-6789", "123-45-6789"),
        ("SSN", "social security number is 123456789", "123456789"),
        ("MRN", "Medical record number: 00-1234-5", "00-1234-5"),
        ("MRN", "MRN 4482913", "4482913"),
        ("MRN", "Unit No:   4482913", "4482913"),
        ("PLAN", "Member ID: XQ-99812", "XQ-99812"),
        ("ACCOUNT", "Account number 4455667", "4455667"),
        ("LICENCE", "driver's license number D1234567", "D1234567"),
        ("VEHICLE", "license plate 7ABC123", "7ABC123"),
        ("VEHICLE", "VIN 1M8GDM9AXKP042788", "1M8GDM9AXKP042788"),
        ("DEVICE", "pacemaker serial no: PJN123456", "PJN123456"),
        ("URL", "see https://portal.example.org/p?id=9.", "https://portal.example.org/p?id=9"),
        ("IP", "from 192.168.40.12 at", "192.168.40.12"),
        ("BIOMETRIC", "fingerprint ID FP-991203", "FP-991203"),
        ("PHOTO", "photo IMG_2231.jpg attached", "IMG_2231.jpg"),
        ("OTHER_ID", "accession #S19-12345", "S19-12345"),
    ],
)  # fmt: skip
def test_every_kind(kind, text, expected):
    assert expected in found(text, kind)


@pytest.mark.parametrize(
    "written",
    "3/4/2019 03/04/19 3-4-2019 2123-04-05 04-Mar-2123 04MAR2123 March_4,_2123 March_4th Mar._4,_2019 4_March_2019 4th_of_March "
    "March_2019 3/2019 25.12.2019 MARCH_4,_2019".split(),
)
def test_dates_are_found_whole_and_keep_their_form(written):
    written = written.replace("_", " ")
    text = f"seen on {written} and"
    assert [text[s.start : s.end] for s in find_dates(text)] == [written]
    moved = shift(written, 40)
    assert moved != written
    assert re.sub(r"\w", "", moved) == re.sub(r"\w", "", written)


@pytest.mark.parametrize(
    ("written", "days", "moved"),
    [
        ("2123-12-30", 3, "2124-01-02"),
        ("3/4/2019", 40, "4/13/2019"),
        ("03/04/19", -4, "02/28/19"),
        ("March 31st, 2019", 1, "April 1st, 2019"),
        ("04MAR2123", 1, "05MAR2123"),
        ("4th of March", 1, "5th of March"),
        ("25.12.2019", 10, "4.1.2020"),
        ("March 4-7, 2019", 1, "March 5-8, 2019"),
        ("MAR 2019", 20, "APR 2019"),
        ("3/4", 365, "3/5"),  # a year later would be the same day
        ("2/29/2020", 366, "3/1/2021"),
    ],
)
def test_shift_by_hand(written, days, moved):
    assert shift(written, days) == moved


def test_a_date_without_a_year_takes_that_of_the_last_full_date():
    text = "Admitted 2/20/2020. Seen on 2/28. Discharged 3/2/2020."
    spans = [span for span in find(text) if span.kind == "DATE"]
    assert len(spans) == 3
    moved = Surrogates(KEY, 365)
    days = moved.offset("p")
    replaced = moved.replace(text, spans, "p")
    assert re.findall(r"[\d/]+\d", replaced) == [
        shift("2/20/2020", days), shift("2/28", days, 2020), shift("3/2/2020", days)
    ]  # fmt: skip


def test_what_is_no_identifier_stays():
    text = (
        "BP 120/80, strength 5/5, pain 8/10, 2/6 systolic murmur, 3/4 cup, GCS 14/15, visual acuity 20/40. In 2019 he may have had "
        "Parkinson's disease, Lewy body dementia, Crohn's disease, a Foley catheter, a Jackson-Pratt drain. Seen by Cardiology, followed "
        "by Social Work, discussed with Neurology. He will follow up. Lipitor 20 mg, MS Contin 15 mg. WBC 12000, platelets 250000, "
        "72-year-old, HR 92, sodium 138. Hepatitis B, vitamin B12, L4-5, C3-C5, T2-weighted. Heparin 5000 units. 1-2 tabs. Pain Clinic. "
        "Mother with Alzheimer's, father had diabetes. African American. English speaking. From Mexico. pH 7.314. E. coli, H. pylori."
    )
    assert found(text) == []


@pytest.mark.parametrize(
    "mark", ["[**Known lastname 1234**]", "[**2123-4-5**]", "___", "**NAME[AAA]", "XXXX", "[NAME]", "****"]
)
def test_marks_of_earlier_deidentification_survive(mark):
    text = f"Name: {mark}. Dr. {mark} saw Mr. Hatherley on 3/4/2019."
    replaced = Surrogates(KEY, 365).replace(text, find(text), "p")
    assert replaced.count(mark) == text.count(mark) and "Hatherley" not in replaced


# Consistency ----------------------------------------------------------------------------------------------------------


def test_a_name_seen_plainly_once_is_found_everywhere_in_the_note_and_in_the_patients_others():
    first, second = (
        "Mr. Quibblethorpe was seen.",
        "QUIBBLETHORPE tolerated it; quibblethorpe's leg. See H. Quibblethorpe.",
    )
    assert found(first + " Later Quibblethorpe left.") == ["Quibblethorpe", "Quibblethorpe"]
    known = Known()
    known.update(detect(first)[1])
    spans = everywhere(second, detect(second)[0], known)
    assert " ".join(second[s.start : s.end] for s in spans).lower().count("quibblethorpe") == 3


def test_words_that_are_names_too_are_found_within_sentences_only():
    text = "Dr. Will Foley placed it. Will follow. The Foley catheter stays; we saw Will again."
    assert found(text) == ["Will Foley", "Will"]


def test_surrogates_are_consistent_whatever_the_form_and_differ_between_patients():
    surrogates = Surrogates(KEY, 365)
    text = "phone 617-555-0143 or 617.555.0143; Mr. Hatherley, HATHERLEY"
    one, again, other = (surrogates.replace(text, find(text), p) for p in ("a", "a", "b"))
    assert one == again != other
    first, second = re.findall(r"\d{3}[-.]\d{3}[-.]\d{4}", one)
    assert re.sub(r"\D", "", first) == re.sub(r"\D", "", second) and "-" in first and "." in second
    name = re.search(r"Mr\. (\w+), (\w+)", one)
    assert name[2] == name[1].upper() != "HATHERLEY"


def test_a_surrogate_never_equals_the_original_and_keeps_kind_and_form():
    surrogates = Surrogates(KEY, 365)
    draw = random.Random(3)
    for number in range(400):
        patient = f"p{number}"
        for kind, written in [
            ("NAME", "Maria"), ("NAME", draw.choice(string.ascii_uppercase) + "."), ("PLACE", "12 Old Mill Road"), ("PLACE", "Hospital"),
            ("DATE", f"{draw.randint(1, 12)}/{draw.randint(1, 28)}"), ("DATE", "March"), ("DATE", "March 2019"), ("MRN", "7"),
            ("AGE", "94"), ("PHONE", "617-555-0143"), ("EMAIL", "a@b.org"), ("IP", "10.0.0.1"), ("URL", "www.a.org"),
            ("PHOTO", "a.png"), ("VEHICLE", "7ABC123"),
        ]:  # fmt: skip
            new = surrogates.replace(written, [Span(0, len(written), kind)], patient)
            assert new != written
            if kind in ("MRN", "PHONE", "VEHICLE"):
                assert [c.isdigit() for c in new] == [c.isdigit() for c in written]


def test_offsets_lie_within_the_bounds_and_use_both_directions():
    offsets = {Surrogates(KEY, 5).offset(f"p{n}") for n in range(300)}
    assert offsets == {*range(-5, 0), *range(1, 6)}


def test_a_name_of_a_list_is_replaced_by_one_of_the_same_list():
    from faker.providers.person.sv_SE import Provider as swedish

    surrogates = Surrogates(KEY, 365)
    assert surrogates.replace("Åkesson", [Span(0, 7, "NAME")], "p") in swedish.last_names


def test_masks():
    text = "Mr. Hatherley, MRN 4482913, on 3/4/2019"
    assert Masks().replace(text, find(text), "p") == "Mr. [NAME], MRN [MRN], on [DATE]"


# Checksums ------------------------------------------------------------------------------------------------------------


def test_checksums_against_published_examples():
    assert luhn_valid("4111111111111111") and luhn_valid("79927398713") and not luhn_valid("4111111111111112")
    assert iban_valid("GB82 WEST 1234 5698 7654 32") and not iban_valid("GB82 WEST 1234 5698 7654 33")
    assert vin_valid("1M8GDM9AXKP042788") and not vin_valid("1M8GDM9A1KP042788")
    assert dea_valid("AB1234563") and not dea_valid("AB1234564")


# Keys -----------------------------------------------------------------------------------------------------------------


def test_new_ids_are_hmac_of_kind_and_id():
    secret = "s" * 40
    expected = hmac.new(secret.encode(), b"patient_id:17", hashlib.sha256).hexdigest()[:16]
    assert Key(secret).rekey("patient_id", "17") == expected
    assert Key(secret).rekey("patient_id", None) is None
    assert Key(secret).rekey("note_id", "17") != expected


def test_fingerprints_tell_keys_apart_and_are_no_plain_hash_of_them():
    one, other = Key("a" * 40), Key("b" * 40)
    assert one.fingerprint != other.fingerprint and len(one.fingerprint) == 16
    assert one.fingerprint != hashlib.sha256(b"a" * 40).hexdigest()[:16]


@pytest.mark.parametrize("content", [b"", b"short", b"public: " + b"x" * 60, b"\xff\xfe" * 40])
def test_keys_that_are_refused(tmp_path, content):
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(UserError, match="key_file"):
        read_key(tmp_path / "key", {"corpus": "mimic4", "public": False})


def test_the_public_key_serves_public_notes(tmp_path):
    (tmp_path / "key").write_text("public: " + "x" * 60)
    assert read_key(tmp_path / "key", {"public": True})
    with pytest.raises(UserError):
        read_key(tmp_path / "key", {})


# Scores ---------------------------------------------------------------------------------------------------------------


def test_score_by_hand():
    text = "Mr. Ada Lovelace, MRN 12-34, fever"
    gold = [(Span(4, 16, "NAME"), "en_GB"), (Span(22, 27, "MRN"), None)]  # four words: Ada, Lovelace, 12, 34
    score = Score()
    score.add(text, gold, [Span(4, 7, "OTHER_ID"), Span(22, 27, "MRN"), Span(29, 34, "NAME")])  # Ada, 12, 34, fever
    score.add("Ada", [(Span(0, 3, "NAME"), "fi_FI")], [Span(0, 3, "NAME")])
    score.add("nothing here", [], [])
    assert score.measures() == {
        "recall": 0.8,
        "precision": 0.8,
        "notes_clean": 0.5,
        "by_kind": {"NAME": round(2 / 3, 6), "MRN": 1.0},
        "by_origin": {"en_GB": 0.5, "fi_FI": 1.0},
    }


def write_gold(path, rows):
    columns = {
        "note_id": pa.string(),
        "start": pa.int64(),
        "end": pa.int64(),
        "kind": pa.string(),
        "origin": pa.string(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    values = zip(*rows, strict=True) if rows else [[]] * 5
    pq.write_table(pa.table({n: pa.array(list(v), t) for (n, t), v in zip(columns.items(), values, strict=True)}), path)


def test_gold_by_note_in_any_order(tmp_path):
    write_gold(tmp_path / "g", [("b", 5, 6, "NAME", None), ("a", 0, 1, "DATE", None), ("b", 0, 2, "MRN", "x")])
    gold = Gold(tmp_path / "g")
    assert gold.of("b", "x" * 6) == [(Span(0, 2, "MRN"), "x"), (Span(5, 6, "NAME"), None)]
    assert gold.of("none", "x") == []
    with pytest.raises(UserError, match="1 spans belong to no note"):
        gold.finish()
    gold.of("a", "x")
    gold.finish()


@pytest.mark.parametrize(("start", "end"), [(0, 9), (3, 3), (-1, 2), (4, 2)])
def test_gold_that_does_not_fit_its_text(tmp_path, start, end):
    write_gold(tmp_path / "g", [("a", start, end, "NAME", None)])
    with pytest.raises(UserError, match="outside its text"):
        Gold(tmp_path / "g").of("a", "12345")


def test_gold_of_an_unknown_kind(tmp_path):
    write_gold(tmp_path / "g", [("a", 0, 1, "SHOE_SIZE", None)])
    with pytest.raises(UserError, match="unknown kinds"):
        Gold(tmp_path / "g")


# Texts that slow patterns down, and anything at all --------------------------------------------------------------------


@pytest.mark.parametrize(
    "piece",
    ["a", "A", "Aa ", "A. ", "1", "1-", "1 ", "1/", "1.", "(1", "a@", "a.", "A-", "A'", "www.", "x", "[**", "*", "_", ":", "a:", "MRN ", "Dr. ",
     "March ", "no. ", "number ", "St ", "12 Aa ", "Aa, ", "de ", "\n", "+1 ", "the daughter ", "é", "王", "-", "A1", "Hospital ", "of Aa "],
)  # fmt: skip
def test_no_pattern_takes_long_on_repetition(piece):
    text = piece * (60_000 // len(piece))
    start = time.process_time()
    find(text)
    assert time.process_time() - start < 2.5


def test_any_text_gives_ordered_spans_and_loses_nothing_outside_them():
    draw = random.Random(5)
    pieces = [
        "Dr. ",
        "Ada ",
        "3/4",
        "617-555-0143",
        "[**x**]",
        "é\u0301",
        "İ",
        "\n",
        ": ",
        "MRN ",
        "99 ",
        "years old",
        "@",
        ".com",
        "王",
        "’s",
        " ",
    ]
    for _ in range(300):
        text = "".join(draw.choice(pieces) for _ in range(draw.randint(0, 30)))
        spans = find(text)
        assert all(a.end <= b.start for a, b in zip(spans, spans[1:], strict=False))
        assert all(0 <= s.start < s.end <= len(text) and s.kind in KINDS for s in spans)
        outside = "".join(
            text[a:b] for a, b in zip([0, *(s.end for s in spans)], [*(s.start for s in spans), len(text)], strict=True)
        )
        masked = Masks().replace(text, spans, "p")
        for span in spans:
            masked = masked.replace(f"[{span.kind}]", "", 1)
        assert len(masked) == len(outside)
        Surrogates(KEY, 365).replace(text, spans, "p")


@pytest.mark.parametrize(
    "text, surname",
    [("seen with wife Anna Maria Kowalski. The kowalski home", "kowalski"),
     ("the patient, Charlotte Marie Novak, is here. NOVAK IS STABLE", "NOVAK"),
     ("Savannah Rose Lindqvist came with pain. lindqvist denies fever", "lindqvist")],
    ids=["wife", "patient", "beginning"],
)  # fmt: skip
def test_a_first_name_that_is_a_town_takes_no_surname_with_it(text, surname):
    assert ("NAME", surname) in [(span.kind, text[span.start : span.end]) for span in find(text)]


# Real notes -----------------------------------------------------------------------------------------------------------


@needs_shared_data
def test_little_of_open_clinical_text_is_touched():
    """MTSamples carries invented dates, names and hospitals, so dates are left out; NegEx' sentences carry next to none."""
    csv.field_size_limit(10**9)
    with gzip.open(SHARED_DATA / "mtsamples" / "mtsamples.csv.gz", "rt", encoding="utf-8") as stream:
        notes = sorted({row["transcription"] for row in csv.DictReader(stream)})[::6]
    sentences = (SHARED_DATA / "negex" / "rsAnnotations-1-120-random.txt").read_text("latin-1").splitlines()[1:]
    for texts, bound in [(notes, 0.003), ([line.split("\t")[2] for line in sentences], 0.0025)]:
        words = touched = 0
        for text in texts:
            words += len(text.split())
            touched += sum(len(text[s.start : s.end].split()) for s in find(text) if s.kind != "DATE")
        assert touched / words < bound
