"""The stage explain: each method against values by hand and the libraries that have it, and what is said of how far to trust it."""

import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from captum.attr import IntegratedGradients
from conftest import ROOT, default_params, merged, run_in, write_params
from test_predict import write_model
from toy import CLASSES, WORDS, metadata, other_family, rows, write_table
from transformers import set_seed

from diagnosis.errors import UserError
from diagnosis.explain import concepts as global_
from diagnosis.explain.attention import attention, entropy, rollout
from diagnosis.explain.choice import by_hash, classes_of, worst
from diagnosis.explain.classifier import Classifier, log_odds, probability
from diagnosis.explain.gradients import integrated_gradients
from diagnosis.explain.methods import generator
from diagnosis.explain.perturb import KERNEL_WIDTH, lime, local_ridge, neighbourhood, occlusion, owen_values, shap
from diagnosis.explain.planted import planted
from diagnosis.explain.trust import (
    SHARES,
    agreement,
    beside_random,
    faithfulness,
    first_words,
    mean_with_interval,
    plausibility,
)
from diagnosis.phi.spans import Span
from diagnosis.text.concepts import Concepts
from diagnosis.training.inference import CARD, load_finetuned, note_logits, to_probabilities
from diagnosis.training.model import load_base, save_model
from diagnosis.training.windows import LongNotes, tokenise_notes

TEXT = "patient reports chest pain and fever, denies cough with no exam of the mother"
PAIR = "history of pain chest the patient"


def classifier(folder: Path, base: Path, **card) -> Classifier:
    """The classifier of a tiny random model; what the card says besides."""
    write_model(folder, base, **{key: card.pop(key) for key in ("task", "text_pair") if key in card})
    stated = json.loads((folder / "models/finetuned" / CARD).read_text()) | card
    (folder / "models/finetuned" / CARD).write_text(json.dumps(stated))
    return Classifier(*load_finetuned(folder / "models/finetuned", torch.device("cpu")), batch_size=4)


@pytest.fixture
def tiny(folder, tiny_model):
    return lambda **card: classifier(folder, tiny_model, **card)


# ---------------------------------------------------------------- words and log odds


@pytest.mark.parametrize("pair", [None, PAIR], ids=["one text", "pair"])
@pytest.mark.parametrize("mode", ["head", "head_tail", "windows"])
def test_the_tokens_are_those_that_predict_reads(tiny, mode, pair):
    model = tiny(text_pair=pair is not None, long_notes=mode, max_tokens=20)
    for text in (TEXT, " ".join([TEXT] * 3)):
        note = model.read("n", text, pair)
        expected = tokenise_notes(model.tokenizer, [text], pair and [pair], 20, mode)
        assert np.concatenate([window.ids for window in note.windows]).tolist() == expected.ids[0].tolist()
        if expected.windows:
            assert [len(window.ids) for window in note.windows] == expected.windows[0]
        assert {n for window in note.windows for n in window.words} == {-1, *range(len(note.spans))}
        assert len(note.spans) + note.unread == len(text.split()) + len((pair or "").split())


def test_a_token_is_of_the_word_that_it_is_a_piece_of(tiny):
    note = tiny().read("n", "chest pain,\nab exam")
    (window,) = note.windows
    # [CLS] chest pain , a ##b exam [SEP]: the comma goes with its word
    assert window.words.tolist() == [-1, 0, 1, 1, 2, 2, 3, -1]
    assert note.spans == [(0, 0, 5), (0, 6, 11), (0, 12, 14), (0, 15, 19)]


def test_log_odds_by_hand_and_far_out():
    found = log_odds(np.log([[0.7, 0.2, 0.1]]), single=True)
    assert np.allclose(found, np.log([[0.7 / 0.3, 0.2 / 0.8, 0.1 / 0.9]]))
    assert np.allclose(probability(found), [[0.7, 0.2, 0.1]])
    assert np.allclose(log_odds(np.array([[60.0, 0, 0]]), single=True), [[60 - np.log(2), -60, -60]])
    assert log_odds(np.array([[2.0, -1.0]]), single=False).tolist() == [[2.0, -1.0]]


