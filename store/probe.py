"""Probes: cells measured on a data set, committed one by one.

A probe is named by what determines its numbers: its granularity and the first digits of its fingerprint.  Other
settings, other data or another definition of a number make another probe beside it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .errors import DamagedError
from .layout import ATTRIBUTE
from .rows import Row, Rows, create_coordinate, create_rows

RERANDOMISE = "rerandomise"
REINITIALISE = "reinitialise"

QUANTITIES = ("error", "low", "high", "loss", "agreement", "n", "total")
NORMS = ("l2", "linf")


@dataclass(frozen=True)
class Column:
    """One column of a heatmap: an intervention."""

    kind: str
    """'rerandomise' or 'reinitialise'."""
    checkpoint: int | None = None
    """The epoch that a layer is put back to (reinitialise)."""
    draws: int = 1
    """Cells per layer: one for each draw of random weights (rerandomise)."""

    @property
    def label(self) -> str:
        """Short name for column heads and coordinates: 'random', or the checkpoint's epoch."""
        return "random" if self.kind == RERANDOMISE else str(self.checkpoint)

    def to_json(self) -> dict[str, Any]:
        if self.kind == RERANDOMISE:
            return {"kind": self.kind, "draws": self.draws}
        return {"kind": self.kind, "checkpoint": self.checkpoint}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Column":
        return cls(value["kind"], value.get("checkpoint"), value.get("draws", 1))


@dataclass(frozen=True)
class Layer:
    """A row of the heatmap: tensors that are reset together."""

    name: str
    tensors: tuple[str, ...]
    """Names of parameters and buffers, as in the run's `weights` group."""
    parameters: int
    """How many weights: elements of its parameters."""

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "tensors": list(self.tensors)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Layer":
        return cls(value["name"], tuple(value["tensors"]), value["parameters"])


@dataclass(frozen=True)
class Cell:
    """One (layer, intervention, draw) of a probe. `layer` None is the whole network, reset at once."""

    layer: int | None
    column: int
    draw: int = 0


@dataclass(frozen=True)
class Estimate:
    """A cell's numbers. Fractions are 0..1."""

    error: float
    low: float
    """Lower end of the 95 % interval of the error on this data set, given the `n` examples seen."""
    high: float
    loss: float
    """Mean cross entropy, nats."""
    agreement: float
    """Fraction of examples on which the prediction is the trained network's."""
    n: int
    total: int
    """Examples in the data set. When all were seen the interval is the point."""

    @property
    def exact(self) -> bool:
        return self.n == self.total

    @classmethod
    def from_values(cls, values: tuple[float, ...]) -> "Estimate":
        error, low, high, loss, agreement, n, total = values
        return cls(error, low, high, loss, agreement, int(n), int(total))

    def to_values(self) -> tuple[float, ...]:
        return (self.error, self.low, self.high, self.loss, self.agreement, float(self.n), float(self.total))


@dataclass(frozen=True)
class ProbeInfo:
    """What a probe is: fixed when it is made."""

    granularity: str
    layers: tuple[Layer, ...]
    columns: tuple[Column, ...]
    checkpoints: tuple[int, ...]
    fingerprint: str
    """Of everything its numbers depend on: spec, data, code version."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The spec's probe section."""
    skipped: tuple[str, ...] = ()
    """Modules and tensors that belong to no layer, each with the reason."""
    created: float = 0.0

    @property
    def id(self) -> str:
        return f"{self.granularity}-{self.fingerprint[:8]}"

    @property
    def draws(self) -> int:
        return max((column.draws for column in self.columns), default=1)

    def cells(self) -> list[Cell]:
        """Every cell of the heatmap, without the whole network's row: layer by layer, column by column."""
        return [
            Cell(layer, index, draw)
            for layer in range(len(self.layers))
            for index, column in enumerate(self.columns)
            for draw in range(column.draws)
        ]

    def network_cells(self) -> list[Cell]:
        """The extra row: the whole network at each checkpoint. The final one is the baseline, the trained network."""
        return [Cell(None, index) for index, column in enumerate(self.columns) if column.kind == REINITIALISE]

    def all_cells(self) -> list[Cell]:
        """The whole plan: the whole network's row, whose last cell is the baseline, then the heatmap."""
        return [*self.network_cells(), *self.cells()]

    def to_json(self) -> dict[str, Any]:
        return {
            "granularity": self.granularity,
            "layers": [layer.to_json() for layer in self.layers],
            "columns": [column.to_json() for column in self.columns],
            "checkpoints": list(self.checkpoints),
            "fingerprint": self.fingerprint,
            "settings": dict(self.settings),
            "skipped": list(self.skipped),
            "created": self.created,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "ProbeInfo":
        return cls(
            granularity=value["granularity"],
            layers=tuple(map(Layer.from_json, value["layers"])),
            columns=tuple(map(Column.from_json, value["columns"])),
            checkpoints=tuple(value["checkpoints"]),
            fingerprint=value["fingerprint"],
            settings=value.get("settings", {}),
            skipped=tuple(value.get("skipped", ())),
            created=value.get("created", 0.0),
        )


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
