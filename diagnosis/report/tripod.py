"""The TRIPOD+AI checklist (Collins et al. 2024, BMJ 385:e078378), filled from the artefacts alone.

The items' numbers are theirs, the words ours. An item that no artefact can fill is either stated in params.yaml, or NOT STATED, or
left to whoever writes the study up, and says so: this is a checklist of what the run has to show, not the write-up.
"""

from dataclasses import dataclass

from diagnosis.report.evidence import Found
from diagnosis.report.page import Report
from diagnosis.report.render import markdown, shown

AUTHORS = "for the authors to write: no artefact says it"
NOT_MEASURED = "not measured in this run"


@dataclass(frozen=True)
class Item:
    """One item: number, part of the paper, what it asks for, and what fills it.

    filled: pairs of words and the value that they are about, or a word alone for what no artefact has.
    """

    number: str
    part: str
    asks: str
    filled: list[tuple[str, Found]] | str


def render(report: Report) -> str:
    """The checklist as a Markdown table with the sources of each cell."""
    template = markdown(report.evidence).get_template("tripod_ai.md")
    rows = items(report)
    open_items = [item.number for item in rows if isinstance(item.filled, str)]
    return template.render(report=report, items=rows, open_items=open_items, shown=shown, not_measured=NOT_MEASURED)


