"""Each further operator by hand, what none may touch whatever the note, the guard, and the models that are not to be had or refused."""

import json
import random
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from conftest import ROOT, SHARED_DATA, make_tiny_model, merged, needs_shared_data
from hypothesis import given, settings
from hypothesis import strategies as st
from test_augment import AUGMENTED, NONE, notes, nothing_left, write

from diagnosis.augment import insert, negation, section_dropout, section_shuffle, surface
from diagnosis.augment.concept import Terms
from diagnosis.augment.findings import FINDINGS
from diagnosis.augment.guard import Guard
from diagnosis.augment.operators import PLAIN, prepared
from diagnosis.augment.protected import CUES, DRUGS, LATERALITY, UNITS, kind, label_words
from diagnosis.augment.reviewed import Pairs
from diagnosis.augment.versions import version
from diagnosis.augment.wordnet import Synonyms
from diagnosis.files import read_json, sha256
from diagnosis.notes import read_metadata
from diagnosis.text.context import assertions
from diagnosis.text.units import standardise

CONCEPTS = ROOT / "lists/concepts.tsv"
DEBIAN = Path("/usr/share/wordnet")
NOTE = (
    "CHIEF COMPLAINT: Chest pain.\nHPI: The patient arrived on foot and described tightness while climbing "
    "stairs near the garden gate. She denies fever or chills.\nPAST MEDICAL HISTORY: Asthma.\nMEDICATIONS: Aspirin 81 mg p.o. daily."
    "\nPLAN: Observe closely overnight and discuss further steps together."
)

# WordNet's own format (wndb): offset, file, kind, number of words in hex, words with their numbers, pointers, gloss.
WORDNET = {
    "data.noun": "  1 a licence, as in the real file\n"
    "00000001 04 n 02 garden_plot 0 allotment 0 000 | x\n"
    "00000002 04 n 02 stairs 0 steps 0 000 | x\n"
    "00000003 04 n 02 steps 0 measures 0 000 | two senses of steps\n"
    "00000004 04 n 02 tightness 0 pain 0 000 | x\n"
    "00000005 04 n 02 Eiffel 0 tower 0 000 | x\n",
    "data.verb": "00000006 30 v 02 observe 0 watch_over 0 000 01 + 08 00 | x\n00000007 30 v 02 felt 0 matt 0 000 | x\n",
    "data.adj": "00000008 00 a 02 aware 0 ready_to_hand(p) 0 000 | x\n",
    "data.adv": "00000009 02 r 02 closely 0 intimately 0 000 | x\n0000000a 02 r 02 overnight 0 left 0 000 | x\n".replace(
        "0000000a", "00000010"
    ),
    "verb.exc": "felt feel\n",
}


@pytest.fixture(scope="session")
def wordnet(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wordnet")
    for name, text in WORDNET.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="session")
def every(wordnet) -> dict:
    """All operators that need no model."""
    return prepared(
        [*PLAIN, "wordnet", "concept"], base=None, concepts=CONCEPTS, wordnet=wordnet, translators=[],
        reviewed_swaps=None, threads=1,
    )[0]  # fmt: skip


def drawn(apply, text: str, labels=NONE, budget: int = 9, seeds: int = 20) -> set[str]:
    """What an operator may write."""
    return {apply(text, labels, budget, random.Random(seed))[0] for seed in range(seeds)}


# ---------------------------------------------------------------- by hand


@pytest.mark.parametrize(
    ("text", "forms"),
    [
        ("Took 50 mg today", {"Took 50mg today"}),
        ("Took 0.5mL today", {"Took 0.5 mL today"}),
        ("A 45-year-old man", {"A 45 year old man", "A 45 y/o man", "A 45yo man"}),
        ("Seen twice daily", {"Seen BID", "Seen b.i.d.", "Seen twice a day"}),
        ("Taken p.o. then", {"Taken PO then", "Taken by mouth then"}),
        ("Edema there", {"Oedema there"}),
        ("the po river, prn", set()),
        ("about 50 mg/dL there", {"about 50mg/dL there"}),
        ("about 50 mg² there", set()),
        ("about 40 g there", set()),
        ("Chest x-ray: clear", set()),  # a heading
    ],
)
def test_surface_forms(text, forms):
    assert drawn(surface.apply, text, seeds=40) - {text} == forms


