"""One run: its heatmap, and everything about the cell under the cursor."""

import math
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.widgets import Static

from ...store import inert
from ..core.legend import legend
from ..core.marks import Place
from ..core.picture import METRICS, Picture
from ..core.ramp import ramp_after, ramp_named
from ..core.rows import folded_next, toggled
from ..core.scene import Row, Scene
from ..core.survey import Spot, Survey, scene, survey
from ..core.texts import baseline_text, state_text
from ..core.view import HeatView
from ..feed import GoneError, RunFeed, Update
from ..tail import News, Tail, Trouble
from ..widgets.heatmap import Heatmap, colour_system
from ..widgets.keybar import KeyBar
from ..widgets.queue import QueuePanel
from ..widgets.side import CellSide
from .heatmap_beside import BesideActions
from .heatmap_take import TakeActions

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
        Binding("z", "fold", "fold, unfold", id="heatmap.fold", show=False),
        Binding("Z", "fold_all", "fold all, a step further", id="heatmap.fold-all", show=False),
        Binding("o", "overview", "overview", id="heatmap.overview", show=False),
        Binding("C", "ramp", "colour scale", id="heatmap.ramp", show=False),
        Binding("escape,q", "app.back", "back", id="heatmap.back"),
    ]

    def __init__(self, run: str):
        super().__init__()
        self.run_name = run
        self.picture: Picture | None = None
        self.view = HeatView()
        """How the heatmap is looked at: the one state of this screen."""
        self._known: Survey | None = None
        self._surveyed: Survey | None = None
        self._feed: RunFeed | None = None
        self._probes: tuple[str, ...] = ()
        self._tail: Tail[Update] | None = None
        self._gone = ""
        self._hint = ""

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
        self.put("#title", Text(f"{inert(self.run_name)}  reading …"))
        self.query_one(Heatmap).focus()
        self._tail = Tail(self, self._poll, self._hear, self._lost, pace=self.pace, note=self.landed)
        self.read()
        if self.lyrx.warm_up:
            self.set_timer(_WARM_AFTER, self._warm_up)

    def _warm_up(self) -> None:
        if self._measurable() and self.key is not None:
            self.lyrx.measuring.warm_up(self.key)

    # Following the store

    def read(self, *, force: bool = False) -> None:
        """Look for what is new, off the event loop."""
        if self._tail is not None:
            self._tail.kick(force=force)

    def _poll(self, force: bool) -> Update | None:
        assert self._feed
        update = self._feed.poll(force=force)
        if update is not None:
            # Of a large picture this takes a while: it is done here, off the event loop.
            self._surveyed = survey(update.picture, self.view.metric, self.view.ramp)
        return update

    def _hear(self, news: News[Update]) -> None:
        self._gone = ""
        self.shown(news.noted)
        if news.update is not None:
            self._take(news.update)
        elif news.noted:
            self.refresh_marks()
        else:
            self._say()

    def _lost(self, trouble: Trouble) -> None:
        self._gone = trouble.message
        if isinstance(trouble.error, GoneError):
            self._gone += " What was read before is still shown." if self.picture else ""
        self.refresh_all()

    def _take(self, update: Update) -> None:
        self.picture, self._probes, self._known = update.picture, update.probes, self._surveyed
        self._show_scene()
        self.refresh_all()

    # What is shown, and how

    def restore(self, view: HeatView) -> None:
        """Look at the heatmap as somebody did before."""
        if view.metric not in METRICS:
            view = view.with_(metric="error")
        if self._feed is not None and view.probe is not None and view.probe != self.view.probe:
            self._feed.follow(view.probe)
        self.view, self._known = view, None
        self._show_scene()
        if view.layer is not None or view.column is not None:
            self._place_cursor(view)

    def _place_cursor(self, view: HeatView) -> None:
        heatmap = self.query_one(Heatmap)
        if heatmap.scene is None:
            return
        row, column = heatmap.scene.row_of(view.layer), heatmap.scene.column_of(view.column)
        here = heatmap.cursor
        heatmap.move_to(here[0] if row is None else row, here[1] if column is None else column)

    def change(self, **changes: object) -> None:
        """Look at the heatmap otherwise; see HeatView."""
        before, self.view = self.view, self.view.with_(**changes)
        if (before.metric, before.ramp) != (self.view.metric, self.view.ramp):
            self._known = None
        self._show_scene()
        if "layer" in changes:
            self._place_cursor(self.view)
        self.refresh_all()

    def _show_scene(self) -> Scene | None:
        picture = self.picture
        if picture is None:
            return None
        known = self._known
        view = (self.view.metric, ramp_named(self.view.ramp))
        if known is None or known.picture is not picture or (known.scale.metric, known.scale.ramp) != view:
            known = self._known = survey(picture, self.view.metric, self.view.ramp)
        heatmap = self.query_one(Heatmap)
        fresh = heatmap.scene is None
        made = scene(known, self.view, self._over())
        heatmap.show(made)
        if fresh:
            self._place_cursor(self.view)
        return made

    def _over(self) -> dict[Spot, Place]:
        """What is going on besides what the store knows."""
        return {} if self.view.metric in ("l2", "linf") else self.going_on()

    @property
    def row(self) -> Row | None:
        """The row under the cursor."""
        return self.query_one(Heatmap).row

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
        """One line: bad news first, then what is being done, then what could be."""
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
            parts.append(self._hint)
        picture = self.picture
        if picture is not None and picture.problems:
            count = len(picture.problems)
            parts.append(f"{count} damaged (×): {inert(str(picture.problems[0]))}")
        if picture is not None and self._probes and picture.probe.id != self._probes[-1]:
            parts.append(f"a newer probe is there: {inert(self._probes[-1])} (p shows it)")
        self.say("  ·  ".join(parts), alarm=measuring.alarm or bool(picture and picture.problems and not summary))

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

    # What is measured

    def _tell(self, hint: str) -> None:
        self._hint = hint
        self._say()

    def follow_probe(self, probe: str) -> None:
        if self._feed is not None:
            self._feed.follow(probe)
            self.read(force=True)

    @property
    def marked(self) -> frozenset[str]:
        return self.view.marked

    def mark(self, names: frozenset[str]) -> None:
        self.change(marked=names)

    def places_under_cursor(self) -> list[tuple[int | None, int]]:
        row, column = self.row, self.query_one(Heatmap).cursor[1]
        return [(layer, column) for layer in row.places] if row else []

    def spot(self) -> tuple[int | None, int]:
        """(layer, column) that is told of: under the cursor, and of a folded row the layer whose number it shows."""
        places, picture = self.places_under_cursor(), self.picture
        shown = self.query_one(Heatmap).scene
        if picture is None or shown is None or len(places) == 1:
            return places[0]

        def heat(place: tuple[int | None, int]) -> float:
            value = picture.value(self.view.metric, *place)
            if value is None:
                return -1.0
            return shown.scale.fraction(value) if math.isfinite(value) else 2.0

        return max(places, key=heat)

    # Looking

    def action_metric(self, step: int) -> None:
        names = list(METRICS)
        self.change(metric=names[(names.index(self.view.metric) + step) % len(names)])

    def action_compare(self) -> None:
        """This run beside others."""
        if self.picture is not None:
            self.lyrx.compare_with(self.run_name, self.picture.probe.id)

    def action_digits(self) -> None:
        self.change(digits=not self.view.digits)

    def action_overview(self) -> None:
        self.change(overview=not self.view.overview)

    def action_sort(self) -> None:
        self.change(order="criticality" if self.view.order == "depth" else "depth")
        self._tell("sorted by criticality" if self.view.order == "criticality" else "in the network's order")

    def action_ramp(self) -> None:
        ramp = ramp_after(self.view.ramp)
        self.change(ramp=ramp.name)
        self._tell(f"colours: {ramp.title}")

    def action_fold(self) -> None:
        picture, row = self.picture, self.row
        if picture is None or row is None:
            return
        view = toggled(picture, self.view, row)
        if view == self.view:
            self._tell("this row belongs to no stage or block that could be folded")
        else:
            self.change(folded=view.folded, layer=view.layer)

    def action_fold_all(self) -> None:
        if self.picture is None:
            return
        folded = folded_next(self.picture.layer_names, self.view.folded)
        if folded == self.view.folded:
            self._tell("this network has no stages or blocks to fold")
        else:
            self.change(folded=folded)

    def on_heatmap_folding(self) -> None:
        self.action_fold()


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
