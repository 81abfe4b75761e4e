"""The stage probe: copies as they should read, values by hand and by other libraries, verdicts, planted behaviour, bad input."""

import json
import random
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, default_params, merged
from safetensors.torch import load_file, save_file
from scipy.stats import beta
from sklearn.covariance import LedoitWolf
from sklearn.metrics import roc_auc_score
from test_predict import write_model
from toy import CLASSES, metadata, rows, write_table

from diagnosis.behaviour import perturbations as p
from diagnosis.behaviour.compare import (
    by_group,
    control,
    direction,
    estimate,
    flips,
    invariance,
    scored,
    total_variation,
)
from diagnosis.behaviour.copies import all_copies, copies, first_notes, randomness
from diagnosis.behaviour.domain import judged
from diagnosis.behaviour.negation import Support, affirm, deny, flipped
from diagnosis.behaviour.outputs import Outputs, outputs
from diagnosis.behaviour.vignettes import answered, read_vignettes
from diagnosis.errors import UserError
from diagnosis.out_of_distribution import Mahalanobis, auroc, doubt, energy
from diagnosis.scores.shards import patient_numbers
from diagnosis.text.concepts import Concepts
from diagnosis.training.inference import load_finetuned

SAMPLING = {"samples": 400, "seed": 3}
SMALL = {"notes": 12, "train_notes": 40, "support_notes": 60, "bootstrap_samples": 40, "threads": 1, "batch_size": 8}
KNOWN = ("cough", "dyspnea", "chest pain", "edema", "vomiting", "fever")


@pytest.fixture(scope="module")
def concepts(tmp_path_factory) -> Concepts:
    path = tmp_path_factory.mktemp("concepts") / "concepts.tsv"
    path.write_text(
        "cough\tcoughing\ndyspnea\tshortness of breath; SOB\nchest pain\tCP\nedema\tswelling\nvomiting\temesis\nfever\tpyrexia\n"
    )
    return Concepts(path)


def changed(perturb, text, seed=0):
    return perturb(text, random.Random(seed), "patient")


# ---------------------------------------------------------------- invariance: what the copies say


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Sex: F\n77 y/o F. She denies fever.", "Sex: M\n77 y/o M. He denies fever."),
        ("61M with cough. HE SMOKES.", "61F with cough. SHE SMOKES."),
        ("temperature 98.6 F, 99 F, a 40 year old woman", "temperature 98.6 F, 99 F, a 40 year old man"),
        ("Her mother saw her, told her to rest and gave her\nhers.", "His mother saw him, told him to rest and gave him\nhis."),
        ("Mrs. Ito and a gentleman; himself", "Mr. Ito and a lady; herself"),
        ("30 year old woman, pregnant.", None),
        ("71 yo male with BPH.", None),
        ("Nothing of a sex here.", None),
    ],
)  # fmt: skip
def test_sex_swap(text, expected):
    assert changed(p.sex_swap, text) == expected


@pytest.mark.parametrize("text", ["He has pain. His wife and her son came. 44 y/o M", "SEX: m; male, 50yo f"])
def test_sex_swapped_twice_is_the_note(text):
    once = changed(p.sex_swap, text)
    # "her" of kin is the one word that cannot know whose it is.
    assert once != text and changed(p.sex_swap, once).lower() == text.lower().replace("mrs", "ms")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("77 y/o F; at 77 years old, for 5 days", "47 y/o F; at 47 years old, for 5 days"),
        ("a 49-year-old, whose son is 20 years old", "a 79-year-old, whose son is 20 years old"),
        ("90+ year old", None),
        ("a 9-year-old", None),
        ("Na 142", None),
    ],
)
def test_age_swap(text, expected):
    assert changed(p.age_swap, text) == expected


def test_abbreviations_there_and_back():
    text = (
        "Chief Complaint:\nShortness of breath\nHistory of Present Illness: SOB, HTN. Denies urinary tract infection."
    )
    short = "Chief Complaint:\nSOB\nHistory of Present Illness: SOB, HTN. Denies UTI."
    assert changed(p.abbreviations_contracted, text) == short
    assert "shortness of breath, hypertension" in changed(p.abbreviations_expanded, text)
    assert changed(p.abbreviations_contracted, "No cough.") is changed(p.abbreviations_expanded, "No cough.") is None


