"""Plots as SVG: bars of subjects side by side, and curves of growth."""

import math
from dataclasses import dataclass
from xml.sax.saxutils import escape

OWN, RELAY, OTHER = "#1f6feb", "#b8bcc4", "#e08a3c"
INK, FAINT = "#24292f", "#d0d7de"
STYLE = (f"text{{font:12px sans-serif;fill:{INK}}}"
         ".title{font-weight:bold;font-size:13px}.small{font-size:11px}")


@dataclass(frozen=True)
class Bar:
    """One bar: its end is the median, its whisker the extremes."""

    label: str
    color: str
    median: float
    low: float
    high: float
    text: str


def document(width: int, height: int, body: list[str]) -> str:
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}">',
        f"<style>{STYLE}</style>", f'<rect width="{width}" height="{height}" fill="white"/>',
        *body, "</svg>", ""])


def text(x: float, y: float, words: str, style: str = "", anchor: str = "start") -> str:
    return (f'<text x="{x:.1f}" y="{y:.1f}" class="{style}" text-anchor="{anchor}">'
            f"{escape(words)}</text>")


def bars(panels: list[tuple[str, list[Bar]]]) -> str:
    """A panel of horizontal bars for each title; each panel has a scale of its own."""
    left, room, right, row = 120, 420, 270, 20
    body, y = [], 10
    for title, of_panel in panels:
        y += 18
        body.append(text(10, y, title, "title"))
        y += 8
        longest = max((bar.high for bar in of_panel), default=1) or 1
        for bar in of_panel:
            scale = room / longest
            middle = y + row / 2
            body += [
                text(left - 8, middle + 4, bar.label, anchor="end"),
                f'<rect x="{left}" y="{y + 3}" width="{max(bar.median * scale, 1):.1f}" '
                f'height="{row - 6}" fill="{bar.color}"/>',
                f'<line x1="{left + bar.low * scale:.1f}" x2="{left + bar.high * scale:.1f}" '
                f'y1="{middle}" y2="{middle}" stroke="{INK}"/>',
                text(left + max(bar.high, bar.median) * scale + 8, middle + 4, bar.text, "small"),
            ]
            y += row
        y += 10
    return document(left + room + right, y + 10, body)


@dataclass(frozen=True)
class Curve:
    """One line of a chart."""

    label: str
    color: str
    points: list[tuple[float, float]]


@dataclass(frozen=True)
class Panel:
    """A chart. Its y axis begins at 0."""

    title: str
    x_name: str
    curves: list[Curve]
    logarithmic: bool = True


class Scale:
    """Where the values of a chart lie on paper."""

    WIDTH, HEIGHT = 340, 150

    def __init__(self, panel: Panel, left: float, top: float):
        points = [point for curve in panel.curves for point in curve.points]
        self.xs = sorted({x for x, _ in points})
        self.y_max = max(y for _, y in points) * 1.1 or 1
        self.place = math.log if panel.logarithmic else float
        self.low = self.place(self.xs[0])
        self.span = (self.place(self.xs[-1]) - self.low) or 1
        self.left, self.top = left, top

    def x(self, value: float) -> float:
        return self.left + (self.place(value) - self.low) / self.span * self.WIDTH

    def y(self, value: float) -> float:
        return self.top + self.HEIGHT - value / self.y_max * self.HEIGHT

    def ticks(self) -> list[float]:
        """The values themselves if they are few, else some between the ends."""
        if len(self.xs) <= 12:
            return self.xs
        return [self.xs[0] + (self.xs[-1] - self.xs[0]) * step / 6 for step in range(7)]


def curves(panels: list[Panel], columns: int = 1) -> str:
    """Charts in rows of so many."""
    drawn = [panel for panel in panels if any(curve.points for curve in panel.curves)]
    across, down = Scale.WIDTH + 130, Scale.HEIGHT + 90
    body = []
    for number, panel in enumerate(drawn):
        row, column = divmod(number, columns)
        body += chart(panel, Scale(panel, 80 + column * across, 40 + row * down))
    rows = -(-len(drawn) // columns)
    return document(columns * across, rows * down + 10, body)


def chart(panel: Panel, scale: Scale) -> list[str]:
    right, bottom = scale.left + scale.WIDTH, scale.top + scale.HEIGHT
    body = [text(scale.left, scale.top - 12, panel.title, "title"),
            text(right, bottom + 34, panel.x_name, "small", "end")]
    for step in range(5):
        value = scale.y_max * step / 4
        y = scale.y(value)
        body.append(f'<line x1="{scale.left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" '
                    f'stroke="{FAINT}"/>')
        body.append(text(scale.left - 6, y + 4, f"{value:.3g}", "small", "end"))
    for value in scale.ticks():
        body.append(text(scale.x(value), bottom + 16, short(value), "small", "middle"))
    for curve in panel.curves:
        if not curve.points:
            continue
        places = [(scale.x(x), scale.y(y)) for x, y in curve.points]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        body.append(f'<polyline points="{line}" fill="none" stroke="{curve.color}" '
                    'stroke-width="2"/>')
        if len(places) <= 20:
            body += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{curve.color}"/>'
                     for x, y in places]
        body.append(text(places[-1][0] + 8, places[-1][1] + 4, curve.label, "small"))
    return body


def short(value: float) -> str:
    """A number of an axis: 30k, 4M."""
    for factor, letter in ((1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:.3g}{letter}"
    return f"{value:.3g}"
