"""The table of runs, followed: only what has changed is read, a slice of it at a time.

A look at a run that nobody writes costs a dozen calls of the file system.  What was read is kept for the next time the
app is opened (:class:`RowCache`), so that a store of a thousand runs is on the screen before they are read.

Everything here reads files, and runs off the event loop (:mod:`.tail`).
"""

import contextlib
import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from ..store import DamagedError, LyrxError, Probe, Progress, Run, Store
from ..store.files import is_leftover
from ..store.stamps import run_stamp
from .core.runrow import RunRow, Table
from .feed import again

_CACHE = 2
"""Version of what the cache holds."""
_SAVE_EVERY = 30.0
"""Seconds between two writings of the cache, at least."""
_FIELDS = tuple(field.name for field in fields(RunRow))


@dataclass
class _Known:
    """What is known of the run in one folder."""

    row: RunRow
    stamp: Any = None
    """What it was read from; None: it is to be read."""
    checked: bool = False
    """Whether it was looked at since the feed was made."""
    probe: Probe | None = None
    """Kept while it is written, since it remembers the records that it has read."""


class TableFeed:
    """All runs of the store at `store`."""

    def __init__(self, store: Path, cache: "RowCache | None" = None, clock: Callable[[], float] = time.perf_counter):
        self.store = store
        self.unread = 0
        """Runs that are still to be looked at for the first time. Then poll again."""
        self._known: dict[str, _Known] = {}
        self._problems: dict[str, str] = {}
        self._last: Table | None = None
        self._next: list[str] = []
        self._cache, self._clock = cache, clock
        self._remembered: dict[str, tuple[RunRow, Any]] | None = None

    def poll(self, *, budget: float | None = None) -> Table | None:
        """The table, or None if nothing changed since the last call.

        With a `budget` in seconds it looks at new runs and those that are being written, and at as many others as it
        can until then, going on with the rest the next time.  Raises LyrxError or OSError when the store is gone.
        """
        store = Store.open(self.store)
        until = math.inf if budget is None else self._clock() + budget
        folders = self._folders(store.runs_path)
        if self._remembered is None:
            self._remembered = self._cache.load() if self._cache else {}
        for name in self._known.keys() - folders.keys():
            del self._known[name]
        for name in self._problems.keys() - folders.keys():
            del self._problems[name]
        for name in folders:
            if name not in self._known and name not in self._problems and name in self._remembered:
                row, stamp = self._remembered[name]
                self._known[name] = _Known(row, stamp)
        if self._begin(store.runs_path, folders, until):
            self._visit(store.runs_path, folders, until)
        self.unread = len(folders) - sum(known.checked for known in self._known.values()) - len(self._problems)
        if not self.unread and self._cache:
            self._cache.save((name, known.row, known.stamp) for name, known in self._known.items())
        rows = sorted((known.row for known in self._known.values()), key=lambda row: (row.created, row.name))
        table = Table(tuple(rows), tuple(self._problems[name] for name in sorted(self._problems)), self.unread)
        if table == self._last:
            return None
        self._last = table
        return table

    @staticmethod
    def _folders(path: Path) -> dict[str, os.DirEntry[str]]:
        try:
            with os.scandir(path) as entries:
                return {entry.name: entry for entry in entries if not is_leftover(entry.name) and entry.is_dir()}
        except FileNotFoundError:
            return {}

    def _begin(self, runs: Path, folders: dict[str, os.DirEntry[str]], until: float) -> bool:
        """Read what new runs are, the newest first; their numbers come later. Whether all could be."""
        new = {
            name: _made(folders[name]) for name in sorted(folders.keys() - self._known.keys() - self._problems.keys())
        }
        for name in sorted(new, key=lambda name: -new[name]):
            if self._clock() > until:
                return False
            with self._trouble(name, runs):
                self._known[name] = _Known(_described(Run(runs / name)))
        return True

    def _visit(self, runs: Path, folders: Collection[str], until: float) -> None:
        """Look at the runs for changes: those being written and those never read, then the others in turn."""
        known = self._known
        unread = [name for name in known if not known[name].checked]
        unread.sort(key=lambda name: -known[name].row.created)  # the newest stand on top
        alive = [name for name in known if known[name].checked and known[name].probe is not None]
        waiting = [name for name in self._next if name in known or name in self._problems]
        if not waiting or until == math.inf:
            waiting = [*known, *self._problems]
        done = set[str]()
        for name in (*alive, *unread, *waiting):
            if self._clock() > until:
                break
            if name not in done and name in folders:
                done.add(name)
                with self._trouble(name, runs):
                    self._look(name, runs / name)
        self._next = [name for name in waiting if name not in done]

    @contextlib.contextmanager
    def _trouble(self, name: str, runs: Path) -> Iterator[None]:
        """Keep what is wrong with a run; one that is being removed is no trouble."""
        try:
            yield
        except (LyrxError, OSError) as error:
            known = self._known.pop(name, None)
            path = runs / name
            if isinstance(error, FileNotFoundError):
                if not path.exists():
                    self._problems.pop(name, None)
                    return
                if not (path / "zarr.json").exists():
                    error = DamagedError(f"{path} is damaged: it has no zarr.json.")
                elif known is not None:
                    self._known[name] = known  # a part of it has gone this moment
                    return
            self._problems[name] = str(error)
        else:
            self._problems.pop(name, None)

    def _look(self, name: str, path: Path) -> None:
        known = self._known.get(name)
        probe = known.stamp[0] if known and known.stamp else None
        stamp = run_stamp(path, probe)
        if known and known.stamp == stamp:
            known.checked = True
            return
        run = Run(path)
        probes = run.probes()
        newest = probes[-1] if probes else None
        # The one known before has read its records.
        newest = newest and again(known.probe if known else None, newest)
        # Taken before reading: what is committed meanwhile is seen the next time.
        stamp = run_stamp(path, newest.path.name if newest else None)
        row = _row(run, newest)
        alive = row.status in ("training", "probing")
        self._known[name] = _Known(row, stamp, True, newest if alive else None)


