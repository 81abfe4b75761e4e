"""One training in several processes: the shares of a batch, two gloo processes against one, accelerate's configs, clear lines."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from conftest import ROOT, default_params, merged, write_params
from safetensors.torch import load_file
from test_finetune import OUTPUTS, SMALL
from toy import rows, write_training

from diagnosis.errors import UserError
from diagnosis.training.processes import CONFIGS, STARTED, BatchShares, check_processes

# ---- shares


@pytest.mark.parametrize("notes", [1, 2, 3, 15, 16, 17, 35, 61, 64])
@pytest.mark.parametrize("batch, accumulation, processes", [(8, 1, 2), (8, 3, 2), (8, 2, 4), (4, 1, 4), (8, 1, 8)])
def test_each_step_has_the_mean_of_one_process(notes, batch, accumulation, processes):
    """Of every accumulated step, by hand: the sum of its losses over the number of its notes."""
    values = np.random.default_rng(notes).normal(size=notes)
    order = list(np.random.default_rng(1).permutation(notes))
    shares = [BatchShares(order, batch, accumulation, process, processes) for process in range(processes)]
    batches = [list(share) for share in shares]
    assert {len(share) for share in batches} == {len(shares[0])} and all(map(all, batches))
    step = batch * accumulation
    for number, start in enumerate(range(0, notes, step)):
        part = slice(number * accumulation, (number + 1) * accumulation)
        rows_of_step = [row for share in batches for each in share[part] for row in each]
        assert values[rows_of_step].mean() == pytest.approx(values[order[start : start + step]].mean())
        if notes - start >= processes:
            assert sorted(rows_of_step) == sorted(order[start : start + step])
    assert max(len(each) for share in batches for each in share) <= max(batch // processes + 1, processes - 1)


# ---- two processes against one

# Of a higher rate nothing but the attention's key biases would differ by more than 1e-5: their gradient is zero but for
# rounding, which Adam scales up.
CHANGES = SMALL | {
    "method": "full", "epochs": 12, "body_dropout": 0.0, "accumulation_steps": 2, "learning_rate": 1e-3,
    "early_stopping_patience": 3, "best_metric": "accuracy",
}  # fmt: skip


def lay_out(folder, model, changes, notes=61):
    write_training(folder, model, notes=notes)
    config = folder / "models/adapted/config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"classifier_dropout": 0.0}))
    write_params(folder, {"finetune": merged(default_params()["finetune"], changes)})
    return folder


def start(folder):
    return subprocess.Popen(
        [sys.executable, "-m", "stages.finetune"], cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def test_two_processes_killed_and_resumed_give_the_result_of_one(stage, folder, tiny_model, tmp_path_factory):
    """Notes that no batch size divides, batches accumulated, an early stop: weights, scores and decisions are those of one."""
    lay_out(folder, tiny_model, {})
    assert stage("finetune", CHANGES) == (0, "")
    two = lay_out(tmp_path_factory.mktemp("two"), tiny_model, CHANGES | {"launch": "ddp", "processes": 2})
    process = start(two)
    while process.poll() is None and not list(two.glob(".checkpoints/*/checkpoint-*/complete")):
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not [path for path in OUTPUTS if (two / path).exists()], "the training ended before it was killed"

    process = start(two)
    shown, said = process.communicate()
    assert process.returncode == 0, said
    assert shown.count("resuming after epoch") == 1 and "Traceback" not in said
    one, both = (load_file(where / "models/finetuned/model.safetensors") for where in (folder, two))
    base = load_file(folder / "models/adapted/model.safetensors")
    assert one.keys() == both.keys()
    assert max((one[name] - both[name]).abs().max() for name in one) < 1e-5
    assert max((one[f"bert.{name}"] - base[name]).abs().max() for name in base) > 1e-3  # it did train
    found = [json.loads((where / "metrics/finetune.json").read_text()) for where in (folder, two)]
    assert found[0]["epochs_run"] < 12
    for name in ("best_epoch", "epochs_run", "parameters", "truncated"):
        assert found[0][name] == found[1][name]
    assert found[0]["validation"] == pytest.approx(found[1]["validation"], abs=1e-5)
    assert found[0]["train"] == pytest.approx(found[1]["train"], abs=1e-5)
    assert not list((two / ".checkpoints").iterdir())
    assert sorted(p.name for p in (two / "models/finetuned").iterdir()) == sorted(
        p.name for p in (folder / "models/finetuned").iterdir()
    )


def test_an_error_in_the_processes_is_one_line(tmp_path, tiny_model):
    from toy import metadata, write_table

    folder = lay_out(tmp_path, tiny_model, SMALL | {"launch": "ddp", "processes": 2})
    prior = {"train_prior": None, "balanced_prior": None}
    notes = [row | {"labels": ["liver"]} for row in rows(3)]
    write_table(folder / "data/balanced.parquet", [*rows(9), *notes], metadata(**prior), weighted=True)
    process = start(folder)
    said = process.communicate()[1]
    assert process.returncode == 1
    assert said.splitlines()[-1].startswith(
        "error: data/balanced.parquet: 3 of 12 notes have a label that is not among"
    )
    assert said.count("error: ") == 1 and "Traceback" not in said and "fever" not in said
    assert not [path for path in OUTPUTS if (folder / path).exists()]


# ---- what is refused


@pytest.mark.parametrize(
    "launch, processes, batch, message",
    [
        (None, 2, 8, "finetune.processes is 2 and finetune.launch is null"),
        ("ddp", 1, 8, "finetune.processes is 1 and finetune.launch is ddp"),
        ("ddp", 3, 16, "finetune.batch_size is 16, which 3 processes cannot share evenly"),
        ("fsdp", 2, 8, "finetune.launch is fsdp, which needs GPUs"),
        ("deepspeed", 2, 8, "finetune.launch is deepspeed, which needs GPUs"),
    ],
)
def test_what_cannot_be_shared_is_one_line(launch, processes, batch, message):
    if torch.cuda.is_available() and "GPUs" in message:
        pytest.skip("this machine has a GPU")
    with pytest.raises(UserError, match=message):
        check_processes(launch, processes, batch, None)


def test_windows_that_wait_are_for_one_process():
    with pytest.raises(UserError, match="finetune.windows_at_once is 4 and finetune.launch is ddp"):
        check_processes("ddp", 2, 8, 4)


def test_deepspeed_that_is_not_installed(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(UserError, match="deepspeed, which is not installed"):
        check_processes("deepspeed", 2, 8, None)


def test_more_processes_than_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match="this machine has 1 GPUs"):
        check_processes("ddp", 2, 8, None)


# ---- accelerate's config files


@pytest.mark.parametrize(
    "kind, distributed",
    [("ddp", "MULTI_GPU"), ("fsdp", "FSDP"), ("deepspeed", "DEEPSPEED")],
    ids=["ddp", "fsdp", "deepspeed"],
)
def test_accelerate_reads_the_config(kind, distributed):
    from accelerate.commands.config.config_args import load_config_from_file
    from accelerate.commands.launch import launch_command_parser

    config = load_config_from_file(str(CONFIGS / f"{kind}.yaml"))
    assert (config.distributed_type.value, config.num_machines, config.use_cpu) == (distributed, 1, False)
    known = {action.dest for action in launch_command_parser()._actions}
    assert set(config.fsdp_config or {}) <= known
    assert set(config.deepspeed_config or {}) <= known
    assert sorted(file.stem for file in CONFIGS.glob("*.yaml")) == ["ddp", "deepspeed", "fsdp"]


# ---- weights of which each process holds a part


@pytest.mark.parametrize("method", ["full", "lora"])
def test_fully_sharded_processes_give_the_result_of_one(stage, folder, tiny_model, tmp_path_factory, method):
    """The stage, the Trainer, accelerate and its config as on GPUs, the best epoch loaded from a checkpoint; on gloo."""
    changes = SMALL | {"method": method, "body_dropout": 0.0, "learning_rate": 1e-3, "best_metric": "loss"}
    lay_out(folder, tiny_model, {})
    assert stage("finetune", changes) == (0, "")
    two = lay_out(tmp_path_factory.mktemp("two"), tiny_model, changes | {"launch": "fsdp", "processes": 2})
    launched = [
        *(sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(CONFIGS / "fsdp.yaml")),
        *("--num_processes", "2", "--main_process_port", "0", str(ROOT / "tests/fsdp_on_cpu.py")),
    ]
    done = subprocess.run(launched, cwd=two, env={**os.environ, STARTED: "2"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    found = [line.split() for line in done.stdout.splitlines() if "SHARDED" in line]
    assert found and all(line[1] == line[3] for line in found)
    one, both = (load_file(where / "models/finetuned/model.safetensors") for where in (folder, two))
    assert one.keys() == both.keys()
    assert max((one[name] - both[name]).abs().max() for name in one) < 1e-5
    for file in ("metrics/finetune.json", "models/finetuned/config.json", "models/finetuned/diagnosis.json"):
        assert (folder / file).read_text() == (two / file).read_text()
