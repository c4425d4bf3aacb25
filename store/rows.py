"""Small numbers, committed row by row: a float64 Zarr array whose every chunk is one row with a commit record.

The numbers are in two places.  The record holds them too, and is what lyrx reads: it is replaced as one file, so that a
row can be committed again and again while others read, and a writer may be killed at any moment.  The chunk is for
everybody else, who reads the array with any Zarr library; it is written first, and `lyrx check` writes it anew where a
kill has left it apart from its record.  Records of older versions have no numbers; theirs are in the chunk alone.

Reading needs no zarr: a heatmap of thousands of cells opens in a blink, and the terminal app starts without it.
"""

import math
import os
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import ge
from pathlib import Path
from typing import Any

from .commits import Commits, Index
from .errors import DamagedError, LyrxError
from .files import flush, read_json, replace_files, sha256

_TELL_EVERY = 500  # records, between two words on how far reading is


class RowError(LyrxError, ValueError):
    """Numbers that do not fit the array they should go into."""


@dataclass(frozen=True)
class Row:
    """The committed values at one index, and their commit record."""

    index: Index
    values: tuple[float, ...]
    record: Mapping[str, Any]


class Rows:
    """float64[*leading, *row]: `row` is written, committed and read as one.

    The array is made by :func:`create_rows`, when its run or probe is made.  Several processes may write different rows
    at the same time.
    """

    def __init__(self, path: Path, leading: tuple[int, ...], row: tuple[int, ...]):
        self.path = path
        self.leading = leading
        self.row = row
        self.commits = Commits(path)
        self._format = struct.Struct(f"<{math.prod(row)}d")
        self._array: Any = None
        self._plain: bool | None = None
        self._carried: set[Index] = set()
        self._rows: dict[Index, Row] = {}

    def write(
        self, index: Index, values: Sequence[float], fingerprint: str, *, durable: bool = True, **extra: Any
    ) -> None:
        """Write the row at `index` and commit it. `values` are in C order. Raises RowError."""
        self.write_many([(index, values, extra)], fingerprint, durable=durable)

    def write_many(
        self,
        rows: Iterable[tuple[Index, Sequence[float], Mapping[str, Any]]],
        fingerprint: str,
        *,
        durable: bool = True,
    ) -> None:
        """Write and commit several rows: (index, values in C order, what else its record says).

        A row that is committed already stays readable throughout.  `durable` False leaves out what makes it survive a
        power cut, for numbers that are replaced soon: after one they may be damaged, and count as missing.
        Raises RowError before anything is written.
        """
        files: list[tuple[Path, bytes]] = []
        through_zarr: list[tuple[Index, bytes]] = []
        for index, values, extra in rows:
            data = self._packed(index, values)
            record = {"hash": sha256(data), "values": _to_json(data), "fingerprint": fingerprint, **extra}
            if self._is_plain():
                files.append((self.chunk(index), data + _checksum(data)))
            else:
                through_zarr.append((index, data))
            files.append(self.commits.file(index, record))
            self._carry_values(index)
        for index, data in through_zarr:
            self._write_zarr(index, data)
        self._replace(files, durable)
        if durable:
            flush(self.commits.folder)

    def _packed(self, index: Index, values: Sequence[float]) -> bytes:
        width = math.prod(self.row)
        if len(index) != len(self.leading) or not all(0 <= i < n for i, n in zip(index, self.leading, strict=True)):
            raise RowError(f"{self.path} has no row {list(index)}; its lengths are {list(self.leading)}.")
        # Every NaN as the same bits, which is what reading the record gives back.
        numbers = [math.nan if value != value else float(value) for value in values]
        if len(numbers) != width:
            raise RowError(f"{self.path}, row {list(index)}: {len(numbers)} numbers, and {width} are needed.")
        return struct.pack(f"<{width}d", *numbers)

    def _carry_values(self, index: Index) -> None:
        """Let an older record carry its values, so that its chunk can be replaced before it."""
        if index in self._carried:
            return
        self._carried.add(index)
        try:
            record = self.commits.read(index)
            if record is None or "values" in record:
                return
            row = self._read(index, self.commits.path(index).name)
        except DamagedError:
            self.commits.withdraw(index)
            return
        if row is not None:
            data = struct.pack(f"<{len(row.values)}d", *row.values)
            self.commits.write(index, {**record, "hash": sha256(data), "values": _to_json(data)})

    def _replace(self, files: Sequence[tuple[Path, bytes]], durable: bool) -> None:
        try:
            replace_files(files, durable=durable)
        except FileNotFoundError:
            self.path.stat()  # an array that was removed stays so
            for folder in {path.parent for path, _ in files}:
                os.makedirs(folder, exist_ok=True)
            replace_files(files, durable=durable)

    def _is_plain(self) -> bool:
        """Whether a chunk is the row's bytes and their checksum, as `create_rows` has it. Raises DamagedError."""
        if self._plain is None:
            path = self.path / "zarr.json"
            try:
                about = read_json(path)
            except FileNotFoundError as error:
                raise DamagedError(f"{path} is damaged: it is gone.") from error
            grid = {"name": "regular", "configuration": {"chunk_shape": [*(1 for _ in self.leading), *self.row]}}
            expected = {**_PLAIN, "chunk_grid": grid}
            self._plain = {key: about.get(key) for key in expected} == expected
        return self._plain

    def _write_zarr(self, index: Index, data: bytes) -> None:
        import numpy as np
        import zarr

        if self._array is None:
            self._array = zarr.open_array(self.path, mode="r+").with_config({"write_empty_chunks": True})
        self._array[index] = np.frombuffer(data, dtype="<f8").reshape(self.row)
        flush(self.chunk(index))

    def read(self, index: Index) -> Row | None:
        """The row at `index` if it is committed, else None. Raises DamagedError."""
        return self._read_file(index, self.commits.path(index).name)

    def _read_file(self, index: Index, name: str) -> Row | None:
        try:
            return self._read(index, name)
        except DamagedError:
            # A second look: between the two reads a writer may have replaced an older version's row.
            return self._read(index, name)

    def _read(self, index: Index, name: str) -> Row | None:
        record = self.commits.read_file(name)
        if record is None:
            return None
        if "values" not in record:
            return self._read_chunk(index, record)
        known = self._rows.get(index)
        if known is not None and known.record is record:
            return known
        try:
            data = self._format.pack(*map(float, record["values"]))
        except (TypeError, ValueError, OverflowError, struct.error) as error:
            path = self.commits.path(index)
            raise DamagedError(f"{path} is damaged: its values are no row of {self.path.name}: {error}.") from error
        if sha256(data) != record["hash"]:
            path = self.commits.path(index)
            raise DamagedError(f"{path} is damaged: its values are not those that were committed.")
        row = self._rows[index] = Row(index, _unpacked(data), record)
        return row

    def _read_chunk(self, index: Index, record: Mapping[str, Any]) -> Row:
        path = self.chunk(index)
        try:
            data = path.read_bytes()[: 8 * math.prod(self.row)]
        except OSError as error:
            raise DamagedError(f"{path} is damaged: it is committed, but {error.strerror or error}.") from error
        if sha256(data) != record["hash"]:
            raise DamagedError(f"{path} is damaged: its contents are not those that were committed.")
        return Row(index, _unpacked(data), record)

    def as_zarr(self, index: Index) -> tuple[float, ...]:
        """The row as any Zarr library reads it, committed or not."""
        import zarr

        return tuple(float(value) for value in zarr.open_array(self.path, mode="r")[index].reshape(-1))  # type: ignore[union-attr]

    def mend(self, index: Index) -> None:
        """Write the chunk at `index` anew from its record. Raises DamagedError when the record cannot be trusted."""
        row = self.read(index)
        if row is None:
            return
        data = self._packed(index, row.values)
        if self._is_plain():
            self._replace([(self.chunk(index), data + _checksum(data))], durable=True)
        else:
            self._write_zarr(index, data)

    def chunk(self, index: Index) -> Path:
        """The file that holds the row at `index` for Zarr."""
        return self.path / "/".join(("c", *map(str, index), *("0" for _ in self.row)))

    def read_all(
        self, on_read: Callable[[int, int], None] = lambda read, of: None
    ) -> tuple[dict[Index, Row], dict[Index, DamagedError]]:
        """Every committed row, and those that cannot be trusted.

        `on_read` is told now and then how many of how many records have been read: there may be tens of thousands.
        """
        rows: dict[Index, Row] = {}
        damaged: dict[Index, DamagedError] = {}
        files = sorted(self.commits.files())
        for place, (index, name) in enumerate(files):
            if place % _TELL_EVERY == 0:
                on_read(place, len(files))
            if len(index) != len(self.leading) or any(map(ge, index, self.leading)):
                continue  # a record of nothing that this array has
            try:
                row = self._read_file(index, name)
            except DamagedError as error:
                damaged[index] = error
                continue
            if row is not None:
                rows[index] = row
        return rows, damaged


