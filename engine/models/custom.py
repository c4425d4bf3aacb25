"""Your own model: `package.module:function`."""

import hashlib
import importlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator

from ...store import did_you_mean, inert
from ..errors import ModelError
from .base import ModelSpec

if TYPE_CHECKING:
    from torch import nn


class CustomSpec(ModelSpec):
    """A function (or class) that is called with `options` and returns a fresh network."""

    name: str
    options: dict[str, Any] = Field({}, description="keyword arguments of the function")

    @field_validator("name")
    @classmethod
    def _form(cls, value: str) -> str:
        module, _, function = value.partition(":")
        if not all(part.isidentifier() for part in [*module.split("."), function]):
            raise ValueError("your own model is written 'package.module:function'")
        return value

    def build(self, shape: tuple[int, ...], classes: int) -> "nn.Module":
        from torch import nn

        module, _, function = self.name.partition(":")
        # A console script does not look into the working folder, `python -m` does: users expect theirs to be found.
        if os.getcwd() not in sys.path:
            sys.path.insert(0, os.getcwd())
        try:
            make = getattr(importlib.import_module(module), function)
        except AttributeError as error:
            raise ModelError(f"model '{self.name}': '{module}' has no '{function}'.") from error
        except Exception as error:  # an import runs somebody's code
            raise ModelError(
                f"model '{self.name}': cannot import '{module}': {type(error).__name__}: {inert(str(error))}. "
                f"It must be installed, on PYTHONPATH, or in the working folder.{self._meant(module)}"
            ) from error
        try:
            model = make(**self.options)
        except TypeError as error:
            raise ModelError(f"model '{self.name}' with options {self.options}: {error}.") from error
        if not isinstance(model, nn.Module):
            raise ModelError(f"model '{self.name}' returned a {type(model).__name__}, not a torch.nn.Module.")
        return model

    @staticmethod
    def _meant(module: str) -> str:
        """`tim:NAME` was perhaps meant to be a model of timm."""
        from . import LIBRARIES

        return did_you_mean(module, [library for library in LIBRARIES if library != "hf"])

    def source(self) -> dict[str, str]:
        """A hash of the file that the function is in."""
        module = sys.modules.get(self.name.partition(":")[0])
        try:
            content = Path(str(getattr(module, "__file__", ""))).read_bytes()
        except OSError:
            return {}
        return {"model source": hashlib.sha256(content).hexdigest()}
