"""A forest plot in three panels: decisions that flip, what negation moves, what vignettes and strange text get."""

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from diagnosis.behaviour.negation import DIRECTIONS
from diagnosis.behaviour.perturbations import CONTROL
from diagnosis.files import written_aside

BLUE, RED, GREY = "#1f3b57", "#b3261e", "#8a8f98"
COLOURS = {"robust": BLUE, "as_expected": BLUE, "separates": BLUE, "moves": RED, "ignored": RED, "opposite": RED, "inverted": RED}  # fmt: skip


def forest(path: Path, result: dict, shard: str, margin: float, move_margin: float) -> None:
    """Write the PNG: a row a probe, its value with 95 % interval and verdict. The same bytes every time."""
    probes = dict(result["probes"])
    largest = probes.pop(CONTROL)["largest_total_variation"]
    moved = "none seen" if largest is None else f"largest move {largest:.2g}"
    panels = [
        (
            f"Copies whose decision flips, where none should (control, white space: {moved})",
            [(name, row.get("flips"), row["verdict"], row.get("n")) for name, row in probes.items() if name not in DIRECTIONS],
            [margin],
        ),
        (
            "Findings denied or affirmed: mean move of the probability that they speak for, the expected way",
            [(name, probes[name].get("move"), probes[name]["verdict"], probes[name].get("n")) for name in DIRECTIONS],
            [-move_margin, move_margin],
        ),
        ("Vignettes answered as expected (accuracy), and AUROC of strange text against notes", _others(result), [0.5]),
    ]  # fmt: skip
    heights = [1.0 + 0.32 * max(len(rows), 1) for _, rows, _ in panels]
    figure = Figure(figsize=(10, sum(heights) + 0.5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"Behaviour of the model, {shard} shard, with 95 % intervals", fontsize=12, x=0.01, ha="left")
    for axes, panel in zip(figure.subplots(3, 1, height_ratios=heights), panels, strict=True):
        draw(axes, *panel)
    with written_aside(path) as partial:
        # Software and date would differ between releases and days.
        figure.savefig(partial, format="png", metadata={"Software": None})


def _others(result: dict) -> list:
    vignettes = result["vignettes"]
    rows = [("vignettes", vignettes["accuracy"], None, vignettes["n"])]
    for name, score in result["out_of_distribution"].items():
        if name != "status":
            rows += [(f"{name}: {kind}", found, found["verdict"], found["n"]) for kind, found in score["auroc"].items()]
    return rows


def draw(axes, title: str, rows: list, lines: list[float]) -> None:
    axes.set_title(title, fontsize=10, loc="left")
    for line in lines:
        axes.axvline(line, color=GREY, linewidth=1, linestyle=":")
    ends = [0.0, *lines]
    for y, (_, found, verdict, n) in enumerate(rows):
        colour = COLOURS.get(verdict, BLUE if verdict is None else GREY)
        if found is None:
            text = "too few: cannot conclude" if verdict else "none that the model could know"
        else:
            axes.plot([found["low"], found["high"]], [y, y], color=colour, linewidth=1.6)
            axes.plot(found["value"], y, "o", color=colour, markersize=5)
            ends += [found["low"], found["high"]]
            text = f"{found['value']:.3f} ({found['low']:.3f} to {found['high']:.3f}), n = {n}"
            text = f"{(verdict or '').replace('_', ' ')}: {text}" if verdict else text
        axes.text(1.02, y, text, va="center", fontsize=8, color=colour, transform=axes.get_yaxis_transform())
    axes.set_yticks(range(len(rows)), [row[0].replace("_", " ") for row in rows], fontsize=9)
    axes.tick_params(axis="y", length=0)
    room = 0.04 * (max(ends) - min(ends))
    axes.set(xlim=(min(ends) - room, max(ends) + room), ylim=(max(len(rows), 1) - 0.4, -0.6))
    axes.grid(axis="x", color="#e3e5e8")
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