def test_typos_go_into_as_many_long_words_and_into_no_heading():
    words = [f"{a}{b}ngword" for a in "abcdefghij" for b in "klmno"]
    text = "Chief Complaint: " + " ".join(words) + "\nExam: ok"
    new = changed(p.Typos(0.1), text)
    pairs = list(zip(text.split(), new.split(), strict=True))
    wrong = [(one, other) for one, other in pairs if one != other]
    assert len(wrong) == 5 and new.startswith("Chief Complaint: ")
    for one, other in wrong:
        assert (one[0], one[-1]) == (other[0], other[-1])
        assert sorted(one) == sorted(other) or len(other) == len(one) - 1
    assert changed(p.Typos(0.1), "no fever at 9 am") is not None
    assert changed(p.Typos(0.1), "a bad day") is None


def test_section_order_keeps_every_word_and_names_change_by_origin():
    text = "Chief Complaint:\nCough\n\nPast Medical History:\nGout.\n\nFamily History:\nNone.\n\nSocial History:\nLives with a brother, Kevin Okafor."
    new = next(found for seed in range(9) if (found := changed(p.section_order, text, seed)))
    assert sorted(new.split()) == sorted(text.split()) and new != text
    seen = {p.origin_of(random.Random(seed)): changed(p.name_swap, text, seed) for seed in range(40)}
    assert set(seen) == set(p.ORIGINS) and len(set(seen.values())) == len(p.ORIGINS)
    assert all("Okafor" not in copy and copy.startswith(text[: text.index("Kevin")]) for copy in seen.values())
    assert changed(p.name_swap, "No name here.") is None


def test_the_control_changes_white_space_only():
    new = changed(p.whitespace, "a b\nc")
    assert new == "a  b \n c"


# ---------------------------------------------------------------- negation


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Cough", "No cough"),
        ("SOB", "No SOB"),
        ("He reports a severe cough, chills and rash.", "He reports no severe cough but chills and rash."),
        ("Positive for cough.", "Negative for cough."),
        ("Positive for cough and rash.", "Positive for no cough but rash."),
        ("LE edema. Denies rash.", "No LE edema. Denies rash."),
        ("Cough\nHe has coughing.", "No cough\nHe has no coughing."),
        ("no cough", None),
        ("Cough: none", None),
        ("Mother had cough.", None),
        ("Past Medical History:\nYears back cough.", None),
        ("Nothing.", None),
    ],
)
def test_a_finding_is_denied(concepts, text, expected):
    flip = deny(text, concepts, KNOWN, random.Random(0))
    assert (flip and flip.text) == expected


@pytest.mark.parametrize(
    ("text", "expected", "found"),
    [
        ("She denies cough.", "She reports cough.", {"cough"}),
        ("Denies cough, rash or fever. No CP.", "Reports cough, rash and fever. No CP.", {"cough", "fever"}),
        ("He has no SOB.", "He has SOB.", {"dyspnea"}),
        ("No emesis.", "Has emesis.", {"vomiting"}),
        ("Cough was not seen.", "Cough was seen.", {"cough"}),
        ("Negative for fever", "Positive for fever", {"fever"}),
        ("He has cough.", None, None),
        ("Mother without cough.", None, None),
    ],
)
def test_a_denied_finding_is_affirmed(concepts, text, expected, found):
    known = ("cough", "dyspnea", "vomiting") if "Denies" in text else KNOWN
    flip = affirm(text, concepts, known, random.Random(0))
    assert (flip and flip.text, flip and set(flip.concepts)) == (expected, found)


def test_no_copy_says_both(concepts):
    """A finding that is denied in one place and there in another cannot be turned in the first alone."""
    assert affirm("Denies cough.\nRelative: no cough.", concepts, ["cough"], random.Random(0)) is None