@pytest.mark.parametrize("task", ["single_label", "multi_label"])
def test_the_whole_note_has_the_probabilities_of_predict(tiny, task):
    model = tiny(task=task, long_notes="windows", max_tokens=12, pooling="max")
    note = model.read("n", TEXT)
    assert len(note.windows) > 1
    options = {"max_tokens": 12, "batch_size": 3, "long_notes": LongNotes("windows", "max")}
    logits = note_logits(model.model, model.tokenizer, [TEXT], None, **options)
    (odds,) = model.log_odds([note], [np.ones((1, len(note.spans)), bool)])
    assert np.allclose(probability(odds), to_probabilities(logits, task), atol=1e-6)


def test_words_left_out_are_left_out(tiny):
    """Of a note of one window it is as if they had never been written; each window runs once for all rows that share it."""
    model = tiny(max_tokens=64)
    note, words = model.read("n", TEXT), TEXT.split()
    kept = np.random.default_rng(0).random((9, len(words))) < 0.5
    kept[5] = kept[2]
    (odds,) = model.log_odds([note], [kept])
    shorter = [" ".join(word for word, own in zip(words, row, strict=True) if own) for row in kept]
    logits = note_logits(model.model, model.tokenizer, shorter, None, max_tokens=64, batch_size=2)
    assert np.allclose(odds, log_odds(logits.astype(float), True), atol=1e-4)
    assert model.windows_run == 8
    model.log_odds([note], [kept])
    assert model.windows_run == 8


def test_of_a_long_note_only_windows_with_a_word_left_out_run_again(tiny):
    model = tiny(long_notes="windows", max_tokens=12)
    note = model.read("n", " ".join([TEXT] * 3))
    whole = np.ones((1, len(note.spans)), bool)
    model.log_odds([note], [whole])
    before, without = model.windows_run, whole.copy()
    assert before == len(note.windows) > 4
    without[0, 0] = False
    model.log_odds([note], [without])
    assert model.windows_run == before + 1


def test_the_prior_correction_is_that_of_predict(tiny):
    plain = tiny()
    note = plain.read("n", TEXT)
    rows = [np.ones((1, len(note.spans)), bool)]
    moved = Classifier(
        plain.model, plain.tokenizer, plain.card | {"train_prior": [0.5, 0.3, 0.2], "balanced_prior": [1 / 3] * 3}, 4
    )
    chance = probability(plain.log_odds([note], rows)[0]) * [0.5, 0.3, 0.2]
    assert np.allclose(probability(moved.log_odds([note], rows)[0]), chance / chance.sum(), atol=1e-6)


# ---------------------------------------------------------------- integrated gradients


def by_captum(model: Classifier, text: str, label: int, steps: int) -> np.ndarray:
    """captum on vectors that are handed in, for a note that fits: another way to the same."""
    note = model.read("n", text)
    (window,) = note.windows
    ids = torch.tensor(window.ids.astype(int))[None]
    blank = ids.clone()
    blank[0, window.words >= 0] = model.tokenizer.mask_token_id
    layer = model.model.base_model.get_input_embeddings()

    def odds(vectors):
        logits = model.model(inputs_embeds=vectors).logits
        others = [n for n in range(len(CLASSES)) if n != label]
        return logits[:, label] - logits[:, others].logsumexp(dim=1)

    found = IntegratedGradients(odds).attribute(layer(ids), layer(blank), n_steps=steps).sum(dim=-1)[0].numpy()
    return np.array([found[window.words == word].sum() for word in range(len(note.spans))])


def test_integrated_gradients_equal_captum(tiny):
    model = tiny(max_tokens=64)
    texts = [TEXT, "chest pain", "fever and cough of the father", TEXT + " " + PAIR]
    notes = [model.read(str(number), text) for number, text in enumerate(texts)]
    found, _ = integrated_gradients(model, notes, [[0, 2], [1], [2], [1, 0]], steps=6)
    for text, own, labels in zip(texts, found, [[0, 2], [1], [2], [1, 0]], strict=True):
        for scores, label in zip(own, labels, strict=True):
            assert np.allclose(scores, by_captum(model, text, label, 6), atol=1e-4)


@pytest.mark.parametrize(
    "task, pair, pooling",
    [("single_label", None, "mean"), ("multi_label", PAIR, "mean"), ("single_label", PAIR, "max")],
    ids=["single", "multi-label pair", "pair, max"],
)
def test_integrated_gradients_are_complete_over_all_windows(tiny, task, pair, pooling):
    """They add up to what the log odds change by from a note of masks to the note, whatever its windows."""
    model = tiny(task=task, text_pair=pair is not None, long_notes="windows", pooling=pooling, max_tokens=24)
    note = model.read("n", " ".join([TEXT] * 2), pair)
    assert len(note.windows) > 1
    (scores,), (changes,) = integrated_gradients(model, [note], [[0, 1]], steps=60)
    assert np.abs(changes).min() > 1e-3
    assert np.allclose(scores.sum(axis=1), changes, atol=(0.1 if pooling == "max" else 0.02) * np.abs(changes).max())


