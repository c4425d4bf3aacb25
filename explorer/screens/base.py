"""What every screen of the app shares: a line for a terminal that is too small, one for what happens and one for what
went wrong, and a frame for what is put over a screen."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen, Screen
from textual.widgets import Static

from ..core import troubles
from ..core.room import SMALLEST
from ..tail import Pace, Trouble
from ..widgets.keybar import KeyBar
from ..widgets.toned import toned

if TYPE_CHECKING:
    from ..app import LyrxApp

WIDTHS: list[tuple[int, str]] = [(0, "-narrow"), (70, "-medium"), (110, "-broad"), (130, "-wide")]
"""A screen has the class of the widest that it reaches: made for 50, 80, 120 and 200 columns."""

HEIGHTS: list[tuple[int, str]] = [(0, "-low"), (22, "-normal"), (36, "-tall")]


def _lyrx(screen: Screen) -> "LyrxApp":
    from ..app import LyrxApp

    assert isinstance(screen.app, LyrxApp)
    return screen.app


class LyrxScreen(Screen[None]):
    """A screen of the app."""

    HORIZONTAL_BREAKPOINTS: ClassVar[list[tuple[int, str]] | None] = WIDTHS
    VERTICAL_BREAKPOINTS: ClassVar[list[tuple[int, str]] | None] = HEIGHTS

    def __init__(self) -> None:
        super().__init__()
        self._shown: dict[str, Text] = {}
        self._damage: frozenset[str] = frozenset()

    @property
    def lyrx(self) -> "LyrxApp":
        """The app."""
        return _lyrx(self)

    @property
    def pace(self) -> Pace:
        """How often the store is looked at, as the app is told."""
        seconds = self.lyrx.poll_seconds
        return Pace(seconds, max(seconds, Pace.slowest))

    @property
    def stands(self) -> bool:
        """Whether all of it is there: what is on a screen goes before the screen does, one thing after the other."""
        return any(child.is_parent_active for child in self.children)

    def compose(self) -> ComposeResult:
        yield from self.content()
        yield Notice("", id="incident")
        yield Static("", id="too-small")

    def content(self) -> ComposeResult:
        """The screen's own widgets."""
        return iter(())

    def on_mount(self) -> None:
        self.lyrx.theme_changed_signal.subscribe(self, self._theme_changed)
        self.show_incidents()

    def on_screen_resume(self) -> None:
        self.show_incidents()

    def on_resize(self, event: events.Resize) -> None:
        width, height = event.size
        said = Text(f"lyrx needs {SMALLEST[0]} × {SMALLEST[1]} characters; here are {width} × {height}")
        for cover in self.query("#too-small").results(Static):  # a screen that could not be composed has none
            cover.update(said)
        self.set_class(width < SMALLEST[0] or height < SMALLEST[1], "-too-small")

    def put(self, selector: str, text: Text) -> None:
        """Show `text` in a widget of text; nothing is laid out or drawn if it is what is shown already."""
        if self._left(selector):
            return
        widget = self.query_one(selector, Static)
        if self._shown.get(selector) != text:
            self._shown[selector] = text
            widget.update(toned(text, self.app))

    def _left(self, selector: str) -> bool:
        """Whether the widget was there and is gone: as the app ends, a screen stays longer than what is on it."""
        return not self.query(selector) and (selector in self._shown or self._closing or self.app._closing)

    def say(self, note: Text | str, *, alarm: bool = False) -> None:
        """Put a note into the line above the keys. It is text, never markup."""
        self.put("#note", note if isinstance(note, Text) else Text(note))
        if not self._left("#note"):
            self.query_one("#note", Static).set_class(alarm, "-alarm")

    def report(self, trouble: Trouble) -> None:
        """Keep trouble with following the store among what went wrong, where it says what to do and can be copied."""
        found = troubles.of_store(trouble.message, str(self.lyrx.store_path.absolute()))
        self.lyrx.incident(found.title, found.what, found.todo)

    def report_damage(self, problems: Sequence[object]) -> None:
        """Keep what is damaged there too: once, until there is more of it."""
        named = [str(problem) for problem in problems]
        fresh = [problem for problem in named if problem not in self._damage]
        self._damage = frozenset(named)
        if fresh:
            found = troubles.of_damage(fresh, str(self.lyrx.store_path.absolute()))
            self.lyrx.incident(found.title, found.what, found.todo)

    def show_incidents(self) -> None:
        """One line for what went wrong and was not looked at yet; none if there is nothing."""
        for notice in self.query("#incident").results(Static):
            incidents = self.lyrx.incidents
            self.set_class(incidents.unseen > 0, "-incident")
            if incidents.unseen:
                self.put(f"#{notice.id}", self.lyrx.incident_line())

    def _theme_changed(self, _: object) -> None:
        # Texts hold colours of the theme they were drawn in.
        for selector, text in self._shown.items():
            for widget in self.query(selector).results(Static):
                widget.update(toned(text, self.app))


