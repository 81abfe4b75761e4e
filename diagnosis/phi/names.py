"""Names of persons, found by what stands around them and by their form; no list of names is looked up."""

import itertools
import re
import sys
import unicodedata
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

WORDS = Path(__file__).with_name("words.txt")


def _class(test) -> str:
    """The characters of the basic plane that pass a test, as the inside of a regular expression's class."""
    codes = [code for code in range(0xFFFF) if test(chr(code))]
    ranges, start = [], None
    for code, following in zip(codes, [*codes[1:], sys.maxunicode], strict=True):
        start = code if start is None else start
        if following != code + 1:
            ranges.append(f"{re.escape(chr(start))}-{re.escape(chr(code))}")
            start = None
    return "".join(ranges)


MARK = _class(lambda c: unicodedata.category(c) in ("Mn", "Mc"))
UPPER = _class(lambda c: c.isalpha() and not c.islower())  # capitals, and letters of scripts that have none
LETTER = rf"[^\W\d_]|[{MARK}]"
PARTICLES = (
    "de del della di da das do dos du la las los le van von der den ter ten zu bin ibn al el abu y e san st".split()
)
LOWERED = r"D(?:[aei]|os?|as|el) [a-zà-ž]{4,}"  # Da costa, as some forms write it
WORD = rf"(?:[{UPPER}][.](?![\w])|{LOWERED}|(?:[dlDLO]['’])?[{UPPER}](?:{LETTER})*(?:['’‘ʻ-](?:{LETTER})+){{0,3}})"
SMALL = "a an na 't".split()  # between the words of Mac an Bhaird, van 't Hof
JOINT = rf"(?:{'|'.join(PARTICLES)}|(?<=Mac )(?:an?|na)|(?<=van )'t)"
RUN = re.compile(rf"(?<![\w'’])(?<!\w-)(?:'s )?{WORD}(?:[ \t]{{1,3}}(?:{JOINT}[ \t]){{0,2}}{WORD}){{0,11}}")
RUN_START = re.compile(rf"[{UPPER}'dl](?<![\w'’].)(?<!\w-.)(?:(?<=')(?=s )|(?<=[dl])(?=['’])|(?<!['dl]))")
PARTICLES_BEFORE = re.compile(
    r"(?<![\w'’-])(?:(?:van 't|van|von|de|der|den|del|della|di|da|das|dos|du|la|las|los|le|ter|ten|bin|ibn|al|el|abu) ){1,2}$"
)
PARTICLE_ENDS = frozenset(
    particle[-1]
    for particle in "van 't von de der den del della di da das dos du la las los le ter ten bin ibn al el abu".split()
)
PIECE = re.compile(rf"{JOINT}(?=[ \t])|{WORD}")
FORM_NAME = re.compile(
    rf"(?:^[ \t]*(?i:(?:patient|client|member) name|name|patient|pt|attending(?: physician)?|surgeon|assistant|caller|re|regarding|"
    rf"(?:referring|ordering|primary care|consulting) (?:physician|provider))[ \t]*:[ \t]*|\b(?:[Ss]igned|[Dd]ictated) by:?[ ])"
    rf"(?P<name>{WORD}(?:,?[ ](?!(?:M\.?D|D\.?O|PA|RN|NP|CNM|Jr|Sr)\b)(?:{JOINT}[ ]){{0,2}}{WORD}){{1,3}})(?=[ \t]*$|[ \t]{{3}}|,[ ](?:(?:M\.?D|D\.?O|PA|RN|NP|CNM)\b|\d\d?[ -]?[MFy])|[ ]\(|;)",
    re.M,
)
"""A form's field that holds nothing but a name."""
CAPITALS_NAME = re.compile(
    rf"^[ \t]*(?P<name>[{UPPER}][{UPPER}'’-]+(?: [{UPPER}][{UPPER}'’-]+){{0,2}}, [{UPPER}][{UPPER}'’-]+(?: [{UPPER}][{UPPER}'’.-]*){{0,2}})(?=[ \t]*(?:$|[/(;,]|\d| DOB| MRN| [MF]\b))",
    re.M,
)
NAME_IS = re.compile(r"name(?<!\wname)(?: is|'s| was) ([a-z]{3,20})(?: ([a-z]{3,20}))?(?= ?[.,;\n)]|$)")
LOWER_LAST = re.compile(
    rf"(?m)^[ \t]*(?i:(?:patient |pt |client )?name|patient|to|from|subject|re):[ \t]*{WORD} ([a-zà-ž]{{3,20}})(?=[ \t]*(?:$|,|\())"
)
LOWER_TITLED = re.compile(
    r"[dmDM](?<!\w.)(?:(?<=d)r\.?|(?<=m)(?:rs?|s)\.?|(?<=D)r\.|(?<=M)(?:rs?|s)\.) ([a-zà-ž]{3,20})(?: ([a-zà-ž]{3,20}))?\b"
)

