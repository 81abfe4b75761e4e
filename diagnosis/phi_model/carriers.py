"""Invented sentences that carry identifiers, from which the detector learns; none of the embedded corpus' own sentences is here.

Two parts, of different sentences and name origins: TRAIN teaches, VALIDATION sets the threshold. What the figures are made on
is the ingested corpus, a third part: the embedded one has other sentences and origins again (`diagnosis/synthetic`).
"""

import re
from datetime import date
from functools import cache
from pathlib import Path
from random import Random

from faker import Faker

from diagnosis.phi.spans import Span

ORIGINS = {  # Faker locales of names, and of cities and streets
    "train": "en_GB es_ES es_AR nl_NL hu_HU ro_RO sv_SE fi_FI ga_IE id_ID yo_NG zu_ZA hr_HR pt_PT fr_CA en_PK ja_JP".split(),
    "validation": "en_NZ es_CL no_NO da_DK ig_NG tw_GH sk_SK sl_SI lv_LV fr_BE".split(),
}
PLACES = {"train": "en_GB en_AU fr_CA nl_NL es_AR en_CA".split(), "validation": "en_NZ en_IE no_NO es_CL".split()}

SENTENCES = {
    "train": """
Patient: {full}
Pt {last} seen and examined at bedside.
Resident physician: {full}, MD. Pager {phone}.
Dictated by: {full}    Transcribed: {date}
cc: {full}, {full} and Dr. {last}
Primary care provider is {full}, who practises at {hospital}.
I spoke with {first}, the patient's {relative}, on {date} about the plan.
Thank you, Dr. {last}, for allowing us to take part in the care of this pleasant {age}-year-old.
{full} is a {age} year old with a history of hypertension.
{last} was discussed at the tumour board on {date}.
The {relative}, {full}, consents to the procedure.
Emergency contact {full} ({relative}), {phone}
{first} says the pain began on {date} after a fall.
Plan reviewed with {full} RN at the bedside.
Case discussed with {last} from cardiology and {last} from nephrology.
Electronically signed: {full} on {date}
Assistant: {last}. Anaesthesia: {last}. Blood loss {n} mL.
Mrs {last} and her {relative} {first} were present.
He was brought in by his {relative} {first} from {city}.
She grew up in {city} and worked for {employer} until {date}.
Employed at {employer} as a driver.
{full}, {age} years of age, was found on the floor.
A {age}-year-old widow from {city}.
He is now {age} and lives alone at {street}.
Home address {street}, {city} {zip}.
Mail the results to {street}, {city}, or call {phone}.
Records were requested from {hospital}, fax {phone2}.
Send by fax to {phone2}, attention {full}.
Last colonoscopy at {hospital}, {date}, normal.
Admitted to {hospital} from {date} to {date} with chest pain.
MRI from {date} compared with {date}: no change.
Last dose given {date} at 08:00.
Surgery is booked for {date} with Dr. {full}.
Born on {date} in {city}.
DOB {date}, MRN {record}.
Chart {record}, visit of {date}.
Hospital number: {record}
Her social security no. is {ssn}.
SS# {ssn} verified at the desk.
Write to {email} or visit {url} for the report.
Email address on file {email}
Images are stored at {url}
The log shows access from host {ip}.
Client address {ip}, session closed.
Policy no {policy}, group {digits}.
Health plan beneficiary {policy} approved the stay.
Paid with card {card}.
Bank account {digits} was charged.
Transfer to {iban} is pending.
Licence number {licence} expired.
The nurse's permit, {licence}, was renewed on {date}.
His truck, plate {plate}, was towed.
VIN {vin} recorded by the police.
Implanted device model 7, S/N {serial}.
Lead serial {serial}, lot {digits}.
Iris scan {serial} enrolled.
Voice print no. {serial} stored.
See photo {image} for the wound.
Pathology case {case} was reviewed.
Encounter ref {case} closed by {last}.
My name is {full} and I was born on {date}.
Hi {first}, your appointment on {date} is confirmed, please call {phone} to change it.
Dear {full}, we have received your letter of {date}.
Could you change my address to {street}, {city}?
I moved from {city} to {city} last year, my new number is {phone}.
{first} {last} asked whether {first} could come along.
Please reach me at {phone} or {email}, thanks, {first}
We met {full} and {full} in {city} in front of the pharmacy.
The bill for {full} went to {employer}, {street}.
{full} ({date}) {record}
Best wishes, {full}
NAME {full} DATE {date} WARD {n}
{last}, {first} {record} {date}
Interpreter {full} ({phone}) was used.
Social worker {first} will follow on {date}.
EMS found {first} at {street}.
Mr. {last} has no known drug allergies.
Miss {last} denies chest pain, nausea and vomiting.
Followed by {last} for Parkinson's disease and by {last} for Crohn's disease.
{first}'s potassium was {n} and his glucose {n}.
Will {first} be able to walk? asked {first}'s {relative}.
Dr. {full} of {hospital} agrees with this plan.
Attending surgeon {full}, {hospital}, was informed.
Second opinion: {last}, {hospital}
Transfer accepted by {hospital}, Dr. {last}.
Examined {first} with the interpreter.
Told {last} to return if the fever comes back.
Helped {first} out of bed, gave {first} tea.
Called {full} about the biopsy and left a message.
Kind regards, {full}
Yours faithfully, {first} {last}
{last} slept well and ate breakfast.
{first} was cheerful this morning, his {relative} less so.
Can {first} take the tablets with milk? My {relative} {first} says no.
Login came from {ip} at night, then from {ip}.
Server {ip} sent the results.
Van with plate {plate} at the gate, another tagged {plate}
Camera file {image}, uploaded by {full}
{age} years of age, female, no fever.
Gentleman, {age}, known to {hospital}.
Age: {age}
{age} y/o F with fever and cough.
{age} yo man, former smoker.
Pt is {age}, independent, walks with a stick.
The patient is a {age} year old woman who fell in the garden.
Turned {age} last month.
Patient, age {age}, sleeps well.
A {age}-year-old with diabetes, on insulin, was admitted for observation.
Lives with her {relative}, aged {age}.
No acute distress. Alert and oriented.
Continue aspirin, start heparin, hold metformin.
He may return in May if the pain comes back, and will be seen sooner if needed.
Chest clear. Abdomen soft. Strength is full in both arms.
What should I do when the wound opens again?
Please take one tablet with water in the morning and one at night.
The committee discussed the budget, the new building and the summer party.
It rained all week, so the game was moved and nobody complained.
Dark blue shoes, a red hat and two old maps were on the table.
""",
    "validation": """
Physician of record: {full}
Reported to {full} at the front desk.
Consultant: Dr {full}, {hospital}
{last} stayed two nights at {hospital} before that.
Her {relative} ({full}) drove her here on {date}.
{first} feels better today and wants to go home.
Proxy: {full}, telephone {phone}
Reviewed and approved by {last}, {date}.
This {age} year-old came with {first}, a {relative}.
Resides at {street}, {city}, postcode {zip}.
He retired from {employer} in {city}.
The clinic fax is {phone2}; its manager is {full}.
An earlier scan of {date} was read by {last}.
Stent placed {date}, removed {date}.
Identification: {record}, date of birth {date}
Her SSN ({ssn}) did not match.
Contact {email}; page {url}
Device last synchronised over {ip}.
Member {policy} of the plan since {date}.
Invoice for account no. {digits}, card ending {card}
Holder of permit {licence}
Seen leaving in a van, tag {plate}
Pump serial no {serial} was replaced by {first}.
Retina template {serial}
Picture {image} attached by {last}.
Order reference {case}
Good morning, this is {full}, I live at {street} in {city}.
Is {first} allowed to eat? My {relative} {first} wants to know.
Sincerely yours, {first} {last}
{last} {first}, {date}, {age} y
Counselled {first} about smoking, Foley catheter removed, Lewy body disease unlikely.
Handed over to {last} and {last}.
Lady of {age} years, referred for dizziness.
{age} years old, male, no complaints.
He is {age} and drives.
Wound dry. Sutures out. Diet as tolerated.
She would like to know whether the new tablets make her tired.
Books, chairs and a lamp were sold at the market.
""",
}  # fmt: skip

