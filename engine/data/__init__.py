"""Data sets by name. One small file a family; a family is a class of :class:`DataSpec` that loads itself.

These modules import torch and torchvision only inside `load`, so that a wrong spec is refused at once.
"""

from typing import Any

from ...store import did_you_mean, inert
from .arrays import ArraysSpec
from .base import DataSpec
from .cifar import Cifar10Spec, Cifar100Spec
from .digits import DigitsSpec
from .folders import ImageFolderSpec
from .imagenet import ImageNetSpec
from .mnist import FashionMnistSpec, MnistSpec
from .text import Lm1bSpec, TextSpec

DATA: dict[str, type[DataSpec]] = {
    "digits": DigitsSpec,
    "mnist": MnistSpec,
    "fashion-mnist": FashionMnistSpec,
    "cifar10": Cifar10Spec,
    "cifar100": Cifar100Spec,
    "imagenet": ImageNetSpec,
    "image-folder": ImageFolderSpec,
    "arrays": ArraysSpec,
    "text": TextSpec,
    "lm1b": Lm1bSpec,
}


def data_spec(value: Any) -> Any:
    """The `data` section as the family that its name says. For pydantic."""
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        return value
    name = value["name"]
    if name not in DATA:
        raise ValueError(f"name: unknown data set '{inert(name)}'.{did_you_mean(name, DATA)} Known: {', '.join(DATA)}")
    return DATA[name].model_validate(value)


__all__ = [
    "DATA",
    "ArraysSpec",
    "Cifar10Spec",
    "Cifar100Spec",
    "DataSpec",
    "DigitsSpec",
    "FashionMnistSpec",
    "ImageFolderSpec",
    "ImageNetSpec",
    "Lm1bSpec",
    "MnistSpec",
    "TextSpec",
    "data_spec",
]
