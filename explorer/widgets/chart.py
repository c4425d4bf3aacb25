"""A small chart, drawn by plotext 6.

`textual-plotext` 1.0.1 with plotext 5.3 was tried on the same curve, and not taken.  It is lighter to import (0.05 s
against 0.17 s, which pass in a thread here), but holds plotext below 6 and has not been released since 2024, and in
plotext 5 curves that meet in one character wipe out each other's dots, while nothing fills the band between two.
plotext 6 joins the dots, fills, and draws each axis by itself; all that it lacks is a widget, and that is this file.
"""

import asyncio
import importlib
import sys
from collections.abc import Sequence

from rich.style import Style
from rich.text import Span, Text
from textual.content import Content
from textual.widget import Widget

from ..core.plot import Colour, Plot, Series
from ..themes import colours_of
from .toned import toned

LEAST = (12, 4)
"""Columns and lines below which no chart is drawn, only its first line."""
_ROOMY = 5
"""Lines that a chart keeps for itself before lines below it are given room."""
_LOW = 8
"""Lines between the axes below which a character stands for too much: points and the dotted line are drawn in Braille
then, as the lines are, which has four dots above each other in a character."""
_NAMED = 5
"""Below so many an axis names its ends only."""

_RGB = tuple[int, int, int]


class Chart(Widget):
    """A titled chart. plotext is imported in a thread, after the first frame, since that takes a while."""

    def __init__(self, *, id: str | None = None, classes: str | None = None):  # noqa: A002 - Textual's name
        super().__init__(id=id, classes=classes)
        self.plot = Plot("")
        self._drawn: tuple[object, Content] | None = None

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

    def render(self) -> Content:
        ready = "plotext" in sys.modules
        key = (self.plot, self.size, ready, self.app.theme)
        if self._drawn is None or self._drawn[0] != key:
            self._drawn = (key, toned(self._draw(ready), self.app))
        return self._drawn[1]

    def _draw(self, ready: bool) -> Text:
        width, height = self.size
        plot, known = self.plot, colours_of(self.app.current_theme).tones
        head = Text(no_wrap=True, overflow="ellipsis")
        head.append(plot.title, "bold")
        for series in plot.series:
            head.append("  " if head.plain else "")
            head.append(series.mark, _style(series.colour))
            head.append(f" {series.label}" if series.label else "", "muted")
        head.truncate(width, overflow="ellipsis")
        if not plot.drawable:
            said = Text("\n").join(Text(line, "muted") for line in _wrapped(plot.empty, width))
            return Text("\n").join([head, said] if head.plain else [said])
        room = max(0, height - 1 - _ROOMY)
        foot = list(plot.foot if room >= 3 else plot.brief)[:room]
        lines = [head]
        if ready and width >= LEAST[0] and height - 1 - len(foot) >= LEAST[1]:
            lines.append(_plotted(plot, width, height - 1 - len(foot), known))
        lines += [Text(line, "muted", no_wrap=True, overflow="ellipsis") for line in foot]
        return Text("\n").join(lines)


def _wrapped(text: str, width: int) -> list[str]:
    import textwrap

    return textwrap.wrap(text, max(8, width))


def _style(colour: Colour) -> Style | str:
    return colour if isinstance(colour, str) else Style(color="#{:02x}{:02x}{:02x}".format(*colour))


def _rgb(colour: Colour, known: dict[str, str]) -> _RGB:
    if isinstance(colour, tuple):
        return colour
    digits = known[colour].removeprefix("#")
    return int(digits[0:2], 16), int(digits[2:4], 16), int(digits[4:6], 16)


