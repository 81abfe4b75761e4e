"""Training that minds groups: reweighing against an independent count, the reversed gradient, worst-group weights by hand, the same
bytes after a stop, and nothing of a group left in the model."""

import types
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import transformers
from datasets import Dataset
from safetensors.torch import load_file
from toy import CLASSES, metadata, rows, write_table, write_training

from diagnosis.errors import UserError
from diagnosis.files import read_json, sha256
from diagnosis.notes import IMPUTED, note_writer
from diagnosis.training.checkpoints import KeepLastAndBest
from diagnosis.training.dataset import read_dataset
from diagnosis.training.fairness import Adversary, Reverse, WorstGroup, reweighed, with_groups
from diagnosis.training.losses import batch_loss
from diagnosis.training.model import load_base, output_layer

SMALL = {
    "threads": 1,
    "epochs": 2,
    "max_tokens": 32,
    "batch_size": 8,
    "method_options": {"lora": {"r": 4}},
    "fairness_group": "sex",
    "learning_rate": 3e-3,
}
OUTPUTS = ("models/finetuned", "metrics/finetune.json", "plots/finetune.csv")
FAIR = ["reweighing", "adversarial", "worst_group"]


def with_sex(notes, without: int = 5):
    """Of every six notes three are F and three M, but of cardiac ones three of four are F; every `without`-th states nothing."""
    for i, note in enumerate(notes):
        sex = "M" if i // 3 % 2 and not (i % 3 == 0 and i // 3 % 4 == 1) else "F"
        yield note | {"sex": None if i % without == 0 else sex}


def write_fair(folder, tiny_model, multi_label=False, **changes):
    write_training(folder, tiny_model, multi_label=multi_label)
    prior = None if multi_label else [1 / 3] * 3
    meta = metadata(task="multi_label" if multi_label else "single_label", train_prior=prior, balanced_prior=prior)
    notes = with_sex(rows(60, seed=1, multi_label=multi_label))
    write_table(folder / "data/balanced.parquet", notes, meta | changes, weighted=True)


def table(groups, targets, weights=None) -> Dataset:
    weights = np.ones(len(targets)) if weights is None else np.asarray(weights)
    columns = {
        "target": [[int(t)] for t in targets],
        "weight": weights.astype(np.float32),
        "group": list(map(int, groups)),
    }
    return Dataset.from_dict(columns)


# ---------------------------------------------------------------- reweighing


def test_reweighing_equals_an_independent_computation():
    rng = np.random.default_rng(0)
    groups = rng.choice([-1, 0, 1, 2], 500, p=[0.1, 0.5, 0.3, 0.1])
    targets = np.where(groups == 2, rng.choice(3, 500, p=[0.7, 0.2, 0.1]), rng.choice(3, 500, p=[0.3, 0.3, 0.4]))
    data, prior = reweighed(table(groups, targets), np.bincount(targets) / 500)
    found = np.array(data["weight"][:])

    frame = pd.DataFrame({"s": groups, "y": targets})
    known = frame[frame.s >= 0]
    p_s, p_y, p_sy = (known.groupby(by).size() / len(known) for by in ("s", "y", ["s", "y"]))
    expected = [1.0 if s < 0 else p_s[s] * p_y[y] / p_sy[s, y] for s, y in zip(groups, targets, strict=True)]
    assert found == pytest.approx(expected, rel=1e-6)
    weighted = known.assign(w=found[known.index]).pivot_table(index="s", columns="y", values="w", aggfunc="sum")
    shares = weighted.div(weighted.sum(axis=1), axis=0).to_numpy()
    assert np.abs(shares - shares[0]).max() < 1e-6  # the class is independent of the group
    assert prior == pytest.approx(np.bincount(targets) / 500)  # no cell is empty: the classes keep their shares


def test_reweighing_by_hand_keeps_other_weights_and_follows_the_prior():
    """Group 0 has classes 0, 0, 1; group 1 has class 1 only: (3/4)(1/2)/(1/2), (3/4)(1/2)/(1/4), (1/4)(1/2)/(1/4)."""
    data, prior = reweighed(table([0, 0, 0, 1, -1], [0, 0, 1, 1, 0], [2.0, 2.0, 1.0, 1.0, 2.0]), [0.6, 0.4])
    assert data["weight"][:] == pytest.approx([1.5, 1.5, 1.5, 0.5, 2.0])
    moved = np.array([0.6 * 5 / 6, 0.4 * 2 / 2])
    assert prior == pytest.approx(moved / moved.sum())


# ---------------------------------------------------------------- groups


