"""One writer per run.

The lock is `flock` on a file, taken by the `filelock` package: the kernel drops it when its process dies, however that
happens.  Beside it lies a note that says who the writer is, for messages; whether there is a writer only the lock says.
"""

import fcntl
import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import DamagedError, RunLockedError, RunNotFoundError, StoreNotWritableError
from .files import read_json, write_json

_PATIENCE = 0.5
"""Seconds to wait for the lock: those who only ask whether there is a writer hold it for an instant."""


@dataclass(frozen=True)
class Writer:
    """The process that writes a run, as far as it has said."""

    pid: int | None
    host: str
    purpose: str

    def __str__(self) -> str:
        if self.pid is None:
            return "another process"
        here = "" if self.host == socket.gethostname() else f" on {self.host}"
        return f"process {self.pid}{here} ({self.purpose})"


def current_writer(folder: Path) -> Writer | None:
    """Who writes the run whose lock lies in `folder`, or None."""
    if not _held(folder / "lock"):
        return None
    try:
        note = _note(folder)
        return Writer(int(note["pid"]), str(note["host"]), str(note["purpose"]))
    except (OSError, DamagedError, KeyError, TypeError, ValueError):
        return Writer(None, "", "")  # it has just begun, or is just ending


def _held(path: Path) -> bool:
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return False  # nobody has ever written, or we may not look
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def _note(folder: Path) -> dict[str, Any]:
    return read_json(folder / "writer")


@contextmanager
def writer_lock(folder: Path, run: str, purpose: str) -> Iterator[None]:
    """Hold the right to write `run`, whose lock lies in `folder`.

    Raises RunLockedError when a live process has it, RunNotFoundError when the run has just been removed,
    StoreNotWritableError when the file system refuses.
    """
    # Not for those who only read: it takes as long to import as all of the store.
    from filelock import FileLock, Timeout

    lock = FileLock(folder / "lock", thread_local=False)
    try:
        before = folder.stat().st_ino
        lock.acquire(timeout=_PATIENCE, poll_interval=0.05)
    except Timeout as error:
        raise RunLockedError(
            f"run '{run}' is being written by {current_writer(folder) or 'another process'}. "
            "Wait until it ends, or stop it; what it has committed is kept."
        ) from error
    except FileNotFoundError as error:
        raise RunNotFoundError(f"run '{run}' has just been removed.") from error
    except OSError as error:
        raise StoreNotWritableError(
            f"cannot write {folder}: {error.strerror or error}. Check its permissions."
        ) from error
    token = uuid.uuid4().hex
    try:
        # Who removes a run holds its lock and moves its folder away: this may be the lock of what is gone.
        if not folder.exists() or folder.stat().st_ino != before:
            raise RunNotFoundError(f"run '{run}' has just been removed or made anew by another process. Try again.")
        write_json(
            folder / "writer",
            {
                "pid": os.getpid(),
                "host": socket.gethostname(),
                "purpose": purpose,
                "since": time.time(),
                "token": token,
            },
        )
        yield
    finally:
        # Only one's own note: after a removal the path may belong to the next writer.
        with suppress(OSError, DamagedError):
            if _note(folder).get("token") == token:
                (folder / "writer").unlink()
        lock.release()
