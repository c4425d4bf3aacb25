"""Probes: cells measured on a data set, committed one by one, and again as they sharpen.

A probe is named by what determines its numbers: its granularity and the first digits of its fingerprint.  Other
settings, other data or another definition of a number make another probe beside it.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .baseline import Baseline, BaselineArrays, create_baseline
from .commits import folder_stamp
from .errors import DamagedError
from .fallbacks import Fallback, Fallbacks
from .layout import ATTRIBUTE
from .notes import Notes
from .plan import QUANTITIES, Cell, Estimate, ProbeInfo
from .rows import Row, Rows, create_coordinate, create_rows
from .stopping import unfinished

if TYPE_CHECKING:
    import numpy as np

NORMS = ("l2", "linf")


@dataclass
class Results:
    """Everything committed of a probe at one moment."""

    estimates: dict[Cell, Estimate]
    distances: dict[int, tuple[tuple[float, ...], tuple[float, ...]]]
    """By checkpoint's epoch: (l2, linf), one number a layer."""
    damaged: list[DamagedError]
    damaged_cells: set[Cell]
    records: dict[Cell, Mapping[str, Any]] = field(default_factory=dict)
    """What else was committed with each estimate: seconds, evaluator, worse, better, ..."""


@dataclass(frozen=True)
class Progress:
    """How far a probe has come."""

    total: int
    """Cells of its plan, the whole network's row included."""
    committed: int
    exact: int
    """Cells that saw all examples."""
    widest: float | None
    """Half the widest interval among the others, 0..1."""
    open: int = 0
    """Cells that need more examples for what the probe's settings ask, those not committed included."""

    @property
    def complete(self) -> bool:
        """Whether all is measured that the probe asks for."""
        return self.total > 0 and not self.open

    @classmethod
    def of(cls, info: ProbeInfo, estimates: Mapping[Cell, Estimate]) -> "Progress":
        """The progress of a probe with these estimates."""
        planned = info.all_cells()
        known = [estimates[cell] for cell in planned if cell in estimates]
        halves = [(estimate.high - estimate.low) / 2 for estimate in known if not estimate.exact]
        return cls(
            len(planned),
            len(known),
            len(known) - len(halves),
            max(halves, default=None),
            len(unfinished(info, estimates)),
        )


