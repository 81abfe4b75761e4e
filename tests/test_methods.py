"""Methods by name: their options, what peft's do here, adapters beside the weights, decoders, resuming, the optimiser."""

import copy
import json
import shutil
import types

import pyarrow.parquet as pq
import pytest
import torch
import transformers
from conftest import default_params, merged
from toy import CLASSES, metadata, other_family, rows, write_shards, write_table, write_training
from transformers import AutoModelForSequenceClassification, AutoTokenizer, TrainerCallback, TrainingArguments

from diagnosis.errors import UserError
from diagnosis.files import sha256, write_json
from diagnosis.training.dataset import Collator, read_dataset
from diagnosis.training.device import prepare_device
from diagnosis.training.inference import CARD, load_finetuned, note_logits
from diagnosis.training.methods import (
    REFUSED,
    adapt_model,
    check_length,
    check_method,
    check_optimizer,
    known_methods,
    save_trained,
)
from diagnosis.training.methods import merged as merged_model
from diagnosis.training.model import load_base
from diagnosis.training.tokens import pad, tokenise
from diagnosis.training.trainer import OPTIMIZERS, make_trainer, train_or_resume

CPU = torch.device("cpu")
TEXTS = [
    "patient reports chest pain",
    "fever cough fever cough and the",
    "no",
    "the mother denies, father of the mother",
]
QUICK = {"epochs": 1, "max_tokens": 32, "threads": 1}
VIRTUAL = {"num_virtual_tokens": 5}
# Every method of peft that adds into the weights, with options that a hidden size of 32 allows.
WEIGHTS = {
    "beft": {},
    "boft": {"boft_block_size": 4},
    "c3a": {"block_size": 16},
    "deft": {},
    "delora": {},
    "fourierft": {"n_frequency": 50, "scaling": 10.0},
    "frod": {},
    "glora": {},
    "gralora": {},
    "hira": {},
    "hra": {"r": 4},
    "ia3": {},
    "ln_tuning": {},
    "loha": {},
    "lokr": {},
    "lora": {"r": 4, "use_rslora": True},
    "miss": {"r": 4},
    "oft": {"oft_block_size": 16},
    "osf": {},
    "peanut": {},
    "psoft": {},
    "pvera": {},
    "randlora": {},
    "road": {"group_size": 16},
    "shira": {"r": 4},
    "supertuning": {},
    "tinylora": {},
    "unilora": {},
    "vblora": {"vector_length": 16, "num_vectors": 16},
    "vera": {},
    "waveft": {"n_frequency": 50},
}
BESIDE = {
    "bottleneck": {"size": 8},
    "p_tuning": VIRTUAL,
    "prefix_tuning": VIRTUAL | {"prefix_projection": True},
    "prompt_tuning": VIRTUAL,
}


def made(base, method="full", options=None):
    transformers.set_seed(7)
    model, tokenizer = load_base(base, CLASSES, "single_label", 0.0)
    return adapt_model(model, method, {method: options or {}}, CPU), tokenizer


def batch(tokenizer, texts=TEXTS):
    return pad(tokenise(tokenizer, texts, None, 32)[0], None, tokenizer.pad_token_id)


def steps(model, inputs, count=5):
    """A few steps of plain AdamW."""
    optimizer = torch.optim.AdamW([weights for weights in model.parameters() if weights.requires_grad], lr=1e-2)
    model.train()
    for _ in range(count):
        torch.nn.functional.cross_entropy(model(**inputs).logits, torch.tensor([0, 1, 2, 0])).backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


