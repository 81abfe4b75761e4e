"""Weights, samplers, logit adjustment and SMOTE against hand values, imbalanced-learn and Bayes' rule on a toy whose posterior is known."""

import json
import types
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import transformers
from conftest import default_params
from imblearn.over_sampling import SMOTE, BorderlineSMOTE, RandomOverSampler
from imblearn.under_sampling import RandomUnderSampler
from safetensors.torch import load_file
from sklearn.utils.class_weight import compute_class_weight
from test_balance import AUGMENTED, BALANCED, FIELDS, METADATA, note, nothing_left, ten, write
from toy import CLASSES, metadata, other_family, rows, write_table, write_training
from transformers import AutoModelForSequenceClassification

from diagnosis.balance import effective_numbers, effective_weights, evened, positive_weights, repeats
from diagnosis.errors import UserError
from diagnosis.files import read_json, sha256
from diagnosis.notes import note_writer, read_metadata
from diagnosis.training.checkpoints import KeepLastAndBest
from diagnosis.training.dataset import Collator, read_dataset
from diagnosis.training.embeddings import embed, mixed
from diagnosis.training.inference import corrected, log_odds, to_probabilities
from diagnosis.training.losses import batch_loss, note_losses
from diagnosis.training.model import load_base, output_layer
from diagnosis.training.priors import objective
from diagnosis.training.sampler import ClassSampler

SMALL = {
    "threads": 1,
    "epochs": 2,
    "max_tokens": 32,
    "batch_size": 8,
    "method_options": {"lora": {"r": 4}},
    "learning_rate": 1e-2,
}


# ---------------------------------------------------------------- by hand


def test_evened_by_hand():
    assert evened([100, 25, 4], 1.0) == pytest.approx([1 / 3] * 3)
    assert evened([100, 25, 4], 0.5) == pytest.approx(np.array([10, 5, 2]) / 17)
    assert evened([6, 3, 0], 1.0).tolist() == [0.5, 0.5, 0.0]


@pytest.mark.parametrize(
    ("method", "sampler"), [("oversample", RandomOverSampler), ("undersample", RandomUnderSampler)]
)
def test_full_strength_is_imbalanced_learns_default(method, sampler):
    targets = np.random.default_rng(0).choice(4, 300, p=[0.05, 0.25, 0.6, 0.1])
    theirs = sampler(random_state=7)
    theirs.fit_resample(np.arange(300).reshape(-1, 1), targets)
    assert repeats(targets, method, 7).tolist() == np.bincount(theirs.sample_indices_, minlength=300).tolist()


@pytest.mark.parametrize(("method", "counts"), [("oversample", [100, 50, 20]), ("undersample", [20, 10, 4])])
def test_half_strength_is_the_square_roots(method, counts):
    targets = np.repeat([0, 1, 2], [100, 25, 4])
    assert np.bincount(targets, repeats(targets, method, 7, 0.5)).tolist() == counts


def test_effective_numbers_by_hand_and_at_both_ends():
    assert effective_numbers([1, 2, 3], 0.9) == pytest.approx([1, 1.9, 2.71])
    assert effective_numbers([5, 50], 1e-12) == pytest.approx([1, 1])
    assert effective_numbers([5, 50], 1 - 1e-9) == pytest.approx([5, 50], rel=1e-6)
    counts = np.array([70, 25, 5])
    weights = effective_weights(counts, 0.99)
    assert (weights * counts).sum() / 100 == pytest.approx(1)
    assert weights[2] / weights[0] == pytest.approx((1 - 0.99**70) / (1 - 0.99**5))
    balanced = compute_class_weight("balanced", classes=np.arange(3), y=np.repeat([0, 1, 2], counts))
    assert effective_weights(counts, 1 - 1e-9) == pytest.approx(balanced, rel=1e-6)


def test_positive_weights_by_hand_and_by_scikit_learn():
    ours = positive_weights([20, 5], 100, "class_weight", 0.9)
    assert ours.tolist() == [4.0, 19.0]
    absent, present = compute_class_weight("balanced", classes=np.arange(2), y=np.repeat([0, 1], [95, 5]))
    assert ours[1] == pytest.approx(present / absent)
    effective = positive_weights([20, 5], 100, "effective_number", 0.9)
    assert effective[1] == pytest.approx((1 - 0.9**95) / (1 - 0.9**5))


