"""Small numbers, committed row by row: a float64 Zarr array whose every chunk is one row with a commit record.

Rows are written through zarr and can be read through it by anyone.  lyrx itself reads a chunk's bytes directly: the
record's hash says whether they are right, a heatmap of thousands of cells opens in a blink, and the terminal app needs
not import zarr, which would cost it its quick start.
"""

import contextlib
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .commits import Commits, Index
from .errors import DamagedError
from .files import flush, sha256


@dataclass(frozen=True)
class Row:
    """The committed values at one index, and their commit record."""

    index: Index
    values: tuple[float, ...]
    record: Mapping[str, Any]


class Rows:
    """float64[*leading, *row]: `row` is written, committed and read as one.

    The array is made by :func:`create_rows`, when its run or probe is made.
    """

    def __init__(self, path: Path, leading: tuple[int, ...], row: tuple[int, ...]):
        self.path = path
        self.leading = leading
        self.row = row
        self.commits = Commits(path)
        self._array: Any = None

    def write(self, index: Index, values: Sequence[float], fingerprint: str, **extra: Any) -> None:
        """Write the row at `index` and commit it. `values` are in C order."""
        import numpy as np
        import zarr

        if self._array is None:
            self._array = zarr.open_array(self.path, mode="r+").with_config({"write_empty_chunks": True})
        data = np.asarray(values, dtype="<f8").reshape(self.row)
        self.commits.withdraw(index)
        self._array[index] = data
        flush(self.chunk(index))
        self.commits.write(index, {"hash": sha256(data.tobytes()), "fingerprint": fingerprint, **extra})

    def read(self, index: Index) -> Row | None:
        """The row at `index` if it is committed, else None. Raises DamagedError."""
        # A second look: between the two reads a writer may have withdrawn the row and committed it anew.
        with contextlib.suppress(DamagedError):
            return self._read(index)
        return self._read(index)

    def _read(self, index: Index) -> Row | None:
        record = self.commits.read(index)
        if record is None:
            return None
        width = 8 * math.prod(self.row)
        path = self.chunk(index)
        try:
            data = path.read_bytes()[:width]
        except OSError as error:
            raise DamagedError(f"{path} is damaged: it is committed, but {error.strerror or error}.") from error
        if sha256(data) != record["hash"]:
            raise DamagedError(f"{path} is damaged: its contents are not those that were committed.")
        return Row(index, struct.unpack(f"<{len(data) // 8}d", data), record)

    def as_zarr(self, index: Index) -> tuple[float, ...]:
        """The row as any Zarr library reads it, committed or not."""
        import zarr

        return tuple(float(value) for value in zarr.open_array(self.path, mode="r")[index].reshape(-1))  # type: ignore[union-attr]

    def chunk(self, index: Index) -> Path:
        """The file that holds the row at `index`."""
        return self.path.joinpath("c", *map(str, index), *("0" for _ in self.row))

    def read_all(self) -> tuple[dict[Index, Row], dict[Index, DamagedError]]:
        """Every committed row, and those that cannot be trusted."""
        rows: dict[Index, Row] = {}
        damaged: dict[Index, DamagedError] = {}
        for index in self.commits.indices():
            if len(index) != len(self.leading) or any(i >= n for i, n in zip(index, self.leading, strict=True)):
                continue  # a record of nothing that this array has
            try:
                row = self.read(index)
            except DamagedError as error:
                damaged[index] = error
                continue
            if row is not None:
                rows[index] = row
        return rows, damaged


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