WORDS = Path(__file__).parents[1] / "phi" / "words.txt"  # of the rules: ordinary words, drugs, eponyms; no names
ORDINARY = 0.35  # the share of lines of ordinary words
RELATIVES = "mother father wife husband son daughter aunt uncle niece nephew cousin neighbour friend partner brother sister".split()
DATES = (
    "%m/%d/%Y", "%m/%d/%y", "%d/%m/%Y", "%Y-%m-%d", "%d.%m.%Y", "%d %B %Y", "%B %d, %Y", "%d %b %Y", "%b %d, %Y", "%B %d", "%b %d", "%m/%d",
    "%B %Y", "%d-%b-%Y", "%m-%d-%Y", "%d %B",
)  # fmt: skip
HOSPITALS = (
    "{} Hospital",
    "{} Clinic",
    "{} Health Centre",
    "{} Medical Group",
    "Saint {} Hospital",
    "{} Nursing Home",
    "{} Infirmary",
)
EMPLOYERS = ("{} Logistics", "{} & Sons", "{} Foods", "{} Elementary School", "{} Steel Works", "{} Bakery")
KINDS = {  # of a slot; those of the other slots identify nobody, nor does an age under 90
    "full": "NAME", "first": "NAME", "last": "NAME", "city": "PLACE", "street": "PLACE", "zip": "PLACE", "hospital": "PLACE", "employer": "PLACE",
    "date": "DATE", "age": "AGE", "phone": "PHONE", "phone2": "FAX", "email": "EMAIL", "url": "URL", "ip": "IP", "ssn": "SSN", "record": "MRN",
    "policy": "PLAN", "digits": "ACCOUNT", "card": "ACCOUNT", "iban": "ACCOUNT", "licence": "LICENCE", "plate": "VEHICLE", "vin": "VEHICLE",
    "serial": "DEVICE", "image": "PHOTO", "case": "OTHER_ID",
}  # fmt: skip
FIRST_DAY, LAST_DAY = (
    date(1930, 1, 1).toordinal(),
    date(2130, 1, 1).toordinal(),
)  # MIMIC-IV moves dates into the next century
SLOT = re.compile(r"\{(\w+)\}")


