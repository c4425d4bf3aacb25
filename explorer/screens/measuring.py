"""What is being measured right now: requests to the worker, and a mark for every cell they are about."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...store import Cell, inert
from ..widgets.marks import Place, State
from ..worker_client import Death, WorkerClient

if TYPE_CHECKING:
    from ...engine import protocol

PATIENCE = 3
"""Deaths in a row, without a committed cell between them, after which a worker is started only when asked for."""

_WARM = "warm"
"""Id of the request without cells that warms the worker up."""

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


@dataclass
class Request:
    """Cells asked for at once, those not yet measured."""

    id: str
    key: ProbeKey
    cells: list[Cell]
    again: bool
    exact: bool = False
    """On to the end of the data."""
    repeated: bool = False
    """Asked for a second time, since the first worker died: there is no third."""
    wanted: int = 0
    done: int = 0


class Measuring:
    """Asks a worker for cells and keeps track of them.

    `changed(key)` is called when marks of a probe or the note changed, `committed(key)` when there is something new to
    read in the store.
    """

    def __init__(
        self,
        store: Path,
        command: Sequence[str] | None,
        log: Callable[[], Path],
        changed: Callable[[ProbeKey | None], None],
        committed: Callable[[ProbeKey], None],
    ):
        self.store = store
        self.client = WorkerClient(command, log, self._event, self._death)
        self.requests: dict[str, Request] = {}
        """By id, in the order asked."""
        self.note = ""
        """The last thing that went wrong, or was done; empty when all is well."""
        self.alarm = False
        """Whether the note is bad news."""
        self.baseline = ""
        """How far the trained network is, while it is run on all examples before the first cell."""
        self.device = ""
        self._marks: dict[ProbeKey, dict[tuple[int | None, int], dict[int, Mark]]] = {}
        self._changed, self._committed = changed, committed
        self._ids = itertools.count(1)
        self._deaths = 0

    # Asking

    def ask(self, key: ProbeKey, cells: Sequence[Cell], *, again: bool = False, exact: bool = False) -> None:
        """Measure `cells` of a run's probe, those that are not being measured already; `exact`: on all examples."""
        fresh = [cell for cell in cells if not self._busy(key, cell)]
        if fresh:
            self._deaths = 0
            self._tell("")
            self._send(Request(str(next(self._ids)), key, fresh, again, exact))

    def cancel(self) -> bool:
        """Stop all that was asked for. Returns whether there was anything."""
        if self.requests:
            self.client.send({"type": "cancel"})
            self._tell("cancelling …")
            self._changed(None)
        return bool(self.requests)

    def warm_up(self, key: ProbeKey) -> None:
        """Start a worker and have it load this probe's network and data, so that the first cell comes without delay."""
        self.client.send(_message(self.store, Request(_WARM, key, [], again=False)))

    async def close(self) -> None:
        """End the worker."""
        await self.client.close()

    def _send(self, request: Request) -> None:
        request.wanted = request.wanted or len(request.cells)
        self.requests[request.id] = request
        for cell in request.cells:
            self._set(request.key, cell, Mark(State.QUEUED))
        self.client.send(_message(self.store, request))
        self._changed(request.key)

    # What is going on

    def at(self, key: ProbeKey, layer: int | None, column: int) -> Place | None:
        """What is going on at a place, all draws together, or None."""
        marks = self._marks.get(key, {}).get((layer, column))
        if not marks:
            return None
        found = list(marks.values())
        for state in (State.RUNNING, State.QUEUED, State.FAILED):
            of_state = [mark for mark in found if mark.state is state]
            if of_state:
                return Place(state, progress=of_state[0].progress)
        return None

    def message(self, key: ProbeKey, layer: int | None, column: int) -> str:
        """Why a place failed, or nothing."""
        marks = self._marks.get(key, {}).get((layer, column), {})
        return next((mark.message for mark in marks.values() if mark.state is State.FAILED), "")

    def progress(self) -> tuple[int, int]:
        """(cells measured, cells asked for) of the requests that are open."""
        return sum(r.done for r in self.requests.values()), sum(r.wanted for r in self.requests.values())

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
            mark = self._mark(key, cell)
            if mark is not None and mark.committed:
                self._set(key, cell, None)

    def _set(self, key: ProbeKey, cell: Cell, mark: Mark | None) -> None:
        places = self._marks.setdefault(key, {})
        draws = places.setdefault((cell.layer, cell.column), {})
        if mark is None:
            draws.pop(cell.draw, None)
        else:
            draws[cell.draw] = mark
        if not draws:
            places.pop((cell.layer, cell.column), None)

    def _mark(self, key: ProbeKey, cell: Cell) -> Mark | None:
        return self._marks.get(key, {}).get((cell.layer, cell.column), {}).get(cell.draw)

    def _busy(self, key: ProbeKey, cell: Cell) -> bool:
        mark = self._mark(key, cell)
        return mark is not None and mark.state is not State.FAILED and not mark.committed

    def _tell(self, note: str, *, alarm: bool = False) -> None:
        self.note, self.alarm = note, alarm

    # What the worker says

    def _event(self, event: "protocol.Event") -> None:
        if event.type == "device":
            self.device = inert(event.device)
        self.baseline = ""
        if event.type == "baseline":
            self.baseline = f"the trained network first: {event.examples:,} of {event.of:,} examples"
        request = self.requests.get(getattr(event, "id", ""))
        if event.type == "failed" and request is None and event.id != _WARM:
            # (What stands in the way of measuring is said when somebody wants to measure.)
            self._tell(_one_line(event.message), alarm=True)
        if request is None:
            self._changed(None)
            return
        if event.type == "progress":
            self._set(request.key, Cell(*event.cell), Mark(State.RUNNING, event.examples / max(1, event.of)))
        elif event.type == "committed":
            self._deaths = 0
            self._finish_cell(request, Cell(*event.cell), Mark(State.RUNNING, 1.0, committed=True))
            request.done += 1
            self._committed(request.key)
        elif event.type == "failed" and event.cell is not None:
            message = _one_line(event.message)
            self._finish_cell(request, Cell(*event.cell), Mark(State.FAILED, message=message))
            self._tell(message, alarm=True)
        elif event.type == "failed":
            self._failed(request, _one_line(event.message))
        elif event.type == "finished":
            self._drop(request)
            self._committed(request.key)  # what a cancel left behind is in the store too
            if event.cancelled:
                self._tell(f"cancelled; {event.done} of {request.wanted} cells had been measured")
            elif not self.requests and not self.alarm:
                self._tell("")
        self._changed(request.key)

    def _finish_cell(self, request: Request, cell: Cell, mark: Mark) -> None:
        if cell in request.cells:
            request.cells.remove(cell)
        self._set(request.key, cell, mark)

    def _failed(self, request: Request, message: str) -> None:
        """A whole request was refused: its cells stay unmeasured, and the note says why."""
        cells = list(request.cells)
        self._drop(request)
        places = {(cell.layer, cell.column) for cell in cells}
        if len(places) == 1:
            for cell in cells:
                self._set(request.key, cell, Mark(State.FAILED, message=message))
        self._tell(message, alarm=True)

    def _drop(self, request: Request) -> None:
        for cell in request.cells:
            self._set(request.key, cell, None)
        self.requests.pop(request.id, None)

    def _death(self, death: Death) -> None:
        """The cell at work has failed. What waited behind it is asked for again, once."""
        self._deaths += 1
        self.baseline = ""
        open_requests = list(self.requests.values())
        self.requests.clear()
        lost = again = 0
        for number, request in enumerate(open_requests):
            cells = list(request.cells)
            if number == 0 and cells and death.ready:
                # The first request was at work, on the cell last heard of, or on its first.
                running = next((cell for cell in cells if self._running(request.key, cell)), cells[0])
                cells.remove(running)
                self._set(request.key, running, Mark(State.FAILED, message=f"the worker died: {death}"))
            if death.ready and not request.repeated and cells:
                again += len(cells)
                self._send(replace(request, id=str(next(self._ids)), cells=cells, repeated=True, wanted=0, done=0))
            else:
                lost += len(cells)
                for cell in cells:
                    self._set(request.key, cell, None)
        if death.ready and not again and self._deaths < PATIENCE:
            self.client.start()
        self._tell(f"the worker died: {death}.{_what_next(again, lost, self.client.started)}", alarm=True)
        self._changed(None)

    def _running(self, key: ProbeKey, cell: Cell) -> bool:
        mark = self._mark(key, cell)
        return mark is not None and mark.state is State.RUNNING


def _message(store: Path, request: Request) -> dict[str, Any]:
    """The request in the words of the protocol."""
    run, probe = request.key
    wire = [[cell.layer, cell.column, cell.draw] for cell in request.cells]
    message: dict[str, Any] = {
        "type": "probe", "id": request.id, "store": str(store), "run": run, "probe": probe, "cells": wire,
        "again": request.again,
    }  # fmt: skip
    # A worker of an older version, at the other end of ssh, knows everything but this.
    return message | {"exact": True} if request.exact else message


def _one_line(message: str) -> str:
    """A message of the worker, harmless and without line breaks."""
    return inert("; ".join(line.strip() for line in message.splitlines() if line.strip()))


def _what_next(again: int, lost: int, started: bool) -> str:
    parts = []
    if started:
        parts.append(f"Another one takes over{f' {again} cells' if again else ''}")
    if lost:
        parts.append(f"{lost} cells were given up")
    return f" {'; '.join(parts)}." if parts else ""
