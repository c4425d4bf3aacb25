"""`lyrx worker`: measures cells on request, with models and data kept warm between requests.

Speaks :mod:`.protocol` over its standard streams.  A thread reads requests, so that a cancel or a ping is heard during
a measurement; the main thread measures.  What is asked for while it measures gets its first look at once: whoever
presses a key does not wait for a whole plan.  Then requests take turns, look by look (:mod:`.turns`).  Nothing but
messages ever reaches standard output: whatever a library prints there is sent to standard error.
"""

import contextlib
import json
import os
import queue
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, BinaryIO

from ..store import Cell, LyrxError, Probe, Run, Store
from .errors import CancelledError, RestoreError
from .protocol import (
    AcceptedEvent,
    BaselineEvent,
    CancelRequest,
    CommittedEvent,
    DeviceEvent,
    Event,
    FailedEvent,
    FinishedEvent,
    PaceEvent,
    PingRequest,
    PlannedEvent,
    PlanRequest,
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
from .turns import Turns

if TYPE_CHECKING:
    from .prepare import Prepared
    from .session import Session
    from .sweep import Work

Asked = ProbeRequest | PlanRequest
"""What takes its time, and is carried out in turns."""

WARM = 2
"""Sessions (a model and its data) kept ready at a time."""

_TELL_EVERY = 0.1  # seconds between two words on progress within a cell
_DEVICE_EVERY = 1.0  # and on how full the device is
_COMMIT_EVERY = 0.25  # and between two commits of what is sharpening: somebody is looking


class Worker:
    """Carries out requests from one stream and sends events to another."""

    def __init__(self, requests: BinaryIO, events: BinaryIO):
        self._requests, self._events = requests, events
        self._sending = threading.Lock()
        self._waiting: queue.Queue[Asked | None] = queue.Queue()
        self._open: set[str] = set()  # ids that were asked for and not finished
        self._cancelled: set[str] = set()
        self._sessions: OrderedDict[tuple[str, str, str], Session] = OrderedDict()
        self._working: list[Session] = []  # of requests that have begun and not ended
        self._held: dict[str, tuple[int, contextlib.ExitStack]] = {}  # by run: for how many requests its lock is held
        self._turns = Turns()
        self._ended = False
        self._planned: tuple[tuple[str, str, str], Prepared] | None = None  # loaded for a plan, and soon wanted again

    def run(self) -> None:
        """Until `quit` or the end of the requests."""
        self._send(ReadyEvent(pid=os.getpid(), lyrx=version("lyrx")))
        threading.Thread(target=self._listen, name="requests", daemon=True).start()
        # Paid now, while nobody waits, and not by the first cell that somebody asks for.
        from . import session as session

        while self._turns or not self._ended:
            self._begin_newer(wait=not self._turns)
            self._turns.step()  # once all has been cancelled, whoever still waits has nothing left to do but to say so
        self._forget_all()

    def _begin_newer(self, *, wait: bool = False) -> None:
        """What has been asked for in the meantime; with `wait`, what will be."""
        while not self._ended:
            try:
                request = self._waiting.get(block=wait)
            except queue.Empty:
                return
            if request is None:
                self._ended = True
            else:
                self._turns.begin(self._steps(request))
            wait = False

    def _steps(self, request: Asked) -> Iterator[None]:
        """Carry it out, look by look."""
        try:
            if request.id in self._cancelled:
                self._send(FinishedEvent(id=request.id, done=0, cancelled=True))
            elif isinstance(request, PlanRequest):
                self._plan(request)
            else:
                yield from self._probe(request)
        finally:
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

    def _probe(self, request: ProbeRequest) -> Iterator[None]:
        session = None
        try:
            run = Store.open(request.store).run(request.run)
            probe = run.probe(request.probe)
            cells = self._wanted(request, probe)
            self._send(AcceptedEvent(id=request.id, cells=len(cells)))
            session = self._session(request, run, probe)
            self._tell_device(session)
            # Without cells a request only warms up: it writes nothing, so it needs no lock.
            with self._writing(run) if cells else contextlib.nullcontext():
                done = yield from self._measure(request, session, cells)
            self._tell_device(session)
        except CancelledError:
            self._send(FinishedEvent(id=request.id, done=0, cancelled=True))
        except LyrxError as error:
            if isinstance(error, RestoreError):
                self._forget(session)
            self._send(FailedEvent(id=request.id, message=str(error)))
        except Exception as error:
            # A network, a driver or a library that fails must not end the worker: whoever asked is told.
            self._forget(session)
            self._send(FailedEvent(id=request.id, message=f"{type(error).__name__}: {error}"))
        else:
            cancelled = done < len(cells) and request.id in self._cancelled
            self._send(FinishedEvent(id=request.id, done=done, cancelled=cancelled))

    def _plan(self, request: PlanRequest) -> None:
        """Make the probe that is asked for, as `lyrx probe` would."""
        try:
            from .planning import plan_granularity, plan_joint

            run = Store.open(request.store).run(request.run)
            base = run.probe(request.probe)
            with self._writing(run):
                if request.granularity is not None:
                    probe, prepared = plan_granularity(run, base, request.granularity)
                else:
                    probe, prepared = plan_joint(run, base, request.joint)
        except LyrxError as error:
            self._send(FailedEvent(id=request.id, message=str(error)))
        except Exception as error:
            self._send(FailedEvent(id=request.id, message=f"{type(error).__name__}: {error}"))
        else:
            self._planned = (self._key(run, probe), prepared) if prepared else None
            self._send(PlannedEvent(id=request.id, probe=probe.info.id))

    @contextlib.contextmanager
    def _writing(self, run: Run) -> Iterator[None]:
        """The run's writer's lock, held until the last request that needs it has ended."""
        path = str(run.path.resolve())
        count, held = self._held.get(path, (0, contextlib.ExitStack()))
        if not count:
            held.enter_context(run.writing("worker"))
        self._held[path] = (count + 1, held)
        try:
            yield
        finally:
            count, _ = self._held.pop(path)
            if count > 1:
                self._held[path] = (count - 1, held)
            else:
                held.close()

    def _wanted(self, request: ProbeRequest, probe: Probe) -> list[Cell]:
        """The cells asked for that are not known as well as asked for."""
        known = set(probe.info.all_cells())
        cells = [from_wire(cell) for cell in dict.fromkeys(request.cells)]
        strange = [cell for cell in cells if cell not in known]
        if strange:
            where = strange[0].layer, strange[0].column
            if reason := probe.info.unavailable.get(where):
                raise ProtocolError(
                    f"probe {probe.info.id}: cell {list(to_wire(strange[0]))} is not available: {reason}."
                )
            raise ProtocolError(f"probe {probe.info.id} has no cell {list(to_wire(strange[0]))}.")
        if request.again or not cells:
            return cells
        rest = set(probe.unfinished(exact=request.exact))
        return [cell for cell in cells if cell in rest]

    def _session(self, request: ProbeRequest, run: Run, probe: Probe) -> "Session":
        from .session import Session

        key = self._key(run, probe)
        if key not in self._sessions:
            idle = [other for other, session in self._sessions.items() if session not in self._working]
            for other in [other for other in idle if other[:2] == key[:2]]:  # this probe's, before its settings changed
                self._sessions.pop(other).close()
                idle.remove(other)
            while len(self._sessions) >= WARM and idle:
                self._sessions.pop(idle.pop(0)).close()
            planned, self._planned = self._planned, None
            known = (planned[1].spec, planned[1].data) if planned and planned[0] == key else (None, None)
            self._sessions[key] = Session(run, probe, *known, on_baseline=self._watch_baseline(request))
        self._sessions.move_to_end(key)
        return self._sessions[key]

    @staticmethod
    def _key(run: Run, probe: Probe) -> tuple[str, str, str]:
        # The fingerprint is not enough: a run made anew by --fresh may have the same one, and settings that change no
        # number's meaning (the tolerance, how far cells go) may be others by now.
        settings = json.dumps(dict(probe.info.settings), sort_keys=True, default=str)
        return (str(run.path.resolve()), f"{probe.info.id} {run.info.created}", settings)

    def _forget(self, session: "Session | None") -> None:
        """A session that failed is not warm any more: the next request starts from the store."""
        for key, other in list(self._sessions.items()):
            if other is session:
                del self._sessions[key]
                other.close()

    def _forget_all(self) -> None:
        for session in list(self._sessions.values()):
            self._forget(session)

    def _measure(self, request: ProbeRequest, session: "Session", cells: list[Cell]) -> Generator[None, None, int]:
        """Yields after each look; returns how many cells have ended."""
        failed: set[Cell] = set()

        def fail(cell: Cell, error: LyrxError) -> None:
            failed.add(cell)
            self._send(FailedEvent(id=request.id, cell=to_wire(cell), message=str(error)))

        done: list[Cell] = []
        if not cells:
            return 0
        self._working.append(session)
        # A cancel is no failure: `finished` says it.
        with contextlib.suppress(CancelledError), contextlib.ExitStack() as working:
            working.callback(self._working.remove, session)
            looks = session.measure(
                cells,
                exact=request.exact,
                again=request.again,
                after_cell=self._watch(request, session, done, cells),
                on_error=fail,
                commit_every=_COMMIT_EVERY,
            )
            working.callback(looks.close)  # with what was seen by then committed, while its lock is still held
            for look in looks:
                for cell, seconds in look.ended:
                    if cell in failed:
                        continue
                    done.append(cell)
                    wire, count = to_wire(cell), len(done)
                    self._send(CommittedEvent(id=request.id, cell=wire, done=count, total=len(cells), seconds=seconds))
                if look.finished < look.todo:
                    yield
                if request.id in self._cancelled:
                    break
        return len(done)

    def _watch_baseline(self, request: ProbeRequest) -> Callable[[int, int], None]:
        """After each batch of the trained network: say how far it is, stop if told to."""
        told = time.perf_counter()

        def after_batch(seen: int, of: int) -> None:
            nonlocal told
            if request.id in self._cancelled:
                raise CancelledError("the measurement was cancelled.")
            if time.perf_counter() - told > _TELL_EVERY:
                told = time.perf_counter()
                self._send(BaselineEvent(id=request.id, examples=seen, of=of))

        return after_batch

    def _watch(
        self, request: ProbeRequest, session: "Session", done: Sequence[Cell], cells: Sequence[Cell]
    ) -> "Callable[[Work, int], None]":
        """After each batch of each cell: let others have their turn, say how far it is, stop if told to."""
        told = told_device = time.perf_counter()
        known = {} if request.again else session.probe.results().estimates
        seen_of = {cell: known[cell].n if cell in known else 0 for cell in cells}
        most = sum(max(0, session.examples - seen) for seen in seen_of.values())
        computed = 0

        def after_cell(work: "Work", seen: int) -> None:
            nonlocal told, told_device, computed
            computed += max(0, seen - seen_of[work.key])
            seen_of[work.key] = seen
            self._begin_newer()
            self._turns.share()
            now = time.perf_counter()
            if now - told > _TELL_EVERY:
                told = now
                wire, count = to_wire(work.key), len(done)
                self._send(
                    ProgressEvent(
                        id=request.id, cell=wire, done=count, total=len(cells), examples=seen, of=session.examples
                    )
                )
                self._send(PaceEvent(id=request.id, examples=computed, of=most))
            if now - told_device > _DEVICE_EVERY:
                told_device = now
                self._tell_device(session)
            if request.id in self._cancelled:
                raise CancelledError("the measurement was cancelled.")

        return after_cell

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
