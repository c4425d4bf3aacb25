"""The app's side of the worker: a child process that measures, spoken to in JSON lines.

The worker gets a session of its own (a key pressed in the app, such as ctrl+c, is not a signal to it), a pipe as its
standard input (whose end tells it that the app has gone), and a file for its errors (or it would draw over the screen).
It is started by the first thing that is sent.  This class knows processes and lines only; what to do about events and
deaths is decided by its owner.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..store import inert

if TYPE_CHECKING:
    from ..engine import protocol

DEFAULT_COMMAND = (sys.executable, "-m", "lyrx.engine.worker")

_LONGEST_LINE = 2**20
_QUIT_PATIENCE, _TERMINATE_PATIENCE = 2.0, 1.0  # seconds
_TAIL = 4096  # bytes of the log looked at for the last words


@dataclass(frozen=True)
class Death:
    """How a worker ended that was not asked to."""

    reason: str
    """'killed by SIGKILL', 'exit code 1', 'cannot be started: …'."""
    last_words: str
    """The last line of its errors, harmless for a terminal; may be empty."""
    ready: bool
    """Whether it had started properly."""

    def __str__(self) -> str:
        return self.reason + (f": {self.last_words}" if self.last_words else "")


class WorkerClient:
    """One worker at a time, started when something is sent.

    `on_event` gets every event of the protocol, `on_death` how a worker ended; both in the event loop.
    """

    def __init__(
        self,
        command: Sequence[str] | None,
        log: Callable[[], Path],
        on_event: "Callable[[protocol.Event], None]",
        on_death: Callable[[Death], None],
    ):
        self.command = tuple(command or DEFAULT_COMMAND)
        self._log = log
        self._log_path: Path | None = None
        self._on_event, self._on_death = on_event, on_death
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._unsent: list[dict[str, Any]] = []
        self._closing = False
        self.ready = False
        """Whether the living worker has started properly."""
        self._noise = ""

    @property
    def pid(self) -> int | None:
        """The living worker's process id."""
        return self._process.pid if self._process and self._process.returncode is None else None

    @property
    def started(self) -> bool:
        """Whether there is a worker, or one is being started."""
        return self._task is not None

    def start(self) -> None:
        """Start a worker unless there is one."""
        if self._task is None and not self._closing:
            self.ready, self._noise = False, ""
            self._task = asyncio.create_task(self._live(), name="worker")

    def send(self, message: dict[str, Any]) -> None:
        """Send a request (a message of the protocol as plain values), starting a worker if there is none."""
        if self._closing:
            return
        self._unsent.append(message)
        self.start()
        self._flush()

    def _flush(self) -> None:
        process = self._process
        if process is None or process.stdin is None or process.returncode is not None:
            return
        for message in self._unsent:
            # A pipe that is broken says so through the end of the worker's output.
            with contextlib.suppress(OSError, RuntimeError):
                process.stdin.write(json.dumps(message).encode() + b"\n")
        self._unsent.clear()

    async def _live(self) -> None:
        """The life of one worker: start, listen, and find out how it ended."""
        try:
            protocol = await asyncio.to_thread(_protocol)
            self._log_path = self._log_path or self._log()
            with self._log_path.open("ab") as errors:
                before = errors.tell()
                self._process = await asyncio.create_subprocess_exec(
                    *self.command,
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=errors,
                    start_new_session=True,
                    limit=_LONGEST_LINE,
                )
        except OSError as error:
            self._ended(Death(f"cannot be started: {error.strerror or error}: {inert(self.command[0])}", "", False))
            return
        process = self._process
        self._flush()
        await self._listen(process, protocol)
        code = await self._wait(process)
        last = self._last_words(before)
        self._ended(Death(_how(code), last or self._noise, self.ready))

    async def _listen(self, process: asyncio.subprocess.Process, protocol: Any) -> None:
        assert process.stdout
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:  # a line without end: this is no worker
                self._noise = "it does not speak the worker's protocol"
                _signal(process, signal.SIGKILL)
                return
            if not line:
                return
            try:
                event = protocol.decode_event(line)
            except protocol.ProtocolError:
                # Such as a greeting of the shell at the other end of ssh.
                self._noise = inert(line.decode(errors="replace").strip())[:200]
                continue
            self.ready = self.ready or isinstance(event, protocol.ReadyEvent)
            if not self._closing:
                self._on_event(event)

    async def _wait(self, process: asyncio.subprocess.Process) -> int:
        """The exit code of a worker that said its last word; one that lingers is ended."""
        for patience, signal_number in ((_QUIT_PATIENCE, signal.SIGTERM), (_TERMINATE_PATIENCE, signal.SIGKILL)):
            try:
                return await asyncio.wait_for(process.wait(), patience)
            except TimeoutError:
                _signal(process, signal_number)
        return await process.wait()

    def _ended(self, death: Death) -> None:
        self._process, self._task, self.ready = None, None, False
        self._unsent.clear()
        if not self._closing:
            self._on_death(death)

    def _last_words(self, since: int) -> str:
        """The last line that this worker wrote to its log."""
        if self._log_path is None:
            return ""
        try:
            with self._log_path.open("rb") as log:
                size = log.seek(0, os.SEEK_END)
                log.seek(max(since, size - _TAIL))
                lines = log.read().decode(errors="replace").splitlines()
        except OSError:
            return ""
        return next((inert(line.strip())[:200] for line in reversed(lines) if line.strip()), "")

    async def close(self) -> None:
        """End the worker: ask, then terminate, then kill. It has ended when this returns."""
        self._closing = True
        task, process = self._task, self._process
        if task is not None and process is None:
            # It is just being started; wait until there is something to end.
            while self._process is None and not task.done():
                await asyncio.sleep(0.01)
            process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(OSError, RuntimeError):
                if process.stdin:
                    process.stdin.write(b'{"type": "quit"}\n')
                    process.stdin.close()
            await self._wait(process)
        if task is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        if self._log_path is not None:
            with contextlib.suppress(OSError):
                if self._log_path.stat().st_size == 0:
                    self._log_path.unlink()


def _protocol() -> Any:
    """The protocol's module, which takes a moment to import."""
    from ..engine import protocol

    return protocol


def _how(code: int) -> str:
    if code < 0:
        try:
            return f"killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"killed by signal {-code}"
    return f"exit code {code}"


def _signal(process: asyncio.subprocess.Process, number: int) -> None:
    """To the worker and all its children: it leads a process group of its own."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
