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
from .files import canonical, flush, parse_json, replace_files, sha256

Index = tuple[int, ...]

_SETTLED = 2 * 10**9
"""Nanoseconds. A file system's clock is coarse: what changed less than this ago may change again unseen."""


class Commits:
    """The commit records of one array, one for each index along its leading axes."""

    def __init__(self, array: Path):
        self.folder = array / "commits"
        self._folder = str(self.folder)
        self._cache: dict[str, tuple[tuple[int, int, int], bool, dict[str, Any]]] = {}

    def path(self, index: Index) -> Path:
        """The file of the record at `index`."""
        return self.folder / _name(index)

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
        return self.read_file(_name(index))

    def read_file(self, name: str) -> dict[str, Any] | None:
        """The record in the file called `name`, or None. Raises DamagedError.

        Of tens of thousands of records, what is done for each is what opening a large heatmap takes.
        """
        path = f"{self._folder}/{name}"
        known = self._cache.get(name)
        try:
            stat = os.stat(path)
            # A record is replaced, never rewritten in place: another inode or time means another record.
            stamp = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
            if known and known[0] == stamp and known[1]:
                return known[2]
            settled = time.time_ns() - stat.st_mtime_ns > _SETTLED
            with open(path, "rb", buffering=0) as file:
                data = file.readall()
        except FileNotFoundError:
            self._cache.pop(name, None)
            return None
        record = parse_json(data, path)
        if not isinstance(record.get("fingerprint"), str) or "hash" not in record:
            raise DamagedError(f"{path} is damaged: it lacks its hash or fingerprint.")
        if "seal" in record and not _sealed(data, record):
            raise DamagedError(f"{path} is damaged: it does not say what was committed.")
        if known and known[2] == record:
            record = known[2]  # the same object for the same contents: others remember what they made of it
        self._cache[name] = (stamp, settled, record)
        return record

    def indices(self) -> list[Index]:
        """Every index that has a record, in order."""
        return sorted(index for index, _ in self.files())

    def files(self) -> Iterator[tuple[Index, str]]:
        """Every index that has a record, and the name of its file, in no order."""
        try:
            entries = os.listdir(self.folder)
        except FileNotFoundError:
            return
        for name in entries:
            if not name.endswith(".json"):
                continue
            parts = name[:-5].split(".")
            if all(map(str.isdecimal, parts)):
                yield tuple(map(int, parts)), name

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


def _name(index: Index) -> str:
    return ".".join(map(str, index)) + ".json"


def _sealed(data: bytes, record: Mapping[str, Any]) -> bool:
    """Whether the seal in a record's bytes is that of all else in them."""
    seal = record["seal"]
    end = b',"seal":"%s"}' % seal.encode() if isinstance(seal, str) else b""
    # As it was written it need not be put together again to be hashed; somebody may have laid it out otherwise.
    if end and data.endswith(end) and sha256(data[: -len(end)] + b"}") == seal:
        return True
    return sha256(_unsealed(record)) == seal


def _unsealed(record: Mapping[str, Any]) -> bytes:
    """What a seal is the hash of: the rest of the record, its keys in order and without spaces."""
    return canonical({key: value for key, value in record.items() if key != "seal"})
