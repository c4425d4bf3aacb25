"""Who computes what of a look: one process all of it, several by taking units from a common queue.

A *unit* is a batch of examples and some cells.  Units are cut by cost and taken one after the other, the dearest first,
so that a slow process takes fewer and none waits long for another.  What a unit has come to is delivered to all
processes as soon as it is there.  Which process computes a unit changes no number: batches are cut alike whatever the
number of processes, and counts are added in the order of the examples.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from .errors import RunFailedError

if TYPE_CHECKING:
    from .team import Colleagues

T = TypeVar("T")

SHARE_LEFT, SMALLEST_SHARE = 3, 64
"""A unit is at most one such part of what a process still has to do on average, and at least one such part of all that
it has to do: with smaller ones the last end closer together, with larger ones less is recorded twice.  Both were chosen
by tests/benchmarks/sharing.py, where one process of eight may be half as fast."""

LISTEN_EVERY = 0.5
"""Seconds between two looks at what the others have delivered, while there is work to do."""


@dataclass(frozen=True)
class Unit:
    """The examples `start` to `stop`, for the cells at these places of the look's list."""

    start: int
    stop: int
    cells: tuple[int, ...]
    cost: float = 0.0


@dataclass(frozen=True, eq=False)
class Part:
    """What a unit has come to."""

    unit: Unit
    rows: np.ndarray
    """float64[row, quantity]: what is counted, a row for each cell (or what else the unit is about)."""
    news: Mapping[str, Any]
    """What else the other processes should know, as JSON has it."""


Compute = Callable[[Unit], tuple[np.ndarray, Mapping[str, Any]]]
"""Carries a unit out; gives the `rows` and `news` of its part."""


class Sharing(Protocol):
    """How work is divided."""

    @property
    def rank(self) -> int: ...

    @property
    def size(self) -> int: ...

    def parts(self, spans: Sequence[tuple[int, int]], costs: Sequence[float], compute: Compute) -> Iterator[Part]:
        """The parts of all units of `spans`, this process's and the others', as they come.

        `costs`: seconds an example, of the cells in order of depth.  All processes call it with the same spans and
        cells; the first one's costs count.  This process carries out what it gets by `compute`.
        """
        ...

    def tell(self, value: T) -> T:
        """The first process's `value`, in every process."""
        ...

    def collect(self, value: T) -> list[T]:
        """Every process's `value`, in each of them, by rank."""
        ...


class Alone:
    """One process."""

    rank, size = 0, 1

    def parts(self, spans: Sequence[tuple[int, int]], costs: Sequence[float], compute: Compute) -> Iterator[Part]:
        for start, stop in spans:
            unit = Unit(start, stop, tuple(range(len(costs))))
            yield Part(unit, *compute(unit))

    def tell(self, value: T) -> T:
        return value

    def collect(self, value: T) -> list[T]:
        return [value]


class Shared:
    """The processes of a team, with queues on its board.

    Nobody waits for a process that computes nothing: it finds all parts on the board, however late it comes.
    """

    def __init__(self, team: "Colleagues"):
        self._team, self._board = team, team.board
        self.rank, self.size = team.rank, team.size
        self._looks = 0

    def tell(self, value: T) -> T:
        return self._team.tell(value)

    def collect(self, value: T) -> list[T]:
        return self._team.collect(value)

    def parts(self, spans: Sequence[tuple[int, int]], costs: Sequence[float], compute: Compute) -> Iterator[Part]:
        spans = list(spans)
        # Times differ between processes; the first one's decide, so that all know the same units.
        first_spans, costs, cells = self.tell((spans, list(costs), len(costs)))
        if (first_spans, cells) != (spans, len(costs)):
            raise RunFailedError(
                "the processes have come to different conclusions about what to measure next. Are they on different "
                "machines, or do they use different versions of a package? What was finished is kept."
            )
        self._looks += 1
        units, queue = cut(spans, costs, self.size), f"look {self._looks}"
        known: set[int] = set()
        listened = time.monotonic()
        while (place := self._board.count(f"{queue} taken") - 1) < len(units):
            rows, news = compute(units[place])
            self._board.put(f"{queue} {place}", _packed(rows, news))
            self._board.note(f"{queue} done", str(place))
            if time.monotonic() - listened > LISTEN_EVERY:
                self._board.check()
                yield from self._arrived(queue, units, known)
                listened = time.monotonic()
        yield from self._arrived(queue, units, known)
        while len(known) < len(units):
            self._board.wait(lambda: len(self._board.noted(f"{queue} done")) > len(known))
            yield from self._arrived(queue, units, known)

    def _arrived(self, queue: str, units: Sequence[Unit], known: set[int]) -> Iterator[Part]:
        new = [place for place in map(int, self._board.noted(f"{queue} done")) if place not in known]
        for place, data in zip(new, self._board.get([f"{queue} {place}" for place in new]), strict=True):
            known.add(place)
            yield Part(units[place], *_unpacked(data))


def _packed(rows: np.ndarray, news: Mapping[str, Any]) -> bytes:
    return json.dumps([rows.shape, news]).encode() + b"\n" + np.ascontiguousarray(rows, dtype="<f8").tobytes()


def _unpacked(data: bytes) -> tuple[np.ndarray, Mapping[str, Any]]:
    head, _, body = data.partition(b"\n")
    shape, news = json.loads(head)
    return np.frombuffer(body, dtype="<f8").reshape(shape), news


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
        wanted = max(left / (SHARE_LEFT * processes), total * examples / (SMALLEST_SHARE * processes))
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
