"""Mean and standard deviation of all training pixels of images in files: counted once, and kept in the user's cache.

To count, every training image is decoded; the test images are decoded too, so that a broken one is named before
anything is begun with the data.  Counts of grey levels are whole numbers: in whatever parts they are counted, and by
however many processes, the result is the same to the last bit.
"""

from typing import TYPE_CHECKING

import numpy as np

from ..cache import kept
from .files import ImageFiles

if TYPE_CHECKING:
    from .base import DataSet

_PART = 2**24  # pixels counted in one go: counting makes 8 bytes of each


def file_statistics(data: "DataSet") -> tuple[float, float]:
    """(mean, standard deviation) over all pixels of the training images, 0..255, un-augmented. Raises DataError."""

    def look() -> dict[str, float]:
        from ..decoding import grey_levels

        counts = np.zeros(256, dtype=np.int64)
        for half in (data.train_inputs, data.test_inputs):
            assert isinstance(half, ImageFiles)
            found = grey_levels(half, data.keeping)
            if half is data.train_inputs:
                counts += found
        mean, std = mean_std_of(counts)
        return {"mean": mean, "std": std}

    found = kept(f"pixels-{data.fingerprint}", look, {"mean", "std"})
    return found["mean"], found["std"]


def levels_of(pixels: np.ndarray) -> np.ndarray:
    """int64[256]: how many of the uint8 `pixels` have each value."""
    counts, flat = np.zeros(256, dtype=np.int64), pixels.reshape(-1)
    for start in range(0, len(flat), _PART):
        counts += np.bincount(flat[start : start + _PART], minlength=256)
    return counts


def mean_std_of(counts: np.ndarray) -> tuple[float, float]:
    """Of values 0..255 that occur so often. A constant image has std 1: it divides by something."""
    levels = [int(count) for count in counts]  # whole numbers without a limit: sums stay exact
    n = sum(levels)
    first = sum(level * count for level, count in enumerate(levels))
    second = sum(level * level * count for level, count in enumerate(levels))
    return first / n, ((n * second - first * first) / (n * n)) ** 0.5 or 1.0
