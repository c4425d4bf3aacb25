"""What goes wrong in the app: kept, told in one line, shown by a key; what nobody expected does not end it."""

import threading
from collections.abc import Callable
from typing import Any

from rich.text import Text
from textual.binding import Binding
from textual.dom import DOMNode
from textual.widget import Widget
from textual.worker import WorkerFailed

from .core.incidents import Incidents
from .frames import ThriftyApp
from .screens.base import LyrxScreen
from .sturdy import make_sturdy


class TellingApp(ThriftyApp):
    """The app, as far as what goes wrong is concerned."""

    def __init__(self, **named: Any):
        super().__init__(**named)
        self.incidents = Incidents()
        self.forgiving: bool | None = None
        """Whether unexpected exceptions become incidents; None: on a terminal they do, in tests they end the app."""
        self._telling = False
        make_sturdy(self, self._handle_exception, self._forgives)

    def incident(self, title: str, what: str, todo: str = "") -> None:
        """Tell that something went wrong: what happened to which file, run, layer, and what to do. From any thread."""
        self._told(lambda: self.incidents.add(title, what, todo))

    def see_incidents(self) -> None:
        """Somebody looks at them."""
        self.incidents.see()
        self._show_incidents()

    def clear_incidents(self) -> None:
        """Forget them."""
        self.incidents.clear()
        self._show_incidents()

    def incident_line(self) -> Text:
        """The newest of those that nobody has looked at, in one line."""
        unseen = self.incidents.unseen
        newest = self.incidents.all[0]
        text = Text.assemble(("! ", "alarm bold"), (newest.title, "alarm bold"), no_wrap=True, overflow="ellipsis")
        key = self._key_of("app.errors")
        text.append(f"  {key} shows {'it' if unseen == 1 else f'all {unseen}'}", "accent")
        return text.append(f"  {' '.join(newest.what.split())}", "text")

    def _key_of(self, binding_id: str) -> str:
        for _, binding, _, _ in self.screen.active_bindings.values():
            if binding.id == binding_id:
                return self.get_key_display(binding)
        return "!"

    def _told(self, note: Callable[[], object]) -> None:
        def tell() -> None:
            note()
            self._show_incidents()

        if self._thread_id in (0, threading.get_ident()) or self._loop is None:
            tell()
        else:
            self._loop.call_soon_threadsafe(tell)

    def _show_incidents(self) -> None:
        for screen in self.screen_stack:
            if isinstance(screen, LyrxScreen) and screen.is_mounted:
                screen.show_incidents()

    def _handle_exception(self, error: Exception) -> None:
        """Nobody expected this one: it is shown, and the app goes on. Textual would end."""
        if not self._forgives():
            super()._handle_exception(error)
            return
        if self._exit:
            return
        self._telling = True  # an error while this one is told is one too many
        try:
            cause = error.error if isinstance(error, WorkerFailed) else error
            self._told(lambda: self.incidents.fail(cause))
        finally:
            self._telling = False

    def _forgives(self) -> bool:
        forgiving = not self.is_headless if self.forgiving is None else self.forgiving
        return forgiving and not self._telling and bool(self._screen_stack)

    def _register_child(self, parent: DOMNode, child: Widget, before: int | None, after: int | None) -> None:
        make_sturdy(child, self._handle_exception, self._forgives)
        super()._register_child(parent, child, before, after)

    def _start_widget(self, parent: Widget, widget: Widget) -> None:
        # Scrollbars come this way.
        make_sturdy(widget, self._handle_exception, self._forgives)
        super()._start_widget(parent, widget)

    def handle_bindings_clash(self, clashed_bindings: set[Binding], node: DOMNode) -> None:
        """Keys that were checked do not clash; were one overlooked, it is told."""
        for binding in clashed_bindings:
            self.incident(
                "a key of yours hides another",
                f"'{binding.key}' did '{binding.description}' ({binding.id}) here, and does not any more",
                "Give one of them another key in the settings.",
            )