class Probe:
    """One probe of a run: its description, and its committed cells."""

    def __init__(self, path: Path, info: ProbeInfo):
        self.path = path
        self.info = info
        layers, columns = len(info.layers), len(info.columns)
        self._estimate = Rows(path / "estimate", (layers, columns, info.draws), (len(QUANTITIES),))
        self._network = Rows(path / "network", (columns,), (len(QUANTITIES),))
        self._distance = Rows(path / "distance", (len(info.checkpoints),), (layers, len(NORMS)))
        self._baseline = BaselineArrays(path)
        self._fallbacks = Fallbacks(path / "estimate" / "fallbacks", info.fingerprint)
        self._notes = Notes(path / "estimate" / "notes", info.fingerprint)
        self._known: dict[Cell, tuple[Row, Estimate]] = {}
        """What was made of rows that may not have changed since."""

    def write(self, cell: Cell, estimate: Estimate, *, durable: bool = True, **extra: Any) -> None:
        """Commit a cell's estimate, in place of the one before. See :meth:`write_many`."""
        self.write_many([(cell, estimate, extra)], durable=durable)

    def write_many(self, cells: Iterable[tuple[Cell, Estimate, Mapping[str, Any]]], *, durable: bool = True) -> None:
        """Commit many cells: (cell, estimate, what else goes into its commit record, such as seconds or seed).

        What is replaced stays readable throughout, and is kept when the writer is killed.  `durable` False is for looks
        that are replaced soon: after a power cut they may be missing, never wrong.  Several processes may write
        different cells at the same time.  Raises RowError when the plan has no such cell, before anything is written.
        """
        network, estimate = [], []
        for cell, numbers, extra in cells:
            rows, index = self._place(cell)
            (network if rows is self._network else estimate).append((index, numbers.to_values(), extra))
        for rows, written in ((self._network, network), (self._estimate, estimate)):
            if written:
                rows.write_many(written, self.info.fingerprint, durable=durable)

    def read(self, cell: Cell) -> Estimate | None:
        """A cell's estimate, or None while it is not committed. Raises DamagedError."""
        rows, index = self._place(cell)
        row = rows.read(index)
        return Estimate.from_values(row.values) if row and self._ours(row) else None

    def write_distances(self, checkpoint: int, l2: "tuple[float, ...]", linf: "tuple[float, ...]") -> None:
        """Commit each layer's distance from initialisation after epoch `checkpoint`."""
        values = [number for pair in zip(l2, linf, strict=True) for number in pair]
        self._distance.write((self.info.checkpoints.index(checkpoint),), values, self.info.fingerprint)

    def write_baseline(
        self, order: "np.ndarray", prediction: "np.ndarray", wrong: int, loss_sum: float, **extra: Any
    ) -> None:
        """Commit the trained network's predictions, and the order in which cells see the examples.

        order: int64[example], prediction: int64[example] or [example, position], see :class:`Baseline`; `wrong`
        predictions are wrong, the examples' cross entropies sum up to `loss_sum` nats.  Raises RowError when they do
        not fit each other or the probe.
        """
        self._baseline.write(order, prediction, wrong, loss_sum, self.info.fingerprint, **extra)

    def read_baseline(self) -> Baseline | None:
        """What :meth:`write_baseline` committed, or None. Raises DamagedError."""
        return self._baseline.read(self.info.fingerprint)

    def write_fallback(self, layer: str, kind: str, reason: str) -> None:
        """Keep why the cells of a layer (by its name) in columns of a kind are not replayed."""
        self._fallbacks.write(Fallback(layer, kind, reason))

    def withdraw_fallback(self, layer: str, kind: str) -> None:
        """Take back what :meth:`write_fallback` keeps: the cells are replayed now."""
        self._fallbacks.withdraw(layer, kind)

    def fallbacks(self) -> list[Fallback]:
        """What is not replayed and why, layer by layer."""
        places = {layer.name: place for place, layer in enumerate(self.info.layers)}
        found, _ = self._fallbacks.read()
        return sorted(found, key=lambda fallback: (places.get(fallback.layer, len(places)), fallback.kind))

    def write_note(self, subject: str, text: str) -> None:
        """Keep what is to be known of all the probe's numbers; it stays as long as they do. See :mod:`.notes`."""
        if self._notes.read()[0].get(subject) != text:
            self._notes.write(subject, text)

    def notes(self) -> dict[str, str]:
        """What :meth:`write_note` keeps, by subject."""
        return self._notes.read()[0]

    def results(self, on_read: Callable[[int, int], None] = lambda read, of: None) -> Results:
        """All that is committed and whole, and what is damaged; `on_read` is told how far it is with the cells."""
        cells, damaged_cells = self._estimate.read_all(on_read)
        network, damaged_network = self._network.read_all()
        distances, damaged_distances = self._distance.read_all()
        placed = [(Cell(*index), row) for index, row in cells.items()]
        placed += [(Cell(None, *index), row) for index, row in network.items()]
        ours = [(cell, row) for cell, row in placed if self._ours(row)]
        return Results(
            {cell: self._estimate_of(cell, row) for cell, row in ours},
            {
                self.info.checkpoints[index]: (row.values[0::2], row.values[1::2])
                for (index,), row in distances.items()
                if self._ours(row)
            },
            [*damaged_cells.values(), *damaged_network.values(), *damaged_distances.values()],
            {Cell(*index) for index in damaged_cells} | {Cell(None, *index) for index in damaged_network},
            {cell: row.record for cell, row in ours},
        )

    def _estimate_of(self, cell: Cell, row: Row) -> Estimate:
        known = self._known.get(cell)
        if known is None or known[0] is not row:
            known = self._known[cell] = row, Estimate.from_values(row.values)
        return known[1]

    def missing(self) -> list[Cell]:
        """Cells without any committed number, the whole network's row first. A damaged cell counts as missing.

        A cell that saw only some of the examples is an estimate, and not missing.
        """
        known = self.results().estimates
        return [cell for cell in self.info.all_cells() if cell not in known]

    def progress(self) -> Progress:
        """How many cells are committed, and how exact they are."""
        return Progress.of(self.info, self.results().estimates)

    def unfinished(self, *, exact: bool = False) -> list[Cell]:
        """The cells that its settings, or `exact`, want to see more examples; those not measured at all first."""
        return unfinished(self.info, self.results().estimates, exact=exact)

    def rows(self) -> tuple[Rows, ...]:
        """All arrays whose rows are committed."""
        return (self._estimate, self._network, self._distance)

    def verify(self) -> list[DamagedError]:
        """What is damaged besides the rows: the baseline, the fallbacks, the notes."""
        damaged = [*self._fallbacks.read()[1], *self._notes.read()[1]]
        try:
            self.read_baseline()
        except DamagedError as error:
            damaged.append(error)
        return damaged

    def stamp(self) -> tuple[Any, ...]:
        """Changes whenever something is committed to this probe."""
        folders = (self._fallbacks.path, self._notes.path)
        return (*(rows.commits.stamp() for rows in self.rows()), *map(folder_stamp, folders))

    def chunk(self, cell: Cell) -> Path:
        """The file that holds a cell's numbers for Zarr."""
        rows, index = self._place(cell)
        return rows.chunk(index)

    def record(self, cell: Cell) -> Path:
        """The file of a cell's commit record, which holds its numbers for lyrx."""
        rows, index = self._place(cell)
        return rows.commits.path(index)

    def withdraw(self, cell: Cell) -> None:
        """Take a cell back: it counts as missing from now on."""
        rows, index = self._place(cell)
        rows.commits.withdraw(index)

    def _place(self, cell: Cell) -> tuple[Rows, tuple[int, ...]]:
        if cell.layer is None:
            return self._network, (cell.column,)
        return self._estimate, (cell.layer, cell.column, cell.draw)

    def _ours(self, row: Row) -> bool:
        return row.record["fingerprint"] == self.info.fingerprint


def create_probe_arrays(group: Any, info: ProbeInfo, predictions: tuple[int, ...] = ()) -> None:
    """Create a probe's arrays under its Zarr group: axes named, lengths fixed for good.

    `predictions`: (test examples,), or (test examples, positions) where each has several; empty if that is not known
    yet (the baseline's arrays come later then).
    """
    group.attrs.put({ATTRIBUTE: info.to_json()})
    layers = {"layer": len(info.layers)}
    columns = {"column": len(info.columns)}
    quantity = {"quantity": len(QUANTITIES)}
    create_coordinate(group, "layer", [layer.name for layer in info.layers])
    create_coordinate(group, "column", [column.label for column in info.columns])
    create_coordinate(group, "draw", list(range(info.draws)))
    create_coordinate(group, "quantity", list(QUANTITIES))
    create_coordinate(group, "checkpoint", list(info.checkpoints))
    create_coordinate(group, "norm", list(NORMS))
    create_rows(group, "estimate", {**layers, **columns, "draw": info.draws}, quantity)
    create_rows(group, "network", columns, quantity)
    create_rows(group, "distance", {"checkpoint": len(info.checkpoints)}, {**layers, "norm": len(NORMS)})
    if predictions:
        create_baseline(group, predictions)
