"""Long notes: which tokens each window holds, pooling by hand, gradients of recomputed windows, what beyond the window can be
learned, and what is counted of it."""

import json
import math
import types

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import transformers
from conftest import default_params
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from toy import CLASSES, WORDS, metadata, other_family, rows, write_table, write_training
from transformers import AutoTokenizer

from diagnosis.files import sha256
from diagnosis.training.beyond import beyond
from diagnosis.training.dataset import Collator, read_dataset, truncation
from diagnosis.training.heads import GatedLinear, load_classifier, with_head
from diagnosis.training.inference import note_logits
from diagnosis.training.methods import adapt_model
from diagnosis.training.methods import merged as merged_model
from diagnosis.training.model import head_modules, load_base, longest_input, save_model
from diagnosis.training.tokens import tokenise
from diagnosis.training.windows import LongNotes, batch_logits, first_and_last, pooled, tokenise_notes

FAMILIES = ["bert", "roberta", "distilbert", "modernbert", "llama"]
POOLINGS = ["mean", "max", "attention"]
SMALL = {
    "threads": 1,
    "epochs": 2,
    "max_tokens": 16,
    "batch_size": 8,
    "method_options": {"lora": {"r": 4}},
    "precision": "fp32",
}
CLS, SEP = 2, 3  # of the tiny tokenizer


