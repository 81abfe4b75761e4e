"""Trainings killed at a chosen moment and resumed, and one that runs out of memory, in children of one process that has paid the
imports; `python tests/killed.py case.json` runs what the JSON says in folders that are laid out already.
"""

import json
import os
import resource
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from transformers import Trainer  # noqa: E402

from diagnosis.errors import run  # noqa: E402
from diagnosis.training.trainer import Watch  # noqa: E402
from stages import finetune  # noqa: E402


def kill(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)


def in_mid_epoch():
    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == 10:
            kill()

    Watch.on_step_begin = on_step_begin


def while_a_checkpoint_is_written():
    """Of the second one the weights are there, optimiser and states are not."""
    plain = Trainer._save_optimizer_and_scheduler

    def save(self, folder):
        kill() if "checkpoint-" in folder and self.state.epoch == 2 else plain(self, folder)

    Trainer._save_optimizer_and_scheduler = save


def while_the_last_checkpoint_is_marked():
    from diagnosis.training.checkpoints import KeepLastAndBest

    plain = KeepLastAndBest.on_save

    def on_save(self, args, state, control, **kwargs):
        plain(self, args, state, control, **kwargs)
        if state.epoch == 3:
            kill()

    KeepLastAndBest.on_save = on_save


def before_the_model_is_saved():
    finetune.save_trained = kill


MOMENTS = {
    f.__name__: f
    for f in (
        in_mid_epoch,
        while_a_checkpoint_is_written,
        while_the_last_checkpoint_is_marked,
        before_the_model_is_saved,
    )
}


def short_of_memory():
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 400 * 2**20,) * 2)


def child(folder: str, before) -> int:
    """finetune in `folder`, in a child process; returns its exit code, negative where a signal ended it."""
    process = os.fork()
    if process == 0:
        os.chdir(folder)
        if before:
            before()
        try:
            run(finetune.main)
            code = 0
        except SystemExit as end:
            Path("error.txt").write_text(str(end.code))
            code = 1
        sys.stdout.flush()
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


if __name__ == "__main__":
    case = json.loads(Path(sys.argv[1]).read_text())
    result = {}
    for name, folders in case["killed"].items():
        moment = MOMENTS[folders["moment"]]
        result[name] = [child(folders["whole"], None), child(folders["killed"], moment), child(folders["killed"], None)]
    for folder in case["short_of_memory"]:
        child(folder, short_of_memory)
    print(json.dumps(result))