def test_logit_adjusted_loss_by_hand():
    """Menon et al. 2021, equation 10: log(1 + sum over the other classes of (prior / prior of the truth)^tau * e^(f' - f))."""
    logits, prior, tau = torch.tensor([[0.3, -1.0, 0.5]]), np.array([0.7, 0.2, 0.1]), 1.5
    for truth in range(3):
        others = [k for k in range(3) if k != truth]
        expected = np.log1p(sum((prior[k] / prior[truth]) ** tau * np.exp(float(logits[0, k] - logits[0, truth])) for k in others))  # fmt: skip
        loss = note_losses(logits, torch.tensor([truth]), adjustment=tau * np.log(prior))
        assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_weights_of_labels_are_torchs_and_go_with_focal():
    torch.manual_seed(0)
    logits, labels, weights = torch.randn(5, 4), torch.randint(0, 2, (5, 4)).float(), [1.0, 2.0, 0.5, 9.0]
    theirs = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels, pos_weight=torch.tensor(weights))
    ours = batch_loss(note_losses(logits, labels, positive_weights=weights), torch.ones(5), 20)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)
    one = note_losses(torch.tensor([[0.0]]), torch.tensor([[1.0]]), gamma=2.0, positive_weights=[3.0])
    assert one.item() == pytest.approx(3 * 0.25 * np.log(2))


# ---------------------------------------------------------------- the stage


def test_rows_half_the_way_and_weights_the_rest(stage):
    write(ten())
    assert stage("rebalance", {"method": ["oversample", "class_weight"], "strength": 0.5}) == (0, "")
    table = pq.read_table(BALANCED).to_pylist()
    weights = {row["labels"][0]: row["weight"] for row in table}
    assert read_json(Path("metrics/rebalance.json"))["classes"]["after"] == {"a": 6, "b": 4, "c": 4}
    assert weights == pytest.approx({"a": 14 / 18, "b": 14 / 12, "c": 14 / 12})
    assert read_metadata(BALANCED)["balanced_prior"] == pytest.approx([1 / 3] * 3)


def test_effective_number_in_the_stage(stage):
    write(ten())
    assert stage("rebalance", {"method": "effective_number", "beta": 0.5}) == (0, "")
    expected = effective_weights([6, 3, 3], 0.5)
    assert {row["labels"][0]: row["weight"] for row in pq.read_table(BALANCED).to_pylist()} == pytest.approx(
        dict(zip("abc", expected, strict=True)), rel=1e-6
    )
    assert read_metadata(BALANCED)["balanced_prior"] == pytest.approx(np.array([6, 3, 3]) * expected / 12)


@pytest.mark.parametrize("method", ["class_sampler", "smote", "borderline_smote"])
def test_what_finetune_carries_out_is_marked_and_rows_stay(stage, method):
    write(ten())
    assert stage("rebalance", {"method": method, "strength": 0.5}) == (0, "")
    assert pq.read_table(BALANCED).num_rows == 12
    stated = read_metadata(BALANCED)
    roots = np.sqrt([6, 3, 3]) / np.sqrt([6, 3, 3]).sum()
    assert stated["resampling"] == {"method": method, "seed": 7, "shares": pytest.approx(roots)}
    assert stated["balanced_prior"] == pytest.approx(roots if method == "class_sampler" else [0.5, 0.25, 0.25])


def test_no_mark_where_nothing_is_left_to_do(stage):
    write(ten())
    assert stage("rebalance", {"method": "oversample"}) == (0, "")
    assert set(read_metadata(BALANCED)) == set(METADATA) | {"train_prior", "balanced_prior"}


def test_labels_get_weights_of_their_own(stage):
    write([note("n0", "ab"), note("n1", "a"), note("n2", "c"), note("n3", "")], task="multi_label")
    assert stage("rebalance", {"method": "class_weight"}) == (0, "")
    stated = read_metadata(BALANCED)
    assert stated["positive_weights"] == [1.0, 3.0, 3.0]
    assert stated["train_prior"] == [0.5, 0.25, 0.25]
    assert stated["balanced_prior"] == pytest.approx([0.5] * 3)
    assert [row["weight"] for row in pq.read_table(BALANCED).to_pylist()] == [1.0] * 4


def test_a_label_of_every_note_has_nothing_to_weigh(stage, folder):
    write([note("n0", "ab"), note("n1", "ac")], task="multi_label")
    code, line = stage("rebalance", {"method": "effective_number"})
    assert code == 1 and "a: no note has it, or every note" in line and nothing_left(folder)


