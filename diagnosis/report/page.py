"""The page that a clinician reads first: one HTML file, its styles and pictures in it, without scripts or requests."""

from dataclasses import dataclass

from diagnosis.report.errors import confused
from diagnosis.report.evidence import Evidence, Found
from diagnosis.report.render import TEMPLATES, html

SECTIONS = {
    "use": "What it is for",
    "headline": "How often it is right",
    "confusion": "What it takes for what",
    "calibration": "Can its probabilities be believed?",
    "decision_curves": "Would acting on it help?",
    "deferral": "When does it say: ask a clinician?",
    "fairness": "Is it as good for everyone?",
    "leakage": "Does it read the disease, or the answer?",
    "probes": "How does it behave when the note changes?",
    "errors": "Its worst errors",
    "explanations": "What it looks at",
    "review": "What clinicians say",
    "data": "Where the data comes from",
    "lineage": "How to check this page",
}
"""Each is a template of this name in templates/sections; the order is the reader's: what it is for before any number."""

ASKED = {
    "intended_use": "Intended use",
    "users": "Who is to use it",
    "misuse": "Not to be used for",
    "owner": "Who answers for it",
    "consent": "Consent",
    "ethics_approval": "Ethics approval",
    "limitations": "Known limits",
}
"""The statements without which nobody should use a model; a missing one is in red before any number."""

GROUPS = {"age_band": "age"}
"""Groups whose column says it otherwise than people do."""

MEASURES = {
    # name: (title, what it says, whether less is better)
    "accuracy": ("Accuracy", "the share of notes decided rightly", False),
    "sensitivity": ("Sensitivity", "of the notes with a diagnosis, the share it finds; mean over diagnoses", False),
    "specificity": ("Specificity", "of those without it, the share it leaves alone; mean over diagnoses", False),
    "ppv": ("PPV", "when it names a diagnosis, how often that is right; mean over diagnoses it names", False),
    "npv": ("NPV", "when it does not name one, how often that is right; mean over diagnoses", False),
    "macro_f1": ("Macro F1", "finding and being right in one number, each diagnosis counting the same", False),
    "macro_auroc": ("AUROC", "how often it ranks a note with the diagnosis above one without; 0.5 is a coin", False),
    "macro_auprc": ("AUPRC", "precision averaged over all sensitivities; chance gives the prevalence", False),
    "brier": ("Brier score", "squared error of the probabilities", True),
    "ece": ("Calibration error", "how far its probabilities are from how often it is right", True),
}  # fmt: skip

COMPARED = {name: title for name, (title, _, _) in MEASURES.items()} | {
    "auroc": "AUROC",
    "calibration": "Probability given over share that has it",
    "demographic_parity": "Named as often",
    "equalised_odds": "Equalised odds",
    "net_benefit": "Net benefit",
}
"""Titles of what groups are compared by."""


@dataclass(frozen=True)
class Report:
    """Everything the reports are filled from. A measured thing that is missing is a Found of nothing.

    shard: the one that is reported. measured: what stages measured, by stage. stated: the params' own section.
    base: params of the base model and the training. benefit: curves by class (diagnosis/scores/net_benefit.py). worst: by note_id
    (diagnosis/report/errors.py).
    """

    shard: str
    classes: list[str]
    task: str
    evidence: Evidence
    measured: dict[str, Found]
    stated: Found
    base: dict[str, Found]
    titles: Found
    card: Found
    data_use: Found
    confusion: Found
    reliability: Found
    benefit: Found
    risk: Found
    worst: Found

    @property
    def public(self) -> bool:
        return self.data_use["public"].value is True

    @property
    def others(self) -> list[str]:
        """What stands in the confusion beside the classes: labels outside them, and with several labels the missed."""
        rows = dict(self.confusion.each())
        named = set(rows).union(*(row.value for row in rows.values()))
        return sorted(named - set(self.classes))

    @property
    def unstated(self) -> list[str]:
        """The statements that nobody made, in the order of params.yaml."""
        return [name for name, found in self.stated.each() if not found]

    def title(self, label: str) -> str:
        """A class with what it is called, where that says more than its name."""
        called = self.titles[label][0].value
        return label if not called or called.casefold() == label.casefold() else f"{label} {called}"


def render(report: Report, words: dict | None = None) -> str:
    """The page; `words` (`texts`, marked, by note_id; what was `explained`, by note_id; top `terms`) makes it one that must not leave."""
    made = html(report.evidence)
    template = made.get_template("page.html")
    return template.render(
        report=report,
        shard=report.shard,
        words=words,
        sections=SECTIONS,
        asked=ASKED,
        groups=GROUPS,
        measures=MEASURES,
        compared=COMPARED,
        confused=confused(report.confusion, 10),
        style=(TEMPLATES / "style.css").read_text("utf-8"),
    )
