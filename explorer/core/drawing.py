"""A heatmap as a drawing for files: rectangles and words on a plane, sizes in points. Pure arithmetic, no format.

:mod:`.svg` and :mod:`.png` write it.  Text is black on white, as on paper, whatever the app's theme is.
"""

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from rich.cells import cell_len

from ...store import inert
from .marks import MARKS, WORDS, State
from .scene import Look, Row, Scene
from .words import above, head

INK, MUTED, FAINT, PAPER = "#1a1a1a", "#5a5a5a", "#d0d0d0", "#ffffff"
TITLE, TEXT, SMALL = 15.0, 11.0, 10.0
"""Sizes of letters."""
ADVANCE = 0.6
"""Width of a letter at most, as a share of its size: no file knows which font it will be shown in."""

_MARGIN, _GAP, _LINE = 18.0, 5.0, 15.0
_CELL, _DRAWN_CELL, _PLAIN_CELL, _HEIGHT = 44.0, 68.0, 18.0, 22.0
_SWATCH, _LEAST = 14.0, 440.0


@dataclass(frozen=True)
class Rect:
    """A filled rectangle; `title` is what a reader is told who points at it."""

    x: float
    y: float
    width: float
    height: float
    fill: str
    stroke: str = ""
    title: str = ""


@dataclass(frozen=True)
class Words:
    """A line of text; `y` is where its letters stand, `x` its start, middle or end."""

    x: float
    y: float
    text: str
    size: float = TEXT
    colour: str = INK
    anchor: Literal["start", "middle", "end"] = "start"
    bold: bool = False
    italic: bool = False


@dataclass(frozen=True)
class Drawing:
    """Shapes, to be drawn in this order on white paper."""

    width: float
    height: float
    shapes: tuple[Rect | Words, ...]
    title: str
    description: str


@dataclass(frozen=True)
class Captions:
    """What is said around a heatmap."""

    title: str
    subtitle: str
    notes: Sequence[str] = ()
    """Below it: the trained network, how exact it is, what the intervals mean."""


def room_for(text: str, size: float) -> float:
    """The room that `text` needs at most."""
    return cell_len(text) * size * ADVANCE


def draw(
    scene: Scene,
    captions: Captions,
    text: Callable[[Row, int, Look], str],
    tip: Callable[[Row, int], str] = lambda row, column: "",
) -> Drawing:
    """The whole of `scene`: names, heads, a rectangle for each place, the scale, and the captions.

    `text` gives what stands in a place, `tip` what is told of it to who points at it.
    """
    return _Draughtsman(scene, captions, text, tip).drawing()


