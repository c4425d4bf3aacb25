"""Commit records: the only thing that makes something in a store exist.

A record is a small JSON file, written last and atomically.  It carries the content hash of what it commits and the
fingerprint (spec, code version, data) that the numbers belong to.  A chunk without a record is nothing: a writer was
killed before it finished, or is still at it.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .errors import DamagedError
from .files import PARTIAL, read_json, write_json

Index = tuple[int, ...]


class Commits:
    """The commit records of one array, one for each index along its leading axes."""

    def __init__(self, array: Path):
        self.folder = array / "commits"
        self._cache: dict[str, tuple[tuple[int, int], dict[str, Any]]] = {}

    def path(self, index: Index) -> Path:
        """The file of the record at `index`."""
        return self.folder / (".".join(map(str, index)) + ".json")

    def write(self, index: Index, record: dict[str, Any]) -> None:
        """Commit: from here on the contents at `index` exist. `record` must hold `hash` and `fingerprint`."""
        self.folder.mkdir(exist_ok=True)
        write_json(self.path(index), {**record, "time": time.time()})

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
            stamp = (stat.st_ino, stat.st_mtime_ns)
            known = self._cache.get(path.name)
            if known and known[0] == stamp:
                return known[1]
            record = read_json(path)
        except FileNotFoundError:
            self._cache.pop(path.name, None)
            return None
        if not isinstance(record.get("fingerprint"), str) or "hash" not in record:
            raise DamagedError(f"{path} is damaged: it lacks its hash or fingerprint.")
        self._cache[path.name] = (stamp, record)
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

    def stamp(self) -> tuple[int, int]:
        """Changes whenever a record comes, goes or is replaced (cheap: for those who follow a growing store)."""
        try:
            stat = self.folder.stat()
        except FileNotFoundError:
            return (0, 0)
        return (stat.st_ino, stat.st_mtime_ns)
