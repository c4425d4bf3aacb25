"""Which places of a heatmap are meant: all, or those that are on the screen."""

from collections.abc import Iterable
from dataclasses import dataclass

from .marks import State, place
from .picture import Picture


@dataclass(frozen=True)
class Part:
    """Some rows and columns of a picture, in the order in which they are shown."""

    layers: tuple[int | None, ...]
    """Indices into the probe's layers; None is the whole network."""
    columns: tuple[int, ...]
    """Indices into the probe's columns."""

    def places(self) -> Iterable[tuple[int | None, int]]:
        """Row by row."""
        return ((layer, column) for layer in self.layers for column in self.columns)


def whole(picture: Picture) -> Part:
    """Every layer in order of depth, the whole network, every column."""
    return Part((*range(len(picture.probe.layers)), None), tuple(range(len(picture.columns))))


STATES = {
    State.NONE: "none",
    State.UNAVAILABLE: "not available",
    State.MISSING: "not measured",
    State.ESTIMATE: "estimate",
    State.DONE: "exact",
    State.DAMAGED: "damaged",
}
"""The word that stands for a place's state in files: a number that is missing is never told by a blank alone."""


def state_of(picture: Picture, metric: str, layer: int | None, column: int) -> str:
    """The word for what the store knows of a place."""
    return STATES[place(picture, metric, layer, column).state]