def items(report: Report) -> list[Item]:
    """The 27 items with their parts, in their order."""
    stated, measured, shard = report.stated, report.measured, report.shard
    scores = measured["evaluate"][shard]
    shards = measured["split"]["shards"]
    groups = measured["audit_fairness"][shard]
    cleaned = report.card["preprocessing"]["clean"]
    people = [
        (f"patients in {name}:", shards[name]["patients"]) for name in ("train", "validation", "calibration", "test")
    ]
    interval = scores["interval"]["model"]

    def scored(name: str, words: str) -> list[tuple[str, Found]]:
        return [(words, scores["model"][name]), ("low", interval[name]["low"]), ("high", interval[name]["high"])]

    return [
        Item("1", "Title", "says that a prediction model is developed or evaluated, for whom and for what outcome", [("", stated["title"])]),
        Item("2", "Abstract", "a structured summary (TRIPOD+AI for abstracts)", AUTHORS),
        Item("3a", "Introduction", "the clinical context, why this model, what models there are", AUTHORS),
        Item("3b", "Introduction", "for whom, where in the path of care, and who uses it", [("", stated["intended_use"]), ("Users:", stated["users"])]),
        Item("3c", "Introduction", "known inequalities of health between groups", AUTHORS),
        Item("4", "Introduction", "the aims, and whether a model is developed, evaluated or both", "developed and evaluated, both; the aims beyond that are " + AUTHORS),
        Item("5a", "Methods", "where the data come from and whom they stand for", [("corpus", report.data_use["corpus"]), ("licence", report.data_use["licence"])]),
        Item("5b", "Methods", "from when to when", [("", stated["dates"])]),
        Item("6a", "Methods", "the setting, number and place of centres", [("", stated["setting"])]),
        Item("6b", "Methods", "who was let in", [("notes read:", measured["ingest"]["notes_read"]), ("kept:", measured["ingest"]["notes"]), ("written by cleaning:", measured["clean"]["notes"]["written"])]),
        Item("6c", "Methods", "treatments received, and how they were dealt with", AUTHORS),
        Item("7", "Methods", "how data were prepared and checked, and whether alike for all groups", [("text visible at:", cleaned["visible_at"]), ("identifiers:", report.card["preprocessing"]["deidentify"]["profile"]), ("share of characters cut:", measured["clean"]["cut_share"])]),
        Item("8a", "Methods", "the outcome, when and how it was determined, alike for all groups or not", [("diagnoses:", measured["ingest"]["classes"]), ("task:", measured["ingest"]["task"])]),
        Item("8b", "Methods", "who judged the outcome, where that takes judgement", AUTHORS),
        Item("8c", "Methods", "whether those who judged it were blind to the predictors", AUTHORS),
        Item("9a", "Methods", "how predictors were chosen", [("the note's text, as visible at:", cleaned["visible_at"])]),
        Item("9b", "Methods", "each predictor, how and when it was measured", [("tokens of a note, at most:", report.card["max_tokens"]), ("of longer ones:", report.card["long_notes"])]),
        Item("9c", "Methods", "who judged predictors, where that takes judgement", AUTHORS),
        Item("10", "Methods", "how the size was arrived at", people),
        Item("11", "Methods", "what was missing and what was done about it", [("notes skipped by ingest, by reason:", measured["ingest"]["skipped"]), ("notes emptied by cleaning:", measured["clean"]["notes"]["dropped"]["empty"])]),
        Item("12a", "Methods", "how the data were divided and used", [("patients in two parts:", measured["split"]["crossings"]["patients"]), *people]),
        Item("12b", "Methods", "how predictors entered the model", [("pooling:", report.card["pooling"]), ("tokens:", report.card["max_tokens"])]),
        Item("12c", "Methods", "kind of model, how it was built, tuned and validated", [("base:", report.base["model"] or report.base["source"]), ("method:", report.base["method"]), ("best epoch, by validation:", measured["finetune"]["best_epoch"])]),
        Item("12d", "Methods", "differences between clusters, as hospitals", [("by site:", groups["groupings"]["site"]["compared"]["sensitivity"]["verdict"])]),
        Item("12e", "Methods", "the measures of performance, and why", [("sensitivity, specificity, PPV, NPV, AUROC, AUPRC, Brier, calibration error, of notes:", scores["n"])]),
        Item("12f", "Methods", "updating of the model, e.g. calibration", calibration(report)),
        Item("12g", "Methods", "how predictions were computed", [("SHA-256 of the base:", report.card["base_sha256"]), ("task:", report.card["task"])]),
        Item("13", "Methods", "unequal classes: what was done, and calibration after it", [("notes repeated:", measured["rebalance"]["notes"]["repeated"]), ("versions added:", measured["augment"]["notes"]["versions"])]),
        Item("14", "Methods", "what was done for fairness, and why", [("comparisons, by verdict:", groups["verdicts"])]),
        Item("15", "Methods", "the output, and how thresholds were found", [("probabilities, decided as", report.card["task"]), ("declared threshold:", scores["model"]["at_threshold"]["threshold"])]),
        Item("16", "Methods", "differences between the data of training and of evaluation", people),
        Item("17", "Methods", "the ethics committee, and consent or its waiver", [("Approval:", stated["ethics_approval"]), ("Consent:", stated["consent"]), ("Number of the approval:", report.data_use["approval_id"])]),
        Item("18a", "Open science", "funding, and the funders' part", [("", stated["funding"])]),
        Item("18b", "Open science", "conflicts of interest", [("", stated["conflicts"])]),
        Item("18c", "Open science", "where the protocol is", [("", stated["protocol"])]),
        Item("18d", "Open science", "registration", [("", stated["registration"])]),
        Item("18e", "Open science", "availability of the data", [("public:", report.data_use["public"]), ("may go to:", report.data_use["allowed_targets"])]),
        Item("18f", "Open science", "availability of the code", [("this repository, licence of the model:", stated["licence"])]),
        Item("19", "Involvement", "how patients and the public took part", [("", stated["involvement"])]),
        Item("20a", "Results", "who passed through, with and without the outcome", [("notes read:", measured["ingest"]["notes_read"]), ("kept:", measured["ingest"]["notes"]), ("patients:", measured["ingest"]["patients"])]),
        Item("20b", "Results", "who they were, by source and group", [("patients in the evaluation:", groups["n_patients"]), ("groups: in the report, one by one, but these, which no note states:", groups["no_values"])]),
        Item("20c", "Results", "the evaluation's predictors beside the training's", [("copied text in training, share of words:", measured["audit_leakage"]["copied"]["train"]["copied_share_of_words"]), ("in evaluation:", measured["audit_leakage"]["copied"][shard]["copied_share_of_words"])]),
        Item("21", "Results", "patients and outcomes in each analysis", [(f"{name}, notes by diagnosis:", shards[name]["classes"]) for name in ("train", shard)]),
        Item("22", "Results", "the model itself, for others to use and to test", [("parameters:", measured["finetune"]["parameters"]), ("SHA-256 of the base:", report.card["base_sha256"])]),
        Item("23a", "Results", "performance with intervals, groups too", [*scored("sensitivity", "sensitivity"), *scored("specificity", "specificity"), *scored("macro_auroc", "AUROC"), *scored("ece", "calibration error")]),
        Item("23b", "Results", "performance by cluster", [("by site:", groups["groupings"]["site"]["compared"]["sensitivity"]["verdict"])]),
        Item("24", "Results", "what updating did", calibration(report)),
        Item("25", "Discussion", "what it means, fairness included", AUTHORS),
        Item("26", "Discussion", "limits", [("", stated["limitations"])]),
        Item("27a", "Discussion", "what to do with poor or missing input in use", AUTHORS),
        Item("27b", "Discussion", "who has to act on input or output, with what skill", [("Users:", stated["users"]), ("Not for:", stated["misuse"])]),
        Item("27c", "Discussion", "next steps, and where else it may hold", AUTHORS),
    ]  # fmt: skip


def calibration(report: Report) -> list[tuple[str, Found]]:
    scores = report.measured["evaluate"][report.shard]
    return [("calibration error before:", scores["model"]["ece"]), ("after:", scores["calibrated"]["ece"])]