@pytest.mark.parametrize(
    "method",
    [["oversample", "undersample"], ["class_weight", "effective_number"], ["none", "oversample"], [], ["smote", "class_weight"], 3],
    ids=["rows", "weights", "none", "empty", "smote", "number"],
)  # fmt: skip
def test_methods_that_do_not_go_together(stage, folder, method):
    write(ten())
    code, line = stage("rebalance", {"method": method})
    assert code == 1 and line.startswith("error: params.yaml: rebalance.method is ") and "\n" not in line
    assert nothing_left(folder)


# ---------------------------------------------------------------- the prior, with a posterior that is known

LIKELIHOOD = np.array([[0.6, 0.3, 0.1], [0.3, 0.4, 0.3], [0.1, 0.2, 0.7]])  # of a sign x, by class
COUNTS = np.array([2000, 400, 100])


def toy_notes():
    """Notes whose text is the sign, in exact portions."""
    for k, name in enumerate("abc"):
        for x, share in enumerate(LIKELIHOOD[k]):
            for i in range(round(COUNTS[k] * share)):
                yield note(f"{name}{x}-{i}", name) | {"text": str(x)}


def fitted(signs: np.ndarray, labels: torch.Tensor, weights: np.ndarray, loss) -> np.ndarray:
    """A free logit for each sign and class, brought to the minimum of the loss."""
    table = torch.zeros(signs.max() + 1, 3, dtype=torch.float32, requires_grad=True)
    optimiser = torch.optim.LBFGS([table], max_iter=300, tolerance_grad=1e-9, tolerance_change=1e-12, line_search_fn="strong_wolfe")  # fmt: skip
    signs, weights = torch.tensor(signs), torch.tensor(weights, dtype=torch.float32)

    def closure():
        optimiser.zero_grad()
        value = batch_loss(loss(table[signs], labels), weights, len(signs))
        value.backward()
        return value

    optimiser.step(closure)
    return table.detach().numpy()


def loss_params(loss: str, tau: float = 1.0) -> types.SimpleNamespace:
    return types.SimpleNamespace(loss=loss, logit_tau=tau, focal_gamma=2.0)


@pytest.mark.parametrize(
    ("method", "loss", "tau", "tolerance"),
    [
        ("none", "cross_entropy", 1.0, 2e-3),
        ("class_weight", "cross_entropy", 1.0, 2e-3),
        ("effective_number", "cross_entropy", 1.0, 2e-3),
        ("oversample", "cross_entropy", 1.0, 0.03),  # repeats are drawn at random
        (["oversample", "class_weight"], "cross_entropy", 1.0, 0.03),
        ("undersample", "cross_entropy", 1.0, 0.08),
        ("class_sampler", "cross_entropy", 1.0, 0.03),
        ("none", "logit_adjusted", 1.0, 2e-3),
        ("none", "logit_adjusted", 0.5, 2e-3),
        ("none", "logit_adjusted", 2.0, 2e-3),
        ("class_weight", "logit_adjusted", 1.0, 2e-3),
        ("effective_number", "logit_adjusted", 1.0, 2e-3),
        ("oversample", "logit_adjusted", 1.0, 0.03),
        ("class_sampler", "logit_adjusted", 0.5, 0.03),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, list) else str(value),
)  # fmt: skip
def test_correction_restores_the_posterior(stage, method, loss, tau, tolerance):
    """Rebalanced by the stage, brought to the minimum by finetune's loss, corrected as predict does: Bayes' rule at the
    train shard's shares, whatever the method; nothing is corrected twice."""
    with note_writer(AUGMENTED, METADATA, FIELDS) as writer:
        writer.write(toy_notes())
    strength = 0.5 if isinstance(method, list) else 1.0
    assert stage("rebalance", {"method": method, "strength": strength}) == (0, "")
    table, stated = pq.read_table(BALANCED).to_pydict(), read_metadata(BALANCED)
    signs = np.array([int(text) for text in table["text"]])
    targets, weights = np.array(["abc".index(row[0]) for row in table["labels"]]), np.array(table["weight"])
    if method == "class_sampler":
        torch.manual_seed(0)
        drawn = list(ClassSampler(targets, stated["resampling"]["shares"], np.ones(len(targets)), 8))
        signs, targets, weights = signs[drawn], targets[drawn], weights[drawn]
    of_note, stated = objective(loss_params(loss, tau), stated, [None])
    logits = fitted(signs, torch.tensor(targets), weights, of_note)
    found = to_probabilities(corrected(logits, stated["train_prior"], stated["balanced_prior"]), "single_label")
    joint = LIKELIHOOD.T * COUNTS
    posterior = joint / joint.sum(axis=1, keepdims=True)
    assert np.abs(found - posterior).max() < tolerance
    raw = to_probabilities(logits, "single_label")
    if (method, loss) != ("none", "cross_entropy"):
        assert np.abs(raw - posterior).max() > 0.1  # and without the correction it is another


