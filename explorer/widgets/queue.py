"""The queue of measurements: what was asked for, how far it is, and a way to cancel each."""

from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from ..core.queue import Device, Hit, Plan, Request, panel
from .toned import toned

MOST = 8
"""Lines that it takes at most; it shows those around the one that is selected."""


class QueuePanel(Static, can_focus=True):
    """Lines of requests. Posts Cancelled for the one that is to stop, and Left when it is sent away."""

    DEFAULT_CSS = """
    QueuePanel { height: auto; max-height: 8; width: 100%; padding: 0 1; background: $panel; display: none; }
    QueuePanel { text-wrap: nowrap; text-overflow: ellipsis; }
    QueuePanel:focus { background: $surface; }
    .-narrow QueuePanel { layer: cover; dock: bottom; margin: 0 0 2 0; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "select(-1)", "up", id="queue.up", show=False),
        Binding("down,j", "select(1)", "down", id="queue.down", show=False),
        Binding("x,delete", "cancel", "cancel this", id="queue.cancel"),
        Binding("escape,q", "leave", "close the queue", id="queue.leave"),
    ]

    class Cancelled(Message):
        """A request is to stop."""

        def __init__(self, id: str):  # noqa: A002 - the protocol's name
            super().__init__()
            self.id = id

    class Left(Message):
        """The queue is to go away."""

    def __init__(self, *, id: str | None = None):  # noqa: A002 - Textual's name
        super().__init__("", id=id)
        self.selected = ""
        self._requests: Sequence[Request] = ()
        self._plans: Sequence[Plan] = ()
        self._device, self._clock = Device(), float
        self._hits: list[Hit | None] = []
        self._ids: list[str] = []

    def on_mount(self) -> None:
        self.set_interval(1.0, self._again)  # rates fall and times pass while nothing is heard

    def show(
        self, requests: Sequence[Request], plans: Sequence[Plan], device: Device, clock: Callable[[], float]
    ) -> None:
        """Show what is open now."""
        self._requests, self._plans, self._device, self._clock = requests, plans, device, clock
        self._again()

    def _again(self) -> None:
        if not self.display:
            return
        self._ids = [plan.id for plan in self._plans] + [request.id for request in self._requests]
        if self.selected not in self._ids:
            self.selected = self._ids[0] if self._ids else ""
        selected = self.selected if self.has_focus else ""
        width = (self.size.width or self.screen.size.width) - 2
        lines, hits = panel(self._requests, self._plans, self._device, self._clock(), width, selected)
        first = self._first(hits, len(lines))
        hidden = len(lines) - first - MOST
        lines, self._hits = [lines[0], *lines[first + 1 : first + MOST]], [None, *hits[first + 1 : first + MOST]]
        if hidden > 0:
            lines[0] = Text.assemble(lines[0], (f"  ↓ {hidden} lines more", "muted"))
        self.update(self._content(lines))

    def _first(self, hits: Sequence[Hit | None], count: int) -> int:
        """How many lines below the title are left out, so that the one selected is in sight."""
        place = next((line for line, hit in enumerate(hits) if hit and hit.id == self.selected), 0)
        return max(0, min(place - MOST + 2, count - MOST))

    def _content(self, lines: Sequence[Text]) -> Content:
        return Content("\n").join([toned(line, self.app) for line in lines])

    def on_focus(self) -> None:
        self._again()

    def on_blur(self) -> None:
        self._again()

    def on_resize(self) -> None:
        self._again()

    def action_select(self, step: int) -> None:
        if self._ids:
            place = self._ids.index(self.selected) + step
            self.selected = self._ids[min(max(place, 0), len(self._ids) - 1)]
            self._again()

    def action_cancel(self) -> None:
        if self.selected:
            self.post_message(self.Cancelled(self.selected))

    def action_leave(self) -> None:
        self.post_message(self.Left())

    def on_click(self, event: events.Click) -> None:
        line, column = event.y, event.x - 1
        hit = self._hits[line] if 0 <= line < len(self._hits) else None
        if hit is None:
            return
        event.stop()
        self.selected = hit.id
        self._again()
        if hit.start <= column < hit.stop:
            self.post_message(self.Cancelled(hit.id))
