"""How far each layer has moved from its initialisation (JMLR 23, 2022: 2-norm divided by sqrt(n), infinity norm)."""

import math

import numpy as np

from ..store import DamagedError, LyrxError, NotCommittedError, Probe, Run
from .state import to_tensor


def commit_distances(run: Run, probe: Probe) -> tuple[int, list[LyrxError]]:
    """Measure and commit what is missing, for every checkpoint of the probe that is in the store.

    Returns how many were committed, and what stood in the way of the others.
    Over a layer's parameters (buffers are no weights): sqrt(mean of squared changes) and the largest absolute change.
    NaN for a layer that has no values at checkpoint 0 or at the other one; none at all where a run has no checkpoint 0.
    """
    if 0 not in run.checkpoints.epochs:
        return 0, []
    done = probe.results().distances
    todo = [epoch for epoch in probe.info.checkpoints if epoch not in done and run.checkpoints.is_committed(epoch)]
    if not todo:
        return 0, []
    weights = {
        layer.name: [name for name in layer.tensors if run.checkpoints.tensors[name].kind == "parameter"]
        for layer in probe.info.layers
    }
    names = list(dict.fromkeys(name for members in weights.values() for name in members))
    damaged: list[LyrxError] = []
    for epoch in todo:
        try:
            absent = {*run.checkpoints.absent(0), *run.checkpoints.absent(epoch)}
            known = [name for name in names if name not in absent]
            start, now = _values(run, 0, known), _values(run, epoch, known)
        except (DamagedError, NotCommittedError) as error:
            damaged.append(error)
            continue
        moved = {name: now[name] - start[name] for name in known}
        pairs = [
            (math.nan, math.nan) if absent.intersection(members) else _norms([moved[name] for name in members])
            for members in weights.values()
        ]
        probe.write_distances(epoch, tuple(l2 for l2, _ in pairs), tuple(linf for _, linf in pairs))
    return len(todo) - len(damaged), damaged


def _values(run: Run, epoch: int, names: list[str]) -> dict[str, np.ndarray]:
    tensors = run.checkpoints.tensors
    arrays = run.checkpoints.read(epoch, names) if names else {}
    return {name: to_tensor(array, tensors[name].dtype).double().numpy() for name, array in arrays.items()}


def _norms(changes: list[np.ndarray]) -> tuple[float, float]:
    count = sum(change.size for change in changes)
    if count == 0:
        return 0.0, 0.0
    squares = sum(float(np.square(change).sum()) for change in changes)
    largest = max(float(np.abs(change).max()) for change in changes if change.size)
    return (squares / count) ** 0.5, largest
