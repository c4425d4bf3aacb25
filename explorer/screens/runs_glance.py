"""Beside or below the table of runs: what the one under the cursor is, its heatmap and curve at a glance."""

from collections.abc import Callable
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.containers import Container
from textual.widgets import Static

from ...store import LyrxError
from ..core.plots import training_plot
from ..core.runcolumns import facts
from ..core.runrow import RunRow
from ..core.survey import scene, survey
from ..core.view import HeatView
from ..feed import RunFeed, Update
from ..tail import News, Tail
from ..widgets.chart import Chart
from ..widgets.heatmap import Heatmap
from ..widgets.runtable import RunTable
from .base import LyrxScreen

_BESIDE, _BELOW = 120, 18
"""Columns from which the glance stands beside the table; lines from which it stands below it."""
_GLANCES = 16
"""Runs whose glance is remembered."""


class GlanceBeside(LyrxScreen):
    """A screen with a RunTable, as far as the glance at the run under its cursor is concerned."""

    DEFAULT_CSS: ClassVar[str] = """
    GlanceBeside {
        #run-glance { height: 50%; padding: 1 1 0 1; layout: vertical; }
        #run-facts { height: auto; max-height: 3; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }
        #run-pictures { height: 1fr; layout: horizontal; }
        #run-pictures Heatmap { width: 1fr; height: 100%; }
        #run-pictures Chart { width: 30; height: 100%; max-height: 12; padding: 0 0 0 2; }
        &.-narrow-glance #run-pictures Chart { display: none; }
        &.-no-glance #run-glance { display: none; }
        &.-beside #run-glance { height: 100%; width: 50; }
        &.-beside #run-facts { max-height: 6; text-wrap: wrap; height: auto; }
        &.-beside #run-pictures { layout: vertical; padding: 1 0 0 0; }
        &.-beside #run-pictures Heatmap { width: 100%; height: 1fr; }
        &.-beside #run-pictures Chart { width: 100%; height: 35%; max-height: 14; padding: 1 0 0 1; display: block; }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._glance: Tail[Update] | None = None
        self._feeds: dict[str, RunFeed] = {}
        self._updates: dict[str, Update] = {}

    @property
    def chosen(self) -> RunRow | None:
        """The run under the cursor."""
        return self.query_one(RunTable).chosen

    @property
    def clock(self) -> Callable[[], float]:
        """Seconds since 1970, for ages."""
        return self.lyrx.clock

    # The glance

    def glance(self) -> ComposeResult:
        """Its widgets."""
        with Container(id="run-glance"):
            yield Static("", id="run-facts")
            with Container(id="run-pictures"):
                yield Heatmap(id="glance", interactive=False)
                yield Chart(id="glance-training")

    def on_mount(self) -> None:
        self._glance = Tail(
            self, self._poll_glance, self._take_glance, lambda trouble: None, note=self._chosen_name, pace=self.pace,
            active=lambda: self.is_current and self.chosen is not None,
        )  # fmt: skip

    def on_screen_resume(self) -> None:
        self._kick_glance()

    def glance_elsewhere(self) -> None:
        """Another run is under the cursor."""
        self._facts()
        known = self._updates.get(self._chosen_name() or "")
        if known is not None:
            self._draw_glance(known)
        self._kick_glance()

    def on_resize(self, event: events.Resize) -> None:
        super().on_resize(event)
        width, height = event.size
        beside = width >= _BESIDE
        self.set_class(beside, "-beside")
        self.set_class(not beside and height < _BELOW, "-no-glance")
        self.set_class(not beside and width < 76, "-narrow-glance")
        self.query_one("#run-glance").styles.width = min(74, 50 + (width - _BESIDE) * 3 // 10) if beside else None
        if (known := self._updates.get(self._chosen_name() or "")) is not None:
            self._draw_glance(known)
        self.call_after_refresh(self._facts)

    def _chosen_name(self) -> str | None:
        return None if self.chosen is None else self.chosen.name

    def _facts(self) -> None:
        if self.chosen is not None:
            told = facts(self.chosen, self.clock())
            text = Text("\n" if self.has_class("-beside") else "  ").join(told)
            self.put("#run-facts", text)

    def _kick_glance(self) -> None:
        if self._glance is not None and not self.has_class("-no-glance"):
            self._glance.kick()

    def _poll_glance(self, force: bool) -> Update | None:
        # The run of this moment: what is asked for while one is read is read next.
        name = self._chosen_name()
        if name is None:
            return None
        feed = self._feeds.get(name)
        if feed is None:
            while len(self._feeds) >= _GLANCES:
                self._feeds.pop(next(iter(self._feeds)), None)
            feed = self._feeds[name] = RunFeed(self.lyrx.store_path, name)
        try:
            return feed.poll()
        except (LyrxError, OSError):
            self._feeds.pop(name, None)  # the table says what is wrong with it, or will lack it in a moment
            return None

    def _take_glance(self, news: News[Update]) -> None:
        update, name = news.update, self._chosen_name()
        if update is not None:
            self._updates[update.picture.run.name] = update
            for old in self._updates.keys() - self._feeds.keys():
                del self._updates[old]
            if update.picture.run.name == name:
                self._draw_glance(update)
        if news.noted != name:
            self._kick_glance()

    def _draw_glance(self, update: Update) -> None:
        view = HeatView(digits=False)  # a glance shows where, not how much
        self.query_one("#glance", Heatmap).show(scene(survey(update.picture, view.metric), view))
        self.query_one("#glance-training", Chart).show(training_plot(update.picture))
