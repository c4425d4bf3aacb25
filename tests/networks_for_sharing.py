"""A network that says which process computes, and that is slow, fails or dies where an environment variable says so.

The variables: `SHARING_LOG`, a folder that gets a file for each rank, one byte a forward; and, of the form
`rank:number`, `SHARING_SLOW` (seconds a forward), and `SHARING_RAISE`, `SHARING_MEMORY` and `SHARING_KILL`: the forward
from which on it raises an error of its own, or at which it runs out of memory, or is killed.
"""

import os
import signal
import time
from pathlib import Path

from torch import Tensor, nn

_forwards = 0


def _meant(variable: str) -> float | None:
    """The number that a variable has for this process."""
    rank, _, number = os.environ.get(variable, "").partition(":")
    return float(number) if number and rank == os.environ.get("RANK", "0") else None


class Watched(nn.Module):
    """Convolutions and a linear layer."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.a = nn.Conv2d(1, width, 3, padding=1)
        self.b = nn.Conv2d(width, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.fc = nn.Linear(64 * width, 10)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            _happens(len(x))
        return self.fc(self.norm(self.b(self.a(x).relu()).relu()).flatten(1))


def _log(letter: str) -> None:
    folder = os.environ.get("SHARING_LOG")
    if folder:
        with (Path(folder) / os.environ.get("RANK", "0")).open("a") as file:
            file.write(letter)


def _happens(examples: int) -> None:
    global _forwards
    _forwards += 1
    _log(".")
    time.sleep(_meant("SHARING_SLOW") or 0.0)
    if _forwards >= (_meant("SHARING_RAISE") or float("inf")):
        raise RuntimeError("no more of this")
    if _forwards == _meant("SHARING_MEMORY") and examples > 1:
        _log("M")
        raise MemoryError
    if _forwards == _meant("SHARING_KILL"):
        os.kill(os.getpid(), signal.SIGKILL)
