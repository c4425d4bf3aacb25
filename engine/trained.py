"""The trained network on all examples: what every cell is compared with."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from ..store import inert
from .device import out_of_memory
from .errors import ModelError, NetworkFailedError
from .forwards import Forwards
from .memory import BatchSize
from .replay.replayer import Arguments
from .sharing import Alone, Sharing, Unit
from .tallies import Baseline, Batches, Judge, Outcome, judge


def measure_baseline(
    forwards: Forwards,
    batches: Batches,
    size: BatchSize,
    judge: Judge = judge,
    after_batch: Callable[[int], None] = lambda seen: None,
    sharing: Sharing | None = None,
) -> Baseline:
    """The trained network on all examples.

    `after_batch(seen)` hears after each batch how many examples are known, and may raise CancelledError.
    """
    sharing = sharing or Alone()

    def compute(unit: Unit) -> tuple[np.ndarray, dict[str, Any]]:
        found = list(_outcomes(forwards, batches, unit.start, unit.stop, size, judge))
        rows = torch.stack([torch.cat([one.prediction for one in found]), torch.cat([one.wrong for one in found])])
        losses = [float(one.loss.sum(dtype=torch.float64)) for one in found]
        return rows.double().cpu().numpy(), {"losses": losses, "batch_size": size.now}

    spans = [(start, min(start + size.now, len(batches))) for start in range(0, len(batches), size.now)]
    parts, seen = [], 0
    for part in sharing.parts(spans, [1.0], compute):
        parts.append(part)
        seen += part.unit.stop - part.unit.start
        after_batch(seen)
    parts.sort(key=lambda part: part.unit.start)
    size.now = min(part.news["batch_size"] for part in parts)
    prediction, wrong = torch.from_numpy(np.concatenate([part.rows for part in parts], axis=1)).to(forwards.device)
    loss = sum(loss for part in parts for loss in part.news["losses"])
    return Baseline(prediction.long(), wrong.bool(), loss / len(batches))


def _answer(forwards: Forwards, arguments: Arguments, examples: int) -> Any:
    """The trained network's output. Raises NetworkFailedError."""
    try:
        return forwards.full(arguments)
    except Exception as error:
        if out_of_memory(error):
            raise
        raise NetworkFailedError(
            f"the trained network fails on a batch of {examples} examples: {type(error).__name__}: {inert(str(error))}"
        ) from error


def _outcomes(
    forwards: Forwards, batches: Batches, start: int, stop: int, size: BatchSize, judge: Judge
) -> Iterator[Outcome]:
    while start < stop:
        end = min(start + size.now, stop)
        try:
            arguments, targets = batches.between(start, end)
            outcome = judge(_answer(forwards, arguments, end - start), targets)
            if len(outcome.wrong) != end - start:
                raise ModelError(
                    f"{len(outcome.wrong)} answers came of a batch of {end - start} examples; "
                    "`correct` gives one for each."
                )
        except Exception as error:
            if not (out_of_memory(error) and size.halve(end - start)):
                raise
            continue
        yield outcome
        start = end
