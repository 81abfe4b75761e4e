"""What de-identification costs a classifier: leakage against macro-F1 and calibration, over detectors and replacements.

    python -m benchmarks.privacy_utility    # after `dvc repro baseline`; about half an hour on 2 cores, the detector's training in it

Every setting goes the pipeline's way: identifiers of the embedded corpus found and replaced, the notes cleaned, TF-IDF and logistic
regression (the stage baseline's) fitted on the train shard and scored on validation. The shards are those of the run in data/,
so the settings differ in the text alone. Test is not looked at. Writes benchmarks/privacy_utility.json and docs/privacy_utility.png.
"""

from collections import defaultdict
from functools import partial

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from benchmarks.phi_model import ROOT, default_params, trained
from diagnosis.errors import run
from diagnosis.files import write_json, written_aside
from diagnosis.notes import read_metadata, read_notes
from diagnosis.phi.detector import Known, detect, everywhere
from diagnosis.phi.keys import read_key
from diagnosis.phi.score import Gold, Score
from diagnosis.phi.surrogates import Masks, Surrogates
from diagnosis.phi_model.inference import beside, load_detector, spans_of
from diagnosis.scores.baselines import fit, tfidf, truth
from diagnosis.scores.bootstrap import interval_of, patient_weights
from diagnosis.scores.metrics import Scorer
from diagnosis.scores.shards import Shard
from diagnosis.spans.windows import words_of
from diagnosis.text.normalise import normalise
from diagnosis.text.sections import cut
from stages.clean import CleanParams, reduced
from stages.deidentify import patient_of

NOTES, GOLD = ROOT / "data" / "notes.parquet", ROOT / "data" / "gold_spans.parquet"
RESULTS, PLOT = ROOT / "benchmarks" / "privacy_utility.json", ROOT / "docs" / "privacy_utility.png"
THRESHOLDS = (0.999, 0.99, 0.9, 0.5)  # of the model, beside the one that its validation set
BOTH = (0.9,)  # of the model beside the rules, likewise
SAMPLES, SEED = 1000, 7
COLOURS = {"surrogate": "#1f3b57", "mask": "#c8741a"}
LEAKS = {
    "token": "identifying words left, %",
    "note": "notes with any left, %",
    "origin": "name words left, %\n(bar: name origins, best to worst; sign: worst)",
}
SCORES = {"macro_f1": "macro-F1", "ece": "ECE", "brier": "Brier score"}


def main():
    params = default_params()
    key = read_key(ROOT / params["deidentify"]["key_file"], read_metadata(NOTES)["data_use"])
    replacements = {"mask": Masks(), "surrogate": Surrogates(key, params["deidentify"]["max_date_shift_days"])}
    shards = {name: read_shard(name) for name in ("train", "validation")}
    notes = [
        note
        for batch in read_notes(NOTES, ["note_id", "patient_id", "text"])
        for note in batch
        if any(key.rekey("note_id", note["note_id"]) in shard for shard in shards.values())
    ]
    score = partial(
        downstream, shards=shards, classes=read_metadata(ROOT / "data/split/train.parquet")["classes"], params=params
    )
    ids = [key.rekey("note_id", note["note_id"]) for note in notes]

    settings = []
    plain, draws = score(dict(zip(ids, (note["text"] for note in notes), strict=True)))
    settings.append(
        {"detector": "none", "replacement": "none", "leakage": leakage(notes, [[]] * len(notes)), "scores": plain}
    )
    settings[0]["interval"] = {name: interval_of(name, plain[name], values, 0.0) for name, values in draws.items()}
    for detector, spans in findings(notes):
        left = leakage(notes, spans)
        for name, replacement in replacements.items():
            texts = [replacement.replace(n["text"], own, patient_of(n)) for n, own in zip(notes, spans, strict=True)]
            found, others = score(dict(zip(ids, texts, strict=True)))
            # Paired: the same weights of the same patients with and without.
            change = {}
            for metric in SCORES:
                value = found[metric] - plain[metric]
                change[metric] = {"value": value, **interval_of(metric, value, others[metric] - draws[metric])}
            settings.append(
                {"detector": detector, "replacement": name, "leakage": left, "scores": found, "change": change}
            )
    write_json(RESULTS, {"settings": settings, "notes": len(notes)})
    draw(settings)
    print(table(settings))