@pytest.fixture(scope="module")
def families(tiny_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("families")
    made = {"bert": tiny_model} | {name: other_family(name, tiny_model, folder / name) for name in FAMILIES[1:4]}
    made["llama"] = other_family("modernbert", tiny_model, folder / "llama")
    config = transformers.LlamaConfig(
        vocab_size=json.loads((made["llama"] / "config.json").read_text())["vocab_size"],
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, max_position_embeddings=128, pad_token_id=0,
    )  # fmt: skip
    transformers.LlamaModel(config).save_pretrained(made["llama"])
    return made


@pytest.fixture
def tokenizer(tiny_model):
    return AutoTokenizer.from_pretrained(tiny_model)


def made(folder, long_notes, dropout=0.0, head="standard", method="full"):
    transformers.set_seed(7)
    model, tokenizer = load_base(folder, CLASSES, "single_label", dropout)
    model = with_head(model, head, long_notes)
    if method == "lora":
        model = adapt_model(
            model, "lora", {"lora": {"r": 4, "lora_alpha": 8, "lora_dropout": dropout}}, torch.device("cpu")
        )
        for name, weights in model.named_parameters():  # lora_B starts at zero and would hide half of the gradient
            if "lora_B" in name:
                torch.nn.init.normal_(weights, std=0.1)
    return model, tokenizer


LONG = ["fever " * 90 + "chest pain", "cough", "the mother denies pain " * 12, "exam of patient " * 9]


def batch_of(tokenizer, model, max_tokens=16, texts=LONG, types=False, pairs=None):
    tokens = tokenise_notes(tokenizer, texts, pairs, max_tokens, "windows")
    notes = [
        {
            "input_ids": tokens.ids[row],
            "types": tokens.types and tokens.types[row],
            "windows": tokens.windows[row],
            "target": [row % 3],
            "weight": 1.0,
        }
        for row in range(len(texts))
    ]
    batch = Collator(pad_id=0, classes=3, multi_label=False, types=types, windows=True)(notes)
    return {name: value for name, value in batch.items() if name not in ("labels", "weight")}, batch["labels"]


# ---- which tokens


@pytest.mark.parametrize("mode", ["head", "head_tail", "windows"])
@pytest.mark.parametrize("pair", [False, True])
def test_a_note_that_fits_is_the_same_in_every_mode(tokenizer, mode, pair):
    notes = list(rows(8, pair=True))
    texts, pairs = [note["text"] for note in notes], [note["text_pair"] for note in notes] if pair else None
    found = tokenise_notes(tokenizer, texts, pairs, 64, mode)
    ids, kinds, lengths = tokenise(tokenizer, texts, pairs, 64)
    assert [row.tolist() for row in found.ids] == [row.tolist() for row in ids]
    assert found.lengths.tolist() == lengths.tolist() and not found.unread.any()
    assert pair == (found.types is not None)
    if pair:
        assert [row.tolist() for row in found.types] == [row.tolist() for row in kinds]


def test_head_and_tail_are_those_of_sun_et_al():
    kept = first_and_last(np.arange(2000), 510)
    assert kept.tolist() == [*range(128), *range(2000 - 382, 2000)]
    assert first_and_last(np.arange(5), 5).tolist() == [0, 1, 2, 3, 4]


def test_head_tail_keeps_special_tokens(tokenizer):
    text = " ".join("abcdefghijklmnopqrstuvwxyz")
    whole = tokenizer(text)["input_ids"]
    found = tokenise_notes(tokenizer, [text], None, 10, "head_tail")
    assert found.ids[0].tolist() == [CLS, *whole[1:3], *whole[-7:-1], SEP]
    assert (found.lengths.tolist(), found.unread.tolist(), found.windows) == ([28], [18], None)


def test_windows_by_hand(tokenizer):
    """26 letters, windows of 10 with 8 letters each, of which a quarter is shared; the last ends where the note does."""
    text = " ".join("abcdefghijklmnopqrstuvwxyz")
    letters = tokenizer(text)["input_ids"][1:-1]
    found = tokenise_notes(tokenizer, [text, "a b"], None, 10, "windows")
    expected = [[CLS, *letters[start : start + 8], SEP] for start in (0, 6, 12, 18)]
    assert found.ids[0].tolist() == sum(expected, [])
    assert found.windows == [[10, 10, 10, 10], [4]]
    assert found.unread.tolist() == [0, 0]


@pytest.mark.parametrize("length", [9, 10, 11, 30, 31, 32, 33, 200])
def test_every_token_is_in_a_window_and_all_windows_are_full(tokenizer, length):
    rng = np.random.default_rng(length)
    text = " ".join(rng.choice(list("abcdefgh"), length - 2))
    whole = tokenizer(text)["input_ids"][1:-1]
    found = tokenise_notes(tokenizer, [text], None, 10, "windows")
    pieces = np.split(found.ids[0], np.cumsum(found.windows[0])[:-1])
    assert {len(piece) for piece in pieces} == {min(length, 10)}
    assert all(piece[0] == CLS and piece[-1] == SEP for piece in pieces)
    joined = pieces[0][1:-1].tolist()
    for piece in pieces[1:]:
        inner = piece[1:-1].tolist()
        shared = max(n for n in range(2, 9) if joined[-n:] == inner[:n] and whole[: len(joined) + 8 - n] == joined + inner[n:])  # fmt: skip
        joined += inner[shared:]
    assert joined == whole


@pytest.mark.parametrize("long_first", [False, True])
def test_of_a_pair_the_longer_text_is_windowed_and_the_other_repeated(tokenizer, long_first):
    long, short = "a b c d e f g h i j k l m n o p", "fever pain"
    text, pair = (long, short) if long_first else (short, long)
    found = tokenise_notes(tokenizer, [text], [pair], 12, "windows")
    assert found.unread.tolist() == [0]
    pieces = np.split(found.ids[0], np.cumsum(found.windows[0])[:-1])
    kinds = np.split(found.types[0], np.cumsum(found.windows[0])[:-1])
    beside = tokenizer(short)["input_ids"][1:-1]
    seen = set()
    for ids, types_of in zip(pieces, kinds, strict=True):
        assert len(ids) == 12
        first, second = ids[types_of == 0][1:-1].tolist(), ids[types_of == 1][:-1].tolist()
        assert (second if long_first else first) == beside
        seen |= set(first if long_first else second)
    assert seen == set(tokenizer(long)["input_ids"][1:-1])


def test_of_two_long_texts_the_shorter_is_cut_and_counted(tokenizer):
    found = tokenise_notes(tokenizer, ["a " * 40], ["b " * 20], 13, "windows")
    assert found.unread.tolist() == [15] and set(found.windows[0]) == {13}
    assert tokenise_notes(tokenizer, ["a " * 40], ["b " * 20], 13, "head_tail").unread.tolist() == [63 - 13]


def test_special_tokens_of_a_robertas_pair():
    backend = Tokenizer(models.WordLevel({"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "x": 4, "y": 5}, "<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=False)
    tokenizer = types.SimpleNamespace(backend_tokenizer=backend)
    found = tokenise_notes(tokenizer, ["y"], ["x " * 20], 10, "windows")
    pieces = np.split(found.ids[0], np.cumsum(found.windows[0])[:-1])
    assert {tuple(piece) for piece in pieces} == {(0, 5, 2, 2, 4, 4, 4, 4, 4, 2)}
    assert tokenise_notes(tokenizer, ["x " * 20], None, 8, "head_tail").ids[0].tolist() == [0, 4, 4, 4, 4, 4, 4, 2]


# ---- pooling


def test_pooling_by_hand():
    outputs = torch.tensor([[1.0, 5.0, 0.0], [3.0, 1.0, math.log(3)], [7.0, 7.0, -4.0]])
    note = torch.tensor([0, 0, 1])
    assert pooled(outputs, note, 2, "mean").tolist() == [[2.0, 3.0], [7.0, 7.0]]
    assert pooled(outputs, note, 2, "max").tolist() == [[3.0, 5.0], [7.0, 7.0]]
    weighed = pooled(outputs, note, 2, "attention")
    assert weighed[0].tolist() == pytest.approx([0.25 * 1 + 0.75 * 3, 0.25 * 5 + 0.75 * 1])
    assert weighed[1].tolist() == [7.0, 7.0]
    assert torch.equal(pooled(outputs, None, 2, "mean"), outputs[:, :2])


@pytest.mark.parametrize(
    "family", FAMILIES[:4]
)  # a decoder runs its last layer on every token, and takes one of them then
def test_the_gate_is_attention_over_the_vectors_before_the_classifier(families, family):
    """Equation 9 of Ilse et al. 2018 and a linear layer, from the vectors that a hook sees before the last layer."""
    model, tokenizer = made(families[family], LongNotes("windows", "attention"))
    (gate,) = [module for module in model.modules() if isinstance(module, GatedLinear)]
    seen = []
    gate.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    batch, _ = batch_of(tokenizer, model)
    found = batch_logits(model.eval(), batch, 3, LongNotes("windows", "attention"))
    for note in range(len(LONG)):
        vectors = seen[0][batch["note"] == note]
        scores = (
            torch.tanh(vectors @ gate.gate_tanh.T) * torch.sigmoid(vectors @ gate.gate_sigmoid.T)
        ) @ gate.gate_score.T
        vector = (scores.softmax(dim=0) * vectors).sum(dim=0)
        assert torch.allclose(vector @ gate.weight.T + gate.bias, found[note], atol=1e-6)


# ---- gradients


def gradients(model, logits, labels) -> dict:
    model.zero_grad()
    torch.nn.functional.cross_entropy(logits, labels).backward()
    return {name: weights.grad for name, weights in model.named_parameters() if weights.grad is not None}


CASES = [("bert", "full", pooling, 1) for pooling in POOLINGS] + [
    ("bert", "full", "mean", 5),
    ("bert", "lora", "attention", 2),
    ("modernbert", "full", "attention", 3),
    ("roberta", "lora", "max", 2),
    ("distilbert", "full", "mean", 2),
    ("llama", "lora", "attention", 2),
]


@pytest.mark.parametrize("family, method, pooling, at_once", CASES)
def test_recomputed_windows_have_the_gradient_of_all_at_once(families, family, method, pooling, at_once):
    model, tokenizer = made(families[family], LongNotes("windows", pooling), method=method)
    model.train()
    for module in model.modules():  # the heads' own as well
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    batch, labels = batch_of(tokenizer, model)
    whole = batch_logits(model, batch, 3, LongNotes("windows", pooling))
    expected = gradients(model, whole, labels)
    parts = batch_logits(model, batch, 3, LongNotes("windows", pooling, at_once))
    found = gradients(model, parts, labels)
    assert torch.allclose(whole, parts, atol=1e-6)
    assert found.keys() == expected.keys() and any(grad.abs().max() > 1e-3 for grad in expected.values())
    for name, grad in expected.items():
        assert torch.allclose(found[name], grad, rtol=1e-5, atol=1e-6), name


@pytest.mark.parametrize("family, method", [("bert", "full"), ("bert", "lora"), ("modernbert", "full")])
def test_with_dropout_the_parts_are_recomputed_from_the_same_random_state(families, family, method):
    """The reference keeps the graph of every part and recomputes nothing."""
    long_notes = LongNotes("windows", "attention", 2)
    model, tokenizer = made(families[family], long_notes, dropout=0.3, method=method)
    model.train()
    batch, labels = batch_of(tokenizer, model)
    note, inputs = batch["note"], {name: value for name, value in batch.items() if name != "note"}
    torch.manual_seed(1)
    kept = torch.cat([
        model(**{name: value[start : start + 2] for name, value in inputs.items()}).logits
        for start in range(0, len(note), 2)
    ])  # fmt: skip
    expected = gradients(model, pooled(kept, note, 3, "attention"), labels)
    torch.manual_seed(1)
    found = gradients(model, batch_logits(model, batch, 3, long_notes), labels)
    for name, grad in expected.items():
        assert torch.allclose(found[name], grad, rtol=1e-5, atol=1e-6), name
    torch.manual_seed(2)
    other = gradients(model, batch_logits(model, batch, 3, long_notes), labels)
    assert max((other[name] - found[name]).abs().max() for name in found) > 1e-3, "dropout was off"


def test_fewer_windows_at_once_hold_less_for_the_backward_pass(families):
    model, tokenizer = made(families["bert"], LongNotes("windows"))
    batch, _ = batch_of(tokenizer, model)

    def held(at_once) -> int:
        sizes = {}
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t: sizes.setdefault(t.data_ptr(), t.nbytes) and t, lambda t: t
        ):
            batch_logits(model, batch, 3, LongNotes("windows", "mean", at_once))
        weights = {weight.data_ptr() for weight in model.parameters()}
        return sum(size for pointer, size in sizes.items() if pointer not in weights)

    assert held(2) < held(None) / 5


# ---- inference, save and load


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("family", FAMILIES)
def test_saved_and_loaded_it_gives_the_training_logits_whatever_the_batch(families, tmp_path, family, pooling):
    long_notes = LongNotes("windows", pooling)
    model, tokenizer = made(families[family], long_notes, method="lora")
    assert all("gate" not in name for name in head_modules(model.get_base_model()))
    batch, _ = batch_of(tokenizer, model)
    expected = batch_logits(model.eval(), batch, 3, long_notes).detach().numpy()
    save_model(merged_model(model), tokenizer, tmp_path / "saved", 16)
    model = load_classifier(tmp_path / "saved", {"long_notes": "windows", "pooling": pooling}).eval()
    for size in (1, 3, 64):
        told = []
        found = note_logits(model, tokenizer, LONG, None, max_tokens=16, batch_size=size, long_notes=long_notes, progress=told.append)  # fmt: skip
        assert np.abs(found - expected).max() < 1e-5
        assert sum(told) == len(LONG)


# ---- the stage


TWO = CLASSES[:2]


def long_rows(count: int, seed: int):
    """Notes of two classes whose words stand behind 20 tokens of neither, and before as many."""
    rng = np.random.default_rng(seed)
    filler = "patient reports history of the denies no with and exam".split()
    for note in rows(count, seed=seed, classes=TWO):
        words = " ".join(rng.choice(WORDS[note["labels"][0]], 3))
        around = [" ".join(rng.choice(filler, 20)) for _ in range(2)]
        yield note | {"text": f"{around[0]} {words} {around[1]}"}


def write_long(folder, model, notes=96, question=None):
    """What finetune and predict read; with a `question` the notes are the second texts of pairs."""
    write_training(folder, model)
    meta = metadata(classes=TWO, text_pair=question is not None)
    prior = {"train_prior": [1 / 2] * 2, "balanced_prior": [1 / 2] * 2}

    def written(count, seed):
        for note in long_rows(count, seed):
            yield note if question is None else note | {"text": question, "text_pair": note["text"]}

    write_table(folder / "data/balanced.parquet", written(notes, 1), meta | prior, weighted=True)
    write_table(folder / "data/split/validation.parquet", written(36, 2), meta)
    for name in ("calibration", "test"):
        write_table(folder / f"data/split/{name}.parquet", written(3, 5), meta)


LEARN = SMALL | {
    "method": "full", "epochs": 15, "learning_rate": 1e-3, "warmup_share": 0.2, "early_stopping_patience": 0, "best_metric": "loss",
}  # fmt: skip


@pytest.mark.parametrize(
    "mode, pooling", [("windows", pooling) for pooling in POOLINGS] + [("head", "mean"), ("head_tail", "mean")]
)
def test_what_lies_beyond_the_first_window_is_learned_by_windows_alone(
    stage, folder, tiny_model, capsys, mode, pooling
):
    write_long(folder, tiny_model)
    assert stage("finetune", LEARN | {"long_notes": mode, "pooling": pooling}) == (0, "")
    metrics = json.loads((folder / "metrics/finetune.json").read_text())
    beyond_window = metrics["beyond_window"]
    assert beyond_window["train"]["share"] == 1.0 and beyond_window["train"]["tokens_beyond_share"] > 0.6
    assert beyond_window["validation_scores"]["within"] is None
    found = beyond_window["validation_scores"]["beyond"]
    assert found["notes"] == 36
    assert found["accuracy"] == metrics["validation"]["accuracy"]
    assert found["loss"] == pytest.approx(metrics["validation"]["loss"], abs=2e-6)
    said = capsys.readouterr().out
    if mode == "windows":
        assert found["accuracy"] > 0.9 > 0.75 > beyond_window["validation_scores"]["beyond_by_first_window"]["accuracy"]
        assert metrics["truncated"]["notes"] == 0 and "not read" not in said
    else:
        assert found["accuracy"] < 0.75
        assert metrics["truncated"]["share"] == 1.0
        assert "100.0% of the training notes have more than the 16 tokens" in said


@pytest.mark.parametrize(
    "method, pooling, at_once", [("full", "attention", None), ("lora", "attention", 3), ("lora", "max", 3)]
)
def test_the_same_bytes_twice_and_predict_scores_as_finetune(stage, folder, tiny_model, method, pooling, at_once):
    write_long(folder, tiny_model, notes=24)
    changes = SMALL | {
        "method": method, "long_notes": "windows", "pooling": pooling, "windows_at_once": at_once,
        "body_dropout": 0.1, "method_options": {"lora": {"r": 4, "lora_dropout": 0.1}}, "epochs": 1,
    }  # fmt: skip
    hashes = []
    for _ in range(2):
        assert stage("finetune", changes) == (0, "")
        hashes.append([sha256(folder / path) for path in ("models/finetuned", "metrics/finetune.json")])
    assert hashes[0] == hashes[1]
    card = json.loads((folder / "models/finetuned/diagnosis.json").read_text())
    assert (card["head"], card["long_notes"], card["pooling"]) == ("standard", "windows", pooling)
    assert stage("predict", {"threads": 1, "batch_size": 7}) == (0, "")
    said = json.loads((folder / "metrics/finetune.json").read_text())["validation"]
    predicted = [row for row in pq.read_table(folder / "data/predictions.parquet").to_pylist() if row["shard"] == "validation"]  # fmt: skip
    loss = -sum(math.log(row["probabilities"][TWO.index(row["labels"][0])]) for row in predicted) / len(predicted)
    assert said["loss"] == pytest.approx(loss, abs=1e-5)


def test_windows_of_text_pairs(stage, folder, tiny_model):
    """The question is short and the class stands in the second text, beyond the first window."""
    write_long(folder, tiny_model, question="exam")
    assert stage("finetune", LEARN | {"long_notes": "windows", "pooling": "max"}) == (0, "")
    metrics = json.loads((folder / "metrics/finetune.json").read_text())
    assert metrics["validation"]["accuracy"] > 0.9 and metrics["truncated"]["notes"] == 0


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"long_notes": "chunks"}, "finetune.long_notes is 'chunks'"),
        ({"pooling": "sum"}, "finetune.pooling is 'sum'"),
        ({"windows_at_once": 0}, "finetune.windows_at_once is 0"),
    ],
)
def test_params_out_of_bounds(stage, folder, tiny_model, changes, message):
    write_training(folder, tiny_model)
    code, line = stage("finetune", SMALL | changes)
    assert code == 1 and message in line and "\n" not in line
    assert not (folder / "models/finetuned").exists()