@pytest.mark.parametrize(
    ("method", "loss", "tau"),
    [("class_weight", "cross_entropy", 1.0), ("effective_number", "cross_entropy", 1.0), ("none", "logit_adjusted", 1.0),
     ("none", "logit_adjusted", 0.5), ("class_weight", "logit_adjusted", 1.0)],
)  # fmt: skip
def test_correction_restores_each_labels_posterior(stage, method, loss, tau):
    """Three labels by themselves: label k is on a share of the notes with each sign."""
    given = np.array([[0.02, 0.5, 0.3], [0.1, 0.4, 0.05], [0.3, 0.2, 0.01]])  # P(label | sign)
    number, notes = 1000, []
    for x in range(3):
        # Each label on its share of a sign's notes, in another order, so that labels are not copies of each other.
        orders = [np.random.default_rng([x, k]).permutation(number) for k in range(3)]
        for i in range(number):
            labels = [name for k, name in enumerate("abc") if orders[k][i] < given[x, k] * number]
            notes.append(note(f"{x}-{i}", labels) | {"text": str(x)})
    write(notes, task="multi_label")
    assert stage("rebalance", {"method": method}) == (0, "")
    table, stated = pq.read_table(BALANCED).to_pydict(), read_metadata(BALANCED)
    signs = np.array([int(text) for text in table["text"]])
    labels = torch.tensor([[float(name in row) for name in "abc"] for row in table["labels"]])
    of_note, stated = objective(loss_params(loss, tau), stated, labels.mean(dim=0).tolist())
    logits = fitted(signs, labels, np.ones(len(signs)), of_note)
    corrected_logits = corrected(logits, stated["train_prior"], stated["balanced_prior"], "multi_label")
    assert np.abs(to_probabilities(corrected_logits, "multi_label") - given).max() < 2e-3
    assert np.abs(to_probabilities(logits, "multi_label") - given).max() > 0.1


def test_the_prior_that_is_left_by_hand():
    params, stated = loss_params("logit_adjusted", 0.5), {"task": "single_label", "train_prior": [0.8, 0.2], "balanced_prior": [0.9, 0.1]}  # fmt: skip
    _, after = objective(params, stated, [None])
    assert after["balanced_prior"] == pytest.approx([0.75, 0.25]) and after["train_prior"] == [0.8, 0.2]
    assert stated["balanced_prior"] == [0.9, 0.1]
    assert log_odds([0.0, 0.5, 1.0]) == pytest.approx([-np.log(1e6 - 1), 0, np.log(1e6 - 1)])


# ---------------------------------------------------------------- the sampler


def test_classes_are_drawn_in_their_shares_and_lengths_grouped():
    rng = np.random.default_rng(0)
    targets, lengths = np.repeat([0, 1, 2], [3000, 800, 200]), rng.integers(5, 500, 4000).tolist()
    torch.manual_seed(1)
    sampler = ClassSampler(targets, [0.2, 0.3, 0.5], lengths, 16)
    drawn = list(sampler)
    assert len(drawn) == len(sampler) == 4000
    shares = np.bincount(targets[drawn], minlength=3) / 4000
    assert shares == pytest.approx([0.2, 0.3, 0.5], abs=3 * np.sqrt(0.25 / 4000))
    assert len(set(np.array(drawn)[targets[drawn] == 2])) > 190  # each of the 200 some time, not one for all
    waste = sum(16 * max(lengths[row] for row in drawn[i : i + 16]) for i in range(0, 4000, 16))
    assert waste / sum(lengths[row] for row in drawn) < 1.15  # padded tokens a real one; at random it is nearly 2
    torch.manual_seed(1)
    assert list(sampler) == drawn != list(sampler)


# ---------------------------------------------------------------- SMOTE


def clouds(counts=(60, 20, 8)):
    rng = np.random.default_rng(0)
    targets = np.repeat(np.arange(len(counts)), counts)
    return (rng.normal(size=(len(targets), 6)) + targets[:, None]).astype(np.float32), targets


