"""Intervals: what they are by definition, counted out, and that they cover whenever one looks."""

from functools import cache
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lyrx.engine.intervals import PRIOR_EXAMPLES, paired_error, paired_intervals
from lyrx.store.stopping import Rule
from scipy.stats import betabinom, hypergeom

ERRORS = [0.0, 0.02, 0.1, 0.5, 0.9, 1.0]
BASELINES = [0.016, 0.3]


# ---- By definition ----


def capital(wrong: int, seen: int, total: int, claimed: int) -> float:
    """What a bet against `claimed` wrong ones of `total` has made of 1, example by example, the wrong ones first."""
    made = 1.0
    for i in range(seen):
        was_wrong = i < wrong
        claim, before = (claimed, i) if was_wrong else (total - claimed, i - wrong)
        if claim - before <= 0:
            return float("inf")
        bet = (PRIOR_EXAMPLES * claim / total + before) / (PRIOR_EXAMPLES + i)
        made *= bet / ((claim - before) / (total - i))
    return made


def log_capitals(wrong: int, seen: int, total: int) -> tuple[np.ndarray, np.ndarray]:
    """(claims, logs): every number of wrong ones that is possible, and `capital`'s logarithm by scipy's functions."""
    claims = np.arange(wrong, total - (seen - wrong) + 1)
    if seen == 0:
        return claims, np.zeros(len(claims))
    share = PRIOR_EXAMPLES * claims / total
    with np.errstate(all="ignore"):
        bet = betabinom.logpmf(wrong, seen, share, PRIOR_EXAMPLES - share)
    # Certain outcomes, where the beta distribution is a point.
    bet = np.where((claims == 0) | (claims == total), 0.0, bet)
    return claims, bet - hypergeom.logpmf(wrong, total, claims, seen)


def enumerated(
    worse: int, right_seen: int, better: int, wrong_seen: int, right_total: int, wrong_total: int, confidence: float
) -> tuple[float, float]:
    """The least and the most wrong ones over all pairs that are not refuted, in examples."""
    limit = -np.log(1 - confidence)
    ys, second = log_capitals(wrong_seen - better, wrong_seen, wrong_total)
    kept = [
        x + ys[second + made < limit] for x, made in zip(*log_capitals(worse, right_seen, right_total), strict=True)
    ]
    n, total = right_seen + wrong_seen, right_total + wrong_total
    possible = worse + wrong_seen - better, total - (right_seen - worse) - better
    estimate = min(max(wrong_total + (worse - better) * total / n, possible[0]), possible[1])
    found = np.concatenate([*kept, [estimate]])
    return found.min(), found.max()


def test_the_reference_is_the_definition():
    for total, seen in ((1, 1), (7, 3), (12, 9), (30, 11)):
        for wrong in range(seen + 1):
            claims, logs = log_capitals(wrong, seen, total)
            assert np.exp(logs) == pytest.approx([capital(wrong, seen, total, claim) for claim in claims.tolist()])


def test_the_capital_is_fair_or_worse():
    for total, claimed, seen in ((9, 0, 4), (9, 3, 5), (9, 3, 9), (40, 11, 25), (40, 40, 7)):
        ways = [comb(claimed, k) * comb(total - claimed, seen - k) for k in range(seen + 1)]
        mean = sum(way * capital(k, seen, total, claimed) for k, way in enumerate(ways) if way) / comb(total, seen)
        assert mean <= 1 + 1e-12


def random_counts(generator: np.random.Generator, right_total: int, wrong_total: int, cells: int) -> list[np.ndarray]:
    """Counts of cells of every kind, after few and after many examples."""
    total = right_total + wrong_total
    seen = np.exp(generator.uniform(0, np.log(total), cells)).astype(np.int64)
    wrong_seen = generator.hypergeometric(wrong_total, right_total, seen)
    shares = [0.0, 0.002, 0.02, 0.1, 0.5, 0.9, 0.99, 1.0]
    worse = generator.binomial(seen - wrong_seen, generator.choice(shares, cells))
    better = generator.binomial(wrong_seen, generator.choice(shares, cells))
    return [worse, seen - wrong_seen, better, wrong_seen, np.full(cells, right_total), np.full(cells, wrong_total)]


