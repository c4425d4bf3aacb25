"""What is being done with the cells of a probe right now, besides what the store knows of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from ...store import Cell
from .marks import Place, State

ProbeKey = tuple[str, str]
"""(run's name, probe's id)."""


@dataclass
class Mark:
    """What is going on with one cell."""

    state: State
    progress: float | None = None
    message: str = ""
    committed: bool = False
    """It is in the store, and goes as soon as a picture shows it."""


class Marks:
    """A mark for every cell that is queued, running or failed; by probe, place and draw."""

    def __init__(self) -> None:
        self._marks: dict[ProbeKey, dict[tuple[int | None, int], dict[int, Mark]]] = {}

    def at(self, key: ProbeKey, layer: int | None, column: int) -> Place | None:
        """What is going on at a place, all draws together, or None."""
        found = list(self._marks.get(key, {}).get((layer, column), {}).values())
        for state in (State.RUNNING, State.QUEUED, State.FAILED):
            of_state = [mark for mark in found if mark.state is state]
            if of_state:
                return Place(state, progress=of_state[0].progress)
        return None

    def places(self, key: ProbeKey) -> dict[tuple[int | None, int], Place]:
        """What is going on at every place of a probe."""
        return {at: place for at in self._marks.get(key, {}) if (place := self.at(key, *at)) is not None}

    def message(self, key: ProbeKey, layer: int | None, column: int) -> str:
        """Why a place failed, or nothing."""
        marks = self._marks.get(key, {}).get((layer, column), {})
        return next((mark.message for mark in marks.values() if mark.state is State.FAILED), "")

    def get(self, key: ProbeKey, cell: Cell) -> Mark | None:
        """The mark of a cell, or None."""
        return self._marks.get(key, {}).get((cell.layer, cell.column), {}).get(cell.draw)

    def put(self, key: ProbeKey, cell: Cell, mark: Mark | None) -> None:
        """Mark a cell; None takes its mark away."""
        places = self._marks.setdefault(key, {})
        draws = places.setdefault((cell.layer, cell.column), {})
        if mark is None:
            draws.pop(cell.draw, None)
        else:
            draws[cell.draw] = mark
        if not draws:
            places.pop((cell.layer, cell.column), None)

    def running(self, key: ProbeKey, cell: Cell) -> bool:
        """Whether it is at work."""
        mark = self.get(key, cell)
        return mark is not None and mark.state is State.RUNNING

    def busy(self, key: ProbeKey, cell: Cell) -> bool:
        """Whether it is queued or at work."""
        mark = self.get(key, cell)
        return mark is not None and mark.state is not State.FAILED and not mark.committed

    def landed(self, key: ProbeKey) -> list[Cell]:
        """Cells that are committed and still marked: a picture taken from now on shows them."""
        return [
            Cell(layer, column, draw)
            for (layer, column), marks in self._marks.get(key, {}).items()
            for draw, mark in marks.items()
            if mark.committed
        ]

    def shown(self, key: ProbeKey, cells: Sequence[Cell]) -> None:
        """A picture with these cells is on the screen: their marks can go."""
        for cell in cells:
            mark = self.get(key, cell)
            if mark is not None and mark.committed:
                self.put(key, cell, None)
