"""Intervals for a cell's error on a finite data set, valid at every look while its examples are being seen.

**What is known.** The trained network was measured on all N examples: `right_total` right, `wrong_total` wrong.  These
are two strata.  The cell visits the examples in a random order without replacement; so far it has seen `right_seen`
and `wrong_seen` of them, of which `worse` (was right, now wrong) and `better` (was wrong, now right).  Its error on all
N is (x + y) / N, where x of the first stratum and y of the second are wrong under the cell.

**The interval.** For each possible (x, y) a gambler bets against it.  In a stratum of K examples, x of which are said
to be wrong, the share wrong is taken to be drawn from Beta(s x/K, s (K - x)/K), s = `PRIOR_EXAMPLES`; the gambler's
capital is the probability of what was seen under that mixture, divided by its probability when x is true, and the two
strata's capitals are multiplied.  Given which example is of which stratum, the order within each is random and
independent of the other's.  So if (x, y) is true the capital is a nonnegative supermartingale that starts at 1, and
by Ville's inequality it ever reaches 1/(1 - confidence) with probability at most 1 - confidence.  All (x, y) with less
capital are a confidence set at all looks at once, whatever makes one stop; the interval spans x + y over this set.
(Ratios of this kind: Waudby-Smith and Ramdas, Confidence sequences for sampling without replacement, NeurIPS 2020.
They use one prior for all x.  Here it is centred at the x it is tested against, as in the mixtures of Robbins, Ann.
Math. Stat. 41, 1970, so that little of it is lost on shares far away: mostly that takes 20 to 40 % fewer examples,
see `tests/benchmarks/intervals.py`.)

**The sum's largest value.** The log capital is convex in x: up to constants it is the sum of
log(s x/K + i) - log(x - i) over i < worse and of the same with K - x over the ones seen to be right, and the second
derivative of each term, 1/(x - i)**2 - 1/(x + i K/s)**2, is not negative.  So a tangent lies below the capital
everywhere, and the largest x + y below a tangent is no less than the one sought, whichever point it touches.  Newton's
steps lead to a point where the two agree; what they return is never too narrow, however far they came.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import digamma, gammaln

CONFIDENCE = 0.95

PRIOR_EXAMPLES = 40.0
"""How many examples the gambler's prior weighs.  It sets where intervals are narrowest, not whether they are valid:
between 20 and 80 the number of examples until a cell stops changes by about 3 % on average."""

_STEPS = 60
"""Most searches end after 5 to 10 steps; whatever the number, an end is never too near."""

_PARTS = 50_000
"""The search ends when it is off by at most one such part of all examples, or by a quarter of an example."""

_TINY = 1e-150

Floats = NDArray[np.float64]


class _Strata(NamedTuple):
    """Counts float64[2, cell]: of the examples the baseline has right (0) and wrong (1)."""

    wrong: Floats
    """Seen, and wrong under the cell."""
    right: Floats
    """Seen, and right under the cell."""
    total: Floats
    """Seen or not."""


def paired_error(
    worse: ArrayLike,
    right_seen: ArrayLike,
    better: ArrayLike,
    wrong_seen: ArrayLike,
    right_total: ArrayLike,
    wrong_total: ArrayLike,
) -> Floats:
    """The estimate of cells' errors, float64[cell]: the baseline's on all examples + (worse - better) / seen.

    Clipped to what is possible given the counts, which by themselves need not agree with it: the baseline may do
    better on the examples seen than on all.  Arguments and errors as of `paired_intervals`, whose interval holds it.
    """
    strata, shape = _strata(worse, right_seen, better, wrong_seen, right_total, wrong_total)
    return (_estimate(strata) / strata.total.sum(0)).reshape(shape)


def paired_intervals(
    worse: ArrayLike,
    right_seen: ArrayLike,
    better: ArrayLike,
    wrong_seen: ArrayLike,
    right_total: ArrayLike,
    wrong_total: ArrayLike,
    confidence: ArrayLike = CONFIDENCE,
) -> tuple[Floats, Floats]:
    """The lowest and the highest error, (low, high), each float64[cell], as fractions 0..1 of all examples.

    See above for the arguments: whole numbers [cell], or one number for all cells, as is `confidence`.  With all
    examples seen both ends are the error itself.  Before that they hold `paired_error` and lie in what is possible.

    Raises ValueError when counts make no sense, none is seen, or a confidence does not lie between 0 and 1.
    """
    strata, shape = _strata(worse, right_seen, better, wrong_seen, right_total, wrong_total)
    confidence = np.asarray(confidence, dtype=np.float64)
    if not ((confidence > 0) & (confidence < 1)).all():
        raise ValueError(f"a confidence of {confidence} is not possible: it lies between 0 and 1")
    if np.broadcast_shapes(shape, confidence.shape) != shape:
        raise ValueError(f"confidence of shape {confidence.shape} for cells of shape {shape}")
    level = -np.log1p(-np.broadcast_to(confidence, shape).ravel())
    # The fewest wrong ones are the most right ones, seen from the other side: one search does both.
    wrong, right, total = strata
    both = _Strata(np.hstack([wrong, right]), np.hstack([right, wrong]), np.hstack([total, total]))
    most_wrong, most_right = np.split(_most(both, np.tile(level, 2)), 2)
    everything, estimate = total.sum(0), _estimate(strata)
    low = np.minimum(everything - most_right, estimate) / everything
    high = np.maximum(most_wrong, estimate) / everything
    return low.reshape(shape), high.reshape(shape)


def _strata(*counts: ArrayLike) -> tuple[_Strata, tuple[int, ...]]:
    """The counts of `paired_intervals` by stratum, flat, and the shape they had."""
    arrays = np.broadcast_arrays(*counts)
    if any(array.dtype.kind not in "iu" for array in arrays):
        raise ValueError("counts are whole numbers")
    shape = arrays[0].shape
    worse, right_seen, better, wrong_seen, right_total, wrong_total = (a.ravel().astype(np.int64) for a in arrays)
    possible = (worse >= 0) & (worse <= right_seen) & (right_seen <= right_total)
    possible &= (better >= 0) & (better <= wrong_seen) & (wrong_seen <= wrong_total) & (right_seen + wrong_seen >= 1)
    if not possible.all():
        at = int(np.argmin(possible))
        raise ValueError(
            f"{worse[at]} worse of {right_seen[at]} seen of {right_total[at]} and {better[at]} better of "
            f"{wrong_seen[at]} seen of {wrong_total[at]} is not possible"
        )
    wrong = np.stack([worse, wrong_seen - better])
    seen, total = np.stack([right_seen, wrong_seen]), np.stack([right_total, wrong_total])
    return _Strata(wrong.astype(np.float64), (seen - wrong).astype(np.float64), total.astype(np.float64)), shape


def _estimate(strata: _Strata) -> Floats:
    """How many of all examples are wrong under the cell, by `paired_error`; float64[cell]."""
    wrong, right, total = strata
    seen = (wrong + right).sum(0)
    # worse - better = wrong under the cell - wrong in the baseline, among those seen.
    change = wrong.sum(0) - (wrong + right)[1]
    everything = total.sum(0)
    return np.clip(total[1] + change * everything / seen, wrong.sum(0), everything - right.sum(0))


def _most(strata: _Strata, level: Floats) -> Floats:
    """No less than the largest x + y whose log capital is below `level`, in whole examples; float64[cell]."""
    wrong, right, total = strata
    highest = total - right
    best = highest.sum(0)
    # Rounding grows with the numbers the logarithms of factorials are made of.
    level = level + 1e-6 + 1e-12 * total.sum(0)
    enough = np.maximum(0.25, total.sum(0) / _PARTS)
    # The capital is about least at the share seen; where none was seen it is 1 throughout.
    seen = wrong + right
    start = np.where(seen > 0, total * wrong / np.maximum(seen, 1), highest)
    least = _log_capital(strata, start)[0]
    x = _first_guess(strata, start, level)
    unsure = np.flatnonzero(best > wrong.sum(0))
    for number in range(_STEPS):
        if not len(unsure):
            break
        part = _Strata(*(counts[:, unsure] for counts in strata))
        at, top = x[:, unsure], highest[:, unsure]
        value, slope, curvature = _log_capital(part, at)
        rise, room = value - least[:, unsure], level[unsure] - value.sum(0)
        best[unsure] = np.minimum(best[unsure], _under_tangent(at, slope, room, part.wrong, top))
        goal = _step(part, at, top, rise, slope, curvature, room)
        # Where the steps go to and fro, half of them do not.
        x[:, unsure] = goal if number < 8 else (at + goal) / 2
        # By convexity the capital is below the level at this share of the way from the start, so `best` lies above it.
        climb = rise.sum(0)
        way = np.clip((climb + room) / np.maximum(climb, _TINY), 0, 1)
        reached = ((1 - way) * start[:, unsure] + way * at).sum(0)
        unsure = unsure[best[unsure] - reached > enough[unsure]]
    return np.floor(best)


def _first_guess(strata: _Strata, start: Floats, level: Floats) -> Floats:
    """Where the normal approximation puts the largest x + y; float64[2, cell]."""
    wrong, right, total = strata
    seen = wrong + right
    share = (wrong + 1) / (seen + 2)
    variance = total**2 * share * (1 - share) * (1 / np.maximum(seen, 1) - 1 / np.maximum(total, 1)) + 1e-9
    deviations = np.sqrt(2 * level + np.log1p(seen / PRIOR_EXAMPLES).sum(0))
    away = deviations * variance / np.sqrt(variance.sum(0))
    reach = total - right - start
    return start + reach * -np.expm1(-away / np.maximum(reach, 1e-9))


def _log_capital(strata: _Strata, x: Floats) -> tuple[Floats, Floats, Floats]:
    """The log capital against x wrong ones, its slope and its curvature in x; each float64[2, cell]."""
    wrong, right, total = strata
    scale = PRIOR_EXAMPLES / np.maximum(total, 1)
    unseen = total - wrong - right
    # Γ(a + n) / Γ(a) with a = 0 occurs for n = 0 only, and is 1.
    bet_wrong, bet_right = (
        _rise(np.maximum(scale * x, _TINY), wrong),
        _rise(np.maximum(scale * (total - x), _TINY), right),
    )
    true_wrong, true_right = _rise(x - wrong + 1, wrong), _rise(total - x - right + 1, right)
    constant = (
        gammaln(PRIOR_EXAMPLES) - gammaln(PRIOR_EXAMPLES + wrong + right) + gammaln(total + 1) - gammaln(unseen + 1)
    )
    value = bet_wrong[0] + bet_right[0] - true_wrong[0] - true_right[0] + constant
    slope = scale * (bet_wrong[1] - bet_right[1]) - true_wrong[1] + true_right[1]
    curvature = scale**2 * (bet_wrong[2] + bet_right[2]) - true_wrong[2] - true_right[2]
    return value, slope, curvature


def _rise(start: Floats, steps: Floats) -> tuple[Floats, Floats, Floats]:
    """log(start (start + 1) ... (start + steps - 1)), its first and (to three digits) its second derivative."""
    end = start + steps
    return gammaln(end) - gammaln(start), digamma(end) - digamma(start), _trigamma(end) - _trigamma(start)


def _trigamma(x: Floats) -> Floats:
    """By one step of its recurrence and its series for large numbers: good enough to choose a step by."""
    y = 1 / (x + 1)
    return 1 / x**2 + y * (1 + y * (1 / 2 + y * (1 / 6 - y**2 / 30)))


def _under_tangent(at: Floats, slope: Floats, room: Floats, lowest: Floats, highest: Floats) -> Floats:
    """The largest x + y, each in lowest..highest, with slope · ((x, y) - at) <= room; float64[cell].

    A linear programme of two unknowns: what lowers the tangent or leaves it is taken whole, then what raises it less.
    """
    free = slope <= 0
    begin = np.where(free, highest, lowest)
    room = room - (slope * (begin - at)).sum(0)
    price = np.where(free, 1e30, slope)
    first = np.argmin(price, axis=0)
    result = begin.sum(0)
    for which in (first, 1 - first):
        cost = np.take_along_axis(price, which[None], 0)[0]
        reach = np.take_along_axis(highest - begin, which[None], 0)[0]
        taken = np.clip(room / cost, 0, reach)
        result = result + taken
        room = room - taken * cost
    return result


def _step(
    strata: _Strata,
    at: Floats,
    highest: Floats,
    rise: Floats,
    slope: Floats,
    curvature: Floats,
    room: Floats,
) -> Floats:
    """The largest x + y where a parabola in each, through value and slope at `at`, allows it; float64[2, cell].

    Near the set's edge the parabolas have the true curvature; far from it, where that would mislead, the one that
    gives them the true least value, `rise` below.
    """
    far = (np.abs(room) > 2) & (rise > 1) & (slope > 0)
    bend = np.maximum(np.where(far, slope**2 / (2 * np.maximum(rise, 1)), curvature), _TINY)
    # The logarithms grow without measure towards an end that was seen not to be reached: do not run into it.
    gap = highest - at
    top = np.where((strata.right == 0) | (gap < 1), highest, at + 0.9 * gap)
    gap = at - strata.wrong
    bottom = np.where((strata.wrong == 0) | (gap < 1), strata.wrong, at - 0.9 * gap)
    # Of one wrong and one right nothing is learnt: the capital is the same for all x.
    known = (np.maximum(strata.wrong, strata.right) > 1) & (highest > strata.wrong)
    bottom, top = np.where(known, bottom, highest), np.where(known, top, highest)
    # Where Lagrange's multiplier, the price of one more, reaches these, an unknown leaves a limit or is stopped by one.
    cheap, dear = np.maximum(slope + bend * (bottom - at), 0), np.maximum(slope + bend * (top - at), 0)
    marks = np.stack([*cheap, *dear])
    move = np.clip(at + (marks[:, None] - slope) / bend, bottom, top) - at
    affordable = (known * move * (slope + bend * move / 2)).sum(1) <= room
    mark = np.max(np.where(affordable, marks, marks.min(0)), axis=0)
    # From there on those between their limits share the room that the others leave.
    free = known & (cheap <= mark) & (mark < dear)
    move = np.clip(at + (mark - slope) / bend, bottom, top) - at
    spent = np.where(free, -(slope**2) / (2 * bend), known * move * (slope + bend * move / 2)).sum(0)
    pull = np.where(free, 1 / bend, 0).sum(0)
    price = np.sqrt(np.maximum(2 * (room - spent), 0) / np.maximum(pull, _TINY))
    return np.where(free, np.clip(at + (price - slope) / bend, bottom, top), at + move)