class _Draughtsman:
    def __init__(self, scene: Scene, captions: Captions, text, tip):
        self.scene, self.captions = scene, captions
        self.text, self.tip = text, tip
        self.ramp = scene.scale.ramp
        self.shapes: list[Rect | Words] = []
        self._lay_out()

    def _lay_out(self) -> None:
        scene = self.scene
        self.texts = [
            [self.text(row, column, look) for column, look in enumerate(looks)]
            for row, looks in zip(scene.rows, scene.looks, strict=True)
        ]
        names = [room_for(_named(row), TEXT) for row in scene.rows]
        self.names = max([*names, 40.0]) + 8
        self.starts: list[float] = []
        self.widths: list[float] = []
        x = _MARGIN + self.names
        for index, column in enumerate(scene.columns):
            if index and scene.columns[index - 1].kind != column.kind:
                x += _GAP
            longest = max((room_for(row[index], SMALL) for row in self.texts), default=0.0)
            usual = (_CELL if longest < _CELL else _DRAWN_CELL) if scene.digits else _PLAIN_CELL
            width = max(usual, longest + 6, room_for(self._label(index), TEXT) + 4)
            self.starts.append(x)
            self.widths.append(width)
            x += width
        self.right = x
        self.width = max(self.right + _MARGIN, _LEAST)

    def _label(self, column: int) -> str:
        return head(self.scene.columns[column], 14)

    def drawing(self) -> Drawing:
        y = self._write(_MARGIN + TITLE, self.captions.title, TITLE, INK, bold=True)
        y = self._write(y + 3, self.captions.subtitle, TEXT, MUTED)
        y = self._heads(y + 12)
        for row, looks, texts in zip(self.scene.rows, self.scene.looks, self.texts, strict=True):
            y += 8 if row.network and y else 0
            self._row(y, row, looks, texts)
            y += _HEIGHT
        y = self._scale(y + 22) + 5
        for note in self.captions.notes:
            y = self._write(y, note, SMALL, MUTED)
        height = y + _MARGIN - _LINE + 4
        paper = Rect(0, 0, self.width, height, PAPER)
        description = ". ".join(part.rstrip(".") for part in (self.captions.subtitle, *self.captions.notes) if part)
        return Drawing(self.width, height, (paper, *self.shapes), self.captions.title, description)

    def _write(self, y: float, text: str, size: float, colour: str, *, bold: bool = False) -> float:
        """Lines of `text`, as many as it takes; returns where the next one would stand."""
        # Running text is narrower than its widest letters.
        letters = int((self.width - 2 * _MARGIN) / (size * (0.62 if bold else 0.53)))
        for line in textwrap.wrap(text, max(20, letters)):
            self.shapes.append(Words(_MARGIN, y, line, size, colour, bold=bold))
            y += _LINE + (size - TEXT)
        return y

    def _heads(self, y: float) -> float:
        columns = self.scene.columns
        for index, column in enumerate(columns):
            if index and columns[index - 1].kind == column.kind:
                continue
            end = next((i for i in range(index, len(columns)) if columns[i].kind != column.kind), len(columns))
            room = self.starts[end - 1] + self.widths[end - 1] - self.starts[index]
            room = max(room, self.width - _MARGIN - self.starts[index]) if end == len(columns) else room
            if title := above(column.kind, int(room / (SMALL * ADVANCE))):
                self.shapes.append(Words(self.starts[index], y, title, SMALL, MUTED))
        for index in range(len(columns)):
            middle = self.starts[index] + self.widths[index] / 2
            self.shapes.append(Words(middle, y + _LINE, self._label(index), TEXT, INK, "middle"))
        return y + _LINE + 7

    def _row(self, y: float, row: Row, looks: Sequence[Look], texts: Sequence[str]) -> None:
        base = y + _HEIGHT / 2 + TEXT * 0.36
        name = Words(
            _MARGIN,
            base,
            _named(row),
            colour=MUTED if row.network else INK,
            bold=bool(row.folded),
            italic=row.joint,
        )
        self.shapes.append(name)
        for column, (look, text) in enumerate(zip(looks, texts, strict=True)):
            if look.place.state is State.NONE:
                continue
            fill, ink = self._colours(look)
            x, width = self.starts[column], self.widths[column]
            stroke = FAINT if look.place.value is None else ""
            self.shapes.append(Rect(x, y, width, _HEIGHT, fill, stroke, self.tip(row, column)))
            if text:
                self.shapes.append(Words(x + width / 2, base, text, SMALL, ink, "middle"))

    def _colours(self, look: Look) -> tuple[str, str]:
        if look.place.value is None:
            return PAPER, MUTED
        if look.level is None:
            return self.ramp.not_finite, "#ffffff"
        return self.ramp.colours[look.level], self.ramp.foregrounds[look.level]

    def _scale(self, y: float) -> float:
        """The scale with its ends, and the marks that are there."""
        title = self.scene.metric.title
        start = _MARGIN + room_for(title, SMALL) + 10
        self.shapes.append(Words(_MARGIN, y, title, SMALL, INK))
        end = self._kinds(start, y) if self.scene.metric.kinds else self._levels(start, y)
        self.width = max(self.width, end + _MARGIN)
        states = {look.place.state for looks in self.scene.looks for look in looks}
        marks = [f"{MARKS[state]} {word}" for state, word in WORDS.items() if state in states]
        return self._write(y + _LINE + 3, "    ".join(marks), SMALL, MUTED) if marks else y + _LINE + 3

    def _levels(self, start: float, y: float) -> float:
        """All levels with the values at their ends; returns where they end."""
        low, high = self.scene.scale.ends(self.scene.metric)
        self.shapes.append(Words(start, y, low, SMALL, MUTED))
        start += room_for(low, SMALL) + 5
        for colour in self.ramp.colours:
            self.shapes.append(Rect(start, y - 9, _SWATCH, 11, colour))
            start += _SWATCH
        self.shapes.append(Words(start + 5, y, high, SMALL, MUTED))
        return start + 5 + room_for(high, SMALL)

    def _kinds(self, start: float, y: float) -> float:
        """A patch of each kind that the metric tells, with its word; returns where they end."""
        for value, _, word in self.scene.metric.kinds:
            level = self.scene.scale.level(value)
            assert level is not None
            self.shapes.append(Rect(start, y - 9, 2 * _SWATCH, 11, self.ramp.colours[level]))
            start += 2 * _SWATCH + 5
            self.shapes.append(Words(start, y, word, SMALL, MUTED))
            start += room_for(word, SMALL) + 12
        return start


def _named(row: Row) -> str:
    return inert(row.name)
