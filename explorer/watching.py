"""Following one run's training: its record, its log, and what it commits. Reads files; off the event loop."""

import time
from dataclasses import replace
from pathlib import Path

from ..store import LyrxError, Store, StoreNotFoundError
from . import trainings
from .core.picture import Picture
from .core.training import Seen
from .feed import GoneError, RunFeed
from .logfile import LogFile


def now() -> float:
    """Seconds since 1970."""
    return time.time()


class TrainingFeed:
    """One run, wherever it is trained."""

    def __init__(self, store: Path, run: str):
        self.store, self.run = store, run
        self.training: trainings.Training | None = None
        """The newest one that was started from an app."""
        self._picture: Picture | None = None
        self._feed = RunFeed(store, run)
        self._log: LogFile | None = None

    def poll(self) -> Seen:
        """All that is known now. What cannot be read is said, never raised."""
        self.training = trainings.newest(self.run, self.store)
        # Asked before the store and the log are read: what has ended has written its last.
        seen = self._ours(self.training) if self.training else Seen(self.run)
        problem = self._read_store()
        writer, failure = self._writer() if self._picture is not None else ("", "")
        lines, log_problem = self._lines() if self.training else ((), "")
        return replace(
            seen, picture=self._picture, writer=writer, failure=failure, lines=lines, problem=problem or log_problem
        )

    def _ours(self, training: trainings.Training) -> Seen:
        ending = training.ending()
        return Seen(
            self.run,
            ours=True,
            alive=training.alive(),
            host="" if training.here else training.host,
            pid=training.pid,
            command=trainings.shown_command(training.command),
            log=str(training.log),
            started=training.started,
            ended=ending.ended if ending else None,
            code=ending.code if ending else None,
            asked_to_stop=training.asked_to_stop,
        )

    def _read_store(self) -> str:
        try:
            update = self._feed.poll()
        except (GoneError, StoreNotFoundError):
            self._picture = None  # not begun yet, or removed
        except (LyrxError, OSError) as error:
            return str(error)
        else:
            self._picture = update.picture if update else self._picture
        if self._picture is None and self.training is None:
            return f"the store {self.store} has no run '{self.run}'."
        return ""

    def _writer(self) -> tuple[str, str]:
        """Who writes the run, and why the last work on it failed."""
        try:
            run = Store.open(self.store).run(self.run)
            failure = run.failure.read()
            return str(run.writer() or ""), failure.message if failure else ""
        except (LyrxError, OSError):
            return "", ""

    def _lines(self) -> tuple[tuple[str, ...], str]:
        assert self.training
        if self._log is None or self._log.path != self.training.log:
            self._log = LogFile(self.training.log)
        try:
            return self._log.poll(), ""
        except OSError as error:
            return (), f"its log cannot be read: {error.strerror or error} ({self.training.log})"
