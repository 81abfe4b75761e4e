"""benchmarks/training.py in small, through the functions that the tables come from."""

import re

import pytest
import torch
from conftest import ROOT, needs_shared_data

from benchmarks import training
from benchmarks.training import DYNAMIC, OURS, PADDED, UNPADDED, Bench, finetune_params

pytestmark = [
    needs_shared_data,
    pytest.mark.skipif(not (ROOT / "models/base").is_dir(), reason="no models/base: run `dvc repro fetch_model`"),
]
SMALL = {"max_tokens": 128, "epochs": 1, "batch_size": 4, "threads": 1}
TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    return Bench(folder, training.random_bert(folder / "base", TINY), finetune_params(SMALL), 12)


def test_the_sides_lose_the_same_on_the_same_batches(bench):
    padded = training.losses(bench, PADDED, "fp32")
    assert len(padded) == 3 and len(set(padded)) == 3
    assert training.farthest(bench, [PADDED, DYNAMIC, OURS, UNPADDED], "fp32") < 1e-5


def test_the_notes_are_whole_and_none_is_of_the_test_set(bench):
    assert len(bench.texts) == 12
    assert 12 * 20 < bench.tokens <= 12 * 128


def test_every_side_is_timed_and_compared(bench, capsys):
    speed = training.timed(bench, [(PADDED, "fp32"), (UNPADDED, "fp32"), (UNPADDED, "bf16")], repeats=1)
    assert min(speed.values()) > 0
    training.print_speeds({(PADDED, "fp32"): 10.0, (UNPADDED, "fp32"): 25.0, (UNPADDED, "bf16"): 50.0})
    assert "| finetune, unpadded | bf16 | 50 |  |  | 2.00 |" in capsys.readouterr().out


def test_operations_by_hand(bench):
    lengths = training.tokenise(bench.model()[1], bench.texts, None, 128)[2]
    weights = 2 * (4 * 32 * 32 + 2 * 32 * 64)
    by_hand = sum(6 * weights * int(n) + 12 * 2 * 32 * int(n) ** 2 for n in lengths)
    assert training.training_operations(bench) == by_hand


def test_what_runs_on_a_gpu_runs_on_a_cpu(tmp_path, capsys):
    long_shape = TINY | {"vocab_size": 100, "max_position_embeddings": 256}
    training.on_gpu(
        tmp_path, shape=TINY, long_shape=long_shape, long_notes=[256, 40, 20], notes=8, repeats=1, compiled=False, changes=SMALL
    )  # fmt: skip
    printed = capsys.readouterr().out
    assert len(re.findall(r"utilisation of .*: \d+\.\d%", printed)) == 4
    apart = {kind: float(value) for kind, value in re.findall(r"(fp32|bf16): at most (\S+) apart", printed)}
    assert apart["fp32"] < 1e-5 and apart["bf16"] < 1e-2
    padded, unpadded = (training.step_memory(long_shape, [256, 40, 20], unpadded=side) for side in (False, True))
    assert unpadded < 0.8 * padded
    assert not torch.cuda.is_available()
