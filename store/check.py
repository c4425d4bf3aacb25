"""`lyrx check`: is everything that was committed still what was committed?"""

import os
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from .errors import LyrxError
from .files import PARTIAL
from .run import Run
from .store import Store


@dataclass
class Report:
    """What a check found."""

    runs: int = 0
    checkpoints: int = 0
    rows: int = 0
    """Committed epochs, cells and distances that were verified."""
    damaged: list[LyrxError] = field(default_factory=list)
    swept: list[Path] = field(default_factory=list)
    """Leftovers of killed writers that were removed."""
    kept: list[Path] = field(default_factory=list)
    """Leftovers that could not be removed, or that a live writer may still be using."""


def check_store(store: Store, report: Report) -> Iterator[str]:
    """Verify every hash in `store` and sweep what killed writers left, into `report`; yields each run's name."""
    runs, errors = store.runs()
    report.damaged += errors
    for entry in sorted(store.runs_path.glob(f"*{PARTIAL}")):
        _sweep(entry, report, busy=_maker_alive(entry))
    for run in runs:
        _check_run(run, report)
        yield run.name


def _check_run(run: Run, report: Report) -> None:
    report.runs += 1
    busy = run.writer() is not None
    for leftover in sorted(run.path.rglob(f"*{PARTIAL}")):
        if leftover.exists():
            _sweep(leftover, report, busy=busy)
    try:
        for epoch in run.checkpoints.committed():
            report.checkpoints += 1
            report.damaged += run.checkpoints.verify(epoch)
        epochs, damaged = run.history.read()
        report.rows += len(epochs)
        report.damaged += damaged
        if not busy:
            report.damaged += run.resume.verify()
        for probe in run.probes():
            results = probe.results()
            report.rows += len(results.estimates) + len(results.distances)
            report.damaged += results.damaged
    except LyrxError as error:
        report.damaged.append(error)


def _sweep(path: Path, report: Report, *, busy: bool) -> None:
    if busy:
        report.kept.append(path)
        return
    try:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        report.swept.append(path)
    except OSError:
        report.kept.append(path)


def _maker_alive(path: Path) -> bool:
    """Whether the process that a partial name speaks of (`NAME.HOST-PID-HEX.partial`) may still be at work."""
    host, _, rest = path.name.removesuffix(PARTIAL).rpartition("-")[0].rpartition("-")
    if not rest.isdecimal():
        return False
    if not host.endswith(socket.gethostname()):
        return True
    return int(rest) != os.getpid() and psutil.pid_exists(int(rest))
