"""What the leakage audit says of the embedded corpus under clean's options and of two open ones, and how much copied text it finds; docs/leakage.md.

    python -m benchmarks.leakage    # five minutes on one core

The TF-IDF baseline stands for the model, so that nothing is trained. The copied passages are those of truth/notes.csv.gz.
"""

import contextlib
import csv
import gzip
import importlib
import os
import tempfile
from collections import Counter
from pathlib import Path

from ruamel.yaml import YAML

from diagnosis.errors import run
from diagnosis.files import read_json
from diagnosis.leakage.copy_forward import by_patient, copied, templates
from diagnosis.notes import read_notes
from diagnosis.phi.keys import read_key
from diagnosis.scores.predictions import prediction_writer, read_predictions

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("DIAGNOSIS_DATA", ROOT.parent / "shared" / "data"))
KEYS = {"key_file": str(ROOT / "keys/public.key"), "known_fields": str(ROOT / "keys/no_known_fields.csv")}
TO_CLEAN, FROM_CLEAN = ["ingest", "deidentify"], ["clean", "split", "baseline"]
OPTIONS = {
    "admission (the default)": {},
    "the whole note": {"visible_at": "all"},
    "the whole note, names of any class masked": {"visible_at": "all", "mask_label_mentions": "all"},
    "the whole note, `cut_sections: [diagnosis]`": {"visible_at": "all", "cut_sections": ["diagnosis"]},
}
MTSAMPLES = {
    "corpus": "mtsamples",
    "labels": "own",
    "path": str(DATA / "mtsamples" / "mtsamples.csv.gz"),
    "conflicts": "specific",
}
SYMPTOMS = {"corpus": "symptom2disease", "labels": "own", "path": str(DATA / "symptom2disease" / "Symptom2Disease.csv")}
ANSWERS = ["diagnosis", "impression", "assessment", "title"]
OPEN = {
    "MTSamples": (MTSAMPLES, {"visible_at": "all"}),
    "MTSamples, answers cut": (MTSAMPLES, {"visible_at": "all", "cut_sections": ANSWERS}),
    "Symptom2Disease": (SYMPTOMS, {}),
    "Symptom2Disease, names of any class masked": (SYMPTOMS, {"mask_label_mentions": "all"}),
}
PROBES = ("answer_sections", "label_mentions", "metadata", "template", "marks")


def main():
    print(
        f"| notes | {' | '.join(probe.replace('_', ' ') for probe in PROBES)} | macro-F1 | where no probe succeeds (notes) |"
    )
    print("|---|" + "---|" * (len(PROBES) + 2))
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
        stages(["synthesize", *TO_CLEAN], {})
        for name, options in OPTIONS.items():
            stages(FROM_CLEAN, {"clean": options})
            print(row(name, audited({"clean": options})), flush=True)
            if not options:
                tables = [found(min_words) for min_words in (3, 4, 5)]
        read = None
        for name, (ingest, options) in OPEN.items():
            changes = {"ingest": ingest, "clean": options}
            stages([*(TO_CLEAN if ingest != read else []), *FROM_CLEAN], changes)
            print(row(name, audited(changes)), flush=True)
            read = ingest
    print(
        "\n| `copied_min_words` | pairs of notes found of those planted | of the pairs found, planted |\n|---|---|---|"
    )
    print("\n".join(tables))


def stages(names: list[str], changes: dict) -> None:
    """Run stages in the current folder with the repository's params and changes by section."""
    params = YAML(typ="safe", pure=True).load(ROOT / "params.yaml")
    for section, values in ({"deidentify": KEYS} | changes).items():
        params[section] |= values
    with open("params.yaml", "w") as stream:
        YAML().dump(params, stream)
    for name in names:
        importlib.import_module(f"stages.{name}").main()


def audited(changes: dict) -> dict:
    table, metadata = read_predictions(Path("data/baseline.parquet"))
    table["patient_id"] = table["patient_id"].astype(object).where(table["patient_id"].notna(), None)
    with prediction_writer(Path("data/predictions.parquet"), **metadata) as write:
        write(table[table["model"] == "tfidf_logreg"].assign(model="model").to_dict("records"))
    stages(["audit_leakage"], changes)
    return read_json(Path("metrics/audit_leakage.json"))["validation"]


def row(name: str, found: dict) -> str:
    cells = []
    for probe in PROBES:
        of = found["probes"][probe]["model_text"]
        cells.append(f"{round(of['lift']['value'], 2) + 0:.2f} {of['verdict'].replace('_', ' ')}")
    rest = found["model"]["where_no_probe_succeeds"]
    shown = "–" if rest["macro_f1"] is None else f"{rest['macro_f1']:.2f}"
    return f"| {name} | {' | '.join(cells)} | {found['model']['all']['macro_f1']:.2f} | {shown} ({rest['n']}) |"


def found(min_words: int) -> str:
    """Pairs of notes that share text, against the planted ones, as a line of the second table."""
    key, notes_of = read_key(Path(KEYS["key_file"]), {"public": True}), {}
    with gzip.open("data/raw/synthetic/truth/notes.csv.gz", "rt") as stream:
        told = [row | {"note": key.rekey("note_id", row["note_id"])} for row in csv.DictReader(stream)]
    for each in told:
        notes_of.setdefault(each["hadm_id"], []).append(each["note"])
    rows = [
        note for batch in read_notes(Path("data/clean.parquet"), ["note_id", "patient_id", "text"]) for note in batch
    ]
    there = {note["note_id"] for note in rows}
    planted = {
        frozenset((each["note"], other)) for each in told if each["copied_from"] for other in notes_of[each["copied_from"]]
        if {each["note"], other} <= there
    }  # fmt: skip
    groups = list(by_patient(rows, Counter(note["patient_id"] for note in rows)))
    template, pairs = templates(groups, min_words=min_words, share=0.02), set()
    for group in groups:
        shared = [{piece.words for piece in of} for of in copied([note["text"] for note in group], template, min_words)]
        for i, one in enumerate(shared):
            pairs |= {frozenset((group[i]["note_id"], group[j]["note_id"])) for j in range(i) if one & shared[j]}
    right = len(pairs & planted)
    return f"| {min_words} | {right} of {len(planted)} ({right / len(planted):.2f}) | {right} of {len(pairs)} ({right / len(pairs):.2f}) |"


if __name__ == "__main__":
    run(main)
