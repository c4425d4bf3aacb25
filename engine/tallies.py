"""What is counted of a cell, example by example, beside the trained network."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from .errors import ModelError
from .replay.replayer import Arguments

Judge = Callable[[Any, Any], "Outcome"]
"""(a forward's output, the batch's targets) -> what became of each example."""


@dataclass(frozen=True)
class Outcome:
    """Per example: int64[k] prediction (-1 where the output is not a number), bool[k] wrong, float32[k] loss."""

    prediction: Tensor
    wrong: Tensor
    loss: Tensor


class Batches(Protocol):
    """Examples in the order in which they are visited, on the device."""

    def __len__(self) -> int: ...

    def between(self, start: int, stop: int) -> tuple[Arguments, Any]:
        """What the network is called with, and the targets, of the examples `start` to `stop`."""
        ...


@dataclass(frozen=True)
class Baseline:
    """The trained network on every example, in the order in which they are visited."""

    prediction: Tensor
    """int64[n], on the device."""
    wrong: Tensor
    """bool[n], on the device."""
    loss: float
    """Mean, nats."""

    @property
    def errors(self) -> int:
        return int(self.wrong.sum())

    @property
    def error(self) -> float:
        return self.errors / len(self.wrong)


@dataclass(frozen=True)
class Tally:
    """Counts over the examples seen so far."""

    seen: int = 0
    wrong: int = 0
    worse: int = 0
    """Wrong, where the trained network is right."""
    better: int = 0
    """Right, where the trained network is wrong."""
    agreeing: int = 0
    """Predicted as the trained network does."""
    loss: float = 0.0
    """Sum, nats."""

    def plus(self, seen: int, counts: "list[float]") -> "Tally":
        """With another batch of `seen` examples, counted by :func:`count`."""
        wrong, worse, better, agreeing = (int(number) for number in counts[:4])
        return replace(
            self,
            seen=self.seen + seen,
            wrong=self.wrong + wrong,
            worse=self.worse + worse,
            better=self.better + better,
            agreeing=self.agreeing + agreeing,
            loss=self.loss + counts[4],
        )


def count(outcome: Outcome, prediction: Tensor, wrong: Tensor) -> Tensor:
    """float64[variant, 5] on the device: wrong, worse, better, agreeing, loss of a batch.

    `prediction` and `wrong` are the trained network's on the same k examples; `outcome` is of one variant or of several
    behind one another, [variant * k].
    """
    mine, shape = outcome.wrong.view(-1, len(wrong)), (-1, len(wrong))
    return torch.stack(
        [
            mine.sum(1, dtype=torch.float64),
            (mine & ~wrong).sum(1, dtype=torch.float64),
            (~mine & wrong).sum(1, dtype=torch.float64),
            (outcome.prediction.view(shape) == prediction).sum(1, dtype=torch.float64),
            outcome.loss.view(shape).sum(1, dtype=torch.float64),
        ],
        dim=1,
    )


def judge(output: Any, targets: Tensor) -> Outcome:
    """Classification: `output` is, or holds as `logits`, float[k, classes]; `targets` are int64[k].

    A row with a NaN predicts nothing and is wrong: argmax would name a class all the same.  Raises ModelError.
    """
    logits = logits_of(output)
    if logits.ndim != 2 or len(logits) != len(targets):
        raise ModelError(
            f"the network's output has the shape {list(logits.shape)}; one row of scores for each of "
            f"{len(targets)} examples is needed, or `correct` and `loss` functions that know what it means."
        )
    logits = logits.float()
    highest, prediction = logits.max(dim=1)
    prediction = torch.where(highest.isnan(), -1, prediction)
    loss = functional.cross_entropy(logits, targets, reduction="none")
    return Outcome(prediction, prediction != targets, loss)


def logits_of(output: Any) -> Tensor:
    """The scores in a network's output: itself, its `logits`, or the first of several. Raises ModelError."""
    if isinstance(output, Tensor):
        return output
    found = output.get("logits") if isinstance(output, dict) else getattr(output, "logits", None)
    if found is None and isinstance(output, tuple) and output:
        found = output[0]
    if not isinstance(found, Tensor):
        raise ModelError(
            f"the network returns a {type(output).__name__} without logits. Give `correct` and `loss` functions."
        )
    return found