def test_what_findings_speak_for(concepts):
    """By hand: 20 of 30 notes of a affirm cough and 2 of 30 of b; the log odds ratio with halves is 3.25 at a standard error of 0.79."""
    support = Support(["a", "b"], concepts)
    for number in range(30):
        support.add("Cough. Fever." if number < 20 else "Denies cough. Fever.", ["a"])
        support.add("Cough. Fever." if number < 2 else "No cough. Fever.", ["b"])
    odds = np.log(20.5 * 28.5 / (10.5 * 2.5)) / np.sqrt(1 / 20.5 + 1 / 10.5 + 1 / 2.5 + 1 / 28.5)
    assert odds > 3
    assert support.by_concept() == {"cough": frozenset({0})}
    assert flipped("denied", "Cough. Fever.", concepts, {"cough": {0}}, 2, random.Random(0)) == (
        "No cough. Fever.",
        [0],
    )
    assert flipped("denied", "Cough.", concepts, {"cough": {0, 1}}, 2, random.Random(0)) is None  # speaks for all


# ---------------------------------------------------------------- values


def test_distance_and_flips_by_hand():
    before, after = np.array([[0.6, 0.4], [0.9, 0.1]]), np.array([[0.3, 0.7], [0.8, 0.1]])
    assert total_variation(before, after, True) == pytest.approx([0.3, 0.05])
    assert total_variation(before, after, False) == pytest.approx([0.3, 0.05])
    assert flips(before, after, True).tolist() == [True, False]
    assert flips(before, np.array([[0.6, 0.5], [0.9, 0.1]]), False).tolist() == [True, False]


def test_a_rate_has_the_interval_of_its_beta_posterior_where_each_patient_has_one_note():
    values = np.arange(60) < 6
    found = estimate(values, np.arange(60), samples=20_000, seed=1, rate=True)
    expected = beta(6.5, 54.5).ppf([0.025, 0.975])  # Jeffreys
    assert found["value"] == 0.1
    assert [found["low"], found["high"]] == pytest.approx(expected, abs=0.005)
    none = estimate(np.zeros(60, bool), np.arange(60), samples=4000, seed=1, rate=True)
    assert none["low"] == none["value"] == 0 and 0.03 < none["high"] < 0.05


def test_one_patients_notes_are_no_more_evidence():
    values = np.tile([1.0, 0.0], 10)
    wide = estimate(values, np.tile([0, 1], 10), **SAMPLING)
    narrow = estimate(values, np.arange(20), **SAMPLING)
    assert wide["high"] - wide["low"] > 1.5 * (narrow["high"] - narrow["low"])
    assert patient_numbers(["a", None, "a", None]).tolist() == [0, 1, 0, 2]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.0, 0.05, "robust"), (0.06, 0.2, "moves"), (0.01, 0.1, "cannot_conclude"), (0.05, 0.06, "cannot_conclude")],
)
def test_verdicts_of_invariance(low, high, expected):
    assert invariance({"low": low, "high": high}, 0.05) == expected


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.001, 0.009, "ignored"),
        (-0.01, 0.01, "ignored"),
        (0.001, 0.02, "as_expected"),
        (-0.3, -0.02, "opposite"),
        (-0.02, 0.02, "cannot_conclude"),
    ],
)
def test_verdicts_of_direction(low, high, expected):
    assert direction({"low": low, "high": high}, 0.01) == expected


