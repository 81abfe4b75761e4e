"""Three pictures of the data: classes, lengths against the window, and who was dropped. The same bytes every time."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from diagnosis.files import written_aside

INK, GREY, RED, PALE = "#1f3b57", "#8a8f98", "#b3261e", "#b9c6d3"
BARS = 40  # classes drawn, the commonest


def figure_of(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: Path) -> None:
    with written_aside(path) as partial:
        # Software and date would differ between releases and days.
        figure.savefig(partial, format="png", metadata={"Software": None})


def bare(axes, *sides: str) -> None:
    axes.spines[list(sides)].set_visible(False)
    axes.set_axisbelow(True)


def plot_classes(path: Path, described: dict, min_count: int) -> None:
    """Notes by class over all shards; `described` is the metrics' own."""
    counts = list(described["classes"].items())[:BARS]
    figure = figure_of(8, 1.4 + 0.24 * max(len(counts), 4))
    axes = figure.add_subplot()
    bound = "over " if described["imbalance_ratio_is_lower_bound"] else ""
    ratio = f"largest to smallest class: {bound}{described['imbalance_ratio']:.3g} to 1"
    axes.set_title(f"Notes by class, all shards ({described['notes']:,} notes; {ratio})", fontsize=11, loc="left")
    axes.barh(range(len(counts)), [count for _, count in counts], color=INK, height=0.7)
    for y, (_, count) in enumerate(counts):
        axes.text(count, y, f" {count:,} ({count / described['notes']:.1%})", va="center", fontsize=8, color=INK)
    axes.set_yticks(range(len(counts)), [label[:40] for label, _ in counts], fontsize=9)
    axes.set(ylim=(len(counts) - 0.4, -0.6), xlim=(0, 1.15 * max((count for _, count in counts), default=1)))
    hidden = len(described["classes"]) - len(counts) + described["classes_not_shown"]
    axes.set_xlabel("notes" + (f"; {hidden} more classes are not drawn" if hidden else ""), fontsize=9)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#e3e5e8")
    bare(axes, "top", "right", "left")
    save(figure, path)


def plot_lengths(path: Path, table: pd.DataFrame, window: int, longest: int | None) -> None:
    """Tokens by note over all shards, what lies beyond the window in red."""
    tokens = table["tokens"].to_numpy()
    figure = figure_of(8, 3.6)
    axes = figure.add_subplot()
    far = max(int(np.quantile(tokens, 0.995)), int(window * 1.15))
    width = window / max(round(60 * window / far), 1)  # the window is the edge of a bar
    edges = np.arange(0, far + width, width)
    heights, _ = np.histogram(np.minimum(tokens, edges[-1]), edges)
    beyond = np.arange(1, len(edges)) * width > window * 1.001
    axes.bar(
        edges[:-1], heights, width, align="edge", color=np.where(beyond, RED, INK), edgecolor="white", linewidth=0.3
    )
    top, share = max(heights.max(), 1), (tokens > window).mean()
    marks = [(window, RED, "-", f"window: {window} tokens; {share:.1%} of notes are longer", 1.28)]
    if longest is not None and window < longest < far:
        marks.append((longest, GREY, "--", f"the model takes {longest}", 1.16))
    for place, colour, line, text, height in marks:
        axes.plot([place, place], [0, height * top], color=colour, linewidth=1.5, linestyle=line)
        right = place > far * 0.6
        axes.text(place, height * top, f"{text}  " if right else f"  {text}", color=colour, fontsize=8, va="top",
                  ha="right" if right else "left")  # fmt: skip
    axes.set_title("Length of the notes, all shards", fontsize=11, loc="left")
    axes.set_xlabel("tokens of the base model" + (f"; the last bar holds all from {edges[-2]:.0f} on" if tokens.max() > edges[-1] else ""),
                    fontsize=9)  # fmt: skip
    axes.set_ylabel("notes", fontsize=9)
    axes.set(xlim=(0, edges[-1]), ylim=(0, top * 1.32))
    axes.grid(axis="y", color="#e3e5e8")
    bare(axes, "top", "right")
    save(figure, path)


