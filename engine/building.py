"""A run's network, built anew from a seed."""

import random
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from ..store import LyrxError, inert
from .errors import ModelError
from .models import ModelSpec


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


def seeded(seed: int, build: Callable[[], nn.Module]) -> nn.Module:
    """What `build` makes with all generators seeded; they are afterwards as they were."""
    states = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            seed_all(seed)
            return build()
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


def seed_all(seed: int) -> None:
    """Seed every generator that a network's code may draw from: torch's, NumPy's and Python's own."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)
