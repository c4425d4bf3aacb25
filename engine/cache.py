"""What is known of data sets and costs much to find out again, in a folder of the user's.

Nothing depends on it: what is missing, damaged or cannot be written is worked out again.
"""

import contextlib
import hashlib
import math
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

from ..store import DamagedError
from ..store.files import canonical, read_json, sha256, write_json

ENVIRONMENT = "LYRX_CACHE"


def cache_folder() -> Path:
    """$LYRX_CACHE, else what the system has for caches of the user's."""
    from platformdirs import user_cache_path

    named = os.environ.get(ENVIRONMENT)
    return Path(named).expanduser().absolute() if named else user_cache_path("lyrx")


def is_whole(path: Path) -> bool:
    """Whether the file `path` is there as :func:`keep` wrote it."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == _hash_of(path).read_text()
    except (OSError, UnicodeDecodeError):
        return False


def keep(path: Path, write: Callable[[Any], Any]) -> bool:
    """Keep what `write` writes into a file, whole or not at all, with its hash; returns whether it could be kept."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".partial", delete=False) as file:
            write(file)
        with open(file.name, "rb") as written:
            found = hashlib.file_digest(written, "sha256").hexdigest()
        os.replace(file.name, path)
        _hash_of(path).write_text(found)
    except OSError:
        return False
    return True


def _hash_of(path: Path) -> Path:
    return path.with_suffix(".sha256")


def kept(name: str, find: Callable[[], Mapping[str, float]], keys: set[str]) -> dict[str, float]:
    """The numbers `keys` that were kept under `name`, else what `find` finds, which is then kept.

    Of several processes on a machine one finds out and the others wait for it.
    """
    path = cache_folder() / f"{name}.json"
    known = _read(path, keys)
    if known is not None:
        return known
    with alone(path):
        known = _read(path, keys)
        if known is None:
            known = dict(find())
            _write(path, known)
    return known


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """No other process is at `path`, as far as files can be locked there."""
    lock = FileLock(f"{path}.lock")
    with contextlib.suppress(OSError, NotImplementedError):  # a home that cannot be written to, or has no locks
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _read(path: Path, keys: set[str]) -> dict[str, float] | None:
    try:
        said: dict[str, Any] = read_json(path)
    except (OSError, DamagedError):
        return None
    values = said.get("values")
    if not isinstance(values, dict) or set(values) != keys or said.get("hash") != sha256(canonical(values)):
        return None
    whole = all(isinstance(value, float) and math.isfinite(value) for value in values.values())
    return values if whole else None


def _write(path: Path, values: Mapping[str, float]) -> None:
    with contextlib.suppress(OSError):
        write_json(path, {"values": dict(values), "hash": sha256(canonical(dict(values)))})