@pytest.mark.parametrize(("method", "theirs"), [("smote", SMOTE), ("borderline_smote", BorderlineSMOTE)])
def test_mixing_is_imbalanced_learns(method, theirs):
    vectors, targets = clouds()
    ours, classes = mixed(vectors, targets, {"method": method, "seed": 3, "shares": [1 / 3] * 3})
    wanted, labels = theirs(random_state=3).fit_resample(vectors, targets)
    assert np.array_equal(ours, wanted) and np.array_equal(classes, labels)
    assert np.array_equal(ours[:88], vectors)
    assert np.bincount(classes).tolist() == [60, 60, 60]


def test_mixing_half_way_and_with_few_neighbours():
    vectors, targets = clouds((64, 16, 4))
    _, classes = mixed(vectors, targets, {"method": "smote", "seed": 3, "shares": evened([64, 16, 4], 0.5)})
    assert np.bincount(classes).tolist() == [64, 32, 16]
    with pytest.raises(UserError, match="a class has a single training note"):
        mixed(*clouds((9, 1)), {"method": "smote", "seed": 3, "shares": [0.5, 0.5]})


def tiny_llama(bert: Path, folder: Path) -> Path:
    other_family("roberta", bert, folder)
    config = transformers.LlamaConfig(
        vocab_size=json.loads((folder / "config.json").read_text())["vocab_size"], hidden_size=32, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, intermediate_size=64, max_position_embeddings=128, pad_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.LlamaModel(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "modernbert", "llama"])
def test_the_last_layer_on_embeddings_is_the_model(tiny_model, tmp_path, family):
    base = tiny_model if family == "bert" else tmp_path / "base"
    if family != "bert":
        tiny_llama(tiny_model, base) if family == "llama" else other_family(family, tiny_model, base)
    transformers.set_seed(7)
    model, tokenizer = load_base(base, CLASSES, "single_label", 0.1)
    write_table(tmp_path / "notes.parquet", rows(40), metadata(), weighted=True)
    data = read_dataset(tmp_path / "notes.parquet", tokenizer, metadata(), max_tokens=32, weighted=True)
    collator = Collator(pad_id=0, classes=3, multi_label=False, types=False)
    vectors = embed(model, data, collator)
    assert vectors.shape == (40, 32) and vectors.dtype == np.float32
    with torch.no_grad():
        found = torch.stack([output_layer(model)(torch.tensor(vector)) for vector in vectors])
        model.eval()
        for row in (0, 17, 39):
            alone = model(input_ids=torch.tensor(data[row]["input_ids"])[None].long()).logits[0]
            assert (found[row] - alone).abs().max() < 1e-5
    assert not output_layer(model)._forward_pre_hooks


def uneven(folder, tiny_model, method: str, shares=(1 / 3, 1 / 3, 1 / 3)):
    """Training notes 40:12:8 and the mark of a method that finetune carries out."""
    write_training(folder, tiny_model)
    notes = [
        *rows(40, classes=CLASSES[:1]),
        *rows(12, seed=3, classes=CLASSES[1:2]),
        *rows(8, seed=4, classes=CLASSES[2:]),
    ]
    mark = {"method": method, "seed": 7, "shares": list(shares)}
    prior = [40 / 60, 12 / 60, 8 / 60]
    seen = list(shares) if method == "class_sampler" else prior
    meta = metadata(train_prior=prior, balanced_prior=seen, resampling=mark)
    write_table(folder / "data/balanced.parquet", notes, meta, weighted=True)


@pytest.mark.parametrize("method", ["smote", "borderline_smote"])
def test_smote_trains_the_last_layer_and_leaves_a_plain_folder(stage, folder, tiny_model, method):
    uneven(folder, tiny_model, method)
    assert stage("finetune", SMALL) == (0, "")
    first = sha256(folder / "models/finetuned"), sha256(folder / "metrics/finetune.json")
    assert stage("finetune", SMALL) == (0, "")
    assert (sha256(folder / "models/finetuned"), sha256(folder / "metrics/finetune.json")) == first

    before = load_file(folder / "models/adapted/model.safetensors")
    after = load_file(folder / "models/finetuned/model.safetensors")
    assert all(torch.equal(weights, after[f"bert.{name}"]) for name, weights in before.items())
    transformers.set_seed(7)
    new = load_base(tiny_model, CLASSES, "single_label", 0.0)[0].classifier
    assert not torch.equal(new.weight, after["classifier.weight"])
    metrics = read_json(folder / "metrics/finetune.json")
    assert metrics["trainable_parameters"] == 3 * 33 < metrics["parameters"]
    _, report = AutoModelForSequenceClassification.from_pretrained(folder / "models/finetuned", output_loading_info=True)  # fmt: skip
    assert not report["missing_keys"] and not report["unexpected_keys"]
    card = read_json(folder / "models/finetuned/diagnosis.json")
    assert card["train_prior"] == [40 / 60, 12 / 60, 8 / 60]
    if method == "smote":
        assert card["balanced_prior"] == pytest.approx([1 / 3] * 3)
    else:  # classes without a note on a border stay as they are, and the card says what came of it
        assert sum(card["balanced_prior"]) == pytest.approx(1)


