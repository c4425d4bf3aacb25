"""What a family of models is."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ...store import inert
from ..data.base import full_path
from ..errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor, nn

PRETRAINED = "pretrained"


class ModelSpec(BaseModel):
    """The `model` section of a spec: which network, and its keys."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, validate_default=True)

    name: str
    weights: str | None = Field(
        None,
        min_length=1,
        description="what training starts from, and so what checkpoint 0 is: a file (or folder) of weights, or "
        "'pretrained' for those that the model's library fetches; default: a fresh initialisation",
    )

    @field_validator("weights")
    @classmethod
    def _absolute(cls, value: str | None) -> str | None:
        return value if value is None or value == PRETRAINED else full_path(value)

    def build(self, shape: tuple[int, ...], classes: int) -> "nn.Module":
        """A fresh network for examples of `shape` (channels first) and this many classes.

        Initialised by the libraries' defaults from torch's global generator.  Raises ModelError.
        """
        raise TypeError(f"{type(self).__name__} does not say how to build a network")

    def pretrained(self) -> "Mapping[str, Tensor]":
        """The weights that the model's library has for it, as a state dict. Raises ModelError."""
        raise ModelError(
            f"model '{inert(self.name)}': lyrx knows no pretrained weights of it. Name a file (model.weights), or take "
            "the network as 'torchvision:NAME', 'timm:NAME' or 'hf:NAME'."
        )

    def source(self) -> dict[str, str]:
        """What tells that the code of a model has changed, as `{"model source": hash}`, and versions of packages."""
        return {}


def said(error: Exception) -> str:
    """An error of somebody's code on one line, harmless for a terminal, and not too long."""
    text = inert(" ".join(str(error).split()))
    return f"{type(error).__name__}: {text[:300].rstrip('.')}"


def not_fetched(name: str, error: Exception) -> ModelError:
    """What to say when a library could not fetch a model's pretrained weights."""
    return ModelError(
        f"model '{inert(name)}': its pretrained weights cannot be fetched: {said(error)}. "
        "Without a network, put the file here yourself and name it: model.weights = 'FILE'."
    )


def missing_package(name: str, package: str, extra: str, error: ImportError) -> ModelError:
    """What to say when a model's library is not installed."""
    return ModelError(
        f"model '{inert(name)}' needs the package '{package}' ({inert(str(error))}). "
        f"Install it: python -m pip install 'lyrx[{extra}]'"
    )


def refuse_options(name: str, options: Mapping[str, object], ours: Mapping[str, str]) -> None:
    """Raise ModelError for keys of `options` that lyrx sets itself; `ours` says from what."""
    for key, origin in ours.items():
        if key in options:
            raise ModelError(f"model '{inert(name)}': model.options.{key} is not possible: it comes from {origin}.")
