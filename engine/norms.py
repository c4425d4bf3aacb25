"""Running statistics of BatchNorm, estimated anew for a network in which a layer was reset.

As in stochastic weight averaging (Izmailov et al., UAI 2018, arXiv:1803.05407, section 3.2), whose averaged weights
need them too: reset, then the cumulative mean over some training batches.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from .errors import LayerError
from .interventions import STATISTICS, applied
from .seeds import derive


def norms_of(model: nn.Module) -> list[str]:
    """The modules whose running statistics can be estimated anew, by name: BatchNorm of any kind that has them."""
    return [name for name, module in model.named_modules() if _estimates(module)]


def norm_batches(seed: int, examples: int, count: int, size: int) -> list[Tensor]:
    """Which training examples statistics are estimated on: at most `count` batches of `size`, int64[size] each.

    The first of one random order, without replacement.  What is left at the end of the training set is left out, for
    each batch counts the same; where all of it is less than one batch, it is the batch.
    """
    order = torch.randperm(examples, generator=torch.Generator().manual_seed(derive(seed, "norm statistics")))
    return list(order[: examples // size * size or None].split(size)[:count])


def reestimated(
    model: nn.Module,
    values: Mapping[str, Tensor],
    batches: Iterable[Any],
    norms: Sequence[str],
    forward: Callable[[nn.Module, Any], object] = lambda model, batch: model(batch),
) -> dict[str, Tensor]:
    """The running statistics that the modules `norms` get on `batches` when `values` are put in place, by tensor name.

    These norms are in training mode and average over all their calls, each with the same weight; the rest of the
    network is in evaluation mode.  So they normalise by the batch while they learn, and what follows a norm sees what
    it would see in training.  `forward(model, batch)` runs a batch; it is not differentiated.

    A norm that is never called is left out.  Modes, momenta, weights and statistics are then as they were, also after
    an error.  Raises LayerError for a name that is no norm with running statistics, RestoreError.
    """
    modules = dict(model.named_modules())
    for name in norms:
        if name not in modules or not _estimates(modules[name]):
            raise LayerError(f"'{name}' is no BatchNorm with running statistics.")
    chosen: dict[str, Any] = {name: modules[name] for name in norms}
    reset: dict[str, Tensor] = {}
    for name, norm in chosen.items():
        reset[_inside(name, "running_mean")] = torch.zeros_like(norm.running_mean)
        reset[_inside(name, "running_var")] = torch.ones_like(norm.running_var)
        reset[_inside(name, "num_batches_tracked")] = torch.zeros_like(norm.num_batches_tracked)
    with torch.no_grad(), applied(model, {**values, **reset}), _learning(model, chosen.values()):
        for batch in batches:
            forward(model, batch)
        return {
            _inside(name, tensor): getattr(norm, tensor).clone()
            for name, norm in chosen.items()
            if norm.num_batches_tracked.item()
            for tensor in STATISTICS
        }


@contextmanager
def _learning(model: nn.Module, norms: Iterable[Any]) -> Iterator[None]:
    """Only `norms` in training mode, each averaging over its calls in this process alone."""
    modes = [(module, module.training) for module in model.modules()]
    settings = [(norm, norm.momentum, norm.track_running_stats) for norm in norms]
    alone = [norm for norm, _, _ in settings if isinstance(norm, nn.SyncBatchNorm)]
    try:
        for module, _ in modes:
            module.training = False
        for norm, _, _ in settings:
            norm.training = norm.track_running_stats = True
            norm.momentum = None
        for norm in alone:
            # It would wait for processes that measure other cells.
            norm.forward = MethodType(_BatchNorm.forward, norm)
        yield
    finally:
        for norm in alone:
            norm.__dict__.pop("forward", None)
        for norm, momentum, tracks in settings:
            norm.momentum, norm.track_running_stats = momentum, tracks
        for module, training in modes:
            module.training = training


def _estimates(module: nn.Module) -> bool:
    return isinstance(module, _BatchNorm) and all(getattr(module, name, None) is not None for name in STATISTICS)


def _inside(module: str, tensor: str) -> str:
    return f"{module}.{tensor}" if module else tensor