TITLES = frozenset(
    "dr drs doctor mr mrs ms miss mx messrs prof professor nurse rev reverend rabbi imam sr sra srta señor señora señorita "
    "monsieur madame herr frau mme dra don doña sgt sergeant capt captain lt lieutenant col colonel maj major officer judge "
    "attorney md rn np pa do cna lpn sir dame".split()
)
WEAK_TITLES = frozenset(
    "rn np pa md do cna lpn col maj major officer capt captain lt sr don attorney judge sir dame nurse".split()
)
CREDENTIAL = re.compile(
    r",?\s{1,2}\(?(?:M\.?D|D\.?O|R\.?N|N\.?P|P\.?A(?:-C)?|Ph\.?D|DDS|DMD|DPM|PharmD|LCSW|L?CSW|MSW|MBBS|MBChB|FACS|FACC|FACP|CRNA|"
    r"CNM|CNP|APRN|ARNP|FNP(?:-C)?|ANP|LPN|CNA|RNP|DNP|OTR(?:/L)?|PsyD|RPh|MPH|FRCP|FRCS|BSN|MSN|PGY-?\d|NP-C|Esq|Jr|Sr|III|"
    r"MS-?[34]|RD|RT|SLP|DPT|OD)\b\.?"
)
RELATIONS = frozenset(
    "daughter son wife husband mother father brother sister partner spouse aunt uncle cousin niece nephew grandmother grandfather "
    "grandson granddaughter stepmother stepfather stepson stepdaughter mom dad fiance fiancee fiancé fiancée girlfriend boyfriend "
    "friend neighbor neighbour caregiver caretaker roommate guardian proxy hcp poa interpreter granddaughters sons daughters "
    "parents children twin twins sibling siblings grandparent stepdaughter in-law godmother godfather ex-wife ex-husband "
    "roommate landlord coworker colleague boss employer teacher kin contact godson goddaughter widow widower child".split()
)
FIELDS = frozenset(
    "name names patient pt attending physician surgeon provider pcp by cc author signed doctor anesthesiologist assistant "
    "consultant resident intern fellow radiologist pathologist cardiologist practitioner nurse rn md oncologist neurologist "
    "referring kin contact nok hcp proxy guardian spouse father mother son daughter wife husband brother sister partner friend "
    "attn attention to from dictator transcriptionist reader reviewer witness interpreter therapist caregiver emergency "
    "surname firstname lastname alias aka responsible performing ordering interpreting requesting cosigner scribe technician "
    "pharmacist dietitian examiner operator contacts gp counselor psychiatrist psychologist nephrologist client mr mrs ms team "
    "maiden subject informant representative agent subscriber guarantor insured policyholder employer signed regarding re caller decedent".split()
)
DONE_BY = frozenset(
    "seen examined evaluated dictated signed reviewed followed referred performed accompanied read interpreted ordered prescribed "
    "managed treated cared called brought witnessed transcribed approved verified assessed supervised assisted operated written "
    "prepared entered electronically discussed visited recommended authorized completed given cosigned attested escorted driven "
    "requested held drawn scored raised conducted taken placed removed admitted discharged edited typed checked confirmed counseled found contacted advised told "
    "provided obtained reported recorded documented updated sent known".split()
)
WITH = frozenset(
    "discussed spoke lives living met reviewed follow followup followed up conferred consulted appointment stays resides visit "
    "discussion speaking talked conversation meeting confirmed communicated coordinated consultation arrived came checked "
    "follow-up seen staffed shared married works".split()
)
BEFORE_TO = frozenset(
    "referred spoke talked married attention speaking reported paged sent addressed transferred handed given signed engaged".split()
)
CALLING = frozenset(
    "called contacted paged contact dear attn attention named notified informed thank thanks aka alias call phoned emailed telephoned met asked regarding".split()
)
PERSON_VERBS = re.compile(
    r"(?:['’]s (?:mother|father|wife|husband|son|daughter|family|sister|brother|parents|home|partner))\b|"
    r",? (?:who |also |now |still |currently )?(?:denies|denied|reports|reported|states|stated|says|said|complains|complained|lives|works|worked|endorses|endorsed|"
    r"recalls|agrees|agreed|understands|understood|tells|told|describes|described|requests|requested|wants|wanted|feels|felt|"
    r"remembers|admits|presents|smokes|drinks|called|phoned|expressed|verbalized|tolerated the|was (?:seen|admitted|discharged|born|brought|referred|"
    r"evaluated|accompanied|counseled|informed|told|hospitalized|transferred to)|is (?:a|an) (?:\w+ )?\w+[ -]year|"
    r"is (?:married|single|divorced|widowed|retired|aware|in agreement)|has been (?:seen|feeling|living|told|followed)|will (?:follow|return|call|see)|can be reached)\b"
)
AGED = re.compile(
    r",?\s(?:is |was )?(?:an? |the )?(?:[\w-]{2,12} ){0,3}\(?(?:\d{1,3}[ -]?(?:y/?o\b|yr|year|month|week)|\d\d ?[MF]\b(?!:))|\s?\((?:DOB|MRN|age|pt|patient)\b|,? (?:DOB|MRN)\b",
    re.I,
)
RELATION_AFTER = re.compile(
    r",?\s\(?(?:(?:his|her|the|their|patient['’]s|pt['’]s|a|is|and|who|listed|as|health|care)\s){0,4}(?:"
    + "|".join(sorted(RELATIONS))
    + r")\b",
    re.I,
)
RELATION_BEFORE = re.compile(r"\b(?:" + "|".join(sorted(RELATIONS)) + r")(?:,? |, | \()$")
MEDICAL_AFTER = re.compile(
    r"(?:['’]s)?[ -](?:catheter|disease|syndrome|sign|test|clamp|drain|procedure|classification|score|retractor|tube|scissors|needle|"
    r"suture|bod(?:y|ies)|tremor|stent|shunt|criteria|palsy|lymphoma|sarcoma|tumor|fracture|hernia|maneuver|position|incision|"
    r"cells?|stain|scale|reflex|node|murmur|esophagus|thyroiditis|phenomenon|gland|duct|ligament|fascia|pouch|operation|repair|"
    r"forceps|dissector|cannula|bulb|filter|line|monitor|gastrectomy|fundoplication|tendon|contracture|paralysis|dementia|"
    r"chorea|ataxia|aphasia|angle|index|rule|law|stage|grade|equation|formula|method|model|analysis|correction|bag|ring|"
    r"pratt|barr[eé]|lymph|scan|cream|gel|boot|splint|traction|pin|rod|wire|hook|screw|elevator|blade|units?|lung|heart|ulcer|"
    r"neuroma|inventory|cast|table|cyst|class|screen|orbitopathy|splints?|clamps?|dilators?|ball|scissors|needles?|drains?|knot|space|canal|triangle|capsule|"
    r"variant|technique|approach|procedures?|pupil|halo|frame|(?:was |is )?(?:negative|positive|equivocal|nodes)|exercises?|diet|curve|sheath|knife|osteotomy|prosthesis|implant|valve|catheterization)\b",
    re.I,
)
DOSE_AFTER = re.compile(
    r"[ -]?\(?\d+(?:[.,]\d+)?(?:[ -/]\d+)? ?(?:mg|mcg|ml|cc|g|units?|u|meq|%|tab|puff|mm|cm|fr)|,? (?:p\.?o\.?|IV|IM|q\.?d|b\.?i\.?d|t\.?i\.?d|p\.?r\.?n|q\d|MDI|XR|SR|ER|XL|CR|DS)\b",
    re.I,
)
STATES = frozenset(
    "alabama alaska arizona arkansas california colorado connecticut delaware florida georgia hawaii idaho illinois indiana iowa "
    "kansas kentucky louisiana maine maryland massachusetts michigan minnesota mississippi missouri montana nebraska nevada ohio "
    "oklahoma oregon pennsylvania tennessee texas utah vermont virginia washington wisconsin wyoming hampshire jersey mexico york "
    "carolina dakota island rhode".split()
)
COUNTRIES = frozenset(
    "afghanistan africa albania algeria america american argentina armenia asia australia austria bangladesh belgium bolivia bosnia brazil "
    "britain bulgaria burma cambodia cameroon canada chile china colombia croatia cuba cyprus denmark ecuador egypt england "
    "eritrea estonia ethiopia europe finland france germany ghana greece guatemala guinea guyana haiti honduras hungary iceland "
    "india indonesia iran iraq ireland israel italy jamaica japan kenya korea kosovo kuwait laos latvia lebanon liberia libya "
    "lithuania malaysia mali malta moldova mongolia morocco mozambique myanmar nepal netherlands nicaragua nigeria norway "
    "pakistan palestine panama paraguay peru philippines poland portugal romania russia rwanda salvador scotland senegal serbia "
    "singapore slovakia slovenia somalia spain sudan sweden switzerland syria taiwan tanzania thailand togo trinidad tunisia "
    "turkey uganda ukraine uruguay uzbekistan venezuela vietnam wales yemen zambia zimbabwe usa uk".split()
)
PEOPLES = frozenset(
    "african american asian black caucasian chinese creole cuban dutch english ethiopian european filipino french german greek "
    "haitian hindu hispanic hmong indian iranian irish italian jamaican japanese jewish khmer korean latina latino latinx mandarin "
    "cantonese mexican muslim nepali nigerian polish portuguese punjabi romanian russian somali spanish swahili swedish tagalog "
    "thai turkish ukrainian urdu vietnamese white arabic amharic bengali farsi hindi hebrew christian catholic protestant buddhist "
    "medicare medicaid tamil telugu puerto rican native alaskan hawaiian pacific islander zulu yoruba igbo hausa sikh mormon baptist "
    "methodist lutheran".split()
)
CALENDAR = frozenset(
    "january february march april may june july august september october november december monday tuesday wednesday thursday friday "
    "saturday sunday jan feb mar apr jun jul aug sept sep oct nov dec mon tue tues wed thu thur thurs fri sat sun christmas easter "
    "thanksgiving halloween ramadan hanukkah".split()
)
WEEKDAYS = frozenset(word for word in CALENDAR if word.endswith("day"))
ALSO_NAMES = frozenset(
    """rose grace hope faith joy saha pant sheikh sow shin will mark may june april frank bill jack art ray dean grant chase hunter mason lance miles pat sandy
    ruby pearl violet iris ivy daisy lily heather summer autumn dawn eve carol robin drew rich rob sue gene earl norm guy christian
    clay glen heath reed rusty wade young long price bush wood woods brown black white green gray grey king cook baker bell hill
    cross short small love strong moody banks burns cash day field fields fish fox frost gentry good hand head house knight lamb
    land little marsh mills moon noble page park parks pope power powers pride rice savage self sharp shaw silver singer snow speed
    spring stone street summers swan sweet temple valentine wall walls ward waters weaver webb wells west wise wolf worth best
    bishop bridges bright brooks butcher butler carpenter cherry church coleman cooper cruz fisher flowers ford forest foster
    freeman french gardner glass golden graves hall harmon hardy holder holland horn jordan kelly kirk lane law lee mann
    marks marshall mayer miller murphy nash newton north parker parsons patrick peters pierce porter potter pratt prince
    randall read reese richards rivers roth russell sanders scott shepherd sherman shields simmons skinner smart sparks
    stark steel stern taylor turner tyler underwood vega wagner walker wallace warner warren watts weeks weiss
    wheeler wilder wilson winter winters wolfe yates jones harris jackson jefferson kim louis keith lopez morris morton
    jordan victoria virginia carolina allen barrett blake cox ellis hawkins johns jane doe john tom max sean amber crystal ginger
    melody olive opal paige penny sage skye trinity angel jesus junior major melon mercy patience prudence chastity constance
    flora carmine comfort vera basil hazel alba aura carina concha ram chi
    charity honor justice liberty sunny misty stormy star sky rain brook brooke cliff dale forrest garden harbor lake""".split()
)
NEVER = frozenset(
    """a an the and or of in on at to for from with without by as is was are were be been am if no not nor but so than then that this
    these those he she his her him they them their it its i we our you your my me who whom which what when where why how all any
    both each few more most other some such only own same too very can could will would should shall may might must do does did
    done has have had having per via re date time name patient pt dob mrn sex age gender male female admission discharge unit
    service history hospital clinic department phone fax address allergies medications diagnosis attending physician summary report
    note notes signed dictated transcribed electronically chief complaint present past medical surgical social family plan
    assessment impression exam examination physical review systems vital signs labs laboratory course condition disposition
    instructions followup follow please thank dear sincerely regards today yesterday tomorrow none unknown na nka nkda yes
    dr mr mrs ms md rn np pa phd number id ssn zip city state street email insurance medicare medicaid room bed floor emergency
    contact next kin relation relationship spouse mother father son daughter wife husband brother sister office page pager cell home
    work er ed icu or ct mri dnr dni full code also there here after before during while since until because however although
    currently recently reports denies states she's he's there's cc pcp ob gyn ent abc xyz xx xxx xxxx abcd xyzd doe hi hello thx appt""".split()
) - {"will", "may"}
GIVEN = frozenset(
    """rose grace hope faith joy will mark june april frank bill jack ray dean grant chase hunter mason lance miles pat sandy ruby pearl
    violet ivy daisy lily heather summer autumn dawn eve carol robin drew rob sue gene earl norm glen heath amber crystal ginger
    melody olive opal paige penny sage skye trinity jesus constance mercy john tom max sean louis keith patrick tyler victoria
    virginia carolina allen blake jordan kelly nash randall reese scott""".split()
)  # of ALSO_NAMES, those that stand alone where a relative is named
SUFFIXES = frozenset("jr sr ii iii iv".split())


