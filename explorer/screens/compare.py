"""Runs beside each other: one cursor in all of them, the difference of two, and their training curves."""

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.widgets import Static

from ...store import inert
from ..comparing import Side, SidesFeed
from ..core.alignment import LETTERS, Alignment, align
from ..core.arrangement import Arrangement, arrange
from ..core.compare import difference_scene, scenes
from ..core.compare_numbers import difference_csv, summary
from ..core.compare_text import (
    LEVELS,
    Pair,
    about_text,
    all_pairs,
    minus,
    place_text,
    scale_text,
    side_text,
    summary_text,
    title_text,
    warnings,
)  # fmt: skip
from ..core.curves import curves_plot, trained_text
from ..core.picture import METRICS, Picture
from ..core.ramp import ramp_after
from ..core.scene import NETWORK_KEY, Scene
from ..core.view import HeatView
from ..tail import News, Tail, Trouble
from ..widgets.chart import Chart
from ..widgets.heatmap import colour_system
from ..widgets.keybar import KeyBar
from ..widgets.scenemap import SceneMap
from .compare_pane import MOST, STYLE, Pane, Panes, TakeDifference


class CompareScreen(TakeDifference):
    """Two or more runs of the store."""

    DEFAULT_CSS = STYLE

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("D", "difference", "difference", id="compare.difference"),
        Binding("K", "curves", "curves", id="compare.curves"),
        Binding("tab", "next(1)", "next run", id="compare.next", key_display="tab"),
        Binding("shift+tab", "next(-1)", "run before", id="compare.before", show=False),
        Binding("m", "metric(1)", "metric", id="compare.metric"),
        Binding("M", "metric(-1)", "metric before", id="compare.metric-back", show=False),
        Binding("i", "panel", "numbers of the whole", id="compare.panel"),
        Binding("d", "digits", "digits", id="compare.digits"),
        Binding("s", "sort", "sort", id="compare.sort"),
        Binding("r", "turn", "turn the difference round", id="compare.turn", show=False),
        Binding("a", "columns", "all columns", id="compare.columns", show=False),
        Binding("o", "overview", "overview", id="compare.overview", show=False),
        Binding("C", "colours", "colour scale", id="compare.colours", show=False),
        Binding("R", "read", "read again", id="compare.read", show=False),
        Binding("escape,q", "leave", "back", id="compare.back"),
    ]

    def __init__(self, runs: Sequence[str], probe: str | None = None, view: HeatView | None = None):
        """Compare `runs`; the first one's `probe`, looked at as in `view`."""
        super().__init__()
        self.runs = tuple(runs)[:MOST]
        self.view = view or HeatView()
        self.sides: tuple[Side, ...] = tuple(Side(name) for name in self.runs)
        self.chosen = 0
        """The run that has the focus."""
        self.pair: Pair = (0, 1)
        """B - A of these is the difference shown."""
        self.mode = "sides"
        """'sides', 'difference' or 'curves'."""
        self.every_column = False
        self._probe = probe
        self._tail: Tail[tuple[Side, ...]] | None = None
        self._gone = ""
        self._hint = ""
        self._heard = False

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
        feed = SidesFeed(self.lyrx.store_path, self.runs, self._probe)
        self._tail = Tail(self, feed.poll, self._take, self._lost, pace=self.pace, active=lambda: self.is_current)
        self.put("#title", title_text(self.runs, self.size.width - 2))
        self.say("reading …")
        self._arrange()
        self.read()

    def on_screen_resume(self) -> None:
        super().on_screen_resume()
        self.read()

    # Following the store

    def read(self, *, force: bool = False) -> None:
        """Look for what is new, off the event loop."""
        if self._tail is not None:
            self._tail.kick(force=force)

    def _take(self, news: News[tuple[Side, ...]]) -> None:
        if news.update is not None:
            self.sides = news.update
        if news.update is not None or news.recovered:
            self._gone, self._heard = "", True
            self.refresh_all()
            # A heatmap that was hidden while its run was read has lost the focus.
            if self.focused is None:
                self.call_after_refresh(self._focus)

    def _lost(self, trouble: Trouble) -> None:
        self._gone = trouble.message
        self._say()

    # What is known

    @property
    def pictures(self) -> list[Picture | None]:
        """Of each run; None where there is nothing to show."""
        return [side.picture for side in self.sides]

    @property
    def shown(self) -> list[Picture]:
        """Those there are."""
        return [picture for picture in self.pictures if picture is not None]

    @property
    def two(self) -> tuple[Picture, Picture] | None:
        """The runs whose difference is shown, if both can be."""
        a, b = (self.sides[number].picture for number in self.pair)
        return (a, b) if a is not None and b is not None else None

    def alignment(self) -> Alignment:
        """Of the runs that can be shown, or of the two whose difference is."""
        pictures = self.two if self.mode == "difference" and self.two else self.shown
        return align(pictures, every_column=self.every_column)

    def exportable(self) -> tuple[Picture, Picture, str] | None:
        """(A, B, metric) of the difference, if there is one."""
        return (*self.two, self.view.metric) if self.two else None

    def difference_csv(self) -> str:
        """The difference of the two chosen runs, one line for each place; empty without two."""
        return difference_csv(*self.two, self.view.metric) if self.two else ""

    # Drawing

    def panes(self) -> list[Pane]:
        """Of all runs."""
        return [self.query_one(f"#pane-{number}", Pane) for number in range(len(self.runs))]

    @property
    def leader(self) -> SceneMap:
        """The heatmap whose cursor counts."""
        pane = "#pane-difference" if self.mode == "difference" else f"#pane-{self.chosen}"
        return self.query_one(pane, Pane).map

    def refresh_all(self) -> None:
        """Show everything anew."""
        if not self.is_mounted or not self.query("#panes"):
            return
        self.put("#title", title_text(self.runs, self.size.width - 2))
        found = self._draw()
        self._arrange(found)
        self._curves()
        self._legend(found)
        self._heads()
        self._texts()
        self._say()

    def _draw(self) -> list[Scene]:
        """Give every heatmap its scene; those of the runs."""
        shown = self.shown
        if self.mode == "difference":
            pane = self.query_one("#pane-difference", Pane)
            problem = self._difference_problem()
            self._words(pane, problem)
            if not problem and self.two:
                scene = difference_scene(*self.two, self.view, self.alignment())
                pane.map.show(scene)
                return [scene]
            return []
        found = list(scenes(shown, self.view, self.alignment())) if shown and not self._nothing() else []
        drawn = iter(found)
        for pane, side in zip(self.panes(), self.sides, strict=True):
            words = side.problem if side.picture is None else self._nothing()
            self._words(pane, words or ("" if self._heard else "reading …"))
            if side.picture is not None and found:
                pane.map.show(next(drawn))
        return found

    def _nothing(self) -> str:
        """Why the runs cannot be shown in one frame: one alone always can."""
        return self.alignment().problem() if len(self.shown) > 1 else ""

    def _difference_problem(self) -> str:
        if not self.two:
            missing = [number for number in self.pair if self.sides[number].picture is None]
            said = "; ".join(f"{LETTERS[n]}: {self.sides[n].problem or 'reading …'}" for n in missing)
            return f"there is no difference to show: {said}"
        return self.alignment().problem()

    def _words(self, pane: Pane, words: str) -> None:
        pane.set_class(bool(words), "-words")
        pane.query_one(".pane-words", Static).update(Text(words))

    def _arrange(self, found: Sequence[Scene] = ()) -> None:
        """Show as many heatmaps as there is room for, the chosen one among them."""
        panes, grid = self.panes(), self.query_one("#panes")
        difference = self.mode == "difference"
        self.query_one("#pane-difference", Pane).display = difference
        size = grid.size if grid.size.width else self.size
        now = Arrangement(1, 1) if difference else self._fitting(found, size.width, size.height)
        window = range(0) if difference else now.window(len(panes), self.chosen)
        for pane in panes:
            pane.display = pane.number in window
        grid.styles.grid_size_columns = min(now.across, max(1, len(window)))
        grid.styles.grid_size_rows = now.down

    def _fitting(self, found: Sequence[Scene], width: int, height: int) -> Arrangement:
        if found:
            # Runs without a heatmap have a place as well.
            return arrange([found[0]] * len(self.runs), width, height)
        return Arrangement(len(self.runs) if width >= 30 * len(self.runs) else 1, 1)

    def _curves(self) -> None:
        for what in ("error", "loss"):
            chart = self.query_one(f"#curve-{what}", Chart)
            runs = [side.trained for side in self.sides]
            chart.show(curves_plot(runs, what, chart.size.width or 40))

    def _legend(self, found: Sequence[Scene]) -> None:
        width = self.size.width - 2
        if self.mode == "curves":
            self.put("#legend", Text("training curves, each with its run's letter", "bold"))
        elif found:
            pair = self.pair if self.mode == "difference" else None
            by = {"depth": "depth"}.get(self.view.order, "difference" if pair else "criticality")
            self.put(
                "#legend",
                scale_text(found[0], about_text(self.view.metric, pair, width), by, width, colour_system(self.app)),
            )
        else:
            self.put("#legend", Text(""))

    def _heads(self) -> None:
        for pane, side in zip(self.panes(), self.sides, strict=True):
            chosen = pane.number == self.chosen and self.mode == "sides"
            width = pane.size.width or self.size.width - 2
            head = side_text(LETTERS[pane.number or 0], side.name, side.picture, width, chosen=chosen)
            self.put(f"#{pane.id} .pane-head", head)
        a, b = self.pair
        names = f"{LETTERS[b]} {inert(self.runs[b])} − {LETTERS[a]} {inert(self.runs[a])}"
        self.put("#pane-difference .pane-head", Text.assemble(("▸ ", "accent bold"), (names, "bold"), no_wrap=True))

    def _texts(self) -> None:
        wide = self.has_class("-wide")
        self._place(66 if wide else max(30, self.size.width - 2))
        whole, about = Text(), Text()
        if self.two and not self.alignment().problem():
            width = max(30, (self.size.width - 72) // 2 - 3 if wide else self.size.width - 2)
            lines = max(6, self.size.height // 4)
            whole = summary_text(summary(*self.two, self.view.metric), self.pair, width, lines=lines)
            about = Text(LEVELS)
        elif self._heard:
            whole = Text(self._difference_problem(), "muted")
        self.put("#compare-whole", whole)
        self.put("#compare-about", about)

    def _place(self, width: int) -> None:
        """The numbers at the cursor, or those of the training."""
        if self.mode == "curves":
            self.put("#compare-place", trained_text([side.trained for side in self.sides], width))
            return
        leader = self.leader
        key, label = leader.row_key, leader.column_label
        alignment = align(self.shown, every_column=True) if self.shown else None
        column = alignment.column(label) if alignment else None
        if alignment is None or column is None or key is None or self._nothing():
            self.put("#compare-place", Text(""))
            return
        pairs = [self.pair] if self.mode == "difference" else all_pairs(len(self.runs))[: len(self.runs) - 1]
        name = None if key == NETWORK_KEY else key
        self.put(
            "#compare-place",
            place_text(self.pictures, alignment, name, column, self.view.metric, pairs, width),
        )

    def _say(self) -> None:
        """Bad news first, then what was asked, then what stands between like and like."""
        problems = [f"{LETTERS[n]}: {side.problem}" for n, side in enumerate(self.sides) if side.problem]
        alignment = self.alignment()
        known = warnings(self.shown, alignment) if len(self.shown) > 1 else []
        if alignment.left_out and alignment.columns:
            known[-1] += " (a shows them)"
        parts = [*([self._gone] if self._gone else []), *problems, *([self._hint] if self._hint else []), *known]
        self.say("  ·  ".join(parts), alarm=bool(self._gone or problems))

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

    def _follow(self) -> None:
        """Every heatmap's cursor goes where the leader's is."""
        leader = self.leader
        for pane in self.panes():
            if pane.map is not leader and pane.map.scene is not None:
                with pane.map.prevent(SceneMap.Moved):
                    pane.map.move_to(*leader.cursor)

    def on_descendant_focus(self) -> None:
        pane = next((p for p in self.panes() if p.map is self.focused), None)
        if pane is not None and pane.number is not None and pane.number != self.chosen:
            self.chosen = pane.number
            self._heads()
            self._texts()

    def on_scene_map_scrolled(self, event: SceneMap.Scrolled) -> None:
        """All heatmaps are scrolled together with the leader, or with the one that the wheel turns over."""
        source = event.source
        if source is not self.leader and not source.mouse_hover:
            return
        for pane in self.panes():
            other = pane.map
            if other is not source and pane.display and other.scroll_offset != source.scroll_offset:
                other.scroll_to(source.scroll_x, source.scroll_y, animate=False)

    # Looking

    def action_next(self, step: int) -> None:
        """The next run, or in the difference the next two."""
        if self.mode == "difference":
            pairs = all_pairs(len(self.runs))
            here = pairs.index((min(self.pair), max(self.pair)))
            self.pair = pairs[(here + step) % len(pairs)]
            if len(pairs) == 1:
                self._hint = "there are only two runs (r turns the difference round)"
        elif self.mode == "sides":
            self._follow()
            self.chosen = (self.chosen + step) % len(self.runs)
        self.refresh_all()
        self._focus()

    def _focus(self) -> None:
        if self.mode != "curves":
            self.leader.focus()

    def _switch(self, mode: str) -> None:
        key, label = self.leader.row_key, self.leader.column_label
        self.mode = "sides" if self.mode == mode else mode
        self.set_class(self.mode == "curves", "-curves")
        self._hint = ""
        self.refresh_all()
        if self.mode != "curves":
            self.leader.go_to(key, label)
            self._follow()
            self._focus()
        self.call_after_refresh(self.refresh_all)

    def action_difference(self) -> None:
        self._switch("difference")

    def action_curves(self) -> None:
        self._switch("curves")

    def action_panel(self) -> None:
        """Where only one of them fits: the cell, or the two runs as a whole."""
        self.toggle_class("-whole")
        if self.has_class("-wide"):
            self._hint = f"the numbers of {minus(self.pair)} as a whole are shown already"
        self.call_after_refresh(self.refresh_all)

    def action_metric(self, step: int) -> None:
        names = list(METRICS)
        at = names.index(self.view.metric) if self.view.metric in names else 0
        self._look(metric=names[(at + step) % len(names)])

    def action_digits(self) -> None:
        self._look(digits=not self.view.digits)

    def action_sort(self) -> None:
        self._look(order="criticality" if self.view.order == "depth" else "depth")

    def action_overview(self) -> None:
        self._look(overview=not self.view.overview)

    def action_colours(self) -> None:
        self._look(ramp=ramp_after(self.view.ramp).name)

    def _look(self, **changes: object) -> None:
        self._hint = ""
        self.view = self.view.with_(**changes)
        self.refresh_all()

    def action_turn(self) -> None:
        self.pair = (self.pair[1], self.pair[0])
        self._hint = f"the difference is {minus(self.pair)}"
        self.refresh_all()

    def action_columns(self) -> None:
        self.every_column = not self.every_column
        self._hint = "all columns of any run" if self.every_column else "the columns that all runs have"
        self.refresh_all()

    def action_read(self) -> None:
        self.read(force=True)

    def action_leave(self) -> None:
        """To the screen below."""
        self.app.pop_screen()