def _plotted(plot: Plot, width: int, height: int, known: dict[str, str]) -> Text:
    """Draw on plotext's one figure (it has no other), and take what it drew as text."""
    import plotext
    from plotext import marker, pixel

    rows = height - 1 - bool(plot.x_ticks)
    # Half a dot of Braille, across and up.
    dot = (plot.x[1] - plot.x[0]) / max(1, width - 6) / 4, (plot.left[1] - plot.left[0]) / max(1, rows - 1) / 8
    low = rows < _LOW
    plotext.terminal.limit(False, False)
    figure = plotext.figure
    figure.clear.all()
    figure.plot_size(width, height)
    figure.theme("colorless")
    figure.canvas("default")
    frame = pixel(_rgb("faint", known), "default")
    figure.axes(False)
    figure.axes(True, pixel=frame, axis="x", side="lower")
    figure.axes(True, pixel=frame, axis="y", side="left")
    figure.ruler("x", "lower").lim(*plot.x).alignment(tick="dynamic")
    _ticks(figure.ruler("x", "lower"), plot.x_ticks, frame)
    figure.ruler("y", "left").lim(*plot.left)
    named = plot.left_ticks if rows >= _NAMED else [tick for tick in plot.left_ticks if tick[0] in plot.left]
    _ticks(figure.ruler("y", "left"), named, frame)
    if plot.right is not None:
        figure.ruler("y", "right").lim(*plot.right)
        _ticks(figure.ruler("y", "right"), plot.right_ticks, frame)
    if plot.here is not None:
        figure.line(plot.here, orientation=1, pixel=frame, style="dotted")

    def braille(colour: Colour):
        return marker("braille").fill(pixel(_rgb(colour, known)))

    if plot.level is not None and low:
        across = [plot.x[0] + 8 * dot[0] * step for step in range((width - 5) // 2)]
        across = [x for x in across if x <= plot.x[1]]
        figure.draw(figure.signal(across, [plot.level] * len(across), marker=braille("faint"), yside="left"))
    elif plot.level is not None:
        figure.line(plot.level, orientation=0, pixel=frame, style="dotted")

    for series in plot.series:  # bands below all lines
        for x, bottom, top in series.bands():
            side = "right" if series.right else "left"
            lower = figure.signal(x, bottom, marker=braille(series.band), yside=side).lines(True)
            upper = figure.signal(x, top, marker=braille(series.band), yside=side).lines(True)
            figure.draw(upper.fill(lower))
    for series in reversed(plot.series):  # the first one ends up on top
        _draw_series(figure, series, braille, _rgb(series.colour, known), dot if low else None)
    for series in plot.series:  # letters above all lines
        x, y = [series.x[index] for index in series.marked], [series.y[index] for index in series.marked]
        if series.letter and x:
            coloured = pixel(_rgb(series.colour, known))
            side = "right" if series.right else "left"
            figure.draw(figure.signal(x, y, marker=marker(series.letter).fill(coloured), yside=side))
    drawn = Text.from_ansi(figure.build().string().rstrip("\n"), no_wrap=True)
    # plotext paints its own background behind axes and labels; the terminal's is meant.
    drawn.spans = [Span(span.start, span.end, _foreground(span.style)) for span in drawn.spans]
    return drawn


def _draw_series(figure, series: Series, braille, colour: _RGB, dot: tuple[float, float] | None) -> None:
    """Draw its line and its points: these as characters or, where half a `dot` of Braille is given, as four dots."""
    from plotext import marker, pixel

    x, y = series.finite()
    if not x:
        return
    side = "right" if series.right else "left"
    if series.line:
        figure.draw(figure.signal(x, y, marker=braille(series.colour), yside=side).lines(True))
    if series.dots and dot is not None:
        corners = [(a, b) for a in (-dot[0], dot[0]) for b in (-dot[1], dot[1])]
        for a, b in corners:
            moved = [place + a for place in x], [value + b for value in y]
            figure.draw(figure.signal(*moved, marker=braille(series.colour), yside=side))
    elif series.dots:
        figure.draw(figure.signal(x, y, marker=marker(series.mark).fill(pixel(colour)), yside=side))


def _foreground(style: Style | str) -> Style | str:
    return Style(color=style.color) if isinstance(style, Style) else style


def _ticks(ruler, ticks: Sequence[tuple[float, str]], frame) -> None:
    ruler.pixel(frame)
    ruler.ticks([position for position, _ in ticks], [label for _, label in ticks])
