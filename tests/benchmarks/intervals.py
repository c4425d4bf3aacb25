"""How many examples a cell needs until its interval is narrow enough, and what an interval costs.

    python tests/benchmarks/intervals.py [--orders 40]

Cells of a known error are looked at after every 2 % more examples of a random order, until the default rule stops them
and until the half-width is 2 points; medians over the orders.  Beside lyrx's intervals, on the same orders:

- *fixed*: the normal interval of the two strata with the finite-population factor, as if n had been chosen beforehand.
  It is not valid when one looks again and again; no interval that is can need much fewer examples.
- *one prior*: as lyrx's, with Beta(1/2, 1/2) whatever it is tested against (Waudby-Smith and Ramdas 2020 as it stands).
- *Bernstein*: the empirical-Bernstein confidence sequence without replacement of the difference from the baseline
  (Waudby-Smith and Ramdas, Estimating means of bounded random variables by betting, 2024, section 5).

A cell repairs 30 % of what the baseline has wrong, or as many as its error needs.
"""

import argparse
import statistics
import time

import numpy as np
from lyrx.engine.intervals import CONFIDENCE, paired_intervals
from lyrx.store.stopping import Rule
from scipy.special import gammaln

Ends = tuple[np.ndarray, np.ndarray]


def population(error: float, baseline: float, total: int) -> tuple[int, int, int, int]:
    """(worse, right, better, wrong) among all examples."""
    cell, wrong = round(error * total), round(baseline * total)
    better = min(wrong, total - cell, max(round(0.3 * wrong), wrong - cell))
    return cell - wrong + better, total - wrong, better, wrong


def fixed(seen: np.ndarray, right: int, wrong: int) -> Ends:
    """The normal interval of both strata; `seen` int64[4, look] is (worse, right, better, wrong)."""
    worse, right_seen, better, wrong_seen = seen
    variance, centre = np.zeros(seen.shape[1]), np.zeros(seen.shape[1])
    for k, n, total, sign in ((worse, right_seen, right, 1), (better, wrong_seen, wrong, -1)):
        # One more of each kind, or nothing seen would have no variance.
        share = (k + 1) / (n + 2)
        variance += total**2 * share * (1 - share) * (1 / np.maximum(n, 1) - 1 / total)
        centre += sign * total * k / np.maximum(n, 1)
    half = 1.96 * np.sqrt(np.maximum(variance, 0)) / (right + wrong)
    middle = (wrong + centre) / (right + wrong)
    return middle - half, middle + half


def one_prior(seen: np.ndarray, right: int, wrong: int) -> Ends:
    """Beta(1/2, 1/2) in each stratum, by enumeration."""

    def capital(k: int, n: int, total: int) -> tuple[np.ndarray, np.ndarray]:
        x = np.arange(k, total - (n - k) + 1)
        bet = gammaln(k + 0.5) + gammaln(n - k + 0.5) - 2 * gammaln(0.5) - gammaln(n + 1)
        true = gammaln(x + 1) - gammaln(x - k + 1) + gammaln(total - x + 1) - gammaln(total - x - (n - k) + 1)
        return x, bet - true + gammaln(total + 1) - gammaln(total - n + 1)

    limit, ends = -np.log(1 - CONFIDENCE), []
    for worse, right_seen, better, wrong_seen in seen.T.tolist():
        x, first = capital(worse, right_seen, right)
        y, second = capital(wrong_seen - better, wrong_seen, wrong)
        order = np.argmin(first)
        fits = limit - second > first[order]
        # Convex: on either side of its least value the capital only grows.
        down = np.searchsorted(first[: order + 1][::-1], (limit - second)[fits], side="left") - 1
        up = np.searchsorted(first[order:], (limit - second)[fits], side="left") - 1
        ends.append(((x[order] - down + y[fits]).min(), (x[order] + up + y[fits]).max()))
    low, high = np.array(ends).T / (right + wrong)
    return low, high