def test_a_surface_form_keeps_value_and_unit():
    for text in ("50 mg", "0.5mL", "100mcg", "12 mmHg", "3 kg"):
        for new in drawn(surface.apply, f"Given {text} then"):
            assert new != f"Given {text} then" and standardise(new) == standardise(f"Given {text} then")


@pytest.mark.parametrize(
    ("text", "forms"),
    [
        ("She denies fever", {"She reports no fever", "She denies any fever"}),
        ("Seen without any fever", {"Seen with no fever"}),
        ("He has no cough", {"He does not have any cough"}),
        ("Negative for blood", {"Neg for blood"}),
        ("denies that he fell", {"denies that he fell"}),
        ("denies having pain", {"denies having pain"}),
        ("There is no known cause", {"There is no known cause"}),
        ("Lifted without difficulty", {"Lifted without difficulty"}),
    ],
)
def test_negations_of_one_meaning(text, forms):
    assert drawn(negation.apply, text) == forms


def test_every_form_of_a_negation_has_its_scope():
    for one in negation.OTHERS:
        text = f"On that day she {one} fever, cough. She walked"
        (status,) = assertions(text, [(text.index("fever"), text.index("fever") + 5)])
        assert status == {"negated"}, one


def test_insert_repeats_words_of_the_note():
    assert drawn(insert.apply, "He walked home", budget=1) == {"He walked walked home", "He walked home home"}
    for text in ("No walked home slowly", "He walked, home", "He walked\nhome", "Walked 3 home left slowly"):
        assert drawn(insert.apply, text) == {text}


def test_section_dropout_takes_whole_sections_within_the_budget():
    found = drawn(section_dropout.apply, NOTE, budget=9, seeds=60)
    lines = NOTE.split("\n")
    assert len(found) > 2
    for text in found:
        kept = text.split("\n")
        assert kept == [line for line in lines if line in kept] and lines[1] in kept  # longer than 9 words
    assert all(lines[0] in text for text in drawn(section_dropout.apply, NOTE, label_words(["Chest"]), seeds=60))
    assert drawn(section_dropout.apply, "No headings. Only prose") == {"No headings. Only prose"}


def test_section_shuffle_keeps_every_line():
    found = drawn(section_shuffle.apply, NOTE)
    assert len(found) > 10 and all(sorted(text.split("\n")) == sorted(NOTE.split("\n")) for text in found)
    opening = "He came in.\n" + NOTE
    assert all(text.startswith("He came in.\n") for text in drawn(section_shuffle.apply, opening))


def test_concepts_by_the_list():
    terms = Terms(CONCEPTS)
    assert "no myocardial infarction" not in drawn(terms, "no heart attack", label_words(["Myocardial"]))
    assert "Myocardial infarction" in drawn(terms, "Heart attack", seeds=40)
    assert all("2" in text for text in drawn(terms, "has type 2 diabetes mellitus", seeds=60))
    assert drawn(terms, "has asthma", label_words(["Asthma"])) == {"has asthma"}


def test_concepts_by_umls(folder):
    row = "C1|ENG|{}|L1|{}|S1|{}|A1||||SRC|PT|1|{}|0|N|256|\n"
    Path("MRCONSO.RRF").write_text(
        row.format("P", "PF", "Y", "Cardiac arrest") + row.format("S", "VO", "N", "Asystole of heart")
    )
    assert drawn(Terms(Path("MRCONSO.RRF")), "Seen in cardiac arrest") == {"Seen in Asystole of heart"}


# ---------------------------------------------------------------- WordNet


