"""The heatmap of one run as its screen keeps it: what is known of the run, how it is looked at, where the cursor is."""

from collections.abc import Sequence

from ..core.marks import Place
from ..core.picture import METRICS, Picture
from ..core.ramp import ramp_named
from ..core.rows import plain_rows
from ..core.scene import Row, Scene
from ..core.survey import Spot, Survey, scene, survey
from ..core.view import HeatView
from ..feed import RunFeed, Update
from ..tail import Tail
from .looking import LookActions


class HeatmapState(LookActions):
    """What all parts of the heatmap's screen work on."""

    def __init__(self, run: str):
        super().__init__()
        self.run_name = run
        self.picture: Picture | None = None
        self._known: Survey | None = None
        self._surveyed: Survey | None = None
        self._feed: RunFeed | None = None
        self._probes: tuple[str, ...] = ()
        self._tail: Tail[Update] | None = None
        self._gone = ""
        """Why what is shown is old: the run or its store cannot be read."""

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

    def _take(self, update: Update) -> None:
        self.picture, self._probes, self._known = update.picture, update.probes, self._surveyed
        self._show_scene()
        self.refresh_all()

    def follow_probe(self, probe: str) -> None:
        """Show the probe with this id."""
        if self._feed is not None:
            self._feed.follow(probe)
            self.read(force=True)

    # What is shown, and how

    def restore(self, view: HeatView) -> None:
        """Look at the heatmap as somebody did before."""
        if view.metric not in METRICS:
            view = view.with_(metric="error")
        if self._feed is not None and view.probe is not None and view.probe != self.view.probe:
            self._feed.follow(view.probe)
        self.view, self._known = view, None
        # Before there is a picture the cursor has nowhere to stand; the first one shown puts it where the view says.
        if self._show_scene() is not None and (view.layer is not None or view.column is not None):
            self._place_cursor(view)

    def _place_cursor(self, view: HeatView) -> None:
        heatmap = self.leader
        if heatmap.scene is None:
            return
        row, column = heatmap.scene.row_of(view.layer), heatmap.scene.column_of(view.column)
        here = heatmap.cursor
        heatmap.move_to(here[0] if row is None else row, here[1] if column is None else column)

    def change(self, **changes: object) -> None:
        before, self.view = self.view, self.view.with_(**changes)
        if (before.metric, before.ramp) != (self.view.metric, self.view.ramp):
            self._known = None
        self._show_scene()
        if "layer" in changes:
            self._place_cursor(self.view)
        self.refresh_all()

    def plain_rows(self) -> Sequence[Row]:
        return plain_rows(self.picture) if self.picture else ()

    def _show_scene(self) -> Scene | None:
        picture = self.picture
        if picture is None:
            return None
        known = self._known
        view = (self.view.metric, ramp_named(self.view.ramp))
        if known is None or known.picture is not picture or (known.scale.metric, known.scale.ramp) != view:
            known = self._known = survey(picture, self.view.metric, self.view.ramp)
        heatmap = self.leader
        fresh = heatmap.scene is None
        # Nothing that is measured changes a distance.
        made = scene(known, self.view, {} if self.view.metric in ("l2", "linf") else self.going_on())
        heatmap.show(made)
        if fresh:
            self._place_cursor(self.view)
        return made

    def going_on(self) -> dict[Spot, Place]:
        """What is going on besides what the store knows, by places of the picture."""
        return {}

    # Where the cursor is

    def places_under_cursor(self) -> list[Spot]:
        """(row of the picture or None for the whole network, column): several where a group is folded."""
        row, column = self.row, self.leader.cursor[1]
        return [(layer, column) for layer in row.places] if row else []

    def spot(self) -> Spot:
        """(layer, column) that is told of: under the cursor, and of a folded row the layer whose number it shows."""
        places, picture, shown = self.places_under_cursor(), self.picture, self.leader.scene
        if picture is None or shown is None or len(places) == 1:
            return places[0]
        return max(places, key=lambda place: shown.scale.weight(picture.value(self.view.metric, *place)))

    # Which layers are marked

    @property
    def marked(self) -> frozenset[str]:
        """Names of the layers that a joint reset takes together."""
        return self.view.marked

    def mark(self, names: frozenset[str]) -> None:
        """Have these marked and no others."""
        self.change(marked=names)
