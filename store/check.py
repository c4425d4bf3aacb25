"""`lyrx check`: is everything that was committed still what was committed?"""

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .errors import DamagedError, LyrxError, RunLockedError, RunNotFoundError, StoreNotWritableError
from .files import is_leftover, maker_alive
from .rows import Rows
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
    for folder in (store.path, store.runs_path):
        for entry in sorted(folder.iterdir()) if folder.is_dir() else ():
            if is_leftover(entry.name):
                _sweep(entry, report, busy=maker_alive(entry.name))
    for run in runs:
        _check_run(run, report)
        yield run.name


def _check_run(run: Run, report: Report) -> None:
    report.runs += 1
    _sweep_run(run, report)
    committed = run.checkpoints.committed()
    if run.trained:
        report.damaged += [
            DamagedError(f"run '{run.name}' is trained, and its checkpoint {epoch} is gone.")
            for epoch in run.checkpoints.epochs
            if epoch not in committed
        ]
    for epoch in committed:
        report.checkpoints += 1
        report.damaged += run.checkpoints.verify(epoch)
    _check_rows(run.history.rows, report)
    if run.writer() is None:
        report.damaged += run.resume.verify()
    try:
        probes = run.probes()
    except LyrxError as error:
        report.damaged.append(error)
        return
    for probe in probes:
        for rows in probe.rows():
            _check_rows(rows, report)


def _check_rows(rows: Rows, report: Report) -> None:
    """Every committed row by its hash, and once more as a stranger's Zarr reads it."""
    found, damaged = rows.read_all()
    report.damaged += damaged.values()
    for index, row in found.items():
        report.rows += 1
        try:
            same = rows.as_zarr(index) == row.values or any(value != value for value in row.values)
        except Exception as error:  # whatever zarr meets in a damaged chunk or in damaged metadata
            report.damaged.append(DamagedError(f"{rows.path}, row {list(index)}, cannot be read as Zarr: {error}"))
            continue
        if not same:
            report.damaged.append(DamagedError(f"{rows.path}, row {list(index)}: Zarr reads other numbers."))


def _sweep_run(run: Run, report: Report) -> None:
    leftovers = [path for path in sorted(run.path.rglob("*.partial")) if is_leftover(path.name)]
    if not leftovers:
        return
    with contextlib.ExitStack() as held:
        try:
            # Whoever holds the lock knows that nobody else is writing: what lies about belongs to the dead.
            held.enter_context(run.writing("check"))
            busy = False
        except (RunLockedError, RunNotFoundError, StoreNotWritableError):
            busy = True
        for leftover in leftovers:
            if leftover.exists():
                _sweep(leftover, report, busy=busy)


def _sweep(path: Path, report: Report, *, busy: bool) -> None:
    if busy:
        report.kept.append(path)
        return
    try:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        report.swept.append(path)
    except OSError:
        report.kept.append(path)