def test_wordnet_replaces_words_of_one_sense(wordnet):
    synonyms = Synonyms(wordnet)
    assert synonyms.of == {
        "allotment": ["garden plot"], "matt": ["felt"], "stairs": ["steps"], "measures": ["steps"], "tightness": ["pain"], "pain": ["tightness"],
        "observe": ["watch over"], "closely": ["intimately"], "intimately": ["closely"], "overnight": ["left"], "left": ["overnight"],
    }  # fmt: skip
    assert drawn(synonyms, "To observe stairs closely") == {"To watch over steps intimately"}
    # neither a finding nor a side comes in; in a sentence with a negation nothing is free; no word of a label comes in
    for text in ("Seen tightness", "Stayed overnight", "No stairs closely", "She felt cold", "Seen stairs"):
        assert drawn(synonyms, text, label_words(["Steps taken"])) == {text}


def test_wordnet_that_is_not_there_is_one_line(stage, folder, wordnet):
    write(notes())
    for path, words in ((None, "augment.wordnet is null"), ("nowhere", "has no data.noun of WordNet: install")):
        code, line = stage("augment", {"copies": 1, "operators": ["wordnet"], "wordnet": path})
        assert code == 1 and words in line and "wordnet-base" in line and "\n" not in line and nothing_left(folder)
    Path("broken").mkdir()
    for name in WORDNET:
        (folder / "broken" / name).write_text("00000001 04 n zz garden\n")
    code, line = stage("augment", {"copies": 1, "operators": ["wordnet"], "wordnet": "broken"})
    assert code == 1 and line == "error: broken/data.noun, line 1: no synset of WordNet 3: bring the file again"


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="Debian's wordnet-base is not installed")
def test_debians_wordnet():
    synonyms = Synonyms(DEBIAN)
    assert len(synonyms.of) > 20_000 and synonyms.of["dyspnea"] == ["dyspnoea"] and "cold" not in synonyms.of
    assert all(word == word.lower() and word not in others for word, others in synonyms.of.items())


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="Debian's wordnet-base is not installed")
def test_debians_wordnet_as_nltk_reads_it(tmp_path):
    nltk = pytest.importorskip("nltk")
    from nltk.corpus.reader.wordnet import WordNetCorpusReader

    folder = tmp_path / "corpora/wordnet"
    folder.mkdir(parents=True)
    for file in DEBIAN.iterdir():
        if file.is_file():
            (folder / file.name).write_bytes(file.read_bytes())
    # Of what nltk wants, Debian has not this: the 45 names of the lexicographers' files.
    (folder / "lexnames").write_text("".join(f"{number:02}\tfile{number}\t1\n" for number in range(45)))
    nltk.data.path.insert(0, str(tmp_path))
    reader = WordNetCorpusReader(nltk.data.find("corpora/wordnet"), None)
    synonyms, rng = Synonyms(DEBIAN), random.Random(7)
    for word in rng.sample(sorted(synonyms.of), 300):
        (synset,) = {s.name(): s for s in reader.synsets(word) if word in map(str.lower, s.lemma_names())}.values()
        names = [name.replace("_", " ") for name in synset.lemma_names()]
        assert set(synonyms.of[word]) <= set(names) and word in map(str.lower, (n.replace(" ", "_") for n in names))


# ---------------------------------------------------------------- reviewed swaps


