"""The handwritten digits that scikit-learn ships: 1,797 images of 8 x 8. No download; made for a first try."""

from typing import Literal

import numpy as np

from .base import DataSet, DataSpec

TEST_EXAMPLES = 360
SPLIT_SEED = 0
"""The split is part of the data set, so it does not depend on a run's seed."""


class DigitsSpec(DataSpec):
    """1,437 training and 360 test images, float32[n, 1, 8, 8], 0..16."""

    name: Literal["digits"] = "digits"

    def load(self) -> DataSet:
        from sklearn.datasets import load_digits

        inputs, labels = load_digits(return_X_y=True)
        images = np.asarray(inputs, dtype=np.float32).reshape(-1, 1, 8, 8)
        order = np.random.default_rng(SPLIT_SEED).permutation(len(images))
        test, train = order[:TEST_EXAMPLES], order[TEST_EXAMPLES:]
        targets = np.asarray(labels, dtype=np.int64)
        return DataSet(images[train], targets[train], images[test], targets[test], 10)
