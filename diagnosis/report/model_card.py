"""The model card in HuggingFace's form: a YAML block that its hub reads, then what people read, each cell with its source."""

from huggingface_hub import EvalResult, ModelCardData

from diagnosis.report.page import MEASURES, Report
from diagnosis.report.render import markdown

HUB_METRICS = {
    "accuracy": "accuracy",
    "macro_f1": "f1",
    "macro_auroc": "roc_auc",
    "sensitivity": "recall",
    "ppv": "precision",
}
"""The hub's names of metrics."""


def render(report: Report) -> str:
    """The whole card."""
    template = markdown(report.evidence).get_template("model_card.md")
    return template.render(report=report, shard=report.shard, measures=MEASURES, metadata=metadata(report))


def metadata(report: Report) -> str:
    """The YAML block: only what the artefacts and params state; a licence that nobody stated is left out."""
    scores = report.measured["evaluate"][report.shard]["model"]
    name = report.stated["title"].value or "Diagnosis from clinical notes"
    corpus = report.data_use["corpus"].value
    results = [
        EvalResult(
            task_type="text-classification",
            dataset_type=corpus,
            dataset_name=corpus,
            dataset_split=report.shard,
            metric_type=kind,
            metric_name=MEASURES[metric][0],
            metric_value=scores[metric].value,
        )
        for metric, kind in HUB_METRICS.items()
        if scores[metric]
    ]
    data = ModelCardData(
        model_name=name,
        base_model=report.base["model"].value,
        datasets=[corpus],
        eval_results=results or None,
        library_name="transformers",
        license=report.stated["licence"].value,
        metrics=[result.metric_type for result in results] or None,
        pipeline_tag="text-classification",
        tags=["clinical-notes", "diagnosis", "not-a-medical-device"],
    )
    return data.to_yaml()