def test_reviewed_swaps_only_with_a_list_whose_rows_name_a_reviewer(stage, folder):
    write(notes())
    good = "term\tother_term\treviewer\ndyspnea\tair hunger\tDr A\ndyspnea\twheezing\tDr A\n"
    for content, words in (
        (None, "augment.reviewed_swaps is null: swaps of symptoms need a list that a clinician has reviewed"),
        ("dyspnea\twheezing\n", "must begin with the columns term, other_term, reviewer"),
        ("term\tother_term\treviewer\n", "has no pair"),
        (good + "cough\tsneezing\t \n", "line 4: a swap needs its two terms and who reviewed it"),
        (good + "cough\tsneezing\n", "line 4"),
    ):
        path = None
        if content is not None:
            path = "swaps.tsv"
            Path(path).write_text(content)
        code, line = stage("augment", {"copies": 1, "operators": ["symptom"], "reviewed_swaps": path})
        assert code == 1 and words in line and "\n" not in line and not AUGMENTED.exists()
    Path("swaps.tsv").write_text(good)
    pairs = Pairs(Path("swaps.tsv"))
    assert drawn(pairs, "Dyspnea there") == {"Air hunger there", "Wheezing there"}
    assert drawn(pairs, "has wheezing") == {"has dyspnea"}
    assert pairs.canonical("wheezing, air hunger") == pairs.canonical("dyspnea, dyspnea")
    assert stage("augment", {"copies": 1, "operators": ["symptom"], "reviewed_swaps": "swaps.tsv"}) == (0, "")
    metrics = read_json(Path("metrics/augment.json"))
    assert metrics["notes"]["versions"] == 6 and metrics["sources"] == {"reviewed_swaps": sha256(Path("swaps.tsv"))}
    assert read_metadata(AUGMENTED)["augmented_with"] == metrics["sources"]


# ---------------------------------------------------------------- the guard


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ("She denies fever.", "She reports no fever.", True),
        ("Has dyspnea and HTN.", "Has shortness of breath and hypertension.", True),
        ("Took 50mg today.", "Took 50 mg today.", True),
        ("Has fever, walks.", "Walks, has fever.", True),
        ("She denies fever.", "She reports fever.", False),
        ("Has fever.", "Has fever and cough.", False),
        ("Has fever and cough.", "Has fever.", False),
        ("Took 50 mg today.", "Took 50 g today.", False),
        ("Took 50 mg today.", "Took 15 mg today.", False),
        ("No fever. Walks fast.", "No fever, walks fast.", False),  # what came into the scope is not among the findings
        ("Mother had asthma.", "She had asthma.", False),
        ("Has cough.", "Possible history of cough.", False),
    ],
)
def test_guard(before, after, same):
    guard = Guard()
    assert guard.same(guard.read(before), guard.read(after), may_lose=False) == same


def test_guard_where_sections_may_go():
    guard = Guard()
    whole = guard.read("Has fever 39 C. Mother had asthma.\n\nHas asthma. No cough.")
    for part, same in (
        ("Has fever 39 C.", True),
        ("Mother had asthma.\n\nHas asthma.", True),
        ("Has asthma.", False),  # of two statements about asthma one is gone
        ("No fever.", False),
        ("Has fever 38 C.", False),
        ("Has rash.", False),
    ):
        assert guard.same(whole, guard.read(part), may_lose=True) == same


def test_a_version_that_says_another_thing_is_discarded_and_counted(stage):
    """Word order does it: "the patient" ends the scope of "rather than", which protected.py does not know."""
    text = "Stayed home rather than hospital visiting patient rooms slowly because quiet gardens help people"
    write(notes(40, text=text))
    assert stage("augment", {"copies": 2, "operators": ["swap"], "rate": 0.5}) == (0, "")
    metrics = read_json(Path("metrics/augment.json"))
    assert metrics["discarded"]["meaning"] > 0
    assert metrics["notes"]["versions"] + sum(metrics["discarded"].values()) == 80
    guard = Guard()
    for row in pq.read_table(AUGMENTED).to_pylist():
        said = guard.read(f"{text} alpha{row['note_id'].split('-')[0][1:]}")
        assert guard.same(said, guard.read(row["text"]), may_lose=False)


# ---------------------------------------------------------------- what no operator may touch

WORDS = (
    "walked home house garden stairs closely observe fever cough dyspnea HTN no denies without left right 3 50 mg 5mg lisinopril "
    "heart mother history 120/80 ___ . , ; : \n \n\n BID edema abdominal pain PLAN: MEDICATIONS: She heart attack with reports"
).split(" ")
LABELS = label_words(["Heart", "Garden / Gate"])
GUARDED = {*CUES, *LATERALITY.split(), *DRUGS, *LABELS, "lisinopril"} | {"mg", "mcg", "ml", "kg", "mmhg"} & set(
    UNITS.split()
)
# Which of these an operator may write another way, all of one meaning.
FORMS = {
    "negation": {"no", "not", "without", "denies", "denied", "negative"},
    "surface": {"iv"},
    "abbreviation": {"upper"},
}  # URI


