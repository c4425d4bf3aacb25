"""From a cell's counts to its error and interval, beside the trained network."""

from collections.abc import Iterable, Sequence

import numpy as np

from .intervals import Floats, paired_error, paired_intervals
from .mean_intervals import mean_intervals
from .tallies import Baseline, Tally


class Estimator:
    """For cells that are compared with one baseline."""

    def __init__(self, baseline: Baseline):
        self._errors, self._parts, self._total = baseline.errors, baseline.parts, len(baseline.wrong)
        # How many predictions for the first i examples the trained network gets wrong.
        wrong = baseline.wrong.reshape(self._total, -1).sum(dim=1).cpu().numpy()
        self._wrong_before = np.concatenate([[0], np.cumsum(wrong)])

    def intervals(self, tallies: Sequence[Tally], confidence: Sequence[float]) -> Iterable[tuple[float, float, float]]:
        """(error, low, high) of each cell, as fractions; `tallies` have seen at least one example each."""
        if not tallies:
            return ()
        of = self._of_counts if self._parts == 1 else self._of_shares
        return zip(*(column.tolist() for column in of(tallies, np.array(confidence))), strict=True)

    def _of_counts(self, tallies: Sequence[Tally], confidence: Floats) -> tuple[Floats, Floats, Floats]:
        """Where an example is right or wrong."""
        n = np.array([tally.seen for tally in tallies])
        counts = (
            np.array([tally.worse for tally in tallies]),
            n - self._wrong_before[n],
            np.array([tally.better for tally in tallies]),
            self._wrong_before[n],
            self._total - self._errors,
            self._errors,
        )
        return paired_error(*counts), *paired_intervals(*counts, confidence)

    def _of_shares(self, tallies: Sequence[Tally], confidence: Floats) -> tuple[Floats, Floats, Floats]:
        """Where an example has several predictions, some of them wrong."""
        n = np.array([tally.seen for tally in tallies])
        paths = [tally.path for tally in tallies]
        return mean_intervals(
            n,
            np.array([tally.worse - tally.better for tally in tallies]) / self._parts,
            ([path.variation for path in paths], [path.weight for path in paths], [path.pull for path in paths]),
            self._wrong_before[n] / self._parts,
            self._errors / self._parts,
            self._total,
            confidence,
        )
