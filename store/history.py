"""The training history of a run: what was measured after every epoch."""

import math
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from .errors import DamagedError
from .rows import Rows, create_coordinate, create_rows


@dataclass(frozen=True)
class EpochMetrics:
    """One epoch's numbers. Epoch 0 is the untouched initialisation: it has no training loss and no learning rate."""

    epoch: int
    train_loss: float
    """Mean cross entropy over the training examples as they were visited, nats."""
    lr: float
    test_error: float
    """Fraction of test examples classified wrongly, 0..1."""
    test_loss: float
    """Mean cross entropy over the test examples, nats."""
    seconds: float = math.nan
    """Wall-clock time of the epoch, its test included."""


QUANTITIES = ("train_loss", "lr", "test_error", "test_loss", "seconds")


class History:
    """The metrics of `epochs` epochs (and of epoch 0) of one run."""

    def __init__(self, run: Path, epochs: int):
        self.epochs = epochs
        self.rows = Rows(run / "metrics" / "history", (epochs + 1,), (len(QUANTITIES),))

    def append(self, metrics: EpochMetrics, fingerprint: str) -> None:
        """Commit the numbers of one epoch."""
        self.rows.write((metrics.epoch,), astuple(metrics)[1:], fingerprint)

    def read(self) -> tuple[list[EpochMetrics], list[DamagedError]]:
        """The committed epochs in order, and what is damaged."""
        rows, damaged = self.rows.read_all()
        return [EpochMetrics(index[0], *row.values) for index, row in sorted(rows.items())], list(damaged.values())

    def at(self, epoch: int) -> EpochMetrics | None:
        """The numbers of one epoch, or None. Raises DamagedError."""
        row = self.rows.read((epoch,))
        return EpochMetrics(epoch, *row.values) if row else None


def create_history(group: Any, epochs: int) -> None:
    """Create the arrays of a training history of `epochs` epochs under the run's Zarr group."""
    metrics = group.create_group("metrics")
    create_coordinate(metrics, "epoch", list(range(epochs + 1)))
    create_coordinate(metrics, "quantity", list(QUANTITIES))
    create_rows(metrics, "history", {"epoch": epochs + 1}, {"quantity": len(QUANTITIES)})
