"""Runs beside each other: one cursor in all of them, the difference of two, and their training curves."""

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.widgets import Static

from ..core.compare_heads import title_text
from ..widgets.chart import Chart
from ..widgets.keybar import KeyBar
from ..widgets.scenemap import SceneMap
from .compare_look import LookAtRuns
from .compare_pane import STYLE, Pane, Panes
from .compare_take import TakeComparison


class CompareScreen(LookAtRuns, TakeComparison):
    """Two or more runs of the store."""

    DEFAULT_CSS = STYLE

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "leave", "back", id="compare.back"),
    ]

    def content(self) -> ComposeResult:
        yield Static("", id="title")
        yield Static("", id="legend")
        with Container(id="compare-body"):
            with Panes(id="panes"):
                for number in range(len(self.runs)):
                    yield Pane(number)
                yield Pane(None)
            with Container(id="curves"):
                yield Chart(id="curve-error")
                yield Chart(id="curve-loss")
            with Container(id="compare-side"):
                yield Static("", id="compare-place")
                yield Static("", id="compare-whole")
                yield Static("", id="compare-about")
        yield Static("", id="note")
        yield KeyBar()

    def on_mount(self) -> None:
        self.put("#title", title_text(self.runs, self.size.width - 2))
        self.say("reading …")
        self._arrange()

    def on_resize(self, event: events.Resize) -> None:
        super().on_resize(event)
        self.call_after_refresh(self.refresh_all)

    def on_panes_resized(self) -> None:
        """The panel below has grown or shrunk by what it says: there is other room for the heatmaps."""
        self.refresh_all()

    # The cursor

    def on_heatmap_moved(self) -> None:
        self._hint = ""
        self._follow()
        self._texts()
        self._say()

    def on_pane_picked(self, event: Pane.Picked) -> None:
        if event.number is not None and event.number != self.chosen:
            self.chosen = event.number
            self._heads()
            self._texts()
        self._focus()

    def on_descendant_focus(self) -> None:
        """Keys go to the heatmap whose cursor counts; Textual gives another one the focus when that one is hidden."""
        if isinstance(self.focused, SceneMap) and self.focused is not self.leader and self.leader.focusable:
            self._focus()

    def on_scene_map_scrolled(self, event: SceneMap.Scrolled) -> None:
        """All heatmaps are scrolled together with the leader, or with the one that the wheel turns over."""
        source = event.source
        if source is not self.leader and not source.mouse_hover:
            return
        for pane in self.panes():
            other = pane.map
            if other is not source and pane.display and other.scroll_offset != source.scroll_offset:
                other.scroll_to(source.scroll_x, source.scroll_y, animate=False)

    def action_leave(self) -> None:
        """To the screen below."""
        self.app.pop_screen()
