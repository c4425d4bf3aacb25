"""From a scene and a grid to the segments of one line of text. Knows colours and marks, no cursor keys and no mouse."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.segment import Segment
from rich.style import Style

from ...store import REINITIALISE
from ..core.grid import Grid
from ..core.marks import MARKS, State
from ..core.paint import Paint, paints
from ..core.scene import Look, Row, Scene
from ..core.texts import shorten
from ..core.words import above, head, network

HERE, MARKED, FOLDED = "▸", "◆", "+"
"""Left of a row's name: the cursor; marked for a joint reset; several layers as one row."""

_TONES = {
    State.UNAVAILABLE: "faint",
    State.MISSING: "faint",
    State.QUEUED: "info",
    State.RUNNING: "accent",
    State.FAILED: "alarm",
    State.DAMAGED: "alarm",
}
_LETTER = 2
"""Room of a letter and the mark of an estimate."""
_BLANK = Style.null()
_BOLD = Style(bold=True)


def tone_styles(tones: Mapping[str, str], coloured: bool) -> dict[str, Style]:
    """The tones as rich draws them; without colours, what matters is bold."""
    if coloured:
        return {name: Style.parse(colour) for name, colour in tones.items()}
    return {name: _BOLD if name in ("accent", "alarm") else _BLANK for name in tones}


