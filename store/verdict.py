"""What an interval of a layer's error says about the layer."""

from typing import Literal

Verdict = Literal["critical", "robust", "undecided"]

DEFAULT_TOLERANCE = 0.05
"""How far above the baseline's error a layer is still robust, as a fraction."""


def verdict(low: float, high: float, baseline: float, tolerance: float = DEFAULT_TOLERANCE) -> Verdict:
    """Critical: the whole interval low..high lies above baseline + tolerance. Robust: none of it does.

    All are fractions 0..1; `baseline` is the trained network's error.
    """
    limit = baseline + tolerance
    if low > limit:
        return "critical"
    return "robust" if high <= limit else "undecided"
