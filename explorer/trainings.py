"""Trainings started from the app: `lyrx batch` in a session of its own, found again by any later app.

Each has a record (JSON: what was started, its process), a log and, once it has ended, its exit status: three files of
one name in the user's state folder.  Whether it lives is asked of the system: the process of that number must be the
one that was started, not one that got its number later.  Everything here reads files or waits for processes, and runs
off the event loop.
"""

import contextlib
import json
import os
import re
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..store import LyrxError, inert
from .detached import exit_path, log_path, write_json
from .paths import trainings_folder

LYRX = (sys.executable, "-m", "lyrx.explorer.cli")
"""How lyrx's command line is called."""

_KEPT = 90 * 24 * 3600
"""Seconds that the files of a training are kept after its end."""
_NAMED = 60
"""Characters of the run's name in the names of its files."""
_PATIENCE = 20.0
"""Seconds for a process to be started."""


class TrainingError(LyrxError, RuntimeError):
    """A training cannot be started, found or stopped."""

    exit_code = 1


@dataclass(frozen=True)
class Ending:
    """How a training ended."""

    code: int | None
    """Its exit status, negative for a signal; None where nobody saw it."""
    ended: float | None


@dataclass(frozen=True)
class Training:
    """One call of `lyrx batch` that was made from the app."""

    path: Path
    """Of its record."""
    run: str
    store: Path
    spec: Path
    command: tuple[str, ...]
    cwd: Path
    started: float
    """Seconds since 1970."""
    host: str
    pid: int | None = None
    created: float = 0.0
    """When the process began, as the system tells it: that it is this one and no later one of the same number."""
    asked_to_stop: float | None = None
    keeper: tuple[int, float] = (0, 0.0)
    """Process id and beginning of the process that waits for it, and writes down how it ended."""

    @property
    def log(self) -> Path:
        """What it prints."""
        return log_path(self.path)

    @property
    def here(self) -> bool:
        """Whether it was started on this machine; a state folder may be shared."""
        return self.host == socket.gethostname()

    def alive(self) -> bool | None:
        """Whether its process lives; None if that cannot be known from here."""
        if exit_path(self.path).exists():
            return False
        if not self.here:
            return None
        # While its keeper lives, its end has not been told yet.
        return self._process() is not None or _living(*self.keeper, self.keeper_command) is not None

    @property
    def keeper_command(self) -> tuple[str, ...]:
        """What its keeper was called with."""
        return (sys.executable, "-m", "lyrx.explorer.detached", str(self.path))

    def ending(self) -> Ending | None:
        """How it ended, or None while it lives or where that cannot be known."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            kept = json.loads(exit_path(self.path).read_text())
            return Ending(int(kept["code"]), float(kept["ended"]))
        if self.alive() is not False:
            return None
        # The process that waits for it was killed too, or the machine went down.
        with contextlib.suppress(OSError):
            return Ending(None, self.log.stat().st_mtime)
        return Ending(None, None)

    def _process(self) -> Any:
        return None if self.pid is None else _living(self.pid, self.created, self.command)

    def stop(self) -> None:
        """Ask it to end: it commits what it has, and says 'interrupted'. Raises TrainingError."""
        process = self._reachable()
        with contextlib.suppress(OSError):
            write_json(self.path, {**json.loads(self.path.read_text()), "asked_to_stop": time.time()})
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGTERM)

    def kill(self) -> None:
        """End it and all its children at once; what it has committed is kept. Raises TrainingError."""
        import psutil

        process = self._reachable()
        family = [process]
        with contextlib.suppress(psutil.Error):
            family += process.children(recursive=True)
        for one in family:
            with contextlib.suppress(psutil.Error):
                one.kill()

    def _reachable(self) -> Any:
        if not self.here:
            raise TrainingError(f"run '{inert(self.run)}' was started on {inert(self.host)}: stop it there.")
        process = self._process()
        if process is None:
            raise TrainingError(f"run '{inert(self.run)}' is not under way any more.")
        return process


def _living(pid: int, created: float, command: Sequence[str]) -> Any:
    """The living process of this number, if it is the one that began then."""
    import psutil

    with contextlib.suppress(psutil.Error, ValueError):
        process = psutil.Process(pid)
        # When a process began is reckoned from the clock, which may have been set since.
        same = abs(process.create_time() - created) < 1 or process.cmdline() == list(command)
        if pid and same and process.status() != psutil.STATUS_ZOMBIE:
            return process
    return None


def batch_command(
    spec: Path, store: Path, options: Sequence[str] = (), processes: int = 1, *, gpus: int = 0
) -> tuple[str, ...]:
    """`lyrx batch` for this spec with these options; several processes through the launchers that README names."""
    base = LYRX
    if processes > 1:
        if gpus:
            launcher = ("accelerate.commands.launch", *(["--multi_gpu"] if gpus > 1 else []))
            count = ("--num_processes", str(processes))
        else:
            launcher = ("torch.distributed.run", "--rdzv_backend", "c10d", "--rdzv_endpoint", "localhost:0")
            count = ("--nproc_per_node", str(processes))
        base = (base[0], "-m", *launcher, *count, *base[1:])
    return (*base, "batch", str(spec), "--store", str(store), *options)


def gpu_count() -> int:
    """NVIDIA GPUs of this machine, asked of the system: the app's process knows no torch."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([one for one in visible.split(",") if one.strip() not in ("", "-1")])
    return len(list(Path("/proc/driver/nvidia/gpus").glob("*")))


