"""When a cell has seen enough examples, and which of a probe's cells have not."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from .plan import Cell, Estimate, ProbeInfo
from .verdict import DEFAULT_TOLERANCE

Answer = TypeVar("Answer")


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

    def decided(self, low: Any, high: Any, baseline: Any) -> Any:
        """Whether the verdict is critical or robust, so that it stays. As `verdict`, and also for arrays [cell]."""
        limit = baseline + self.tolerance
        return (low > limit) | (high <= limit)

    def finished(self, low: Any, high: Any, baseline: Any, seen: Any, total: Any) -> Any:
        """Whether cells need no further example: bool, or bool[cell] when anything is a numpy array [cell].

        `low` and `high` are the ends of the intervals after `seen` of `total` examples, `baseline` the trained
        network's error on all of them.
        """
        at_end = seen >= total
        if self.exact:
            return at_end
        half = (high - low) / 2
        sure = self.decided(low, high, baseline) & (half <= self.decided_half_width)
        return at_end | (half <= self.half_width) | sure


def rule_of(settings: Mapping[str, Any], *, exact: bool = False) -> Rule:
    """The rule that a probe's settings ask for, or an exact one."""
    return Rule(tolerance=settings.get("tolerance", DEFAULT_TOLERANCE), exact=exact or settings.get("exact", False))


def unfinished(info: ProbeInfo, known: Mapping[Cell, Estimate], *, exact: bool = False) -> list[Cell]:
    """The cells that the probe's settings, or `exact`, want to see more examples; those not measured at all first.

    `known` are the committed ones.  Without a baseline on all data nothing is certain of any cell: all are open.
    """
    network = info.network_cells()
    baseline = next((known[cell] for cell in reversed(network) if cell in known), None)
    if baseline is None or not baseline.exact:
        return info.all_cells()
    rule, most = rule_of(info.settings, exact=exact), info.settings.get("examples")
    missing, rest = [], []
    for cell in info.all_cells():
        estimate = known.get(cell)
        if estimate is None:
            missing.append(cell)
        elif estimate.n < min(most or estimate.total, estimate.total) and not rule.finished(
            estimate.low, estimate.high, baseline.error, estimate.n, estimate.total
        ):
            rest.append(cell)
    return [*missing, *rest]
