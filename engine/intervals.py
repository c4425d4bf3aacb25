"""Intervals for the error on a finite data set of which some examples were seen."""

CONFIDENCE = 0.95


def error_interval(wrong: int, seen: int, total: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The exact interval of the error fraction on `total` examples, `wrong` of `seen` of them being wrong.

    `seen` examples were drawn at random without replacement, so `wrong` is hypergeometric; its two tails are inverted
    (the finite-population form of Clopper and Pearson, Biometrika 26, 1934).  The number of examples is fixed
    beforehand: the interval is not valid for looking again and again until it pleases.  With all examples seen it is
    the point itself.

    Raises ValueError when the counts make no sense.
    """
    if not 0 <= wrong <= seen <= total or seen < 1:
        raise ValueError(f"{wrong} wrong of {seen} seen of {total} is not possible")
    if seen == total:
        return wrong / total, wrong / total
    from scipy.stats import hypergeom

    tail = (1 - confidence) / 2
    # The number of wrong ones in all lies between these by what was seen alone.
    least, most = wrong, total - (seen - wrong)
    low = _first(least, most, lambda k: hypergeom.sf(wrong - 1, total, k, seen) > tail)
    high = _first(least, most, lambda k: hypergeom.cdf(wrong, total, least + most - k, seen) > tail)
    return low / total, (least + most - high) / total


def _first(least: int, most: int, holds) -> int:
    """The smallest k in least..most for which `holds`, which stays true from there on (and holds at `most`)."""
    while least < most:
        middle = (least + most) // 2
        if holds(middle):
            most = middle
        else:
            least = middle + 1
    return least
