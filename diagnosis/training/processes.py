"""One training in several processes: started by accelerate, each with its share of every batch, one of them writing."""

import io
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import distributed, nn

from diagnosis.errors import UserError

CONFIGS = Path(__file__).with_name("launch")  # one of accelerate's own config files a way to launch
STARTED = "DIAGNOSIS_PROCESSES"  # set for the processes that `launch` starts


def started() -> bool:
    """Whether this process is one of those that `launch` started."""
    return STARTED in os.environ


def is_first() -> bool:
    """Whether this process is the one that writes: the only one, or the first of several."""
    return not started() or os.environ["RANK"] == "0"


def check_processes(launch: str | None, processes: int, batch_size: int, windows_at_once: int | None) -> None:
    """Raises UserError where this machine or this batch cannot be shared so."""
    if (launch is None) != (processes == 1):
        raise UserError(
            f"params.yaml: finetune.processes is {processes} and finetune.launch is {launch or 'null'}: several processes need "
            "ddp, fsdp or deepspeed, and one needs null"
        )
    if launch and windows_at_once:
        raise UserError(
            f"params.yaml: finetune.windows_at_once is {windows_at_once} and finetune.launch is {launch}: windows that wait run "
            "twice, which the processes' exchange of gradients does not allow; set one of the two to null"
        )
    if batch_size % processes:
        raise UserError(
            f"params.yaml: finetune.batch_size is {batch_size}, which {processes} processes cannot share evenly: make it a "
            "multiple, for it counts the notes of all processes together"
        )
    if launch in ("fsdp", "deepspeed") and not torch.cuda.is_available():
        raise UserError(f"params.yaml: finetune.launch is {launch}, which needs GPUs: without, set it to ddp")
    if launch == "deepspeed" and find_spec("deepspeed") is None:
        raise UserError("params.yaml: finetune.launch is deepspeed, which is not installed: `pip install deepspeed`")
    if processes > 1 and torch.cuda.is_available() and torch.cuda.device_count() < processes:
        raise UserError(
            f"params.yaml: finetune.processes is {processes}, but this machine has {torch.cuda.device_count()} GPUs: lower it"
        )


def launch(module: str, kind: str, processes: int, threads: int) -> None:
    """Run `python -m module` in `processes` processes, and show what they show.

    Raises UserError with the line of the first one that ended with an error, or with how the launcher ended.
    """
    environment = {"OMP_NUM_THREADS": str(threads), **os.environ, STARTED: str(processes)}
    command = [
        *(sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(CONFIGS / f"{kind}.yaml")),
        *("--num_processes", str(processes), "--main_process_port", "0", "--module", module),
    ]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    error = None
    for line in io.TextIOWrapper(process.stderr, "utf-8", errors="replace", newline=""):  # bars end their lines by \r
        if error is None and line.startswith("error: "):
            error = line.removeprefix("error: ")
        elif error is None:  # what follows is the launcher's account of it
            sys.stderr.write(line)
            sys.stderr.flush()
    if code := process.wait():
        raise UserError(
            error or f"the training in {processes} processes ended with exit code {code}: see the lines above"
        )


class BatchShares:
    """Batch sampler: of each batch that one process alone would take, the notes of one of several.

    sampler: yields row numbers, `batch_size` of them a batch, `accumulation` batches a step. The order is drawn by the first
    process. A last batch with fewer notes than processes joins the one before it; where its step has no other, each process
    takes all of it, which leaves the step's mean loss as it is.
    """

    def __init__(self, sampler, batch_size: int, accumulation: int, process: int, processes: int):
        self.sampler, self.batch_size, self.accumulation = sampler, batch_size, accumulation
        self.process, self.processes = process, processes

    def __iter__(self):
        order = [[int(row) for row in self.sampler]]
        if distributed.is_initialized():
            distributed.broadcast_object_list(order, src=0)
        for batch in self.batches(order[0]):
            yield batch[self.process :: self.processes] if len(batch) >= self.processes else batch

    def batches(self, order: list[int]):
        step = self.batch_size * self.accumulation
        for start in range(0, len(order), step):
            rows = order[start : start + step]
            batches = [rows[at : at + self.batch_size] for at in range(0, len(rows), self.batch_size)]
            if len(batches) > 1 and len(batches[-1]) < self.processes:
                batches[-2:] = [batches[-2] + batches[-1]]
            yield from batches

    def __len__(self) -> int:
        return sum(1 for _ in self.batches(list(range(len(self.sampler)))))


def gathered(model: nn.Module) -> nn.Module:
    """The model with whole weights where its processes held a part each (fully sharded data parallel); all must call."""
    for module in model.modules():
        for name, weights in list(module.named_parameters(recurse=False)):
            if hasattr(weights, "full_tensor"):
                whole = weights.detach().full_tensor().cpu()
                setattr(module, name, nn.Parameter(whole, requires_grad=weights.requires_grad))
    return model


def wait_for_all() -> None:
    if distributed.is_initialized():
        distributed.barrier()


def part() -> None:
    """The end of a process that was started among others."""
    if distributed.is_initialized():
        distributed.barrier()
        distributed.destroy_process_group()