@pytest.mark.parametrize(
    ("right_total", "wrong_total", "cells", "confidence"),
    [
        *((*counts, confidence) for confidence in (0.6, 0.95, 0.99)
          for counts in ((1, 0, 3), (4, 1, 40), (0, 20, 40), (14, 6, 300), (354, 6, 100), (252, 108, 100))),
        *(pytest.param(*counts, 0.95, marks=pytest.mark.slow) for counts in ((9840, 160, 60), (7000, 3000, 20))),
    ],
)  # fmt: skip
def test_equals_plain_enumeration(right_total: int, wrong_total: int, cells: int, confidence: float):
    counts = random_counts(np.random.default_rng(1), right_total, wrong_total, cells)
    total = right_total + wrong_total
    low, high = (end * total for end in paired_intervals(*counts, confidence))
    # Between whole numbers the set may reach a little further, up to the next ones at most in each stratum.
    for cell in range(cells):
        least, most = enumerated(*(int(count[cell]) for count in counts), confidence)
        assert least - 2 <= low[cell] <= least + 1e-6, [int(count[cell]) for count in counts]
        assert most - 1e-6 <= high[cell] <= most + 2, [int(count[cell]) for count in counts]


@st.composite
def cells(draw) -> tuple[int, ...]:
    """Counts that are possible, up to a million examples."""
    right_total, wrong_total = draw(st.integers(0, 10**6)), draw(st.integers(0, 10**5))
    right_seen = draw(st.integers(0, right_total))
    wrong_seen = draw(st.integers(0 if right_seen else min(1, wrong_total), wrong_total))
    if right_seen + wrong_seen == 0:
        right_total, right_seen = right_total + 1, 1
    return (
        draw(st.integers(0, right_seen)),
        right_seen,
        draw(st.integers(0, wrong_seen)),
        wrong_seen,
        right_total,
        wrong_total,
    )


@given(cells(), st.sampled_from([0.5, 0.95, 0.95 ** (1 / 3), 0.9999]))
@settings(max_examples=120, deadline=None)
def test_holds_the_estimate_and_lies_in_what_is_possible(counts: tuple[int, ...], confidence: float):
    worse, right_seen, better, wrong_seen, right_total, wrong_total = counts
    total, n = right_total + wrong_total, right_seen + wrong_seen
    low, high = paired_intervals(*counts, confidence)
    error = paired_error(*counts)
    possible = (worse + wrong_seen - better) / total, (total - (right_seen - worse) - better) / total
    assert low.dtype == high.dtype == error.dtype == np.float64
    assert 0 <= possible[0] <= low <= error <= high <= possible[1] <= 1
    simple = wrong_total / total + (worse - better) / n
    assert error == pytest.approx(min(max(simple, possible[0]), possible[1]), abs=1e-12)
    wider = paired_intervals(*counts, (1 + confidence) / 2)
    # To 1/50,000, or a whole example and the next.
    slack = max(2 / total, 2.1e-5)
    assert wider[0] <= low + slack
    assert wider[1] >= high - slack


def test_with_all_examples_seen_it_is_the_error_itself():
    generator = np.random.default_rng(2)
    right, wrong = generator.integers(0, 10**6, 500), generator.integers(1, 10**6, 500)
    worse, better = generator.integers(0, right + 1), generator.integers(0, wrong + 1)
    low, high = paired_intervals(worse, right, better, wrong, right, wrong)
    exact = (wrong - better + worse) / (right + wrong)
    assert np.array_equal(low, exact)
    assert np.array_equal(high, exact)
    assert np.array_equal(paired_error(worse, right, better, wrong, right, wrong), exact)


def test_cells_do_not_touch_each_other_and_each_has_its_confidence():
    counts = random_counts(np.random.default_rng(3), 9840, 160, 60)
    confidence = np.random.default_rng(3).choice([0.9, 0.95, 1 - 0.05 / 3], 60)
    low, high = paired_intervals(*counts, confidence)
    for cell in range(60):
        alone = paired_intervals(*(count[cell] for count in counts), confidence[cell])
        assert alone == (pytest.approx(low[cell], abs=1e-12), pytest.approx(high[cell], abs=1e-12))
    square = paired_intervals(*(count.reshape(12, 5) for count in counts[:4]), 9840, 160, confidence.reshape(12, 5))
    assert np.array_equal(square[0].ravel(), low)
    assert np.array_equal(square[1].ravel(), high)
    none = np.zeros(0, dtype=np.int64)
    assert [end.shape for end in paired_intervals(none, none, none, none, 10, 1)] == [(0,), (0,)]