def sentence(part: str, rng: Random) -> tuple[str, list[Span]]:
    """One sentence of a part with its slots filled, and the spans of its identifiers; seldom in capitals or lower case.

    Some are ordinary words in no order: without them, the detector would take any word that the corpus' prose lacks for a name.
    """
    if rng.random() < ORDINARY:
        return _ordinary(rng), []
    template = rng.choice(_templates(part))
    pieces, spans, length, place = [], [], 0, 0
    for slot in SLOT.finditer(template):
        value = _fill(slot[1], part, rng)
        before = template[place : slot.start()]
        start, place = length + len(before), slot.end()
        length = start + len(value)
        pieces += [before, value]
        if slot[1] in KINDS and (slot[1] != "age" or int(value) >= 90):
            spans.append(Span(start, length, KINDS[slot[1]]))
    text = "".join(pieces) + template[place:]
    changed = rng.choices((text, text.lower(), text.upper()), (0.85, 0.1, 0.05))[0]
    # A few letters change their number when they change their case; such a sentence stays as it is.
    return (changed if len(changed) == len(text) else text), spans


def _ordinary(rng: Random) -> str:
    """Words, drugs and eponyms from the rules' own list, with numbers and measurements among them."""
    words = []
    for _ in range(rng.randint(4, 14)):
        word = rng.choice(_words())
        if rng.random() < 0.12:
            word += rng.choice(
                (
                    f" {rng.randrange(2, 400)}",
                    f" {rng.randrange(90, 200)}/{rng.randrange(50, 99)}",
                    f" {rng.randrange(1, 90) / 10}",
                    f" {rng.randrange(5, 900)} mg",
                    f" {rng.randrange(1, 100)}%",
                )
            )
        words.append(word + rng.choices(("", ",", ".", ":"), (0.8, 0.1, 0.07, 0.03))[0])
    line = " ".join(words)
    return rng.choices((line[0].upper() + line[1:], line, line.title(), line.upper()), (0.6, 0.2, 0.1, 0.1))[0] + "."


@cache
def _words() -> list[str]:
    return WORDS.read_text("utf-8").split()


@cache
def _templates(part: str) -> list[str]:
    return SENTENCES[part].strip().splitlines()


@cache
def _faker(locale: str) -> Faker:
    return Faker(locale)


def _name(part: str, rng: Random) -> tuple[str, str]:
    """(first, last) names of one origin; Japanese ones in Latin letters."""
    origin = rng.choice(ORIGINS[part])
    faker = _faker(origin)
    faker.seed_instance(rng.getrandbits(64))
    if origin == "ja_JP":
        first, last = faker.romanized_name().split(" ", 1)
        return first, last
    return faker.first_name(), faker.last_name()


