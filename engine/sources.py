"""Where interventions take a network's values from: a run in a store, or states that the caller has."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor, nn

from ..store import NotCommittedError, Run, TensorInfo, inert
from .errors import INSTEAD, ModelError, RestoreError
from .state import describe, named_tensors, same_bits, surely, to_tensor


class Source(Protocol):
    """A network's values, by the names of its tensors. All on the CPU; nobody changes what is handed out."""

    @property
    def infos(self) -> Mapping[str, TensorInfo]:
        """Every tensor of the network's state, once."""
        ...

    def tensors(self, checkpoint: int, names: Iterable[str]) -> dict[str, Tensor]:
        """After epoch `checkpoint`. Raises NotCommittedError, DamagedError."""
        ...

    def final(self, names: Iterable[str]) -> dict[str, Tensor]:
        """Of the trained network."""
        ...

    def fresh(self, seed: int, names: Iterable[str]) -> dict[str, Tensor]:
        """Of a freshly built network, initialised from `seed`."""
        ...


class StoreSource:
    """The checkpoints of a run. `build(seed)` makes a fresh network, initialised from `seed`."""

    def __init__(self, run: Run, build: Callable[[int], nn.Module]):
        self._checkpoints, self._build = run.checkpoints, build
        self.infos: Mapping[str, TensorInfo] = run.checkpoints.tensors

    def tensors(self, checkpoint: int, names: Iterable[str]) -> dict[str, Tensor]:
        # An empty list of names would be all of them.
        arrays = self._checkpoints.read(checkpoint, chosen) if (chosen := list(names)) else {}
        return {name: to_tensor(array, self.infos[name].dtype) for name, array in arrays.items()}

    def final(self, names: Iterable[str]) -> dict[str, Tensor]:
        return self.tensors(self._checkpoints.final, names)

    def fresh(self, seed: int, names: Iterable[str]) -> dict[str, Tensor]:
        # The model's own initialisation, not reset_parameters(), which is another distribution in many models.
        tensors = named_tensors(self._build(seed))
        return {name: tensors[name] for name in names}


class StateSource:
    """A network in memory: `model` as it is now is the trained one, `checkpoints` are states of it by epoch.

    Raises ModelError when a state does not fit the network.  `build` is needed for re-randomisation only.
    """

    def __init__(
        self,
        model: nn.Module,
        checkpoints: Mapping[int, Mapping[str, Tensor]],
        build: Callable[[int], nn.Module] | None = None,
    ):
        self.infos: Mapping[str, TensorInfo] = {info.name: info for info in describe(model)}
        self._build, self._states = build, checkpoints
        live = named_tensors(model)
        self._live = {name: live[name].data_ptr() for name in self.infos}
        self._final = {name: live[name].cpu().clone() for name in self.infos}
        for epoch, state in checkpoints.items():
            self._check(state, f"checkpoint {epoch}")

    def tensors(self, checkpoint: int, names: Iterable[str]) -> dict[str, Tensor]:
        if checkpoint not in self._states:
            raise NotCommittedError(f"there is no checkpoint {checkpoint}. There are: {sorted(self._states)}.")
        state = self._states[checkpoint]
        # `model.state_dict()` is the live tensors: what is put in their place must not change with them.
        return {
            name: self._final[name] if state[name].data_ptr() == self._live[name] else state[name].detach().cpu()
            for name in names
        }

    def final(self, names: Iterable[str]) -> dict[str, Tensor]:
        return {name: self._final[name] for name in names}

    def fresh(self, seed: int, names: Iterable[str]) -> dict[str, Tensor]:
        if self._build is None:
            raise ModelError("re-randomisation needs `build`, a function that makes a fresh network.")
        tensors = named_tensors(self._build(seed))
        self._check(tensors, "a network that `build` makes")
        weights = [name for name, info in self.infos.items() if info.kind == "parameter"]
        if weights and all(same_bits(tensors[name].cpu(), self._final[name]) for name in weights):
            raise ModelError("`build` makes the trained network itself; it must make a freshly initialised one.")
        return {name: tensors[name].cpu() for name in names}

    @contextmanager
    def kept(self, model: nn.Module) -> Iterator[None]:
        """After an error, and an interrupt however it came, `model` has the trained values all the same.

        Raises RestoreError where it has not after none.
        """
        live = named_tensors(model)
        try:
            yield
        except BaseException:
            surely(lambda: self._put_back(live))
            raise
        now = named_tensors(model)
        changed = [name for name, value in self._final.items() if not same_bits(now[name].cpu(), value)]
        if changed:
            surely(lambda: self._put_back(live))
            names = inert(", ".join(changed[:5]))
            raise RestoreError(f"after probing, the network was no longer what it was: {names}. {INSTEAD}")

    @torch.no_grad()
    def _put_back(self, live: Mapping[str, Tensor]) -> None:
        for name, value in self._final.items():
            if not same_bits(live[name].cpu(), value):
                live[name].copy_(value)

    def _check(self, state: Mapping[str, Tensor], what: str) -> None:
        for name, info in self.infos.items():
            if name not in state:
                some = ", ".join(f"'{inert(str(key))}'" for key in list(state)[:3]) or "nothing"
                raise ModelError(f"{what} has no tensor '{inert(name)}', which the trained network has. It has {some}.")
            if not isinstance(state[name], Tensor) or state[name].is_meta:
                raise ModelError(
                    f"{what}: '{inert(name)}' is a {type(state[name]).__name__}, not a tensor with numbers."
                )
            shape, dtype = tuple(state[name].shape), str(state[name].dtype).removeprefix("torch.")
            if (shape, dtype) != (info.shape, info.dtype):
                raise ModelError(
                    f"{what}: tensor '{inert(name)}' is {dtype}{list(shape)}, the trained network has "
                    f"{info.dtype}{list(info.shape)}."
                )
