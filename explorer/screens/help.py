"""Help: every key of a screen, from its bindings, so that none can be forgotten; and what the marks mean."""

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.dom import DOMNode
from textual.screen import Screen
from textual.widgets import Static

from ..core.helptext import help_text
from ..core.keys import Key
from .base import LyrxDialog


def active_keys(screen: Screen) -> list[tuple[Key, str, DOMNode]]:
    """What can be done by a key on `screen` now, with its action and whose it is; the keys of one id together.

    Bindings without an id are Textual's own.
    """
    found: dict[str, tuple[dict[str, None], str, str, DOMNode]] = {}
    for node, binding, enabled, _ in screen.active_bindings.values():
        if enabled and binding.id and not binding.system:
            keys, *_ = found.setdefault(binding.id, ({}, binding.description, binding.action, node))
            keys[screen.app.get_key_display(binding)] = None
    return [(Key(name, tuple(keys), told), action, node) for name, (keys, told, action, node) in found.items()]


class Help(LyrxDialog):
    """The keys of the screen below."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark,enter", "dismiss", "close", id="help.close", show=False),
        Binding("down,j", "scroll(1)", "down", id="help.down", show=False),
        Binding("up,k", "scroll(-1)", "up", id="help.up", show=False),
        Binding("pagedown,space", "page(1)", "a page down", id="help.page-down", show=False),
        Binding("pageup", "page(-1)", "a page up", id="help.page-up", show=False),
        Binding("home,g", "end(-1)", "top", id="help.top", show=False),
        Binding("end,G", "end(1)", "bottom", id="help.bottom", show=False),
    ]

    BODY = "#help"
    DEFAULT_CSS: ClassVar[str] = """
    Help #help { width: auto; height: auto; overflow-x: hidden; }
    Help.-narrow #help { width: 100%; }
    """

    def __init__(self, keys: Sequence[Key], *, marks: bool):
        super().__init__()
        self._keys, self._marks = keys, marks

    def content(self) -> ComposeResult:
        with VerticalScroll(id="help", can_focus=False):
            yield Static("", id="help-text")

    def on_mount(self) -> None:
        self._show(self.size.width)

    def on_resize(self, event: events.Resize) -> None:
        self._show(event.size.width)

    def _show(self, width: int) -> None:
        # A frame's padding and the scroll bar take their share.
        room = width - 4 if width < 70 else int(0.9 * width) - 8
        text = help_text(self._keys, room, marks=self._marks)
        self.put("#help-text", text)
        shown = self.query_one("#help-text").styles
        lines = text.split("\n")
        shown.width, shown.height = max(line.cell_len for line in lines), len(lines)

    @property
    def _box(self) -> VerticalScroll:
        return self.query_one("#help", VerticalScroll)

    def action_scroll(self, lines: int) -> None:
        self._box.scroll_relative(y=lines, animate=False)

    def action_page(self, pages: int) -> None:
        self._box.scroll_relative(y=pages * max(1, self._box.size.height - 1), animate=False)

    def action_end(self, where: int) -> None:
        self._box.scroll_to(y=0 if where < 0 else self._box.max_scroll_y, animate=False)
