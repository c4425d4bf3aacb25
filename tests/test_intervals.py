"""Intervals: exact by enumeration, and they cover."""

import itertools
from math import comb

import numpy as np
import pytest
from lyrx.engine.intervals import error_interval


def tail(total: int, bad: int, seen: int, values) -> float:
    """Probability that a sample of `seen` of `total` holds one of `values` bad ones, by counting samples."""
    ways = sum(comb(bad, k) * comb(total - bad, seen - k) for k in values if k <= bad and seen - k <= total - bad)
    return ways / comb(total, seen)


def by_definition(wrong: int, seen: int, total: int) -> tuple[float, float]:
    fits = [
        bad
        for bad in range(wrong, total - (seen - wrong) + 1)
        if tail(total, bad, seen, range(wrong, seen + 1)) > 0.025 and tail(total, bad, seen, range(wrong + 1)) > 0.025
    ]
    return min(fits) / total, max(fits) / total


@pytest.mark.parametrize("total", [1, 2, 7, 20])
def test_equals_its_definition(total: int):
    for seen, wrong in itertools.product(range(1, total), range(total)):
        if wrong <= seen:
            assert error_interval(wrong, seen, total) == pytest.approx(by_definition(wrong, seen, total))


def test_with_all_examples_seen_it_is_the_point():
    assert error_interval(3, 10, 10) == (0.3, 0.3)
    assert error_interval(0, 10_000, 10_000) == (0.0, 0.0)


@pytest.mark.parametrize("error", [0.0, 0.02, 0.5, 0.9, 1.0])
@pytest.mark.parametrize(("seen", "total"), [(5, 20), (200, 1000), (1000, 10_000)])
def test_covers_at_least_95_percent_of_samples(error: float, seen: int, total: int):
    generator = np.random.default_rng(0)
    bad = round(error * total)
    drawn = generator.hypergeometric(bad, total - bad, seen, size=2000)
    intervals = {wrong: error_interval(int(wrong), seen, total) for wrong in set(drawn.tolist())}
    covered = np.mean([intervals[w][0] <= bad / total <= intervals[w][1] for w in drawn.tolist()])
    assert covered >= 0.95 - 3 * (0.05 * 0.95 / 2000) ** 0.5


def test_is_not_needlessly_wide():
    low, high = error_interval(500, 1000, 10_000)
    # The normal approximation with the finite-population factor: half-width 1.96 * sqrt(.25 / 1000 * .9) = 0.0294.
    assert high - low == pytest.approx(2 * 0.0294, abs=0.003)


@pytest.mark.parametrize("counts", [(-1, 5, 10), (6, 5, 10), (1, 11, 10), (0, 0, 10)])
def test_refuses_impossible_counts(counts):
    with pytest.raises(ValueError, match="not possible"):
        error_interval(*counts)