@pytest.mark.parametrize("total", [10_000, 1_000_000])
def test_is_not_needlessly_wide(total: int):
    wrong_total = total * 16 // 1000
    low, high = paired_intervals(480, 984, 8, 16, total - wrong_total, wrong_total)
    # A normal interval of a thousand examples chosen beforehand: 1.96 * sqrt(.25 / 1000 * (1 - 1000 / total)).
    fixed = 1.96 * (0.25 / 1000 * (1 - 1000 / total)) ** 0.5
    assert 1.3 * fixed < (high - low) / 2 < 1.8 * fixed
    # Not one of 1,000 changed: the rule of three gives 0.3 points for a sample chosen beforehand.
    low, high = paired_intervals(0, 984, 0, 16, total - wrong_total, wrong_total)
    assert low > 0.016 - 0.01
    assert high < 0.016 + 0.01
    # The same without the pairs is much wider: they are what makes a robust layer quick to see.
    unpaired = paired_intervals(16, 1000, 0, 0, total, 0)
    assert unpaired[1] - unpaired[0] > 1.9 * (high - low)


@pytest.mark.parametrize(
    "counts",
    [
        (-1, 5, 0, 0, 10, 1),
        (6, 5, 0, 0, 10, 1),
        (0, 11, 0, 0, 10, 1),
        (0, 5, -1, 0, 10, 1),
        (0, 5, 2, 1, 10, 1),
        (0, 5, 0, 2, 10, 1),
        (0, 0, 0, 0, 10, 1),
        ([0, 1], [5, 0], 0, 0, 10, 1),
    ],
)
def test_refuses_impossible_counts(counts):
    with pytest.raises(ValueError, match="is not possible"):
        paired_intervals(*counts)
    with pytest.raises(ValueError, match="is not possible"):
        paired_error(*counts)


def test_refuses_fractions_and_confidences_that_are_none():
    with pytest.raises(ValueError, match="whole numbers"):
        paired_intervals(0.5, 5, 0, 0, 10, 1)
    for confidence in (0.0, 1.0, -0.1, float("nan"), [0.95, 1.5]):
        with pytest.raises(ValueError, match=r"confidence of .* is not possible"):
            paired_intervals([0, 1], [5, 5], 0, 0, 10, 1, confidence)
    with pytest.raises(ValueError, match="confidence of shape"):
        paired_intervals(0, 5, 0, 0, 10, 1, [0.9, 0.95])


def test_one_cell_without_a_baseline():
    assert paired_intervals(3, 10, 0, 0, 10, 0) == (0.3, 0.3)
    low, high = paired_intervals(500, 1000, 0, 0, 10_000, 0)
    assert low < 0.46 < 0.54 < high


# ---- Coverage ----


@cache
def population(error: float, baseline: float, total: int) -> tuple[int, int, int, int]:
    """(worse, right, better, wrong) of all examples: the cell also repairs some of what the baseline has wrong."""
    cell, wrong = round(error * total), round(baseline * total)
    better = min(wrong, total - cell, max(round(0.3 * wrong), wrong - cell))
    return cell - wrong + better, total - wrong, better, wrong


def looks(error: float, baseline: float, total: int, orders: int, at: np.ndarray, seed: int = 0):
    """Intervals of `orders` random orders after `at` examples: (low, high, the error), the first two [order, look]."""
    worse, right, better, wrong = population(error, baseline, total)
    kinds = np.repeat(np.arange(4, dtype=np.int8), [worse, right - worse, better, wrong - better])
    shuffled = np.random.default_rng(seed).permuted(np.tile(kinds, (orders, 1)), axis=1)
    seen = [np.cumsum(shuffled == kind, axis=1, dtype=np.int64)[:, at - 1] for kind in range(4)]
    low, high = paired_intervals(seen[0], seen[0] + seen[1], seen[2], seen[2] + seen[3], right, wrong)
    return low, high, (worse + wrong - better) / total


def assert_covered(covered: np.ndarray, expected: float = 0.95):
    """At least 95 % of `covered`, less three standard errors of so many."""
    assert covered.mean() >= expected - 3 * (expected * (1 - expected) / len(covered)) ** 0.5


def assert_covers(error: float, baseline: float, total: int, orders: int, at: np.ndarray, seed: int = 0):
    """The error is in the interval at every look, and where the default rule stops, as often as it should be."""
    low, high, true = looks(error, baseline, total, orders, at, seed)
    inside = (low <= true + 1e-12) & (true - 1e-12 <= high)
    assert_covered(inside.all(axis=1))
    finished = Rule().finished(low, high, round(baseline * total) / total, at, total)
    assert finished[:, -1].all()
    assert_covered(inside[np.arange(orders), finished.argmax(axis=1)])


