"""The checkpoints of a run: weights after epoch t, one Zarr array per tensor."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .commits import Commits
from .errors import DamagedError, LyrxError, NotAvailableError, NotCommittedError
from .files import flush, sha256
from .layout import chunk_shape, folder_name
from .rows import create_coordinate
from .tensors import TensorInfo, storage_dtype

if TYPE_CHECKING:
    import numpy as np

_CURE = "Put it back from a copy, or train the run anew with --fresh."


class CheckpointError(LyrxError, ValueError):
    """Tensors that do not fit the run they should go into."""


class Checkpoints:
    """Weights of one run at its checkpoints `epochs`; `tensors` describes the model's state."""

    def __init__(self, run: Path, name: str, epochs: Sequence[int], tensors: Sequence[TensorInfo]):
        self.name = name
        self.epochs = tuple(epochs)
        self.tensors = {tensor.name: tensor for tensor in tensors}
        self.commits = Commits(run / "checkpoint")
        self._weights = run / "weights"
        self._arrays: dict[str, Any] = {}

    @property
    def final(self) -> int:
        """The last checkpoint: the trained network."""
        return self.epochs[-1]

    def committed(self) -> list[int]:
        """The epochs whose weights are in the store."""
        indices = (index[0] for index in self.commits.indices() if len(index) == 1)
        return [self.epochs[index] for index in indices if index < len(self.epochs)]

    def is_committed(self, epoch: int) -> bool:
        """Whether the weights after `epoch` are in the store (one look at one file)."""
        return epoch in self.epochs and self.commits.path((self.epochs.index(epoch),)).exists()

    def append(
        self,
        epoch: int,
        values: "Mapping[str, np.ndarray]",
        fingerprint: str,
        absent: Mapping[str, str] | None = None,
    ) -> None:
        """Write and commit checkpoint `epoch`: every tensor of the model by its name, bits as in `storage_dtype`.

        `absent`: tensors that an imported checkpoint does not have, each with the reason; never of the final one.
        Raises CheckpointError when the tensors are not the run's, or the epoch is no checkpoint of it.
        """
        import numpy as np

        index, absent = self._index(epoch), dict(absent or {})
        if absent and epoch == self.final:
            raise CheckpointError(f"the final checkpoint of run '{self.name}' lacks {sorted(absent)[:5]}")
        if missing := self.tensors.keys() ^ {*values, *absent}:
            raise CheckpointError(f"checkpoint {epoch} of run '{self.name}': tensors differ in {sorted(missing)[:5]}")
        self.commits.withdraw((index,))
        hashes = {}
        for name, info in self.tensors.items():
            if name in absent:
                continue
            value = np.asarray(values[name])
            if value.shape != info.shape or value.dtype != np.dtype(storage_dtype(info.dtype)):
                raise CheckpointError(
                    f"checkpoint {epoch} of run '{self.name}': tensor '{name}' is {value.dtype}{list(value.shape)}, "
                    f"the run has {info.dtype}{list(info.shape)}"
                )
            self._array(name, "r+")[index] = value
            self._flush(name, index)
            hashes[name] = _content_hash(value)
        record: dict[str, Any] = {"hash": hashes, "fingerprint": fingerprint, "epoch": epoch}
        self.commits.write((index,), record | ({"absent": absent} if absent else {}))

    def read(self, epoch: int, names: Iterable[str] | None = None) -> "dict[str, np.ndarray]":
        """The tensors `names` (default: all) after `epoch`, each verified against its committed hash.

        Costs the bytes of these tensors only.  Raises NotCommittedError, NotAvailableError, DamagedError.
        """
        index = self._index(epoch)
        record = self._record(epoch)
        return {name: self._read_tensor(name, index, epoch, record) for name in names or self.tensors}

    def absent(self, epoch: int) -> Mapping[str, str]:
        """The tensors that a committed checkpoint does not have, each with the reason. Raises NotCommittedError."""
        return self._record(epoch).get("absent", {})

    def _record(self, epoch: int) -> Mapping[str, Any]:
        record = self.commits.read((self._index(epoch),))
        if record is None:
            raise NotCommittedError(
                f"run '{self.name}' has no checkpoint {epoch}. It has: {self.committed()}. "
                "`lyrx batch` with its spec finishes a run; --fresh makes it anew."
            )
        return record

    def _read_tensor(self, name: str, index: int, epoch: int, record: Mapping[str, Any]) -> "np.ndarray":
        import numpy as np

        if reason := record.get("absent", {}).get(name):
            raise NotAvailableError(f"tensor '{name}' has no checkpoint {epoch} in run '{self.name}': {reason}.")

        where = f"tensor '{name}' at checkpoint {epoch} of run '{self.name}' ({self._weights / folder_name(name)})"
        try:
            value = np.asarray(self._array(name, "r")[index])
        except Exception as error:  # whatever zarr meets in a damaged chunk or in damaged metadata
            said = str(error).rstrip(".")
            raise DamagedError(f"{where} is damaged: {type(error).__name__}: {said}. {_CURE}") from error
        if _content_hash(value) != record["hash"].get(name):
            raise DamagedError(f"{where} is damaged: its contents are not those that were committed. {_CURE}")
        return value

    def verify(self, epoch: int) -> list[DamagedError]:
        """Read every tensor of a committed checkpoint and return what is damaged."""
        damaged = []
        for name in self.tensors:
            try:
                self.read(epoch, [name])
            except NotAvailableError:
                continue
            except DamagedError as error:
                damaged.append(error)
        return damaged

    def _index(self, epoch: int) -> int:
        if epoch not in self.epochs:
            raise NotCommittedError(f"run '{self.name}' keeps no checkpoint {epoch}. It keeps: {list(self.epochs)}.")
        return self.epochs.index(epoch)

    def _array(self, name: str, mode: str) -> Any:
        import zarr

        if name not in self._arrays or (mode == "r+" and self._arrays[name].read_only):
            array = zarr.open_array(self._weights / folder_name(name), mode=mode)  # type: ignore[arg-type]
            self._arrays[name] = array.with_config({"write_empty_chunks": True})
        return self._arrays[name]

    def _flush(self, name: str, index: int) -> None:
        chunk = self._weights / folder_name(name) / "c" / str(index)
        for file in [chunk] if chunk.is_file() else chunk.rglob("*"):
            if file.is_file():
                flush(file)


def _content_hash(value: "np.ndarray") -> str:
    import numpy as np

    return sha256(np.ascontiguousarray(value).astype(value.dtype.newbyteorder("<"), copy=False).tobytes())


def create_weights(group: Any, epochs: Sequence[int], tensors: Sequence[TensorInfo]) -> None:
    """Create the coordinate `checkpoint` and one array per tensor, their lengths fixed for good."""
    import numpy as np
    import zarr.codecs

    create_coordinate(group, "checkpoint", list(epochs))
    weights = group.create_group("weights")
    for info in tensors:
        dtype = storage_dtype(info.dtype)
        weights.create_array(
            folder_name(info.name),
            shape=(len(epochs), *info.shape),
            chunks=(1, *chunk_shape(info.shape, np.dtype(dtype).itemsize)),
            dtype=dtype,
            fill_value=0,
            # Trained weights hardly shrink (8 % under zstd), so the bytes are stored as they are, with a checksum.
            compressors=[zarr.codecs.Crc32cCodec()],
            dimension_names=("checkpoint", *(f"axis{axis}" for axis in range(len(info.shape)))),
            attributes={"lyrx": info.to_json()},
        )
