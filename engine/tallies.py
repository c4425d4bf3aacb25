"""What is counted of a cell, example by example, beside the trained network."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from .errors import ModelError
from .mean_intervals import START, Path
from .replay.replayer import Arguments

Judge = Callable[[Any, Any], "Outcome"]
"""(a forward's output, the batch's targets) -> what became of each example."""


@dataclass(frozen=True)
class Outcome:
    """What became of k examples; each has one prediction, or `parts` of them: a sequence's tokens, say."""

    prediction: Tensor
    """int64[k] or [k, parts]; -1 where the output is not a number."""
    wrong: Tensor
    """bool[k] or [k, parts]."""
    loss: Tensor
    """float32[k], nats: of an example, the mean over its predictions."""


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
    """int64[n] or [n, parts], on the device."""
    wrong: Tensor
    """bool[n] or [n, parts], on the device."""
    loss: float
    """Mean, nats."""

    @cached_property
    def errors(self) -> int:
        """Predictions that are wrong."""
        return int(self.wrong.sum())

    @property
    def parts(self) -> int:
        """Predictions an example."""
        return self.wrong[0].numel()

    @property
    def error(self) -> float:
        """The share of predictions that are wrong, 0..1."""
        return self.errors / self.wrong.numel()


@dataclass(frozen=True)
class Tally:
    """Counts over the examples seen so far. All but `seen` count predictions, of which an example may have several."""

    seen: int = 0
    """Examples."""
    wrong: int = 0
    worse: int = 0
    """Wrong, where the trained network is right."""
    better: int = 0
    """Right, where the trained network is wrong."""
    agreeing: int = 0
    """Predicted as the trained network does."""
    loss: float = 0.0
    """Sum over the examples, nats."""
    path: Path = START
    """Of the differences from the trained network; kept only where an example has several predictions."""
    before: float = 0.0
    """Seconds that those examples took which an earlier measurement saw, and this one went on from."""
    full: int = 0
    """How many of those were not replayed."""
    reason: str = ""
    """Why not."""

    def plus(self, seen: int, counts: "list[float]", total: int, parts: int) -> "Tally":
        """With another batch of `seen` examples, counted by :func:`count`.

        There are `total` examples with `parts` predictions each.
        """
        wrong, worse, better, agreeing = (int(number) for number in counts[:4])
        path = self.path
        if parts > 1:
            batch = (seen, (worse - better) / parts, counts[5] / parts**2)
            path = path.plus(batch, self.seen, (self.worse - self.better) / parts, total)
        return Tally(
            seen=self.seen + seen,
            wrong=self.wrong + wrong,
            worse=self.worse + worse,
            better=self.better + better,
            agreeing=self.agreeing + agreeing,
            loss=self.loss + counts[4],
            path=path,
            before=self.before,
            full=self.full,
            reason=self.reason,
        )


def count(outcome: Outcome, prediction: Tensor, wrong: Tensor) -> Tensor:
    """float64[variant, 5 or 6] on the device: predictions wrong, worse, better, agreeing, and the loss of a batch.

    `prediction` and `wrong` are the trained network's on the same k examples; `outcome` is of one variant or of several
    behind one another, [variant * k].  Where an example has several predictions a sixth number follows: the sum over
    the examples of (worse - better) squared.
    """
    shape = (-1, *wrong.shape)
    mine, same = outcome.wrong.view(shape), outcome.prediction.view(shape) == prediction
    worse, better = mine & ~wrong, ~mine & wrong
    numbers = [mask.flatten(1).sum(1, dtype=torch.float64) for mask in (mine, worse, better, same)]
    numbers.append(outcome.loss.view(-1, len(wrong)).sum(1, dtype=torch.float64))
    if wrong.ndim > 1:
        numbers.append((worse.sum(dim=2) - better.sum(dim=2)).double().square().sum(1))
    return torch.stack(numbers, dim=1)


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
    if logits.is_complex():
        raise ModelError("the network's output is complex: which score is the highest only `correct` can say.")
    # By the scores as they are: in fewer digits some of them would be equal.
    highest, prediction = logits.max(dim=1)
    prediction = torch.where(highest.isnan(), -1, prediction)
    wide = logits if logits.dtype == torch.float64 else logits.float()
    loss = functional.cross_entropy(wide, targets, reduction="none")
    return Outcome(prediction, prediction != targets, loss)


def judge_tokens(output: Any, targets: Tensor) -> Outcome:
    """Next tokens: `output` is, or holds as `logits`, float[k, length, vocabulary]; `targets` are int64[k, length].

    A position with a NaN predicts nothing and is wrong.  Raises ModelError.
    """
    logits = logits_of(output)
    if logits.shape[:-1] != targets.shape:
        raise ModelError(
            f"the network's output has the shape {list(logits.shape)}; scores for every next token of "
            f"{list(targets.shape)} are needed, [examples, length, vocabulary]."
        )
    highest, prediction = logits.max(dim=-1)
    prediction = torch.where(highest.isnan(), -1, prediction)
    # Example by example: in full precision all scores of a batch would take twice the memory once more.
    rows = zip(logits, targets, strict=True)
    loss = torch.stack([functional.cross_entropy(row.float(), wanted) for row, wanted in rows])
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
