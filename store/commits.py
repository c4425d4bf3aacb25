"""Commit records: the only thing that makes something in a store exist.

A record is a small JSON file, written last and atomically.  It carries the content hash of what it commits and the
fingerprint (spec, code version, data) that the numbers belong to.  A chunk without a record is nothing: a writer was
killed before it finished, or is still at it.

Small numbers lie in the record itself, under `values` (see :mod:`.rows`).  A `seal` is the hash of all else in the
record: whatever else it says is then as certain as the contents are.
"""

import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .errors import DamagedError
from .files import PARTIAL, canonical, flush, read_json, replace_files, sha256

Index = tuple[int, ...]

_SETTLED = 2 * 10**9
"""Nanoseconds. A file system's clock is coarse: what changed less than this ago may change again unseen."""


class Commits:
    """The commit records of one array, one for each index along its leading axes."""

    def __init__(self, array: Path):
        self.folder = array / "commits"
        self._cache: dict[str, tuple[tuple[int, int, int], bool, dict[str, Any]]] = {}

    def path(self, index: Index) -> Path:
        """The file of the record at `index`."""
        return self.folder / (".".join(map(str, index)) + ".json")

    def write(self, index: Index, record: Mapping[str, Any]) -> None:
        """Commit: from here on the contents at `index` exist. `record` must hold `hash` and `fingerprint`."""
        self.folder.mkdir(exist_ok=True)
        replace_files([self.file(index, record)])
        flush(self.folder)

    def file(self, index: Index, record: Mapping[str, Any]) -> tuple[Path, bytes]:
        """The file that commits `index`, for those who write it together with others."""
        text = _unsealed({"time": time.time(), **record})
        return self.path(index), b'%s,"seal":"%s"}' % (text[:-1], sha256(text).encode())

    def withdraw(self, index: Index) -> None:
        """Take the record back, before its contents are written anew."""
        self.path(index).unlink(missing_ok=True)

    def read(self, index: Index) -> dict[str, Any] | None:
        """The record at `index`, or None. Raises DamagedError."""
        return self._read(self.path(index))

    def _read(self, path: Path) -> dict[str, Any] | None:
        try:
            stat = path.stat()
            # A record is replaced, never rewritten in place: another inode or time means another record.
            stamp = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
            known = self._cache.get(path.name)
            if known and known[0] == stamp and known[1]:
                return known[2]
            settled = time.time_ns() - stat.st_mtime_ns > _SETTLED
            record = read_json(path)
        except FileNotFoundError:
            self._cache.pop(path.name, None)
            return None
        if not isinstance(record.get("fingerprint"), str) or "hash" not in record:
            raise DamagedError(f"{path} is damaged: it lacks its hash or fingerprint.")
        if "seal" in record and sha256(_unsealed(record)) != record["seal"]:
            raise DamagedError(f"{path} is damaged: it does not say what was committed.")
        if known and known[2] == record:
            record = known[2]  # the same object for the same contents: others remember what they made of it
        self._cache[path.name] = (stamp, settled, record)
        return record

    def indices(self) -> list[Index]:
        """Every index that has a record, in order."""
        return sorted(self._indices())

    def _indices(self) -> Iterator[Index]:
        try:
            entries = os.listdir(self.folder)
        except FileNotFoundError:
            return
        for name in entries:
            if name.endswith(PARTIAL):
                continue
            parts = name.removesuffix(".json").split(".")
            if name.endswith(".json") and all(part.isdecimal() for part in parts):
                yield tuple(int(part) for part in parts)

    def stamp(self) -> tuple[int, ...]:
        """Changes whenever a record comes, goes or is replaced (cheap: for those who follow a growing store).

        Shortly after a change it is another one at every call: a second change may not show in the folder's time.
        """
        return folder_stamp(self.folder)


def folder_stamp(folder: Path) -> tuple[int, ...]:
    """See :meth:`Commits.stamp`."""
    try:
        stat = folder.stat()
    except FileNotFoundError:
        return (0, 0, 0)
    now = time.time_ns()
    return (stat.st_ino, stat.st_mtime_ns, 0 if now - stat.st_mtime_ns > _SETTLED else now)


def _unsealed(record: Mapping[str, Any]) -> bytes:
    """What a seal is the hash of: the rest of the record, its keys in order and without spaces."""
    return canonical({key: value for key, value in record.items() if key != "seal"})
