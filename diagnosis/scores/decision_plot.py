"""Decision curves, one small plot a class."""

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from diagnosis.files import written_aside

INK, BAND, GREY, RED = "#1f3b57", "#c9d6e4", "#8a8f98", "#b3261e"
COLUMNS = 3


def draw_curves(path: Path, curves: dict[str, dict], left_out: int, shard: str) -> None:
    """Write the PNG of net_benefit.decision_curves' curves. The same bytes every time."""
    rows = max(1, -(-len(curves) // COLUMNS))
    figure = Figure(figsize=(10.5, 1 + 2.7 * rows), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    said = f"; {left_out} classes have no declared range" if left_out else ""
    figure.suptitle(
        f"Net benefit by threshold, {shard} shard, calibrated, 95 % band{said}", fontsize=11, x=0.01, ha="left"
    )
    if not curves:
        axes = figure.add_subplot()
        axes.text(0.5, 0.5, "no class has a declared range of thresholds", ha="center", va="center", fontsize=12)
        axes.set_axis_off()
    for place, (label, curve) in enumerate(curves.items(), 1):
        axes = figure.add_subplot(rows, min(COLUMNS, len(curves)), place)
        x = curve["thresholds"]
        axes.fill_between(x, curve["low"], curve["high"], color=BAND, linewidth=0)
        axes.plot(x, curve["model"], color=INK, linewidth=1.6, label="model")
        axes.plot(x, curve["treat_all"], color=RED, linewidth=1.1, linestyle="--", label="treat all")
        axes.axhline(0, color=GREY, linewidth=1.1, linestyle=":", label="treat none")
        top = max(curve["high"].max(), curve["treat_all"].max(), 0.001)
        # A band may end far under zero at high thresholds, and treat-all does: what is worse than both defaults is worse.
        axes.set(xlim=(x[0], x[-1]), ylim=(min(max(curve["low"].min(), -top), -0.15 * top), 1.08 * top))
        axes.set_title(label if len(label) <= 34 else f"{label[:33]}…", fontsize=9, loc="left", weight="bold")
        axes.tick_params(labelsize=8)
        axes.set_xlabel("threshold probability", fontsize=8)
        if (place - 1) % COLUMNS == 0:
            axes.set_ylabel("net benefit per note", fontsize=8)
        axes.grid(color="#e3e5e8")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        if place == 1:
            figure.legend(loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    with written_aside(path) as partial:
        # Software and date would differ between releases and days.
        figure.savefig(partial, format="png", metadata={"Software": None})
