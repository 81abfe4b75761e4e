"""What leaves the pipeline to be read by people: the report's page, the model card and the TRIPOD+AI checklist, from artefacts only."""

from pathlib import Path
from types import SimpleNamespace

from pydantic import ConfigDict, Field

from diagnosis.errors import run
from diagnosis.files import read_json, written_aside
from diagnosis.params import Params
from diagnosis.report import model_card, page, tripod
from diagnosis.report.errors import texts_of, worst
from diagnosis.report.evidence import Evidence, Found, shard_of
from diagnosis.report.words import marked, read_explained
from diagnosis.scores.net_benefit import decision_curves
from diagnosis.scores.shards import Predictions

# ---- what is read: metrics/<stage>.json of these, where they are there, and these plots and tables
METRICS = Path("metrics")
MEASURED = ("ingest", "deidentify", "clean", "split", "augment", "rebalance", "finetune", "calibrate", "evaluate",
            "audit_fairness", "audit_leakage", "explain", "probe")  # fmt: skip
CONFUSION = Path("plots/evaluate/confusion.csv")
RELIABILITY = Path("plots/evaluate/reliability.csv")
RISK = Path("plots/evaluate/risk_coverage.csv")
PREDICTIONS = Path("data/predictions.parquet")
CALIBRATED = Path("data/calibrated.parquet")
EXPLANATIONS = Path("data/explanations.parquet")
TERMS = Path("data/explanations.json")
TITLES = Path("data/titles.json")
MODEL = Path("models/finetuned")
SPLIT = Path("data/split")

# ---- what is written; only the last quotes notes
PAGE = Path("reports/index.html")
CARD = Path("reports/model_card.md")
CHECKLIST = Path("reports/tripod_ai.md")
WITH_TEXT = Path("reports/with_text.html")


class ReportParams(Params):
    title: str | None
    intended_use: str | None
    users: str | None
    misuse: str | None
    owner: str | None
    consent: str | None
    ethics_approval: str | None
    limitations: str | None
    setting: str | None
    dates: str | None
    licence: str | None
    funding: str | None
    conflicts: str | None
    protocol: str | None
    registration: str | None
    involvement: str | None
    worst_errors: int = Field(ge=0)
    min_count: int = Field(ge=1)


class Source(Params):
    """What the reports say of the base model."""

    model_config = ConfigDict(extra="ignore")

    source: str
    model: str | None
    revision: str | None


class Resampling(Params):
    """How evaluate drew its bands: the decision curves are drawn with the same."""

    model_config = ConfigDict(extra="ignore")

    seed: int
    bootstrap_samples: int


class Training(Params):
    """What the reports say of the training."""

    model_config = ConfigDict(extra="ignore")

    method: str


def main():
    params = ReportParams.load("report")
    source, training, drawn = Source.load("fetch_model"), Training.load("finetune"), Resampling.load("evaluate")
    evidence = Evidence()
    measured = {stage: evidence.metrics(METRICS / f"{stage}.json") for stage in MEASURED}
    shard = shard_of(measured["evaluate"])
    predictions = Predictions(PREDICTIONS)
    table, calibrated = evidence.add(PREDICTIONS), evidence.add(CALIBRATED)
    evidence.add(MODEL)

    # ---- the two things that are worked out here: the curves over the declared ranges, and the worst notes
    ranges = {
        label: SimpleNamespace(low=of["low"].value, high=of["high"].value, weight=of["weight"].value)
        for label, of in measured["evaluate"][shard]["net_benefit"]["by_class"].each()
    }
    _, curves = decision_curves(
        Predictions(CALIBRATED).shard(shard, "calibrated"),
        predictions.classes,
        ranges,
        drawn.bootstrap_samples,
        drawn.seed,
    )
    errors = worst(predictions.shard(shard, "model"), predictions.classes, params.worst_errors)

    report = page.Report(
        shard=shard,
        classes=predictions.classes,
        task=predictions.task,
        evidence=evidence,
        measured=measured,
        stated=evidence.params("report", params.model_dump()),
        base=dict(evidence.params("fetch_model", source.model_dump()).each())
        | dict(evidence.params("finetune", training.model_dump()).each()),
        titles=Found(evidence.add(TITLES), value=read_json(TITLES)),
        card=Found(MODEL.as_posix(), ("diagnosis.json",), read_json(MODEL / "diagnosis.json")),
        data_use=Found(table, ("data_use",), predictions.data_use),
        confusion=evidence.counts(CONFUSION, "actual", "predicted"),
        reliability=evidence.rows(RELIABILITY),
        benefit=Found(
            calibrated, ("decision_curves",), {k: {n: v.tolist() for n, v in of.items()} for k, of in curves.items()}
        ),
        risk=evidence.rows(RISK),
        worst=Found(table, ("worst",), errors),
    )

    # ---- the words, for the page that stays where the notes are
    explained = read_explained(EXPLANATIONS)
    texts = texts_of(SPLIT / f"{shard}.parquet", {*errors, *explained})
    words = {
        "explained": {note: row for note, row in explained.items() if note in texts},
        "texts": {note: marked(own, explained[note]) if note in explained else own for note, own in texts.items()},
        "terms": read_json(TERMS),
    }
    written = {
        PAGE: page.render(report),
        CARD: model_card.render(report),
        CHECKLIST: tripod.render(report),
        WITH_TEXT: page.render(report, words),
    }
    for path, text in written.items():
        with written_aside(path) as partial:
            partial.write_text(text, "utf-8")
    if report.unstated:
        print(f"report: not stated in params.yaml: {', '.join(f'report.{name}' for name in report.unstated)}")


if __name__ == "__main__":
    run(main)