def shown_command(command: Sequence[str]) -> str:
    """The command as one would type it."""
    if tuple(command[: len(LYRX)]) == LYRX:
        command = ("lyrx", *command[len(LYRX) :])
    elif command[:1] == LYRX[:1]:
        command = ("python", *command[1:])
    return inert(shlex.join(command))


def start(command: Sequence[str], *, run: str, store: Path, spec: Path, cwd: Path | None = None) -> Training:
    """Start `command` detached, with a log and a record of its own. It is running when this returns.

    Raises TrainingError: the run is under way already, the state folder cannot be written, the command cannot be run.
    """
    folder = trainings_folder()
    known = newest(run, store)
    if known is not None and known.alive():
        raise TrainingError(f"run '{inert(run)}' is being trained already, by process {known.pid}.")
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", run).strip(".-")[:_NAMED] or "run"
    record = folder / f"{slug}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}.json"
    facts = {
        "run": run,
        "store": str(store.absolute()),
        "spec": str(spec),
        "command": list(command),
        "cwd": str(cwd or Path.cwd()),
        "started": time.time(),
        "host": socket.gethostname(),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        log_path(record).touch(mode=0o600)
        write_json(record, facts)
    except OSError as error:
        raise TrainingError(
            f"the training's log cannot be kept in {folder}: {error.strerror or error}. "
            "Make that folder writable, or name another with XDG_STATE_HOME. Nothing was started."
        ) from error
    complaint = _launch(record)
    if complaint:
        for path in (record, log_path(record)):
            path.unlink(missing_ok=True)
        raise TrainingError(f"the training cannot be started: {inert(complaint)}. Nothing was started.")
    found = read(record)
    assert found is not None
    return found


def _launch(record: Path) -> str:
    """Run :mod:`.detached` on a record. Returns why the command does not run, or nothing."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "lyrx.explorer.detached", str(record)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            timeout=_PATIENCE,
            check=False,
        )
    except OSError as error:
        return f"{error.strerror or error}: {error.filename}"
    except subprocess.TimeoutExpired:
        return f"nothing was heard of it for {_PATIENCE:g} s"
    said = done.stdout.decode(errors="replace").strip()
    return (said.splitlines() or [f"exit code {done.returncode}"])[-1] if done.returncode else ""


def again(training: Training) -> Training:
    """Start the same command once more: it goes on where it stopped. Raises TrainingError."""
    return start(
        training.command, run=training.run, store=training.store, spec=training.spec, cwd=training.cwd
    )  # fmt: skip


def read(record: Path) -> Training | None:
    """The training of a record, or None where that cannot be read."""
    try:
        facts = json.loads(record.read_text())
        pid, asked, keeper = facts.get("pid"), facts.get("asked_to_stop"), facts.get("keeper") or {}
        return Training(
            record,
            str(facts["run"]),
            Path(facts["store"]),
            Path(facts["spec"]),
            tuple(map(str, facts["command"])),
            Path(facts["cwd"]),
            float(facts["started"]),
            str(facts["host"]),
            None if pid is None else int(pid),
            float(facts.get("created", 0)),
            None if asked is None else float(asked),
            (int(keeper.get("pid", 0)), float(keeper.get("created", 0))),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def known(store: Path) -> list[Training]:
    """All trainings into this store that were started from an app, oldest first."""
    place = store.absolute()
    found = (read(record) for record in trainings_folder().glob("*.json"))
    return sorted((one for one in found if one and one.store == place), key=lambda one: one.started)


def newest(run: str, store: Path) -> Training | None:
    """The last training of this run that was started from an app."""
    return next((one for one in reversed(known(store)) if one.run == run), None)


def _sweep(folder: Path) -> None:
    """Remove the files of trainings that ended long ago."""
    for ended in folder.glob("*.exit"):
        with contextlib.suppress(OSError):
            if time.time() - ended.stat().st_mtime > _KEPT:
                for path in (ended, ended.with_suffix(".log"), ended.with_suffix(".json")):
                    path.unlink(missing_ok=True)