def plot_flow(path: Path, totals: dict[str, int], flows: dict[str, dict], min_count: int) -> None:
    """Notes left after each stage, and by group the share of the ingested notes that a shard holds."""
    rows = [row for column, of in flows.items() for row in [(column, None), *((column, group) for group in of)]]
    figure = figure_of(9, 2.8 + 0.27 * max(len(rows), 4))
    funnel, axes = figure.subplots(2, 1, height_ratios=[1.3, 0.27 * max(len(rows), 4) + 0.6])

    names = list(totals)
    funnel.barh(range(len(names)), list(totals.values()), color=[PALE, *[INK] * (len(names) - 1)], height=0.7)
    before = None
    for y, name in enumerate(names):
        lost = "" if before is None else f" (-{before - totals[name]:,})" if before > totals[name] else " (all)"
        funnel.text(totals[name], y, f" {totals[name]:,}{lost}", va="center", fontsize=8, color=INK)
        before = totals[name]
    funnel.set_yticks(range(len(names)), ["read", *[f"after {name}" for name in names[1:]]], fontsize=9)
    funnel.set(ylim=(len(names) - 0.4, -0.6), xlim=(0, 1.2 * max(totals.values())))
    funnel.set_title("Notes left after each stage", fontsize=11, loc="left")
    funnel.tick_params(axis="y", length=0)
    funnel.xaxis.set_visible(False)
    bare(funnel, "top", "right", "left", "bottom")

    axes.set_title(
        "Share of the ingested notes that reach a shard, by group, with 95 % interval", fontsize=11, loc="left"
    )
    if not rows:
        axes.text(0.5, 0.5, "no groups", ha="center", va="center", fontsize=14, transform=axes.transAxes)
        axes.set_axis_off()
    else:
        draw_groups(axes, rows, flows, min_count)
    save(figure, path)


def draw_groups(axes, rows: list[tuple[str, str | None]], flows: dict[str, dict], min_count: int) -> None:
    words = {"under_kept": "fewer kept than of the others", "over_kept": "more kept than of the others",
             "cannot_conclude": "no clear difference", "nothing_dropped": "nothing dropped"}  # fmt: skip
    lows = [of["kept"]["low"] for column in flows.values() for of in column.values() if "kept" in of]
    left = max(0.0, min([0.9, *lows]) - 0.02)
    labels = []
    for y, (column, group) in enumerate(rows):
        if group is None:
            labels.append(column.replace("_", " "))
            continue
        labels.append(f"{group}  ")
        found = flows[column][group]
        if found["verdict"] == "undecidable":
            axes.text(
                left, y, f" undecidable: <{min_count} patients", va="center", fontsize=8, color=GREY, style="italic"
            )
            continue
        colour = RED if found["verdict"] == "under_kept" else INK
        if "kept" not in found:
            axes.text(left, y, " counts too small to show", va="center", fontsize=8, color=GREY, style="italic")
            text = words[found["verdict"]]
        else:
            kept = found["kept"]
            axes.plot([kept["low"], kept["high"]], [y, y], color=colour, linewidth=1.6)
            axes.plot(kept["value"], y, "o", color=colour, markersize=5, clip_on=False)
            text = f"{kept['value']:.3f} of {next(iter(found['notes'].values())):,} notes; {words[found['verdict']]}"
        axes.text(1.01, y, text, va="center", fontsize=8, color=colour, transform=axes.get_yaxis_transform())
    axes.set_yticks(range(len(rows)), labels, fontsize=9)
    for tick, (_, group) in zip(axes.get_yticklabels(), rows, strict=True):
        tick.set_weight("bold" if group is None else "normal")
    axes.tick_params(axis="y", length=0)
    axes.set(xlim=(left, 1.002), ylim=(len(rows) - 0.4, -0.6))
    axes.grid(axis="x", color="#e3e5e8")
    bare(axes, "top", "right", "left")
