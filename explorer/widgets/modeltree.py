"""The tree of a network, line by line: a cursor, folds, and columns that stay in line."""

from collections.abc import Sequence
from typing import ClassVar

from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip

from ..core.model import TreeRow, parent_of
from ..core.modeltext import Columns, Ground, fit, heads, tree_line
from ..themes import colours_of
from .lines import LineView

_HEAD = 1
"""Lines of column heads, which stay where they are."""


class ModelTree(LineView, can_focus=True, inherit_bindings=False):
    """The lines of a tree. Posts Moved, Fold when a module is to be folded or unfolded, and Chosen on enter."""

    DEFAULT_CSS = """
    ModelTree { scrollbar-size: 1 1; overflow-x: hidden; overflow-y: auto; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "go to the layer", id="model.enter"),
        Binding("space", "fold", "fold, unfold", id="model.fold"),
        Binding("up,k", "move(-1)", "up", id="model.up", show=False),
        Binding("down,j", "move(1)", "down", id="model.down", show=False),
        Binding("left,h", "shut", "fold, or go to what it lies in", id="model.left", show=False),
        Binding("right,l", "open", "unfold, or go inside", id="model.right", show=False),
        Binding("pageup", "page(-1)", "a page up", id="model.pageup", show=False),
        Binding("pagedown", "page(1)", "a page down", id="model.pagedown", show=False),
        Binding("g,home", "end(0)", "first line", id="model.top", show=False),
        Binding("G,end", "end(-1)", "last line", id="model.bottom", show=False),
    ]

    class Moved(Message):
        """The cursor stands on another line."""

    class Chosen(Message):
        """The line under the cursor was chosen."""

    class Fold(Message):
        """The module at `path` is to be folded, or unfolded."""

        def __init__(self, path: str):
            super().__init__()
            self.path = path

    def __init__(self, *, id: str | None = None):  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self.rows: Sequence[TreeRow] = ()
        self.ground = Ground({}, 0, 0)
        self.cursor = 0
        self._columns = Columns(20)

    def show(self, rows: Sequence[TreeRow], ground: Ground, cursor: str | None = None) -> None:
        """Show these lines; the cursor goes to the path `cursor`, or stays where it is (on the line it is on)."""
        wanted = cursor if cursor is not None else self.here.node.path if self.here else None
        self.rows, self.ground = rows, ground
        while wanted is not None:
            found = next((index for index, row in enumerate(rows) if row.node.path == wanted), None)
            if found is not None:
                self.cursor = found
                break
            wanted = wanted.rpartition(".")[0] or None  # hidden now: what hides it
        self.cursor = max(0, min(self.cursor, len(rows) - 1))
        self._fit()
        self.call_after_refresh(self._into_view)

    @property
    def here(self) -> TreeRow | None:
        """The line under the cursor."""
        return self.rows[self.cursor] if self.cursor < len(self.rows) else None

    def _fit(self) -> None:
        width = self.scrollable_content_region.width or self.size.width
        self._columns = fit(self.rows, self.ground, max(20, width - 1))
        self.virtual_size = Size(width, len(self.rows) + _HEAD)
        self.refresh()

    def on_resize(self, event: events.Resize) -> None:
        self._fit()
        self._into_view()

    # Drawing

    def render_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        index = y - _HEAD + round(self.scroll_y)
        if y < _HEAD:
            text = heads(self._columns, self.ground)
        elif index < len(self.rows):
            text = tree_line(self.rows[index], self._columns, self.ground)
        else:
            return Strip.blank(width, self.rich_style)
        here, colours = index == self.cursor and y >= _HEAD, colours_of(self.app.current_theme)
        known = colours.chosen if here else colours.tones
        for number, span in enumerate(text.spans):
            if isinstance(span.style, str):
                words = " ".join(known.get(word, word) for word in span.style.split())
                text.spans[number] = span._replace(style=Style.parse(words))
        base = Style.parse(known["muted"] if y < _HEAD and isinstance(text.style, str) and text.style else "none")
        text.style = base
        segments = [segment for segment in text.render(self.app.console, end="") if segment.text]
        strip = Strip(segments).adjust_cell_length(width)
        under = self.rich_style
        if here:
            under += Style.from_color(None, self._cursor_colour()) + Style(bold=True)
        return strip.apply_style(under)

    def _cursor_colour(self):
        focused, blurred = colours_of(self.app.current_theme).lines
        return Style.parse(f"on {focused if self.has_focus else blurred}").bgcolor

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()

    # Moving

    def move_to(self, index: int) -> None:
        """Put the cursor on a line."""
        index = max(0, min(index, len(self.rows) - 1))
        if index != self.cursor:
            self.cursor = index
            self._into_view()
            self.refresh()
            self.post_message(self.Moved())

    def _into_view(self) -> None:
        page = max(1, self.size.height - _HEAD)
        top = round(self.scroll_y)
        if self.cursor < top:
            self.scroll_to(y=self.cursor, animate=False, force=True)
        elif self.cursor >= top + page:
            self.scroll_to(y=self.cursor - page + 1, animate=False, force=True)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self.refresh()

    def action_move(self, step: int) -> None:
        self.move_to(self.cursor + step)

    def action_page(self, step: int) -> None:
        self.move_to(self.cursor + step * max(1, self.size.height - _HEAD - 1))

    def action_end(self, index: int) -> None:
        self.move_to(index if index >= 0 else len(self.rows) - 1)

    def action_choose(self) -> None:
        if self.here is not None:
            self.post_message(self.Chosen())

    def action_fold(self) -> None:
        row = self.here
        if row is not None and row.folded is not None:
            self.post_message(self.Fold(row.node.path))
        elif row is not None and (parent := parent_of(self.rows, self.cursor)) is not None:
            self.post_message(self.Fold(self.rows[parent].node.path))

    def action_open(self) -> None:
        row = self.here
        if row is not None and row.folded:
            self.post_message(self.Fold(row.node.path))
        elif row is not None and row.folded is False:
            self.move_to(self.cursor + 1)

    def action_shut(self) -> None:
        row = self.here
        if row is not None and row.folded is False:
            self.post_message(self.Fold(row.node.path))
        elif (parent := parent_of(self.rows, self.cursor)) is not None:
            self.move_to(parent)

    # The mouse

    def on_click(self, event: events.Click) -> None:
        index = event.y - _HEAD + round(self.scroll_y)
        if event.y < _HEAD or index >= len(self.rows):
            return
        row = self.rows[index]
        if row.folded is not None and event.x < 2 * row.depth + 2:
            self.move_to(index)
            self.post_message(self.Fold(row.node.path))
        elif index == self.cursor:
            self.post_message(self.Chosen())
        else:
            self.move_to(index)