# ---- what is counted


def test_what_lies_beyond_by_class_and_group_by_hand(tmp_path, tokenizer):
    """Of 12 men 4 have 12 tokens of 8, of 12 women 4 have 18, one patient states no sex; all patients of one note."""
    notes = []
    for number, note in enumerate(rows(25)):
        sex = None if number == 24 else "FM"[number % 2]
        length = (16 if sex == "F" else 10) if number < 8 and sex else 4
        notes.append(note | {"text": "fever " * length, "sex": sex, "labels": [CLASSES[number % 2]]})
    write_table(tmp_path / "notes.parquet", notes, metadata(), weighted=True)
    data = read_dataset(
        tmp_path / "notes.parquet", tokenizer, metadata(), max_tokens=8, weighted=True, long_notes="windows"
    )
    assert truncation(data, CLASSES, 1)["notes"] == 0
    tokens = {"F": 4 * 18 + 8 * 6, "M": 4 * 12 + 8 * 6}
    shares = {"F": round(40 / tokens["F"], 6), "M": round(16 / tokens["M"], 6)}
    found = beyond(tmp_path / "notes.parquet", data, CLASSES, 8, min_count=4)
    assert found["notes"] == 8 and found["share"] == 8 / 25
    # No sex is stated once: that is under 4, and follows from the total where both others are told. M is hidden with it.
    assert len(found["by_group"]["sex"]) == 1 and set(found["by_group"]) == {"sex"}
    stated = beyond(tmp_path / "notes.parquet", data, CLASSES, 8, min_count=1)
    assert stated["by_group"]["sex"] == {sex: {"notes": 4, "tokens_beyond_share": shares[sex]} for sex in "FM"}
    hidden = beyond(tmp_path / "notes.parquet", data, CLASSES, 8, min_count=11)
    assert {cell["notes"] for cell in hidden["by_class"].values()} == {"<11"}
    assert set(found["by_class"]) == {"cardiac", "lung"}
    short = beyond(tmp_path / "notes.parquet", data, CLASSES, 64, min_count=1)
    assert short == {"notes": 0, "share": 0.0, "tokens_beyond_share": 0.0}