def _fill(slot: str, part: str, rng: Random) -> str:
    """A value for a slot of a sentence of `part`."""
    if slot in ("full", "first", "last"):
        first, last = _name(part, rng)
        form = rng.choice(("{0} {1}", "{0} {1}", "{1}, {0}", "{0} {2}. {1}", "{3}. {1}")) if slot == "full" else None
        initial = rng.choice("ABCDEFGHJKLMRSTW")
        return form.format(first, last, initial, first[0]) if form else first if slot == "first" else last
    if slot in ("city", "street"):
        faker = _faker(rng.choice(PLACES[part]))
        faker.seed_instance(rng.getrandbits(64))
        return (faker.city() if slot == "city" else faker.street_address()).replace("\n", ", ").strip()
    if slot in ("hospital", "employer"):
        stem = _fill("city", part, rng) if rng.random() < 0.5 else _name(part, rng)[1]
        return rng.choice(HOSPITALS if slot == "hospital" else EMPLOYERS).format(stem)
    if slot == "date":
        when = date.fromordinal(rng.randrange(FIRST_DAY, LAST_DAY))  # Faker's own dates end at today
        written = when.strftime(rng.choice(DATES))
        return re.sub(r"\b0(\d)", r"\1", written) if rng.random() < 0.5 else written
    return _code(slot, part, rng)


PATTERNS = {  # 9: a digit, A: a capital letter
    "zip": ("99999", "99999-9999"), "phone": ("999-999-9999", "(999) 999-9999", "999 999 9999", "+99 99 9999 9999", "1-999-999-9999"),
    "phone2": ("999-999-9999", "(999) 999-9999", "999 999 9999", "999.999.9999"), "ssn": ("999-99-9999", "999 99 9999", "999999999"),
    "record": ("999999", "9999999", "99999999", "999-99-99", "M9999999"), "policy": ("AAA999999999", "A99999999", "99999999-99", "AA 9999999"),
    "digits": ("99999999", "9999999999", "999-999999"), "card": ("9999 9999 9999 9999", "9999-9999-9999-9999", "9999999999999999"),
    "iban": ("AA99 9999 9999 9999 9999 99", "AA99AAAA99999999999999"), "licence": ("A9999999", "99-999-9999", "AA999999A", "999999999"),
    "plate": ("AAA 999", "9AAA999", "AA-99-AA", "AAA-9999"), "vin": ("9AAAA99A99A999999",),
    "serial": ("AAA999999A", "A99-99999", "9999AA99", "SN-999999"), "image": ("DSC_9999.jpg", "scan9999.png", "WOUND99.jpeg", "IMG-9999.tif"),
    "case": ("A99-9999", "99-AA-99999", "999-9999-99", "AA9999999"),
}  # fmt: skip


def _code(slot: str, part: str, rng: Random) -> str:
    """What has a form and no meaning: numbers, codes, addresses of the net; and words that identify nobody."""
    if slot in PATTERNS:
        pattern = rng.choice(PATTERNS[slot])
        if slot == "image":
            return re.sub("9", lambda _: str(rng.randrange(10)), pattern)
        return re.sub(
            "[9A]", lambda m: str(rng.randrange(10)) if m[0] == "9" else rng.choice("ABCDEFGHJKLMNPRSTUVWXYZ"), pattern
        )
    if slot in ("email", "url"):
        first, last = (re.sub(r"[^a-z]", "", name.lower()) or "mail" for name in _name(part, rng))
        host = f"{rng.choice(('mail', 'clinic', 'post', last))}.{rng.choice(('com', 'org', 'net', 'co.uk', 'info'))}"
        if slot == "email":
            return f"{rng.choice((f'{first}.{last}', first[0] + last, f'{last}{rng.randrange(100)}'))}@{host}"
        return rng.choice(
            (f"https://www.{host}/{last}", f"www.{host}", f"http://{host}/r/{rng.randrange(10**5)}", host)
        )
    return {
        "ip": lambda: ".".join(str(rng.randrange(1, 255)) for _ in range(4)),
        "age": lambda: str(rng.randrange(90, 108) if rng.random() < 0.5 else rng.randrange(18, 90)),
        "n": lambda: str(rng.randrange(2, 300)),
        "relative": lambda: rng.choice(RELATIVES),
    }[slot]()
