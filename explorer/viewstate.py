"""How the app was left: where one was, how the table of runs and each heatmap were looked at.

It is kept in the user's state folder, never in a store.  One small file for each store, and one for each of its runs,
so that several apps never write over what the others keep; each is replaced as a whole.  What cannot be read is as if
it were not there: a view is a comfort.
"""

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .core.view import HeatView

VERSION = 1
"""Of the files. One of another version is not read."""

KEPT = 300
"""Files; those not written for longest go."""

_LARGEST = 64 * 1024
"""Bytes of one file."""


def view_folder() -> Path:
    """Where views are kept."""
    from platformdirs import user_state_path

    return user_state_path("lyrx", appauthor=False) / "views"


class ViewState:
    """What is kept of the looks at one store. Its methods read and write files: not for the event loop.

    `fresh`: nothing that was kept is told, and what is looked at now is kept as usual.
    """

    def __init__(self, store: Path, folder: Path | None = None, *, fresh: bool = False):
        self.folder = folder or view_folder()
        self.fresh = fresh
        self._store = str(store.absolute())

    def view(self, run: str) -> HeatView | None:
        """How the heatmap of `run` was looked at, or None if it was not."""
        found = self._read("run", run)
        return None if found is None else HeatView.from_json(found)

    def keep_view(self, run: str, view: HeatView) -> None:
        """Keep how the heatmap of `run` is looked at."""
        self._write("run", run, view.to_json())

    def place(self) -> dict[str, Any]:
        """Where one was in this store: the `run` that was open, and how the `table` of runs was looked at."""
        return self._read("store", "") or {}

    def keep_place(self, values: Mapping[str, Any]) -> None:
        """Keep where one is in this store."""
        self._write("store", "", values)

    def app(self) -> dict[str, Any]:
        """What is kept of the app, whatever the store: `theme`."""
        return self._read("app", "", anywhere=True) or {}

    def keep_app(self, values: Mapping[str, Any]) -> None:
        """Keep this of the app."""
        self._write("app", "", values, anywhere=True)

    def _file(self, what: str, name: str, anywhere: bool) -> tuple[Path, list[str]]:
        subject = [what, "" if anywhere else self._store, name]
        digest = hashlib.sha256("\0".join(subject).encode("utf-8", "surrogateescape")).hexdigest()[:32]
        return self.folder / f"{what}-{digest}.json", subject

    def _read(self, what: str, name: str, *, anywhere: bool = False) -> dict[str, Any] | None:
        if self.fresh:
            return None
        path, subject = self._file(what, name, anywhere)
        try:
            with path.open("rb") as file:
                found = json.loads(file.read(_LARGEST))
        except (OSError, ValueError, RecursionError):
            return None
        if not isinstance(found, dict) or found.get("version") != VERSION or found.get("of") != subject:
            return None
        kept = found.get("kept")
        return kept if isinstance(kept, dict) else None

    def _write(self, what: str, name: str, values: Mapping[str, Any], *, anywhere: bool = False) -> None:
        path, subject = self._file(what, name, anywhere)
        raw = json.dumps({"version": VERSION, "of": subject, "kept": dict(values)}).encode()
        if len(raw) > _LARGEST:
            return
        # A home that is full or cannot be written keeps nobody from working.
        with contextlib.suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            replace_file(path, raw)
            self._tidy()

    def _tidy(self) -> None:
        files = list(self.folder.glob("*-*.json"))
        if len(files) <= KEPT:
            return
        dated = []
        for file in files:
            with contextlib.suppress(OSError):
                dated.append((file.stat().st_mtime_ns, file))
        for _, file in sorted(dated)[: len(files) - KEPT]:
            with contextlib.suppress(OSError):
                file.unlink()


def replace_file(path: Path, raw: bytes) -> None:
    """Write `path` so that a reader sees the old file or the new one, whatever happens in between.

    Raises OSError where it cannot be written.
    """
    handle, temporary = tempfile.mkstemp(prefix=".", suffix=".new", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(raw)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
