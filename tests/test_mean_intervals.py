"""Intervals for mean shares: they hold the truth at all looks together, and are not needlessly wide."""

import math

import numpy as np
import pytest
from lyrx.engine.mean_intervals import Path, mean_intervals

LOOKS = [8, 16, 33, 64, 96, 144, 216, 324, 486, 700, 1000]


def sharpened(d: np.ndarray, base: np.ndarray, looks: list[int], confidence: float = 0.95):
    """(estimate, low, high) at each of `looks` examples; d, base: float[cell, example]."""
    cells, total = d.shape
    paths, seen, sums = [Path()] * cells, 0, np.zeros(cells)
    for stop in [look for look in looks if look < total] + [total]:
        batch = d[:, seen:stop]
        added, squares = batch.sum(1), (batch**2).sum(1)
        paths = [
            path.plus((stop - seen, float(a), float(q)), seen, float(before), total)
            for path, a, q, before in zip(paths, added, squares, sums, strict=True)
        ]
        seen, sums = stop, sums + added
        fields = tuple(np.array([getattr(path, name) for path in paths]) for name in ("variation", "weight", "pull"))
        yield stop, mean_intervals(seen, sums, fields, base[:, :seen].sum(1), base.sum(1), total, confidence)


def populations(total: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """(a cell's shares, the baseline's) of several kinds; float[total] each, in 0..1."""
    g = np.random.default_rng(total)
    base = g.beta(2, 3, total)
    half = (np.arange(total) % 2).astype(float)
    return [
        (base, base),
        (np.ones(total), base),
        (np.zeros(total), base),
        (np.clip(base + g.normal(0.1, 0.1, total), 0, 1), base),
        (g.beta(8, 2, total), base),
        (half, 1 - half),  # as far apart as can be
        ((g.random(total) < 0.02).astype(float), np.zeros(total)),  # rarely wrong, and then altogether
        (np.where(g.random(total) < 0.01, 0.0, 1.0), np.ones(total)),
    ]


@pytest.mark.parametrize("total", [5, 60, 1000])
def test_coverage_at_all_looks_together(total: int):
    trials = 400
    generator = np.random.default_rng(total + 1)
    for cell, base in populations(total):
        orders = np.stack([generator.permutation(total) for _ in range(trials)])
        truth, missed = cell.mean(), np.zeros(trials, bool)
        for _, (estimate, low, high) in sharpened((cell - base)[orders], base[orders], LOOKS, 0.9):
            missed |= (low > truth + 1e-9) | (high < truth - 1e-9)
            assert ((low <= estimate) & (estimate <= high)).all()
        # 10 % at most, and three standard deviations of noise.
        assert missed.mean() <= 0.1 + 3 * math.sqrt(0.09 / trials)
        assert np.allclose(low, truth)
        assert np.allclose(high, truth)


def test_width_by_hand():
    # One batch of 100 of a million, all d = 0: V = 0, so the reach is where the mean of exp(l r) is 40.
    _, low, high = mean_intervals(100, 0.0, (0.0, 1e-4, 0.0), 50, 500_000, 1_000_000)
    rates = 0.9 / 2.0 ** np.arange(0, 7, 0.75)
    reach = (high[0] - 0.5) * 100 / 2
    assert np.exp(rates * reach).mean() == pytest.approx(40, rel=1e-6)
    assert high[0] - 0.5 == pytest.approx(0.5 - low[0])


def test_it_takes_not_much_more_than_a_bound_that_knows_the_variance_and_looks_once():
    generator = np.random.default_rng(5)
    total, n = 100_000, 2000
    base = generator.beta(2, 3, total)
    cell = np.clip(base + generator.normal(0.15, 0.15, total), 0, 1)
    looks = [64, 96, 144, 216, 324, 486, 729, 1093, 1639, n]
    d = (cell - base)[None]
    _, (_, low, high) = next(item for item in sharpened(d, base[None], looks) if item[0] == n)
    once = 1.96 * d.std() / math.sqrt(n)
    assert once < (high[0] - low[0]) / 2 < 2.6 * once


def test_what_was_seen_bounds_what_is_possible():
    # 9 of 10 seen, all wrong where the baseline was right: at least 0.9, at most 1.
    *_, (_, (estimate, low, high)) = [
        item for item in sharpened(np.ones((1, 10)), np.zeros((1, 10)), [9]) if item[0] == 9
    ]
    assert low[0] >= 0.9
    assert high[0] <= 1.0
    assert estimate[0] <= 1.0


@pytest.mark.parametrize("wrong", [{"confidence": 1.0}, {"seen": 0}, {"difference": 3.0}])
def test_refuses_what_makes_no_sense(wrong: dict):
    values = {
        "seen": 2,
        "difference": 0.0,
        "path": (0.0, 1.0, 0.0),
        "baseline_seen": 1,
        "baseline_total": 2,
        "total": 4,
    }
    with pytest.raises(ValueError, match=r"confidence|sense"):
        mean_intervals(**{**values, **wrong})
