"""The reference evaluator: a plain full forward of the whole network. Obviously right, and the oracle for ever."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from .errors import CancelledError
from .examples import Examples


@dataclass(frozen=True)
class Tally:
    """What a forward over some examples counted."""

    seen: int
    wrong: int
    loss: float
    """Mean cross entropy over the examples, nats."""
    agreeing: int
    """Predictions equal to the reference's; all of them without one."""


@dataclass(frozen=True)
class Outcome:
    """Per example: int64[k] prediction (-1 where the output is not a number), bool[k] wrong, float32[k] loss."""

    prediction: Tensor
    wrong: Tensor
    loss: Tensor


def judge(logits: Tensor, targets: Tensor) -> Outcome:
    """What each row of `logits` (float[k, classes]) predicts.

    A row with a NaN predicts nothing and is wrong: argmax would name a class all the same.
    """
    highest, prediction = logits.max(dim=1)
    prediction = torch.where(highest.isnan(), -1, prediction)
    loss = functional.cross_entropy(logits.float(), targets, reduction="none")
    return Outcome(prediction, prediction != targets, loss)


@torch.inference_mode()
def full_forward(
    model: nn.Module,
    examples: Examples,
    batch_size: int,
    reference: Tensor | None = None,
    after_batch: Callable[[int], bool] | None = None,
) -> tuple[Tally, Tensor]:
    """Run every example through `model`; returns the tally and the predictions, int64[n].

    `reference` are the predictions to agree with (int64[n]).  `after_batch(examples seen)` may return True to stop,
    which raises CancelledError: an unfinished tally is no result.
    """
    predictions: list[Tensor] = []
    device = examples.targets.device
    # Counted on the device, so that a GPU need not wait for the host between batches.
    wrong = torch.zeros((), dtype=torch.int64, device=device)
    loss = torch.zeros((), dtype=torch.float64, device=device)
    seen = 0
    was_training = model.training
    model.eval()
    try:
        for inputs, targets in examples.batches(batch_size):
            outcome = judge(model(inputs), targets)
            predictions.append(outcome.prediction)
            wrong += outcome.wrong.sum()
            loss += outcome.loss.sum(dtype=torch.float64)
            seen += len(targets)
            if after_batch is not None and after_batch(seen):
                raise CancelledError("the measurement was cancelled.")
    finally:
        model.train(was_training)
    predicted = torch.cat(predictions)
    agreeing = seen if reference is None else int((predicted == reference).sum())
    return Tally(seen, int(wrong), float(loss) / seen, agreeing), predicted
