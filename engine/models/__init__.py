"""Models by name. One small file a family; a family is a class of :class:`ModelSpec` that builds its network.

These modules import torch only inside `build`, so that a wrong spec is refused at once.
"""

from typing import Any

from ...store import did_you_mean, inert
from .base import ModelSpec
from .custom import CustomSpec
from .fcn import FcnSpec

MODELS: dict[str, type[ModelSpec]] = {"fcn": FcnSpec}


def model_class(name: str) -> type[ModelSpec]:
    """The family that `name` belongs to: a name of MODELS, or `package.module:function`."""
    return CustomSpec if ":" in name else MODELS.get(name, ModelSpec)


def model_spec(value: Any) -> Any:
    """The `model` section as the family that its name says. For pydantic."""
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        return value
    name = value["name"]
    if name not in MODELS and ":" not in name:
        raise ValueError(
            f"name: unknown model '{inert(name)}'.{did_you_mean(name, MODELS)} "
            f"Known: {', '.join(MODELS)}, or your own as 'package.module:function'"
        )
    return model_class(name).model_validate(value)


__all__ = ["MODELS", "CustomSpec", "FcnSpec", "ModelSpec", "model_class", "model_spec"]
