"""Probes: cells measured on a data set, committed one by one.

A probe is named by what determines its numbers: its granularity and the first digits of its fingerprint.  Other
settings, other data or another definition of a number make another probe beside it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import DamagedError
from .layout import ATTRIBUTE
from .plan import QUANTITIES, Cell, Estimate, ProbeInfo
from .rows import Row, Rows, create_coordinate, create_rows

NORMS = ("l2", "linf")


@dataclass
class Results:
    """Everything committed of a probe at one moment."""

    estimates: dict[Cell, Estimate]
    distances: dict[int, tuple[tuple[float, ...], tuple[float, ...]]]
    """By checkpoint's epoch: (l2, linf), one number a layer."""
    damaged: list[DamagedError]
    damaged_cells: set[Cell]


class Probe:
    """One probe of a run: its description, and its committed cells."""

    def __init__(self, path: Path, info: ProbeInfo):
        self.path = path
        self.info = info
        layers, columns = len(info.layers), len(info.columns)
        self._estimate = Rows(path / "estimate", (layers, columns, info.draws), (len(QUANTITIES),))
        self._network = Rows(path / "network", (columns,), (len(QUANTITIES),))
        self._distance = Rows(path / "distance", (len(info.checkpoints),), (layers, len(NORMS)))

    def write(self, cell: Cell, estimate: Estimate, **extra: Any) -> None:
        """Commit a cell's estimate. `extra` (such as seconds, seed) goes into its commit record."""
        rows, index = self._place(cell)
        rows.write(index, estimate.to_values(), self.info.fingerprint, **extra)

    def read(self, cell: Cell) -> Estimate | None:
        """A cell's estimate, or None while it is not committed. Raises DamagedError."""
        rows, index = self._place(cell)
        row = rows.read(index)
        return Estimate.from_values(row.values) if row and self._ours(row) else None

    def write_distances(self, checkpoint: int, l2: "tuple[float, ...]", linf: "tuple[float, ...]") -> None:
        """Commit each layer's distance from initialisation after epoch `checkpoint`."""
        values = [number for pair in zip(l2, linf, strict=True) for number in pair]
        self._distance.write((self.info.checkpoints.index(checkpoint),), values, self.info.fingerprint)

    def results(self) -> Results:
        """All that is committed and whole, and what is damaged."""
        cells, damaged_cells = self._estimate.read_all()
        network, damaged_network = self._network.read_all()
        distances, damaged_distances = self._distance.read_all()
        placed = [(Cell(*index), row) for index, row in cells.items()]
        placed += [(Cell(None, *index), row) for index, row in network.items()]
        return Results(
            {cell: Estimate.from_values(row.values) for cell, row in placed if self._ours(row)},
            {
                self.info.checkpoints[index]: (row.values[0::2], row.values[1::2])
                for (index,), row in distances.items()
                if self._ours(row)
            },
            [*damaged_cells.values(), *damaged_network.values(), *damaged_distances.values()],
            {Cell(*index) for index in damaged_cells} | {Cell(None, *index) for index in damaged_network},
        )

    def missing(self) -> list[Cell]:
        """Cells still to be measured, the whole network's row first. A damaged cell counts as missing."""
        known = self.results().estimates
        return [cell for cell in self.info.all_cells() if cell not in known]

    def rows(self) -> tuple[Rows, ...]:
        """All arrays whose rows are committed."""
        return (self._estimate, self._network, self._distance)

    def stamp(self) -> tuple[Any, ...]:
        """Changes whenever something is committed to this probe."""
        return tuple(rows.commits.stamp() for rows in self.rows())

    def chunk(self, cell: Cell) -> Path:
        """The file that holds a cell's numbers."""
        rows, index = self._place(cell)
        return rows.chunk(index)

    def _place(self, cell: Cell) -> tuple[Rows, tuple[int, ...]]:
        if cell.layer is None:
            return self._network, (cell.column,)
        return self._estimate, (cell.layer, cell.column, cell.draw)

    def _ours(self, row: Row) -> bool:
        return row.record["fingerprint"] == self.info.fingerprint


def create_probe_arrays(group: Any, info: ProbeInfo) -> None:
    """Create a probe's arrays under its Zarr group: axes named, lengths fixed for good."""
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
