"""A forest plot of what each probe gets over chance."""

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from diagnosis.files import written_aside

COLOURS = {"leaks": "#b3261e", "none": "#1f3b57", "cannot_conclude": "#8a8f98"}
VIEWS = {"source_note": "in the source note", "model_text": "in what the model sees", "tables": "in the tables"}


def forest(path: Path, audited: dict, shard: str, margin: float) -> None:
    """Write the PNG: a row a probe and view, its macro-F1 over chance with 95 % interval and verdict. The same bytes every time."""
    rows = [
        row for probe, views in audited["probes"].items() for row in [(probe, None), *((probe, view) for view in views)]
    ]
    figure = Figure(figsize=(9, 1.6 + 0.3 * len(rows)), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(f"What a cheap probe gets of the answer, {shard} shard, with 95 % interval", fontsize=11, loc="left")
    axes.axvline(0, color="#c5c8cd", linewidth=1)
    axes.axvline(margin, color=COLOURS["leaks"], linewidth=1, linestyle=":")
    labels, ends = [], [0.0, margin]
    for y, (probe, view) in enumerate(rows):
        labels.append(probe.replace("_", " ") if view is None else f"{VIEWS[view]}  ")
        if view is None:
            continue
        found = audited["probes"][probe][view]
        lift, colour = found["lift"], COLOURS[found["verdict"]]
        axes.plot([lift["low"], lift["high"]], [y, y], color=colour, linewidth=1.6)
        axes.plot(lift["value"], y, "o", color=colour, markersize=5)
        text = f"{found['verdict'].replace('_', ' ')}: macro-F1 {found['macro_f1']:.2f}, chance {found['chance']:.2f}"
        axes.text(1.02, y, text, va="center", fontsize=8, color=colour, transform=axes.get_yaxis_transform())
        ends += [lift["low"], lift["high"]]
    axes.set_yticks(range(len(rows)), labels, fontsize=9)
    for tick, (_, view) in zip(axes.get_yticklabels(), rows, strict=True):
        tick.set_weight("bold" if view is None else "normal")
    axes.tick_params(axis="y", length=0)
    axes.set(xlim=(min(ends) - 0.02, max(ends) + 0.02), ylim=(len(rows) - 0.4, -0.6))
    axes.set_xlabel(f"macro-F1 over chance; dotted: the margin of {margin:g}, above which it leaks", fontsize=9)
    axes.grid(axis="x", color="#e3e5e8")
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    with written_aside(path) as partial:
        # Software and date would differ between releases and days.
        figure.savefig(partial, format="png", metadata={"Software": None})
