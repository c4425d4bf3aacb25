"""What went wrong, all of it: when, what, and what to do. It can be copied and cleared."""

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import Static

from ..core.incidents import Incident
from .base import LyrxDialog


class IncidentsPanel(LyrxDialog):
    """The list of incidents, newest first."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("exclamation_mark", "dismiss", "close", id="errors.close", show=False),
        Binding("y", "copy", "copy all", id="errors.copy"),
        Binding("X", "clear", "clear", id="errors.clear"),
        Binding("down,j", "scroll(1)", "down", id="errors.down", show=False),
        Binding("up,k", "scroll(-1)", "up", id="errors.up", show=False),
        Binding("pagedown,space", "page(1)", "a page down", id="errors.page-down", show=False),
        Binding("pageup", "page(-1)", "a page up", id="errors.page-up", show=False),
    ]

    BODY, AROUND = "#incidents", 2
    DEFAULT_CSS: ClassVar[str] = """
    IncidentsPanel > .dialog { width: 100; }
    IncidentsPanel #incidents { height: auto; }
    IncidentsPanel #incidents-text { width: 100%; height: auto; }
    """

    def content(self) -> ComposeResult:
        yield Static("", classes="head", id="incidents-head")
        with VerticalScroll(id="incidents", can_focus=False):
            yield Static("", id="incidents-text")

    def on_mount(self) -> None:
        self._show()
        self.lyrx.see_incidents()

    def _show(self) -> None:
        found = self.lyrx.incidents.all
        count = len(found)
        told = "Nothing has gone wrong." if not count else f"{count} thing{'s' if count != 1 else ''} went wrong"
        self.put("#incidents-head", Text(told, "bold"))
        self.put("#incidents-text", Text("\n\n").join(map(_shown, found)))

    @property
    def _box(self) -> VerticalScroll:
        return self.query_one("#incidents", VerticalScroll)

    def action_scroll(self, lines: int) -> None:
        self._box.scroll_relative(y=lines, animate=False)

    def action_page(self, pages: int) -> None:
        self._box.scroll_relative(y=pages * max(1, self._box.size.height - 1), animate=False)

    def action_copy(self) -> None:
        text = self.lyrx.incidents.text()
        if text:
            self.app.copy_to_clipboard(text)
            self.put("#incidents-head", Text.assemble(("copied", "good bold"), (" to the clipboard", "muted")))

    def action_clear(self) -> None:
        self.lyrx.clear_incidents()
        self._show()


def _shown(incident: Incident) -> Text:
    text = Text.assemble(("! ", "alarm bold"), (incident.title, "alarm bold"))
    text.append(f"  {incident.clock}", "muted")
    if incident.count > 1:
        text.append(f"  {incident.count} times", "muted")
    text.append(f"\n{incident.what}", "text")
    if incident.todo:
        text.append(f"\n→ {incident.todo}", "info")
    if incident.trace:
        text.append(f"\n{incident.trace}", "muted")
    return text
