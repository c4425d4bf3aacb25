"""When a cell has seen enough examples."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..store.verdict import DEFAULT_TOLERANCE


@dataclass(frozen=True)
class Rule:
    """Stop at half-width `half_width`, or already at `decided_half_width` once the verdict is certain.

    All widths are of the error as a fraction, 0.02 being two points.  A rule that is `exact` goes to the last example.
    It may be asked as often as one likes: the intervals are valid at every look.

    Raises ValueError for a negative tolerance or half-width, and for what is not a number.
    """

    tolerance: float = DEFAULT_TOLERANCE
    half_width: float = 0.02
    decided_half_width: float = 0.05
    exact: bool = False

    def __post_init__(self):
        for name in ("tolerance", "half_width", "decided_half_width"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} = {getattr(self, name)} is not possible: it is a fraction from 0 up")

    def decided(self, low: ArrayLike, high: ArrayLike, baseline: ArrayLike) -> NDArray[np.bool_]:
        """Whether the verdict is critical or robust, so that it stays; bool[cell]. As `store.verdict` for one cell."""
        limit = np.asarray(baseline) + self.tolerance
        return (np.asarray(low) > limit) | (np.asarray(high) <= limit)

    def finished(
        self, low: ArrayLike, high: ArrayLike, baseline: ArrayLike, seen: ArrayLike, total: ArrayLike
    ) -> NDArray[np.bool_]:
        """Whether cells need no further example; bool[cell].

        `low` and `high` are the ends of the intervals after `seen` of `total` examples, `baseline` the trained
        network's error on all of them.  Each is an array [cell] or one number for all cells.
        """
        low, high = np.asarray(low), np.asarray(high)
        at_end = np.broadcast_to(np.asarray(seen) >= np.asarray(total), np.broadcast(low, high, seen, total).shape)
        if self.exact:
            return at_end.copy()
        half = (high - low) / 2
        sure = self.decided(low, high, baseline) & (half <= self.decided_half_width)
        return at_end | (half <= self.half_width) | sure