def guarded(text: str, allowed=frozenset()) -> Counter:
    text = re.sub(r"(?<=\d)(?:[ -]year[ -]old| ?y/o| ?yo)\b", " ", standardise(text), flags=re.IGNORECASE)
    words = [word.lower() for word in re.findall(r"[^\W_]+(?:['/-][^\W_]+)*|_{2,}", text)]
    return Counter(
        word for word in words if (word in GUARDED or word[0].isdigit() or word == "___") and word not in allowed
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=60), st.integers(0, 2**32))
def test_no_operator_touches_what_is_protected(every, words, seed):
    text = " ".join(words)
    said = Guard([every["concept"].canonical]).read(text)
    for name, operator in every.items():
        new, _ = version(text, {name: operator}, 0.5, None, LABELS, (seed,))
        if name == "section_dropout":
            assert guarded(new) <= guarded(text)
        else:
            assert guarded(new, FORMS.get(name, NONE)) == guarded(text, FORMS.get(name, NONE)), name
        assert Counter(re.findall(r"\d+", new)) <= Counter(re.findall(r"\d+", text)), name
        brought = set(re.findall(r"[^\W\d_]+", new.lower())) - set(re.findall(r"[^\W\d_]+", text.lower()))
        assert not brought & LABELS, name
        if name in ("wordnet", "insert", "swap", "delete"):
            assert not brought & FINDINGS, name
    assert Guard([every["concept"].canonical]).same(said, said, may_lose=False)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=60), st.integers(0, 2**32))
def test_the_cap_holds_for_each_operator(every, words, seed):
    for name, operator in every.items():
        _, changes = version(" ".join(words), {name: operator}, 0.5, 2, LABELS, (seed,))
        assert name == "section_shuffle" or sum(changes.values()) <= 2


@needs_shared_data
def test_on_real_notes_nothing_protected_changes_and_findings_keep_their_status(every):
    """ConText asked by another way than the guard's: the status of each mention of thirty findings, as spans."""
    import csv

    asked = "fever chills nausea vomiting diarrhea headache dizziness syncope palpitations rash cough bleeding weakness numbness".split()

    def asserted(text: str) -> set:
        spans = [match.span() for match in re.finditer(rf"\b(?:{'|'.join(asked)})\b", text, re.IGNORECASE)]
        kinds = assertions(text, spans)
        return {(text[start:end].lower(), own) for (start, end), own in zip(spans, kinds, strict=True)}

    with open(SHARED_DATA / "mtsamples/mtsamples_raw_head_297.csv", newline="") as stream:
        texts = [standardise(row["transcription"]) for row in csv.DictReader(stream) if row.get("transcription")][:40]
    guard, kept, discarded = Guard([every["concept"].canonical]), Counter(), Counter()
    for number, text in enumerate(texts):
        said, before = guard.read(text), asserted(text)
        for name, operator in every.items():
            new, changed = version(text, {name: operator}, 0.1, None, LABELS, (7, number))
            lossy = name == "section_dropout"
            if not changed:
                continue
            if not guard.same(said, guard.read(new), may_lose=lossy):
                discarded[name] += 1
                continue
            kept[name] += 1
            # the list's synonyms bring other words for the asked ones
            assert name == "concept" or (asserted(new) <= before if lossy else asserted(new) == before), name
            allowed = FORMS.get(name, NONE)
            assert lossy or guarded(new, allowed) == guarded(text, allowed), name
    # the tiny WordNet has none of their words
    assert set(kept) | {"wordnet"} == set(every) and kept.total() > 5 * discarded.total()


# ---------------------------------------------------------------- models


