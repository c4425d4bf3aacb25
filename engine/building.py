"""A run's network, built anew from a seed."""

import torch
from torch import nn

from .models import ModelSpec


def build_model(spec: ModelSpec, shape: tuple[int, ...], classes: int, seed: int) -> nn.Module:
    """A fresh network on the CPU, initialised from `seed` alone; torch's global generator is left as it was.

    Always on the CPU: the same seed then gives the same weights whatever the run computes on.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return spec.build(shape, classes)
