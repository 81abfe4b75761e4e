"""Find out whether the model could read the answer instead of the disease: cheap probes of what may leak, and text copied forward."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydantic import Field

from diagnosis.disclosure import rounded
from diagnosis.errors import UserError, run
from diagnosis.files import read_json, write_json
from diagnosis.leakage.classify import classifier
from diagnosis.leakage.compare import difference, probed, scored
from diagnosis.leakage.plot import forest
from diagnosis.leakage.read import copies, other_labels, places, probe_tokens
from diagnosis.leakage.report import hidden, part, rows_with_any
from diagnosis.params import Params
from diagnosis.scores.baselines import truth
from diagnosis.scores.shards import Predictions, Shard
from diagnosis.text.label_mentions import Mentions

DEIDENTIFIED = Path("data/deidentified.parquet")
SPLIT = Path("data/split")
TITLES = Path("data/titles.json")
PREDICTIONS = Path("data/predictions.parquet")
METRICS = Path("metrics/audit_leakage.json")
PLOT = Path("plots/audit_leakage.png")


class AuditLeakageParams(Params):
    seed: int = Field(ge=0)
    margin: float = Field(ge=0, lt=1)
    max_probe_lift: float | None = Field(ge=0, lt=1)
    copied_min_words: int = Field(ge=1)
    template_share: float = Field(gt=0, le=1)
    max_train_notes: int = Field(ge=100)
    C: float = Field(gt=0)
    max_iter: int = Field(ge=1)
    min_count: int = Field(ge=2)
    bootstrap_samples: int = Field(ge=20)


def main():
    params = AuditLeakageParams.load("audit_leakage")
    predictions = Predictions(PREDICTIONS)
    model = {name: predictions.shard(name, "model") for name in ("validation", "test") if predictions.has(name)}
    if "validation" not in model:
        raise UserError(f"{PREDICTIONS} holds no prediction of the validation shard: run `dvc repro`")
    files = {name: SPLIT / f"{name}.parquet" for name in ("train", *model)}
    place, train_labels = places(files, model, params.max_train_notes)
    present = truth(train_labels, predictions.classes)
    if present.any(axis=0).sum() < 2:
        raise UserError(f"{files['train']} holds notes of fewer than two classes: bring notes of more classes")

    # ---- every probe's tokens: of the note as it came, of what the model sees, of the tables beside
    mentions = Mentions(read_json(TITLES))
    views = {
        "source_note": probe_tokens([DEIDENTIFIED], place, mentions, "audit_leakage: source notes"),
        "model_text": probe_tokens(list(files.values()), place, mentions, "audit_leakage: model texts"),
        "tables": {"other_admissions": other_labels(files, place)},
    }
    # Where cleaning left no heading to know, answer sections cannot be found: that is not "none".
    before, after = (rows_with_any(*views[view].pop("headings").values()) for view in ("source_note", "model_text"))
    unread = after < before / 2
    copied = copies(files, place, min_words=params.copied_min_words, template_share=params.template_share)

    # ---- fitted on train, scored on the others; which notes of a shard a probe that leaks gets right
    def answers(rows: dict) -> dict[str, Shard]:
        decide = classifier(
            rows["train"], present, predictions.task == "single_label", C=params.C, max_iter=params.max_iter
        )
        return {name: replace(shard, probabilities=decide(rows[name])) for name, shard in model.items()}

    majority = {
        name: replace(s, probabilities=np.tile(present.mean(axis=0), (len(s.truth), 1))) for name, s in model.items()
    }
    sampling = {"samples": params.bootstrap_samples, "seed": params.seed}
    audited = {name: {"probes": {}} for name in model}
    guessed = {name: np.zeros(len(shard.truth), bool) for name, shard in model.items()}
    for view, probes in views.items():
        for probe, rows in probes.items():
            for name, guess in answers(rows).items():
                found = probed(guess, majority[name], params.margin, **sampling)
                found["notes_with_any"] = hidden(rows_with_any(rows[name]), len(guess.truth), params.min_count)
                if unread and (probe, view) == ("answer_sections", "model_text") and found["verdict"] == "none":
                    found["verdict"] = "cannot_conclude"
                audited[name]["probes"].setdefault(probe, {})[view] = found
                if view != "source_note" and found["verdict"] == "leaks":
                    guessed[name] |= guess.correct

    # ---- the model on notes where none of them succeeds, with and without copied text; the cheap classifier on new text alone
    whole = answers(copied.whole)
    new = answers({"train": copied.whole["train"], **{name: copied.new[name] for name in model}})
    for name, shard in model.items():
        has = copied.share[name] > 0
        verdicts = Counter(of["verdict"] for views in audited[name]["probes"].values() for of in views.values())
        audited[name] |= {
            "n": len(shard.truth),
            "n_patients": int(shard.patients.max()) + 1,
            "majority": scored(majority[name], **sampling),
            "verdicts": {each: verdicts[each] for each in ("leaks", "none", "cannot_conclude")},
            "model": {
                "all": scored(shard, **sampling),
                "where_no_probe_succeeds": part(shard, ~guessed[name], params.min_count, sampling),
                "with_copied_text": part(shard, has, params.min_count, sampling),
                "without_copied_text": part(shard, ~has, params.min_count, sampling),
            },
            "cheap_classifier": {
                "whole_text": scored(whole[name], **sampling),
                "new_text": scored(new[name], **sampling),
                "difference": difference(new[name], whole[name], **sampling),
            },
        }
    highest, where = max(
        (of["lift"]["value"], f"{probe} ({view})")
        for probe, views in audited["validation"]["probes"].items()
        for view, of in views.items()
        if view != "source_note"
    )
    broken = params.max_probe_lift is not None and highest > params.max_probe_lift
    gate = {"max_probe_lift": params.max_probe_lift, "highest_lift": highest, "failed": broken}
    forest(PLOT, audited["validation"], "validation", params.margin)
    write_json(METRICS, rounded({**audited, "copied": copied.rates(params.min_count), "gate": gate}))
    if broken:
        raise UserError(
            f"the probe {where} gets {highest:.3f} of macro-F1 over chance on validation, and params.yaml: audit_leakage.max_probe_lift "
            f"is {params.max_probe_lift:g}: see {METRICS} and docs/leakage.md for what clean can cut"
        )


if __name__ == "__main__":
    run(main)