@pytest.mark.parametrize("family", ["roberta", "distilbert", "modernbert", "llama"])
def test_other_families(folder, tiny_model, tmp_path_factory, family):
    """Each method on each backbone: integrated gradients are complete, attention is of words and no more than all."""
    base = other_family(family, tiny_model, tmp_path_factory.mktemp("family") / family)
    set_seed(3)
    model, tokenizer = load_base(base, CLASSES, "single_label", 0.0)
    for parameter in model.parameters():
        parameter.data *= 3
    save_model(model, tokenizer, folder / "models/finetuned", max_tokens=32)
    card = {"classes": CLASSES, "task": "single_label", "text_pair": False, "max_tokens": 32, "train_prior": None}
    (folder / "models/finetuned" / CARD).write_text(json.dumps(card | {"balanced_prior": None}))
    loaded = Classifier(*load_finetuned(folder / "models/finetuned", torch.device("cpu")), batch_size=8)
    note = loaded.read("n", TEXT)
    (scores,), (changes,) = integrated_gradients(loaded, [note], [[1]], steps=60)
    assert np.isclose(scores.sum(), changes[0], atol=0.02 * abs(changes[0]) + 1e-4)
    ((by_head, rolled),) = attention(loaded, [note])
    assert by_head.shape == (2, 2, len(note.spans)) and rolled.shape == (len(note.spans),)
    assert (by_head.sum(axis=-1) <= 1 + 1e-5).all() and rolled.sum() <= 1 + 1e-5
    (values,) = shap(loaded, [note], [[0, 1, 2]], samples=20)
    (ends,) = loaded.log_odds([note], [np.array([[True], [False]]).repeat(len(note.spans), axis=1)])
    assert np.allclose(values.sum(axis=1), ends[0] - ends[1])


# ---------------------------------------------------------------- attention


def test_rollout_by_hand():
    first = torch.tensor([[[0.5, 0.5], [0.2, 0.8]], [[0.7, 0.3], [0.4, 0.6]]])  # two heads, means .6 .4 / .3 .7
    second = torch.tensor([[[1.0, 0.0], [0.5, 0.5]], [[0.0, 1.0], [0.5, 0.5]]])  # means .5 .5 / .5 .5
    # With half of each token itself: [[.8, .2], [.15, .85]], then [[.75, .25], [.25, .75]] times it.
    expected = [
        [0.75 * 0.8 + 0.25 * 0.15, 0.75 * 0.2 + 0.25 * 0.85],
        [0.25 * 0.8 + 0.75 * 0.15, 0.25 * 0.2 + 0.75 * 0.85],
    ]
    assert np.allclose(rollout(torch.stack([first, second])).numpy(), expected)


def test_attention_is_what_the_eager_model_gives_and_the_model_stays_as_it_was(tiny):
    model = tiny(max_tokens=64)
    note = model.read("n", "chest pain,\nab exam")
    usual = model.model.config._attn_implementation
    ((by_head, _),) = attention(model, [note])
    assert model.model.config._attn_implementation == usual != "eager"
    model.model.set_attn_implementation("eager")
    ids = torch.tensor(note.windows[0].ids.astype(int))[None]
    with torch.no_grad():
        layers = model.model(input_ids=ids, output_attentions=True).attentions
    first = torch.stack(layers)[:, 0, :, 0].numpy()  # of the first token
    expected = np.stack([first[..., 1], first[..., 2:4].sum(-1), first[..., 4:6].sum(-1), first[..., 6]], axis=-1)
    assert np.allclose(by_head, expected, atol=1e-6)


def test_entropy_by_hand():
    assert np.allclose(entropy(np.array([[0.25] * 4, [1.0, 0, 0, 0]])), [1, 0], atol=1e-6)


# ---------------------------------------------------------------- occlusion, LIME, SHAP