class Notice(Static):
    """The line for what went wrong. A click opens the panel."""

    def on_click(self) -> None:
        self.app.call_later(self.app.run_action, "app.errors")


class LyrxDialog(ModalScreen[None]):
    """Something put over a screen, with its keys at its foot. Escape, or a click beside it, closes it."""

    HORIZONTAL_BREAKPOINTS: ClassVar[list[tuple[int, str]] | None] = WIDTHS
    VERTICAL_BREAKPOINTS: ClassVar[list[tuple[int, str]] | None] = HEIGHTS

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss", "close", id="dialog.close"),
    ]

    BODY: ClassVar[str] = ""
    """Selector of what scrolls when not all of it fits."""

    AROUND: ClassVar[int] = 0
    """Lines of the frame that are neither the body's nor its keys'."""

    # It covers a narrow terminal, and leaves a margin on others. Without colours it has a frame.
    DEFAULT_CSS: ClassVar[str] = """
    LyrxDialog { align: center middle; }
    LyrxDialog > .dialog { width: auto; max-width: 90%; min-width: 40; height: auto; padding: 1 2; background: $panel; }
    LyrxDialog.-narrow > .dialog { width: 100%; max-width: 100%; padding: 0 1; }
    LyrxDialog:nocolor > .dialog { border: round $foreground; }
    LyrxDialog VerticalScroll { scrollbar-size: 1 1; }
    LyrxDialog .head { height: 1; width: 100%; margin: 0 0 1 0; text-wrap: nowrap; text-overflow: ellipsis; }
    LyrxDialog KeyBar { dock: none; width: 100%; margin: 1 0 0 0; background: $panel; }
    """

    @property
    def lyrx(self) -> "LyrxApp":
        """The app."""
        return _lyrx(self)

    @property
    def pace(self) -> Pace:
        """How often the store is looked at, as the app is told."""
        seconds = self.lyrx.poll_seconds
        return Pace(seconds, max(seconds, Pace.slowest))

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield from self.content()
            yield KeyBar()

    def content(self) -> ComposeResult:
        """What is in the frame, above its keys."""
        return iter(())

    def on_resize(self, event: events.Resize) -> None:
        if self.BODY:
            # Keys and the line above them, what else there is, padding, a frame, and a margin where there is room.
            around = 2 + self.AROUND + (0 if event.size.width < WIDTHS[1][0] else 4) + (2 if self.app.no_color else 0)
            self.query_one(self.BODY).styles.max_height = max(3, event.size.height - around)

    def put(self, selector: str, text: Text) -> None:
        """Show `text` in a widget of text."""
        self.query_one(selector, Static).update(toned(text, self.app))

    async def on_click(self, event: events.Click) -> None:
        """A click beside the frame closes it."""
        if not self.query_one(".dialog").region.contains(int(event.screen_x), int(event.screen_y)):
            self.dismiss()