_PLAIN = {
    "zarr_format": 3,
    "node_type": "array",
    "data_type": "float64",
    "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
    "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}],
}
"""What the description of an array says whose chunks can be written without zarr, twenty times as fast."""


def _checksum(data: bytes) -> bytes:
    """What Zarr's codec `crc32c` puts after the bytes."""
    import google_crc32c

    return google_crc32c.value(data).to_bytes(4, "little")


def _unpacked(data: bytes) -> tuple[float, ...]:
    return struct.unpack(f"<{len(data) // 8}d", data)


def _to_json(data: bytes) -> list[float | str]:
    """A row's numbers for its record: what is not finite as text, since JSON has no such numbers."""
    return [value if math.isfinite(value) else str(value) for value in _unpacked(data)]


def create_rows(group: Any, name: str, leading: Mapping[str, int], row: Mapping[str, int]) -> None:
    """Create the array `name` in the Zarr `group`, its axes named and their lengths fixed for good."""
    import zarr.codecs

    shape = (*leading.values(), *row.values())
    group.create_array(
        name,
        shape=shape,
        chunks=(*(1 for _ in leading), *(max(1, n) for n in row.values())),
        dtype="float64",
        fill_value=math.nan,
        compressors=[zarr.codecs.Crc32cCodec()],
        serializer=zarr.codecs.BytesCodec(endian="little"),
        dimension_names=(*leading, *row),
    )


def create_coordinate(group: Any, name: str, values: Sequence[Any]) -> None:
    """Create the coordinate array of axis `name`: strings or whole numbers."""
    import numpy as np

    strings = bool(values) and isinstance(values[0], str)
    array = group.create_array(
        name,
        shape=(len(values),),
        dtype=str if strings else "int64",
        dimension_names=(name,),
        config={"write_empty_chunks": True},
    )
    if values:
        array[:] = np.array(values, dtype=object if strings else "int64")
