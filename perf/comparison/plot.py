"""Plots as SVG: bars of subjects side by side, and curves of growth."""

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


def curves(panels: list[tuple[str, str, list[Curve]]]) -> str:
    """Charts below each other: title, name of the x axis, curves. The x axis is logarithmic, the y
    axis begins at 0."""
    import math
    left, width, height, gap = 80, 520, 170, 60
    body, top = [], 10
    for title, x_name, of_panel in panels:
        points = [point for curve in of_panel for point in curve.points]
        if not points:
            continue
        top += 30
        xs = sorted({x for x, _ in points})
        y_max = max(y for _, y in points) * 1.1 or 1
        low, high = math.log(xs[0]), math.log(xs[-1])

        def at(point, low=low, span=(high - low) or 1, y_max=y_max, top=top):
            return (left + (math.log(point[0]) - low) / span * width,
                    top + height - point[1] / y_max * height)
        body.append(text(left, top - 12, title, "title"))
        for step in range(5):
            value = y_max * step / 4
            y = at((xs[0], value))[1]
            body.append(f'<line x1="{left}" x2="{left + width}" y1="{y:.1f}" y2="{y:.1f}" '
                        f'stroke="{FAINT}"/>')
            body.append(text(left - 6, y + 4, f"{value:.3g}", "small", "end"))
        for x in xs:
            body.append(text(at((x, 0))[0], top + height + 16, f"{x:,.0f}", "small", "middle"))
        body.append(text(left + width, top + height + 32, x_name, "small", "end"))
        for curve in of_panel:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(at, curve.points))
            body.append(f'<polyline points="{path}" fill="none" stroke="{curve.color}" '
                        'stroke-width="2"/>')
            for point in curve.points:
                x, y = at(point)
                body.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{curve.color}"/>')
            x, y = at(curve.points[-1])
            body.append(text(x + 8, y + 4, curve.label, "small"))
        top += height + gap
    return document(left + width + 140, top + 10, body)
