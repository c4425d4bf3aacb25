"""How a layer's weights are spread at a checkpoint, and how far they have come from another one.

Importing this needs no numpy; computing does.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from .checkpoints import Checkpoints
from .errors import LyrxError
from .numbers import as_floats
from .tensors import TensorInfo

if TYPE_CHECKING:
    import numpy as np

FEWEST_BINS, MOST_BINS = 8, 80
REACH = 5
"""The edges go no further than so many standard deviations from the mean: a few outliers would leave one bin."""
_HELD = 256 * 2**20
"""Bytes of tensors that are kept from the first pass to the second; larger layers are read twice."""
_SLICE = 2**22
"""Weights that are worked on at once, in float64."""


class NoNumbersError(LyrxError, ValueError):
    """Tensors without a number that a histogram could count."""


@dataclass(frozen=True)
class Spread:
    """The weights of one checkpoint."""

    counts: tuple[int, ...]
    """By bin."""
    n: int
    """All finite ones."""
    mean: float
    std: float
    """Of the population (divided by n)."""
    minimum: float
    maximum: float
    norm: float
    """2-norm / sqrt(n): the root mean square."""
    outside: int = 0
    """Beyond the edges, in no bin."""
    not_finite: int = 0
    """Infinite or no numbers at all: in none of these figures."""


@dataclass(frozen=True)
class Comparison:
    """The weights of two checkpoints, counted in the same bins."""

    edges: tuple[float, ...]
    """One more than bins; a weight on an edge belongs to the bin above, on the last one to the last bin."""
    now: Spread
    other: Spread
    moved: float
    """2-norm of the difference / sqrt(n)."""
    cosine: float | None
    """Of the angle between the two, seen as vectors; None where one of them is zero."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Comparison":
        def spread(one: dict[str, Any]) -> Spread:
            return Spread(**{**one, "counts": tuple(one["counts"])})

        return cls(tuple(value["edges"]), spread(value["now"]), spread(value["other"]), value["moved"], value["cosine"])


def weights_among(tensors: Sequence[TensorInfo]) -> tuple[list[TensorInfo], list[TensorInfo]]:
    """(those that a histogram is made of, those left out) of a layer's tensors.

    Weights are parameters of two or more dimensions: matrices and kernels.  Biases and norms' scales and shifts start
    as constants, and would stand as spikes among them; buffers (running statistics) are not trained.  A layer that has
    nothing else, such as a norm by itself, shows its parameters of one dimension.
    """
    parameters = [one for one in tensors if one.kind == "parameter" and math.prod(one.shape)]
    wide = [one for one in parameters if len(one.shape) > 1]
    chosen = wide or parameters
    return chosen, [one for one in tensors if one not in chosen]


def compare(checkpoints: Checkpoints, names: Sequence[str], epoch: int, other: int) -> Comparison:
    """The tensors `names` of a run after `epoch`, together, beside the same after the epoch `other`.

    Each is read and verified one by one, so that memory is that of the largest of them.  Raises NotCommittedError,
    NotAvailableError, DamagedError, and NoNumbersError.
    """
    import numpy as np

    held: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    room = _HELD

    def pairs() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        nonlocal room
        for name in names:
            if name in held:
                yield held[name]
                continue
            dtype = checkpoints.tensors[name].dtype
            now = as_floats(checkpoints.read(epoch, [name])[name], dtype)
            then = now if other == epoch else as_floats(checkpoints.read(other, [name])[name], dtype)
            if now is None or then is None:
                continue
            pair = now.reshape(-1), then.reshape(-1)
            if pair[0].nbytes + pair[1].nbytes <= room:
                room -= pair[0].nbytes + pair[1].nbytes
                held[name] = pair
            yield pair

    return _compared(pairs)


def _compared(pairs: "Callable[[], Iterator[tuple[np.ndarray, np.ndarray]]]") -> Comparison:
    import numpy as np

    sums = (_Sums(), _Sums())
    squares, product, common = 0.0, 0.0, 0
    for now, then in _sliced(pairs()):
        sums[0].add(now)
        sums[1].add(then)
        both = np.isfinite(now) & np.isfinite(then)
        common += int(both.sum())
        squares += float(np.square(now[both] - then[both]).sum())
        product += float((now[both] * then[both]).sum())
    if not sums[0].n or not sums[1].n:
        raise NoNumbersError("these tensors hold no finite number that could be counted.")
    edges = _edges(*sums)
    counts = [np.zeros(len(edges) - 1, dtype=np.int64) for _ in sums]
    for pair in _sliced(pairs()):
        for bins, values in zip(counts, pair, strict=True):
            bins += np.histogram(values[np.isfinite(values)], bins=edges)[0]
    size = sums[0].root * sums[1].root
    return Comparison(
        tuple(map(float, edges)),
        sums[0].spread(counts[0]),
        sums[1].spread(counts[1]),
        math.sqrt(squares / max(1, common)),
        min(1.0, max(-1.0, product / size)) if size else None,
    )


class _Sums:
    """What a first pass over weights adds up."""

    def __init__(self) -> None:
        self.n = self.odd = 0
        self.minimum, self.maximum = math.inf, -math.inf
        self._mean = self._scatter = self._squares = 0.0

    def add(self, values: "np.ndarray") -> None:
        import numpy as np

        known = values[np.isfinite(values)]
        self.odd += values.size - known.size
        if not known.size:
            return
        self.minimum = min(self.minimum, float(known.min()))
        self.maximum = max(self.maximum, float(known.max()))
        self._squares += float(np.square(known).sum())
        # Chan, Golub and LeVeque: means and scatters of two parts put together, without cancellation.
        mean, scatter, n = float(known.mean()), float(known.var() * known.size), self.n + known.size
        gap = mean - self._mean
        self._scatter += scatter + gap * gap * self.n * known.size / n
        self._mean += gap * known.size / n
        self.n = n

    @property
    def mean(self) -> float:
        return self._mean

    @property
    def std(self) -> float:
        return math.sqrt(self._scatter / self.n)

    @property
    def root(self) -> float:
        """The 2-norm."""
        return math.sqrt(self._squares)

    def spread(self, counts: "np.ndarray") -> Spread:
        return Spread(
            tuple(map(int, counts)), self.n, self.mean, self.std, self.minimum, self.maximum,
            self.root / math.sqrt(self.n), self.n - int(counts.sum()), self.odd,
        )  # fmt: skip


def _sliced(
    pairs: "Iterator[tuple[np.ndarray, np.ndarray]]",
) -> "Iterator[tuple[np.ndarray, np.ndarray]]":
    import numpy as np

    for now, then in pairs:
        for start in range(0, now.size, _SLICE):
            yield now[start : start + _SLICE].astype(np.float64), then[start : start + _SLICE].astype(np.float64)


def _edges(now: _Sums, then: _Sums) -> "np.ndarray":
    """Bins of equal width that hold both: as many as Rice's rule says, 2 n^(1/3)."""
    import numpy as np

    low = min(max(one.minimum, one.mean - REACH * one.std) for one in (now, then))
    high = max(min(one.maximum, one.mean + REACH * one.std) for one in (now, then))
    if not high > low:
        half = abs(low) / 2 or 1.0
        low, high = low - half, high + half
    bins = min(MOST_BINS, max(FEWEST_BINS, math.ceil(2 * min(now.n, then.n) ** (1 / 3))))
    return np.linspace(low, high, bins + 1)
