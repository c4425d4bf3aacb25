"""The heatmap: layers down, interventions across, a cursor, and row names and column heads that stay in view.

Drawn line by line (Textual's Line API): a line costs one strip, neighbours of equal colour are one segment, strips are
kept until something they show changes, and what changes is drawn by the cell.
"""

from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.app import App
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.strip import Strip

from ...store import REINITIALISE
from ..core.grid import HEAD, Grid
from ..core.marks import Place
from ..core.paint import by_colour
from ..core.scene import Row, Scene
from ..themes import colours_of
from .lines import LineView
from .painter import Painter, tone_styles

Position = tuple[int | None, int]
"""(layer, column) of a picture; layer None is the whole network."""

_FAR = 1_000_000


def colour_system(app: App[object]) -> str | None:
    """What colours the terminal has: 'truecolor', '256', 'standard' (16), or None for none."""
    if app.no_color:
        return None
    return "truecolor" if app.is_headless else app.console.color_system or "truecolor"


class Heatmap(LineView, can_focus=True, inherit_bindings=False):
    """Shows a :class:`..core.scene.Scene` with a cursor.

    Give it scenes by :meth:`show`; where it can, it draws only what differs from the one before.  `cursor` is (row,
    column) of the scene, :attr:`row` and :attr:`position` say what stands there.  Posts Moved when the cursor moves,
    Chosen on Enter or a second click, Folding when the mark or name of a row under the cursor is clicked.
    """

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

        def __init__(self, heatmap: "Heatmap"):
            super().__init__()
            self.heatmap = heatmap

        @property
        def control(self) -> "Heatmap":
            return self.heatmap

    class Chosen(Moved):
        """The cell under the cursor was chosen."""

    class Folding(Moved):
        """The row under the cursor is to be folded or unfolded."""

    def __init__(self, *, id: str | None = None, interactive: bool = True):  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self.can_focus = interactive
        self.interactive = interactive
        self.scene: Scene | None = None
        self.cursor = (0, 0)
        """(row, column) of the scene."""
        self._grid: Grid | None = None
        self._painter: Painter | None = None
        self._strips: dict[tuple, Strip] = {}

    # What is shown

    def show(self, scene: Scene) -> None:
        """Show `scene`. The cursor stays on its row and column, wherever they are now."""
        before, self.scene = self.scene, scene
        if before is None or before.key != scene.key:
            first = next((i for i, column in enumerate(scene.columns) if column.kind == REINITIALISE), 0)
            self.cursor = (0, first)
            self._layout_grid()
            return
        if before.columns != scene.columns or before.rows != scene.rows:
            self._follow(before)
        if (
            (before.columns, before.digits, before.overview, before.scale)
            != (scene.columns, scene.digits, scene.overview, scene.scale)
            or len(before.rows) != len(scene.rows)
            or self._fitted() != self._grid
        ):
            self._layout_grid()
        elif self._grid is not None:
            self._repaint(before, scene, self._grid)

    def _follow(self, before: Scene) -> None:
        """Put the cursor where its row and column have gone."""
        assert self.scene
        row, column = self.cursor
        key = before.rows[row].key if row < len(before.rows) else None
        label = before.columns[column].label if column < len(before.columns) else None
        at, beside = self.scene.row_of(key), self.scene.column_of(label)
        self.cursor = (
            min(row, len(self.scene.rows) - 1) if at is None else at,
            min(column, len(self.scene.columns) - 1) if beside is None else beside,
        )

    def _repaint(self, before: Scene, scene: Scene, grid: Grid) -> None:
        """Draw anew the cells and names that look otherwise than before."""
        self._painter = self._new_painter(scene, grid)
        stale: set[int] = set()
        x, y = round(self.scroll_x), round(self.scroll_y)
        shown = grid.columns_shown(x, self.viewport.width)
        for row, (old, new) in enumerate(zip(before.looks, scene.looks, strict=True)):
            renamed = before.rows[row] != scene.rows[row]
            if old is new and not renamed:
                continue
            line = grid.line_of(row)
            top, height = grid.lines_of(line, y, self.viewport.height)
            stale.add(line)
            if height <= 0:
                continue
            if renamed:
                self.refresh(Region(0, top, grid.names, height))
            for column in shown:
                if old[column] != new[column]:
                    self.refresh(self._region(column, top, height, shown[0]))
        for key in [key for key in self._strips if key[0] in stale]:
            del self._strips[key]

    def _region(self, column: int, top: int, height: int, first: int) -> Region:
        """Where a cell is in the viewport, when `first` is the first column shown."""
        assert self._grid
        grid = self._grid
        return Region(grid.x(column) - grid.x(first) + grid.names, top, grid.cell_width, height)

    def _fitted(self) -> Grid | None:
        """The geometry for the room there is."""
        if self.scene is None or not self.scene.rows or not self.scene.columns:
            return None
        # Twice, since a scrollbar takes a line or a column away.
        width, height = self.container_size
        system = colour_system(self.app)
        shaded, halves = system is None, by_colour(system)
        grid = Grid.fit(self.scene, width, height, shaded=shaded, halves=halves)
        narrow, low = grid.height > height, grid.width > width
        if narrow or low:
            grid = Grid.fit(self.scene, width - narrow, height - low, shaded=shaded, halves=halves)
        return grid

    def _layout_grid(self) -> None:
        grid = self._grid = self._fitted()
        self._strips.clear()
        if grid is None or self.scene is None:
            self._painter = None
            self.refresh()
            return
        self.virtual_size = Size(grid.width, grid.height)
        self._painter = self._new_painter(self.scene, grid)
        self.refresh()
        self._reveal()

    def _new_painter(self, scene: Scene, grid: Grid) -> Painter:
        system = colour_system(self.app)
        styles = tone_styles(colours_of(self.app.current_theme).tones, system is not None)
        return Painter(scene, grid, self.viewport.width, system, styles)

    def on_resize(self, event: events.Resize) -> None:
        self._layout_grid()

    # The cursor

    @property
    def row(self) -> Row | None:
        """The row under the cursor."""
        row = self.cursor[0]
        return self.scene.rows[row] if self.scene and row < len(self.scene.rows) else None

    @property
    def position(self) -> Position:
        """Where the cursor is; of a folded group, its first layer."""
        row = self.row
        return (row.places[0] if row else None), self.cursor[1]

    def move_to(self, row: int, column: int) -> None:
        """Put the cursor there, or as near as there is a cell."""
        if self.scene is None or not self.scene.rows:
            return
        row = min(max(row, 0), len(self.scene.rows) - 1)
        column = min(max(column, 0), len(self.scene.columns) - 1)
        before = self.cursor
        if (row, column) == before:
            return
        self.cursor = (row, column)
        self._redraw_cursor(before)
        self._reveal()
        self.post_message(self.Moved(self))

    def _redraw_cursor(self, before: tuple[int, int]) -> None:
        """Draw the cells, names and heads between which the cursor went."""
        grid = self._grid
        if grid is None:
            return
        y = round(self.scroll_y)
        shown = grid.columns_shown(round(self.scroll_x), self.viewport.width)
        for row, column in (before, self.cursor):
            top, height = grid.lines_of(grid.line_of(row), y, self.viewport.height)
            if height > 0:
                if before[0] != self.cursor[0]:
                    self.refresh(Region(0, top, grid.names, height))
                if column in shown:
                    self.refresh(self._region(column, top, height, shown[0]))
        if before[1] != self.cursor[1]:
            self.refresh(Region(0, HEAD - 1, self.viewport.width, 1))

    def action_move(self, down: int, right: int) -> None:
        self.move_to(self.cursor[0] + down, self.cursor[1] + right)

    def action_page(self, direction: int) -> None:
        if self._grid:
            page = max(1, (self.viewport.height - HEAD - self._grid.foot) // self._grid.cell_height)
            self.move_to(self.cursor[0] + direction * page * self._grid.per_line, self.cursor[1])

    def action_row(self, row: int) -> None:
        self.move_to(row if row >= 0 else _FAR, self.cursor[1])

    def action_column(self, column: int) -> None:
        self.move_to(self.cursor[0], column if column >= 0 else _FAR)

    def action_choose(self) -> None:
        self.post_message(self.Chosen(self))

    def on_click(self, event: events.Click) -> None:
        grid = self._grid
        if grid is None or not self.interactive:
            return
        column = grid.column_at(event.x, round(self.scroll_x))
        if event.y < HEAD:
            if column is not None:
                self.move_to(self.cursor[0], column)
            return
        line = grid.line_at(event.y, round(self.scroll_y), self.viewport.height)
        if line is None:
            return
        rows = grid.rows_of(line)
        # Two rows of an overview share a line: clicking again goes to the other one.
        row = rows[(self.cursor[0] - rows[0] + 1) % len(rows)] if self.cursor[0] in rows else rows[0]
        if event.x < grid.names:
            again = row == self.cursor[0]
            self.move_to(row, self.cursor[1])
            if again:
                self.post_message(self.Folding(self))
        elif column is not None:
            if (row, column) == self.cursor and event.chain > 1:
                self.action_choose()
            self.move_to(row, column)

    def _reveal(self) -> None:
        """Scroll so that the cursor's cell is seen whole."""
        grid = self._grid
        if grid is None or not self.viewport.width:
            return  # it has no room yet, so that nothing would be seen wherever it were scrolled to
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
        if row < grid.body:
            top = grid.line_of(row) * grid.cell_height
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
        grid, painter = self._grid, self._painter
        width = self.viewport.width
        if grid is None or painter is None:
            return self._blank(width)
        if painter.width != width:
            assert self.scene
            painter = self._painter = self._new_painter(self.scene, grid)
        columns = grid.columns_shown(round(self.scroll_x), width)
        bottom = min(self.viewport.height, grid.height)
        if y < HEAD:
            line, part = -1, y
        elif y >= bottom - grid.foot:
            line, part = grid.lines, y - (bottom - grid.network_height)
        else:
            line, part = divmod(y - HEAD + grid.first_line(round(self.scroll_y)), grid.cell_height)
            if line >= grid.lines:
                return self._blank(width)
        if y >= bottom or part < 0:
            return self._blank(width)
        here = self.interactive and (line == -1 or self.cursor[0] in grid.rows_of(line))
        key = (line, part, columns[0], columns[-1], self.cursor if here else None, width)
        strip = self._strips.get(key)
        if strip is None:
            at = self.cursor if here else None
            parts = (
                painter.heads(part, columns, at[1] if at else None)
                if line < 0
                else painter.row(line, part, columns, at)
            )
            strip = Strip(Segment.simplify(parts)).adjust_cell_length(width).apply_style(self._back)
            self._strips[key] = strip
        return strip

    def _blank(self, width: int) -> Strip:
        return Strip.blank(width, self._back)

    @property
    def _back(self) -> Style:
        """What lies behind everything, with no colour to write in: blanks need none."""
        return Style(bgcolor=self.rich_style.bgcolor)

    def notify_style_update(self) -> None:
        self._strips.clear()
        if self.scene is not None and self._grid is not None:
            self._painter = self._new_painter(self.scene, self._grid)
        super().notify_style_update()

    def look(self, position: Position) -> tuple[Place, Style]:
        """What is drawn for a layer (None: the whole network) in a column, and in which style."""
        layer, column = position
        assert self.scene
        assert self._painter
        found = next(i for i, row in enumerate(self.scene.rows) if layer in row.places)
        look = self.scene.looks[found][column]
        return look.place, self._painter.paint(look).style
