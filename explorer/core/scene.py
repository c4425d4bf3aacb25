"""What a heatmap draws: rows, columns and the look of every place, from a picture and a view. No drawing.

A scene is all that the heatmap's widget knows.  The heatmap of a run, the difference of two runs and whatever else has
layers down and columns across are scenes, made by different functions.
"""

from dataclasses import dataclass, field

from rich.cells import cell_len

from ...store import Column, inert
from .marks import Place, State
from .picture import Metric
from .ramp import Scale

NETWORK = "whole network"
NETWORK_KEY = ""
"""The key of the whole network's row: no layer is called so."""


@dataclass(frozen=True)
class Row:
    """One line of names and places."""

    key: str
    """Tells rows apart, also in the next scene of the same run: a layer's name, or a folded group's."""
    name: str
    """What is written at its left."""
    layers: tuple[int, ...] = ()
    """Indices into the probe's layers: one, those of a folded group, or none for the whole network."""
    depth: int = 0
    """How far its name is indented."""
    folded: bool | None = None
    """True: several layers as one row; None: a plain row."""
    joint: bool = False
    """Several layers reset together."""
    marked: bool = False
    short: str = ""
    """Its name where there is no room for `name`, if it has such a one."""

    @property
    def network(self) -> bool:
        """Whether it is the whole network's row."""
        return self.key == NETWORK_KEY

    def name_in(self, room: int) -> str:
        """What is written at its left where there are so many columns for it."""
        return self.short if self.short and cell_len(inert(self.name)) > room else self.name

    @property
    def places(self) -> tuple[int | None, ...]:
        """The layers as cells name them: None is the whole network."""
        return self.layers or (None,)


@dataclass(frozen=True)
class Look:
    """How one place looks."""

    place: Place
    level: int | None = None
    """0..LEVELS-1 on the scale; None where there is no finite number."""


@dataclass(frozen=True)
class Scene:
    """All that is drawn of a heatmap."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    """From the top; the whole network's, if there is one, is the last."""
    looks: tuple[tuple[Look, ...], ...]
    """By row and column."""
    scale: Scale
    metric: Metric
    digits: bool = True
    overview: bool = False
    key: str = ""
    """Scenes of different keys have nothing to do with each other: the cursor starts anew."""

    states: frozenset[State] = field(default_factory=frozenset)
    """Which states there are among all places."""

    @property
    def body(self) -> int:
        """How many rows scroll: all but the whole network's."""
        return len(self.rows) - (1 if self.rows and self.rows[-1].network else 0)

    def row_of(self, key: str | None) -> int | None:
        """The row of this key, or None."""
        return next((index for index, row in enumerate(self.rows) if row.key == key), None)

    def column_of(self, label: str | None) -> int | None:
        """The column of this label, or None."""
        return next((index for index, column in enumerate(self.columns) if column.label == label), None)
