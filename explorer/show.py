"""A heatmap as text: `lyrx show`, and the end of `lyrx batch`.

Every place carries its digits, so it can be read in a pipe, in a log and without colours; the colours only help.
"""

import sys
from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.style import Style
from rich.text import Text

from ..store import REINITIALISE, inert
from ..store.verdict import Verdict
from .core import ramp
from .core.marks import MARKS, WORDS, Place, State, place
from .core.part import Part, whole
from .core.picture import METRICS, Picture
from .core.texts import (
    baseline_text,
    batchwise_text,
    fallback_text,
    listed,
    precision_text,
    shorten,
    state_text,
    unavailable_text,
)
from .core.words import REINITIALISED, deed, judged, meanings, over_checkpoints

CELL, DRAWN_CELL, GAP = 6, 10, 1
NETWORK = "whole network"
_DIM = Style(dim=True)
_BOLD = Style(bold=True)
_LEVELS = [Style.parse(f"{fore} on {back}") for fore, back in zip(ramp.FOREGROUNDS, ramp.COLOURS, strict=True)]
_NOT_FINITE = Style.parse(f"#ffffff on {ramp.NOT_FINITE}")


def print_heatmap(picture: Picture, metric: str = "error", console: Console | None = None) -> None:
    """Print the heatmap, as wide as the terminal is, or in 120 columns where there is none."""
    console = console or Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    console.print(render(picture, metric))


def render(
    picture: Picture, metric: str = "error", width: int | None = None, part: Part | None = None
) -> RenderableType:
    """The heatmap of one probe, coloured by `metric` (a name in METRICS), for rich to print.

    `width` in columns; default: the console's.  Groups of columns follow one another where they do not fit beside.
    `part`: these rows and columns only; default: all.
    """
    return _Heatmap(picture, metric, width, part or whole(picture))