@pytest.mark.parametrize(("right", "wrong"), [(5, 0), (3, 2), (9, 3), (6, 6), (0, 12)])
@pytest.mark.parametrize("confidence", [0.5, 0.8, 0.95])
def test_covers_at_all_looks_by_counting_every_order(right: int, wrong: int, confidence: float):
    """The probability that the error is outside at some look, summed over all orders: no chance is left in it."""
    seen = np.array([(a, r, b, w) for r in range(right + 1) for w in range(wrong + 1)
                     for a in range(r + 1) for b in range(w + 1) if r + w])  # fmt: skip
    low, high = paired_intervals(*seen.T, right, wrong, confidence)
    ends = {tuple(key): (lo, hi) for key, lo, hi in zip(seen.tolist(), low, high, strict=True)}
    for worse in range(right + 1):
        for better in range(wrong + 1):
            true = (worse + wrong - better) / (right + wrong)
            inside = {(0, 0, 0, 0): 1.0}
            for step in range(right + wrong):
                after: dict[tuple[int, int, int, int], float] = {}
                for (a, r, b, w), chance in inside.items():
                    left = [
                        (worse - a, (a + 1, r + 1, b, w)),
                        (right - r - (worse - a), (a, r + 1, b, w)),
                        (better - b, (a, r, b + 1, w + 1)),
                        (wrong - w - (better - b), (a, r, b, w + 1)),
                    ]
                    for ways, state in left:
                        if ways and ends[state][0] - 1e-12 <= true <= ends[state][1] + 1e-12:
                            after[state] = after.get(state, 0.0) + chance * ways / (right + wrong - step)
                inside = after
            assert sum(inside.values()) >= confidence


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("baseline", BASELINES)
@pytest.mark.parametrize(("total", "orders"), [(5, 1000), (20, 1000), (360, 100)])
def test_covers_looking_after_every_example(error: float, baseline: float, total: int, orders: int):
    assert_covers(error, baseline, total, orders, np.arange(1, total + 1))


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("baseline", BASELINES)
@pytest.mark.parametrize(("total", "orders"), [(20, 1000), (360, 500), (10_000, 300)])
def test_covers_looking_after_batches_that_grow(error: float, baseline: float, total: int, orders: int):
    at = np.unique(np.minimum(total, (5 * 1.5 ** np.arange(20)).astype(int)))
    assert_covers(error, baseline, total, orders, at)


@pytest.mark.slow
@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("baseline", BASELINES)
@pytest.mark.parametrize(("total", "orders"), [(360, 500), (10_000, 20)])
def test_covers_looking_after_every_example_many_times(error: float, baseline: float, total: int, orders: int):
    assert_covers(error, baseline, total, orders, np.arange(1, total + 1), seed=1)


@pytest.mark.parametrize("error", [0.02, 0.1, 0.5, 0.9])
def test_covers_often_enough_where_it_matters(error: float):
    """The martingale itself over thousands of orders and every example: the error's own capital seldom reaches 20."""
    worse, right, better, wrong = population(error, 0.3, 2000)
    orders, generator = 2000, np.random.default_rng(4)
    most = np.zeros(orders)
    kinds = np.repeat(np.arange(4), [worse, right - worse, better, wrong - better])
    # Step by step: state counts of all orders at once, log capital of the true pair.
    shuffled = generator.permuted(np.tile(kinds, (orders, 1)), axis=1)
    made, counts = np.zeros(orders), np.zeros((orders, 4))
    everyone = np.arange(orders)
    truth, strata = np.array([worse, right - worse, better, wrong - better]), np.array([right, right, wrong, wrong])
    for step in range(len(kinds)):
        kind = shuffled[:, step]
        of_kind, of_stratum = counts[everyone, kind], counts[everyone, kind] + counts[everyone, kind ^ 1]
        bet = (PRIOR_EXAMPLES * truth[kind] / strata[kind] + of_kind) / (PRIOR_EXAMPLES + of_stratum)
        made += np.log(bet) - np.log((truth[kind] - of_kind) / (strata[kind] - of_stratum))
        counts[everyone, kind] += 1
        most = np.maximum(most, made)
    assert_covered(most < np.log(20))
