"""What a caller gave to `probe(...)`: what cannot be meant is refused with a message before anything is computed."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..store import did_you_mean, inert
from .device import choose_device
from .errors import DeviceError, ModelError, SpecError
from .state import refuse_empty


def check_words(allowed: Mapping[str, Sequence[str]], **given: Any) -> None:
    for name, word in given.items():
        if word not in allowed[name]:
            words = ", ".join(f"'{one}'" for one in allowed[name])
            raise SpecError(f"{name}={word!r} is not possible.{did_you_mean(str(word), allowed[name])} Use {words}.")


def check_numbers(**given: tuple[Any, int]) -> None:
    """Each is (number or None, the least that it may be)."""
    for name, (number, least) in given.items():
        whole = isinstance(number, int) and not isinstance(number, bool)
        if number is not None and not (whole and number >= least):
            raise SpecError(f"{name}={number!r} is not possible: it is a whole number from {least} up.")


def check_lists(**given: Any) -> None:
    """A text is a sequence too, of its letters; nobody means these."""
    for name, value in given.items():
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise SpecError(f"{name}={value!r} is not possible: it is a list of texts.")


def check_patterns(patterns: Any, granularity: str) -> None:
    if patterns is None:
        return
    if not isinstance(patterns, Mapping):
        raise SpecError(f"patterns is {_kind(patterns)}; globs by row are needed: {{'lower': ['fc1', 'fc2.*']}}.")
    check_lists(**{f"patterns[{name!r}]": globs for name, globs in patterns.items()})
    if patterns and granularity != "patterns":
        raise SpecError(f"patterns go with granularity='patterns'; with {granularity!r} rows are the model's own.")


def check_model(model: Any) -> None:
    """Raises ModelError for what is no network, or one that has no weights yet."""
    if not isinstance(model, nn.Module):
        raise ModelError(f"model is {_kind(model)}; a torch.nn.Module is needed.")
    refuse_empty(model)


def check_build(build: Any) -> None:
    if build is not None and (isinstance(build, nn.Module) or not callable(build)):
        raise SpecError(f"build is {_kind(build)}; a function that makes a freshly initialised network is needed.")


def check_hooks(**given: Any) -> None:
    for name, hook in given.items():
        if hook is not None and not callable(hook):
            raise SpecError(f"{name} is {_kind(hook)}; a function of a batch's output and targets is needed.")


def states_of(checkpoints: Any) -> dict[int, Mapping[str, Tensor]]:
    """State dicts by epoch. Raises SpecError."""
    if checkpoints is None:
        return {}
    if not isinstance(checkpoints, Mapping):
        raise SpecError(
            f"checkpoints is {_kind(checkpoints)}; state dicts by epoch are needed: {{0: state_dict, ...}}."
        )
    for epoch, state in checkpoints.items():
        if not isinstance(epoch, int) or isinstance(epoch, bool) or epoch < 0:
            raise SpecError(f"checkpoints: {epoch!r} is no epoch; it is a whole number from 0 up, 0 being the start.")
        if not isinstance(state, Mapping):
            raise SpecError(
                f"checkpoints: {epoch} is {_kind(state)}; a state dict is needed, as model.state_dict() gives it and "
                "torch.load(FILE) reads it."
            )
    return dict(checkpoints)


def place_of(device: Any, home: torch.device) -> torch.device:
    """Where to compute. Raises DeviceError, SpecError."""
    if device is None:
        return home
    if device == "auto":
        return choose_device("auto")
    try:
        place = torch.device(device)
        if place.type == "cuda" and not torch.cuda.is_available():
            raise DeviceError(f"device={str(device)!r}: torch sees no CUDA GPU.")
        torch.empty(1, device=place).to("cpu")
    except DeviceError:
        raise
    except (RuntimeError, TypeError, AssertionError, NotImplementedError) as error:
        said = inert(str(error).splitlines()[0]) if str(error) else type(error).__name__
        raise SpecError(f"device={device!r} is not possible: {said}. Use 'auto', 'cpu', 'cuda' or 'cuda:0'.") from None
    return torch.device("cuda", torch.cuda.current_device()) if place == torch.device("cuda") else place


def built(build: Callable[[], Any], model: nn.Module) -> nn.Module:
    """What `build` makes. Raises ModelError where it fails, makes no network, or hands out the probed one."""
    try:
        made = build()
    except Exception as error:  # somebody's code
        raise ModelError(f"build fails: {type(error).__name__}: {inert(str(error))}") from error
    if not isinstance(made, nn.Module):
        raise ModelError(f"build makes {_kind(made)}; a torch.nn.Module is needed.")
    own = {tensor.data_ptr() for tensor in model.parameters() if tensor.numel()}
    if any(tensor.data_ptr() in own for tensor in made.parameters()):
        raise ModelError("build hands out the network that is being probed; it must make a fresh one each time.")
    return made


def _kind(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"