@dataclass(frozen=True)
class Painter:
    """Draws lines of one scene in one geometry."""

    scene: Scene
    grid: Grid
    width: int
    """Of the viewport."""
    system: str | None
    """'truecolor', '256', 'standard' or None: what colours the terminal has."""
    tones: Mapping[str, Style]

    @property
    def shaded(self) -> bool:
        return self.system is None

    def heads(self, line: int, columns: Sequence[int], cursor: int | None) -> Iterator[Segment]:
        """One of the two lines above the columns: what kinds they are, and their labels."""
        yield from self._kinds(columns) if line == 0 else self._labels(columns, cursor)

    def _kinds(self, columns: Sequence[int]) -> Iterator[Segment]:
        grid, told = self.grid, self.scene.columns
        left = grid.names - grid.x(columns[0])
        written = ""
        for column in columns:
            if column != columns[0] and told[column].kind == told[column - 1].kind:
                continue
            start = grid.x(column) + left
            after = next((c for c in columns if c > column and told[c].kind != told[column].kind), None)
            end = self.width if after is None else grid.x(after) + left - 1
            written = written.ljust(start) + above(told[column].kind, max(0, end - start))
        yield Segment(written, self.tones["muted"])

    def _labels(self, columns: Sequence[int], cursor: int | None) -> Iterator[Segment]:
        grid = self.grid
        left = grid.names - grid.x(columns[0])
        length = 0
        # Where the cursor's column has no room for its head, its neighbours give way.
        kept = range(0)
        if cursor is not None and cursor in columns:
            label, start = self._label(cursor)
            start = max(grid.names, start + left)
            kept = range(start, start + len(label))
        for column in columns:
            label, start = self._label(column)
            here = column == cursor
            start = kept.start if here else start + left
            # Heads that would touch another are left out.
            touches = not here and start < kept.stop + 1 and start + len(label) + 1 > kept.start and len(kept) > 0
            if not touches and (start > length or length == 0) and start + len(label) <= self.width:
                yield Segment(" " * (start - length), _BLANK)
                yield Segment(label, self.tones["accent"] + _BOLD if here else self.tones["muted"])
                length = start + len(label)

    def _label(self, column: int) -> tuple[str, int]:
        """A column's head, and where among the cells it begins."""
        grid, told = self.grid, self.scene.columns[column]
        label, figures = head(told, grid.cell_width), 0
        if told.kind == REINITIALISE and self.scene.digits and grid.cell_width > len(label) + 1:
            figures = 3  # its last figure stands where that of the longest number does
        room = max(figures, len(label))
        return label, grid.x(column) + (grid.cell_width - room) // 2 + room - len(label)

    def row(self, line: int, part: int, columns: Sequence[int], cursor: tuple[int, int] | None) -> Iterator[Segment]:
        """Line `part` of a line of cells; `cursor` is (row, column) where it stands in this line."""
        grid, rows = self.grid, self.grid.rows_of(line)
        height = grid.network_height if line >= grid.lines else grid.cell_height
        middle = (height - 1) // 2
        named = cursor[0] if cursor else rows[0]
        yield self._name(self.scene.rows[named], part == middle, cursor is not None)
        for column in columns:
            at = cursor is not None and cursor[1] == column
            if grid.per_line > 1 and line < grid.lines:
                yield self._halves(rows, column, cursor[0] if at and cursor else None)
            else:
                yield from self._cell(self.scene.looks[rows[0]][column], part, height, at)
            if gap := grid.gap(column):
                yield Segment(" " * gap, _BLANK)

    def _name(self, row: Row, shown: bool, here: bool) -> Segment:
        room = self.grid.names - 3 - row.depth
        name = network(room) if row.network else shorten(row.name_in(room), room)
        text = " " * row.depth + name if shown else ""
        sign = MARKED if row.marked else FOLDED if row.folded else " "
        mark = (HERE if here else " ") + sign if shown else "  "
        style = self.tones["text"] if not row.network else self.tones["muted"]
        if here:
            style = self.tones["accent"] + _BOLD
        elif row.marked:
            style = self.tones["accent"]
        if row.joint:
            style += Style(italic=True)
        return Segment((mark + text).ljust(self.grid.names), style)

    def paint(self, look: Look) -> Paint:
        """How a place looks."""
        if look.level is not None:
            return paints(self.scene.scale.ramp, self.system)[look.level]
        if look.place.value is not None:
            return Paint(_BLANK if self.shaded else Style(color="#ffffff", bgcolor=self.scene.scale.ramp.not_finite))
        return Paint(self.tones.get(_TONES.get(look.place.state, ""), _BLANK))

    def _cell(self, look: Look, part: int, height: int, cursor: bool) -> Iterator[Segment]:
        width, middle = self.grid.cell_width, (height - 1) // 2
        paint = self.paint(look)
        text = self._text(look, width - 2) if part == middle else ""
        busy = look.place.state in _TONES
        style = paint.plain or paint.style
        if busy:
            style += _BOLD
        if not cursor:
            yield from self._filled(text, width, paint, style)
            return
        # The frame contrasts with the cell's own colour, and is seen without any colour too.
        frame = style + _BOLD if style.bgcolor else style + self.tones["text"] + _BOLD
        if height > 2 and part == 0:
            yield Segment("▛" + "▀" * (width - 2) + "▜", frame)
        elif height > 1 and part == height - 1:
            yield Segment("▙" + "▄" * (width - 2) + "▟", frame)
        elif width < 3:
            yield Segment("◆"[:width].ljust(width), frame)
        else:
            yield Segment("▌", frame)
            yield from self._filled(text, width - 2, paint, style + _BOLD)
            yield Segment("▐", frame)

    def _filled(self, text: str, width: int, paint: Paint, style: Style) -> Iterator[Segment]:
        """`text` in the middle of the cell's colour or shade."""
        fill = (paint.fill * (width // 4 + 1))[:width]
        if text and not fill.strip():
            yield Segment(text[:width].center(width), style)  # one run
            return
        if not text or len(text) > width:
            yield Segment(text[:width].center(width) if text else fill, style if text else paint.style)
            return
        left = (width - len(text)) // 2
        yield Segment(fill[:left], paint.style)
        yield Segment(text, style)
        yield Segment(fill[left + len(text) :], paint.style)

    def _text(self, look: Look, width: int) -> str:
        found = look.place
        if not self.scene.digits or self.scene.overview:
            return MARKS.get(found.state, "") if found.state is not State.DONE else ""
        # A verdict is a letter, which the legend tells: beside each other, words say no more and hide which is which.
        verdict = self.scene.metric.name == "verdict"
        room = _LETTER if verdict else 6 if found.spread is None else width
        text = found.text(self.scene.metric, min(room, width))
        # Numbers stand below each other by their decimals, and letters whether or not `~` is before them.
        if found.value is not None:
            text = text.rjust(min(_LETTER if verdict else 4, width))
        return f" {text} " if self.shaded and text and len(text) + 2 <= width else text

    def _halves(self, rows: range, column: int, cursor: int | None) -> Segment:
        """Two rows of an overview, one above the other, in one line of text."""
        width = self.grid.cell_width
        looks = [self.scene.looks[row][column] for row in rows]
        backs = [self._back(look) for look in looks]
        upper, lower = backs[0], backs[1] if len(backs) > 1 else None
        if cursor is not None:
            look = looks[cursor - rows[0]]
            paint = self.paint(look)
            sign = "▔" if len(rows) > 1 and cursor == rows[0] else "▁"
            return Segment(
                sign * width, (paint.plain or paint.style) + _BOLD if look.level is not None else self._here()
            )
        for look in looks:
            if look.place.state in (State.FAILED, State.DAMAGED, State.RUNNING, State.QUEUED):
                tone = self.tones[_TONES[look.place.state]]
                return Segment((MARKS[look.place.state] * width)[:width], tone + _BOLD)
        if upper is None and lower is None:
            return Segment(MARKS.get(looks[0].place.state, " ")[:1].ljust(width) or " " * width, self.tones["faint"])
        if upper == lower:
            return Segment(" " * width, Style(bgcolor=upper))
        if upper is None:
            return Segment("▄" * width, Style(color=lower))
        return Segment("▀" * width, Style(color=upper, bgcolor=lower))

    def _here(self) -> Style:
        return self.tones["accent"] + _BOLD

    def _back(self, look: Look) -> str | None:
        """The colour behind a place."""
        back = self.paint(look).style.bgcolor
        return back.name if back is not None else None
