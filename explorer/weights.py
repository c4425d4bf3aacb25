"""What the app asks the process that reads weights: one question at a time, the newest first.

The app's process imports neither zarr nor numpy; `lyrx.store.figures` does, in a process of its own.  It is started by
the first question and stays warm; where it dies the next question starts another.  While it is at work only the newest
question waits: what the cursor has left behind is not read.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..store import inert
from ..store.histogram import Comparison

DEFAULT_COMMAND = (sys.executable, "-m", "lyrx.store.figures")

_KEPT = 256
"""Answers that are remembered."""
_LONGEST_LINE = 2**20
_PATIENCE = 1.0
"""Seconds that the process has to end by itself."""


@dataclass(frozen=True)
class Question:
    """The weights of which tensors, after which epoch, beside those after which other."""

    store: Path
    run: str
    identity: str
    """Another run of the same name has another."""
    names: tuple[str, ...]
    epoch: int
    other: int


@dataclass(frozen=True)
class Answer:
    """What was found, or why nothing was."""

    compared: Comparison | None = None
    problem: str = ""
    """Harmless for a terminal."""


class Weights:
    """Answers questions about weights; `on_answer` is called in the event loop when one has come."""

    def __init__(self, on_answer: Callable[[], None] = lambda: None, command: Sequence[str] | None = None):
        self.command = tuple(command or DEFAULT_COMMAND)
        self.on_answer = on_answer
        self._known: OrderedDict[Question, Answer] = OrderedDict()
        self._failed: tuple[Question, Answer] | None = None
        """The last answer that may be another one when asked again."""
        self._waiting: Question | None = None
        self._asking: Question | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._number = 0
        self._closed = False

    @property
    def pid(self) -> int | None:
        """The living process's id."""
        return self._process.pid if self._process and self._process.returncode is None else None

    @property
    def busy(self) -> bool:
        """Whether something is being read."""
        return self._task is not None and not self._task.done()

    def look(self, question: Question) -> Answer | None:
        """The answer, or None while it is looked for. Only the question asked last is sure to be answered."""
        if question in self._known:
            self._known.move_to_end(question)
            return self._known[question]
        if self._failed and self._failed[0] == question:
            return self._failed[1]
        if question != self._asking and not self._closed:
            self._waiting = question
            if not self.busy:
                self._task = asyncio.create_task(self._ask(), name="weights")
        return None

    def forget_failures(self) -> None:
        """Ask again about what could not be read: it may have been committed meanwhile."""
        self._failed = None

    async def _ask(self) -> None:
        while (question := self._waiting) is not None and not self._closed:
            self._waiting, self._asking = None, question
            answer = await self._answer_to(question)
            self._asking = None
            if self._closed:
                return
            if answer.compared is not None:
                self._known[question] = answer
                while len(self._known) > _KEPT:
                    self._known.popitem(last=False)
            else:
                self._failed = (question, answer)
            self.on_answer()

    async def _answer_to(self, question: Question) -> Answer:
        self._number += 1
        wanted = {"id": self._number, "store": str(question.store), "run": question.run, "names": question.names,
                  "epoch": question.epoch, "other": question.other}  # fmt: skip
        try:
            process = await self._living()
            assert process.stdin
            assert process.stdout
            process.stdin.write(json.dumps(wanted).encode() + b"\n")
            await process.stdin.drain()
            while line := await process.stdout.readline():
                said = json.loads(line)
                if said.get("id") == self._number:
                    break
            else:
                return await self._died(process)
            if "compared" in said:
                return Answer(Comparison.from_json(said["compared"]))
            return Answer(problem=inert(str(said.get("error"))))
        except (ValueError, KeyError, TypeError, AttributeError):
            self._kill()
            return Answer(problem="the process that reads weights gave an answer that makes no sense.")
        except ConnectionError:
            return await self._died(self._process)
        except OSError as error:
            return Answer(problem=f"the process that reads weights cannot be started: {error.strerror or error}.")

    async def _living(self) -> asyncio.subprocess.Process:
        if self._process is None or self._process.returncode is not None:
            # A session of its own: a key pressed in the app is no signal to it, and it draws over nothing.
            self._process = await asyncio.create_subprocess_exec(
                *self.command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                start_new_session=True,
                limit=_LONGEST_LINE,
                env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            )
        return self._process

    async def _died(self, process: asyncio.subprocess.Process | None) -> Answer:
        code = await self._end(process) if process else None
        how = f"killed by {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit code {code}"
        return Answer(problem=f"the process that reads weights ended ({how}). Move the cursor to try again.")

    def _kill(self) -> None:
        if self._process and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def _end(self, process: asyncio.subprocess.Process) -> int:
        """Its exit code; it is killed where it does not end."""
        try:
            return await asyncio.wait_for(process.wait(), _PATIENCE)
        except TimeoutError:
            self._kill()
            return await process.wait()

    async def close(self) -> None:
        """End the process. It has ended when this returns."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._process is not None and self._process.returncode is None:
            # It may be in the middle of a large layer: nothing is lost by not waiting for that.
            self._kill()
            await self._process.wait()
