"""Small pictures as inline SVG: their colours are the page's, in light, dark and print, and each number in them has its source.

Text is 11 units high in a picture as wide as a telephone, so it is never scaled below what can be read.
"""

from html import escape
from math import ceil, floor

from markupsafe import Markup

from diagnosis.report.evidence import Found

WIDTH, HEIGHT = 350, 300
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 12, 44


def strip(value: Found, low: Found, high: Found, least: float = 0.0, most: float = 1.0) -> Markup:
    """A value on a line from `least` to `most`, with its interval as a band; for a table cell beside the numbers."""
    if not value:
        return Markup("")

    def x(found: Found) -> float:
        return round(min(max((found.value - least) / (most - least), 0.0), 1.0) * 100, 2)

    band = ""
    if low and high:
        band = f'<rect class="band" x="{x(low)}" y="5" width="{round(x(high) - x(low), 2)}" height="4"/>'
    zero = ""
    if least < 0 < most:
        at = round(-least / (most - least) * 100, 2)
        zero = f'<rect class="rule" x="{at}" y="0" width="0.6" height="14"/>'
    return Markup(
        '<svg class="strip" viewBox="0 0 100 14" preserveAspectRatio="none" aria-hidden="true" focusable="false">'
        f'<rect class="rule" x="0" y="6.6" width="100" height="0.8"/>{zero}{band}'
        f'<rect class="mark" x="{max(x(value) - 0.9, 0)}" y="1" width="1.8" height="12"/></svg>'
    )


class Plane:
    """Axes with whole ticks, and what is drawn on them."""

    def __init__(self, title: str, what: str, x_range: tuple[float, float], y_range: tuple[float, float]):
        self.title, self.what, self.x_range, self.y_range = title, what, x_range, y_range
        self.parts: list[str] = []

    def x(self, value: float) -> float:
        low, high = self.x_range
        return round(LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT), 2)

    def y(self, value: float) -> float:
        low, high = self.y_range
        clipped = min(max(value, low), high)
        return round(HEIGHT - BOTTOM - (clipped - low) / (high - low) * (HEIGHT - TOP - BOTTOM), 2)

    def axes(self, x_label: str, y_label: str, x_ticks: list[float], y_ticks: list[float]) -> None:
        for tick in y_ticks:
            self.parts.append(
                f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{self.y(tick)}" y2="{self.y(tick)}"/>'
                f'<text class="tick" x="{LEFT - 6}" y="{self.y(tick) + 4}" text-anchor="end">{tick:g}</text>'
            )
        for tick in x_ticks:
            self.parts.append(
                f'<text class="tick" x="{self.x(tick)}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{tick:g}</text>'
            )
        self.parts.append(
            f'<text class="axis" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">{escape(x_label)}</text>'
            f'<text class="axis" transform="rotate(-90)" x="{-(TOP + HEIGHT - BOTTOM) / 2}" y="12" text-anchor="middle">'
            f"{escape(y_label)}</text>"
        )

    def line(self, points: list[tuple[float, float]], kind: str) -> None:
        if points:
            path = " ".join(f"{self.x(a)},{self.y(b)}" for a, b in points)
            self.parts.append(f'<polyline class="line {kind}" points="{path}"/>')

    def area(self, points: list[tuple[float, float, float]], kind: str) -> None:
        """A band of (x, low, high)."""
        if points:
            there = [f"{self.x(a)},{self.y(high)}" for a, _, high in points]
            back = [f"{self.x(a)},{self.y(low)}" for a, low, _ in reversed(points)]
            self.parts.append(f'<polygon class="area {kind}" points="{" ".join(there + back)}"/>')

    def dot(self, a: Found, b: Found, radius: float, kind: str) -> None:
        self.parts.append(
            f'<circle class="dot {kind}" cx="{self.x(a.value)}" cy="{self.y(b.value)}" r="{round(radius, 2)}"/>'
        )

    def svg(self) -> Markup:
        return Markup(
            f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(self.title)}. '
            f'{escape(self.what)}"><title>{escape(self.title)}</title>{"".join(self.parts)}</svg>'
        )


KINDS = ("first", "second", "third", "fourth")
"""Lines and dots in this order differ in dash and shape of colour, not in hue alone."""


def reliability(points: Found, names: dict[str, str]) -> Markup:
    """The reliability diagram of rows (model, probability, observed, n), one kind of mark for each of `names`."""
    plane = Plane(
        "Reliability of the probabilities",
        "How often decisions were right, by the probability the model gave them. On the diagonal they agree; below it the model "
        "is too sure. The table beneath has the numbers.",
        (0, 1),
        (0, 1),
    )
    ticks = [0, 0.2, 0.4, 0.6, 0.8, 1]
    plane.axes("probability given", "share that was right", ticks, ticks)
    plane.line([(0, 0), (1, 1)], "ideal")
    rows = [row for _, row in points.each() if row["n"]]
    most = max((row["n"].value for row in rows), default=1)
    for kind, name in zip(KINDS, names, strict=False):
        own = [row for row in rows if row["model"].value == name]
        plane.line([(row["probability"].value, row["observed"].value) for row in own], kind)
        for row in own:
            plane.dot(row["probability"], row["observed"], 2 + 5 * (row["n"].value / most) ** 0.5, kind)
    return plane.svg()


def decision(label: str, curve: dict) -> Markup:
    """Net benefit by threshold of one class: the model with its band, treating all, treating none."""
    xs = curve["thresholds"]
    top = max(*curve["high"], *curve["treat_all"], 0.01) * 1.05
    bottom = -0.15 * top
    plane = Plane(
        f"Decision curve of {label}",
        "Net benefit by the probability from which one acts. The model helps where its line lies above both treating everyone and "
        "treating no one (zero).",
        (xs[0], xs[-1]),
        (bottom, top),
    )
    plane.axes("probability from which one acts", "net benefit a note", ticks_of(xs[0], xs[-1]), ticks_of(bottom, top))
    plane.area(list(zip(xs, curve["low"], curve["high"], strict=True)), "first")
    plane.line([(xs[0], 0), (xs[-1], 0)], "ideal")
    plane.line([(x, y) for x, y in zip(xs, curve["treat_all"], strict=True) if y >= bottom], "second")
    plane.line(list(zip(xs, curve["model"], strict=True)), "first")
    return plane.svg()


def risk(points: Found) -> Markup:
    """How often answers are wrong by the share that is answered, the surest first, of rows (coverage, risk)."""
    rows = [row for _, row in points.each() if row["model"].value == "calibrated"] or [row for _, row in points.each()]
    pairs = [(row["coverage"].value, row["risk"].value) for row in rows if row["risk"]]
    top = max((y for _, y in pairs), default=1) * 1.1 or 1
    plane = Plane(
        "Errors by how much is answered",
        "The share of answers that are wrong, where only the surest share of notes is answered. It should rise to the right.",
        (0, 1),
        (0, top),
    )
    plane.axes("share of notes answered", "share of answers wrong", [0, 0.2, 0.4, 0.6, 0.8, 1], ticks_of(0, top))
    plane.line(pairs, "first")
    return plane.svg()


def ticks_of(low: float, high: float) -> list[float]:
    """Whole steps within the range, seven at most."""
    for step in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.5, 1.0, 2.0, 5.0):
        first, last = ceil(low / step - 1e-9), floor(high / step + 1e-9)
        if last - first <= 6:
            return [round(step * k, 4) for k in range(first, last + 1)]
    return [low, high]
