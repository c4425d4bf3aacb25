"""The table of runs: a head, a cursor that stays on its run, marks.

Drawn line by line (Textual's Line API): only what is seen is ever made, so that a thousand runs cost what fifty do, and
only lines that look otherwise than before are drawn anew.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.strip import Strip

from ..core.runcolumns import CURSOR, GUTTER, MARKED, Shown, column_at, fit, head, line, natural
from ..core.runrow import RunRow, kind_of, span
from ..themes import colours_of
from .lines import LineView

HEAD = 1
"""Lines of the head."""


class RunTable(LineView, can_focus=True, inherit_bindings=False):
    """Runs, one a line. Posts Moved when the cursor is on another run, Chosen, Sorted and Marked."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "open", id="runs.open"),
        Binding("space", "mark", "mark", id="runs.mark"),
        Binding("up,k", "move(-1)", "up", id="runs.up", show=False),
        Binding("down,j", "move(1)", "down", id="runs.down", show=False),
        Binding("pageup", "page(-1)", "a page up", id="runs.pageup", show=False),
        Binding("pagedown", "page(1)", "a page down", id="runs.pagedown", show=False),
        Binding("g,home", "go(0)", "first run", id="runs.first", show=False),
        Binding("G,end", "go(-1)", "last run", id="runs.last", show=False),
    ]

    COMPONENT_CLASSES: ClassVar[set[str]] = {"runtable--cursor"}

    DEFAULT_CSS = """
    RunTable { height: 1fr; width: 1fr; scrollbar-size: 1 1; }
    RunTable, RunTable:focus { border: none; padding: 0; background: $background; }
    RunTable > .runtable--cursor { background: $lyrx-line-blurred; }
    RunTable:focus > .runtable--cursor { background: $lyrx-line; }
    """

    class Moved(Message):
        """The cursor is on another run, or on none."""

    class Chosen(Message):
        """The run under the cursor was chosen."""

    class Marked(Message):
        """Other runs are marked than before."""

    class Sorted(Message):
        """A column's head was clicked."""

        def __init__(self, column: str):
            super().__init__()
            self.column = column

    def __init__(self, *, id: str | None = None, clock: Callable[[], float] = time.time):  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self.rows: Sequence[RunRow] = ()
        self.marks: set[str] = set()
        """Names of the marked runs, those that are not shown included."""
        self.wanted: str | None = None
        """The run that the cursor goes to as soon as it is shown, unless it is moved before."""
        self.filling = False
        """Whether runs still come that belong above those shown: until it is moved, the cursor stays on the first."""
        self.shown: tuple[Shown, ...] = ()
        """The columns as they are laid out."""
        self._clock = clock
        self._sort, self._reverse = "", False
        self._wanted: dict[str, int] = natural((), 0.0)
        self._row = 0
        self._drawn: dict[int, tuple[Any, Strip]] = {}
        """By line: what it shows, and the strip that shows it."""
        self._styles: tuple[str, tuple[dict[str, Style], dict[str, Style]]] | None = None
        """The theme's name, and what its words of style look like."""

    # What is shown

    def measure(self, rows: Sequence[RunRow]) -> None:
        """Lay the columns out for these runs (all of the store: what is filtered then moves no column)."""
        self._wanted = natural(rows, self._clock())
        self._fit()

    def show(self, rows: Sequence[RunRow], sort: str, reverse: bool) -> None:
        """Show these runs in this order; the cursor stays on its run, else about where it is."""
        before = self.chosen
        self.rows, self._sort, self._reverse = rows, sort, reverse
        there = self._place_of(self.wanted)
        if there is not None:
            self.wanted, self.filling = None, False
        elif self.filling:
            there = 0
        elif before is not None and not (self._row < len(rows) and rows[self._row].name == before.name):
            there = self._place_of(before.name)
        self._row = self._row if there is None else there
        self._row = max(0, min(self._row, len(rows) - 1))
        size = Size(0, HEAD + len(rows))
        if self.virtual_size != size:
            self.virtual_size = size
            self._fit()
        self.refresh_lines_changed()
        self._reveal()
        after = self.chosen
        if (before and before.name) != (after and after.name):
            self.post_message(self.Moved())

    def refresh_lines_changed(self) -> None:
        """Draw anew the lines that look otherwise than they were drawn, such as those whose age has grown."""
        now, width = self._clock(), self.size.width
        for y in range(self.size.height):
            known = self._drawn.get(y)
            if known is None or known[0] != self._look(y, now):
                self._drawn.pop(y, None)
                self.refresh(Region(0, y, width, 1))

    def _fit(self) -> None:
        # Known before the scrollbar is there: it takes a column away.
        width, height = self.outer_size
        shown = fit(self._wanted, width - (HEAD + len(self.rows) > height))
        if shown != self.shown:
            self.shown = shown
            self._drawn.clear()
            self.refresh()

    def on_resize(self, event: events.Resize) -> None:
        self._fit()
        self._reveal()

    def notify_style_update(self) -> None:
        self._drawn.clear()
        self._styles = None
        super().notify_style_update()

    # The cursor

    @property
    def row_count(self) -> int:
        """Runs that are shown."""
        return len(self.rows)

    @property
    def cursor_row(self) -> int:
        """Where the cursor is, from 0."""
        return self._row

    @property
    def chosen(self) -> RunRow | None:
        """The run under the cursor."""
        return self.rows[self._row] if self._row < len(self.rows) else None

    def _place_of(self, name: str | None) -> int | None:
        return next((place for place, row in enumerate(self.rows) if row.name == name), None)

    def move_to(self, row: int) -> None:
        """Put the cursor on the line `row`, or as near as there is one."""
        self.wanted, self.filling = None, False
        row = max(0, min(row, len(self.rows) - 1))
        if row != self._row:
            self._row = row
            self.refresh_lines_changed()
            self._reveal()
            self.post_message(self.Moved())

    def choose_name(self, name: str) -> None:
        """Put the cursor on the run called `name`, if it is shown."""
        if (place := self._place_of(name)) is not None:
            self.move_to(place)

    def action_move(self, step: int) -> None:
        self.move_to(self._row + step)

    def action_page(self, direction: int) -> None:
        self.move_to(self._row + direction * max(1, self.size.height - HEAD - 1))

    def action_go(self, row: int) -> None:
        self.move_to(row if row >= 0 else len(self.rows))

    def action_choose(self) -> None:
        if self.chosen is not None:
            self.post_message(self.Chosen())

    def action_mark(self) -> None:
        """Mark the run under the cursor, or take its mark away, and go on to the next."""
        if self.chosen is not None:
            self._mark(self._row)
            self.move_to(self._row + 1)

    def _mark(self, row: int) -> None:
        self.marks ^= {self.rows[row].name}
        self.refresh_lines_changed()
        self.post_message(self.Marked())

    def _reveal(self) -> None:
        room = self.scrollable_content_region.height - HEAD
        y = round(self.scroll_y)
        if room > 0:
            wanted = max(min(y, self._row), self._row - room + 1)
            if wanted != y:
                self.scroll_to(y=wanted, animate=False)

    def on_click(self, event: events.Click) -> None:
        """On a head: sort by it. On a line: go there; in front of its name: mark it; twice: open it."""
        if event.y < HEAD:
            if column := column_at(self.shown, event.x):
                self.post_message(self.Sorted(column))
            return
        row = event.y - HEAD + round(self.scroll_y)
        if row >= len(self.rows):
            return
        here = row == self._row
        self.move_to(row)
        if event.x < GUTTER or event.ctrl:
            self._mark(row)
        elif here and event.chain > 1:
            self.action_choose()

    # Drawing

    def _look(self, y: int, now: float) -> Any:
        """All that the line `y` depends on."""
        if y < HEAD:
            return (self.shown, self._sort, self._reverse, self.size.width)
        at = y - HEAD + round(self.scroll_y)
        if at >= len(self.rows):
            return (self.size.width,)
        row = self.rows[at]
        ages = (span(now - row.created), kind_of(row, now), span(now - row.touched))
        return (row, at == self._row, row.name in self.marks, self.has_focus, self.size.width, self.shown, ages)

    def render_line(self, y: int) -> Strip:
        now, width = self._clock(), self.size.width
        look = self._look(y, now)
        known = self._drawn.get(y)
        if known is not None and known[0] == look:
            return known[1]
        base, here = self.rich_style, False
        at = y - HEAD + round(self.scroll_y)
        if y < HEAD:
            text = Text(" " * GUTTER).append_text(head(self.shown, self._sort, self._reverse))
        elif at >= len(self.rows):
            text = Text()
        else:
            row, here = self.rows[at], at == self._row
            if here:
                base = self.get_component_rich_style("runtable--cursor")
            text = Text(no_wrap=True, end="")
            text.append(f"{CURSOR} " if here else "  ", "accent bold")
            text.append((MARKED if row.name in self.marks else " ").ljust(GUTTER - 2), "accent bold")
            text.append_text(line(row, self.shown, now))
        strip = Strip(self._segments(text, chosen=here)).adjust_cell_length(width, Style.null()).apply_style(base)
        self._drawn[y] = (look, strip)
        return strip

    def _segments(self, text: Text, *, chosen: bool) -> list[Segment]:
        """A text whose spans follow each other, in the colours of the theme."""
        theme = self.app.current_theme
        if self._styles is None or self._styles[0] != theme.name:
            self._styles = (theme.name, ({"": Style.null()}, {"": Style.null()}))
        colours, styles = colours_of(theme), self._styles[1][chosen]
        known = colours.chosen if chosen else colours.tones
        segments, end = [], 0
        for span_ in text.spans:
            words = str(span_.style)
            if words not in styles:
                styles[words] = Style.parse(" ".join(known.get(word, word) for word in words.split()))
            if span_.start > end:
                segments.append(Segment(text.plain[end : span_.start], styles[""]))
            segments.append(Segment(text.plain[max(end, span_.start) : span_.end], styles[words]))
            end = max(end, span_.end)
        segments.append(Segment(text.plain[end:], styles[""]))
        return list(Segment.simplify(segment for segment in segments if segment.text))

    def on_focus(self) -> None:
        self.refresh_lines_changed()

    def on_blur(self) -> None:
        self.refresh_lines_changed()