# ---- backbones that read long notes at once


def long_base(name, tiny_model, folder):
    """A tiny random Longformer or ModernBERT that takes 512 tokens."""
    other_family("modernbert", tiny_model, folder)
    torch.manual_seed(0)
    size = json.loads((folder / "config.json").read_text())["vocab_size"]
    width = {
        "vocab_size": size,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
    }
    if name == "longformer":
        config = transformers.LongformerConfig(
            **width, attention_window=16, max_position_embeddings=514, pad_token_id=0
        )
        transformers.LongformerModel(config).save_pretrained(folder)
    else:
        config = transformers.ModernBertConfig(
            **width, max_position_embeddings=512, local_attention=16, pad_token_id=0, global_attn_every_n_layers=2
        )
        transformers.ModernBertModel(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("name", ["longformer", "modernbert"])
def test_a_long_backbone_reads_it_all(stage, folder, tiny_model, tmp_path_factory, name):
    base = long_base(name, tiny_model, tmp_path_factory.mktemp("long") / name)
    model, tokenizer = made(base, LongNotes())
    longest = longest_input(model)
    assert longest == (513 if name == "longformer" else 512)
    texts = ["fever " * (longest - 2), "cough", "chest pain " * 40]
    alone = note_logits(model.eval(), tokenizer, texts, None, max_tokens=longest, batch_size=1)
    together = note_logits(model, tokenizer, texts, None, max_tokens=longest, batch_size=3)
    assert np.abs(alone - together).max() < 1e-5
    # A first token that attends to all: the far end of a note moves its logits.
    far = note_logits(model, tokenizer, ["fever " * 300 + "mother", "fever " * 300 + "pain"], None, max_tokens=longest, batch_size=2)  # fmt: skip
    assert np.abs(far[0] - far[1]).max() > 1e-7

    write_long(folder, tiny_model, notes=12)
    (folder / "models/adapted").rename(folder / "gone")
    base.rename(folder / "models/adapted")
    assert stage("finetune", SMALL | {"epochs": 1, "max_tokens": 100}) == (0, "")
    assert json.loads((folder / "metrics/finetune.json").read_text())["truncated"]["notes"] == 0
    code, line = stage("finetune", SMALL | {"max_tokens": 1000})
    assert code == 1 and f"takes {longest} at most" in line


def test_the_default_reads_the_first_tokens():
    section = default_params()["finetune"]
    assert (section["long_notes"], section["head"]) == ("head", "standard")