@pytest.fixture(scope="module")
def llama(tiny_model, tmp_path_factory):
    """A decoder whose tokenizer, too, names no padding but an end of text."""
    folder = other_family("llama", tiny_model, tmp_path_factory.mktemp("llama") / "model")
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings |= {"pad_token": None, "eos_token": "[SEP]", "padding_side": "left"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


# ---- peft's methods


def test_every_method_of_peft_is_either_tested_here_or_refused():
    own = ["full", "linear_probe", "top_layers", "bottleneck", "qlora"]
    beside = [name for name in BESIDE if name not in own]
    assert sorted(known_methods()) == sorted([*own, *beside, *WEIGHTS])


@pytest.mark.parametrize("method", WEIGHTS)
def test_what_peft_trains_adds_into_the_weights(tiny_model, method):
    model, tokenizer = made(tiny_model, method, WEIGHTS[method])
    inputs = batch(tokenizer)
    fresh = model.eval()(**inputs).logits.detach()
    trained = steps(model, inputs)(**inputs).logits.detach()
    assert (trained - fresh).abs().max() > 1e-3
    frozen = [name for name, weights in model.named_parameters() if "base_layer" in name and weights.requires_grad]
    plain = merged_model(model)
    assert type(plain) is transformers.BertForSequenceClassification
    assert (plain.eval()(**inputs).logits - trained).abs().max() < 1e-5
    assert frozen == [] or method == "osf"  # which trains the part of the weights that it leaves free
    assert plain.state_dict().keys() == made(tiny_model)[0].state_dict().keys()


@pytest.mark.parametrize("method", sorted(REFUSED))
def test_a_method_that_cannot_work_says_why(method):
    with pytest.raises(UserError, match=f"finetune.method names {method}, which is not offered: ") as error:
        check_method(method, {}, CPU)
    assert "\n" not in str(error.value)


def test_pissa_starts_at_the_base_models_logits(tiny_model):
    """Its adapters are the largest singular vectors of the weights, taken out of them."""
    model, tokenizer = made(tiny_model, "lora", {"r": 4, "lora_alpha": 4, "init_lora_weights": "pissa"})
    inputs = batch(tokenizer)
    plain = made(tiny_model)[0]
    plain.load_state_dict(merged_model(copy.deepcopy(model)).state_dict())
    assert (model.eval()(**inputs).logits - plain.eval()(**inputs).logits).abs().max() < 1e-5
    adapted = model.get_submodule("base_model.model.bert.encoder.layer.0.attention.self.query")
    theirs = torch.linalg.svdvals(made(tiny_model)[0].bert.encoder.layer[0].attention.self.query.weight)
    assert torch.linalg.svdvals(adapted.get_delta_weight("default"))[:4].tolist() == pytest.approx(
        theirs[:4].tolist(), rel=1e-4
    )


# ---- options


@pytest.mark.parametrize(
    "method, options, line",
    [
        ("lora", {"lora": {"rank": 4}}, r"finetune.method_options.lora.rank is no option of it: .*lora_alpha.*use_dora"),
        ("lora", {"lora": {"r": "many"}}, "method_options.lora.r is 'many': input should be a valid integer"),
        ("lora", {"lora": {"r": 0}}, "method_options.lora.r is 0: input should be greater than 0"),
        ("lora", {"lora": {"lora_alpha": 0}}, "method_options.lora.lora_alpha is 0: input should be greater than 0"),
        ("lora", {"lora": {"lora_dropout": 1.5}}, "lora.lora_dropout is 1.5: input should be less than 1"),
        ("lora", {"lora": {"task_type": "SEQ_CLS"}}, "method_options.lora.task_type is no option"),
        ("full", {"full": {"r": 4}}, "method_options.full.r is no option of it: it takes none"),
        ("full", {"lora": {"rank": 4}}, "method_options.lora.rank is no option"),
        ("full", {"dora": {}}, "finetune.method_options names 'dora', which is none of full, linear_probe, top_layers"),
        ("dora", {}, "finetune.method names 'dora', which is none of full"),
        ("top_layers", {}, "method_options.top_layers.layers is missing: field required"),
        ("top_layers", {"top_layers": {"layers": 0}}, "top_layers.layers is 0: input should be greater than or equal to 1"),
        ("bottleneck", {"bottleneck": {"size": 64, "act": "relu"}}, "method_options.bottleneck.act is no option of it: size"),
        ("prefix_tuning", {}, "method_options.prefix_tuning.num_virtual_tokens is missing"),
        ("prompt_tuning", {"prompt_tuning": {"num_virtual_tokens": -1}}, "num_virtual_tokens is -1"),
        ("qlora", {}, "finetune.method is qlora, which needs a GPU"),
    ],
)  # fmt: skip
def test_a_wrong_option_is_one_line(method, options, line):
    with pytest.raises(UserError, match=line) as error:
        check_method(method, options, CPU)
    assert "\n" not in str(error.value)


def test_what_a_base_model_does_not_take_is_one_line(tiny_model):
    for method, options, line in [
        ("top_layers", {"layers": 3}, "top_layers.layers is 3, but the base model has 2"),
        ("c3a", {}, "finetune.method is c3a, which peft does not build on this base model so: The block size should"),
        ("lora", {"target_modules": ["nothing"]}, "finetune.method is lora, which peft does not build"),
    ]:
        with pytest.raises(UserError, match=line) as error:
            made(tiny_model, method, options)
        assert "\n" not in str(error.value)


def test_options_of_other_methods_stay_for_when_they_are_wanted(stage, folder, tiny_model):
    """So a sweep over methods changes one param."""
    write_training(folder, tiny_model, notes=24)
    for method in ("full", "linear_probe", "top_layers"):
        assert stage("finetune", QUICK | {"method": method}) == (0, "")
        metrics = json.loads((folder / "metrics/finetune.json").read_text())
        share = metrics["trainable_parameters"] / metrics["parameters"]
        assert {"full": share == 1, "linear_probe": share < 0.05, "top_layers": 0.05 < share < 1}[method]


# ---- beside the weights


@pytest.mark.parametrize("method", BESIDE)
def test_an_adapter_beside_the_weights_by_the_stages(stage, folder, tiny_model, method):
    """finetune, then predict with nothing but its folder; the same bytes twice; a plain loader does not take it for whole."""
    write_training(folder, tiny_model)
    write_shards(folder)
    small = QUICK | {"method": method, "method_options": {method: BESIDE[method]}, "learning_rate": 1e-2}
    assert stage("finetune", small) == (0, "")
    first = sha256(folder / "models/finetuned")
    card = json.loads((folder / "models/finetuned" / CARD).read_text())
    assert card["adapter"] == {"method": method, "size": 8 if method == "bottleneck" else 5}
    files = {
        path.relative_to(folder / "models/finetuned").as_posix() for path in (folder / "models/finetuned").rglob("*")
    }
    plain = {f"base/{name}" for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")}
    assert files == {"adapter.safetensors", "base", CARD, *plain}
    assert "prefixed" not in (folder / "models/finetuned/base/config.json").read_text()
    with pytest.raises(ValueError, match="Unrecognized model"):
        AutoModelForSequenceClassification.from_pretrained(folder / "models/finetuned")

    shutil.rmtree(folder / "models/adapted")
    assert stage("predict", {"threads": 1}) == (0, "")
    predicted = pq.read_table(folder / "data/predictions.parquet").to_pylist()
    validation = [row for row in predicted if row["shard"] == "validation"]
    assert len(validation) == 12
    model, tokenizer, _ = load_finetuned(folder / "models/finetuned", CPU)
    notes = [row["text"] for row in pq.read_table(folder / "data/split/validation.parquet").to_pylist()]
    logits = note_logits(model, tokenizer, notes, None, max_tokens=32, batch_size=3)
    assert abs(logits - [row["logits"] for row in validation]).max() < 1e-5
    bare = AutoModelForSequenceClassification.from_pretrained(folder / "models/finetuned/base")
    assert abs(note_logits(bare.eval(), tokenizer, notes, None, max_tokens=32, batch_size=3) - logits).max() > 1e-4

    shutil.copytree(tiny_model, folder / "models/adapted")
    write_table(folder / "data/split/validation.parquet", rows(24, seed=2), metadata())
    assert stage("finetune", small) == (0, "")
    assert sha256(folder / "models/finetuned") == first
    (folder / "models/finetuned/adapter.safetensors").unlink()
    code, line = stage("predict", {"threads": 1})
    assert code == 1 and "adapter.safetensors does not exist: the model is not whole" in line


def test_an_adapter_of_another_model_is_refused(tiny_model, tmp_path):
    for size in (4, 8):
        model, tokenizer = made(tiny_model, "bottleneck", {"size": size})
        folder = tmp_path / str(size)
        write_json(folder / CARD, save_trained(model, tokenizer, folder, 32))
    shutil.copy(tmp_path / "8/adapter.safetensors", tmp_path / "4/adapter.safetensors")
    with pytest.raises(UserError, match="could not be loaded"):
        load_finetuned(tmp_path / "4", CPU)


def test_a_bottleneck_starts_as_the_identity_and_is_houlsbys_sum(tiny_model):
    model, tokenizer = made(tiny_model, "bottleneck", {"size": 8})
    inputs = batch(tokenizer)
    plain = made(tiny_model)[0].eval()
    plain.load_state_dict(model.state_dict(), strict=False)
    assert torch.equal(model.eval()(**inputs).logits, plain(**inputs).logits)
    adapter = model.bert.encoder.layer[0].output.dense.adapter
    torch.nn.init.normal_(adapter.up.weight)
    hidden = torch.randn(2, 32)
    by_hand = (
        torch.nn.functional.gelu(hidden @ adapter.down.weight.T + adapter.down.bias) @ adapter.up.weight.T + hidden
    )
    assert torch.allclose(adapter(hidden), by_hand)


@pytest.mark.parametrize("method", ["p_tuning", "prefix_tuning", "prompt_tuning"])
def test_virtual_tokens_on_a_decoder_are_pefts_own(tiny_model, tmp_path, method):
    """Of one note: of several, peft's prompts have a decoder pool the padding. peft's prefixes take positions, ours do not."""
    import peft

    names = {
        "p_tuning": "PromptEncoderConfig",
        "prefix_tuning": "PrefixTuningConfig",
        "prompt_tuning": "PromptTuningConfig",
    }
    base = other_family("llama", tiny_model, tmp_path / "base")
    ours, tokenizer = made(base, method, VIRTUAL)
    inputs = batch(tokenizer, TEXTS[1:2])
    plain = made(base)[0]
    plain.load_state_dict(ours.state_dict(), strict=False)
    theirs = peft.get_peft_model(plain, getattr(peft, names[method])(task_type=peft.TaskType.SEQ_CLS, **VIRTUAL))
    theirs.prompt_encoder["default"].load_state_dict(ours.base_model.adapter.encoder.state_dict())
    shifted = (
        {"position_ids": torch.arange(inputs["input_ids"].shape[1])[None] + 5} if method == "prefix_tuning" else {}
    )
    with torch.no_grad():
        assert (ours.eval()(**inputs, **shifted).logits - theirs.eval()(**inputs).logits).abs().max() < 1e-6


@pytest.mark.parametrize("causal", [False, True])
def test_a_prefix_is_attended_to_by_the_formula(causal):
    """One layer's attention against softmax over prefix and own keys, written out."""
    from diagnosis.training.adapters import prefixed_attention

    torch.manual_seed(0)
    query, key, value = torch.randn(2, 4, 3, 8), torch.randn(2, 2, 3, 8), torch.randn(2, 2, 3, 8)
    rows_ = torch.randn(4, 2, 5, 8)
    adapter = types.SimpleNamespace(tokens=5, rows=rows_)
    module = types.SimpleNamespace(
        prefix_of=(adapter, 1), is_causal=causal, num_key_value_groups=2, training=False, layer_idx=1
    )
    found, _ = prefixed_attention(module, query, key, value, None, scaling=0.3)
    keys = torch.cat([rows_[2].expand(2, -1, -1, -1), key], 2).repeat_interleave(2, dim=1)
    values = torch.cat([rows_[3].expand(2, -1, -1, -1), value], 2).repeat_interleave(2, dim=1)
    scores = 0.3 * query @ keys.transpose(2, 3)
    if causal:
        scores[..., 5:] += torch.full((3, 3), -torch.inf).triu(1)
    assert torch.allclose(found, (scores.softmax(-1) @ values).transpose(1, 2), atol=1e-6)


def test_activation_checkpointing_keeps_the_prefix(llama):
    """Caches of the past, as which peft hands prefixes over, are dropped by it."""
    gradients = []
    for checkpointing in (False, True):
        model, tokenizer = made(llama, "prefix_tuning", VIRTUAL)
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        model.train()(**batch(tokenizer)).logits.sum().backward()
        gradients.append(model.base_model.adapter.encoder.embedding.weight.grad)
    assert gradients[0].abs().max() > 0
    assert torch.allclose(gradients[0], gradients[1], atol=1e-7)


def test_virtual_tokens_take_positions_and_prefixes_do_not(tiny_model):
    model, tokenizer = made(tiny_model)
    base = "models/adapted"
    check_length(model, 128, "prefix_tuning", {"prefix_tuning": VIRTUAL}, base)
    for method in ("p_tuning", "prompt_tuning"):
        check_length(model, 123, method, {method: VIRTUAL}, base)
        with pytest.raises(
            UserError, match="max_tokens is 124, but models/adapted takes 128 at most, of which 5 are virtual"
        ):
            check_length(model, 124, method, {method: VIRTUAL}, base)
        adapted = made(tiny_model, method, VIRTUAL)[0].eval()
        assert adapted(input_ids=torch.full((1, 123), 7)).logits.shape == (1, 3)
    assert made(tiny_model, "prefix_tuning", VIRTUAL)[0].eval()(input_ids=torch.full((1, 128), 7)).logits.shape == (
        1,
        3,
    )


def test_pairs_keep_their_segments(tiny_model):
    """Virtual tokens are of the first segment, and the second text's segment moves on with it."""
    model, tokenizer = made(tiny_model, "prompt_tuning", VIRTUAL)
    seen = {}
    model.bert.embeddings.register_forward_pre_hook(lambda module, args, kwargs: seen.update(kwargs), with_kwargs=True)
    ids, kinds, _ = tokenise(tokenizer, ["chest pain"], ["fever"], 32)
    model.eval()(**pad(ids, kinds, 0))
    assert seen["token_type_ids"].tolist() == [[0] * 5 + kinds[0].tolist()]


# ---- decoders


def test_a_decoder_without_padding_gets_its_end_of_text(stage, folder, llama):
    """Saved, so that whoever loads the folder pads as the training did; a note alone says what it says in a batch."""
    write_training(folder, llama)
    write_shards(folder)
    assert stage("finetune", QUICK | {"method": "full"}) == (0, "")
    assert stage("predict", {"threads": 1, "batch_size": 4}) == (0, "")
    config = json.loads((folder / "models/finetuned/config.json").read_text())
    tokenizer = AutoTokenizer.from_pretrained(folder / "models/finetuned")
    assert config["pad_token_id"] == tokenizer.pad_token_id == tokenizer.convert_tokens_to_ids("[SEP]")
    assert tokenizer.padding_side == "right"
    model = AutoModelForSequenceClassification.from_pretrained(folder / "models/finetuned").eval()
    predicted = {
        row["note_id"]: row["logits"] for row in pq.read_table(folder / "data/predictions.parquet").to_pylist()
    }
    for note in pq.read_table(folder / "data/split/test.parquet").to_pylist():
        logits = model(**tokenizer(note["text"], return_tensors="pt")).logits[0]
        assert logits.tolist() == pytest.approx(predicted[note["note_id"]], abs=1e-5)


def test_a_decoder_pools_its_last_token(llama):
    model, tokenizer = made(llama)
    ids = torch.tensor([tokenise(tokenizer, TEXTS[1:2], None, 32)[0][0].tolist()])
    hidden = model.eval().model(input_ids=ids).last_hidden_state
    position = -2 if ids[0, -1] == tokenizer.pad_token_id else -1  # an end of text at the end is padding now
    assert torch.allclose(model(input_ids=ids).logits[0], model.score(hidden[0, position]), atol=1e-6)


def test_neither_padding_nor_end_of_text(llama, tmp_path):
    folder = shutil.copytree(llama, tmp_path / "base")
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"eos_token": None}))
    with pytest.raises(UserError, match="names no padding token"):
        made(folder)


