"""Optimisers by name, and their state as named arrays (never pickled)."""

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter

from ..store import did_you_mean, inert
from .errors import SpecError
from .spec import TrainSection
from .state import to_array, to_tensor

_UNFIT = {
    "lbfgs": "computes a batch's loss several times a step, which training here does not",
    "sparseadam": "takes sparse gradients only, which no network here has",
}


def optimiser_classes() -> dict[str, type[torch.optim.Optimizer]]:
    """Those of torch.optim that can be named, by their names in small letters."""
    found = {name.lower(): value for name, value in vars(torch.optim).items() if isinstance(value, type)}
    return {
        name: value
        for name, value in found.items()
        if issubclass(value, torch.optim.Optimizer) and value is not torch.optim.Optimizer and name not in _UNFIT
    }


def make_optimiser(spec: TrainSection, parameters: Iterable[Parameter]) -> torch.optim.Optimizer:
    """The optimiser that a spec names. Raises SpecError.

    In its fused form where it has one: one kernel for all parameters, which on a small network saves more than
    Accelerate costs.
    """
    classes, name = optimiser_classes(), spec.optimizer.lower()
    if name in _UNFIT:
        raise SpecError(
            f"train.optimizer: '{inert(spec.optimizer)}' {_UNFIT[name]}. Others: {', '.join(sorted(classes))}."
        )
    if name not in classes:
        raise SpecError(
            f"train.optimizer: torch.optim has no '{inert(spec.optimizer)}' that can be used here."
            f"{did_you_mean(name, classes)} Known: {', '.join(sorted(classes))}."
        )
    known = inspect.signature(classes[name]).parameters
    options: dict[str, Any] = {"lr": spec.lr}
    if name == "sgd":
        options |= {"momentum": spec.momentum, "nesterov": spec.nesterov}
    if "weight_decay" in known:
        options["weight_decay"] = spec.weight_decay
    elif spec.weight_decay:
        raise SpecError(f"train.weight_decay: the optimiser '{name}' has none.")
    if "fused" in known and not spec.optimizer_options.get("foreach"):
        options["fused"] = True
    strange = [key for key in spec.optimizer_options if key not in known or key in ("params", "lr", "weight_decay")]
    if strange:
        own = sorted(set(known) - {"params", "lr", "weight_decay"})
        raise SpecError(
            f"train.optimizer_options: '{inert(strange[0])}' is no option of '{name}' that is set here."
            f"{did_you_mean(strange[0], own)} Allowed: {', '.join(own)}."
        )
    chosen = {key: tuple(value) if isinstance(value, list) else value for key, value in spec.optimizer_options.items()}
    try:
        return classes[name](parameters, **{**options, **chosen})
    except (TypeError, ValueError, RuntimeError) as error:
        raise SpecError(f"train.optimizer '{name}': {inert(str(error))}") from error


def refuse_ignored(spec: TrainSection) -> None:
    """Raise SpecError for a `momentum` or `nesterov` that was written into a spec and that its optimiser would not see.

    What a spec does not say has its default, and that is no reason to refuse anything; nor is a 0.
    """
    name = spec.optimizer.lower()
    for key in ("momentum", "nesterov"):
        value = getattr(spec, key)
        if key not in spec.model_fields_set or not value:
            continue
        if name != "sgd":
            known = optimiser_classes().get(name)
            own = known is not None and key in inspect.signature(known).parameters
            instead = f"write optimizer_options = {{ {key} = {value} }}" if own else f"'{inert(name)}' has none"
            raise SpecError(
                f"train.{key}: is of optimizer = 'sgd' alone; {instead}. Leave train.{key} out, or set it to 0."
            )
        if key in spec.optimizer_options:
            raise SpecError(f"train.{key}: is said twice, in optimizer_options too. Leave one of them out.")


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
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Any]] = {}
    tensors = {name: to_tensor(array, extra["dtypes"][name]) for name, array in arrays.items()}
    for name, value in {**tensors, **extra["plain"]}.items():
        index, _, key = name.partition(".")
        if isinstance(value, Tensor):
            value = _laid_out_as(parameters[int(index)], value)
        state.setdefault(int(index), {})[key] = value
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})


def _laid_out_as(parameter: Tensor, value: Tensor) -> Tensor:
    """`value` with its elements in memory in the order of the parameter's, if it is of its shape.

    A fused step goes through both from the first element in memory to the last: of a network in channels_last another
    order would mix up what belongs to which weight.
    """
    if value.shape != parameter.shape:
        return value
    return torch.empty_like(parameter, dtype=value.dtype, device=value.device).copy_(value)
