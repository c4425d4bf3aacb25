"""What is done to a layer: values that are put in the place of its trained ones, and taken out again."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..store import NOISE, PATH, REINITIALISE, RERANDOMISE, SHUFFLE, ZERO, Cell, Column, Layer, ProbeInfo, TensorInfo
from .errors import RestoreError
from .seeds import derive
from .sources import Source
from .state import named_tensors, same_bits, surely
from .values import between, noisy, shuffled

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
"""Of a norm: buffers that it learns in training."""


class Interventions:
    """Values for every cell of one probe, from `source`; every random number derives from `seed`.

    What a layer gets:

    - re-initialise, re-randomise: all its tensors, of the checkpoint or of a fresh network.
    - path: its parameters and buffers between the checkpoint's and the trained ones.
    - zero, noise, shuffle: its parameters only; running statistics and other buffers stay as trained.  (A weight that
      is normalised by its own length is not a number at zero, and such predictions count as wrong.)

    The policy for norms' running statistics holds for the first two lines: 'rewound' takes them along; 'kept' leaves
    them as trained; 'reestimated' leaves them too, for :mod:`.norms` to estimate them anew.  A whole network is put
    back with the statistics it had, whatever the policy.
    """

    def __init__(self, source: Source, probe: ProbeInfo, seed: int):
        self._source, self._probe, self._seed = source, probe, seed
        self._keeps_statistics = probe.settings.get("norm_statistics") in ("kept", "reestimated")

    def values(self, cell: Cell) -> dict[str, Tensor]:
        """The tensors that a cell puts in place, by name, on the CPU.

        Raises NotCommittedError, DamagedError when the checkpoint they come from is not there or not whole.
        """
        column, source = self._probe.columns[cell.column], self._source
        if cell.layer is None:
            return self._stored(column, tuple(source.infos))
        layer = self._probe.layers[cell.layer]
        if column.kind == REINITIALISE:
            return self._stored(column, self._names(layer))
        if column.kind == PATH:
            assert column.alpha is not None
            start, trained = self._stored(column, self._names(layer)), source.final(self._names(layer))
            return {name: between(start[name], trained[name], column.alpha) for name in trained}
        if column.kind == RERANDOMISE:
            return source.fresh(self._seed_of(cell, layer), self._names(layer))
        trained = source.final(self._parameters(layer))
        if column.kind == ZERO:
            return {name: torch.zeros_like(value) for name, value in trained.items()}
        seeds = {name: derive(self._seed_of(cell, layer), name) for name in trained}
        if column.kind == NOISE:
            assert column.scale is not None
            return {name: noisy(value, column.scale, seeds[name]) for name, value in trained.items()}
        assert column.kind == SHUFFLE
        return {name: shuffled(value, seeds[name]) for name, value in trained.items()}

    def draw_seed(self, cell: Cell) -> int | None:
        """What a cell's random numbers derive from, None where none are drawn.

        Re-randomised, the layer is taken from the fresh network of this seed.  With noise or shuffled, each tensor has
        the seed that derives from this one and its name; every scale of noise goes the same way.
        """
        if cell.layer is None or not self._probe.columns[cell.column].drawn:
            return None
        return self._seed_of(cell, self._probe.layers[cell.layer])

    def _seed_of(self, cell: Cell, layer: Layer) -> int:
        return derive(self._seed, self._probe.columns[cell.column].kind, layer.name, cell.draw)

    def _stored(self, column: Column, names: Iterable[str]) -> dict[str, Tensor]:
        assert column.checkpoint is not None
        return self._source.tensors(column.checkpoint, names)

    def _names(self, layer: Layer) -> list[str]:
        infos = self._source.infos
        return [name for name in layer.tensors if not (self._keeps_statistics and is_statistic(infos[name]))]

    def _parameters(self, layer: Layer) -> list[str]:
        return [name for name in layer.tensors if self._source.infos[name].kind == "parameter"]


def is_statistic(tensor: TensorInfo) -> bool:
    """Whether a tensor is a norm's running statistic."""
    return tensor.kind == "buffer" and tensor.name.rpartition(".")[2] in STATISTICS


@contextmanager
def applied(model: nn.Module, values: Mapping[str, Tensor]) -> Iterator[None]:
    """Put `values` in the place of the model's tensors of these names, and the old ones back at the end.

    The old values are cloned, put back, and compared bit for bit.  Raises RestoreError if they are not the same.
    """
    tensors = named_tensors(model)
    with torch.no_grad():
        backup = {name: tensors[name].clone() for name in values}
        try:
            for name, value in values.items():
                tensors[name].copy_(value)
            yield
        finally:
            surely(lambda: _put(backup, tensors))
            wrong = [name for name, value in backup.items() if not same_bits(tensors[name], value)]
    if wrong:
        raise RestoreError(f"the trained weights of {', '.join(wrong)} could not be put back after a measurement.")


def _put(values: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> None:
    for name, value in values.items():
        tensors[name].copy_(value)
