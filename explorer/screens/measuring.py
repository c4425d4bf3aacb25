"""What is being measured right now: requests to the worker, and a mark for every cell they are about."""

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...store import Cell, ProbeInfo, inert
from ..atmost import AtMost
from ..core import troubles
from ..core.doing import Mark, Marks, ProbeKey
from ..core.marks import State
from ..core.queue import Device, Plan, Request, at_work, place_name, summary, what
from ..core.troubles import Trouble
from ..worker_client import Death, WorkerClient

if TYPE_CHECKING:
    from ...engine import protocol

PATIENCE = 3
"""Deaths in a row, without a committed cell between them, after which a worker is started only when asked for."""

PLANS = 2
"""The protocol's version from which on a worker plans probes."""

_WARM = "warm"
"""Id of the request without cells that warms the worker up."""

Planned = Callable[[str], None]
"""Gets the id of a probe that was planned."""


class Measuring:
    """Asks a worker for cells and keeps track of them.

    `changed(key)` is called when marks of a probe or the note changed, `committed(key)` when there may be something new
    to read in the store, `report` with every incident.  `clock` gives seconds, for rates.
    """

    def __init__(
        self,
        store: Path,
        command: Sequence[str] | None,
        log: Callable[[], Path],
        changed: Callable[[ProbeKey | None], None],
        committed: Callable[[ProbeKey], None],
        report: Callable[[Trouble], None] = lambda trouble: None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.store = store
        self.client = WorkerClient(command, self._log_file(log), self._event, self._death)
        self.requests: dict[str, Request] = {}
        """By id, in the order asked."""
        self.plans: dict[str, tuple[Plan, Planned]] = {}
        """Probes that are being made, and who waits for them."""
        self.marks = Marks()
        self.note = ""
        """The last thing that went wrong, or was done; empty when all is well."""
        self.alarm = False
        """Whether the note is bad news."""
        self.baseline = ""
        """How far the trained network is, while it is run on all examples before the first cell."""
        self.device = Device()
        self.clock = clock
        self._changed, self._report = changed, report
        self._soon_changed, self._committed = AtMost(changed), AtMost(committed)
        self._ids = itertools.count(1)
        self._turns = itertools.count(1)
        self._deaths = 0
        self._worker: tuple[int, str] | None = None  # the protocol's version that it speaks, its lyrx's
        self._log = ""

    def _log_file(self, log: Callable[[], Path]) -> Callable[[], Path]:
        def made() -> Path:
            path = log()
            self._log = str(path)
            return path

        return made

    # Asking

    def ask(
        self,
        key: ProbeKey,
        cells: Sequence[Cell],
        *,
        again: bool = False,
        exact: bool = False,
        info: ProbeInfo | None = None,
    ) -> int:
        """Measure `cells` of a run's probe, those that are not being measured already; `exact`: on all examples.

        `info` gives them their names.  Returns how many are asked for.
        """
        fresh = [cell for cell in cells if not self.marks.busy(key, cell)]
        if fresh:
            self._deaths = 0
            self._tell("")
            words = what(info, fresh, exact=exact, again=again)
            self._send(Request(str(next(self._ids)), key, fresh, again, exact, info=info, what=words))
        return len(fresh)

    def plan(self, key: ProbeKey, words: str, then: Planned, **wanted: object) -> None:
        """Have a probe made from another one, `joint=[[names], ...]` or `granularity=name`; `then` gets its id."""
        self._deaths = 0
        self._tell("")
        self._send_plan(Plan(str(next(self._ids)), key, words, wanted), then)

    def cancel(self, id: str | None = None) -> bool:  # noqa: A002 - the protocol's name
        """Stop what was asked for under `id`, or all. Returns whether there was anything."""
        requests = [self.requests[id]] if id in self.requests else [] if id else list(self.requests.values())
        plans = [id] if id in self.plans else [] if id else list(self.plans)
        for plan in plans:
            # A worker that makes a probe finishes it; nobody waits for it any more.
            del self.plans[plan]
        for request in requests:
            request.cancelled = True
        if requests:
            self.client.send({"type": "cancel", "id": id})
            self._tell("cancelling …")
        elif plans:
            self._tell("cancelled")
        self._changed(None)
        return bool(requests or plans)

    def cancel_at(self, wanted: Sequence[tuple[ProbeKey, int | None, int]]) -> bool:
        """Stop the request that one of these places (probe, layer, column) waits for, or else the newest one."""
        places = [
            request.id
            for request in self.requests.values()
            if any((request.key, cell.layer, cell.column) in wanted for cell in request.cells)
        ]
        newest = [*self.requests, *self.plans][-1:]
        return any(self.cancel(one) for one in (places or newest)[:1])

    def warm_up(self, key: ProbeKey) -> None:
        """Start a worker and have it load this probe's network and data, so that the first cell comes without delay."""
        self.client.send(_message(self.store, Request(_WARM, key, [], again=False)))

    async def close(self) -> None:
        """End the worker."""
        await self.client.close()

    def _send(self, request: Request) -> None:
        request.wanted = request.wanted or len(request.cells)
        request.asked = self.clock()
        self.requests[request.id] = request
        for cell in request.cells:
            self.marks.put(request.key, cell, Mark(State.QUEUED))
        self.client.send(_message(self.store, request))
        self._changed(request.key)

    def _send_plan(self, plan: Plan, then: Planned) -> None:
        if self._too_old():
            self._refused(plan)
            return
        self.plans[plan.id] = (plan, then)
        run, probe = plan.key
        about = {"type": "plan", "id": plan.id, "store": str(self.store), "run": run, "probe": probe}
        self.client.send(about | plan.message)
        self._changed(plan.key)

    # What is going on

    def open(self) -> tuple[list[Request], list[Plan]]:
        """What was asked for and has not ended."""
        return list(self.requests.values()), [plan for plan, _ in self.plans.values()]

    def progress(self) -> tuple[int, int]:
        """(cells measured, cells asked for) of the requests that are open."""
        return sum(r.done for r in self.requests.values()), sum(r.wanted for r in self.requests.values())

    def summary(self) -> str:
        """What is going on in one line; empty if nothing is."""
        return summary(*self.open(), self.device, self.clock())

    def _tell(self, note: str, *, alarm: bool = False) -> None:
        self.note, self.alarm = note, alarm

    def seen(self) -> None:
        """Somebody has looked at what went wrong: it need not be said any more."""
        if self.alarm:
            self._tell("")
            self._changed(None)

    def _trouble(self, trouble: Trouble, note: str = "") -> None:
        """Bad news: in the note, and for the panel of errors."""
        self._tell(note or trouble.what, alarm=True)
        self._report(trouble)

    # What the worker says

    def _event(self, event: "protocol.Event") -> None:
        if event.type == "ready":
            self._worker = (event.version, event.lyrx)
            if self._too_old():
                for plan, _ in list(self.plans.values()):
                    self._refused(plan)
        if event.type == "device":
            self.device = Device(inert(event.device), event.memory_used, event.memory_total)
            self._soon_changed(None)
            return
        if event.type == "planned":
            self._planned(event.id, event.probe)
            return
        self.baseline = ""
        if event.type == "baseline":
            self.baseline = f"the trained network first: {event.examples:,} of {event.of:,} examples"
        request = self.requests.get(getattr(event, "id", ""))
        if event.type == "failed" and request is None and event.id != _WARM:
            # (What stands in the way of measuring is said when somebody wants to measure.)
            self._stray(event)
        if request is None:
            self._changed(None)
            return
        if event.type in ("progress", "pace", "committed", "accepted"):
            self._further(request, event)
            return
        if event.type == "failed" and event.cell is not None:
            self._failed_cell(request, Cell(*event.cell), _one_line(event.message))
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

    def _further(self, request: Request, event: Any) -> None:
        """A request has come further: said at most ten times a second."""
        if at_work(list(self.requests.values())) is not request:
            request.resumed()
        request.turn = next(self._turns)
        if event.type == "progress":
            cell = Cell(*event.cell)
            request.at_work = (cell, event.examples, event.of)
            self.marks.put(request.key, cell, Mark(State.RUNNING, event.examples / max(1, event.of)))
            self._committed(request.key)  # batches came in: what sharpens is committed now and then
        elif event.type == "pace":
            request.pace = (event.examples, event.of)
        elif event.type == "committed":
            self._deaths = 0
            self._finish_cell(request, Cell(*event.cell), Mark(State.RUNNING, 1.0, committed=True))
            request.done += 1
            self._committed(request.key)
        request.heard(self.clock())
        self._soon_changed(request.key)

    def _planned(self, id: str, probe: str) -> None:  # noqa: A002
        found = self.plans.pop(id, None)
        if found is not None:
            found[1](probe)
            self._changed(found[0].key)

    def _stray(self, event: Any) -> None:
        """A failure that belongs to no request: of a plan, or of a line that the worker did not understand."""
        found = self.plans.pop(event.id, None)
        message = _one_line(event.message)
        if found is not None:
            plan = found[0]
            self._trouble(troubles.of_message(message, plan.key, plan.what), message)
        elif not (event.id == "" and self._too_old()):
            self._trouble(troubles.of_message(message, None, ""), message)

    def _too_old(self) -> bool:
        return self._worker is not None and self._worker[0] < PLANS

    def _refused(self, plan: Plan) -> None:
        self.plans.pop(plan.id, None)
        said = troubles.too_old(self._worker[1] if self._worker else "")
        self._trouble(Trouble("the worker is too old", f"{plan.what}: {said}", "Or start it with --worker elsewhere."))
        self._changed(plan.key)

    def _finish_cell(self, request: Request, cell: Cell, mark: Mark) -> None:
        if cell in request.cells:
            request.cells.remove(cell)
        self.marks.put(request.key, cell, mark)

    def _failed_cell(self, request: Request, cell: Cell, message: str) -> None:
        self._finish_cell(request, cell, Mark(State.FAILED, message=message))
        if message in request.told:
            self._tell(message, alarm=True)
            return
        request.told.add(message)
        where = place_name(request.info, cell, draw=True)
        self._trouble(troubles.of_message(message, request.key, where), message)

    def _failed(self, request: Request, message: str) -> None:
        """A whole request was refused: its cells stay unmeasured, and the note says why."""
        cells = list(request.cells)
        self._drop(request)
        places = {(cell.layer, cell.column) for cell in cells}
        if len(places) == 1:
            for cell in cells:
                self.marks.put(request.key, cell, Mark(State.FAILED, message=message))
        self._trouble(troubles.of_message(message, request.key, request.what), message)

    def _drop(self, request: Request) -> None:
        for cell in request.cells:
            self.marks.put(request.key, cell, None)
        self.requests.pop(request.id, None)

    def _death(self, death: Death) -> None:
        """The cell at work has failed. What waited behind it is asked for again, once."""
        self._deaths += 1
        self.baseline, self._worker = "", None
        open_requests, plans = list(self.requests.values()), list(self.plans.values())
        self.requests.clear()
        self.plans.clear()
        lost = again = 0
        where = ""
        working = at_work(open_requests)
        for request in open_requests:
            cells = list(request.cells)
            if request is working and cells and death.ready:
                # On the cell last heard of, or on its first.
                heard = request.at_work[0] if request.at_work else None
                running = heard if heard in cells else cells[0]
                cells.remove(running)
                self.marks.put(request.key, running, Mark(State.FAILED, message=f"the worker died: {death}"))
                where = f"{place_name(request.info, running, draw=True)}, run '{inert(request.key[0])}'"
            if death.ready and not request.repeated and not request.cancelled and cells:
                again += len(cells)
                words = what(request.info, cells, exact=request.exact, again=request.again)
                fresh = Request(str(next(self._ids)), request.key, cells, request.again, request.exact, repeated=True)
                self._send(replace(fresh, info=request.info, what=words))
            else:
                lost += len(cells)
                for cell in cells:
                    self.marks.put(request.key, cell, None)
        for plan, then in plans:
            where = where or plan.what
            if death.ready and not plan.repeated:
                self._send_plan(replace(plan, id=str(next(self._ids)), repeated=True), then)
        if death.ready and not again and self._deaths < PATIENCE:
            self.client.start()
        next_ = _what_next(again, lost, self.client.started)
        log = self._log if death.last_words else ""
        self._trouble(
            troubles.of_death(death.reason, death.last_words, death.ready, where, log, next_),
            f"the worker died: {death}.{next_}",
        )
        self._changed(None)


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
