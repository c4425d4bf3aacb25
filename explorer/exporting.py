"""Files that a heatmap is taken out to, written whole or not at all."""

import contextlib
import os
from pathlib import Path

from ..store import inert
from ..store.files import replace_files
from .core.export import ExportError, NotWrittenError


def checked_path(path: Path) -> Path:
    """`path`, absolute, the home folder for `~`. Raises ExportError, NotWrittenError where it cannot be written."""
    if "\0" in str(path) or not path.name:
        raise ExportError(f"'{inert(str(path))}' is no name of a file.")
    with contextlib.suppress(RuntimeError):  # whose home is not known
        path = path.expanduser()
    path = path.absolute()
    said = inert(str(path))
    try:
        if path.is_dir():
            raise NotWrittenError(f"{said} is a folder. Name a file in it.")
        if path.exists() and not path.is_file():
            raise NotWrittenError(f"{said} is no plain file, and would be replaced by one. Name another.")
        if not path.parent.is_dir():
            what = "is no folder" if path.parent.exists() else "does not exist"
            raise NotWrittenError(
                f"{said} cannot be written: {inert(str(path.parent))} {what}. Make it, or name another."
            )
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise NotWrittenError(f"{said} cannot be written: its folder is not yours to write to. Name another.")
    except OSError as error:
        if isinstance(error, NotWrittenError):
            raise
        raise NotWrittenError(f"{said} cannot be written: {error.strerror or error}. Name another.") from error
    return path


def write_file(path: Path, data: bytes) -> Path:
    """Write `data` under a temporary name beside `path` and put it in its place. Returns where it is.

    What is there already is replaced; when it fails, it is as it was.  Raises ExportError, NotWrittenError.
    """
    path = checked_path(path)
    try:
        replace_files([(path.resolve(), data)])
    except OSError as error:
        why = error.strerror or error
        raise NotWrittenError(f"{inert(str(path))} was not written: {why}. What was there is as it was.") from error
    return path


def size_text(size: int) -> str:
    """A size in bytes, for people."""
    for unit, one in (("MB", 1_000_000), ("kB", 1_000)):
        if size >= one:
            return f"{size / one:.1f} {unit}"
    return f"{size} bytes"