@cache
def _lexicon() -> tuple[frozenset, frozenset]:
    """Words that open clinical texts write in lower case, and those they write with a capital only (drugs, eponyms)."""
    words = WORDS.read_text("utf-8").split()
    lower = frozenset(w for w in words if w[0].islower())
    return lower, frozenset(w.lower() for w in words if w[0].isupper())


class Word(NamedTuple):
    start: int
    end: int
    text: str
    plain: str  # in lower case, without the possessive and an initial's point


@lru_cache(100_000)
def _plain(written: str) -> str:
    return re.sub(r"['’]s$", "", written.rstrip(".")).lower()


def _word(match: re.Match) -> Word:
    return Word(match.start(), match.end(), match[0], _plain(match[0]))


class Name(NamedTuple):
    start: int
    end: int
    words: tuple[str, ...]  # lower case, without initials and particles: what may be looked for elsewhere


@lru_cache(100_000)
def common(word: str) -> bool:
    """Whether a word (lower case) is no name unless its surroundings say so plainly."""
    lower, terms = _lexicon()
    if word in ALSO_NAMES:
        return False
    if word in NEVER or word in terms or word in STATES or word in COUNTRIES or word in PEOPLES or word in CALENDAR:
        return True
    if word in lower:
        return True
    if re.search(r"['’](?:s|ve|re|ll|d|m|t)$", word):
        return common(re.split("['’]", word)[0])
    if " " in word:  # De novo, but not Dos santos
        return common(word.split()[1])
    parts = [part for part in word.split("-") if part]
    return len(parts) > 1 and (
        len(parts[0]) == 1 or all(part in lower or part in terms or part in NEVER for part in parts)
    )


