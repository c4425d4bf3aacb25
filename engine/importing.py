"""Networks that were trained elsewhere: their checkpoints, read from files, become those of a run in the store.

A checkpoint may lack tensors that the trained network has (the head of a network that was pre-trained on other
classes): these have no values at that checkpoint, which the store says, and cells that would need them are not
available.  The trained network itself must be whole.
"""

import math
import time
from typing import Any

from torch import nn

from ..store import EpochMetrics, Run, inert
from .building import build_model
from .data.base import DataSet
from .errors import ModelError, RunConflictError, SpecError
from .events import Observer, WeightsRead
from .examples import held_out_examples
from .seeds import derive
from .spec import Spec
from .state import state_arrays
from .tasks import TASKS
from .team import Team
from .train import distributed_error, evaluation_batch
from .weights import Weights, put, read_weights, starting_weights


def origins_of(spec: Spec, model: nn.Module) -> dict[str, Any]:
    """What the files that a spec names hold for its network: :attr:`lyrx.store.RunInfo.origins`.

    Raises SpecError, ModelError, DataNotFoundError.
    """
    if spec.train.imported:
        if spec.model.weights is not None:
            raise SpecError("model.weights says what training starts from; with train.imported nothing is trained.")
        return {str(epoch): _read(spec, epoch, model).facts() for epoch in spec.train.kept()}
    weights = starting_weights(spec.model, model)
    return {} if weights is None else {"start": weights.facts()}


def import_checkpoints(run: Run, spec: Spec, data: DataSet, team: Team, observer: Observer) -> None:
    """Commit what is not yet committed of an imported run's checkpoints, the trained network last.

    All processes of `team` take part; the first one holds the run's writer's lock.  The error of each whole network on
    the test examples goes into the run's history.  Raises ModelError, DataNotFoundError, and RunConflictError when a
    file has changed since the run was made.
    """
    model = build_model(spec.model, data.shape, data.classes, derive(spec.run.seed, "init")).to(team.device)
    examples = held_out_examples(data, team.device)
    done = team.tell(run.checkpoints.committed())
    for epoch in (epoch for epoch in run.checkpoints.epochs if epoch not in done):
        start = time.perf_counter()
        weights = _read(spec, epoch, model)
        if weights.sha256 != run.info.origins[str(epoch)]["sha256"]:
            raise RunConflictError(
                f"run '{inert(run.name)}': {weights.origin} holds other weights than when the run was made. "
                "Make it anew with --fresh."
            )
        put(weights, model)
        error, loss = (
            (math.nan, math.nan)
            if weights.absent
            else distributed_error(team, model, examples, TASKS[data.task].judge, evaluation_batch(spec.train))
        )
        metrics = EpochMetrics(epoch, math.nan, math.nan, error, loss, time.perf_counter() - start)
        team.lead(lambda: _commit(run, weights, metrics, model))  # noqa: B023 - called at once
        observer(WeightsRead(run.name, str(epoch), weights.origin, tuple(weights.absent), weights.notes, error))


def _commit(run: Run, weights: Weights, metrics: EpochMetrics, model: nn.Module) -> None:
    """Called in the first process only. The checkpoint comes last: what was committed before it is written again."""
    fingerprint, tensors = run.info.fingerprint, run.checkpoints.tensors
    if not weights.absent:
        run.history.append(metrics, fingerprint)
    there = [info for info in tensors.values() if info.name not in weights.absent]
    run.checkpoints.append(metrics.epoch, state_arrays(model, there), fingerprint, weights.absent)


def _read(spec: Spec, epoch: int, model: nn.Module) -> Weights:
    weights = read_weights(spec.train.imported[str(epoch)], model)
    if weights.absent and epoch == spec.train.epochs:
        name, reason = next(iter(weights.absent.items()))
        raise ModelError(f"the trained network is not whole: '{inert(name)}' is missing: {reason}.")
    return weights
