"""What every screen of the app shares: its line for a terminal that is too small, and its words for what happens."""

from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.screen import Screen
from textual.widgets import Static

if TYPE_CHECKING:
    from ..app import LyrxApp

SMALLEST = (64, 16)
"""Columns and lines below which nothing but a request for more room is shown."""


class LyrxScreen(Screen[None]):
    """A screen of the app."""

    HORIZONTAL_BREAKPOINTS: ClassVar[list[tuple[int, str]] | None] = [(0, "-narrow"), (130, "-wide")]
    VERTICAL_BREAKPOINTS: ClassVar[list[tuple[int, str]] | None] = [(0, "-low"), (22, "-normal"), (36, "-tall")]

    def __init__(self) -> None:
        super().__init__()
        self._shown: dict[str, Text] = {}

    @property
    def lyrx(self) -> "LyrxApp":
        """The app."""
        from ..app import LyrxApp

        assert isinstance(self.app, LyrxApp)
        return self.app

    def compose(self) -> ComposeResult:
        yield from self.content()
        yield Static("", id="too-small")

    def content(self) -> ComposeResult:
        """The screen's own widgets."""
        return iter(())

    def on_resize(self, event: events.Resize) -> None:
        width, height = event.size
        self.query_one("#too-small", Static).update(
            Text(f"lyrx needs {SMALLEST[0]} × {SMALLEST[1]} characters; here are {width} × {height}")
        )
        self.set_class(width < SMALLEST[0] or height < SMALLEST[1], "-too-small")

    def put(self, selector: str, text: Text) -> None:
        """Show `text` in a widget of text; nothing is laid out or drawn if it is what is shown already."""
        widget = self.query_one(selector, Static)
        if self._shown.get(selector) != text:
            self._shown[selector] = text
            widget.update(text)

    def say(self, note: Text | str, *, alarm: bool = False) -> None:
        """Put a note into the line above the keys. It is text, never markup."""
        self.put("#note", note if isinstance(note, Text) else Text(note))
        self.query_one("#note", Static).set_class(alarm, "-alarm")
