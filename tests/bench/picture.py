"""Bars as an SVG picture, on a ground of its own, so that it can be read on a light page and on a dark one."""

from dataclasses import dataclass
from html import escape

WIDTH, LABELS, NUMBERS = 760, 180, 120
BAR, ROW, HEAD = 18, 25, 34
COLORS = ("#6b7785", "#0f766e", "#14a098", "#c9803a", "#8a6fb0")
FONT = "font-family='system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif'"


@dataclass(frozen=True)
class Bar:
    """One bar: what it is of, how long, and what is said beside it."""

    label: str
    value: float
    text: str
    is_bold: bool = False


@dataclass(frozen=True)
class Panel:
    """Bars of one scale, under a title."""

    title: str
    bars: list[Bar]


def text(
    x: float, y: float, words: str, size: int = 13, weight: str = "400", color: str = "#1f2933", end: bool = False
) -> str:
    """A line of text."""
    anchor = " text-anchor='end'" if end else ""
    style = f"font-size='{size}' font-weight='{weight}' fill='{color}'{anchor}"
    return f"<text x='{x:g}' y='{y:g}' {style}>{escape(words)}</text>"


def picture(title: str, note: str, panels: list[Panel]) -> str:
    """The panels, one below the other."""
    drawn = [text(20, 32, title, 17, "700"), text(20, 52, note, 12, color="#52606d")]
    y = 62.0
    for panel in panels:
        y += HEAD
        drawn.append(text(20, y - 8, panel.title, 14, "700"))
        longest = max((bar.value for bar in panel.bars), default=1)
        for number, bar in enumerate(panel.bars):
            length = max(2, (WIDTH - LABELS - NUMBERS) * bar.value / longest)
            weight = "700" if bar.is_bold else "400"
            drawn += [
                text(LABELS - 10, y + 13.5, bar.label, weight=weight, end=True),
                f"<rect x='{LABELS}' y='{y:g}' width='{length:.1f}' height='{BAR}' rx='2'"
                f" fill='{COLORS[number % len(COLORS)]}'/>",
                text(LABELS + length + 8, y + 13.5, bar.text, weight=weight),
            ]
            y += ROW
    height = y + 14
    return "\n".join([
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height:g}' width='{WIDTH}' height='{height:g}'"
        f" role='img' {FONT}>",
        f"<title>{escape(title)}</title>",
        f"<rect x='0.5' y='0.5' width='{WIDTH - 1}' height='{height - 1:g}' rx='8' fill='#ffffff' stroke='#cbd2d9'/>",
        *drawn,
        "</svg>",
    ]) + "\n"  # fmt: skip
