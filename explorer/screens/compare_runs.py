"""Runs that are compared, as their screen keeps them: what is known of each, how they are looked at, and the cursor."""

from collections.abc import Sequence

from ..comparing import Side, SidesFeed
from ..core.alignment import Alignment, align
from ..core.compare import line_rows
from ..core.compare_text import Pair
from ..core.picture import METRICS, Picture
from ..core.scene import Row
from ..core.view import HeatView
from ..tail import News, Tail, Trouble
from ..widgets.scenemap import SceneMap
from .compare_pane import MOST, Pane
from .looking import LookActions


class ComparedRuns(LookActions):
    """What all parts of the screen of a comparison work on."""

    def __init__(self, runs: Sequence[str], probe: str | None = None, view: HeatView | None = None):
        """Compare `runs`; the first one's `probe`, looked at as in `view`."""
        super().__init__()
        self.runs = tuple(runs)[:MOST]
        self.view = view or HeatView()
        self.sides: tuple[Side, ...] = tuple(Side(name) for name in self.runs)
        self.chosen = 0
        """The run that a person looks at: where there is room for one heatmap, it is this one's."""
        self.pair: Pair = (0, 1)
        """B - A of these is the difference shown."""
        self.mode = "sides"
        """'sides', 'difference' or 'curves'."""
        self.every_column = False
        self._probe = probe
        self._feed: SidesFeed | None = None
        self._tail: Tail[tuple[Side, ...]] | None = None
        self._gone = ""
        self._heard = False
        self._begun = False
        """Whether the cursor was put where the view wants it."""

    def on_mount(self) -> None:
        feed = self._feed = SidesFeed(self.lyrx.store_path, self.runs, self._probe)
        self._tail = Tail(self, feed.poll, self._take, self._lost, pace=self.pace, active=lambda: self.is_current)
        self.read()

    def on_screen_resume(self) -> None:
        super().on_screen_resume()
        self.read()

    # Following the store

    def read(self, *, force: bool = False) -> None:
        """Look for what is new, off the event loop."""
        if self._tail is not None:
            self._tail.kick(force=force)

    def follow_probe(self, number: int, probe: str) -> None:
        """Show another probe of the run of this number, from now on."""
        if self._feed is not None:
            self._feed.follow(number, probe)
            self.read()

    def _take(self, news: News[tuple[Side, ...]]) -> None:
        if news.update is not None:
            self.sides = news.update
        if news.update is not None or news.recovered:
            self._gone, self._heard = "", True
            self.refresh_all()
            # A heatmap that was hidden while its run was read has lost the focus.
            if self.focused is not self.leader:
                self.call_after_refresh(self._focus)

    def _lost(self, trouble: Trouble) -> None:
        self._gone = trouble.message
        self.report(trouble)
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
        if self.mode == "difference" and self.two:
            return self.alignment_of_two()
        return align(self.shown, every_column=self.every_column)

    def alignment_of_two(self) -> Alignment:
        """Of the two whose difference is shown."""
        return align(self.two or (), every_column=self.every_column)

    def plain_rows(self) -> Sequence[Row]:
        return line_rows(self.alignment()) if self.shown else ()

    @property
    def sorted_by(self) -> str:
        return "difference" if self.mode == "difference" else "criticality"

    # Looking

    def change(self, **changes: object) -> None:
        self._hint = ""
        super().change(**changes)
        if "layer" in changes:
            self.leader.go_to(self.view.layer, None)
            self._follow()

    def restore(self, view: HeatView) -> None:
        """Look at the runs in this way."""
        self.view = view if view.metric in METRICS else view.with_(metric="error")
        self.refresh_all()

    # The cursor

    def panes(self) -> list[Pane]:
        """Of all runs."""
        return [self.query_one(f"#pane-{number}", Pane) for number in range(len(self.runs))]

    @property
    def leading(self) -> int:
        """The run whose cursor counts: the chosen one, or the first that there is something of."""
        there = [number for number, picture in enumerate(self.pictures) if picture is not None]
        return self.chosen if self.chosen in there or not there else there[0]

    @property
    def leader(self) -> SceneMap:
        pane = "#pane-difference" if self.mode == "difference" else f"#pane-{self.leading}"
        return self.query_one(pane, Pane).map

    def _focus(self) -> None:
        if self.mode != "curves":
            self.leader.focus()

    def _follow(self) -> None:
        """Every heatmap's cursor goes where the leader's is."""
        leader = self.leader
        for pane in self.panes():
            if pane.map is not leader and pane.map.scene is not None:
                with pane.map.prevent(SceneMap.Moved):
                    pane.map.move_to(*leader.cursor)

    def _begin(self) -> None:
        """Put the cursor where the view wants it, when there is something to stand on for the first time."""
        if not self._begun and self.leader.scene is not None:
            self._begun = True
            self.leader.go_to(self.view.layer, self.view.column)
            self._follow()
