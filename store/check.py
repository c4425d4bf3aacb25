"""`lyrx check`: is everything that was committed still what was committed?"""

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .commits import Index
from .errors import DamagedError, LyrxError, RunLockedError, RunNotFoundError, StoreNotWritableError, UnreadableError
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
    mended: list[Path] = field(default_factory=list)
    """Chunks that showed a reader of Zarr other numbers than were committed, and were written anew."""
    unsettled: list[Path] = field(default_factory=list)
    """Such chunks of a run that a live writer is at: it may be about to commit them."""


def check_store(store: Store, report: Report) -> Iterator[str]:
    """Verify every hash in `store` and sweep what killed writers left, into `report`; yields each run's name."""
    runs, errors = store.runs()
    report.damaged += errors
    for folder in (store.path, store.runs_path):
        for entry in sorted(folder.iterdir()) if folder.is_dir() else ():
            if is_leftover(entry.name):
                _sweep(entry, report, busy=maker_alive(entry.name))
    for run in runs:
        try:
            _check_run(run, report)
        except UnreadableError as error:
            report.damaged.append(error)
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
    report.damaged += run.files.verify()
    apart = _check_rows(run.history.rows, report)
    if run.writer() is None:
        report.damaged += run.resume.verify()
    try:
        probes = run.all_probes()
    except LyrxError as error:
        report.damaged.append(error)
        probes = []
    for probe in probes:
        report.damaged += probe.verify()
        for rows in probe.rows():
            apart += _check_rows(rows, report)
    if apart:
        _mend(run, apart, report)


def _check_rows(rows: Rows, report: Report) -> list[tuple[Rows, Index]]:
    """Every committed row by its hash, and once more as a stranger's Zarr reads it: returns where that differs."""
    found, damaged = rows.read_all()
    report.damaged += damaged.values()
    report.rows += len(found)
    return [(rows, index) for index in found if _read_otherwise(rows, index)]


def _read_otherwise(rows: Rows, index: Index) -> str:
    """What is wrong with a committed row for those who read it as Zarr, or nothing."""
    try:
        row = rows.read(index)
        if row is None:
            return ""  # withdrawn this moment
        values = rows.as_zarr(index)
    except DamagedError as error:
        return str(error)
    except Exception as error:  # whatever zarr meets in a damaged chunk or in damaged metadata
        return f"{rows.chunk(index)} cannot be read as Zarr: {error}"
    if all(one == other or (one != one and other != other) for one, other in zip(values, row.values, strict=True)):
        return ""
    return f"{rows.chunk(index)}: Zarr reads other numbers than were committed."


def _mend(run: Run, apart: list[tuple[Rows, Index]], report: Report) -> None:
    """A writer that was killed (or a bit that flipped) left chunks apart from their records: the records are right."""
    try:
        with run.writing("check"):
            for rows, index in apart:
                if not _read_otherwise(rows, index):
                    continue  # its writer has finished since
                try:
                    rows.mend(index)
                    wrong = _read_otherwise(rows, index)
                except (DamagedError, OSError) as error:
                    wrong = str(error)
                if wrong:
                    report.damaged.append(DamagedError(wrong))
                else:
                    report.mended.append(rows.chunk(index))
    except (RunLockedError, RunNotFoundError):
        report.unsettled += [rows.chunk(index) for rows, index in apart if _read_otherwise(rows, index)]
    except StoreNotWritableError:
        report.damaged += [DamagedError(wrong) for rows, index in apart if (wrong := _read_otherwise(rows, index))]


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
