"""What all cells of a probe are compared with: the trained network's predictions, and the order of the examples."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .commits import Commits
from .errors import DamagedError
from .files import flush, sha256
from .layout import chunk_shape
from .rows import RowError

if TYPE_CHECKING:
    import numpy as np

_ARRAYS = {"order": -1, "baseline": -1}
"""The arrays and their fill values."""

_INDEX = (0,)


@dataclass(frozen=True, eq=False)
class Baseline:
    """The trained network untouched, on every test example."""

    order: "np.ndarray"
    """int64[example]: the examples' indices in the order in which cells see them, a permutation."""
    prediction: "np.ndarray"
    """int64[example], in the data set's order: the class predicted, -1 where the scores are no numbers.

    int64[example, position] where an example has several predictions, such as a sequence's next tokens.
    """
    wrong: int
    """Predictions that are wrong."""
    loss_sum: float
    """Cross entropy summed over the examples, nats."""
    record: Mapping[str, Any]
    """Its commit record."""


class BaselineArrays:
    """`order` and `baseline` of the probe in the folder `probe`, committed together by one record."""

    def __init__(self, probe: Path):
        self._probe = probe
        self.commits = Commits(probe / "baseline")

    def write(
        self, order: "np.ndarray", prediction: "np.ndarray", wrong: int, loss_sum: float, fingerprint: str, **extra: Any
    ) -> None:
        """Write and commit both, making the arrays where an older lyrx made the probe. Raises RowError."""
        import numpy as np
        import zarr

        order, prediction = (np.ascontiguousarray(array, dtype="<i8") for array in (order, prediction))
        if order.shape != prediction.shape[:1] or not np.array_equal(np.sort(order), np.arange(len(order))):
            raise RowError(
                f"{self._probe}: an order of shape {order.shape} is no permutation of {prediction.shape} examples."
            )
        if not 0 <= wrong <= prediction.size:
            raise RowError(f"{self._probe}: {wrong} of {prediction.size} predictions cannot be wrong.")
        arrays = {"order": order, "baseline": prediction}
        if not all((self._probe / name / "zarr.json").exists() for name in arrays):
            create_baseline(zarr.open_group(self._probe, mode="r+"), prediction.shape)
        opened = {name: zarr.open_array(self._probe / name, mode="r+") for name in arrays}
        for name, array in opened.items():
            if array.shape != arrays[name].shape:
                raise RowError(f"{self._probe / name} has the shape {array.shape}, not {arrays[name].shape}.")
        self.commits.withdraw(_INDEX)
        for name, array in opened.items():
            array.with_config({"write_empty_chunks": True})[:] = arrays[name]
            for file in (self._probe / name / "c").iterdir():
                flush(file)
        hashes = {name: sha256(array.tobytes()) for name, array in arrays.items()}
        numbers = {"wrong": int(wrong), "loss_sum": float(loss_sum), "n": len(order)}
        self.commits.write(_INDEX, {**extra, **numbers, "hash": hashes, "fingerprint": fingerprint})

    def read(self, fingerprint: str) -> Baseline | None:
        """Both arrays, verified; None while they are not committed. Raises DamagedError."""
        record = self.commits.read(_INDEX)
        if record is None or record["fingerprint"] != fingerprint:
            return None
        try:
            arrays = {name: self._read(name, record["hash"][name]) for name in _ARRAYS}
            return Baseline(
                arrays["order"], arrays["baseline"], int(record["wrong"]), float(record["loss_sum"]), record
            )
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, DamagedError):
                raise
            raise DamagedError(f"{self.commits.path(_INDEX)} is damaged: {type(error).__name__} {error}.") from error

    def _read(self, name: str, wanted: str) -> "np.ndarray":
        import numpy as np
        import zarr

        path = self._probe / name
        try:
            value = np.asarray(zarr.open_array(path, mode="r")[:]).astype("int64", copy=False)
        except Exception as error:  # whatever zarr meets in a damaged chunk or in damaged metadata
            raise DamagedError(f"{path} is damaged: {type(error).__name__}: {error}.") from error
        if sha256(value.astype("<i8", copy=False).tobytes()) != wanted:
            raise DamagedError(f"{path} is damaged: its contents are not those that were committed.")
        return value


def create_baseline(group: Any, shape: tuple[int, ...]) -> None:
    """Create the arrays of a probe under its Zarr group, where they are not there yet.

    `shape` is that of its predictions: (test examples,), or (test examples, positions).
    """
    import zarr.codecs

    for name, fill in _ARRAYS.items():
        sizes = shape if name == "baseline" else shape[:1]
        if name not in group:
            group.create_array(
                name,
                shape=sizes,
                chunks=chunk_shape(sizes, 8),
                dtype="int64",
                fill_value=fill,
                compressors=[zarr.codecs.Crc32cCodec()],
                dimension_names=("example", "position")[: len(sizes)],
            )
