"""BatchNorm's statistics after a reset: which norms need new ones, and the new ones."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from .forwards import Forwards
from .interventions import applied
from .norms import norms_of, reestimated
from .replay.replayer import Arguments

_COMPARED = 32
"""Training examples on which it is looked up which norms' inputs a reset changes."""

_AT_ONCE = 4
"""Of them: every norm's input is kept twice, which of a large network's images takes tens of megabytes for each."""

Take = Callable[[Tensor], Arguments]
"""int64[k], indices of training examples, to what the network is called with."""


class Renormer:
    """Estimates statistics anew on the same training examples for every cell."""

    def __init__(self, forwards: Forwards, take: Take, batches: Sequence[Tensor]):
        """`take` gives what the network is called with for training examples, `batches` which these are."""
        self._forwards, self._take, self._batches = forwards, take, batches
        self._model = forwards.model
        self._norms = norms_of(self._model)

    def statistics(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Running statistics by tensor name, of the norms whose inputs change when `values` are put in place.

        The statistics that `values` itself brings are those of norms which it does not reach: they stay.
        """
        norms = self.changed(values)
        if not norms:
            return {}
        batches = map(self._take, self._batches)
        return reestimated(self._model, values, batches, norms, self._forward)

    def changed(self, values: Mapping[str, Tensor]) -> list[str]:
        """The norms whose input is another one with `values` in place than in the trained network."""
        changed: set[str] = set()
        for part in self._batches[0][:_COMPARED].split(_AT_ONCE):
            arguments = self._take(part)
            trained = self._inputs(arguments)
            with applied(self._model, values):
                now = self._inputs(arguments)
            changed |= {name for name in self._norms if not _same(now[name], trained[name])}
        return [name for name in self._norms if name in changed]

    def _inputs(self, arguments: Arguments) -> dict[str, list[Tensor]]:
        """What each norm is given, call by call."""
        with _watching(self._model, self._norms) as seen:
            self._forward(self._model, arguments)
        return seen

    def _forward(self, model: nn.Module, batch: Arguments) -> object:
        del model
        return self._forwards.full(batch)


def _same(some: list[Tensor], others: list[Tensor]) -> bool:
    return len(some) == len(others) and all(map(torch.equal, some, others))


@contextmanager
def _watching(model: nn.Module, names: list[str]) -> Iterator[dict[str, list[Tensor]]]:
    seen: dict[str, list[Tensor]] = {name: [] for name in names}
    modules = dict(model.named_modules())

    def look(name: str, _: nn.Module, args: tuple[Any, ...]) -> None:
        seen[name].append(args[0].clone())  # a copy: what comes next may work in place on it

    handles = [modules[name].register_forward_pre_hook(partial(look, name)) for name in names]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