def test_a_probe_by_hand_and_too_few_patients():
    before, after = np.tile([0.5, 0.3, 0.2], (12, 1)), np.tile([0.2, 0.4, 0.4], (12, 1))
    settings = {"margins": (0.05, 0.01), "sampling": SAMPLING, "min_count": 11}
    found = scored(before, after, np.arange(12), [[0, 1]] * 12, -1, single=True, **settings)
    assert found["move"]["value"] == pytest.approx(0.2)  # from 0.8 to 0.6: down, as expected
    assert (found["verdict"], found["flips"]["value"], found["n_patients"]) == ("as_expected", 1.0, 12)
    assert scored(before, after, np.arange(12), [[0, 1]] * 12, 1, single=True, **settings)["verdict"] == "opposite"
    several = scored(before, after, np.arange(12), [[0, 1]] * 12, -1, single=False, **settings)
    assert several["move"]["value"] == pytest.approx(0.1)
    assert scored(before, before, np.arange(12), [[]] * 12, 0, single=True, **settings)["total_variation"]["high"] == 0
    few = scored(before, after, np.arange(12) // 2, [[]] * 12, 0, single=True, **settings)
    assert few == {"n_patients": "<11", "verdict": "cannot_conclude"}
    assert control(before, before, True) == {"largest_total_variation": 0.0, "verdict": "unmoved"}
    assert control(before, after, True)["verdict"] == "moves"
    assert control(before[:0], after[:0], True)["verdict"] == "cannot_conclude"


def test_small_groups_and_what_gives_them_away_are_not_told():
    sizes = {"big": 30, "mid": 12, "small": 3}
    member = np.repeat(np.eye(3, dtype=bool), list(sizes.values()), axis=0)
    before = np.tile([0.9, 0.1], (45, 1))
    found = by_group(before, before[:, ::-1], np.arange(45), member, list(sizes), single=True, min_count=11)
    assert found["big"] == {"n": 30, "n_patients": 30, "flips": 1.0, "total_variation": 0.8}
    assert found["mid"] == {"n_patients": ">=11", "flips": 1.0, "total_variation": 0.8}
    assert found["small"] == {"n_patients": "<11"}
    assert by_group(before, before, np.arange(45), member[:, :1] & False, ["none"], single=True, min_count=11) == {}


# ---------------------------------------------------------------- out of distribution


def test_energy_and_doubt_equal_torch():
    logits = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32) * 5
    tensor = torch.tensor(logits, dtype=torch.float64)
    assert energy(logits, True) == pytest.approx(-tensor.logsumexp(1).numpy(), abs=1e-10)
    assert energy(logits, False) == pytest.approx(-torch.nn.functional.softplus(tensor).sum(1).numpy(), abs=1e-6)
    assert doubt(logits, True) == pytest.approx(1 - tensor.softmax(1).max(1).values.numpy(), abs=1e-10)
    assert doubt(logits, False) == pytest.approx(1 - tensor.sigmoid().max(1).values.numpy(), abs=1e-10)


def test_mahalanobis_equals_scikit_learns():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(80, 6)) @ rng.normal(size=(6, 6))
    one = np.ones((80, 1), bool)
    shrunk = LedoitWolf().fit(x)
    assert Mahalanobis.fit(x, one).distance(x) == pytest.approx(shrunk.mahalanobis(x), rel=1e-6)

    # Two classes far apart share a covariance; a class of four has no mean, and no part.
    truth = np.zeros((80, 3), bool)
    truth[:40, 0], truth[40:76, 1], truth[76:, 2] = True, True, True
    x[40:76] += 50
    found = Mahalanobis.fit(x, truth)
    means = np.stack([x[:40].mean(0), x[40:76].mean(0)])
    assert found.means == pytest.approx(means)
    shared = LedoitWolf(assume_centered=True).fit(np.concatenate([x[:40] - means[0], x[40:76] - means[1]]))
    gaps = x[:, None] - means
    by_hand = np.array([[gap @ shared.precision_ @ gap for gap in row] for row in gaps]).min(1)
    assert found.distance(x) == pytest.approx(by_hand)
    assert len(Mahalanobis.fit(x, np.ones((80, 2), bool)).means) == 1  # several labels: one mean


def test_auroc_equals_scikit_learns_with_weights_and_ties():
    rng = np.random.default_rng(2)
    inside, outside = rng.normal(size=30).round(1), rng.normal(0.5, size=20).round(1)
    weights = rng.random((30, 4)), rng.random((20, 4))
    found = auroc(inside, outside, *weights)
    truth, score = np.r_[np.zeros(30), np.ones(20)], np.r_[inside, outside]
    expected = [roc_auc_score(truth, score, sample_weight=np.r_[a, b]) for a, b in zip(*(w.T for w in weights), strict=True)]  # fmt: skip
    assert found == pytest.approx(expected, abs=1e-12)


