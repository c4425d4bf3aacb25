"""Finding and reading spec files. Off the event loop."""

import os
import tomllib
from collections.abc import Iterator
from pathlib import Path

from .core.speclist import SpecFile, described, looks_like_a_spec

_MOST = 1_000
"""Files listed at most."""
_LARGEST = 256 * 1024
"""Bytes of a file that are read."""
_EXAMPLES = "examples"


def find_specs(folder: Path) -> list[SpecFile]:
    """The specs of a working folder: its own first, then those under its `examples`."""
    found = [one for path in _toml_files(folder) if (one := _read(path, ".", strict=True))]
    examples = folder / _EXAMPLES
    for where, folders, _ in os.walk(examples):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        group = str(Path(where).relative_to(folder))
        found += [one for path in _toml_files(Path(where)) if (one := _read(path, group, strict=False))]
        if len(found) >= _MOST:
            break
    return found[:_MOST]


def completions(typed: str, folder: Path) -> list[SpecFile]:
    """The TOML files that a typed path is the beginning of; the path itself where there is no such file."""
    path = Path(os.path.expandvars(typed)).expanduser()
    path = path if path.is_absolute() else folder / path
    if path.is_dir():
        within, start = path, ""
    else:
        within, start = path.parent, path.name
    group = typed[: typed.rfind("/") + 1] or "."
    found = [_read(one, group, strict=False) for one in _toml_files(within) if one.name.startswith(start)]
    listed = [one for one in found if one is not None]
    if not listed and start:
        listed = [SpecFile(path, group, broken=True)]
    return listed[:_MOST]


def completed(typed: str, folder: Path) -> str | None:
    """A typed path with what can only follow: the rest of the one folder or TOML file that begins so."""
    path = Path(os.path.expandvars(typed)).expanduser()
    within = folder / (path if typed.endswith("/") else path.parent)
    start = "" if typed.endswith("/") else path.name
    try:
        with os.scandir(within) as entries:
            fits = [(one.name, one.is_dir()) for one in entries if one.name.startswith(start)]
    except OSError:
        return None
    names = [name + "/" if folder else name for name, folder in fits if folder or name.endswith(".toml")]
    names = [name for name in names if start.startswith(".") or not name.startswith(".")]
    common = os.path.commonprefix(names)  # noqa: RUF071 - what is typed grows by characters
    return typed[: len(typed) - len(start)] + common if len(common) > len(start) else None


def text_of(path: Path) -> str:
    """A file's text, as much of it as is looked at. Raises OSError."""
    with path.open("rb") as file:
        return file.read(_LARGEST).decode(errors="backslashreplace")


def stamp_of(path: Path) -> tuple[int, int] | None:
    """Changes when the file does; None where there is none."""
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_mtime_ns, about.st_size


def _toml_files(folder: Path) -> Iterator[Path]:
    try:
        names = sorted(one.name for one in os.scandir(folder) if one.name.endswith(".toml") and one.is_file())
    except OSError:
        return
    yield from (folder / name for name in names)


def _read(path: Path, group: str, *, strict: bool) -> SpecFile | None:
    """What the list says of a file; None, with `strict`, if it is TOML of another kind."""
    try:
        values = tomllib.loads(text_of(path))
    except (OSError, ValueError):
        return None if strict and path.name == "pyproject.toml" else described(path, group, None)
    return described(path, group, values) if looks_like_a_spec(values) or not strict else None