@lru_cache(100_000)
def doubtful(word: str) -> bool:
    """Whether a word (lower case) is at times a name and at times not."""
    lower, terms = _lexicon()
    return (
        word in lower
        or (word in terms and word not in ALSO_NAMES)
        or word in NEVER
        or word in CALENDAR
        or word in PEOPLES
        or word in STATES
    )


def drug_or_eponym(word: str) -> bool:
    """Whether clinical texts write a word (lower case) with a capital, and not because a person bears it."""
    return word in _lexicon()[1] and not (word in ALSO_NAMES or word in NEVER or word in STATES or word in PEOPLES)


def _likely(word: Word, capitals: bool) -> bool:
    """Whether a word could be a name on weak evidence: of unknown meaning, and no abbreviation."""
    plain = word.plain
    if len(plain) < 2 or common(plain):
        return False
    if plain.isascii() and word.text.isupper() and (len(plain) <= 4 and not capitals):
        return False
    return not re.search(r"[a-z][A-Z]", word.text) or bool(
        re.match(r"(?:Mc|Mac|De|Le|La|Di|Van|O['’]|D['’])[A-Z]", word.text)
    )


# Endings of medical words that no list has; few names have them.
MEDICAL_ENDING = re.compile(
    r"(?:itis|osis|oses|a?emia|ectomy|otomy|ostomy|plast[yi]c?|scop(?:y|ic|e)|graph(?:y|ic|s)|grams?|log(?:y|ic|ical|ically|ist|ists)|"
    r"path(?:y|ic)|algia|uria|penia|cyt(?:e|es|ic|osis)|genic|ly(?:sis|tic)|trophy|plegia|paresis|rrh[oe]a|rrhag(?:e|ic)|met(?:ry|ric)|"
    r"ectasis|[st]ion(?:s|al)?|ative|ically|ively|ously|antly|ently|ness|less|ment|able|ible|azole|olol|pril|sartan|statin|mycin|cillin|oxacin|azepam|zolam|"
    r"barbital|caine|parin|umab|zumab|ximab|tinib|[aeio]vir|tidine|prazole|dipine|triptan|setron|glitazone|gliptin|gliflozin|glutide|formin|"
    r"cycline|thiazide|semide|dronate|lukast|terol|sone|solone|phylline|azine|oxetine|pramine|triptyline|coccus|cocci|coccal|bacter|"
    r"bacteri(?:um|a|al)|aceae|oidal|ular|eous)$"
)
ROLES = frozenset(
    "physician surgeon attending provider pcp pmd nurse therapist resident fellow interpreter translator practitioner patient pt client member "
    "hospitalist intensivist phlebotomist dietitian dietician pharmacist hygienist dentist endodontist periodontist orthodontist chiropractor "
    "midwife doula paramedic emt technician technologist aide caseworker sponsor counselor evaluator examiner examinee interviewer investigator coordinator "
    "officer detective deputy trooper sheriff warden chaplain pastor priest rabbi imam lawyer attorney solicitor judge magistrate "
    "coach trainer teacher tutor principal professor student athlete parent employee worker supervisor foreman manager colleague boss "
    "claimant plaintiff defendant inmate proband donor recipient caller informant witness director secretary receptionist optometrist nutritionist "
    "walker driver tenant landlord landlady stepmother stepfather superintendent conductor captain".split()
)
SWORN = frozenset(
    "officer detective deputy trooper sheriff judge chaplain pastor coach".split()
)  # titles, before a name
SPECIALIST = re.compile(r"(?:olog|iatr|opath|ician|esthet)ists?$")
NAME_FIELDS = frozenset("name names surname firstname lastname".split())
SIGNING = frozenset("sincerely regards yours truly respectfully".split())
SMALL_BEFORE = frozenset("per by with to is named was for from of".split())
ANNOUNCERS = frozenset().union(
    TITLES, WEAK_TITLES, FIELDS, RELATIONS, CALLING, ROLES, NAME_FIELDS, SIGNING, SMALL_BEFORE
)  # fmt: skip
DAY_AFTER = re.compile(r"\.?,?\s\d")
SCOTTISH = re.compile(r"(?:Mc|Mac|O['’]|D['’]|De|La|Le)[A-Z][a-z]")
IS_AFTER = re.compile(r"\s(?:be|who|is|was|will|can|at)\b")
PHONE_AFTER = re.compile(r",?\s\(?\+?\d[\d ().-]{8,}")
CAMEL = re.compile(rf"[{UPPER}](?:{LETTER}){{3,}}[A-Z][a-zà-ÿ]{{2,}}")  # SimphiweNkosi
BETWEEN = re.compile(r"\s?(?:,?\s?\band\b|&|/)\s?")
FIELD_GAP = re.compile(r"\s{0,3}(?:\([^)\n]{0,20}\))?\s{0,2}[:#]+[-\s]{0,12}|\s+[-–]\s+")
TITLE_GAP = re.compile(r"\.?\s{1,4}|\.")
PLAIN_GAP = re.compile(r"\s{1,4}")
RELATION_GAP = re.compile(r"\s{1,4}|,\s{1,2}|\s\(")
WORD_BEFORE_INITIAL = re.compile(r"[a-z]{5}\s$")
SIGN_OFF = re.compile(r"(?:/s/|--|—|~)\s?$")
WITHIN_SENTENCE = re.compile(r"[a-z,] $|[(/]$")
ACTS = re.compile(
    r" (?:was|is|has|had|and|will|can|remains|agreed|agrees|phoned|called|came|graduated|asked|went|lives|works|wants|did|does|would)\b"
)
NOT_ALONE = frozenset(
    "will good white french small cook".split()
)  # written with a capital within sentences, and no names
LAST_WORDS = re.compile(r"[A-Za-zÀ-ÿ][A-Za-zÀ-ÿ'’-]*")
SENTENCE_START = re.compile(r"(?:^|[.!?:;]\s+|\n\s*|[-*•]\s+|\d[.)]\s*)$")