@pytest.mark.parametrize("loss", ["cross_entropy", "logit_adjusted"])
def test_finetune_with_the_class_sampler_twice_and_in_the_card(stage, folder, tiny_model, loss):
    uneven(folder, tiny_model, "class_sampler")
    assert stage("finetune", SMALL | {"loss": loss, "logit_tau": 0.5}) == (0, "")
    first = sha256(folder / "models/finetuned")
    assert stage("finetune", SMALL | {"loss": loss, "logit_tau": 0.5}) == (0, "")
    assert sha256(folder / "models/finetuned") == first
    card = read_json(folder / "models/finetuned/diagnosis.json")
    assert card["balanced_prior"] == pytest.approx([1 / 3] * 3)  # even shares, to whatever power


@pytest.mark.parametrize("method", ["class_sampler", "smote"])
def test_stopped_after_an_epoch_and_resumed_gives_the_same_bytes(stage, folder, tiny_model, monkeypatch, method):
    uneven(folder, tiny_model, method)
    changes = SMALL | {"epochs": 3, "body_dropout": 0.1, "early_stopping_patience": 0}
    outputs = ("models/finetuned", "metrics/finetune.json", "plots/finetune.csv")
    assert stage("finetune", changes) == (0, "")
    first = [sha256(folder / path) for path in outputs]
    keep = KeepLastAndBest.on_save

    def stop(self, args, state, control, **kwargs):
        keep(self, args, state, control, **kwargs)
        raise UserError("stopped")

    monkeypatch.setattr(KeepLastAndBest, "on_save", stop)
    assert stage("finetune", changes) == (1, "error: stopped")
    monkeypatch.setattr(KeepLastAndBest, "on_save", keep)
    assert stage("finetune", changes) == (0, "")
    assert read_json(folder / "logs/finetune.json")["epochs"] == 2
    assert [sha256(folder / path) for path in outputs] == first


def test_finetune_adjusts_several_labels_and_predict_corrects_them(stage, folder, tiny_model):
    write_training(folder, tiny_model, multi_label=True)
    notes = list(rows(60, seed=1, multi_label=True))
    shares = [sum(name in row["labels"] for row in notes) / 60 for name in CLASSES]
    for name in ("calibration", "test"):
        write_table(
            folder / f"data/split/{name}.parquet", rows(3, seed=5, multi_label=True), metadata(task="multi_label")
        )
    changes = SMALL | {"loss": "logit_adjusted", "method": "full"}
    assert stage("finetune", changes) == (0, "")
    card = read_json(folder / "models/finetuned/diagnosis.json")
    assert card["train_prior"] == pytest.approx(shares) and card["balanced_prior"] == pytest.approx([0.5] * 3)
    assert stage("predict", {"threads": 1}) == (0, "")
    predicted = [r for r in pq.read_table("data/predictions.parquet").to_pylist() if r["shard"] == "validation"]
    probabilities = np.array([row["probabilities"] for row in predicted])
    truth = np.array([[name in row["labels"] for name in CLASSES] for row in predicted])
    loss = -np.where(truth, np.log(probabilities), np.log1p(-probabilities)).mean()
    assert read_json(folder / "metrics/finetune.json")["validation"]["loss"] == pytest.approx(loss, abs=1e-5)


def test_the_default_params_rebalance_nothing():
    defaults = default_params()
    assert defaults["rebalance"]["method"] == "none" and defaults["finetune"]["loss"] == "cross_entropy"
    of_note, stated = objective(types.SimpleNamespace(**defaults["finetune"]), {"task": "single_label"}, [0.5])
    assert stated == {"task": "single_label"}
    assert of_note.keywords == {"gamma": None, "adjustment": None, "positive_weights": None}
