"""Files written whole or not at all, and hashes of what is in them.

This is the only place that knows how a small file becomes durable: a temporary file beside it, flushed to the disk,
renamed over it, and the folder flushed too.  What will soon be replaced again may do without the flushing.  Temporary
names end in `.partial`, as zarr's own do, so that one sweep (:mod:`.check`) finds what killed writers leave behind.
"""

import contextlib
import hashlib
import json
import os
import re
import socket
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .errors import DamagedError, UnreadableError

PARTIAL = ".partial"


_OURS = re.compile(r".+\.(?P<host>.+)-(?P<pid>\d+)-[0-9a-f]{8}\.partial", re.DOTALL)
_ZARRS = re.compile(r".*\.?[0-9a-f]{32}\.partial", re.DOTALL)


def is_leftover(name: str) -> bool:
    """Whether a file or folder called `name` is one that lyrx or zarr was writing and has not put in its place."""
    return bool(_OURS.fullmatch(name) or _ZARRS.fullmatch(name))


def maker_alive(name: str) -> bool:
    """Whether the process that makes the leftover `name` may still be at work. Zarr's do not say who made them."""
    found = _OURS.fullmatch(name)
    if not found:
        return False
    if found["host"] != socket.gethostname():
        return True
    import psutil

    return int(found["pid"]) != os.getpid() and psutil.pid_exists(int(found["pid"]))


def sha256(data: bytes | memoryview) -> str:
    """Hex digest of `data`."""
    return hashlib.sha256(data).hexdigest()


def canonical(value: Any) -> bytes:
    """`value` as JSON bytes that depend on nothing but its contents (for hashing)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def partial_name(path: Path) -> Path:
    """A sibling of `path` that says which process is writing it."""
    return Path(_partial(path))


def _partial(path: Path) -> str:
    return f"{path}.{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}{PARTIAL}"


def flush(path: Path | str) -> None:
    """Force `path` (a file or a folder) to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def replace_files(files: Sequence[tuple[Path, bytes]], *, durable: bool = True) -> None:
    """Replace each path by its bytes, one after the other in this order, each atomically.

    `durable`: every file's bytes are on the disk before any takes its place (folders are for the caller to flush).
    Otherwise a power cut may leave a file empty or cut short, though never a mixture of two.  Folders must be there.
    """
    made: list[tuple[str, Path]] = []
    done = 0
    try:
        for path, data in files:
            temporary = _partial(path)
            with open(temporary, "xb", buffering=0) as file:
                made.append((temporary, path))
                rest = memoryview(data)
                while rest:  # a disk that is nearly full takes a part of it, and says nothing
                    rest = rest[file.write(rest) :]
        if durable:
            _flush_all([temporary for temporary, _ in made])
        for place, (temporary, path) in enumerate(made):
            os.replace(temporary, path)
            done = place + 1
    except BaseException:
        for temporary, _ in made[done:]:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        raise


def _flush_all(paths: Sequence[str]) -> None:
    """Together: a file system then writes its journal once for several of them."""
    if len(paths) < 4:
        for path in paths:
            flush(path)
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(flush, paths))


def write_json(path: Path, value: Any) -> None:
    """Replace `path` by `value` as JSON, atomically and durably."""
    replace_files([(path, json.dumps(value, ensure_ascii=True, indent=1).encode())])
    flush(path.parent)


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in `path`.

    Raises FileNotFoundError (NotADirectoryError) if there is none, UnreadableError if it may not be read, DamagedError
    if it is no JSON object.
    """
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise UnreadableError(
            f"{path} cannot be read: {error.strerror or error}. Look at its permissions, and at the disk it lies on."
        ) from error
    return parse_json(data, path)


def parse_json(data: bytes, path: Path | str) -> dict[str, Any]:
    """The JSON object that `data` from the file `path` is. Raises DamagedError if it is none."""
    try:
        value = json.loads(data)
    except (ValueError, UnicodeDecodeError) as error:
        raise DamagedError(f"{path} is damaged: {error}. Run `lyrx check` on the store.") from error
    if not isinstance(value, dict):
        raise DamagedError(f"{path} is damaged: it holds no JSON object. Run `lyrx check` on the store.")
    return value