def find_names(text: str) -> Iterator[Name]:
    """Names that something around them shows to be names, or that two capitalised words of no other known use form."""
    lines = [0, *(place + 1 for place in places_of("\n", text))]
    signed = [place - 1 for word in ("igned by", "ictated by") for place in places_of(word, text) if place]
    fields = sorted({*lines, *signed}) if signed else lines
    for match in itertools.chain(_matches(FORM_NAME, text, fields), _matches(CAPITALS_NAME, text, lines)):
        words = [_word(m) for m in PIECE.finditer(text, *match.span("name"))]
        if any(not common(w.plain) or len(w.plain) < 5 for w in words) and not all(w.plain in NEVER for w in words):
            comma = text.find(",", *match.span("name"))
            for part in ([w for w in words if w.start < comma], [w for w in words if w.start > comma]):
                if part:
                    yield _name(part)
    before, of_field, plainly = None, False, 0
    tokens = list(LAST_WORDS.finditer(text))
    starts = [token.start() for token in tokens]
    for match in _runs(text):
        words = _words(text, match)
        strength, field = _before(text, words[0].start, tokens, starts)
        if before and not strength:
            gap = text[before.end : words[0].start]
            if len(gap) < 8 and BETWEEN.fullmatch(gap):
                strength, field = 1, of_field
            elif of_field and gap.strip() == "," and "\n" not in gap:  # Name: Hatherley, Rosalind
                degree = match[0].isupper() and len(match[0]) < 7 and not text[before.start : before.end].isupper()
                if degree and not common(words[0].plain):
                    continue
                strength, field = (0, False) if degree else (max(plainly, 1), True)
        if not strength and len(words) == 1 and common(words[0].plain):
            continue
        for name in _in_run(text, words, strength):
            before, of_field, plainly = name, field, strength
            yield name
    for match in LOWER_LAST.finditer(text):
        if not common(match[1]) and match[1] not in ALSO_NAMES:
            yield Name(*match.span(1), (match[1],))
    for match in NAME_IS.finditer(text) if " name" in text else ():
        if any(word and not common(word) for word in match.groups()):
            yield Name(
                match.start(1),
                match.end(2 if match[2] else 1),
                tuple(word for word in match.groups() if word and not common(word)),
            )
    for match in LOWER_TITLED.finditer(text):
        if not common(match[1]) and match[1] not in ALSO_NAMES:
            last = 2 if match[2] and not common(match[2]) else 1
            yield Name(match.start(1), match.end(last), (match[1],))


def places_of(piece: str, text: str) -> Iterator[int]:
    """Where a piece stands; quicker than a regular expression."""
    place = text.find(piece)
    while place >= 0:
        yield place
        place = text.find(piece, place + 1)


def _words(text: str, run: re.Match) -> list[Word]:
    """A run's words, with the particles that stand before it ("Dr. van der Berg")."""
    start, written = run.start(), run[0]
    if start > 2 and text[start - 1] == " " and text[start - 2 : start - 1] in PARTICLE_ENDS:
        particles = PARTICLES_BEFORE.search(text, max(0, start - 9), start)
        start = particles.start() if particles else start
    if start == run.start() and " " not in written and "\t" not in written and written[0] != "'":
        return [Word(start, run.end(), written, _plain(written))]
    return [_word(m) for m in PIECE.finditer(text, start, run.end())]


