"""MNIST, where its files are: LYRX_TEST_DATA names a folder that holds MNIST/raw."""

import os
from pathlib import Path

import numpy as np
import pytest
from running import batch

FOLDER = os.environ.get("LYRX_TEST_DATA", "")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (Path(FOLDER) / "MNIST" / "raw" / "train-images-idx3-ubyte").is_file() or not FOLDER,
        reason="LYRX_TEST_DATA names no folder with MNIST/raw",
    ),
]


def test_the_recipe_in_small(tmp_path: Path):
    run, _ = batch(
        tmp_path / "s.zarr",
        model={"name": "fcn", "width": 256, "depth": 3},
        data={"name": "mnist", "root": FOLDER},
        train={"epochs": 3, "batch_size": 128, "lr": 0.1, "milestones": [2], "checkpoints": [1]},
        probe={"draws": 3},
    )
    facts = run.info.data_facts
    # The well-known mean and standard deviation of MNIST's training pixels.
    assert facts["mean"] / 255 == pytest.approx(0.1307, abs=5e-5)
    assert facts["std"] / 255 == pytest.approx(0.3081, abs=5e-5)
    assert (facts["train_examples"], facts["test_examples"]) == (60_000, 10_000)
    probe = run.probe()
    estimates = probe.results().estimates
    error = np.array(
        [
            [
                np.mean([estimates[c].error for c in estimates if c.layer == layer and c.column == column])
                for column in range(4)
            ]
            for layer in range(4)
        ]
    )
    assert [layer.name for layer in probe.info.layers] == ["fc1", "fc2", "fc3", "output"]
    assert error[0, -1] < 0.03
    assert error[0, 1] > 0.3, "the first layer is critical at checkpoint 0"
    assert error[3, 1] < error[0, 1] / 2, "the output layer is robust at checkpoint 0, compared to the first"
    assert (error[:, 0] > 0.7).all(), "re-randomising any layer destroys the network"