def test_occlusion_by_hand(tiny):
    model = tiny(max_tokens=64)
    texts = [TEXT, "chest pain fever"]
    found = occlusion(model, [model.read(str(n), text) for n, text in enumerate(texts)])
    for text, scores in zip(texts, found, strict=True):
        words = text.split()
        shorter = [text, *(" ".join(words[:n] + words[n + 1 :]) for n in range(len(words)))]
        logits = note_logits(model.model, model.tokenizer, shorter, None, max_tokens=64, batch_size=4)
        odds = log_odds(logits.astype(float), True)
        assert np.allclose(scores, (odds[0] - odds[1:]).T, atol=1e-4)


def test_lime_is_a_weighted_ridge_regression():
    rng = np.random.default_rng(1)
    kept = neighbourhood(7, 60, rng)
    odds = kept @ rng.normal(size=(7, 2)) + rng.normal(size=(60, 2))
    distance = 100 * (1 - np.sqrt(kept.sum(axis=1) / 7))
    weight = np.diag(np.sqrt(np.exp(-(distance**2) / KERNEL_WIDTH**2)))
    x = np.hstack([kept, np.ones((60, 1))])
    penalty = np.diag([1.0] * 7 + [0.0])
    expected = np.linalg.solve(x.T @ weight @ x + penalty, x.T @ weight @ odds)[:7].T
    assert np.allclose(local_ridge(kept, odds), expected)


def test_lime_equals_lime():
    base = pytest.importorskip("lime.lime_base", reason="lime is not installed (requirements-explain.txt)")
    from sklearn.metrics import pairwise_distances

    rng = np.random.default_rng(2)
    kept = neighbourhood(9, 80, rng)
    odds = kept @ rng.normal(size=(9, 3)) + rng.normal(size=(80, 3))
    data = kept.astype(float)
    distances = pairwise_distances(data, data[:1], metric="cosine").ravel() * 100
    library = base.LimeBase(lambda d: np.sqrt(np.exp(-(d**2) / KERNEL_WIDTH**2)), random_state=0)
    for label in range(3):
        _, weights, _, _ = library.explain_instance_with_data(data, odds, distances, label, 9, feature_selection="none")
        assert np.allclose([weight for _, weight in sorted(weights)], local_ridge(kept, odds)[label])


def test_lime_draws_from_the_seed_and_the_note(tiny):
    model = tiny(max_tokens=64)
    notes = [model.read("a", TEXT), model.read("b", TEXT)]
    both = lime(model, notes, 30, lambda name: generator(7, name))
    (alone,) = lime(model, notes[1:], 30, lambda name: generator(7, name))
    assert np.array_equal(both[1], alone) and not np.allclose(both[0], both[1])


def play(game, words: int, samples: int) -> np.ndarray:
    player = owen_values(words, samples)
    try:
        masks = next(player)
        while True:
            masks = player.send(game(masks))
    except StopIteration as end:
        return end.value


def random_game(words: int, outputs: int = 2):
    table = np.random.default_rng(words).normal(size=(2**words, outputs))
    return lambda masks: table[np.asarray(masks, int) @ 2 ** np.arange(words)]


def test_owen_values_are_means_over_the_orders_that_keep_groups_together():
    """Of four words in halves eight orders do."""
    game, orders = random_game(4), []
    for pairs in itertools.permutations([(0, 1), (2, 3)]):
        for inner in itertools.product(*(itertools.permutations(pair) for pair in pairs)):
            orders.append([word for pair in inner for word in pair])
    assert len(orders) == 8
    expected = np.zeros((4, 2))
    for order in orders:
        for place, word in enumerate(order):
            before, after = np.zeros((1, 4), bool), np.zeros((1, 4), bool)
            before[0, order[:place]] = after[0, order[: place + 1]] = True
            expected[word] += (game(after) - game(before))[0] / len(orders)
    assert np.allclose(play(game, 4, 1000), expected)


def test_where_words_only_add_up_they_are_shapley_values():
    weights = np.array([[1.0], [-2.0], [0.5], [3.0], [0.0]])
    assert np.allclose(play(lambda masks: np.asarray(masks, float) @ weights, 5, 1000), weights)


@pytest.mark.parametrize("samples", [2, 3, 12, 24, 1000])
def test_owen_values_equal_shap(samples):
    library = pytest.importorskip("shap", reason="shap is not installed (requirements-explain.txt)")
    words, game = 7, random_game(7)
    groups, links = {}, []

    def link(start: int, end: int) -> int:
        if end - start == 1:
            return start
        middle = (start + end + 1) // 2
        left, right = link(start, middle), link(middle, end)
        groups[words + len(links)] = (start, end)
        links.append([left, right, end - start, end - start])
        return words + len(links) - 1

    link(0, words)
    masker = library.maskers.Partition(np.zeros((1, words)), clustering=np.array(links, dtype=float))
    explainer = library.explainers.Partition(lambda rows: game(rows > 0.5), masker)
    expected = explainer(np.ones((1, words)), max_evals=samples, silent=True).values[0]
    assert np.allclose(play(game, words, samples), expected)


