"""Pictures of the methods beside random, and of attention by layer and head. No word of a note is in them."""

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from diagnosis.files import written_aside

COLOURS = {"better than random": "#1f3b57", "worse than random": "#b3261e"}
GREY = "#8a8f98"
SCORES = {
    "comprehensiveness": "comprehensiveness over random\n(right is better)",
    "sufficiency": "sufficiency over random\n(left is better)",
    "plausibility": "plausibility (AUPRC) over random\n(right is better)",
}


def beside_random(path: Path, methods: dict, shard: str, notes: int) -> None:
    """A panel a score: each method's difference to random with its 95 % interval."""
    scores = [score for score in SCORES if any(score in own for own in methods.values())] or list(SCORES)[:2]
    figure = Figure(figsize=(10, 1.9 + 0.4 * max(len(methods), 1)), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(
        f"Explanations beside random ones, {shard} shard, {notes} notes, 95 % interval", fontsize=11, x=0.01, ha="left"
    )
    panels = figure.subplots(1, len(scores), sharey=True, squeeze=False)[0]
    for axes, score in zip(panels, scores, strict=True):
        axes.axvline(0, color="#c5c8cd", linewidth=1)
        for y, own in enumerate(methods.values()):
            found = own[score]["over_random"]
            if found["value"] is None:
                continue
            colour = COLOURS.get(own[score]["verdict"], GREY)
            if found["low"] is not None:
                axes.plot([found["low"], found["high"]], [y, y], color=colour, linewidth=1.6)
            axes.plot(found["value"], y, "o", color=colour, markersize=5)
        axes.set_xlabel(SCORES[score], fontsize=9)
        axes.tick_params(axis="x", labelsize=8)
        axes.grid(axis="x", color="#e3e5e8")
        axes.set_axisbelow(True)
        axes.spines[["top", "right", "left"]].set_visible(False)
    names = [name.replace("_", " ") + ("\n(diagnostic)" if own["diagnostic"] else "") for name, own in methods.items()]
    panels[0].set_yticks(range(len(names)), names, fontsize=9)
    panels[0].set_ylim(len(names) - 0.4, -0.6)
    for axes in panels:
        axes.tick_params(axis="y", length=0)
    save(figure, path)


def attention(path: Path, heads: dict | None) -> None:
    """A square a layer and head, a panel a measure; a line of text where there is no attention."""
    panels = {"entropy": "how evenly it is spread over the words"} | (
        {"plausibility": "plausibility (AUPRC)"} if heads and "plausibility" in heads else {}
    )
    figure = Figure(figsize=(5 * len(panels), 3.6), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle("Attention by layer and head: a diagnostic, no explanation", fontsize=11, x=0.01, ha="left")
    for axes, (measure, title) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        if heads is None:
            axes.text(0.5, 0.5, "no attention was asked for, or the model gives none", ha="center", fontsize=9)
            axes.set_axis_off()
            continue
        values = np.array(heads[measure])
        image = axes.imshow(values, cmap="cividis", aspect="auto", vmin=0, vmax=1 if measure == "entropy" else None)
        axes.set_title(title, fontsize=9)
        axes.set_xlabel("head", fontsize=9)
        axes.set_ylabel("layer", fontsize=9)
        step = max(1, len(values) // 12)
        axes.set_yticks(range(0, len(values), step), range(1, len(values) + 1, step), fontsize=8)
        axes.tick_params(labelsize=8)
        figure.colorbar(image, ax=axes).ax.tick_params(labelsize=8)
    save(figure, path)


def save(figure: Figure, path: Path) -> None:
    with written_aside(path) as partial:
        # Software and date would differ between releases and days.
        figure.savefig(partial, format="png", metadata={"Software": None})
