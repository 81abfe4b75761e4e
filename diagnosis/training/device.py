"""Where the model runs, and how it runs there the same way twice."""

import os
from contextlib import contextmanager

from diagnosis.errors import UserError

# cuBLAS is deterministic with a workspace of its own only, and reads this before the first call.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

import torch  # noqa: E402


def prepare_device(threads: int, deterministic: bool = True) -> torch.device:
    """The GPU where there is one (of several processes each its own), else the CPU with `threads` threads.

    On a GPU `deterministic` takes algorithms that give the same bytes twice; the CPU's do so anyway.
    """
    torch.set_num_threads(threads)
    if not torch.cuda.is_available():
        return torch.device("cpu")
    torch.use_deterministic_algorithms(deterministic)
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))


def check_precision(precision: str, device: torch.device, stage: str = "finetune") -> None:
    """Raises UserError where the device does not have the precision (bf16 runs on every CPU, if slowly)."""
    if precision == "fp16" and device.type == "cpu":
        raise UserError(f"params.yaml: {stage}.precision is fp16, which needs a GPU: set bf16 or fp32")
    if precision == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise UserError(f"params.yaml: {stage}.precision is bf16, which this GPU does not have: set fp16 or fp32")


@contextmanager
def out_of_memory_explained(*params: str):
    """Turn running out of memory into one line that names the params to lower."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        # The CPU's allocator has no exception class of its own.
        named = isinstance(error, (torch.OutOfMemoryError, MemoryError))
        if not named and "allocate memory" not in str(error) and "not enough memory" not in str(error):
            raise
        raise UserError(f"out of memory: lower {' or '.join(params)} in params.yaml") from None


@contextmanager
def missing_kernel_explained():
    """Turn an operation that has no deterministic algorithm into one line that names the param."""
    try:
        yield
    except RuntimeError as error:
        if "does not have a deterministic implementation" not in str(error):
            raise
        raise UserError(
            "this model needs an operation that has no deterministic algorithm on this GPU: set finetune.deterministic to "
            "false in params.yaml; two runs may then differ"
        ) from None