# ---- resuming


class Stop(TrainerCallback):
    """Ends the training as a kill would, after the first whole checkpoint."""

    def on_epoch_begin(self, args, state, control, **kwargs):
        if state.epoch and state.epoch >= 1:
            raise KeyboardInterrupt


RESUMED = {
    "top_layers": ("top_layers", {"layers": 1}),
    "bottleneck": ("bottleneck", {"size": 8}),
    "dora": ("lora", {"r": 4, "use_dora": True, "lora_dropout": 0.1}),
    "vera": ("vera", {}),
    "prefix": ("prefix_tuning", VIRTUAL | {"prefix_projection": True}),
    "p_tuning": ("p_tuning", VIRTUAL),
}


@pytest.mark.parametrize("case", RESUMED)
def test_resumed_is_uninterrupted(tmp_path, tiny_model, case):
    """The encoder of virtual tokens comes back too, of which peft's own checkpoints keep the outcome alone."""
    method, options = RESUMED[case]
    write_training(tmp_path, tiny_model, notes=24)
    small = {"threads": 1, "epochs": 2, "max_tokens": 32, "batch_size": 8, "learning_rate": 1e-2, "best_metric": "loss"}
    params = types.SimpleNamespace(**merged(default_params()["finetune"], small))

    def train(folder, *callbacks):
        model, tokenizer = made(tmp_path / "models/adapted", method, options)
        read = {"tokenizer": tokenizer, "metadata": metadata(), "max_tokens": 32}
        trainer = make_trainer(
            model,
            params,
            folder=folder,
            device=prepare_device(1),
            train=read_dataset(tmp_path / "data/balanced.parquet", weighted=True, **read),
            validation=read_dataset(tmp_path / "data/split/validation.parquet", weighted=False, **read),
            collator=Collator(pad_id=0, classes=3, multi_label=False, types=False),
        )
        for callback in callbacks:
            trainer.add_callback(callback)
        return model, train_or_resume(trainer, 0)

    whole, _ = train(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "killed", Stop())
    resumed, epochs = train(tmp_path / "killed")
    assert epochs == 1
    for (name, a), (_, b) in zip(whole.state_dict().items(), resumed.state_dict().items(), strict=True):
        assert torch.equal(a, b), name


