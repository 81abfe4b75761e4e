"""Cost of the stage audit_data by the number of notes: processor seconds and memory at the peak.

    python -m benchmarks.audit_data      # after `make repro`; about two minutes

The notes are those of the last run, repeated under new ids, each with a word more, so that no two texts are the same.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from diagnosis.errors import UserError, run
from diagnosis.files import require
from diagnosis.notes import note_writer, open_notes, read_metadata, read_notes

ROOT = Path(__file__).resolve().parents[1]
TABLES = [
    "notes",
    "deidentified",
    "clean",
    *(f"split/{name}" for name in ("train", "validation", "calibration", "test")),
]
SIZES = (1_000, 10_000, 100_000)
IDS = ("note_id", "patient_id", "duplicate_cluster")


def main():
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    require(ROOT / "data/clean.parquet", "run `make repro` first")
    print("| notes | processor seconds | MB at the peak |\n|---|---|---|")
    for size in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            lay(Path(folder), size)
            seconds, megabytes = measured(Path(folder))
        print(f"| {size:,} | {seconds:.1f} | {megabytes:.0f} |", flush=True)


def lay(folder: Path, size: int) -> None:
    """What the stage reads, about `size` notes of it."""
    (folder / "models").symlink_to(ROOT / "models")
    (folder / "metrics").mkdir()
    for name in ("params.yaml", "metrics/ingest.json"):
        (folder / name).write_text((ROOT / name).read_text())
    total = open_notes(ROOT / "data/clean.parquet").metadata.num_rows
    for name in TABLES:
        source = ROOT / f"data/{name}.parquet"
        wanted = round(size * open_notes(source).metadata.num_rows / total)
        with note_writer(folder / f"data/{name}.parquet", read_metadata(source)) as writer:
            written = copy = 0
            while written < wanted:
                for batch in read_notes(source):
                    batch = batch[: wanted - written]
                    writer.write(
                        note | {key: f"{copy}-{note[key]}" for key in IDS} | {"text": f"{note['text']} {copy}"}
                        for note in batch
                    )
                    written += len(batch)
                copy += 1


def measured(folder: Path) -> tuple[float, float]:
    process = subprocess.Popen(
        [sys.executable, "-m", "stages.audit_data"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise UserError("audit_data failed: run `dvc repro audit_data`")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


if __name__ == "__main__":
    run(main)