def bernstein(changes: np.ndarray, baseline: float) -> Ends:
    """After every example; `changes` [example] is 1 where the cell is worse than the baseline, -1 where better."""
    total = len(changes)
    x, t = (changes + 1) / 2, np.arange(1, total + 1)
    before = np.concatenate([[0], np.cumsum(x)[:-1]])
    mean_before = (0.5 + before) / t
    squares = np.cumsum((x - (0.5 + np.cumsum(x)) / (t + 1)) ** 2)
    variance_before = np.concatenate([[0.25], ((0.25 + squares) / (t + 1))[:-1]])
    logarithm = np.log(2 / (1 - CONFIDENCE))
    bet = np.minimum(np.sqrt(2 * logarithm / (variance_before * t * np.log(1 + t))), 0.5)
    left = total - t + 1
    weight = np.cumsum(bet * (1 + (t - 1) / left))
    middle = np.cumsum(bet * (x + before / left)) / weight
    half = (logarithm + np.cumsum((x - mean_before) ** 2 * (-np.log1p(-bet) - bet))) / weight
    # With all examples seen any interval may be the point.
    half[-1], middle[-1] = 0, x.mean()
    return baseline + 2 * (middle - half) - 1, baseline + 2 * (middle + half) - 1


def needed(error: float, baseline: float, total: int, orders: int) -> dict[str, tuple[float, float]]:
    """Per kind of interval: the median number of examples for the default rule, and for 2 points."""
    worse, right, better, wrong = population(error, baseline, total)
    kinds = np.repeat([0, 1, 2, 3], [worse, right - worse, better, wrong - better])
    looks = np.unique(np.minimum(total, (10 * 1.02 ** np.arange(600)).astype(int)))
    found: dict[str, list[tuple[int, int]]] = {}
    for order in range(orders):
        shuffled = np.random.default_rng(order).permutation(kinds)
        counts = np.stack([np.cumsum(shuffled == kind)[looks - 1] for kind in range(4)])
        seen = np.stack([counts[0], counts[0] + counts[1], counts[2], counts[2] + counts[3]])
        changes = (shuffled == 0).astype(float) - (shuffled == 2)
        ends = {
            "fixed": fixed(seen, right, wrong),
            "lyrx": paired_intervals(*seen, right, wrong),
            "one prior": one_prior(seen, right, wrong),
            "Bernstein": tuple(end[looks - 1] for end in bernstein(changes, wrong / total)),
        }
        for name, (low, high) in ends.items():
            close = ((high - low) / 2 <= Rule().half_width) | (looks == total)
            stopped = Rule().finished(low, high, wrong / total, looks, total)
            found.setdefault(name, []).append((looks[stopped.argmax()], looks[close.argmax()]))
    return {name: tuple(statistics.median(column) for column in zip(*rows)) for name, rows in found.items()}  # noqa: B905


def milliseconds(total: int, cells: int = 250) -> float:
    """What one look at so many cells costs, after 1,000 examples; median of 30."""
    generator = np.random.default_rng(0)
    worse = generator.binomial(984, generator.choice([0.01, 0.1, 0.5, 0.9], cells))
    better = generator.binomial(16, 0.3, cells)
    wrong = total * 16 // 1000
    seconds = []
    for _ in range(30):
        start = time.perf_counter()
        paired_intervals(worse, 984, better, 16, total - wrong, wrong)
        seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orders", type=int, default=40)
    orders = parser.parse_args().orders
    names = ("fixed", "lyrx", "one prior", "Bernstein")
    print("| examples | baseline | error |", *(f"{name} |" for name in names))
    print("| --- " * (3 + len(names)) + "|")
    for total in (10_000, 50_000):
        for baseline in (0.016, 0.07):
            for error in (0.02, 0.1, 0.5, 0.9):
                row = needed(error, baseline, total, orders)
                shown = (f"{row[name][0]:,.0f} / {row[name][1]:,.0f} |" for name in names)
                print(f"| {total:,} | {100 * baseline:g} % | {100 * error:g} % |", *shown, flush=True)
    for total in (10_000, 1_000_000):
        print(f"250 cells of {total:,} examples: {milliseconds(total):.1f} ms a look")


if __name__ == "__main__":
    main()
