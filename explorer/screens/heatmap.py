"""One run: its heatmap, and everything about the cell under the cursor."""

import asyncio
from typing import ClassVar

from rich.style import Style
from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.widgets import Footer, Static

from ...store import REINITIALISE, Cell, LyrxError, inert
from ..picture import METRICS, Picture
from ..show import baseline_text, state_text
from ..widgets.cellpanel import cell_text
from ..widgets.chart import Chart
from ..widgets.curves import layer_plot, training_plot
from ..widgets.heatmap import Heatmap, Position
from ..widgets.legend import legend
from ..widgets.marks import Place
from .base import LyrxScreen
from .feed import GoneError, RunFeed, Update
from .measuring import ProbeKey

_WARM_AFTER = 0.5
"""Seconds a heatmap is looked at before a worker is started, so that the first measurement does not wait for it."""


class HeatmapScreen(LyrxScreen):
    """The heatmap of one run, following the store."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "measure_all", "all cells", id="heatmap.all"),
        Binding("x", "cancel", "cancel", id="heatmap.cancel"),
        Binding("m", "metric(1)", "metric", id="heatmap.metric"),
        Binding("M", "metric(-1)", "metric before", id="heatmap.metric-back", show=False),
        Binding("d", "digits", "digits", id="heatmap.digits"),
        Binding("p", "probe", "next probe", id="heatmap.probe", show=False),
        Binding("r", "read", "read again", id="heatmap.read", show=False),
        Binding("question_mark", "app.help", "help", id="heatmap.help", key_display="?"),
        Binding("escape,q", "app.back", "back", id="heatmap.back"),
    ]

    def __init__(self, run: str):
        super().__init__()
        self.run_name = run
        self.picture: Picture | None = None
        self.metric, self.digits = "error", True
        self._feed: RunFeed | None = None
        self._probes: tuple[str, ...] = ()
        self._reading = self._unread = False
        self._gone = ""
        self._hint = ""

    def content(self) -> ComposeResult:
        yield Static("", id="title")
        yield Static("", id="legend")
        with Container(id="body"):
            yield Heatmap(id="heatmap")
            with Container(id="side"):
                yield Static("", id="cell")
                yield Chart(id="layer")
                yield Chart(id="training")
        yield Static("", id="note")
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        self._feed = RunFeed(self.lyrx.store_path, self.run_name)
        self.put("#title", Text(f"{inert(self.run_name)}  reading …"))
        self.query_one(Heatmap).focus()
        self.read()
        self.set_interval(self.lyrx.poll_seconds, self.read)
        if self.lyrx.warm_up:
            self.set_timer(_WARM_AFTER, self._warm_up)

    def _warm_up(self) -> None:
        if self._measurable() and self.key is not None:
            self.lyrx.measuring.warm_up(self.key)

    # Following the store

    @property
    def key(self) -> ProbeKey | None:
        """Of the probe shown."""
        return (self.picture.run.name, self.picture.probe.id) if self.picture else None

    def read(self, *, force: bool = False) -> None:
        """Look for what is new, off the event loop."""
        if self._reading:
            self._unread = True
        else:
            self._reading = True
            self.run_worker(self._read(force), group="feed")

    async def _read(self, force: bool) -> None:
        assert self._feed
        key = self.key
        landed = self.lyrx.measuring.landed(key) if key else []
        try:
            update = await asyncio.to_thread(self._feed.poll, force=force)
        except (LyrxError, OSError) as error:
            self._gone = inert(str(error))
            if isinstance(error, GoneError):
                self._gone += " What was read before is still shown." if self.picture else ""
            self.refresh_all()
        else:
            self._gone = ""
            if key and landed:
                self.lyrx.measuring.shown(key, landed)
            if update is not None:
                self._take(update)
            elif landed:
                self.refresh_marks()
            else:
                self._say()
        finally:
            self._reading = False
        if self._unread:
            self._unread = False
            self.read()

    def _take(self, update: Update) -> None:
        self.picture, self._probes = update.picture, update.probes
        self.query_one(Heatmap).show(update.picture, self._over)
        self.refresh_all()

    def _over(self, position: Position) -> Place | None:
        return self.lyrx.measuring.at(self.key, *position) if self.key and self.metric not in ("l2", "linf") else None

    # Drawing

    def refresh_all(self) -> None:
        """Show everything anew."""
        picture = self.picture
        if picture is not None:
            self.put("#title", _title(picture, self.size.width - 2))
            states = self.query_one(Heatmap).states()
            self.put("#legend", legend(picture, self.metric, states, self.size.width - 2))
            self.query_one("#training", Chart).show(training_plot(picture))
            self._show_cell()
        self._say()

    def refresh_marks(self) -> None:
        """Show anew what is going on."""
        self.query_one(Heatmap).refresh_marks()
        self._show_cell()
        self._say()

    def _show_cell(self) -> None:
        picture, key = self.picture, self.key
        if picture is None or key is None:
            return
        layer, column = self.query_one(Heatmap).position
        panel = self.query_one("#cell", Static)
        width = panel.size.width or 32
        over, message = self._over((layer, column)), self.lyrx.measuring.message(key, layer, column)
        self.put("#cell", cell_text(picture, layer, column, over, message, width))
        chart = self.query_one("#layer", Chart)
        chart.show(layer_plot(picture, layer, chart.size.width or 24))

    def _say(self) -> None:
        """One line: bad news first, then what is being done, then what could be."""
        measuring = self.lyrx.measuring
        done, wanted = measuring.progress()
        if self._gone:
            self.say(self._gone, alarm=True)
            return
        parts = []
        if wanted:
            device = f" on {measuring.device}" if measuring.device else ""
            parts.append(f"measuring{device}: {done} of {wanted} cells")
        if measuring.baseline:
            parts.append(measuring.baseline)
        if measuring.note:
            parts.insert(0 if measuring.alarm else len(parts), measuring.note)
        if self._hint:
            parts.append(self._hint)
        picture = self.picture
        if picture is not None and picture.problems:
            count = len(picture.problems)
            parts.append(f"{count} damaged (×): {inert(str(picture.problems[0]))}")
        if picture is not None and self._probes and picture.probe.id != self._probes[-1]:
            parts.append(f"a newer probe is there: {inert(self._probes[-1])} (p shows it)")
        self.say("  ·  ".join(parts), alarm=measuring.alarm or bool(picture and picture.problems and not wanted))

    def on_resize(self, event: events.Resize) -> None:
        super().on_resize(event)
        self.call_after_refresh(self.refresh_all)

    def on_heatmap_moved(self) -> None:
        self._hint = ""
        self._show_cell()
        self._say()

    # Measuring

    def _measurable(self) -> bool:
        picture = self.picture
        return picture is not None and picture.run.checkpoints[-1] in picture.committed

    def on_heatmap_chosen(self) -> None:
        """Measure what is missing of the cell under the cursor; if nothing is, on to all examples; if exact, again."""
        picture, key = self.picture, self.key
        if picture is None or key is None or not self._can_measure():
            return
        layer, column = self.query_one(Heatmap).position
        if layer is None and picture.columns[column].kind != REINITIALISE:
            self._tell("the whole network is re-initialised only")
            return
        if reason := picture.unavailable(layer, column):
            self._tell(f"not available: {inert(reason)}")
            return
        cell = picture.cell(layer, column)
        draws = 1 if layer is None else picture.columns[column].draws
        complete, exact = (False, False) if cell is None else (cell.complete, cell.complete and cell.exact)
        self._hint = ""
        self.lyrx.measuring.ask(key, [Cell(layer, column, draw) for draw in range(draws)], again=exact, exact=complete)

    def action_measure_all(self) -> None:
        """Measure whatever is not committed, or damaged; where nothing is, take every estimate on to all examples."""
        picture, key = self.picture, self.key
        if picture is None or key is None or not self._can_measure():
            return
        missing, estimates = [], []
        for cell in picture.probe.all_cells():
            known = picture.cell(cell.layer, cell.column)
            if known is None or not known.complete:
                missing.append(cell)
            elif not known.exact:
                estimates.append(cell)
        if missing or estimates:
            self._hint = ""
            self.lyrx.measuring.ask(key, missing or estimates, exact=not missing)
        else:
            self._tell("every cell is measured, and exact; enter measures one again")

    def _can_measure(self) -> bool:
        if self._gone:
            return False
        if not self._measurable():
            self._tell("this run is not trained yet: measuring needs its final checkpoint")
            return False
        return True

    def _tell(self, hint: str) -> None:
        self._hint = hint
        self._say()

    def action_cancel(self) -> None:
        if not self.lyrx.measuring.cancel():
            self._tell("nothing is being measured")

    # Looking

    def action_metric(self, step: int) -> None:
        names = list(METRICS)
        self.metric = names[(names.index(self.metric) + step) % len(names)]
        self.query_one(Heatmap).show_metric(self.metric, self.digits)
        self.refresh_all()

    def action_digits(self) -> None:
        self.digits = not self.digits
        self.query_one(Heatmap).show_metric(self.metric, self.digits)

    def action_probe(self) -> None:
        if self._feed is None or self.picture is None or len(self._probes) < 2:
            self._tell("this run has no other probe")
            return
        here = self._probes.index(self.picture.probe.id) if self.picture.probe.id in self._probes else 0
        self._feed.follow(self._probes[(here + 1) % len(self._probes)])
        self.read(force=True)

    def action_read(self) -> None:
        self.read(force=True)


def _title(picture: Picture, width: int) -> Text:
    """Name, model, data, state and baseline: the longest way to say it that fits."""
    muted = Style(color="#8a8a8a")
    baseline = picture.baseline
    short = "" if baseline is None else f"baseline {100 * baseline.error:.2f} %"
    with_n = "" if baseline is None else f"{short}, n = {baseline.n:,}"
    title = Text()
    for last in (baseline_text(picture), with_n, short):
        title = Text(no_wrap=True, overflow="ellipsis")
        title.append(inert(picture.run.name), Style(color="#ffaf5f", bold=True))
        title.append(f"  {inert(picture.run.model)} on {inert(picture.run.data)}")
        for part in (state_text(picture), last):
            title.append(f" · {part}" if part else "", muted)
        if title.cell_len <= width:
            break
    return title
