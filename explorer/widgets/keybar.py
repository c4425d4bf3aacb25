"""The last line of a screen: the keys that matter most, as many as there is room for."""

from typing import ClassVar

from rich.text import Text
from textual import events
from textual.content import Content
from textual.dom import DOMNode
from textual.screen import Screen
from textual.widget import Widget

from ..core.keys import fitting
from .toned import toned

_BACK, _HELP = (".back", ".quit", ".close"), ".help"
"""Ends of the ids of what leaves a screen, and of help: always there, at the end, and commands where there is room."""

_ROOMY = 60
"""Columns from which on the palette is told too."""


class KeyBar(Widget):
    """Keys with their descriptions; a click does what the key does.

    Those of the bindings with `show` are taken in their order, the focused widget's first: what is most useful is
    declared first.
    """

    ALLOW_SELECT = False

    DEFAULT_CSS: ClassVar[str] = """
    KeyBar { dock: bottom; height: 1; background: $surface; padding: 0 0; text-wrap: nowrap; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._places: list[tuple[int, int, str, DOMNode]] = []
        """(first column, the column after the last, action, whose) of what is shown."""

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._changed)

    def _changed(self, screen: Screen) -> None:
        if self.is_attached and screen is self.screen:
            self.refresh()

    def render(self) -> Content:
        known: dict[str, tuple[str, str, str, DOMNode]] = {}
        for node, binding, enabled, _ in self.screen.active_bindings.values():
            name = binding.id or binding.action
            if binding.show and enabled and name not in known:
                known[name] = (self.app.get_key_display(binding), binding.description, binding.action, node)
        width = self.size.width
        back = next((name for name in known if name.endswith(_BACK)), "")
        # Where letters are typed into a field, help has another key, of the screen's own.
        help_, *other_helps = [name for name in known if name.endswith(_HELP)] or [""]
        # The most important one first; shown in another order.
        names = [name for name in (help_, back, "app.palette" if width >= _ROOMY else "") if name in known]
        pinned = [known.pop(name) for name in names]
        for name in ("app.palette", *other_helps):
            known.pop(name, None)
        items = list(known.values())
        shown = fitting([item[:2] for item in items], [item[:2] for item in pinned], width)
        if len(names) > 1 and names[0] == help_ and pinned[1][:2] in shown:
            shown.remove(pinned[1][:2])
            shown.insert(shown.index(pinned[0][:2]), pinned[1][:2])
        line, self._places = Text(no_wrap=True), []
        for key, words in shown:
            _, _, action, node = next(item for item in (*items, *pinned) if item[:2] == (key, words))
            start = line.cell_len
            line.append(" ")
            line.append(key, "accent bold")
            line.append(f" {words} ", "muted")
            self._places.append((start, line.cell_len, action, node))
        return toned(line, self.app)

    def on_click(self, event: events.Click) -> None:
        event.stop()
        for start, end, action, node in self._places:
            if start <= event.x < end:
                # Not awaited here: an action that leaves the screen waits for this very line to end.
                self.app.call_later(self.app.run_action, action, node)
                return