def _runs(text: str) -> Iterator[re.Match]:
    return _matches(RUN, text, (match.start() for match in RUN_START.finditer(text)))


def _matches(pattern: re.Pattern, text: str, places: Iterable[int]) -> Iterator[re.Match]:
    """What `finditer` yields, quicker: only at these places, in order, can the pattern begin."""
    end = 0
    for place in places:
        if place >= end and (match := pattern.match(text, place)):
            end = match.end()
            yield match


def _before(text: str, start: int, tokens: list[re.Match], starts: list[int]) -> tuple[int, bool]:
    """How plainly the text's words before a place announce a name (0 not, 1 likely, 2 surely), and whether as a form's field."""
    place = bisect_left(starts, start) - 1
    if place < 0 or start - tokens[place].end() > 24:
        return (1 if SIGN_OFF.search(text, max(0, start - 4), start) else 0), False
    stop, written = tokens[place].end(), tokens[place][0]
    last = _announcer(written)
    if last is None:
        near = text[start - 1] in "/-—~" or (text[start - 1] == " " and text[start - 2] in "/-—~")
        signed = near and SIGN_OFF.search(text, max(stop, start - 4), start)
        return (1 if signed else 0), False
    gap, role = text[stop:start], _role(last)
    previous = ""
    if place and tokens[place - 1].start() >= start - 48:
        previous = tokens[place - 1][0].lower().removesuffix("-in-law")
    if last in NAME_FIELDS and gap == " (":
        return 1, False
    if last in TITLES and written not in ROLES and TITLE_GAP.fullmatch(gap):
        if written == "MS" and gap[0] != ".":
            return 0, False  # MS Contin; multiple sclerosis
        if last in WEAK_TITLES or written in ("DR", "MISS"):
            return (1 if written[0].isupper() and gap.isspace() and "\n" not in gap else 0), False
        if written[0].isupper() or gap[0] == ".":
            return 2, False
    if FIELD_GAP.fullmatch(gap):
        if last in NAME_FIELDS:
            kind = {"brand", "generic", "drug", "study", "trade", "product", "test", "facility", "hospital", "clinic"}
            return (0 if previous in kind else 2), True
        return (1 if last in FIELDS or last in RELATIONS or role else 0), True
    if (last in RELATIONS or role) and RELATION_GAP.fullmatch(gap):
        return 1, False
    if last in SIGNING and gap.startswith(","):
        return 1, False
    if not PLAIN_GAP.fullmatch(gap):
        return (1 if SIGN_OFF.search(text, stop, start) else 0), False
    announced = (
        last in CALLING
        or role
        or last == "per"
        or (last == "by" and previous in DONE_BY)
        or (last == "with" and previous in WITH)
        or (last == "to" and previous in BEFORE_TO)
        or (last in ("is", "named", "was") and (previous in RELATIONS or previous == "name"))
        or (last == "for" and previous in ("covering", "calling", "asked", "ask", "asking"))
        or (last == "from" and previous in ("call", "message", "letter", "heard", "obtained", "email"))
        or (
            last == "of"
            and previous
            in ("care", "attention", "supervision", "behalf", "direction", "presence", "evaluation", "examination")
        )
    )
    return (2 if last == "dear" else 1 if announced else 0), last == "by"


@lru_cache(100_000)
def _announcer(word: str) -> str | None:
    """The word in lower case where it may announce a name, else null."""
    plain = word.lower().removesuffix("-in-law")
    return plain if plain in ANNOUNCERS or _role(plain) else None


@lru_cache(100_000)
def _role(plain: str) -> bool:
    return plain in ROLES or bool(SPECIALIST.search(plain))


def _in_run(text: str, words: list[Word], strength: int) -> Iterator[Name]:
    capitals = len(words) > 1 and all(word.text.isupper() for word in words)
    if capitals and not strength:
        around = text[max(0, words[0].start - 30) : words[0].start] + text[words[-1].end : words[-1].end + 30]
        capitals = sum(map(str.islower, around)) <= sum(map(str.isupper, around))
    place = 0
    while place < len(words):
        announces = words[place].plain in RELATIONS or _role(words[place].plain)
        if announces and strength < 2 and not (strength and place + 1 == len(words) and words[place].text.istitle()):
            strength, place = (
                2 if words[place].plain in SWORN and words[place].text.istitle() else max(strength, 1),
                place + 1,
            )
            continue
        if words[place].plain in TITLES and len(words[place].text) > 1:
            weak = words[place].plain in WEAK_TITLES
            strength, place = (1 if weak else 2), place + 1
            if words[place - 1].text == "MS" and not capitals:
                strength = 0  # MS Contin; multiple sclerosis
            if words[place - 1].text == "MR" and place < len(words) and common(words[place].plain):
                strength = 0  # MR BRAIN WITH CONTRAST
            continue
        end = _name_end(words, place, strength, capitals)
        if not (end > place and (strength or _seen_after(text, words, place, end, capitals))):
            end = _stretched(text, words, place, strength) or end
            shown = end > place and _stretched(text, words, place, strength) == end
        else:
            further = _stretched(text, words, place, strength)
            end, shown = max(end, further), True
        if end > place + 1 and words[end - 1].plain in CALENDAR and DAY_AFTER.match(text, words[end - 1].end):
            end -= 1  # signed: Eve Annus April 27
        if not shown and (unknown := _unknown_end(text, words, place)):
            end, shown = unknown, True
        if shown:
            yield _name(words[place:end])
            place = end
        else:
            place = max(end, place + 1) if not any(_unknown(w.text) for w in words[place + 1 : end]) else place + 1
        strength = 0


