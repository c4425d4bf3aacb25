"""The heatmap: layers down, interventions across, a cursor, and row names and column heads that stay in view.

Drawn line by line (Textual's Line API): a line costs one strip, neighbours of equal colour are one segment, and strips
are kept until something they show changes.
"""

from collections.abc import Callable, Iterator
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from ...store import REINITIALISE
from .. import ramp
from ..picture import Picture
from ..show import shorten
from ..words import above, head
from .grid import HEAD, NETWORK, Grid
from .marks import MARKS, Place, State, place

Position = tuple[int | None, int]
"""(layer, column) of a picture; layer None is the whole network."""

MUTED, ACCENT, ALARM = "#8a8a8a", "#ffaf5f", "#ff5f5f"

_COLOURS = {
    State.UNAVAILABLE: Style(color="#6c6c6c"),
    State.MISSING: Style(color="#6c6c6c"),
    State.QUEUED: Style(color="#87afd7"),
    State.RUNNING: Style(color=ACCENT, bold=True),
    State.FAILED: Style(color=ALARM, bold=True),
    State.DAMAGED: Style(color=ALARM, bold=True),
}
_LEVELS = [Style(color=fore, bgcolor=back) for fore, back in zip(ramp.FOREGROUNDS, ramp.COLOURS, strict=True)]
_NOT_FINITE = Style(color="#ffffff", bgcolor=ramp.NOT_FINITE)
_HEAD = Style(color=MUTED)
_NAME = Style(color="#d0d0d0")
_HERE = Style(color=ACCENT, bold=True)
_JOINT = Style(italic=True)
_BLANK = Style.null()


