"""Files written whole or not at all, and hashes of what is in them.

This is the only place that knows how a small file becomes durable: a temporary file beside it, flushed to the disk,
renamed over it, and the folder flushed too.  Temporary names end in `.partial`, as zarr's own do, so that one sweep
(:mod:`.check`) finds what killed writers leave behind.
"""

import hashlib
import json
import os
import re
import socket
import uuid
from pathlib import Path
from typing import Any

from .errors import DamagedError

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
    return path.with_name(f"{path.name}.{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}{PARTIAL}")


def flush(path: Path) -> None:
    """Force `path` (a file or a folder) to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, value: Any) -> None:
    """Replace `path` by `value` as JSON, atomically and durably."""
    temporary = partial_name(path)
    try:
        with temporary.open("xb") as file:
            file.write(json.dumps(value, ensure_ascii=True, indent=1).encode())
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    flush(path.parent)


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in `path`.

    Raises FileNotFoundError if there is none, DamagedError if it is no JSON object.
    """
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, UnicodeDecodeError) as error:
        raise DamagedError(f"{path} is damaged: {error}. Run `lyrx check` on the store.") from error
    if not isinstance(value, dict):
        raise DamagedError(f"{path} is damaged: it holds no JSON object. Run `lyrx check` on the store.")
    return value
