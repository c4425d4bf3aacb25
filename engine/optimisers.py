"""Optimisers by name, and their state as named arrays (never pickled)."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter

from .spec import TrainSection
from .state import to_array, to_tensor


def make_optimiser(spec: TrainSection, parameters: Iterable[Parameter]) -> torch.optim.Optimizer:
    """The optimiser that a spec names.

    In its fused form: one kernel for all parameters, which on a small network saves more than Accelerate costs.
    """
    common: dict[str, Any] = {"lr": spec.lr, "weight_decay": spec.weight_decay, "fused": True}
    if spec.optimizer == "sgd":
        return torch.optim.SGD(parameters, momentum=spec.momentum, nesterov=spec.nesterov, **common)
    return (torch.optim.Adam if spec.optimizer == "adam" else torch.optim.AdamW)(parameters, **common)


def set_lr(optimiser: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of all parameter groups."""
    for group in optimiser.param_groups:
        group["lr"] = lr


def state_of(optimiser: torch.optim.Optimizer) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Its state as arrays named `INDEX.KEY`, and as JSON what is no tensor (and the tensors' types)."""
    arrays: dict[str, np.ndarray] = {}
    plain: dict[str, Any] = {}
    dtypes: dict[str, str] = {}
    for index, values in optimiser.state_dict()["state"].items():
        for key, value in values.items():
            name = f"{index}.{key}"
            if isinstance(value, Tensor):
                arrays[name] = to_array(value)
                dtypes[name] = str(value.dtype).removeprefix("torch.")
            else:
                plain[name] = value
    return arrays, {"plain": plain, "dtypes": dtypes}


def restore(optimiser: torch.optim.Optimizer, arrays: Mapping[str, np.ndarray], extra: Mapping[str, Any]) -> None:
    """Put back what :func:`state_of` returned; settings such as the learning rate stay as they are."""
    state: dict[int, dict[str, Any]] = {}
    tensors = {name: to_tensor(array, extra["dtypes"][name]) for name, array in arrays.items()}
    for name, value in {**tensors, **extra["plain"]}.items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = value
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
