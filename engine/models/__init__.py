"""Models by name. One small file a family; a family is a class of :class:`ModelSpec` that builds its network.

These modules import torch only inside `build`, so that a wrong spec is refused at once.
"""

from typing import Any

from ...store import did_you_mean, inert
from .base import ModelSpec
from .custom import CustomSpec
from .fcn import FcnSpec
from .hf import HfSpec
from .resnet import ResNetSpec
from .timm_models import TimmSpec
from .torchvision_models import TorchvisionSpec
from .transformer import TransformerSpec
from .vgg import VggSpec

MODELS: dict[str, type[ModelSpec]] = {
    "fcn": FcnSpec,
    **dict.fromkeys(("vgg11", "vgg13", "vgg16", "vgg19"), VggSpec),
    **dict.fromkeys(("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"), ResNetSpec),
    "transformer": TransformerSpec,
}

LIBRARIES: dict[str, type[ModelSpec]] = {"torchvision": TorchvisionSpec, "timm": TimmSpec, "hf": HfSpec}
"""`LIBRARY:NAME` is a model of that library."""


def model_class(name: str) -> type[ModelSpec]:
    """The family that `name` belongs to: a name of MODELS, `LIBRARY:NAME`, or `package.module:function`."""
    library, colon, _ = name.partition(":")
    return LIBRARIES.get(library, CustomSpec) if colon else MODELS.get(name, ModelSpec)


def model_spec(value: Any) -> Any:
    """The `model` section as the family that its name says. For pydantic."""
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        return value
    name = value["name"]
    library, colon, rest = name.partition(":")
    if colon and library in LIBRARIES and not rest:
        raise ValueError(f"name: '{inert(name)}' names no model; write it as '{library}:NAME'")
    if not colon and name not in MODELS:
        others = ", ".join(f"'{prefix}:NAME'" for prefix in LIBRARIES)
        raise ValueError(
            f"name: unknown model '{inert(name)}'.{did_you_mean(name, MODELS)} "
            f"Known: {', '.join(MODELS)}, {others}, or your own as 'package.module:function'"
        )
    return model_class(name).model_validate(value)


__all__ = ["LIBRARIES", "MODELS", "CustomSpec", "FcnSpec", "ModelSpec", "model_class", "model_spec"]
