"""A bar chart as SVG, with a background, so that it is readable on light and dark pages."""

from dataclasses import dataclass
from html import escape

# All in pixels.
WIDTH, LABEL_WIDTH, NUMBER_WIDTH = 760, 180, 120
BAR_HEIGHT, ROW_HEIGHT, TITLE_HEIGHT = 18, 25, 34
COLORS = ("#6b7785", "#0f766e", "#14a098", "#c9803a", "#8a6fb0")
FONT = "font-family='system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif'"


@dataclass(frozen=True)
class Bar:
    """A bar: its label, its value, and the text beside it."""

    label: str
    value: float
    text: str
    is_bold: bool = False


@dataclass(frozen=True)
class Panel:
    """Bars of the same scale, with a title."""

    title: str
    bars: list[Bar]


def render_text(
    x: float, y: float, words: str, size: int = 13, weight: str = "400", color: str = "#1f2933", end: bool = False
) -> str:
    """Return a line of text as SVG."""
    anchor = " text-anchor='end'" if end else ""
    style = f"font-size='{size}' font-weight='{weight}' fill='{color}'{anchor}"
    return f"<text x='{x:g}' y='{y:g}' {style}>{escape(words)}</text>"


def render_chart(title: str, note: str, panels: list[Panel]) -> str:
    """Return the panels, one below the other, as SVG."""
    drawn = [render_text(20, 32, title, 17, "700"), render_text(20, 52, note, 12, color="#52606d")]
    y = 62.0
    for panel in panels:
        y += TITLE_HEIGHT
        drawn.append(render_text(20, y - 8, panel.title, 14, "700"))
        longest = max((bar.value for bar in panel.bars), default=1)
        for number, bar in enumerate(panel.bars):
            length = max(2, (WIDTH - LABEL_WIDTH - NUMBER_WIDTH) * bar.value / longest)
            weight = "700" if bar.is_bold else "400"
            drawn += [
                render_text(LABEL_WIDTH - 10, y + 13.5, bar.label, weight=weight, end=True),
                f"<rect x='{LABEL_WIDTH}' y='{y:g}' width='{length:.1f}' height='{BAR_HEIGHT}' rx='2'"
                f" fill='{COLORS[number % len(COLORS)]}'/>",
                render_text(LABEL_WIDTH + length + 8, y + 13.5, bar.text, weight=weight),
            ]
            y += ROW_HEIGHT
    height = y + 14
    return "\n".join([
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height:g}' width='{WIDTH}' height='{height:g}'"
        f" role='img' {FONT}>",
        f"<title>{escape(title)}</title>",
        f"<rect x='0.5' y='0.5' width='{WIDTH - 1}' height='{height - 1:g}' rx='8' fill='#ffffff' stroke='#cbd2d9'/>",
        *drawn,
        "</svg>",
    ]) + "\n"  # fmt: skip
