"""A forest plot of sensitivity by group."""

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from diagnosis.files import written_aside

METRIC = "sensitivity"
INK, GREY, RED, GREEN = "#1f3b57", "#8a8f98", "#b3261e", "#2e6b3f"


def forest(path: Path, audited: dict, shard: str, min_count: int) -> None:
    """Write the PNG: a row a group of the single columns, its value, 95 % interval and patients. The same bytes every time."""
    columns = audited.get("groupings", {})
    rows = [row for name, found in columns.items() for row in [(name, None), *((name, g) for g in found["by_group"])]]
    figure = Figure(figsize=(9, 1.6 + 0.3 * max(len(rows), 4)), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(f"Sensitivity by group, {shard} shard, with 95 % interval", fontsize=11, loc="left")
    if not rows:
        axes.text(0.5, 0.5, "no groups", ha="center", va="center", fontsize=14, transform=axes.transAxes)
        axes.set_axis_off()
    else:
        draw(axes, rows, columns, min_count)
    with written_aside(path) as partial:
        # Software and date would differ between releases and days.
        figure.savefig(partial, format="png", metadata={"Software": None})


def draw(axes, rows: list[tuple[str, str | None]], columns: dict, min_count: int) -> None:
    labels = []
    for y, (name, group) in enumerate(rows):
        compared = columns[name]["compared"][METRIC]
        gap = compared["clearest"] if compared["verdict"] == "unfair" else {}
        if group is None:
            labels.append(name.replace("_", " "))
            verdict = (
                f"unfair: {gap['lowest']} under {gap['highest']}" if gap else compared["verdict"].replace("_", " ")
            )
            colour = {"unfair": RED, "fair_within_margin": GREEN}.get(compared["verdict"], GREY)
            axes.text(1.02, y, verdict, va="center", fontsize=8, color=colour, weight="bold")
            continue
        labels.append(f"{group}  ")
        found = columns[name]["by_group"][group]
        score = found.get(METRIC, {})
        if score.get("value") is None or score["value"] != score["value"]:
            why = f"undecidable: <{min_count} patients" if not score else "undecidable: too few of any diagnosis"
            axes.text(0.01, y, why, va="center", fontsize=8, color=GREY, style="italic")
            continue
        colour = RED if group == gap.get("lowest") else INK
        axes.plot([score["low"], score["high"]], [y, y], color=colour, linewidth=1.6)
        axes.plot(score["value"], y, "o", color=colour, markersize=5)
        size = f"{found['n_patients']:,}" if isinstance(found["n_patients"], int) else found["n_patients"]
        text = f"{score['value']:.2f} ({score['low']:.2f} to {score['high']:.2f}), {size} patients, {score['classes']} diagnoses"
        axes.text(1.02, y, text, va="center", fontsize=8, color=colour)
    axes.set_yticks(range(len(rows)), labels, fontsize=9)
    for tick, (_, group) in zip(axes.get_yticklabels(), rows, strict=True):
        tick.set_weight("bold" if group is None else "normal")
    axes.tick_params(axis="y", length=0)
    axes.set(xlim=(0, 1), ylim=(len(rows) - 0.4, -0.6))
    axes.set_xlabel("sensitivity, mean over the diagnoses that enough patients of the group have", fontsize=9)
    axes.grid(axis="x", color="#e3e5e8")
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