def test_shap_of_notes_together_is_that_of_each_alone(tiny):
    model = tiny(max_tokens=64)
    notes = [model.read(str(n), text) for n, text in enumerate((TEXT, "chest pain", PAIR))]
    together = shap(model, notes, [[0, 1], [2], [0, 1, 2]], 30)
    model.forget()
    for note, labels, scores in zip(notes, [[0, 1], [2], [0, 1, 2]], together, strict=True):
        (alone,) = shap(model, [note], [labels], 30)
        assert scores.shape == (len(labels), len(note.spans)) and np.allclose(alone, scores, atol=1e-4)


# ---------------------------------------------------------------- how far to trust them


def test_first_words_by_hand():
    scores = np.array([0.1, 0.9, 0.9, -1.0, 0.2])
    assert first_words(scores, 0.01).tolist() == [False, True, False, False, False]
    assert first_words(scores, 0.4).tolist() == [False, True, True, False, False]


def test_faithfulness_by_hand(tiny):
    model = tiny(max_tokens=64)
    note = model.read("n", TEXT)
    scores = [np.arange(len(note.spans), dtype=float), -np.arange(len(note.spans), dtype=float)]
    (found,) = faithfulness(model, [note], [1], [scores])
    words = TEXT.split()

    def chance(kept):
        logits = note_logits(model.model, model.tokenizer, [" ".join(kept)], None, max_tokens=64, batch_size=1)
        return to_probabilities(logits, "single_label")[0, 1]

    for row, own in enumerate(scores):
        order, falls = np.argsort(-own), []
        for share in SHARES:
            top = set(order[: max(1, round(share * len(words)))])
            without = chance([word for n, word in enumerate(words) if n not in top])
            alone = chance([word for n, word in enumerate(words) if n in top])
            falls.append((chance(words) - without, chance(words) - alone))
        assert np.allclose(found[row], np.mean(falls, axis=0), atol=1e-5)


def test_agreement_by_hand():
    one = np.arange(20.0)
    assert agreement(one, one**3) == (pytest.approx(1), 1.0)
    assert agreement(one, -one) == (pytest.approx(-1), 0.0)
    correlation, overlap = agreement(one, np.zeros(20))
    assert np.isnan(correlation) and overlap == 0


def test_plausibility_by_hand():
    """Planted at the first and third place of the order: (1/1 + 2/3) / 2."""
    assert plausibility(np.array([4.0, 3, 2, 1]), np.array([True, False, True, False])) == pytest.approx(5 / 6)
    assert np.isnan(plausibility(np.array([1.0, 2]), np.array([False, False])))


@pytest.mark.parametrize(
    "over, high_is_good, verdict",
    [
        (0.3, True, "better than random"),
        (0.0, True, "no better than random"),
        (-0.3, True, "worse than random"),
        (-0.3, False, "better than random"),
        (0.3, False, "worse than random"),
    ],
)
def test_verdicts(over, high_is_good, verdict):
    rng = np.random.default_rng(0)
    chance = rng.normal(size=40)
    values = chance + over + 0.1 * rng.normal(size=40)
    found = beside_random(values, chance, np.arange(40), 200, 7, high_is_good)
    assert found["verdict"] == verdict
    assert found["over_random"]["value"] == pytest.approx(np.mean(values - chance))
    assert found["over_random"]["low"] < found["over_random"]["value"] < found["over_random"]["high"]


def test_of_one_patient_nothing_follows():
    found = beside_random(np.ones(3), np.zeros(3), np.zeros(3, int), 200, 7, True)
    assert found["verdict"] == "cannot_conclude"
    none = mean_with_interval(np.array([np.nan, np.nan]), np.arange(2), 50, 0)
    assert none == {"value": None, "low": None, "high": None, "notes": 0}


