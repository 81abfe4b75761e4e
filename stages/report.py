"""What leaves the pipeline to be read by people: the report's page, the model card and the TRIPOD+AI checklist, from artefacts only."""

from pathlib import Path

from pydantic import ConfigDict, Field

from diagnosis.errors import run
from diagnosis.files import read_json, written_aside
from diagnosis.params import Params
from diagnosis.report import model_card, page, tripod
from diagnosis.report.errors import texts_of, worst
from diagnosis.report.evidence import Evidence, Found, shard_of
from diagnosis.scores.predictions import read_predictions
from diagnosis.scores.shards import Predictions

# ---- what is read: metrics/<stage>.json of these, where they are there, and these plots and tables
METRICS = Path("metrics")
MEASURED = ("ingest", "deidentify", "clean", "split", "augment", "rebalance", "finetune", "evaluate", "audit_fairness",
            "audit_leakage")  # fmt: skip
CONFUSION = Path("plots/evaluate/confusion.csv")
RELIABILITY = Path("plots/evaluate/reliability.csv")
PREDICTIONS = Path("data/predictions.parquet")
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


class Training(Params):
    """What the reports say of the training."""

    model_config = ConfigDict(extra="ignore")

    method: str


def main():
    params = ReportParams.load("report")
    source, training = Source.load("fetch_model"), Training.load("finetune")
    evidence = Evidence()
    measured = {stage: evidence.metrics(METRICS / f"{stage}.json") for stage in MEASURED}
    shard = shard_of(measured["evaluate"])
    predictions = Predictions(PREDICTIONS)
    errors = worst(predictions.shard(shard, "model"), predictions.classes, params.worst_errors)
    table = evidence.add(PREDICTIONS)
    evidence.add(MODEL)
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
        data_use=Found(table, ("data_use",), read_predictions(PREDICTIONS)[1]["data_use"]),
        confusion=evidence.counts(CONFUSION, "actual", "predicted"),
        reliability=evidence.rows(RELIABILITY),
        worst=Found(table, ("worst",), errors),
    )
    words = {"texts": texts_of(SPLIT / f"{shard}.parquet", errors)}
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
