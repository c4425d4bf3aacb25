"""One run: its heatmap, and everything about the cell under the cursor."""

from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.widgets import Static

from ...store import inert
from ..core.legend import legend
from ..core.picture import Picture
from ..core.texts import baseline_text, state_text
from ..feed import GoneError, RunFeed, Update
from ..tail import News, Tail, Trouble
from ..widgets.heatmap import Heatmap, colour_system
from ..widgets.keybar import KeyBar
from ..widgets.queue import QueuePanel
from ..widgets.side import CellSide
from .heatmap_beside import BesideActions
from .heatmap_take import TakeActions
from .looking import FOLDING

_TELL_EVERY = 0.25  # seconds between two words on how far reading is
_WARM_AFTER = 0.5
"""Seconds a heatmap is looked at before a worker is started, so that the first measurement does not wait for it."""


class HeatmapScreen(BesideActions, TakeActions):
    """The heatmap of one run, following the store."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("m", "metric(1)", "metric", id="heatmap.metric"),
        Binding("M", "metric(-1)", "metric before", id="heatmap.metric-back", show=False),
        Binding("d", "digits", "digits", id="heatmap.digits"),
        Binding("v", "compare", "compare", id="heatmap.compare", show=False),
        Binding("s", "sort", "sort by depth, criticality", id="heatmap.sort", show=False),
        *FOLDING,
        Binding("o", "overview", "overview", id="heatmap.overview", show=False),
        Binding("C", "ramp", "colour scale", id="heatmap.ramp", show=False),
        Binding("escape,q", "app.back", "back", id="heatmap.back"),
    ]

    def content(self) -> ComposeResult:
        yield Static("", id="title")
        yield Static("", id="legend")
        with Container(id="body"):
            yield Heatmap(id="heatmap")
            yield CellSide(self.lyrx.store_path, self.lyrx.weights.look, id="side")
        yield QueuePanel(id="queue")
        yield Static("", id="note")
        yield KeyBar()

    def on_mount(self) -> None:
        self._feed = RunFeed(self.lyrx.store_path, self.run_name, self.view.probe)
        self._while_reading()
        self.query_one(Heatmap).focus()
        self._tail = Tail(self, self._poll, self._hear, self._lost, pace=self.pace, note=self.landed)
        self.read()
        if self.lyrx.warm_up:
            self.set_timer(_WARM_AFTER, self._warm_up)

    def _while_reading(self) -> None:
        """Say how far the first look is: tens of thousands of cells, or a slow file system, take seconds."""
        if self.picture is not None or not self.stands:
            return
        read, of = (self._feed and self._feed.read) or (0, 0)
        far = f"  {100 * read // of} % of {of:,} cells" if of else ""
        self.put("#title", Text.assemble((inert(self.run_name), "accent bold"), (f"  reading …{far}", "muted")))
        self.set_timer(_TELL_EVERY, self._while_reading)

    def _warm_up(self) -> None:
        if self._measurable() and self.key is not None:
            self.lyrx.measuring.warm_up(self.key)

    # Following the store

    def _hear(self, news: News[Update]) -> None:
        self._gone = ""
        self.shown(news.noted)
        if news.update is not None:
            self._take(news.update)
            self.report_damage(news.update.picture.problems)
        elif news.noted:
            self.refresh_marks()
        else:
            self._say()

    def _lost(self, trouble: Trouble) -> None:
        self._gone = trouble.message
        if isinstance(trouble.error, GoneError):
            self._gone += " What was read before is still shown." if self.picture else ""
        self.report(trouble)
        self.refresh_all()

    # Drawing

    def refresh_all(self) -> None:
        """Show everything anew."""
        picture = self.picture
        if picture is not None:
            self.put("#title", _title(picture, self.size.width - 2))
            shown = self.query_one(Heatmap).scene
            if shown is not None:
                self.put("#legend", legend(shown, self.size.width - 2, colour_system(self.app)))
            self.show_cell()
        self._say()

    def refresh_marks(self) -> None:
        """Show anew what is going on."""
        self._show_scene()
        self.show_cell()
        self._say()

    def _say(self) -> None:
        """One line: what a key has just brought about, then bad news, then what is being done, then what could be."""
        measuring = self.lyrx.measuring
        summary = measuring.summary()
        self.show_queue()
        if self._gone:
            self.say(self._gone, alarm=True)
            return
        parts = []
        if summary:
            parts.append(summary)
        if measuring.baseline:
            parts.append(measuring.baseline)
        if measuring.note:
            parts.insert(0 if measuring.alarm else len(parts), measuring.note)
        if self._hint:
            parts.insert(0, self._hint)
        picture = self.picture
        if picture is not None and picture.problems:
            count = len(picture.problems)
            parts.append(f"{count} damaged (×): {inert(str(picture.problems[0]))}")
        if picture is not None and self._probes and picture.probe.id != self._probes[-1]:
            parts.append(f"a newer probe is there: {inert(self._probes[-1])} (p shows it)")
        damaged = bool(picture and picture.problems and not summary)
        self.say("  ·  ".join(parts), alarm=(measuring.alarm or damaged) and not self._hint)

    def on_resize(self, event: events.Resize) -> None:
        super().on_resize(event)
        self.call_after_refresh(self.refresh_all)

    def on_heatmap_moved(self) -> None:
        self._hint = ""
        heatmap = self.query_one(Heatmap)
        row, picture = heatmap.row, self.picture
        if row is not None and picture is not None:
            self.view = self.view.with_(layer=row.key, column=picture.columns[heatmap.cursor[1]].label)
        self.show_cell()
        self._say()

    def action_compare(self) -> None:
        """This run beside others."""
        if self.picture is not None:
            self.lyrx.compare_with(self.run_name, self.picture.probe.id, self.view)


def _title(picture: Picture, width: int) -> Text:
    """Name, model, data, state and baseline: the longest way to say it that fits."""
    baseline = picture.baseline
    short = "" if baseline is None else f"baseline {100 * baseline.error:.2f} %"
    with_n = "" if baseline is None else f"{short}, n = {baseline.n:,}"
    title = Text()
    for last in (baseline_text(picture), with_n, short):
        title = Text(no_wrap=True, overflow="ellipsis")
        title.append(inert(picture.run.name), "accent bold")
        title.append(f"  {inert(picture.run.model)} on {inert(picture.run.data)}")
        for part in (state_text(picture), last):
            title.append(f" · {part}" if part else "", "muted")
        if title.cell_len <= width:
            break
    return title