def test_planted_words_by_hand(tiny):
    """Spans are of the text before cleaning, which cut a section in front and wrote a number anew."""
    source = "Name: Ann\n\nReports chest pain, temp 99F and no cough."
    text = "Reports chest pain, temp 37.2 C and no cough."
    spans = [Span(19, 29, "present"), Span(31, 39, "present"), Span(47, 52, "negated")]
    assert [source[span.start : span.end] for span in spans] == ["chest pain", "temp 99F", "cough"]
    note = tiny(max_tokens=128).read("n", text)
    found = planted(note, text, source, spans, "present")
    assert [word for word, own in zip(text.split(), found, strict=True) if own] == ["chest", "pain,", "temp"]


# ---------------------------------------------------------------- which notes


def test_notes_are_chosen_by_hash_and_the_worst_by_loss():
    from scored import random_shard

    shard = random_shard(50)
    order = by_hash(shard, 7)
    assert sorted(order) == list(range(50)) and order != list(range(50)) and by_hash(shard, 8) != order
    losses = -np.log(shard.probabilities[shard.truth])
    assert worst(shard, 3) == np.argsort(-losses)[:3].tolist()
    wrong = worst(shard, 1)[0]
    assert classes_of(shard, wrong) == [shard.probabilities[wrong].argmax(), shard.truth[wrong].argmax()]
    several = random_shard(50, single=False)
    assert set(classes_of(several, 0)) >= set(np.flatnonzero(several.truth[0]))


# ---------------------------------------------------------------- over all notes


def test_findings_by_hand():
    text = "He reports belly pain. Denies dyspnea.\n\nPast Medical History:\nAsthma.\n\nFamily History:\nMother had anemia."
    assert global_.findings(Concepts(ROOT / "lists/concepts.tsv"), text) == {
        "abdominal pain (present)",
        "dyspnea (negated)",
        "asthma (historical)",
        "anemia (family)",
    }


def test_rare_findings_are_left_out_by_patients():
    found, patients = [{"a"}, {"a"}, {"a", "b"}, {"b"}], np.array([0, 0, 1, 2])
    assert global_.common_findings(found, patients, 2) == ["a", "b"]
    assert global_.common_findings(found, patients, 3) == []


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("single", [True, False], ids=["single", "multi"])
def test_the_bottleneck_is_the_regression_in_a_file_that_can_be_edited(tmp_path, classes, single):
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    inputs, names = rng.integers(0, 2, (90, 4)).astype(float), ["a", "b", "c", "d"]
    label = (inputs[:, 0] + 2 * inputs[:, 1] + rng.random(90)).astype(int) % classes
    truth = label[:, None] == np.arange(classes)
    labels = [f"K{n}" for n in range(classes)]
    fitted = global_.fit_bottleneck(inputs, truth, names, labels, single, C=1.0, max_iter=1000)
    path = tmp_path / "edited.json"
    path.write_text(json.dumps(fitted))
    found = [{name for name, own in zip(names, row, strict=True) if own} for row in inputs]
    said = global_.apply_bottleneck(global_.read_bottleneck(path, labels), found)
    if single:
        expected = LogisticRegression(C=1.0, max_iter=1000).fit(inputs, label).predict_proba(inputs)
    else:
        models = [LogisticRegression(C=1.0, max_iter=1000).fit(inputs, own) for own in truth.T]
        expected = np.stack([model.predict_proba(inputs)[:, 1] for model in models], axis=1)
    assert np.allclose(said, expected, atol=1e-3)
    fitted["findings"] = {"a": {"K0": 30.0}}
    path.write_text(json.dumps(fitted))
    edited = global_.apply_bottleneck(global_.read_bottleneck(path, labels), [{"a"}, set()])
    assert edited[0, 0] > 0.999 > edited[1, 0]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"classes": ["other"]}, "no concept bottleneck of these classes"),
        ({"findings": {"a": {"K9": 1.0}}}, "is not a number by class"),
        ({"findings": {"a": {"K0": "high"}}}, "a value that is no number"),
        ({"findings": {"a": {"K0": float("nan")}}}, "a value that is no number"),
        ({"intercept": {"K0": 0.0}}, "intercept lacks class K1"),
    ],
    ids=["classes", "class", "text", "nan", "intercept"],
)
def test_a_broken_edit_is_one_line(tmp_path, change, message):
    whole = {"classes": ["K0", "K1"], "task": "single_label", "intercept": {"K0": 0.0, "K1": 0.0}, "findings": {}}
    path = tmp_path / "edited.json"
    path.write_text(json.dumps(whole | change))
    with pytest.raises(UserError, match=message):
        global_.read_bottleneck(path, ["K0", "K1"])


