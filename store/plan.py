"""What a probe asks: layers, cells, and the numbers a cell gets. Its columns are described in :mod:`.columns`."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from .columns import REINITIALISE, Column

QUANTITIES = ("error", "low", "high", "loss", "agreement", "n", "total")


@dataclass(frozen=True)
class Layer:
    """A row of the heatmap: tensors that are reset together."""

    name: str
    tensors: tuple[str, ...]
    """Names of parameters and buffers, as in the run's `weights` group."""
    parameters: int
    """How many weights: elements of its parameters."""
    joint: tuple[str, ...] = ()
    """Names of the rows that are reset together in this one; empty for a plain row."""

    def to_json(self) -> dict[str, Any]:
        value = {**asdict(self), "tensors": list(self.tensors), "joint": list(self.joint)}
        if not self.joint:
            del value["joint"]
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Layer":
        return cls(value["name"], tuple(value["tensors"]), value["parameters"], tuple(value.get("joint", ())))


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
    unavailable: Mapping[tuple[int | None, int], str] = field(default_factory=dict)
    """By (layer, column), layer None for the whole network: places that have no cell and never will, since an imported
    checkpoint lacks what is put back there, each with the reason."""
    companion: str = ""
    """Id of the probe that this one stands beside: it holds a few rows more, with the same columns and the same trained
    network, and nothing of what is measured there. Empty for a probe that stands for itself."""

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
            if (layer, index) not in self.unavailable
            for draw in range(column.draws)
        ]

    def network_cells(self) -> list[Cell]:
        """The extra row: the whole network at each checkpoint. The final one is the baseline, the trained network.

        A companion has the baseline only: the others are those of the probe beside it.
        """
        found = [
            Cell(None, index)
            for index, column in enumerate(self.columns)
            if column.kind == REINITIALISE and (None, index) not in self.unavailable
        ]
        return found[-1:] if self.companion else found

    def all_cells(self) -> list[Cell]:
        """The whole plan: the whole network's row, whose last cell is the baseline, then the heatmap."""
        return [*self.network_cells(), *self.cells()]

    def to_json(self) -> dict[str, Any]:
        value = {
            "granularity": self.granularity,
            "layers": [layer.to_json() for layer in self.layers],
            "columns": [column.to_json() for column in self.columns],
            "checkpoints": list(self.checkpoints),
            "fingerprint": self.fingerprint,
            "settings": dict(self.settings),
            "skipped": list(self.skipped),
            "created": self.created,
            "unavailable": [
                {"layer": layer, "column": column, "reason": reason}
                for (layer, column), reason in self.unavailable.items()
            ],
        }
        return value | ({"companion": self.companion} if self.companion else {})

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
            unavailable={(one["layer"], one["column"]): one["reason"] for one in value.get("unavailable", ())},
            companion=value.get("companion", ""),
        )