def invented(count, shift, seed) -> Outputs:
    rng = np.random.default_rng(seed)
    embeddings = (rng.normal(size=(count, 4)) + shift).astype(np.float32)
    logits = rng.normal(size=(count, 3)).astype(np.float32)
    return Outputs(logits, logits, embeddings)


def test_strange_embeddings_are_found_and_strange_logits_are_not_invented():
    truth = np.arange(200)[:, None] % 3 == np.arange(3)
    args = invented(200, 0, 0), truth, invented(40, 0, 1)
    outside = {"shuffled_words": invented(40, 0, 2), "other_domain": invented(30, 5, 3)}
    found = judged(*args, outside, np.arange(40), True, SAMPLING)
    assert found["mahalanobis"]["auroc"]["other_domain"]["value"] > 0.99
    assert found["mahalanobis"]["auroc"]["other_domain"]["verdict"] == "separates"
    assert found["mahalanobis"]["auroc"]["shuffled_words"]["verdict"] == "cannot_conclude"
    assert found["energy"]["auroc"]["other_domain"]["verdict"] == "cannot_conclude"
    # The threshold is of rows that the statistics have not seen: fresh notes lie beyond it about as often.
    assert found["mahalanobis"]["beyond_threshold"]["value"] < 0.1
    none = judged(*args, {"shuffled_words": outside["shuffled_words"], "other_domain": invented(0, 0, 0)}, np.arange(40), True, SAMPLING)  # fmt: skip
    assert set(none["energy"]["auroc"]) == {"shuffled_words"}
    few = judged(invented(10, 0, 0), truth[:10], args[2], outside, np.arange(40), True, SAMPLING)
    assert few == {"status": "too few train notes"}
    blind = judged(args[0]._replace(embeddings=None), truth, args[2], outside, np.arange(40), True, SAMPLING)
    assert set(blind) == {"energy", "max_probability"}


# ---------------------------------------------------------------- vignettes


def test_vignettes_are_read_and_answered(tmp_path):
    path = tmp_path / "v.csv"
    path.write_text('text,expected\n"a, b",gout\nc,asthma\nd,\ne,unheard of\n')
    found = read_vignettes(path, ["asthma", "gout"])
    assert found == ([("a, b", "gout"), ("c", "asthma")], ["d"], 1)
    said = answered(found, np.array([[0.2, 0.8], [0.3, 0.7]]), ["asthma", "gout"], True)
    assert said["accuracy"]["value"] == 0.5 and said["missed"] == {"asthma": {"gout": 1}}
    assert said["accuracy"]["low"] == pytest.approx(beta(1, 2).ppf(0.025))  # Clopper and Pearson
    assert (said["n"], said["unknown_class"]) == (2, 1)
    none = answered(found._replace(cases=[]), np.empty((0, 2)), ["asthma", "gout"], True)
    assert none == {"n": 0, "unknown_class": 1, "accuracy": None, "missed": {}}
    several = answered(found, np.array([[0.6, 0.8], [0.3, 0.4]]), ["asthma", "gout"], False)
    assert several["accuracy"]["value"] == 0.5 and several["missed"] == {"asthma": {"(none)": 1}}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"expected;text\na;b\n", "has not the columns expected and text"),
        (b"expected,text\ngout,\n", "vignette 1 has no text"),
        (b"expected,text\ngout,\xff\n", "cannot be read as a CSV in UTF-8"),
        (b"", "has not the columns"),
        (None, "does not exist"),
    ],
    ids=["separator", "empty", "bytes", "nothing", "missing"],
)
def test_bad_vignettes_end_with_one_line(tmp_path, content, says):
    path = tmp_path / "v.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=says):
        read_vignettes(path, ["gout"])


def test_the_default_vignettes_fit_the_embedded_corpus():
    from diagnosis.synthetic.disease_model import CODES

    classes = sorted({code[:3] for code in CODES})
    found = read_vignettes(ROOT / default_params()["probe"]["vignettes"], classes)
    assert not found.unknown and len(found.other) >= 20
    assert {expected for _, expected in found.cases} == set(classes)


# ---------------------------------------------------------------- the model, and the stage