@pytest.mark.parametrize("single", [True, False], ids=["single", "multi"])
def test_rules_that_can_be_followed_are_found(single):
    rng = np.random.default_rng(0)
    inputs = rng.integers(0, 2, (200, 3)).astype(float)
    decided = (inputs[:, 1].astype(int))[:, None] == np.arange(2)
    options = {"max_depth": 3, "min_samples_leaf": 5, "random_state": 0}
    decide, text = global_.fit_rules(inputs, decided, ["x", "y", "z"], ["no", "yes"], single, **options)
    assert (decide(inputs) == decided).all()
    assert "y <= 0.50" in text and "x" not in text.replace("max", "")


def test_branches_that_decide_the_same_are_merged():
    inputs = np.array([[0], [1]] * 30, dtype=float)
    decided = np.zeros((60, 2), bool)
    decided[:, 0] = True
    decided[1:16:2] = [False, True]  # a quarter: both leaves still decide the first class
    decide, text = global_.fit_rules(inputs, decided, ["x"], ["no", "yes"], True, max_depth=2, min_samples_leaf=5)
    assert text.strip() == "|--- class: no" and not decide(inputs)[:, 1].any()


def test_top_terms_by_hand():
    notes = [
        ("A", 1, ["Chest", "pain,", "12"], [1.0, 2.0, 9.0]),
        ("A", 2, ["chest", "pain", "pain"], [0.0, 1.0, 4.0]),
        ("A", 2, ["rare"], [9.0]),
        ("B", 3, ["chest"], [5.0]),
    ]
    assert global_.top_terms(notes, 2) == {
        "A": [{"term": "pain", "attribution": 3.0}, {"term": "chest", "attribution": 0.5}],
        "B": [],
    }


# ---------------------------------------------------------------- the stage

FAST = {"notes": 6, "worst": 2, "steps": 4, "samples": 12, "term_notes": 8, "bootstrap_samples": 50, "threads": 1}
FAST |= {"methods": ["integrated_gradients", "occlusion", "shap", "lime", "attention", "attention_rollout"]}
METRICS, TABLE = Path("metrics/explain.json"), Path("data/explanations.parquet")
OUTS = [METRICS, TABLE, Path("data/explanations.json"), Path("models/concept_bottleneck.json")]
OUTS += [Path("plots/explain/methods.png"), Path("plots/explain/attention.png")]


@pytest.fixture
def explained(stage, folder, tiny_model):
    """Run the stage on toy notes and a tiny model: `explained(changes, multi_label=..., pair=..., card=...)`."""

    def call(changes=None, *, multi_label=False, pair=False, card=None, withhold=False, annotated=True):
        task = "multi_label" if multi_label else "single_label"
        meta = metadata(task=task, text_pair=pair)
        spans, everything = [], []
        for seed, name in enumerate(("train", "validation", "calibration", "test"), start=1):
            notes = list(rows(40 if name == "train" else 24, seed=seed, multi_label=multi_label, pair=pair))
            write_table(folder / f"data/split/{name}.parquet", notes, meta)
            everything += notes
        for note in everything if annotated else []:
            for word in {word for label in note["labels"] for word in " ".join(WORDS[label]).split()}:
                start = note["text"].find(word)
                if start >= 0:
                    span = {"note_id": note["note_id"], "start": start, "end": start + len(word)}
                    spans.append(span | {"kind": "present", "origin": None})
        write_table(folder / "data/deidentified.parquet", everything, meta)
        columns = {
            "note_id": pa.string(),
            "start": pa.int32(),
            "end": pa.int32(),
            "kind": pa.string(),
            "origin": pa.string(),
        }
        pq.write_table(pa.Table.from_pylist(spans, schema=pa.schema(columns)), "data/deidentified_annotations.parquet")
        shutil.copytree(ROOT / "lists", folder / "lists", dirs_exist_ok=True)
        classifier(folder, tiny_model, task=task, text_pair=pair, **(card or {}))
        assert stage("predict", {"threads": 1, "withhold_test": withhold}) == (0, "")
        return rerun(changes)

    def rerun(changes=None):
        from diagnosis.errors import run
        from stages.explain import main

        write_params(
            folder,
            {"explain": merged(default_params()["explain"], FAST | (changes or {}))}
            | {"clean": default_params()["clean"]},
        )
        try:
            run(main)
        except SystemExit as end:
            return 1, end.code
        return 0, ""

    call.rerun = rerun
    return call


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"multi_label": True, "pair": True, "annotated": False},
        {"card": {"long_notes": "windows", "max_tokens": 8}, "withhold": True},
    ],
    ids=["single", "multi-label pairs", "windows, test withheld"],
)
def test_the_stage(explained, options):
    assert explained(**options) == (0, "")
    metrics, table = json.loads(METRICS.read_text()), pq.read_table(TABLE).to_pylist()
    shard = "validation" if options.get("withhold") else "test"
    assert metrics["shard"] == shard and metrics["notes"] == 6 and set(metrics["methods"]) == set(FAST["methods"])
    for name, own in metrics["methods"].items():
        assert own["diagnostic"] == name.startswith("attention")
        assert ("plausibility" in own) == options.get("annotated", True) and own["comprehensiveness"][
            "value"
        ] is not None
    assert metrics["methods"]["shap"]["left_over"] < 1e-3
    assert metrics["methods"]["lime"]["stability"]["spearman"]["value"] <= 1
    assert len(metrics["agreement"]) == 15 and not metrics["not_available"]
    notes = {note["note_id"]: note for note in pq.read_table(f"data/split/{shard}.parquet").to_pylist()}
    for chosen, count in {"hash": 6, "worst": 2}.items():
        assert len({row["note_id"] for row in table if row["chosen"] in (chosen, "both")}) == count
    for row in table:
        texts = [notes[row["note_id"]]["text"], notes[row["note_id"]]["text_pair"]]
        cut = [texts[t][s:e] for t, s, e in zip(row["texts"], row["starts"], row["ends"], strict=True)]
        assert row["words"] == cut and len(row["scores"]) == len(cut) and np.isfinite(row["scores"]).all()
        assert (row["class"] is None) == row["method"].startswith("attention")
    assert METRICS.read_text().count("pain") == METRICS.read_text().count("cough") == 0