# ---- optimiser and 4 bits


def test_the_default_optimiser_is_the_trainers():
    assert OPTIMIZERS[default_params()["finetune"]["optimizer"]] == TrainingArguments(output_dir="x").optim.value


def test_another_optimiser_gives_other_weights(stage, folder, tiny_model):
    write_training(folder, tiny_model, notes=24)
    loss = {}
    for optimizer in ("adamw_fused", "adamw", "adafactor"):
        assert stage("finetune", QUICK | {"method": "full", "optimizer": optimizer}) == (0, "")
        loss[optimizer] = json.loads((folder / "metrics/finetune.json").read_text())["validation"]["loss"]
    assert loss["adamw"] == pytest.approx(loss["adamw_fused"], abs=1e-4)  # the same arithmetic in another order
    assert loss["adafactor"] != loss["adamw"] and loss["adafactor"] < 1.2


def test_eight_bits_need_a_gpu():
    with pytest.raises(UserError, match="finetune.optimizer is adamw_8bit, which needs a GPU"):
        check_optimizer("adamw_8bit", CPU)
    check_optimizer("adafactor", CPU)


@pytest.mark.parametrize("kind", ["Bert", "Llama"])
def test_qlora_merges_into_full_precision(kind):
    """The arithmetic, by bitsandbytes' own CPU kernels: 4-bit weights that do not move, and a merge that rounds nothing."""
    pytest.importorskip("bitsandbytes", reason="requirements-gpu.txt is not installed")
    transformers.set_seed(0)
    shape = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128}
    config = getattr(transformers, f"{kind}Config")(vocab_size=99, num_labels=3, pad_token_id=0, **shape)
    for name in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
        setattr(config, name, 0.0)
    model = getattr(transformers, f"{kind}ForSequenceClassification")(config)
    model = adapt_model(model, "qlora", {"qlora": {"r": 4, "lora_alpha": 8}}, CPU)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    inputs = {"input_ids": torch.randint(1, 99, (4, 9))}
    # Not in evaluation: bitsandbytes then lays the weights out anew for a CPU, which it does not on a GPU.
    steps(model, inputs).train()
    trained = model(**inputs).logits.detach()
    moved = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved == {name for name, weights in model.named_parameters() if weights.requires_grad}
    plain = merged_model(model)
    assert (plain.train()(**inputs).logits - trained).abs().max() < 1e-5
    assert {weights.dtype for weights in plain.parameters()} == {torch.float32}
    assert not [name for name, module in plain.named_modules() if "4bit" in type(module).__name__ or "lora" in name]
