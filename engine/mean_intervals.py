"""Intervals for the mean of shares on a finite data set, valid at every look: for examples with many predictions.

A language model predicts every token of a sequence; a sequence's error is a share, and its tokens depend on each
other.  The sampled unit is therefore the sequence.  Let d_i in [-1, 1] be a cell's share of wrong tokens in sequence i
minus the trained network's, and x_i = d_i / 2.

**The bet.** Sequences come in batches, without replacement from N.  Before a batch of k, when n sequences with the sum
S have been seen, the mean of those left is m = (N mu - S) / (N - n) if mu is the mean of all, and c, the mean so far,
is known.  For 0 < l < 1 let g(l) = -log(1 - l) - l.  Since x - c >= -1,

    exp(l (x - c) - g(l) (x - c)**2) <= 1 + l (x - c)

(Fan, Grama and Liu, Electron. J. Probab. 20, 2015, lemma 4.1), so for one x drawn from those left the mean of
exp(l (x - m) - g(l) (x - c)**2) is at most exp(l (c - m)) (1 + l (m - c)) <= 1.  The exponent of a batch is a sum of
such numbers over a sample without replacement, whose exponential has a mean no larger than with replacement (Hoeffding,
J. Amer. Stat. Assoc. 58, 1963, theorem 4).  So the product over the batches,

    exp(l (sum of x - sum of k m) - g(l) V),    V = sum of (x - c)**2 with each batch's own c,

is a nonnegative supermartingale at the batches' ends, and so is its mean over a few l.  By Ville's inequality it ever
reaches 2 / a with probability at most a / 2; the same holds for -x.  All mu for which neither does are the interval.
(The idea of an empirical Bernstein bound in this form: Waudby-Smith and Ramdas, Confidence sequences for sampling
without replacement, NeurIPS 2020, section 3.)

The sum of k m is N A mu - B with A = sum of k / (N - n) and B = sum of k S / (N - n): so `Path` is all that has to be
kept, and both ends follow from one number each: the capital rises with the distance between (sum of x + B) and N A mu.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp

from .intervals import CONFIDENCE

Floats = NDArray[np.float64]

_RATES = 0.9 / 2.0 ** np.arange(0, 7, 0.75)
"""The l: the best one is about sqrt(2 log(1/a) / V), for V from 1 up to some thousands."""

_COSTS = -np.log1p(-_RATES) - _RATES

_STEPS = 60


@dataclass(frozen=True)
class Path:
    """What is kept of the batches seen, in units of d = 2 x."""

    variation: float = 0.0
    """Sum of (d - c)**2, c being the mean of d before each batch."""
    weight: float = 0.0
    """Sum of k / (N - n)."""
    pull: float = 0.0
    """Sum of k S / (N - n)."""

    def plus(self, batch: tuple[int, float, float], seen: int, before: float, total: int) -> "Path":
        """With one more batch: (its number k, the sum and the sum of squares of its d).

        `seen` examples with the sum `before` were seen until then, of `total`.
        """
        size, added, squares = batch
        mean = before / seen if seen else 0.0
        left = total - seen
        return Path(
            self.variation + max(0.0, squares - 2 * mean * added + size * mean**2),
            self.weight + size / left,
            self.pull + size * before / left,
        )


START = Path()
"""Nothing seen."""


def mean_intervals(
    seen: ArrayLike,
    difference: ArrayLike,
    path: tuple[ArrayLike, ArrayLike, ArrayLike],
    baseline_seen: ArrayLike,
    baseline_total: ArrayLike,
    total: ArrayLike,
    confidence: ArrayLike = CONFIDENCE,
) -> tuple[Floats, Floats, Floats]:
    """(estimate, low, high) of the mean share of wrong predictions on all examples; each float64[cell].

    `seen` of `total` examples were seen; `difference` is the sum of their d, `path` their (variation, weight, pull).
    `baseline_seen` and `baseline_total` are the trained network's sums of shares on those seen and on all.  The
    estimate is the baseline's mean on all + the mean difference on those seen, clipped to what is possible; it lies in
    the interval.  With all examples seen the three are the same.
    """
    arrays = np.broadcast_arrays(
        *np.atleast_1d(seen, difference, *path, baseline_seen, baseline_total, total, confidence)
    )
    n, s, variation, weight, pull, base_seen, base_total, everything, sure = (a.astype(np.float64) for a in arrays)
    if not ((sure > 0) & (sure < 1)).all():
        raise ValueError(f"a confidence of {confidence} is not possible: it lies between 0 and 1")
    if not ((n >= 1) & (n <= everything) & (np.abs(s) <= n + 1e-9)).all():
        raise ValueError("sums make no sense: at least one example, no more than there are, each from -1 to 1")
    limit = np.log(2 / (1 - sure))
    # How far sum(x) may lie from what mu says: the same on both sides.
    reach = 2 * _reach(variation / 4, limit)
    centre, scale = s + pull, everything * weight
    base = base_total / everything
    # Of those not seen each is right altogether, or wrong altogether.
    known = (base_seen + s) / everything
    least, most = known, known + (everything - n) / everything
    low = np.clip(base + (centre - reach) / scale, least, most)
    high = np.clip(base + (centre + reach) / scale, least, most)
    estimate = np.clip(base + s / n, least, most)
    return estimate, np.minimum(low, estimate), np.maximum(high, estimate)


def _reach(variation: Floats, limit: Floats) -> Floats:
    """The largest r for which the mean over l of exp(l r - g(l) V) is at most exp(limit); float64[cell]."""

    def capital(reach: Floats) -> Floats:
        exponents = _RATES[:, None] * reach - _COSTS[:, None] * variation
        return np.asarray(logsumexp(exponents, axis=0)) - np.log(len(_RATES))

    # With the best single l alone the capital is reached here at the latest.
    low = np.zeros_like(variation)
    high = np.min((limit + np.log(len(_RATES)) + _COSTS[:, None] * variation) / _RATES[:, None], axis=0)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        over = capital(middle) > limit
        low, high = np.where(over, low, middle), np.where(over, middle, high)
    return high
