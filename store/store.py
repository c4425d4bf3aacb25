"""A store: a folder of runs."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path

from .errors import (
    DamagedError,
    LyrxError,
    NotAStoreError,
    RunExistsError,
    RunNotFoundError,
    StoreNotFoundError,
    StoreNotWritableError,
    StoreVersionError,
)
from .files import is_leftover, partial_name, read_json, write_json
from .layout import ATTRIBUTE, SCHEMA, NameTooLongError, folder_name
from .lock import writer_lock
from .plan import ProbeInfo
from .run import Run, RunInfo, create_run
from .text import did_you_mean, inert


class Store:
    """An existing store. Use :meth:`open` or :meth:`open_or_create`."""

    def __init__(self, path: Path):
        self.path = path

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "Store":
        """The store at `path`.

        Raises StoreNotFoundError, NotAStoreError, UnreadableError, StoreVersionError (written by a newer lyrx).
        """
        path = Path(path)
        if not path.exists():
            raise StoreNotFoundError(
                f"there is no store at {path}. `lyrx batch SPEC --store {path}` makes one; "
                "name another with --store or LYRX_STORE."
            )
        try:
            attributes = read_json(path / "zarr.json").get("attributes")
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotAStoreError(f"{path} is not a lyrx store: it has no zarr.json.") from error
        lyrx = attributes.get(ATTRIBUTE) if isinstance(attributes, dict) else None
        if not isinstance(lyrx, dict) or not isinstance(lyrx.get("schema"), int):
            raise NotAStoreError(f"{path} is a Zarr hierarchy, but not a lyrx store. Name another with --store.")
        if lyrx["schema"] > SCHEMA:
            raise StoreVersionError(
                f"the store {path} has schema {lyrx['schema']}, written by a newer lyrx; this one reads {SCHEMA}. "
                "Upgrade lyrx."
            )
        return cls(path)

    @classmethod
    def open_or_create(cls, path: str | os.PathLike[str]) -> "Store":
        """The store at `path`, made if there is nothing (or an empty folder).

        Raises what :meth:`open` raises, and StoreNotWritableError.
        """
        path = Path(path)
        if cls.something_at(path):
            return cls.open(path)
        try:
            # Each file whole, and the same whoever writes it: two processes may do this at once.
            for group, attributes in ((path, {ATTRIBUTE: {"schema": SCHEMA}}), (path / "runs", {})):
                group.mkdir(parents=True, exist_ok=True)
                write_json(group / "zarr.json", {"zarr_format": 3, "node_type": "group", "attributes": attributes})
        except OSError as error:
            raise StoreNotWritableError(f"cannot make a store at {path}: {error.strerror or error}.") from error
        return cls(path)

    @staticmethod
    def something_at(path: Path) -> bool:
        """Whether there is anything at `path` but an empty folder (or one in which a store was just being made)."""
        if not path.is_dir():
            return path.exists()
        return any(not is_leftover(entry.name) for entry in path.iterdir())

    @property
    def runs_path(self) -> Path:
        return self.path / "runs"

    def _run_path(self, name: str) -> Path:
        return self.runs_path / folder_name(name)

    def __contains__(self, name: str) -> bool:
        return (self._run_path(name) / "zarr.json").exists()

    def run(self, name: str) -> Run:
        """The run called `name`, as it is or as tables show it. Raises RunNotFoundError, DamagedError."""
        try:
            if name in self:
                return Run(self._run_path(name))
        except NameTooLongError:
            pass
        except FileNotFoundError as error:
            raise RunNotFoundError(f"the run '{inert(name)}' has just been removed.") from error
        runs = [run for run, _ in self._runs() if run]
        for run in runs:
            if inert(run.name) == name:
                return run
        names = [run.name for run in runs]
        known = f" It has: {', '.join(map(inert, names[:8]))}{' …' if len(names) > 8 else ''}." if names else ""
        raise RunNotFoundError(
            f"the store {self.path} has no run '{inert(name)}'.{did_you_mean(name, names)}{known or ' It is empty.'}"
        )

    def runs(self) -> tuple[list[Run], list[LyrxError]]:
        """All runs in order of creation, and what is wrong with those that cannot be read."""
        runs, errors = [], []
        for run, error in self._runs():
            if run:
                runs.append(run)
            elif error:
                errors.append(error)
        return sorted(runs, key=lambda run: (run.info.created, run.name)), errors

    def _runs(self) -> Iterator[tuple[Run | None, LyrxError | None]]:
        for entry in sorted(self.runs_path.iterdir()) if self.runs_path.is_dir() else ():
            if not entry.is_dir() or is_leftover(entry.name):
                continue
            try:
                yield Run(entry), None
            except FileNotFoundError:
                if entry.exists():
                    yield None, DamagedError(f"{entry} is damaged: it has no zarr.json.")
            except LyrxError as error:
                yield None, error

    def create_run(self, info: RunInfo, probe: ProbeInfo, files: Mapping[str, bytes] | None = None) -> Run:
        """Make a run with its first probe; its axes are fixed from now on. `files` are kept with it, by name.

        Raises RunExistsError, StoreNotWritableError, NameTooLongError.
        """
        path = self._run_path(info.name)
        if info.name in self:
            raise RunExistsError(f"the store {self.path} already has a run '{inert(info.name)}'.")
        try:
            return create_run(path, info, probe, files or {})
        except PermissionError as error:
            raise StoreNotWritableError(
                f"cannot write the store {self.path}: {error.strerror}. Check its permissions."
            ) from error
        except OSError as error:
            if info.name in self:
                raise RunExistsError(f"another process has just made a run '{inert(info.name)}'.") from error
            raise StoreNotWritableError(f"cannot write the store {self.path}: {error.strerror or error}.") from error

    def delete_run(self, name: str) -> None:
        """Remove a run with all it holds, damaged or not.

        Raises RunNotFoundError, and RunLockedError when it is being written.
        """
        path = self._run_path(name)
        if not path.exists():
            raise RunNotFoundError(f"the store {self.path} has no run '{inert(name)}'.")
        lock = path / "checkpoint"
        with writer_lock(lock, inert(name), "delete") if lock.is_dir() else nullcontext():
            doomed = partial_name(path)
            path.rename(doomed)
            shutil.rmtree(doomed, ignore_errors=True)