class _Heatmap:
    def __init__(self, picture: Picture, metric: str, width: int | None, part: Part):
        self.picture, self.metric, self.width, self.part = picture, metric, width, part
        self.scale = ramp.scale(picture, metric)
        self._room = 0
        self.spread = metric == "error" and any(column.draws > 1 for column in picture.columns)
        self._widths = [self._width_of(column) for column in range(len(picture.columns))]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = self._room = self.width or options.max_width
        colour = console.color_system is not None and not console.no_color
        for line in self._title():
            yield Text.assemble(*line, overflow="fold")
        for group in self._groups(width):
            yield Text()
            yield from self._group(group, self._name_width(width))
        yield Text()
        yield from self._legend(colour)
        yield from self._summary()
        yield from self._precision()

    def _title(self) -> Iterator[list[tuple[str, Style]]]:
        run = self.picture.run
        plain = Style.null()
        what = f"  {inert(run.model)} on {inert(run.data)}  ·  {state_text(self.picture)}"
        yield [(inert(run.name), _BOLD), (what, plain)]
        yield [(f"{baseline_text(self.picture)}  ·  probe {inert(self.picture.probe.id)}", plain)]

    def _name_width(self, width: int) -> int:
        longest = max((cell_len(inert(name)) for name in self.picture.layer_names), default=0)
        return max(len(NETWORK), min(longest, width // 3))

    def _width_of(self, column: int) -> int:
        """Columns of text that a column takes: its longest text and a blank."""
        head = self.picture.columns[column]
        longest = max((len(self._text(layer, column)) for layer in range(len(self.picture.probe.layers))), default=0)
        return max(DRAWN_CELL if self.spread and head.draws > 1 else CELL, len(head.label) + 1, longest + 1)

    def _groups(self, width: int) -> list[list[int]]:
        """Columns that fit side by side."""
        groups: list[list[int]] = []
        left = 0
        for column in self.part.columns:
            need = self._widths[column] + (self._gap(column) if groups else 0)
            if not groups or left < need:
                groups.append([])
                left = width - self._name_width(width) - 1
                need = self._widths[column]
            groups[-1].append(column)
            left -= need
        return groups

    def _gap(self, column: int) -> int:
        """Blanks before a column that is not the first of its line: they set kinds apart."""
        columns = self.picture.columns
        return GAP if column and columns[column - 1].kind != columns[column].kind else 0

    def _group(self, group: Sequence[int], names: int) -> Iterator[Text]:
        columns, layers = self.picture.columns, self.picture.probe.layers
        heads = Text(" " * (names + 1))
        start, end = None, 0
        for position, column in enumerate(group):
            heads.append(" " * (self._gap(column) if position else 0))
            if columns[column].kind == REINITIALISE:
                start = heads.cell_len if start is None else start
            width, label = self._widths[column], columns[column].label
            heads.append(label.center(width) if columns[column].drawn else _right(label, width), _BOLD)
            if columns[column].kind == REINITIALISE:
                end = heads.cell_len
        if start is not None:
            # Nothing stands to the right of a line's last columns: their title may be wider than they are.
            room = len(REINITIALISED[0]) if end == heads.cell_len else end - start
            room = min(room, max(end, self._room) - start)
            yield Text.assemble(" " * start, (over_checkpoints(room), _DIM))
        yield heads
        for layer in self.part.layers:
            if layer is None:
                continue
            info = layers[layer]
            if info.joint and layer and not layers[layer - 1].joint:
                yield Text()
            yield self._row(layer, Text(shorten(info.name, names)), group, names)
        if None in self.part.layers and any(columns[column].kind == REINITIALISE for column in group):
            yield Text()
            yield self._row(None, Text(NETWORK, _DIM), group, names)

    def _row(self, layer: int | None, name: Text, group: Sequence[int], names: int) -> Text:
        row = name
        row.append(" " * (names + 1 - row.cell_len))
        for position, column in enumerate(group):
            row.append(" " * (self._gap(column) if position else 0))
            found = place(self.picture, self.metric, layer, column)
            text, width = self._text(layer, column), self._widths[column]
            row.append(_right(text, width) if found.value is not None else text.center(width), self._style(found))
        row.rstrip()
        row.no_wrap = True
        return row

    def _text(self, layer: int | None, column: int) -> str:
        """What stands at a place: the number or the mark, and the spread of several draws."""
        found, cell = place(self.picture, self.metric, layer, column), self.picture.cell(layer, column)
        text = found.text(self.metric, CELL - 1)
        if self.spread and cell and found.value is not None and cell.spread is not None:
            text += f"±{100 * cell.spread:.1f}"
        return text

    def _style(self, found: Place) -> Style:
        if found.value is None:
            return _DIM if found.state is not State.DAMAGED else _BOLD
        level = self.scale.level(found.value)
        return _NOT_FINITE if level is None else _LEVELS[level]

    def _legend(self, colour: bool) -> Iterator[Text]:
        yield self._scale(colour)
        states = (State.MISSING, State.ESTIMATE, State.DAMAGED)
        if self.picture.probe.unavailable:
            states = (State.UNAVAILABLE, *states)
        yield Text("   ".join(f"{MARKS[state]} {WORDS[state]}" for state in states), _DIM)
        for line in meanings(self.picture.columns, spread=self.spread):
            yield Text(line, _DIM)

    def _scale(self, colour: bool) -> Text:
        """What the colours mean: the ends of the scale, or the kinds that the metric tells."""
        metric = METRICS[self.metric]
        line = Text(f"{metric.title} ")
        for value, letter, word in metric.kinds:
            level = self.scale.level(value)
            assert level is not None
            line.append(" ").append(f" {letter} ", _LEVELS[level] if colour else "").append(f" {word}")
        if metric.kinds:
            return line
        low, high = self.scale.ends()
        line.append(f" {low} ")
        if colour:
            for style in _LEVELS:
                line.append("  ", style)
        else:
            line.append("…")
        return line.append(f" {high}")

    def _summary(self) -> Iterator[Text]:
        """Which layers matter."""
        picture = self.picture
        said = False
        for column in judged(picture.columns):
            verdicts: dict[Verdict, list[str]] = {"critical": [], "robust": [], "undecided": []}
            for layer, name in enumerate(picture.layer_names):
                if verdict := picture.verdict(layer, column):
                    verdicts[verdict].append(inert(name))
            if not any(verdicts.values()):
                continue
            what = deed(picture.columns[column])
            tolerance = f" (robust: at most {100 * picture.tolerance:g} points above the trained network)"
            yield Text()
            yield Text(f"{what[0].upper()}{what[1:]}{'' if said else tolerance}:")
            said = True
            for verdict, names in verdicts.items():
                if names:
                    yield Text.assemble((f"{verdict:<11}", _BOLD), listed(names))

    def _precision(self) -> Iterator[Text]:
        picture = self.picture
        told = [precision_text(picture), fallback_text(picture.fallbacks), batchwise_text(picture)]
        told.append(unavailable_text(picture))
        told += [f"note: {inert(note)}" for note in picture.notes]
        lines = [text for text in told if text]
        if lines:
            yield Text()
            for line in lines:
                yield Text(line[0].upper() + line[1:])


def _right(text: str, width: int) -> str:
    """Right-aligned, one column free at the right, so that decimals stand below each other."""
    return text.rjust(width - 1).ljust(width)