def grouped(folder, tiny_model, notes, fields=(), **changes):
    path = folder / "balanced.parquet"
    with note_writer(path, metadata(), [pa.field("weight", pa.float32()), *fields]) as writer:
        writer.write({"weight": 1.0} | note for note in notes)
    _, tokenizer = load_base(tiny_model, CLASSES, "single_label", 0.0)
    data = read_dataset(path, tokenizer, metadata(), max_tokens=16, weighted=True)
    params = types.SimpleNamespace(fairness="worst_group", fairness_group="sex", min_count=3, **changes)
    return with_groups(data, path, params, metadata())


def test_groups_are_as_stated_and_the_small_and_the_imputed_are_none(tmp_path, tiny_model):
    sexes = ["F", "F", "F", "M", "M", "M", "M", "X", "X", None]
    notes = [note | {"sex": sex} for note, sex in zip(rows(10), sexes, strict=True)]
    notes = [note | {"imputed": ["sex"] if i == 6 else []} for i, note in enumerate(notes)]
    data, groups, _ = grouped(tmp_path, tiny_model, notes, [IMPUTED])
    assert groups == ["F", "M"]
    assert data["group"][:].tolist() == [0, 0, 0, 1, 1, 1, -1, -1, -1, -1]


def test_repeats_of_a_note_make_no_group(tmp_path, tiny_model):
    notes = [note | {"sex": "F"} for note in rows(4)]
    notes += [
        note | {"note_id": f"m-r{i}", "augmented_from": "m", "sex": "M"} for i, note in enumerate(rows(4, seed=3))
    ]
    with pytest.raises(UserError, match="of its groups 1 in .* has 3 notes or more, and two are needed"):
        grouped(tmp_path, tiny_model, notes, [pa.field("augmented_from", pa.string())])


# ---------------------------------------------------------------- the adversary


def test_the_gradient_is_reversed_for_the_body_and_not_for_the_adversary():
    inputs = torch.tensor([[1.0, -2.0]], requires_grad=True)
    weight = torch.tensor([[3.0, 0.5]], requires_grad=True)
    (Reverse.apply(inputs, 0.25) * weight).sum().backward()
    assert inputs.grad.tolist() == [[-0.75, -0.125]] and weight.grad.tolist() == [[1.0, -2.0]]


def test_the_adversary_adds_its_loss_where_there_is_a_group(tiny_model):
    transformers.set_seed(7)
    model, _ = load_base(tiny_model, CLASSES, "single_label", 0.0)
    model.eval()
    adversary = Adversary(model, 2, 1.0)
    batch = {"input_ids": torch.full((3, 5), 7), "attention_mask": torch.ones(3, 5, dtype=torch.long)}
    model(**batch)
    vector = adversary._seen[0][0]
    labels, group = torch.tensor([0, 1, 2]), torch.tensor([1, -1, 0])
    losses = adversary(torch.tensor([1.0, 2.0, 3.0]), batch | {"labels": labels, "group": group})
    guesses = [adversary.net(torch.cat([vector, torch.eye(3)[k]])).log_softmax(0) for k in range(3)]
    assert losses.tolist() == pytest.approx([1 - guesses[0][1].item(), 2.0, 3 - guesses[2][0].item()], abs=1e-5)
    adversary.leave()
    assert not output_layer(model)._forward_pre_hooks


def test_an_adversary_without_weight_changes_no_byte_and_one_with_weight_does(stage, folder, tiny_model):
    write_fair(folder, tiny_model)
    hashes = {}
    for name, changes in {
        "none": {},
        "0": {"fairness": "adversarial", "adversary_weight": 0.0},
        "1": {"fairness": "adversarial", "adversary_weight": 1.0},
    }.items():
        assert stage("finetune", SMALL | changes) == (0, "")
        hashes[name] = sha256(folder / "models/finetuned/model.safetensors")
    assert hashes["none"] == hashes["0"] != hashes["1"]


