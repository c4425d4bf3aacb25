"""The end of a log: long lines are wrapped, and the end is followed until somebody scrolls up."""

from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip

from ..core.logtext import layout, styled
from ..themes import colours_of
from .lines import LineView
from .toned import named


class LogView(LineView, can_focus=True):
    """Lines of text, which are data."""

    DEFAULT_CSS = """
    LogView { background: $background; padding: 0; overflow-x: hidden; }
    LogView:focus { background: $background; border: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "scroll_down", "down", id="log.down", show=False),
        Binding("k,up", "scroll_up", "up", id="log.up", show=False),
        Binding("g,home", "scroll_home", "start of the log", id="log.first", show=False),
        Binding("G,end", "scroll_end", "follow the end", id="log.last", show=False),
    ]

    class Followed(Message):
        """The end is followed from now on, or not any more."""

    def __init__(self, *, id: str | None = None):  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self.lines: tuple[str, ...] = ()
        self.following = True
        self._laid: list[tuple[int, str]] = []
        self._wide = 0

    def show(self, lines: Sequence[str]) -> None:
        """Show these; nothing is drawn anew if they are what is shown already."""
        if tuple(lines) != self.lines:
            self.lines = tuple(lines)
            self._lay()

    def on_resize(self, event: events.Resize) -> None:
        if self.size.width != self._wide:
            self._lay()
        elif self.following:
            self.call_after_refresh(self._to_end)

    def _lay(self) -> None:
        # A column is left free for the scroll bar, so that its coming breaks no line anew.
        self._wide = self.size.width
        width = max(8, self._wide - 1)
        self._laid = layout(self.lines, width)
        self.virtual_size = Size(width, len(self._laid))
        self.refresh()
        if self.following:
            # Now, for what is drawn next, and again when the layout knows how much fits.
            self._to_end()
            self.call_after_refresh(self._to_end)

    def _to_end(self) -> None:
        if self.following:
            self.scroll_to(y=self.max_scroll_y, animate=False, force=True, immediate=True)
            # A bar that has only just appeared has not heard of it.
            self.vertical_scrollbar.position = self.scroll_y

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        following = new_value >= self.max_scroll_y
        if following != self.following:
            self.following = following
            self.post_message(self.Followed())

    def render_line(self, y: int) -> Strip:
        number, width, base = y + self.scroll_offset.y, self.size.width, self.rich_style
        if number >= len(self._laid):
            return Strip.blank(width, base)
        line, piece = self._laid[number]
        text = styled(self.lines[line], piece)
        known = colours_of(self.app.current_theme).tones
        segments = []
        plain = named(str(text.style), known).rich_style if text.style else None
        stamp = text.spans[0].end if text.spans else 0
        if stamp:
            segments.append(Segment(piece[:stamp], base + named(str(text.spans[0].style), known).rich_style))
        segments.append(Segment(piece[stamp:], base + plain if plain else base))
        return Strip(segments).adjust_cell_length(width, base)