class Heatmap(ScrollView, can_focus=True, inherit_bindings=False):
    """A heatmap with a cursor. Posts Moved when the cursor moves, and Chosen on Enter or a second click."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "measure, sharpen", id="heatmap.measure"),
        Binding("up,k", "move(-1, 0)", "up", id="heatmap.up", show=False),
        Binding("down,j", "move(1, 0)", "down", id="heatmap.down", show=False),
        Binding("left,h", "move(0, -1)", "left", id="heatmap.left", show=False),
        Binding("right,l", "move(0, 1)", "right", id="heatmap.right", show=False),
        Binding("pageup", "page(-1)", "a page up", id="heatmap.pageup", show=False),
        Binding("pagedown", "page(1)", "a page down", id="heatmap.pagedown", show=False),
        Binding("g", "row(0)", "first layer", id="heatmap.top", show=False),
        Binding("G", "row(-1)", "whole network", id="heatmap.bottom", show=False),
        Binding("home", "column(0)", "first column", id="heatmap.first", show=False),
        Binding("end", "column(-1)", "last column", id="heatmap.last", show=False),
    ]

    class Moved(Message):
        """The cursor stands somewhere else."""

    class Chosen(Message):
        """The cell under the cursor was chosen."""

    def __init__(self, *, id: str | None = None, interactive: bool = True):  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self.can_focus = interactive
        self.interactive = interactive
        self.picture: Picture | None = None
        self.metric = "error"
        self.digits = True
        self.cursor = (0, 0)
        """(row, column); the row after the last layer is the whole network's."""
        self._over: Callable[[Position], Place | None] = lambda position: None
        self._scale = ramp.Scale("error", 0.0, 1.0)
        self._grid: Grid | None = None
        self._strips: dict[tuple, Strip] = {}
        self._looks: dict[int, list[tuple[Place, Style]]] = {}
        """What is drawn in each row."""

    # What is shown

    def show(self, picture: Picture, over: Callable[[Position], Place | None] | None = None) -> None:
        """Show `picture`; `over` tells what is going on at a place besides what the store knows (queued, running)."""
        fresh = self.picture is None or picture.probe.id != self.picture.probe.id
        self.picture = picture
        self._over = over or self._over
        if fresh:
            first = next((i for i, column in enumerate(picture.columns) if column.kind == REINITIALISE), 0)
            self.cursor = (0, first)
        scale, self._scale = self._scale, ramp.scale(picture, self.metric)
        if fresh or scale != self._scale or self._fitted() != self._grid:
            self._layout_grid()
        else:
            self.refresh_marks()

    def show_metric(self, metric: str, digits: bool) -> None:
        """Colour by `metric`, with or without digits in the cells."""
        self.metric, self.digits = metric, digits
        if self.picture is not None:
            self._scale = ramp.scale(self.picture, self.metric)
            self._layout_grid()

    def refresh_marks(self) -> None:
        """Draw anew the rows in which something looks otherwise than before."""
        if self.picture is None or self._grid is None:
            return
        before, self._looks = self._looks, self._rows_looks(self.picture)
        changed = {row for row, looks in self._looks.items() if looks != before.get(row)}
        for key in [key for key in self._strips if key[0] in changed]:
            del self._strips[key]
        for row in changed:
            top, height = self._lines_of(row)
            if height > 0:
                self.refresh(Region(0, top, self.size.width, height))

    def _rows_looks(self, picture: Picture) -> dict[int, list[tuple[Place, Style]]]:
        columns, rows = range(len(picture.columns)), len(picture.probe.layers)
        return {
            row: [self.look((None if row == rows else row, column)) for column in columns] for row in range(rows + 1)
        }

    def _lines_of(self, row: int) -> tuple[int, int]:
        """(first line, number of lines) of a row in the viewport; none where it is scrolled out of sight."""
        assert self._grid
        grid = self._grid
        bottom = min(self.viewport.height, grid.height)
        if row == grid.rows:
            return bottom - grid.network_height, grid.network_height
        start = HEAD + row * grid.cell_height - grid.first_line(round(self.scroll_y))
        top, end = max(HEAD, start), min(start + grid.cell_height, bottom - grid.foot)
        return top, end - top

    def _fitted(self) -> Grid | None:
        """The geometry for the room there is."""
        if self.picture is None:
            return None
        # Twice, since a scrollbar takes a line or a column away.
        width, height = self.container_size
        grid = Grid.fit(self.picture, width, height, digits=self.digits)
        narrow, low = grid.height > height, grid.width > width
        if narrow or low:
            grid = Grid.fit(self.picture, width - narrow, height - low, digits=self.digits)
        return grid

    def _layout_grid(self) -> None:
        grid = self._grid = self._fitted()
        if grid is None or self.picture is None:
            return
        self._strips.clear()
        self._looks = self._rows_looks(self.picture)
        self.virtual_size = Size(grid.width, grid.height)
        self.refresh()
        self._reveal()

    def on_resize(self, event: events.Resize) -> None:
        self._layout_grid()

    # The cursor

    @property
    def position(self) -> Position:
        """Where the cursor is."""
        row, column = self.cursor
        rows = len(self.picture.probe.layers) if self.picture else 0
        return (None if row >= rows else row), column

    def move_to(self, row: int, column: int) -> None:
        """Put the cursor there, or as near as there is a cell."""
        if self.picture is None:
            return
        row = min(max(row, 0), len(self.picture.probe.layers))
        column = min(max(column, 0), len(self.picture.columns) - 1)
        if (row, column) == self.cursor:
            return
        self.cursor = (row, column)
        self.refresh()
        self._reveal()
        self.post_message(self.Moved())

    def action_move(self, down: int, right: int) -> None:
        self.move_to(self.cursor[0] + down, self.cursor[1] + right)

    def action_page(self, direction: int) -> None:
        if self._grid:
            page = max(1, (self.viewport.height - HEAD - self._grid.foot) // self._grid.cell_height)
            self.move_to(self.cursor[0] + direction * page, self.cursor[1])

    def action_row(self, row: int) -> None:
        self.move_to(row if row >= 0 else 1_000_000, self.cursor[1])

    def action_column(self, column: int) -> None:
        self.move_to(self.cursor[0], column if column >= 0 else 1_000_000)

    def action_choose(self) -> None:
        self.post_message(self.Chosen())

    def on_click(self, event: events.Click) -> None:
        grid = self._grid
        if grid is None or not self.interactive:
            return
        column = grid.column_at(event.x, round(self.scroll_x))
        row = grid.row_at(event.y, round(self.scroll_y), self.viewport.height)
        if row is None or column is None:
            return
        if (row, column) == self.cursor and event.chain > 1:
            self.action_choose()
        self.move_to(row, column)

    def _reveal(self) -> None:
        """Scroll so that the cursor's cell is seen whole."""
        grid = self._grid
        if grid is None:
            return
        row, column = self.cursor
        x, y = round(self.scroll_x), round(self.scroll_y)
        shown = grid.columns_shown(x, self.viewport.width)
        if column < shown[0]:
            x = grid.x(column) - grid.names
        elif column > shown[-1]:
            first = column
            while first > 0 and grid.x(column + 1) - grid.x(first - 1) <= self.viewport.width - grid.names:
                first -= 1
            x = grid.x(first) - grid.names
        body = max(grid.cell_height, self.viewport.height - HEAD - grid.foot)
        if row < grid.rows:
            top = row * grid.cell_height
            y = min(y, top)
            y = max(y, top + grid.cell_height - body)
        if (x, y) != (round(self.scroll_x), round(self.scroll_y)):
            self.scroll_to(x, y, animate=False)

    # Drawing

    @property
    def viewport(self) -> Size:
        """What is seen, scrollbars taken off."""
        return self.scrollable_content_region.size

    def render_line(self, y: int) -> Strip:
        grid, picture = self._grid, self.picture
        width = self.viewport.width
        if grid is None or picture is None:
            return self._blank(width)
        columns = grid.columns_shown(round(self.scroll_x), width)
        bottom = min(self.viewport.height, grid.height)
        if y < HEAD:
            row, line = -1, y
        elif y >= bottom - grid.foot:
            row, line = grid.rows, y - (bottom - grid.network_height)
        else:
            row, line = divmod(y - HEAD + grid.first_line(round(self.scroll_y)), grid.cell_height)
            if row >= grid.rows:
                return self._blank(width)
        if y >= bottom or line < 0:
            return self._blank(width)
        at = self.cursor[1] if row in (-1, self.cursor[0]) and self.interactive else None
        key = (row, line, columns[0], columns[-1], at, width)
        strip = self._strips.get(key)
        if strip is None:
            parts = self._head(line, columns) if row < 0 else self._row(row, line, columns)
            strip = Strip(Segment.simplify(parts)).adjust_cell_length(width).apply_style(self.rich_style)
            self._strips[key] = strip
        return strip

    def _blank(self, width: int) -> Strip:
        return Strip.blank(width, self.rich_style)

    def notify_style_update(self) -> None:
        self._strips.clear()
        super().notify_style_update()

    def _head(self, line: int, columns) -> Iterator[Segment]:
        assert self._grid
        assert self.picture
        grid = self._grid
        told = self.picture.columns
        written = ""
        if line == 0:
            for column in columns:
                if column != columns[0] and told[column].kind == told[column - 1].kind:
                    continue
                start = grid.x(column) - grid.x(columns[0]) + grid.names
                run = next(
                    (after for after in columns if after > column and told[after].kind != told[column].kind), None
                )
                end = self.viewport.width if run is None else grid.x(run) - grid.x(columns[0]) + grid.names - 1
                written = written.ljust(start) + above(told[column].kind, max(0, end - start))
            yield Segment(written, _HEAD)
            return
        line_length = 0
        for column in columns:
            here = self.interactive and column == self.cursor[1]
            label = head(told[column], grid.cell_width)
            if told[column].kind == REINITIALISE and self.digits:
                label = label.rjust(3)
            start = grid.x(column) - grid.x(columns[0]) + grid.names + (grid.cell_width - len(label)) // 2
            # Heads that would touch the one before are left out.
            if start > line_length or line_length == 0:
                yield Segment(" " * (start - line_length), _BLANK)
                yield Segment(label, _HERE if here else _HEAD)
                line_length = start + len(label)

    def _row(self, row: int, line: int, columns) -> Iterator[Segment]:
        assert self._grid
        assert self.picture
        grid = self._grid
        height = grid.network_height if row >= grid.rows else grid.cell_height
        middle = (height - 1) // 2
        here = self.interactive and row == self.cursor[0]
        layer = None if row >= grid.rows else row
        name = ""
        if line == middle:
            name = NETWORK if layer is None else shorten(self.picture.layer_names[layer], grid.names - 3)
        mark = "▸ " if here and line == middle else "  "
        style = _HERE if here else _HEAD if layer is None else _NAME
        if layer is not None and self.picture.probe.layers[layer].joint:
            style += _JOINT
        yield Segment((mark + name).ljust(grid.names), style)
        for column in columns:
            yield from self._cell((layer, column), line, height, here and column == self.cursor[1])
            if grid.gaps[column]:
                yield Segment(" ", _BLANK)

    def _cell(self, position: Position, line: int, height: int, cursor: bool) -> Iterator[Segment]:
        assert self._grid
        width, middle = self._grid.cell_width, (height - 1) // 2
        found, style = self.look(position)
        text = found.text(self.metric, min(6, width - 2)) if line == middle else ""
        if not self.digits and found.value is not None:
            text = MARKS.get(found.state, "") if line == middle and found.state is not State.DONE else ""
        # Numbers stand below each other by their decimals; a mark has none.
        inside = (text.rjust(4) if found.value is not None and self.digits else text).center(width - 2)
        if not cursor:
            yield Segment(f" {inside} ", style)
            return
        # The frame contrasts with the cell's own colour, and is seen without any colour too.
        style = style + Style(bold=True) if style.bgcolor else style + Style(color="#ffffff", bold=True)
        if height > 2 and line == 0:
            yield Segment("▛" + "▀" * (width - 2) + "▜", style)
        elif height > 1 and line == height - 1:
            yield Segment("▙" + "▄" * (width - 2) + "▟", style)
        else:
            yield Segment(f"▌{inside}▐", style)

    def look(self, position: Position) -> tuple[Place, Style]:
        """What is at a place, and its colours."""
        assert self.picture
        found = place(self.picture, self.metric, *position)
        level = self._scale.level(found.value)
        style = _BLANK if found.value is None else _NOT_FINITE if level is None else _LEVELS[level]
        over = self._over(position)
        if over is not None:
            # What is known stays visible behind what is going on.
            return over, _COLOURS[over.state] if style is _BLANK else style + Style(bold=True)
        return found, style if found.value is not None else _COLOURS.get(found.state, _BLANK)

    def states(self) -> set[State]:
        """Which states there are among all places."""
        if self.picture is None:
            return set()
        rows = [*range(len(self.picture.probe.layers)), None]
        return {self.look((row, column))[0].state for row in rows for column in range(len(self.picture.columns))}
