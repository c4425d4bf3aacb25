"""A small chart, drawn by plotext."""

import asyncio
import importlib
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from rich.style import Style
from rich.text import Span, Text
from textual.widget import Widget

FRAME = (108, 108, 108)


@dataclass(frozen=True)
class Series:
    """One line of a chart. Points that are not finite are left out."""

    label: str
    colour: tuple[int, int, int]
    x: Sequence[float]
    y: Sequence[float]
    right: bool = False
    """On the scale at the right."""
    dots: bool = False
    """Mark each point."""

    def finite(self) -> tuple[list[float], list[float]]:
        pairs = [(x, y) for x, y in zip(self.x, self.y, strict=True) if math.isfinite(y)]
        return [x for x, _ in pairs], [y for _, y in pairs]


@dataclass(frozen=True)
class Plot:
    """What a chart shows."""

    title: str
    series: tuple[Series, ...] = ()
    x: tuple[float, float] = (0, 1)
    left: tuple[float, float] = (0, 1)
    right: tuple[float, float] | None = None
    x_ticks: Sequence[tuple[float, str]] = ()
    left_ticks: Sequence[tuple[float, str]] = ()
    right_ticks: Sequence[tuple[float, str]] = ()
    level: float | None = None
    """A horizontal dotted line at this height of the left scale."""
    empty: str = ""
    """Said instead of a chart."""


class Chart(Widget):
    """A titled chart. plotext is imported in a thread, after the first frame, since that takes a while."""

    def __init__(self, *, id: str | None = None):  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self.plot = Plot("")
        self._drawn: tuple[object, Text] | None = None

    def show(self, plot: Plot) -> None:
        """Show this; nothing is drawn anew if it is what is shown already."""
        if plot != self.plot:
            self.plot = plot
            self.refresh()

    def on_mount(self) -> None:
        if "plotext" not in sys.modules:
            self.call_after_refresh(self.run_worker, self._prepare(), exit_on_error=False)

    async def _prepare(self) -> None:
        await asyncio.to_thread(importlib.import_module, "plotext")
        self._drawn = None
        self.refresh()

    def render(self) -> Text:
        ready = "plotext" in sys.modules
        key = (self.plot, self.size, ready)
        if self._drawn is None or self._drawn[0] != key:
            self._drawn = (key, self._draw(ready))
        return self._drawn[1]

    def _draw(self, ready: bool) -> Text:
        width, height = self.size
        head = Text(self.plot.title, Style(bold=True), no_wrap=True, overflow="ellipsis")
        for series in self.plot.series:
            head.append(f"{' ' if head.plain else ''}{'●' if series.dots else '━'} ", _colour(series))
            head.append(series.label, Style(color="#8a8a8a", bold=False))
        drawable = any(series.finite()[0] for series in self.plot.series)
        if not drawable:
            head.append(f"\n{self.plot.empty}", Style(color="#8a8a8a", bold=False))
            return head
        if ready and width >= 12 and height >= 4:
            head.append("\n")
            head.append_text(_plotted(self.plot, width, height - 1))
        return head


def _colour(series: Series) -> Style:
    return Style(color="#{:02x}{:02x}{:02x}".format(*series.colour), bold=False)


def _plotted(plot: Plot, width: int, height: int) -> Text:
    """Draw on plotext's one figure (it has no other), and take what it drew as text."""
    import plotext
    from plotext import marker, pixel

    plotext.terminal.limit(False, False)
    figure = plotext.figure
    figure.clear.all()
    figure.plot_size(width, height)
    figure.theme("colorless")
    figure.canvas("default")
    frame = pixel(FRAME, "default")
    figure.axes(False)
    figure.axes(True, pixel=frame, axis="x", side="lower")
    figure.axes(True, pixel=frame, axis="y", side="left")
    figure.ruler("x", "lower").lim(*plot.x).alignment(tick="dynamic")
    _ticks(figure.ruler("x", "lower"), plot.x_ticks, frame)
    figure.ruler("y", "left").lim(*plot.left)
    _ticks(figure.ruler("y", "left"), plot.left_ticks, frame)
    if plot.right is not None:
        figure.ruler("y", "right").lim(*plot.right)
        _ticks(figure.ruler("y", "right"), plot.right_ticks, frame)
    if plot.level is not None:
        figure.line(plot.level, orientation=0, pixel=frame, style="dotted")
    for series in reversed(plot.series):  # the first one ends up on top
        x, y = series.finite()
        if not x:
            continue
        side = "right" if series.right else "left"
        line = figure.signal(x, y, marker=marker("braille").fill(pixel(series.colour)), yside=side)
        figure.draw(line.lines(True))
        if series.dots:
            figure.draw(figure.signal(x, y, marker=marker("●").fill(pixel(series.colour)), yside=side))
    drawn = Text.from_ansi(figure.build().string(), no_wrap=True)
    # plotext paints its own background behind axes and labels; the terminal's is meant.
    drawn.spans = [Span(span.start, span.end, _foreground(span.style)) for span in drawn.spans]
    return drawn


def _foreground(style: Style | str) -> Style | str:
    return Style(color=style.color) if isinstance(style, Style) else style


def _ticks(ruler, ticks: Sequence[tuple[float, str]], frame) -> None:
    ruler.pixel(frame)
    ruler.ticks([position for position, _ in ticks], [label for _, label in ticks])