def _name_end(words: list[Word], place: int, strength: int, capitals: bool) -> int:
    """Where a name that begins at `place` ends (`place` itself where none does)."""
    end, evidence = place, False
    while end < len(words) and end - place < 6:
        word = words[end]
        plain = word.plain
        initial = len(plain) == 1 and (word.text not in ("A", "I") or (capitals and end > place))
        if word.text in SMALL or (
            plain in PARTICLES and (word.text.islower() or (end > place and not initial)) and end + 1 < len(words)
        ):
            pass
        elif initial:
            if place == end and end + 1 == len(words) and strength < 2:
                break
        elif plain in SUFFIXES and end > place:
            pass
        elif set(plain) <= {"x"} or plain in ("abc", "xyz", "abcd"):
            break
        elif (
            _likely(word, capitals or strength == 2) or plain in ALSO_NAMES or (strength and CAMEL.fullmatch(word.text))
        ):
            alone = strength < 2 and plain in ALSO_NAMES and doubtful(plain) and plain not in GIVEN
            evidence = evidence or not alone or (strength > 0 and end > place)
        elif (
            end > place
            and len(plain) == 2
            and word.text.istitle()
            and (end + 1 == len(words) or words[end + 1].text.isupper())
        ):
            evidence = evidence or words[end - 1].text in PARTICLES  # An, Do, My: names of Vietnam; Dr. van Es
        elif strength and end > place and end + 1 == len(words) and word.text.istitle() and _could_end_a_name(plain):
            evidence = evidence or strength == 2  # Dr. J. Hoffmann; a son, Jared Gross
        elif (
            strength == 2
            and all(before.text in PARTICLES for before in words[place:end])
            and len(plain) > 1
            and (plain not in NEVER or len(word.text) == 2 and word.text.istitle())
        ):
            evidence = True
        else:
            break
        end += 1
    while end > place and (words[end - 1].text in PARTICLES):
        end -= 1
    return end if evidence else place


@lru_cache(100_000)
def _unknown(written: str) -> bool:
    """Whether a word with a capital has no other known use: then it is a name until something shows that it is none."""
    plain = _plain(written)
    if (
        _role(plain)
        or len(plain) < (3 if plain.isascii() else 2)
        or common(plain)
        or MEDICAL_ENDING.search(plain)
        or set(plain) <= {"x"}
    ):
        return False
    if plain in ALSO_NAMES and doubtful(plain):
        return False
    bare = re.sub(r"['’]s$", "", written)
    if bare.isupper():
        return len(bare) > 4 or not bare.isascii()
    return bare.istitle() or not bare.isascii() or " " in bare or bool(SCOTTISH.match(bare))


def _swapped(word: str) -> list[str]:
    return [word[:i] + word[i + 1] + word[i] + word[i + 2 :] for i in range(len(word) - 1)]


LONGEST_WORD = 30  # of those whose misspellings are looked for


@lru_cache(100_000)
def _misspelt(plain: str) -> bool:
    """Whether two letters of a known word are swapped, or one of a long word lost: Posiitve, Tranferred."""
    lower = _lexicon()[0]
    if len(plain) > LONGEST_WORD:
        return False
    if len(plain) > 4 and any(word in lower for word in _swapped(plain)):
        return True
    return len(plain) > 5 and any(
        plain[:i] + c + plain[i:] in lower for i in range(len(plain) + 1) for c in "abcdefghijklmnopqrstuvwxyz"
    )


def _unknown_end(text: str, words: list[Word], place: int) -> int:
    """Where a name ends that begins at `place` and holds an unknown word, or stands with a capital where a word has none; 0 where none does."""
    within = WITHIN_SENTENCE.search(text, max(0, words[place].start - 3), words[place].start)
    end, unknown, others = place, 0, 0  # others: words with another use; one may stand before, three behind
    while end < len(words) and end - place < 5:
        word = words[end]
        if end > place and word.start - words[end - 1].end > 2:
            break
        if _unknown(word.text):
            unknown, others = end + 1, 0
        elif word.text[0].islower() or len(word.plain) == 1:
            if end == place:
                break
        elif not word.text.istitle():
            break
        elif word.plain not in ALSO_NAMES:
            others += 1
            if others > (3 if unknown else 1) or not (within or unknown) or not _could_be_of_a_name(word, True):
                break
        end += 1
    while end > unknown > 0 and (words[end - 1].text[0].islower() or len(words[end - 1].plain) == 1):
        end -= 1
    if not unknown and end == place + 1 == len(words) and words[place].text.istitle():
        plain = words[place].plain
        alone = within and plain in ALSO_NAMES and plain not in CALENDAR and plain not in NOT_ALONE
        unknown = end if alone or plain in GIVEN and plain not in CALENDAR and ACTS.match(text, words[place].end) else 0
    slip = unknown == place + 1 and not within and _misspelt(words[place].plain)  # where a sentence begins
    if slip and not ACTS.match(text, words[place].end):
        return 0
    if not unknown or MEDICAL_AFTER.match(text, words[end - 1].end) or DOSE_AFTER.match(text, words[end - 1].end):
        return 0
    if len(words) > end - place and all(word.text.isupper() for word in words):
        return 0  # a heading, or a text in capitals
    return end


def _stretched(text: str, words: list[Word], place: int, strength: int) -> int:
    """Where a name ends of which a word is also another (Senna Mercks; Sophie Evers, MD), 0 where none is.

    All words have a capital and then small letters, one at least has no other meaning, and what stands before or behind announces a name.
    """
    end = place
    while end < len(words) and end - place < 5 and _could_be_of_a_name(words[end], end > place):
        if end > place and words[end].start - words[end - 1].end > 2:
            break  # another field of a form
        end += 1
    while end > place and words[end - 1].text[0].islower():
        end -= 1
    full = [word for word in words[place:end] if len(word.plain) > 1 and word.text[0].isupper()]
    if not full:
        return 0
    start, stop = words[place].start, words[end - 1].end
    if len(full) == 1 and len(words[place].plain) == 1 and end - place > 1:  # T. Lie, MD
        return end if CREDENTIAL.match(text, stop) else 0
    if len(full) == 1:  # his wife Rose; spoke to Isa, her uncle
        if strength and RELATION_BEFORE.search(text, max(0, start - 18), start) and full[0].plain not in STATES:
            acts = text[stop : stop + 1] in (",", ")") or PERSON_VERBS.match(text, stop) or IS_AFTER.match(text, stop)
            return end if acts or not drug_or_eponym(full[0].plain) else 0
        return end if strength and RELATION_AFTER.match(text, stop) and not drug_or_eponym(full[0].plain) else 0
    if not any(_likely(word, False) for word in full):
        return 0
    shown = strength or CREDENTIAL.match(text, stop) or AGED.match(text, stop) or RELATION_AFTER.match(text, stop)
    return end if shown or PHONE_AFTER.match(text, stop) else 0


