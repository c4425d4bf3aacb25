"""What a network is trained for: how its output is judged, and what training makes smaller."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn import functional

from .tallies import Judge, judge, judge_tokens, logits_of


@dataclass(frozen=True)
class Task:
    """A kind of data set."""

    name: str
    judge: Judge
    output: str
    """What a network must return for two examples, in words."""
    loss: Callable[[Any, Tensor, float], Tensor]
    """(a forward's output, targets, label smoothing) -> mean cross entropy in nats, a scalar with a gradient."""


def _classes(output: Any, targets: Tensor, smoothing: float) -> Tensor:
    return functional.cross_entropy(logits_of(output), targets, label_smoothing=smoothing)


def _tokens(output: Any, targets: Tensor, smoothing: float) -> Tensor:
    return functional.cross_entropy(logits_of(output).flatten(0, 1), targets.flatten(), label_smoothing=smoothing)


TASKS = {
    "classification": Task("classification", judge, "[2, {classes}]: a score for each class", _classes),
    "language": Task("language", judge_tokens, "[2, {length}, {classes}]: scores for every next token", _tokens),
}
