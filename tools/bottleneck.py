"""Score an edited concept bottleneck beside the one that `explain` fitted.

    cp models/concept_bottleneck.json data/edited.json      # change, add or remove numbers: log odds by finding and class
    python -m tools.bottleneck data/edited.json             # on the validation shard

The file is plain JSON: `intercept` by class, and by finding, as docs/explain.md names them, the log odds of each class.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from ruamel.yaml import YAML

from diagnosis.errors import UserError, run
from diagnosis.explain.concepts import apply_bottleneck, findings_by_shard, read_bottleneck
from diagnosis.params import PARAMS
from diagnosis.scores.metrics import Scorer
from diagnosis.scores.shards import Predictions
from diagnosis.text.concepts import Concepts

BOTTLENECK = Path("models/concept_bottleneck.json")
PREDICTIONS = Path("data/predictions.parquet")
SPLIT = Path("data/split")


def main():
    parser = argparse.ArgumentParser(
        prog="python -m tools.bottleneck", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path, help="the edited copy")
    parser.add_argument(
        "--shard",
        choices=["validation", "calibration", "test"],
        default="validation",
        help="whose notes are scored (default: validation; test is for looking, not for editing by)",
    )
    arguments = parser.parse_args()
    if not PARAMS.exists():
        raise UserError("params.yaml does not exist here: run tools from the repository's root")
    predictions = Predictions(PREDICTIONS)
    shard = predictions.shard(arguments.shard, "model")
    concepts = Concepts(Path(YAML(typ="safe", pure=True).load(PARAMS)["clean"]["concepts"]))
    found = findings_by_shard(concepts, SPLIT, [arguments.shard])[arguments.shard].of(shard.note_ids)
    said = {
        "model": shard.probabilities,
        "fitted": apply_bottleneck(read_bottleneck(BOTTLENECK, predictions.classes), found),
        "edited": apply_bottleneck(read_bottleneck(arguments.file, predictions.classes), found),
    }
    print(f"{arguments.shard}, {len(shard.note_ids)} notes")
    for name, probabilities in said.items():
        scorer = Scorer(replace(shard, probabilities=probabilities))
        values = scorer.headline(scorer.ones)
        print(f"{name:7} accuracy {values['accuracy'][0]:.4f}  macro-F1 {values['macro_f1'][0]:.4f}")
    moved = (said["fitted"].argmax(axis=1) != said["edited"].argmax(axis=1)).sum()
    print(f"notes whose likeliest class the edit changes: {moved}")


if __name__ == "__main__":
    run(main)
