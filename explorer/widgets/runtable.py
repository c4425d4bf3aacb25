"""The table of runs."""

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.widgets import DataTable

_NARROWEST = 8


class RunTable(DataTable[Text]):
    """Lines of text with a cursor; the first column gives way when there is not room for all."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "select_cursor", "open", id="runs.open"),
        Binding("j", "cursor_down", "down", id="runs.down", show=False),
        Binding("k", "cursor_up", "up", id="runs.up", show=False),
        Binding("g,home", "scroll_top", "first run", id="runs.first", show=False),
        Binding("G,end", "scroll_bottom", "last run", id="runs.last", show=False),
    ]

    def fill(self, titles: Sequence[Text], lines: Sequence[Sequence[Text]], width: int) -> None:
        """Show these lines in `width` columns; the cursor stays where it is."""
        row = self.cursor_row
        self.clear(columns=True)
        widths = [max([title.cell_len, *(line[i].cell_len for line in lines)]) for i, title in enumerate(titles)]
        over = sum(widths) + 2 * self.cell_padding * len(widths) - width
        widths[0] = max(_NARROWEST, widths[0] - max(0, over))
        for title, column_width in zip(titles, widths, strict=True):
            self.add_column(title, width=column_width)
        for number, line in enumerate(lines):
            line[0].truncate(widths[0], overflow="ellipsis")
            self.add_row(*line, key=str(number))
        self.move_cursor(row=min(row, max(0, len(lines) - 1)), animate=False)