def read_shard(name: str) -> dict[str, dict]:
    """The shard's notes by re-keyed id, without their text."""
    columns = ["note_id", "patient_id", "labels"]
    return {
        note["note_id"]: note for batch in read_notes(ROOT / f"data/split/{name}.parquet", columns) for note in batch
    }


def findings(notes: list[dict]):
    """Yield each detector's name with its spans of every note, found as the stage deidentify finds them."""
    rules = [detect(note["text"]) for note in tqdm(notes, unit=" notes", desc="rules")]
    model = load_detector(trained())
    chosen = model.threshold
    words = [words_of(note["text"]) for note in notes]
    likely = []
    for start in tqdm(range(0, len(notes), 20), unit=" batches", desc="model"):
        texts = [note["text"] for note in notes[start : start + 20]]
        likely += model.probabilities(texts, words[start : start + 20])
    guesses = {
        threshold: [spans_of(n["text"], own, p, threshold) for n, own, p in zip(notes, words, likely, strict=True)]
        for threshold in sorted({*THRESHOLDS, *BOTH, chosen}, reverse=True)
    }
    nothing = [([], Known())] * len(notes)
    yield "rules", in_all_notes(notes, rules, None)
    for threshold in sorted({*THRESHOLDS, chosen}, reverse=True):
        yield (
            f"model {threshold:.3g}{' (chosen)' * (threshold == chosen)}",
            in_all_notes(notes, nothing, guesses[threshold]),
        )
    for threshold in sorted({*BOTH, chosen}, reverse=True):
        yield (
            f"both {threshold:.3g}{' (chosen)' * (threshold == chosen)}",
            in_all_notes(notes, rules, guesses[threshold]),
        )


def in_all_notes(notes: list[dict], found: list[tuple], guesses: list[list] | None) -> list[list]:
    """What was found in each note, with the model's guesses and what the patient's other notes gave away."""
    known = defaultdict(Known)
    for note, (_, own) in zip(notes, found, strict=True):
        known[patient_of(note)].update(own)
    result = []
    for number, (note, (spans, _)) in enumerate(zip(notes, found, strict=True)):
        union = spans if guesses is None else beside(note["text"], spans, guesses[number])
        result.append(everywhere(note["text"], union, known[patient_of(note)]))
    return result


def leakage(notes: list[dict], spans: list[list]) -> dict:
    """Shares of identifying words left, of notes with any left, of name words left by the origin of the name; precision beside."""
    gold, score = Gold(GOLD), Score()
    for note, found in zip(notes, spans, strict=True):
        score.add(note["text"], gold.of(note["note_id"], note["text"]), found)
    measures = score.measures()
    return {
        "token": 1 - measures["recall"],
        "note": 1 - measures["notes_clean"],
        "origin": {origin: 1 - recall for origin, recall in measures["by_origin"].items()},
        "precision": measures["precision"],
    }


def downstream(texts: dict[str, str], *, shards: dict, classes: list[str], params: dict) -> tuple[dict, dict]:
    """Scores of the cheap classifier on validation, and their bootstrap draws; `texts` are raw or de-identified, by id."""
    cleaning = CleanParams(**params["clean"])

    def read(shard):
        visible = (cut(normalise(texts[i]), cleaning.visible_at, cleaning.cut_sections)[0] for i in shard)
        return [reduced(text, cleaning) for text in visible]

    baseline = params["baseline"]
    vectoriser, vectors = tfidf(
        read(shards["train"]), ngrams=baseline["ngrams"], min_df=baseline["min_df"], max_terms=baseline["max_terms"]
    )
    present = {name: truth([note["labels"] for note in shard.values()], classes) for name, shard in shards.items()}
    with threadpool_limits(1):  # as the stage baseline does
        regression = fit(vectors, present["train"], True, C=baseline["C"], max_iter=baseline["max_iter"])
    validation = shards["validation"]
    _, patients = np.unique([note["patient_id"] for note in validation.values()], return_inverse=True)
    probabilities = regression(vectoriser.transform(read(validation)))
    shard = Shard(
        np.array(list(validation)),
        patients,
        present["validation"],
        probabilities,
        np.zeros(len(validation), bool),
        True,
    )
    scorer = Scorer(shard)
    value = scorer.headline(scorer.ones)
    draws = [scorer.headline(weights) for weights in patient_weights(int(patients.max()) + 1, SAMPLES, SEED)]
    return {name: float(value[name][0]) for name in SCORES}, {
        name: np.concatenate([d[name] for d in draws]) for name in SCORES
    }


