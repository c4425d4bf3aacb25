"""What stands under the cursor of a heatmap: a row of a picture, and a column."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .marks import Place, State
from .picture import Picture
from .scene import Row
from .survey import Spot


@dataclass(frozen=True)
class Subject:
    """What the panel and the figures beside a heatmap tell about."""

    picture: Picture
    layers: tuple[int, ...] | None
    """Indices into the picture's layers: one, several of one folded row, or None for the whole network."""
    column: int
    over: Place | None = None
    """What is going on there besides what the store knows."""
    message: str = ""
    """Why it failed."""
    name: str = ""
    """Of the row, where it is several layers."""

    @property
    def layer(self) -> int | tuple[int, ...] | None:
        """One layer as its index."""
        return self.layers[0] if self.layers is not None and len(self.layers) == 1 else self.layers


def subject(
    picture: Picture,
    row: Row,
    column: int,
    over: Mapping[Spot, Place],
    message: Callable[[Spot], str] = lambda spot: "",
) -> Subject:
    """The place of `row` and `column`.

    Of what is going on in several layers, a failure is told first, then what runs, then what waits.
    """
    spots = [(layer, column) for layer in row.places]
    order = [State.FAILED, State.RUNNING, State.QUEUED]
    busy = sorted((spot for spot in spots if spot in over), key=lambda spot: order.index(over[spot].state))
    return Subject(
        picture,
        row.layers or None,
        column,
        over[busy[0]] if busy else None,
        message(busy[0]) if busy else "",
        row.name if len(row.layers) > 1 else "",
    )
