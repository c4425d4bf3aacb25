"""Fully connected networks: the paper's first figure is the one with 3 hidden layers of 256 units."""

import math
from collections import OrderedDict
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from .base import ModelSpec

if TYPE_CHECKING:
    from torch import nn


class FcnSpec(ModelSpec):
    """`depth` hidden layers of `width` rectified units, called fc1, fc2, ..., and the layer `output`."""

    name: Literal["fcn"] = "fcn"
    width: int = Field(256, ge=1)
    depth: int = Field(3, ge=1)
    batch_norm: bool = Field(False, description="a BatchNorm1d after every hidden layer")

    def build(self, shape: tuple[int, ...], classes: int) -> "nn.Module":
        from torch import nn

        parts: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
        inputs = math.prod(shape)
        for index in range(1, self.depth + 1):
            parts[f"fc{index}"] = nn.Linear(inputs, self.width)
            if self.batch_norm:
                parts[f"norm{index}"] = nn.BatchNorm1d(self.width)
            parts[f"relu{index}"] = nn.ReLU(inplace=True)
            inputs = self.width
        parts["output"] = nn.Linear(inputs, classes)
        return nn.Sequential(parts)