@pytest.fixture(scope="session")
def masked_model(tmp_path_factory) -> Path:
    """A random two-layer BERT with a masked-language head, over whole words as well as letters."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForMaskedLM

    folder = make_tiny_model(tmp_path_factory.mktemp("masked") / "model")
    size = len(AutoTokenizer.from_pretrained(folder))
    torch.manual_seed(0)
    BertForMaskedLM(
        BertConfig(vocab_size=size, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, max_position_embeddings=64)
    ).save_pretrained(folder)  # fmt: skip
    return folder


def test_masked_words(masked_model):
    from diagnosis.augment.masked import Masked

    masked = Masked(masked_model, threads=1)
    masked.TOP = None
    text = "She walked slowly home. " * 40 + "No walked slowly home"  # several windows of 62 tokens
    found, changed = masked(text, NONE, 30, random.Random(0))
    assert masked(text, NONE, 30, random.Random(0)) == (found, changed)
    old, new = text.split(), found.split()
    assert len(old) == len(new) and sum(a != b for a, b in zip(old, new, strict=True)) == changed
    assert found.endswith("No walked slowly home") and new[::4] == old[::4]  # the first words of the sentences
    words = {b.strip(".").lower() for a, b in zip(old, new, strict=True) if a != b}
    assert all(not kind(word, NONE) and len(word) > 2 for word in words)
    assert masked("Saw [MASK] there slowly", NONE, 9, random.Random(0)) == ("Saw [MASK] there slowly", 0)


def test_masked_words_are_the_models_own(masked_model):
    """The candidates against the model asked directly, for one mask in a short text."""
    import torch
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    from diagnosis.augment import masked

    tokenizer = AutoTokenizer.from_pretrained(masked_model)
    model = AutoModelForMaskedLM.from_pretrained(masked_model).eval()
    ids = tokenizer("the [MASK] of pain", return_tensors="pt")
    with torch.no_grad():
        logits = model(**ids).logits[0, 2]
    best = torch.softmax(logits, 0).topk(masked.TOP)
    words = [tokenizer.decode([token]) for token in best.indices.tolist()]
    expected = [(w, p) for w, p in zip(words, best.values.tolist(), strict=True) if re.fullmatch("[a-z]{3,}", w)]
    ((found),) = masked.Masked(masked_model, 1)._candidates("the [MASK] of pain")
    assert [word for word, _ in found] == [word for word, _ in expected] and expected
    assert [p for _, p in found] == pytest.approx([p for _, p in expected], rel=1e-5)


def test_a_base_without_the_head_is_refused(stage, folder, tiny_model):
    write(notes())
    Path("models").mkdir()
    Path("models/base").symlink_to(tiny_model)
    code, line = stage("augment", {"copies": 1, "operators": ["mask"]})
    assert code == 1 and line.startswith("error: models/base has no masked-language head") and "\n" not in line
    assert not AUGMENTED.exists()
    Path("models/base").unlink()
    code, line = stage("augment", {"copies": 1, "operators": ["mask"]})
    assert code == 1 and "models/base/config.json does not exist" in line


def test_the_stage_with_masked_words(stage, folder, masked_model):
    write(notes(text="She walked slowly around the house and the quiet garden while talking about plans"))
    Path("models").mkdir()
    Path("models/base").symlink_to(masked_model)
    changes = {"copies": 1, "operators": ["mask"], "rate": 0.5, "threads": 1}
    assert stage("augment", changes) == (0, "")
    first = {row["note_id"]: row["text"] for row in pq.read_table(AUGMENTED).to_pylist()}
    assert any(name.endswith("-a1") for name in first)
    write(notes(3, text="She walked slowly around the house and the quiet garden while talking about plans")[::-1])
    assert stage("augment", changes) == (0, "")
    assert all(first[row["note_id"]] == row["text"] for row in pq.read_table(AUGMENTED).to_pylist())


THERE = {"She walked slowly towards the clinic with heavy bags": "sie ging langsam zur klinik mit schweren taschen"}
BACK = {next(iter(THERE.values())): "she went slowly towards that clinic carrying heavy bags"}


def train_marian(folder: Path, pairs: dict[str, str]) -> Path:
    """A tiny Marian model that has learned these sentences by heart; its tokenizer is of whole words."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import MarianConfig, MarianMTModel, PreTrainedTokenizerFast

    words = sorted({word for pair in pairs.items() for text in pair for word in f"{text} .".split()})
    vocabulary = {token: number for number, token in enumerate(["</s>", "<unk>", *words, "<pad>"])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 0)])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>", eos_token="</s>", model_max_length=64
    )
    pad = vocabulary["<pad>"]
    config = MarianConfig(
        vocab_size=len(vocabulary), d_model=32, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=64, decoder_ffn_dim=64, max_position_embeddings=64, pad_token_id=pad, eos_token_id=0,
        decoder_start_token_id=pad, forced_eos_token_id=None, dropout=0.0, scale_embedding=True,
    )  # fmt: skip
    torch.manual_seed(0)
    model = MarianMTModel(config)
    source = fast([f"{text}." for text in pairs], return_tensors="pt")["input_ids"]
    target = fast([f"{text}." for text in pairs.values()], return_tensors="pt")["input_ids"]
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(60):
        loss = model(input_ids=source, labels=target).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 0.1
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def translators(tmp_path_factory) -> list[str]:
    folder = tmp_path_factory.mktemp("marian")
    return [str(train_marian(folder / "there", THERE)), str(train_marian(folder / "back", BACK))]