def _could_be_of_a_name(word: Word, inside: bool) -> bool:
    plain = word.plain
    if word.text[0].islower():
        return inside
    if len(plain) == 1:
        return True
    if plain in NEVER or _role(plain) or plain in RELATIONS or plain in TITLES:
        return False
    if plain in PEOPLES and plain not in ALSO_NAMES:
        return False
    if plain in WEEKDAYS or (inside and plain in CALENDAR):  # May Johannessen; signed: Eve Annus July 6
        return False
    return word.text.istitle() or bool(SCOTTISH.match(word.text))


def _could_end_a_name(plain: str) -> bool:
    return plain not in NEVER and (drug_or_eponym(plain) or plain in STATES or len(plain) <= 4)


def _seen_after(text: str, words: list[Word], place: int, end: int, capitals: bool) -> bool:
    """Whether what follows, or the form, shows capitalised words to be a name where nothing before them does."""
    stop = words[end - 1].end
    full = [w for w in words[place:end] if len(w.plain) > 1 and w.text not in PARTICLES]
    likely = [w for w in full if _likely(w, capitals)]
    if CREDENTIAL.match(text, stop):
        return True
    if not likely:
        return False
    if AGED.match(text, stop) or RELATION_AFTER.match(text, stop):
        return True
    if MEDICAL_AFTER.match(text, stop):
        return False
    if PERSON_VERBS.match(text, stop):
        return True
    title_case = not any(w.text.isupper() or re.search("['’]s$", w.text) for w in full)
    if len(full) == 2 and full[1].plain in STATES and full[0].plain in ("new", "north", "south", "west", "rhode"):
        return False
    if len(likely) >= 2:
        return title_case and len(likely) == len(full)
    if WORD_BEFORE_INITIAL.search(text, max(0, words[place].start - 8), words[place].start):
        return False  # hepatitis A. Survival
    return title_case and len(full) < end - place and len(words[place].plain) == 1 and len(likely[0].text) > 3


def _name(words: list[Word]) -> Name:
    told = [w.plain for w in words if len(w.plain) > 1 and w.text not in PARTICLES and w.plain not in SUFFIXES]
    parts = [part for word in told for part in re.split("[- ]", word) if len(part) > 3 and part != word]
    last = words[-1]
    end = last.end - (2 if re.search(r"['’]s$", last.text) else 0)
    return Name(words[0].start, end, tuple(told + parts))


def find_known(text: str, known: set[str]) -> Iterator[Name]:
    """Names of `known` (lower-case words) wherever they stand, with initials and unknown names beside them.

    Words that mean something else as well count within a sentence and with a capital only.
    """
    if not known:
        return
    for match in _runs(text):
        if " " not in match[0] and "\t" not in match[0] and not _known(_plain(match[0]), known):
            continue
        words = _words(text, match)
        hits = [_known(word.plain, known) for word in words]
        if not any(hits):
            continue
        capitals = len(words) > 1 and all(word.text.isupper() for word in words)
        sure = [hit and not doubtful(word.plain) for hit, word in zip(hits, words, strict=True)]
        for i, word in enumerate(words):
            if hits[i] and not sure[i]:
                beside = (i and hits[i - 1]) or (i + 1 < len(words) and hits[i + 1])
                inside = not word.text.isupper() and not SENTENCE_START.search(
                    text[max(0, word.start - 6) : word.start]
                )
                acts = word.plain not in NEVER and (PERSON_VERBS.match(text, word.end) or ACTS.match(text, word.end))
                hits[i] = bool(
                    beside or acts or (inside and not drug_or_eponym(word.plain) and word.plain not in NEVER)
                )
            if hits[i] and word.text.isupper() and 1 < len(word.text) <= 4 and word.text.isascii() and len(words) == 1:
                around = text[max(0, word.start - 20) : word.start] + text[word.end : word.end + 20]
                hits[i] = sum(map(str.islower, around)) <= sum(map(str.isupper, around))
            if hits[i] and len(words) == 1 or (i and not hits[i - 1] and i + 1 == len(words)):
                hits[i] = hits[i] and not MEDICAL_AFTER.match(text, word.end)
        for _ in range(2):
            for i, word in enumerate(words):
                beside = (i and hits[i - 1]) or (i + 1 < len(words) and hits[i + 1])
                if not hits[i] and beside:
                    small = len(word.plain) == 1 or (word.text in PARTICLES and 0 < i < len(words) - 1)
                    hits[i] = small or _likely(word, capitals) and not _role(word.plain)
        start = None
        for i in range(len(words) + 1):
            if i < len(words) and hits[i]:
                start = i if start is None else start
            elif start is not None:
                yield _name(words[start:i])
                start = None
    for name in sorted(word for word in known if len(word) > 3 and not doubtful(word) and word not in ALSO_NAMES):
        place = text.find(name)
        while place >= 0:
            end = place + len(name)
            if not (text[place - 1 : place].isalnum() or text[end : end + 1].isalnum()):
                yield Name(place, end, (name,))
            place = text.find(name, end)


def _known(plain: str, known: set[str]) -> bool:
    return plain in known or ("-" in plain and all(part in known for part in plain.split("-")))
