"""Names of benchmarks/phi_notes.py in Latin letters, about as a passport writes them: by letter, with no diacritics.

Ukrainian as resolution 55 of its cabinet of 2010, Macedonian and Georgian as on their passports, Armenian as BGN/PCGN without marks, Korean by
syllable (Revised Romanization) with the usual surnames, Nepali and Sinhala by letter with the inherent vowel.
"""

import unicodedata


def _pairs(letters: str, latin: str) -> dict[str, str]:
    return dict(zip(letters.split(), latin.split(), strict=True))


ALPHABETS = {
    "uk_UA": _pairs(
        "а б в г ґ д е є ж з и і ї й к л м н о п р с т у ф х ц ч ш щ ю я",
        "a b v h g d e ie zh z y i i i k l m n o p r s t u f kh ts ch sh shch iu ia",
    ),
    "mk_MK": _pairs(
        "а б в г д ѓ е ж з ѕ и ј к л љ м н њ о п р с т ќ у ф х ц ч џ ш",
        "a b v g d gj e zh z dz i j k l lj m n nj o p r s t kj u f h c ch dj sh",
    ),
    "ka_GE": _pairs(
        "ა ბ გ დ ე ვ ზ თ ი კ ლ მ ნ ო პ ჟ რ ს ტ უ ფ ქ ღ ყ შ ჩ ც ძ წ ჭ ხ ჯ ჰ",
        "a b g d e v z t i k l m n o p zh r s t u p k gh q sh ch ts dz ts ch kh j h",
    ),
    "hy_AM": _pairs(
        "ա բ գ դ ե զ է ը թ ժ ի լ խ ծ կ հ ձ ղ ճ մ յ ն շ ո չ պ ջ ռ ս վ տ ր ց ւ փ ք օ ֆ և ու",
        "a b g d e z e y t zh i l kh ts k h dz gh ch m y n sh o ch p j r s v t r ts v p k o f ev u",
    ),
}
INITIAL = {"uk_UA": _pairs("є ї й ю я", "ye yi y yu ya"), "hy_AM": _pairs("ե ո", "ye vo")}
SURNAMES = _pairs(
    "김 이 박 정 최 조 강 윤 장 임 오 신 권 안 류 고 문 허 유 심 노 구 우 곽",
    "Kim Lee Park Jung Choi Cho Kang Yoon Jang Lim Oh Shin Kwon Ahn Ryu Ko Moon Huh Yoo Shim Noh Koo Woo Kwak",
)
# Each consonant carries an "a" that a sign of another vowel or the virama takes away.
CONSONANTS = {
    "ne_NP": _pairs(
        "क ख ग घ ङ च छ ज झ ञ ट ठ ड ढ ण त थ द ध न प फ ब भ म य र ल व श ष स ह",
        "k kh g gh ng ch chh j jh n t th d dh n t th d dh n p ph b bh m y r l b sh sh s h",
    ),
    "si_LK": _pairs(
        "ක ඛ ග ඝ ඟ ච ඡ ජ ඤ ඥ ට ඨ ඩ ඪ ණ ඬ ත ථ ද ධ ඳ න ප ඵ බ භ ම ඹ ය ර ල ව ශ ෂ ස හ ළ ෆ",
        "k kh g gh ng ch chh j n gn t th d dh n nd th th d dh nd n p ph b bh m mb y r l w sh sh s h l f",
    ),
}
VOWELS = {
    "ne_NP": _pairs("अ आ इ ई उ ऊ ऋ ए ऐ ओ औ", "a a i i u u ri e ai o au"),
    "si_LK": _pairs("අ ආ ඇ ඈ ඉ ඊ උ ඌ ඍ එ ඒ ඓ ඔ ඕ ඖ", "a a a a i i u u ri e e ai o o au"),
}
SIGNS = {
    "ne_NP": _pairs("ा ि ी ु ू ृ े ै ो ौ", "a i i u u ri e ai o au"),
    "si_LK": _pairs("ා ැ ෑ ි ී ු ූ ෘ ෙ ේ ෛ ො ෝ ෞ", "a a a i i u u ru e e ai o o au"),
}
VIRAMAS, NASALS = "्්", "ंँං"
LETTERS = ("ko_KR", *ALPHABETS, *CONSONANTS)


def latin(name: str, origin: str) -> str:
    """A name of `origin` in Latin letters, capitalised; ValueError for a letter that is in no table."""
    if origin == "ko_KR":
        written = SURNAMES.get(name) or "".join(map(_syllable, name))
    else:
        spell = _spelt if origin in ALPHABETS else _indic
        parts = unicodedata.normalize("NFC", name).lower().replace("-", " - ").split()
        written = " ".join(spell(part, origin) for part in parts).replace(" - ", "-")
    if not written.replace("-", "").replace(" ", "").isascii():
        raise ValueError(f"{origin}: a letter in no table")
    return written.title()


def _syllable(sign: str) -> str:
    written = unicodedata.name(sign).split()[-1].lower().replace("yi", "ui")
    last = {"g": "k", "b": "p", "d": "t"}.get(written[-1])
    return written[:-1] + last if last and not written.endswith("ng") else written


def _spelt(word: str, origin: str) -> str:
    table = ALPHABETS[origin]
    word = "".join(sign for sign in word if sign not in "ь'’ʼ").replace("եւ", "և")
    word = word.replace("ու", table.get("ու", "ու"))
    first = INITIAL.get(origin, {}).get(word[0])
    return (first or table.get(word[0], word[0])) + "".join(table.get(sign, sign) for sign in word[1:])


def _indic(word: str, origin: str) -> str:
    """Letter by letter; Nepali leaves the last inherent vowel out, unless two consonants come before it."""
    consonants, vowels, signs = CONSONANTS[origin], VOWELS[origin], SIGNS[origin]
    pieces, joined = [], False
    word = [sign for sign in word if sign not in "\u200c\u200d"]
    for place, sign in enumerate(word):
        if sign in consonants:
            follows = word[place + 1] if place + 1 < len(word) else ""
            ends = origin == "ne_NP" and not follows and not joined and place > 0
            pieces.append(consonants[sign] + ("" if ends or follows and follows in [*signs, *VIRAMAS] else "a"))
            joined = False
        elif sign in VIRAMAS:
            joined = True
        else:
            pieces.append("n" if sign in NASALS else (vowels | signs).get(sign, sign))
    return "".join(pieces).replace("ngg", "ng").replace("ke.si.", "k.c.")