def test_the_adversary_takes_the_group_out_of_the_representation():
    """Two numbers, one for the class and one, noisier, for the group: with the adversary the body turns the latter down.

    At a learning rate of 0.01 the two chase each other and it does not.
    """

    class Body(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.config = types.SimpleNamespace(num_labels=2)
            self.body = torch.nn.Linear(2, 6)
            self.head = torch.nn.Linear(6, 2)

        def forward(self, inputs):
            return self.head(self.body(inputs))

    def told(weight: float) -> float:
        """How far apart the groups' mean vectors are, in standard deviations."""
        torch.manual_seed(0)
        model = Body()
        labels, group = torch.arange(400) % 2, torch.arange(400) // 2 % 2
        inputs = torch.stack([labels * 2.0 - 1, group * 2.0 - 1], dim=1) + torch.tensor([0.3, 1.0]) * torch.randn(
            400, 2
        )
        adversary = Adversary(model, 2, weight)
        optimiser = torch.optim.Adam([*model.parameters(), *adversary.parameters()], 0.001)
        for _ in range(1500):
            losses = torch.nn.functional.cross_entropy(model(inputs), labels, reduction="none")
            optimiser.zero_grad()
            adversary(losses, {"labels": labels, "group": group}).mean().backward()
            optimiser.step()
        assert (model(inputs).argmax(1) == labels).float().mean() > 0.97
        with torch.no_grad():
            vectors = model.body(inputs)
            gap = vectors[group == 1].mean(0) - vectors[group == 0].mean(0)
            return float(gap.norm() / vectors.std(0).norm())

    assert told(1.0) < 0.6 * told(0.0)


# ---------------------------------------------------------------- worst group


def test_worst_group_weights_by_hand():
    guard = WorstGroup(np.array([3, 1]), step=0.5)
    group, weight = torch.tensor([0, 0, 1, -1]), torch.tensor([1.0, 1.0, 2.0, 1.0])
    batch = {"group": group, "labels": torch.zeros(4, dtype=torch.long), "weight": weight}
    losses = guard(torch.tensor([1.0, 3.0, 2.0, 5.0]), batch)
    # 1/2 over 3/4 and over 1/4; without a group as it was
    assert losses.tolist() == pytest.approx([2 / 3, 2.0, 4.0, 5.0])
    assert guard.weights.tolist() == [0.5, 0.5]
    guard.after_step()
    rise = np.exp(0.5 * np.array([2.0, 4.0]))  # means of what the notes weigh
    assert guard.weights.numpy() == pytest.approx(rise / rise.sum())
    before = guard.weights.clone()
    guard(torch.tensor([1.0]), {k: v[3:] for k, v in batch.items()})
    guard.after_step()
    assert guard.weights.numpy() == pytest.approx(before.numpy())  # no group in the batch: nothing moves


def test_worst_group_in_two_halves_is_one_whole():
    torch.manual_seed(0)
    losses, group = torch.rand(8), torch.tensor([0, 1, 0, -1, 1, 2, 0, 1])
    batch = {"group": group, "labels": torch.zeros(8, dtype=torch.long), "weight": torch.ones(8)}
    whole, halves = WorstGroup(np.array([5, 4, 2]), 0.1), WorstGroup(np.array([5, 4, 2]), 0.1)
    for _ in range(3):
        total = batch_loss(whole(losses, batch), batch["weight"], 8)
        parts = [
            batch_loss(halves(losses[part], {k: v[part] for k, v in batch.items()}), batch["weight"][part], 8)
            for part in (slice(0, 4), slice(4, 8))
        ]
        assert sum(parts).item() == pytest.approx(total.item())
        whole.after_step()
        halves.after_step()
        assert torch.allclose(whole.weights, halves.weights)


def test_worst_group_lowers_the_worst_loss():
    """Nine of ten notes are of a group that follows the first number, the tenth one follows the second: a linear model that
    minds the mean serves the many; the guard brings the two losses together."""
    torch.manual_seed(0)
    group = (torch.arange(1000) % 10 == 0).long()
    inputs = torch.randn(1000, 2)
    labels = (torch.where(group == 0, inputs[:, 0], inputs[:, 1]) > 0).long()

    def losses_by_group(guard) -> list[float]:
        torch.manual_seed(1)
        model = torch.nn.Linear(2, 2)
        optimiser = torch.optim.SGD(model.parameters(), 0.5)
        for _ in range(300):
            losses = torch.nn.functional.cross_entropy(model(inputs), labels, reduction="none")
            plain = losses.detach()
            if guard:
                losses = guard(losses, {"group": group, "labels": labels, "weight": torch.ones(1000)})
            optimiser.zero_grad()
            losses.mean().backward()
            optimiser.step()
            if guard:
                guard.after_step()
        return [plain[group == g].mean().item() for g in (0, 1)]

    plain = losses_by_group(None)
    guarded = losses_by_group(WorstGroup(np.bincount(group), 0.1))
    assert max(guarded) < 0.8 * max(plain)
    assert abs(guarded[0] - guarded[1]) < 0.1 * abs(plain[0] - plain[1])


# ---------------------------------------------------------------- the stage


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("fairness", FAIR)
def test_stopped_after_an_epoch_and_resumed_gives_the_same_bytes(
    stage, folder, tiny_model, monkeypatch, fairness, method
):
    write_fair(folder, tiny_model)
    changes = SMALL | {"fairness": fairness, "method": method, "epochs": 3, "body_dropout": 0.1, "group_step": 0.3}
    changes["early_stopping_patience"] = 0
    assert stage("finetune", changes) == (0, "")
    first = [sha256(folder / path) for path in OUTPUTS]

    keep = KeepLastAndBest.on_save

    def stop(self, args, state, control, **kwargs):
        keep(self, args, state, control, **kwargs)
        raise UserError("stopped")

    monkeypatch.setattr(KeepLastAndBest, "on_save", stop)
    assert stage("finetune", changes) == (1, "error: stopped")
    monkeypatch.setattr(KeepLastAndBest, "on_save", keep)
    assert stage("finetune", changes) == (0, "")
    assert read_json(folder / "logs/finetune.json")["epochs"] == 2
    assert [sha256(folder / path) for path in OUTPUTS] == first


@pytest.mark.parametrize("fairness", FAIR)
def test_the_model_is_plain_and_predicts_without_groups(stage, folder, tiny_model, fairness):
    write_fair(folder, tiny_model)
    for name in ("calibration", "test"):
        write_table(folder / f"data/split/{name}.parquet", rows(3, seed=5), metadata())
    assert stage("finetune", SMALL) == (0, "")
    plain = load_file(folder / "models/finetuned/model.safetensors")
    assert "fairness" not in read_json(folder / "metrics/finetune.json")
    assert stage("finetune", SMALL | {"fairness": fairness, "group_step": 0.3}) == (0, "")
    fair = load_file(folder / "models/finetuned/model.safetensors")
    assert set(fair) == set(plain) and any(not torch.equal(fair[name], plain[name]) for name in fair)
    written = sorted(path.name for path in (folder / "models/finetuned").iterdir())
    assert written == ["config.json", "diagnosis.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    assert "sex" not in (folder / "models/finetuned/diagnosis.json").read_text()
    metrics = read_json(folder / "metrics/finetune.json")["fairness"]
    assert (metrics["group"], metrics["groups"], metrics["notes_without"]) == ("sex", ["F", "M"], 12)
    if fairness == "worst_group":
        weights = metrics["group_weights"]
        assert sum(weights.values()) == pytest.approx(1, abs=1e-5) and weights["F"] != weights["M"]
    else:
        assert metrics["group_weights"] is None
    assert stage("predict", {"threads": 1}) == (0, "")
    assert pq.read_table("data/predictions.parquet").num_rows == 30


@pytest.mark.parametrize("fairness", ["adversarial", "worst_group"])
def test_several_labels(stage, folder, tiny_model, fairness):
    write_fair(folder, tiny_model, multi_label=True)
    assert stage("finetune", SMALL | {"fairness": fairness}) == (0, "")


def test_a_count_of_few_notes_without_a_group_is_not_shown(stage, folder, tiny_model):
    write_fair(folder, tiny_model)
    meta = metadata(train_prior=[1 / 3] * 3, balanced_prior=[1 / 3] * 3)
    write_table(folder / "data/balanced.parquet", with_sex(rows(60, seed=1), without=10), meta, weighted=True)
    assert stage("finetune", SMALL | {"epochs": 1, "fairness": "reweighing"}) == (0, "")
    assert read_json(folder / "metrics/finetune.json")["fairness"]["notes_without"] is None


SAMPLER = {"method": "class_sampler", "seed": 7, "shares": [1 / 3] * 3}


@pytest.mark.parametrize(
    ("changes", "table", "words"),
    [
        ({"fairness": "equal"}, {}, "finetune.fairness is 'equal'"),
        ({"fairness": "reweighing", "fairness_group": "name"}, {}, "finetune.fairness_group is 'name'"),
        ({"fairness": "reweighing", "fairness_group": "race"}, {}, "finetune.fairness_group is race, but of its groups 0 in"),
        ({"fairness": "worst_group", "group_step": 0.0}, {}, "finetune.group_step is 0.0"),
        ({"fairness": "worst_group"}, {"resampling": SAMPLER}, "finetune.fairness is worst_group, but rebalance.method is class_sampler"),
        ({"fairness": "reweighing"}, {"resampling": SAMPLER | {"method": "smote"}}, "whose mixed notes have no group"),
        ({"fairness": "reweighing"}, {"multi_label": True}, "notes have several labels here"),
    ],
    ids=["method", "column", "no groups", "step", "sampler", "smote", "labels"],
)  # fmt: skip
def test_what_is_refused_is_one_line(stage, folder, tiny_model, changes, table, words):
    write_fair(folder, tiny_model, **table)
    code, line = stage("finetune", SMALL | changes)
    assert code == 1 and words in line and "\n" not in line
    assert not [path for path in OUTPUTS if Path(path).exists()]


def test_several_processes_are_refused(stage, folder, tiny_model, monkeypatch):
    write_fair(folder, tiny_model)
    monkeypatch.setenv("WORLD_SIZE", "2")
    code, line = stage("finetune", SMALL | {"fairness": "worst_group"})
    assert code == 1 and "several processes train" in line