def _made(entry: os.DirEntry[str]) -> float:
    """About when a run was begun: nothing is added to its folder later."""
    try:
        return entry.stat().st_mtime
    except OSError:
        return 0.0


def _described(run: Run) -> RunRow:
    """What is known of a run from its description alone."""
    info = run.info
    return RunRow(info.name, info.model, info.data, None, None, None, info.epochs, 0, 0, 0,
                  planned=len(info.checkpoints), created=info.created)  # fmt: skip


def _row(run: Run, probe: Probe | None) -> RunRow:
    progress = probe.progress() if probe else Progress(0, 0, 0, None)
    epochs = run.history.rows.commits.indices()
    last = run.history.at(epochs[-1][0]) if epochs else None
    failure = run.failure.read()
    writer = run.writer()
    trained = run.trained
    return replace(
        _described(run),
        status=run.status_of(complete=progress.complete, probe=probe.info.id if probe else ""),
        error=last.test_error if last and math.isfinite(last.test_error) else None,
        epoch=last.epoch if last else None,
        cells=progress.committed,
        exact=progress.exact,
        wanted=progress.total,
        open=progress.open,
        layers=len(probe.info.layers) if probe else 0,
        checkpoints=len(run.checkpoints.committed()),
        touched=max(map(_changed, _signs(run, probe)), default=0.0),
        epoch_seconds=last.seconds if last and math.isfinite(last.seconds) else None,
        trained=trained,
        failure=failure.message if failure else "",
        writer="" if writer is None else str(writer),
    )


def _signs(run: Run, probe: Probe | None) -> list[Path]:
    """The files and folders whose time tells when something last happened."""
    arrays = [run.history.rows.commits, run.checkpoints.commits]
    arrays += [rows.commits for rows in probe.rows()] if probe else []
    return [*(commits.folder for commits in arrays), run.path / "checkpoint" / "writer"]


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


class RowCache:
    """What a table of runs said the last time, for the next start. It may be deleted at any time."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic):
        self.path, self._clock = path, clock
        self._saved: tuple[float, Any] | None = None

    @classmethod
    def of(cls, store: Path) -> "RowCache":
        """The one of the store at `store`, in the user's cache folder."""
        from platformdirs import user_cache_path

        name = hashlib.sha256(os.fsencode(store.absolute())).hexdigest()[:24]
        return cls(user_cache_path("lyrx", appauthor=False) / "tables" / f"{name}.json")

    def load(self) -> dict[str, tuple[RunRow, Any]]:
        """(row, stamp) by folder. What was at work is to be read anew; what is no such cache is empty."""
        try:
            value = json.loads(self.path.read_bytes())
            if value["version"] != _CACHE:
                return {}
            found = {}
            for folder, (values, stamp) in value["rows"].items():
                row = RunRow(**dict(zip(_FIELDS, values, strict=True)))
                if row.status in ("training", "probing"):
                    row, stamp = replace(row, status=None), None
                found[folder] = (row, _tuples(stamp))
            return found
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}

    def save(self, rows: Iterable[tuple[str, RunRow, Any]]) -> None:
        """Keep these (folder, row, stamp), unless that was done a moment ago. Never raises: it can do without."""
        now = self._clock()
        if self._saved is not None and now - self._saved[0] < _SAVE_EVERY:
            return
        known = {folder: [[getattr(row, name) for name in _FIELDS], stamp] for folder, row, stamp in rows}
        value = {"version": _CACHE, "rows": known}
        text = json.dumps(value, separators=(",", ":"))
        if self._saved is not None and self._saved[1] == hash(text):
            self._saved = (now, hash(text))
            return
        self._saved = (now, hash(text))
        made = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            made.write_text(text)
            made.replace(self.path)
        except OSError:
            with contextlib.suppress(OSError):
                made.unlink()


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
