"""Seconds and peak memory of the stages on 1,000, 10,000 and 100,000 invented notes; the table of docs/architecture.md.

    python -m benchmarks.scaling              # about an hour on 2 cores
    python -m benchmarks.scaling 1000 5000    # other sizes, in rising order

Each stage is a process of its own, as under `dvc repro`; its processor time and its peak memory are the operating system's
figures. finetune and predict are left out: their cost is tokens times epochs (docs/finetune.md), and 100,000 notes
are a GPU's work. calibrate, evaluate and audit_fairness take the TF-IDF baseline in the model's place.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from ruamel.yaml import YAML

from diagnosis.errors import UserError, run
from diagnosis.files import write_json

ROOT = Path(__file__).resolve().parents[1]
SIZES = [1_000, 10_000, 100_000]
STAGES = [
    "synthesize", "ingest", "deidentify", "clean", "split", "augment", "rebalance", "baseline", "calibrate", "evaluate", "audit_fairness", "audit_leakage",
]  # fmt: skip
RESULTS, PAGE = ROOT / "benchmarks" / "scaling.json", ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- table of benchmarks/scaling.py -->", "<!-- end of table -->"


def main():
    sizes = [int(size) for size in sys.argv[1:]] or SIZES
    if sizes != sorted(set(sizes)) or sizes[0] < 200:
        raise UserError("give sizes in notes, from 200 on, in rising order: python -m benchmarks.scaling 1000 10000")
    measured = {}
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            lay_out(Path(folder), size)
            for stage in STAGES:
                measured.setdefault(stage, {})[str(size)] = cost(Path(folder), stage)
                print(size, stage, measured[stage][str(size)], flush=True)
                if stage == "baseline":
                    take_baseline_for_model(Path(folder))
    write_json(RESULTS, measured)
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{table(measured, sizes)}{END}{rest.partition(END)[2]}")


def lay_out(folder: Path, size: int) -> None:
    """The committed params with the size, and one augmented copy of each note so that augment has work to do."""
    params = YAML(typ="safe", pure=True).load(ROOT / "params.yaml")
    params["synthesize"] |= {"notes": size, "patients": round(0.75 * size), "bayes_draws": 1000}
    params["augment"] |= {"copies": 1}
    with open(folder / "params.yaml", "w") as stream:
        YAML().dump(params, stream)
    shutil.copytree(ROOT / "keys", folder / "keys")


def cost(folder: Path, stage: str) -> dict:
    """Processor seconds (all cores) and peak resident memory in MB of a stage's process."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with open(folder / "stage.log", "w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", f"stages.{stage}"], cwd=folder, env=environment, stdout=log, stderr=log
        )
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise UserError(f"{stage} failed: {(folder / 'stage.log').read_text().strip().splitlines()[-1]}")
    return {"seconds": round(usage.ru_utime + usage.ru_stime, 1), "peak_mb": round(usage.ru_maxrss / 1024)}


def take_baseline_for_model(folder: Path) -> None:
    scored = pq.read_table(folder / "data/baseline.parquet")
    rows = scored.filter(pc.equal(scored["model"], "tfidf_logreg"))
    logits = pa.array(
        [np.log(np.maximum(row, 1e-9)) for row in rows["probabilities"].to_numpy()], pa.list_(pa.float32())
    )
    rows = rows.set_column(rows.column_names.index("logits"), rows.schema.field("logits"), logits)
    model = pa.array(["model"] * len(rows))
    rows = rows.set_column(rows.column_names.index("model"), rows.schema.field("model"), model)
    pq.write_table(rows, folder / "data/predictions.parquet")


def table(measured: dict, sizes: list[int]) -> str:
    rows = ["| stage | " + " | ".join(f"{size:,} notes" for size in sizes) + " |", "|---|" + "---|" * len(sizes)]
    for stage, costs in measured.items():
        cells = [f"{costs[str(size)]['seconds']:,.1f} s, {costs[str(size)]['peak_mb']:,} MB" for size in sizes]
        rows.append(f"| `{stage}` | " + " | ".join(cells) + " |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    run(main)
