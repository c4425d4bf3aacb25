"""One writer per run.

The lock is `flock` on a file, taken by the `filelock` package: the kernel drops it when its process dies, however that
happens.  Beside it lies a note that says who the writer is, for messages and for the state shown in tables; a note
whose process is gone counts for nothing.
"""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from .errors import DamagedError, RunLockedError, StoreNotWritableError
from .files import read_json, write_json


@dataclass(frozen=True)
class Writer:
    """The process that writes a run."""

    pid: int
    host: str
    purpose: str
    started: float
    """Start time of the process, seconds since 1970, so that a reused pid is not taken for it."""

    def alive(self) -> bool:
        """Whether the process still runs. One on another host is taken at its word."""
        if self.host != socket.gethostname():
            return True
        import psutil

        try:
            return abs(psutil.Process(self.pid).create_time() - self.started) < 2
        except psutil.NoSuchProcess:
            return False
        except psutil.AccessDenied:
            return True

    def __str__(self) -> str:
        here = "" if self.host == socket.gethostname() else f" on {self.host}"
        return f"process {self.pid}{here} ({self.purpose})"


def current_writer(folder: Path) -> Writer | None:
    """Who writes the run whose lock lies in `folder`, or None."""
    try:
        note = read_json(folder / "writer")
        writer = Writer(int(note["pid"]), str(note["host"]), str(note["purpose"]), float(note["started"]))
    except (FileNotFoundError, NotADirectoryError, DamagedError, KeyError, TypeError, ValueError):
        return None
    return writer if writer.alive() else None


@contextmanager
def writer_lock(folder: Path, run: str, purpose: str) -> Iterator[None]:
    """Hold the right to write `run`, whose lock lies in `folder`.

    Raises RunLockedError when a live process has it, StoreNotWritableError when the file system refuses.
    """
    import psutil

    lock = FileLock(folder / "lock", thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        holder = current_writer(folder)
        who = str(holder) if holder else "another process"
        raise RunLockedError(
            f"run '{run}' is being written by {who}. Wait until it ends, or stop it; what it has committed is kept."
        ) from error
    except (PermissionError, OSError) as error:
        raise StoreNotWritableError(
            f"cannot write {folder}: {error.strerror or error}. Check its permissions."
        ) from error
    note = folder / "writer"
    try:
        me = psutil.Process()
        write_json(
            note,
            {
                "pid": os.getpid(),
                "host": socket.gethostname(),
                "purpose": purpose,
                "started": me.create_time(),
                "since": time.time(),
            },
        )
        yield
    finally:
        note.unlink(missing_ok=True)
        lock.release()
