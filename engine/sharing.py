"""Who computes what of a look: one process all of it, several by taking units from a common queue.

A *unit* is a batch of examples and some cells.  Units are cut by cost and taken one after the other, the dearest first,
so that a slow process takes fewer and none waits long for another.  Which process computes a unit changes no number:
batches are cut alike whatever the number of processes, and counts are added up.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

UNITS_EACH = 8
"""Units that each process has on average: with more the last ones end closer together, with fewer less is recorded."""


@dataclass(frozen=True)
class Unit:
    """The examples `start` to `stop`, for the cells at these places of the look's list."""

    start: int
    stop: int
    cells: tuple[int, ...]
    cost: float = 0.0


class Sharing(Protocol):
    """How a look is divided."""

    @property
    def rank(self) -> int: ...

    @property
    def size(self) -> int: ...

    def units(self, spans: Sequence[tuple[int, int]], costs: Sequence[float]) -> Iterator[Unit]:
        """The units that this process carries out. `costs`, seconds an example, of the cells in order of depth."""
        ...

    def total(self, counts: np.ndarray) -> np.ndarray:
        """The sum of float64[cell, quantity] over all processes, in each of them."""
        ...

    def collected(self, parts: dict[int, Any]) -> dict[int, Any]:
        """The parts of all processes, in each of them."""
        ...


class Alone:
    """One process."""

    rank, size = 0, 1

    def units(self, spans: Sequence[tuple[int, int]], costs: Sequence[float]) -> Iterator[Unit]:
        for start, stop in spans:
            yield Unit(start, stop, tuple(range(len(costs))))

    def total(self, counts: np.ndarray) -> np.ndarray:
        return counts

    def collected(self, parts: dict[int, Any]) -> dict[int, Any]:
        return parts


class Shared:
    """The processes of a team, with a queue that the first one keeps."""

    def __init__(self, team: Any):
        from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]

        self._team = team
        self.rank, self.size = team.rank, team.size
        host = team.host
        port = 0
        if team.first:
            self._queue = TCPStore(host, 0, self.size, is_master=True, wait_for_workers=False)
            port = self._queue.port
        port = team.tell(port)
        if not team.first:
            self._queue = TCPStore(host, port, self.size, is_master=False)
        self._look = 0

    def units(self, spans: Sequence[tuple[int, int]], costs: Sequence[float]) -> Iterator[Unit]:
        # Times differ between processes; the first one's decide, so that all know the same units.
        costs = self._team.tell(list(costs))
        units = cut(spans, costs, self.size)
        self._look += 1
        while (place := self._queue.add(f"look {self._look}", 1) - 1) < len(units):
            yield units[place]

    def total(self, counts: np.ndarray) -> np.ndarray:
        return self._team.total(counts)

    def collected(self, parts: dict[int, Any]) -> dict[int, Any]:
        return {key: value for part in self._team.collect(parts) for key, value in part.items()}


def cut(spans: Sequence[tuple[int, int]], costs: Sequence[float], processes: int) -> list[Unit]:
    """Spans of examples, cut into units for `processes`, the dearest first.

    A unit's cells lie next to each other in depth: its recording ends where its last cell begins.  Towards the end of
    the queue units become smaller.
    """
    examples = sum(stop - start for start, stop in spans)
    total = sum(costs)
    if processes == 1 or not examples or not total:
        return [Unit(start, stop, tuple(range(len(costs))), total * (stop - start)) for start, stop in spans]
    units: list[Unit] = []
    left = total * examples
    for start, stop in spans:
        # A share of what is left (guided self-scheduling: Polychronopoulos and Kuck, IEEE Trans. Comput. 36, 1987).
        wanted = max(left / (2 * processes), total * examples / (processes * UNITS_EACH * 4))
        parts = max(1, min(len(costs), round(total * (stop - start) / wanted)))
        units += [Unit(start, stop, cells, cost) for cells, cost in _parts(costs, parts, stop - start)]
        left -= total * (stop - start)
    return sorted(units, key=lambda unit: -unit.cost)


def _parts(costs: Sequence[float], parts: int, examples: int) -> list[tuple[tuple[int, ...], float]]:
    """Neighbouring cells in `parts` groups of about the same cost."""
    edges = np.cumsum(costs)
    found: list[tuple[tuple[int, ...], float]] = []
    first = 0
    for part in range(1, parts + 1):
        last = int(np.searchsorted(edges, edges[-1] * part / parts * (1 - 1e-12))) + 1 if part < parts else len(costs)
        if last > first:
            found.append((tuple(range(first, last)), float(sum(costs[first:last])) * examples))
            first = last
    return found
