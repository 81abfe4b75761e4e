"""finetune in fully sharded processes without a GPU: accelerate, which would take them for plain ones, is told otherwise.

Run by accelerate's launcher with diagnosis/training/launch/fsdp.yaml; the rest is the stage as it is.
"""

import os
import sys
from pathlib import Path

os.environ["ACCELERATE_TORCH_DEVICE"] = "cpu"
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from accelerate.state import PartialState  # noqa: E402
from accelerate.utils import DistributedType  # noqa: E402
from torch import distributed  # noqa: E402

from stages import finetune  # noqa: E402

PartialState._prepare_backend = lambda self, *args, **kwargs: ("gloo", DistributedType.MULTI_GPU)
distributed.init_process_group("gloo")
finetune.check_processes = lambda *args: None  # it refuses fsdp without a GPU
gathered = finetune.gathered


def counted(model):
    sharded = sum(hasattr(weights, "full_tensor") for weights in model.parameters())
    sys.stdout.write(f"SHARDED {sharded} of {len(list(model.parameters()))}\n")  # in one piece: two processes write
    return gathered(model)


finetune.gathered = counted
finetune.main()
