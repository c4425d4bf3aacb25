"""What can be measured from a heatmap: the actions of its screen that ask the worker for something."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.binding import Binding, BindingType

from ...store import REINITIALISE, Cell, ProbeInfo, inert
from ..core.companions import joint_info
from ..core.doing import ProbeKey
from ..core.marks import Place
from ..core.queue import column_name, row_name
from ..widgets.queue import QueuePanel
from .heatmap_state import HeatmapState

_ROOM, _LONG = 120, 1.0
"""Columns from which on the queue shows itself while something is measured, and seconds after which it does: what takes
a moment only moves nothing."""


@dataclass(frozen=True)
class Wanted:
    """Cells of one probe that could be measured, and how far they are."""

    key: ProbeKey
    info: ProbeInfo
    missing: list[Cell]
    estimates: list[Cell]
    exact: list[Cell]


class MeasureActions(HeatmapState):
    """A heatmap's screen, as far as measuring is concerned: a QueuePanel stands below its Heatmap."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "measure_row", "row", id="heatmap.row"),
        Binding("c", "measure_column", "column", id="heatmap.column"),
        Binding("a", "measure_all", "all missing", id="heatmap.all"),
        Binding("e", "measure_exact", "exact", id="heatmap.exact"),
        Binding("space", "mark", "mark a layer", id="heatmap.mark", show=False),
        Binding("J", "joint", "reset marked layers jointly", id="heatmap.joint", show=False),
        Binding("x", "cancel", "cancel", id="heatmap.cancel"),
        Binding("X", "cancel_all", "cancel all", id="heatmap.cancel-all", show=False),
        Binding("Q", "queue", "queue", id="heatmap.queue"),
        Binding("p", "choose_probe", "probe, granularity", id="heatmap.probe", show=False),
        Binding("R", "read", "read again", id="heatmap.read", show=False),
    ]

    _queue_wanted: bool | None = None
    """Whether the queue was asked for, or sent away; None: it shows itself where there is room."""

    def __init__(self, run: str) -> None:
        super().__init__(run)
        self._awaited: dict[str, None] = {}  # companions that were planned here, and may not be in the picture yet

    def on_mount(self) -> None:
        self.set_interval(_LONG, self.show_queue)

    @property
    def key(self) -> ProbeKey | None:
        """Of the probe shown."""
        return (self.picture.run.name, self.picture.probe.id) if self.picture else None

    # Places and what is going on there

    def key_of(self, layer: int | None) -> tuple[ProbeKey, int | None]:
        """The probe that a row of the picture belongs to, and which row it is there."""
        assert self.picture
        probe, row = self.picture.home(layer)
        return (self.picture.run.name, probe), row

    @property
    def probe_keys(self) -> list[ProbeKey]:
        """Of every probe whose cells are shown."""
        picture = self.picture
        if picture is None:
            return []
        ids = dict.fromkeys([picture.probe.id, *(probe for probe, _ in picture.homes), *self._awaited])
        return [(picture.run.name, probe) for probe in ids]

    def going_on(self) -> dict[tuple[int | None, int], Place]:
        """What is going on besides what the store knows, by places of the picture."""
        picture, marks = self.picture, self.lyrx.measuring.marks
        if picture is None:
            return {}
        found = {}
        for key in self.probe_keys:
            for (layer, column), place in marks.places(key).items():
                row = picture.row_at(key[1], layer)
                if row is not None or layer is None:
                    found[row, column] = place
        return found

    def why_failed(self, place: tuple[int | None, int]) -> str:
        """Why a place of the picture failed, or nothing."""
        key, row = self.key_of(place[0])
        return self.lyrx.measuring.marks.message(key, row, place[1])

    def landed(self) -> dict[ProbeKey, list[Cell]]:
        """Cells that a picture taken from now on shows; :meth:`shown` is told of them when it does."""
        marks = self.lyrx.measuring.marks
        return {key: cells for key in self.probe_keys if (cells := marks.landed(key))}

    def shown(self, landed: dict[ProbeKey, list[Cell]]) -> None:
        """A picture with these cells is on the screen."""
        for key, cells in landed.items():
            self.lyrx.measuring.marks.shown(key, cells)

    # Asking

    def _measurable(self) -> bool:
        picture = self.picture
        return picture is not None and picture.run.checkpoints[-1] in picture.committed

    def _can_measure(self) -> bool:
        if self._gone or self.picture is None:
            return False
        if not self._measurable():
            self._tell("this run is not trained yet: measuring needs its final checkpoint")
            return False
        return True

    def _wanted(self, places: Iterable[tuple[int | None, int]]) -> list[Wanted]:
        """What there is to be measured at these places, probe by probe."""
        picture = self.picture
        assert picture
        found: dict[ProbeKey, Wanted] = {}
        for layer, column in places:
            if (layer is None and picture.columns[column].kind != REINITIALISE) or picture.unavailable(layer, column):
                continue
            key, row = self.key_of(layer)
            wanted = found.setdefault(key, Wanted(key, self._info(key, layer), [], [], []))
            cell = picture.cell(layer, column)
            draws = 1 if layer is None else picture.columns[column].draws
            cells = [Cell(row, column, draw) for draw in range(draws)]
            if cell is None or not cell.complete:
                wanted.missing.extend(cells)
            elif not cell.exact:
                wanted.estimates.extend(cells)
            else:
                wanted.exact.extend(cells)
        return list(found.values())

    def _info(self, key: ProbeKey, layer: int | None) -> ProbeInfo:
        """The description of a probe, for names: the picture's own, or that of a companion."""
        assert self.picture
        info = self.picture.probe
        return info if layer is None or key[1] == info.id else joint_info(info, info.layers[layer].joint)

    def _ask(
        self, wanted: Sequence[Wanted], *, again: bool, exact: bool, cells: Callable[[Wanted], list[Cell]]
    ) -> bool:
        asked = [
            self.lyrx.measuring.ask(one.key, cells(one), again=again, exact=exact, info=one.info)
            for one in wanted
            if cells(one)
        ]
        if asked:
            self._hint = ""
            if not any(asked):
                self._tell("that is being measured already; x cancels it")
        return bool(asked)

    def _measure(self, places: Iterable[tuple[int | None, int]], *, anew: bool) -> bool:
        """What is missing there; if nothing is, on to all examples; with `anew`, what is exact once more."""
        wanted = self._wanted(places)
        return (
            self._ask(wanted, again=False, exact=False, cells=lambda one: one.missing)
            or self._ask(wanted, again=False, exact=True, cells=lambda one: one.estimates)
            or (anew and self._ask(wanted, again=True, exact=True, cells=lambda one: one.exact))
        )

    def on_heatmap_chosen(self) -> None:
        """Measure what is missing of the cell under the cursor; if nothing is, on to all examples; if exact, again."""
        if self._can_measure() and self._there_is_a_cell():
            self._measure(self.places_under_cursor(), anew=True)

    def _there_is_a_cell(self) -> bool:
        places, picture = self.places_under_cursor(), self.picture
        assert picture
        if len(places) != 1:
            return bool(places)
        layer, column = places[0]
        if layer is None and picture.columns[column].kind != REINITIALISE:
            self._tell("the whole network is re-initialised only")
            return False
        if reason := picture.unavailable(layer, column):
            self._tell(f"not available: {inert(reason)}")
            return False
        return True

    def action_measure_exact(self) -> None:
        """Take the cell under the cursor to the end of the data."""
        if not self._can_measure() or not self._there_is_a_cell():
            return
        wanted = self._wanted(self.places_under_cursor())
        if not self._ask(wanted, again=False, exact=True, cells=lambda one: [*one.missing, *one.estimates]):
            self._tell("this cell is exact; enter measures it again")

    def action_measure_row(self) -> None:
        """Measure what is missing in the row under the cursor; if nothing is, take its estimates on."""
        if not self._can_measure():
            return
        assert self.picture
        columns = range(len(self.picture.columns))
        if not self._measure([(row, to) for row, _ in self.places_under_cursor() for to in columns], anew=False):
            self._tell("all of this row is measured, and exact")

    def action_measure_column(self) -> None:
        """Measure what is missing in the column under the cursor; if nothing is, take its estimates on."""
        if not self._can_measure():
            return
        column = self.leader.cursor[1]
        if not self._measure([(row, column) for row in self._rows()], anew=False):
            assert self.picture
            self._tell(f"all layers {column_name(self.picture.probe, column)} are measured, and exact")

    def action_measure_all(self) -> None:
        """Measure whatever is not committed, or damaged; where nothing is, take every estimate on to all examples."""
        if not self._can_measure():
            return
        assert self.picture
        columns = range(len(self.picture.columns))
        # The whole network first: its last cell is the baseline, without which nothing is decided.
        if not self._measure([(row, column) for row in self._rows() for column in columns], anew=False):
            self._tell("every cell is measured, and exact; enter measures one again")

    def _rows(self) -> list[int | None]:
        assert self.picture
        return [None, *range(len(self.picture.probe.layers))]

    # Several layers at once

    def action_mark(self) -> None:
        """Mark the layer under the cursor for a joint reset, or take its mark away."""
        picture = self.picture
        if picture is None:
            return
        layers = [picture.probe.layers[row] for row, _ in self.places_under_cursor() if row is not None]
        if not layers:
            self._tell("the whole network is reset in its own row; mark layers")
            return
        if any(layer.joint for layer in layers):
            self._tell("this row is several layers already; mark those it is made of")
            return
        here = {layer.name for layer in layers}
        self.mark(self.marked - here if here <= self.marked else self.marked | here)
        names = [layer.name for layer in picture.probe.layers if layer.name in self.marked]
        marked = f"marked: {inert(', '.join(names))}" if names else "no layer is marked"
        self._tell(marked + ("; J resets them jointly at the cursor's column" if len(names) > 1 else ""))

    def action_joint(self) -> None:
        """Reset all marked layers at once, as the column under the cursor says."""
        if not self._can_measure():
            return
        picture, key = self.picture, self.key
        assert picture
        assert key
        names = [layer.name for layer in picture.probe.layers if layer.name in self.marked and not layer.joint]
        if len(names) < 2:
            self._tell("space marks layers; a joint reset needs two or more of them")
            return
        column = self.leader.cursor[1]
        joint = tuple(names)
        known = next((row for row, layer in enumerate(picture.probe.layers) if layer.joint == joint), None)
        if known is not None:
            self._measure([(known, column)], anew=True)
            return
        info, draws, measuring = joint_info(picture.probe, names), picture.columns[column].draws, self.lyrx.measuring

        def measure(probe: str) -> None:
            self._awaited[probe] = None
            measuring.ask((key[0], probe), [Cell(0, column, draw) for draw in range(draws)], info=info)
            self.read(force=True)

        self._hint = ""
        words = f"{row_name(info, 0)} {column_name(info, column)}"
        measuring.plan(key, words, measure, joint=[names])

    # Stopping

    def action_cancel(self) -> None:
        """Stop what is measured under the cursor, or else the newest request."""
        measuring = self.lyrx.measuring
        places = [(*self.key_of(layer), column) for layer, column in self.places_under_cursor()]
        if not measuring.cancel_at(places):
            self._tell("nothing is being measured")

    def action_cancel_all(self) -> None:
        """Stop everything that was asked for."""
        if not self.lyrx.measuring.cancel():
            self._tell("nothing is being measured")

    # The queue

    def action_queue(self) -> None:
        """Show the queue, or send it away."""
        panel = self.query_one(QueuePanel)
        self._queue_wanted = not panel.display
        self.show_queue()
        (panel if self._queue_wanted else self.leader).focus()

    def show_queue(self) -> None:
        """Show the queue as it is now, where it is wanted."""
        panel, measuring = self.query_one(QueuePanel), self.lyrx.measuring
        requests, plans = measuring.open()
        since = min((request.asked for request in requests), default=measuring.clock())
        roomy = self.size.width >= _ROOM and measuring.clock() - since >= _LONG
        panel.display = roomy if self._queue_wanted is None else self._queue_wanted
        if panel.display:
            panel.show(requests, plans, measuring.device, measuring.clock)
        elif panel.has_focus:
            self.leader.focus()

    def on_queue_panel_cancelled(self, message: QueuePanel.Cancelled) -> None:
        self.lyrx.measuring.cancel(message.id)

    def on_queue_panel_left(self) -> None:
        self._queue_wanted = False
        self.show_queue()
        self.leader.focus()

    # Other probes

    async def action_choose_probe(self) -> None:
        """Choose among the run's probes, or have one of another granularity made."""
        from .probes import ProbeChooser

        picture, key = self.picture, self.key
        if picture is None or key is None or self._gone:
            return
        measuring = self.lyrx.measuring

        def chosen(choice: tuple[str, str] | None) -> None:
            if choice is None:
                return
            kind, name = choice
            if kind == "probe":
                self.follow_probe(name)
            elif self._can_measure():
                measuring.plan(key, f"rows by {name}", self.follow_probe, granularity=name)

        await self.app.push_screen(ProbeChooser(self.lyrx.store_path, key), chosen)

    def action_read(self) -> None:
        """Read everything again."""
        self.read(force=True)