def test_back_translation_by_two_local_models(stage, folder, translators):
    sentence = next(iter(THERE))
    text = f"She denies fever. {sentence}. She took 50 mg twice. A mild pain was seen there again"
    write(notes(2, text=text))
    changes = {"copies": 1, "operators": ["back_translation"], "translators": translators, "threads": 1}
    assert stage("augment", changes) == (0, "")
    rows = pq.read_table(AUGMENTED).to_pylist()
    new = "She went slowly towards that clinic carrying heavy bags"
    assert [row["text"] for row in rows if row["augmented_from"]] == [
        f"{text} alpha{i}".replace(sentence, new) for i in range(2)
    ]
    assert set(read_json(Path("metrics/augment.json"))["sources"]) == {"translators/there", "translators/back"}


def test_what_is_translated_and_what_is_taken():
    from diagnosis.augment.back_translation import fits, sentences

    text = "He walked to his house. No cough was heard there. He took 5 mg by himself. Seen (and heard) by many people. Too short.\nPlan: he goes home soon"
    assert [text[start:end] for start, end, _ in sentences(text, NONE)] == ["He walked to his house"]
    assert not sentences("He walked to his house", label_words(["House"]))
    old = "He walked to his house"
    assert fits(old, "He went to his home", NONE)
    for new in (
        "", "he WALKED to his house", "He had no house", "He walked 3 miles", "He went left", "Went", "Fever at his house",
        "He took aspirin at home", "Home home home home home home home home home home home", "He went <unk>",
    ):  # fmt: skip
        assert not fits(old, new, NONE), new
    assert not fits(old, "He went to his home", label_words(["Home"]))


@pytest.mark.parametrize(
    ("folders", "words"),
    [
        ([], "needs two folders of Marian models"),
        (["https://translate.example/v2", "back"], "has a web address: text would leave the site"),
        (["translate.example.com/v2", "back"], "has a web address"),
        (["nowhere", "back"], "nowhere/config.json does not exist: check augment.translators"),
        (["bert", "bert"], "bert could not be loaded as a Marian model"),
    ],
    ids=["none", "https", "host", "missing", "another model"],
)
def test_translators_that_are_refused(stage, folder, tiny_model, folders, words):
    write(notes())
    Path("bert").symlink_to(tiny_model)
    changes = {"copies": 1, "operators": ["back_translation"], "translators": folders}
    code, line = stage("augment", changes)
    assert code == 1 and words in line and line.startswith("error: ") and "\n" not in line and not AUGMENTED.exists()