def write_inputs(folder, model, *, notes=60, **options):
    """Shards, a model and what else the stage reads; the notes have sex, age, sections and findings."""
    meta = metadata(
        task="multi_label" if options.get("multi_label") else "single_label", text_pair=options.get("pair", False)
    )
    for seed, name in enumerate(("train", "validation", "test"), start=1):
        made = []
        for number, note in enumerate(rows(notes, seed=seed, **options)):
            said = "Denies fever." if number % 2 else "Fever and rash."
            text = f"Sex: F\nChief Complaint:\n{note['text']}\n\nHistory of Present Illness:\n{20 + number} y/o F. She reports cough and chills. {said}\n\nSocial History:\nLives with a brother, Kevin Okafor."
            made.append(note | {"text": text})
        write_table(folder / f"data/split/{name}.parquet", made, meta)
    write_model(folder, model, **meta)
    (folder / "lists").mkdir(exist_ok=True)
    (folder / "lists/concepts.tsv").write_text("cough\tcoughing\nfever\tpyrexia\nchest pain\tCP\n")
    (folder / "lists/vignettes.csv").write_text("expected,text\nlung,fever cough\ngout,toe\n,car oil\n,rain and sun\n")


@pytest.fixture
def probe(folder, capsys):
    """Run the stage with the sections that it reads; returns (exit code, its one-line error)."""
    from conftest import write_params

    from diagnosis.errors import run
    from stages.probe import main

    def call(changes=None, withhold=False):
        params = default_params()
        section = merged(params["probe"], SMALL | (changes or {}))
        write_params(folder, {"probe": section, "clean": params["clean"], "predict": params["predict"] | {"withhold_test": withhold}})  # fmt: skip
        try:
            run(main)
        except SystemExit as end:
            return (0, "") if end.code is None else (1, end.code)
        return 0, ""

    return call


def metrics() -> dict:
    return json.loads(Path("metrics/probe.json").read_text())


def test_the_stage_the_control_and_the_same_bytes(probe, folder, tiny_model):
    write_inputs(folder, tiny_model)
    assert probe() == (0, "")
    found = metrics()["test"]
    first = Path("metrics/probe.json").read_bytes(), Path("plots/probe.png").read_bytes()
    assert found["probes"]["whitespace"] == {"largest_total_variation": 0.0, "verdict": "unmoved"}
    assert found["probes"]["sex_swap"]["n"] == 12 and found["probes"]["sex_swap"]["looked_at"] == 12
    assert {"typos", "section_order", "name_swap", "age_swap", "denied", "affirmed"} <= set(found["probes"])
    assert (found["vignettes"]["n"], found["vignettes"]["unknown_class"]) == (1, 1)
    assert set(found["out_of_distribution"]) == {"energy", "max_probability", "mahalanobis"}
    assert "Okafor" not in first[0].decode() and not re.search(r"n\d-\d", first[0].decode())
    assert probe() == (0, "")
    assert (Path("metrics/probe.json").read_bytes(), Path("plots/probe.png").read_bytes()) == first


@pytest.mark.parametrize("options", [{"multi_label": True}, {"pair": True}], ids=["multi_label", "pair"])
def test_other_tasks_and_test_withheld(probe, folder, tiny_model, options):
    write_inputs(folder, tiny_model, **options)
    (folder / "data/split/test.parquet").unlink()
    assert probe(withhold=True) == (0, "")
    assert list(metrics()) == ["validation"]
    assert metrics()["validation"]["probes"]["whitespace"]["verdict"] == "unmoved"


def test_notes_of_one_class_and_of_few_patients(probe, folder, tiny_model):
    write_inputs(folder, tiny_model, notes=8)
    assert probe() == (0, "")
    found = metrics()["test"]
    assert found["n"] == "<11" and found["out_of_distribution"] == {"status": "too few patients"}
    small = {"n_patients": "<11", "verdict": "cannot_conclude"}
    assert all(of == small for name, of in found["probes"].items() if name != "whitespace")
    one = [note | {"labels": ["lung"]} for note in rows(30, seed=9)]
    write_table(folder / "data/split/test.parquet", one, metadata())
    assert probe() == (0, "")
    assert set(metrics()["test"]["probes"]["typos"]["by_class"]) == {"lung"}


