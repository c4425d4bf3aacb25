"""A run's network, built anew from a seed."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from ..store import LyrxError, inert
from .data.base import DataSet
from .errors import ModelError
from .models import ModelSpec
from .seeds import derive
from .spec import Spec
from .weights import put, starting_weights


def build_model(spec: ModelSpec, shape: tuple[int, ...], classes: int, seed: int) -> nn.Module:
    """A fresh network on the CPU, initialised from `seed` alone; the global generators are left as they were.

    Always on the CPU: the same seed then gives the same weights whatever the run computes on.  Raises ModelError.
    """
    try:
        return seeded(seed, lambda: spec.build(shape, classes))
    except LyrxError:
        raise
    except Exception as error:  # somebody's code, or sizes that no memory holds
        raise ModelError(
            f"model '{inert(spec.name)}' cannot be built: {type(error).__name__}: {inert(str(error))}"
        ) from error


def starting_model(spec: Spec, data: DataSet) -> nn.Module:
    """The network as it is before the first step: freshly built, or with the weights that its spec names.

    Raises ModelError, DataNotFoundError.
    """
    model = build_model(spec.model, data.shape, data.classes, derive(spec.run.seed, "init"))
    weights = starting_weights(spec.model, model)
    if weights is not None:
        put(weights, model)
    return model


def seeded(seed: int, build: Callable[[], nn.Module]) -> nn.Module:
    """What `build` makes with all generators seeded; they are afterwards as they were."""
    with seeding(seed):
        return build()


@contextmanager
def seeding(seed: int) -> Iterator[None]:
    """Inside, all generators go on from `seed`; afterwards they are as they were."""
    states = random.getstate(), np.random.get_state()
    known = torch.cuda.is_initialized()
    try:
        with torch.random.fork_rng(devices=list(range(torch.cuda.device_count())) if known else []):
            seed_all(seed)
            yield
    finally:
        if torch.cuda.is_available() and not known:
            # Not used until then: its generators would have begun with the seed that the caller gave to all of them.
            torch.cuda.manual_seed_all(torch.initial_seed())
        random.setstate(states[0])
        np.random.set_state(states[1])


def seed_all(seed: int) -> None:
    """Seed every generator that a network's code may draw from: torch's, NumPy's and Python's own."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)