@pytest.fixture(scope="session")
def opus(tmp_path_factory) -> Path:
    """A random Marian model with the files that the published ones have: source.spm, target.spm, vocab.json."""
    spm = pytest.importorskip("sentencepiece")
    from transformers import MarianConfig, MarianMTModel

    folder = tmp_path_factory.mktemp("opus") / "model"
    folder.mkdir()
    (folder / "corpus.txt").write_text("\n".join(["she walked slowly home", "he went to the clinic with bags"] * 50))
    spm.SentencePieceTrainer.train(
        input=str(folder / "corpus.txt"), model_prefix=str(folder / "source"), vocab_size=60, minloglevel=2
    )
    (folder / "source.model").rename(folder / "source.spm")
    (folder / "target.spm").write_bytes((folder / "source.spm").read_bytes())
    pieces = [line.split("\t")[0] for line in (folder / "source.vocab").read_text().splitlines()][3:]
    vocabulary = {token: number for number, token in enumerate(["</s>", "<unk>", *pieces, "<pad>"])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "MarianTokenizer"}))
    pad = vocabulary["<pad>"]
    MarianMTModel(
        MarianConfig(
            vocab_size=len(vocabulary), d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
            decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, max_position_embeddings=200, pad_token_id=pad,
            eos_token_id=0, decoder_start_token_id=pad,
        )
    ).save_pretrained(folder)  # fmt: skip
    return folder


def test_a_folder_as_the_published_models_have_it(opus):
    from diagnosis.augment.back_translation import BackTranslation

    (out,) = BackTranslation(opus, opus, 1).translated(["she walked slowly home"])
    assert isinstance(out, str) and "</s>" not in out and "<pad>" not in out


def test_without_sentencepiece_one_line_says_what_to_install(stage, folder, tiny_model):
    try:
        import sentencepiece  # noqa: F401
    except ImportError:
        pass
    else:
        pytest.skip("sentencepiece is installed")
    write(notes())
    Path("opus").mkdir()
    (folder / "opus/config.json").write_text('{"model_type": "marian"}')
    (folder / "opus/tokenizer_config.json").write_text('{"tokenizer_class": "MarianTokenizer"}')
    for name in ("source.spm", "target.spm", "vocab.json"):
        (folder / "opus" / name).write_text("{}")
    code, line = stage("augment", {"copies": 1, "operators": ["back_translation"], "translators": ["opus", "opus"]})
    assert code == 1 and "requirements-augment.txt" in line and "\n" not in line


# ---------------------------------------------------------------- the stage


def test_all_that_need_no_model_in_one_run(stage, folder, wordnet):
    """The ontology is clean's: its file is a hashed input."""
    from conftest import default_params
    from ruamel.yaml import YAML

    from diagnosis.errors import run
    from stages.augment import main

    write(notes(8, text=NOTE))
    names = [*PLAIN, "wordnet", "concept"]
    own = {"copies": 2, "operators": names, "wordnet": str(wordnet), "max_changes": 2}
    params = {"augment": merged(default_params()["augment"], own), "clean": {"concepts": str(CONCEPTS), "other": 1}}
    with open("params.yaml", "w") as stream:
        YAML().dump(params, stream)
    run(main)
    metrics, rows = read_json(Path("metrics/augment.json")), pq.read_table(AUGMENTED).to_pylist()
    assert metrics["notes"]["versions"] > 8 and set(metrics["versions_by_operator"]) == set(names)
    assert all(
        metrics["changes_by_operator"][name] > 0 for name in ("surface", "negation", "wordnet", "insert", "concept")
    )
    assert len(metrics["sources"]) == 4 and metrics["sources"]["wordnet/data.noun"] == sha256(wordnet / "data.noun")
    original = guarded(NOTE)
    for row in rows:
        if row["augmented_from"]:
            assert row["labels"] and set(row["operators"]) <= set(names)
            assert guarded(row["text"].rpartition(" alpha")[0], FORMS["negation"] | LABELS) <= original


def test_nothing_heavy_is_imported_without_a_model():
    code = (
        "import sys, stages.augment; print([name for name in ('torch', 'transformers', 'nltk') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
