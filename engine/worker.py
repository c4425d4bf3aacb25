"""`lyrx worker`: measures cells on request, with models and data kept warm between requests.

Speaks :mod:`.protocol` over its standard streams.  A thread reads requests, so that a cancel or a ping is heard during
a measurement; the main thread measures.  Nothing but messages ever reaches standard output: whatever a library prints
there is sent to standard error.
"""

import contextlib
import os
import queue
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from importlib.metadata import version
from typing import TYPE_CHECKING, BinaryIO

from ..store import Cell, LyrxError, Probe, Run, Store
from .protocol import (
    AcceptedEvent,
    CancelRequest,
    CommittedEvent,
    DeviceEvent,
    Event,
    FailedEvent,
    FinishedEvent,
    PingRequest,
    PongEvent,
    ProbeRequest,
    ProgressEvent,
    ProtocolError,
    QuitRequest,
    ReadyEvent,
    decode_request,
    encode,
    from_wire,
    to_wire,
)

if TYPE_CHECKING:
    from .session import Session

WARM = 2
"""Sessions (a model and its data) kept ready at a time."""

_TELL_EVERY = 0.1  # seconds between two words on progress within a cell


class Worker:
    """Carries out requests from one stream and sends events to another."""

    def __init__(self, requests: BinaryIO, events: BinaryIO):
        self._requests, self._events = requests, events
        self._sending = threading.Lock()
        self._waiting: queue.Queue[ProbeRequest | None] = queue.Queue()
        self._open: set[str] = set()  # ids that were asked for and not finished
        self._cancelled: set[str] = set()
        self._sessions: OrderedDict[tuple[str, str], Session] = OrderedDict()

    def run(self) -> None:
        """Until `quit` or the end of the requests."""
        self._send(ReadyEvent(pid=os.getpid(), lyrx=version("lyrx")))
        threading.Thread(target=self._listen, name="requests", daemon=True).start()
        # Paid now, while nobody waits, and not by the first cell that somebody asks for.
        from . import session as session

        while (request := self._waiting.get()) is not None:
            self._probe(request)
            self._open.discard(request.id)
            self._cancelled.discard(request.id)

    def _listen(self) -> None:
        # With nobody to tell, there is nobody to work for: the same as the end of the requests.
        with contextlib.suppress(BrokenPipeError):
            self._hear()
        self._cancelled |= self._open
        self._waiting.put(None)

    def _hear(self) -> None:
        for line in self._requests:
            if not line.strip():
                continue
            try:
                request = decode_request(line)
            except ProtocolError as error:
                self._send(FailedEvent(id="", message=str(error)))
                continue
            if isinstance(request, PingRequest):
                self._send(PongEvent(id=request.id))
            elif isinstance(request, CancelRequest):
                self._cancelled |= self._open if request.id is None else {request.id} & self._open
            elif isinstance(request, QuitRequest):
                break
            else:
                self._open.add(request.id)
                self._waiting.put(request)

    def _probe(self, request: ProbeRequest) -> None:
        try:
            run = Store.open(request.store).run(request.run)
            probe = run.probe(request.probe)
            cells = self._wanted(request, probe)
            self._send(AcceptedEvent(id=request.id, cells=len(cells)))
            session = self._session(run, probe)
            self._tell_device(session)
            # Without cells a request only warms up: it writes nothing, so it needs no lock.
            with run.writing("worker") if cells else contextlib.nullcontext():
                done = self._measure(request, session, cells)
            self._tell_device(session)
        except LyrxError as error:
            self._send(FailedEvent(id=request.id, message=str(error)))
        except Exception as error:
            # A network, a driver or a library that fails must not end the worker: whoever asked is told.
            self._sessions.clear()
            self._send(FailedEvent(id=request.id, message=f"{type(error).__name__}: {error}"))
        else:
            cancelled = done < len(cells) and request.id in self._cancelled
            self._send(FinishedEvent(id=request.id, done=done, cancelled=cancelled))

    def _wanted(self, request: ProbeRequest, probe: Probe) -> list[Cell]:
        info = probe.info
        known = set(info.all_cells())
        cells = [from_wire(cell) for cell in dict.fromkeys(request.cells)]
        strange = [cell for cell in cells if cell not in known]
        if strange:
            raise ProtocolError(f"probe {info.id} has no cell {list(to_wire(strange[0]))}.")
        missing = set(probe.missing())
        return [cell for cell in cells if request.again or cell in missing]

    def _session(self, run: Run, probe: Probe) -> "Session":
        from .session import Session

        # The fingerprint is not enough: a run made anew by --fresh may have the same one.
        key = (str(run.path.resolve()), f"{probe.info.id} {run.info.created}")
        if key not in self._sessions:
            while len(self._sessions) >= WARM:
                self._sessions.popitem(last=False)
            self._sessions[key] = Session(run, probe)
        self._sessions.move_to_end(key)
        return self._sessions[key]

    def _measure(self, request: ProbeRequest, session: "Session", cells: list[Cell]) -> int:
        from .errors import CancelledError, RestoreError

        done = 0
        for cell in cells:
            if request.id in self._cancelled:
                break
            try:
                measured = session.commit(cell, self._watch(request, session, cell, done, len(cells)))
            except CancelledError:
                break
            except RestoreError:
                self._sessions.clear()
                raise
            except LyrxError as error:
                self._send(FailedEvent(id=request.id, cell=to_wire(cell), message=str(error)))
                continue
            done += 1
            self._send(
                CommittedEvent(id=request.id, cell=to_wire(cell), done=done, total=len(cells), seconds=measured.seconds)
            )
        return done

    def _watch(
        self, request: ProbeRequest, session: "Session", cell: Cell, done: int, total: int
    ) -> Callable[[int], bool]:
        """After each batch: say how far it is (not too often), and whether to stop."""
        told = time.perf_counter()

        def after_batch(seen: int) -> bool:
            nonlocal told
            now = time.perf_counter()
            if now - told > _TELL_EVERY:
                told = now
                self._send(
                    ProgressEvent(
                        id=request.id,
                        cell=to_wire(cell),
                        done=done,
                        total=total,
                        examples=seen,
                        of=session.examples,
                    )
                )
            return request.id in self._cancelled

        return after_batch

    def _tell_device(self, session: "Session") -> None:
        from .device import device_state

        state = device_state(session.device)
        self._send(DeviceEvent(device=state.name, memory_used=state.memory_used, memory_total=state.memory_total))

    def _send(self, event: Event) -> None:
        with self._sending:
            self._events.write(encode(event))
            self._events.flush()


def main() -> int:
    """Serve standard input and output until told to quit."""
    events = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    # Whoever started the worker has gone: there is nobody left to serve.
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        Worker(sys.stdin.buffer, events).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
