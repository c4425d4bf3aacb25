"""What is done to a layer: values that are put in the place of its trained ones, and taken out again."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..store import RERANDOMISE, Cell, Column, Layer, ProbeInfo, Run, TensorInfo
from .errors import RestoreError
from .seeds import derive
from .state import named_tensors, same_bits, to_tensor

_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


class Interventions:
    """Values for every cell of one probe of one run."""

    def __init__(self, run: Run, probe: ProbeInfo, seed: int, build: Callable[[int], nn.Module]):
        """`build(seed)` makes a fresh network, initialised from `seed`."""
        self._run, self._probe, self._seed, self._build = run, probe, seed, build
        self._infos = run.checkpoints.tensors
        self._keeps_statistics = probe.settings.get("norm_statistics") == "kept"

    def values(self, cell: Cell) -> dict[str, Tensor]:
        """The tensors that a cell puts in place, by name.

        Raises NotCommittedError, DamagedError when the checkpoint they come from is not there or not whole.
        """
        column = self._probe.columns[cell.column]
        if cell.layer is None:
            return self._stored(column, tuple(self._infos))
        layer = self._probe.layers[cell.layer]
        names = self._names(layer)
        if column.kind == RERANDOMISE:
            return self._fresh(layer, names, cell.draw)
        return self._stored(column, names)

    def draw_seed(self, layer: Layer, draw: int) -> int:
        """The seed of the fresh network that a re-randomised layer is taken from."""
        return derive(self._seed, RERANDOMISE, layer.name, draw)

    def _names(self, layer: Layer) -> tuple[str, ...]:
        if not self._keeps_statistics:
            return layer.tensors
        return tuple(name for name in layer.tensors if not is_statistic(self._infos[name]))

    def _stored(self, column: Column, names: tuple[str, ...]) -> dict[str, Tensor]:
        assert column.checkpoint is not None
        arrays = self._run.checkpoints.read(column.checkpoint, names)
        return {name: to_tensor(array, self._infos[name].dtype) for name, array in arrays.items()}

    def _fresh(self, layer: Layer, names: tuple[str, ...], draw: int) -> dict[str, Tensor]:
        # The model's own initialisation, not reset_parameters(), which is another distribution in many models.
        tensors = named_tensors(self._build(self.draw_seed(layer, draw)))
        return {name: tensors[name] for name in names}


def is_statistic(tensor: TensorInfo) -> bool:
    """Whether a tensor is a norm's running statistic."""
    return tensor.kind == "buffer" and tensor.name.rpartition(".")[2] in _STATISTICS


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
            for name, value in backup.items():
                tensors[name].copy_(value)
            wrong = [name for name, value in backup.items() if not same_bits(tensors[name], value)]
    if wrong:
        raise RestoreError(f"the trained weights of {', '.join(wrong)} could not be put back after a measurement.")
