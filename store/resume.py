"""What training needs to go on after the last finished epoch: weights, optimiser state, and nothing pickled.

Two slots of bytes are written in turn, so the state of the epoch before survives until the next one is committed.
"""

import contextlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .commits import Commits
from .errors import DamagedError
from .files import flush, sha256
from .layout import CHUNK_BYTES

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class ResumeState:
    """The state after `epoch`: named arrays, and plain JSON values."""

    epoch: int
    arrays: "Mapping[str, np.ndarray]"
    extra: Mapping[str, Any]


class Resume:
    """The resume slots of one run."""

    def __init__(self, run: Path):
        self.path = run / "resume"
        self.commits = Commits(self.path)

    def write(self, state: ResumeState, fingerprint: str) -> None:
        """Commit `state`; the one before stays until the next call."""
        import numpy as np
        import zarr

        parts, table, offset = [], [], 0
        for name, value in state.arrays.items():
            data = np.ascontiguousarray(value).astype(value.dtype.newbyteorder("<"), copy=False).tobytes()
            table.append({"name": name, "dtype": value.dtype.name, "shape": list(value.shape), "offset": offset})
            parts.append(data)
            offset += len(data)
        blob = b"".join(parts)
        if not (self.path / "zarr.json").exists() or zarr.open_array(self.path, mode="r").shape[1] < len(blob):
            self._create(len(blob))
        array = zarr.open_array(self.path, mode="r+").with_config({"write_empty_chunks": True})
        slot = self._slot(state.epoch)
        self.commits.withdraw((slot,))
        array[slot, : len(blob)] = np.frombuffer(blob, dtype="uint8")
        for file in (self.path / "c" / str(slot)).iterdir():
            flush(file)
        self.commits.write(
            (slot,),
            {
                "hash": sha256(blob),
                "fingerprint": fingerprint,
                "epoch": state.epoch,
                "bytes": len(blob),
                "arrays": table,
                "extra": dict(state.extra),
            },
        )

    def _create(self, length: int) -> None:
        import zarr
        import zarr.codecs

        # The state grows once, when the optimiser has taken its first step; nobody else reads it.
        self.drop()
        zarr.create_array(
            self.path,
            shape=(2, length),
            chunks=(1, max(1, min(length, CHUNK_BYTES))),
            dtype="uint8",
            fill_value=0,
            compressors=[zarr.codecs.Crc32cCodec()],
            dimension_names=("slot", "byte"),
            zarr_format=3,
        )

    @staticmethod
    def _slot(epoch: int) -> int:
        return epoch % 2

    def read(self, fingerprint: str) -> ResumeState | None:
        """The newest state that is whole and belongs to `fingerprint`, or None."""
        found = None
        for slot in (0, 1):
            with contextlib.suppress(DamagedError):
                state = self._read(slot, fingerprint)
                if state and (found is None or state.epoch > found.epoch):
                    found = state
        return found

    def _read(self, slot: int, fingerprint: str) -> ResumeState | None:
        import numpy as np
        import zarr

        record = self.commits.read((slot,))
        if record is None or record["fingerprint"] != fingerprint:
            return None
        try:
            array = zarr.open_array(self.path, mode="r")
            blob = np.asarray(array[slot, : record["bytes"]]).tobytes()
        except (ValueError, RuntimeError, OSError) as error:
            raise DamagedError(f"{self.path}, slot {slot}, is damaged: {error}") from error
        if sha256(blob) != record["hash"]:
            raise DamagedError(f"{self.path}, slot {slot}, is damaged: its contents are not those committed.")
        arrays = {}
        for entry in record["arrays"]:
            dtype = np.dtype(entry["dtype"]).newbyteorder("<")
            count = int(np.prod(entry["shape"], dtype=np.int64))
            flat = np.frombuffer(blob, dtype=dtype, count=count, offset=entry["offset"])
            arrays[entry["name"]] = flat.reshape(entry["shape"]).astype(dtype.newbyteorder("="), copy=True)
        return ResumeState(record["epoch"], arrays, record["extra"])

    def verify(self) -> list[DamagedError]:
        """What is damaged among the committed slots."""
        damaged = []
        for (slot,) in self.commits.indices():
            try:
                record = self.commits.read((slot,))
                if record:
                    self._read(slot, record["fingerprint"])
            except DamagedError as error:
                damaged.append(error)
        return damaged

    def drop(self) -> None:
        """Remove the state: the run is trained and needs it no more."""
        shutil.rmtree(self.path, ignore_errors=True)
