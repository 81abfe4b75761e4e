"""Send the model and the predictions to a DVC remote, if the data-use terms of the notes they come from allow it.

    python -m tools.push -r ward                     # check, send, then `dvc push -r ward` for the rest
    python -m tools.push --check git@host:team/x     # check an address only, e.g. in git's pre-push hook

All that comes from notes is `push: false` in dvc.yaml, so that `dvc push` alone never sends it: this is the one way for what
may go. The notes themselves have none.
"""

import argparse
import subprocess
from datetime import date
from pathlib import Path

from diagnosis.data_use import DataUse, check_sending, strictest
from diagnosis.errors import UserError, run
from diagnosis.files import read_json
from diagnosis.scores.predictions import read_predictions

INGEST = Path("metrics/ingest.json")
MODEL = Path("models/finetuned")
CARD = MODEL / "diagnosis.json"
PREDICTIONS = Path("data/predictions.parquet")
ADDRESSES = ("url", "endpointurl")  # of a remote: where its bytes really go


def main():
    parser = argparse.ArgumentParser(
        prog="python -m tools.push", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-r", "--remote", help="name of the DVC remote (default: core.remote)")
    parser.add_argument("--check", metavar="ADDRESS", help="say whether the terms allow this address; send nothing")
    arguments = parser.parse_args()
    if arguments.check is None:
        push(arguments.remote)
    elif stated := [path for path in (INGEST, CARD, PREDICTIONS) if path.exists()]:
        check_sending(terms_of(stated), arguments.check, "what comes from the notes", date.today())


def terms_of(paths: list[Path]) -> DataUse:
    """The terms of all these artefacts together."""
    stated = [read_predictions(path)[1] if path == PREDICTIONS else read_json(path) for path in paths]
    return strictest([DataUse.of(each.get("data_use") or {}) for each in stated])


def push(name: str | None) -> None:
    """Send both to the remote `name`; raises UserError before any connection where the terms or DVC's state forbid it."""
    from dvc.exceptions import DvcException
    from dvc.fs import get_fs_config
    from dvc.repo import Repo

    terms, wanted = terms_of([CARD, PREDICTIONS]), set()
    try:
        with Repo() as repo:
            name = name or repo.config["core"].get("remote")
            if not name:
                raise UserError("no DVC remote is named and there is no default: pass -r, or `dvc remote default`")
            remote = get_fs_config(repo.config, name=name)
            for address in (remote[key] for key in ADDRESSES if remote.get(key)):
                check_sending(terms, address, f"the model (DVC remote {name})", date.today())
            for path in (MODEL, PREDICTIONS):
                (out,) = repo.find_outs_by_path(str(path))
                if out.status():  # DVC sends what dvc.lock has, and the terms were read from the file
                    raise UserError(f"{path} is not the one in dvc.lock: run `dvc repro`")
                wanted |= set().union(*out.get_used_objs().values())
            result = repo.cloud.push(wanted, remote=name)
    except DvcException as error:
        raise UserError(f"DVC: {error}") from None
    if result.failed:
        raise UserError(f"{len(result.failed)} files were not sent to the DVC remote {name}: run it again")
    print(f"push: {MODEL} and {PREDICTIONS}: {len(result.transferred)} files sent to {name}")
    if subprocess.run(["dvc", "push", "-r", name]).returncode:
        raise UserError(f"`dvc push -r {name}` failed: see above")


if __name__ == "__main__":
    run(main)