@pytest.mark.parametrize(
    ("spoil", "changes", "says"),
    [
        (None, {"exempt": {"sex_swap": ["M32"]}}, "probe.exempt names M32, which the model does not know"),
        (None, {"exempt": {"typos": ["lung"]}}, "probe.exempt"),
        (None, {"margin": 0}, "probe.margin is 0"),
        ("classes", {}, "states other classes than"),
        ("empty", {}, "test.parquet has no notes"),
        ("model", {}, "models/finetuned does not exist"),
        ("nan", {}, "gives logits that are no numbers"),
    ],
    ids=["strange_class", "not_a_swap", "margin", "classes", "empty", "model", "nan"],
)
def test_bad_input_ends_with_one_line_and_nothing_written(probe, folder, tiny_model, spoil, changes, says):
    write_inputs(folder, tiny_model, notes=12)
    if spoil == "classes":
        write_table(folder / "data/split/test.parquet", rows(5), metadata(classes=["a", "b"]))
    elif spoil == "empty":
        write_table(folder / "data/split/test.parquet", [], metadata())
    elif spoil == "model":
        (folder / "models/finetuned").rename(folder / "models/gone")
    elif spoil == "nan":
        weights = load_file(folder / "models/finetuned/model.safetensors")
        weights["classifier.bias"][0] = float("nan")
        save_file(weights, folder / "models/finetuned/model.safetensors", metadata={"format": "pt"})
    code, error = probe(changes)
    assert code == 1 and says in error and "\n" not in error.strip()
    assert not Path("metrics/probe.json").exists() and not Path("plots/probe.png").exists()


def test_exempt_notes_are_left_out(folder, tiny_model, concepts):
    notes = list(rows(30, seed=4))
    for note in notes:
        note["text"], note["text_pair"] = f"30 y/o F. {note['text']}", None
    settings = {"seed": 1, "most": 30, "typo_share": 0.1}
    made = all_copies(notes, concepts, {}, CLASSES, exempt={"sex_swap": ["lung"]}, **settings)
    assert len(made["sex_swap"].rows) == 20 and len(made["age_swap"].rows) == 30
    assert not any("lung" in notes[row]["labels"] for row in made["sex_swap"].rows)
    assert made["denied"] == ([], [], [], 30)


def test_notes_are_chosen_by_hash_whatever_their_order(folder):
    made = list(rows(50, seed=2))
    write_table(folder / "one.parquet", made, metadata())
    write_table(folder / "other.parquet", made[::-1], metadata())
    one, other = (first_notes(folder / name, 20, 5) for name in ("one.parquet", "other.parquet"))
    assert one == other and len(one) == 20 and one != first_notes(folder / "one.parquet", 20, 6)
    found = copies(one, lambda note: ("x", []) if "pain" in note["text"] else None, 3)
    assert found.looked_at == found.rows[-1] + 1 and len(found.rows) == 3
    assert randomness(1, "typos", one[0]).random() == randomness(1, "typos", one[0]).random()


def test_embeddings_are_what_the_last_layer_reads_and_equal_texts_are_equal(folder, tiny_model):
    write_inputs(folder, tiny_model, notes=12)
    model, tokenizer, card = load_finetuned(folder / "models/finetuned", torch.device("cpu"))

    class Bar:
        def reset(self, total):
            self.total = total

        def update(self, notes):
            pass

    texts, bar = ["fever cough", "chest  pain", "chest pain", "a" * 40, "fever cough"], Bar()
    found = outputs(model, tokenizer, card, texts, [None] * 5, batch_size=2, bar=bar)
    assert bar.total == 3
    assert (found.logits[1] == found.logits[2]).all() and (found.logits[0] == found.logits[4]).all()
    with torch.no_grad():
        by_layer = model.classifier(torch.tensor(found.embeddings)).numpy()
    assert by_layer == pytest.approx(found.logits, abs=1e-4)
    assert found.part([0]).embeddings.shape == (1, 32)