def test_the_same_bytes_twice(explained):
    assert explained() == (0, "")
    before = [path.read_bytes() for path in OUTS]
    assert explained.rerun() == (0, "")
    assert [path.read_bytes() for path in OUTS] == before


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"methods": ["shap", "shap"]}, "explain.methods names shap twice"),
        ({"methods": []}, "explain.methods"),
        ({"annotation": "feared"}, "explain.annotation is 'feared', which no annotation is: they are present"),
        ({"samples": 1}, "explain.samples"),
    ],
    ids=["twice", "none", "annotation", "samples"],
)
def test_wrong_params_are_one_line(explained, changes, message):
    code, line = explained(changes)
    assert code == 1 and message in line and "\n" not in line and not METRICS.exists()


def test_predictions_of_another_model_are_refused(explained, folder, tiny_model):
    assert explained({"methods": ["shap"]}) == (0, "")
    METRICS.unlink()
    classifier(folder, tiny_model, train_prior=[0.9, 0.05, 0.05], balanced_prior=[1 / 3] * 3)
    code, line = explained.rerun({"methods": ["shap"]})
    assert code == 1 and "was not made by this model of these notes: run `dvc repro`" in line and not METRICS.exists()


def test_a_model_without_attention_says_so(explained, folder):
    """A learned prefix has an attention of its own: the other methods go on."""
    assert explained({"methods": ["attention", "occlusion"]}, card={"head": "standard"}) == (0, "")
    from unittest.mock import patch

    from diagnosis.training.adapters import PREFIXED

    with patch("diagnosis.explain.attention.PREFIXED", "sdpa"):
        assert PREFIXED != "sdpa" and explained.rerun({"methods": ["attention", "occlusion"]}) == (0, "")
    metrics = json.loads(METRICS.read_text())
    assert list(metrics["methods"]) == ["occlusion"] and "keeps no weights" in metrics["not_available"]["attention"]
    assert metrics["attention"] is None


def test_the_tool_scores_an_edit(explained, folder):
    assert explained({"methods": ["occlusion"]}) == (0, "")
    edited = json.loads(Path("models/concept_bottleneck.json").read_text())
    edited["intercept"]["neuro"] = 50.0
    Path("data/edited.json").write_text(json.dumps(edited))
    shown = run_in(folder, "python", "-m", "tools.bottleneck", "data/edited.json", env={"PYTHONPATH": str(ROOT)}).stdout
    truth = pq.read_table("data/split/validation.parquet")["labels"].to_pylist()
    assert f"edited  accuracy {np.mean([own == ['neuro'] for own in truth]):.4f}" in shown and "24 notes" in shown