def draw(settings: list[dict]) -> None:
    """Nine panels: leakage by word, by note and of names by origin, against macro-F1, ECE and Brier score."""
    figure = Figure(figsize=(14, 11), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(SCORES), len(LEAKS), sharey="row", sharex="col")
    figure.suptitle("Privacy against utility on the embedded corpus, validation shard", x=0.01, ha="left", fontsize=13)
    plain, marks = settings[0], marks_of(settings[1:])
    for row, (metric, title) in enumerate(SCORES.items()):
        for column, (leak, label) in enumerate(LEAKS.items()):
            panel, band = axes[row, column], plain["interval"][metric]
            panel.axhspan(band["low"], band["high"], color="#eef0f2", zorder=0)
            panel.axhline(plain["scores"][metric], color="#8a8f98", linewidth=1, linestyle="--", zorder=1)
            for setting in settings[1:]:
                mark, colour = marks[setting["detector"]], COLOURS[setting["replacement"]]
                left, y = setting["leakage"][leak], setting["scores"][metric]
                if leak == "origin":
                    panel.plot(
                        [100 * min(left.values()), 100 * max(left.values())],
                        [y, y],
                        color=colour,
                        linewidth=0.8,
                        alpha=0.5,
                    )
                    left = max(left.values())
                panel.plot(
                    100 * left, y, marker=mark, color=colour, markersize=15 if "^" in mark else 10, markeredgewidth=0.3
                )
            panel.set_xscale("symlog", linthresh=0.01)
            panel.set_xlim(-0.003, 150)
            panel.set_xticks([0, 0.01, 0.1, 1, 10, 100], ["0", "0.01", "0.1", "1", "10", "100"])
            panel.grid(axis="x", color="#e3e5e8")
            panel.spines[["top", "right"]].set_visible(False)
            if row == len(SCORES) - 1:
                panel.set_xlabel(label, fontsize=10)
            if not column:
                panel.set_ylabel(title, fontsize=11)
    handles = [
        Line2D([], [], linestyle="", marker=mark, color="#333333", markersize=9, label=name)
        for name, mark in marks.items()
    ]
    handles += [Patch(color=colour, label=f"replaced by {name}") for name, colour in COLOURS.items()]
    handles += [
        Line2D([], [], linestyle="--", color="#8a8f98", label="nothing replaced"),
        Patch(color="#eef0f2", label="its 95 % interval"),
    ]
    figure.legend(handles=handles, loc="outside right upper", frameon=False, fontsize=10)
    with written_aside(PLOT) as partial_path:
        figure.savefig(partial_path, format="png", metadata={"Software": None})


def marks_of(settings: list[dict]) -> dict[str, str]:
    """A sign a detector: R the rules, 1, 2, ... the model from a high threshold to a low, 1+, 2+, ... the same beside the rules."""
    names = list(dict.fromkeys(setting["detector"] for setting in settings))
    numbers = {name.removeprefix("model "): n for n, name in enumerate((x for x in names if x.startswith("model")), 1)}
    marks = {name: "$R$" for name in names if name == "rules"}
    marks |= {f"model {name}": f"${number}$" for name, number in numbers.items()}
    return marks | {name: f"${numbers[name.removeprefix('both ')]}^+$" for name in names if name.startswith("both")}


def table(settings: list[dict]) -> str:
    """The settings as Markdown; the change of macro-F1 is against nothing replaced, paired, with its 95 % interval."""
    lines = [
        "| detector | replacement | words left | notes with any left | name words left, best to worst origin | precision | macro-F1 | change | ECE | Brier |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for s in settings:
        left, scores, origins = s["leakage"], s["scores"], s["leakage"]["origin"].values()
        change = s.get("change", {}).get("macro_f1")
        cells = [
            s["detector"],
            s["replacement"],
            f"{left['token']:.2%}",
            f"{left['note']:.1%}",
            f"{min(origins):.2%} to {max(origins):.2%}",
            "" if left["precision"] is None else f"{left['precision']:.3f}",
            f"{scores['macro_f1']:.3f}",
            f"{change['value']:+.3f} ({change['low']:+.3f} to {change['high']:+.3f})" if change else "",
            f"{scores['ece']:.3f}",
            f"{scores['brier']:.3f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    run(main)
